/* Restart: the log replayed, wherever it ends, is the state; so is a snapshot. What does not fit is refused.
 */
#include "tests/unit/ts_rig.h"

/* A job with a bit of everything in the table, half way. */
static void half_way(struct rig *r)
{
    struct buf b = {0};
    struct grant g;
    struct op addr = {.kind = OP_TASK,
                      .name = 5,
                      .fn = FN_B,
                      .nslots = 2,
                      .flags = TASK_FULL | TASK_PRIORITY,
                      .priority = -3,
                      .to = slot(2, 0)};
    rig_open(r, (struct ts_config){0});
    rig_join(r, 1, 1);
    rig_submit(r, 1);
    g = rig_grant(r, 0);
    put_name(&b, 0, 0);
    for (uint32_t i = 1; i <= 4; i++)
        put_name(&b, 0, i);
    body_wait(&b, 1, FN_C, 3, HOME);
    body_wait(&b, 2, CONCAT, 2, slot(1, 1));
    body_wait(&b, 3, MAX_I64, 70, slot(1, 2));
    body_child(&b, 4, FN_A, 11, slot(1, 0));
    put_task(&b, &addr);
    put_task_value(&b, &addr, &(struct op_value){.value = cx_v_addr((cx_addr){0, 0, 0}), .ref = slot(3, 69)});
    put_task_value(&b, &addr, &(struct op_value){.value = cx_v_bytes("xyz", 3)});
    put_set(&b, slot(2, 1), cx_v_bytes("world", 5), (struct ref){0});
    for (uint32_t i = 0; i < 69; i++)
        body_set_i64(&b, slot(3, i), (int64_t)i * i);
    put_bound(&b, CX_BOUND_MAX, 99);
    rig_commit(r, 1, &g, &b);
}

static void finish(struct rig *r)
{
    struct buf b = {0};
    struct grant g = rig_grant(r, 0);
    assert_int_equal(rig_arg(&g), 11);
    put_set(&b, HOME, cx_v_f64(0.5), (struct ref){0});
    rig_commit(r, 1, &g, &b);
    g = rig_grant(r, 0);
    assert_int_equal(g.fn, FN_B);
    put_set(&b, HOME, cx_v_bytes("hello ", 6), (struct ref){0});
    body_set_i64(&b, given(1), 5000);
    rig_commit(r, 1, &g, &b);
    g = rig_grant(r, 0);
    assert_int_equal(g.fn, FN_C);
    struct reader in = reader_of(g.values);
    assert_true(get_value(&in).as.f64 == 0.5);
    cx_value v = get_value(&in);
    assert_int_equal(v.len, 11);
    assert_memory_equal(v.as.bytes, "hello world", 11);
    assert_int_equal(get_value(&in).as.i64, 5000);
    put_set(&b, HOME, cx_v_none(), (struct ref){0});
    rig_commit(r, 1, &g, &b);
    assert_int_equal(rig_result(r, 1).type, CX_NONE);
}

static void addresses_are_handed_down(void **state)
{
    struct rig r;
    (void)state;
    half_way(&r);
    finish(&r);
    rig_close(&r);
}

static void a_restart_goes_on_where_the_log_ends(void **state)
{
    struct rig r;
    (void)state;
    half_way(&r);
    rig_restart(&r, r.log.n);
    assert_int_equal(rig_info(&r, 1).bound_max, 99);
    rig_join(&r, 1, 1);
    finish(&r);
    rig_close(&r);
}

static void a_lost_tail_is_computed_again(void **state)
{
    struct rig r;
    struct buf b = {0};
    (void)state;
    half_way(&r);
    struct grant g = rig_grant(&r, 0);
    size_t before = r.log.n;
    put_set(&b, HOME, cx_v_f64(0.5), (struct ref){0});
    rig_commit(&r, 1, &g, &b);
    rig_restart(&r, before);
    rig_join(&r, 1, 1);
    finish(&r);
    rig_close(&r);
}

static void a_snapshot_restores_and_goes_on(void **state)
{
    struct rig r;
    struct rig_records snap = {0};
    (void)state;
    half_way(&r);
    ts_snapshot(r.ts, rig_keep, &snap);
    buf_free(&r.log.bytes);
    r.log = snap;
    rig_restart(&r, snap.n);
    rig_join(&r, 1, 1);
    finish(&r);
    rig_close(&r);
}

