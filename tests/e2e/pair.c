/* A pair of task servers on real processes: whichever of them dies, hangs or is cut off, jobs end with the
 * right answer, what was acknowledged is kept, and the pair becomes whole again by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/chaos.h"
#include "tests/support/pair.h"
#include "tests/support/relay.h"

enum { TURNS = 4 };

/* ---- Words ---- */

static const char *spin(void)
{
    return built("tests/modules/spin.so");
}

/* Nobody in this network is dishonest, so no server may ever have said so. */
static void passed(struct testnet *t)
{
    assert_false(testnet_log_says(pair_server(t, 0), "fault:"));
    assert_false(testnet_log_says(pair_server(t, 1), "fault:"));
    testnet_passed(t);
}

/* ---- One dies ---- */

static void a_killed_server_is_replaced(struct testnet *t, int server)
{
    struct chaos chaos = chaos_begin("a killed server is replaced");
    struct command c;
    fault_job_begin(t, &c);
    command_ends_within(&c, (int)chaos_between(&chaos, 1, 500));
    pair_kill(t, server, SIGKILL);
    pair_until_served(t, server, 1 - server);
    fault_job_end(&c);
    pair_start(t, server);
    pair_until_whole(t);
    testnet_expect(t, 0, "4\n", "run", spin(), "spin_tree", "2", "1000", NULL);
    passed(t);
}

static void the_first_server_dies(void **state)
{
    a_killed_server_is_replaced(*state, 0);
}

static void the_second_server_dies(void **state)
{
    a_killed_server_is_replaced(*state, 1);
}

static void a_submit_outlives_the_server_that_took_it(void **state)
{
    struct testnet *t = *state;
    struct command c;
    char id[CX_JOB_ID_SIZE];
    testnet_cx_start(t, &c, "submit", spin(), "spins", "20", "1000", NULL);
    command_expect(&c, 0, NULL);
    snprintf(id, sizeof id, "%s", command_out(&c));
    command_free(&c);
    pair_kill(t, 0, SIGKILL);
    testnet_add_producers(t, 1);
    testnet_expect(t, 0, "20\n", "wait", id, NULL);
    passed(t);
}

/* Once the end is told, it is on both. */
static void a_result_outlives_its_server(void **state)
{
    struct testnet *t = *state;
    const char *id = "000000000000000000000000000000aa";
    cx_job *job;
    testnet_add_producers(t, 1);
    testnet_expect(t, 0, NULL, "submit", "--id", id, spin(), "spins", "20", "1000", NULL);
    assert_int_equal(cx_attach(testnet_net(t), id, &job), 0);
    testnet_until_executed(t, job, UINT64_MAX);
    cx_job_free(job);
    pair_kill(t, 0, SIGKILL);
    testnet_expect(t, 0, "20\n", "wait", id, NULL);
    passed(t);
}

/* ---- One hangs ---- */

static void a_stopped_server_is_replaced_and_steps_down(void **state)
{
    struct testnet *t = *state;
    struct command c;
    fault_job_begin(t, &c);
    pair_kill(t, 0, SIGSTOP);
    pair_until_served(t, 0, 1);
    fault_job_end(&c);
    pair_kill(t, 0, SIGCONT);
    pair_until_whole(t);
    testnet_expect(t, 0, "4\n", "run", spin(), "spin_tree", "2", "1000", NULL);
    passed(t);
}

/* It wakes up in the midst of the job and believes for a moment that it is primary. */
static void a_stopped_server_wakes_up(void **state)
{
    struct testnet *t = *state;
    struct command c;
    fault_job_begin(t, &c);
    pair_kill(t, 0, SIGSTOP);
    pair_until_served(t, 0, 1);
    pair_kill(t, 0, SIGCONT);
    pair_until_whole(t);
    fault_job_end(&c);
    passed(t);
}

/* ---- One after the other ---- */

/* Each comes back with an empty disk, and when it has everything again the other one dies. */
static void servers_die_in_turns(void **state)
{
    struct testnet *t = *state;
    struct chaos chaos = chaos_begin("servers die in turns");
    struct command c;
    fault_job_begin(t, &c);
    for (int i = 0; i < TURNS; i++) {
        int victim = i % 2;
        bool ended = command_ends_within(&c, (int)chaos_between(&chaos, 1, 200));
        pair_kill(t, victim, SIGKILL);
        pair_until_served(t, victim, 1 - victim);
        pair_wipe(t, victim);
        pair_start(t, victim);
        pair_until_whole(t);
        if (ended) {
            fault_job_end(&c);
            fault_job_begin(t, &c);
        }
    }
    fault_job_end(&c);
    passed(t);
}

