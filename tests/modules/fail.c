/* Tasks that fail, in each of the ways that a programmer can get wrong. */
#include <cx/task.h>

CX_TASK(fail) /* bytes message -> fails with it */
{
    cx_blob text = cx_bytes(cx, 0);
    cx_fail(cx, "%.*s", (int)text.len, (const char *)text.data);
}

CX_TASK(fail_deep) /* i64 depth: fails that many levels further down */
{
    int64_t depth = cx_i64(cx, 0);
    if (depth <= 0)
        return cx_fail(cx, "the bottom was reached");
    cx_ref sum = cx_successor(cx, CX_SUM_I64, 1);
    cx_spawn(cx, fail_deep, cx_slot(sum, 0), cx_args(depth - 1));
}

static void stranger(cx_ctx *cx)
{
    cx_return_none(cx);
}

static void fail_addresses(cx_ctx *cx, int64_t how)
{
    cx_addr zero = {0, 0, 0};
    cx_ref sum = cx_successor(cx, CX_SUM_I64, 2);
    if (how == 0)
        cx_spawn(cx, fail, zero, CX_NO_ARGS);
    else if (how == 1)
        cx_spawn(cx, fail, cx_slot(sum, 2), CX_NO_ARGS), cx_set(cx, cx_slot(sum, 2), cx_v_i64(1));
    else if (how == 2)
        cx_set(cx, cx_slot(sum, 0), cx_v_f64(0.5));
    else if (how == 3)
        cx_spawn(cx, stranger, cx_slot(sum, 0), CX_NO_ARGS);
}

CX_TASK(fail_api) /* i64 how */
{
    int64_t how = cx_i64(cx, 0);
    if (how <= 3)
        fail_addresses(cx, how);
    else if (how == 4)
        cx_f64(cx, 0);
    else if (how == 5)
        cx_i64(cx, 7);
    else if (how == 6)
        cx_successor(cx, CX_SUM_I64, CX_SLOTS_MAX + 1);
    else if (how == 7)
        cx_return_bytes(cx, "", (size_t)CX_VALUE_BYTES_MAX + 1);
    /* 8: says nothing at all */
}

CX_MODULE(fail, fail_deep, fail_api)
