#include "tests/support/loopback.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"

#define PATIENCE_US 60000000

static char last[RPC_WHY_MAX + 32] = "none"; /* stream that was closed, for whoever waits in vain */

static void give_up(const char *what)
{
    fprintf(stderr, "gave up: %s; last closed: %s\n", what, last);
    abort();
}

uint64_t sum_of(struct bytes data)
{
    return hash64(data.data, data.len, 1);
}

void end_send(struct end *e, const void *data, size_t len)
{
    buf_add(&e->out, data, len);
    rpc_wake(e->stream);
}

static int end_accept(void *service, struct rpc_stream *s, const struct identity *peer, void **ctx, char *why)
{
    (void)peer;
    struct end *e = service;
    if (e->refuse) {
        snprintf(why, RPC_WHY_MAX, "not you, %s", peer->name);
        return e->refuse;
    }
    e->stream = s;
    *ctx = e;
    if (e->out.len || e->pump)
        rpc_wake(s);
    return 0;
}

static int end_message(void *ctx, struct rpc_stream *s, struct bytes data, char *why)
{
    struct end *e = ctx;
    e->got++;
    e->got_bytes += data.len;
    e->got_sum += sum_of(data);
    if (e->refuse) {
        snprintf(why, RPC_WHY_MAX, "message %d is bad", (int)e->got);
        return e->refuse;
    }
    if (e->echo) {
        buf_add(&e->out, data.data, data.len);
        rpc_wake(s);
    }
    return 0;
}

static bool end_fill(void *ctx, struct rpc_stream *s, struct buf *out)
{
    (void)s;
    struct end *e = ctx;
    if (e->pump > 0) {
        e->pump--;
        buf_reserve(out, e->pump_bytes);
        if (e->pump_bytes > 0)
            memset(out->data, (int)e->pump, e->pump_bytes);
        out->len = e->pump_bytes;
    } else if (e->out.len > 0) {
        buf_add(out, e->out.data, e->out.len);
        buf_clear(&e->out);
    } else {
        return false;
    }
    e->fills++;
    return true;
}

static void end_closed(void *ctx, struct rpc_stream *s, int code, const char *why)
{
    struct end *e = ctx;
    if (s == e->stream)
        e->stream = NULL;
    e->closed++;
    e->code = code;
    snprintf(e->why, sizeof e->why, "%s", why);
    snprintf(last, sizeof last, "%s: %s", cx_err_name(code), why);
    buf_free(&e->out);
}

const struct rpc_handler end_handler = {end_accept, end_message, end_fill, end_closed};

void run_until(struct rpc *r, const uint64_t *counter, uint64_t n)
{
    uint64_t until = clock_us() + PATIENCE_US;
    while (*counter < n) {
        if (clock_us() > until)
            give_up("messages");
        rpc_run(r, until, NULL, NULL);
    }
}

void run_until_closed(struct rpc *r, const struct end *e)
{
    uint64_t until = clock_us() + PATIENCE_US;
    while (!e->closed) {
        if (clock_us() > until)
            give_up("closed");
        rpc_run(r, until, NULL, NULL);
    }
}

static char made[64];

static void remove_credentials(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", made);
    if (system(command) != 0)
        fprintf(stderr, "%s failed\n", command);
}

const char *test_credentials_dir(void)
{
    static const struct identity all[] = {{ROLE_SERVER, "s1"},   {ROLE_BROKER, "b1"},   {ROLE_PRODUCER, "p1"},
                                          {ROLE_CONSUMER, "c1"}, {ROLE_CONSUMER, "c2"}, {ROLE_ADMIN, "a1"}};
    char why[256] = "";
    if (made[0])
        return made;
    strcpy(made, "/tmp/cx-test-XXXXXX");
    if (!mkdtemp(made) || pki_create_ca(made, "test", 2, why, sizeof why) != 0)
        give_up(why);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (pki_issue(made, all[i].role, all[i].name, 1, why, sizeof why) != 0)
            give_up(why);
    atexit(remove_credentials);
    return made;
}

struct credentials test_credentials(enum role role, const char *name)
{
    struct credentials c;
    char why[256] = "";
    if (pki_load(test_credentials_dir(), role, name, &c, why, sizeof why) != 0)
        give_up(why);
    return c;
}
