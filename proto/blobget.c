#include "proto/blobget.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "proto/msg.h"

enum { HASH_BYTES = 32, ADDRESS_MAX = 256 };

struct wish {
    struct wish *next;
    uint64_t req;
    uint8_t sha256[HASH_BYTES];
};

struct blobget {
    struct blobget_config config;
    char address[ADDRESS_MAX];
    struct rpc_stream *stream; /* NULL: none */
    struct wish *first, *last; /* owned; the first is the one on its way */
    bool asked;                /* the first has been asked for */
    uint64_t got, reqs;
};

/* ---- Wishes ---- */

static struct wish *wish_pop(struct blobget *g)
{
    struct wish *w = g->first;
    g->first = w->next;
    g->asked = false;
    g->got = 0;
    return w;
}

static void wish_add(struct blobget *g, const uint8_t *sha256)
{
    struct wish *w = calloc(1, sizeof *w);
    must(w);
    w->req = ++g->reqs;
    memcpy(w->sha256, sha256, HASH_BYTES);
    *(g->first ? &g->last->next : &g->first) = w;
    g->last = w;
}

/* Ends the first. */
static void finish(struct blobget *g, int code, const char *why)
{
    struct wish *w = wish_pop(g);
    g->config.done(g->config.ctx, w->sha256, code, why);
    free(w);
    if (g->first && g->stream)
        rpc_wake(g->stream);
}

/* ---- The stream ---- */

static bool fill(void *ctx, struct rpc_stream *s, struct buf *out)
{
    struct blobget *g = ctx;
    if (s != g->stream || !g->first || g->asked)
        return false;
    cx_Msg m = {.req = g->first->req, .which_body = cx_Msg_blob_get_tag};
    m.body.blob_get.sha256 = bytes_of(g->first->sha256, HASH_BYTES);
    msg_encode(&m, out);
    g->asked = true;
    return true;
}

static void on_status(struct blobget *g, const cx_Msg *m)
{
    char text[MSG_TEXT_MAX];
    int code = m->body.status.code ? m->body.status.code : CX_EPROTO;
    msg_str(text, sizeof text, m->body.status.text);
    finish(g, code, *text ? text : cx_err_text(code));
}

/* The rest of one that was given up in the middle would still come: the stream is ended instead. */
static void on_chunk(struct blobget *g, const cx_Msg *m)
{
    const cx_BlobChunk *chunk = &m->body.blob_chunk;
    char why[RPC_WHY_MAX] = "it is larger than a blob may be";
    g->got += chunk->data.len;
    int code = g->got > BLOB_BYTES_MAX ? CX_ELIMIT : 0;
    if (!code)
        code = g->config.data(g->config.ctx, g->first->sha256, chunk->data, chunk->last, why);
    if (code && !chunk->last)
        rpc_close(g->stream, CX_ECANCELLED, "blob given up");
    if (code || chunk->last)
        finish(g, code, code ? why : "");
}

static int message(void *ctx, struct rpc_stream *s, struct bytes data, char *why)
{
    (void)s;
    struct blobget *g = ctx;
    cx_Msg m;
    int code = msg_decode(data, &m, why);
    if (code)
        return code;
    if (!g->first || !g->asked || m.req != g->first->req)
        return 0; /* of one that was given up */
    if (m.which_body == cx_Msg_status_tag)
        on_status(g, &m);
    else if (m.which_body == cx_Msg_blob_chunk_tag)
        on_chunk(g, &m);
    else
        return snprintf(why, RPC_WHY_MAX, "%s: not expected on a blob stream", msg_kind(&m)), CX_EPROTO;
    return 0;
}

/* What was wished for until now ends with it; `done` may wish anew, over another stream. */
static void closed(void *ctx, struct rpc_stream *s, int code, const char *why)
{
    struct blobget *g = ctx;
    char text[RPC_WHY_MAX];
    if (s != g->stream)
        return; /* left for another server, with nothing to wait for */
    snprintf(text, sizeof text, "%s", why && *why ? why : cx_err_text(code ? code : CX_ENONET));
    g->stream = NULL;
    struct wish *last = g->first ? g->last : NULL;
    for (bool more = last != NULL; more;) {
        more = g->first != last;
        finish(g, CX_ENONET, text);
    }
}

static const struct rpc_handler handler = {.message = message, .fill = fill, .closed = closed};

/* ---- For its user ---- */

bool blobget_asked(const struct blobget *g, const uint8_t *sha256)
{
    for (const struct wish *w = g->first; w; w = w->next)
        if (memcmp(w->sha256, sha256, HASH_BYTES) == 0)
            return true;
    return false;
}

int blobget_ask(struct blobget *g, const uint8_t *sha256)
{
    int code = g->stream ? 0
                         : rpc_dial(g->config.rpc, g->address, ROLE_SERVER, g->config.me,
                                    "/cx.TaskServer/Blobs", &handler, g, &g->stream);
    if (code)
        return code;
    wish_add(g, sha256);
    rpc_wake(g->stream);
    return 0;
}

void blobget_from(struct blobget *g, const char *address)
{
    if (strcmp(g->address, address) == 0)
        return;
    snprintf(g->address, sizeof g->address, "%s", address);
    if (!g->stream)
        return;
    rpc_close(g->stream, CX_ECANCELLED, "another server");
    if (!g->first)
        g->stream = NULL;
}

void blobget_close(struct blobget *g)
{
    if (g->stream)
        rpc_close(g->stream, CX_ECANCELLED, "no more blobs are wanted");
}

struct blobget *blobget_new(const struct blobget_config *config)
{
    struct blobget *g = calloc(1, sizeof *g);
    must(g);
    g->config = *config;
    return g;
}

void blobget_free(struct blobget *g)
{
    if (!g)
        return;
    while (g->first)
        free(wish_pop(g));
    free(g);
}
