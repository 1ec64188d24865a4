/* The laws of the design, as far as the core keeps them. Each test fails when its law is broken. */
#include "tests/unit/ts_rig.h"

static void a_task_returns_the_jobs_result(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    assert_true(id_equal(g.task, id_root()));
    assert_int_equal(g.fn, FN_A);
    body_set_i64(&b, HOME, 42);
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_result(&r, 1).as.i64, 42);
    assert_int_equal(rig_count(&r, TS_FX_JOB_GONE), 1);
    rig_close(&r);
}

static void children_and_a_well_known_successor(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 8), c[4];
    struct buf b = {0};
    (void)state;
    body_fan(&b, SUM_I64, 4);
    rig_commit(&r, 1, &g, &b);
    for (size_t i = 0; i < 4; i++)
        c[i] = rig_grant(&r, i);
    for (size_t i = 0; i < 4; i++) {
        body_set_i64(&b, HOME, rig_arg(&c[i]) * 10);
        rig_commit(&r, 1, &c[i], &b);
    }
    assert_int_equal(rig_result(&r, 1).as.i64, 60);
    assert_int_equal(rig_info(&r, 1).executed, 5);
    rig_close(&r);
}

/* Law 2: what is wrong anywhere in a commit undoes all of it. */
static void law2_a_commit_is_applied_whole_or_not_at_all(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 8);
    struct buf b = {0};
    (void)state;
    body_fan(&b, SUM_I64, 4);
    put_u8(&b, 99);
    size_t records = r.log.n;
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_count(&r, TS_FX_FAULT), 1);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 0);
    assert_int_equal(r.log.n, records);
    assert_int_equal(rig_info(&r, 1).waiting, 0);
    body_set_i64(&b, HOME, 1);
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_result(&r, 1).as.i64, 1);
    rig_close(&r);
}

/* Law 3: of two executions of one task the first commit counts. */
static void law3_the_first_commit_wins(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1), c, again;
    struct buf b = {0};
    (void)state;
    body_fan(&b, SUM_I64, 1);
    rig_commit(&r, 1, &g, &b);
    c = rig_grant(&r, 0);
    rig_join(&r, 2, 1);
    rig_tick(&r, 10000000);
    again = rig_grant(&r, 0);
    assert_int_equal(rig_granted_to(&r, 0), 2);
    assert_true(id_equal(again.task, c.task) && again.hash == c.hash);
    put_name(&b, 0, 0);
    body_wait(&b, 1, SUM_I64, 2, HOME);
    rig_commit(&r, 2, &again, &b); /* stuck, on purpose: but see which commit counted */
    rig_reason(&r, 1, "waits for slot 0");
    body_set_i64(&b, HOME, 1);
    rig_commit(&r, 1, &c, &b);
    assert_int_equal(rig_count(&r, TS_FX_FAULT), 0);
    assert_int_equal(rig_info(&r, 1).duplicates, 1);
    assert_int_equal(rig_info(&r, 1).executed, 2);
    rig_close(&r);
}

static void law3_a_duplicate_within_one_batch(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 8);
    struct buf b = {0}, batch = {0};
    (void)state;
    body_fan(&b, SUM_I64, 2);
    struct commit c = {.kind = COMMIT_DONE,
                       .job = g.job,
                       .task = g.task,
                       .hash = g.hash,
                       .executed = 1,
                       .body = buf_bytes(&b)};
    commit_put(&batch, &c);
    commit_put(&batch, &c);
    rig_commits(&r, 1, &batch);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 2);
    assert_int_equal(rig_info(&r, 1).duplicates, 1);
    assert_int_equal(rig_info(&r, 1).executed, 1);
    buf_free(&batch);
    buf_free(&b);
    rig_close(&r);
}

