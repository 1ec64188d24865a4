/* Slots that are set again after they have their value, by tasks that were handed the address: the first
 * counts. */
#include <cx/task.h>

/* Values sent to slots that have theirs: of a task that waits, that is ready, that is gone. The first counts.
 */
CX_TASK(late) /* addr waiting, addr gone, i64 depth -> i64 leaves */
{
    int64_t depth = cx_i64(cx, 2);
    cx_set(cx, cx_address(cx, 0), cx_v_i64(1000000));
    cx_set(cx, cx_address(cx, 1), cx_v_i64(1000000));
    if (depth == 0)
        return cx_return_i64(cx, 1);
    cx_ref sum = cx_successor(cx, CX_SUM_I64, 2);
    for (uint32_t i = 0; i < 2; i++)
        cx_spawn(cx, late, cx_slot(sum, i), cx_args(cx_address(cx, 0), cx_address(cx, 1), depth - 1));
}

CX_TASK(hold) /* i64, i64, i64 */
{
    cx_return_i64(cx, cx_i64(cx, 0) * 100000 + cx_i64(cx, 1) * 10000 + cx_i64(cx, 2));
    cx_return_i64(cx, -1); /* the second is dropped */
}

CX_TASK(twice) /* i64 depth -> 520000 + 2^depth */
{
    cx_ref wait = cx_successor(cx, hold, 3),
           gone = cx_successor_to(cx, CX_SUM_I64, 1, cx_slot(wait, 1), NULL);
    cx_set(cx, cx_slot(wait, 0), cx_v_i64(5));
    cx_set(cx, cx_slot(wait, 0), cx_v_i64(500));
    cx_set(cx, cx_slot(gone, 0), cx_v_i64(2));
    cx_spawn(cx, late, cx_slot(wait, 2), cx_args(cx_slot(wait, 0), cx_slot(gone, 0), cx_i64(cx, 0)));
}

CX_MODULE(twice, hold, late)
