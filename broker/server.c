#include "broker/server.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "broker/witnessing.h"
#include "proto/msg.h"

enum { OUTBOX_BYTES_MAX = 1 << 20 }; /* of answers that a peer asked for and does not read */

/* One peer's stream. */
struct talk {
    struct broker *broker; /* borrowed */
    struct rpc_stream *stream;
    struct identity peer;
    uint32_t index;  /* in broker.talk */
    uint32_t serial; /* of all that ever were there */
    /* Encoded answers, one after the other, each preceded by its length; `sent` bytes of it are out. */
    struct buf outbox;
    size_t sent;
};

struct broker {
    struct bk *core;     /* owned */
    struct store *store; /* borrowed */
    struct witnessing *witness;
    struct bk_effects out; /* of the step that runs */
    struct talk **talk;    /* owned, streams_max; NULL: free */
    uint32_t talks, streams_max, serial;
    struct rpc_service service; /* the runtime borrows it */
    bool stopping;
};

/* ---- Answers ---- */

static void talk_send(struct talk *t, const cx_Msg *m)
{
    struct buf *box = &t->outbox;
    size_t at = box->len;
    uint32_t len = 0;
    buf_add(box, &len, sizeof len);
    msg_encode(m, box);
    len = (uint32_t)(box->len - at - sizeof len);
    memcpy(box->data + at, &len, sizeof len);
    rpc_wake(t->stream);
}

static void talk_status(struct talk *t, uint64_t req, int code, const char *text)
{
    cx_Msg m = {.req = req, .which_body = cx_Msg_status_tag};
    m.body.status = (cx_Status){code, bytes_str(text)};
    talk_send(t, &m);
}

static bool talk_fill(void *ctx, struct rpc_stream *s, struct buf *out)
{
    (void)s;
    struct talk *t = ctx;
    uint32_t len;
    if (t->sent == t->outbox.len) {
        buf_free(&t->outbox);
        t->sent = 0;
        return false;
    }
    memcpy(&len, t->outbox.data + t->sent, sizeof len);
    buf_add(out, t->outbox.data + t->sent + sizeof len, len);
    t->sent += sizeof len + len;
    if (t->sent > t->outbox.len / 2) {
        t->outbox.len -= t->sent;
        memmove(t->outbox.data, t->outbox.data + t->sent, t->outbox.len);
        t->sent = 0;
    }
    return true;
}

/* ---- Effects ---- */

static void do_offer(struct broker *b, struct talk *t, const struct bk_effect *fx)
{
    (void)b;
    cx_Msg m = {.req = fx->req, .which_body = cx_Msg_offer_tag};
    m.body.offer = (cx_Offer){.network = bytes_str(fx->record->network),
                              .address = bytes_str(fx->record->address),
                              .threads = fx->load.threads,
                              .price = fx->record->price};
    talk_send(t, &m);
}

static void do_row(struct broker *b, struct talk *t, const struct bk_effect *fx)
{
    (void)b;
    cx_Msg m = {.req = fx->req, .which_body = cx_Msg_network_row_tag};
    m.body.network_row = (cx_NetworkRow){.network = bytes_str(fx->record->network),
                                         .address = bytes_str(fx->record->address),
                                         .producers = fx->load.producers,
                                         .threads = fx->load.threads,
                                         .ready = fx->load.ready,
                                         .granted = fx->load.granted,
                                         .jobs = fx->load.jobs,
                                         .age_ms = fx->age_us / 1000,
                                         .alive = fx->alive,
                                         .arch = bytes_str(fx->record->arch),
                                         .price = fx->record->price,
                                         .name = bytes_str(fx->record->name)};
    talk_send(t, &m);
}

static void do_reply(struct broker *b, struct talk *t, const struct bk_effect *fx)
{
    (void)b;
    if (fx->code == CX_EAUTH)
        log_warn("%s/%s: refused: %s", role_name(t->peer.role), t->peer.name, fx->text);
    talk_status(t, fx->req, fx->code, fx->text);
}

