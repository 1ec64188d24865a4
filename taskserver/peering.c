#include "taskserver/peering.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addresses.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "proto/msg.h"
#include "taskserver/server.h"

enum {
    DIAL_MIN_US = 50000,
    DIAL_MAX_US = 2000000,
    PING_US = 2000000,
    TIE_BYTES_MAX = 256 << 20, /* unread by the other side */
    SERVERS_MAX = 1024,
    ADDRESSES_BYTES = 512,
};

/* A server of the network, and the shard that is its own. */
struct other {
    struct id id;
    char name[IDENTITY_NAME_MAX + 1];
    char addresses[ADDRESSES_BYTES];
    struct blobfetch *fetch; /* owned; NULL: nothing of it was ever wanted */
};

/* What binds one of our shards to one elsewhere. */
struct tie {
    struct peering *all; /* borrowed */
    struct tie *next;    /* in the list */
    struct shard *shard; /* borrowed; ours. NULL: before Hello, or it is not served here any more */
    struct id other;
    struct rpc_stream *stream; /* NULL: none now; the tie waits to dial again */
    struct outbox out;
    bool dials, up;
    unsigned tries;  /* dials since it was last up; they go to the addresses in turn */
    uint64_t due_us; /* the next dial, or the next ping */
    uint64_t ping, pinged_us;
};

struct peering {
    struct taskserver *server; /* borrowed */
    struct other *other;       /* owned */
    size_t n, cap;
    struct tie *ties; /* owned */
    bool stopping;
};

/* ---- Who there is ---- */

static struct other *find(const struct peering *n, struct id id)
{
    for (size_t i = 0; i < n->n; i++)
        if (id_equal(n->other[i].id, id))
            return &n->other[i];
    return NULL;
}

void peering_know(struct peering *n, const char *name, const char *addresses)
{
    struct id id = shard_id(n->server->config.network, name);
    struct other *known = find(n, id);
    if (!known && n->n == SERVERS_MAX)
        return;
    if (!known && n->n == n->cap) {
        n->cap = n->cap ? 2 * n->cap : 8;
        n->other = realloc(n->other, n->cap * sizeof *n->other);
        must(n->other);
    }
    if (!known) {
        known = &n->other[n->n++];
        *known = (struct other){.id = id};
        snprintf(known->name, sizeof known->name, "%s", name);
    }
    if (strcmp(known->addresses, addresses) == 0)
        return;
    snprintf(known->addresses, sizeof known->addresses, "%s", addresses);
    for (size_t i = 0; i < n->server->shards; i++) /* guests of its shard may be here, from before */
        if (n->server->shard[i].serves)
            peering_guests(n, &n->server->shard[i]);
}

/* ---- Ties ---- */

static struct tie *tie_find(const struct peering *n, const struct shard *shard, struct id other)
{
    for (struct tie *t = n->ties; t; t = t->next)
        if (t->shard == shard && id_equal(t->other, other))
            return t;
    return NULL;
}

static struct tie *tie_new(struct peering *n)
{
    struct tie *t = calloc(1, sizeof *t);
    must(t);
    t->all = n;
    t->next = n->ties;
    n->ties = t;
    return t;
}

static void tie_free(struct tie *t)
{
    struct tie **at = &t->all->ties;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    outbox_free(&t->out);
    free(t);
}

static void tie_event(struct tie *t, enum ts_event_kind kind, uint64_t rtt_us, struct bytes msg)
{
    struct ts_event e = {.kind = kind, .u.other = {.shard = t->other, .rtt_us = rtt_us, .bytes = msg}};
    shard_step(t->shard, &e);
}

static void tie_say(struct tie *t, const cx_Msg *m)
{
    size_t at;
    msg_encode(m, outbox_begin(&t->out, SEGMENT_MESSAGE, &at));
    outbox_end(&t->out, at);
    if (outbox_bytes(&t->out) > TIE_BYTES_MAX)
        rpc_close(t->stream, CX_ELIMIT, "the other shard does not read");
    else
        rpc_wake(t->stream);
}

