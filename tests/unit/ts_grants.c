/* Who is granted what: windows, turns, eager scheduling, hunger, budgets, producers that come, go and return.
 */
#include "tests/unit/ts_rig.h"

static void grants_stay_within_the_window(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 3);
    struct buf b = {0};
    (void)state;
    body_fan(&b, COUNT, 10);
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 3);
    rig_window(&r, 1, 5);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 2);
    rig_window(&r, 1, 0);
    assert_int_equal(rig_info(&r, 1).granted, 5);
    rig_close(&r);
}

static void producers_take_turns(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 4);
    struct buf b = {0};
    unsigned count[4] = {0};
    (void)state;
    rig_window(&r, 1, 5);
    rig_join(&r, 2, 4);
    rig_join(&r, 3, 4);
    body_fan(&b, COUNT, 9);
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 9);
    for (size_t i = 0; i < 9; i++)
        count[rig_granted_to(&r, i)]++;
    for (size_t i = 1; i <= 3; i++)
        assert_int_equal(count[i], 3);
    rig_close(&r);
}

static void only_producers_with_a_module_for_them(void **state)
{
    struct rig r;
    (void)state;
    rig_open(&r, (struct ts_config){0});
    rig_join_arch(&r, 1, "aarch64", 4);
    rig_submit(&r, 1);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 0);
    struct ts_submit s = rig_submission(2, (struct bytes){0}, 0);
    s.modules = 2;
    snprintf(s.module[1].arch, sizeof s.module[1].arch, "aarch64");
    rig_submit_as(&r, &s);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 1);
    assert_int_equal(rig_grant(&r, 0).job.lo, 2);
    s = rig_submission(3, (struct bytes){0}, 0);
    s.module[0].arch[0] = 0; /* fits all */
    rig_submit_as(&r, &s);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 1);
    rig_close(&r);
}

static void a_producer_is_told_of_a_job_once_before_its_first_grant(void **state)
{
    struct rig r;
    (void)state;
    rig_open(&r, (struct ts_config){0});
    rig_join(&r, 1, 4);
    rig_submit(&r, 1);
    const struct ts_effect *job = rig_fx(&r, TS_FX_JOB, 0), *grant = rig_fx(&r, TS_FX_GRANT, 0);
    assert_true(job && grant && job < grant);
    assert_int_equal(rig_count(&r, TS_FX_JOB), 1);
    struct grant g = rig_grant(&r, 0);
    struct buf b = {0};
    body_fan(&b, COUNT, 3);
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_count(&r, TS_FX_JOB), 0);
    rig_left(&r, 1);
    rig_join(&r, 1, 1); /* another session: it is told again */
    assert_int_equal(rig_count(&r, TS_FX_JOB), 1);
    rig_close(&r);
}

/* ---- Eager scheduling ---- */

static void an_overdue_task_is_granted_again_and_the_loser_is_told(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1), again;
    struct buf b = {0};
    (void)state;
    rig_join(&r, 2, 1);
    body_fan(&b, SUM_I64, 2);
    rig_commit(&r, 1, &g, &b);
    struct grant first = rig_grant(&r, 0), second = rig_grant(&r, 1);
    uint32_t slow = rig_granted_to(&r, 0), quick = rig_granted_to(&r, 1);
    body_set_i64(&b, HOME, 1);
    rig_commit(&r, quick, &second, &b);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 0);
    rig_tick(&r, 40000);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 0);
    assert_true(ts_due(r.ts) <= r.now + 50000);
    rig_tick(&r, 20000);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 1);
    assert_int_equal(rig_granted_to(&r, 0), quick);
    again = rig_grant(&r, 0);
    assert_true(id_equal(again.task, first.task));
    rig_tick(&r, 10000000); /* never twice to the same producer at once */
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 0);
    body_set_i64(&b, HOME, 2);
    rig_commit(&r, quick, &again, &b);
    assert_int_equal(rig_count(&r, TS_FX_REVOKE) + rig_count(&r, TS_FX_JOB_GONE), 3);
    assert_int_equal(rig_fx(&r, TS_FX_REVOKE, 0)->peer, slow);
    assert_int_equal(rig_result(&r, 1).as.i64, 3);
    rig_close(&r);
}

