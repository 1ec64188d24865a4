/* Work that moves between shards: two and three cores, connected in memory. */
#include "tests/unit/ts_net.h"

enum { PAUSE_US = 1000, REFUSED_US = 100000 }; /* of steal.c */

/* ---- Moving, and values back ---- */

static void a_neighbour_helps(void **state)
{
    (void)state;
    net_open(2, TS_STEAL_RANDOM);
    rig_join(&net.r[0], 1, 1);
    rig_join(&net.r[1], 1, 4);
    net_mesh();
    net_submit_fib(0, 1, 12);
    net_finish(0, 1);
    assert_int_equal(rig_result(&net.r[0], 1).as.i64, net_fib_value(12));
    assert_int_equal(rig_info(&net.r[0], 1).executed, net_fib_tasks(12));
    assert_true(net_taken(1) > 10);
    assert_int_equal(net.guests, 1);
    assert_false(net_knows(1, 1)); /* it was told that the job is over */
    assert_int_equal(net_unconfirmed(), 0);
    assert_int_equal(net.faults, 0);
    net_close();
}

static void without_a_policy_nobody_asks(void **state)
{
    (void)state;
    net_open(2, TS_STEAL_NONE);
    rig_join(&net.r[0], 1, 1);
    rig_join(&net.r[1], 1, 4);
    net_mesh();
    net_submit_fib(0, 1, 8);
    net_finish(0, 1);
    assert_int_equal(rig_result(&net.r[0], 1).as.i64, net_fib_value(8));
    assert_int_equal(net_taken(1), 0);
    net_close();
}

/* A shard without producers gives all it has. */
static void a_shard_without_producers_lets_others_work(void **state)
{
    (void)state;
    net_open(3, TS_STEAL_LATENCY);
    rig_join(&net.r[1], 1, 2);
    rig_join(&net.r[2], 1, 2);
    net_mesh();
    net_submit_fib(0, 1, 11);
    net_finish(0, 1);
    assert_int_equal(rig_result(&net.r[0], 1).as.i64, net_fib_value(11));
    assert_int_equal(rig_info(&net.r[0], 1).executed, net_fib_tasks(11));
    assert_true(net_taken(1) && net_taken(2));
    net_close();
}

/* 0 and 2 are not connected: tasks get from 0 to 2 through 1, and the values wait until they are. */
static void stolen_tasks_are_stolen_again(void **state)
{
    (void)state;
    net_open(3, TS_STEAL_RANDOM);
    net_up(0, 1);
    net_up(1, 2);
    rig_join(&net.r[1], 1, 1);
    rig_join(&net.r[2], 1, 4);
    net_submit_fib(0, 1, 9);
    for (int rounds = 0; rounds < 2000 && !net_taken(2); rounds++) {
        net_settle();
        net_run(1);
        net_tick(1000);
    }
    assert_true(net_taken(2) > 0);
    net_up(0, 2);
    net_finish(0, 1);
    assert_int_equal(rig_result(&net.r[0], 1).as.i64, net_fib_value(9));
    assert_int_equal(rig_info(&net.r[0], 1).executed, net_fib_tasks(9));
    assert_false(net_knows(1, 1));
    assert_false(net_knows(2, 1));
    net_close();
}

/* ---- One job step by step: 0 has no producer, 1 takes the root ---- */

/* The root of job 1 of shard 0, granted in shard 1. */
static struct grant far_root(struct buf *data)
{
    struct grant g;
    net_open(2, TS_STEAL_RANDOM);
    rig_join(&net.r[1], 1, 1);
    net_mesh();
    rig_submit(&net.r[0], 1);
    net_settle();
    assert_true(net_take(1, &g, data));
    assert_int_equal(rig_info(&net.r[0], 1).away, 1);
    return g;
}

static struct grant next_grant(int i, struct buf *data)
{
    struct grant g;
    buf_free(data);
    *data = (struct buf){0};
    assert_true(net_take(i, &g, data));
    return g;
}