/* Law 4: the first value of a slot stays; a counter would finish the sum early. */
static void law4_a_slot_is_set_once(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 8), c[2];
    struct buf b = {0};
    (void)state;
    put_name(&b, 0, 0);
    put_name(&b, 0, 1);
    put_name(&b, 0, 2);
    body_wait(&b, 1, SUM_I64, 2, HOME);
    body_child(&b, 2, FN_A, 1, slot(1, 0));
    body_child(&b, 3, FN_A, 2, slot(1, 1));
    rig_commit(&r, 1, &g, &b);
    c[0] = rig_grant(&r, 0);
    c[1] = rig_grant(&r, 1);
    body_set_i64(&b, HOME, 5);
    body_set_i64(&b, HOME, 7);
    rig_commit(&r, 1, &c[0], &b);
    assert_int_equal(rig_info(&r, 1).state, TS_JOB_RUNNING);
    body_set_i64(&b, HOME, 100);
    rig_commit(&r, 1, &c[1], &b);
    assert_int_equal(rig_result(&r, 1).as.i64, 105);
    rig_close(&r);
}

static void law4_also_where_values_are_kept(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 8), c[2];
    struct buf b = {0};
    (void)state;
    body_fan(&b, CONCAT, 2);
    rig_commit(&r, 1, &g, &b);
    c[0] = rig_grant(&r, 0);
    c[1] = rig_grant(&r, 1);
    put_set(&b, HOME, cx_v_bytes("right", 5), (struct ref){0});
    put_set(&b, HOME, cx_v_bytes("wrong", 5), (struct ref){0});
    rig_commit(&r, 1, &c[1], &b);
    put_set(&b, HOME, cx_v_bytes("all ", 4), (struct ref){0});
    rig_commit(&r, 1, &c[0], &b);
    cx_value v = rig_result(&r, 1);
    assert_int_equal(v.len, 9);
    assert_memory_equal(v.as.bytes, "all right", 9);
    rig_close(&r);
}

/* Law 5: names are derived from the granted task's, so they are the same whoever runs it. */
static void law5_names_are_derived(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 8);
    struct buf b = {0};
    (void)state;
    put_name(&b, 0, 0);
    put_name(&b, 0, 7);
    put_name(&b, 2, 3);
    body_wait(&b, 1, SUM_I64, 1, HOME);
    body_child(&b, 3, FN_B, 1, slot(1, 0));
    rig_commit(&r, 1, &g, &b);
    assert_true(id_equal(rig_grant(&r, 0).task, id_child(id_child(id_root(), 7), 3)));
    rig_close(&r);
}

static void law5_what_was_not_granted_cannot_be_committed(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    rig_join(&r, 2, 1);
    body_set_i64(&b, HOME, 1);
    rig_commit(&r, 2, &g, &b);
    assert_int_equal(rig_count(&r, TS_FX_FAULT), 1);
    assert_int_equal(rig_fx(&r, TS_FX_FAULT, 0)->peer, 2);
    assert_int_equal(rig_info(&r, 1).state, TS_JOB_RUNNING);
    rig_close(&r);
}

/* Law 6: the same name with other content is dropped, and is nobody's fault: it may be from before a
 * failover. */
static void law6_other_content_is_dropped(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    g.hash++;
    body_set_i64(&b, HOME, 1);
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_count(&r, TS_FX_FAULT), 0);
    assert_int_equal(rig_info(&r, 1).duplicates, 1);
    g.hash--;
    body_set_i64(&b, HOME, 2);
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_result(&r, 1).as.i64, 2);
    rig_close(&r);
}

static void law6_the_hash_covers_function_slots_and_home(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 8);
    struct buf b = {0};
    uint64_t hash[4];
    (void)state;
    put_name(&b, 0, 0);
    for (uint32_t i = 1; i <= 4; i++)
        put_name(&b, 0, i);
    body_wait(&b, 1, SUM_I64, 2, HOME);
    body_child(&b, 2, FN_A, 1, slot(1, 0));
    body_child(&b, 3, FN_B, 1, slot(1, 0));
    body_child(&b, 4, FN_A, 2, slot(1, 0));
    body_child(&b, 5, FN_A, 1, slot(1, 1));
    rig_commit(&r, 1, &g, &b);
    for (size_t i = 0; i < 4; i++) {
        hash[i] = rig_grant(&r, i).hash;
        for (size_t j = 0; j < i; j++)
            assert_true(hash[i] != hash[j]);
    }
    rig_close(&r);
}