static void the_task_granted_the_fewest_times_comes_first(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 2), c[2];
    struct buf b = {0};
    (void)state;
    body_fan(&b, SUM_I64, 2);
    rig_commit(&r, 1, &g, &b);
    c[0] = rig_grant(&r, 0);
    c[1] = rig_grant(&r, 1);
    rig_join(&r, 2, 1);
    rig_tick(&r, 60000000);
    assert_true(id_equal(rig_grant(&r, 0).task, c[0].task)); /* the oldest */
    rig_join(&r, 3, 1);
    rig_tick(&r, 60000000);
    assert_true(id_equal(rig_grant(&r, 0).task, c[1].task)); /* the one that only one producer has */
    rig_close(&r);
}

static void what_a_producer_leaves_behind_is_first_in_the_queue(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1), c;
    struct buf b = {0};
    (void)state;
    body_fan(&b, SUM_I64, 5);
    rig_commit(&r, 1, &g, &b);
    c = rig_grant(&r, 0);
    rig_left(&r, 1);
    assert_int_equal(rig_info(&r, 1).granted, 0);
    rig_join(&r, 2, 1);
    assert_true(id_equal(rig_grant(&r, 0).task, c.task));
    rig_close(&r);
}

static void a_task_handed_back_goes_to_somebody_else(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    (void)state;
    rig_window(&r, 1, 0);
    rig_join(&r, 2, 1);
    rig_commit_kind(&r, 1, &g, COMMIT_RETURNED, bytes_str(""));
    assert_int_equal(rig_granted_to(&r, 0), 2);
    rig_close(&r);
}

/* ---- Producers that cannot run a job ---- */

static void refuse(struct rig *r, uint32_t peer, const struct grant *g)
{
    rig_commit_kind(r, peer, g, COMMIT_RETURNED, bytes_str("the module does not load"));
}

static void a_producer_that_cannot_run_a_job_gets_no_more_of_it(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 4);
    (void)state;
    refuse(&r, 1, &g);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 0);
    rig_submit(&r, 2);
    assert_int_equal(rig_granted_to(&r, 0), 1); /* of other jobs it does */
    rig_join(&r, 2, 1);
    assert_true(id_equal(rig_grant(&r, 0).task, g.task));
    assert_int_equal(rig_granted_to(&r, 0), 2);
    rig_close(&r);
}

static void a_job_that_nobody_can_run_waits_and_says_why(void **state)
{
    struct rig r;
    struct buf text = {0};
    struct grant g = rig_root(&r, 1);
    (void)state;
    refuse(&r, 1, &g);
    rig_join(&r, 2, 1);
    g = rig_grant(&r, 0);
    refuse(&r, 2, &g);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 0);
    assert_int_equal(rig_info(&r, 1).state, TS_JOB_RUNNING);
    ts_why(r.ts, rig_job(1), r.now, &text);
    rig_says(buf_bytes(&text), "None of the 2 connected producers can run it");
    rig_says(buf_bytes(&text), "producer p2 cannot run it: the module does not load");
    buf_free(&text);
    rig_join(&r, 3, 1); /* who comes is asked, and who comes back too */
    assert_int_equal(rig_granted_to(&r, 0), 3);
    rig_close(&r);
}

/* Its id may come again, for another one. */
static void what_a_producer_cannot_run_is_forgotten_with_the_job(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    (void)state;
    refuse(&r, 1, &g);
    rig_client(&r, TS_CANCEL, 50, 1, "");
    rig_client(&r, TS_FORGET, 50, 1, "");
    rig_submit(&r, 1);
    assert_int_equal(rig_granted_to(&r, 0), 1);
    rig_close(&r);
}

/* ---- Coming back ---- */

static void put_hold(struct buf *b, const struct grant *g)
{
    put_id(b, g->job);
    put_id(b, g->task);
    put_u64(b, g->hash);
}

static void held_tasks_are_grants_again_after_a_reconnect(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 2), c[2], wrong, gone;
    struct buf b = {0}, holds = {0};
    (void)state;
    body_fan(&b, SUM_I64, 2);
    rig_commit(&r, 1, &g, &b);
    c[0] = rig_grant(&r, 0);
    c[1] = rig_grant(&r, 1);
    rig_restart(&r, r.log.n);
    rig_join(&r, 1, 0);
    wrong = c[1];
    wrong.hash++;
    gone = g;
    put_hold(&holds, &c[0]);
    put_hold(&holds, &wrong);
    put_hold(&holds, &gone);
    rig_step(&r, (struct ts_event){.kind = TS_PRODUCER_HOLDS, .peer = 1, .u.batch = buf_bytes(&holds)});
    assert_int_equal(rig_count(&r, TS_FX_REVOKE), 2);
    assert_int_equal(rig_count(&r, TS_FX_JOB), 1);
    assert_int_equal(rig_info(&r, 1).granted, 1);
    rig_join(&r, 2, 5);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 1);
    assert_true(id_equal(rig_grant(&r, 0).task, c[1].task));
    body_set_i64(&b, HOME, 1);
    rig_commit(&r, 1, &c[0], &b);
    assert_int_equal(rig_count(&r, TS_FX_FAULT), 0);
    body_set_i64(&b, HOME, 2);
    rig_commit(&r, 2, &c[1], &b);
    assert_int_equal(rig_result(&r, 1).as.i64, 3);
    rig_step(&r, (struct ts_event){.kind = TS_PRODUCER_HOLDS, .peer = 1, .u.batch = buf_bytes(&holds)});
    assert_int_equal(rig_count(&r, TS_FX_REVOKE), 3);
    assert_int_equal(rig_count(&r, TS_FX_JOB_GONE), 3);
    buf_free(&holds);
    rig_close(&r);
}

