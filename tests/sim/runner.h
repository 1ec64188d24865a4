/* Runs seeds of a simulator: PROGRAM [-v] [first seed [count]].
 *
 * As many processes as there are processors take seeds in turn, each process many of them; one that breaks an
 * invariant dies of it, its seed is reported, and another process goes on behind. Without arguments: first
 * the seeds of tests/sim/seeds.txt, which have found something once, then as many as suit a test run. */
#ifndef TESTS_SIM_RUNNER_H
#define TESTS_SIM_RUNNER_H

#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "tests/sim/limit.h"

struct simulator {
    const char *name;
    uint64_t seeds; /* of a test run */
    void (*run)(uint64_t seed);
    bool *talk; /* what -v sets; NULL: there is nothing to tell */
};

enum { SEED_LIMIT_S = 120, PROCESSES_MAX = 64, TURN = 16 };

/* Shared by the processes. */
struct turns {
    _Atomic uint64_t next, failed; /* first seed not taken yet */
    uint64_t end;
    _Atomic uint64_t seed[PROCESSES_MAX]; /* that each is at, and where its turn ends */
    _Atomic uint64_t turn_end[PROCESSES_MAX];
};

static void run_turns(const struct simulator *sim, struct turns *t, uint32_t worker)
{
    for (;;) {
        if (t->seed[worker] == t->turn_end[worker]) {
            uint64_t from = atomic_fetch_add(&t->next, TURN);
            if (from >= t->end) {
                fflush(NULL);
                _exit(0);
            }
            t->turn_end[worker] = from + TURN < t->end ? from + TURN : t->end;
            t->seed[worker] = from;
        }
        limit_seconds(SEED_LIMIT_S);
        sim->run(t->seed[worker]);
        t->seed[worker]++;
    }
}

static pid_t worker_start(const struct simulator *sim, struct turns *t, uint32_t worker)
{
    fflush(NULL);
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0)
        run_turns(sim, t, worker);
    return pid;
}

static void seed_failed(const struct simulator *sim, struct turns *t, uint32_t worker)
{
    unsigned long long seed = t->seed[worker]++;
    t->failed++;
    printf("seed %llu failed: see above; repeat with: build/release/tests/sim/%s -v %llu\n", seed, sim->name,
           seed);
}

/* How many seeds failed. */
static uint64_t run_seeds(const struct simulator *sim, uint64_t first, uint64_t count)
{
    struct turns *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t workers = cores < 1 ? 1 : cores > PROCESSES_MAX ? PROCESSES_MAX : (uint32_t)cores, left;
    pid_t pid[PROCESSES_MAX];
    must(t != MAP_FAILED);
    t->next = first;
    t->end = first + count;
    workers = count < workers ? (uint32_t)count : workers;
    for (uint32_t i = 0; i < workers; i++)
        pid[i] = worker_start(sim, t, i);
    for (left = workers; left;) {
        int status = 0;
        pid_t gone = wait(&status);
        must(gone > 0);
        for (uint32_t i = 0; i < workers; i++) {
            if (pid[i] != gone)
                continue;
            left--;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                continue;
            seed_failed(sim, t, i);
            pid[i] = worker_start(sim, t, i);
            left++;
        }
    }
    uint64_t failed = t->failed;
    munmap(t, sizeof *t);
    return failed;
}

/* Lines "SIMULATOR SEED what it found". */
static uint64_t run_found_before(const struct simulator *sim, uint64_t *count)
{
    char line[512], name[32];
    unsigned long long seed;
    uint64_t failed = 0;
    FILE *f = fopen("tests/sim/seeds.txt", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%31s %llu", name, &seed) != 2 || strcmp(name, sim->name) != 0)
            continue;
        failed += run_seeds(sim, seed, 1);
        ++*count;
    }
    if (f)
        fclose(f);
    return failed;
}

/* A world is made and thrown away for each seed: its memory is not given back to the system in between. */
static void keep_memory(void)
{
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TOP_PAD, 1 << 20);
}

static double wall_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Of all the processes that have run seeds. */
static double cpu_s(void)
{
    struct rusage r;
    getrusage(RUSAGE_CHILDREN, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

static int runner_main(const struct simulator *sim, int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "-v")) {
        if (sim->talk)
            *sim->talk = true;
        argc--;
        argv++;
    }
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, failed = 0, before = 0;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : sim->seeds;
    double from_s = wall_s();
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    keep_memory();
    if (argc == 1)
        failed = run_found_before(sim, &before);
    failed += run_seeds(sim, first, count);
    count += before;
    printf("%.0f seeds a second, %.0f a second of processor time\n", (double)count / (wall_s() - from_s),
           (double)count / cpu_s());
    printf("%llu passed, %llu failed\n", (unsigned long long)(count - failed), (unsigned long long)failed);
    return failed != 0;
}

#endif