static void a_guest_is_nobodys_job(void **state)
{
    struct buf data = {0}, body = {0};
    struct grant g = far_root(&data);
    struct ts_stats stats;
    (void)state;
    assert_true(rig_info(&net.r[1], 1).guest);
    assert_true(id_equal(rig_info(&net.r[1], 1).origin, net_shard(0)));
    ts_stats(net.r[1].ts, &stats);
    assert_int_equal(stats.jobs, 0);
    rig_client(&net.r[1], TS_WATCH, 9, 1, "ann");
    assert_int_equal(rig_fx(&net.r[1], TS_FX_REPLY, 0)->code, CX_ENOTFOUND);
    rig_client(&net.r[1], TS_CANCEL, 9, 1, "");
    assert_int_equal(rig_fx(&net.r[1], TS_FX_REPLY, 0)->code, CX_ENOTFOUND);
    rig_submit(&net.r[1], 1);
    assert_int_equal(rig_fx(&net.r[1], TS_FX_REPLY, 0)->code, CX_EEXIST);
    body_set_i64(&body, HOME, 3);
    rig_commit(&net.r[1], 1, &g, &body);
    net_settle();
    assert_int_equal(rig_result(&net.r[0], 1).as.i64, 3);
    buf_free(&data);
    net_close();
}

/* The record that brings tasks names what they need to run. */
static void moved_tasks_need_their_module(void **state)
{
    const uint8_t *sha256[TS_RECORD_BLOBS_MAX];
    struct buf data = {0};
    size_t blobs = 0;
    (void)state;
    far_root(&data);
    for (struct reader in = reader_of(buf_bytes(&net.r[1].log.bytes)); reader_more(&in);)
        blobs += ts_record_blobs(get_raw(&in, get_u64(&in)), sha256, TS_RECORD_BLOBS_MAX);
    assert_int_equal(blobs, 1);
    buf_free(&data);
    net_close();
}

/* Tasks of two jobs in one message make two records. */
static void a_record_brings_tasks_of_one_job(void **state)
{
    (void)state;
    net_open(2, TS_STEAL_RANDOM);
    net_mesh();
    net.r[0].hold = true; /* what is moved waits */
    rig_join(&net.r[1], 1, 1);
    net_settle();
    for (uint64_t job = 1; job <= 2; job++)
        rig_submit(&net.r[0], job);
    net_settle();
    net_down(0, 1);
    net_up(0, 1); /* it asks again */
    net_settle();
    size_t before = net.r[1].log.n;
    net.r[0].hold = false;
    net_tick(1);
    net_settle();
    assert_int_equal(net.guests, 2);
    assert_true(net.r[1].log.n >= before + 2);
    net_close();
}

/* The root leaves a successor in shard 1 and hands its slot, as a value, to the job's home. There it waits in
 * no table: shard 0 has nothing, shard 1 has a waiting task, nothing is under way. */
static void stuck_is_known_at_home(void **state)
{
    struct buf data = {0}, body = {0};
    struct grant g = far_root(&data);
    (void)state;
    put_name(&body, 0, 0);
    body_wait(&body, 1, FN_B, 2, HOME);
    body_set_i64(&body, slot(1, 0), 5);
    rig_commit(&net.r[1], 1, &g, &body);
    net_settle();
    rig_reason(&net.r[0], 1, "none returned the job's result");
    assert_false(net_knows(1, 1));
    buf_free(&data);
    net_close();
}

/* A child that was stolen sets two slots of tasks in its home shard, and one address travels as a value. */
static void addresses_travel(void **state)
{
    struct buf data = {0}, body = {0};
    struct grant g = far_root(&data);
    (void)state;
    /* In 1: b waits for two slots, c for one; the child a is given the address of c's slot. */
    for (uint32_t k = 0; k < 3; k++)
        put_name(&body, 0, k);
    body_wait(&body, 1, FN_B, 2, HOME);
    body_wait(&body, 2, FN_C, 1, slot(1, 1));
    struct op op = {
        .kind = OP_TASK, .name = 3, .fn = FN_A, .nslots = 1, .to = slot(1, 0), .flags = TASK_FULL};
    put_task(&body, &op);
    put_task_value(&body, &op, &(struct op_value){.value = cx_v_addr((cx_addr){0}), .ref = slot(2, 0)});
    rig_window(&net.r[1], 1, 0); /* so that the child is taken by 0 */
    rig_commit(&net.r[1], 1, &g, &body);
    net.r[0].now += 100000;
    net.r[1].now += 100000;
    rig_join(&net.r[0], 1, 1);
    net_settle();
    g = next_grant(0, &data);
    assert_int_equal(g.fn, FN_A);
    /* It hands the address on as a value: b's slot 0 gets the address of c's. */
    put_set(&body, HOME, cx_v_i64(40), (struct ref){0});
    put_set(&body, given(1), cx_v_addr((cx_addr){0}), HOME);
    rig_window(&net.r[1], 1, 1);
    rig_commit(&net.r[0], 1, &g, &body);
    net_settle();
    g = next_grant(1, &data);
    assert_int_equal(g.fn, FN_C); /* its argument is an address in its own shard */
    put_set(&body, HOME, cx_v_i64(2), (struct ref){0});
    put_set(&body, given(1), cx_v_i64(1), (struct ref){0}); /* set already: dropped */
    rig_commit(&net.r[1], 1, &g, &body);
    g = next_grant(1, &data);
    assert_int_equal(g.fn, FN_B);
    struct reader in = reader_of(g.values);
    assert_int_equal(get_value(&in).as.i64, 40);
    assert_int_equal(get_value(&in).as.i64, 2);
    body_set_i64(&body, HOME, 42);
    rig_commit(&net.r[1], 1, &g, &body);
    net_settle();
    assert_int_equal(rig_result(&net.r[0], 1).as.i64, 42);
    buf_free(&data);
    net_close();
}

