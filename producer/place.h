/* Whom to serve: a fixed server, or what a broker offers, the best first. One attempt goes through all offers
 * before it fails; the core decides when to attempt again.
 *
 * Once a shard is served, it is looked for first when its server is gone, where it may be served then: at the
 * sibling before where it was lost, one address an attempt. When nobody has served it for some seconds,
 * anybody will do. */
#ifndef PRODUCER_PLACE_H
#define PRODUCER_PLACE_H

#include "proto/rpc.h"

struct place;

struct place_config {
    struct rpc *rpc;              /* borrowed */
    const struct credentials *me; /* borrowed */
    const char *server, *broker;  /* one of them, or several with commas; borrowed */
    uint32_t threads;
    const char *arch;
    /* Try this one, for this shard; an empty one: whichever it serves. */
    void (*found)(void *ctx, const char *address, struct bytes shard);
    void (*failed)(void *ctx, const char *why); /* there is none, or none is left */
    void *ctx;
};

struct place *place_new(const struct place_config *config);
void place_free(struct place *p);
/* Begins an attempt: found or failed follows. */
void place_begin(struct place *p, uint64_t now_us);
/* The one that was found could not be reached: the next is found, or failed. */
void place_next(struct place *p, const char *why);
/* The one that was found serves us, for this shard (empty: it has not said), which may be served at these
 * addresses too. */
void place_served(struct place *p, struct bytes shard, struct bytes addresses);

#endif