static void ended_jobs_survive(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    body_set_i64(&b, HOME, 8);
    rig_commit(&r, 1, &g, &b);
    rig_submit(&r, 2);
    rig_client(&r, TS_CANCEL, 1, 2, "ann");
    rig_restart(&r, r.log.n);
    assert_int_equal(rig_result(&r, 1).as.i64, 8);
    rig_says(rig_info(&r, 2).reason, "cancelled by ann");
    rig_client(&r, TS_WATCH, 5, 1, "ann");
    assert_int_equal(rig_count(&r, TS_FX_RESULT), 1);
    rig_submit(&r, 1);
    assert_int_equal(rig_fx(&r, TS_FX_REPLY, 0)->code, CX_OK);
    rig_close(&r);
}

/* The commit that left the job stuck is held, the record of its failure was lost. */
static void a_stuck_job_is_found_again(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    put_name(&b, 0, 0);
    body_wait(&b, 1, FN_B, 1, HOME);
    rig_commit(&r, 1, &g, &b);
    rig_reason(&r, 1, "waits for slot 0");
    rig_restart(&r, r.log.n - 1);
    assert_true(ts_due(r.ts) <= r.now);
    rig_tick(&r, 0);
    rig_reason(&r, 1, "waits for slot 0");
    rig_close(&r);
}

static void records_that_do_not_fit_are_refused(void **state)
{
    struct rig r;
    (void)state;
    half_way(&r);
    struct reader in = reader_of(buf_bytes(&r.log.bytes));
    struct bytes submitted = get_raw(&in, get_u64(&in)), commit = get_raw(&in, get_u64(&in));
    struct ts *ts = ts_new(&r.config);
    assert_false(ts_replay(ts, commit, 1));
    assert_true(ts_replay(ts, submitted, 1));
    assert_false(ts_replay(ts, submitted, 2));
    for (size_t len = 0; len < commit.len; len++)
        assert_false(ts_replay(ts, bytes_of(commit.data, len), 2));
    assert_int_equal(ts_lsn(ts), 1);
    assert_false(ts_replay(ts, commit, 0));
    assert_true(ts_replay(ts, commit, 2));
    assert_false(ts_replay(ts, commit, 3));
    ts_check(ts);
    assert_true(rig_equal(ts, r.ts));
    ts_free(ts);
    rig_close(&r);
}

/* Whatever a broken disk gives: no record may break the state. */
static void spoilt_records_break_nothing(void **state)
{
    struct rig r;
    struct rig_records snap = {0};
    (void)state;
    half_way(&r);
    ts_snapshot(r.ts, rig_keep, &snap);
    for (size_t bit = 0; bit < snap.bytes.len * 8; bit += 3) {
        struct ts *ts = ts_new(&r.config);
        struct reader in = reader_of(buf_bytes(&snap.bytes));
        for (size_t i = 0; i < snap.n; i++) {
            uint64_t len = get_u64(&in);
            size_t at = (size_t)(in.at - snap.bytes.data);
            struct buf copy = {0};
            struct bytes record = get_raw(&in, len);
            buf_add(&copy, record.data, record.len);
            if (bit / 8 >= at && bit / 8 < at + len)
                copy.data[bit / 8 - at] ^= (uint8_t)(1u << bit % 8);
            ts_replay(ts, buf_bytes(&copy), i + 1);
            buf_free(&copy);
        }
        ts_replayed(ts, 1);
        ts_check(ts);
        ts_free(ts);
    }
    buf_free(&snap.bytes);
    rig_close(&r);
}

/* ---- Commits that come together ---- */

enum { TOGETHER = 40 };

/* Two jobs, a and b, each with so many granted children; the batch answers all of them, by `turn` in turns.
 */
static void two_fans(struct rig *r, struct buf *batch, uint32_t turn)
{
    struct buf body = {0}, leaf = {0};
    struct grant of[2][TOGETHER];
    rig_open(r, (struct ts_config){0});
    rig_join(r, 1, 2 * TOGETHER);
    for (int k = 0; k < 2; k++) {
        rig_submit(r, (uint64_t)k + 1);
        struct grant g = rig_grant(r, 0);
        body_fan(&body, SUM_I64, TOGETHER);
        rig_commit(r, 1, &g, &body);
        for (uint32_t i = 0; i < TOGETHER; i++)
            of[k][i] = rig_grant(r, i);
    }
    body_set_i64(&leaf, HOME, 1);
    for (uint32_t i = 0; i < 2 * TOGETHER; i++) {
        uint32_t round = i / (2 * turn), at = i % (2 * turn);
        const struct grant *g = &of[at / turn][round * turn + at % turn];
        struct commit c = {.kind = COMMIT_DONE,
                           .job = g->job,
                           .task = g->task,
                           .hash = g->hash,
                           .executed = 1,
                           .body = buf_bytes(&leaf)};
        commit_put(batch, &c);
    }
    buf_free(&leaf);
}

