/* Stealing work from other shards, and being stolen from. */
#include "taskserver/core/core.h"

#define ASK_A_THREAD     8u /* tasks asked for, for each thread that lacks work */
#define ASK_MAX          4096u
#define AHEAD_US         2000u /* who is idle within that, or two round trips, is asked for while there is time */
#define ROUND_GAP_US     1000u /* between two rounds in which nobody had anything */
#define ROUND_GAP_MAX_US 1000000u
#define PATIENCE_US      1000000u /* an answer may wait for the log to be held */
#define KEEP_US          50000u   /* tasks are not given back sooner to the one they came from */
#define HUNGER_US        100000u
#define SOME_EVERY_US    2000u
#define EXPECT_US        100000u /* who was told comes for it within that, and two round trips */

static void steal_due(struct ts *ts, uint64_t due_us)
{
    ts->steal.due_us = due_us < ts->steal.due_us ? due_us : ts->steal.due_us;
}

void steal_init(struct ts *ts)
{
    struct id shard = ts->config.shard;
    ts->steal = (struct steal){
        .chance = hash64(&shard, sizeof shard, ts->config.seed), .gap_us = ROUND_GAP_US, .due_us = NEVER};
}

/* ---- Whom to ask ---- */

static uint32_t latency_group(uint64_t rtt_us)
{
    return (rtt_us > 10000) + (rtt_us > 100000) + (rtt_us > 250000);
}

/* The least is asked first; among equals chance decides. */
static uint32_t rank(const struct ts *ts, const struct neighbour *n)
{
    return ts->config.steal == TS_STEAL_LATENCY ? latency_group(n->rtt_us) : 0;
}

static uint64_t draw(struct ts *ts, uint64_t below)
{
    uint64_t *s = &ts->steal.chance;
    *s = hash64(s, sizeof *s, 1);
    return *s % below;
}

/* Of those known to have more than they need, or of those not yet tried. In a network of many shards a search
 * by chance alone takes a round trip a shard. */
static struct neighbour *whom(struct ts *ts, bool rich)
{
    struct neighbour *best = NULL;
    uint64_t equals = 0;
    for (uint32_t i = 0; i < ts->neighbours; i++) {
        struct neighbour *n = ts->neighbour[i];
        if (n->faulted || (rich ? !n->rich : n->tried) || (best && rank(ts, n) > rank(ts, best)))
            continue;
        equals = best && rank(ts, n) == rank(ts, best) ? equals + 1 : 1;
        if (draw(ts, equals) == 0)
            best = n;
    }
    return best;
}

static void new_round(struct ts *ts)
{
    for (uint32_t i = 0; i < ts->neighbours; i++)
        ts->neighbour[i]->tried = false;
}

/* ---- Asking ---- */

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void want_list(struct want *w, const struct link *served, uint64_t within_us)
{
    for (const struct link *l = served->next; l != served && w->tasks < ASK_MAX; l = l->next) {
        const struct producer *p = list_item(l, const struct producer, served);
        if (producer_idle_within(p, within_us))
            w->tasks += ASK_A_THREAD * least(p->threads, ASK_MAX);
    }
}

static void want_arch(struct want *w, const struct arch *arch, uint64_t within_us)
{
    uint32_t before = w->tasks;
    want_list(w, &arch->idle, within_us);
    if (within_us)
        want_list(w, &arch->hungry, within_us);
    if (w->tasks > before && w->arches < WANT_ARCHES_MAX)
        memcpy(w->arch[w->arches++], arch->name, sizeof arch->name);
}

/* What the idle threads here could do with, and those that will be idle within that time; nothing while
 * memory is short. */
static struct want wanted(const struct ts *ts, uint64_t within_us)
{
    struct want w = {0};
    if (ts->config.memory_max && ts->pool.used > ts->config.memory_max / 2)
        return w;
    for (uint32_t i = 0; i < ts->arches; i++)
        want_arch(&w, ts->arch[i], within_us);
    w.tasks = least(w.tasks, ASK_MAX);
    return w;
}

