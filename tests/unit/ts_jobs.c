/* Jobs: submitted, watched, cancelled, forgotten; how they fail and what they say then. */
#include "tests/unit/ts_rig.h"

static int reply_code(const struct rig *r)
{
    const struct ts_effect *fx = rig_fx(r, TS_FX_REPLY, 0);
    assert_non_null(fx);
    return fx->code;
}

static void reply_says(const struct rig *r, const char *part)
{
    rig_says(ts_effect_data(&r->fx, rig_fx(r, TS_FX_REPLY, 0)), part);
}

/* ---- Submitting ---- */

static void submit_is_idempotent(void **state)
{
    struct rig r;
    (void)state;
    rig_open(&r, (struct ts_config){0});
    rig_submit(&r, 1);
    assert_int_equal(reply_code(&r), CX_OK);
    rig_submit(&r, 1);
    assert_int_equal(reply_code(&r), CX_OK);
    assert_int_equal(r.log.n, 1);
    struct ts_submit s = rig_submission(1, (struct bytes){0}, 0);
    s.priority = 1;
    rig_submit_as(&r, &s);
    assert_int_equal(reply_code(&r), CX_EEXIST);
    s = rig_submission(1, (struct bytes){0}, 0);
    s.owner = bytes_str("bob");
    rig_submit_as(&r, &s);
    assert_int_equal(reply_code(&r), CX_EEXIST);
    assert_int_equal(r.log.n, 1);
    rig_close(&r);
}

static void submit_passes_its_arguments(void **state)
{
    struct rig r;
    struct buf args = {0};
    (void)state;
    rig_open(&r, (struct ts_config){0});
    rig_join(&r, 1, 1);
    put_value(&args, cx_v_i64(-5));
    put_value(&args, cx_v_bytes("hello", 5));
    struct ts_submit s = rig_submission(1, buf_bytes(&args), 2);
    s.fn = FN_C;
    rig_submit_as(&r, &s);
    struct grant g = rig_grant(&r, 0);
    assert_int_equal(g.fn, FN_C);
    assert_int_equal(g.nslots, 2);
    assert_int_equal(rig_arg(&g), -5);
    assert_true(bytes_equal(g.values, buf_bytes(&args)));
    buf_free(&args);
    rig_close(&r);
}

static void bad_submissions_are_refused(void **state)
{
    static const uint8_t addr[] = {CX_ADDR}, torn[] = {CX_F64, 1, 2};
    struct rig r;
    struct ts_submit good = rig_submission(1, (struct bytes){0}, 0), s[9];
    (void)state;
    rig_open(&r, (struct ts_config){0});
    for (size_t i = 0; i < 9; i++)
        s[i] = good;
    s[0].job = (struct id){0};
    s[1].modules = 0;
    s[2].modules = TS_MODULES_MAX + 1;
    s[3].functions = bytes_str("");
    s[4].fn = FN_FIRST + 3;
    s[5].fn = SUM_I64;
    s[6].args = bytes_of(addr, 1);
    s[6].nargs = 1;
    s[7].args = bytes_of(torn, 3);
    s[7].nargs = 1;
    s[8].args = bytes_of(torn, 3); /* bytes behind the last argument */
    for (size_t i = 0; i < 9; i++) {
        rig_submit_as(&r, &s[i]);
        assert_int_equal(reply_code(&r), CX_EINVAL);
    }
    assert_int_equal(r.log.n, 0);
    rig_close(&r);
}

static void a_full_server_refuses_jobs(void **state)
{
    struct rig r;
    static uint8_t big[70000];
    struct buf args = {0};
    (void)state;
    rig_open(&r, (struct ts_config){.memory_max = 100000, .jobs_max = 2});
    put_value(&args, cx_v_bytes(big, sizeof big));
    struct ts_submit s = rig_submission(1, buf_bytes(&args), 1);
    rig_submit_as(&r, &s);
    assert_int_equal(reply_code(&r), CX_OK);
    s.job = rig_job(2);
    rig_submit_as(&r, &s);
    assert_int_equal(reply_code(&r), CX_EFULL);
    reply_says(&r, "memory budget");
    rig_submit(&r, 3);
    assert_int_equal(reply_code(&r), CX_OK);
    rig_submit(&r, 4);
    assert_int_equal(reply_code(&r), CX_EFULL);
    reply_says(&r, "2 jobs");
    put_value(&args, cx_v_bytes(big, sizeof big));
    s = rig_submission(5, buf_bytes(&args), 2);
    rig_client(&r, TS_CANCEL, 1, 3, "");
    rig_client(&r, TS_FORGET, 1, 3, "");
    rig_submit_as(&r, &s);
    assert_int_equal(reply_code(&r), CX_ELIMIT);
    buf_free(&args);
    rig_close(&r);
}

