/* A chain of successors: nothing is ever parallel, and the spawn tree is as deep as the job is long. */
#include <cx/task.h>

CX_TASK(chain) /* i64 n, i64 sum so far (0) -> i64 n + (n - 1) + ... + 1 */
{
    int64_t n = cx_i64(cx, 0), sum = cx_i64(cx, 1);
    if (n <= 0)
        return cx_return_i64(cx, sum);
    cx_ref next = cx_successor(cx, chain, 2);
    cx_set(cx, cx_slot(next, 0), cx_v_i64(n - 1));
    cx_set(cx, cx_slot(next, 1), cx_v_i64(sum + n));
}

/* The same as a chain of children, whose value comes back through as many sums. */
CX_TASK(nest) /* i64 n -> i64 n + (n - 1) + ... + 1 */
{
    int64_t n = cx_i64(cx, 0);
    if (n <= 0)
        return cx_return_i64(cx, 0);
    cx_ref sum = cx_successor(cx, CX_SUM_I64, 2);
    cx_set(cx, cx_slot(sum, 0), cx_v_i64(n));
    cx_spawn(cx, nest, cx_slot(sum, 1), cx_args(n - 1));
}

CX_MODULE(chain, nest)
