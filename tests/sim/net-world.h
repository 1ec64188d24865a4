/* A simulated network of two to four shards: cores, producers, clients and the connections between the
 * shards.
 *
 * One seed decides everything. Connections between shards keep their order, lose what is on the way when they
 * break, and are noticed broken late, by either side, or only when there is a new one. A shard that crashes
 * comes back with what was held and some of what was not. After `heal_us` nothing breaks any more, and every
 * job must end. */
#ifndef TESTS_SIM_NET_WORLD_H
#define TESTS_SIM_NET_WORLD_H

#include "cx/error.h"
#include "taskserver/core/ts.h"
#include "tests/sim/heap.h"
#include "tests/sim/work.h"

enum { SHARDS = 4, WORKERS = 3, RUNS = 256, JOBS = 5 };

enum happening {
    AT_HELD,   /* shard a, life u64: the log up to n is held */
    AT_TICK,   /* shard a */
    AT_PEER,   /* a message of shard b reaches shard a, over connection u64 */
    AT_LOST,   /* shard a notices that connection u64 to shard b is broken */
    AT_LINK,   /* shards a and b are connected anew */
    AT_JOIN,   /* worker b of shard a connects, life u64 of the shard */
    AT_DONE,   /* worker b of shard a: run u64 is finished */
    AT_CLIENT, /* of job a: it does what is next */
    AT_MISCHIEF,
};

struct happens {
    enum happening kind;
    uint32_t a, b;
    uint64_t u64, n;
    struct buf data;
};

struct worker {
    bool in;
    uint32_t window, slowness;
};
struct running {
    uint64_t number; /* 0: free */
    uint32_t worker;
    struct id job, task;
    struct buf commit;
};
struct shard {
    struct ts *ts;
    struct ts_config config;
    struct ts_effects fx;
    struct buf log; /* records: length, data */
    uint64_t records, held, life, tick_us;
    struct worker worker[WORKERS];
    struct running run[RUNS];
    uint64_t link[SHARDS];    /* connection as this side knows it; 0: none */
    uint64_t arrives[SHARDS]; /* so that a connection keeps its order */
};

struct job_sim {
    struct id id;
    struct buf args;
    struct ts_submit submit;
    uint32_t home;
    int64_t mode;
    bool mute; /* some tasks give nothing: it gets stuck */
    uint64_t muted;
    uint64_t cancel_us; /* 0: never */
    /* what must come out */
    bool fails;
    const char *reason;
    struct mval value;
    uint64_t executed;
    /* what the client knows */
    bool cancelled, answered, gone;
    uint64_t answer;
};

struct world {
    uint64_t seed, rng, now, heal_us, calm_us, next_link, next_run, steps;
    struct heap heap;
    struct shard shard[SHARDS];
    uint32_t shards;
    struct job_sim job[JOBS];
    uint32_t jobs;
    uint64_t link[SHARDS][SHARDS]; /* connections that hold; 0: none */
    uint64_t moved, crashes, breaks;
    bool check_all;
};

static void broken(const struct world *w, const char *what)
{
    fprintf(stderr, "seed %llu at %llu us: %s\n", (unsigned long long)w->seed, (unsigned long long)w->now,
            what);
    abort();
}

static uint64_t chance(struct world *w, uint64_t below)
{
    w->rng = mix(w->rng, 1);
    return w->rng % below;
}
static bool one_in(struct world *w, uint64_t n)
{
    return chance(w, n) == 0;
}
static bool healed(const struct world *w)
{
    return w->now >= w->heal_us;
}

/* ---- What is to happen ---- */

static void happen(struct world *w, uint64_t after_us, struct happens e)
{
    heap_add(&w->heap, w->now + after_us, &e);
}

static struct id shard_name(uint32_t i)
{
    return (struct id){77, i + 1};
}
static uint32_t shard_index(const struct world *w, struct id name)
{
    if (name.hi != 77 || name.lo == 0 || name.lo > w->shards)
        broken(w, "a shard that does not exist");
    return (uint32_t)name.lo - 1;
}
static struct job_sim *job_of(struct world *w, struct id id)
{
    for (uint32_t i = 0; i < w->jobs; i++)
        if (id_equal(w->job[i].id, id))
            return &w->job[i];
    broken(w, "an effect for a job that nobody submitted");
    return NULL;
}

#endif