/* ---- Who may ----  */

static void only_the_owner_or_an_admin_may(void **state)
{
    static const enum ts_event_kind kinds[] = {TS_CANCEL, TS_WATCH, TS_FORGET};
    struct rig r;
    (void)state;
    rig_open(&r, (struct ts_config){0});
    rig_submit(&r, 1);
    for (size_t i = 0; i < 3; i++) {
        rig_client(&r, kinds[i], 9, 1, "bob");
        assert_int_equal(reply_code(&r), CX_EAUTH);
        assert_int_equal(rig_fx(&r, TS_FX_REPLY, 0)->req, 7);
        rig_client(&r, kinds[i], 9, 2, "bob");
        assert_int_equal(reply_code(&r), CX_ENOTFOUND);
    }
    rig_client(&r, TS_FORGET, 9, 1, "ann");
    assert_int_equal(reply_code(&r), CX_EINVAL); /* still running */
    rig_client(&r, TS_CANCEL, 9, 1, "");
    assert_int_equal(reply_code(&r), CX_OK);
    rig_says(rig_info(&r, 1).reason, "administrator");
    rig_client(&r, TS_FORGET, 9, 1, "ann");
    assert_int_equal(reply_code(&r), CX_OK);
    rig_close(&r);
}

/* ---- Watching ---- */

static void a_watcher_of_an_ended_job_gets_the_result_at_once(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    body_set_i64(&b, HOME, 3);
    rig_commit(&r, 1, &g, &b);
    rig_client(&r, TS_WATCH, 5, 1, "ann");
    assert_int_equal(rig_count(&r, TS_FX_RESULT), 1);
    assert_int_equal(rig_fx(&r, TS_FX_RESULT, 0)->peer, 5);
    assert_int_equal(rig_fx(&r, TS_FX_RESULT, 0)->req, 7);
    rig_close(&r);
}

static void progress_is_told_ten_times_a_second_and_only_when_there_is_some(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 64);
    struct buf b = {0};
    size_t told = 0;
    (void)state;
    rig_client(&r, TS_WATCH, 5, 1, "ann");
    assert_int_equal(rig_count(&r, TS_FX_PROGRESS), 1);
    body_fan(&b, COUNT, 60);
    rig_commit(&r, 1, &g, &b);
    struct grant c[60];
    for (size_t i = 0; i < 60; i++)
        c[i] = rig_grant(&r, i);
    for (size_t i = 0; i < 50; i++) {
        r.now += 10000;
        body_set_i64(&b, HOME, 1);
        rig_commit(&r, 1, &c[i], &b);
        assert_int_equal(rig_count(&r, TS_FX_PROGRESS), 0);
        if (ts_due(r.ts) <= r.now) {
            rig_tick(&r, 0);
            told += rig_count(&r, TS_FX_PROGRESS);
        }
    }
    assert_in_range(told, 4, 6);
    rig_tick(&r, 200000);
    assert_int_equal(rig_count(&r, TS_FX_PROGRESS), 1);
    rig_tick(&r, 200000);
    assert_int_equal(rig_count(&r, TS_FX_PROGRESS), 0);
    rig_client(&r, TS_UNWATCH, 5, 1, "");
    body_set_i64(&b, HOME, 1);
    rig_commit(&r, 1, &c[50], &b);
    rig_tick(&r, 200000);
    assert_int_equal(rig_count(&r, TS_FX_PROGRESS), 0);
    rig_close(&r);
}

