/* The producer's core at work: who runs what when, how much is asked for, how tasks end. */
#include "producer_rig.h"

static void it_dials_at_once_and_announces_two_grants_a_seat(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 4);
    assert_true(pd_due(r.pd) <= r.now);
    rig_tick(&r, 0);
    assert_int_equal(rig_count(&r, PD_FX_DIAL), 1);
    rig_up(&r);
    assert_int_equal(rig_fx(&r, PD_FX_WINDOW, 0)->fx.n, 8);
    rig_close(&r);
}

static void a_runner_starts_when_blobs_and_a_task_are_there(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 2);
    rig_up(&r);
    rig_job(&r, 1, true);
    assert_int_equal(rig_count(&r, PD_FX_FETCH), 2);
    rig_grant(&r, 1, 1, 1);
    rig_blob(&r, rig_module, 0, "");
    assert_int_equal(rig_count(&r, PD_FX_START), 0);
    rig_blob(&r, rig_input, 0, "");
    assert_int_equal(rig_count(&r, PD_FX_START), 1);
    const struct rig_effect *start = rig_fx(&r, PD_FX_START, 0);
    assert_int_equal(start->fx.len, 2 * PD_SHA_BYTES);
    assert_memory_equal(start->data, rig_module, PD_SHA_BYTES);
    assert_memory_equal(start->data + PD_SHA_BYTES, rig_input, PD_SHA_BYTES);
    assert_int_equal(rig_count(&r, PD_FX_RUN), 0);
    rig_running(&r, start->fx.runner);
    assert_int_equal(rig_count(&r, PD_FX_RUN), 1);
    rig_close(&r);
}

static void tasks_are_spread_and_pushed_ahead(void **state)
{
    (void)state;
    struct rig r;
    rig_open_working(&r, 4, 8);
    uint32_t per_seat[4] = {0};
    assert_int_equal(rig_count(&r, PD_FX_RUN), 8);
    for (size_t i = 0; i < 8; i++) {
        const struct pd_effect *fx = &rig_fx(&r, PD_FX_RUN, i)->fx;
        assert_int_equal(fx->number, per_seat[fx->seat]++);
    }
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(per_seat[i], 2);
    rig_close(&r);
}

static void an_idle_seat_gets_the_task_not_a_busy_one(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 2, 2);
    uint32_t seat = rig_fx(&r, PD_FX_RUN, 1)->fx.seat;
    rig_commit(&r, runner, seat, 1, 2);
    rig_grant(&r, 1, 3, 1);
    assert_int_equal(rig_fx(&r, PD_FX_RUN, 2)->fx.seat, seat);
    rig_close(&r);
}

static void commits_are_forwarded_as_they_are(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 1, 3);
    struct buf b = {0};
    for (uint64_t t = 1; t <= 3; t++)
        rig_put_commit(&b, 1, t, 500);
    rig_step(&r, (struct pd_event){.kind = PD_COMMITS, .runner = runner, .data = buf_bytes(&b)});
    assert_int_equal(rig_count(&r, PD_FX_COMMIT), 1);
    assert_true(bytes_equal(bytes_of(rig_fx(&r, PD_FX_COMMIT, 0)->data, rig_fx(&r, PD_FX_COMMIT, 0)->fx.len),
                            buf_bytes(&b)));
    assert_int_equal(rig_stats(&r).tasks, 0);
    buf_free(&b);
    rig_close(&r);
}

static uint32_t runner_of_job(struct rig *r, uint64_t job, uint64_t task)
{
    rig_job(r, job, false);
    rig_blob(r, rig_module, 0, "");
    rig_grant(r, job, task, 1);
    uint32_t runner = rig_runner(r);
    rig_running(r, runner);
    return runner;
}

static void a_seat_never_computes_for_two_jobs_at_once(void **state)
{
    (void)state;
    struct rig r;
    uint32_t one = rig_open_working(&r, 1, 2);
    uint32_t two = runner_of_job(&r, 2, 11);
    assert_int_not_equal(one, two);
    assert_int_equal(rig_count(&r, PD_FX_RUN), 2);
    rig_commit(&r, one, 0, 1, 1);
    assert_int_equal(rig_count(&r, PD_FX_RUN), 2);
    rig_commit(&r, one, 0, 1, 2);
    assert_int_equal(rig_count(&r, PD_FX_RUN), 3);
    assert_int_equal(rig_fx(&r, PD_FX_RUN, 2)->fx.runner, two);
    rig_close(&r);
}

