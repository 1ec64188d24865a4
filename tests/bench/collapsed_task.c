/* ns per executed task when a whole job collapses on one thread: fib(n), all the way down. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "producer/runner/engine.h"

#define cx_module_v1 fib_module
#include "../../examples/fib/module.c"

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

int main(int argc, char **argv)
{
    int64_t n = argc > 1 ? atoll(argv[1]) : 30;
    struct engine_shared shared;
    engine_shared_init(&shared);
    struct engine_config config = {
        .module = &fib_module, .shared = &shared, .clock_ns = clock_ns, .memory_max = (size_t)64 << 20};
    struct engine *e;
    if (engine_new(&config, &e))
        abort();
    double best = 1e9;
    uint64_t executed = 0;
    int64_t value = 0;
    for (int round = 0; round < 7; round++) {
        uint64_t t = clock_ns();
        executed = executed_by(e, n, &value);
        double ns = (double)(clock_ns() - t) / (double)executed;
        best = ns < best ? ns : best;
    }
    printf("collapsed_task: fib(%lld) = %lld, %llu tasks, %.2f ns a task (best of 7)\n", (long long)n,
           (long long)value, (unsigned long long)executed, best);
    engine_free(e);
    return 0;
}