/* Runs one step and its effects. A save answers with another step, whose only effect is the reply. */
static void step(struct broker *b, struct talk *t, const struct bk_event *e);

static void do_save(struct broker *b, struct talk *t, const struct bk_effect *fx)
{
    char why[STORE_WHY_MAX];
    struct bk_event saved = {.kind = BK_SAVED, .now_us = clock_us(), .peer = fx->peer, .req = fx->req};
    saved.u.saved.server = fx->server;
    saved.u.saved.version = fx->version;
    saved.u.saved.code = store_save(b->store, fx->record, why);
    if (saved.u.saved.code)
        log_error("the store: %s", why);
    else
        log_info("network %s: server %s at %s", fx->record->network, fx->record->name, fx->record->address);
    step(b, t, &saved);
}

static void step(struct broker *b, struct talk *t, const struct bk_event *e)
{
    static void (*const handlers[])(struct broker *, struct talk *, const struct bk_effect *) = {
        [BK_FX_SAVE] = do_save, [BK_FX_OFFER] = do_offer, [BK_FX_ROW] = do_row, [BK_FX_REPLY] = do_reply};
    struct bk_effects out = b->out; /* taken, so that a step inside this one brings its own */
    b->out = (struct bk_effects){0};
    bk_step(b->core, e, &out);
    for (size_t i = 0; i < out.n; i++)
        handlers[out.fx[i].kind](b, t, &out.fx[i]);
    bk_effects_free(&b->out);
    b->out = out;
}

/* ---- Messages ---- */

static enum bk_role core_role(enum role r)
{
    static const enum bk_role roles[] = {[ROLE_CONSUMER] = BK_CONSUMER,
                                         [ROLE_PRODUCER] = BK_PRODUCER,
                                         [ROLE_SERVER] = BK_SERVER,
                                         [ROLE_ADMIN] = BK_ADMIN};
    return roles[r];
}

static struct bk_event event_of(const struct talk *t, enum bk_event_kind kind, uint64_t req)
{
    return (struct bk_event){.kind = kind,
                             .now_us = clock_us(),
                             .peer = t->index,
                             .req = req,
                             .role = core_role(t->peer.role),
                             .name = t->peer.name};
}

static void on_register(struct talk *t, const cx_Msg *m)
{
    const cx_Register *g = &m->body.register_network;
    struct bk_event e = event_of(t, BK_REGISTER, m->req);
    e.u.reg = (struct bk_register){.network = g->network,
                                   .address = g->address,
                                   .arch = g->arch,
                                   .producers = g->producers,
                                   .threads = g->threads,
                                   .price = g->price,
                                   .ready = g->ready,
                                   .granted = g->granted,
                                   .jobs = g->jobs,
                                   .incarnation = g->incarnation};
    step(t->broker, t, &e);
}

static void on_match(struct talk *t, const cx_Msg *m)
{
    const cx_Match *g = &m->body.match;
    struct bk_event e = event_of(t, BK_MATCH, m->req);
    e.u.match = (struct bk_match){g->network, g->arch, g->threads, g->price_max};
    step(t->broker, t, &e);
}

static void on_place(struct talk *t, const cx_Msg *m)
{
    struct bk_event e = event_of(t, BK_PLACE, m->req);
    e.u.place = (struct bk_place){m->body.place.arch, m->body.place.threads};
    step(t->broker, t, &e);
}

static void on_list(struct talk *t, const cx_Msg *m)
{
    enum { NETWORKS = 4 };
    struct bk_event e = event_of(t, BK_LIST, m->req);
    if (m->body.list.what == NETWORKS)
        step(t->broker, t, &e);
    else
        talk_status(t, m->req, CX_EINVAL, "a broker lists networks (4) only");
}

/* ---- The witness ---- */

/* An answer may come when the one who asked has gone and somebody else is in its place. */
static uint64_t talk_key(const struct talk *t)
{
    return (uint64_t)t->serial << 32 | t->index;
}

