/* The scale model's world: what there is, the seeded chance, and the heap of what is to happen. */
#ifndef TESTS_SIM_SCALE_WORLD_H
#define TESTS_SIM_SCALE_WORLD_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "cx/error.h"
#include "taskserver/core/ts.h"

#define SECOND       UINT64_C(1000000)
#define SHARD_ONE_US 50000u          /* one way between any two shards, siblings too */
#define FLUSH_US     1000u           /* records are gathered so long before they go to disk and sibling */
#define LIFE_US      (1200 * SECOND) /* mean time from a producer's coming to its going */
#define AWAY_US      (60 * SECOND)   /* mean time until another comes in its place */
#define SILENCE_US   (10 * SECOND)   /* until a server gives up a producer that vanished without a word */
#define IDLE_US      (20 * SECOND)   /* the network is idle so long before the jobs come */
#define NODE_US      1000u           /* a task that fans out */
#define LEAF_US      SECOND          /* mean of a leaf; from 3/4 to 5/4 of it */

enum { THREADS_MAX = 4, RUNS_MAX = 4 * THREADS_MAX, JOBS = 3, FAN = 32, CLIENT = 1 };
enum function { SUM_I64 = 1, FN_NODE = FN_FIRST, FN_LEAF };

enum happening {
    AT_TICK,    /* shard a */
    AT_FLUSH,   /* shard a: what it has logged goes to disk and sibling */
    AT_HELD,    /* shard a: the log up to n */
    AT_PEER,    /* a message of shard b reaches shard a */
    AT_COME,    /* a producer comes to place a */
    AT_JOINED,  /* that of place a, life n, has reached its server */
    AT_GRANTS,  /* a message reaches place a, life n */
    AT_DONE,    /* place a, run b of number n is finished */
    AT_COMMITS, /* a message of place a reaches its server */
    AT_GO,      /* the producer of place a, life n, goes */
    AT_MISSED,  /* its server has noticed */
};

struct letter {
    size_t len;
    uint8_t data[];
};
struct happens {
    uint64_t at_us, order;
    enum happening kind;
    uint32_t a, b;
    uint64_t n;
    struct letter *letter; /* owned */
};

/* What a producer holds. */
struct run {
    uint64_t number; /* 0: free; in the order they came */
    bool begun;
    struct grant grant; /* without the values */
    int64_t lo, n;      /* these */
};
/* A producer, or the place of one that is away. */
struct place {
    bool in;
    uint32_t shard, threads, busy;
    uint64_t life, latency_us;
    struct run run[RUNS_MAX];
    struct buf out; /* what its server tells it in this step */
};
struct shard {
    struct ts *ts;
    struct ts_effects fx;
    uint64_t records, tick_us;
    bool flushing;
};
struct job_run {
    struct id id;
    uint64_t done_us; /* 0: it runs */
};

struct world {
    uint64_t rng, now, order, next_run;
    struct happens *heap;
    uint32_t events, cap;
    struct shard *shard;
    uint32_t shards;
    struct place *place;
    uint32_t places;
    uint32_t *told; /* places with something in out */
    uint32_t ntold;
    struct job_run job[JOBS];
    uint32_t done;
    int64_t leaves; /* a job */
    struct buf body, batch;
    /* measured from start_us on */
    uint64_t start_us, threads, threads_us; /* present now; since when */
    double thread_s;                        /* threads x time */
    uint64_t leaves_run, lost, to_producers, from_producers, between, between_bytes, steps;
};

static uint64_t chance(struct world *w, uint64_t below)
{
    w->rng = hash64(&w->rng, sizeof w->rng, 1);
    return w->rng % below;
}

static uint64_t exponential(struct world *w, uint64_t mean)
{
    return (uint64_t)(-log((double)(1 + chance(w, 1u << 30)) / (1u << 30)) * (double)mean);
}

_Noreturn static void broken(const struct world *w, const char *what)
{
    fprintf(stderr, "scale: %u producers, at %.3f s: %s\n", w->places, (double)w->now / 1e6, what);
    abort();
}

/* ---- What is to happen ---- */

static bool sooner(const struct happens *a, const struct happens *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

static void happen(struct world *w, uint64_t after_us, struct happens e)
{
    e.at_us = w->now + after_us;
    e.order = w->order++;
    if (w->events == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 1024;
        w->heap = realloc(w->heap, w->cap * sizeof *w->heap);
        must(w->heap);
    }
    uint32_t i = w->events++;
    for (; i && sooner(&e, &w->heap[(i - 1) / 4]); i = (i - 1) / 4)
        w->heap[i] = w->heap[(i - 1) / 4];
    w->heap[i] = e;
}

static uint32_t soonest_child(const struct world *w, uint32_t i)
{
    uint32_t best = 4 * i + 1, end = best + 4 < w->events ? best + 4 : w->events;
    for (uint32_t c = best + 1; c < end; c++)
        if (sooner(&w->heap[c], &w->heap[best]))
            best = c;
    return best;
}

static struct happens next_event(struct world *w)
{
    must(w->events);
    struct happens first = w->heap[0], last = w->heap[--w->events];
    uint32_t i = 0;
    while (4 * i + 1 < w->events) {
        uint32_t c = soonest_child(w, i);
        if (!sooner(&w->heap[c], &last))
            break;
        w->heap[i] = w->heap[c];
        i = c;
    }
    w->heap[i] = last;
    return first;
}

static struct letter *letter_of(struct bytes b)
{
    struct letter *l = malloc(sizeof *l + b.len);
    must(l);
    l->len = b.len;
    memcpy(l->data, b.data, b.len);
    return l;
}
static struct bytes letter_bytes(const struct letter *l)
{
    return (struct bytes){l->data, l->len};
}

static struct id shard_name(uint32_t i)
{
    return (struct id){77, i + 1};
}

#endif