static void a_client_that_left_is_told_nothing(void **state)
{
    struct rig r;
    (void)state;
    rig_open(&r, (struct ts_config){0});
    r.hold = true;
    rig_submit(&r, 1);
    rig_client(&r, TS_WATCH, 100, 1, "ann");
    rig_step(&r, (struct ts_event){.kind = TS_CLIENT_LEFT, .peer = 100});
    rig_client(&r, TS_CANCEL, 101, 1, "");
    rig_step(&r, (struct ts_event){.kind = TS_HELD, .u.lsn = 2});
    assert_int_equal(r.fx.n, 1);
    assert_int_equal(r.fx.fx[0].peer, 101);
    rig_close(&r);
}

static void results_expire(void **state)
{
    struct rig r;
    (void)state;
    rig_open(&r, (struct ts_config){.result_ttl_us = 1000000});
    rig_submit(&r, 1);
    rig_submit(&r, 2);
    rig_client(&r, TS_CANCEL, 5, 1, "");
    assert_int_equal(ts_due(r.ts), r.now + 1000000);
    rig_tick(&r, 999999);
    assert_int_equal(rig_info(&r, 1).state, TS_JOB_CANCELLED);
    rig_tick(&r, 1);
    struct ts_job_info info;
    assert_false(ts_job_find(r.ts, rig_job(1), &info));
    assert_true(ts_job_find(r.ts, rig_job(2), &info));
    rig_close(&r);
}

/* ---- Failing ---- */

static void a_failure_names_task_function_and_producer(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    put_fail(&b, bytes_str("no\x01 l\xc3\xbc\xff\xc0k"));
    rig_commit(&r, 1, &g, &b);
    char hex[ID_HEX_MAX];
    id_hex(id_root(), hex);
    rig_reason(&r, 1, hex);
    rig_reason(&r, 1, "(a)");
    rig_reason(&r, 1, "producer p1: no? l\xc3\xbc??k");
    rig_close(&r);
}

static void a_long_failure_is_cut_between_characters(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0}, text = {0};
    (void)state;
    while (text.len < MESSAGE_TEXT_MAX)
        buf_add(&text, "\xc3\xbc", 2);
    put_fail(&b, buf_bytes(&text));
    rig_commit(&r, 1, &g, &b);
    struct bytes reason = rig_info(&r, 1).reason;
    assert_in_range(reason.len, TS_REASON_MAX - 1, TS_REASON_MAX);
    assert_int_equal(reason.data[reason.len - 1], 0xbc);
    buf_free(&text);
    rig_close(&r);
}

static void three_crashes_are_poison(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    (void)state;
    rig_submit(&r, 2);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rig_info(&r, 1).state, TS_JOB_RUNNING);
        rig_commit_kind(&r, 1, &g, COMMIT_CRASHED, bytes_str("signal 11"));
        if (i < 2) {
            g = rig_grant(&r, 0);
            if (g.job.lo == 2) { /* the other job's turn: it is handed back */
                rig_commit_kind(&r, 1, &g, COMMIT_RETURNED, bytes_str(""));
                g = rig_grant(&r, 0);
            }
            assert_int_equal(g.job.lo, 1);
            assert_int_equal(g.budget_us, 0);
        }
    }
    rig_reason(&r, 1, "(a) crashed 3 times, last on producer p1: signal 11");
    assert_int_equal(rig_info(&r, 2).state, TS_JOB_RUNNING);
    rig_close(&r);
}

static void a_job_that_cannot_end_fails(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    put_name(&b, 0, 0);
    body_wait(&b, 1, FN_B, 3, HOME);
    body_set_i64(&b, slot(1, 0), 1);
    body_set_i64(&b, slot(1, 2), 1);
    rig_commit(&r, 1, &g, &b);
    rig_reason(&r, 1, "(b) waits for slot 1, which no task can set any more");
    rig_submit(&r, 2);
    g = rig_grant(&r, 0);
    rig_commit(&r, 1, &g, &b);
    rig_reason(&r, 2, "none returned the job's result");
    rig_close(&r);
}

static void a_mistyped_value_fails_the_job(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    put_name(&b, 0, 0);
    body_wait(&b, 1, SUM_I64, 2, HOME);
    put_set(&b, slot(1, 1), cx_v_f64(1.5), (struct ref){0});
    rig_commit(&r, 1, &g, &b);
    rig_reason(&r, 1, "(sum_i64): slot 1 was given a value of type f64");
    rig_submit(&r, 2);
    g = rig_grant(&r, 0);
    put_set(&b, HOME, cx_v_addr((cx_addr){0, 0, 0}), HOME);
    rig_commit(&r, 1, &g, &b);
    rig_reason(&r, 2, "address");
    rig_submit(&r, 3);
    g = rig_grant(&r, 0);
    put_name(&b, 0, 0);
    body_wait(&b, 1, CONCAT, 1, HOME);
    body_set_i64(&b, slot(1, 0), 7);
    rig_commit(&r, 1, &g, &b);
    rig_reason(&r, 3, "(concat): slot 0 was given a value of type i64");
    rig_close(&r);
}