static struct talk *talk_of(const struct broker *b, uint64_t key)
{
    struct talk *t = b->talk[(uint32_t)key];
    return t && talk_key(t) == key ? t : NULL;
}

static void on_shard_ask(struct talk *t, const cx_Msg *m)
{
    struct reader r = reader_of(m->body.shard_ask.records);
    struct shard_ask ask;
    if (!get_shard_ask(&r, &ask))
        talk_status(t, m->req, CX_EPROTO, "shard_ask: malformed");
    else if (t->peer.role != ROLE_SERVER || !bk_may_ask(t->broker->core, t->peer.name, ask.shard))
        talk_status(
            t, m->req, CX_EAUTH,
            "shard_ask: only servers of a shard's network may ask about it, after they have registered");
    else
        witnessing_ask(t->broker->witness, talk_key(t), m->req, &ask);
}

static void on_answer(void *ctx, uint64_t peer, uint64_t req, struct bytes answer)
{
    struct talk *t = talk_of(ctx, peer);
    cx_Msg m = {.req = req, .which_body = cx_Msg_shard_answer_tag, .body.shard_answer.records = answer};
    if (t)
        talk_send(t, &m);
}

static void on_admin(struct talk *t, const cx_Msg *m)
{
    enum { ACCEPT_LOSS = 3 };
    const cx_Admin *a = &m->body.admin;
    struct reader r = reader_of(a->shard);
    if (t->peer.role != ROLE_ADMIN) {
        talk_status(t, m->req, CX_EAUTH, "only an administrator may do that");
    } else if (a->verb != ACCEPT_LOSS || !a->shard.len || !a->member) {
        talk_status(t, m->req, CX_EINVAL, "a broker knows one order, 3 accept loss, of a shard and a member");
    } else {
        log_warn("admin/%s: accepts a loss: member %016llx is to go on alone", t->peer.name,
                 (unsigned long long)a->member);
        witnessing_accept_loss(t->broker->witness, talk_key(t), m->req, get_id(&r), a->member);
    }
}

static void on_settled(void *ctx, uint64_t peer, uint64_t req, int code)
{
    struct talk *t = talk_of(ctx, peer);
    const char *text = code == CX_ENOTFOUND ? "the witness knows no such shard"
                       : code               ? "etcd is away: nobody knows whether it was done"
                                            : "";
    if (t)
        talk_status(t, req, code, text);
}

static void on_hello(struct talk *t, const cx_Msg *m)
{
    if (m->body.hello.version != PROTOCOL_VERSION) {
        rpc_close(t->stream, CX_EVERSION, "this broker speaks version 1 of the protocol");
        return;
    }
    cx_Msg answer = {.req = m->req, .which_body = cx_Msg_welcome_tag};
    answer.body.welcome = (cx_Welcome){.version = PROTOCOL_VERSION, .software = bytes_str(CX_VERSION)};
    talk_send(t, &answer);
}

static int talk_message(void *ctx, struct rpc_stream *s, struct bytes data, char *why)
{
    static const struct {
        pb_size_t kind;
        void (*handle)(struct talk *, const cx_Msg *);
    } handlers[] = {{cx_Msg_register_network_tag, on_register},
                    {cx_Msg_match_tag, on_match},
                    {cx_Msg_place_tag, on_place},
                    {cx_Msg_list_tag, on_list},
                    {cx_Msg_shard_ask_tag, on_shard_ask},
                    {cx_Msg_admin_tag, on_admin},
                    {cx_Msg_hello_tag, on_hello}};
    (void)s;
    struct talk *t = ctx;
    cx_Msg m;
    int rc = msg_decode(data, &m, why);
    if (rc)
        return rc;
    if (t->outbox.len - t->sent > OUTBOX_BYTES_MAX) {
        snprintf(why, RPC_WHY_MAX, "more answers wait than a peer may leave unread");
        return CX_ELIMIT;
    }
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
        if (handlers[i].kind == m.which_body) {
            handlers[i].handle(t, &m);
            return 0;
        }
    }
    snprintf(why, RPC_WHY_MAX, "a broker does not take messages of kind %s", msg_kind(&m));
    return CX_EPROTO;
}

