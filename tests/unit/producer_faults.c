/* The producer's core under faults: runners that crash, lie or cannot start, servers that vanish or lie,
 * leaving. */
#include "producer_rig.h"

static struct rig_commits commits;

static void a_crash_blames_the_culprit_and_returns_the_rest(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 2, 5);
    const uint32_t running[2] = {1, 1};
    rig_exited(&r, runner, 1, running, "killed by signal 11");
    rig_commits(&r, &commits);
    assert_int_equal(commits.n, 5);
    for (size_t i = 0; i < commits.n; i++) {
        bool culprit = id_equal(commits.c[i].task, rig_id(2));
        assert_int_equal(commits.c[i].kind, culprit ? COMMIT_CRASHED : COMMIT_RETURNED);
        assert_true(id_equal(commits.c[i].job, rig_id(1)));
        if (culprit)
            assert_true(bytes_equal(commits.c[i].body, bytes_str("killed by signal 11")));
    }
    assert_int_equal(rig_stats(&r).tasks, 0);
    rig_close(&r);
}

static void a_crash_without_a_culprit_blames_all_that_ran(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 3, 3);
    const uint32_t running[3] = {1, 0, 1};
    rig_exited(&r, runner, PD_NO_SEAT, running, "killed by signal 9");
    assert_int_equal(rig_count_commits(&r, COMMIT_CRASHED), 2);
    assert_int_equal(rig_count_commits(&r, COMMIT_RETURNED), 1);
    rig_close(&r);
}

static void what_the_link_says_of_a_crash_is_not_believed_blindly(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 2, 2);
    const uint32_t running[2] = {77, UINT32_MAX};
    rig_exited(&r, runner, PD_NO_SEAT, running, "exited");
    assert_int_equal(rig_count_commits(&r, COMMIT_RETURNED), 2);
    rig_close(&r);
}

static void a_crashed_runner_is_started_again_ever_more_slowly(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 1, 1);
    uint64_t last = 0;
    for (uint64_t i = 0; i < 12; i++) {
        rig_exited(&r, runner, 0, NULL, "crash");
        rig_grant(&r, 1, 100 + i, 1);
        rig_forget(&r);
        uint64_t wait = pd_due(r.pd) - r.now;
        assert_true(wait >= last && wait <= 5000000);
        rig_tick(&r, wait - 1);
        assert_int_equal(rig_count(&r, PD_FX_START), 0);
        rig_tick(&r, 1);
        last = wait;
        runner = rig_runner(&r);
        rig_running(&r, runner);
        assert_int_equal(rig_count(&r, PD_FX_RUN), 1);
    }
    assert_int_equal(last, 5000000);
    rig_close(&r);
}

static void commits_of_a_dead_runner_are_not_taken(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 1, 1);
    rig_exited(&r, runner, 0, NULL, "crash");
    rig_forget(&r);
    rig_commit(&r, runner, 0, 1, 1);
    rig_exited(&r, runner, 0, NULL, "again");
    assert_int_equal(rig_count(&r, PD_FX_COMMIT), 0);
    rig_close(&r);
}

static void lie(struct rig *r, uint32_t runner, struct bytes batch)
{
    rig_step(r, (struct pd_event){.kind = PD_COMMITS, .runner = runner, .seat = 0, .data = batch});
}

static void a_runner_that_lies_is_ended_and_its_task_blamed(void **state)
{
    (void)state;
    for (int how = 0; how < 6; how++) {
        struct rig r;
        struct buf b = {0};
        uint32_t runner = rig_open_working(&r, 1, 2);
        rig_put_commit(&b, how == 0 ? 2 : 1, how == 1 ? 2 : 1, 0);
        if (how == 2)
            b.data[0] = COMMIT_RETURNED;
        if (how == 3)
            b.len--;
        if (how == 4)
            b.data[b.len - 3] = 99; /* an unknown operation in the body */
        if (how == 5)
            b.data[33] ^= 1; /* the hash */
        lie(&r, runner, buf_bytes(&b));
        assert_int_equal(rig_fx(&r, PD_FX_KILL, 0)->fx.runner, runner);
        assert_int_equal(rig_count_commits(&r, COMMIT_DONE), 0);
        assert_int_equal(rig_count_commits(&r, COMMIT_CRASHED), 1);
        assert_int_equal(rig_count_commits(&r, COMMIT_RETURNED), 1);
        buf_free(&b);
        rig_close(&r);
    }
}

