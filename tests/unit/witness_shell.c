/* The witness in the broker, over the wire: who may ask, and that what was answered is on disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/witnessing.h"
#include "tests/support/command.h"
#include "tests/support/loopback.h"
#include "tests/support/witnesses.h"

static struct shard_answer read_shard(struct caller *c, uint64_t member, const struct shard_answer *last)
{
    struct shard_ask ask = pair_ask(SHARD_READ, member, member, last);
    struct reply r = caller_ask(c, &ask);
    assert_true(r.answered);
    return r.shard;
}

static void assert_same(const struct shard_record *a, const struct shard_record *b)
{
    assert_memory_equal(a, b, sizeof *a);
}

static void a_killed_broker_knows_what_it_answered(void **state)
{
    struct witnesses *w = *state;
    struct caller s1, s2;
    witnesses_start(w, 0, NULL);
    witnesses_join(w, 0, &s1, "s1");
    struct shard_answer before = witnesses_pair_up(&s1);
    witnesses_kill(w, 0);
    caller_close(&s1);
    witnesses_start(w, 0, NULL);
    witnesses_join(w, 0, &s2, "s2");
    struct shard_answer after = read_shard(&s2, 2, NULL);
    assert_same(&after.record, &before.record);
    assert_true(after.boot != before.boot);
    struct shard_ask claim = pair_ask(SHARD_CLAIM, 2, 2, &after);
    struct reply r = caller_ask(&s2, &claim);
    assert_true(r.answered && r.shard.record.epoch == 2 && r.shard.record.primary == 2);
    caller_close(&s2);
}

/* What the other broker said of its own time does not make a solo request fresh. */
static void a_ticket_of_before_the_restart_is_void(void **state)
{
    struct witnesses *w = *state;
    struct caller s1;
    witnesses_start(w, 0, NULL);
    witnesses_join(w, 0, &s1, "s1");
    struct shard_answer last = witnesses_pair_up(&s1);
    witnesses_kill(w, 0);
    caller_close(&s1);
    witnesses_start(w, 0, NULL);
    witnesses_join(w, 0, &s1, "s1");
    struct shard_ask solo = pair_ask(SHARD_SOLO, 1, 1, &last);
    struct reply r = caller_ask(&s1, &solo);
    assert_true(r.answered && shard_has(&r.shard.record, 2));
    solo = pair_ask(SHARD_SOLO, 1, 1, &r.shard);
    r = caller_ask(&s1, &solo);
    assert_true(r.answered && !shard_has(&r.shard.record, 2));
    caller_close(&s1);
}

static int refusal(struct caller *c)
{
    struct shard_ask ask = pair_ask(SHARD_READ, 9, 9, NULL);
    struct reply r = caller_ask(c, &ask);
    assert_false(r.answered);
    return r.code;
}

static void strangers_are_told_nothing(void **state)
{
    struct witnesses *w = *state;
    struct caller s1, stranger, consumer, early;
    witnesses_start(w, 0, NULL);
    witnesses_join(w, 0, &s1, "s1");
    witnesses_pair_up(&s1);
    caller_open(&early, w->rpc, ROLE_SERVER, "s2", w->broker[0].port);
    assert_int_equal(refusal(&early), CX_EAUTH); /* it has not registered yet */
    assert_int_equal(caller_register(&early, PAIR_NETWORK), 0);
    read_shard(&early, 2, NULL);
    caller_open(&stranger, w->rpc, ROLE_SERVER, "s3", w->broker[0].port);
    assert_int_equal(caller_register(&stranger, PAIR_NETWORK), CX_EAUTH);
    assert_int_equal(caller_register(&stranger, "elsewhere"), 0);
    assert_int_equal(refusal(&stranger), CX_EAUTH);
    caller_open(&consumer, w->rpc, ROLE_CONSUMER, "s1", w->broker[0].port); /* the name alone is nothing */
    assert_int_equal(refusal(&consumer), CX_EAUTH);
    caller_close(&s1);
    caller_close(&early);
    caller_close(&stranger);
    caller_close(&consumer);
}