static void jobs_take_turns_at_a_seat(void **state)
{
    (void)state;
    struct rig r;
    uint32_t one = rig_open_working(&r, 1, 1);
    uint32_t two = runner_of_job(&r, 2, 1001);
    rig_forget(&r);
    rig_grant(&r, 1, 2, 200);
    uint64_t next = 1;
    while (rig_fx(&r, PD_FX_RUN, rig_count(&r, PD_FX_RUN) - 1)->fx.runner == one) {
        assert_true(next <= 64); /* a turn's length, while the other waits */
        rig_commit(&r, one, 0, 1, next++);
    }
    assert_int_equal(rig_fx(&r, PD_FX_RUN, rig_count(&r, PD_FX_RUN) - 1)->fx.runner, two);
    rig_close(&r);
}

static void the_same_grant_again_is_not_run_again(void **state)
{
    (void)state;
    struct rig r;
    rig_open_working(&r, 2, 2);
    rig_grant(&r, 1, 1, 2);
    assert_int_equal(rig_count(&r, PD_FX_RUN), 2);
    assert_int_equal(rig_stats(&r).tasks, 2);
    rig_close(&r);
}

static void revoke_drops_what_has_not_started(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 1, 3);
    rig_step(&r, (struct pd_event){.kind = PD_REVOKE, .job = rig_id(1), .task = rig_id(2)});
    const struct pd_effect *back = &rig_fx(&r, PD_FX_TAKE_BACK, 0)->fx;
    assert_int_equal(back->number, 1);
    rig_step(&r, (struct pd_event){.kind = PD_TAKEN_BACK, .runner = runner, .seat = 0, .number = 1});
    assert_int_equal(rig_stats(&r).tasks, 2);
    rig_commit(&r, runner, 0, 1, 1);
    rig_commit(&r, runner, 0, 1, 3);
    assert_int_equal(rig_count_commits(&r, COMMIT_DONE), 2);
    assert_int_equal(rig_count_commits(&r, COMMIT_RETURNED), 0);
    rig_close(&r);
}

static void a_revoked_task_that_has_started_is_committed(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 1, 1);
    rig_step(&r, (struct pd_event){.kind = PD_REVOKE, .job = rig_id(1), .task = rig_id(1)});
    rig_commit(&r, runner, 0, 1, 1);
    assert_int_equal(rig_count_commits(&r, COMMIT_DONE), 1);
    rig_step(&r, (struct pd_event){.kind = PD_REVOKE, .job = rig_id(1), .task = rig_id(99)});
    rig_close(&r);
}

static void a_waiting_task_moves_to_a_seat_that_has_fallen_idle(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 2, 3);
    uint32_t lone = rig_fx(&r, PD_FX_RUN, 2)->fx.seat; /* tasks 1 and 3 share the other */
    r.now += 10000;
    rig_commit(&r, runner, lone, 1, 2);
    if (rig_count(&r, PD_FX_TAKE_BACK) == 0)
        rig_tick(&r, pd_due(r.pd) - r.now);
    const struct pd_effect *back = &rig_fx(&r, PD_FX_TAKE_BACK, 0)->fx;
    assert_int_not_equal(back->seat, lone);
    rig_step(&r, (struct pd_event){
                     .kind = PD_TAKEN_BACK, .runner = runner, .seat = back->seat, .number = back->number});
    assert_int_equal(rig_fx(&r, PD_FX_RUN, 3)->fx.seat, lone);
    rig_close(&r);
}

