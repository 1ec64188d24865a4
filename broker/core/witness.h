/* The witness's pure core: one record a shard, changed by compare-and-set only.
 *
 * It settles which of two separated replicas may go on, by handing out epochs, and it knows who holds what:
 * the in-sync set. Nothing is answered from a record before the store has it on disk: a change is an effect
 * SAVE, and its answer waits for WITNESS_SAVED. A store that fails to write ends the process: after that
 * nobody knows what is on the disk.
 *
 * A store that several witnesses share (docs/REPLICATION.md, "etcd") is read before each ask: LOADED, then
 * ASK. What it says replaces what was known; a SAVE that it refuses, or does not answer, is UNSAVED, and
 * nobody is answered.
 *
 * Safety rests on comparing epochs, versions and nonces. Its clock serves one purpose, that a solo request
 * does harm for a short time only when it is late (docs/REPLICATION.md). */
#ifndef BROKER_CORE_WITNESS_H
#define BROKER_CORE_WITNESS_H

#include "base/shard.h"

struct witness_config {
    uint64_t boot;       /* random, made anew by each start. Not 0 */
    uint64_t solo_us;    /* a solo request's ticket is good for so long */
    uint32_t shards_max; /* rows; asks for more are not answered */
};

enum witness_event_kind {
    WITNESS_ASK,
    WITNESS_SAVED,       /* the row of the SAVE is on disk */
    WITNESS_ACCEPT_LOSS, /* the operator: `member` goes on alone with whatever it has */
    WITNESS_LOADED,      /* shared store: the record that it has now; epoch 0: none */
    WITNESS_UNSAVED,     /* shared store: the SAVE was not carried out, or nobody knows; LOADED comes next */
};

struct witness_event {
    enum witness_event_kind kind;
    uint64_t now_us; /* monotonic */
    uint32_t peer;   /* echoed in the answer */
    uint64_t req;
    struct shard_ask ask;       /* ASK; from a server's certified connection */
    struct id shard;            /* all but ASK */
    struct shard_record record; /* SAVED: as in the effect; LOADED */
    uint64_t member;            /* ACCEPT_LOSS */
    uint64_t boot;              /* LOADED: from now on the boot; made anew when the store was, too. Not 0 */
};

enum witness_effect_kind {
    WITNESS_FX_SAVE,   /* write (shard, record) durably, then send WITNESS_SAVED */
    WITNESS_FX_ANSWER, /* to peer, request req */
};

struct witness_effect {
    enum witness_effect_kind kind;
    uint32_t peer;
    uint64_t req;
    struct id shard;            /* SAVE */
    struct shard_record record; /* SAVE */
    struct shard_answer answer; /* ANSWER */
};

/* Reused from step to step; the step empties it first. At most two a step. */
struct witness_effects {
    struct witness_effect fx[2];
    size_t n;
};

struct witness;

struct witness *witness_new(const struct witness_config *config);
void witness_free(struct witness *w);
void witness_step(struct witness *w, const struct witness_event *event, struct witness_effects *out);

/* Start: takes in one row of the store. False when it cannot be (a second one, over the limit, epoch 0). */
bool witness_restore(struct witness *w, struct id shard, const struct shard_record *record);
/* False: there is no such shard. */
bool witness_find(const struct witness *w, struct id shard, struct shard_record *out);

#endif
