/* Producers: who they are, what they hold, and who is next to be served. */
#include "taskserver/core/core.h"

#define WINDOW_MAX    (1u << 20)
#define DISOWNED_MAX  4096u
#define TASK_NS_LEAST 250000u /* a task counts as so long: of many tiny ones some may turn out otherwise */

struct producer *producer_find(const struct ts *ts, uint32_t peer)
{
    return peer < ts->producer_slots ? ts->producer[peer] : NULL;
}

static void producers_grow(struct ts *ts, uint32_t peer)
{
    uint32_t slots = ts->producer_slots ? ts->producer_slots : 16;
    while (slots <= peer)
        slots *= 2;
    if (slots == ts->producer_slots)
        return;
    ts->producer = realloc(ts->producer, slots * sizeof *ts->producer);
    if (!ts->producer)
        abort();
    memset(ts->producer + ts->producer_slots, 0, (slots - ts->producer_slots) * sizeof *ts->producer);
    ts->producer_slots = slots;
}

static struct producer *producer_new(struct ts *ts, const struct ts_event *e)
{
    struct producer *p = malloc(sizeof *p);
    if (!p)
        abort();
    *p = (struct producer){
        .peer = e->peer,
        .arch = arch_of(ts, e->u.joined.arch ? e->u.joined.arch : ""),
        .threads = e->u.joined.threads ? e->u.joined.threads : 1,
        .joined_us = ts->now_us,
        .hungry_gap_us = HUNGRY_GAP_MIN,
    };
    snprintf(p->name, sizeof p->name, "%s", e->u.joined.name ? e->u.joined.name : "");
    p->arch->producers++;
    list_init(&p->holders);
    list_init(&p->served);
    list_init(&p->busy);
    return p;
}

static void producer_free(struct ts *ts, struct producer *p)
{
    list_remove(&p->busy);
    p->window = 0;
    producer_update(ts, p);
    p->arch->producers--;
    ts->threads -= p->threads;
    ts->nproducers--;
    ts->producer[p->peer] = NULL;
    buf_free(&p->disowned);
    free(p);
}

/* Its grants go back to the front of the queue. One whose commit was malformed counts as crashed: a task that
 * spoils its runner's answer must not take one producer after the other down. */
static void withdraw(struct ts *ts, struct producer *p)
{
    while (!list_empty(&p->holders)) {
        struct holder *h = list_item(p->holders.prev, struct holder, of_producer);
        struct task *t = h->task;
        bool faulted = h->faulted;
        grant_drop(ts, h);
        grant_requeue(ts, t);
        if (faulted)
            task_crashed(ts, t, p, bytes_str("its answer was malformed"));
    }
}

static void producer_gone(struct ts *ts, struct producer *p)
{
    for (uint32_t i = 0; i < ts->job_slots; i++)
        if (ts->job[i])
            job_know(ts->job[i], p->peer, false);
    withdraw(ts, p);
    producer_free(ts, p);
}

void producer_joined(struct ts *ts, const struct ts_event *e)
{
    must(e->peer < PEERS_MAX);
    struct producer *old = producer_find(ts, e->peer);
    if (old)
        producer_gone(ts, old);
    producers_grow(ts, e->peer);
    struct producer *p = producer_new(ts, e);
    ts->producer[p->peer] = p;
    ts->nproducers++;
    ts->threads += p->threads;
}

void producer_left(struct ts *ts, const struct ts_event *e)
{
    struct producer *p = producer_find(ts, e->peer);
    if (p)
        producer_gone(ts, p);
}

void producer_window(struct ts *ts, const struct ts_event *e)
{
    struct producer *p = producer_find(ts, e->peer);
    if (!p) {
        fx_fault(ts, e->peer, "a window from a producer that has not joined");
        return;
    }
    p->window = e->u.window < WINDOW_MAX ? e->u.window : WINDOW_MAX;
    producer_update(ts, p);
}

/* Keeps the lists of those to be served. */
void producer_update(struct ts *ts, struct producer *p)
{
    bool wants = p->granted < p->window, listed = !list_empty(&p->served);
    bool idle = wants && p->granted < p->threads;
    if (wants == listed && idle == p->idle)
        return;
    list_remove(&p->served);
    if (wants)
        list_add(idle ? &p->arch->idle : &p->arch->hungry, &p->served);
    p->idle = idle;
    ts->hungry += (uint32_t)wants - (uint32_t)listed;
}