static void job_gone_ends_the_runner_and_drops_its_tasks(void **state)
{
    (void)state;
    struct rig r;
    uint32_t one = rig_open_working(&r, 2, 4);
    uint32_t two = runner_of_job(&r, 2, 11);
    rig_forget(&r);
    rig_step(&r, (struct pd_event){.kind = PD_JOB_GONE, .job = rig_id(1)});
    assert_int_equal(rig_fx(&r, PD_FX_KILL, 0)->fx.runner, one);
    assert_int_equal(rig_fx(&r, PD_FX_RUN, 0)->fx.runner, two);
    assert_int_equal(rig_count(&r, PD_FX_COMMIT), 0);
    assert_int_equal(rig_stats(&r).jobs, 1);
    assert_int_equal(rig_stats(&r).tasks, 1);
    rig_close(&r);
}

static void hungry_reaches_the_runners_that_work(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 1, 1);
    rig_step(&r, (struct pd_event){.kind = PD_HUNGRY});
    assert_int_equal(rig_fx(&r, PD_FX_HUNGRY, 0)->fx.runner, runner);
    rig_commit(&r, runner, 0, 1, 1);
    rig_step(&r, (struct pd_event){.kind = PD_HUNGRY});
    assert_int_equal(rig_count(&r, PD_FX_HUNGRY), 1);
    rig_close(&r);
}

static void bound(struct rig *r, uint32_t kind, int64_t value)
{
    rig_step(r, (struct pd_event){.kind = PD_BOUND, .job = rig_id(1), .bound_kind = kind, .bound = value});
}

static void a_bound_only_improves_and_a_new_runner_is_told(void **state)
{
    (void)state;
    struct rig r;
    uint32_t runner = rig_open_working(&r, 1, 1);
    bound(&r, CX_BOUND_MIN, 10);
    bound(&r, CX_BOUND_MIN, 12);
    bound(&r, CX_BOUND_MIN, 7);
    assert_int_equal(rig_count(&r, PD_FX_BOUND), 2);
    rig_exited(&r, runner, 0, NULL, "killed");
    rig_forget(&r);
    rig_grant(&r, 1, 5, 1);
    rig_tick(&r, 6000000);
    rig_running(&r, rig_runner(&r));
    assert_int_equal(rig_fx(&r, PD_FX_BOUND, 0)->fx.bound, 7);
    bound(&r, 3, 1);
    assert_int_equal(rig_count(&r, PD_FX_FAULT), 1);
    rig_close(&r);
}

/* A server far away: each commit is answered round_trip_us later. The number of the task that runs in the
 * end. */
static uint64_t run_far_away(struct rig *r, uint32_t runner, uint64_t round_trip_us, uint64_t task_us)
{
    struct {
        uint64_t at_us, task;
    } coming[4096];
    size_t first = 0, n = 0;
    uint64_t next = 1 + rig_stats(r).tasks, running = 1, end = r->now + 3000000;
    uint32_t granted = (uint32_t)(next - 1);
    for (; r->now < end; r->now += task_us) {
        while (granted < rig_stats(r).window && n < 4096)
            coming[n].at_us = r->now + round_trip_us, coming[n++].task = next++, granted++;
        for (; first < n && coming[first].at_us <= r->now; first++)
            rig_grant(r, 1, coming[first].task, 1);
        if (rig_stats(r).tasks) {
            struct buf b = {0};
            rig_put_commit(&b, 1, running++, task_us * 1000);
            rig_step(r, (struct pd_event){.kind = PD_COMMITS, .runner = runner, .data = buf_bytes(&b)});
            buf_free(&b);
            granted--;
        }
        rig_forget(r);
    }
    return running;
}

static void the_window_hides_latency_and_no_more(void **state)
{
    (void)state;
    static const struct {
        uint64_t round_trip_us, task_us;
        uint32_t least, most;
    } cases[] = {{100000, 10000, 12, 20},
                 {1000, 1000000, 2, 2},
                 {10000, 10000, 3, 4},
                 {100000, 1000, 100, 200},
                 {100, 10, 600, 800}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig r;
        rig_open(&r, 1);
        rig_tick(&r, 0);
        r.now += cases[i].round_trip_us;
        uint32_t runner = rig_work(&r, 2);
        run_far_away(&r, runner, cases[i].round_trip_us, cases[i].task_us);
        assert_in_range(rig_stats(&r).window, cases[i].least, cases[i].most);
        rig_close(&r);
    }
}

