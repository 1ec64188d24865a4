/* F(n): Fibonacci's tree with a load in every task, to see what the network itself costs.
 *
 *     cx run synthetic.so spin  18 100000     100,000 rounds of arithmetic a task
 *     cx run synthetic.so busy  18 1000       1,000 us of the clock a task, computing
 *     cx run synthetic.so doze  18 10000      10,000 us a task, asleep
 *     cx run synthetic.so batch 1000 100000   1,000 independent tasks of 100,000 rounds; counts them
 */
#define _POSIX_C_SOURCE 199309L /* clock_gettime, nanosleep */
#include <cx/task.h>

#include "load.h"

/* The tree: fn is the task itself, which has just borne its load. */
static void decompose(cx_ctx *cx, cx_fn fn)
{
    int64_t n = cx_i64(cx, 0), load = cx_i64(cx, 1);
    if (n < 2)
        return cx_return_i64(cx, n);
    cx_ref sum = cx_successor(cx, CX_SUM_I64, 2);
    cx_spawn(cx, fn, cx_slot(sum, 0), cx_args(n - 1, load));
    cx_spawn(cx, fn, cx_slot(sum, 1), cx_args(n - 2, load));
}

CX_TASK(spin)
{
    load_spin(cx_i64(cx, 1));
    decompose(cx, spin);
}
CX_TASK(busy)
{
    load_busy_us(cx_i64(cx, 1));
    decompose(cx, busy);
}
CX_TASK(doze)
{
    load_doze_us(cx_i64(cx, 1));
    decompose(cx, doze);
}

CX_TASK(one)
{
    load_spin(cx_i64(cx, 0));
    cx_return_i64(cx, 1);
}
CX_TASK(batch)
{
    int64_t n = cx_i64(cx, 0), load = cx_i64(cx, 1);
    if (n < 1 || n > CX_SLOTS_MAX)
        return cx_fail(cx, "a batch has 1 to %u tasks, not %lld", CX_SLOTS_MAX, (long long)n);
    cx_ref sum = cx_successor(cx, CX_SUM_I64, (uint32_t)n);
    for (uint32_t i = 0; i < n; i++)
        cx_spawn(cx, one, cx_slot(sum, i), cx_args(load));
}
CX_MODULE(spin, busy, doze, batch, one)
