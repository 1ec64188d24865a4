/* Law 9: a job's bound only ever improves, so it may be told often, late, or twice.
 *
 * It leaves the shard only when the solution behind it is held (law 8): a shard that lost the solution would
 * prune, by its own bound come back, the very task that finds it again. */
#include "taskserver/core/core.h"

bool bound_improve(struct job *job, uint32_t kind, int64_t bound)
{
    bool min = kind == CX_BOUND_MIN;
    bool *has = min ? &job->has_min : &job->has_max;
    int64_t *best = min ? &job->bound_min : &job->bound_max;
    if (*has && (min ? bound >= *best : bound <= *best))
        return false;
    *has = true;
    *best = bound;
    return true;
}

/* ---- Telling ---- */

static void tell_producers(struct ts *ts, const struct job *job, uint32_t kind, int64_t bound)
{
    for (uint32_t peer = 0; peer < job->known.len * 8; peer++) {
        if (!job_known(job, peer))
            continue;
        struct ts_effect *fx = fx_job(ts, TS_FX_BOUND, peer, job);
        fx->bound_kind = kind;
        fx->bound = bound;
    }
}

static void improved(struct ts *ts, struct job *job)
{
    if (!job->origin && !job->ties)
        return;
    job->bound_lsn = ts->awaited = ts->lsn;
    list_remove(&job->improved);
    list_add(&ts->improved, &job->improved);
}

void bounds_tell(struct ts *ts, struct job *job)
{
    bool min = job->has_min && (!job->told_has_min || job->told_min != job->bound_min);
    bool max = job->has_max && (!job->told_has_max || job->told_max != job->bound_max);
    if (job->state != TS_JOB_RUNNING || (!min && !max))
        return;
    if (min)
        tell_producers(ts, job, CX_BOUND_MIN, job->bound_min);
    if (max)
        tell_producers(ts, job, CX_BOUND_MAX, job->bound_max);
    job->told_has_min = job->has_min;
    job->told_has_max = job->has_max;
    job->told_min = job->bound_min;
    job->told_max = job->bound_max;
    improved(ts, job);
}

static void tell_shard(struct ts *ts, const struct job *job, uint32_t shard)
{
    struct neighbour *n = neighbour_find(ts, channel_shard(ts, shard));
    struct note note = {.kind = NOTE_BOUND, .job = job->entry.id, .born_us = job->submitted_us};
    if (!n)
        return;
    if (job->has_min) {
        note.bound_kind = CX_BOUND_MIN;
        note.bound = job->bound_min;
        neighbour_note(ts, n, &note);
    }
    if (job->has_max) {
        note.bound_kind = CX_BOUND_MAX;
        note.bound = job->bound_max;
        neighbour_note(ts, n, &note);
    }
}

static void tell_shards(struct ts *ts, const struct job *job)
{
    bool home_told = !job->origin;
    for (uint32_t i = 0; i < job->ties; i++) {
        tell_shard(ts, job, job->tie[i].shard);
        home_told |= job->tie[i].shard == job->origin;
    }
    if (!home_told)
        tell_shard(ts, job, job->origin);
}

void bounds_held(struct ts *ts)
{
    for (struct link *l = ts->improved.next, *next; l != &ts->improved; l = next) {
        struct job *job = list_item(l, struct job, improved);
        next = l->next;
        if (job->bound_lsn > ts->held)
            continue;
        list_remove(l);
        if (job->state == TS_JOB_RUNNING)
            tell_shards(ts, job);
    }
}

/* A shard that was out of reach has missed some. */
void bounds_again(struct ts *ts, uint32_t shard)
{
    for (uint32_t i = 0; shard < SHARDS_MAX && i < ts->job_slots; i++) {
        struct job *job = ts->job[i];
        bool tied = job && job->state == TS_JOB_RUNNING && job->origin == shard;
        for (uint32_t k = 0; job && job->state == TS_JOB_RUNNING && k < job->ties; k++)
            tied |= job->tie[k].shard == shard;
        if (tied && (job->has_min || job->has_max))
            improved(ts, job);
    }
    bounds_held(ts);
}

/* ---- Hearing ---- */

void bound_heard(struct ts *ts, const struct note *note)
{
    struct job *job = job_find(ts, note->job);
    if (!job || job->state != TS_JOB_RUNNING || job->submitted_us != note->born_us)
        return;
    bool min = note->bound_kind == CX_BOUND_MIN;
    if (min ? job->has_min && note->bound >= job->bound_min : job->has_max && note->bound <= job->bound_max)
        return;
    struct record r = {.kind = RECORD_BOUND,
                       .now_us = ts->now_us,
                       .job = note->job,
                       .bound_kind = note->bound_kind,
                       .bound = note->bound};
    log_apply(ts, &r);
    bounds_tell(ts, job);
}

bool bound_fits(struct ts *ts, const struct record *r)
{
    struct job *job = job_find(ts, r->job);
    return job && job->state == TS_JOB_RUNNING;
}

void apply_bound_record(struct ts *ts, const struct record *r)
{
    bound_improve(job_find(ts, r->job), r->bound_kind, r->bound);
}
