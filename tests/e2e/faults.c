/* What goes wrong with producers, runners, consumers and modules, one fault at a time, on real processes: the
 * job ends right, or fails with a reason that names what happened, and other jobs feel nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/pki.h"
#include "tests/support/chaos.h"

/* ---- Words ---- */

static const char *spin(void)
{
    return built("tests/modules/spin.so");
}

static const char *fib(void)
{
    return built("examples/fib.so");
}

static void submit(struct testnet *t, char id[CX_JOB_ID_SIZE], const char *module, const char *function,
                   const char *a, const char *b)
{
    struct command c;
    testnet_cx_start(t, &c, "submit", module, function, a, b, NULL);
    command_expect(&c, 0, NULL);
    snprintf(id, CX_JOB_ID_SIZE, "%s", command_out(&c));
    command_free(&c);
}

static void until_executed(struct testnet *t, const char *id, uint64_t n)
{
    cx_job *job;
    if (cx_attach(testnet_net(t), id, &job) < 0)
        fail_msg("%s", cx_error(testnet_net(t)));
    testnet_until_executed(t, job, n);
    cx_job_free(job);
}

/* Runs a command that is to end with this code and to say all of these words, on whichever stream. */
static void expect_words(struct testnet *t, int code, const char *const *words, ...)
{
    struct command c;
    va_list ap;
    const char *line[16];
    int n = 0;
    va_start(ap, words);
    while (n < 15 && (line[n] = va_arg(ap, const char *)) != NULL)
        n++;
    line[n] = NULL;
    va_end(ap);
    testnet_cx_startv(t, &c, line);
    command_expect(&c, code, NULL);
    for (; *words != NULL; words++)
        if (strstr(command_err(&c), *words) == NULL && strstr(command_out(&c), *words) == NULL)
            fail_msg("cx %s does not say \"%s\":\n%s%s", line[0], *words, command_out(&c), command_err(&c));
    command_free(&c);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- Producers ---- */

/* Its tasks are run by the other one; what it commits when it wakes up counts no second time. */
static void a_stopped_producer_is_replaced(void **state)
{
    struct testnet *t = *state;
    char id[CX_JOB_ID_SIZE];
    testnet_add_producers(t, 2);
    submit(t, id, spin(), "spins", "300", "10000");
    runner_wait(t->network.producer[0].pid);
    testnet_kill_producer(t, 0, SIGSTOP);
    testnet_until_producers(t, 1);
    until_executed(t, id, 150);
    testnet_kill_producer(t, 0, SIGCONT);
    testnet_until_producers(t, 2);
    testnet_expect(t, 0, "300\n", "wait", id, NULL);
    assert_true(job_number(t, id, "executed") == 301);
    testnet_passed(t);
}

static void a_job_outlives_all_its_producers(void **state)
{
    struct testnet *t = *state;
    char id[CX_JOB_ID_SIZE];
    testnet_add_producers(t, 2);
    submit(t, id, spin(), "spins", "200", "10000");
    until_executed(t, id, 20);
    testnet_kill_producer(t, 0, SIGKILL);
    testnet_kill_producer(t, 1, SIGKILL);
    testnet_until_producers(t, 0);
    expect_words(t, 0, WORDS("producer"), "why", id, NULL);
    testnet_add_producers(t, 1);
    testnet_expect(t, 0, "200\n", "wait", id, NULL);
    testnet_passed(t);
}

/* In order: what has not started is handed back, what runs is finished, and no runner is left behind. */
static void a_producer_leaves_in_order(void **state)
{
    struct testnet *t = *state;
    char id[CX_JOB_ID_SIZE];
    testnet_add_producers(t, 2);
    submit(t, id, spin(), "spins", "200", "10000");
    until_executed(t, id, 10);
    pid_t runner = runner_wait(t->network.producer[0].pid);
    assert_int_equal(testnet_stop_producer(t, 0), 0);
    assert_true(testnet_log_says(&t->network.server, "producer p1 left: it said good-bye"));
    testnet_until_producers(t, 1);
    testnet_expect(t, 0, "200\n", "wait", id, NULL);
    assert_true(job_number(t, id, "duplicates") == 0);
    assert_true(kill(runner, 0) < 0);
    testnet_passed(t);
}

/* ---- Runners and modules ---- */

static void a_killed_runner_is_started_again(void **state)
{
    struct testnet *t = *state;
    struct chaos chaos = chaos_begin("a killed runner is started again");
    struct command c;
    testnet_add_producers(t, 2);
    testnet_cx_start(t, &c, "run", spin(), "spin_tree", "8", "8000", NULL);
    for (int kills = 0; kills < 5; kills++) {
        int i = (int)chaos_below(&chaos, 2);
        pid_t runner = runner_wait(t->network.producer[i].pid);
        if (command_ends_within(&c, (int)chaos_between(&chaos, 1, 150)))
            break;
        kill(runner, SIGKILL);
    }
    command_expect(&c, 0, "256\n");
    command_free(&c);
    testnet_passed(t);
}

static void expect_poisoned(struct testnet *t, const char *how)
{
    expect_words(t, 1, WORDS("task ", "(crash)", "crashed 3 times", "producer p"), "run",
                 built("tests/modules/crash.so"), "crash", how, NULL);
}

static void a_module_that_crashes_fails_its_job_only(void **state)
{
    struct testnet *t = *state;
    struct command other;
    testnet_add_producers(t, 2);
    testnet_cx_start(t, &other, "run", spin(), "spins", "200", "10000", NULL);
    runner_wait(t->network.producer[0].pid);
    expect_poisoned(t, "1");
    expect_poisoned(t, "2");
    expect_poisoned(t, "3");
    expect_poisoned(t, "4");
    expect_words(t, 1, WORDS("task ", "(crash)", "crashed 3 times", "producer p"), "run",
                 built("tests/modules/crash.so"), "crash_among", "200", "1", NULL);
    command_expect(&other, 0, "200\n");
    command_free(&other);
    testnet_expect(t, 0, "6765\n", "run", fib(), "fib", "20", NULL);
    testnet_passed(t);
}

static void a_failure_says_where_and_why(void **state)
{
    struct testnet *t = *state;
    testnet_add_producers(t, 1);
    expect_words(t, 1, WORDS("job ", "task ", "(fail)", "producer p1", "the well is dry"), "run",
                 built("tests/modules/fail.so"), "fail", "str:the well is dry", NULL);
    expect_words(t, 1, WORDS("(fail_deep)", "the bottom was reached"), "run", built("tests/modules/fail.so"),
                 "fail_deep", "12", NULL);
    expect_words(t, 1, WORDS("CX_EFAILED", "the well is dry"), "run", "--json",
                 built("tests/modules/fail.so"), "fail", "str:the well is dry", NULL);
    testnet_passed(t);
}

/* ---- Consumers ---- */

static void a_job_outlives_its_consumer(void **state)
{
    struct testnet *t = *state;
    const char *id = "00000000000000000000000000c0ffee";
    struct command c;
    testnet_add_producers(t, 1);
    testnet_cx_start(t, &c, "run", "--id", id, spin(), "spins", "100", "10000", NULL);
    runner_wait(t->network.producer[0].pid);
    command_signal(&c, SIGKILL);
    command_expect(&c, 128 + SIGKILL, "");
    command_free(&c);
    testnet_expect(t, 0, "100\n", "wait", id, NULL);
    testnet_passed(t);
}

static void an_interrupted_run_can_be_waited_for(void **state)
{
    struct testnet *t = *state;
    const char *id = "000000000000000000000000000000aa";
    struct command c;
    testnet_add_producers(t, 1);
    testnet_cx_start(t, &c, "run", "--id", id, spin(), "spins", "100", "10000", NULL);
    runner_wait(t->network.producer[0].pid);
    command_signal(&c, SIGINT);
    command_expect(&c, 130, "");
    assert_non_null(strstr(command_err(&c), "cx wait"));
    assert_non_null(strstr(command_err(&c), id));
    command_free(&c);
    testnet_expect(t, 0, "100\n", "wait", id, NULL);
    testnet_passed(t);
}

static bool has_no_runner(void *ctx)
{
    return runner_of(*(pid_t *)ctx) == 0;
}

static void a_cancelled_job_stops(void **state)
{
    struct testnet *t = *state;
    char id[CX_JOB_ID_SIZE];
    struct command waits;
    testnet_add_producers(t, 1);
    submit(t, id, spin(), "spins", "4000", "10000");
    testnet_cx_start(t, &waits, "wait", id, NULL);
    until_executed(t, id, 3);
    testnet_expect(t, 0, NULL, "cancel", id, NULL);
    command_expect(&waits, 1, "");
    assert_non_null(strstr(command_err(&waits), id));
    assert_non_null(strstr(command_err(&waits), "cancelled"));
    command_free(&waits);
    testnet_until("its runner is gone", has_no_runner, &t->network.producer[0].pid);
    testnet_expect(t, 1, "", "wait", id, NULL);
    testnet_expect(t, 0, "6765\n", "run", fib(), "fib", "20", NULL);
    testnet_passed(t);
}

static void a_submit_is_idempotent(void **state)
{
    struct testnet *t = *state;
    const char *id = "000000000000000000000000000000bb", *line = "000000000000000000000000000000bb\n";
    testnet_add_producers(t, 1);
    for (int i = 0; i < 3; i++)
        testnet_expect(t, 0, line, "submit", "--id", id, fib(), "fib", "20", NULL);
    testnet_expect(t, 0, "6765\n", "wait", id, NULL);
    testnet_expect(t, 0, line, "submit", "--id", id, fib(), "fib", "20", NULL);
    assert_true(job_number(t, id, "commits") >= 1);
    expect_words(t, 1, WORDS(id, "taken by another job"), "submit", "--id", id, fib(), "fib", "21", NULL);
    testnet_expect(t, 0, "6765\n", "wait", id, NULL);
    testnet_passed(t);
}

/* ---- Shares and limits ---- */

static void a_job_over_the_budget_fails_alone(void **state)
{
    static const char *const options[] = {"--memory", "16M", "--no-collapse", NULL};
    struct testnet *t = *state;
    struct command other;
    t->server_options = options;
    testnet_start_broker(t);
    testnet_start_server(t);
    testnet_add_producers(t, 2);
    testnet_cx_start(t, &other, "run", spin(), "spins", "200", "10000", NULL);
    runner_wait(t->network.producer[0].pid);
    expect_words(t, 1, WORDS("job ", "memory budget"), "run", built("tests/modules/flat.so"), "flat",
                 "500000", NULL);
    command_expect(&other, 0, "200\n");
    command_free(&other);
    testnet_passed(t);
}

static void jobs_of_different_weight_share(void **state)
{
    struct testnet *t = *state;
    const char *heavy = "00000000000000000000000000000001", *light = "00000000000000000000000000000002";
    testnet_expect(t, 0, NULL, "submit", "--id", heavy, "--weight", "4", spin(), "spins", "200", "5000",
                   NULL);
    testnet_expect(t, 0, NULL, "submit", "--id", light, "--weight", "1", spin(), "spins", "200", "5000",
                   NULL);
    testnet_add_producers(t, 1);
    until_executed(t, heavy, 100);
    until_executed(t, light, 10);
    assert_true(job_number(t, heavy, "executed") >= job_number(t, light, "executed"));
    testnet_expect(t, 0, "200\n", "wait", heavy, NULL);
    testnet_expect(t, 0, "200\n", "wait", light, NULL);
    testnet_passed(t);
}

/* ---- Exit codes ---- */

static void a_time_out_is_4_and_the_job_goes_on(void **state)
{
    struct testnet *t = *state;
    char id[CX_JOB_ID_SIZE];
    submit(t, id, fib(), "fib", "20", NULL); /* nobody is there to run it */
    expect_words(t, 4, WORDS(id, "goes on"), "wait", "--timeout", "0.2", id, NULL);
    testnet_add_producers(t, 1);
    testnet_expect(t, 0, "6765\n", "wait", id, NULL);
    testnet_passed(t);
}

static void what_is_not_there_is_6(void **state)
{
    struct testnet *t = *state;
    const char *id = "000000000000000000000000000000cc";
    expect_words(t, 6, WORDS(id), "wait", id, NULL);
    expect_words(t, 6, WORDS(id), "status", id, NULL);
    expect_words(t, 6, WORDS(id), "cancel", id, NULL);
    expect_words(t, 6, WORDS(id), "why", id, NULL);
    expect_words(t, 6, WORDS("no task named 'fob'"), "run", fib(), "fob", "20", NULL);
    expect_words(t, 6, WORDS("/nowhere.so"), "run", "/nowhere.so", "fib", "20", NULL);
    testnet_passed(t);
}

/* A certificate of another CA, and the right CA's but somebody else's job. */
static void who_may_not_gets_5(void **state)
{
    struct testnet *t = *state;
    char dir[PATH_MAX], why[256], id[CX_JOB_ID_SIZE];
    snprintf(dir, sizeof dir, "%.3000s/stranger", t->network.dir);
    assert_int_equal(pki_create_ca(dir, "other", 1, why, sizeof why), 0);
    assert_int_equal(pki_issue(dir, ROLE_CONSUMER, "tester", 1, why, sizeof why), 0);
    expect_words(t, 5, WORDS("certificate"), "jobs", "--credentials", dir, NULL);
    submit(t, id, fib(), "fib", "20", NULL);
    cx_net *other = testnet_net_as(t, "other");
    cx_job *job;
    cx_value v;
    assert_int_equal(cx_attach(other, id, &job), 0);
    assert_int_equal(cx_wait(job, 10000, &v), CX_EAUTH);
    assert_int_equal(cx_cancel(job), CX_EAUTH);
    cx_job_free(job);
    cx_close(other);
    testnet_passed(t);
}

static void no_network_is_3(void **state)
{
    struct testnet *t = *state;
    testnet_kill_server(t, SIGKILL);
    expect_words(t, 3, WORDS("no network at", t->network.address, "cx local"), "jobs", "--timeout", "0.5",
                 NULL);
    expect_words(t, 3, WORDS("no network at", t->network.address), "run", "--timeout", "0.5", fib(), "fib",
                 "20", NULL);
    testnet_passed(t);
}

static void wrong_usage_is_2(void **state)
{
    struct testnet *t = *state;
    testnet_expect(t, 2, "", "frobnicate", NULL);
    testnet_expect(t, 2, "", "run", fib(), NULL);
    testnet_expect(t, 2, "", "run", "--id", "xyz", fib(), "fib", "20", NULL);
    testnet_expect(t, 2, "", "wait", NULL);
    testnet_expect(t, 2, "", "wait", "not-an-id", NULL);
    testnet_expect(t, 2, "", "jobs", "--frob", NULL);
    testnet_passed(t);
}

#define ON_NET(test) cmocka_unit_test_setup_teardown(test, testnet_setup, testnet_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_NET(a_stopped_producer_is_replaced),
        ON_NET(a_job_outlives_all_its_producers),
        ON_NET(a_producer_leaves_in_order),
        ON_NET(a_killed_runner_is_started_again),
        ON_NET(a_module_that_crashes_fails_its_job_only),
        ON_NET(a_failure_says_where_and_why),
        ON_NET(a_job_outlives_its_consumer),
        ON_NET(an_interrupted_run_can_be_waited_for),
        ON_NET(a_cancelled_job_stops),
        ON_NET(a_submit_is_idempotent),
        cmocka_unit_test_setup_teardown(a_job_over_the_budget_fails_alone, testnet_setup_empty,
                                        testnet_teardown),
        ON_NET(jobs_of_different_weight_share),
        ON_NET(a_time_out_is_4_and_the_job_goes_on),
        ON_NET(what_is_not_there_is_6),
        ON_NET(who_may_not_gets_5),
        ON_NET(no_network_is_3),
        ON_NET(wrong_usage_is_2),
    };
    cmocka_set_test_filter(getenv("CX_TEST_FILTER")); /* NULL: all of them */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
