/* The well-known successors: right answers, in any order where any order is promised, and no wrong types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/wellknown.h"

enum { SUM_I64 = 1, SUM_F64, MIN_I64, MAX_I64, MIN_F64, MAX_F64, COUNT, CONCAT };

static bool fold_all(uint32_t fn, const cx_value *v, int n, const int *order, struct buf *bytes,
                     cx_value *out)
{
    cx_value acc = wk_start(fn);
    for (int i = 0; i < n; i++)
        if (!wk_fold(fn, &acc, v[order ? order[i] : i], bytes))
            return false;
    *out = wk_finish(fn, acc, bytes);
    return true;
}

static void packed(cx_value v, struct buf *b)
{
    buf_clear(b);
    put_value(b, v);
}

static bool next_permutation(int *p, int n)
{
    int i = n - 2, j = n - 1;
    while (i >= 0 && p[i] > p[i + 1])
        i--;
    if (i < 0)
        return false;
    while (p[j] < p[i])
        j--;
    int t = p[i];
    p[i] = p[j], p[j] = t;
    for (int a = i + 1, b = n - 1; a < b; a++, b--)
        t = p[a], p[a] = p[b], p[b] = t;
    return true;
}

/* Bit for bit the same, in all orders. */
static void same_in_any_order(uint32_t fn, const cx_value *v, int n)
{
    int order[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    struct buf first = {0}, other = {0};
    cx_value out;
    assert_true(wk_any_order(fn));
    assert_true(fold_all(fn, v, n, order, NULL, &out));
    packed(out, &first);
    while (next_permutation(order, n)) {
        assert_true(fold_all(fn, v, n, order, NULL, &out));
        packed(out, &other);
        assert_true(bytes_equal(buf_bytes(&first), buf_bytes(&other)));
    }
    buf_free(&first);
    buf_free(&other);
}

static void integers(void **state)
{
    (void)state;
    const cx_value v[] = {cx_v_i64(5),  cx_v_none(),         cx_v_i64(INT64_MAX),
                          cx_v_i64(-3), cx_v_i64(INT64_MIN), cx_v_i64(5)};
    cx_value out;
    for (uint32_t fn = 1; fn < CX_WELL_KNOWN_END; fn++)
        if (fn == SUM_I64 || fn == MIN_I64 || fn == MAX_I64 || fn == COUNT)
            same_in_any_order(fn, v, 6);
    assert_true(fold_all(SUM_I64, v, 6, NULL, NULL, &out) && out.type == CX_I64 && out.as.i64 == 6);
    assert_true(fold_all(MIN_I64, v, 6, NULL, NULL, &out) && out.as.i64 == INT64_MIN);
    assert_true(fold_all(MAX_I64, v, 6, NULL, NULL, &out) && out.as.i64 == INT64_MAX);
    assert_true(fold_all(COUNT, v, 6, NULL, NULL, &out) && out.as.i64 == 5);
}

static void sums_wrap(void **state)
{
    (void)state;
    const cx_value v[] = {cx_v_i64(INT64_MAX), cx_v_i64(1)};
    cx_value out;
    assert_true(fold_all(SUM_I64, v, 2, NULL, NULL, &out) && out.as.i64 == INT64_MIN);
}

static void doubles_and_zeros(void **state)
{
    (void)state;
    const cx_value v[] = {cx_v_f64(0.0), cx_v_f64(-0.0), cx_v_none(), cx_v_f64(0.0)};
    cx_value out;
    same_in_any_order(MIN_F64, v, 4);
    same_in_any_order(MAX_F64, v, 4);
    assert_true(fold_all(MIN_F64, v, 4, NULL, NULL, &out) && signbit(out.as.f64));
    assert_true(fold_all(MAX_F64, v, 4, NULL, NULL, &out) && !signbit(out.as.f64));
}

static void a_nan_wins_in_any_order(void **state)
{
    (void)state;
    uint64_t odd = 0xfff800000000beefu;
    double strange;
    memcpy(&strange, &odd, sizeof strange);
    const cx_value v[] = {cx_v_f64(1), cx_v_f64(NAN), cx_v_f64(-INFINITY), cx_v_f64(INFINITY),
                          cx_v_f64(strange)};
    cx_value out;
    same_in_any_order(MIN_F64, v, 5);
    same_in_any_order(MAX_F64, v, 5);
    assert_true(fold_all(MIN_F64, v, 5, NULL, NULL, &out) && isnan(out.as.f64));
    assert_true(fold_all(MAX_F64, v, 5, NULL, NULL, &out) && isnan(out.as.f64));
    same_in_any_order(MIN_F64, (cx_value[]){cx_v_f64(2), cx_v_f64(-INFINITY), cx_v_f64(INFINITY)}, 3);
}

static void f64_sum_is_in_slot_order(void **state)
{
    (void)state;
    const cx_value v[] = {cx_v_f64(1e16), cx_v_f64(1), cx_v_f64(1), cx_v_f64(-1e16)};
    cx_value out;
    assert_false(wk_any_order(SUM_F64));
    assert_true(fold_all(SUM_F64, v, 4, NULL, NULL, &out));
    assert_true(out.as.f64 == ((1e16 + 1) + 1) - 1e16);
}

static void concat_joins(void **state)
{
    (void)state;
    const cx_value v[] = {cx_v_bytes("ab", 2), cx_v_none(), cx_v_bytes("", 0), cx_v_bytes("c", 1)};
    struct buf bytes = {0};
    cx_value out;
    assert_false(wk_any_order(CONCAT));
    assert_true(fold_all(CONCAT, v, 4, NULL, &bytes, &out));
    assert_true(out.type == CX_BYTES && out.len == 3 && memcmp(out.as.bytes, "abc", 3) == 0);
    buf_free(&bytes);
}

static void concat_has_a_limit(void **state)
{
    (void)state;
    static uint8_t half[CX_VALUE_BYTES_MAX / 2];
    struct buf bytes = {0};
    cx_value acc = wk_start(CONCAT);
    assert_true(wk_fold(CONCAT, &acc, cx_v_bytes(half, sizeof half), &bytes));
    assert_true(wk_fold(CONCAT, &acc, cx_v_bytes(half, sizeof half), &bytes));
    assert_false(wk_fold(CONCAT, &acc, cx_v_bytes("x", 1), &bytes));
    assert_int_equal(bytes.len, CX_VALUE_BYTES_MAX);
    buf_free(&bytes);
}

static void nothing_gives(void **state)
{
    (void)state;
    cx_value out;
    struct buf bytes = {0};
    const cx_value none[] = {cx_v_none(), cx_v_none()};
    for (uint32_t fn = MIN_I64; fn <= MAX_F64; fn++)
        assert_true(fold_all(fn, none, 2, NULL, NULL, &out) && out.type == CX_NONE);
    assert_true(fold_all(SUM_I64, none, 2, NULL, NULL, &out) && out.type == CX_I64 && out.as.i64 == 0);
    assert_true(fold_all(SUM_F64, none, 2, NULL, NULL, &out) && out.type == CX_F64 && out.as.f64 == 0);
    assert_true(fold_all(COUNT, none, 2, NULL, NULL, &out) && out.as.i64 == 0);
    assert_true(fold_all(CONCAT, none, 2, NULL, &bytes, &out) && out.type == CX_BYTES && out.len == 0);
}

static void wrong_types_are_refused(void **state)
{
    (void)state;
    const cx_value each[] = {cx_v_i64(1), cx_v_f64(1), cx_v_bytes("1", 1), cx_v_addr((cx_addr){1, 0, 0})};
    for (uint32_t fn = 1; fn < CX_WELL_KNOWN_END; fn++) {
        uint32_t wants = fn == SUM_F64 || fn == MIN_F64 || fn == MAX_F64 ? CX_F64
                         : fn == CONCAT                                  ? CX_BYTES
                                                                         : CX_I64;
        for (int i = 0; i < 4; i++) {
            struct buf bytes = {0};
            cx_value acc = wk_start(fn);
            assert_int_equal(wk_fold(fn, &acc, each[i], &bytes), fn == COUNT || each[i].type == wants);
            buf_free(&bytes);
        }
    }
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(wk_name(SUM_I64), "sum_i64");
    assert_string_equal(wk_name(CONCAT), "concat");
    assert_null(wk_name(0));
    assert_null(wk_name(CX_WELL_KNOWN_END));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),
        cmocka_unit_test(sums_wrap),
        cmocka_unit_test(doubles_and_zeros),
        cmocka_unit_test(a_nan_wins_in_any_order),
        cmocka_unit_test(f64_sum_is_in_slot_order),
        cmocka_unit_test(concat_joins),
        cmocka_unit_test(concat_has_a_limit),
        cmocka_unit_test(nothing_gives),
        cmocka_unit_test(wrong_types_are_refused),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