/* ---- The end of jobs ---- */

static void cancelling_reaches_the_guests(void **state)
{
    struct buf data = {0}, body = {0};
    struct grant g = far_root(&data);
    (void)state;
    rig_client(&net.r[0], TS_CANCEL, 9, 1, "ann");
    net_settle();
    assert_false(net_knows(1, 1));
    body_set_i64(&body, HOME, 3);
    rig_commit(&net.r[1], 1, &g, &body); /* too late, and nobody's fault */
    assert_int_equal(rig_count(&net.r[1], TS_FX_FAULT), 0);
    net_settle();
    assert_int_equal(rig_info(&net.r[0], 1).state, TS_JOB_CANCELLED);
    buf_free(&data);
    net_close();
}

static void a_failure_reaches_the_home(void **state)
{
    struct buf data = {0}, body = {0};
    struct grant g = far_root(&data);
    (void)state;
    put_fail(&body, bytes_str("out of luck"));
    rig_commit(&net.r[1], 1, &g, &body);
    net_settle();
    rig_reason(&net.r[0], 1, "out of luck");
    assert_false(net_knows(1, 1));
    buf_free(&data);
    net_close();
}

static void poison_reaches_the_home(void **state)
{
    struct buf data = {0};
    struct grant g = far_root(&data);
    (void)state;
    for (int i = 0; i < TS_POISON_CRASHES; i++) {
        rig_commit_kind(&net.r[1], 1, &g, COMMIT_CRASHED, bytes_str("signal 11"));
        if (i + 1 < TS_POISON_CRASHES)
            g = next_grant(1, &data);
    }
    net_settle();
    rig_reason(&net.r[0], 1, "crashed 3 times");
    rig_reason(&net.r[0], 1, "task ");
    assert_false(net_knows(1, 1));
    buf_free(&data);
    net_close();
}

/* Wherever it killed them. */
static void crashes_are_counted_across_shards(void **state)
{
    struct buf data = {0};
    struct grant g = far_root(&data);
    (void)state;
    rig_commit_kind(&net.r[1], 1, &g, COMMIT_CRASHED, bytes_str("signal 11"));
    g = next_grant(1, &data);
    rig_commit_kind(&net.r[1], 1, &g, COMMIT_CRASHED, bytes_str("signal 11"));
    g = next_grant(1, &data);
    rig_left(&net.r[1], 1);
    net_tick(100000);
    rig_join(&net.r[0], 1, 1);
    net_settle();
    g = next_grant(0, &data);
    rig_commit_kind(&net.r[0], 1, &g, COMMIT_CRASHED, bytes_str("signal 11"));
    rig_reason(&net.r[0], 1, "crashed 3 times");
    net_settle();
    assert_false(net_knows(1, 1));
    buf_free(&data);
    net_close();
}