static void tie_up(struct tie *t, uint64_t rtt_us)
{
    const struct other *o = find(t->all, t->other);
    log_info("shard %s: connected to shard %s", t->shard->name, o ? o->name : "of an unknown server");
    t->up = true;
    t->tries = 0;
    t->due_us = clock_us() + PING_US;
    tie_event(t, TS_PEER_UP, rtt_us, (struct bytes){0});
}

static void tie_down(struct tie *t)
{
    bool up = t->up;
    t->up = false;
    if (up && t->shard)
        tie_event(t, TS_PEER_DOWN, 0, (struct bytes){0});
}

const char *peering_addresses(const struct peering *n, struct id id)
{
    const struct other *known = find(n, id);
    return known ? known->addresses : "";
}

/* ---- Saying ---- */

void peer_say(struct shard *s, const struct ts_effect *fx)
{
    struct tie *t = tie_find(s->server->peering, s, fx->shard);
    cx_Msg m = {.which_body = cx_Msg_peer_tag, .body.peer.records = ts_effect_data(&s->fx, fx)};
    if (t && t->up)
        tie_say(t, &m);
}

void peer_fault(struct shard *s, const struct ts_effect *fx)
{
    struct tie *t = tie_find(s->server->peering, s, fx->shard);
    char why[RPC_WHY_MAX];
    msg_str(why, sizeof why, text_clean(&s->server->scratch, ts_effect_data(&s->fx, fx), sizeof why - 1));
    log_warn("shard %s: another shard is at fault: %s", s->name, why);
    if (t && t->stream)
        rpc_close(t->stream, CX_EPROTO, why);
}

/* ---- Guests: the modules and inputs of tasks that come from other shards ---- */

static void want_blob(struct peering *n, struct other *from, const uint8_t *sha256)
{
    struct taskserver *server = n->server;
    if (blobs_have(server->blobs, sha256, taskserver_now(server)))
        return;
    if (!from->fetch)
        from->fetch = taskserver_fetch(server);
    blobfetch_address(from->fetch, from->addresses);
    blobfetch_want(from->fetch, sha256);
}

static void want_blobs(struct peering *n, const struct ts_job_info *guest)
{
    struct other *from = find(n, guest->origin);
    for (uint32_t i = 0; from && i < guest->modules; i++)
        want_blob(n, from, guest->module[i].sha256);
    if (from && guest->has_input)
        want_blob(n, from, guest->input);
}

void peer_guest(struct shard *s, const struct ts_effect *fx)
{
    struct ts_job_info job;
    if (ts_job_find(s->ts, fx->job, &job))
        want_blobs(s->server->peering, &job);
}

void peering_guests(struct peering *n, const struct shard *s)
{
    struct ts_job_info job;
    for (uint64_t cursor = 0; ts_job_next(s->ts, &cursor, &job);)
        if (job.guest && job.state == TS_JOB_RUNNING)
            want_blobs(n, &job);
}

bool peering_brings(const struct peering *n, const uint8_t *sha256)
{
    for (size_t i = 0; i < n->n; i++)
        if (n->other[i].fetch && blobfetch_wanted(n->other[i].fetch, sha256))
            return true;
    return false;
}

static void say_hello(struct tie *t)
{
    struct id_bytes wanted = id_bytes(t->other), from = id_bytes(t->shard->id);
    cx_Msg m = {.which_body = cx_Msg_hello_tag};
    m.body.hello = (cx_Hello){.version = PROTOCOL_VERSION,
                              .software = bytes_str("cx-taskserver " CX_VERSION),
                              .shard = id_view(&wanted),
                              .from = id_view(&from)};
    t->pinged_us = clock_us();
    tie_say(t, &m);
}

static void ping(struct tie *t, uint64_t now_us)
{
    cx_Msg m = {.req = ++t->ping, .which_body = cx_Msg_peer_tag};
    t->pinged_us = now_us;
    t->due_us = now_us + PING_US;
    tie_say(t, &m);
}

static bool fill(void *ctx, struct rpc_stream *stream, struct buf *out)
{
    (void)stream;
    struct tie *t = ctx;
    struct segment seg;
    const uint8_t *data = outbox_first(&t->out, &seg);
    if (!data)
        return false;
    buf_add(out, data, seg.len);
    outbox_pop(&t->out);
    return true;
}