bool producer_idle_within(const struct producer *p, uint64_t us)
{
    if (p->granted <= p->threads)
        return true; /* what runs may be done any moment */
    uint64_t least_ns = (uint64_t)p->granted * TASK_NS_LEAST,
             ns = least_ns > p->charged_ns ? least_ns : p->charged_ns;
    return ns < p->threads * us * 1000;
}

/* The others first: work spreads. */
void producer_served(struct producer *p)
{
    if (list_empty(&p->served))
        return;
    list_remove(&p->served);
    list_add(p->idle ? &p->arch->idle : &p->arch->hungry, &p->served);
}

void producer_tell(struct ts *ts, struct producer *p, struct job *job)
{
    if (job_known(job, p->peer))
        return;
    job_know(job, p->peer, true);
    fx_job(ts, TS_FX_JOB, p->peer, job);
}

/* It joins those who cannot run it either, in their lists. */
void producer_unfit(struct ts *ts, struct producer *p, struct job *job, struct bytes why)
{
    uint32_t window = p->window;
    if (!job_fits(job, p->arch))
        return;
    p->window = 0;
    producer_update(ts, p);
    struct arch *arch = arch_without(ts, p->arch, job);
    p->arch->producers--;
    arch->producers++;
    p->arch = arch;
    p->window = window;
    producer_update(ts, p);
    buf_clear(&job->unfit);
    text_add(&job->unfit, "producer %s cannot run it: ", p->name);
    text_safe(&job->unfit, why);
}

void producers_free(struct ts *ts)
{
    for (uint32_t i = 0; i < ts->producer_slots; i++)
        if (ts->producer[i])
            producer_free(ts, ts->producer[i]);
    arches_free(ts);
    free(ts->producer);
}

/* ---- What a producer that comes back is still running ---- */

struct hold {
    struct id job, task;
    uint64_t hash;
};

static uint64_t disowned_key(struct id job, struct id task)
{
    uint64_t key[4] = {job.hi, job.lo, task.hi, task.lo};
    return hash64(key, sizeof key, 0);
}

bool producer_disowned(const struct producer *p, struct id job, struct id task)
{
    uint64_t key = disowned_key(job, task);
    for (size_t at = 0; at < p->disowned.len; at += sizeof key)
        if (memcmp(p->disowned.data + at, &key, sizeof key) == 0)
            return true;
    return false;
}

/* The task may come into being while the producer, not told yet, sends its commit: that is nobody's fault. */
static void disown(struct ts *ts, struct producer *p, const struct hold *h)
{
    uint64_t key = disowned_key(h->job, h->task);
    struct ts_effect *fx = fx_add(ts, TS_FX_REVOKE, p->peer);
    fx->job = h->job;
    fx->task = h->task;
    if (p->disowned.len < DISOWNED_MAX * sizeof key)
        buf_add(&p->disowned, &key, sizeof key);
}

/* Work begun before the connection broke, or before this server restarted, is still good when it is the same
 * work (law 6). */
static void hold_take(struct ts *ts, struct producer *p, const struct hold *h)
{
    struct job *job = job_find(ts, h->job);
    bool runs = job && job->state == TS_JOB_RUNNING && job_fits(job, p->arch);
    struct task *t = runs ? task_find(job, h->task) : NULL;
    if (t && t->state != TASK_WAITING && t->hash == h->hash && t->held < UINT8_MAX) {
        producer_tell(ts, p, job);
        if (!holder_find(t, p))
            grant_add(ts, p, t, 0);
        return;
    }
    disown(ts, p, h);
    if (!runs)
        fx_add(ts, TS_FX_JOB_GONE, p->peer)->job = h->job;
}

void producer_holds(struct ts *ts, const struct ts_event *e)
{
    struct producer *p = producer_find(ts, e->peer);
    struct reader r = reader_of(e->u.batch);
    if (!p) {
        fx_fault(ts, e->peer, "holds from a producer that has not joined");
        return;
    }
    while (reader_more(&r)) {
        struct hold h = {.job = get_id(&r)};
        h.task = get_id(&r);
        h.hash = get_u64(&r);
        if (r.bad)
            fx_fault(ts, e->peer, "malformed list of held tasks");
        else
            hold_take(ts, p, &h);
    }
}
