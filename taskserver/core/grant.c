/* Grants: which producer may be running which task. */
#include "taskserver/core/core.h"

#define CHARGE_UNKNOWN_NS 1000000u /* a first guess at what a grant costs its job's share */
#define FLOOR_US          1000u    /* collapse budget of functions whose tasks are tiny */
#define TINY_NS           250000u  /* a task shorter than a round trip through a loaded server */
#define LONG_NS           4000000u /* a task so long that a round trip beside it is nothing */
#define LONG_RANKED_NS    100000u  /* the same, where the job ranks its tasks by priority */
#define KNOWN_AT          64u /* commits, or as many as there are threads: then a function's tasks are known */
#define FULL_AT           8u  /* ready tasks a thread at which a budget is the longest */
#define PRUNED_STEP_MAX   4096u /* tasks pruned in one step, so that it stays short */

/* ---- Lists of granted tasks: a function's, by number of holders ---- */

static struct task_list *granted_list(struct task *t)
{
    uint32_t level = t->held < EAGER_LEVELS ? t->held : EAGER_LEVELS;
    return &job_fn(t->job, t->fn)->granted[level - 1];
}

static void granted_link(struct task *t)
{
    struct task_list *l = granted_list(t);
    t->prev = l->tail;
    t->next = NULL;
    *(t->prev ? &t->prev->next : &l->head) = t;
    l->tail = t;
}

static void granted_unlink(struct task *t)
{
    struct task_list *l = granted_list(t);
    *(t->prev ? &t->prev->next : &l->head) = t->next;
    *(t->next ? &t->next->prev : &l->tail) = t->prev;
    t->prev = t->next = NULL;
}

static void count_granted(struct ts *ts, struct job *job, int change)
{
    job->ngranted += (uint64_t)(int64_t)change;
    ts->ngranted += (uint64_t)(int64_t)change;
    if (job->ngranted == 0)
        list_remove(&job->granting);
    else if (list_empty(&job->granting))
        list_add(&ts->granting, &job->granting);
}

/* ---- Holders ---- */

struct holder *holder_find(const struct task *t, const struct producer *p)
{
    struct holder *h = t->state == TASK_GRANTED ? t->u.holders : NULL;
    while (h && h->producer != p)
        h = h->next;
    return h;
}

static uint64_t expected_ns(struct task *t)
{
    const struct fn_stat *f = job_fn(t->job, t->fn);
    return f->commits ? f->mean_ns : CHARGE_UNKNOWN_NS;
}

/* The task is ready, or granted to others. */
struct holder *grant_add(struct ts *ts, struct producer *p, struct task *t, uint32_t budget_us)
{
    struct job *job = t->job;
    struct holder *h = mem_get(ts, job, sizeof *h);
    if (t->state == TASK_READY) {
        ready_remove(ts, t);
        t->state = TASK_GRANTED;
        count_granted(ts, job, 1);
    } else {
        granted_unlink(t);
    }
    *h = (struct holder){.task = t,
                         .producer = p,
                         .next = t->u.holders,
                         .since_us = ts->now_us,
                         .charge_ns = expected_ns(t),
                         .budget_us = budget_us};
    t->u.holders = h;
    t->held++;
    granted_link(t);
    list_add(&p->holders, &h->of_producer);
    p->granted++;
    p->budgeted += budget_us > 0;
    if (p->budgeted && list_empty(&p->busy))
        list_add(&ts->busy, &p->busy);
    p->charged_ns += h->charge_ns;
    share_charge(ts, job, (int64_t)h->charge_ns);
    producer_update(ts, p);
    return h;
}

/* Takes the grant away; a task that nobody holds any more is in no list then. */
void grant_drop(struct ts *ts, struct holder *h)
{
    struct task *t = h->task;
    struct producer *p = h->producer;
    struct holder **at = &t->u.holders;
    while (*at != h)
        at = &(*at)->next;
    granted_unlink(t);
    *at = h->next;
    if (--t->held)
        granted_link(t);
    list_remove(&h->of_producer);
    p->granted--;
    p->budgeted -= h->budget_us > 0;
    if (!p->budgeted)
        list_remove(&p->busy);
    p->charged_ns -= h->charge_ns;
    share_charge(ts, t->job, -(int64_t)h->charge_ns);
    producer_update(ts, p);
    mem_put(ts, t->job, h, sizeof *h);
}

void grant_drop_all(struct ts *ts, struct task *t)
{
    must(t->state == TASK_GRANTED);
    while (t->u.holders)
        grant_drop(ts, t->u.holders);
    count_granted(ts, t->job, -1);
}

void grant_requeue(struct ts *ts, struct task *t)
{
    if (t->state != TASK_GRANTED || t->held)
        return;
    count_granted(ts, t->job, -1);
    ready_push(ts, t, true);
}

/* ---- Budgets ---- */

static bool is_long(struct task *t)
{
    const struct fn_stat *f = job_fn(t->job, t->fn);
    return f->commits && f->task_ns > (t->priority ? LONG_RANKED_NS : LONG_NS);
}

