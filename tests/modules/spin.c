/* Tasks of a given length: they compute for so many microseconds, then return. */
#define _POSIX_C_SOURCE 199309L
#include <cx/task.h>
#include <time.h>

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

CX_TASK(spin) /* i64 microseconds, i64 value -> i64 value */
{
    int64_t us = cx_i64(cx, 0), value = cx_i64(cx, 1);
    for (int64_t end = now_us() + us; us > 0 && now_us() < end;)
        continue;
    cx_return_i64(cx, value);
}

/* n of them at once; their values, 1 each, are summed. */
CX_TASK(spins) /* i64 n, i64 microseconds each -> i64 n */
{
    int64_t n = cx_i64(cx, 0), us = cx_i64(cx, 1);
    if (n < 0 || n > 1000000)
        return cx_fail(cx, "n is %lld, but must be 0 to 1000000", (long long)n);
    cx_ref sum = cx_successor(cx, CX_SUM_I64, (uint32_t)n);
    for (uint32_t i = 0; i < (uint32_t)n; i++)
        cx_spawn(cx, spin, cx_slot(sum, i), cx_args(us, 1));
}

/* A binary tree of them, 2^depth leaves. */
CX_TASK(spin_tree) /* i64 depth, i64 microseconds each -> i64 leaves */
{
    int64_t depth = cx_i64(cx, 0), us = cx_i64(cx, 1);
    cx_ref sum = cx_successor(cx, CX_SUM_I64, 2);
    if (depth <= 0) {
        cx_spawn(cx, spin, cx_slot(sum, 0), cx_args(us, 1));
        cx_set(cx, cx_slot(sum, 1), cx_v_none());
        return;
    }
    cx_spawn(cx, spin_tree, cx_slot(sum, 0), cx_args(depth - 1, us));
    cx_spawn(cx, spin_tree, cx_slot(sum, 1), cx_args(depth - 1, us));
}

CX_MODULE(spin, spins, spin_tree)
