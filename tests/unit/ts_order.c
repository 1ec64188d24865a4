/* In which order tasks and jobs are served; what is pruned; how memory is spared. */
#include "tests/unit/ts_rig.h"

/* Hands tasks to producer 1 one by one, returning each, and notes the i64 argument of the first n. */
static void drain(struct rig *r, int64_t *args, size_t n)
{
    struct buf b = {0};
    for (size_t i = 0; i < n; i++) {
        struct grant g = rig_grant(r, 0);
        args[i] = rig_arg(&g);
        body_set_i64(&b, HOME, 0);
        rig_commit(r, 1, &g, &b);
    }
}

static void child_with(struct buf *b, uint32_t name, int64_t arg, int32_t priority)
{
    struct op op = {.kind = OP_TASK,
                    .name = name,
                    .fn = FN_A,
                    .nslots = 1,
                    .to = slot(1, name - 2),
                    .flags = TASK_FULL | (priority ? TASK_PRIORITY : 0),
                    .priority = priority};
    put_task(b, &op);
    put_task_value(b, &op, &(struct op_value){.value = cx_v_i64(arg)});
}

static void by_priority_then_depth_then_age(void **state)
{
    static const int64_t expect[] = {7, 5, 1, 2, 3, 4, 6};
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    int64_t got[7];
    (void)state;
    put_name(&b, 0, 0);
    put_name(&b, 0, 1); /* 2 */
    put_name(&b, 0, 2); /* 3 */
    put_name(&b, 2, 1); /* 4: one level deeper */
    put_name(&b, 4, 1); /* 5: two levels deeper */
    put_name(&b, 2, 2); /* 6 */
    put_name(&b, 0, 3); /* 7 */
    put_name(&b, 6, 9); /* 8 */
    body_wait(&b, 1, COUNT, 7, HOME);
    child_with(&b, 2, 1, 0);
    child_with(&b, 3, 2, 0);
    child_with(&b, 4, 3, 0);
    child_with(&b, 6, 4, 0);
    child_with(&b, 5, 5, 10);
    child_with(&b, 7, 6, -1);
    child_with(&b, 8, 7, INT32_MAX);
    rig_commit(&r, 1, &g, &b);
    drain(&r, got, 7);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(got[i], expect[i]);
    assert_int_equal(rig_result(&r, 1).as.i64, 7);
    rig_close(&r);
}

static void many_priorities_are_served_in_order(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    int64_t got[500];
    (void)state;
    for (uint32_t i = 0; i <= 500; i++)
        put_name(&b, 0, i);
    body_wait(&b, 1, COUNT, 500, HOME);
    for (uint32_t i = 0; i < 500; i++) {
        int32_t priority = (int32_t)(i * 7919 % 500) - 250;
        child_with(&b, i + 2, priority, priority);
    }
    rig_commit(&r, 1, &g, &b);
    drain(&r, got, 500);
    for (size_t i = 0; i < 500; i++)
        assert_int_equal(got[i], 249 - (int64_t)i);
    rig_close(&r);
}

static void deepest_first_above_the_high_water_mark(void **state)
{
    struct rig r;
    struct buf b = {0}, args = {0};
    static uint8_t ballast[60000];
    int64_t got[2];
    (void)state;
    rig_open(&r, (struct ts_config){.memory_max = 100000});
    rig_join(&r, 1, 1);
    rig_submit(&r, 1);
    struct grant g = rig_grant(&r, 0);
    put_name(&b, 0, 0);
    put_name(&b, 0, 1);
    put_name(&b, 2, 1);
    body_wait(&b, 1, COUNT, 2, HOME);
    child_with(&b, 2, 1, 0);
    child_with(&b, 3, 2, 0);
    put_value(&args, cx_v_bytes(ballast, sizeof ballast));
    struct ts_submit s = rig_submission(2, buf_bytes(&args), 1);
    s.priority = -1;
    rig_submit_as(&r, &s);
    rig_commit(&r, 1, &g, &b);
    drain(&r, got, 2);
    assert_int_equal(got[0], 2);
    assert_int_equal(got[1], 1);
    buf_free(&args);
    rig_close(&r);
}

/* ---- Among jobs ---- */

static void fan(struct rig *r, uint64_t job, uint32_t n)
{
    rig_submit(r, job);
    struct grant g = rig_grant(r, 0);
    struct buf b = {0};
    assert_int_equal(g.job.lo, job);
    body_fan(&b, COUNT, n);
    rig_window(r, 1, 0);
    rig_commit(r, 1, &g, &b);
}