/* ---- Both, on journals ---- */

static void both_die_and_come_back(void **state)
{
    struct testnet *t = *state;
    struct command c;
    fault_job_begin(t, &c);
    pair_kill(t, 0, SIGKILL);
    pair_kill(t, 1, SIGKILL);
    pair_start(t, 1);
    pair_start(t, 0);
    pair_until_whole(t);
    fault_job_end(&c);
    passed(t);
}

/* ---- The broker ---- */

/* A running pair needs its witness for changes only. */
static void the_pair_outlives_its_broker(void **state)
{
    struct testnet *t = *state;
    struct command c;
    fault_job_begin(t, &c);
    testnet_kill_broker(t, SIGKILL);
    fault_job_end(&c);
    testnet_expect(t, 0, "4\n", "run", spin(), "spin_tree", "2", "1000", NULL);
    testnet_start_broker(t);
    pair_kill(t, 0, SIGKILL);
    pair_until_served(t, 0, 1);
    testnet_expect(t, 0, "4\n", "run", spin(), "spin_tree", "2", "1000", NULL);
    passed(t);
}

/* ---- Cut wires ---- */

/* Server 0's ways to its sibling and to the broker. */
struct ways {
    struct relay sibling, broker;
};

/* Server 0 alone dials its sibling, so one relay is the whole way between them; others are told another one.
 */
static void start_with_ways(struct testnet *t, struct ways *w)
{
    char sibling[64], broker[64];
    const char *options[] = {"--sibling", sibling, "--broker", broker, "--advertise", t->network.where, NULL};
    testnet_start_broker(t);
    relay_start(&w->sibling, atoi(strrchr(t->network.sibling_address, ':') + 1), 0);
    relay_start(&w->broker, t->network.broker.port, 0);
    snprintf(sibling, sizeof sibling, "s2@127.0.0.1:%d", w->sibling.port);
    snprintf(broker, sizeof broker, "127.0.0.1:%d", w->broker.port);
    t->server_options = options;
    pair_start(t, 0);
    t->server_options = NULL;
    pair_start(t, 1);
    pair_until_whole(t);
}

static void ways_end(struct ways *w)
{
    relay_stop(&w->sibling);
    relay_stop(&w->broker);
}

/* Usually each keeps its own shard; whoever asks the witness first. */
static bool both_shards_are_served_by_one(void *ctx)
{
    struct testnet *t = ctx;
    for (int shard = 0; shard < 2; shard++) {
        int primary = pair_primary(t, shard);
        if (primary < 0 || strcmp(pair_role(t, primary, shard).name, "solo") != 0)
            return false;
    }
    return true;
}

static void cut_from_each_other_they_go_on(void **state)
{
    struct testnet *t = *state;
    struct ways w;
    struct command c;
    start_with_ways(t, &w);
    fault_job_begin(t, &c);
    relay_cut(&w.sibling);
    testnet_until("each shard is served by one alone", both_shards_are_served_by_one, t);
    fault_job_end(&c);
    relay_mend(&w.sibling);
    pair_until_whole(t);
    passed(t);
    ways_end(&w);
}

/* It serves on, but holds nothing, and so tells nothing that is not so. */
static void a_server_that_sees_nobody_is_overtaken(void **state)
{
    struct testnet *t = *state;
    struct ways w;
    struct command c;
    start_with_ways(t, &w);
    fault_job_begin(t, &c);
    relay_cut(&w.sibling);
    relay_cut(&w.broker);
    pair_until_served(t, 0, 1);
    relay_mend(&w.sibling);
    relay_mend(&w.broker);
    pair_until_whole(t);
    fault_job_end(&c);
    passed(t);
    ways_end(&w);
}

#define ON(test, setup) cmocka_unit_test_setup_teardown(test, setup, testnet_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON(the_first_server_dies, pair_setup),
        ON(the_second_server_dies, pair_setup),
        ON(a_submit_outlives_the_server_that_took_it, pair_setup),
        ON(a_result_outlives_its_server, pair_setup),
        ON(a_stopped_server_is_replaced_and_steps_down, pair_setup),
        ON(a_stopped_server_wakes_up, pair_setup),
        ON(servers_die_in_turns, pair_setup),
        ON(both_die_and_come_back, pair_setup_journal),
        ON(the_pair_outlives_its_broker, pair_setup),
        ON(cut_from_each_other_they_go_on, pair_setup_empty),
        ON(a_server_that_sees_nobody_is_overtaken, pair_setup_empty),
    };
    cmocka_set_test_filter(getenv("CX_TEST_FILTER")); /* NULL: all of them */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
