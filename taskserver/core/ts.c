/* The machine: events to handlers, restart, and the next moment something is due. */
#include "taskserver/core/core.h"

#ifdef CX_SABOTAGE
int ts_sabotage;
#endif

struct ts *ts_new(const struct ts_config *config)
{
    struct ts *ts = calloc(1, sizeof *ts);
    if (!ts)
        abort();
    ts->config = *config;
    ts->out = &ts->quiet;
    ts->eager_us = ts->signal_us = ts->gathered_us = NEVER;
    list_init(&ts->granting);
    list_init(&ts->improved);
    steal_init(ts);
    list_init(&ts->unheld);
    list_init(&ts->busy);
    list_init(&ts->watches);
    list_init(&ts->pending);
    return ts;
}

static void job_drop(struct ts *ts, struct job *job)
{
    if (job->state == TS_JOB_RUNNING) {
        job_end(ts, job, TS_JOB_CANCELLED, bytes_of(NULL, 0));
        job_clear(ts, job, ts->now_us);
    }
    job_free(ts, job);
}

void ts_free(struct ts *ts)
{
    if (!ts)
        return;
    ts->out = &ts->quiet;
    clients_free(ts);
    for (uint32_t i = 0; i < ts->job_slots; i++)
        if (ts->job[i])
            job_drop(ts, ts->job[i]);
    producers_free(ts);
    neighbours_free(ts);
    channels_free(ts);
    free(ts->gone.at);
    ts_effects_free(&ts->quiet);
    free(ts->job);
    free(ts->checked.name);
    buf_free(&ts->checked.set);
    buf_free(&ts->record);
    buf_free(&ts->pack);
    buf_free(&ts->joined);
    buf_free(&ts->parcel);
    pool_free(&ts->pool);
    free(ts);
}

/* ---- Steps ---- */

static void on_tick(struct ts *ts, const struct ts_event *e)
{
    (void)e;
    jobs_due(ts);
}

static void recheck_jobs(struct ts *ts)
{
    for (uint32_t i = 0; ts->recheck && i < ts->job_slots; i++)
        if (ts->job[i])
            job_check_stuck(ts, ts->job[i]);
    ts->recheck = false;
}

/* A commit of a million children is not paid for with memory ever after. */
static void scratch_trim(struct ts *ts)
{
    struct checked *c = &ts->checked;
    if (c->names_cap * sizeof *c->name > SCRATCH_KEPT_MAX) {
        free(c->name);
        c->name = NULL;
        c->names = c->names_cap = 0;
    }
    buf_reset(&c->set, SCRATCH_KEPT_MAX);
    buf_reset(&ts->record, SCRATCH_KEPT_MAX);
    buf_reset(&ts->pack, SCRATCH_KEPT_MAX);
    buf_reset(&ts->joined, SCRATCH_KEPT_MAX);
    buf_reset(&ts->parcel, SCRATCH_KEPT_MAX);
}

void ts_step(struct ts *ts, const struct ts_event *event, struct ts_effects *out)
{
    static void (*const handler[])(struct ts *, const struct ts_event *) = {
        [TS_TICK] = on_tick,
        [TS_PRODUCER_JOINED] = producer_joined,
        [TS_PRODUCER_LEFT] = producer_left,
        [TS_PRODUCER_WINDOW] = producer_window,
        [TS_PRODUCER_HOLDS] = producer_holds,
        [TS_COMMITS] = on_commits,
        [TS_SUBMIT] = on_submit,
        [TS_CANCEL] = on_cancel,
        [TS_WATCH] = client_watch,
        [TS_UNWATCH] = client_unwatch,
        [TS_FORGET] = on_forget,
        [TS_HELD] = client_held,
        [TS_CLIENT_LEFT] = client_left,
        [TS_PEER_UP] = on_peer_up,
        [TS_PEER_DOWN] = on_peer_down,
        [TS_PEER_MSG] = on_peer_msg,
        [TS_PEER_RTT] = on_peer_rtt,
    };
    must(event->kind < sizeof handler / sizeof handler[0]);
    if (event->now_us > ts->now_us)
        ts->now_us = event->now_us;
    ts->out = out;
    ts->commits_lsn = 0;
    recheck_jobs(ts);
    handler[event->kind](ts, event);
    serve(ts);
    if (ts->neighbours) {
        steal(ts);
        neighbours_send(ts);
    }
    scratch_trim(ts);
    ts->out = &ts->quiet;
}

uint64_t ts_due(const struct ts *ts)
{
    uint64_t due = ts->timers.first ? ts->timers.first->hi : NEVER;
    due = ts->eager_us < due ? ts->eager_us : due;
    due = ts->signal_us < due ? ts->signal_us : due;
    due = ts->steal.due_us < due ? ts->steal.due_us : due;
    due = ts->gathered_us < due ? ts->gathered_us : due;
    return ts->again || ts->recheck ? ts->now_us : due;
}

uint64_t ts_lsn(const struct ts *ts)
{
    return ts->lsn;
}

uint64_t ts_awaited(const struct ts *ts)
{
    return ts->awaited;
}

uint64_t ts_now(const struct ts *ts)
{
    return ts->now_us;
}

/* ---- Restart ---- */

void ts_at(struct ts *ts, uint64_t lsn)
{
    must(lsn >= ts->lsn);
    ts->lsn = lsn;
}

bool ts_replay(struct ts *ts, struct bytes record, uint64_t lsn)
{
    struct record r;
    bool fits = lsn >= ts->lsn && record_get(record, &r) && record_replay(ts, &r, lsn);
    scratch_trim(ts);
    ts_effects_clear(&ts->quiet);
    return fits;
}

/* What was replayed is held. A job whose end was lost with the log's tail is found stuck again in the next
 * step, where that can be logged. */
void ts_replayed(struct ts *ts, uint64_t now_us)
{
    if (now_us > ts->now_us)
        ts->now_us = now_us;
    client_held(ts, &(struct ts_event){.kind = TS_HELD, .u.lsn = ts->lsn});
    ts->recheck = true;
    ts_effects_clear(&ts->quiet);
}
