#include "taskserver/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/must.h"
#include "base/pack.h"
#include "proto/limits.h"
#include "taskserver/server.h"

enum { STATUS_TEXT_MAX = 2048 };

/* ---- Numbers, ids, text ---- */

uint32_t peers_add(struct peers *p, struct session *s)
{
    if (p->spares) {
        uint32_t peer = p->spare[--p->spares];
        p->session[peer] = s;
        return peer;
    }
    if (p->used == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 16;
        p->session = realloc(p->session, p->cap * sizeof(struct session *));
        p->spare = realloc(p->spare, p->cap * sizeof *p->spare);
        must(p->session && p->spare);
    }
    p->session[p->used] = s;
    return p->used++;
}

void peers_remove(struct peers *p, uint32_t peer)
{
    must(peers_get(p, peer));
    p->session[peer] = NULL;
    p->spare[p->spares++] = peer;
}

void peers_free(struct peers *p)
{
    free(p->session);
    free(p->spare);
}

struct id id_of(struct bytes b)
{
    struct reader r = reader_of(b);
    return get_id(&r);
}

struct id_bytes id_bytes(struct id id)
{
    struct id_bytes out;
    for (int i = 0; i < 8; i++) {
        out.b[i] = (uint8_t)(id.hi >> 8 * i);
        out.b[8 + i] = (uint8_t)(id.lo >> 8 * i);
    }
    return out;
}

struct bytes text_clean(struct buf *scratch, struct bytes text, size_t max)
{
    if (text.len <= max && utf8_valid(text))
        return text;
    buf_clear(scratch);
    buf_add(scratch, text.data, text.len < max ? text.len : max);
    if (!utf8_valid(buf_bytes(scratch)))
        for (size_t i = 0; i < scratch->len; i++)
            if (scratch->data[i] == 0 || scratch->data[i] >= 0x80)
                scratch->data[i] = '?';
    return buf_bytes(scratch);
}

/* ---- Saying ---- */

static void session_queued(struct session *s)
{
    size_t max = s->server->config.outbox_max * s->kind->outbox_share;
    if (outbox_bytes(&s->out) <= max) {
        rpc_wake(s->stream);
        return;
    }
    char why[RPC_WHY_MAX];
    snprintf(why, sizeof why, "%zu bytes wait to be read by this %s, the limit is %zu: it does not read",
             outbox_bytes(&s->out), s->kind->name, max);
    session_close(s, CX_ELIMIT, why);
}

void session_say(struct session *s, const cx_Msg *m)
{
    size_t at;
    if (s->closing)
        return;
    msg_encode(m, outbox_begin(&s->out, SEGMENT_MESSAGE, &at));
    outbox_end(&s->out, at);
    session_queued(s);
}

void session_status(struct session *s, uint64_t req, int code, struct bytes text)
{
    cx_Msg m = {.req = req, .which_body = cx_Msg_status_tag};
    m.body.status.code = code;
    m.body.status.text = text_clean(&s->server->scratch, text, STATUS_TEXT_MAX);
    session_say(s, &m);
}

void session_statusf(struct session *s, uint64_t req, int code, const char *format, ...)
{
    char text[STATUS_TEXT_MAX];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    session_status(s, req, code, bytes_str(text));
}

void session_note(struct session *s, uint32_t note, const void *data, size_t len)
{
    if (s->closing)
        return;
    outbox_add(&s->out, note, bytes_of(data, len));
    session_queued(s);
}

void session_grant(struct session *s, struct bytes grant)
{
    if (s->closing)
        return;
    outbox_grant(&s->out, grant, PACKED_BYTES_GOAL);
    session_queued(s);
}

void session_close(struct session *s, int code, const char *why)
{
    if (s->closing)
        return;
    s->closing = true;
    rpc_close(s->stream, code, why);
}

/* ---- Filling: the next message for the wire ---- */

static enum rendered render_grants(const uint8_t *data, size_t len, struct buf *out)
{
    cx_Msg m = {.which_body = cx_Msg_grants_tag};
    m.body.grants.records = bytes_of(data, len);
    msg_encode(&m, out);
    return RENDERED_LAST;
}

static enum rendered render(struct session *s, const struct segment *seg, uint8_t *data, struct buf *out)
{
    if (seg->kind == SEGMENT_GRANTS)
        return render_grants(data, seg->len, out);
    if (seg->kind != SEGMENT_MESSAGE)
        return s->kind->render(s, seg->kind, data, out);
    buf_add(out, data, seg->len);
    return RENDERED_LAST;
}

static bool session_fill(void *ctx, struct rpc_stream *stream, struct buf *out)
{
    (void)stream;
    struct session *s = ctx;
    struct segment seg;
    for (uint8_t *data; (data = outbox_first(&s->out, &seg));) {
        enum rendered got = render(s, &seg, data, out);
        if (got != RENDERED_MORE)
            outbox_pop(&s->out);
        if (got != RENDERED_NOTHING)
            return true;
    }
    return s->kind->more && s->kind->more(s, out);
}

/* ---- Hearing ---- */

static void say_welcome(struct session *s)
{
    cx_Msg m = {.which_body = cx_Msg_welcome_tag};
    m.body.welcome.version = PROTOCOL_VERSION;
    m.body.welcome.software = bytes_str("cx-taskserver " CX_VERSION);
    m.body.welcome.network = bytes_str(s->server->config.network);
    m.body.welcome.incarnation = s->shard->incarnation;
    m.body.welcome.heartbeat_ms = 500;
    struct id_bytes shard = id_bytes(s->shard->id);
    m.body.welcome.shard = id_view(&shard);
    m.body.welcome.addresses = bytes_str(s->server->addresses);
    session_say(s, &m);
}

