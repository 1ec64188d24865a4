/* The test modules' tasks and some of this file's own, together in one module. */
#ifndef TESTS_ENGINE_TASKS_H
#define TESTS_ENGINE_TASKS_H

#include "cx/task.h"

#pragma push_macro("CX_MODULE")
#undef CX_MODULE
#define CX_MODULE(...)
#include "examples/fib/module.c"
#include "examples/nqueens/module.c"
#include "tests/modules/bigbytes.c"
#include "tests/modules/bound.c"
#include "tests/modules/chain.c"
#include "tests/modules/concat.c"
#include "tests/modules/dag.c"
#include "tests/modules/flat.c"
#include "tests/modules/late.c"
#include "tests/modules/randoms.c"
#pragma pop_macro("CX_MODULE")

/* Sums that depend on their order: the same answer only if slots are added in slot order. */
CX_TASK(sum_f64) /* i64 n -> f64 */
{
    int64_t n = cx_i64(cx, 0);
    if (n < 1)
        return cx_return_f64(cx, n == 0 ? 0.1 : 1e16);
    cx_ref sum = cx_successor(cx, CX_SUM_F64, 4);
    cx_set(cx, cx_slot(sum, 2), cx_v_f64(1.0 / (double)(n + 2)));
    for (uint32_t i = 0; i < 4; i++)
        if (i != 2)
            cx_spawn(cx, sum_f64, cx_slot(sum, i), cx_args(n - 1 - (int64_t)i));
}

/* What a well-known successor makes of a mixture: values, nones, more than 64 slots, set in a scattered
 * order. */
CX_TASK(mixed_leaf) /* i64 fn, i64 i -> i64, f64 or none */
{
    int64_t fn = cx_i64(cx, 0), i = cx_i64(cx, 1);
    if (i % 5 == 3)
        cx_return_none(cx);
    else if (fn == (int64_t)(uintptr_t)CX_MIN_F64 || fn == (int64_t)(uintptr_t)CX_MAX_F64)
        cx_return_f64(cx, (double)(i * 37 % 101) - 50.5);
    else
        cx_return_i64(cx, i * 37 % 101 - 50);
}

CX_TASK(mixed) /* i64 fn, i64 n */
{
    int64_t fn = cx_i64(cx, 0), n = cx_i64(cx, 1);
    cx_ref all = cx_successor(cx, CX_WELL_KNOWN(fn), (uint32_t)n);
    for (int64_t k = 0; k < n; k++) {
        int64_t i = k * 7919 % n;
        cx_spawn(cx, mixed_leaf, cx_slot(all, (uint32_t)i), cx_args(fn, i));
    }
}

/* A user successor of more than 64 slots, with bytes and options. */
CX_TASK(wide_join)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < cx_argc(cx); i++)
        sum +=
            (int64_t)(i + 1) * (cx_typeof(cx, i) == CX_BYTES ? (int64_t)cx_bytes(cx, i).len : cx_i64(cx, i));
    cx_return_i64(cx, sum);
}

CX_TASK(wide_leaf) /* i64 i */
{
    static const char text[256];
    int64_t i = cx_i64(cx, 0);
    if (i % 3 == 0)
        cx_return_bytes(cx, text, (size_t)(i % 256));
    else
        cx_return_i64(cx, i);
}

CX_TASK(wide) /* i64 n */
{
    uint32_t n = (uint32_t)cx_i64(cx, 0);
    cx_opts opts = {.priority = -5, .bound_kind = CX_BOUND_MAX, .bound = 77};
    cx_ref join = cx_successor_to(cx, wide_join, n, cx_home(cx), &opts);
    for (uint32_t i = 0; i < n; i++)
        cx_spawn(cx, wide_leaf, cx_slot(join, i), cx_args(i));
}

CX_MODULE(fib, nqueens, queens, bigbytes, bigbytes_seq, turn, checksum, bound, bound_seq, branch, chain, nest,
          concat, concat_range, dag, dag_seq, vertex, relay, flat, flats, noop, randoms, randoms_join,
          sum_f64, mixed, mixed_leaf, wide, wide_join, wide_leaf, twice, hold, late)

#endif
