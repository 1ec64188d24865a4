/* The witness with its records in etcd, a real one: several brokers settle one record, and an etcd that is
 * away stops answers, nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/etcd.h"
#include "tests/support/etcd.h"
#include "tests/support/witnesses.h"

struct setup {
    struct etcd_process etcd;
    struct witnesses *w;
};

static int setup(void **state)
{
    struct setup *s = calloc(1, sizeof *s);
    assert_non_null(s);
    witnesses_setup((void **)&s->w);
    etcd_start(&s->etcd);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct setup *s = *state;
    witnesses_teardown((void **)&s->w);
    etcd_remove(&s->etcd);
    free(s);
    return 0;
}

static struct shard_answer ask(struct caller *c, const struct shard_ask *what)
{
    struct reply r = caller_ask(c, what);
    assert_true(r.answered);
    return r.shard;
}

static struct shard_answer read_shard(struct caller *c, uint64_t member)
{
    struct shard_ask read = pair_ask(SHARD_READ, member, member, NULL);
    return ask(c, &read);
}

static void assert_same(const struct shard_answer *a, const struct shard_answer *b)
{
    assert_memory_equal(&a->record, &b->record, sizeof a->record);
}

/* ---- The client ---- */

static struct etcd *open_etcd(const char *url)
{
    struct etcd *e;
    char why[GATEWAY_WHY_MAX];
    assert_int_equal(etcd_new(url, &e, why), 0);
    return e;
}

static void only_what_was_read_can_be_replaced(void **state)
{
    struct setup *s = *state;
    struct etcd *one = open_etcd(s->etcd.url), *two = open_etcd(s->etcd.url);
    struct etcd_row a, b;
    struct id shard = pair_shard();
    struct shard_record r = {.epoch = UINT64_MAX, .version = 3, .primary = 1, .nonce = UINT64_MAX},
                        q = {.epoch = 1};
    char why[GATEWAY_WHY_MAX];
    assert_int_equal(etcd_load(one, shard, &a, why), 0);
    assert_int_equal(etcd_load(two, shard, &b, why), 0);
    assert_true(a.record.epoch == 0 && a.boot && a.boot == b.boot);
    assert_int_equal(etcd_save(one, shard, &a, &r, why), 0);
    assert_int_equal(etcd_save(two, shard, &b, &q, why), CX_EEXIST);
    assert_int_equal(etcd_load(two, shard, &b, why), 0);
    assert_memory_equal(&b.record, &r, sizeof r);
    assert_int_equal(etcd_save(one, shard, &a, &q, why), CX_EEXIST); /* twice from one reading */
    b.boot++;                                                        /* of another etcd */
    assert_int_equal(etcd_save(two, shard, &b, &q, why), CX_EEXIST);
    b.boot--;
    assert_int_equal(etcd_save(two, shard, &b, &q, why), 0);
    etcd_free(one);
    etcd_free(two);
}

static void a_member_that_is_away_is_passed_over(void **state)
{
    struct setup *s = *state;
    char urls[160], why[GATEWAY_WHY_MAX];
    struct etcd_row row;
    snprintf(urls, sizeof urls, "http://127.0.0.1:1,%s/", s->etcd.url);
    struct etcd *e = open_etcd(urls);
    assert_int_equal(etcd_load(e, pair_shard(), &row, why), 0);
    assert_int_equal(etcd_load(e, pair_shard(), &row, why), 0);
    etcd_free(e);
    e = open_etcd("http://127.0.0.1:1");
    assert_int_equal(etcd_load(e, pair_shard(), &row, why), CX_ENONET);
    assert_non_null(strstr(why, "127.0.0.1:1"));
    etcd_free(e);
}

/* What somebody else put there is not taken for a record. */
static void what_is_no_record_is_not_read(void **state)
{
    struct setup *s = *state;
    struct etcd *e = open_etcd(s->etcd.url);
    struct gateway *g;
    struct etcd_row row;
    struct shard_record r = {.epoch = 1};
    char why[GATEWAY_WHY_MAX];
    assert_int_equal(etcd_load(e, pair_shard(), &row, why), 0);
    assert_int_equal(etcd_save(e, pair_shard(), &row, &r, why), 0);
    assert_int_equal(gateway_new(s->etcd.url, &g, why), 0);
    cJSON *put = cJSON_CreateObject(), *answer;
    cJSON_AddStringToObject(put, "key", "Y3gvYm9vdA=="); /* cx/boot */
    cJSON_AddStringToObject(put, "value", "AAAA");
    assert_int_equal(gateway_post(g, "/v3/kv/put", put, &answer, why), 0);
    cJSON_Delete(answer);
    assert_int_equal(gateway_post(g, "/v3/kv/nothing", put, &answer, why), CX_ENONET);
    cJSON_Delete(put);
    gateway_free(g);
    assert_int_equal(etcd_load(e, pair_shard(), &row, why), CX_ENONET);
    assert_non_null(strstr(why, "not written by a broker"));
    etcd_free(e);
}

