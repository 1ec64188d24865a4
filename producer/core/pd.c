/* The machine: which handler takes which event, and when the next tick is due. */
#include "producer/core/internal.h"

void pd_effects_clear(struct pd_effects *e)
{
    e->n = 0;
    buf_clear(&e->data);
}

void pd_effects_free(struct pd_effects *e)
{
    free(e->fx);
    buf_free(&e->data);
    *e = (struct pd_effects){0};
}

struct pd_effect *fx_add(struct pd_effects *out, enum pd_effect_kind kind, struct bytes data)
{
    if (out->n == out->cap) {
        out->cap = out->cap ? out->cap * 2 : 64;
        out->fx = realloc(out->fx, out->cap * sizeof *out->fx);
        if (!out->fx)
            abort();
    }
    struct pd_effect *fx = &out->fx[out->n++];
    *fx = (struct pd_effect){.kind = kind, .seat = PD_NO_SEAT, .at = out->data.len, .len = data.len};
    buf_add(&out->data, data.data, data.len);
    return fx;
}

void fx_note(struct pd_effects *out, int code, const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    fx_add(out, PD_FX_NOTE, bytes_str(text))->code = code;
}

/* xorshift64*, Vigna 2016. */
uint64_t pd_random(struct pd *pd)
{
    pd->random ^= pd->random >> 12;
    pd->random ^= pd->random << 25;
    pd->random ^= pd->random >> 27;
    return pd->random * UINT64_C(0x2545F4914F6CDD1D);
}

struct pd *pd_new(const struct pd_config *config)
{
    must(config->seats > 0 && config->seats <= PD_SEATS_MAX);
    struct pd *pd = calloc(1, sizeof *pd);
    if (!pd)
        abort();
    pd->config = *config;
    pd->random = config->seed * 2 + 1;
    pd->seat = calloc(config->seats, sizeof *pd->seat);
    if (!pd->seat)
        abort();
    pd->jobs_due_us = pd->level_us = NEVER;
    pd->window.per_seat = 2;
    pd->window.task_ns = 1000000;
    pd->window.typical_log = 20 << 8; /* about as much */
    pd->window.last_log[0] = pd->window.last_log[1] = 20 << 8;
    pd->window.rtt_us[0] = pd->window.rtt_us[1] = 1000;
    return pd;
}

void pd_free(struct pd *pd)
{
    if (!pd)
        return;
    for (uint32_t i = 0; i < PD_JOBS_MAX; i++) {
        if (pd->job[i]) {
            free(pd->job[i]->lane);
            free(pd->job[i]->number);
            free(pd->job[i]);
        }
    }
    pool_free(&pd->pool);
    buf_free(&pd->scratch);
    free(pd->seat);
    free(pd);
}

static void take_grant(struct pd *pd, const struct grant *g, struct bytes packed, struct pd_effects *out)
{
    struct job *j = pd->latest;
    struct task *t = task_find(&pd->pool, j, g->task);
    if (t && t->hash == g->hash)
        return; /* we have it: the commit will answer both */
    if (t && t->state == TASK_QUEUED)
        task_drop(pd, t); /* the server holds another task of this name now (law 6) */
    t = task_new(&pd->pool, j, g, packed);
    uint32_t seat = seat_choose(pd);
    seat_queue(pd, t, seat);
    if (pd->draining)
        commit_return(pd, t, out);
    else if (j->state == JOB_UP)
        seat_feed(pd, seat, out);
    else
        job_wants(pd, j, out);
}

static void on_grants(struct pd *pd, const struct pd_event *ev, struct pd_effects *out)
{
    struct reader r = reader_of(ev->data);
    uint32_t n = 0;
    bool budgeted = false;
    while (reader_more(&r)) {
        struct grant g;
        const uint8_t *from = r.at;
        if (!grant_get(&r, &g)) {
            conn_fault(pd, "malformed grants", out);
            return;
        }
        struct job *j = job_find(pd, g.job);
        if (!j) {
            conn_fault(pd, "a grant of a job that we were not told of", out);
            return;
        }
        pd->latest = j;
        if (pd->pool.n >= pd->config.seats * PD_SEAT_TASKS_MAX || pd->pool.n >= PD_WINDOW_MAX) {
            conn_fault(pd, "more grants than the window", out);
            return;
        }
        take_grant(pd, &g, bytes_of(from, (size_t)(r.at - from)), out);
        budgeted = g.budget_us > 0;
        n++;
    }
    window_granted(pd, n, budgeted);
}

static void on_revoke(struct pd *pd, const struct pd_event *ev, struct pd_effects *out)
{
    struct job *j = job_find(pd, ev->job);
    struct task *t = j ? task_find(&pd->pool, j, ev->task) : NULL;
    if (!t)
        return;
    if (t->state == TASK_PUSHED) {
        seat_take_back(pd, t, WISH_DROP, out);
        return;
    }
    task_drop(pd, t);
    window_released(pd);
}

