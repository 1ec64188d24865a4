#include "producer/uplink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/commit.h"
#include "base/must.h"
#include "proto/msg.h"

#define CHUNK_KEPT (256u << 10) /* memory of one chunk that is kept for the next */

/* Packed commits on their way, cut into messages. */
struct chunk {
    struct chunk *next;
    struct buf data;
};

struct uplink {
    struct uplink_config config;
    struct rpc_stream *stream; /* NULL: none */
    bool said_hello, up, say_window, leaving, said_leave;
    uint32_t window;
    uint8_t shard[16];
    size_t shard_len;
    struct buf holds;
    struct chunk *first, *last; /* owned: to be sent */
    struct chunk *spare;        /* owned */
};

struct uplink *uplink_new(const struct uplink_config *config)
{
    struct uplink *u = calloc(1, sizeof *u);
    must(u);
    u->config = *config;
    return u;
}

static void chunk_free(struct chunk *c)
{
    if (c)
        buf_free(&c->data);
    free(c);
}

void uplink_free(struct uplink *u)
{
    if (!u)
        return;
    while (u->first) {
        struct chunk *c = u->first;
        u->first = c->next;
        chunk_free(c);
    }
    chunk_free(u->spare);
    buf_free(&u->holds);
    free(u);
}

/* ---- What is to be said ---- */

static void wake(struct uplink *u)
{
    if (u->stream)
        rpc_wake(u->stream);
}

void uplink_window(struct uplink *u, uint32_t grants)
{
    u->window = grants;
    u->say_window = true;
    wake(u);
}

void uplink_holds(struct uplink *u, struct bytes holds)
{
    buf_clear(&u->holds);
    buf_add(&u->holds, holds.data, holds.len);
    wake(u);
}

static struct chunk *chunk_add(struct uplink *u)
{
    struct chunk *c = u->spare ? u->spare : calloc(1, sizeof *c);
    must(c);
    u->spare = NULL;
    c->next = NULL;
    *(u->first ? &u->last->next : &u->first) = c;
    u->last = c;
    return c;
}

void uplink_commits(struct uplink *u, struct bytes commits)
{
    struct chunk *c = u->first ? u->last : NULL;
    if (!c || c->data.len >= PACKED_BYTES_GOAL || c->data.len + commits.len > MSG_BYTES_MAX / 8 * 7)
        c = chunk_add(u);
    buf_add(&c->data, commits.data, commits.len);
    wake(u);
}

static void chunk_sent(struct uplink *u)
{
    struct chunk *c = u->first;
    u->first = c->next;
    if (u->spare || c->data.cap > CHUNK_KEPT) {
        chunk_free(c);
        return;
    }
    buf_clear(&c->data);
    u->spare = c;
}

void uplink_leave(struct uplink *u)
{
    u->leaving = true;
    wake(u);
    if (!u->stream)
        u->config.left(u->config.ctx);
}

/* ---- Saying it ---- */

const char *uplink_arch(void)
{
#if defined(__x86_64__)
    return "x86_64";
#elif defined(__aarch64__)
    return "aarch64";
#else
    return "unknown";
#endif
}

/* The window is announced after Welcome, when the server knows what we hold. */
static bool say_hello(struct uplink *u, struct buf *out)
{
    cx_Msg m = {.which_body = cx_Msg_hello_tag};
    m.body.hello = (cx_Hello){.version = PROTOCOL_VERSION,
                              .software = bytes_str("cx " CX_VERSION),
                              .arch = bytes_str(uplink_arch()),
                              .threads = u->config.threads,
                              .shard = bytes_of(u->shard, u->shard_len)};
    msg_encode(&m, out);
    u->said_hello = true;
    return true;
}

static bool say_packed(pb_size_t kind, struct bytes records, struct buf *out)
{
    cx_Msg m = {.which_body = kind};
    cx_Packed packed = {.records = records};
    if (kind == cx_Msg_holds_tag)
        m.body.holds = packed;
    else
        m.body.commits = packed;
    msg_encode(&m, out);
    return true;
}

static bool say_holds(struct uplink *u, struct buf *out)
{
    say_packed(cx_Msg_holds_tag, buf_bytes(&u->holds), out);
    buf_free(&u->holds);
    return true;
}

static bool say_window(struct uplink *u, struct buf *out)
{
    cx_Msg m = {.which_body = cx_Msg_window_tag, .body.window.grants = u->window};
    msg_encode(&m, out);
    u->say_window = false;
    return true;
}

static bool say_commits(struct uplink *u, struct buf *out)
{
    say_packed(cx_Msg_commits_tag, buf_bytes(&u->first->data), out);
    chunk_sent(u);
    return true;
}

static bool say_leave(struct uplink *u, struct buf *out)
{
    cx_Msg m = {.which_body = cx_Msg_leave_tag};
    msg_encode(&m, out);
    u->said_leave = true;
    return true;
}

static bool fill(void *ctx, struct rpc_stream *s, struct buf *out)
{
    struct uplink *u = ctx;
    if (!u->said_hello)
        return say_hello(u, out);
    if (!u->up)
        return false;
    if (u->holds.len)
        return say_holds(u, out);
    if (u->say_window)
        return say_window(u, out);
    if (u->first)
        return say_commits(u, out);
    if (u->leaving && !u->said_leave)
        return say_leave(u, out);
    if (u->leaving)
        rpc_close(s, 0, "");
    return false;
}

/* ---- What is heard ---- */

static struct id id_of(struct bytes b)
{
    struct reader r = reader_of(b);
    return get_id(&r);
}

