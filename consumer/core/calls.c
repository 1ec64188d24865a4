/* Questions of callers, from their arrival to their answer. */
#include <stdarg.h>
#include <string.h>

#include "consumer/core/internal.h"

/* ---- The list ---- */

static void call_unlink(struct client *c, struct call *call)
{
    *(call->prev != NULL ? &call->prev->next : &c->calls) = call->next;
    *(call->next != NULL ? &call->next->prev : &c->calls_end) = call->prev;
    call->prev = call->next = NULL;
}

struct call *call_of(struct client *c, uint64_t req)
{
    struct call *call = req != 0 ? c->calls : NULL;
    while (call != NULL && call->req != req)
        call = call->next;
    return call;
}

void call_add(struct client *c, struct call *call)
{
    call->state = CALL_IDLE;
    call->req = 0;
    call->denied = 0;
    if (c->needed_us == 0)
        c->needed_us = c->now_us;
    call->prev = c->calls_end;
    call->next = NULL;
    *(c->calls_end != NULL ? &c->calls_end->next : &c->calls) = call;
    c->calls_end = call;
    if (call->job != NULL) {
        job_link(c, call->job);
        if (call->job->ended || (call->kind == CALL_PROGRESS && call->job->fresh))
            call_done(c, call, CX_OK, "%s", "");
    } else if (call_by_broker(call) && !c->by_broker) {
        call_done(c, call, CX_EINVAL, "%s is no broker; name one: --network broker:HOST:PORT",
                  links_where(c));
    }
}

bool call_by_broker(const struct call *call)
{
    return call->kind == CALL_NETWORKS || call->kind == CALL_ACCEPT;
}

static bool is_about_job(const struct call *call)
{
    return call->kind == CALL_CANCEL || call->kind == CALL_FORGET || call->kind == CALL_WHY;
}

/* ---- Answers ---- */

void call_done(struct client *c, struct call *call, int code, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(call->text, sizeof call->text, format, ap);
    va_end(ap);
    if (call->state == CALL_PUT)
        link_hang_up(c, LINK_BLOBS); /* half a blob is on its way, and its data will be gone */
    call_unlink(c, call);
    call->code = code;
    call->done = true;
    client_fx(c, CLIENT_FX_DONE, LINK_TASKS)->call = call;
}

/* Another server is asked once the present one has nothing under way. */
static bool call_doubted(struct client *c, struct call *call, int code)
{
    if (code != CX_ENOTFOUND || !is_about_job(call) || links_denied(c, &call->denied))
        return false;
    call->state = CALL_IDLE;
    call->req = 0;
    buf_clear(&call->out);
    return true;
}

void call_answered(struct client *c, struct call *call, int code, struct bytes text)
{
    if (code == CX_OK && is_about_job(call))
        link_bind(c);
    if (call->kind == CALL_SUBMIT)
        submit_answered(c, call, code, text);
    else if (call->kind == CALL_FORGET && code == CX_ENOTFOUND && call->resent)
        call_done(c, call, CX_OK, "%s", "");
    else if (!call_doubted(c, call, code))
        call_done(c, call, code, "%.*s", (int)(text.len < CLIENT_TEXT_MAX ? text.len : CLIENT_TEXT_MAX),
                  text.len > 0 ? (const char *)text.data : "");
}

/* ---- Sending ---- */

bool calls_need(const struct client *c, enum client_link link)
{
    for (const struct call *call = c->calls; call != NULL; call = call->next) {
        bool broker = call_by_broker(call);
        if (link == LINK_BROKER  ? broker
            : link == LINK_TASKS ? !broker
                                 : call->kind == CALL_SUBMIT && !call->full)
            return true;
    }
    return false;
}

static void call_send(struct client *c, struct call *call, enum client_link link, enum client_message m)
{
    call->state = CALL_SENT;
    call->req = ++c->reqs;
    struct client_effect *fx = client_send(c, link, m, call->req);
    fx->id = call->id;
    fx->what = call->what;
    fx->member = call->member;
    fx->call = call;
}

static void call_try(struct client *c, struct call *call)
{
    static const enum client_message message[] = {
        [CALL_CANCEL] = SEND_CANCEL, [CALL_FORGET] = SEND_FORGET, [CALL_WHY] = SEND_WHY,
        [CALL_LIST] = SEND_LIST,     [CALL_NETWORKS] = SEND_LIST, [CALL_ORDER] = SEND_ORDER,
        [CALL_ACCEPT] = SEND_ORDER};
    enum client_link link = call_by_broker(call) ? LINK_BROKER : LINK_TASKS;
    if (c->link[link].state != LINK_UP)
        return;
    if (call->kind == CALL_SUBMIT)
        submit_advance(c, call);
    else if (call->job == NULL && link_asks(c, call->denied))
        call_send(c, call, link, message[call->kind]);
}