/* ---- Hearing ---- */

static int on_hello(struct tie *t, const cx_Msg *m, char *why)
{
    const cx_Hello *hello = &m->body.hello;
    struct shard *shard = hello->shard.len ? taskserver_shard(t->all->server, id_of(hello->shard)) : NULL;
    if (t->shard || hello->version != PROTOCOL_VERSION || !hello->from.len) {
        snprintf(why, RPC_WHY_MAX, "hello: once a stream, of version %u, with the shard that speaks",
                 PROTOCOL_VERSION);
        return CX_EPROTO;
    }
    if (!shard || !shard->open) {
        snprintf(why, RPC_WHY_MAX, "not the primary of shard %s", shard ? shard->name : "that was asked for");
        return CX_ENONET;
    }
    struct tie *old = tie_find(t->all, shard, id_of(hello->from));
    if (old) {
        tie_down(old);
        old->shard = NULL;
        if (old->stream)
            rpc_close(old->stream, CX_OK, "");
    }
    t->shard = shard;
    t->other = id_of(hello->from);
    struct id_bytes id = id_bytes(shard->id);
    cx_Msg welcome = {.which_body = cx_Msg_welcome_tag};
    welcome.body.welcome = (cx_Welcome){.version = PROTOCOL_VERSION,
                                        .network = bytes_str(t->all->server->config.network),
                                        .shard = id_view(&id)};
    tie_say(t, &welcome);
    tie_up(t, 0);
    return 0;
}

static int on_welcome(struct tie *t, const cx_Msg *m, char *why)
{
    (void)m;
    if (!t->dials || t->up) {
        snprintf(why, RPC_WHY_MAX, "welcome: not expected");
        return CX_EPROTO;
    }
    tie_up(t, clock_us() - t->pinged_us);
    return 0;
}

/* A message of no records with a number is a ping; the answer has its number. */
static int on_peer(struct tie *t, const cx_Msg *m, char *why)
{
    (void)why;
    struct bytes records = m->body.peer.records;
    if (m->req && !records.len) {
        cx_Msg pong = {.req = m->req, .which_body = cx_Msg_status_tag};
        tie_say(t, &pong);
        return 0;
    }
    tie_event(t, TS_PEER_MSG, 0, records);
    return 0;
}

static int on_status(struct tie *t, const cx_Msg *m, char *why)
{
    (void)why;
    if (m->req == t->ping)
        tie_event(t, TS_PEER_RTT, clock_us() - t->pinged_us, (struct bytes){0});
    return 0;
}

static int message(void *ctx, struct rpc_stream *stream, struct bytes data, char *why)
{
    static const struct {
        pb_size_t kind;
        bool up;
        int (*take)(struct tie *t, const cx_Msg *m, char *why);
    } kinds[] = {{cx_Msg_peer_tag, true, on_peer},
                 {cx_Msg_status_tag, true, on_status},
                 {cx_Msg_hello_tag, false, on_hello},
                 {cx_Msg_welcome_tag, false, on_welcome}};
    (void)stream;
    struct tie *t = ctx;
    cx_Msg m;
    int code = msg_decode(data, &m, why);
    if (code)
        return code;
    if (t->up ? !t->shard : t->dials && !t->shard)
        return 0; /* it is being closed */
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].kind == m.which_body && kinds[i].up == t->up)
            return kinds[i].take(t, &m, why);
    snprintf(why, RPC_WHY_MAX, "%s: not expected between shards%s", msg_kind(&m),
             t->up ? "" : " before welcome");
    return CX_EPROTO;
}

/* ---- Coming and going ---- */

static int accept(void *service, struct rpc_stream *stream, const struct identity *peer, void **ctx,
                  char *why)
{
    struct peering *n = service;
    (void)peer;
    if (n->stopping) {
        snprintf(why, RPC_WHY_MAX, "the server is stopping");
        return CX_ENONET;
    }
    struct tie *t = tie_new(n);
    t->stream = stream;
    *ctx = t;
    return 0;
}

static uint64_t pause_us(unsigned tries)
{
    uint64_t pause = (uint64_t)DIAL_MIN_US << (tries < 6 ? tries : 6);
    return pause < DIAL_MAX_US ? pause : DIAL_MAX_US;
}

