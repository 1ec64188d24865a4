/* The opposite of a tree: one task spawns all the others, which do nothing. */
#include <cx/task.h>

CX_TASK(noop) /* -> i64 1 */
{
    cx_return_i64(cx, 1);
}

CX_TASK(flat) /* i64 n -> i64 n */
{
    int64_t n = cx_i64(cx, 0);
    if (n < 0 || n > (int64_t)CX_SLOTS_MAX)
        return cx_fail(cx, "n is %lld, but must be 0 to %u", (long long)n, CX_SLOTS_MAX);
    cx_ref count = cx_successor(cx, CX_COUNT, (uint32_t)n);
    for (uint32_t i = 0; i < (uint32_t)n; i++)
        cx_spawn(cx, noop, cx_slot(count, i), CX_NO_ARGS);
}

/* As many no-op tasks as one likes, spawned by a level of tasks in between. */
CX_TASK(flats) /* i64 parts, i64 n each -> i64 parts * n */
{
    int64_t parts = cx_i64(cx, 0), n = cx_i64(cx, 1);
    if (parts < 0 || parts > (int64_t)CX_SLOTS_MAX)
        return cx_fail(cx, "parts is %lld, but must be 0 to %u", (long long)parts, CX_SLOTS_MAX);
    cx_ref sum = cx_successor(cx, CX_SUM_I64, (uint32_t)parts);
    for (uint32_t i = 0; i < (uint32_t)parts; i++)
        cx_spawn(cx, flat, cx_slot(sum, i), cx_args(n));
}

CX_MODULE(flat, flats, noop)