void calls_send(struct client *c)
{
    for (struct call *call = c->calls, *next; call != NULL; call = next) {
        next = call->next;
        if (call->state == CALL_IDLE)
            call_try(c, call);
    }
    jobs_watch(c);
}

/* ---- Trouble ---- */

void calls_lost(struct client *c, enum client_link link)
{
    for (struct call *call = c->calls; call != NULL; call = call->next) {
        bool blobs = call->state == CALL_HAVE || call->state == CALL_PUT;
        bool broker = call_by_broker(call);
        if (call->state == CALL_IDLE || blobs != (link == LINK_BLOBS) || broker != (link == LINK_BROKER))
            continue;
        call->state = CALL_IDLE;
        call->req = 0;
        call->resent = true;
        call->reblobbed = false;
        call->blob_at = 0; /* the next server may lack what this one had */
        buf_clear(&call->out);
    }
}

bool calls_busy(const struct client *c)
{
    for (const struct call *call = c->calls; call != NULL; call = call->next)
        if (call->state != CALL_IDLE && !call_by_broker(call))
            return true;
    return false;
}

bool calls_doubt(const struct client *c)
{
    for (const struct call *call = c->calls; call != NULL; call = call->next)
        if (call->denied != 0)
            return true;
    return false;
}

void calls_forget_doubts(struct client *c)
{
    for (struct call *call = c->calls; call != NULL; call = call->next)
        call->denied = 0;
}

void calls_unheard(struct client *c, bool sure)
{
    for (struct call *call = c->calls, *next; call != NULL; call = next) {
        next = call->next;
        if (call->denied == 0 || !(sure || !call->acked))
            continue;
        call->denied |= 1u << c->at;
        if ((targets_home(c) & ~call->denied) == 0)
            call_done(c, call, CX_ENOTFOUND, "no such job");
    }
}

void calls_fail(struct client *c, enum client_link link, int code)
{
    for (struct call *call = c->calls, *next; call != NULL; call = next) {
        next = call->next;
        bool its = link == LINK_BLOBS    ? call->kind == CALL_SUBMIT
                   : link == LINK_BROKER ? call_by_broker(call) || c->link[LINK_TASKS].state != LINK_UP
                                         : !call_by_broker(call);
        if (its && call->state == CALL_IDLE)
            call_done(c, call, code, "%s: %s", links_where(c), c->trouble);
    }
}

static bool is_up(const struct client *c, const struct call *call)
{
    return c->link[call_by_broker(call) ? LINK_BROKER : LINK_TASKS].state == LINK_UP;
}

/* A network that was never reached is given up after the grace, which counts from when it was first needed: a
 * caller that waits in slices of a tenth of a second gives it as long as one that waits for ever. */
static uint64_t call_limit(const struct client *c, const struct call *call)
{
    uint64_t grace = c->needed_us + c->grace_us;
    bool patient = c->ever_up || is_up(c, call);
    return patient || grace > call->deadline_us ? call->deadline_us : grace;
}

static void no_network(struct client *c, struct call *call)
{
    if (call->job != NULL)
        call->job->wanted = false; /* until it is asked about again */
    call_done(c, call, CX_ENONET, "no network at %s (%s): is %s running? try: cx local", links_where(c),
              c->trouble, c->by_broker && c->targets.n == 0 ? "cx-broker" : "cx-taskserver");
}

static void call_expire(struct client *c, struct call *call)
{
    bool up = is_up(c, call);
    bool given_up = !c->ever_up && c->needed_us + c->grace_us <= c->now_us;
    if (!up && (given_up || call->kind != CALL_WAIT))
        no_network(c, call);
    else if (call->kind == CALL_WAIT)
        call_done(c, call, CX_ETIMEOUT, "the job is still running and goes on%s%s%s; wait for it again",
                  up ? "" : ", but its server cannot be reached (", up ? "" : c->trouble, up ? "" : ")");
    else if (call->full)
        call_done(c, call, CX_EFULL, "%s", call->full_text);
    else
        call_done(c, call, CX_ETIMEOUT, "%s has not answered in time; asking again is safe", links_where(c));
}

void calls_tick(struct client *c)
{
    for (struct call *call = c->calls, *next; call != NULL; call = next) {
        next = call->next;
        if (call_limit(c, call) <= c->now_us)
            call_expire(c, call);
        else if (call->full && call->retry_us <= c->now_us)
            call->full = false; /* calls_send offers it again */
    }
}

uint64_t calls_due(const struct client *c)
{
    uint64_t due = UINT64_MAX;
    for (const struct call *call = c->calls; call != NULL; call = call->next) {
        uint64_t limit = call_limit(c, call);
        due = limit < due ? limit : due;
        if (call->full && call->retry_us < due)
            due = call->retry_us;
    }
    return due;
}
