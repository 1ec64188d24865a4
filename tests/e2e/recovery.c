/* Kill -9 of the task server, and of the broker: what was acknowledged is there after a restart on the
 * journal, jobs end with the right answer, and without a journal the consumer is told what to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/chaos.h"

#define KILLS 6

/* ---- Words ---- */

static const char *spin(void)
{
    return built("tests/modules/spin.so");
}

/* Submits, and gives the job's id, which is printed at once when it is acknowledged. */
static void submit(struct testnet *t, char id[CX_JOB_ID_SIZE], const char *module, const char *function,
                   const char *a, const char *b)
{
    struct command c;
    assert_int_equal(testnet_cx(t, &c, "submit", module, function, a, b, NULL), 0);
    assert_int_equal(strlen(command_out(&c)), CX_JOB_ID_SIZE); /* and a line feed */
    snprintf(id, CX_JOB_ID_SIZE, "%s", command_out(&c));
    command_free(&c);
}

static cx_job *attach(struct testnet *t, const char *id)
{
    cx_job *job;
    if (cx_attach(testnet_net(t), id, &job) < 0)
        fail_msg("%s", cx_error(testnet_net(t)));
    return job;
}

static void until_executed(struct testnet *t, const char *id, uint64_t n)
{
    cx_job *job = attach(t, id);
    testnet_until_executed(t, job, n);
    cx_job_free(job);
}

static void restart_server(struct testnet *t)
{
    testnet_kill_server(t, SIGKILL);
    testnet_start_server(t);
}

/* Nobody in this network is dishonest, so no server may ever have said so. */
static void expect_no_fault(struct testnet *t)
{
    assert_false(testnet_log_says(&t->network.server, "fault:"));
}

/* ---- The journal ---- */

static void the_server_dies_again_and_again(void **state)
{
    struct testnet *t = *state;
    struct chaos chaos = chaos_begin("the server dies again and again");
    struct command c;
    testnet_add_producers(t, 2);
    testnet_cx_start(t, &c, "run", spin(), "spin_tree", "9", "4000", NULL);
    runner_wait(t->network.producer[0].pid);
    for (int kills = 0; kills < KILLS && !command_ends_within(&c, (int)chaos_between(&chaos, 30, 400));
         kills++)
        restart_server(t);
    command_expect(&c, 0, "512\n");
    expect_no_fault(t);
    command_free(&c);
    testnet_passed(t);
}

/* Commits in great numbers, so that a kill hits the journal while it is written. */
static void the_server_dies_while_it_writes(void **state)
{
    static const char *const options[] = {"--no-collapse", NULL};
    struct testnet *t = *state;
    struct chaos chaos = chaos_begin("the server dies while it writes");
    struct command c;
    t->server_options = options;
    restart_server(t);
    testnet_add_producers(t, 2);
    testnet_cx_start(t, &c, "run", built("examples/fib.so"), "fib", "24", NULL);
    runner_wait(t->network.producer[0].pid);
    for (int kills = 0; kills < KILLS && !command_ends_within(&c, (int)chaos_between(&chaos, 5, 150));
         kills++)
        restart_server(t);
    command_expect(&c, 0, "46368\n");
    expect_no_fault(t);
    command_free(&c);
    testnet_passed(t);
}

static bool all_rest(void *ctx)
{
    struct testnet *t = ctx;
    for (int i = 0; i < t->network.producers; i++)
        if (!process_rests(runner_of(t->network.producer[i].pid)))
            return false;
    return true;
}

/* Tasks that were finished while there was no server are told of before their commits come, since the server
 * may have granted them to others by then. */
