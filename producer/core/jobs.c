/* The jobs we were told of: their blobs, their runner, what happens when it crashes or cannot start.
 *
 *   FETCHING -> IDLE -> STARTING -> UP -> RESTING -> STARTING ...; any -> BROKEN when it can never run here
 */
#include "producer/core/internal.h"

#define RUNNER_BITS 10u
#define REST_MIN_US                                                                                          \
    20000u /* a crashed runner is started again after this, doubled for each crash in a row, */
#define REST_MAX_US    5000000u  /* up to this */
#define GOOD_RUN_US    10000000u /* a runner that was up for so long has no crashes in a row */
#define STARTS_MAX     3u        /* runners of one job that may die before they are up */
#define FETCH_AGAIN_US 200000u
#define FETCHES_MAX    25u       /* failures for want of disk and the like, in a row */
#define START_US       30000000u /* a runner that is not up by then never will be */
#define IDLE_US        60000000u /* a runner without work is ended after this */
#define STALE_US       30000000u /* a job that a new connection was not told of is forgotten after this */

static struct job **job_bucket(struct pd *pd, struct id id)
{
    return &pd->bucket[(id.lo ^ id.hi) % JOB_BUCKETS];
}

struct job *job_find(const struct pd *pd, struct id id)
{
    if (pd->latest && id_equal(pd->latest->id, id))
        return pd->latest;
    struct job *j = pd->bucket[(id.lo ^ id.hi) % JOB_BUCKETS];
    while (j && !id_equal(j->id, id))
        j = j->chain;
    return j;
}

struct job *job_of_runner(const struct pd *pd, uint32_t runner)
{
    struct job *j = pd->job[runner & (PD_JOBS_MAX - 1)];
    return j && j->runner == runner && job_has_runner(j) ? j : NULL;
}

static void set_timer(struct pd *pd, struct job *j, uint64_t at_us)
{
    j->wake_us = at_us;
    if (at_us < pd->jobs_due_us)
        pd->jobs_due_us = at_us;
}

static void *checked(void *p)
{
    if (!p)
        abort();
    return p;
}

static struct job *job_new(struct pd *pd, struct id id)
{
    uint32_t slot = 0;
    while (slot < PD_JOBS_MAX && pd->job[slot])
        slot++;
    if (slot == PD_JOBS_MAX)
        return NULL;
    struct job *j = checked(calloc(1, sizeof *j));
    j->id = id;
    j->slot = slot;
    j->wake_us = NEVER;
    j->lane = checked(calloc(pd->config.seats, sizeof *j->lane));
    j->number = checked(calloc(pd->config.seats, sizeof *j->number));
    for (uint32_t i = 0; i < pd->config.seats; i++)
        j->lane[i].job = j;
    struct job **b = job_bucket(pd, id);
    j->chain = *b;
    *b = j;
    pd->job[slot] = j;
    pd->jobs++;
    return j;
}

void job_free(struct pd *pd, struct job *j)
{
    must(j->tasks == 0);
    seats_unlink(pd, j);
    struct job **at = job_bucket(pd, j->id);
    while (*at != j)
        at = &(*at)->chain;
    *at = j->chain;
    pd->job[j->slot] = NULL;
    pd->jobs--;
    if (pd->latest == j)
        pd->latest = NULL;
    free(j->lane);
    free(j->number);
    free(j);
}

/* Calls end() for each task of the job; end takes it off. */
static void tasks_end(struct pd *pd, struct job *j, struct pd_effects *out,
                      void (*end)(struct pd *, struct task *, struct pd_effects *))
{
    for (uint32_t i = 0; i < pd->config.seats && j->tasks; i++) {
        for (struct task *t = pd->seat[i].pushed.head, *next; t; t = next) {
            next = t->next;
            if (t->job == j)
                end(pd, t, out);
        }
        while (j->lane[i].tasks.head)
            end(pd, j->lane[i].tasks.head, out);
    }
    must(j->tasks == 0);
}

static void drop_one(struct pd *pd, struct task *t, struct pd_effects *out)
{
    (void)out;
    task_drop(pd, t);
    window_released(pd);
}

