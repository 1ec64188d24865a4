/* What producers did: commits, crashes, tasks handed back. */
#include "taskserver/core/core.h"

#define ELAPSED_MAX_NS ((uint64_t)1 << 50) /* 13 days: beyond it a clock is broken */
#define EXECUTED_MAX   ((uint64_t)1 << 48)
#define LONGEST_OF     64u /* commits after which a function's longest counts for a third */

void job_fail(struct ts *ts, struct job *job, struct bytes reason)
{
    for (; reason.len > TS_REASON_MAX; reason.len--)
        while ((reason.data[reason.len - 1] & 0xc0) == 0x80) /* not within a character */
            reason.len--;
    struct record r = {.kind = RECORD_ENDED,
                       .now_us = ts->now_us,
                       .job = job->entry.id,
                       .state = TS_JOB_FAILED,
                       .body = reason};
    log_apply(ts, &r);
}

static void name_task(struct buf *b, const struct task *t)
{
    char hex[ID_HEX_MAX];
    id_hex(t->entry.id, hex);
    text_add(b, "task %s (", hex);
    text_safe(b, job_fn_name(t->job, t->fn));
    text_add(b, ")");
}

/* ---- Jobs that cannot end ---- */

struct first_waiting {
    const struct task *task;
};

static void find_waiting(void *ctx, struct entry *e)
{
    struct first_waiting *f = ctx;
    const struct task *t = (const struct task *)e, *best = f->task;
    if (!best || t->depth < best->depth ||
        (t->depth == best->depth &&
         (t->entry.id.hi < best->entry.id.hi ||
          (t->entry.id.hi == best->entry.id.hi && t->entry.id.lo < best->entry.id.lo))))
        f->task = t;
}

static uint32_t first_open(const struct task *t)
{
    uint32_t slot = 0;
    while (slot < t->nslots && task_bitmap(t)[slot / 64] >> slot % 64 & 1)
        slot++;
    return slot;
}

/* With nothing to run here, and nothing unanswered by other shards, no slot can be set any more. A guest
 * cannot know: its home can. */
void job_check_stuck(struct ts *ts, struct job *job)
{
    struct first_waiting f = {0};
    if (job->state != TS_JOB_RUNNING || job->nready || job->ngranted || (job->away && LAW(12)) || job->origin)
        return;
    struct buf text = {0};
    table_each(&job->tasks, find_waiting, &f);
    if (f.task) {
        name_task(&text, f.task);
        text_add(&text, " waits for slot %u, which no task can set any more", first_open(f.task));
        if (job->nwaiting > 1)
            text_add(&text, "; %llu more tasks wait", (unsigned long long)job->nwaiting - 1);
    } else {
        text_add(&text, "all tasks have run, but none returned the job's result");
    }
    job_fail(ts, job, buf_bytes(&text));
    buf_free(&text);
}

/* ---- Memory ---- */

static struct job *biggest_job(const struct ts *ts, struct job *grower, uint64_t need)
{
    struct job *big = grower;
    uint64_t most = grower->bytes + need;
    for (uint32_t i = 0; i < ts->job_slots; i++) {
        struct job *job = ts->job[i];
        if (!job || job->state != TS_JOB_RUNNING || job->bytes <= most)
            continue;
        big = job;
        most = job->bytes;
    }
    return big;
}

static uint64_t ended_bytes(const struct ts *ts)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < ts->job_slots; i++)
        if (ts->job[i] && ts->job[i]->state != TS_JOB_RUNNING)
            sum += ts->job[i]->bytes;
    return sum;
}

/* Says who has the memory: the job itself, or the results that nobody has fetched. need: of its commit. */
static void fail_for_memory(struct ts *ts, struct job *big, uint64_t need)
{
    struct buf text = {0};
    uint64_t kept = ended_bytes(ts);
    text_add(&text, "%s: ", cx_err_name(CX_ELIMIT));
    if (kept > big->bytes + need)
        text_add(&text,
                 "the task server's memory budget of %llu bytes is spent: the results of jobs that have "
                 "ended hold "
                 "%llu, this job held %llu",
                 (unsigned long long)ts->config.memory_max, (unsigned long long)kept,
                 (unsigned long long)big->bytes);
    else
        text_add(&text,
                 "the job outgrew the task server's memory budget of %llu bytes: it held %llu in %zu tasks",
                 (unsigned long long)ts->config.memory_max, (unsigned long long)big->bytes, big->tasks.n);
    if (need)
        text_add(&text, " and its next step needs up to %llu more", (unsigned long long)need);
    text_add(&text, kept > big->bytes + need ? "; fetch or forget results, or ask for a bigger budget"
                                             : "; unfold it deeper before wider, or ask for a bigger budget");
    job_fail(ts, big, buf_bytes(&text));
    buf_free(&text);
}

