/* Every relation inside the state that must hold, for tests and the simulator. */
#include "taskserver/core/core.h"

struct tally {
    const struct ts *ts;
    const struct job *job;
    uint64_t ready, waiting, granted, bytes, holders;
};

/* ---- Tasks ---- */

static uint64_t cells_bytes(const struct task *t)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < t->nslots; i++) {
        const struct cell *c = &task_cells(t)[i];
        bool set = task_bitmap(t)[i / 64] >> i % 64 & 1;
        must(set || c->type == CX_NONE);
        if (c->type == CX_BYTES)
            bytes += pool_round(c->len);
        else if (c->type == CX_ADDR)
            bytes += pool_round(ADDR_BYTES);
    }
    return bytes;
}

static void check_waiting(struct tally *c, const struct task *t)
{
    uint32_t set = 0;
    for (uint32_t i = 0; i < t->nslots; i += 64) {
        uint64_t word = task_bitmap(t)[i / 64];
        must(t->nslots - i >= 64 || word >> (t->nslots - i) == 0);
        set += (uint32_t)__builtin_popcountll(word);
    }
    must(t->open == t->nslots - set && t->open > 0);
    must(t->hash == 0 && t->held == 0);
    must(t->payload_len == task_waiting_bytes(t->fn, t->nslots));
    if (!task_folds(t->fn))
        c->bytes += cells_bytes(t);
    c->waiting++;
}

static void check_full(const struct task *t)
{
    struct reader r = reader_of(task_values(t));
    uint32_t naddrs = 0;
    for (uint32_t i = 0; i < t->nslots; i++)
        naddrs += get_value(&r).type == CX_ADDR;
    must(!r.bad && r.at == r.end && naddrs == t->open);
    must(t->hash == task_hash(t));
    must(t->fn >= FN_FIRST && t->fn - FN_FIRST < t->job->fns);
}

static void check_holders(struct tally *c, const struct task *t)
{
    uint32_t held = 0;
    for (const struct holder *h = t->u.holders; h; h = h->next, held++) {
        must(h->task == t);
        must(producer_find(c->ts, h->producer->peer) == h->producer);
        must(job_known(t->job, h->producer->peer));
        for (const struct holder *o = h->next; o; o = o->next)
            must(o->producer != h->producer); /* never twice to the same producer at once */
        c->bytes += pool_round(sizeof *h);
    }
    must(held == t->held && held > 0);
    c->holders += held;
    c->granted++;
}

static void check_task_entry(void *ctx, struct entry *e)
{
    struct tally *c = ctx;
    const struct task *t = (const struct task *)e;
    must(t->job == c->job);
    c->bytes += pool_round(sizeof *t + t->tail_len);
    if (t->payload != t->tail)
        c->bytes += pool_round(t->payload_len);
    if (t->state == TASK_WAITING) {
        check_waiting(c, t);
        return;
    }
    check_full(t);
    if (t->state == TASK_GRANTED)
        check_holders(c, t);
}

/* ---- Queues ---- */

static void check_bucket(struct tally *c, const struct job *job, const struct bucket *b)
{
    uint64_t n = 0;
    const struct task *last = NULL;
    for (const struct task *t = b->tasks.head; t; last = t, t = t->next, n++) {
        must(t->state == TASK_READY && t->u.bucket == b && t->prev == last && t->job == job);
        must(b->knot.lo == t->depth);
        must(b->knot.hi == (uint32_t) ~((uint32_t)t->priority ^ 0x80000000u));
    }
    must(b->tasks.tail == last && n == b->n && n > 0);
    c->ready += n;
    c->bytes += pool_round(sizeof *b);
}

static void check_ready(struct tally *c, const struct job *job)
{
    bool recent = job->recent == NULL;
    for (const struct knot *k = job->ready.first; k; k = tree_after(&job->ready, k->hi, k->lo)) {
        check_bucket(c, job, list_item(k, struct bucket, knot));
        recent |= job->recent == list_item(k, struct bucket, knot);
    }
    must(recent);
    must(job->sharing == (job->nready > 0));
    must(!job->sharing || tree_find(&c->ts->share, job->share.hi, job->share.lo) == &job->share);
}

static void check_granted(const struct job *job)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < job->fns; i++)
        for (uint32_t level = 0; level < EAGER_LEVELS; level++) {
            const struct task *last = NULL;
            for (const struct task *t = job->fn[i].granted[level].head; t; last = t, t = t->next, n++) {
                must(t->state == TASK_GRANTED && t->fn == FN_FIRST + i && t->prev == last);
                must(t->held == level + 1 || (level + 1 == EAGER_LEVELS && t->held > level));
            }
            must(job->fn[i].granted[level].tail == last);
        }
    must(n == job->ngranted);
    must(list_empty(&job->granting) == (n == 0));
}

