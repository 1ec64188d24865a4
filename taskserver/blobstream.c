/* Blobs streams: modules and inputs, by SHA-256 (docs/PROTOCOL.md, 5). Puts of one stream come one after the
 * other; their syncs and all gets may overlap. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/must.h"
#include "taskserver/server.h"

enum { GETS_MAX = 16, PUTS_MAX = 16, GET_CHUNK_BYTES = 256 << 10 };

/* A put that this stream has begun and that has not been answered. */
struct putting {
    struct blob_session *session;
    struct blob_put *put; /* NULL: a free place */
    uint64_t req;
    bool complete; /* all bytes came; it is being synced */
};

struct getting {
    struct blob_get *get;
    uint64_t req;
};

/* A get of a blob that is on its way here from another server. */
struct expecting {
    uint8_t sha256[BLOB_HASH_BYTES];
    uint64_t req;
};

struct blob_session {
    struct session base; /* first */
    struct putting put[PUTS_MAX];
    struct getting get[GETS_MAX]; /* in order, the first is being sent */
    unsigned gets;
    struct expecting expected[GETS_MAX];
    unsigned expects;
    uint64_t ignored; /* the request whose chunks are passed over: it was answered before they all came */
    bool ignoring;
    struct buf chunk;
};

static struct blob_session *session_of(struct session *s)
{
    return (struct blob_session *)s;
}

static bool is_consumer(const struct session *s)
{
    return s->role == ROLE_CONSUMER || s->role == ROLE_ADMIN;
}

static int wrong_role(const struct session *s, const cx_Msg *m, char *why)
{
    snprintf(why, RPC_WHY_MAX, "%s: not to be sent by a %s", msg_kind(m), role_name(s->role));
    return CX_EAUTH;
}

/* ---- Having ---- */

static int on_have(struct session *s, const cx_Msg *m, char *why)
{
    (void)why;
    bool have = blobs_have(s->server->blobs, m->body.blob_have.sha256.data, taskserver_now(s->server));
    session_statusf(s, m->req, have ? CX_OK : CX_ENOTFOUND, "%s", have ? "" : "not here");
    return 0;
}

/* ---- Putting ---- */

static struct putting *find_put(struct blob_session *b, bool complete)
{
    for (unsigned i = 0; i < PUTS_MAX; i++)
        if (b->put[i].put && b->put[i].complete == complete)
            return &b->put[i];
    return NULL;
}

static struct putting *free_put(struct blob_session *b)
{
    for (unsigned i = 0; i < PUTS_MAX; i++)
        if (!b->put[i].put)
            return &b->put[i];
    return NULL;
}

/* The request is answered; what still comes for it is passed over. */
static void answer_put(struct blob_session *b, uint64_t req, int code, const char *text)
{
    b->ignored = req;
    b->ignoring = true;
    session_statusf(&b->base, req, code, "%s", text);
}

static void put_done(void *ctx, int code, const char *why)
{
    struct putting *p = ctx;
    p->put = NULL;
    if (code)
        log_warn("blob of %s: %s", p->session->base.name, why);
    session_statusf(&p->session->base, p->req, code, "%s", why);
}

static int on_put(struct session *s, const cx_Msg *m, char *why)
{
    struct blob_session *b = session_of(s);
    const cx_BlobRef *ref = &m->body.blob_put;
    char text[STATE_WHY_MAX] = "";
    if (!is_consumer(s))
        return wrong_role(s, m, why);
    if (find_put(b, false)) {
        snprintf(why, RPC_WHY_MAX, "blob_put: the last one's chunks have not all come");
        return CX_EPROTO;
    }
    struct putting *p = free_put(b);
    b->ignoring = false;
    if (blobs_have(s->server->blobs, ref->sha256.data, taskserver_now(s->server))) {
        answer_put(b, m->req, CX_OK, "");
    } else if (!p) {
        answer_put(b, m->req, CX_ELIMIT, "16 puts of this stream wait for the disk, its limit");
    } else {
        int code = blob_put_begin(s->server->blobs, ref->sha256.data, ref->size, put_done, p, &p->put, text);
        if (code)
            answer_put(b, m->req, code, text);
        else
            *p = (struct putting){.session = b, .put = p->put, .req = m->req};
    }
    return 0;
}

static int on_chunk(struct session *s, const cx_Msg *m, char *why)
{
    struct blob_session *b = session_of(s);
    const cx_BlobChunk *chunk = &m->body.blob_chunk;
    struct putting *p = find_put(b, false);
    char text[STATE_WHY_MAX] = "";
    if (!is_consumer(s))
        return wrong_role(s, m, why);
    if (!p || p->req != m->req) {
        if (b->ignoring && b->ignored == m->req)
            return 0;
        snprintf(why, RPC_WHY_MAX, "blob_chunk: no put with this request number is under way");
        return CX_EPROTO;
    }
    p->complete = chunk->last;
    int code = blob_put_add(p->put, chunk->data, chunk->last, taskserver_now(s->server), text);
    if (code) {
        p->put = NULL;
        answer_put(b, m->req, code, text);
    }
    return 0;
}