/* Where it is this machine that lacks something, others may do it. Otherwise one FAIL ends the job; the
 * others are dropped by the server as late. */
static void refuse_one(struct pd *pd, struct task *t, struct pd_effects *out)
{
    (t->job->unfit ? commit_unfit : commit_fail)(pd, t, t->job->why, out);
}

static void kill_runner(struct job *j, struct pd_effects *out)
{
    if (job_has_runner(j))
        fx_add(out, PD_FX_KILL, (struct bytes){NULL, 0})->runner = j->runner;
}

/* unfit: it is this producer that cannot run it. */
static void break_job(struct pd *pd, struct job *j, bool unfit, struct bytes why, struct pd_effects *out)
{
    seats_unlink(pd, j);
    kill_runner(j, out);
    j->state = JOB_BROKEN;
    j->wake_us = NEVER;
    j->unfit = unfit;
    snprintf(j->why, sizeof j->why, "%.*s", (int)why.len, (const char *)why.data);
    if (!j->why[0])
        snprintf(j->why, sizeof j->why, "its runner cannot be started");
    fx_note(out, CX_EFAILED, "job cannot run here: %s", j->why);
    tasks_end(pd, j, out, refuse_one);
}

static void start_runner(struct pd *pd, struct job *j, struct pd_effects *out)
{
    uint8_t sha[2 * PD_SHA_BYTES];
    memcpy(sha, j->module, PD_SHA_BYTES);
    memcpy(sha + PD_SHA_BYTES, j->input, PD_SHA_BYTES);
    pd->generation++;
    j->runner = pd->generation << RUNNER_BITS | j->slot;
    j->state = JOB_STARTING;
    set_timer(pd, j, pd->now_us + START_US);
    memset(j->number, 0, pd->config.seats * sizeof *j->number);
    struct bytes names = {sha, j->has_input ? 2 * PD_SHA_BYTES : PD_SHA_BYTES};
    fx_add(out, PD_FX_START, names)->runner = j->runner;
}

static void fetch(struct job *j, struct pd_effects *out)
{
    j->wake_us = NEVER;
    if (!j->have_module)
        fx_add(out, PD_FX_FETCH, bytes_of(j->module, PD_SHA_BYTES));
    if (j->has_input && !j->have_input)
        fx_add(out, PD_FX_FETCH, bytes_of(j->input, PD_SHA_BYTES));
}

void job_wants(struct pd *pd, struct job *j, struct pd_effects *out)
{
    if (pd->draining)
        return;
    if (j->state == JOB_IDLE)
        start_runner(pd, j, out);
    else if (j->state == JOB_BROKEN)
        tasks_end(pd, j, out, refuse_one);
}

static void tell_bounds(struct job *j, struct pd_effects *out)
{
    for (uint32_t kind = CX_BOUND_MIN; kind <= CX_BOUND_MAX; kind++) {
        if (!j->has_best[kind] || !job_has_runner(j))
            continue;
        struct pd_effect *fx = fx_add(out, PD_FX_BOUND, (struct bytes){NULL, 0});
        fx->runner = j->runner;
        fx->n = kind;
        fx->bound = j->best[kind];
    }
}

static bool improve(struct job *j, uint32_t kind, int64_t value)
{
    bool better =
        !j->has_best[kind] || (kind == CX_BOUND_MIN ? value < j->best[kind] : value > j->best[kind]);
    if (better) {
        j->has_best[kind] = true;
        j->best[kind] = value;
    }
    return better;
}

void job_told(struct pd *pd, const struct pd_event *ev, struct pd_effects *out)
{
    const struct pd_job *info = ev->u.info;
    struct job *j = job_find(pd, info->job);
    bool fresh = !j;
    if (!j && !(j = job_new(pd, info->job))) {
        conn_fault(pd, "more jobs at a time than a producer takes", out);
        return;
    }
    j->stale = false;
    if (info->has_min)
        improve(j, CX_BOUND_MIN, info->best_min);
    if (info->has_max)
        improve(j, CX_BOUND_MAX, info->best_max);
    tell_bounds(j, out);
    if (!fresh)
        return;
    if (!info->module) {
        break_job(pd, j, true, bytes_str("the job has no module for this producer's architecture"), out);
        return;
    }
    memcpy(j->module, info->module, PD_SHA_BYTES);
    j->has_input = info->input != NULL;
    if (info->input)
        memcpy(j->input, info->input, PD_SHA_BYTES);
    fetch(j, out);
}

