/* Real streams over loopback: what the runtime promises in proto/rpc.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "proto/pki.h"
#include "proto/rpc.h"

static char dir[64];

static int make_certificates(void **state)
{
    (void)state;
    char why[256] = "";
    strcpy(dir, "/tmp/cx-rpc-XXXXXX");
    assert_non_null(mkdtemp(dir));
    if (pki_create_ca(dir, "test", 1, why, sizeof why) || pki_issue(dir, ROLE_SERVER, "s1", 1, why, sizeof why) ||
        pki_issue(dir, ROLE_CONSUMER, "alice", 1, why, sizeof why))
        fail_msg("%s", why);
    return 0;
}

static int accept_any(void *service, struct rpc_stream *s, const struct identity *peer, void **ctx, char *why)
{
    (void)why; (void)s;
    printf("accept %s/%s\n", role_name(peer->role), peer->name);
    *ctx = service;
    return 0;
}
struct side { struct buf out; int got; int closed; int code; char why[256]; bool echo; struct rpc_stream *s;};
static int on_message(void *ctx, struct rpc_stream *s, struct bytes data, char *why)
{
    (void)why;
    struct side *x = ctx;
    x->got++;
    if (x->echo) { buf_add(&x->out, data.data, data.len); rpc_wake(s); }
    return 0;
}
static bool on_fill(void *ctx, struct rpc_stream *s, struct buf *out)
{
    (void)s;
    struct side *x = ctx;
    if (!x->out.len) return false;
    buf_add(out, x->out.data, x->out.len);
    x->out.len = 0;
    return true;
}
static void on_closed(void *ctx, struct rpc_stream *s, int code, const char *why)
{
    (void)s;
    struct side *x = ctx;
    x->closed++; x->code = code;
    snprintf(x->why, sizeof x->why, "%s", why);
    printf("closed echo=%d %d %s\n", x->echo, code, why);
}
static const struct rpc_handler h = {accept_any, on_message, on_fill, on_closed};

static void smoke(void **state)
{
    (void)state;
    struct rpc *r;
    struct credentials srv, cli;
    char why[256] = "";
    if (pki_load(dir, ROLE_SERVER, NULL, &srv, why, sizeof why)) fail_msg("%s", why);
    if (pki_load(dir, ROLE_CONSUMER, "alice", &cli, why, sizeof why)) fail_msg("%s", why);
    assert_int_equal(rpc_new(&r), 0);
    struct side ss = {.echo = true}, cs = {0};
    struct rpc_service sv = {"/cx.Test/Echo", 1u << ROLE_CONSUMER, &h, &ss};
    int port;
    if (rpc_listen(r, "127.0.0.1:0", &srv, &sv, 1, &port, why)) fail_msg("%s", why);
    char addr[64];
    snprintf(addr, sizeof addr, "127.0.0.1:%d", port);
    struct rpc_stream *s;
    uint64_t t0 = clock_us();
    assert_int_equal(rpc_dial(r, addr, ROLE_SERVER, &cli, "/cx.Test/Echo", false, &h, &cs, &s), 0);
    buf_add(&cs.out, "hello", 5);
    rpc_wake(s);
    while (!cs.got && !cs.closed) rpc_run(r, UINT64_MAX, NULL, NULL);
    printf("first echo %lu us\n", clock_us() - t0);
    rpc_close(s, 0, "");
    while (!cs.closed || !ss.closed) rpc_run(r, UINT64_MAX, NULL, NULL);
    t0 = clock_us();
    rpc_free(r);
    printf("free %lu us\n", clock_us() - t0);
    pki_unload(&srv);
    pki_unload(&cli);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(smoke)};
    return cmocka_run_group_tests(tests, make_certificates, NULL);
}
