#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/must.h"
#include "consumer/remote.h"

/* ---- Streams ---- */

static void drop_first(struct conn *c)
{
    struct outgoing *o = c->first;
    c->first = o->next;
    if (c->first == NULL)
        c->last = &c->first;
    buf_free(&o->message);
    free(o);
}

/* What waits for the stream is dropped, too: the core asks again over the next one. */
static void conn_give_up(struct conn *c)
{
    c->given_up = true;
    while (c->first != NULL)
        drop_first(c);
}

/* The server has answered a put before it had it all: the rest is not wanted, and its owner may go. */
static void drop_blob(struct conn *c, uint64_t req)
{
    for (struct outgoing **at = &c->first; *at != NULL; at = &(*at)->next)
        if ((*at)->req == req && (*at)->blob.len > 0) {
            struct outgoing *o = *at;
            *at = o->next;
            if (*at == NULL)
                c->last = at;
            buf_free(&o->message);
            free(o);
            return;
        }
}

static int on_message(void *ctx, struct rpc_stream *s, struct bytes data, char *why)
{
    struct conn *c = ctx;
    struct remote *r = c->lane->remote;
    int code = 0;
    (void)s;
    pthread_mutex_lock(&r->lock);
    if (!c->given_up)
        code = wire_receive(c, data, why);
    pthread_mutex_unlock(&r->lock);
    return code;
}

/* A blob's chunks are made when the stream has room for them, one at a time. */
static bool on_fill(void *ctx, struct rpc_stream *s, struct buf *out)
{
    struct conn *c = ctx;
    struct outgoing *o = c->first;
    (void)s;
    if (o == NULL)
        return false;
    if (o->blob.len > 0) {
        wire_chunk(o, out);
        if (o->blob.len > 0)
            return true;
    } else {
        buf_add(out, o->message.data, o->message.len);
    }
    drop_first(c);
    return true;
}

static void on_closed(void *ctx, struct rpc_stream *s, int code, const char *why)
{
    struct conn *c = ctx;
    struct lane *l = c->lane;
    struct remote *r = l->remote;
    bool told = c->given_up;
    (void)s;
    pthread_mutex_lock(&r->lock);
    conn_give_up(c);
    if (l->conn[c->link] == c)
        l->conn[c->link] = NULL;
    if (!told && !r->stopping) {
        struct client_event e = {.kind = CLIENT_CLOSED,
                                 .link = c->link,
                                 .code = code < 0 ? code : CX_ENONET,
                                 .text = bytes_str(why != NULL ? why : "")};
        remote_step(l, &e);
    }
    pthread_mutex_unlock(&r->lock);
    free(c);
}

static const struct rpc_handler handler = {.message = on_message, .fill = on_fill, .closed = on_closed};

/* ---- Effects ---- */

static void do_dial(struct lane *l, const struct client_effect *fx)
{
    static const struct {
        const char *method;
        enum role peer;
    } rows[LINKS] = {[LINK_TASKS] = {"/cx.TaskServer/Consume", ROLE_SERVER},
                     [LINK_BLOBS] = {"/cx.TaskServer/Blobs", ROLE_SERVER},
                     [LINK_BROKER] = {"/cx.Broker/Talk", ROLE_BROKER}};
    struct conn *c = calloc(1, sizeof *c);
    must(c != NULL && l->conn[fx->link] == NULL);
    c->lane = l;
    c->link = fx->link;
    c->last = &c->first;
    int code = rpc_dial(l->remote->rpc, fx->address, rows[fx->link].peer, &l->remote->me,
                        rows[fx->link].method, &handler, c, &c->stream);
    if (code < 0) {
        free(c);
        l->failed[fx->link] = code;
    } else {
        l->conn[fx->link] = c;
    }
}

static void do_hangup(struct lane *l, const struct client_effect *fx)
{
    struct conn *c = l->conn[fx->link];
    if (c == NULL)
        return;
    l->conn[fx->link] = NULL;
    conn_give_up(c);
    rpc_close(c->stream, CX_ECANCELLED, "no longer needed");
}

static void enqueue(struct conn *c, struct outgoing *o)
{
    *c->last = o;
    c->last = &o->next;
    rpc_wake(c->stream);
}

static struct outgoing *outgoing_new(const struct client_effect *fx)
{
    struct outgoing *o = calloc(1, sizeof *o);
    must(o != NULL);
    o->req = fx->req;
    return o;
}