void job_gone(struct pd *pd, const struct pd_event *ev, struct pd_effects *out)
{
    struct job *j = job_find(pd, ev->job);
    if (!j)
        return;
    kill_runner(j, out);
    seats_unlink(pd, j);
    tasks_end(pd, j, out, drop_one);
    job_free(pd, j);
    seats_feed(pd, out);
}

void job_bound(struct pd *pd, const struct pd_event *ev, struct pd_effects *out)
{
    struct job *j = job_find(pd, ev->job);
    if (ev->bound_kind != CX_BOUND_MIN && ev->bound_kind != CX_BOUND_MAX)
        conn_fault(pd, "a bound of unknown kind", out);
    else if (j && improve(j, ev->bound_kind, ev->bound))
        tell_bounds(j, out);
}

static void blob_missed(struct pd *pd, struct job *j, const struct pd_event *ev, struct pd_effects *out)
{
    bool passing = ev->code == CX_ENONET || (ev->code == CX_EIO && ++j->misses < FETCHES_MAX);
    if (passing)
        set_timer(pd, j, pd->now_us + FETCH_AGAIN_US / 2 + pd_random(pd) % FETCH_AGAIN_US);
    else
        break_job(pd, j, ev->code != CX_ENOTFOUND, ev->data, out);
}

void job_blob(struct pd *pd, const struct pd_event *ev, struct pd_effects *out)
{
    for (uint32_t i = 0; i < PD_JOBS_MAX; i++) {
        struct job *j = pd->job[i];
        if (!j || j->state != JOB_FETCHING)
            continue;
        bool module = !j->have_module && memcmp(j->module, ev->sha, PD_SHA_BYTES) == 0;
        bool input = j->has_input && !j->have_input && memcmp(j->input, ev->sha, PD_SHA_BYTES) == 0;
        if (!module && !input)
            continue;
        if (ev->code) {
            blob_missed(pd, j, ev, out);
            continue;
        }
        j->have_module |= module;
        j->have_input |= input;
        j->misses = 0;
        if (j->have_module && (!j->has_input || j->have_input)) {
            j->state = JOB_IDLE;
            if (j->tasks)
                job_wants(pd, j, out);
        }
    }
}

void job_running(struct pd *pd, const struct pd_event *ev, struct pd_effects *out)
{
    struct job *j = job_of_runner(pd, ev->runner);
    if (!j || j->state != JOB_STARTING)
        return;
    j->state = JOB_UP;
    j->up_us = j->used_us = pd->now_us;
    set_timer(pd, j, pd->now_us + IDLE_US);
    tell_bounds(j, out);
    seats_link(pd, j);
    seats_feed(pd, out);
}

/* The pushed tasks of a runner that died: those to blame get CRASHED, all else is handed back. */
static void blame(struct pd *pd, struct job *j, const struct pd_exit *x, struct bytes how,
                  struct pd_effects *out)
{
    char text[MESSAGE_TEXT_MAX];
    snprintf(text, sizeof text, "%.*s", (int)how.len, (const char *)how.data);
    for (uint32_t i = 0; i < pd->config.seats; i++) {
        struct task *t = pd->seat[i].pushed.head;
        if (!t || t->job != j)
            continue;
        bool inside = x->running && x->running[i] == t->number + 1;
        if (x->culprit == PD_NO_SEAT ? inside : x->culprit == i)
            commit_crashed(pd, t, text, out);
    }
    tasks_end(pd, j, out, commit_return);
}

static void rest(struct pd *pd, struct job *j)
{
    if (j->crashes && j->up_us && pd->now_us - j->up_us >= GOOD_RUN_US)
        j->crashes = 0;
    uint64_t rest_us = REST_MAX_US;
    if (j->crashes < 8)
        rest_us = (uint64_t)REST_MIN_US << j->crashes;
    j->crashes++;
    j->state = JOB_RESTING;
    set_timer(pd, j, pd->now_us + rest_us);
}