static uint64_t ahead_us(const struct neighbour *n)
{
    return 2 * n->rtt_us > AHEAD_US ? 2 * n->rtt_us : AHEAD_US;
}

static void round_over(struct ts *ts)
{
    struct steal *s = &ts->steal;
    new_round(ts);
    s->next_us = ts->now_us + s->gap_us;
    s->gap_us = s->gap_us * 2 < ROUND_GAP_MAX_US ? s->gap_us * 2 : ROUND_GAP_MAX_US;
    s->due_us = s->next_us;
}

static void ask(struct ts *ts, struct neighbour *n, const struct want *want)
{
    struct steal *s = &ts->steal;
    n->tried = true;
    s->asked = n;
    s->asked_tasks = want->tasks;
    s->patience_us = s->due_us = ts->now_us + PATIENCE_US + 2 * n->rtt_us;
    neighbour_note(ts, n, &(struct note){.kind = NOTE_WANT, .want = *want});
}

void steal_refused(struct ts *ts, struct neighbour *n)
{
    n->rich = false;
    if (ts->steal.asked == n)
        ts->steal.asked = NULL;
}

/* A thread that is idle asks all the others in turn. While there is something to do for a while yet, only
 * those are asked that have more than they need: what they give comes in time, and nobody is robbed. */
static void steal_seek(struct ts *ts)
{
    struct steal *s = &ts->steal;
    if (ts->nready > ts->threads)
        return;
    if (s->asked && ts->now_us < s->patience_us) {
        s->due_us = s->patience_us;
        return;
    }
    if (s->asked)
        steal_refused(ts, s->asked); /* no answer is one */
    struct neighbour *n = whom(ts, true);
    if (!n && ts->nready)
        return;
    if (!n && ts->now_us < s->next_us) {
        s->due_us = s->next_us;
        return;
    }
    struct want want = wanted(ts, n ? ahead_us(n) : 0);
    if (!want.tasks)
        return;
    n = n ? n : whom(ts, false);
    if (n)
        ask(ts, n, &want);
    else
        round_over(ts);
}

void steal_invited(struct ts *ts, struct neighbour *n)
{
    n->tried = false;
    n->rich = true;
    ts->steal.next_us = 0;
    ts->steal.gap_us = ROUND_GAP_US;
}

/* One that gave all that it was asked for may have more. */
void steal_given(struct ts *ts, struct neighbour *n, uint64_t tasks)
{
    bool all = ts->steal.asked == n && tasks >= ts->steal.asked_tasks;
    steal_refused(ts, n);
    steal_invited(ts, n);
    n->rich = all;
    new_round(ts);
}

void steal_found(struct ts *ts, struct neighbour *n)
{
    steal_invited(ts, n);
    n->rich = false;
}

/* Whether it waits to hear of work. */
static void hunger_open(struct ts *ts, struct neighbour *n, bool open)
{
    ts->steal.open += (uint32_t)open - (uint32_t)n->hunger.open;
    n->hunger.open = open;
}

/* With the last one goes what was due: nobody is left to do it for. */
void steal_lost(struct ts *ts, struct neighbour *n)
{
    steal_refused(ts, n);
    hunger_open(ts, n, false);
    ts->steal.due_us = NEVER;
}

/* ---- Giving ---- */

static bool job_fits_want(const struct job *job, const struct want *want)
{
    struct arch arch = {0};
    for (uint32_t i = 0; i < want->arches; i++) {
        memcpy(arch.name, want->arch[i], sizeof arch.name);
        if (job_fits(job, &arch))
            return true;
    }
    return false;
}

/* How many of this job's ready tasks go: half, where there is somebody here to run the others. Of what came
 * from there just now only what is too much for here is sent back: two idle shards would play ball with it.
 */