/* Serves n tasks to producer 1, each computing for ns, and counts them by job. */
static void serve_tasks(struct rig *r, size_t n, uint64_t ns, unsigned count[8])
{
    struct buf batch = {0}, b = {0};
    body_set_i64(&b, HOME, 1);
    rig_window(r, 1, 1);
    for (size_t i = 0; i < n; i++) {
        struct grant g = rig_grant(r, 0);
        struct commit c = {.kind = COMMIT_DONE,
                           .job = g.job,
                           .task = g.task,
                           .hash = g.hash,
                           .elapsed_ns = ns,
                           .executed = 1,
                           .body = buf_bytes(&b)};
        count[g.job.lo]++;
        buf_clear(&batch);
        commit_put(&batch, &c);
        rig_commits(r, 1, &batch);
    }
    buf_free(&batch);
    buf_free(&b);
}

static void shares_follow_weights(void **state)
{
    struct rig r;
    unsigned count[8] = {0};
    (void)state;
    rig_open(&r, (struct ts_config){0});
    for (uint64_t job = 1; job <= 3; job++) {
        struct ts_submit s = rig_submission(job, (struct bytes){0}, 0);
        s.weight = (uint32_t)job;
        rig_join(&r, 1, 0);
        rig_submit_as(&r, &s);
    }
    rig_window(&r, 1, 3);
    struct grant root[3];
    for (size_t i = 0; i < 3; i++)
        root[i] = rig_grant(&r, i);
    rig_window(&r, 1, 0);
    for (size_t i = 0; i < 3; i++) {
        struct buf b = {0};
        body_fan(&b, COUNT, 600);
        rig_commit(&r, 1, &root[i], &b);
    }
    serve_tasks(&r, 600, 1000000, count);
    assert_in_range(count[1], 90, 110);
    assert_in_range(count[2], 190, 210);
    assert_in_range(count[3], 290, 310);
    rig_close(&r);
}

static void a_new_job_does_not_starve_the_old_one(void **state)
{
    struct rig r;
    unsigned count[8] = {0};
    (void)state;
    rig_open(&r, (struct ts_config){0});
    rig_join(&r, 1, 1);
    fan(&r, 1, 400);
    serve_tasks(&r, 200, 1000000, count);
    rig_window(&r, 1, 0);
    rig_submit(&r, 2);
    rig_window(&r, 1, 3); /* one more of job 1, the root of job 2 */
    struct grant g = rig_grant(&r, rig_grant(&r, 0).job.lo == 2 ? 0 : 1);
    struct buf b = {0};
    unsigned fair[8] = {0};
    assert_int_equal(g.job.lo, 2);
    rig_window(&r, 1, 0);
    body_fan(&b, COUNT, 400);
    rig_commit(&r, 1, &g, &b);
    rig_left(&r, 1);
    rig_join(&r, 1, 0);
    serve_tasks(&r, 100, 1000000, fair);
    assert_in_range(fair[1], 45, 55);
    assert_in_range(fair[2], 45, 55);
    rig_close(&r);
}

static void a_job_of_higher_priority_goes_first(void **state)
{
    struct rig r;
    unsigned count[8] = {0};
    (void)state;
    rig_open(&r, (struct ts_config){0});
    rig_join(&r, 1, 1);
    fan(&r, 1, 10);
    struct ts_submit s = rig_submission(2, (struct bytes){0}, 0);
    s.priority = 5;
    rig_submit_as(&r, &s);
    serve_tasks(&r, 1, 1000, count);
    assert_int_equal(count[2], 1);
    rig_close(&r);
}

/* ---- Bounds ---- */

static void what_cannot_win_is_pruned_unrun(void **state)
{
    static const int64_t bounds[] = {10, 20, 5, 15};
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    for (uint32_t i = 0; i <= 4; i++)
        put_name(&b, 0, i);
    body_wait(&b, 1, MIN_I64, 4, HOME);
    for (uint32_t i = 0; i < 4; i++)
        body_child_with(&b, i + 2, FN_A, slot(1, i),
                        (cx_opts){.bound_kind = CX_BOUND_MIN, .bound = bounds[i]});
    rig_commit(&r, 1, &g, &b);
    g = rig_grant(&r, 0); /* may be as good as 10, and is 12 */
    put_bound(&b, CX_BOUND_MIN, 12);
    body_set_i64(&b, HOME, 12);
    rig_commit(&r, 1, &g, &b); /* 20 cannot win, 5 can */
    assert_int_equal(rig_count(&r, TS_FX_GRANT), 1);
    g = rig_grant(&r, 0);
    assert_true(id_equal(g.task, id_child(id_root(), 3)));
    size_t records = r.log.n;
    body_set_i64(&b, HOME, 13);
    rig_commit(&r, 1, &g, &b);              /* and 15 cannot */
    assert_int_equal(r.log.n, records + 1); /* both in one record */
    assert_int_equal(rig_result(&r, 1).as.i64, 12);
    assert_int_equal(rig_info(&r, 1).executed, 3);
    rig_close(&r);
}

