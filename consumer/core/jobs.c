/* Watches: a job that somebody waits for is watched until it has ended, over as many connections as it takes.
 */
#include <string.h>

#include "consumer/core/internal.h"

void job_link(struct client *c, struct client_job *job)
{
    job->wanted = !job->ended;
    if (job->linked)
        return;
    job->linked = true;
    job->prev = NULL;
    job->next = c->jobs;
    if (c->jobs != NULL)
        c->jobs->prev = job;
    c->jobs = job;
}

void job_drop(struct client *c, struct client_job *job)
{
    if (!job->linked)
        return;
    if (job->req != 0)
        client_send(c, LINK_TASKS, SEND_UNWATCH, ++c->reqs)->id = job->id;
    *(job->prev != NULL ? &job->prev->next : &c->jobs) = job->next;
    if (job->next != NULL)
        job->next->prev = job->prev;
    job->linked = false;
}

struct client_job *job_of(struct client *c, uint64_t req)
{
    struct client_job *job = req != 0 ? c->jobs : NULL;
    while (job != NULL && job->req != req)
        job = job->next;
    return job;
}

bool jobs_need(const struct client *c)
{
    for (const struct client_job *job = c->jobs; job != NULL; job = job->next)
        if (job->wanted)
            return true;
    return false;
}

void jobs_watch(struct client *c)
{
    if (c->link[LINK_TASKS].state != LINK_UP)
        return;
    for (struct client_job *job = c->jobs; job != NULL; job = job->next)
        if (job->wanted && job->req == 0 && link_asks(c, job->denied)) {
            job->req = ++c->reqs;
            client_send(c, LINK_TASKS, SEND_WATCH, job->req)->id = job->id;
        }
}

void jobs_lost(struct client *c)
{
    for (struct client_job *job = c->jobs; job != NULL; job = job->next) {
        job->req = 0;
        job->fresh = false;
    }
}

/* Answers the questions about a job: those for progress only, or all. */
static void job_answer(struct client *c, struct client_job *job, bool all, int code, struct bytes text)
{
    for (struct call *call = c->calls, *next; call != NULL; call = next) {
        next = call->next;
        if (call->job == job && (all || call->kind == CALL_PROGRESS))
            call_done(c, call, code, "%.*s", (int)(text.len < CLIENT_TEXT_MAX ? text.len : CLIENT_TEXT_MAX),
                      text.len > 0 ? (const char *)text.data : "");
    }
}

void job_progressed(struct client *c, struct client_job *job, const struct client_progress *p)
{
    link_bind(c);
    job->denied = 0;
    job->progress = *p;
    job->fresh = true;
    job_answer(c, job, false, CX_OK, bytes_of(NULL, 0));
}

void job_ended(struct client *c, struct client_job *job, const struct client_event *e)
{
    link_bind(c);
    job->denied = 0;
    job->ended = true;
    job->state = e->state;
    job->wanted = false;
    job->req = 0;
    buf_clear(&job->value);
    buf_add(&job->value, e->data.data, e->data.len);
    text_set(job->reason, sizeof job->reason, "%.*s",
             (int)(e->text.len < sizeof job->reason ? e->text.len : sizeof job->reason),
             e->text.len > 0 ? (const char *)e->text.data : "");
    job_answer(c, job, true, CX_OK, bytes_of(NULL, 0));
}

/* The next question about the job watches it again. */
void job_refused(struct client *c, struct client_job *job, int code, struct bytes text)
{
    job->fresh = false;
    job->req = 0;
    if (code == CX_ENOTFOUND && !links_denied(c, &job->denied))
        return;
    job->wanted = false;
    job->denied = 0;
    job_answer(c, job, true, code, text);
}

bool jobs_doubt(const struct client *c)
{
    for (const struct client_job *job = c->jobs; job != NULL; job = job->next)
        if (job->wanted && job->denied != 0)
            return true;
    return false;
}

void jobs_forget_doubts(struct client *c)
{
    for (struct client_job *job = c->jobs; job != NULL; job = job->next)
        job->denied = 0;
}

void jobs_unheard(struct client *c, bool sure)
{
    for (struct client_job *job = c->jobs; job != NULL; job = job->next) {
        if (!job->wanted || job->denied == 0 || !(sure || !job->acked))
            continue;
        job->denied |= 1u << c->at;
        if ((targets_home(c) & ~job->denied) != 0)
            continue;
        job->wanted = false;
        job->denied = 0;
        job_answer(c, job, true, CX_ENOTFOUND, bytes_str("no such job"));
    }
}