/* It came back with a task that did not exist just then, but came into being before it could be told. */
static void a_commit_of_a_task_that_was_disowned_is_dropped(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1), c;
    struct buf b = {0}, holds = {0};
    (void)state;
    size_t before = r.log.n;
    body_fan(&b, SUM_I64, 1);
    rig_commit_kind(&r, 1, &g, COMMIT_DONE, buf_bytes(&b));
    c = rig_grant(&r, 0);
    rig_restart(&r, before); /* the root's commit is lost */
    rig_join(&r, 1, 0);
    put_hold(&holds, &c);
    rig_step(&r, (struct ts_event){.kind = TS_PRODUCER_HOLDS, .peer = 1, .u.batch = buf_bytes(&holds)});
    assert_int_equal(rig_count(&r, TS_FX_REVOKE), 1);
    rig_join(&r, 2, 1);
    g = rig_grant(&r, 0);
    rig_commit(&r, 2, &g, &b);
    assert_true(id_equal(rig_grant(&r, 0).task, c.task));
    body_set_i64(&b, HOME, 5);
    rig_commit(&r, 1, &c, &b);
    assert_int_equal(rig_count(&r, TS_FX_FAULT), 0);
    assert_int_equal(rig_info(&r, 1).duplicates, 1);
    body_set_i64(&b, HOME, 5);
    rig_commit(&r, 2, &c, &b);
    assert_int_equal(rig_result(&r, 1).as.i64, 5);
    buf_free(&holds);
    rig_close(&r);
}

/* ---- Collapse ---- */

static void budgets_are_zero_while_work_must_spread_and_grow_with_the_queue(void **state)
{
    struct rig r;
    struct buf b = {0};
    (void)state;
    rig_open(&r, (struct ts_config){.collapse = true, .budget_max_us = 20000});
    rig_join(&r, 1, 1);
    rig_submit(&r, 1);
    struct grant g = rig_grant(&r, 0);
    assert_int_equal(g.budget_us, 0);
    body_fan(&b, COUNT, 20);
    rig_commit(&r, 1, &g, &b);
    uint32_t last = UINT32_MAX;
    for (int i = 0; i < 20; i++) {
        g = rig_grant(&r, 0);
        assert_true(g.budget_us <= last);
        if (i == 0)
            assert_int_equal(g.budget_us, 20000);
        last = g.budget_us;
        body_set_i64(&b, HOME, 1);
        rig_commit(&r, 1, &g, &b);
    }
    assert_int_equal(last, 1000); /* tiny tasks keep a floor */
    rig_close(&r);
}

static void no_collapse_no_budget(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    body_fan(&b, COUNT, 100);
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_grant(&r, 0).budget_us, 0);
    rig_close(&r);
}

static void the_idle_make_the_busy_publish_but_not_without_end(void **state)
{
    struct rig r;
    struct buf b = {0};
    (void)state;
    rig_open(&r, (struct ts_config){.collapse = true, .budget_max_us = 20000});
    rig_join(&r, 1, 1);
    rig_submit(&r, 1);
    struct grant g = rig_grant(&r, 0);
    put_name(&b, 0, 1);
    body_child(&b, 1, FN_A, 1, HOME);
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_grant(&r, 0).budget_us, 1000);
    assert_int_equal(rig_count(&r, TS_FX_HUNGRY), 0);
    rig_tick(&r, 10000);
    rig_join(&r, 2, 1);
    assert_int_equal(rig_count(&r, TS_FX_HUNGRY), 1);
    assert_int_equal(rig_fx(&r, TS_FX_HUNGRY, 0)->peer, 1);
    unsigned signals = 0;
    for (int i = 0; i < 60; i++) {
        rig_tick(&r, 1000);
        signals += (unsigned)rig_count(&r, TS_FX_HUNGRY);
    }
    assert_in_range(signals, 3, 6);
    rig_close(&r);
}

