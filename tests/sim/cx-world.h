/* A simulated network round one task server core: producers, consumers, delays, faults, a virtual clock.
 *
 * One seed decides everything. Connections keep their order and lose what is on the way when they break;
 * across connections messages overtake each other. After `heal_us` no more faults happen, and every job must
 * end. This file has what there is; cx-server.h the server and its log, cx-producer.h producers, cx-hostile.h
 * those who lie, cx-client.h jobs and those who want them, cx-run.h what happens, from beginning to end. */
#ifndef TESTS_SIM_CX_WORLD_H
#define TESTS_SIM_CX_WORLD_H

#include "cx/error.h"
#include "taskserver/core/ts.h"
#include "tests/sim/heap.h"
#include "tests/sim/work.h"

enum {
    JOBS_MAX = 8,
    PRODUCERS_MAX = 8,
    RUNS_WANTED_MAX = 6,
    RUNNING_MAX = 64,
    PEERS = 4096,
    HARMED_MAX = 256
};

enum happening {
    AT_HELD, /* the log up to u64 is held */
    AT_TICK,
    AT_JOIN,     /* producer a connects */
    AT_SEND,     /* client a: whatever its job needs next */
    AT_ARRIVE,   /* a message of producer a, session u64, reaches the server */
    AT_GRANT,    /* a grant reaches producer a, session u64 */
    AT_REVOKE,   /* task reaches producer a, session u64 */
    AT_GONE,     /* job reaches producer a, session u64 */
    AT_DONE,     /* producer a: the run with number u64 is finished */
    AT_MISCHIEF, /* something goes wrong */
    AT_NOTICE,   /* the server notices that session u64 of producer a is dead */
};

struct event {
    enum happening kind;
    uint32_t a;
    uint64_t u64;
    enum ts_event_kind sent; /* ARRIVE */
    struct id job, task;
    struct buf data;
};

struct run {
    uint64_t number; /* 0: free */
    struct id job, task;
    struct buf grant;
    struct buf commit; /* decided when it starts */
    bool told;         /* finished while disconnected: kept until the next session */
};

struct producer_sim {
    uint32_t peer; /* 0: not connected */
    uint64_t session;
    uint64_t last_in, last_out; /* arrival times, so that a connection keeps its order */
    struct run run[RUNNING_MAX];
    uint32_t window;
    uint64_t known; /* bit j: told of job j in this session */
    uint32_t slowness;
    bool crashes, hangs, lies;
};

struct job_sim {
    struct id id;
    struct buf args;
    uint32_t fn;
    struct ts_submit submit;
    /* what must come out */
    bool fails, exact;
    const char *reason;
    struct mval value;
    uint64_t executed;
    /* what the client knows */
    uint64_t cancel_us; /* 0: never */
    bool acked, cancelled, answered, gone;
    uint64_t answer_hash;
    uint32_t peer;
};

struct world {
    uint64_t seed, rng;
    uint64_t now, heal_us;
    struct heap heap;
    struct ts_config config;
    struct ts *ts;
    struct ts_effects fx;
    struct buf log; /* records: length, data */
    uint64_t records, held;
    uint64_t tick_us; /* of the TICK that is under way */
    uint64_t incarnation;
    uint32_t next_peer;
    uint64_t next_run;
    bool check_all, compare_all, tight;
    struct job_sim job[JOBS_MAX];
    uint32_t jobs;
    struct producer_sim producer[PRODUCERS_MAX];
    uint32_t producers;
    struct {
        struct id job, task;
        uint32_t times;
    } harmed[HARMED_MAX]; /* tasks that were crashed for no reason: not often enough to be poison */
    uint32_t harms;
    uint64_t steps;
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

static void happen(struct world *w, uint64_t after_us, struct event e)
{
    heap_add(&w->heap, w->now + after_us, &e);
}

static struct job_sim *job_of(struct world *w, struct id id)
{
    for (uint32_t i = 0; i < w->jobs; i++)
        if (id_equal(w->job[i].id, id))
            return &w->job[i];
    broken(w, "an effect for a job that nobody submitted");
    return NULL;
}

static struct producer_sim *producer_of(struct world *w, uint32_t peer)
{
    for (uint32_t i = 0; i < w->producers; i++)
        if (w->producer[i].peer == peer)
            return &w->producer[i];
    return NULL;
}

#endif