/* Tasks of a job that ended while they were under way are refused, and do not bring it back. */
static void late_tasks_are_refused(void **state)
{
    (void)state;
    net_open(2, TS_STEAL_RANDOM);
    rig_join(&net.r[1], 1, 1);
    net_mesh();
    net_settle();
    rig_submit(&net.r[0], 1);
    while (rig_info(&net.r[0], 1).ready)
        assert_true(net_deliver()); /* the tasks are under way */
    rig_client(&net.r[0], TS_CANCEL, 9, 1, "ann");
    net_settle();
    assert_int_equal(net.guests, 1);
    assert_false(net_knows(1, 1));
    rig_client(&net.r[0], TS_FORGET, 9, 1, "ann");
    net_settle();
    assert_int_equal(net_unconfirmed(), 0);
    net_close();
}

/* The same id after the job was forgotten: another life, to which the old one's parcels mean nothing. */
static void an_id_may_be_used_again(void **state)
{
    struct buf data = {0}, body = {0};
    far_root(&data);
    (void)state;
    net_down(0, 1);
    rig_client(&net.r[0], TS_CANCEL, 9, 1, "ann");
    rig_client(&net.r[0], TS_FORGET, 9, 1, "ann");
    net.r[0].now += 1000;
    rig_submit(&net.r[0], 1);
    net_up(0, 1);
    net_settle();
    net_tick(PAUSE_US); /* what it got first came to nothing */
    net_settle();
    struct grant g = next_grant(1, &data);
    body_set_i64(&body, HOME, 8);
    rig_commit(&net.r[1], 1, &g, &body);
    net_settle();
    assert_int_equal(rig_result(&net.r[0], 1).as.i64, 8);
    buf_free(&data);
    net_close();
}

/* ---- Bounds ---- */

static void bounds_reach_everybody(void **state)
{
    struct buf data = {0}, body = {0};
    struct grant g = far_root(&data);
    (void)state;
    for (uint32_t k = 0; k < 3; k++)
        put_name(&body, 0, k);
    body_wait(&body, 1, MIN_I64, 2, HOME);
    body_child(&body, 2, FN_A, 1, slot(1, 0));
    body_child(&body, 3, FN_A, 2, slot(1, 1));
    put_bound(&body, CX_BOUND_MIN, 70);
    rig_commit(&net.r[1], 1, &g, &body);
    net_settle();
    assert_int_equal(rig_info(&net.r[0], 1).bound_min, 70);
    g = next_grant(1, &data);
    net.r[1].hold = true;
    body_set_i64(&body, HOME, 50);
    put_bound(&body, CX_BOUND_MIN, 50);
    rig_commit(&net.r[1], 1, &g, &body);
    net_settle();
    assert_int_equal(rig_info(&net.r[0], 1).bound_min, 70); /* law 8 */
    net.r[1].hold = false;
    net_tick(1);
    net_settle();
    assert_int_equal(rig_info(&net.r[0], 1).bound_min, 50);
    net_down(0, 1);
    g = next_grant(1, &data);
    body_set_i64(&body, HOME, 40);
    put_bound(&body, CX_BOUND_MIN, 40);
    rig_commit(&net.r[1], 1, &g, &body);
    net_up(0, 1);
    net_settle();
    assert_int_equal(rig_result(&net.r[0], 1).as.i64, 40);
    buf_free(&data);
    net_close();
}

/* ---- Faults ---- */

static void what_was_confirmed_is_not_sent_again(void **state)
{
    struct buf data = {0}, body = {0};
    struct grant g = far_root(&data);
    (void)state;
    body_set_i64(&body, HOME, 3);
    net_cut(0, 1); /* the value is lost on the way */
    rig_commit(&net.r[1], 1, &g, &body);
    net_settle();
    assert_false(net_over(0, 1));
    for (int i = 0; i < 3; i++) {
        net_down(0, 1);
        net_up(0, 1);
    }
    net_settle();
    assert_int_equal(rig_result(&net.r[0], 1).as.i64, 3);
    assert_int_equal(net_unconfirmed(), 0);
    assert_int_equal(net.faults, 0);
    buf_free(&data);
    net_close();
}

/* Runs a job over three shards; shard `who` dies when its log has `at` records, and keeps only what is held.
 * Returns false when the log never got there. */
