/* A model of a large network: the shipped cores of all its shards, in virtual time, on one thread.
 *
 * Real are the task tables (struct ts) with all that they decide: whom to grant what, eager copies at the
 * end, stealing between shards. A producer is a light model: one thread, and the window that the real one has
 * for long tasks, one running and one ahead; its core would add nothing but its memory, ten thousand times. A
 * pair of servers is its shards: each record is held when the sibling, a few ms away, has it.
 *
 * scale-shard.h has the shards and the ways between them, scale-producer.h the machines that come and go,
 * scale-run.h one job from its submission to its result. */
#ifndef TESTS_SIM_SCALE_WORLD_H
#define TESTS_SIM_SCALE_WORLD_H

#include <stdio.h>
#include <stdlib.h>

#include "base/commit.h"
#include "base/must.h"
#include "taskserver/core/ts.h"
#include "tests/sim/heap.h"
#include "tests/sim/mix.h"
#include "tests/sim/spare.h"

enum { SECOND = 1000000, WINDOW = 2, CLIENT_PEER = 0, LEVELS = 3 };

enum happening {
    AT_TICK,    /* shard a */
    AT_HELD,    /* shard a: its log up to n */
    AT_PEER,    /* data of shard b reaches shard a */
    AT_LINK,    /* shards a and b are connected */
    AT_JOIN,    /* producer a comes */
    AT_LEAVE,   /* producer a goes, session n */
    AT_NOTICED, /* its shard notices; n: the session's peer */
    AT_GRANT,   /* data reaches producer a, session n */
    AT_REVOKE,  /* of task: likewise */
    AT_DONE,    /* producer a, run n */
    AT_COMMIT,  /* data of producer a, session n, reaches its shard */
    AT_SUBMIT,
};

struct event {
    enum happening kind;
    uint32_t a, b;
    uint64_t n;
    struct id task;
    struct buf data;
};

struct shard {
    struct ts *ts;
    struct ts_effects fx;
    uint64_t tick_us, logged;
    bool holding; /* a HELD is on its way */
    uint32_t x, y;
};

struct run {
    struct id task;
    uint64_t hash;
    uint32_t level;
};
struct producer {
    uint32_t shard, sessions, rtt_us;
    bool here;
    struct run run[2 * WINDOW]; /* the first is running */
    uint32_t runs;
    uint64_t number, since_us, arrives; /* of the first run; since when here; the last grant */
};

struct plan {
    uint32_t producers, pairs, tasks_each, fan;
    uint32_t stays_s, away_s; /* means; stays 0: all stay */
    uint64_t seed;
};

struct figures {
    uint64_t tasks, executed, duplicates;
    uint64_t job_us;                  /* from submission to result */
    uint64_t present_us;              /* of all producers, meanwhile */
    uint64_t useful_us;               /* of tasks, each once */
    uint64_t between;                 /* messages between shards */
    uint64_t between_bytes, producer; /* messages of producers */
    uint64_t left, steps;
    uint64_t shards_used; /* that ran something */
};

struct world {
    struct plan plan;
    uint64_t rng, now, submitted_us;
    struct heap heap;
    struct spare spare;
    struct shard *shard;
    struct producer *producer;
    uint32_t shards;
    uint8_t *used; /* by shard */
    bool over;
    int64_t result;
    struct figures f;
};

static uint64_t chance(struct world *w, uint64_t below)
{
    w->rng = mix(w->rng, 1);
    return w->rng % below;
}

/* About as an exponential distribution has it: sixteenths of the mean, each the last with a chance of 1
 * in 16. */
static uint64_t some_time(struct world *w, uint64_t mean_us)
{
    uint64_t us = 0;
    while (chance(w, 16) != 0)
        us += mean_us / 16;
    return us + chance(w, mean_us / 16 + 1);
}

static void happen(struct world *w, uint64_t after_us, struct event e)
{
    heap_add(&w->heap, w->now + after_us, &e);
}

static struct buf copy_of(struct world *w, struct bytes data)
{
    struct buf b = spare_take(&w->spare);
    buf_add(&b, data.data, data.len);
    return b;
}

static struct id shard_name(uint32_t i)
{
    return (struct id){7, i + 1};
}
static uint32_t shard_index(const struct world *w, struct id name)
{
    must(name.hi == 7 && name.lo >= 1 && name.lo <= w->shards);
    return (uint32_t)name.lo - 1;
}

/* A peer number is of one session, so that what reaches an old one reaches nobody. */
static uint32_t peer_of(const struct world *w, uint32_t producer)
{
    return 1 + producer + w->plan.producers * w->producer[producer].sessions;
}

#endif