/* Law 7: a collapsed subtree's commit has names of several levels and a half-filled successor. */
static void law7_a_frontier_is_an_ordinary_commit(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 8);
    struct buf b = {0};
    struct op half = {.kind = OP_TASK, .name = 3, .fn = SUM_I64, .nslots = 3, .nset = 2, .to = slot(1, 0)};
    (void)state;
    put_name(&b, 0, 0); /* 1: the root's successor */
    put_name(&b, 0, 1); /* 2: a child that ran within */
    put_name(&b, 2, 0); /* 3: its successor, with two of three values */
    put_name(&b, 2, 3); /* 4: its third child */
    body_wait(&b, 1, SUM_I64, 2, HOME);
    put_task(&b, &half);
    put_task_value(&b, &half, &(struct op_value){.slot = 0, .value = cx_v_i64(1)});
    put_task_value(&b, &half, &(struct op_value){.slot = 2, .value = cx_v_i64(4)});
    body_child(&b, 4, FN_A, 9, slot(3, 1));
    body_set_i64(&b, slot(1, 1), 1000);
    rig_commit(&r, 1, &g, &b);
    g = rig_grant(&r, 0);
    assert_true(id_equal(g.task, id_child(id_child(id_root(), 1), 3)));
    body_set_i64(&b, HOME, 20);
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_result(&r, 1).as.i64, 1025);
    rig_close(&r);
}

static enum ts_job_state listed_state(const struct rig *r)
{
    uint64_t cursor = 0;
    struct ts_job_info job;
    assert_true(ts_job_next(r->ts, &cursor, &job));
    assert_true((job.state == TS_JOB_RUNNING) == (job.ended_us == 0));
    return job.state;
}

static void why_says(const struct rig *r, const char *part)
{
    struct buf text = {0};
    ts_why(r->ts, rig_job(1), r->now, &text);
    rig_says(buf_bytes(&text), part);
    buf_free(&text);
}

/* Law 8: nothing that depends on the log is told before the log is held. Grants never wait. */
static void law8_outputs_wait_for_the_log(void **state)
{
    struct rig r;
    struct buf b = {0};
    (void)state;
    rig_open(&r, (struct ts_config){0});
    r.hold = true;
    rig_join(&r, 1, 1);
    rig_submit(&r, 1);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 1);
    assert_int_equal(rig_count(&r, TS_FX_REPLY), 0);
    struct grant g = rig_grant(&r, 0);
    rig_client(&r, TS_WATCH, 100, 1, "ann");
    body_set_i64(&b, HOME, 1);
    rig_commit(&r, 1, &g, &b);
    rig_tick(&r, 1000000);
    assert_int_equal(rig_count(&r, TS_FX_RESULT) + rig_count(&r, TS_FX_PROGRESS), 0);
    rig_client(&r, TS_WATCH, 101, 1, "ann");
    assert_int_equal(r.fx.n, 0);
    rig_step(&r, (struct ts_event){.kind = TS_HELD, .u.lsn = 1});
    assert_int_equal(rig_count(&r, TS_FX_REPLY), 1);
    assert_int_equal(rig_fx(&r, TS_FX_REPLY, 0)->code, CX_OK);
    assert_int_equal(rig_count(&r, TS_FX_RESULT), 0);
    assert_int_equal(listed_state(&r), TS_JOB_RUNNING);
    why_says(&r, "safely stored");
    rig_step(&r, (struct ts_event){.kind = TS_HELD, .u.lsn = 2});
    assert_int_equal(listed_state(&r), TS_JOB_DONE);
    why_says(&r, "The job is done.");
    assert_int_equal(rig_count(&r, TS_FX_RESULT), 2);
    rig_client(&r, TS_FORGET, 100, 1, "ann");
    assert_int_equal(rig_count(&r, TS_FX_REPLY), 0);
    rig_client(&r, TS_WATCH, 100, 1, "ann");
    assert_int_equal(rig_count(&r, TS_FX_REPLY), 0); /* that it is gone is news, too */
    rig_step(&r, (struct ts_event){.kind = TS_HELD, .u.lsn = 3});
    assert_int_equal(rig_count(&r, TS_FX_REPLY), 2);
    assert_int_equal(rig_fx(&r, TS_FX_REPLY, 1)->code, CX_ENOTFOUND);
    rig_close(&r);
}

