/* Grants and commits: what is written is read back, and nothing malformed gets through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/commit.h"

static struct reader exact(const struct buf *b, size_t len, uint8_t **copy)
{
    *copy = malloc(len ? len : 1);
    assert_non_null(*copy);
    if (len)
        memcpy(*copy, b->data, len);
    return reader_of(bytes_of(*copy, len));
}

/* ---- Grants ---- */

static void put_sample_grant(struct buf *b, struct buf *values)
{
    put_value(values, cx_v_i64(-7));
    put_value(values, cx_v_addr((cx_addr){0, 0, 0}));
    put_value(values, cx_v_bytes("xyz", 3));
    struct grant g = {.job = {1, 2},
                      .task = {3, 4},
                      .hash = 5,
                      .budget_us = UINT32_MAX,
                      .fn = FN_MAX,
                      .nslots = 3,
                      .values = buf_bytes(values)};
    grant_put(b, &g);
}

static void grants_come_back_in_a_batch(void **state)
{
    (void)state;
    struct buf b = {0}, values = {0};
    put_sample_grant(&b, &values);
    buf_clear(&values);
    put_sample_grant(&b, &values);
    struct reader r = reader_of(buf_bytes(&b));
    for (int i = 0; i < 2; i++) {
        struct grant g;
        assert_true(grant_get(&r, &g));
        assert_true(g.job.hi == 1 && g.job.lo == 2 && g.task.hi == 3 && g.task.lo == 4 && g.hash == 5);
        assert_true(g.budget_us == UINT32_MAX && g.fn == FN_MAX && g.nslots == 3);
        assert_true(bytes_equal(g.values, buf_bytes(&values)));
    }
    assert_false(reader_more(&r) || r.bad);
    buf_free(&b);
    buf_free(&values);
}

static void truncated_grants_are_bad(void **state)
{
    (void)state;
    struct buf b = {0}, values = {0};
    put_sample_grant(&b, &values);
    for (size_t len = 0; len < b.len; len++) {
        struct grant g;
        uint8_t *copy;
        struct reader r = exact(&b, len, &copy);
        assert_false(grant_get(&r, &g));
        free(copy);
    }
    buf_free(&b);
    buf_free(&values);
}