static uint32_t gift(const struct ts *ts, const struct job *job, const struct neighbour *n,
                     const struct want *want)
{
    bool plenty = ts->threads && job->nready > 2 * ts->threads;
    if (!plenty && job->came_from && id_equal(ts->channel[job->came_from]->shard, n->shard) &&
        ts->now_us < job->came_us + KEEP_US)
        return 0;
    if (!job_fits_want(job, want))
        return 0;
    uint64_t give = ts->threads ? job->nready - job->nready / 2 : job->nready;
    return (uint32_t)(give < want->tasks ? give : want->tasks);
}

static struct job *gift_job(const struct ts *ts, const struct neighbour *n, const struct want *want)
{
    for (const struct knot *k = ts->share.first; k; k = tree_after(&ts->share, k->hi, k->lo)) {
        struct job *job = list_item(k, struct job, share);
        if (gift(ts, job, n, want))
            return job;
    }
    return NULL;
}

void steal_asked(struct ts *ts, struct neighbour *n, const struct want *want)
{
    struct job *job = want->tasks && channel_room(ts, 1) ? gift_job(ts, n, want) : NULL;
    hunger_open(ts, n, false);
    n->hunger.until_us = n->hunger.expected_us = 0;
    if (job && move_tasks(ts, job, n->shard, gift(ts, job, n, want)))
        return;
    n->hunger.want = *want;
    hunger_open(ts, n, want->tasks > 0);
    n->hunger.until_us = ts->now_us + HUNGER_US;
    neighbour_note(ts, n, &(struct note){.kind = NOTE_NONE});
}

static uint32_t want_threads(const struct want *want)
{
    return (want->tasks + ASK_A_THREAD - 1) / ASK_A_THREAD;
}

uint32_t steal_hunger(const struct ts *ts)
{
    uint32_t threads = 0;
    for (uint32_t i = 0; i < ts->neighbours; i++) {
        const struct hunger *h = &ts->neighbour[i]->hunger;
        if (h->until_us > ts->now_us)
            threads += want_threads(&h->want);
    }
    return threads;
}

/* Threads of those that were told of work and have not come for it yet. */
static uint64_t expected_threads(struct ts *ts)
{
    uint64_t threads = 0;
    for (uint32_t i = 0; i < ts->neighbours; i++) {
        const struct hunger *h = &ts->neighbour[i]->hunger;
        if (h->expected_us <= ts->now_us)
            continue;
        threads += want_threads(&h->want);
        steal_due(ts, h->expected_us);
    }
    return threads;
}

/* Says SOME; false when that was said just now. */
static bool invite(struct ts *ts, struct neighbour *n)
{
    struct hunger *h = &n->hunger;
    if (ts->now_us < h->told_us + SOME_EVERY_US) {
        steal_due(ts, h->told_us + SOME_EVERY_US);
        return false;
    }
    hunger_open(ts, n, false);
    h->told_us = ts->now_us;
    h->expected_us = ts->now_us + EXPECT_US + 2 * n->rtt_us;
    neighbour_note(ts, n, &(struct note){.kind = NOTE_SOME});
    return true;
}

/* Those who asked in vain are told when there is something, in turn, and no more of them at a time than it is
 * enough for: else a hundred shards come for one task. */
static void steal_invite(struct ts *ts)
{
    if (!ts->steal.open || !ts->nready)
        return;
    uint64_t spare = ts->threads ? ts->nready / 2 : ts->nready, threads = expected_threads(ts);
    for (uint32_t k = 0, first = ts->steal.turn; k < ts->neighbours; k++) {
        uint32_t i = (first + k) % ts->neighbours;
        struct neighbour *n = ts->neighbour[i];
        if (!n->hunger.open || !gift_job(ts, n, &n->hunger.want))
            continue;
        if (threads && threads + want_threads(&n->hunger.want) > spare)
            return;
        if (!invite(ts, n))
            continue;
        threads += want_threads(&n->hunger.want);
        ts->steal.turn = i + 1;
    }
}

void steal(struct ts *ts)
{
    ts->steal.due_us = NEVER;
    if (ts->config.steal != TS_STEAL_NONE)
        steal_seek(ts);
    steal_invite(ts);
}