static void good_commits_before_a_lie_count(void **state)
{
    (void)state;
    struct rig r;
    struct buf b = {0};
    uint32_t runner = rig_open_working(&r, 1, 3);
    rig_put_commit(&b, 1, 1, 0);
    rig_put_commit(&b, 1, 1, 0);
    lie(&r, runner, buf_bytes(&b));
    rig_commits(&r, &commits);
    assert_int_equal(commits.n, 3);
    assert_int_equal(commits.c[0].kind, COMMIT_DONE);
    assert_int_equal(commits.c[1].kind, COMMIT_CRASHED);
    assert_true(id_equal(commits.c[1].task, rig_id(2)));
    buf_free(&b);
    rig_close(&r);
}

static void a_broken_ring_ends_the_runner(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 1, 1);
    rig_step(&r, (struct pd_event){.kind = PD_BROKEN, .runner = runner, .seat = 0});
    assert_int_equal(rig_count(&r, PD_FX_KILL), 1);
    assert_int_equal(rig_count_commits(&r, COMMIT_CRASHED), 1);
    rig_close(&r);
}

/* ---- Jobs that cannot run ---- */

static void expect_fail(struct rig *r, size_t n, const char *text)
{
    rig_commits(r, &commits);
    assert_int_equal(commits.n, n);
    for (size_t i = 0; i < n; i++) {
        struct op op;
        struct reader rd = reader_of(commits.c[i].body);
        assert_int_equal(commits.c[i].kind, COMMIT_DONE);
        assert_true(op_get(&rd, &op));
        assert_int_equal(op.kind, OP_FAIL);
        assert_true(bytes_equal(op.text, bytes_str(text)));
    }
}

/* Handed back for others, with the reason. */
static void expect_unfit(struct rig *r, size_t n, const char *text)
{
    rig_commits(r, &commits);
    assert_int_equal(commits.n, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(commits.c[i].kind, COMMIT_RETURNED);
        assert_true(bytes_equal(commits.c[i].body, bytes_str(text)));
    }
}

static void open_starting(struct rig *r)
{
    rig_open(r, 2);
    rig_up(r);
    rig_job(r, 1, false);
    rig_blob(r, rig_module, 0, "");
    rig_grant(r, 1, 1, 2);
}

static void a_runner_that_refuses_leaves_the_job_to_others_now_and_later(void **state)
{
    (void)state;
    struct rig r;
    open_starting(&r);
    struct pd_exit x = {.refused = true, .culprit = PD_NO_SEAT};
    rig_step(&r, (struct pd_event){.kind = PD_EXITED,
                                   .runner = rig_runner(&r),
                                   .data = bytes_str("the module has no symbol"),
                                   .u.exit = &x});
    expect_unfit(&r, 2, "the module has no symbol");
    rig_forget(&r);
    rig_grant(&r, 1, 9, 1);
    expect_unfit(&r, 1, "the module has no symbol");
    assert_int_equal(rig_count(&r, PD_FX_START), 0);
    rig_close(&r);
}

static void a_runner_that_dies_three_times_before_it_is_up_fails_the_job(void **state)
{
    (void)state;
    struct rig r;
    open_starting(&r);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rig_count(&r, PD_FX_COMMIT), 0);
        rig_exited(&r, rig_runner(&r), PD_NO_SEAT, NULL, "killed by signal 11");
        if (i < 2)
            rig_tick(&r, pd_due(r.pd) - r.now);
    }
    assert_int_equal(rig_count(&r, PD_FX_START), 3);
    expect_fail(&r, 2, "killed by signal 11");
    rig_close(&r);
}

static void a_runner_that_never_comes_up_is_ended(void **state)
{
    (void)state;
    struct rig r;
    open_starting(&r);
    rig_tick(&r, 40000000);
    assert_int_equal(rig_count(&r, PD_FX_KILL), 1);
    rig_tick(&r, 1000000);
    assert_int_equal(rig_count(&r, PD_FX_START), 2);
    rig_close(&r);
}

