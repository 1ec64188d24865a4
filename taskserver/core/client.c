/* Clients: replies, progress and results.
 *
 * Whatever tells a client of a change waits until the log record of that change is held (law 8). Replies wait
 * in one queue, in order; results wait with their job, so that a watch taken back in the meantime is not
 * answered. */
#include <stdarg.h>

#include "taskserver/core/core.h"

static void reply_now(struct ts *ts, const struct pending *p)
{
    struct ts_effect *fx = fx_add(ts, TS_FX_REPLY, p->peer);
    fx->req = p->req;
    fx->job = p->job;
    fx->code = p->code;
    fx->lsn = p->lsn;
    fx_data(ts, fx, bytes_of(p->text, p->len));
}

void reply(struct ts *ts, const struct ts_event *e, uint64_t lsn, int code, const char *format, ...)
{
    char text[TS_REASON_MAX];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    must(n >= 0);
    size_t len = n < (int)sizeof text ? (size_t)n : sizeof text - 1;
    struct pending *p = malloc(sizeof *p + len + 1);
    if (!p)
        abort();
    *p =
        (struct pending){.lsn = lsn, .peer = e->peer, .req = e->req, .job = e->job, .code = code, .len = len};
    memcpy(p->text, text, len + 1);
    if (e->kind == TS_SUBMIT)
        p->job = e->u.submit->job;
    if (lsn > ts->held) {
        ts->awaited = lsn > ts->awaited ? lsn : ts->awaited;
        list_add(&ts->pending, &p->link);
        return;
    }
    reply_now(ts, p);
    free(p);
}

static void replies_release(struct ts *ts)
{
    for (struct link *l = ts->pending.next, *next; l != &ts->pending; l = next) {
        struct pending *p = list_item(l, struct pending, link);
        next = l->next;
        if (p->lsn > ts->held)
            continue;
        reply_now(ts, p);
        list_remove(l);
        free(p);
    }
}

/* ---- Watches ---- */

static void watch_free(struct watch *w)
{
    list_remove(&w->of_job);
    list_remove(&w->of_ts);
    free(w);
}

static void job_results(struct ts *ts, struct job *job)
{
    while (!list_empty(&job->watches)) {
        struct watch *w = list_item(job->watches.next, struct watch, of_job);
        struct ts_effect *fx = fx_job(ts, TS_FX_RESULT, w->peer, job);
        fx->req = w->req;
        fx->lsn = job->ended_lsn;
        watch_free(w);
    }
}

void job_progress(struct ts *ts, struct job *job)
{
    job->progress_us = ts->now_us;
    for (struct link *l = job->watches.next; l != &job->watches; l = l->next) {
        const struct watch *w = list_item(l, struct watch, of_job);
        fx_job(ts, TS_FX_PROGRESS, w->peer, job)->req = w->req;
    }
}

void job_changed(struct ts *ts, struct job *job)
{
    if (job->timed || list_empty(&job->watches) || job->state != TS_JOB_RUNNING)
        return;
    uint64_t next = job->progress_us + PROGRESS_EVERY_US;
    job_set_timer(ts, job, next > ts->now_us ? next : ts->now_us);
}

static struct watch *watch_find(const struct job *job, uint32_t peer)
{
    for (struct link *l = job->watches.next; l != &job->watches; l = l->next) {
        struct watch *w = list_item(l, struct watch, of_job);
        if (w->peer == peer)
            return w;
    }
    return NULL;
}

static struct watch *watch_new(struct ts *ts, struct job *job, uint32_t peer)
{
    struct watch *w = malloc(sizeof *w);
    if (!w)
        abort();
    *w = (struct watch){.job = job, .peer = peer};
    list_add(&job->watches, &w->of_job);
    list_add(&ts->watches, &w->of_ts);
    return w;
}

void client_watch(struct ts *ts, const struct ts_event *e)
{
    struct job *job = asked_job(ts, e);
    if (!job)
        return;
    struct watch *w = watch_find(job, e->peer);
    if (!w)
        w = watch_new(ts, job, e->peer);
    w->req = e->req;
    if (job->state == TS_JOB_RUNNING)
        fx_job(ts, TS_FX_PROGRESS, w->peer, job)->req = w->req;
    else if (job->ended_lsn <= ts->held)
        job_results(ts, job);
}

void client_unwatch(struct ts *ts, const struct ts_event *e)
{
    struct job *job = job_find(ts, e->job);
    struct watch *w = job ? watch_find(job, e->peer) : NULL;
    if (w)
        watch_free(w);
}

void client_left(struct ts *ts, const struct ts_event *e)
{
    for (struct link *l = ts->watches.next, *next; l != &ts->watches; l = next) {
        struct watch *w = list_item(l, struct watch, of_ts);
        next = l->next;
        if (w->peer == e->peer)
            watch_free(w);
    }
    for (struct link *l = ts->pending.next, *next; l != &ts->pending; l = next) {
        struct pending *p = list_item(l, struct pending, link);
        next = l->next;
        if (p->peer != e->peer)
            continue;
        list_remove(l);
        free(p);
    }
}

void job_unwatched(struct ts *ts, struct job *job)
{
    while (!list_empty(&job->watches)) {
        struct watch *w = list_item(job->watches.next, struct watch, of_job);
        struct ts_event e = {.kind = TS_WATCH, .peer = w->peer, .req = w->req, .job = job->entry.id};
        watch_free(w);
        reply(ts, &e, ts->lsn, CX_ENOTFOUND, "the job was forgotten");
    }
}

void client_held(struct ts *ts, const struct ts_event *e)
{
    uint64_t lsn = e->u.lsn < ts->lsn ? e->u.lsn : ts->lsn;
    if (lsn <= ts->held)
        return;
    ts->held = lsn;
    channels_held(ts);
    bounds_held(ts);
    replies_release(ts);
    while (!list_empty(&ts->unheld)) {
        struct job *job = list_item(ts->unheld.next, struct job, unheld);
        if (job->ended_lsn > ts->held)
            break;
        list_remove(&job->unheld);
        job_results(ts, job);
    }
}

void clients_free(struct ts *ts)
{
    while (!list_empty(&ts->watches))
        watch_free(list_item(ts->watches.next, struct watch, of_ts));
    while (!list_empty(&ts->pending)) {
        struct link *l = ts->pending.next;
        list_remove(l);
        free(list_item(l, struct pending, link));
    }
}
