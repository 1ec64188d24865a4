#include "base/wellknown.h"

enum wk { SUM_I64 = 1, SUM_F64, MIN_I64, MAX_I64, MIN_F64, MAX_F64, COUNT, CONCAT };
_Static_assert(CONCAT + 1 == CX_WELL_KNOWN_END, "the numbers of task.h");

const char *wk_name(uint32_t fn)
{
    static const char *const names[] = {NULL,      "sum_i64", "sum_f64", "min_i64", "max_i64",
                                        "min_f64", "max_f64", "count",   "concat"};
    return fn_is_well_known(fn) ? names[fn] : NULL;
}

bool wk_any_order(uint32_t fn)
{
    return fn != SUM_F64 && fn != CONCAT;
}

cx_value wk_start(uint32_t fn)
{
    if (fn == SUM_I64 || fn == COUNT)
        return cx_v_i64(0);
    if (fn == SUM_F64)
        return cx_v_f64(0.0);
    return cx_v_none();
}

static bool fold_i64(uint32_t fn, cx_value *acc, int64_t i)
{
    if (fn == SUM_I64)
        acc->as.i64 = (int64_t)((uint64_t)acc->as.i64 + (uint64_t)i);
    else if (acc->type == CX_NONE || (fn == MIN_I64 ? i < acc->as.i64 : i > acc->as.i64))
        *acc = cx_v_i64(i);
    return true;
}

/* A NaN wins over every number and stays: the answer may not depend on the order of arrival. -0.0 < +0.0. */
static bool f64_before(double a, double b)
{
    if (a != a || b != b)
        return a != a;
    return a < b || (a == b && __builtin_signbit(a) > __builtin_signbit(b));
}

static bool fold_f64(uint32_t fn, cx_value *acc, double d)
{
    if (fn == SUM_F64)
        acc->as.f64 += d;
    else if (d != d)
        *acc = cx_v_f64(__builtin_nan(""));
    else if (acc->type == CX_NONE ||
             (acc->as.f64 == acc->as.f64 &&
              (fn == MIN_F64 ? f64_before(d, acc->as.f64) : f64_before(acc->as.f64, d))))
        *acc = cx_v_f64(d);
    return true;
}

bool wk_fold(uint32_t fn, cx_value *acc, cx_value v, struct buf *bytes)
{
    if (v.type == CX_NONE)
        return true;
    switch (fn) {
    case COUNT:
        acc->as.i64++;
        return true;
    case SUM_I64:
    case MIN_I64:
    case MAX_I64:
        return v.type == CX_I64 && fold_i64(fn, acc, v.as.i64);
    case SUM_F64:
    case MIN_F64:
    case MAX_F64:
        return v.type == CX_F64 && fold_f64(fn, acc, v.as.f64);
    case CONCAT:
        if (v.type != CX_BYTES || bytes->len + v.len > CX_VALUE_BYTES_MAX)
            return false;
        buf_add(bytes, v.as.bytes, v.len);
        return true;
    default:
        return false;
    }
}

cx_value wk_finish(uint32_t fn, cx_value acc, const struct buf *bytes)
{
    return fn == CONCAT ? cx_v_bytes(bytes->data, bytes->len) : acc;
}