static void a_blob_that_cannot_be_had_fails_the_job(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2);
    rig_up(&r);
    rig_job(&r, 1, false);
    rig_grant(&r, 1, 1, 2);
    rig_blob(&r, rig_module, CX_ENONET, "no network");
    assert_int_equal(rig_count(&r, PD_FX_COMMIT), 0);
    rig_tick(&r, pd_due(r.pd) - r.now);
    assert_int_equal(rig_count(&r, PD_FX_FETCH), 2);
    rig_blob(&r, rig_module, CX_ENOTFOUND, "no such module");
    expect_fail(&r, 2, "no such module");
    rig_close(&r);
}

/* ---- The server vanishes or lies ---- */

static uint64_t next_wait(struct rig *r)
{
    rig_tick(r, 0);
    rig_step(r, (struct pd_event){.kind = PD_DOWN, .data = bytes_str("refused")});
    uint64_t wait = pd_due(r->pd) - r->now;
    rig_tick(r, wait);
    return wait;
}

static void it_dials_for_ever_with_jittered_back_off(void **state)
{
    (void)state;
    struct rig a, b;
    rig_open(&a, 1);
    rig_open(&b, 1);
    pd_free(b.pd);
    b.pd = pd_new(&(struct pd_config){.seats = 1, .seed = 8});
    size_t same = 0;
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t step = i < 4 ? UINT64_C(20000) << i : i < 24 ? 320000 : 2000000;
        uint64_t wait = next_wait(&a);
        same += wait == next_wait(&b);
        assert_in_range(wait, step / 2, step > 2000000 ? 2000000 : step);
    }
    assert_true(same < 5);
    rig_close(&a);
    rig_close(&b);
}

static void work_goes_on_without_a_server_and_is_brought_along(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 1, 3);
    rig_step(&r, (struct pd_event){.kind = PD_DOWN, .data = bytes_str("reset")});
    rig_forget(&r);
    rig_commit(&r, runner, 0, 1, 1);
    assert_int_equal(rig_count(&r, PD_FX_COMMIT), 1);
    rig_tick(&r, 3000000);
    assert_int_equal(rig_count(&r, PD_FX_DIAL), 1);
    rig_step(&r, (struct pd_event){.kind = PD_UP});
    const struct rig_effect *holds = rig_fx(&r, PD_FX_HOLDS, 0);
    assert_int_equal(holds->fx.len, 2 * 40);
    struct reader rd = reader_of(bytes_of(holds->data, holds->fx.len));
    for (int i = 0; i < 2; i++) {
        assert_true(id_equal(get_id(&rd), rig_id(1)));
        uint64_t n = get_id(&rd).lo;
        assert_in_range(n, 2, 3);
        assert_int_equal(get_u64(&rd), n + 1000);
    }
    assert_int_equal(rig_count(&r, PD_FX_WINDOW), 1);
    rig_commit(&r, runner, 0, 1, 2);
    rig_close(&r);
}

static void a_job_the_new_server_does_not_know_is_forgotten(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 1, 1);
    rig_step(&r, (struct pd_event){.kind = PD_DOWN, .data = bytes_str("reset")});
    rig_tick(&r, 3000000);
    rig_step(&r, (struct pd_event){.kind = PD_UP});
    rig_tick(&r, 40000000);
    assert_int_equal(rig_stats(&r).jobs, 1); /* it still computes */
    rig_commit(&r, runner, 0, 1, 1);
    rig_tick(&r, 70000000);
    assert_int_equal(rig_stats(&r).jobs, 0);
    assert_int_equal(rig_fx(&r, PD_FX_KILL, 0)->fx.runner, runner);
    rig_close(&r);
}

static void a_runner_without_work_is_ended_and_started_when_there_is(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 1, 1);
    rig_commit(&r, runner, 0, 1, 1);
    rig_tick(&r, 61000000);
    assert_int_equal(rig_count(&r, PD_FX_KILL), 1);
    rig_grant(&r, 1, 2, 1);
    assert_int_equal(rig_count(&r, PD_FX_START), 2);
    rig_running(&r, rig_runner(&r));
    assert_int_equal(rig_count(&r, PD_FX_RUN), 2);
    rig_close(&r);
}

static void a_lying_server_is_hung_up_on(void **state)
{
    (void)state;
    struct rig r;
    rig_open_working(&r, 1, 1);
    rig_grant(&r, 5, 1, 1); /* a job that was never told of */
    rig_step(&r, (struct pd_event){.kind = PD_GRANTS, .data = bytes_str("nonsense")});
    assert_int_equal(rig_count(&r, PD_FX_FAULT), 2);
    assert_int_equal(rig_stats(&r).tasks, 1);
    rig_grant(&r, 1, 10, 5000); /* more than anybody asked for */
    assert_int_equal(rig_count(&r, PD_FX_FAULT), 3);
    assert_int_equal(rig_stats(&r).tasks, PD_SEAT_TASKS_MAX);
    rig_close(&r);
}