/* How long a runner may go on below this task before it must publish what is left (collapse).
 *
 * While there is less than one ready task for every thread, work must spread and the budget is 0; it grows to
 * the longest at FULL_AT tasks a thread. A job at its start has a short queue and must spread, but a chain of
 * tiny tasks has a short queue for ever, and would pay a round trip for every one of them. Both are short;
 * what tells them apart is the function's history. Where its tasks are tiny a floor is kept: at the start it
 * delays the spreading by that much at most, and less, since the hungry signal ends it; in a chain it makes
 * one commit of a thousand tasks. Where tasks are long there is nothing to save, and a runner that goes on by
 * itself would take its own children before others' of higher priority: the budget is 0. After a crash the
 * task runs alone, so that the one that kills its runner is found. */
static uint32_t budget_us(const struct ts *ts, struct task *t)
{
    const struct fn_stat *f = job_fn(t->job, t->fn);
    uint64_t threads = (ts->threads ? ts->threads : 1) + steal_hunger(ts), max = ts->config.budget_max_us,
             budget = 0;
    if (!ts->config.collapse || t->crashes || is_long(t))
        return 0;
    if (ts->nready >= threads)
        budget = max * (ts->nready - threads) / (threads * (FULL_AT - 1));
    if (f->commits && f->task_ns < TINY_NS && budget < FLOOR_US)
        budget = FLOOR_US;
    return (uint32_t)(budget < max ? budget : max);
}

void grant_send(struct ts *ts, struct producer *p, struct task *t)
{
    struct job *job = t->job;
    struct holder *h = grant_add(ts, p, t, budget_us(ts, t));
    producer_tell(ts, p, job);
    struct grant g = {job->entry.id, t->entry.id, t->hash, h->budget_us, t->fn, t->nslots, task_values(t)};
    struct ts_effect *fx = fx_job(ts, TS_FX_GRANT, p->peer, job);
    fx->task = t->entry.id;
    grant_put(&ts->out->data, &g);
    fx->len = ts->out->data.len - fx->at;
    job_changed(ts, job);
}

/* ---- Serving ---- */

/* The next task for this architecture; those that cannot win any more go on the way. */
static struct task *next_task(struct ts *ts, const struct arch *arch, uint32_t *pruned)
{
    struct job *job;
    while ((job = share_first(ts, arch))) {
        struct task *t = ready_first(ts, job);
        if (*pruned >= PRUNED_STEP_MAX) {
            ts->again = true;
            return NULL;
        }
        if (!task_prune(ts, t))
            return t;
        ++*pruned;
    }
    return NULL;
}

/* A task that would be bound for long where it waits. Of one that is ranked the worst is assumed: that it is
 * as long as the longest of its function, and very long while few have been seen, which costs a round trip
 * for each thread, once. Where tasks are collapsed the longest says what the budget was, and the mean has to
 * do. */
static bool waits_here(const struct ts *ts, struct task *t)
{
    const struct fn_stat *f = job_fn(t->job, t->fn);
    bool known = f->commits >= (ts->threads < KNOWN_AT ? ts->threads : KNOWN_AT);
    if (t->priority)
        return !known || (is_long(t) ? f->longest_ns : f->mean_ns) > LONG_NS;
    return f->mean_ns > LONG_NS && ts->nready < ts->threads;
}

/* Whose turn it is: idle threads come first. A task that waits behind another is bound to its producer, and
 * one that becomes idle meanwhile goes without; so where tasks are long, the last few stay here until a
 * thread is free for them (Maestro's limited commitment). */
static struct producer *next_producer(const struct ts *ts, const struct arch *arch, struct task *t,
                                      uint64_t reserve)
{
    if (!list_empty(&arch->idle))
        return list_item(arch->idle.next, struct producer, served);
    if (list_empty(&arch->hungry) || waits_here(ts, t))
        return NULL;
    struct producer *p = list_item(arch->hungry.next, struct producer, served);
    return ts->nready > reserve || producer_idle_within(p, AHEAD_US) ? p : NULL;
}

/* One grant to the producer whose turn it is. */
static bool serve_one(struct ts *ts, struct arch *arch, uint64_t reserve, uint32_t *pruned)
{
    bool wanted = !list_empty(&arch->idle) || !list_empty(&arch->hungry);
    struct task *t = wanted ? next_task(ts, arch, pruned) : NULL;
    struct producer *p = t ? next_producer(ts, arch, t, reserve) : NULL;
    if (!p)
        return false;
    grant_send(ts, p, t);
    producer_served(p);
    return true;
}

void serve(struct ts *ts)
{
    uint32_t pruned = 0;
    uint64_t reserve = steal_reserve(ts);
    bool served = true;
    ts->again = false;
    while (served && ts->nready && ts->hungry) {
        served = false;
        for (uint32_t i = 0; i < ts->arches; i++)
            served |= serve_one(ts, ts->arch[i], reserve, &pruned);
    }
    if (!ts->again)
        eager(ts);
}