static void an_equal_bound_cannot_win_either(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    put_name(&b, 0, 0);
    put_name(&b, 0, 1);
    body_wait(&b, 1, MAX_I64, 2, HOME);
    body_child_with(&b, 2, FN_A, slot(1, 0), (cx_opts){.bound_kind = CX_BOUND_MAX, .bound = 7});
    body_set_i64(&b, slot(1, 1), 7);
    put_bound(&b, CX_BOUND_MAX, 7);
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_result(&r, 1).as.i64, 7);
    rig_close(&r);
}

/* A step is kept short, however much there is to prune: the rest is due at once. */
static void pruning_is_cut_into_steps(void **state)
{
    enum { TASKS = 20000 };
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    body_fan_with(&b, COUNT, TASKS, FN_A, (cx_opts){.bound_kind = CX_BOUND_MIN, .bound = 5});
    put_bound(&b, CX_BOUND_MIN, 5);
    rig_commit(&r, 1, &g, &b);
    assert_in_range(rig_info(&r, 1).ready, 1, TASKS - 1);
    unsigned ticks = 0;
    for (; rig_info(&r, 1).state == TS_JOB_RUNNING; ticks++) {
        assert_true(ts_due(r.ts) <= r.now);
        rig_tick(&r, 0);
    }
    assert_in_range(ticks, 1, 5);
    assert_int_equal(rig_result(&r, 1).as.i64, 0);
    rig_close(&r);
}

/* ---- Size ---- */

static void a_million_links_fire_without_recursion(void **state)
{
    enum { LINKS = 50000 };
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    (void)state;
    for (uint32_t i = 0; i < LINKS; i++)
        put_name(&b, i, 0);
    body_wait(&b, 1, SUM_I64, 1, HOME);
    for (uint32_t i = 2; i <= LINKS; i++)
        body_wait(&b, i, i % 2 ? SUM_I64 : MAX_I64, 1, slot(i - 1, 0));
    put_name(&b, 0, 1);
    body_child(&b, LINKS + 1, FN_A, 0, slot(LINKS, 0));
    rig_commit(&r, 1, &g, &b);
    g = rig_grant(&r, 0);
    body_set_i64(&b, HOME, 77);
    rig_commit(&r, 1, &g, &b);
    assert_int_equal(rig_result(&r, 1).as.i64, 77);
    rig_close(&r);
}

static void a_queued_task_costs_less_than_200_bytes(void **state)
{
    enum { TASKS = 20000 };
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    struct ts_stats s;
    (void)state;
    body_fan(&b, COUNT, TASKS);
    rig_commit(&r, 1, &g, &b);
    ts_stats(r.ts, &s);
    assert_true(s.memory / TASKS <= 200);
    rig_close(&r);
}

static void a_wide_successor_keeps_bits_only(void **state)
{
    struct rig r;
    struct grant g = rig_root(&r, 1);
    struct buf b = {0};
    struct ts_stats s;
    (void)state;
    put_name(&b, 0, 0);
    body_wait(&b, 1, SUM_I64, CX_SLOTS_MAX, HOME);
    put_name(&b, 0, 1);
    body_child(&b, 2, FN_A, 0, slot(1, CX_SLOTS_MAX - 1));
    rig_commit(&r, 1, &g, &b);
    ts_stats(r.ts, &s);
    assert_true(s.memory < CX_SLOTS_MAX / 8 + 10000);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_priority_then_depth_then_age),
        cmocka_unit_test(many_priorities_are_served_in_order),
        cmocka_unit_test(deepest_first_above_the_high_water_mark),
        cmocka_unit_test(shares_follow_weights),
        cmocka_unit_test(a_new_job_does_not_starve_the_old_one),
        cmocka_unit_test(a_job_of_higher_priority_goes_first),
        cmocka_unit_test(what_cannot_win_is_pruned_unrun),
        cmocka_unit_test(an_equal_bound_cannot_win_either),
        cmocka_unit_test(pruning_is_cut_into_steps),
        cmocka_unit_test(a_million_links_fire_without_recursion),
        cmocka_unit_test(a_queued_task_costs_less_than_200_bytes),
        cmocka_unit_test(a_wide_successor_keeps_bits_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