static void work_short(struct rig *r, uint32_t runner, uint64_t *next, uint64_t elapsed_ns, unsigned times)
{
    while (times--) {
        struct buf b = {0};
        rig_grant(r, 1, rig_stats(r).tasks + *next, 1);
        rig_put_commit(&b, 1, (*next)++, elapsed_ns);
        rig_step(r, (struct pd_event){.kind = PD_COMMITS, .runner = runner, .data = buf_bytes(&b)});
        buf_free(&b);
        rig_forget(r);
    }
}

/* The shell naps while much is in hand, looks out for the next while little is, and sleeps otherwise. */
static void how_to_wait_is_told_by_what_is_in_hand(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1);
    rig_tick(&r, 0);
    uint32_t runner = rig_work(&r, 2);
    uint64_t next = 1;
    assert_int_equal(pd_nap_ns(r.pd), 0); /* not known yet: for long, then */
    assert_false(pd_soon(r.pd));
    work_short(&r, runner, &next, 10000, 100);
    assert_int_equal(pd_nap_ns(r.pd), 0);
    assert_true(pd_soon(r.pd));
    rig_grant(&r, 1, next + rig_stats(&r).tasks, 38);
    assert_in_range(pd_nap_ns(r.pd), 100000, 120000);
    rig_step(&r, (struct pd_event){.kind = PD_JOB_GONE, .job = rig_id(1)});
    assert_int_equal(pd_nap_ns(r.pd), 0);
    assert_false(pd_soon(r.pd));
    rig_close(&r);
}

static void an_interrupted_task_is_not_taken_for_typical(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1);
    rig_tick(&r, 0);
    uint32_t runner = rig_work(&r, 2);
    uint64_t next = 1;
    work_short(&r, runner, &next, 10000, 100);
    work_short(&r, runner, &next, 4000000, 1);
    assert_true(pd_soon(r.pd));
    work_short(&r, runner, &next, 4000000, 30);
    assert_false(pd_soon(r.pd));
    rig_close(&r);
}

static void commit_some(struct rig *r, uint32_t runner, uint64_t first, uint64_t n, uint64_t elapsed_ns)
{
    struct buf b = {0};
    for (uint64_t i = 0; i < n; i++)
        rig_put_commit(&b, 1, first + i, elapsed_ns);
    r->now += 20000;
    rig_step(r, (struct pd_event){.kind = PD_COMMITS, .runner = runner, .data = buf_bytes(&b)});
    buf_free(&b);
}

/* The grants of the larger window that are under way answer nothing that was committed since it shrank; the
 * first that does is a sample again. */
static void what_a_larger_window_let_come_is_no_round_trip(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1);
    rig_tick(&r, 0);
    r.now += 99000;
    uint32_t runner = rig_work(&r, 2);
    commit_some(&r, runner, 1, 2, 1000000);
    uint32_t larger = rig_stats(&r).window;
    rig_grant(&r, 1, 3, 40);
    commit_some(&r, runner, 3, 30, 10000000);
    uint32_t smaller = rig_stats(&r).window;
    assert_true(15 < smaller && smaller < larger / 4);
    commit_some(&r, runner, 33, 3, 10000000);
    rig_grant(&r, 1, 43, larger - 40);
    assert_int_equal(rig_stats(&r).round_trip_us, 100000);
    commit_some(&r, runner, 36, larger - 33, 10000000);
    rig_grant(&r, 1, 3 + larger, smaller);
    commit_some(&r, runner, 3 + larger, smaller, 10000000);
    assert_int_equal(rig_stats(&r).window, smaller);
    r.now += 50000;
    rig_grant(&r, 1, 3 + larger + smaller, smaller);
    assert_int_equal(rig_stats(&r).round_trip_us, 50000);
    rig_close(&r);
}

static void what_went_with_its_job_does_not_stop_the_measuring(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1);
    rig_tick(&r, 0);
    rig_work(&r, 2);
    rig_step(&r, (struct pd_event){.kind = PD_JOB_GONE, .job = rig_id(1)});
    uint32_t runner = runner_of_job(&r, 2, 11);
    rig_grant(&r, 2, 12, 1);
    assert_int_equal(rig_stats(&r).round_trip_us, 1000);
    rig_commit(&r, runner, 0, 2, 11);
    r.now += 300;
    rig_grant(&r, 2, 13, 1);
    assert_int_equal(rig_stats(&r).round_trip_us, 300);
    rig_close(&r);
}