/* Law 9: offers merge in any order, any number of times. */
static void law9_a_bound_only_improves(void **state)
{
    static const int64_t offers[] = {50, 70, 50, 30, 40, 30};
    struct rig r;
    struct grant g = rig_root(&r, 8), c[6];
    struct buf b = {0};
    (void)state;
    body_fan(&b, MIN_I64, 6);
    rig_commit(&r, 1, &g, &b);
    for (size_t i = 0; i < 6; i++)
        c[i] = rig_grant(&r, i);
    int64_t best = INT64_MAX;
    for (size_t i = 0; i < 6; i++) {
        bool improves = offers[i] < best;
        best = improves ? offers[i] : best;
        put_bound(&b, CX_BOUND_MIN, offers[i]);
        put_bound(&b, CX_BOUND_MAX, -offers[i]);
        put_name(&b, 0, 1);
        body_child(&b, 1, FN_A, 0, HOME);
        rig_commit(&r, 1, &c[i], &b);
        assert_int_equal(rig_count(&r, TS_FX_BOUND), improves ? 2 : 0);
        assert_true(rig_info(&r, 1).has_min && rig_info(&r, 1).bound_min == best);
    }
    assert_true(rig_info(&r, 1).has_max && rig_info(&r, 1).bound_max == -30);
    rig_close(&r);
}

/* Law 10: a job ends in one way, and what comes later changes nothing. */
static void law10_a_job_ends_once(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    rig_client(&r, TS_WATCH, 100, 1, "ann");
    rig_client(&r, TS_CANCEL, 100, 1, "ann");
    assert_int_equal(rig_count(&r, TS_FX_RESULT), 1);
    assert_int_equal(rig_count(&r, TS_FX_JOB_GONE), 1);
    body_set_i64(&b, HOME, 1);
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_info(&r, 1).state, TS_JOB_CANCELLED);
    assert_int_equal(rig_count(&r, TS_FX_RESULT) + rig_count(&r, TS_FX_FAULT), 0);
    rig_client(&r, TS_CANCEL, 100, 1, "ann");
    assert_int_equal(rig_fx(&r, TS_FX_REPLY, 0)->code, CX_OK);
    rig_says(rig_info(&r, 1).reason, "cancelled by ann");
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_returns_the_jobs_result),
        cmocka_unit_test(children_and_a_well_known_successor),
        cmocka_unit_test(law2_a_commit_is_applied_whole_or_not_at_all),
        cmocka_unit_test(law3_the_first_commit_wins),
        cmocka_unit_test(law3_a_duplicate_within_one_batch),
        cmocka_unit_test(law4_a_slot_is_set_once),
        cmocka_unit_test(law4_also_where_values_are_kept),
        cmocka_unit_test(law5_names_are_derived),
        cmocka_unit_test(law5_what_was_not_granted_cannot_be_committed),
        cmocka_unit_test(law6_other_content_is_dropped),
        cmocka_unit_test(law6_the_hash_covers_function_slots_and_home),
        cmocka_unit_test(law7_a_frontier_is_an_ordinary_commit),
        cmocka_unit_test(law8_outputs_wait_for_the_log),
        cmocka_unit_test(law9_a_bound_only_improves),
        cmocka_unit_test(law10_a_job_ends_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