static void tell(struct uplink *u, const struct pd_event *ev)
{
    u->config.event(u->config.ctx, ev);
}

/* What was finished while there was no server, and waits here to be sent, is held too: a server that has been
 * started again takes a commit only for what it has granted or was told of. */
static void hold_unsent(struct uplink *u)
{
    for (const struct chunk *k = u->first; k; k = k == u->last ? NULL : k->next) {
        struct reader r = reader_of(buf_bytes(&k->data));
        struct commit c;
        while (reader_more(&r) && commit_get(&r, &c)) {
            put_id(&u->holds, c.job);
            put_id(&u->holds, c.task);
            put_u64(&u->holds, c.hash);
        }
    }
}

static int on_welcome(struct uplink *u, const cx_Msg *m, char *why)
{
    if (u->up || m->body.welcome.version != PROTOCOL_VERSION) {
        snprintf(why, RPC_WHY_MAX, "welcome: twice, or of protocol version %u, ours is %u",
                 (unsigned)m->body.welcome.version, PROTOCOL_VERSION);
        return CX_EVERSION;
    }
    u->up = true;
    u->config.served(u->config.ctx, m->body.welcome.shard, m->body.welcome.addresses);
    tell(u, &(struct pd_event){.kind = PD_UP});
    hold_unsent(u);
    wake(u);
    return 0;
}

static int on_grants(struct uplink *u, const cx_Msg *m, char *why)
{
    (void)why;
    tell(u, &(struct pd_event){.kind = PD_GRANTS, .data = m->body.grants.records});
    return 0;
}

static int on_job(struct uplink *u, const cx_Msg *m, char *why)
{
    (void)why;
    const cx_JobInfo *info = &m->body.job;
    struct pd_job job = {.job = id_of(info->job),
                         .module = info->module.len ? info->module.data : NULL,
                         .input = info->input.len ? info->input.data : NULL,
                         .has_min = info->has_min,
                         .has_max = info->has_max,
                         .best_min = info->best_min,
                         .best_max = info->best_max};
    tell(u, &(struct pd_event){.kind = PD_JOB, .u = {.info = &job}});
    return 0;
}

static int on_job_gone(struct uplink *u, const cx_Msg *m, char *why)
{
    (void)why;
    tell(u, &(struct pd_event){.kind = PD_JOB_GONE, .job = id_of(m->body.job_gone.job)});
    return 0;
}

static int on_bound(struct uplink *u, const cx_Msg *m, char *why)
{
    (void)why;
    const cx_Bound *b = &m->body.bound;
    tell(u, &(struct pd_event){
                .kind = PD_BOUND, .job = id_of(b->job), .bound_kind = b->kind, .bound = b->value});
    return 0;
}

static int on_hungry(struct uplink *u, const cx_Msg *m, char *why)
{
    (void)m, (void)why;
    tell(u, &(struct pd_event){.kind = PD_HUNGRY});
    return 0;
}

static int on_revoke(struct uplink *u, const cx_Msg *m, char *why)
{
    (void)why;
    const cx_TaskRef *t = &m->body.revoke;
    tell(u, &(struct pd_event){.kind = PD_REVOKE, .job = id_of(t->job), .task = id_of(t->task)});
    return 0;
}

static const struct {
    pb_size_t kind;
    int (*take)(struct uplink *u, const cx_Msg *m, char *why);
} kinds[] = {{cx_Msg_grants_tag, on_grants}, {cx_Msg_welcome_tag, on_welcome},
             {cx_Msg_job_tag, on_job},       {cx_Msg_job_gone_tag, on_job_gone},
             {cx_Msg_bound_tag, on_bound},   {cx_Msg_hungry_tag, on_hungry},
             {cx_Msg_revoke_tag, on_revoke}};

static int message(void *ctx, struct rpc_stream *s, struct bytes data, char *why)
{
    (void)s;
    struct uplink *u = ctx;
    cx_Msg m;
    int rc = msg_decode(data, &m, why);
    if (rc)
        return rc;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].kind == m.which_body && (u->up || kinds[i].kind == cx_Msg_welcome_tag))
            return kinds[i].take(u, &m, why);
    snprintf(why, RPC_WHY_MAX, "%s: not expected by a producer%s", msg_kind(&m),
             u->up ? "" : " before welcome");
    return CX_EPROTO;
}

static void closed(void *ctx, struct rpc_stream *s, int code, const char *why)
{
    (void)s;
    struct uplink *u = ctx;
    bool was_up = u->up;
    u->stream = NULL;
    u->up = false;
    buf_free(&u->holds);
    u->say_window = false;
    if (u->leaving)
        u->config.left(u->config.ctx);
    else
        u->config.closed(u->config.ctx, why && *why ? why : cx_err_text(code), was_up);
}

static const struct rpc_handler handler = {.message = message, .fill = fill, .closed = closed};

int uplink_dial(struct uplink *u, const char *address, struct bytes shard)
{
    must(!u->stream && shard.len <= sizeof u->shard);
    if (shard.len)
        memcpy(u->shard, shard.data, shard.len);
    u->shard_len = shard.len;
    u->said_hello = u->up = u->said_leave = false;
    int rc = rpc_dial(u->config.rpc, address, ROLE_SERVER, u->config.me, "/cx.TaskServer/Produce", &handler,
                      u, &u->stream);
    if (!rc)
        rpc_wake(u->stream);
    return rc;
}

void uplink_fault(struct uplink *u, const char *why)
{
    if (u->stream)
        rpc_close(u->stream, CX_EPROTO, why);
}
