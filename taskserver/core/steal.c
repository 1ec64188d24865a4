/* Stealing work from other shards, and being stolen from. */
#include "taskserver/core/core.h"

#define ASK_A_THREAD   16u      /* tasks asked for, for each thread that lacks work, if not more */
#define BRIEF_NS       1000000u /* of work: a gift that was less has cost more than it brought */
#define PAUSE_US       1000u    /* after one: nobody is asked for so long, and longer after the next */
#define PAUSE_MAX_US   16000u
#define ASK_MAX        4096u
#define REFUSED_US     100000u /* who had nothing is not asked again sooner: it says when there is something */
#define REFUSED_MAX_US 1000000u
#define PATIENCE_US    1000000u /* an answer may wait for the log to be held */
#define KEEP_US        50000u   /* tasks are not given back sooner to the one they came from */
#define SOME_EVERY_US  2000u
#define EXPECT_US      20000u /* who was told comes for it within that, and two round trips */

static void steal_due(struct ts *ts, uint64_t due_us)
{
    ts->steal.due_us = due_us < ts->steal.due_us ? due_us : ts->steal.due_us;
}

void steal_init(struct ts *ts)
{
    struct id shard = ts->config.shard;
    ts->steal = (struct steal){
        .chance = hash64(&shard, sizeof shard, ts->config.seed), .ask = ASK_A_THREAD, .due_us = NEVER};
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

/* Of those known to have more than they need, or of those not refused lately. In a network of many shards a
 * search by chance alone takes a round trip a shard. */
static struct neighbour *whom(struct ts *ts, bool rich)
{
    struct neighbour *best = NULL;
    uint64_t equals = 0;
    for (uint32_t i = 0; i < ts->neighbours; i++) {
        struct neighbour *n = ts->neighbour[i];
        if (n->faulted || (rich ? !n->rich : ts->now_us < n->quiet_us) ||
            (best && rank(ts, n) > rank(ts, best)))
            continue;
        equals = best && rank(ts, n) == rank(ts, best) ? equals + 1 : 1;
        if (draw(ts, equals) == 0)
            best = n;
    }
    return best;
}

/* When the next of them may be asked. */
static uint64_t quiet_us(const struct ts *ts)
{
    uint64_t first = NEVER;
    for (uint32_t i = 0; i < ts->neighbours; i++) {
        const struct neighbour *n = ts->neighbour[i];
        if (!n->faulted && n->quiet_us < first)
            first = n->quiet_us;
    }
    return first;
}

/* ---- Asking ---- */

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void want_list(struct want *w, const struct link *served, uint64_t within_us)
{
    for (const struct link *l = served->next; l != served && w->threads < ASK_MAX; l = l->next) {
        const struct producer *p = list_item(l, const struct producer, served);
        if (producer_idle_within(p, within_us))
            w->threads += least(p->threads, ASK_MAX);
    }
}

static void want_arch(struct want *w, const struct arch *arch, uint64_t within_us)
{
    uint32_t before = w->threads;
    want_list(w, &arch->idle, within_us);
    if (within_us)
        want_list(w, &arch->hungry, within_us);
    if (w->threads > before && w->arches < WANT_ARCHES_MAX)
        memcpy(w->arch[w->arches++], arch->name, sizeof arch->name);
}

/* The threads here that are idle, and those that will be within that time; none while memory is short. */
static struct want wanted(const struct ts *ts, uint64_t within_us)
{
    struct want w = {0};
    if (ts->config.memory_max && ts->pool.used > ts->config.memory_max / 2)
        return w;
    for (uint32_t i = 0; i < ts->arches; i++)
        want_arch(&w, ts->arch[i], within_us);
    w.threads = least(w.threads, ASK_MAX);
    return w;
}

static uint64_t ahead_us(const struct neighbour *n)
{
    return 2 * n->rtt_us > AHEAD_US ? 2 * n->rtt_us : AHEAD_US;
}

static void ask(struct ts *ts, struct neighbour *n, const struct want *want)
{
    struct steal *s = &ts->steal;
    s->asked = n;
    s->asked_tasks = want->tasks;
    s->patience_us = s->due_us = ts->now_us + PATIENCE_US + 2 * n->rtt_us;
    neighbour_note(ts, n, &(struct note){.kind = NOTE_WANT, .want = *want});
}

/* What the last gift came to is seen when there is hunger again: the work that was done since. After one that
 * was hardly worth its messages more is asked for at a time, if there was more; if not, work is so scarce and
 * so fine that nobody is asked for a while. */
static void judge_gift(struct ts *ts)
{
    struct steal *s = &ts->steal;
    bool brief = s->worked_ns < BRIEF_NS;
    if (s->gift == GIFT_JUDGED)
        return;
    if (brief && s->gift == GIFT_ALL) {
        s->ask = least(2 * s->ask, ASK_MAX);
    } else if (brief) {
        s->pause_us = s->pause_us ? s->pause_us * 2 : PAUSE_US;
        s->pause_us = s->pause_us < PAUSE_MAX_US ? s->pause_us : PAUSE_MAX_US;
        s->resume_us = ts->now_us + s->pause_us;
    } else {
        s->pause_us = 0;
        s->ask = s->ask / 2 > ASK_A_THREAD ? s->ask / 2 : ASK_A_THREAD;
    }
    s->gift = GIFT_JUDGED;
}

static void answered(struct ts *ts, struct neighbour *n)
{
    if (ts->steal.asked == n)
        ts->steal.asked = NULL;
}

void steal_refused(struct ts *ts, struct neighbour *n)
{
    answered(ts, n);
    n->rich = false;
    n->refused_us = 2 * n->refused_us < REFUSED_MAX_US ? 2 * n->refused_us : REFUSED_MAX_US;
    n->refused_us = n->refused_us > REFUSED_US ? n->refused_us : REFUSED_US;
    n->quiet_us = ts->now_us + n->refused_us;
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
    struct want want = wanted(ts, n ? ahead_us(n) : 0);
    if (!want.threads)
        return;
    judge_gift(ts);
    if (ts->now_us < s->resume_us) {
        s->due_us = s->resume_us;
        return;
    }
    want.tasks = least(want.threads * s->ask, ASK_MAX);
    n = n ? n : whom(ts, false);
    if (n)
        ask(ts, n, &want);
    else
        s->due_us = quiet_us(ts);
}

void steal_invited(struct neighbour *n)
{
    n->refused_us = n->quiet_us = 0;
    n->rich = true;
}

/* One that gave all that it was asked for may have more. */
void steal_given(struct ts *ts, struct neighbour *n, uint64_t tasks)
{
    bool all = ts->steal.asked == n && tasks >= ts->steal.asked_tasks;
    answered(ts, n);
    steal_invited(n);
    n->rich = all;
    ts->steal.gift = all ? GIFT_ALL : GIFT_SOME;
    ts->steal.worked_ns = 0;
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
    answered(ts, n);
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
    n->hunger.expected_us = 0;
    if (job && move_tasks(ts, job, n->shard, gift(ts, job, n, want)))
        return;
    n->hunger.want = *want;
    hunger_open(ts, n, want->tasks > 0);
    neighbour_note(ts, n, &(struct note){.kind = NOTE_NONE});
}

uint32_t steal_hunger(const struct ts *ts)
{
    uint32_t threads = 0;
    for (uint32_t i = 0; ts->steal.open && i < ts->neighbours; i++)
        if (ts->neighbour[i]->hunger.open)
            threads += ts->neighbour[i]->hunger.want.threads;
    return threads;
}

/* Those that were told of work and have not come for it yet. */
static bool is_expected(const struct ts *ts, const struct neighbour *n)
{
    return n->hunger.expected_us > ts->now_us;
}

static uint64_t expected_threads(struct ts *ts)
{
    uint64_t threads = 0;
    for (uint32_t i = 0; i < ts->neighbours; i++) {
        const struct neighbour *n = ts->neighbour[i];
        if (!is_expected(ts, n))
            continue;
        threads += n->hunger.want.threads;
        steal_due(ts, n->hunger.expected_us);
    }
    return threads;
}

uint64_t steal_reserve(const struct ts *ts)
{
    uint64_t tasks = 0;
    for (uint32_t i = 0; i < ts->neighbours; i++)
        if (ts->neighbour[i]->hunger.open || is_expected(ts, ts->neighbour[i]))
            tasks += ts->neighbour[i]->hunger.want.tasks;
    return tasks;
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
        if (threads && threads + n->hunger.want.threads > spare)
            return;
        if (!invite(ts, n))
            continue;
        threads += n->hunger.want.threads;
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
