/* When producers are idle and nothing is ready: running tasks again, and asking the busy for work.
 *
 * Eager scheduling (Baratloo et al., Charlotte, 1996; Cappello's CX, 2001): the oldest task that was granted
 * the fewest times is granted again, once it has run for clearly longer than its function's history says. The
 * first commit wins, so it costs idle time only. */
#include "taskserver/core/core.h"

#define SCAN_EVERY_US  1000u  /* between two looks at what is overdue */
#define WAITS_US       2000u  /* behind another, with a producer idle */
#define LOOK_AGAIN_US  50000u /* no grant becomes overdue sooner than this */
#define OVERDUE_MIN_US 50000u
#define OVERDUE_FIRST_US                                                                                     \
    500000u                  /* of a function nobody has finished yet: there is no history to judge by       \
                              */
#define LOOKED_AT_MAX  8u    /* overdue tasks a list, when the idle hold the oldest already */
#define AGAIN_STEP_MAX 64u   /* granted again in one step */
#define SOON_US        2000u /* who is idle within that is counted with the idle */
#define ROUND_US       1000u
#define GAP_MAX_US     1024000u
#define SIGNALLED_MAX  64u

/* When a task of this function that was granted now would be overdue. A budget is not held against it, nor
 * that it is as long as others were: a copy that is not needed occupies its thread to the end. */
static uint64_t overdue_after(const struct ts *ts, const struct fn_stat *f, uint32_t level)
{
    uint64_t ns = 4 * f->mean_ns > 2 * f->longest_ns ? 4 * f->mean_ns : 2 * f->longest_ns;
    uint64_t us = ns / 1000 + 10000;
    if (us < OVERDUE_MIN_US)
        us = OVERDUE_MIN_US;
    if (!f->commits)
        us = OVERDUE_FIRST_US;
    if (ts->config.collapse)
        us += ts->config.budget_max_us;
    return us << level; /* each further copy is less likely to help */
}

/* A producer with an idle thread that fits and does not hold the task yet. */
static struct producer *idle_for(const struct ts *ts, const struct task *t)
{
    for (uint32_t i = 0; i < ts->arches; i++) {
        if (!job_fits(t->job, ts->arch[i]))
            continue;
        const struct link *head = &ts->arch[i]->idle;
        for (struct link *l = head->next; l != head; l = l->next) {
            struct producer *p = list_item(l, struct producer, served);
            if (!holder_find(t, p))
                return p;
        }
    }
    return NULL;
}

struct choice {
    struct task *task;
    struct producer *producer;
    uint64_t due_us; /* the earliest of those that are not overdue yet */
};

static bool better(const struct task *t, const struct task *best)
{
    if (!best || t->held != best->held)
        return !best || t->held < best->held;
    return t->u.holders->since_us < best->u.holders->since_us;
}

static void look_at_list(const struct ts *ts, const struct task_list *l, uint64_t after_us, struct choice *c)
{
    uint32_t looked = 0;
    for (struct task *t = l->head; t && looked < LOOKED_AT_MAX; t = t->next, looked++) {
        uint64_t due = t->u.holders->since_us + after_us;
        if (due > ts->now_us) {
            c->due_us = due < c->due_us ? due : c->due_us;
            return;
        }
        struct producer *p = t->held < UINT8_MAX && better(t, c->task) ? idle_for(ts, t) : NULL;
        if (!p)
            continue;
        c->task = t;
        c->producer = p;
        return;
    }
}

/* It waits behind another at a producer that will not come to it soon: the last of more than it has threads.
 */
static bool waits(const struct ts *ts, const struct task *t)
{
    const struct holder *h = t->u.holders;
    const struct producer *p = h->producer;
    return p->granted > p->threads && p->holders.prev == &h->of_producer &&
           ts->now_us - h->since_us >= WAITS_US;
}

/* The latest granted, for they are those that wait. */
static void look_for_waiting(const struct ts *ts, const struct task_list *l, struct choice *c)
{
    uint32_t looked = 0;
    for (struct task *t = l->tail; t && !c->task && looked < LOOKED_AT_MAX; t = t->prev, looked++) {
        uint64_t due = t->u.holders->since_us + WAITS_US;
        if (due > ts->now_us)
            c->due_us = due < c->due_us ? due : c->due_us;
        struct producer *p = waits(ts, t) ? idle_for(ts, t) : NULL;
        if (p)
            *c = (struct choice){.task = t, .producer = p, .due_us = c->due_us};
    }
}