static bool crash_once(int who, size_t at, uint64_t lag)
{
    bool crashed = false;
    uint64_t steps = 0;
    net_open(3, TS_STEAL_RANDOM);
    for (int i = 0; i < 3; i++) {
        net.r[i].hold = true;
        rig_join(&net.r[i], 1, i == 0 ? 1 : 2);
    }
    net_mesh();
    net_submit_fib(0, 1, 7);
    while (!net_over(0, 1)) {
        struct ts_stats s;
        ts_stats(net.r[who].ts, &s);
        if (!crashed && net.r[who].log.n >= at && (s.held || who)) {
            net_crash(who, s.held, 2);
            crashed = true;
        }
        assert_true(++steps < 20000);
        net_deliver();
        net_run((int)(steps % 3));
        for (int i = 0; i < 3; i++)
            if (steps % (lag + (uint64_t)i) == 0)
                rig_step(&net.r[i], (struct ts_event){.kind = TS_HELD, .u.lsn = ts_lsn(net.r[i].ts)});
        net_tick(300);
    }
    for (int i = 0; i < 3; i++)
        net.r[i].hold = false;
    for (int i = 0; i < 10; i++) {
        net_tick(1);
        net_settle();
    }
    assert_int_equal(rig_result(&net.r[0], 1).as.i64, net_fib_value(7));
    assert_int_equal(rig_info(&net.r[0], 1).executed, net_fib_tasks(7));
    assert_int_equal(net_unconfirmed(), 0);
    for (int i = 1; i < 3; i++)
        assert_false(net_knows(i, 1));
    assert_int_equal(net.faults, 0);
    net_close();
    return crashed;
}

static void a_crash_at_every_record(void **state)
{
    (void)state;
    for (int who = 0; who < 3; who++)
        for (uint64_t lag = 1; lag < 6; lag += 2) {
            size_t at = 1;
            while (crash_once(who, at, lag))
                at++;
            assert_true(at > 5);
        }
}

/* ---- Stealing ---- */

static size_t asked(int i, int whom)
{
    size_t n = 0;
    for (size_t k = net.head; k < net.tail; k++)
        n += net.queue[k % NET_QUEUE].from == i && net.queue[k % NET_QUEUE].to == whom &&
             net.queue[k % NET_QUEUE].bytes.len > 4;
    return n;
}

static void link_rtt(int a, int b, uint64_t rtt_us)
{
    net.up[a][b] = net.up[b][a] = true;
    rig_step(&net.r[a], (struct ts_event){.kind = TS_PEER_UP, .u.other = {net_shard(b), rtt_us, {0}}});
}

static void the_nearest_is_asked_first(void **state)
{
    (void)state;
    net_open(4, TS_STEAL_LATENCY);
    link_rtt(0, 1, 120000);
    link_rtt(0, 2, 300000);
    link_rtt(0, 3, 4000);
    while (net_deliver())
        ;
    rig_join(&net.r[0], 1, 1);
    assert_int_equal(asked(0, 3), 1);
    assert_int_equal(asked(0, 1) + asked(0, 2), 0);
    net.faults = 0;
    for (int i = 1; i < 4; i++)
        rig_step(&net.r[i], (struct ts_event){.kind = TS_PEER_UP, .u.other = {net_shard(0), 100, {0}}});
    while (!asked(0, 1) && net_deliver())
        ;
    assert_int_equal(asked(0, 1), 1);
    assert_int_equal(asked(0, 2), 0);
    net_settle();
    net_close();
}

/* Nobody has anything: the gaps between two questions grow, and one who gets something says so. */
static void the_idle_ask_ever_more_seldom(void **state)
{
    (void)state;
    net_open(2, TS_STEAL_RANDOM);
    rig_join(&net.r[1], 1, 1);
    net_mesh();
    for (int i = 0; i < 64; i++) {
        net_settle();
        uint64_t due = ts_due(net.r[1].ts);
        assert_true(due != UINT64_MAX);
        if (due > net.r[1].now)
            net_tick(due - net.r[1].now);
    }
    assert_true(ts_due(net.r[1].ts) >= net.r[1].now + 900000);
    rig_submit(&net.r[0], 1);
    net_settle();
    assert_int_equal(rig_info(&net.r[1], 1).granted, 1); /* without any time having passed */
    net_close();
}

/* Who said NONE is not asked again for a while: it would say SOME. */
static void who_has_nothing_is_left_alone(void **state)
{
    (void)state;
    net_open(2, TS_STEAL_RANDOM);
    net_mesh();
    rig_join(&net.r[1], 1, 1);
    assert_int_equal(asked(1, 0), 1);
    net_settle();
    rig_left(&net.r[1], 1);
    rig_join(&net.r[1], 1, 1);
    assert_int_equal(asked(1, 0), 0);
    net_tick(REFUSED_US - 1);
    assert_int_equal(asked(1, 0), 0);
    net_tick(1);
    assert_int_equal(asked(1, 0), 1);
    net_settle();
    net_close();
}

