/* The order of ready tasks.
 *
 * Within a job: by priority, higher first, then shallowest first, so that big subtrees spread quickly; above
 * the memory's high-water mark deepest first, so that the tree is finished before it is unfolded further.
 * Priority stays on top: it is the programmer's own order. Tasks of one priority and depth queue in one
 * bucket, first in first out, so the common case - few keys, many tasks - is O(1) and best-first search with
 * a key a task is O(log keys).
 *
 * Across jobs: by priority, then stride scheduling (Waldspurger and Weihl, 1995): a job's pass advances by
 * its computing time over its weight, and the one with the lowest pass is next. A grant charges what the
 * function's history predicts; the commit corrects it. A job that comes in starts at the pass the others have
 * reached. */
#include "taskserver/core/core.h"

static uint64_t descending(int32_t priority)
{
    return ~((uint64_t)(uint32_t)priority ^ 0x80000000u) & 0xffffffffu;
}

/* ---- Buckets of a job ---- */

static struct bucket *bucket_of(struct ts *ts, struct job *job, const struct task *t)
{
    uint64_t hi = descending(t->priority), lo = t->depth;
    if (job->recent && job->recent->knot.hi == hi && job->recent->knot.lo == lo)
        return job->recent;
    struct knot *k = tree_find(&job->ready, hi, lo);
    struct bucket *b = k ? list_item(k, struct bucket, knot) : NULL;
    if (!b) {
        b = mem_get(ts, job, sizeof *b);
        *b = (struct bucket){.knot = {.hi = hi, .lo = lo}};
        tree_insert(&job->ready, &b->knot);
    }
    job->recent = b;
    return b;
}

static void share_enter(struct ts *ts, struct job *job);

void ready_push(struct ts *ts, struct task *t, bool front)
{
    struct job *job = t->job;
    struct bucket *b = bucket_of(ts, job, t);
    struct task_list *l = &b->tasks;
    t->state = TASK_READY;
    t->u.bucket = b;
    t->prev = front ? NULL : l->tail;
    t->next = front ? l->head : NULL;
    *(t->prev ? &t->prev->next : &l->head) = t;
    *(t->next ? &t->next->prev : &l->tail) = t;
    b->n++;
    job->nready++;
    ts->nready++;
    if (!job->sharing)
        share_enter(ts, job);
}

void ready_remove(struct ts *ts, struct task *t)
{
    struct job *job = t->job;
    struct bucket *b = t->u.bucket;
    must(t->state == TASK_READY);
    *(t->prev ? &t->prev->next : &b->tasks.head) = t->next;
    *(t->next ? &t->next->prev : &b->tasks.tail) = t->prev;
    t->prev = t->next = NULL;
    t->u.bucket = NULL;
    job->nready--;
    ts->nready--;
    if (job->nready == 0)
        share_leave(ts, job);
    if (--b->n)
        return;
    if (job->recent == b)
        job->recent = NULL;
    tree_remove(&job->ready, &b->knot);
    mem_put(ts, job, b, sizeof *b);
}

static bool above_high_water(const struct ts *ts)
{
    return ts->config.memory_max && ts->pool.used > ts->config.memory_max / 2;
}

/* The job has ready tasks. */
struct task *ready_first(struct ts *ts, struct job *job)
{
    struct knot *k = job->ready.first;
    if (above_high_water(ts))
        k = tree_before(&job->ready, k->hi + 1, 0);
    return list_item(k, struct bucket, knot)->tasks.head;
}

/* ---- Jobs among themselves ---- */

static struct job *share_job(struct knot *k)
{
    return k ? list_item(k, struct job, share) : NULL;
}

/* The key is 32 bits of priority, 64 of pass and 32 of index. */
static void share_insert(struct ts *ts, struct job *job)
{
    job->share.hi = descending(job->priority) << 32 | job->pass >> 32;
    job->share.lo = job->pass << 32 | job->index;
    tree_insert(&ts->share, &job->share);
}

/* It starts where its equals are, or, alone at its priority, where the service was last. */
static void share_enter(struct ts *ts, struct job *job)
{
    uint64_t hi = descending(job->priority) << 32;
    struct knot *k = tree_find(&ts->share, hi, 0);
    struct job *equal = share_job(k ? k : tree_after(&ts->share, hi, 0));
    uint64_t pass = equal && equal->priority == job->priority ? equal->pass : ts->share_now;
    if (job->pass < pass)
        job->pass = pass;
    share_insert(ts, job);
    job->sharing = true;
}

void share_leave(struct ts *ts, struct job *job)
{
    if (job->sharing)
        tree_remove(&ts->share, &job->share);
    job->sharing = false;
}

struct job *share_first(struct ts *ts, const struct arch *arch)
{
    struct knot *k = ts->share.first;
    while (k && !job_fits(share_job(k), arch))
        k = tree_after(&ts->share, k->hi, k->lo);
    struct job *job = share_job(k);
    if (job && job->pass > ts->share_now)
        ts->share_now = job->pass;
    return job;
}

void share_charge(struct ts *ts, struct job *job, int64_t ns)
{
    int64_t step = ns / (int64_t)job->weight;
    if (step == 0)
        step = (ns > 0) - (ns < 0);
    if (step == 0 || job->state != TS_JOB_RUNNING)
        return;
    bool sharing = job->sharing;
    share_leave(ts, job);
    job->pass = step < 0 && job->pass < (uint64_t)-step ? 0 : job->pass + (uint64_t)step;
    if (sharing)
        share_insert(ts, job);
    job->sharing = sharing;
}