static void what_comes_for_a_revoked_task_is_no_round_trip(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1);
    rig_tick(&r, 0);
    uint32_t runner = rig_work(&r, 2);
    rig_commit(&r, runner, 0, 1, 1);
    rig_step(&r, (struct pd_event){.kind = PD_REVOKE, .job = rig_id(1), .task = rig_id(2)});
    rig_step(&r, (struct pd_event){.kind = PD_TAKEN_BACK, .runner = runner, .seat = 0, .number = 1});
    assert_int_equal(rig_stats(&r).tasks, 0);
    r.now += 100;
    rig_grant(&r, 1, 3, 1);
    assert_int_equal(rig_stats(&r).round_trip_us, 1000);
    rig_grant(&r, 1, 4, 1);
    rig_commit(&r, runner, 0, 1, 3);
    r.now += 500;
    rig_grant(&r, 1, 5, 1);
    assert_int_equal(rig_stats(&r).round_trip_us, 500);
    rig_close(&r);
}

static void what_was_asked_for_when_tasks_were_short_is_handed_back(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, 1);
    rig_tick(&r, 0);
    r.now += 100000;
    uint32_t runner = rig_work(&r, 2);
    uint64_t next = run_far_away(&r, runner, 100000, 1000);
    uint32_t window = rig_stats(&r).window;
    assert_true(window > 50);
    uint64_t first = 1000000;
    rig_grant(&r, 1, first, window);
    rig_forget(&r);
    uint64_t before = rig_stats(&r).tasks - window;
    for (uint64_t i = 0; rig_count(&r, PD_FX_TAKE_BACK) == 0; i++) {
        assert_true(i < before + 3); /* one or two long tasks are enough to see it */
        r.now += 1000000;
        struct buf b = {0};
        rig_put_commit(&b, 1, i < before ? next++ : first + i - before, 1000000000);
        rig_step(&r, (struct pd_event){.kind = PD_COMMITS, .runner = runner, .data = buf_bytes(&b)});
        buf_free(&b);
    }
    assert_true(rig_stats(&r).window < window / 2);
    assert_true(rig_count(&r, PD_FX_TAKE_BACK) > window / 2);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_dials_at_once_and_announces_two_grants_a_seat),
        cmocka_unit_test(a_runner_starts_when_blobs_and_a_task_are_there),
        cmocka_unit_test(tasks_are_spread_and_pushed_ahead),
        cmocka_unit_test(an_idle_seat_gets_the_task_not_a_busy_one),
        cmocka_unit_test(commits_are_forwarded_as_they_are),
        cmocka_unit_test(a_seat_never_computes_for_two_jobs_at_once),
        cmocka_unit_test(jobs_take_turns_at_a_seat),
        cmocka_unit_test(the_same_grant_again_is_not_run_again),
        cmocka_unit_test(revoke_drops_what_has_not_started),
        cmocka_unit_test(a_revoked_task_that_has_started_is_committed),
        cmocka_unit_test(a_waiting_task_moves_to_a_seat_that_has_fallen_idle),
        cmocka_unit_test(job_gone_ends_the_runner_and_drops_its_tasks),
        cmocka_unit_test(hungry_reaches_the_runners_that_work),
        cmocka_unit_test(a_bound_only_improves_and_a_new_runner_is_told),
        cmocka_unit_test(the_window_hides_latency_and_no_more),
        cmocka_unit_test(what_a_larger_window_let_come_is_no_round_trip),
        cmocka_unit_test(what_went_with_its_job_does_not_stop_the_measuring),
        cmocka_unit_test(what_comes_for_a_revoked_task_is_no_round_trip),
        cmocka_unit_test(how_to_wait_is_told_by_what_is_in_hand),
        cmocka_unit_test(an_interrupted_task_is_not_taken_for_typical),
        cmocka_unit_test(what_was_asked_for_when_tasks_were_short_is_handed_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
