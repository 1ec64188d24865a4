/* The connection to the task server, kept for ever, and the orderly leaving. */
#include "producer/core/internal.h"

/* Between half of the step and all of it; the step doubles from try to try, and then stays for a while: a
 * sibling takes over within a second or two, and whoever has paused for long by then computes nothing for as
 * long. */
enum { BACKOFF_MIN_US = 20000, BACKOFF_DOUBLES = 4, BACKOFF_TRIES = 24, BACKOFF_MAX_US = 2000000 };

static uint64_t backoff_us(struct pd *pd)
{
    unsigned doubles = pd->tries < BACKOFF_DOUBLES ? pd->tries : BACKOFF_DOUBLES;
    uint64_t step = pd->tries < BACKOFF_TRIES ? (uint64_t)BACKOFF_MIN_US << doubles : BACKOFF_MAX_US;
    pd->tries++;
    return step / 2 + pd_random(pd) % (step / 2 + 1);
}

static void send_holds(struct pd *pd, struct pd_effects *out)
{
    struct buf *b = &pd->scratch;
    buf_clear(b);
    for (uint32_t i = 0; i < pd->pool.buckets; i++) {
        for (const struct task *t = pd->pool.bucket[i]; t; t = t->chain) {
            put_id(b, t->job->id);
            put_id(b, t->id);
            put_u64(b, t->hash);
        }
    }
    if (b->len)
        fx_add(out, PD_FX_HOLDS, buf_bytes(b));
}

void conn_up(struct pd *pd, const struct pd_event *ev, struct pd_effects *out)
{
    (void)ev;
    if (pd->conn != CONN_DIALLING)
        return;
    pd->conn = CONN_UP;
    pd->tries = 0;
    send_holds(pd, out);
    jobs_connected(pd);
    window_connected(pd, out);
    drain_check(pd, out);
}

void conn_down(struct pd *pd, const struct pd_event *ev, struct pd_effects *out)
{
    if (pd->conn == CONN_LEFT)
        return;
    pd->conn = CONN_WAITING;
    pd->dial_us = pd->now_us + backoff_us(pd);
    pd->window.announced = 0;
    pd->window.probing = false;
    jobs_disconnected(pd);
    fx_note(out, CX_ENONET, "no task server: %.*s; trying again in %u ms", (int)ev->data.len,
            (const char *)ev->data.data, (unsigned)((pd->dial_us - pd->now_us) / 1000));
}

void conn_tick(struct pd *pd, struct pd_effects *out)
{
    if (pd->conn != CONN_WAITING || pd->now_us < pd->dial_us)
        return;
    pd->conn = CONN_DIALLING;
    pd->dial_us = pd->now_us;
    fx_add(out, PD_FX_DIAL, (struct bytes){NULL, 0});
}

void conn_fault(struct pd *pd, const char *text, struct pd_effects *out)
{
    (void)pd;
    fx_add(out, PD_FX_FAULT, bytes_str(text));
}

/* ---- Leaving ---- */

static void return_queued(struct pd *pd, struct pd_effects *out)
{
    for (uint32_t i = 0; i < PD_JOBS_MAX; i++) {
        struct job *j = pd->job[i];
        for (uint32_t k = 0; j && k < pd->config.seats; k++)
            while (j->lane[k].tasks.head)
                commit_return(pd, j->lane[k].tasks.head, out);
    }
}

static void return_all(struct pd *pd, struct pd_effects *out)
{
    return_queued(pd, out);
    for (uint32_t i = 0; i < pd->config.seats; i++)
        while (pd->seat[i].pushed.head)
            commit_return(pd, pd->seat[i].pushed.head, out);
}

static void give_up(struct pd *pd, struct pd_effects *out)
{
    for (uint32_t i = 0; i < PD_JOBS_MAX; i++)
        if (pd->job[i] && job_has_runner(pd->job[i]))
            fx_add(out, PD_FX_KILL, (struct bytes){NULL, 0})->runner = pd->job[i]->runner;
    return_all(pd, out);
    pd->conn = CONN_LEFT;
    fx_add(out, PD_FX_LEAVE, (struct bytes){NULL, 0});
}

void drain_start(struct pd *pd, const struct pd_event *ev, struct pd_effects *out)
{
    (void)ev;
    if (pd->conn == CONN_LEFT)
        return;
    if (pd->draining) {
        give_up(pd, out);
        return;
    }
    pd->draining = true;
    pd->drain_us = pd->now_us + pd->config.grace_us;
    if (pd->conn == CONN_UP)
        fx_add(out, PD_FX_WINDOW, (struct bytes){NULL, 0})->n = 0;
    return_queued(pd, out);
    for (uint32_t i = 0; i < pd->config.seats; i++)
        for (struct task *t = pd->seat[i].pushed.head; t; t = t->next)
            seat_take_back(pd, t, WISH_RETURN, out);
    drain_check(pd, out);
}

void drain_check(struct pd *pd, struct pd_effects *out)
{
    if (!pd->draining || pd->conn == CONN_LEFT)
        return;
    if (pd->pool.n == 0 || pd->now_us >= pd->drain_us)
        give_up(pd, out);
}