static void only_an_administrator_accepts_a_loss(void **state)
{
    struct witnesses *w = *state;
    struct caller s1, consumer, admin;
    witnesses_start(w, 0, NULL);
    witnesses_join(w, 0, &s1, "s1");
    struct shard_answer before = witnesses_pair_up(&s1);
    caller_open(&consumer, w->rpc, ROLE_CONSUMER, "c1", w->broker[0].port);
    caller_open(&admin, w->rpc, ROLE_ADMIN, "a1", w->broker[0].port);
    assert_int_equal(caller_accept_loss(&consumer, pair_shard(), 7), CX_EAUTH);
    assert_int_equal(caller_accept_loss(&s1, pair_shard(), 7), CX_EAUTH);
    assert_int_equal(caller_accept_loss(&admin, pair_shard(), 0), CX_EINVAL);
    assert_int_equal(caller_accept_loss(&admin, shard_id(PAIR_NETWORK, "s9"), 7), CX_ENOTFOUND);
    struct shard_answer same = read_shard(&s1, 1, &before);
    assert_same(&same.record, &before.record);
    assert_int_equal(caller_accept_loss(&admin, pair_shard(), 7), 0);
    struct shard_record r = read_shard(&s1, 1, &before).record;
    assert_true(r.epoch == before.record.epoch + 2 && !r.primary && shard_has(&r, 7) && !shard_other(&r, 7));
    caller_close(&s1);
    caller_close(&consumer);
    caller_close(&admin);
}

static void servers_see_the_servers_of_their_network(void **state)
{
    struct witnesses *w = *state;
    struct caller s1, s2;
    witnesses_start(w, 0, NULL);
    witnesses_join(w, 0, &s1, "s1");
    witnesses_join(w, 0, &s2, "s2");
    assert_int_equal(caller_list(&s1), 0);
    assert_int_equal(s1.rows, 2);
    caller_close(&s1);
    caller_close(&s2);
}

/* A disk that takes no more. Its broker has said nothing that is not on it, and the next one goes on. */
static void a_store_that_fails_ends_the_broker(void **state)
{
    struct witnesses *w = *state;
    struct caller s1;
    struct command c;
    char script[512];
    snprintf(script, sizeof script,
             "trap '' XFSZ; ulimit -f 128; exec %s --credentials %s --servers %s --store %s/broker0.db"
             " --listen 127.0.0.1:0 --ready-fd 1",
             built("bin/cx-broker"), test_credentials_dir(), PAIR_POLICY, w->dir);
    command_start(&c, (const char *const[]){"/bin/bash", "-c", script, NULL}, NULL);
    command_wait_text(&c, "\n");
    command_wait_text(&c, "ready ");
    w->broker[0].port = atoi(strstr(command_out(&c), "ready ") + 6);
    witnesses_join(w, 0, &s1, "s1");
    struct shard_answer last = witnesses_pair_up(&s1);
    for (uint64_t nonce = 2; s1.stream; nonce++) {
        struct shard_ask claim = pair_ask(SHARD_CLAIM, 1, nonce, &last);
        uint64_t req = caller_send_ask(&s1, &claim);
        while (s1.stream && !caller_reply(&s1, req))
            rpc_run(w->rpc, UINT64_MAX, NULL, NULL);
        if (caller_reply(&s1, req))
            last = caller_reply(&s1, req)->shard;
    }
    assert_int_equal(command_finish(&c), WITNESSING_EXIT);
    assert_non_null(strstr(command_err(&c), "Nothing more can be witnessed"));
    command_free(&c);
    caller_close(&s1);
    w->broker[0].port = 0;
    witnesses_start(w, 0, NULL);
    witnesses_join(w, 0, &s1, "s1");
    struct shard_answer again = read_shard(&s1, 1, NULL);
    assert_false(shard_newer(&last.record, &again.record));
    caller_close(&s1);
}

static void a_witness_of_no_kind_is_refused(void **state)
{
    static const char *const wrong[] = {"consul:x", "etcd:ftp://127.0.0.1:1",
                                        "etcd:", "etcd:http://a,,http://b"};
    struct witnesses *w = *state;
    char store[128];
    snprintf(store, sizeof store, "%s/broker.db", w->dir);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct command c;
        command_start(&c,
                      (const char *const[]){built("bin/cx-broker"), "--credentials", test_credentials_dir(),
                                            "--listen", "127.0.0.1:0", "--store", store, "--witness",
                                            wrong[i], NULL},
                      NULL);
        assert_int_equal(command_finish(&c), 2);
        assert_non_null(strstr(command_err(&c), "http://HOST:"));
        command_free(&c);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, witnesses_setup, witnesses_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_killed_broker_knows_what_it_answered),
        TEST(a_ticket_of_before_the_restart_is_void),
        TEST(strangers_are_told_nothing),
        TEST(only_an_administrator_accepts_a_loss),
        TEST(servers_see_the_servers_of_their_network),
        TEST(a_store_that_fails_ends_the_broker),
        TEST(a_witness_of_no_kind_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