/* ---- Leaving ---- */

static void draining_hands_back_and_lets_what_runs_finish(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 1, 3);
    rig_forget(&r);
    rig_step(&r, (struct pd_event){.kind = PD_DRAIN});
    assert_int_equal(rig_fx(&r, PD_FX_WINDOW, 0)->fx.n, 0);
    assert_int_equal(rig_count(&r, PD_FX_TAKE_BACK), 3);
    for (uint32_t n = 1; n < 3; n++)
        rig_step(&r, (struct pd_event){.kind = PD_TAKEN_BACK, .runner = runner, .seat = 0, .number = n});
    rig_grant(&r, 1, 50, 1); /* was on its way */
    assert_int_equal(rig_count_commits(&r, COMMIT_RETURNED), 3);
    assert_int_equal(rig_count(&r, PD_FX_LEAVE), 0);
    rig_commit(&r, runner, 0, 1, 1);
    assert_int_equal(rig_count_commits(&r, COMMIT_DONE), 1);
    assert_int_equal(rig_count(&r, PD_FX_LEAVE), 1);
    assert_true(rig_stats(&r).left);
    assert_int_equal(pd_due(r.pd), UINT64_MAX);
    rig_close(&r);
}

static void draining_gives_up_after_the_grace(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 1, 1);
    rig_step(&r, (struct pd_event){.kind = PD_DRAIN});
    rig_tick(&r, 4999999);
    assert_int_equal(rig_count(&r, PD_FX_LEAVE), 0);
    assert_int_equal(pd_due(r.pd), r.now + 1);
    rig_tick(&r, 1);
    assert_int_equal(rig_fx(&r, PD_FX_KILL, 0)->fx.runner, runner);
    assert_int_equal(rig_count_commits(&r, COMMIT_RETURNED), 1);
    assert_int_equal(rig_count(&r, PD_FX_LEAVE), 1);
    rig_close(&r);
}

static void a_second_signal_does_not_wait(void **state)
{
    (void)state;
    struct rig r;
    rig_open_working(&r, 1, 2);
    rig_step(&r, (struct pd_event){.kind = PD_DRAIN});
    rig_step(&r, (struct pd_event){.kind = PD_DRAIN});
    assert_int_equal(rig_count_commits(&r, COMMIT_RETURNED), 2);
    assert_int_equal(rig_count(&r, PD_FX_LEAVE), 1);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_blames_the_culprit_and_returns_the_rest),
        cmocka_unit_test(a_crash_without_a_culprit_blames_all_that_ran),
        cmocka_unit_test(what_the_link_says_of_a_crash_is_not_believed_blindly),
        cmocka_unit_test(a_crashed_runner_is_started_again_ever_more_slowly),
        cmocka_unit_test(commits_of_a_dead_runner_are_not_taken),
        cmocka_unit_test(a_runner_that_lies_is_ended_and_its_task_blamed),
        cmocka_unit_test(good_commits_before_a_lie_count),
        cmocka_unit_test(a_broken_ring_ends_the_runner),
        cmocka_unit_test(a_runner_that_refuses_leaves_the_job_to_others_now_and_later),
        cmocka_unit_test(a_runner_that_dies_three_times_before_it_is_up_fails_the_job),
        cmocka_unit_test(a_runner_that_never_comes_up_is_ended),
        cmocka_unit_test(a_blob_that_cannot_be_had_fails_the_job),
        cmocka_unit_test(it_dials_for_ever_with_jittered_back_off),
        cmocka_unit_test(work_goes_on_without_a_server_and_is_brought_along),
        cmocka_unit_test(a_job_the_new_server_does_not_know_is_forgotten),
        cmocka_unit_test(a_runner_without_work_is_ended_and_started_when_there_is),
        cmocka_unit_test(a_lying_server_is_hung_up_on),
        cmocka_unit_test(draining_hands_back_and_lets_what_runs_finish),
        cmocka_unit_test(draining_gives_up_after_the_grace),
        cmocka_unit_test(a_second_signal_does_not_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