/* ---- Streams ---- */

static int talk_accept(void *service, struct rpc_stream *s, const struct identity *peer, void **ctx,
                       char *why)
{
    struct broker *b = service;
    if (b->stopping || b->talks == b->streams_max) {
        snprintf(why, RPC_WHY_MAX, "%s",
                 b->stopping ? "the broker is stopping" : "the broker serves all the peers it may");
        return b->stopping ? CX_ENONET : CX_ELIMIT;
    }
    struct talk *t = calloc(1, sizeof *t);
    must(t);
    t->broker = b;
    t->stream = s;
    t->peer = *peer;
    while (b->talk[t->index])
        t->index++;
    t->serial = ++b->serial;
    b->talk[t->index] = t;
    b->talks++;
    *ctx = t;
    log_debug("%s/%s: connected", role_name(peer->role), peer->name);
    return 0;
}

static void talk_closed(void *ctx, struct rpc_stream *s, int code, const char *why)
{
    (void)s;
    struct talk *t = ctx;
    struct broker *b = t->broker;
    if (code == CX_EPROTO || code == CX_ELIMIT)
        log_warn("%s/%s: closed: %s", role_name(t->peer.role), t->peer.name, why);
    b->talk[t->index] = NULL;
    b->talks--;
    buf_free(&t->outbox);
    free(t);
}

static const struct rpc_handler handler = {talk_accept, talk_message, talk_fill, talk_closed};

/* ---- Start and stop ---- */

static void post(void *rpc, void (*fn)(void *ctx), void *ctx)
{
    rpc_post(rpc, fn, ctx);
}

static bool restore(void *ctx, const struct bk_record *record)
{
    struct broker *b = ctx;
    return bk_restore(b->core, record, clock_us());
}

int broker_start(const struct server_config *config, struct rpc *r, struct store *store,
                 const struct credentials *me, struct broker **out, int *port, char *why)
{
    struct broker *b = calloc(1, sizeof *b);
    must(b);
    b->core = bk_new(&config->core);
    b->store = store;
    b->streams_max = config->streams_max;
    b->talk = calloc(b->streams_max, sizeof(struct talk *));
    must(b->talk);
    b->service = (struct rpc_service){.method = "/cx.Broker/Talk", .handler = &handler, .service = b};
    b->service.roles = 1u << ROLE_CONSUMER | 1u << ROLE_PRODUCER | 1u << ROLE_SERVER | 1u << ROLE_ADMIN;
    struct witnessing_config witness = {.store = store,
                                        .etcd = config->etcd,
                                        .poster = {post, r},
                                        .answer = on_answer,
                                        .settled = on_settled,
                                        .ctx = b};
    int rc = store_load(store, restore, b, why);
    if (!rc)
        rc = witnessing_new(&witness, &b->witness, why);
    if (!rc)
        rc = rpc_listen(r, config->listen, me, &b->service, 1, port, why);
    if (rc)
        broker_free(b);
    else
        *out = b;
    return rc;
}

void broker_stop(struct broker *b)
{
    b->stopping = true;
    witnessing_stop(b->witness);
    for (uint32_t i = 0; i < b->streams_max; i++)
        if (b->talk[i])
            rpc_close(b->talk[i]->stream, CX_ENONET, "the broker is stopping");
}

bool broker_idle(const struct broker *b)
{
    return b->talks == 0;
}

void broker_free(struct broker *b)
{
    if (!b)
        return;
    must(b->talks == 0);
    bk_effects_free(&b->out);
    bk_free(b->core);
    witnessing_free(b->witness);
    free(b->talk);
    free(b);
}