/* Two tasks at a producer of one thread: the second waits, the first does not. */
static void what_waits_behind_another_goes_to_an_idle_producer(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 2);
    struct buf b = {0};
    (void)state;
    body_fan(&b, COUNT, 2);
    rig_commit(&r, 1, &g, &b);
    struct grant second = rig_grant(&r, 1);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 2);
    rig_join(&r, 2, 4);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 0);
    rig_tick(&r, 3000);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 1);
    assert_int_equal(rig_granted_to(&r, 0), 2);
    assert_true(id_equal(rig_grant(&r, 0).task, second.task));
    body_set_i64(&b, HOME, 1);
    rig_commit(&r, 2, &second, &b);
    assert_int_equal(rig_count(&r, TS_FX_REVOKE), 1);
    assert_int_equal(rig_fx(&r, TS_FX_REVOKE, 0)->peer, 1);
    rig_tick(&r, 3000);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 0);
    rig_close(&r);
}

static void ranked_tasks_are_not_bound_before_their_length_is_known(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 4);
    struct buf b = {0};
    (void)state;
    body_fan_with(&b, COUNT, 3, FN_B, (cx_opts){.priority = 7});
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 1);
    g = rig_grant(&r, 0);
    body_set_i64(&b, HOME, 1);
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 2); /* it was short */
    rig_close(&r);
}

/* A function whose tasks are mostly short, but not all: its mean says little. */
static void the_longest_speaks_for_ranked_tasks(void **state)
{
    enum { CHILDREN = 24 };
    struct rig r;
    struct grant g = rig_root(&r, 4);
    struct buf b = {0};
    (void)state;
    body_fan_with(&b, COUNT, CHILDREN, FN_B, (cx_opts){.priority = 7});
    rig_commit(&r, 1, &g, &b);
    for (uint32_t i = 0; i < CHILDREN - 1; i++) {
        assert_int_equal(rig_count(&r, TS_FX_GRANT), 1);
        g = rig_grant(&r, 0);
        body_set_i64(&b, HOME, 1);
        rig_commit_after(&r, 1, &g, COMMIT_DONE, buf_bytes(&b), i ? 200000 : 50000000);
        buf_free(&b);
    }
    rig_close(&r);
}

static void what_others_took_is_not_overdue(void **state)
{
    enum { CHILDREN = 26 };
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    rig_join(&r, 2, 1);
    body_fan(&b, COUNT, CHILDREN);
    rig_commit(&r, 1, &g, &b);
    uint32_t mine = rig_granted_to(&r, 0) == 2 ? 0 : 1;
    g = rig_grant(&r, mine);
    for (uint32_t i = 0; i < CHILDREN - 1; i++) {
        if (i)
            g = rig_grant(&r, 0);
        body_set_i64(&b, HOME, 1);
        rig_commit_after(&r, 2, &g, COMMIT_DONE, buf_bytes(&b), i ? 10000 : 100000000);
        buf_free(&b);
    }
    rig_tick(&r, 80000); /* by the mean alone it would be */
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 0);
    rig_tick(&r, 120000);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 1);
    rig_close(&r);
}

/* Both hold tasks and have room for more; nobody is made to publish before one of them has few left. */
static void who_has_enough_to_do_makes_nobody_publish(void **state)
{
    struct rig r;
    struct buf b = {0};
    struct grant second[30];
    size_t held = 0, done = 0;
    (void)state;
    rig_open(&r, (struct ts_config){.collapse = true, .budget_max_us = 20000});
    rig_join(&r, 1, 100);
    rig_submit(&r, 1);
    struct grant g = rig_grant(&r, 0);
    rig_join(&r, 2, 100);
    body_fan(&b, COUNT, 60);
    rig_commit(&r, 1, &g, &b);
    for (size_t i = 0; i < 60; i++)
        if (rig_granted_to(&r, i) == 2)
            second[held++] = rig_grant(&r, i);
    assert_int_equal(held, 30);
    rig_tick(&r, 10000);
    while (rig_count(&r, TS_FX_HUNGRY) == 0 && done < held) {
        body_set_i64(&b, HOME, 1);
        rig_commit(&r, 2, &second[done++], &b);
        rig_tick(&r, 1000);
    }
    assert_in_range(held - done, 1, 10);
    rig_close(&r);
}