static void what_was_finished_meanwhile_counts(void **state)
{
    enum { PRODUCERS = 4 };
    struct testnet *t = *state;
    char id[CX_JOB_ID_SIZE];
    testnet_add_producers(t, PRODUCERS);
    submit(t, id, spin(), "spins", "300", "10000");
    until_executed(t, id, 5);
    for (int kills = 0; kills < 3; kills++) {
        for (int i = 0; i < PRODUCERS; i++)
            runner_wait(t->network.producer[i].pid);
        testnet_kill_server(t, SIGKILL);
        testnet_until("the runners have done what they were given", all_rest, t);
        testnet_start_server(t);
        testnet_until_producers(t, PRODUCERS);
    }
    testnet_expect(t, 0, "300\n", "wait", id, NULL);
    assert_true(job_number(t, id, "executed") == 301); /* each once, and the root */
    expect_no_fault(t);
    testnet_passed(t);
}

static void a_submit_is_kept_once_acknowledged(void **state)
{
    struct testnet *t = *state;
    char id[5][CX_JOB_ID_SIZE];
    for (int i = 0; i < 5; i++) {
        submit(t, id[i], built("examples/fib.so"), "fib", "20", NULL);
        restart_server(t);
    }
    testnet_add_producers(t, 1);
    for (int i = 0; i < 5; i++)
        testnet_expect(t, 0, "6765\n", "wait", id[i], NULL);
    testnet_passed(t);
}

static void a_result_is_kept_until_it_is_fetched(void **state)
{
    struct testnet *t = *state;
    char id[CX_JOB_ID_SIZE], failed[CX_JOB_ID_SIZE];
    struct command c;
    testnet_add_producers(t, 1);
    submit(t, id, built("examples/fib.so"), "fib", "25", NULL);
    submit(t, failed, built("tests/modules/fail.so"), "fail", "str:so it is", NULL);
    testnet_expect(t, 0, "75025\n", "wait", id, NULL);
    testnet_expect(t, 1, "", "wait", failed, NULL);
    testnet_stop_producer(t, 0);
    restart_server(t);
    testnet_expect(t, 0, "75025\n", "wait", id, NULL);
    assert_int_equal(testnet_cx(t, &c, "wait", failed, NULL), 1);
    assert_non_null(strstr(command_err(&c), "so it is"));
    command_free(&c);
    testnet_expect(t, 0, NULL, "forget", id, NULL);
    restart_server(t);
    testnet_expect(t, 6, "", "wait", id, NULL);
    testnet_passed(t);
}

/* ---- The journal's last bytes ---- */

static void journal_path(const struct testnet *t, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/server/journal", t->network.dir);
}

/* A record that was half written: its end is missing, or is whatever the disk had there. */
static void tear_journal(struct testnet *t, struct chaos *chaos)
{
    char path[PATH_MAX];
    uint8_t garbage[64];
    struct stat st;
    journal_path(t, path);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 4096);
    if (chaos_below(chaos, 2) == 0)
        assert_int_equal(truncate(path, st.st_size - (off_t)chaos_between(chaos, 1, 200)), 0);
    if (chaos_below(chaos, 2) == 0) {
        size_t n = chaos_between(chaos, 1, sizeof garbage);
        for (size_t i = 0; i < n; i++)
            garbage[i] = (uint8_t)chaos_below(chaos, 256);
        int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
        assert_true(fd >= 0 && write(fd, garbage, n) == (ssize_t)n);
        close(fd);
    }
}

static void a_torn_journal_is_cut(void **state)
{
    static const char *const options[] = {"--no-collapse", NULL};
    struct testnet *t = *state;
    struct chaos chaos = chaos_begin("a torn journal is cut");
    char id[CX_JOB_ID_SIZE];
    t->server_options = options;
    restart_server(t);
    testnet_add_producers(t, 2);
    submit(t, id, spin(), "spin_tree", "9", "3000");
    for (int tears = 1; tears <= KILLS; tears++) {
        until_executed(t, id, (uint64_t)tears * 120);
        testnet_kill_server(t, SIGKILL);
        tear_journal(t, &chaos);
        testnet_start_server(t);
    }
    testnet_expect(t, 0, "512\n", "wait", id, NULL);
    expect_no_fault(t);
    testnet_passed(t);
}

