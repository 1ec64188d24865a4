/* A thread a seat: takes a grant from its ring, runs it, writes the commit. */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"
#include "cx/error.h"
#include "producer/runner/runner.h"

#define SPIN_NS           20000u            /* looked for work so long before sleeping, */
#define SPIN_LOOKS        64u               /* the clock being read each so many looks */
#define ENGINE_MEMORY_MAX ((size_t)1 << 30) /* arena and values of one thread; less on a small machine */
#define STACK_BYTES       ((size_t)16 << 20)

static void ring_daemon(void)
{
    uint64_t one = 1;
    if (write(LINK_FD_BELL, &one, sizeof one) < 0)
        must(errno == EAGAIN); /* the counter is full: it has been rung often enough */
}

void runner_ring(struct runner *r)
{
    if (bell_due(&r->link.head->daemon))
        ring_daemon();
}

/* Spinning pays only while it takes the core from nobody: the daemon needs one too. */
static bool may_spin(const struct worker *w)
{
    return atomic_load_explicit(&w->runner->link.head->awake, memory_order_relaxed) < w->runner->cores;
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool spin(struct worker *w)
{
    uint64_t until_ns = clock_ns() + SPIN_NS;
    do {
        for (unsigned i = 0; i < SPIN_LOOKS; i++) {
            if (!ring_empty(&w->in))
                return true;
            cpu_relax();
        }
    } while (may_spin(w) && clock_ns() < until_ns);
    return false;
}

static void wait_for_work(struct worker *w)
{
    _Atomic uint32_t *awake = &w->runner->link.head->awake;
    if (may_spin(w) && spin(w))
        return;
    atomic_fetch_sub(awake, 1);
    bell_arm(&w->at->bell);
    if (ring_empty(&w->in))
        bell_wait(&w->at->bell);
    else
        bell_disarm(&w->at->bell);
    atomic_fetch_add(awake, 1);
}

static void write_commit(struct worker *w, struct bytes commit)
{
    size_t done = 0;
    while (!ring_put(&w->out, commit, &done)) {
        ring_publish(&w->out);
        runner_ring(w->runner);
        ring_wait_room(&w->out);
    }
    ring_publish(&w->out);
    runner_ring(w->runner);
}

static void run(struct worker *w, struct bytes packed, struct buf *commit)
{
    uint32_t number = w->number++;
    struct reader r = reader_of(packed);
    struct grant g;
    if (!link_claim_start(w->at, number))
        return;
    must(grant_get(&r, &g) && r.at == r.end);
    atomic_store_explicit(&w->at->running, number + 1, memory_order_release);
    buf_clear(commit);
    engine_run(w->engine, &g, commit);
    write_commit(w, buf_bytes(commit));
    atomic_store_explicit(&w->at->running, 0, memory_order_release);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct buf grant = {0}, commit = {0};
    must(crash_thread(w->index) == 0);
    for (;;) {
        buf_clear(&grant);
        int rc = ring_get(&w->in, &grant);
        must(rc >= 0);
        if (ring_release(&w->in))
            ring_daemon();
        if (rc)
            run(w, buf_bytes(&grant), &commit);
        else
            wait_for_work(w);
    }
    return NULL;
}

static uint32_t cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : (uint32_t)CPU_COUNT(&set);
}

/* All engines together get at most half of the machine. */
static size_t engine_memory(uint32_t threads)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t share = pages > 0 && page > 0 ? (size_t)pages / 2 / threads * (size_t)page : ENGINE_MEMORY_MAX;
    return share < ENGINE_MEMORY_MAX ? share : ENGINE_MEMORY_MAX;
}

static int start_one(struct runner *r, uint32_t i, char *why)
{
    struct worker *w = &r->worker[i];
    *w = (struct worker){.runner = r, .at = link_thread(&r->link, i), .index = i};
    ring_reader_init(&w->in, link_in(&r->link, i), LINK_IN_BYTES, LINK_GRANT_MAX);
    ring_writer_init(&w->out, link_out(&r->link, i), LINK_OUT_BYTES);
    struct engine_config config = {.module = r->module,
                                   .input = r->input,
                                   .shared = &r->link.head->engine,
                                   .clock_ns = clock_ns,
                                   .memory_max = engine_memory(r->link.threads)};
    int rc = engine_new(&config, &w->engine);
    if (rc) {
        snprintf(why, LINK_WHY_MAX, "the engine of thread %u could not be made: %s", i, cx_err_text(rc));
        return rc;
    }
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    rc = pthread_create(&w->thread, &attr, work, w);
    pthread_attr_destroy(&attr);
    if (rc)
        snprintf(why, LINK_WHY_MAX, "thread %u of %u could not be started: %s", i, r->link.threads,
                 strerror(rc));
    return rc ? CX_ENOMEM : 0;
}

int threads_start(struct runner *r, char *why)
{
    int rc = crash_watch(r->link.head, why);
    r->cores = cores();
    r->worker = calloc(r->link.threads, sizeof *r->worker);
    if (!r->worker)
        return CX_ENOMEM;
    atomic_store(&r->link.head->awake, r->link.threads);
    for (uint32_t i = 0; i < r->link.threads && !rc; i++)
        rc = start_one(r, i, why);
    return rc;
}

void threads_join(struct runner *r)
{
    for (uint32_t i = 0; i < r->link.threads; i++)
        pthread_join(r->worker[i].thread, NULL);
}
