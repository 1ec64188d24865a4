/* Malformed and forged input: a fault that says why, and nothing changed. */
#include "tests/unit/ts_rig.h"

/* Sends a body as the root's commit: refused, with this in the text, and the state as before. */
static void refused(struct rig *r, const struct grant *g, struct buf *b, const char *part)
{
    struct rig_records before = {0}, after = {0};
    size_t records = r->log.n;
    ts_snapshot(r->ts, rig_keep, &before);
    rig_commit(r, 1, g, b);
    ts_snapshot(r->ts, rig_keep, &after);
    assert_int_equal(r->log.n, records);
    assert_true(bytes_equal(buf_bytes(&before.bytes), buf_bytes(&after.bytes)));
    assert_int_equal(rig_count(r, TS_FX_FAULT), 1);
    rig_says(ts_effect_data(&r->fx, rig_fx(r, TS_FX_FAULT, 0)), part);
    buf_free(&before.bytes);
    buf_free(&after.bytes);
}

static void names_must_be_defined_before_use(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    put_name(&b, 1, 0);
    refused(&r, &g, &b, "not defined yet");
    body_child(&b, 1, FN_A, 1, HOME);
    refused(&r, &g, &b, "not defined or is taken");
    body_child(&b, 0, FN_A, 1, HOME);
    refused(&r, &g, &b, "not defined or is taken");
    put_name(&b, 0, 1);
    body_child(&b, 1, FN_A, 1, HOME);
    body_child(&b, 1, FN_A, 1, HOME);
    refused(&r, &g, &b, "not defined or is taken");
    rig_close(&r);
}

static void references_must_be_in_range(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    body_set_i64(&b, given(1), 1);
    refused(&r, &g, &b, "was not given");
    put_set(&b, HOME, cx_v_addr((cx_addr){0, 0, 0}), given(7));
    refused(&r, &g, &b, "was not given");
    body_set_i64(&b, slot(1, 0), 1);
    refused(&r, &g, &b, "does not make");
    put_name(&b, 0, 0);
    body_set_i64(&b, slot(1, 0), 1);
    refused(&r, &g, &b, "does not make");
    put_name(&b, 0, 0);
    body_wait(&b, 1, SUM_I64, 2, HOME);
    body_set_i64(&b, slot(1, 2), 1);
    refused(&r, &g, &b, "slot that does not exist");
    put_name(&b, 0, 0);
    body_set_i64(&b, slot(1, 2), 1); /* the same, named before it is made */
    body_wait(&b, 1, SUM_I64, 2, HOME);
    refused(&r, &g, &b, "slot that does not exist");
    put_name(&b, 0, 1);
    body_child(&b, 1, FN_A, 1, HOME);
    body_set_i64(&b, slot(1, 0), 1);
    refused(&r, &g, &b, "has its value");
    struct op half = {.kind = OP_TASK, .name = 1, .fn = FN_B, .nslots = 9, .nset = 1, .to = HOME};
    put_name(&b, 0, 0);
    put_task(&b, &half);
    put_task_value(&b, &half, &(struct op_value){.slot = 4, .value = cx_v_i64(1)});
    body_set_i64(&b, slot(1, 4), 1);
    refused(&r, &g, &b, "has its value");
    rig_close(&r);
}

static void a_reference_forward_is_fine(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    put_name(&b, 0, 1);
    put_name(&b, 0, 0);
    body_set_i64(&b, slot(2, 1), 30);
    body_child(&b, 1, FN_A, 1, slot(2, 0));
    body_wait(&b, 2, SUM_I64, 2, HOME);
    rig_commit(&r, 1, &g, &b);
    g = rig_grant(&r, 0);
    body_set_i64(&b, HOME, 1);
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_result(&r, 1).as.i64, 31);
    rig_close(&r);
}

/* Name 0, the granted task itself: a runner's way to say that an address's slot has been set within the
 * grant. */
static void the_granted_task_is_nowhere(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    put_name(&b, 0, 1);
    put_name(&b, 0, 0);
    body_child(&b, 1, FN_A, 1, slot(0, 0)); /* its value goes nowhere, but it is run */
    body_wait(&b, 2, SUM_I64, 1, HOME);
    body_set_i64(&b, slot(0, 0), 7);
    put_set(&b, slot(2, 0), cx_v_i64(5), (struct ref){0});
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_result(&r, 1).as.i64, 5);
    rig_close(&r);
}

static void functions_must_exist(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    put_name(&b, 0, 1);
    body_child(&b, 1, FN_FIRST + 3, 1, HOME);
    refused(&r, &g, &b, "function that the module does not have");
    put_name(&b, 0, 1);
    body_child(&b, 1, FN_MAX + 1, 1, HOME);
    refused(&r, &g, &b, "malformed");
    rig_close(&r);
}

static void a_failure_stands_alone(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    put_fail(&b, bytes_str("x"));
    body_set_i64(&b, HOME, 1);
    refused(&r, &g, &b, "failure together");
    body_set_i64(&b, HOME, 1);
    put_fail(&b, bytes_str("x"));
    refused(&r, &g, &b, "failure together");
    rig_close(&r);
}

