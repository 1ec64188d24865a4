#include "tests/support/witnesses.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/command.h"
#include "tests/support/loopback.h"

int witnesses_setup(void **state)
{
    struct witnesses *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->dir, sizeof w->dir, "/tmp/cx-witness-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(rpc_new(&w->rpc), 0);
    *state = w;
    return 0;
}

int witnesses_teardown(void **state)
{
    struct witnesses *w = *state;
    for (int i = 0; i < 2; i++)
        child_stop(&w->broker[i], LAUNCH_READY_MS);
    rpc_free(w->rpc);
    directory_remove(w->dir);
    free(w);
    return 0;
}

void witnesses_start(struct witnesses *w, int i, const char *witness)
{
    char store[128], log[128], listen[32], why[LAUNCH_WHY_MAX];
    const char *argv[16] = {built("bin/cx-broker"),
                            "--credentials",
                            test_credentials_dir(),
                            "--servers",
                            PAIR_POLICY,
                            "--store",
                            store,
                            "--listen",
                            listen};
    snprintf(store, sizeof store, "%s/broker%d.db", w->dir, i);
    snprintf(log, sizeof log, "%s/broker%d.log", w->dir, i);
    snprintf(listen, sizeof listen, "127.0.0.1:%d", w->broker[i].port);
    argv[9] = witness ? "--witness" : NULL;
    argv[10] = witness;
    if (child_start(&w->broker[i], "cx-broker", log, argv, LAUNCH_READY_MS, why))
        fail_msg("%s", why);
}

void witnesses_kill(struct witnesses *w, int i)
{
    child_signal(&w->broker[i], SIGKILL);
    assert_true(child_wait(&w->broker[i], LAUNCH_READY_MS));
}

void witnesses_join(struct witnesses *w, int i, struct caller *c, const char *server)
{
    caller_open(c, w->rpc, ROLE_SERVER, server, w->broker[i].port);
    assert_int_equal(caller_register(c, PAIR_NETWORK), 0);
}

struct id pair_shard(void)
{
    return shard_id(PAIR_NETWORK, "s1");
}

struct shard_ask pair_ask(enum shard_ask_kind kind, uint64_t member, uint64_t nonce,
                          const struct shard_answer *last)
{
    struct shard_ask ask = {.kind = kind, .shard = pair_shard(), .member = member, .nonce = nonce};
    if (last) {
        ask.epoch = last->record.epoch;
        ask.version = last->record.version;
        ask.boot = last->boot;
        ask.ticket = last->ticket;
        ask.known = last->record;
    }
    return ask;
}

struct shard_answer witnesses_pair_up(struct caller *s1)
{
    struct shard_ask ask = pair_ask(SHARD_READ, 1, 1, NULL);
    struct reply r = caller_ask(s1, &ask);
    assert_true(r.answered && r.shard.record.epoch == 0);
    ask = pair_ask(SHARD_CLAIM, 1, 1, &r.shard);
    ask.create = true;
    r = caller_ask(s1, &ask);
    assert_true(r.answered && r.shard.record.epoch == 1 && r.shard.record.primary == 1);
    ask = pair_ask(SHARD_ADD, 1, 1, &r.shard);
    ask.other = 2;
    r = caller_ask(s1, &ask);
    assert_true(r.answered && shard_has(&r.shard.record, 1) && shard_has(&r.shard.record, 2));
    return r.shard;
}