/* ---- Brokers ---- */

/* While etcd starts this process does not serve its streams, so they may be taken for dead. */
static void start_etcd(struct setup *s, struct caller *c, const char *server)
{
    etcd_start(&s->etcd);
    caller_close(c);
    witnesses_join(s->w, 0, c, server);
}

/* Both members claim the next epoch at once, each at its own broker, as often as it takes to meet. */
static void two_brokers_grant_an_epoch_once(void **state)
{
    enum { ROUNDS = 60 };
    struct setup *s = *state;
    struct caller s1, s2;
    unsigned won[3] = {0};
    for (int i = 0; i < 2; i++)
        witnesses_start(s->w, i, s->etcd.witness);
    witnesses_join(s->w, 0, &s1, "s1");
    witnesses_join(s->w, 1, &s2, "s2");
    struct shard_answer last = witnesses_pair_up(&s1);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        struct shard_ask one = pair_ask(SHARD_CLAIM, 1, 10 + i, &last);
        struct shard_ask two = pair_ask(SHARD_CLAIM, 2, 10 + i, &last);
        uint64_t first = caller_send_ask(&s1, &one), second = caller_send_ask(&s2, &two);
        struct reply a = caller_wait(&s1, first), b = caller_wait(&s2, second);
        assert_true(a.answered && b.answered);
        assert_same(&a.shard, &b.shard);
        assert_int_equal(a.shard.record.epoch, last.record.epoch + 1);
        assert_int_equal(a.shard.record.nonce, 10 + i);
        assert_true(shard_has(&a.shard.record, 1) && shard_has(&a.shard.record, 2));
        won[a.shard.record.primary]++;
        last = a.shard;
    }
    assert_int_equal(won[1] + won[2], ROUNDS);
    caller_close(&s1);
    caller_close(&s2);
}

static void any_broker_goes_on_with_the_record(void **state)
{
    struct setup *s = *state;
    struct caller s1, s2;
    witnesses_start(s->w, 0, s->etcd.witness);
    witnesses_join(s->w, 0, &s1, "s1");
    struct shard_answer last = witnesses_pair_up(&s1);
    witnesses_kill(s->w, 0);
    caller_close(&s1);
    witnesses_start(s->w, 1, s->etcd.witness);
    witnesses_join(s->w, 1, &s1, "s1");
    witnesses_join(s->w, 1, &s2, "s2");
    struct shard_ask solo = pair_ask(SHARD_SOLO, 1, 1, &last);
    struct shard_answer now = ask(&s1, &solo);
    assert_same(&now, &last); /* the ticket was the other broker's */
    assert_true(now.boot != last.boot);
    solo = pair_ask(SHARD_SOLO, 1, 1, &now);
    now = ask(&s1, &solo);
    assert_true(shard_has(&now.record, 1) && !shard_has(&now.record, 2));
    struct shard_answer same = read_shard(&s2, 2);
    assert_same(&same, &now);
    caller_close(&s1);
    caller_close(&s2);
}

/* The worker takes one thing after the other, so when the admin's order has failed, so has the ask before;
 * and the broker itself has answered all the while. */
static void assert_unanswered(struct caller *server, struct caller *admin)
{
    struct shard_ask read = pair_ask(SHARD_READ, 1, 1, NULL);
    uint64_t req = caller_send_ask(server, &read);
    assert_int_equal(caller_list(server), 0);
    assert_int_equal(caller_accept_loss(admin, pair_shard(), 7), CX_ENONET);
    assert_int_equal(caller_list(server), 0);
    assert_null(caller_reply(server, req));
}

static void without_etcd_nobody_is_answered(void **state)
{
    struct setup *s = *state;
    struct caller s1, admin;
    witnesses_start(s->w, 0, s->etcd.witness);
    witnesses_join(s->w, 0, &s1, "s1");
    caller_open(&admin, s->w->rpc, ROLE_ADMIN, "a1", s->w->broker[0].port);
    struct shard_answer before = witnesses_pair_up(&s1);
    etcd_kill(&s->etcd);
    assert_unanswered(&s1, &admin);
    assert_unanswered(&s1, &admin);
    start_etcd(s, &s1, "s1");
    struct shard_answer after = read_shard(&s1, 1);
    assert_same(&after, &before);
    assert_int_equal(after.boot, before.boot);
    caller_close(&s1);
    caller_close(&admin);
}

