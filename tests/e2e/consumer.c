/* libcx on real processes: what it promises on any network, and what only a network can do to it. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/pki.h"
#include "tests/support/consumer_suite.h"
#include "tests/support/testnet.h"

/* ---- The suite, on one network for all of it ---- */

static struct testnet *shared;

static int shared_setup(void **state)
{
    void *t;
    (void)state;
    testnet_setup(&t);
    shared = t;
    testnet_add_producers(shared, 2);
    return 0;
}

static int shared_teardown(void **state)
{
    void *t = shared;
    (void)state;
    testnet_passed(shared); /* which test failed is known by now */
    return testnet_teardown(&t);
}

static void run_suite_test(void **state)
{
    const struct suite_test *t = *state;
    t->run(testnet_net(shared));
}

/* ---- Connections ---- */

static void expect(const cx_net *net, int code, int want)
{
    if (code != want)
        fail_msg("%s \"%s\", want %s", cx_err_name(code), cx_error(net), cx_err_name(want));
}

static cx_job *submit(cx_net *net, const char *module, const char *function, int64_t a, int64_t b)
{
    cx_value args[] = {cx_v_i64(a), cx_v_i64(b)};
    cx_submission what = {.module = module, .function = function, .nargs = 2, .args = args};
    cx_job *job = NULL;
    expect(net, cx_submit(net, &what, &job), CX_OK);
    return job;
}

static void nobody_there_is_no_network(void **state)
{
    struct testnet *t = *state;
    cx_net *net;
    cx_value v;
    setenv("CX_CONSUMER", "tester", 1);
    assert_int_equal(cx_open_with("127.0.0.1:1", t->network.credentials, &net), 0);
    expect(net, cx_run(net, built("tests/modules/echo.so"), "echo", 0, NULL, &v), CX_ENONET);
    assert_non_null(strstr(cx_error(net), "no network at 127.0.0.1:1"));
    assert_non_null(strstr(cx_error(net), "try: cx local"));
    cx_close(net);
    testnet_passed(t);
}

static void addresses_and_credentials_are_checked(void **state)
{
    struct testnet *t = *state;
    cx_net *net = NULL;
    assert_int_equal(cx_open_with("nonsense", t->network.credentials, &net), CX_EINVAL);
    assert_int_equal(cx_open_with("broker:", t->network.credentials, &net), CX_EINVAL);
    assert_int_equal(cx_open_with("127.0.0.1:1,", t->network.credentials, &net), CX_EINVAL);
    assert_int_equal(cx_open_with("127.0.0.1:1", "/nowhere", &net), CX_EAUTH);
    assert_non_null(strstr(cx_error(NULL), "/nowhere"));
    assert_null(net);
    testnet_passed(t);
}

/* A stranger's CA: the server must not take him, and he is told at once. */
static void strangers_are_refused(void **state)
{
    struct testnet *t = *state;
    char dir[PATH_MAX], why[LAUNCH_WHY_MAX];
    cx_net *net;
    cx_value v;
    snprintf(dir, sizeof dir, "%s/stranger", t->network.dir);
    assert_int_equal(pki_create_ca(dir, "stranger", 1, why, sizeof why), 0);
    assert_int_equal(pki_issue(dir, ROLE_CONSUMER, "eve", 1, why, sizeof why), 0);
    unsetenv("CX_CONSUMER");
    assert_int_equal(cx_open_with(t->network.address, dir, &net), 0);
    int err = cx_run(net, built("tests/modules/echo.so"), "echo", 0, NULL, &v);
    assert_true(err == CX_EAUTH || err == CX_ENONET);
    cx_close(net);
    testnet_passed(t);
}

static void a_second_address_is_tried(void **state)
{
    struct testnet *t = *state;
    char address[128];
    cx_net *net;
    cx_value v;
    testnet_add_producers(t, 1);
    setenv("CX_CONSUMER", "tester", 1);
    snprintf(address, sizeof address, "127.0.0.1:1,%s", t->network.address);
    assert_int_equal(cx_open_with(address, t->network.credentials, &net), 0);
    expect(net, cx_run(net, built("tests/modules/echo.so"), "echo", 1, (cx_value[]){cx_v_i64(9)}, &v), CX_OK);
    cx_close(net);
    testnet_passed(t);
}

static bool broker_knows_a_network(void *ctx)
{
    struct buf rows = {0};
    struct network_row row = {0};
    if (net_list(ctx, LIST_NETWORKS, &rows) == 0 && rows.len >= sizeof row)
        memcpy(&row, rows.data, sizeof row);
    buf_free(&rows);
    return row.alive;
}