static void arguments_too_long_together_fail_the_job(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 3), c[3];
    struct buf b = {0};
    uint8_t *big = calloc(1, CX_VALUE_BYTES_MAX);
    (void)state;
    body_fan(&b, FN_B, 3);
    rig_commit(&r, 1, &g, &b);
    for (size_t i = 0; i < 3; i++)
        c[i] = rig_grant(&r, i);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(rig_info(&r, 1).state, TS_JOB_RUNNING);
        put_set(&b, HOME, cx_v_bytes(big, CX_VALUE_BYTES_MAX), (struct ref){0});
        rig_commit(&r, 1, &c[i], &b);
    }
    rig_reason(&r, 1, "(b): its arguments exceed 32 MiB together");
    free(big);
    rig_close(&r);
}

/* Many slots, set from the last to the first, some with addresses and bytes. */
static void a_wide_task_gets_its_arguments_in_order(void **state)
{
    enum { SLOTS = 60 };
    struct rig r;
    struct grant g = rig_root(&r, SLOTS), c[SLOTS];
    struct buf b = {0};
    (void)state;
    body_fan(&b, FN_B, SLOTS);
    rig_commit(&r, 1, &g, &b);
    for (size_t i = 0; i < SLOTS; i++)
        c[i] = rig_grant(&r, i);
    for (size_t i = SLOTS; i-- > 0;) {
        if (i % 3 == 0)
            body_set_i64(&b, HOME, rig_arg(&c[i]));
        else if (i % 3 == 1)
            put_set(&b, HOME, cx_v_bytes("abcdefghijklmnopqrstuvwxyz", i % 27), (struct ref){0});
        else
            put_set(&b, HOME, cx_v_addr((cx_addr){0, 0, 0}), HOME);
        rig_commit(&r, 1, &c[i], &b);
        rig_compare(&r);
    }
    g = rig_grant(&r, 0);
    assert_int_equal(g.nslots, SLOTS);
    struct reader in = reader_of(ts_effect_data(&r.fx, rig_fx(&r, TS_FX_GRANT, 0)));
    assert_true(grant_get(&in, &g));
    in = reader_of(g.values);
    for (size_t i = 0; i < SLOTS; i++) {
        cx_value v = get_value(&in);
        assert_int_equal(v.type, i % 3 == 0 ? CX_I64 : i % 3 == 1 ? CX_BYTES : CX_ADDR);
        if (i % 3 == 0)
            assert_int_equal(v.as.i64, i);
        if (i % 3 == 1)
            assert_int_equal(v.len, i % 27);
    }
    rig_close(&r);
}

static void the_job_that_grew_fails_and_others_go_on(void **state)
{
    struct rig r;
    struct buf b = {0};
    (void)state;
    rig_open(&r, (struct ts_config){.memory_max = 300000});
    rig_join(&r, 1, 1);
    rig_submit(&r, 1);
    struct grant hog = rig_grant(&r, 0);
    rig_submit(&r, 2);
    body_fan(&b, COUNT, 1500);
    rig_commit(&r, 1, &hog, &b);
    assert_int_equal(rig_info(&r, 1).state, TS_JOB_RUNNING);
    struct grant g = rig_grant(&r, 0);
    if (g.job.lo == 1) {
        rig_window(&r, 1, 2);
        g = rig_grant(&r, 0);
    }
    assert_int_equal(g.job.lo, 2);
    body_fan(&b, COUNT, 800); /* the small job's commit does not fit: the big one goes */
    rig_commit(&r, 1, &g, &b);
    rig_reason(&r, 1, "memory budget of 300000 bytes");
    rig_reason(&r, 1, "CX_ELIMIT");
    assert_int_equal(rig_info(&r, 2).ready + rig_info(&r, 2).granted, 800);
    g = rig_grant(&r, 0);
    body_fan(&b, COUNT, 5000);
    rig_commit(&r, 1, &g, &b);
    rig_reason(&r, 2, "memory budget");
    rig_reason(&r, 2, "its next step needs up to");
    rig_close(&r);
}

