#include "tests/support/caller.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/support/loopback.h"

enum { PATIENCE_US = 60000000 };

static int message(void *ctx, struct rpc_stream *stream, struct bytes data, char *why)
{
    (void)stream;
    struct caller *c = ctx;
    cx_Msg m;
    int code = msg_decode(data, &m, why);
    if (code)
        return code;
    struct reply *r = &c->reply[c->replies % CALLER_REPLIES];
    *r = (struct reply){.req = m.req};
    if (m.which_body == cx_Msg_network_row_tag) {
        c->rows++;
        return 0;
    }
    if (m.which_body == cx_Msg_shard_answer_tag) {
        struct reader in = reader_of(m.body.shard_answer.records);
        r->answered = get_shard_answer(&in, &r->shard);
        assert_true(r->answered);
    } else {
        assert_int_equal(m.which_body, cx_Msg_status_tag);
        r->code = m.body.status.code;
    }
    c->replies++;
    return 0;
}

static bool fill(void *ctx, struct rpc_stream *stream, struct buf *out)
{
    (void)stream;
    struct caller *c = ctx;
    if (!c->out.len)
        return false;
    buf_add(out, c->out.data, c->out.len);
    buf_clear(&c->out);
    return true;
}

static void closed(void *ctx, struct rpc_stream *stream, int code, const char *why)
{
    (void)stream;
    (void)code;
    (void)why;
    struct caller *c = ctx;
    c->stream = NULL;
}

static const struct rpc_handler handler = {.message = message, .fill = fill, .closed = closed};

void caller_open(struct caller *c, struct rpc *rpc, enum role role, const char *name, int port)
{
    char why[256], address[32];
    const char *dir = test_credentials_dir();
    *c = (struct caller){.rpc = rpc};
    if (pki_load(dir, role, name, &c->me, why, sizeof why) != 0) {
        assert_int_equal(pki_issue(dir, role, name, 1, why, sizeof why), 0);
        c->me = test_credentials(role, name);
    }
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    assert_int_equal(rpc_dial(rpc, address, ROLE_BROKER, &c->me, "/cx.Broker/Talk", &handler, c, &c->stream),
                     0);
}

void caller_close(struct caller *c)
{
    uint64_t until = clock_us() + PATIENCE_US;
    if (c->stream)
        rpc_close(c->stream, CX_ECANCELLED, "");
    while (c->stream && clock_us() < until)
        rpc_run(c->rpc, until, NULL, NULL);
    assert_null(c->stream);
    pki_unload(&c->me);
    buf_free(&c->out);
}

uint64_t caller_send(struct caller *c, cx_Msg m)
{
    uint64_t until = clock_us() + PATIENCE_US;
    while (c->stream && c->out.len && clock_us() < until) /* the one before */
        rpc_run(c->rpc, until, NULL, NULL);
    assert_non_null(c->stream);
    assert_int_equal(c->out.len, 0);
    m.req = ++c->req;
    msg_encode(&m, &c->out);
    rpc_wake(c->stream);
    return c->req;
}

const struct reply *caller_reply(const struct caller *c, uint64_t req)
{
    unsigned first = c->replies > CALLER_REPLIES ? c->replies - CALLER_REPLIES : 0;
    for (unsigned i = first; i < c->replies; i++)
        if (c->reply[i % CALLER_REPLIES].req == req)
            return &c->reply[i % CALLER_REPLIES];
    return NULL;
}

struct reply caller_wait(struct caller *c, uint64_t req)
{
    uint64_t until = clock_us() + PATIENCE_US;
    while (!caller_reply(c, req)) {
        if (!c->stream)
            fail_msg("the broker has closed the stream of %s", c->me.self.name);
        if (clock_us() > until)
            fail_msg("%s has waited in vain", c->me.self.name);
        rpc_run(c->rpc, until, NULL, NULL);
    }
    return *caller_reply(c, req);
}

uint64_t caller_send_ask(struct caller *c, const struct shard_ask *ask)
{
    struct buf packed = {0};
    put_shard_ask(&packed, ask);
    uint64_t req = caller_send(
        c, (cx_Msg){.which_body = cx_Msg_shard_ask_tag, .body.shard_ask.records = buf_bytes(&packed)});
    buf_free(&packed);
    return req;
}

struct reply caller_ask(struct caller *c, const struct shard_ask *ask)
{
    return caller_wait(c, caller_send_ask(c, ask));
}

int caller_register(struct caller *c, const char *network)
{
    cx_Msg m = {.which_body = cx_Msg_register_network_tag};
    m.body.register_network = (cx_Register){.network = bytes_str(network),
                                            .address = bytes_str("127.0.0.1:7070,127.0.0.1:7071"),
                                            .incarnation = 1};
    return caller_wait(c, caller_send(c, m)).code;
}

int caller_list(struct caller *c)
{
    return caller_wait(c, caller_send(c, (cx_Msg){.which_body = cx_Msg_list_tag, .body.list.what = 4})).code;
}

int caller_accept_loss(struct caller *c, struct id shard, uint64_t member)
{
    struct buf id = {0};
    put_id(&id, shard);
    cx_Msg m = {.which_body = cx_Msg_admin_tag};
    m.body.admin = (cx_Admin){.verb = 3, .shard = buf_bytes(&id), .member = member};
    uint64_t req = caller_send(c, m);
    buf_free(&id);
    return caller_wait(c, req).code;
}
