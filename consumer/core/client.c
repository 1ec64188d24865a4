#include <stdarg.h>
#include <stdlib.h>

#include "consumer/core/internal.h"

/* ---- Effects ---- */

void client_effects_free(struct client_effects *e)
{
    free(e->fx);
    *e = (struct client_effects){0};
}

struct client_effect *client_fx(struct client *c, enum client_effect_kind kind, enum client_link link)
{
    struct client_effects *e = c->out;
    if (e->n == e->cap) {
        e->cap = e->cap > 0 ? e->cap * 2 : 16;
        e->fx = realloc(e->fx, e->cap * sizeof *e->fx);
        must(e->fx != NULL);
    }
    struct client_effect *fx = &e->fx[e->n++];
    *fx = (struct client_effect){.kind = kind, .link = link};
    return fx;
}

struct client_effect *client_send(struct client *c, enum client_link link, enum client_message m,
                                  uint64_t req)
{
    struct client_effect *fx = client_fx(c, CLIENT_FX_SEND, link);
    fx->message = m;
    fx->req = req;
    return fx;
}

void text_set(char *out, size_t cap, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(out, cap, format, ap);
    va_end(ap);
}

/* ---- Events ---- */

static void on_tick(struct client *c, const struct client_event *e)
{
    (void)e;
    links_tick(c);
    calls_tick(c);
}

static void on_call(struct client *c, const struct client_event *e)
{
    call_add(c, e->call);
}

static void on_job_drop(struct client *c, const struct client_event *e)
{
    job_drop(c, e->job);
}

static void on_status(struct client *c, const struct client_event *e)
{
    struct call *call;
    struct client_job *job;
    if (e->link == LINK_BROKER && link_matched(c, e))
        return;
    call = call_of(c, e->req);
    job = job_of(c, e->req);
    if ((call != NULL || job != NULL) && e->link == LINK_TASKS && e->code == CX_ENONET)
        link_leave(c, "the server is not the primary any more");
    else if (call != NULL)
        call_answered(c, call, e->code, e->text);
    else if (job != NULL && e->code < 0)
        job_refused(c, job, e->code, e->text);
}

/* The progress of a watched job and a row of a listing are one message; the request tells which it is. */
static void on_row(struct client *c, const struct client_event *e)
{
    struct call *call = call_of(c, e->req);
    struct client_job *job = job_of(c, e->req);
    if (job != NULL && e->progress != NULL)
        job_progressed(c, job, e->progress);
    else if (call != NULL && (call->kind == CALL_LIST || call->kind == CALL_NETWORKS))
        buf_add(&call->out, e->data.data, e->data.len);
}

static void on_text(struct client *c, const struct client_event *e)
{
    struct call *call = call_of(c, e->req);
    if (call != NULL && call->kind == CALL_WHY)
        buf_add(&call->out, e->text.data, e->text.len);
}

static void on_result(struct client *c, const struct client_event *e)
{
    struct client_job *job = job_of(c, e->req);
    if (job != NULL)
        job_ended(c, job, e);
}

static void (*const on_event[])(struct client *, const struct client_event *) = {
    [CLIENT_TICK] = on_tick,         [CLIENT_CALL] = on_call,     [CLIENT_JOB_DROP] = on_job_drop,
    [CLIENT_WELCOME] = link_greeted, [CLIENT_STATUS] = on_status, [CLIENT_ROW] = on_row,
    [CLIENT_RESULT] = on_result,     [CLIENT_TEXT] = on_text,     [CLIENT_OFFER] = link_offer,
    [CLIENT_CLOSED] = link_closed,
};

void client_step(struct client *c, const struct client_event *event, struct client_effects *out)
{
    c->out = out;
    c->now_us = event->now_us;
    on_event[event->kind](c, event);
    calls_send(c);
    if (c->leave && !calls_busy(c))
        link_leave(c, "the other server of the pair is asked, too");
    links_tend(c);
    if (c->calls == NULL && !jobs_need(c))
        c->needed_us = 0;
    c->out = NULL;
}

uint64_t client_due(const struct client *c)
{
    uint64_t links = links_due(c), calls = calls_due(c);
    return links < calls ? links : calls;
}

const char *client_network(const struct client *c)
{
    return c->network;
}

struct id client_shard(const struct client *c)
{
    return c->shard;
}

struct id client_bound(const struct client *c)
{
    return c->bound ? c->shard : (struct id){0, 0};
}

const char *client_address(const struct client *c, uint32_t i)
{
    return i < c->targets.n ? c->targets.target[i].address : NULL;
}

/* ---- Birth, death, and what must hold between ---- */

struct client *client_new(const struct client_config *config)
{
    struct client *c = calloc(1, sizeof *c);
    must(c != NULL);
    c->grace_us = config->grace_us;
    c->random = config->seed * 2 + 1;
    c->shard = config->shard;
    c->bound = !id_is_zero(config->shard);
    c->any = config->any;
    text_set(c->trouble, sizeof c->trouble, "nothing answers");
    if (links_parse(c, config->address) < 0) {
        free(c);
        return NULL;
    }
    return c;
}

void client_free(struct client *c)
{
    free(c);
}

static void check_call(const struct client *c, const struct call *call)
{
    must(!call->done);
    must(call->next != NULL ? call->next->prev == call : c->calls_end == call);
    must((call->state == CALL_IDLE) == (call->req == 0));
    must(call->blob_at <= call->blobs);
    if (call->state == CALL_HAVE || call->state == CALL_PUT)
        must(call->kind == CALL_SUBMIT && call->blob_at < call->blobs &&
             c->link[LINK_BLOBS].state == LINK_UP);
    if (call->state == CALL_SENT)
        must(c->link[call_by_broker(call) ? LINK_BROKER : LINK_TASKS].state == LINK_UP);
}

void client_check(const struct client *c)
{
    unsigned in_blobs = 0;
    for (const struct call *call = c->calls; call != NULL; call = call->next) {
        check_call(c, call);
        in_blobs += call->state == CALL_HAVE || call->state == CALL_PUT;
    }
    must(in_blobs <= 1);
    for (const struct client_job *j = c->jobs; j != NULL; j = j->next) {
        must(j->linked);
        must(j->req == 0 || (c->link[LINK_TASKS].state == LINK_UP && !j->ended && j->wanted));
        must(!j->fresh || c->link[LINK_TASKS].state == LINK_UP);
    }
    must(c->targets.n <= CLIENT_TARGETS_MAX && (c->at < c->targets.n || c->at == 0));
    must(c->link[LINK_TASKS].state < LINK_DIALLED || c->at < c->targets.n);
    must(!c->leave || c->link[LINK_TASKS].state == LINK_UP);
    must(c->link[LINK_BLOBS].state != LINK_UP || c->link[LINK_TASKS].state == LINK_UP);
    must(!c->matching || c->link[LINK_BROKER].state == LINK_UP);
}