static struct choice choose(const struct ts *ts)
{
    struct choice c = {.due_us = ts->now_us + LOOK_AGAIN_US};
    for (struct link *l = ts->granting.next; l != &ts->granting; l = l->next) {
        struct job *job = list_item(l, struct job, granting);
        for (uint32_t i = 0; i < job->fns; i++)
            for (uint32_t level = 0; level < EAGER_LEVELS; level++)
                look_at_list(ts, &job->fn[i].granted[level], overdue_after(ts, &job->fn[i], level), &c);
        for (uint32_t i = 0; i < job->fns && !c.task; i++)
            look_for_waiting(ts, &job->fn[i].granted[0], &c);
    }
    return c;
}

static uint32_t list_count(const struct link *head, uint32_t max)
{
    uint32_t n = 0;
    for (const struct link *l = head->next; l != head && n < max; l = l->next)
        n++;
    return n;
}

static bool arch_could_help(const struct ts *ts, const struct arch *arch)
{
    for (const struct link *j = ts->granting.next; j != &ts->granting; j = j->next)
        if (job_fits(list_item(j, struct job, granting), arch))
            return true;
    return false;
}

/* Those with room for more that will soon have nothing to do, of the first few. */
static uint32_t soon_idle(const struct link *head)
{
    uint32_t n = 0, looked = 0;
    for (const struct link *l = head->next; l != head && looked < SIGNALLED_MAX; l = l->next, looked++) {
        const struct producer *p = list_item(l, struct producer, served);
        n += producer_idle_within(p, SOON_US);
    }
    return n;
}

/* Producers that could do what others are running and have nothing to do, or little. */
static uint32_t wanting_count(const struct ts *ts)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < ts->arches && n < SIGNALLED_MAX; i++) {
        uint32_t wanting = list_count(&ts->arch[i]->idle, SIGNALLED_MAX) + soon_idle(&ts->arch[i]->hungry);
        if (wanting && arch_could_help(ts, ts->arch[i]))
            n += wanting;
    }
    return n < SIGNALLED_MAX ? n : SIGNALLED_MAX;
}

static void signal_one(struct ts *ts, struct producer *p)
{
    fx_add(ts, TS_FX_HUNGRY, p->peer);
    p->hungry_us = ts->now_us + p->hungry_gap_us;
    p->hungry_gap_us = p->hungry_gap_us * 2 < GAP_MAX_US ? p->hungry_gap_us * 2 : GAP_MAX_US;
    list_remove(&p->busy);
    list_add(&ts->busy, &p->busy);
}

/* Asks as many of those that hold budgets as there are idle producers to publish their frontiers, once in
 * ROUND_US. One that was asked and has committed nothing since is asked ever more seldom: it has nothing to
 * give. */
static void signal_hunger(struct ts *ts)
{
    if (list_empty(&ts->busy)) {
        ts->signal_us = NEVER;
        return;
    }
    if (ts->now_us < ts->signalled_us + ROUND_US) {
        ts->signal_us = ts->signalled_us + ROUND_US;
        return;
    }
    ts->signalled_us = ts->now_us;
    ts->signal_us = NEVER;
    uint32_t wanted = wanting_count(ts) + steal_hunger(ts);
    struct link *l = ts->busy.next, *last = ts->busy.prev;
    for (bool more = true; more && wanted; wanted--) {
        struct producer *p = list_item(l, struct producer, busy);
        more = l != last;
        l = l->next;
        if (p->hungry_us <= ts->now_us)
            signal_one(ts, p);
        ts->signal_us = p->hungry_us < ts->signal_us ? p->hungry_us : ts->signal_us;
    }
}

/* Called when all that could be served was. The hungry of other shards are given what is published, not what
 * is overdue. */
void eager(struct ts *ts)
{
    bool hungry = ts->hungry || (!list_empty(&ts->busy) && steal_hunger(ts));
    if (!hungry || !ts->ngranted) {
        ts->eager_us = ts->signal_us = NEVER;
        return;
    }
    signal_hunger(ts);
    if (!ts->hungry) {
        ts->eager_us = NEVER;
        return;
    }
    if (ts->eager_us == NEVER)
        ts->eager_us = ts->eager_scan_us + SCAN_EVERY_US;
    if (ts->now_us < ts->eager_us)
        return;
    struct choice c = choose(ts);
    for (uint32_t granted = 0; c.task && granted < AGAIN_STEP_MAX; granted++) {
        grant_send(ts, c.producer, c.task);
        c = choose(ts);
    }
    ts->eager_scan_us = ts->now_us;
    ts->eager_us = ts->hungry ? c.due_us : NEVER;
}