/* Makes room for what a commit of this job adds. When there is none, the job that holds the most memory
 * fails: it is the one that grew, and the others are to feel nothing. False when that was this very job. */
static bool make_room(struct ts *ts, struct job *job, uint64_t need)
{
    uint64_t max = ts->config.memory_max;
    while (max && ts->pool.used + need > max) {
        struct job *big = biggest_job(ts, job, need);
        fail_for_memory(ts, big, big == job ? need : 0);
        if (big == job)
            return false;
    }
    return true;
}

/* ---- Commits that count ---- */

static void learn(struct job *job, uint32_t fn, uint64_t elapsed_ns, uint64_t executed)
{
    struct fn_stat *f = job_fn(job, fn);
    int64_t task_ns = (int64_t)(elapsed_ns / (executed ? executed : 1));
    f->longest_ns -= f->longest_ns / LONGEST_OF;
    if (elapsed_ns > f->longest_ns)
        f->longest_ns = elapsed_ns;
    if (f->commits++ == 0) {
        f->mean_ns = elapsed_ns;
        f->task_ns = (uint64_t)task_ns;
        return;
    }
    f->mean_ns = (uint64_t)((int64_t)f->mean_ns + ((int64_t)elapsed_ns - (int64_t)f->mean_ns) / 8);
    f->task_ns = (uint64_t)((int64_t)f->task_ns + (task_ns - (int64_t)f->task_ns) / 8);
}

static void revoke_others(struct ts *ts, const struct task *t, const struct producer *winner)
{
    for (const struct holder *h = t->u.holders; h; h = h->next) {
        if (h->producer == winner)
            continue;
        struct ts_effect *fx = fx_job(ts, TS_FX_REVOKE, h->producer->peer, t->job);
        fx->task = t->entry.id;
    }
}

/* Applies a checked commit; the job may be over after it. */
static void commit_log(struct ts *ts, struct job *job, const struct done *d)
{
    log_apply_commit(ts, job, d);
    if (job->state != TS_JOB_RUNNING)
        return;
    if (job->has_min || job->has_max)
        bounds_tell(ts, job);
    job_changed(ts, job);
    job_check_stuck(ts, job);
}

static void task_failed(struct ts *ts, struct task *t, const struct producer *p, struct bytes why)
{
    struct buf text = {0};
    name_task(&text, t);
    text_add(&text, " failed on producer %s: ", p->name);
    text_safe(&text, why);
    job_fail(ts, t->job, buf_bytes(&text));
    buf_free(&text);
}

static const char *commit_done(struct ts *ts, struct holder *h, const struct commit *c)
{
    struct task *t = h->task;
    struct job *job = t->job;
    struct producer *p = h->producer;
    const char *wrong = commit_check(ts, job, t, c->body);
    if (wrong) {
        h->faulted = true;
        return wrong;
    }
    if (ts->checked.failed) {
        task_failed(ts, t, p, ts->checked.fail);
        return NULL;
    }
    if (!make_room(ts, job, ts->checked.need))
        return NULL;
    struct done d = {.task = c->task,
                     .body = c->body,
                     .elapsed_ns = c->elapsed_ns < ELAPSED_MAX_NS ? c->elapsed_ns : ELAPSED_MAX_NS,
                     .executed = c->executed < EXECUTED_MAX ? c->executed : EXECUTED_MAX};
    p->commits++;
    p->executed += d.executed;
    p->busy_ns += d.elapsed_ns;
    p->hungry_gap_us = HUNGRY_GAP_MIN;
    revoke_others(ts, t, p);
    learn(job, t->fn, d.elapsed_ns, d.executed);
    share_charge(ts, job, (int64_t)d.elapsed_ns);
    ts->steal.worked_ns += d.elapsed_ns;
    commit_log(ts, job, &d);
    return NULL;
}

/* ---- Crashes, returns, pruning ---- */

void task_crashed(struct ts *ts, struct task *t, const struct producer *p, struct bytes why)
{
    if (t->job->state != TS_JOB_RUNNING || ++t->crashes < TS_POISON_CRASHES)
        return;
    struct buf text = {0};
    name_task(&text, t);
    text_add(&text, " crashed %u times, last on producer %s", t->crashes, p->name);
    if (why.len)
        text_add(&text, ": ");
    text_safe(&text, why);
    job_fail(ts, t->job, buf_bytes(&text));
    buf_free(&text);
}

