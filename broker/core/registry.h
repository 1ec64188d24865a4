/* The servers that the broker knows, one entry a (network, certified name); inside the core only. */
#ifndef BROKER_CORE_REGISTRY_H
#define BROKER_CORE_REGISTRY_H

#include "broker/core/bk.h"

struct server {
    struct bk_record record;
    uint64_t key; /* hash of network and name: compared first */
    struct bk_load load;
    uint64_t seen_us; /* last heard of, or taken from the store */
    bool heard;       /* since the broker's start */
    uint64_t version; /* moves whenever the record changes; what is saved is behind it until BK_SAVED */
    uint64_t saved;
    uint64_t placed; /* threads sent its way since it last reported */
};

/* Entries are never removed and never move. */
struct registry {
    struct server *server; /* owned, servers_max of them */
    uint32_t n, max;
    uint32_t networks; /* different names among them */
};

struct registry registry_new(uint32_t max);
void registry_free(struct registry *r);
struct server *registry_find(const struct registry *r, const char *network, const char *name);
/* NULL when full. */
struct server *registry_add(struct registry *r, const char *network, const char *name);

struct registry_count {
    uint32_t in_network;
    uint32_t of_name;
};
/* How many there are of this network, of this name. */
struct registry_count registry_count(const struct registry *r, const char *network, const char *name);

/* Ranking: the best `most` servers for an order, best first; returns how many. */
struct order {
    uint64_t now_us, silence_us;
    bool place;           /* a producer's place; else a consumer's match */
    struct bytes network; /* match: empty: any */
    struct bytes arch;
    uint32_t threads;   /* match: at least */
    uint32_t price_max; /* match: 0: any */
};
uint32_t registry_rank(const struct registry *r, const struct order *order, struct server **best,
                       uint32_t most);

bool server_alive(const struct server *s, uint64_t now_us, uint64_t silence_us);

#endif
