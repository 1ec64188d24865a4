/* Looking at the state without changing it. */
#include "taskserver/core/core.h"

static void job_info(const struct ts *ts, const struct job *job, struct ts_job_info *out)
{
    struct bytes answer = bytes_of(job->answer, job->answer_len), none = {0};
    *out = (struct ts_job_info){
        .id = job->entry.id,
        .state = job->state,
        .modules = job->modules,
        .has_input = job->has_input,
        .functions = job->functions,
        .fn = job->root_fn,
        .label = job->label,
        .owner = job->owner,
        .result = job->state == TS_JOB_DONE ? answer : none,
        .reason = job->state == TS_JOB_DONE ? none : answer,
        .priority = job->priority,
        .weight = job->weight,
        .submitted_us = job->submitted_us,
        .ended_us = job->ended_us,
        .ready = job->nready,
        .waiting = job->nwaiting,
        .granted = job->ngranted,
        .executed = job->executed,
        .duplicates = job->duplicates,
        .commits = job->commits,
        .busy_ns = job->busy_ns,
        .bytes = job->bytes,
        .has_min = job->has_min,
        .has_max = job->has_max,
        .bound_min = job->bound_min,
        .bound_max = job->bound_max,
        .guest = job->origin != 0,
        .origin = channel_shard(ts, job->origin),
        .away = job->away,
    };
    memcpy(out->module, job->module, sizeof out->module);
    memcpy(out->input, job->input, sizeof out->input);
}

bool ts_job_find(const struct ts *ts, struct id id, struct ts_job_info *out)
{
    const struct job *job = job_find(ts, id);
    if (job)
        job_info(ts, job, out);
    return job != NULL;
}

/* An end that a crash could undo is told to nobody (law 8). */
static void job_info_hide_end(struct ts_job_info *out)
{
    out->state = TS_JOB_RUNNING;
    out->ended_us = 0;
    out->reason = bytes_of(NULL, 0);
    out->result = bytes_of(NULL, 0);
}

bool ts_job_next(const struct ts *ts, uint64_t *cursor, struct ts_job_info *out)
{
    while (*cursor < ts->job_slots) {
        const struct job *job = ts->job[(*cursor)++];
        if (!job)
            continue;
        job_info(ts, job, out);
        if (job->state != TS_JOB_RUNNING && job->ended_lsn > ts->held)
            job_info_hide_end(out);
        return true;
    }
    return false;
}

bool ts_producer_next(const struct ts *ts, uint64_t *cursor, struct ts_producer_info *out)
{
    while (*cursor < ts->producer_slots) {
        const struct producer *p = ts->producer[(*cursor)++];
        if (!p)
            continue;
        *out = (struct ts_producer_info){p->peer,    p->name,    p->arch->name, p->threads, p->window,
                                         p->granted, p->commits, p->executed,   p->busy_ns, p->joined_us};
        return true;
    }
    return false;
}

static void peer_link(const struct ts *ts, struct ts_peer_info *out)
{
    const struct neighbour *n = neighbour_find(ts, out->shard);
    out->up = n != NULL;
    out->rtt_us = n ? n->rtt_us : 0;
}

/* First those that have a number, then those that are connected and have none yet. */
bool ts_peer_next(const struct ts *ts, uint64_t *cursor, struct ts_peer_info *out)
{
    uint64_t numbered = ts->channels ? ts->channels - 1 : 0;
    *out = (struct ts_peer_info){0};
    if (*cursor < numbered) {
        const struct channel *c = ts->channel[++*cursor];
        out->shard = c->shard;
        out->given = c->given;
        out->taken = c->taken;
        out->unconfirmed = c->sealed - c->confirmed;
        for (const struct parcel *p = c->first; p; p = p->next)
            out->unconfirmed_bytes += p->len;
        peer_link(ts, out);
        return true;
    }
    while (*cursor - numbered < ts->neighbours) {
        out->shard = ts->neighbour[(*cursor)++ - numbered]->shard;
        peer_link(ts, out);
        if (channel_find(ts, out->shard) == SHARDS_MAX)
            return true;
    }
    return false;
}

static uint32_t guests(const struct ts *ts)
{
    uint32_t n = 0;
    for (uint32_t i = 0; ts->channels && i < ts->job_slots; i++)
        n += ts->job[i] && ts->job[i]->origin;
    return n;
}

void ts_stats(const struct ts *ts, struct ts_stats *out)
{
    *out = (struct ts_stats){
        .jobs = ts->njobs - guests(ts),
        .tasks = ts->nready + ts->nwaiting + ts->ngranted,
        .ready = ts->nready,
        .waiting = ts->nwaiting,
        .granted = ts->ngranted,
        .producers = ts->nproducers,
        .threads = ts->threads,
        .memory = ts->pool.used,
        .memory_max = ts->config.memory_max,
        .lsn = ts->lsn,
        .held = ts->held,
    };
}

/* ---- Why is it not done yet? ---- */

