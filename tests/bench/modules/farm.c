/* The benchmarks' tasks. */
#define _POSIX_C_SOURCE 199309L
#include <cx/task.h>
#include <time.h>

#include "examples/synthetic/load.h"

/* ---- Task Bench's trivial pattern: tasks that depend on nothing ---- */

CX_TASK(leaf) /* i64 rounds of arithmetic -> i64 1 */
{
    load_spin(cx_i64(cx, 0));
    cx_return_i64(cx, 1);
}

CX_TASK(row) /* i64 n, i64 rounds -> i64 n */
{
    int64_t n = cx_i64(cx, 0), rounds = cx_i64(cx, 1);
    if (n < 0 || n > (int64_t)CX_SLOTS_MAX)
        return cx_fail(cx, "a row has 0 to %u tasks", CX_SLOTS_MAX);
    cx_ref all = cx_successor(cx, CX_COUNT, (uint32_t)n);
    for (uint32_t i = 0; i < (uint32_t)n; i++)
        cx_spawn(cx, leaf, cx_slot(all, i), cx_args(rounds));
}

CX_TASK(grid) /* i64 rows, i64 n a row, i64 rounds -> i64 rows * n */
{
    int64_t rows = cx_i64(cx, 0), n = cx_i64(cx, 1), rounds = cx_i64(cx, 2);
    if (rows < 0 || rows > (int64_t)CX_SLOTS_MAX)
        return cx_fail(cx, "a grid has 0 to %u rows", CX_SLOTS_MAX);
    cx_ref all = cx_successor(cx, CX_SUM_I64, (uint32_t)rows);
    for (uint32_t i = 0; i < (uint32_t)rows; i++)
        cx_spawn(cx, row, cx_slot(all, i), cx_args(n, rounds));
}

/* ---- Sleepers: as long as wanted, without a processor ---- */

CX_TASK(nap) /* i64 us -> i64 1 */
{
    load_doze_us(cx_i64(cx, 0));
    cx_return_i64(cx, 1);
}

CX_TASK(naps) /* i64 n, i64 us each -> i64 n */
{
    int64_t n = cx_i64(cx, 0), us = cx_i64(cx, 1);
    cx_ref all = cx_successor(cx, CX_COUNT, (uint32_t)n & (CX_SLOTS_MAX - 1));
    for (uint32_t i = 0; i < ((uint32_t)n & (CX_SLOTS_MAX - 1)); i++)
        cx_spawn(cx, nap, cx_slot(all, i), cx_args(us));
}

CX_TASK(sleeper) /* -> i64 1, after a quarter of an hour */
{
    load_doze_us(900000000);
    cx_return_i64(cx, 1);
}

CX_TASK(sleepers) /* i64 n -> i64 n: a queue that nobody shortens */
{
    uint32_t n = (uint32_t)cx_i64(cx, 0) & (CX_SLOTS_MAX - 1);
    cx_ref all = cx_successor(cx, CX_COUNT, n);
    for (uint32_t i = 0; i < n; i++)
        cx_spawn(cx, sleeper, cx_slot(all, i), CX_NO_ARGS);
}

CX_TASK(hall) /* i64 rows, i64 n a row -> i64 rows * n: the rows go first, so that all are there before one
                 sleeps */
{
    uint32_t rows = (uint32_t)cx_i64(cx, 0) & (CX_SLOTS_MAX - 1);
    cx_ref all = cx_successor(cx, CX_SUM_I64, rows);
    for (uint32_t i = 0; i < rows; i++)
        cx_spawn_with(cx, sleepers, cx_slot(all, i), cx_args(cx_i64(cx, 1)), (cx_opts){.priority = 1});
}

CX_TASK(laden) /* bytes -> i64 1, after a quarter of an hour: a task of some size in a queue */
{
    load_doze_us(900000000);
    cx_return_i64(cx, 1);
}

CX_TASK(ladens) /* i64 n, bytes -> i64 n */
{
    uint32_t n = (uint32_t)cx_i64(cx, 0) & (CX_SLOTS_MAX - 1);
    cx_ref all = cx_successor(cx, CX_COUNT, n);
    for (uint32_t i = 0; i < n; i++)
        cx_spawn(cx, laden, cx_slot(all, i), cx_args(cx_bytes(cx, 1)));
}

CX_TASK(depot) /* i64 rows, i64 n a row, bytes -> i64 rows * n: a hall of those */
{
    uint32_t rows = (uint32_t)cx_i64(cx, 0) & (CX_SLOTS_MAX - 1);
    cx_ref all = cx_successor(cx, CX_SUM_I64, rows);
    for (uint32_t i = 0; i < rows; i++)
        cx_spawn_with(cx, ladens, cx_slot(all, i), cx_args(cx_i64(cx, 1), cx_bytes(cx, 2)),
                      (cx_opts){.priority = 1});
}

/* ---- There and back: each task is spawned by the one before, and notes when it ran ---- */

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

CX_TASK(trip) /* i64 n -> bytes: n times of the clock, ns, 8 bytes each */
{
    int64_t n = cx_i64(cx, 0), ns = now_ns();
    if (n <= 1)
        return cx_return_bytes(cx, &ns, sizeof ns);
    cx_ref all = cx_successor(cx, CX_CONCAT, 2);
    cx_set(cx, cx_slot(all, 0), cx_v_bytes(&ns, sizeof ns));
    cx_spawn(cx, trip, cx_slot(all, 1), cx_args(n - 1));
}

CX_TASK(stroll) /* i64 n, i64 us -> bytes, as trip; each takes its time */
{
    int64_t n = cx_i64(cx, 0), us = cx_i64(cx, 1), ns = now_ns();
    load_doze_us(us);
    if (n <= 1)
        return cx_return_bytes(cx, &ns, sizeof ns);
    cx_ref all = cx_successor(cx, CX_CONCAT, 2);
    cx_set(cx, cx_slot(all, 0), cx_v_bytes(&ns, sizeof ns));
    cx_spawn(cx, stroll, cx_slot(all, 1), cx_args(n - 1, us));
}

CX_TASK(strolls) /* i64 chains, i64 n, i64 us -> bytes: those of one after the other's */
{
    uint32_t chains = (uint32_t)cx_i64(cx, 0) & (CX_SLOTS_MAX - 1);
    cx_ref all = cx_successor(cx, CX_CONCAT, chains);
    for (uint32_t i = 0; i < chains; i++)
        cx_spawn(cx, stroll, cx_slot(all, i), cx_args(cx_i64(cx, 1), cx_i64(cx, 2)));
}

CX_MODULE(leaf, row, grid, nap, naps, sleeper, sleepers, hall, laden, ladens, depot, trip, stroll, strolls)