/* A runner is granted tasks of the module only, and never more slots than there may be. */
static void grants_out_of_range_are_bad(void **state)
{
    (void)state;
    const struct grant bad[] = {
        {.fn = 0}, {.fn = FN_FIRST - 1}, {.fn = FN_MAX + 1}, {.fn = FN_FIRST, .nslots = CX_SLOTS_MAX + 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct buf b = {0};
        struct grant g;
        grant_put(&b, &bad[i]);
        struct reader r = reader_of(buf_bytes(&b));
        assert_false(grant_get(&r, &g));
        buf_free(&b);
    }
}

/* ---- Commit records ---- */

static void commits_come_back_and_truncated_ones_are_bad(void **state)
{
    (void)state;
    struct buf b = {0};
    struct commit c = {.kind = COMMIT_DONE,
                       .job = {1, 2},
                       .task = {3, 4},
                       .hash = 5,
                       .elapsed_ns = UINT64_MAX,
                       .executed = 1000,
                       .body = bytes_str("not looked into")};
    commit_put(&b, &c);
    struct reader r = reader_of(buf_bytes(&b));
    struct commit back;
    assert_true(commit_get(&r, &back));
    assert_true(back.kind == COMMIT_DONE && back.job.lo == 2 && back.task.hi == 3 && back.hash == 5);
    assert_true(back.elapsed_ns == UINT64_MAX && back.executed == 1000 && bytes_equal(back.body, c.body));
    for (size_t len = 0; len < b.len; len++) {
        uint8_t *copy;
        r = exact(&b, len, &copy);
        assert_false(commit_get(&r, &back));
        free(copy);
    }
    for (unsigned kind = 0; kind < 256; kind++) {
        b.data[0] = (uint8_t)kind;
        r = reader_of(buf_bytes(&b));
        assert_int_equal(commit_get(&r, &back), kind >= COMMIT_DONE && kind <= COMMIT_RETURNED);
    }
    buf_free(&b);
}

/* ---- Bodies ---- */

/* One of every operation, with every option. */
static void put_sample_body(struct buf *b)
{
    struct op_value three[] = {
        {.slot = 0, .value = cx_v_i64(1)},
        {.slot = 5, .value = cx_v_addr((cx_addr){0, 0, 0}), .ref = {.inherited = true, .index = 2}},
        {.slot = 9, .value = cx_v_bytes("b", 1)}};
    struct op_value full[] = {
        {.slot = 0, .value = cx_v_none()},
        {.slot = 1, .value = cx_v_addr((cx_addr){0, 0, 0}), .ref = {.index = 1, .slot = 4}}};
    struct op partly = {
        .name = 1, .fn = CX_WELL_KNOWN_END - 1, .nslots = 10, .nset = 3, .to = {.inherited = true}};
    struct op whole = {.name = 2,
                       .fn = FN_FIRST,
                       .flags = TASK_FULL | TASK_PRIORITY | TASK_BOUND,
                       .priority = INT32_MIN,
                       .bound_kind = CX_BOUND_MAX,
                       .bound = INT64_MIN,
                       .nslots = 2,
                       .nset = 2,
                       .to = {.index = 1, .slot = 9}};
    put_name(b, 0, 0);
    put_name(b, 1, UINT32_MAX);
    put_task(b, &partly);
    for (int i = 0; i < 3; i++)
        put_task_value(b, &partly, &three[i]);
    put_task(b, &whole);
    for (int i = 0; i < 2; i++)
        put_task_value(b, &whole, &full[i]);
    put_set(b, (struct ref){.inherited = true, .index = 3}, cx_v_f64(2.5), (struct ref){0});
    put_set(b, (struct ref){.index = 2, .slot = CX_SLOTS_MAX - 1}, cx_v_addr((cx_addr){0, 0, 0}),
            (struct ref){.inherited = true, .index = 1});
    put_bound(b, CX_BOUND_MIN, -9);
    put_fail(b, bytes_str("why"));
}

static void check_sample_tasks(struct reader *r)
{
    struct op op;
    struct op_value v;
    uint32_t i = 0;
    assert_true(op_get(r, &op) && op.kind == OP_TASK && op.name == 1 && op.fn == CX_WELL_KNOWN_END - 1);
    assert_true(op.nslots == 10 && op.nset == 3 && op.flags == 0 && op.to.inherited && op.to.index == 0);
    struct reader values = reader_of(op.values);
    assert_true(op_value_get(&values, &op, &i, &v) && v.slot == 0 && v.value.as.i64 == 1);
    assert_true(op_value_get(&values, &op, &i, &v) && v.slot == 5 && v.value.type == CX_ADDR);
    assert_true(v.ref.inherited && v.ref.index == 2);
    assert_true(op_value_get(&values, &op, &i, &v) && v.slot == 9 && v.value.len == 1);
    assert_false(op_value_get(&values, &op, &i, &v));
    assert_true(op_get(r, &op) && op.kind == OP_TASK && op.name == 2 && op.fn == FN_FIRST && op.nslots == 2);
    assert_true(op.priority == INT32_MIN && op.bound_kind == CX_BOUND_MAX && op.bound == INT64_MIN);
    assert_true(!op.to.inherited && op.to.index == 1 && op.to.slot == 9 && op.nset == 2);
    values = reader_of(op.values);
    i = 0;
    assert_true(op_value_get(&values, &op, &i, &v) && v.slot == 0 && v.value.type == CX_NONE);
    assert_true(op_value_get(&values, &op, &i, &v) && v.slot == 1 && !v.ref.inherited && v.ref.slot == 4);
    assert_false(op_value_get(&values, &op, &i, &v));
}

static void operations_come_back_in_order(void **state)
{
    (void)state;
    struct buf b = {0};
    struct op op;
    struct op_value v;
    uint32_t i = 0;
    put_sample_body(&b);
    struct reader r = reader_of(buf_bytes(&b));
    assert_true(op_get(&r, &op) && op.kind == OP_NAME && op.name == 0 && op.child == 0);
    assert_true(op_get(&r, &op) && op.kind == OP_NAME && op.name == 1 && op.child == UINT32_MAX);
    check_sample_tasks(&r);
    assert_true(op_get(&r, &op) && op.kind == OP_SET && op.to.inherited && op.to.index == 3);
    struct reader values = reader_of(op.values);
    assert_true(op_value_get(&values, &op, &i, &v) && v.value.as.f64 == 2.5);
    assert_true(op_get(&r, &op) && op.kind == OP_SET && op.to.slot == CX_SLOTS_MAX - 1);
    values = reader_of(op.values);
    i = 0;
    assert_true(op_value_get(&values, &op, &i, &v) && v.ref.inherited && v.ref.index == 1);
    assert_true(op_get(&r, &op) && op.kind == OP_BOUND && op.bound_kind == CX_BOUND_MIN && op.bound == -9);
    assert_true(op_get(&r, &op) && op.kind == OP_FAIL && bytes_equal(op.text, bytes_str("why")));
    assert_false(op_get(&r, &op));
    assert_false(r.bad);
    buf_free(&b);
}

/* Reads a whole body; false when any of it is bad. *ends: how many bytes each whole operation ended at. */
static bool read_body(struct reader *r, size_t *ends, int *n)
{
    struct op op;
    const uint8_t *from = r->at;
    *n = 0;
    while (op_get(r, &op))
        ends[(*n)++] = (size_t)(r->at - from);
    return !r->bad;
}

static void a_body_cut_within_an_operation_is_bad(void **state)
{
    (void)state;
    struct buf b = {0};
    size_t ends[16], some[16];
    int all, n;
    put_sample_body(&b);
    struct reader r = reader_of(buf_bytes(&b));
    assert_true(read_body(&r, ends, &all));
    assert_int_equal(all, 8);
    for (size_t len = 0, at = 0; len < b.len; len++) {
        uint8_t *copy;
        bool whole = len == 0 || (at > 0 && len == ends[at - 1]);
        r = exact(&b, len, &copy);
        assert_int_equal(read_body(&r, some, &n), whole);
        assert_int_equal(n, at);
        free(copy);
        if (len + 1 >= ends[at])
            at++;
    }
    buf_free(&b);
}

static bool body_is_good(const struct buf *b)
{
    size_t ends[16];
    int n;
    struct reader r = reader_of(buf_bytes(b));
    return read_body(&r, ends, &n);
}

/* Writes one TASK and says whether it is read again. */
static bool task_is_good(const struct op *op, const struct op_value *v, int n)
{
    struct buf b = {0};
    put_task(&b, op);
    for (int i = 0; i < n; i++)
        put_task_value(&b, op, &v[i]);
    bool good = body_is_good(&b);
    buf_free(&b);
    return good;
}

static void slots_ascend_and_stay_below_their_number(void **state)
{
    (void)state;
    const cx_value v = cx_v_i64(1);
    const struct op op = {.name = 1, .fn = FN_FIRST, .nslots = 4, .nset = 2};
    assert_true(task_is_good(&op, (struct op_value[]){{.slot = 0, .value = v}, {.slot = 3, .value = v}}, 2));
    assert_false(task_is_good(&op, (struct op_value[]){{.slot = 3, .value = v}, {.slot = 0, .value = v}}, 2));
    assert_false(task_is_good(&op, (struct op_value[]){{.slot = 1, .value = v}, {.slot = 1, .value = v}}, 2));
    assert_false(task_is_good(&op, (struct op_value[]){{.slot = 0, .value = v}, {.slot = 4, .value = v}}, 2));
}

static void tasks_out_of_range_are_bad(void **state)
{
    (void)state;
    const struct op_value v = {.value = cx_v_i64(1)};
    const struct op good = {.name = 1, .fn = FN_FIRST, .nslots = 2, .nset = 1};
    struct op op;
    assert_true(task_is_good(&good, &v, 1));
    assert_false(task_is_good((op = good, op.fn = 0, &op), &v, 1));
    assert_false(task_is_good((op = good, op.fn = FN_MAX + 1, &op), &v, 1));
    assert_false(task_is_good((op = good, op.flags = 8, &op), &v, 1));
    assert_false(task_is_good((op = good, op.name = COMMIT_NAMES_MAX + 1, &op), &v, 1));
    assert_false(task_is_good((op = good, op.nslots = CX_SLOTS_MAX + 1, &op), &v, 1));
    assert_false(task_is_good((op = good, op.nset = 3, &op), &v, 1));
    assert_false(
        task_is_good((op = good, op.nslots = 1, &op), &v, 1)); /* all set is said by FULL, one way only */
    assert_false(task_is_good((op = good, op.flags = TASK_BOUND, op.bound_kind = 0, &op), &v, 1));
    assert_false(task_is_good((op = good, op.flags = TASK_BOUND, op.bound_kind = 3, &op), &v, 1));
    assert_false(task_is_good((op = good, op.to.slot = CX_SLOTS_MAX, &op), &v, 1));
    assert_false(task_is_good((op = good, op.to.index = COMMIT_NAMES_MAX + 1, &op), &v, 1));
}

static void a_priority_over_32_bits_is_bad(void **state)
{
    (void)state;
    struct buf b = {0};
    put_u8(&b, OP_TASK);
    put_varint(&b, 1);
    put_varint(&b, FN_FIRST);
    put_u8(&b, TASK_FULL | TASK_PRIORITY);
    put_zigzag(&b, (int64_t)INT32_MAX + 1);
    put_ref(&b, (struct ref){.inherited = true});
    put_varint(&b, 0);
    assert_false(body_is_good(&b));
    buf_free(&b);
}

static void other_hostile_operations_are_bad(void **state)
{
    (void)state;
    struct buf b = {0};
    for (unsigned kind = 0; kind < 256; kind++) {
        buf_clear(&b);
        put_u8(&b, (uint8_t)kind);
        if (kind < OP_NAME || kind > OP_FAIL)
            assert_false(body_is_good(&b));
    }
    static const char text[MESSAGE_TEXT_MAX + 1] = {0};
    buf_clear(&b);
    put_fail(&b, bytes_of(text, MESSAGE_TEXT_MAX));
    assert_true(body_is_good(&b));
    buf_clear(&b);
    put_fail(&b, bytes_of(text, MESSAGE_TEXT_MAX + 1));
    assert_false(body_is_good(&b));
    buf_clear(&b);
    put_bound(&b, 0, 1);
    assert_false(body_is_good(&b));
    buf_clear(&b);
    put_name(&b, COMMIT_NAMES_MAX + 1, 0);
    assert_false(body_is_good(&b));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grants_come_back_in_a_batch),
        cmocka_unit_test(truncated_grants_are_bad),
        cmocka_unit_test(grants_out_of_range_are_bad),
        cmocka_unit_test(commits_come_back_and_truncated_ones_are_bad),
        cmocka_unit_test(operations_come_back_in_order),
        cmocka_unit_test(a_body_cut_within_an_operation_is_bad),
        cmocka_unit_test(slots_ascend_and_stay_below_their_number),
        cmocka_unit_test(tasks_out_of_range_are_bad),
        cmocka_unit_test(a_priority_over_32_bits_is_bad),
        cmocka_unit_test(other_hostile_operations_are_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
