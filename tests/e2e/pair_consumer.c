/* A pair of servers as its consumers and its administrator see it: either server may be killed, and jobs go
 * on and end; a job is found in whichever shard it is; cx server moves shards and says when all is well
 * again. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consumer/cmd/shards.c"
#include "tests/support/testnet.h"

static const char *spin(void)
{
    return built("tests/modules/spin.so");
}

static bool is_whole(void *ctx)
{
    struct testnet *t = ctx;
    struct shards s = {0};
    bool whole = net_list(testnet_net(t), LIST_SHARDS, &s.rows) == 0 && shards_whole(&s, "s1") &&
                 shards_whole(&s, "s2");
    buf_free(&s.rows);
    return whole;
}

static void until_whole(struct testnet *t)
{
    testnet_until("both servers in sync, each with its own shard", is_whole, t);
}

static cx_job *submit(cx_net *net, int64_t tasks)
{
    cx_value args[] = {cx_v_i64(tasks), cx_v_i64(1000)};
    cx_submission what = {.module = spin(), .function = "spins", .nargs = 2, .args = args};
    cx_job *job;
    if (cx_submit(net, &what, &job) < 0)
        fail_msg("%s", cx_error(net));
    return job;
}

static void expect_i64(cx_net *net, cx_job *job, int64_t want)
{
    cx_value v;
    if (cx_wait(job, TESTNET_LIMIT_MS, &v) < 0)
        fail_msg("%s", cx_error(net));
    assert_true(v.type == CX_I64 && v.as.i64 == want);
}

/* One server only: what it says it is the primary of is where jobs go. */
static cx_net *net_at(struct testnet *t, const char *address)
{
    cx_net *net;
    setenv("CX_CONSUMER", t->network.options.user, 1);
    int err = cx_open_with(address, t->network.credentials, &net);
    unsetenv("CX_CONSUMER");
    if (err < 0)
        fail_msg("%s", cx_error(NULL));
    return net;
}

static void a_wait_outlives_the_server(void **state)
{
    struct testnet *t = *state;
    until_whole(t);
    testnet_add_producers(t, 1);
    cx_job *job = submit(testnet_net(t), 1500);
    testnet_until_executed(t, job, 50);
    testnet_kill_server(t, SIGKILL);
    expect_i64(testnet_net(t), job, 1500);
    assert_int_equal(cx_forget(job), 0);
    cx_job_free(job);
    testnet_passed(t);
}

static void submissions_go_on_when_a_server_dies(void **state)
{
    struct testnet *t = *state;
    until_whole(t);
    testnet_add_producers(t, 1);
    cx_job *first = submit(testnet_net(t), 5);
    testnet_kill_server(t, SIGKILL);
    cx_job *second = submit(testnet_net(t), 7); /* to the same shard, wherever that is now */
    expect_i64(testnet_net(t), second, 7);
    expect_i64(testnet_net(t), first, 5);
    cx_job_free(first);
    cx_job_free(second);
    testnet_passed(t);
}

static void cx_run_does_not_notice(void **state)
{
    struct testnet *t = *state;
    struct command c;
    until_whole(t);
    testnet_add_producers(t, 1);
    testnet_cx_start(t, &c, "run", "--quiet", spin(), "spins", "1500", "1000", NULL);
    testnet_kill_server(t, SIGKILL); /* at some moment from before its Hello to the middle of the job */
    testnet_start_server(t);
    assert_int_equal(command_finish(&c), 0);
    assert_string_equal(command_out(&c), "1500\n");
    command_free(&c);
    testnet_passed(t);
}