static const char *commit_crashed(struct ts *ts, struct holder *h, const struct commit *c)
{
    struct task *t = h->task;
    const struct producer *p = h->producer;
    struct bytes why = c->body;
    if (why.len > MESSAGE_TEXT_MAX)
        return "a crash with too long a text";
    grant_drop(ts, h);
    grant_requeue(ts, t);
    task_crashed(ts, t, p, why);
    return NULL;
}

static const char *commit_returned(struct ts *ts, struct holder *h, const struct commit *c)
{
    struct task *t = h->task;
    struct producer *p = h->producer;
    if (c->body.len > MESSAGE_TEXT_MAX)
        return "a task handed back with too long a text";
    grant_drop(ts, h);
    grant_requeue(ts, t);
    if (c->body.len)
        producer_unfit(ts, p, t->job, c->body);
    return NULL;
}

/* A task that can no longer win gives none, by a commit of its own: replicas and restarts see it the same
 * way. */
bool task_prune(struct ts *ts, struct task *t)
{
    struct job *job = t->job;
    bool min = t->bound_kind == CX_BOUND_MIN && job->has_min && t->bound >= job->bound_min;
    bool max = t->bound_kind == CX_BOUND_MAX && job->has_max && t->bound <= job->bound_max;
    if (!min && !max)
        return false;
    struct buf body = {0};
    put_set(&body, (struct ref){.inherited = true}, cx_v_none(), (struct ref){0});
    struct done d = {.task = t->entry.id, .body = buf_bytes(&body)};
    must(!commit_check(ts, job, t, d.body));
    commit_log(ts, job, &d);
    buf_free(&body);
    return true;
}

/* ---- The batch ---- */

static void duplicate(struct job *job)
{
    job->duplicates++;
}

/* NULL, or why the producer's stream is to be closed. */
static const char *commit_one(struct ts *ts, struct producer *p, const struct commit *c)
{
    static const char *(*const handler[])(struct ts *, struct holder *, const struct commit *) = {
        [COMMIT_DONE] = commit_done,
        [COMMIT_CRASHED] = commit_crashed,
        [COMMIT_RETURNED] = commit_returned,
    };
    struct job *job = job_find(ts, c->job);
    if (!job)
        return NULL;
    struct task *t = job->state == TS_JOB_RUNNING ? task_find(job, c->task) : NULL;
    /* Law 3: the first commit took the task away. Law 6: other content is another task. */
    if (!t || t->state == TASK_WAITING || (t->hash != c->hash && LAW(6))) {
        duplicate(job);
        return NULL;
    }
    struct holder *h = holder_find(t, p);
    if (!h && producer_disowned(p, c->job, c->task)) {
        duplicate(job);
        return NULL;
    }
    if (!h)
        return "a commit for a task that was not granted to this producer";
    return handler[c->kind](ts, h, c);
}

/* Decodes up to LOOKAHEAD records and fetches what they will touch: a task is two misses away, and many
 * misses at once cost little more than one. Returns how many there are; *bad when the next one is malformed.
 */
static uint32_t look_ahead(const struct ts *ts, struct reader *r, struct commit c[LOOKAHEAD], bool *bad)
{
    const struct job *job[LOOKAHEAD];
    uint32_t n = 0;
    for (; n < LOOKAHEAD && reader_more(r); n++) {
        *bad = !commit_get(r, &c[n]);
        if (*bad)
            break;
        job[n] = n && id_equal(c[n].job, c[n - 1].job) ? job[n - 1] : job_find(ts, c[n].job);
        if (job[n])
            table_expect(&job[n]->tasks, c[n].task);
    }
    for (uint32_t i = 0; i < n; i++)
        if (job[i])
            table_expect_entry(&job[i]->tasks, c[i].task);
    return n;
}

void on_commits(struct ts *ts, const struct ts_event *e)
{
    struct producer *p = producer_find(ts, e->peer);
    struct reader r = reader_of(e->u.batch);
    const char *wrong = p ? NULL : "commits from a producer that has not joined";
    struct commit c[LOOKAHEAD];
    while (!wrong && reader_more(&r)) {
        bool bad = false;
        uint32_t n = look_ahead(ts, &r, c, &bad);
        for (uint32_t i = 0; i < n && !wrong; i++)
            wrong = commit_one(ts, p, &c[i]);
        if (bad && !wrong)
            wrong = "a malformed batch of commits";
    }
    if (wrong)
        fx_fault(ts, e->peer, wrong);
}