static void kept_results_are_named_when_they_have_the_memory(void **state)
{
    struct rig r;
    struct buf b = {0};
    static uint8_t picture[250000];
    (void)state;
    rig_open(&r, (struct ts_config){.memory_max = 300000});
    rig_join(&r, 1, 1);
    rig_submit(&r, 1);
    struct grant g = rig_grant(&r, 0);
    put_set(&b, HOME, cx_v_bytes(picture, sizeof picture), (struct ref){0});
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_info(&r, 1).state, TS_JOB_DONE);
    rig_submit(&r, 2);
    g = rig_grant(&r, 0);
    body_fan(&b, COUNT, 800);
    rig_commit(&r, 1, &g, &b);
    rig_reason(&r, 2, "memory budget of 300000 bytes");
    rig_reason(&r, 2, "results of jobs that have ended hold 25");
    assert_int_equal(rig_info(&r, 1).state, TS_JOB_DONE);
    rig_close(&r);
}

static void why_speaks_plainly(void **state)
{
    struct rig r;
    struct buf text = {0}, b = {0};
    (void)state;
    rig_open(&r, (struct ts_config){0});
    rig_submit(&r, 1);
    ts_why(r.ts, rig_job(1), r.now, &text);
    rig_says(buf_bytes(&text), "No producer is connected");
    rig_join_arch(&r, 2, "aarch64", 1);
    buf_clear(&text);
    ts_why(r.ts, rig_job(1), r.now, &text);
    rig_says(buf_bytes(&text), "None of the 1 connected producers");
    rig_says(buf_bytes(&text), "x86_64");
    rig_join(&r, 1, 1);
    struct grant g = rig_grant(&r, 0);
    buf_clear(&text);
    ts_why(r.ts, rig_job(1), r.now + 2500000, &text);
    rig_says(buf_bytes(&text), "(a) on producer p1, for 2.5 s");
    put_fail(&b, bytes_str("oh"));
    rig_commit(&r, 1, &g, &b);
    buf_clear(&text);
    ts_why(r.ts, rig_job(1), r.now, &text);
    rig_says(buf_bytes(&text), "The job failed. Reason: task");
    buf_free(&text);
    rig_close(&r);
}

static void memory_goes_back_to_nothing(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 2);
    struct buf b = {0};
    struct ts_stats s;
    (void)state;
    body_fan(&b, CONCAT, 300);
    rig_commit(&r, 1, &g, &b);
    rig_client(&r, TS_CANCEL, 5, 1, "");
    rig_client(&r, TS_FORGET, 5, 1, "");
    ts_stats(r.ts, &s);
    assert_int_equal(s.memory, 0);
    assert_int_equal(s.tasks, 0);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(submit_is_idempotent),
        cmocka_unit_test(submit_passes_its_arguments),
        cmocka_unit_test(bad_submissions_are_refused),
        cmocka_unit_test(a_full_server_refuses_jobs),
        cmocka_unit_test(only_the_owner_or_an_admin_may),
        cmocka_unit_test(a_watcher_of_an_ended_job_gets_the_result_at_once),
        cmocka_unit_test(progress_is_told_ten_times_a_second_and_only_when_there_is_some),
        cmocka_unit_test(a_client_that_left_is_told_nothing),
        cmocka_unit_test(results_expire),
        cmocka_unit_test(a_failure_names_task_function_and_producer),
        cmocka_unit_test(a_long_failure_is_cut_between_characters),
        cmocka_unit_test(three_crashes_are_poison),
        cmocka_unit_test(arguments_too_long_together_fail_the_job),
        cmocka_unit_test(a_wide_task_gets_its_arguments_in_order),
        cmocka_unit_test(a_job_that_cannot_end_fails),
        cmocka_unit_test(a_mistyped_value_fails_the_job),
        cmocka_unit_test(the_job_that_grew_fails_and_others_go_on),
        cmocka_unit_test(kept_results_are_named_when_they_have_the_memory),
        cmocka_unit_test(why_speaks_plainly),
        cmocka_unit_test(memory_goes_back_to_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