static void every_torn_body_is_refused(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0}, whole = {0};
    (void)state;
    put_name(&whole, 0, 1000000);
    body_child(&whole, 1, FN_A, 123456789, HOME);
    put_set(&whole, HOME, cx_v_bytes("abcdef", 6), (struct ref){0});
    put_bound(&whole, CX_BOUND_MIN, -1000000);
    size_t ends[5] = {0}, n = 1;
    struct reader in = reader_of(buf_bytes(&whole));
    struct op op;
    while (op_get(&in, &op))
        ends[n++] = (size_t)(in.at - whole.data);
    for (size_t len = 1; len < whole.len; len++) {
        bool end = len == ends[1] || len == ends[2] || len == ends[3];
        if (end)
            continue;
        buf_add(&b, whole.data, len);
        refused(&r, &g, &b, "malformed");
    }
    buf_free(&whole);
    rig_close(&r);
}

static void a_batch_counts_up_to_the_malformed_record(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 2), c[2];
    struct buf b = {0}, batch = {0};
    (void)state;
    body_fan(&b, SUM_I64, 2);
    rig_commit(&r, 1, &g, &b);
    c[0] = rig_grant(&r, 0);
    c[1] = rig_grant(&r, 1);
    body_set_i64(&b, HOME, 1);
    for (size_t i = 0; i < 2; i++) {
        struct commit k = {.kind = COMMIT_DONE,
                           .job = c[i].job,
                           .task = c[i].task,
                           .hash = c[i].hash,
                           .body = buf_bytes(&b)};
        commit_put(&batch, &k);
        if (i == 0)
            put_u8(&batch, 77); /* no such kind */
    }
    rig_commits(&r, 1, &batch);
    assert_int_equal(rig_count(&r, TS_FX_FAULT), 1);
    assert_int_equal(rig_info(&r, 1).commits, 2);
    assert_int_equal(rig_info(&r, 1).granted, 1);
    buf_free(&b);
    buf_free(&batch);
    rig_close(&r);
}

static void strangers_are_told_so(void **state)
{
    static const enum ts_event_kind kinds[] = {TS_PRODUCER_WINDOW, TS_PRODUCER_HOLDS, TS_COMMITS};
    struct rig r;
    (void)state;
    rig_open(&r, (struct ts_config){0});
    for (size_t i = 0; i < 3; i++) {
        rig_step(&r, (struct ts_event){.kind = kinds[i], .peer = 3});
        assert_int_equal(rig_count(&r, TS_FX_FAULT), 1);
        rig_says(ts_effect_data(&r.fx, rig_fx(&r, TS_FX_FAULT, 0)), "not joined");
    }
    rig_left(&r, 3);
    assert_int_equal(r.fx.n, 0);
    rig_join(&r, 3, 1);
    rig_step(&r, (struct ts_event){.kind = TS_PRODUCER_HOLDS, .peer = 3, .u.batch = bytes_str("short")});
    assert_int_equal(rig_count(&r, TS_FX_FAULT), 1);
    rig_close(&r);
}

/* One whose answers are spoilt takes down a producer at a time; it counts as a crash when they go. */
static void a_task_that_spoils_its_answers_is_poison(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rig_info(&r, 1).state, TS_JOB_RUNNING);
        put_u8(&b, 99);
        refused(&r, &g, &b, "malformed");
        put_u8(&b, 99);
        refused(&r, &g, &b, "malformed");
        rig_left(&r, 1);
        rig_join(&r, 1, 1);
    }
    rig_reason(&r, 1, "crashed 3 times, last on producer p1: its answer was malformed");
    rig_close(&r);
}

static void a_body_that_claims_too_much_fails_its_job_only(void **state)
{
    struct rig r;
    struct buf b = {0};
    (void)state;
    rig_open(&r, (struct ts_config){.memory_max = 1 << 20});
    rig_join(&r, 1, 1);
    rig_submit(&r, 1);
    struct grant g = rig_grant(&r, 0);
    for (uint32_t i = 0; i < 1000; i++) {
        put_name(&b, 0, i);
        body_wait(&b, i + 1, CONCAT, CX_SLOTS_MAX, HOME);
    }
    rig_commit(&r, 1, &g, &b);
    rig_reason(&r, 1, "memory budget");
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_must_be_defined_before_use),
        cmocka_unit_test(references_must_be_in_range),
        cmocka_unit_test(a_reference_forward_is_fine),
        cmocka_unit_test(the_granted_task_is_nowhere),
        cmocka_unit_test(functions_must_exist),
        cmocka_unit_test(a_failure_stands_alone),
        cmocka_unit_test(every_torn_body_is_refused),
        cmocka_unit_test(a_batch_counts_up_to_the_malformed_record),
        cmocka_unit_test(strangers_are_told_so),
        cmocka_unit_test(a_task_that_spoils_its_answers_is_poison),
        cmocka_unit_test(a_body_that_claims_too_much_fails_its_job_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
