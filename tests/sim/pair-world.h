/* A simulated pair of replicas, their witness and their clients: one event heap, virtual time, one seed.
 *
 * The log's payload is abstract in half of the seeds: an operation of a client, or something of the shard's
 * own; in the other half it is what the real task table logs (pair-ts.h). Each history is a hash chain, so
 * that two of them are compared by one number. pair-node.h has the machines, pair-net.h the network,
 * pair-check.h what must hold. */
#ifndef TESTS_SIM_PAIR_WORLD_H
#define TESTS_SIM_PAIR_WORLD_H

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "broker/core/witness.h"
#include "cx/error.h"
#include "taskserver/core/replica.h"
#include "taskserver/core/ts.h"
#include "tests/sim/heap.h"
#include "tests/sim/spare.h"
#include "tests/sim/work.h"

enum {
    NODES = 2,
    WITNESS = 2,
    CLIENT = 3,
    ENDS = 4,
    CLIENTS = 3,
    OWN = CLIENTS,
    EPOCHS = 4096,
    MARKS = 4096
};
enum { SECOND = 1000000 };

enum happening {
    AT_TICK,    /* node a, generation n */
    AT_MSG,     /* data reaches node a */
    AT_ASK,     /* data reaches the witness, from node a of generation n */
    AT_SAVED,   /* the witness's store has written; generation n of the witness */
    AT_ANSWER,  /* data reaches node a, generation n */
    AT_SYNC,    /* node a, file n: everything up to write m is on disk */
    AT_INSTALL, /* node a, generation n: the snapshot is in place */
    AT_CLOSED,  /* node a learns that the connection broke */
    AT_RESTART, /* node a, or the witness */
    AT_OWN,     /* node a, generation n: the shard's producers have done something */
    AT_FLUSH,   /* node a, generation n: end of the reactor's turn */
    AT_THINK, /* client a sends its next operation, or once more the one that is not acknowledged; n: which */
    AT_REQUEST, /* operation m of client n reaches node a */
    AT_ACK,     /* acknowledgement of operation m reaches client n */
    AT_DONE,    /* the producer beside node a has run the grant in data; n: epoch */
    AT_FAULT,
    AT_LOOK, /* are we whole? */
};

struct event {
    enum happening kind;
    uint32_t a;
    uint64_t n, m;
    struct buf data;
};

struct entry {
    uint32_t client, n;
    uint64_t salt, chain;
    uint64_t write; /* the journal's write that it came with */
};

/* A state: entry[lsn - 1]. */
struct history {
    struct entry *entry;
    uint32_t n, cap;
    uint32_t last[CLIENTS + 1], last_lsn[CLIENTS + 1]; /* by client */
};

struct node {
    struct replica *replica; /* NULL: down */
    uint64_t generation;     /* of the process */
    uint64_t nonce, paused_us;
    uint64_t rate, base_us, since_us; /* clock: base + (now - since) * rate / 1000 */
    struct history state, scratch;
    struct replica_tag install;
    struct replica_mark install_mark;
    bool installing, flushing, stepping;
    /* as the shell knows it */
    bool serves, open;
    uint64_t held, epoch;
    /* disk */
    uint64_t incarnation, file;
    uint64_t written, synced, asked_sync;
    struct {
        uint64_t write;
        struct replica_mark mark;
    } mark[MARKS];
    uint32_t marks;
    /* the real table, and its part of the file */
    struct ts *ts, *scratch_ts;
    struct ts_effects ts_fx;
    struct buf base, scratch_base, log;
    uint64_t base_lsn;
    bool syncing;
};

struct client {
    uint32_t n, acked, target, promised;
    uint64_t sent_us, healed_n;
};

enum mode { MODE_SINGLE, MODE_CHAOS, MODE_LIVENESS };