static void a_broker_leads_to_the_network(void **state)
{
    struct testnet *t = *state;
    char address[128];
    cx_net *net;
    cx_value v;
    testnet_add_producers(t, 1);
    setenv("CX_CONSUMER", "tester", 1);
    snprintf(address, sizeof address, "broker:%s", t->network.broker_address);
    assert_int_equal(cx_open_with(address, t->network.credentials, &net), 0);
    testnet_until("a network at the broker", broker_knows_a_network, net);
    expect(net, cx_run(net, built("tests/modules/echo.so"), "echo", 1, (cx_value[]){cx_v_i64(9)}, &v), CX_OK);
    assert_int_equal(v.as.i64, 9);
    testnet_kill_broker(t, SIGKILL); /* running networks do not need it */
    expect(net, cx_run(net, built("tests/modules/echo.so"), "echo", 1, (cx_value[]){cx_v_i64(8)}, &v), CX_OK);
    cx_close(net);
    testnet_passed(t);
}

static void an_unknown_network_of_a_broker_is_no_network(void **state)
{
    struct testnet *t = *state;
    char address[128];
    cx_net *net;
    struct buf rows = {0};
    setenv("CX_CONSUMER", "tester", 1);
    snprintf(address, sizeof address, "broker:%s/elsewhere", t->network.broker_address);
    assert_int_equal(cx_open_with(address, t->network.credentials, &net), 0);
    expect(net, net_list(net, LIST_JOBS, &rows), CX_ENONET);
    assert_non_null(strstr(cx_error(net), "elsewhere"));
    cx_close(net);
    testnet_passed(t);
}

/* ---- A server that goes and comes back ---- */

static void a_wait_outlives_the_server_on_its_journal(void **state)
{
    struct testnet *t = *state;
    cx_net *net = testnet_net(t);
    cx_value v;
    testnet_add_producers(t, 2);
    cx_job *job = submit(net, built("tests/modules/spin.so"), "spins", 2000, 1000);
    testnet_until_executed(t, job, 100);
    testnet_kill_server(t, SIGKILL);
    assert_int_equal(cx_wait(job, 50, &v), CX_ETIMEOUT);
    testnet_start_server(t);
    expect(net, cx_wait(job, TESTNET_LIMIT_MS, &v), CX_OK);
    assert_int_equal(v.as.i64, 2000);
    cx_job_free(job);
    testnet_passed(t);
}

static void a_result_waits_for_its_consumer(void **state)
{
    struct testnet *t = *state;
    char id[CX_JOB_ID_SIZE];
    cx_net *net = testnet_net_as(t, "tester");
    cx_job *job;
    cx_value v;
    testnet_add_producers(t, 1);
    job = submit(net, built("tests/modules/spin.so"), "spins", 10, 10);
    strcpy(id, cx_job_id(job));
    cx_job_free(job);
    cx_close(net);
    assert_int_equal(cx_attach(testnet_net(t), id, &job), 0);
    expect(testnet_net(t), cx_wait(job, TESTNET_LIMIT_MS, &v), CX_OK);
    assert_int_equal(v.as.i64, 10);
    testnet_kill_server(t, SIGKILL);
    testnet_start_server(t);
    cx_job_free(job);
    assert_int_equal(cx_attach(testnet_net(t), id, &job), 0);
    expect(testnet_net(t), cx_wait(job, TESTNET_LIMIT_MS, &v), CX_OK);
    assert_int_equal(v.as.i64, 10);
    cx_job_free(job);
    testnet_passed(t);
}

struct runner {
    cx_net *net;
    int code;
    cx_value v;
    char error[2048];
};

static void *run_spins(void *ctx)
{
    struct runner *r = ctx;
    cx_value args[] = {cx_v_i64(1000), cx_v_i64(1000)};
    r->code = cx_run(r->net, built("tests/modules/spin.so"), "spins", 2, args, &r->v);
    snprintf(r->error, sizeof r->error, "%s", cx_error(r->net));
    return NULL;
}

static bool a_job_has_run_a_bit(void *net)
{
    struct buf rows = {0};
    struct job_row row = {0};
    if (net_list(net, LIST_JOBS, &rows) == 0 && rows.len >= sizeof row)
        memcpy(&row, rows.data, sizeof row);
    buf_free(&rows);
    return row.executed > 50;
}

/* Without a journal the server forgets the job; cx_run submits it again, since tasks are pure. */
static void a_run_outlives_a_server_that_forgets(void **state)
{
    struct testnet *t = *state;
    struct runner r = {.net = testnet_net(t)};
    pthread_t thread;
    testnet_add_producers(t, 2);
    assert_int_equal(pthread_create(&thread, NULL, run_spins, &r), 0);
    testnet_until("a job that runs", a_job_has_run_a_bit, r.net);
    testnet_kill_server(t, SIGKILL);
    testnet_start_server(t);
    pthread_join(thread, NULL);
    if (r.code != 0)
        fail_msg("%s", r.error);
    assert_int_equal(r.v.as.i64, 1000);
    testnet_passed(t);
}

struct sender {
    cx_net *net;
    void *input;
    size_t len;
    int code;
    cx_value v;
    char error[2048];
};