static void a_job_is_found_in_the_other_shard(void **state)
{
    struct testnet *t = *state;
    until_whole(t);
    cx_net *there = net_at(t, t->network.sibling_address), *here = net_at(t, t->network.address);
    cx_job *mine = submit(here, 3), *other = submit(there, 4), *found, *unknown;
    cx_progress p;
    struct buf rows = {0};
    assert_int_equal(cx_attach(here, cx_job_id(other), &found), 0);
    assert_int_equal(cx_job_progress(found, &p), 0);
    assert_int_equal(p.state, CX_RUNNING);
    assert_int_equal(cx_attach(here, "00000000000000000000000000000bad", &unknown), 0);
    assert_int_equal(cx_job_progress(unknown, &p), CX_ENOTFOUND);
    assert_int_equal(net_list(here, LIST_JOBS, &rows), 0);
    assert_int_equal(rows.len / sizeof(struct job_row), 2); /* of both shards, and each once */
    testnet_expect(t, 0, NULL, "status", cx_job_id(mine), NULL);
    testnet_expect(t, 0, NULL, "status", cx_job_id(other), NULL);
    testnet_expect(t, 0, NULL, "why", cx_job_id(other), NULL);
    assert_int_equal(cx_cancel(found), 0);
    assert_int_equal(cx_wait(other, TESTNET_LIMIT_MS, NULL), CX_ECANCELLED);
    buf_free(&rows);
    cx_job_free(mine);
    cx_job_free(other);
    cx_job_free(found);
    cx_job_free(unknown);
    cx_close(here);
    cx_close(there);
    testnet_passed(t);
}

static void an_administrator_moves_shards(void **state)
{
    struct testnet *t = *state;
    struct command c;
    until_whole(t);
    testnet_expect(t, 0, NULL, "server", "status", "--json", NULL);
    testnet_expect(t, 0, "", "server", "drain", "s1", NULL);
    assert_int_equal(testnet_cx(t, &c, "server", "status", NULL), 0);
    assert_non_null(strstr(command_out(&c), "cx server hand-back s1"));
    command_free(&c);
    testnet_kill_server(t, SIGTERM);
    testnet_start_server(t);
    testnet_expect(t, 0, "", "server", "replace", "s1", NULL);
    until_whole(t);
    testnet_expect(t, 0, "", "server", "hand-back", NULL); /* nothing is away from home */
    testnet_expect(t, 6, NULL, "server", "hand-back", "s3", NULL);
    testnet_expect(t, 6, NULL, "server", "drain", "s3", NULL);
    testnet_passed(t);
}

static bool is_halted_there(void *ctx)
{
    struct testnet *t = ctx;
    struct command c;
    testnet_cx(t, &c, "server", "status", NULL);
    bool halted = strstr(command_out(&c), "accept-loss s2 --member s1") != NULL;
    command_free(&c);
    return halted;
}

static bool is_served(void *ctx)
{
    struct shards s = {0};
    struct shard_row row;
    bool served = net_list(ctx, LIST_SHARDS, &s.rows) >= 0 && shards_primary(&s, "s2", &row);
    buf_free(&s.rows);
    return served;
}

/* The second loss comes before the first is made good: the shard halts, and an order alone makes it go on. */
static void a_loss_is_accepted_by_order_only(void **state)
{
    struct testnet *t = *state;
    char broker[96];
    until_whole(t);
    snprintf(broker, sizeof broker, "broker:%s", t->network.broker_address);
    testnet_expect(t, 2, "", "server", "accept-loss", "s2", "--member", "s1", "--yes", NULL); /* to whom? */
    testnet_expect(t, 2, "", "server", "accept-loss", "s2", "--member", "s1", "--network", broker, "--yes",
                   NULL); /* it is served */
    testnet_kill_server(t, SIGKILL);
    cx_net *net = net_at(t, t->network.sibling_address);
    cx_job *job = submit(net, 3); /* acknowledged, and s1 does not have it */
    cx_job_free(job);
    cx_close(net);
    testnet_kill_sibling(t, SIGKILL);
    testnet_start_server(t);
    testnet_until("s1 says that shard s2 is halted", is_halted_there, t);
    testnet_expect(t, 0, "", "server", "accept-loss", "s2", "--member", "s1", "--network", broker, "--yes",
                   NULL);
    testnet_until("shard s2 is served again", is_served, testnet_net(t));
    testnet_passed(t);
}

int main(void)
{
#define PAIR(name) cmocka_unit_test_setup_teardown(name, testnet_setup_pair, testnet_teardown)
    static const struct CMUnitTest tests[] = {
        PAIR(a_wait_outlives_the_server),    PAIR(submissions_go_on_when_a_server_dies),
        PAIR(cx_run_does_not_notice),        PAIR(a_job_is_found_in_the_other_shard),
        PAIR(an_administrator_moves_shards), PAIR(a_loss_is_accepted_by_order_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