/* Whom the stream is for: who was asked for, or, when that is left to us, our own shard before the sibling's.
 */
static int session_bind(struct session *s, const cx_Hello *hello, char *why)
{
    struct taskserver *server = s->server;
    struct id wanted = hello->shard.len ? id_of(hello->shard) : (struct id){0};
    for (size_t i = 0; i < server->shards; i++) {
        struct shard *shard = &server->shard[i];
        bool fits = !hello->shard.len || id_equal(wanted, shard->id);
        if (fits && (s->kind->outputs ? shard->open : shard->serves)) {
            s->shard = shard;
            return 0;
        }
    }
    if (s->role == ROLE_ADMIN && !hello->shard.len) {
        s->shard = &server->shard[0];
        s->looking = true;
        return 0;
    }
    const struct shard *asked = hello->shard.len ? taskserver_shard(server, wanted) : &server->shard[0];
    snprintf(why, RPC_WHY_MAX, "not the primary of shard %s", asked ? asked->name : "that was asked for");
    return CX_ENONET;
}

static int session_hello(struct session *s, const cx_Msg *m, char *why)
{
    const cx_Hello *hello = &m->body.hello;
    if (s->joined) {
        snprintf(why, RPC_WHY_MAX, "hello: only once a stream");
        return CX_EPROTO;
    }
    if (hello->version != PROTOCOL_VERSION) {
        snprintf(why, RPC_WHY_MAX,
                 "this server (" CX_VERSION
                 ") speaks version %u of the protocol, the %s version %u: upgrade the "
                 "older one",
                 PROTOCOL_VERSION, s->kind->name, hello->version);
        return CX_EVERSION;
    }
    int code = session_bind(s, hello, why);
    if (code)
        return code;
    say_welcome(s); /* before what joining causes; an error overtakes it */
    code = s->kind->joined ? s->kind->joined(s, hello, why) : 0;
    s->joined = code == 0;
    return code;
}

static int session_dispatch(struct session *s, const cx_Msg *m, char *why)
{
    if (m->which_body == cx_Msg_hello_tag)
        return session_hello(s, m, why);
    if (s->kind->hello && !s->joined) {
        snprintf(why, RPC_WHY_MAX, "%s: a stream begins with hello", msg_kind(m));
        return CX_EPROTO;
    }
    session_message_fn *on = m->which_body < SESSION_TAGS ? s->kind->on[m->which_body] : NULL;
    if (!on) {
        snprintf(why, RPC_WHY_MAX, "%s: not to be sent by a %s on this stream", msg_kind(m),
                 role_name(s->role));
        return CX_EPROTO;
    }
    if (s->looking && m->which_body != cx_Msg_list_tag && m->which_body != cx_Msg_admin_tag) {
        session_statusf(s, m->req, CX_ENONET, "not the primary of shard %s", s->shard->name);
        return 0;
    }
    return on(s, m, why);
}

static int session_message(void *ctx, struct rpc_stream *stream, struct bytes data, char *why)
{
    (void)stream;
    struct session *s = ctx;
    cx_Msg m;
    if (s->closing)
        return 0;
    int code = msg_decode(data, &m, why);
    if (!code)
        code = session_dispatch(s, &m, why);
    if (code) {
        log_line(code == CX_ENONET ? LOG_DEBUG : LOG_WARN, "%s %s: closed: %s", s->kind->name, s->name, why);
        s->closing = true;
    }
    return code;
}

/* ---- Opening and closing ---- */

static unsigned streams_of(const struct taskserver *server, const struct session_kind *kind,
                           const struct identity *who)
{
    unsigned n = 0;
    for (const struct session *s = server->sessions; s; s = s->next)
        n += s->kind == kind && s->role == who->role && strcmp(s->name, who->name) == 0;
    return n;
}

static int session_accept(void *service, struct rpc_stream *stream, const struct identity *who, void **ctx,
                          char *why)
{
    const struct session_service *svc = service;
    struct taskserver *server = svc->server;
    if (server->stopping) {
        snprintf(why, RPC_WHY_MAX, "the server is stopping");
        return CX_ENONET;
    }
    if (streams_of(server, svc->kind, who) >= svc->kind->streams_max) {
        snprintf(why, RPC_WHY_MAX, "%s %s has %u streams, its limit", svc->kind->name, who->name,
                 svc->kind->streams_max);
        return CX_ELIMIT;
    }
    struct session *s = calloc(1, svc->kind->bytes);
    must(s);
    s->server = server;
    s->stream = stream;
    s->kind = svc->kind;
    s->role = who->role;
    memcpy(s->name, who->name, sizeof s->name);
    s->at = &server->sessions;
    s->next = server->sessions;
    if (s->next)
        s->next->at = &s->next;
    server->sessions = s;
    *ctx = s;
    return 0;
}

static void session_closed(void *ctx, struct rpc_stream *stream, int code, const char *why)
{
    (void)stream;
    struct session *s = ctx;
    s->closing = true;
    s->kind->gone(s, code, why);
    *s->at = s->next;
    if (s->next)
        s->next->at = s->at;
    outbox_free(&s->out);
    free(s);
}

const struct rpc_handler session_handler = {
    .accept = session_accept, .message = session_message, .fill = session_fill, .closed = session_closed};