static void on_hungry(struct pd *pd, const struct pd_event *ev, struct pd_effects *out)
{
    (void)ev;
    jobs_hungry(pd, out);
    seats_shed(pd, out);
}

static void on_tick(struct pd *pd, const struct pd_event *ev, struct pd_effects *out)
{
    (void)ev;
    jobs_tick(pd, out);
    conn_tick(pd, out);
    if (pd->now_us >= pd->level_us)
        seats_level(pd, out);
}

typedef void handler(struct pd *, const struct pd_event *, struct pd_effects *);

static handler *const handlers[] = {
    [PD_TICK] = on_tick,         [PD_UP] = conn_up,
    [PD_DOWN] = conn_down,       [PD_GRANTS] = on_grants,
    [PD_JOB] = job_told,         [PD_JOB_GONE] = job_gone,
    [PD_BOUND] = job_bound,      [PD_HUNGRY] = on_hungry,
    [PD_REVOKE] = on_revoke,     [PD_BLOB] = job_blob,
    [PD_RUNNING] = job_running,  [PD_EXITED] = job_exited,
    [PD_COMMITS] = commits_read, [PD_TAKEN_BACK] = seat_taken_back,
    [PD_BROKEN] = commit_broken, [PD_DRAIN] = drain_start,
};

void pd_step(struct pd *pd, const struct pd_event *event, struct pd_effects *out)
{
    must(event->kind < sizeof handlers / sizeof *handlers);
    pd->now_us = event->now_us;
    if (pd->conn == CONN_LEFT)
        return;
    handlers[event->kind](pd, event, out);
    window_update(pd, out);
    drain_check(pd, out);
}

uint64_t pd_due(const struct pd *pd)
{
    uint64_t due = pd->jobs_due_us;
    if (pd->conn == CONN_LEFT)
        return NEVER;
    if (pd->conn == CONN_WAITING && pd->dial_us < due)
        due = pd->dial_us;
    if (pd->level_us < due)
        due = pd->level_us;
    if (pd->draining && pd->drain_us < due)
        due = pd->drain_us;
    return due;
}

void pd_stats(const struct pd *pd, struct pd_stats *out)
{
    *out = (struct pd_stats){.jobs = pd->jobs,
                             .tasks = pd->pool.n,
                             .window = pd->window.announced,
                             .round_trip_us = window_round_trip_us(pd),
                             .task_ns = pd->window.task_ns,
                             .connected = pd->conn == CONN_UP,
                             .draining = pd->draining,
                             .left = pd->conn == CONN_LEFT};
    for (uint32_t i = 0; i < pd->config.seats; i++)
        out->pushed += pd->seat[i].pushed.n;
    for (uint32_t i = 0; i < PD_JOBS_MAX; i++)
        out->runners += pd->job[i] && pd->job[i]->state == JOB_UP;
}

static uint32_t check_list(const struct task_list *l, enum task_state state, uint32_t seat)
{
    uint32_t n = 0;
    for (const struct task *t = l->head; t; t = t->next, n++) {
        must(t->state == state && t->seat == seat);
        must(t->next ? t->next->prev == t : l->tail == t);
    }
    must(n == l->n);
    return n;
}

static uint32_t check_seat(const struct pd *pd, uint32_t i)
{
    const struct seat *s = &pd->seat[i];
    uint32_t n = check_list(&s->pushed, TASK_PUSHED, i);
    for (const struct task *t = s->pushed.head; t; t = t->next)
        must(t->job->state == JOB_UP && s->turn && t->job == s->turn->job);
    for (uint32_t k = 0; k < PD_JOBS_MAX; k++) {
        const struct job *j = pd->job[k];
        if (!j)
            continue;
        n += check_list(&j->lane[i].tasks, TASK_QUEUED, i);
        must((j->lane[i].next != NULL) == (j->state == JOB_UP && j->lane[i].tasks.n > 0));
    }
    must(n == s->tasks);
    must(!s->pushed.n || s->pushed.tail->number - s->pushed.head->number < PD_SEAT_TASKS_MAX);
    return n;
}

void pd_check(const struct pd *pd)
{
    uint32_t n = 0, of_jobs = 0, jobs = 0;
    for (uint32_t i = 0; i < pd->config.seats; i++)
        n += check_seat(pd, i);
    for (uint32_t k = 0; k < PD_JOBS_MAX; k++) {
        of_jobs += pd->job[k] ? pd->job[k]->tasks : 0;
        jobs += pd->job[k] != NULL;
    }
    must(n == pd->pool.n && of_jobs == n && jobs == pd->jobs);
}