/* Shard 0 has `children` tasks ready, and shard 1 its first gift of them. */
static void first_gift(uint32_t children)
{
    struct buf data = {0}, body = {0};
    struct grant g;
    net_open(2, TS_STEAL_RANDOM);
    rig_join(&net.r[0], 1, 1);
    rig_submit(&net.r[0], 1);
    assert_true(net_take(0, &g, &data));
    body_fan(&body, SUM_I64, children);
    rig_commit(&net.r[0], 1, &g, &body);
    net_mesh();
    rig_join(&net.r[1], 1, 1);
    net_settle();
    buf_free(&data);
}

/* Runs all that shard 1 has; every task took so long. */
static void run_gift(uint64_t elapsed_ns)
{
    struct grant g;
    struct buf data = {0}, body = {0};
    while (net_take(1, &g, &data)) {
        body_set_i64(&body, HOME, 1);
        rig_commit_after(&net.r[1], 1, &g, COMMIT_DONE, buf_bytes(&body), elapsed_ns);
        buf_clear(&body);
        buf_free(&data);
        data = (struct buf){0};
    }
    buf_free(&body);
}

/* Where there is plenty, a gift that is soon done makes the next one bigger; one that lasts, smaller again.
 */
static void a_gift_is_to_last(void **state)
{
    (void)state;
    first_gift(400);
    assert_int_equal(net_taken(1), 16);
    run_gift(1000);
    net_settle();
    assert_int_equal(net_taken(1), 16 + 32);
    run_gift(1000);
    net_settle();
    assert_int_equal(net_taken(1), 16 + 32 + 64);
    run_gift(1000000);
    net_settle();
    assert_int_equal(net_taken(1), 16 + 32 + 64 + 32);
    net_close();
}

/* Where work is scarce and soon done, it is left to those who have it, ever longer. */
static void what_is_not_worth_it_is_left_alone(void **state)
{
    (void)state;
    first_gift(5);
    for (uint64_t pause_us = PAUSE_US, taken = net_taken(1); pause_us <= 2 * PAUSE_US; pause_us *= 2) {
        run_gift(1000);
        net_settle();
        assert_int_equal(net_taken(1), taken);
        net_tick(pause_us - 1);
        net_settle();
        assert_int_equal(net_taken(1), taken);
        net_tick(1);
        net_settle();
        assert_true(net_taken(1) > taken);
        taken = net_taken(1);
    }
    net_close();
}

/* Idle threads elsewhere come before those here that have something to do. */
static void what_others_wait_for_is_not_prefetched(void **state)
{
    enum { CHILDREN = 40 };
    struct buf data = {0}, body = {0};
    struct grant g;
    (void)state;
    net_open(2, TS_STEAL_RANDOM);
    net_mesh();
    rig_join(&net.r[0], 1, 64);
    rig_submit(&net.r[0], 1);
    assert_true(net_take(0, &g, &data));
    rig_join(&net.r[1], 1, 1);
    net_settle();
    body_fan(&body, SUM_I64, CHILDREN);
    rig_commit_after(&net.r[0], 1, &g, COMMIT_DONE, buf_bytes(&body), 2000000);
    buf_free(&body);
    assert_int_equal(rig_info(&net.r[0], 1).ready, 16);
    net_settle();
    assert_int_equal(net_taken(1), 8);
    assert_int_equal(rig_info(&net.r[0], 1).ready, 0);
    buf_free(&data);
    net_close();
}

/* ---- Gathering ---- */

#define GATHER 5000u

static size_t said_to(int i, int whom)
{
    size_t n = 0;
    for (size_t k = net.head; k < net.tail; k++)
        n += net.queue[k % NET_QUEUE].from == i && net.queue[k % NET_QUEUE].to == whom;
    return n;
}