/* One that hangs is worse than one that is gone: the reactor must not wait for it. */
static void an_etcd_that_hangs_holds_up_nobody(void **state)
{
    struct setup *s = *state;
    struct caller s1, admin;
    witnesses_start(s->w, 0, s->etcd.witness);
    witnesses_join(s->w, 0, &s1, "s1");
    caller_open(&admin, s->w->rpc, ROLE_ADMIN, "a1", s->w->broker[0].port);
    struct shard_answer before = witnesses_pair_up(&s1);
    command_signal(&s->etcd.command, SIGSTOP);
    assert_unanswered(&s1, &admin);
    command_signal(&s->etcd.command, SIGCONT);
    struct shard_answer after = read_shard(&s1, 1);
    assert_same(&after, &before);
    caller_close(&s1);
    caller_close(&admin);
}

static void an_administrator_accepts_a_loss(void **state)
{
    struct setup *s = *state;
    struct caller s1, admin;
    witnesses_start(s->w, 0, s->etcd.witness);
    witnesses_start(s->w, 1, s->etcd.witness);
    witnesses_join(s->w, 0, &s1, "s1");
    caller_open(&admin, s->w->rpc, ROLE_ADMIN, "a1", s->w->broker[1].port);
    struct shard_answer before = witnesses_pair_up(&s1);
    assert_int_equal(caller_accept_loss(&admin, shard_id(PAIR_NETWORK, "s9"), 7), CX_ENOTFOUND);
    assert_int_equal(caller_accept_loss(&s1, pair_shard(), 7), CX_EAUTH);
    assert_int_equal(caller_accept_loss(&admin, pair_shard(), 7), 0);
    struct shard_record r = read_shard(&s1, 1).record;
    assert_true(r.epoch == before.record.epoch + 2 && !r.primary && shard_has(&r, 7) && !shard_other(&r, 7));
    caller_close(&s1);
    caller_close(&admin);
}

/* An etcd that has lost all is rebuilt from what both members say, to the broker that asks for its new boot.
 */
static void a_lost_etcd_is_rebuilt(void **state)
{
    struct setup *s = *state;
    struct caller s1, s2;
    witnesses_start(s->w, 0, s->etcd.witness);
    witnesses_join(s->w, 0, &s1, "s1");
    struct shard_answer before = witnesses_pair_up(&s1);
    etcd_kill(&s->etcd);
    etcd_wipe(&s->etcd);
    start_etcd(s, &s1, "s1");
    witnesses_join(s->w, 0, &s2, "s2");
    struct shard_ask one = pair_ask(SHARD_READ, 1, 1, &before), two = pair_ask(SHARD_READ, 2, 2, &before);
    assert_int_equal(ask(&s2, &two).record.epoch, 0); /* of the old boot: it counts for nothing */
    struct shard_answer empty = ask(&s1, &one);
    assert_true(empty.record.epoch == 0 && empty.boot != before.boot);
    one.boot = two.boot = empty.boot;
    assert_int_equal(ask(&s1, &one).record.epoch, 0);
    struct shard_record r = ask(&s2, &two).record;
    assert_true(r.epoch == before.record.epoch + 2 && !r.primary && shard_has(&r, 1) && shard_has(&r, 2));
    caller_close(&s1);
    caller_close(&s2);
}

/* Whoever comes back to the store must not find what was true before etcd. */
static void the_store_forgets_what_etcd_has_taken_over(void **state)
{
    struct setup *s = *state;
    struct caller s1;
    witnesses_start(s->w, 0, NULL);
    witnesses_join(s->w, 0, &s1, "s1");
    witnesses_pair_up(&s1);
    witnesses_kill(s->w, 0);
    caller_close(&s1);
    witnesses_start(s->w, 0, s->etcd.witness);
    witnesses_kill(s->w, 0);
    witnesses_start(s->w, 0, NULL);
    witnesses_join(s->w, 0, &s1, "s1");
    assert_int_equal(read_shard(&s1, 1).record.epoch, 0);
    caller_close(&s1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_what_was_read_can_be_replaced),
        TEST(a_member_that_is_away_is_passed_over),
        TEST(what_is_no_record_is_not_read),
        TEST(two_brokers_grant_an_epoch_once),
        TEST(any_broker_goes_on_with_the_record),
        TEST(without_etcd_nobody_is_answered),
        TEST(an_etcd_that_hangs_holds_up_nobody),
        TEST(an_administrator_accepts_a_loss),
        TEST(a_lost_etcd_is_rebuilt),
        TEST(the_store_forgets_what_etcd_has_taken_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