static void commits_that_come_together_are_one_record(void **state)
{
    (void)state;
    for (uint32_t turn = 1; turn <= TOGETHER; turn *= 40) {
        struct rig r;
        struct buf batch = {0};
        two_fans(&r, &batch, turn);
        size_t before = r.log.n;
        rig_commits(&r, 1, &batch);
        assert_int_equal(r.log.n - before, 2 * TOGETHER / turn); /* a record is of one job */
        for (uint64_t job = 1; job <= 2; job++) {
            assert_int_equal(rig_result(&r, job).as.i64, TOGETHER);
            assert_int_equal(rig_info(&r, job).commits, TOGETHER + 1);
        }
        buf_free(&batch);
        rig_close(&r); /* replays them */
    }
}

/* Another record between two commits, of the same job or not, is between them in the log. */
static void a_record_of_commits_ends_with_the_next_record(void **state)
{
    struct rig r;
    struct buf batch = {0};
    struct commit c[3];
    struct grant g = rig_root(&r, 8);
    struct buf body = {0}, leaf = {0}, fail = {0};
    (void)state;
    body_fan(&body, SUM_I64, 3);
    rig_commit(&r, 1, &g, &body);
    body_set_i64(&leaf, HOME, 1);
    put_fail(&fail, bytes_str("no"));
    for (uint32_t i = 0; i < 3; i++) {
        g = rig_grant(&r, i);
        c[i] =
            (struct commit){.kind = COMMIT_DONE, .job = g.job, .task = g.task, .hash = g.hash, .executed = 1};
        c[i].body = i == 1 ? buf_bytes(&fail) : buf_bytes(&leaf);
        commit_put(&batch, &c[i]);
    }
    size_t before = r.log.n;
    rig_commits(&r, 1, &batch);
    assert_int_equal(r.log.n - before, 2); /* one commit; the failure; the third comes too late */
    assert_int_equal(rig_info(&r, 1).state, TS_JOB_FAILED);
    buf_free(&batch);
    buf_free(&leaf);
    buf_free(&fail);
    rig_close(&r);
}

static void a_record_with_one_commit_that_does_not_fit_is_refused(void **state)
{
    struct rig r;
    struct buf batch = {0}, spoilt = {0};
    (void)state;
    two_fans(&r, &batch, TOGETHER);
    size_t before = r.log.n;
    rig_commits(&r, 1, &batch);
    struct ts *ts = rig_replay(&r.config, &r.log, before);
    struct reader in = reader_of(buf_bytes(&r.log.bytes));
    for (size_t i = 0; i < before; i++)
        get_raw(&in, get_u64(&in));
    struct bytes record = get_raw(&in, get_u64(&in));
    buf_add(&spoilt, record.data, record.len);
    spoilt.data[spoilt.len - 10] ^= 1; /* the last one's task */
    assert_false(ts_replay(ts, buf_bytes(&spoilt), before + 1));
    assert_int_equal(ts_lsn(ts), before);
    ts_check(ts);
    ts_free(ts);
    buf_free(&spoilt);
    buf_free(&batch);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_handed_down),
        cmocka_unit_test(a_restart_goes_on_where_the_log_ends),
        cmocka_unit_test(a_lost_tail_is_computed_again),
        cmocka_unit_test(a_snapshot_restores_and_goes_on),
        cmocka_unit_test(ended_jobs_survive),
        cmocka_unit_test(a_stuck_job_is_found_again),
        cmocka_unit_test(records_that_do_not_fit_are_refused),
        cmocka_unit_test(spoilt_records_break_nothing),
        cmocka_unit_test(commits_that_come_together_are_one_record),
        cmocka_unit_test(a_record_of_commits_ends_with_the_next_record),
        cmocka_unit_test(a_record_with_one_commit_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