static void crashed(struct pd *pd, struct job *j, const struct pd_exit *x, struct bytes how,
                    struct pd_effects *out)
{
    bool was_up = j->state == JOB_UP;
    seats_unlink(pd, j);
    rest(pd, j);
    fx_note(out, CX_EFAILED, "runner ended: %.*s", (int)how.len, (const char *)how.data);
    if (was_up)
        blame(pd, j, x, how, out);
    else if (j->crashes >= STARTS_MAX)
        break_job(pd, j, false, how, out);
    seats_feed(pd, out);
}

void job_exited(struct pd *pd, const struct pd_event *ev, struct pd_effects *out)
{
    struct job *j = job_of_runner(pd, ev->runner);
    if (!j)
        return;
    if (ev->u.exit->refused) {
        j->state = JOB_RESTING; /* it is gone: nothing to kill */
        break_job(pd, j, true, ev->data, out);
        seats_feed(pd, out);
        return;
    }
    crashed(pd, j, ev->u.exit, ev->data, out);
}

void job_misbehaved(struct pd *pd, struct job *j, uint32_t seat, const char *how, struct pd_effects *out)
{
    kill_runner(j, out);
    struct pd_exit x = {.culprit = seat};
    crashed(pd, j, &x, bytes_str(how), out);
}

void jobs_hungry(struct pd *pd, struct pd_effects *out)
{
    for (uint32_t i = 0; i < PD_JOBS_MAX; i++)
        if (pd->job[i] && pd->job[i]->state == JOB_UP && pd->job[i]->tasks)
            fx_add(out, PD_FX_HUNGRY, (struct bytes){NULL, 0})->runner = pd->job[i]->runner;
}

static void rest_runner(struct pd *pd, struct job *j, struct pd_effects *out)
{
    bool idle = j->tasks == 0 && pd->now_us - j->used_us >= IDLE_US;
    if (!idle) {
        set_timer(pd, j, pd->now_us + IDLE_US);
        return;
    }
    kill_runner(j, out);
    seats_unlink(pd, j);
    j->state = JOB_IDLE;
}

static void job_timer(struct pd *pd, struct job *j, struct pd_effects *out)
{
    j->wake_us = NEVER;
    if (j->stale && j->tasks == 0) {
        kill_runner(j, out);
        job_free(pd, j);
    } else if (j->state == JOB_FETCHING) {
        fetch(j, out);
    } else if (j->state == JOB_STARTING) {
        job_misbehaved(pd, j, PD_NO_SEAT, "the runner did not come up", out);
    } else if (j->state == JOB_UP) {
        rest_runner(pd, j, out);
    } else if (j->state == JOB_RESTING) {
        j->state = JOB_IDLE;
        if (j->tasks)
            job_wants(pd, j, out);
    }
}

void jobs_tick(struct pd *pd, struct pd_effects *out)
{
    if (pd->now_us < pd->jobs_due_us)
        return;
    pd->jobs_due_us = NEVER;
    for (uint32_t i = 0; i < PD_JOBS_MAX; i++) {
        struct job *j = pd->job[i];
        if (!j)
            continue;
        if (j->wake_us <= pd->now_us)
            job_timer(pd, j, out);
        j = pd->job[i];
        if (j && j->wake_us < pd->jobs_due_us)
            pd->jobs_due_us = j->wake_us;
    }
}

/* A new connection is told of its jobs anew; those it does not name are kept a while for the tasks they hold.
 */
void jobs_disconnected(struct pd *pd)
{
    for (uint32_t i = 0; i < PD_JOBS_MAX; i++)
        if (pd->job[i])
            pd->job[i]->stale = true;
}

void jobs_connected(struct pd *pd)
{
    for (uint32_t i = 0; i < PD_JOBS_MAX; i++) {
        struct job *j = pd->job[i];
        if (j && j->stale && j->wake_us > pd->now_us + STALE_US)
            set_timer(pd, j, pd->now_us + STALE_US);
    }
}