/* ---- Jobs ---- */

static uint64_t table_bytes(const struct table *t)
{
    return (t->group ? t->groups * sizeof *t->group : 0) + (t->old ? t->old_groups * sizeof *t->old : 0);
}

static void check_timer(const struct ts *ts, const struct job *job)
{
    const struct knot *k = tree_find(&ts->timers, job->timer.hi, job->timer.lo);
    must((k == &job->timer) == job->timed);
    must(job->state != TS_JOB_RUNNING || !job->timed ||
         job->timer.hi <= job->progress_us + PROGRESS_EVERY_US || job->timer.hi <= ts->now_us);
}

static void check_job(struct tally *c, const struct job *job)
{
    c->job = job;
    c->ready = c->waiting = c->granted = 0;
    c->bytes = pool_round(sizeof *job) + pool_round(job->text_len) + pool_round(job->fns * sizeof *job->fn) +
               pool_round(job->answer_len) + table_bytes(&job->tasks) + move_bytes(job);
    table_each(&job->tasks, check_task_entry, c);
    check_ready(c, job);
    check_granted(job);
    check_timer(c->ts, job);
    must(c->ready == job->nready && c->waiting == job->nwaiting && c->granted == job->ngranted);
    must(job->tasks.n == job->nready + job->nwaiting + job->ngranted);
    must(job->bytes == c->bytes);
    must(job->state == TS_JOB_RUNNING || job->tasks.n == 0);
    must(job->state == TS_JOB_RUNNING || job->known.len == 0);
    must(c->ts->recheck || job->state != TS_JOB_RUNNING || job->nready || job->ngranted || job->away ||
         job->origin);
    move_check(c->ts, job);
    must(job_find(c->ts, job->entry.id) == job && c->ts->job[job->index] == job);
    must(job->ended_lsn <= c->ts->lsn && job->submit_lsn <= c->ts->lsn);
    must(list_empty(&job->watches) || job->state == TS_JOB_RUNNING || job->ended_lsn > c->ts->held);
}

static void check_jobs(const struct ts *ts, struct tally *c)
{
    uint64_t jobs = 0, ready = 0, waiting = 0, granted = 0,
             bytes = table_bytes(&ts->jobs) + channels_bytes(ts);
    for (uint32_t i = 0; i < ts->job_slots; i++) {
        if (!ts->job[i])
            continue;
        check_job(c, ts->job[i]);
        jobs++;
        ready += c->ready;
        waiting += c->waiting;
        granted += c->granted;
        bytes += ts->job[i]->bytes;
    }
    must(jobs == ts->njobs && jobs == ts->jobs.n);
    must(ready == ts->nready && waiting == ts->nwaiting && granted == ts->ngranted);
    must(bytes == ts->pool.used);
}

/* ---- Producers ---- */

static void check_producer(const struct ts *ts, const struct producer *p, uint64_t *holders)
{
    uint32_t n = 0, budgeted = 0;
    uint64_t charged_ns = 0;
    for (const struct link *l = p->holders.next; l != &p->holders; l = l->next, n++) {
        const struct holder *h = list_item(l, const struct holder, of_producer);
        must(h->producer == p && holder_find(h->task, p) == h);
        budgeted += h->budget_us > 0;
        charged_ns += h->charge_ns;
    }
    must(n == p->granted && budgeted == p->budgeted && charged_ns == p->charged_ns);
    must(list_empty(&p->served) == (p->granted >= p->window));
    must(p->idle == (p->granted < p->window && p->granted < p->threads));
    must(list_empty(&p->busy) == (budgeted == 0));
    must(ts->producer[p->peer] == p);
    *holders += n;
}

static void check_producers(const struct ts *ts, uint64_t holders)
{
    uint64_t producers = 0, threads = 0, hungry = 0, held = 0;
    for (uint32_t i = 0; i < ts->producer_slots; i++) {
        const struct producer *p = ts->producer[i];
        if (!p)
            continue;
        check_producer(ts, p, &held);
        producers++;
        threads += p->threads;
        hungry += !list_empty(&p->served);
    }
    must(producers == ts->nproducers && threads == ts->threads && hungry == ts->hungry);
    must(held == holders);
}

void ts_check(const struct ts *ts)
{
    struct tally c = {.ts = ts};
    check_jobs(ts, &c);
    check_producers(ts, c.holders);
    channels_check(ts);
    must(ts->firing == NULL && ts->held <= ts->lsn);
    must(ts->eager_us != NEVER || !ts->hungry || !ts->ngranted || ts->again);
}
