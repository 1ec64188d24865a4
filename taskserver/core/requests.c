/* What consumers ask for: SUBMIT, CANCEL, FORGET. */
#include "taskserver/core/core.h"

/* An empty owner is an administrator. */
bool may_ask(const struct job *job, struct bytes owner)
{
    return owner.len == 0 || bytes_equal(owner, job->owner);
}

/* A submission that was seen before is answered again: its reply may have been lost. */
static void submit_again(struct ts *ts, const struct ts_event *e, const struct job *job)
{
    if (job->origin)
        reply(ts, e, job->submit_lsn, CX_EEXIST, "a job of this id was submitted to another server");
    else if (job->content == submit_content(ts, e->u.submit))
        reply(ts, e, job->submit_lsn, CX_OK, "%s", "");
    else
        reply(ts, e, job->submit_lsn, CX_EEXIST, "this job id is taken by another job");
}

/* The last eighth of the memory is kept for the jobs that are running already. */
static bool submit_has_room(struct ts *ts, const struct ts_event *e)
{
    uint64_t need = submit_need(e->u.submit), max = ts->config.memory_max - ts->config.memory_max / 8;
    if (ts->config.jobs_max && ts->njobs >= ts->config.jobs_max) {
        reply(ts, e, 0, CX_EFULL, "the server holds %u jobs, its limit; try later", ts->njobs);
        return false;
    }
    if (max && need > max) {
        reply(ts, e, 0, CX_ELIMIT, "the arguments exceed the server's memory budget of %llu bytes",
              (unsigned long long)ts->config.memory_max);
        return false;
    }
    if (max && ts->pool.used + need > max) {
        reply(ts, e, 0, CX_EFULL, "the server's memory budget of %llu bytes is spent; try later",
              (unsigned long long)ts->config.memory_max);
        return false;
    }
    return true;
}

void on_submit(struct ts *ts, const struct ts_event *e)
{
    const struct ts_submit *s = e->u.submit;
    const char *wrong = submit_check(s);
    struct job *job = wrong ? NULL : job_find(ts, s->job);
    if (wrong) {
        reply(ts, e, 0, CX_EINVAL, "%s", wrong);
    } else if (job) {
        submit_again(ts, e, job);
    } else if (submit_has_room(ts, e)) {
        struct record r = {.kind = RECORD_SUBMITTED, .now_us = ts->now_us, .job = s->job, .submit = *s};
        log_apply(ts, &r);
        reply(ts, e, ts->lsn, CX_OK, "%s", "");
    }
}

/* The job asked for, if it exists and the asker may; otherwise the request is refused. */
struct job *asked_job(struct ts *ts, const struct ts_event *e)
{
    struct job *job = job_find(ts, e->job);
    if (job && !job->origin && may_ask(job, e->u.owner))
        return job;
    if (job && !job->origin)
        reply(ts, e, job->submit_lsn, CX_EAUTH, "the job belongs to somebody else");
    else
        reply(ts, e, ts->forgotten_lsn, CX_ENOTFOUND, "no such job here");
    return NULL;
}

void on_cancel(struct ts *ts, const struct ts_event *e)
{
    struct job *job = asked_job(ts, e);
    if (!job)
        return;
    if (job->state != TS_JOB_RUNNING) {
        reply(ts, e, job->ended_lsn, CX_OK, "the job had ended already");
        return;
    }
    buf_clear(&ts->joined);
    text_add(&ts->joined, "cancelled by ");
    if (e->u.owner.len)
        text_safe(&ts->joined, e->u.owner);
    else
        text_add(&ts->joined, "an administrator");
    struct record r = {.kind = RECORD_ENDED,
                       .now_us = ts->now_us,
                       .job = e->job,
                       .state = TS_JOB_CANCELLED,
                       .body = buf_bytes(&ts->joined)};
    log_apply(ts, &r);
    reply(ts, e, ts->lsn, CX_OK, "%s", "");
}

void on_forget(struct ts *ts, const struct ts_event *e)
{
    struct job *job = asked_job(ts, e);
    if (!job)
        return;
    if (job->state == TS_JOB_RUNNING) {
        reply(ts, e, job->submit_lsn, CX_EINVAL, "the job is still running: cancel it first");
        return;
    }
    struct record r = {.kind = RECORD_FORGOTTEN, .now_us = ts->now_us, .job = e->job};
    log_apply(ts, &r);
    reply(ts, e, ts->lsn, CX_OK, "%s", "");
}
