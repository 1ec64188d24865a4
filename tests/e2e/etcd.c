/* A pair whose witness is whichever broker lives, with etcd between the brokers: the broker in use and the
 * server that serves are killed, one after the other, and the jobs end with the right answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/shard.h"
#include "broker/etcd.h"
#include "proto/pki.h"
#include "tests/support/chaos.h"
#include "tests/support/etcd.h"

struct setup {
    struct testnet *t;
    struct etcd_process etcd;
    struct etcd *client;
    struct child broker[2];
    char brokers[64]; /* both, as the servers are told */
};

static void start_broker(struct setup *s, int i)
{
    struct network *n = &s->t->network;
    char store[PATH_MAX], log[PATH_MAX], why[LAUNCH_WHY_MAX];
    snprintf(store, sizeof store, "%.500s/broker%d.db", n->dir, i);
    snprintf(log, sizeof log, "%.500s/broker%d.log", n->dir, i);
    const char *argv[] = {built("bin/cx-broker"), "--credentials", n->credentials,  "--listen",
                          "127.0.0.1:0",          "--store",       store,           "--servers",
                          "local=s1,s2",          "--witness",     s->etcd.witness, NULL};
    if (child_start(&s->broker[i], "cx-broker", log, argv, LAUNCH_READY_MS, why))
        fail_msg("%s", why);
}

/* The certificates of both servers, and nothing that runs but etcd and the brokers. */
static int setup(void **state)
{
    struct setup *s = calloc(1, sizeof *s);
    char why[256];
    assert_non_null(s);
    testnet_prepare((void **)&s->t, true, true);
    struct network *n = &s->t->network;
    assert_int_equal(pki_issue(n->credentials, ROLE_SERVER, "s1", 1, why, sizeof why), 0);
    assert_int_equal(pki_issue(n->credentials, ROLE_SERVER, "s2", 1, why, sizeof why), 0);
    etcd_start(&s->etcd);
    assert_int_equal(etcd_new(s->etcd.url, &s->client, why), 0);
    start_broker(s, 0);
    start_broker(s, 1);
    snprintf(s->brokers, sizeof s->brokers, "127.0.0.1:%d,127.0.0.1:%d", s->broker[0].port,
             s->broker[1].port);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct setup *s = *state;
    char tail[3000];
    for (int i = 0; i < 2; i++) {
        child_stop(&s->broker[i], LAUNCH_READY_MS);
        file_tail(s->broker[i].log, tail, sizeof tail);
        if (!s->t->passed)
            print_message("---- broker %d: ----\n%s\n", i, tail);
    }
    testnet_teardown((void **)&s->t);
    etcd_free(s->client);
    etcd_remove(&s->etcd);
    free(s);
    return 0;
}

static void start_servers(struct setup *s)
{
    const char *const options[] = {"--broker", s->brokers, NULL};
    char why[LAUNCH_WHY_MAX];
    if (network_start_server(&s->t->network, options, why) ||
        network_start_sibling(&s->t->network, options, why))
        fail_msg("%s", why);
}

static bool in_sync(void *ctx)
{
    struct setup *s = ctx;
    struct etcd_row row;
    char why[GATEWAY_WHY_MAX];
    return etcd_load(s->client, shard_id("local", "s1"), &row, why) == 0 && row.record.in_sync[0] &&
           row.record.in_sync[1];
}

static void a_broker_dies_and_then_a_server(void **state)
{
    struct setup *s = *state;
    struct network *n = &s->t->network;
    struct command c;
    struct etcd_row before, after;
    char why[GATEWAY_WHY_MAX];
    start_servers(s);
    testnet_until("both have all of s1's shard", in_sync, s);
    testnet_add_producers(s->t, 1);
    testnet_cx_start(s->t, &c, "run", built("tests/modules/spin.so"), "spin_tree", "9", "4000", NULL);
    runner_wait(n->producer[0].pid);
    child_signal(&s->broker[0], SIGKILL);
    assert_true(child_wait(&s->broker[0], LAUNCH_READY_MS));
    assert_int_equal(etcd_load(s->client, shard_id("local", "s1"), &before, why), 0);
    child_signal(&n->server, SIGKILL);
    assert_true(child_wait(&n->server, LAUNCH_READY_MS));
    command_expect(&c, 0, "512\n");
    command_free(&c);
    assert_int_equal(etcd_load(s->client, shard_id("local", "s1"), &after, why), 0);
    assert_true(after.record.epoch > before.record.epoch);
    assert_true(after.record.primary != before.record.primary);
    assert_true(testnet_log_says(&s->broker[1], "shard ")); /* it was that one's word */
    testnet_passed(s->t);
}

/* No etcd: no word of the witness is needed while both servers live. */
static void a_pair_goes_on_without_etcd(void **state)
{
    struct setup *s = *state;
    start_servers(s);
    testnet_until("both have all of s1's shard", in_sync, s);
    testnet_add_producers(s->t, 1);
    etcd_kill(&s->etcd);
    testnet_expect(s->t, 0, "512\n", "run", built("tests/modules/spin.so"), "spin_tree", "9", "400", NULL);
    testnet_passed(s->t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_broker_dies_and_then_a_server, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pair_goes_on_without_etcd, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
