#include "taskserver/sibling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "proto/msg.h"
#include "taskserver/server.h"

enum { DIAL_EVERY_US = 100000 };

/* One stream to the sibling. */
struct wire {
    struct sibling *sibling;   /* borrowed */
    struct rpc_stream *stream; /* borrowed */
    struct outbox out;
    bool heard; /* something came: it is up */
};

struct sibling {
    struct taskserver *server; /* borrowed */
    char name[IDENTITY_NAME_MAX + 1];
    char *address;     /* owned */
    struct wire *wire; /* the newest; NULL: none */
    struct buf msg;    /* scratch */
    uint64_t dial_us;
    bool dials, stopping;
};

/* ---- Saying ---- */

void sibling_say(struct sibling *sib, struct id shard, const struct replica_msg *m)
{
    struct id_bytes id = id_bytes(shard);
    cx_Msg out = {.which_body = cx_Msg_replica_tag};
    size_t at;
    if (!sib->wire)
        return;
    buf_clear(&sib->msg);
    put_replica_msg(&sib->msg, m);
    out.body.replica = (cx_Replica){.shard = id_view(&id), .msg = buf_bytes(&sib->msg)};
    msg_encode(&out, outbox_begin(&sib->wire->out, SEGMENT_MESSAGE, &at));
    outbox_end(&sib->wire->out, at);
    rpc_wake(sib->wire->stream);
}

static bool fill(void *ctx, struct rpc_stream *stream, struct buf *out)
{
    (void)stream;
    struct wire *w = ctx;
    struct segment seg;
    const uint8_t *data = outbox_first(&w->out, &seg);
    if (!data)
        return false;
    buf_add(out, data, seg.len);
    outbox_pop(&w->out);
    return true;
}

/* ---- Hearing ---- */

static void say_connected(struct wire *w)
{
    if (!w->heard)
        log_info("sibling %s: connected", w->sibling->name);
    w->heard = true;
}

static int message(void *ctx, struct rpc_stream *stream, struct bytes data, char *why)
{
    (void)stream;
    struct wire *w = ctx;
    struct replica_event e = {.kind = REPLICA_MSG};
    cx_Msg m;
    int code = msg_decode(data, &m, why);
    if (code)
        return code;
    if (m.which_body != cx_Msg_replica_tag) {
        snprintf(why, RPC_WHY_MAX, "%s: not a sibling's", msg_kind(&m));
        return CX_EPROTO;
    }
    struct shard *s = taskserver_shard(w->sibling->server, id_of(m.body.replica.shard));
    struct reader in = reader_of(m.body.replica.msg);
    if (!s || !get_replica_msg(&in, &e.msg)) {
        snprintf(why, RPC_WHY_MAX, "%s",
                 s ? "a replica's message is malformed" : "a shard that this pair does not keep");
        return CX_EPROTO;
    }
    if (w->sibling->wire != w)
        return 0; /* a newer stream has taken its place */
    say_connected(w);
    if (!(e.msg.kind == REPLICA_YIELD && w->sibling->server->draining))
        shard_replica(s, &e);
    return 0;
}

/* ---- Coming and going ---- */

static void tell_closed(struct sibling *sib)
{
    for (size_t i = 0; i < sib->server->shards; i++)
        shard_replica(&sib->server->shard[i], &(struct replica_event){.kind = REPLICA_CLOSED});
}

static struct wire *wire_new(struct sibling *sib, struct rpc_stream *stream)
{
    struct wire *w = calloc(1, sizeof *w), *old = sib->wire;
    must(w);
    *w = (struct wire){.sibling = sib, .stream = stream};
    sib->wire = w;
    if (old)
        rpc_close(old->stream, CX_OK, "");
    return w;
}

static int accept(void *service, struct rpc_stream *stream, const struct identity *peer, void **ctx,
                  char *why)
{
    struct sibling *sib = service;
    if (sib->stopping || strcmp(peer->name, sib->name) != 0) {
        snprintf(why, RPC_WHY_MAX, "%s",
                 sib->stopping ? "the server is stopping" : "the sibling of this server is another one");
        return sib->stopping ? CX_ENONET : CX_EAUTH;
    }
    *ctx = wire_new(sib, stream);
    return 0;
}

static void closed(void *ctx, struct rpc_stream *stream, int code, const char *why)
{
    (void)stream;
    struct wire *w = ctx;
    struct sibling *sib = w->sibling;
    bool newest = sib->wire == w, heard = w->heard;
    outbox_free(&w->out);
    free(w);
    if (!newest)
        return;
    sib->wire = NULL;
    if (sib->stopping)
        return;
    if (heard)
        log_warn("sibling %s: connection lost: %s", sib->name, why[0] ? why : cx_err_text(code));
    else
        log_debug("sibling %s: %s", sib->name, why[0] ? why : cx_err_text(code));
    sib->dial_us = clock_us() + DIAL_EVERY_US;
    tell_closed(sib);
}

const struct rpc_handler sibling_handler = {accept, message, fill, closed};

uint64_t sibling_tick(struct sibling *sib, uint64_t now_us)
{
    if (!sib->dials || sib->wire || sib->stopping)
        return UINT64_MAX;
    if (now_us < sib->dial_us)
        return sib->dial_us;
    sib->dial_us = now_us + DIAL_EVERY_US;
    struct wire *w = wire_new(sib, NULL);
    int code = rpc_dial(sib->server->rpc, sib->address, ROLE_SERVER, sib->server->config.me,
                        "/cx.TaskServer/Replicate", &sibling_handler, w, &w->stream);
    if (code) {
        sib->wire = NULL;
        free(w);
        return sib->dial_us;
    }
    return UINT64_MAX;
}

/* ---- Life ---- */

const char *sibling_name(const struct sibling *sib)
{
    return sib->name;
}

const char *sibling_address(const struct sibling *sib)
{
    return sib->address;
}

bool sibling_connected(const struct sibling *sib)
{
    return sib->wire && sib->wire->heard;
}

int sibling_new(struct taskserver *server, const char *text, struct sibling **out, char *why)
{
    const char *at = strchr(text, '@');
    size_t len = at ? (size_t)(at - text) : 0;
    if (!at || len == 0 || len > IDENTITY_NAME_MAX || !strchr(at, ':')) {
        snprintf(why, STATE_WHY_MAX, "--sibling %.200s: write NAME@HOST:PORT, its certified name and address",
                 text);
        return CX_EINVAL;
    }
    struct sibling *sib = calloc(1, sizeof *sib);
    must(sib);
    sib->server = server;
    memcpy(sib->name, text, len);
    sib->address = strdup(at + 1);
    must(sib->address);
    sib->dials = strcmp(server->config.me->self.name, sib->name) < 0;
    *out = sib;
    return 0;
}

void sibling_stop(struct sibling *sib)
{
    sib->stopping = true;
    if (sib->wire)
        rpc_close(sib->wire->stream, CX_OK, "");
}

void sibling_free(struct sibling *sib)
{
    if (!sib)
        return;
    buf_free(&sib->msg);
    free(sib->address);
    free(sib);
}
