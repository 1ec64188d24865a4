/* A pair of task servers on a network that loses packets: each server is on a machine of its own, and broker,
 * producers and consumers are on a third (tests/support/lan.h). Nothing is reset or refused, packets just do
 * not arrive; whoever is cut off finds out by silence. In every case no two servers are primary in the same
 * epoch, the answer is right, and the pair is whole again once the network is.
 *
 * Root can run it, and so can anybody where user namespaces are allowed; where neither is so, it fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/chaos.h"
#include "tests/support/lan.h"
#include "tests/support/pair.h"

#define PORT                "7000" /* nobody else is on these machines */
#define TO_WITNESS          "tcp dport " PORT
#define FROM_WITNESS        "tcp sport " PORT
#define THIRTY_IN_A_HUNDRED "numgen random mod 100 < 30"

enum { LOST_ENOUGH = 40 };

/* ---- Words ---- */

static void start_server(struct testnet *t, int server)
{
    lan_enter(server);
    pair_start(t, server);
    lan_leave();
}

static int setup(void **state)
{
    struct network *n;
    lan_mend();
    pair_setup_empty(state);
    n = &((struct testnet *)*state)->network;
    snprintf(n->address, sizeof n->address, "%s:" PORT, lan_address(0));
    snprintf(n->sibling_address, sizeof n->sibling_address, "%s:" PORT, lan_address(1));
    snprintf(n->where, sizeof n->where, "%s,%s", n->address, n->sibling_address);
    snprintf(n->broker_address, sizeof n->broker_address, "%s:" PORT, lan_address(LAN_REST));
    testnet_start_broker(*state);
    start_server(*state, 0);
    start_server(*state, 1);
    pair_until_whole(*state);
    return 0;
}

static void heal(struct testnet *t)
{
    lan_mend();
    pair_until_whole(t);
}

static void passed(struct testnet *t)
{
    testnet_expect(t, 0, "4\n", "run", built("tests/modules/spin.so"), "spin_tree", "2", "1000", NULL);
    for (int server = 0; server < 2; server++)
        assert_false(testnet_log_says(pair_server(t, server), "fault:"));
    pair_expect_one_primary_an_epoch(t);
    testnet_passed(t);
}

/* ---- Cut from each other ---- */

static bool each_shard_is_served_by_one_alone(void *ctx)
{
    for (int shard = 0; shard < 2; shard++) {
        int primary = pair_primary(ctx, shard);
        if (primary < 0 || strcmp(pair_role(ctx, primary, shard).name, "solo") != 0)
            return false;
    }
    return true;
}

static void until_each_goes_on_alone(struct testnet *t)
{
    testnet_until("each shard is served by one alone", each_shard_is_served_by_one_alone, t);
}

/* Both have the witness; the job does not even notice. */
static void siblings_do_not_see_each_other(void **state)
{
    struct testnet *t = *state;
    struct command c;
    fault_job_begin(t, &c);
    lan_cut(0, 1);
    until_each_goes_on_alone(t);
    fault_job_end(&c);
    heal(t);
    passed(t);
}

/* Clients see both servers, the old primary of the job sees neither sibling nor witness: it holds nothing any
 * more, so that what its clients are told is not what the other one will contradict. */
static void one_sibling_keeps_the_witness(void **state)
{
    struct testnet *t = *state;
    struct command c;
    fault_job_begin(t, &c);
    lan_cut(0, 1);
    lan_drop(0, LAN_REST, TO_WITNESS);
    lan_drop(LAN_REST, 0, FROM_WITNESS);
    pair_until_served(t, 0, 1);
    heal(t);
    fault_job_end(&c);
    passed(t);
}

/* ---- One way ---- */

static void one_way_is_lost(struct testnet *t, int from)
{
    struct command c;
    fault_job_begin(t, &c);
    lan_drop(from, 1 - from, "");
    until_each_goes_on_alone(t);
    fault_job_end(&c);
    heal(t);
    passed(t);
}

static void the_first_is_not_heard_by_the_second(void **state)
{
    one_way_is_lost(*state, 0);
}

static void the_second_is_not_heard_by_the_first(void **state)
{
    one_way_is_lost(*state, 1);
}

/* ---- Loss ---- */

static bool enough_is_lost(void *ctx)
{
    (void)ctx;
    return lan_lost(0) >= LOST_ENOUGH && lan_lost(1) >= LOST_ENOUGH;
}

/* On every way: of siblings, witness and clients. Who serves meanwhile is nobody's promise. */
static void packets_are_lost_at_random(void **state)
{
    struct testnet *t = *state;
    struct command c;
    fault_job_begin(t, &c);
    for (int from = 0; from < LAN_MACHINES; from++)
        for (int to = 0; to < LAN_MACHINES; to++)
            if (from != to)
                lan_drop(from, to, THIRTY_IN_A_HUNDRED);
    testnet_until("packets are lost", enough_is_lost, NULL);
    lan_mend();
    fault_job_end(&c);
    pair_until_whole(t);
    passed(t);
}

/* ---- Cut off from everybody ---- */

/* The job goes on where it can be reached, and ends before the other one is back. */
static void a_primary_is_cut_off_from_everybody(void **state)
{
    struct testnet *t = *state;
    struct command c;
    fault_job_begin(t, &c);
    lan_cut(0, 1);
    lan_cut(0, LAN_REST);
    pair_until_served(t, 0, 1);
    fault_job_end(&c);
    testnet_expect(t, 0, "4\n", "run", built("tests/modules/spin.so"), "spin_tree", "2", "1000", NULL);
    heal(t);
    passed(t);
}

#define ON_LAN(test) cmocka_unit_test_setup_teardown(test, setup, testnet_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_LAN(siblings_do_not_see_each_other),       ON_LAN(one_sibling_keeps_the_witness),
        ON_LAN(the_first_is_not_heard_by_the_second), ON_LAN(the_second_is_not_heard_by_the_first),
        ON_LAN(packets_are_lost_at_random),           ON_LAN(a_primary_is_cut_off_from_everybody),
    };
    if (lan_make() < 0)
        return 1;
    cmocka_set_test_filter(getenv("CX_TEST_FILTER")); /* NULL: all of them */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