/* Two producers of one thread; the root took ten seconds and leaves five tasks of the same function. */
static struct grant long_tasks(struct rig *r, uint32_t window, struct ts_config config)
{
    struct buf b = {0};
    rig_open(r, config);
    rig_join(r, 1, window);
    rig_submit(r, 1);
    struct grant g = rig_grant(r, 0);
    rig_join(r, 2, window);
    body_fan(&b, COUNT, 5);
    rig_commit_after(r, 1, &g, COMMIT_DONE, buf_bytes(&b), 10000000000u);
    buf_free(&b);
    return rig_grant(r, 0);
}

static void the_last_long_tasks_wait_for_a_free_thread(void **state)
{
    struct rig r;
    struct buf b = {0};
    unsigned count[3] = {0};
    (void)state;
    struct grant g = long_tasks(&r, 4, (struct ts_config){0});
    size_t granted = rig_count(&r, TS_FX_GRANT);
    assert_int_equal(granted,
                     4); /* the fifth is not bound to anyone: fewer are ready than there are threads */
    for (size_t i = 0; i < granted; i++)
        count[rig_granted_to(&r, i)]++;
    assert_int_equal(count[1], 2);
    assert_int_equal(count[2], 2);
    uint32_t first = rig_granted_to(&r, 0);
    body_set_i64(&b, HOME, 1);
    rig_commit_after(&r, first, &g, COMMIT_DONE, buf_bytes(&b), 10000000000u);
    buf_free(&b);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 0); /* it has another to run */
    rig_join(&r, 3, 4);
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 1);
    assert_int_equal(rig_granted_to(&r, 0), 3);
    rig_close(&r);
}

static void long_tasks_run_one_at_a_time(void **state)
{
    struct rig r;
    struct buf b = {0};
    (void)state;
    struct grant g = long_tasks(&r, 2, (struct ts_config){.collapse = true, .budget_max_us = 20000});
    body_fan(&b, COUNT, 100);
    rig_commit_after(&r, rig_granted_to(&r, 0), &g, COMMIT_DONE, buf_bytes(&b), 10000000000u);
    buf_free(&b);
    assert_true(rig_info(&r, 1).ready > 50);
    assert_true(rig_count(&r, TS_FX_GRANT) > 0);
    assert_int_equal(rig_grant(&r, 0).budget_us, 0);
    rig_close(&r);
}

static void an_idle_server_asks_for_no_ticks(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    body_fan(&b, COUNT, 10000);
    rig_commit(&r, 1, &g, &b);
    assert_true(ts_due(r.ts) == UINT64_MAX);
    rig_left(&r, 1);
    assert_true(ts_due(r.ts) == UINT64_MAX);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grants_stay_within_the_window),
        cmocka_unit_test(producers_take_turns),
        cmocka_unit_test(only_producers_with_a_module_for_them),
        cmocka_unit_test(a_producer_is_told_of_a_job_once_before_its_first_grant),
        cmocka_unit_test(an_overdue_task_is_granted_again_and_the_loser_is_told),
        cmocka_unit_test(the_task_granted_the_fewest_times_comes_first),
        cmocka_unit_test(what_a_producer_leaves_behind_is_first_in_the_queue),
        cmocka_unit_test(a_task_handed_back_goes_to_somebody_else),
        cmocka_unit_test(a_producer_that_cannot_run_a_job_gets_no_more_of_it),
        cmocka_unit_test(a_job_that_nobody_can_run_waits_and_says_why),
        cmocka_unit_test(what_a_producer_cannot_run_is_forgotten_with_the_job),
        cmocka_unit_test(held_tasks_are_grants_again_after_a_reconnect),
        cmocka_unit_test(a_commit_of_a_task_that_was_disowned_is_dropped),
        cmocka_unit_test(budgets_are_zero_while_work_must_spread_and_grow_with_the_queue),
        cmocka_unit_test(no_collapse_no_budget),
        cmocka_unit_test(the_idle_make_the_busy_publish_but_not_without_end),
        cmocka_unit_test(what_waits_behind_another_goes_to_an_idle_producer),
        cmocka_unit_test(ranked_tasks_are_not_bound_before_their_length_is_known),
        cmocka_unit_test(the_longest_speaks_for_ranked_tasks),
        cmocka_unit_test(what_others_took_is_not_overdue),
        cmocka_unit_test(who_has_enough_to_do_makes_nobody_publish),
        cmocka_unit_test(the_last_long_tasks_wait_for_a_free_thread),
        cmocka_unit_test(long_tasks_run_one_at_a_time),
        cmocka_unit_test(an_idle_server_asks_for_no_ticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