static void closed(void *ctx, struct rpc_stream *stream, int code, const char *why)
{
    (void)stream;
    struct tie *t = ctx;
    t->stream = NULL;
    log_debug("shard %s: a stream to another shard ended: %s %s", t->shard ? t->shard->name : "?",
              cx_err_text(code), why);
    tie_down(t);
    outbox_free(&t->out);
    t->out = (struct outbox){0};
    if (!t->dials || !t->shard || t->all->stopping) {
        tie_free(t);
        return;
    }
    t->due_us = clock_us() + pause_us(t->tries++);
}

const struct rpc_handler peering_handler = {accept, message, fill, closed};

void peering_close(struct peering *n, const struct shard *shard)
{
    for (struct tie *t = n->ties, *next; t; t = next) {
        next = t->next;
        if (t->shard != shard)
            continue;
        t->shard = NULL; /* its task table knows no peers any more */
        if (t->stream)
            rpc_close(t->stream, CX_ENONET, "not the primary of the shard any more");
        else
            tie_free(t);
    }
}

/* ---- What is due ---- */

static void dial(struct tie *t, uint64_t now_us)
{
    const struct other *o = find(t->all, t->other);
    struct taskserver *server = t->all->server;
    char address[ADDRESSES_BYTES];
    address_at(o->addresses, t->tries, address, sizeof address);
    int code = rpc_dial(server->rpc, address, ROLE_SERVER, server->config.me, "/cx.TaskServer/Peer",
                        &peering_handler, t, &t->stream);
    if (code) {
        t->stream = NULL;
        t->due_us = now_us + pause_us(t->tries++);
        return;
    }
    say_hello(t);
}

static void want(struct peering *n, struct shard *shard, struct id other)
{
    if (shard->id.hi > other.hi || (shard->id.hi == other.hi && shard->id.lo >= other.lo) ||
        tie_find(n, shard, other))
        return;
    struct tie *t = tie_new(n);
    t->shard = shard;
    t->other = other;
    t->dials = true;
}

static void want_all(struct peering *n)
{
    struct taskserver *server = n->server;
    for (size_t i = 0; i < server->shards; i++)
        for (size_t j = 0; server->shard[i].open && j < n->n; j++)
            want(n, &server->shard[i], n->other[j].id);
}

static void tie_tick(struct tie *t, uint64_t now_us)
{
    if (now_us < t->due_us || !t->shard)
        return;
    if (!t->stream)
        dial(t, now_us);
    else if (t->up)
        ping(t, now_us);
}

uint64_t peering_tick(struct peering *n, uint64_t now_us)
{
    uint64_t next = UINT64_MAX;
    if (n->stopping)
        return next;
    want_all(n);
    for (size_t i = 0; i < n->n; i++) {
        uint64_t due = n->other[i].fetch ? blobfetch_tick(n->other[i].fetch, now_us) : UINT64_MAX;
        next = due < next ? due : next;
    }
    for (struct tie *t = n->ties; t; t = t->next) {
        tie_tick(t, now_us);
        if (t->shard && (t->up || !t->stream) && t->due_us < next)
            next = t->due_us;
    }
    return next;
}

/* ---- Life ---- */

struct peering *peering_new(struct taskserver *server)
{
    struct peering *n = calloc(1, sizeof *n);
    must(n);
    n->server = server;
    return n;
}

void peering_stop(struct peering *n)
{
    n->stopping = true;
    for (size_t i = 0; i < n->n; i++)
        if (n->other[i].fetch)
            blobfetch_stop(n->other[i].fetch);
    for (struct tie *t = n->ties, *next; t; t = next) {
        next = t->next;
        if (t->stream)
            rpc_close(t->stream, CX_ENONET, "the server is stopping");
        else
            tie_free(t);
    }
}

void peering_free(struct peering *n)
{
    if (!n)
        return;
    while (n->ties)
        tie_free(n->ties);
    for (size_t i = 0; i < n->n; i++)
        blobfetch_free(n->other[i].fetch);
    free(n->other);
    free(n);
}