static void seconds(struct buf *text, uint64_t us)
{
    if (us < 1000000)
        text_add(text, "%llu ms", (unsigned long long)us / 1000);
    else
        text_add(text, "%.1f s", (double)us / 1e6);
}

static void why_ended(const struct ts *ts, const struct job *job, struct buf *text)
{
    static const char *const how[] = {"", "is done", "failed", "was cancelled"};
    if (job->ended_lsn > ts->held) { /* law 8: how it ended is not told before */
        text_add(text, "The job has nothing left to do. How it ended is told when the server's log is safely "
                       "stored.\n");
        return;
    }
    text_add(text, "The job %s.", how[job->state]);
    if (job->state != TS_JOB_DONE && job->answer_len)
        text_add(text, " Reason: %.*s", (int)job->answer_len, (const char *)job->answer);
    text_add(text, "\n");
}

static void why_away(const struct ts *ts, const struct job *job, struct buf *text)
{
    char hex[ID_HEX_MAX];
    if (job->origin)
        text_add(text, "It was submitted to another server, which lets some of its tasks run here.\n");
    for (uint32_t i = 0; i < job->ties; i++) {
        struct id shard = channel_shard(ts, job->tie[i].shard);
        if (!job->tie[i].away)
            continue;
        id_hex(shard, hex);
        text_add(text, "Another server has work of it: shard %s, %llu tasks and values%s.\n", hex,
                 (unsigned long long)job->tie[i].away,
                 neighbour_find(ts, shard) ? "" : "; it is not connected just now");
    }
}

static uint32_t fitting_producers(const struct ts *ts, const struct job *job)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < ts->arches; i++)
        if (job_fits(job, ts->arch[i]))
            n += ts->arch[i]->producers;
    return n;
}

static void why_ready(const struct ts *ts, const struct job *job, struct buf *text)
{
    if (!job->nready)
        return;
    if (!ts->nproducers) {
        text_add(text, "No producer is connected, so nothing can run. Start cx-producer somewhere.\n");
        return;
    }
    if (job->unfit.len)
        text_add(text, "It is granted to no producer that has said so: %.*s.\n", (int)job->unfit.len,
                 (const char *)job->unfit.data);
    if (!fitting_producers(ts, job) && job->unfit.len) {
        text_add(text, "None of the %u connected producers can run it.\n", ts->nproducers);
        return;
    }
    if (!fitting_producers(ts, job)) {
        text_add(text,
                 "None of the %u connected producers has an architecture that the job has a module for (",
                 ts->nproducers);
        for (uint32_t i = 0; i < job->modules; i++)
            text_add(text, "%s%s", i ? ", " : "", job->module[i].arch);
        text_add(text, ").\n");
        return;
    }
    if (!job->ngranted)
        text_add(text, "All producers are busy with other jobs, or accept no work just now.\n");
}

static const struct holder *oldest_grant(const struct job *job)
{
    const struct holder *oldest = NULL;
    for (uint32_t i = 0; i < job->fns; i++)
        for (uint32_t level = 0; level < EAGER_LEVELS; level++)
            for (const struct task *t = job->fn[i].granted[level].head; t; t = NULL)
                for (const struct holder *h = t->u.holders; h; h = h->next)
                    if (!oldest || h->since_us < oldest->since_us)
                        oldest = h;
    return oldest;
}

static void why_granted(const struct job *job, uint64_t now_us, struct buf *text)
{
    const struct holder *h = oldest_grant(job);
    char hex[ID_HEX_MAX];
    if (!h)
        return;
    const struct task *t = h->task;
    const struct fn_stat *f = &job->fn[t->fn - FN_FIRST];
    id_hex(t->entry.id, hex);
    text_add(text, "Longest at work: task %.8s (", hex);
    text_safe(text, job_fn_name(job, t->fn));
    text_add(text, ") on producer %s, for ", h->producer->name);
    seconds(text, now_us > h->since_us ? now_us - h->since_us : 0);
    if (f->commits) {
        text_add(text, "; such a task usually takes ");
        seconds(text, f->mean_ns / 1000);
    }
    if (t->held > 1)
        text_add(text, "; %u other producers try it too", t->held - 1u);
    text_add(text, ".\n");
    if (t->crashes)
        text_add(text, "It has crashed %u times; the job fails at %u.\n", t->crashes, TS_POISON_CRASHES);
}

void ts_why(const struct ts *ts, struct id id, uint64_t now_us, struct buf *text)
{
    const struct job *job = job_find(ts, id);
    if (!job) {
        text_add(text, "No such job here.\n");
        return;
    }
    if (job->state != TS_JOB_RUNNING) {
        why_ended(ts, job, text);
        return;
    }
    text_add(
        text,
        "The job is running: %llu tasks at work, %llu ready to run, %llu waiting for values of others.\n",
        (unsigned long long)job->ngranted, (unsigned long long)job->nready,
        (unsigned long long)job->nwaiting);
    why_away(ts, job, text);
    why_ready(ts, job, text);
    why_granted(job, now_us, text);
}