struct world {
    uint64_t seed, rng, now, salt;
    struct heap heap;
    struct spare spare;
    enum mode mode;
    bool journal, real;
    struct replica_config config;
    struct node node[NODES];
    struct client client[CLIENTS];
    /* witness */
    struct witness *witness; /* NULL: down */
    uint64_t witness_generation;
    struct shard_record store; /* on its disk */
    struct shard_record saving;
    uint32_t asker; /* the node that last wanted a change */
    /* network */
    uint64_t cut_us[ENDS][ENDS];  /* from, to: until then */
    uint64_t last_us[ENDS][ENDS]; /* latest arrival on the way */
    bool ordered;                 /* messages of one way do not overtake each other */
    uint32_t drop, twice, late;   /* of 1000 messages */
    uint32_t slow;                /* of 1000 messages to and from the witness are late */
    /* faults */
    uint64_t end_us, faults, whole_us, fault_us;
    bool healed, whole, lossy, accepted;
    /* what must hold */
    struct {
        uint64_t nonce;
    } primary[EPOCHS];
    uint64_t *truth; /* chain of each lsn that was ever held */
    uint32_t truth_n, truth_cap;
    uint64_t *line; /* chains of the latest primary's history */
    uint32_t line_n, line_cap;
    uint64_t line_epoch;
    bool line_lost; /* nothing of it was ever on its primary's disk */
    uint64_t takeovers, acks;
    struct replica_effects fx[4]; /* by depth of steps within steps */
    uint32_t depth;
    struct witness_effects wfx;
};

static void broken(const struct world *w, const char *what)
{
    fprintf(stderr, "seed %llu at %.6f s: %s\n", (unsigned long long)w->seed, (double)w->now / 1e6, what);
    abort();
}

static bool talk; /* argv: tell what happens */
#define say(w, ...)                                                                                          \
    do {                                                                                                     \
        if (talk) {                                                                                          \
            printf("%10.6f ", (double)(w)->now / 1e6);                                                       \
            printf(__VA_ARGS__);                                                                             \
            putchar('\n');                                                                                   \
        }                                                                                                    \
    } while (0)

static uint64_t chance(struct world *w, uint64_t below)
{
    w->rng = mix(w->rng, 1);
    return w->rng % below;
}
static bool one_in(struct world *w, uint64_t n)
{
    return chance(w, n) == 0;
}
static uint64_t between(struct world *w, uint64_t from, uint64_t to)
{
    return from + chance(w, to - from + 1);
}

static void *room(void *at, uint32_t *cap, uint32_t n, size_t size)
{
    if (n < *cap)
        return at;
    while (*cap <= n)
        *cap = *cap ? *cap * 2 : 64;
    at = realloc(at, *cap * size);
    must(at);
    return at;
}

/* ---- Events ---- */

static void happen(struct world *w, uint64_t after_us, struct event e)
{
    heap_add(&w->heap, w->now + after_us, &e);
}

/* ---- Histories ---- */

static uint64_t chain_at(const struct history *h, uint64_t lsn)
{
    return lsn ? h->entry[lsn - 1].chain : 0;
}

/* A client sends operation n + 1 when n was acknowledged, so a state that lacks n lost something
 * acknowledged, and one that has n twice counted a duplicate. */
static void history_add(struct world *w, struct history *h, uint32_t client, uint32_t n, uint64_t salt,
                        uint64_t write)
{
    if (client < CLIENTS && !w->lossy && n != h->last[client] + 1)
        broken(w, n <= h->last[client] ? "an operation counts twice" : "an acknowledged operation is lost");
    h->entry = room(h->entry, &h->cap, h->n, sizeof *h->entry);
    uint64_t chain = mix(mix(chain_at(h, h->n), salt), client * 1000003ull + n);
    h->entry[h->n++] = (struct entry){client, n, salt, chain, write};
    h->last[client] = n;
    h->last_lsn[client] = h->n;
}

static void history_cut(struct history *h, uint32_t n)
{
    h->n = n;
    memset(h->last, 0, sizeof h->last);
    memset(h->last_lsn, 0, sizeof h->last_lsn);
    for (uint32_t i = 0; i < n; i++) {
        h->last[h->entry[i].client] = h->entry[i].n;
        h->last_lsn[h->entry[i].client] = i + 1;
    }
}

static void entry_put(struct buf *b, const struct entry *e)
{
    put_varint(b, e->client);
    put_varint(b, e->n);
    put_u64(b, e->salt);
}
static void entry_get(struct world *w, struct bytes record, struct history *h, uint64_t write)
{
    struct reader r = reader_of(record);
    uint32_t client = (uint32_t)get_varint(&r), n = (uint32_t)get_varint(&r);
    uint64_t salt = get_u64(&r);
    must(!r.bad && client <= OWN);
    history_add(w, h, client, n, salt, write);
}

#endif