static void do_send(struct lane *l, const struct client_effect *fx)
{
    struct conn *c = l->conn[fx->link];
    struct outgoing *o;
    if (c == NULL)
        return; /* dialling has just failed, which the core is about to hear */
    o = outgoing_new(fx);
    wire_encode(fx, &o->message);
    enqueue(c, o);
    if (fx->message == SEND_PUT) {
        o = outgoing_new(fx);
        o->blob = fx->blob->data;
        enqueue(c, o);
    }
}

static void do_done(struct lane *l, const struct client_effect *fx)
{
    (void)fx; /* the core has set call->done */
    pthread_cond_broadcast(&l->remote->changed);
}

static void run_effects(struct lane *l)
{
    static void (*const act[])(struct lane *, const struct client_effect *) = {[CLIENT_FX_DIAL] = do_dial,
                                                                               [CLIENT_FX_HANGUP] = do_hangup,
                                                                               [CLIENT_FX_SEND] = do_send,
                                                                               [CLIENT_FX_DONE] = do_done};
    for (size_t i = 0; i < l->fx.n; i++)
        act[l->fx.fx[i].kind](l, &l->fx.fx[i]);
    l->fx.n = 0;
}

static void step_once(struct lane *l, struct client_event *e)
{
    e->now_us = clock_us();
    client_step(l->client, e, &l->fx);
    run_effects(l);
}

void remote_step(struct lane *l, struct client_event *e)
{
    if (e->kind == CLIENT_STATUS && e->link == LINK_BLOBS && l->conn[LINK_BLOBS] != NULL)
        drop_blob(l->conn[LINK_BLOBS], e->req);
    step_once(l, e);
    for (int i = 0; i < LINKS; i++) {
        struct client_event closed = {
            .kind = CLIENT_CLOSED, .link = (enum client_link)i, .code = l->failed[i]};
        l->failed[i] = 0;
        if (closed.code < 0)
            step_once(l, &closed);
    }
}

/* ---- The reactor ---- */

static void take_calls(struct lane *l)
{
    while (l->inbox != NULL) {
        struct call *call = l->inbox;
        struct client_event e = {.kind = CLIENT_CALL, .call = call};
        l->inbox = call->next;
        if (l->inbox == NULL)
            l->inbox_end = &l->inbox;
        remote_step(l, &e);
    }
}

static void take_dropped(struct remote *r)
{
    while (r->dropped != NULL) {
        struct remote_job *j = r->dropped;
        struct client_event e = {.kind = CLIENT_JOB_DROP, .job = &j->job};
        r->dropped = j->next;
        remote_step(j->lane, &e);
        buf_free(&j->job.value);
        free(j);
    }
}

static uint64_t tend_lane(struct lane *l)
{
    take_calls(l);
    if (client_due(l->client) <= clock_us()) {
        struct client_event tick = {.kind = CLIENT_TICK};
        remote_step(l, &tick);
    }
    return client_due(l->client);
}

/* True when the reactor is to go on; *due is when it has to run at the latest. */
static bool tend(struct remote *r, uint64_t *due)
{
    pthread_mutex_lock(&r->lock);
    *due = tend_lane(&r->home);
    for (struct lane *l = r->more; l != NULL; l = l->next) {
        uint64_t its = tend_lane(l);
        *due = its < *due ? its : *due;
    }
    take_dropped(r);
    bool going = !r->stopping;
    pthread_mutex_unlock(&r->lock);
    return going;
}

static void *loop_main(void *arg)
{
    struct remote *r = arg;
    uint64_t due;
    while (tend(r, &due))
        rpc_run(r->rpc, due, NULL, NULL);
    return NULL;
}

/* Signals are for the program's own threads. */
int loop_start(struct remote *r)
{
    sigset_t all, before;
    int err;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = rpc_new(&r->rpc);
    if (err == 0 && pthread_create(&r->thread, NULL, loop_main, r) != 0) {
        rpc_free(r->rpc);
        err = CX_ENOMEM;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

static void nothing(void *ctx)
{
    (void)ctx;
}

void loop_wake(struct remote *r)
{
    rpc_post(r->rpc, nothing, NULL);
}

void loop_stop(struct remote *r)
{
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_mutex_unlock(&r->lock);
    loop_wake(r);
    pthread_join(r->thread, NULL);
    rpc_free(r->rpc); /* only now: the wake-up may have come when the thread was about to end by itself */
}