/* An answer and a confirmation make nothing run: they go late and together. */
static void answers_are_gathered(void **state)
{
    struct buf data = {0}, body = {0};
    struct grant g;
    (void)state;
    net_gather_us = GATHER;
    g = far_root(&data);
    net_gather_us = 0;
    body_set_i64(&body, HOME, 3);
    rig_commit(&net.r[1], 1, &g, &body);
    assert_int_equal(said_to(1, 0), 1); /* nothing is left there: the value goes at once */
    buf_free(&data);
    net_settle();
    assert_int_equal(rig_result(&net.r[0], 1).as.i64, 3);
    net_tick(GATHER - 1);
    assert_int_equal(said_to(0, 1), 0);
    net_tick(1);
    net_settle();
    assert_int_equal(net_unconfirmed(), 0);
    net_close();
}

/* A value goes with the next ones while everybody has work, and at once when there is nothing left to do. */
static void values_are_gathered_while_all_are_busy(void **state)
{
    struct buf data = {0}, body = {0};
    struct grant g;
    (void)state;
    net_gather_us = GATHER;
    first_gift(200);
    net_gather_us = 0;
    net_tick(GATHER);
    net_settle();
    for (int i = 0; i < 2; i++) {
        assert_true(net_take(1, &g, &data));
        body_set_i64(&body, HOME, 1);
        rig_commit(&net.r[1], 1, &g, &body);
        buf_free(&data);
        data = (struct buf){0};
        assert_int_equal(said_to(1, 0), 0);
    }
    net_tick(GATHER);
    assert_int_equal(said_to(1, 0), 1);
    net_settle();
    net_tick(GATHER);
    net_settle();
    assert_int_equal(rig_info(&net.r[1], 1).away, 0);
    assert_true(net_take(1, &g, &data));
    body_set_i64(&body, HOME, 1);
    rig_commit(&net.r[1], 1, &g, &body);
    assert_int_equal(said_to(1, 0), 0);
    buf_free(&data);
    rig_left(&net.r[1], 1);
    assert_int_equal(said_to(1, 0), 1); /* nobody is busy here any more */
    net_settle();
    net_close();
}

/* What a shard took is not taken back at once. */
static void no_ball_is_played(void **state)
{
    struct buf data = {0};
    (void)state;
    far_root(&data);
    rig_left(&net.r[1], 1);
    assert_int_equal(rig_info(&net.r[1], 1).ready, 1);
    rig_join(&net.r[0], 1, 1);
    net_settle();
    assert_int_equal(net_taken(0), 0);
    for (int i = 0; i < 200 && !net_taken(0); i++) {
        net_tick(1000);
        net_settle();
    }
    assert_int_equal(net_taken(0), 1);
    assert_int_equal(rig_info(&net.r[0], 1).granted, 1);
    buf_free(&data);
    net_close();
}

/* But what is more than it can use is. */
static void plenty_goes_back_at_once(void **state)
{
    enum { CHILDREN = 9 };
    struct buf data = {0}, body = {0};
    struct grant g = far_root(&data);
    (void)state;
    body_fan(&body, SUM_I64, CHILDREN);
    rig_commit(&net.r[1], 1, &g, &body);
    rig_join(&net.r[0], 1, 1);
    net_settle();
    assert_int_equal(net_taken(0), (CHILDREN - 1) / 2); /* half of those that wait for its one thread */
    buf_free(&data);
    net_close();
}

/* One who asks in vain makes the runners publish. */
static void hunger_elsewhere_is_signalled(void **state)
{
    (void)state;
    net_open(2, TS_STEAL_RANDOM);
    net.r[0].config.collapse = true;
    ts_free(net.r[0].ts);
    net.r[0].ts = ts_new(&net.r[0].config);
    rig_join(&net.r[0], 1, 1);
    net_mesh();
    rig_submit(&net.r[0], 1);
    struct grant g;
    struct buf data = {0}, body = {0};
    assert_true(net_take(0, &g, &data));
    for (uint32_t k = 0; k < 2; k++)
        put_name(&body, 0, k);
    body_wait(&body, 1, SUM_I64, 1, HOME);
    body_child(&body, 2, FN_A, 1, slot(1, 0));
    rig_commit(&net.r[0], 1, &g, &body); /* tiny: the next one has a budget */
    g = next_grant(0, &data);
    assert_true(g.budget_us > 0);
    net_settle();
    assert_int_equal(rig_count(&net.r[0], TS_FX_HUNGRY), 0);
    net.r[0].now += 5000;
    net.r[1].now += 5000;
    rig_join(&net.r[1], 1, 1);
    while (net.head != net.tail && !rig_count(&net.r[0], TS_FX_HUNGRY))
        net_deliver();
    assert_int_equal(rig_count(&net.r[0], TS_FX_HUNGRY), 1);
    net_settle();
    buf_free(&data);
    net_close();
}