/* ---- Without a journal ---- */

static void without_a_journal_the_consumer_is_told(void **state)
{
    struct testnet *t = *state;
    char id[CX_JOB_ID_SIZE];
    struct command waits, asks;
    testnet_add_producers(t, 1);
    submit(t, id, spin(), "spins", "4000", "10000");
    testnet_cx_start(t, &waits, "wait", id, NULL);
    until_executed(t, id, 3);
    restart_server(t);
    command_expect(&waits, 6, "");
    testnet_cx_start(t, &asks, "status", id, NULL);
    command_expect(&asks, 6, NULL);
    assert_non_null(strstr(command_err(&waits), id));
    assert_non_null(strstr(command_err(&waits), "submit"));
    assert_non_null(strstr(command_err(&asks), id));
    command_free(&waits);
    command_free(&asks);
    testnet_passed(t);
}

/* Tasks are pure: whoever still has the module and the arguments may start again. */
static void without_a_journal_a_run_starts_again(void **state)
{
    struct testnet *t = *state;
    struct command c;
    testnet_add_producers(t, 1);
    testnet_cx_start(t, &c, "run", spin(), "spins", "300", "10000", NULL);
    runner_wait(t->network.producer[0].pid);
    restart_server(t);
    command_expect(&c, 0, "300\n");
    command_free(&c);
    testnet_passed(t);
}

/* ---- The broker ---- */

static bool knows_producer(void *ctx)
{
    struct testnet *t = ctx;
    struct command c;
    char address[128];
    snprintf(address, sizeof address, "broker:%s", t->network.broker_address);
    int code = testnet_cx(t, &c, "networks", "--network", address, "--json", NULL);
    bool knows = code == 0 && strstr(command_out(&c), "\"producers\":1") != NULL &&
                 strstr(command_out(&c), t->network.address) != NULL &&
                 strstr(command_out(&c), "\"alive\":true") != NULL;
    command_free(&c);
    return knows;
}

static void running_jobs_need_no_broker(void **state)
{
    struct testnet *t = *state;
    struct command c;
    char address[128];
    snprintf(address, sizeof address, "broker:%s", t->network.broker_address);
    testnet_add_producers(t, 1);
    testnet_until("the broker has heard of the producer", knows_producer, t);
    testnet_cx_start(t, &c, "run", spin(), "spins", "200", "10000", NULL);
    runner_wait(t->network.producer[0].pid);
    testnet_kill_broker(t, SIGKILL);
    command_expect(&c, 0, "200\n");
    command_free(&c);
    testnet_expect(t, 0, "6765\n", "run", built("examples/fib.so"), "fib", "20", NULL);
    testnet_expect(t, 3, NULL, "networks", "--network", address, "--timeout", "1", NULL);
    testnet_start_broker(t);
    testnet_until("the broker knows what it knew", knows_producer, t);
    testnet_expect(t, 0, "6765\n", "run", "--network", address, built("examples/fib.so"), "fib", "20", NULL);
    testnet_passed(t);
}

#define ON_JOURNAL(test) cmocka_unit_test_setup_teardown(test, testnet_setup_journal, testnet_teardown)
#define ON_NET(test)     cmocka_unit_test_setup_teardown(test, testnet_setup, testnet_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_JOURNAL(the_server_dies_again_and_again),
        ON_JOURNAL(the_server_dies_while_it_writes),
        ON_JOURNAL(what_was_finished_meanwhile_counts),
        ON_JOURNAL(a_submit_is_kept_once_acknowledged),
        ON_JOURNAL(a_result_is_kept_until_it_is_fetched),
        ON_JOURNAL(a_torn_journal_is_cut),
        ON_NET(without_a_journal_the_consumer_is_told),
        ON_NET(without_a_journal_a_run_starts_again),
        ON_NET(running_jobs_need_no_broker),
    };
    cmocka_set_test_filter(getenv("CX_TEST_FILTER")); /* NULL: all of them */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
