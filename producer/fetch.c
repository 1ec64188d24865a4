#include "producer/fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "proto/msg.h"

struct wish {
    struct wish *next;
    uint64_t req;
    uint8_t sha[32];
};

struct fetch {
    struct fetch_config config;
    char address[256];
    struct rpc_stream *stream; /* NULL: none */
    struct wish *first, *last; /* owned; the first is the one on its way */
    bool asked;                /* the first has been asked for */
    struct blobwrite *write;   /* owned: of the first */
    uint64_t got, reqs;
};

struct fetch *fetch_new(const struct fetch_config *config)
{
    struct fetch *f = calloc(1, sizeof *f);
    must(f);
    f->config = *config;
    return f;
}

static struct wish *wish_pop(struct fetch *f)
{
    struct wish *w = f->first;
    f->first = w->next;
    f->asked = false;
    blobwrite_drop(f->write);
    f->write = NULL;
    f->got = 0;
    return w;
}

void fetch_free(struct fetch *f)
{
    if (!f)
        return;
    while (f->first)
        free(wish_pop(f));
    free(f);
}

void fetch_from(struct fetch *f, const char *address)
{
    if (strcmp(f->address, address) == 0)
        return;
    snprintf(f->address, sizeof f->address, "%s", address);
    if (f->stream)
        rpc_close(f->stream, CX_ECANCELLED, "another server");
}

/* Ends the first wish. */
static void finish(struct fetch *f, int code, const char *why)
{
    struct wish *w = wish_pop(f);
    f->config.done(f->config.ctx, w->sha, code, why);
    free(w);
    if (f->first && f->stream)
        rpc_wake(f->stream);
}

static bool fill(void *ctx, struct rpc_stream *s, struct buf *out)
{
    (void)s;
    struct fetch *f = ctx;
    if (!f->first || f->asked)
        return false;
    cx_Msg m = {.req = f->first->req, .which_body = cx_Msg_blob_get_tag};
    m.body.blob_get.sha256 = bytes_of(f->first->sha, 32);
    msg_encode(&m, out);
    f->asked = true;
    return true;
}

static void on_status(struct fetch *f, const cx_Msg *m)
{
    char text[MSG_TEXT_MAX], why[MSG_TEXT_MAX + 64];
    int code = m->body.status.code ? m->body.status.code : CX_EPROTO;
    msg_str(text, sizeof text, m->body.status.text);
    snprintf(why, sizeof why, "a blob of the job cannot be had: %s", *text ? text : cx_err_text(code));
    finish(f, code, why);
}

static void end(struct fetch *f)
{
    struct blobwrite *w = f->write;
    f->write = NULL;
    int rc = blobwrite_end(w);
    /* What arrived with a wrong hash may arrive well the next time; the core limits how often. */
    if (rc)
        finish(f, CX_EIO,
               rc == CX_EPROTO ? "a blob arrived corrupt" : "a blob could not be written to the cache");
    else
        finish(f, 0, "");
}

static void on_chunk(struct fetch *f, const cx_Msg *m)
{
    struct bytes data = m->body.blob_chunk.data;
    f->got += data.len;
    int rc = f->got > BLOB_BYTES_MAX ? CX_ELIMIT : 0;
    if (!rc && !f->write)
        rc = blobcache_begin(f->config.cache, f->first->sha, &f->write);
    if (!rc)
        rc = blobwrite_add(f->write, data);
    if (rc) {
        rpc_close(f->stream, CX_ECANCELLED, "blob given up");
        finish(f, rc, "a blob could not be written to the cache");
    } else if (m->body.blob_chunk.last) {
        end(f);
    }
}

static int message(void *ctx, struct rpc_stream *s, struct bytes data, char *why)
{
    (void)s;
    struct fetch *f = ctx;
    cx_Msg m;
    int rc = msg_decode(data, &m, why);
    if (rc)
        return rc;
    if (!f->first || !f->asked || m.req != f->first->req)
        return 0; /* of a fetch that was given up */
    if (m.which_body == cx_Msg_status_tag)
        on_status(f, &m);
    else if (m.which_body == cx_Msg_blob_chunk_tag)
        on_chunk(f, &m);
    else
        return snprintf(why, RPC_WHY_MAX, "%s: not expected on a blob stream", msg_kind(&m)), CX_EPROTO;
    return 0;
}

static void closed(void *ctx, struct rpc_stream *s, int code, const char *why)
{
    (void)s, (void)code;
    struct fetch *f = ctx;
    char text[RPC_WHY_MAX];
    snprintf(text, sizeof text, "%s", why ? why : "");
    f->stream = NULL;
    struct wish *last = f->first ? f->last : NULL;
    for (bool more = last != NULL; more;) {
        more = f->first != last;
        finish(f, CX_ENONET, text);
    }
}

static const struct rpc_handler handler = {.message = message, .fill = fill, .closed = closed};

static bool wished(const struct fetch *f, const uint8_t sha[32])
{
    for (const struct wish *w = f->first; w; w = w->next)
        if (memcmp(w->sha, sha, 32) == 0)
            return true;
    return false;
}

static void wish_add(struct fetch *f, const uint8_t sha[32])
{
    struct wish *w = calloc(1, sizeof *w);
    must(w);
    w->req = ++f->reqs;
    memcpy(w->sha, sha, 32);
    *(f->first ? &f->last->next : &f->first) = w;
    f->last = w;
}

void fetch_blob(struct fetch *f, const uint8_t sha[32])
{
    int fd;
    if (wished(f, sha))
        return;
    if (blobcache_open(f->config.cache, sha, &fd) == 0) {
        close(fd);
        f->config.done(f->config.ctx, sha, 0, "");
        return;
    }
    int rc = f->stream ? 0
                       : rpc_dial(f->config.rpc, f->address, ROLE_SERVER, f->config.me,
                                  "/cx.TaskServer/Blobs", &handler, f, &f->stream);
    if (rc) {
        f->config.done(f->config.ctx, sha, CX_ENONET, "the task server's address is not usable");
        return;
    }
    wish_add(f, sha);
    rpc_wake(f->stream);
}