static void *send_input(void *ctx)
{
    struct sender *s = ctx;
    cx_job *job;
    cx_submission what = {.module = built("tests/modules/echo.so"),
                          .function = "input_sum",
                          .input = s->input,
                          .input_len = s->len};
    if ((s->code = cx_submit(s->net, &what, &job)) == 0) {
        s->code = cx_wait(job, TESTNET_LIMIT_MS, &s->v);
        cx_job_free(job);
    }
    snprintf(s->error, sizeof s->error, "%s", cx_error(s->net));
    return NULL;
}

static bool a_blob_is_coming(void *state_dir)
{
    char command[PATH_MAX + 64];
    snprintf(command, sizeof command, "test -n \"$(find %s -type f -size +2M)\"", (const char *)state_dir);
    return system(command) == 0;
}

/* The connection breaks in the middle of a large input: it is sent again, and the job has it whole. */
static void an_input_survives_a_restart_in_the_middle(void **state)
{
    struct testnet *t = *state;
    struct sender s = {.net = testnet_net(t), .len = (size_t)192 << 20};
    char dir[PATH_MAX];
    pthread_t thread;
    testnet_add_producers(t, 1);
    s.input = malloc(s.len);
    assert_non_null(s.input);
    memset(s.input, 1, s.len);
    assert_int_equal(pthread_create(&thread, NULL, send_input, &s), 0);
    snprintf(dir, sizeof dir, "%s/server", t->network.dir);
    testnet_until("the first part of the input", a_blob_is_coming, dir);
    testnet_kill_server(t, SIGKILL);
    testnet_start_server(t);
    pthread_join(thread, NULL);
    if (s.code != 0)
        fail_msg("%s", s.error);
    assert_int_equal(s.v.as.i64, s.len);
    free(s.input);
    testnet_passed(t);
}

/* ---- Others' jobs ---- */

static void jobs_of_others_are_private(void **state)
{
    struct testnet *t = *state;
    cx_net *mallory = testnet_net_as(t, "mallory");
    cx_job *mine = submit(testnet_net(t), built("tests/modules/spin.so"), "spins", 10, 10), *theirs;
    struct buf rows = {0};
    cx_value v;
    assert_int_equal(cx_attach(mallory, cx_job_id(mine), &theirs), 0);
    expect(mallory, cx_wait(theirs, 5000, &v), CX_EAUTH);
    expect(mallory, cx_cancel(theirs), CX_EAUTH);
    expect(mallory, cx_forget(theirs), CX_EAUTH);
    expect(mallory, job_why(theirs, &rows), CX_EAUTH);
    assert_int_equal(net_list(mallory, LIST_JOBS, &rows), 0);
    assert_int_equal(rows.len, 0);
    cx_job_free(theirs);
    cx_close(mallory);
    cx_job_free(mine);
    buf_free(&rows);
    testnet_passed(t);
}

/* A runner that a task kills fails that job, with the task named; the network lives on. */
static void a_poison_task_fails_its_job_only(void **state)
{
    struct testnet *t = *state;
    cx_net *net = testnet_net(t);
    cx_value v;
    testnet_add_producers(t, 1);
    expect(net, cx_run(net, built("tests/modules/crash.so"), "crash", 1, (cx_value[]){cx_v_i64(2)}, &v),
           CX_EFAILED);
    assert_non_null(strstr(cx_error(net), "crash"));
    expect(net, cx_run(net, built("tests/modules/echo.so"), "square", 1, (cx_value[]){cx_v_i64(3)}, &v),
           CX_OK);
    assert_int_equal(v.as.i64, 9);
    testnet_passed(t);
}

#define WITH(setup, test) cmocka_unit_test_setup_teardown(test, setup, testnet_teardown)

int main(void)
{
    static const struct CMUnitTest own[] = {
        WITH(testnet_setup_empty, nobody_there_is_no_network),
        WITH(testnet_setup_empty, addresses_and_credentials_are_checked),
        WITH(testnet_setup, strangers_are_refused),
        WITH(testnet_setup, a_second_address_is_tried),
        WITH(testnet_setup, a_broker_leads_to_the_network),
        WITH(testnet_setup, an_unknown_network_of_a_broker_is_no_network),
        WITH(testnet_setup_journal, a_wait_outlives_the_server_on_its_journal),
        WITH(testnet_setup_journal, a_result_waits_for_its_consumer),
        WITH(testnet_setup, a_run_outlives_a_server_that_forgets),
        WITH(testnet_setup, an_input_survives_a_restart_in_the_middle),
        WITH(testnet_setup, jobs_of_others_are_private),
        WITH(testnet_setup, a_poison_task_fails_its_job_only),
    };
    static struct CMUnitTest tests[80];
    size_t n = 0;
    for (; n < consumer_suite_n; n++)
        tests[n] = (struct CMUnitTest){consumer_suite[n].name, run_suite_test, NULL, NULL,
                                       (void *)&consumer_suite[n]};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        tests[n++] = own[i];
    return _cmocka_run_group_tests("consumer", tests, n, shared_setup, shared_teardown);
}
