/* ns per executed task when a whole job collapses on one thread: fib(n), all the way down.
 *
 * Processor time, so that others on the machine do not count, except for what they do to its caches. The best
 * round says what the engine costs, the median what the machine made of it. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "producer/runner/engine.h"

#define cx_module_v1 fib_module
#include "../../examples/fib/module.c"

#define ROUNDS 60

static uint64_t executed_by(struct engine *e, int64_t n, int64_t *value)
{
    struct buf args = {0}, out = {0};
    put_value(&args, cx_v_i64(n));
    struct grant g = {.task = id_root(), .budget_us = UINT32_MAX, .fn = FN_FIRST, .nslots = 1};
    g.values = buf_bytes(&args);
    engine_run(e, &g, &out);
    struct reader r = reader_of(buf_bytes(&out));
    struct commit c;
    struct op op;
    if (!commit_get(&r, &c) || (r = reader_of(c.body), !op_get(&r, &op)) || op.kind != OP_SET)
        abort();
    r = reader_of(op.values);
    *value = get_value(&r).as.i64;
    buf_free(&args);
    buf_free(&out);
    return c.executed;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double round_ns(struct engine *e, int64_t n, int64_t *value, uint64_t *executed)
{
    uint64_t t = cpu_ns();
    *executed = executed_by(e, n, value);
    return (double)(cpu_ns() - t) / (double)*executed;
}

int main(int argc, char **argv)
{
    int64_t n = argc > 1 ? atoll(argv[1]) : 30, value = 0;
    double ns[ROUNDS];
    uint64_t executed = 0;
    struct engine_shared shared;
    engine_shared_init(&shared);
    struct engine_config config = {
        .module = &fib_module, .shared = &shared, .clock_ns = clock_ns, .memory_max = (size_t)64 << 20};
    struct engine *e;
    if (engine_new(&config, &e))
        abort();
    for (int i = 0; i < ROUNDS; i++)
        ns[i] = round_ns(e, n, &value, &executed);
    qsort(ns, ROUNDS, sizeof ns[0], by_value);
    printf("collapsed_task: fib(%lld) = %lld, %llu tasks: %.2f ns a task, best of %d; median %.2f\n",
           (long long)n, (long long)value, (unsigned long long)executed, ns[0], ROUNDS, ns[ROUNDS / 2]);
    engine_free(e);
    return 0;
}