/* ---- Getting ---- */

/* A server is told at once: two that want the same one of each other would wait for ever. */
static bool may_wait(const struct session *s, const uint8_t *sha256)
{
    return s->role != ROLE_SERVER && taskserver_brings(s->server, sha256);
}

static void begin_get(struct session *s, uint64_t req, const uint8_t *sha256)
{
    struct blob_session *b = session_of(s);
    struct getting *g = &b->get[b->gets];
    char text[STATE_WHY_MAX] = "";
    int code = blob_get_begin(s->server->blobs, sha256, taskserver_now(s->server), &g->get, text);
    if (code == CX_ENOTFOUND && may_wait(s, sha256)) {
        struct expecting *e = &b->expected[b->expects++];
        memcpy(e->sha256, sha256, sizeof e->sha256);
        e->req = req;
    } else if (code) {
        session_statusf(s, req, code, "%s", text);
    } else {
        g->req = req;
        b->gets++;
        rpc_wake(s->stream);
    }
}

static int on_get(struct session *s, const cx_Msg *m, char *why)
{
    (void)why;
    const struct blob_session *b = session_of(s);
    if (b->gets + b->expects == GETS_MAX)
        session_statusf(s, m->req, CX_ELIMIT, "%d gets of this stream are under way, its limit", GETS_MAX);
    else
        begin_get(s, m->req, m->body.blob_get.sha256.data);
    return 0;
}

void blob_came_for_streams(struct taskserver *server)
{
    struct expecting again[GETS_MAX];
    for (struct session *s = server->sessions; s; s = s->next) {
        if (s->kind != &blob_kind || s->closing)
            continue;
        struct blob_session *b = session_of(s);
        unsigned n = b->expects;
        memcpy(again, b->expected, n * sizeof again[0]);
        b->expects = 0;
        for (unsigned i = 0; i < n; i++)
            begin_get(s, again[i].req, again[i].sha256);
    }
}

/* Whoever waits for it asks for others meanwhile, and for this one again. */
static void answer_late(struct session *s, const uint8_t *sha256)
{
    struct blob_session *b = session_of(s);
    unsigned kept = 0;
    for (unsigned i = 0; i < b->expects; i++)
        if (memcmp(b->expected[i].sha256, sha256, BLOB_HASH_BYTES) == 0)
            session_statusf(s, b->expected[i].req, CX_EIO, "it has not come from another server yet");
        else
            b->expected[kept++] = b->expected[i];
    b->expects = kept;
}

void blob_late_for_streams(struct taskserver *server, const uint8_t *sha256)
{
    for (struct session *s = server->sessions; s; s = s->next)
        if (s->kind == &blob_kind && !s->closing)
            answer_late(s, sha256);
}

static void end_get(struct blob_session *b)
{
    blob_get_end(b->get[0].get);
    b->gets--;
    memmove(b->get, b->get + 1, b->gets * sizeof b->get[0]);
}

static bool next_chunk(struct session *s, struct buf *out)
{
    struct blob_session *b = session_of(s);
    bool last = true;
    if (!b->gets)
        return false;
    cx_Msg m = {.req = b->get[0].req, .which_body = cx_Msg_blob_chunk_tag};
    buf_clear(&b->chunk);
    int code = blob_get_next(b->get[0].get, GET_CHUNK_BYTES, &b->chunk, &last);
    if (code) {
        m.which_body = cx_Msg_status_tag;
        m.body.status = (cx_Status){
            code, bytes_str("the blob was damaged on the server's disk and has been removed: submit again")};
        last = true;
    } else {
        m.body.blob_chunk = (cx_BlobChunk){.data = buf_bytes(&b->chunk), .last = last};
    }
    msg_encode(&m, out);
    if (last)
        end_get(b);
    return true;
}

/* ---- Going ---- */

static void blob_gone(struct session *s, int code, const char *why)
{
    (void)code;
    (void)why;
    struct blob_session *b = session_of(s);
    for (unsigned i = 0; i < PUTS_MAX; i++)
        if (b->put[i].put)
            blob_put_abandon(b->put[i].put);
    while (b->gets)
        end_get(b);
    buf_free(&b->chunk);
}

static session_message_fn *const on[SESSION_TAGS] = {
    [cx_Msg_blob_have_tag] = on_have,
    [cx_Msg_blob_get_tag] = on_get,
    [cx_Msg_blob_put_tag] = on_put,
    [cx_Msg_blob_chunk_tag] = on_chunk,
};

const struct session_kind blob_kind = {.name = "blob stream",
                                       .bytes = sizeof(struct blob_session),
                                       .outbox_share = 1,
                                       .streams_max = 256,
                                       .on = on,
                                       .more = next_chunk,
                                       .gone = blob_gone};
