/* The power of a task server's disk fails, in the midst of its work: what was written and not synced is gone,
 * which no kill of a process shows. What was acknowledged is there afterwards, and jobs end with the right
 * answer: with one server and its journal, with one server of a pair, and with both of them at once.
 *
 * The disk is ext4 on a loop device (tests/support/disk.h), which only root may have. Whoever is not root, or
 * has a kernel without loop devices, gets no test at all here and is told so: "0 passed, 0 failed". Nothing
 * weaker is run in its place. As root on a usual kernel, as in continuous integration, all of it runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/chaos.h"
#include "tests/support/disk.h"
#include "tests/support/pair.h"

enum { FAILURES = 4 };

static struct disk disks[2]; /* of the servers */

/* ---- Setting up ---- */

static void insert_disk(struct testnet *t, int server)
{
    char image[PATH_MAX], directory[PATH_MAX];
    snprintf(image, sizeof image, "%.4000s/disk%d", t->network.dir, server);
    snprintf(directory, sizeof directory, "%.4000s/%s", t->network.dir, server == 0 ? "server" : "sibling");
    disk_insert(&disks[server], image, directory);
}

static int setup_single(void **state)
{
    testnet_prepare(state, false, true);
    insert_disk(*state, 0);
    testnet_start_broker(*state);
    testnet_start_server(*state);
    return 0;
}

static int setup_pair(void **state)
{
    testnet_prepare(state, true, true);
    insert_disk(*state, 0);
    insert_disk(*state, 1);
    testnet_start_broker(*state);
    pair_start(*state, 0);
    pair_start(*state, 1);
    pair_until_whole(*state);
    return 0;
}

static int teardown(void **state)
{
    struct testnet *t = *state;
    network_stop(&t->network);
    disk_remove(&disks[0]);
    if (t->network.options.pair)
        disk_remove(&disks[1]);
    return testnet_teardown(state);
}

/* ---- Words ---- */

static const char *spin(void)
{
    return built("tests/modules/spin.so");
}

static void power_fails(struct testnet *t, int server)
{
    disk_power_fails(&disks[server]);
    pair_kill(t, server, SIGKILL);
}

static void power_returns(struct testnet *t, int server)
{
    disk_power_returns(&disks[server]);
    pair_start(t, server);
}

static void passed_whole(struct testnet *t)
{
    pair_until_whole(t);
    testnet_expect(t, 0, "4\n", "run", spin(), "spin_tree", "2", "1000", NULL);
    pair_expect_one_primary_an_epoch(t);
    testnet_passed(t);
}

/* ---- One server and its journal ---- */

/* Nobody has the module but the server, and it has it since a moment ago. */
static void a_submit_outlives_the_power(void **state)
{
    struct testnet *t = *state;
    const char *id = "000000000000000000000000000000ab", *other = "000000000000000000000000000000ac";
    testnet_expect(t, 0, NULL, "submit", "--id", id, spin(), "spins", "20", "1000", NULL);
    power_fails(t, 0);
    power_returns(t, 0);
    testnet_expect(t, 0, NULL, "submit", "--id", other, built("examples/fib.so"), "fib", "20", NULL);
    power_fails(t, 0);
    power_returns(t, 0);
    testnet_add_producers(t, 1);
    testnet_expect(t, 0, "20\n", "wait", id, NULL);
    testnet_expect(t, 0, "6765\n", "wait", other, NULL);
    testnet_passed(t);
}

/* What was told is told again, though nobody could compute it anew. */
static void a_result_outlives_the_power(void **state)
{
    struct testnet *t = *state;
    const char *id = "000000000000000000000000000000ad";
    testnet_add_producers(t, 1);
    testnet_expect(t, 0, NULL, "submit", "--id", id, spin(), "spins", "20", "1000", NULL);
    cx_job *job;
    assert_int_equal(cx_attach(testnet_net(t), id, &job), 0);
    testnet_until_executed(t, job, UINT64_MAX);
    cx_job_free(job);
    power_fails(t, 0);
    testnet_kill_producer(t, 0, SIGKILL);
    power_returns(t, 0);
    testnet_expect(t, 0, "20\n", "wait", id, NULL);
    testnet_passed(t);
}

static void the_power_fails_again_and_again(void **state)
{
    struct testnet *t = *state;
    struct chaos chaos = chaos_begin("the power fails again and again");
    struct command c;
    fault_job_begin(t, &c);
    for (int i = 0; i < FAILURES && !command_ends_within(&c, (int)chaos_between(&chaos, 30, 400)); i++) {
        power_fails(t, 0);
        power_returns(t, 0);
    }
    fault_job_end(&c);
    testnet_passed(t);
}

/* ---- A pair ---- */

static void one_of_a_pair_loses_its_power(void **state)
{
    struct testnet *t = *state;
    struct chaos chaos = chaos_begin("one of a pair loses its power");
    struct command c;
    fault_job_begin(t, &c);
    command_ends_within(&c, (int)chaos_between(&chaos, 1, 500));
    power_fails(t, 0);
    pair_until_served(t, 0, 1);
    fault_job_end(&c);
    power_returns(t, 0);
    passed_whole(t);
}

/* Both within a moment, as in one room; nobody is left who could take over. */
static void both_of_a_pair_lose_their_power(void **state)
{
    struct testnet *t = *state;
    struct chaos chaos = chaos_begin("both of a pair lose their power");
    struct command c;
    fault_job_begin(t, &c);
    command_ends_within(&c, (int)chaos_between(&chaos, 1, 500));
    power_fails(t, 0);
    power_fails(t, 1);
    power_returns(t, 1);
    power_returns(t, 0);
    pair_until_whole(t);
    fault_job_end(&c);
    passed_whole(t);
}

#define ON(test, setup) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON(a_submit_outlives_the_power, setup_single),     ON(a_result_outlives_the_power, setup_single),
        ON(the_power_fails_again_and_again, setup_single), ON(one_of_a_pair_loses_its_power, setup_pair),
        ON(both_of_a_pair_lose_their_power, setup_pair),
    };
    programs_dir(); /* is remembered: in a changed root directory /proc/self/exe means nothing after the next
                     */
    const char *why = disk_available();
    if (why != NULL) {
        printf("no disk whose power could fail: %s\n0 passed, 0 failed\n", why);
        return 0;
    }
    cmocka_set_test_filter(getenv("CX_TEST_FILTER")); /* NULL: all of them */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
