/* The broker's pure core: an event in, effects out.
 *
 * It knows the networks and their task servers: who they are (durable, the shell keeps it in its store) and
 * how loaded they are (volatile, each server says so again every few seconds). It matches consumers and
 * places producers. It does no I/O, reads no clock, draws no random numbers and starts no threads; the shell
 * (server.c) owns all that, executes the effects in order and decides nothing.
 *
 * Who may register: only role server, under its certified name. A network belongs to the first server that
 * registers its name; another name is refused, unless the broker's policy (policy.h) lists the names of that
 * network, and then the list alone decides. A server that has been silent for silence_us is not alive any
 * more, but it is remembered: it is offered last, and listed as such. */
#ifndef BROKER_CORE_BK_H
#define BROKER_CORE_BK_H

#include "base/bytes.h"
#include "base/id.h"
#include "cx/error.h"

#define BK_NAME_MAX    63  /* a network's name, a certified name: letters, digits, '.', '-', '_' */
#define BK_ADDRESS_MAX 255 /* host:port, with commas between: the server's own, then its sibling's */
#define BK_ARCH_MAX    127 /* comma-separated */
#define BK_TEXT_MAX    256

enum bk_role { BK_CONSUMER = 1, BK_PRODUCER, BK_SERVER, BK_ADMIN };

struct bk_config {
    uint64_t silence_us;   /* after which a server is not alive */
    uint32_t networks_max; /* different names */
    uint32_t servers_max;  /* registrations in all */
    uint32_t per_name_max; /* networks that one certified name may register in */
    uint32_t offers_max;   /* in one answer */
    const char *policy;    /* borrowed for the life of the core; NULL: none (policy.h) */
};

/* What the store keeps of one server in one network: network and name are the key. */
struct bk_record {
    char network[BK_NAME_MAX + 1];
    char name[BK_NAME_MAX + 1]; /* certified */
    char address[BK_ADDRESS_MAX + 1];
    char arch[BK_ARCH_MAX + 1];
    uint64_t incarnation;
    uint32_t threads; /* when it was written: a start for matching until the server reports again */
    uint32_t price;
};

/* ---- Events ---- */

enum bk_event_kind {
    BK_REGISTER,
    BK_MATCH,
    BK_PLACE,
    BK_LIST,
    BK_SAVED, /* the answer to BK_FX_SAVE */
};

/* Slices are borrowed during the step and hostile: the core checks them. */
struct bk_register {
    struct bytes network, address, arch;
    uint32_t producers, threads, price;
    uint64_t ready, granted, jobs, incarnation;
};
struct bk_match {
    struct bytes network; /* empty: any */
    struct bytes arch;    /* empty: any */
    uint32_t threads;     /* at least */
    uint32_t price_max;   /* 0: any */
};
struct bk_place {
    struct bytes arch; /* empty: not said */
    uint32_t threads;
};

struct bk_event {
    enum bk_event_kind kind;
    uint64_t now_us; /* monotonic */
    uint32_t peer;   /* a small number chosen by the shell */
    uint64_t req;    /* echoed in every effect that answers */
    enum bk_role role;
    const char *name; /* certified */
    union {
        struct bk_register reg;
        struct bk_match match;
        struct bk_place place;
        struct {
            uint32_t server; /* as in the effect */
            uint64_t version;
            int code; /* 0: it is on disk */
        } saved;
    } u;
};

/* ---- Effects ---- */

enum bk_effect_kind {
    BK_FX_SAVE,  /* write `record` durably, then send BK_SAVED with server, version, peer and req */
    BK_FX_OFFER, /* to peer: record is a server that suits; best first */
    BK_FX_ROW,   /* to peer: one line of the listing: record, load, alive, age_us */
    BK_FX_REPLY, /* to peer, closes the request: code and text */
};

struct bk_load {
    uint32_t producers, threads;
    uint64_t ready, granted, jobs;
};

struct bk_effect {
    enum bk_effect_kind kind;
    uint32_t peer;
    uint64_t req;
    uint32_t server;
    uint64_t version;
    const struct bk_record *record; /* borrowed until the next step */
    struct bk_load load;
    bool alive;
    uint64_t age_us; /* since it was last heard of; since the start when it has not been heard of */
    int code;
    char text[BK_TEXT_MAX];
};

/* Reused from step to step; the step empties it first. */
struct bk_effects {
    struct bk_effect *fx;
    size_t n, cap;
};
void bk_effects_free(struct bk_effects *e);

/* ---- The machine ---- */

struct bk;

struct bk *bk_new(const struct bk_config *config);
void bk_free(struct bk *bk);
void bk_step(struct bk *bk, const struct bk_event *event, struct bk_effects *out);

/* Start: takes in one record of the store, before any event. False when it cannot be (malformed, a second one
 * of the same key, over the limits). */
bool bk_restore(struct bk *bk, const struct bk_record *record, uint64_t now_us);

/* Whether a server of this certified name may ask the witness about this shard: it serves a network to which
 * the server whose shard that is belongs too, by registration or by the policy. */
bool bk_may_ask(const struct bk *bk, const char *name, struct id shard);

/* Every internal relation that must hold; aborts otherwise. For tests. */
void bk_check(const struct bk *bk);

#endif
