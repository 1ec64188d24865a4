/* Sums random numbers over a tree of tasks: the answer must not depend on where or in which pieces it runs.
 */
#include <cx/task.h>

CX_TASK(randoms_join) /* i64, i64, i64 -> their sum and a number of its own */
{
    uint64_t sum = (uint64_t)cx_i64(cx, 0) + (uint64_t)cx_i64(cx, 1) + (uint64_t)cx_i64(cx, 2);
    cx_return_i64(cx, (int64_t)(sum + cx_random(cx)));
}

CX_TASK(randoms) /* i64 depth -> i64 */
{
    int64_t depth = cx_i64(cx, 0);
    uint64_t mine = cx_random(cx) + 3 * cx_random(cx);
    if (depth <= 0)
        return cx_return_i64(cx, (int64_t)mine);
    cx_ref join = cx_successor(cx, randoms_join, 3);
    cx_set(cx, cx_slot(join, 0), cx_v_i64((int64_t)mine));
    cx_spawn(cx, randoms, cx_slot(join, 1), cx_args(depth - 1));
    cx_spawn(cx, randoms, cx_slot(join, 2), cx_args(depth - 2));
}

CX_MODULE(randoms, randoms_join)