/* ---- Hostile bytes ---- */

static void say(const char *bytes, size_t len)
{
    rig_step(&net.r[0],
             (struct ts_event){.kind = TS_PEER_MSG, .u.other = {net_shard(1), 0, bytes_of(bytes, len)}});
}

static void malformed_messages_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *why;
    } bad[] = {
        {"", 0, "malformed"},        {"\0\1\4\2", 4, "malformed"},  {"\0\1\2\1\7", 5, "malformed parcel"},
        {"\1\0\0", 3, "never sent"}, {"\0\0\0\11", 4, "malformed"},
    };
    (void)state;
    net_open(2, TS_STEAL_NONE);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        net_up(0, 1);
        net_settle();
        say(bad[i].bytes, bad[i].len);
        const struct ts_effect *fx = rig_fx(&net.r[0], TS_FX_PEER_FAULT, 0);
        assert_non_null(fx);
        rig_says(ts_effect_data(&net.r[0].fx, fx), bad[i].why);
        say("\0\0\0", 3); /* not listened to before it connects again */
        assert_null(rig_fx(&net.r[0], TS_FX_PEER_FAULT, 0));
    }
    assert_int_equal(ts_lsn(net.r[0].ts), 0);
    net_close();
}

static void a_gap_is_refused(void **state)
{
    struct buf data = {0}, body = {0};
    struct grant g = far_root(&data);
    (void)state;
    net.r[1].hold = true;
    body_set_i64(&body, HOME, 3);
    rig_commit(&net.r[1], 1, &g, &body);
    net.r[1].hold = false;
    rig_tick(&net.r[1], 1);
    assert_true(net.tail - net.head >= 1);
    struct net_msg *m = &net.queue[(net.tail - 1) % NET_QUEUE];
    m->bytes.data[1]++; /* the number of the first parcel */
    net_settle();
    assert_int_equal(net.faults, 1);
    net_down(0, 1);
    net_up(0, 1);
    net_settle();
    assert_int_equal(rig_result(&net.r[0], 1).as.i64, 3);
    buf_free(&data);
    net_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_neighbour_helps),
        cmocka_unit_test(without_a_policy_nobody_asks),
        cmocka_unit_test(a_shard_without_producers_lets_others_work),
        cmocka_unit_test(stolen_tasks_are_stolen_again),
        cmocka_unit_test(a_guest_is_nobodys_job),
        cmocka_unit_test(moved_tasks_need_their_module),
        cmocka_unit_test(a_record_brings_tasks_of_one_job),
        cmocka_unit_test(stuck_is_known_at_home),
        cmocka_unit_test(addresses_travel),
        cmocka_unit_test(cancelling_reaches_the_guests),
        cmocka_unit_test(a_failure_reaches_the_home),
        cmocka_unit_test(poison_reaches_the_home),
        cmocka_unit_test(crashes_are_counted_across_shards),
        cmocka_unit_test(late_tasks_are_refused),
        cmocka_unit_test(an_id_may_be_used_again),
        cmocka_unit_test(bounds_reach_everybody),
        cmocka_unit_test(what_was_confirmed_is_not_sent_again),
        cmocka_unit_test(a_crash_at_every_record),
        cmocka_unit_test(the_nearest_is_asked_first),
        cmocka_unit_test(the_idle_ask_ever_more_seldom),
        cmocka_unit_test(who_has_nothing_is_left_alone),
        cmocka_unit_test(a_gift_is_to_last),
        cmocka_unit_test(what_is_not_worth_it_is_left_alone),
        cmocka_unit_test(what_others_wait_for_is_not_prefetched),
        cmocka_unit_test(answers_are_gathered),
        cmocka_unit_test(values_are_gathered_while_all_are_busy),
        cmocka_unit_test(no_ball_is_played),
        cmocka_unit_test(plenty_goes_back_at_once),
        cmocka_unit_test(hunger_elsewhere_is_signalled),
        cmocka_unit_test(malformed_messages_are_refused),
        cmocka_unit_test(a_gap_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
