#include "producer/daemon.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "producer/bell.h"
#include "producer/fetch.h"
#include "producer/place.h"
#include "producer/runners.h"
#include "producer/uplink.h"
#include "proto/daemon.h"

#define LEAVE_US     2000000u /* for the last commits and the goodbye */
#define SPIN_NS      60000 /* looked for a commit so long before sleeping: a runner wakes up in half of it, */
#define SPIN_LOOKS   64    /* giving way to others each so many looks */
#define EFFECTS_KEPT (4u << 20) /* memory of effects that is kept from step to step */

/* Events that arise while effects are executed wait for the step after. */
struct later {
    enum pd_event_kind kind;
    uint32_t runner, seat, number;
    int code;
    uint8_t sha[PD_SHA_BYTES];
    char text[RPC_WHY_MAX];
};

struct daemon {
    struct daemon_config config;
    struct rpc *rpc;
    struct pd *pd;
    struct pd_effects fx;
    bool executing;
    struct later *later; /* owned */
    size_t later_n, later_cap;
    struct blobcache *cache;
    struct fetch *fetch;
    struct place *place;
    struct uplink *uplink;
    struct doorbell *bell;
    struct runners *runners;
    char address[256]; /* of the server being tried or served */
    bool leaving, done, failed;
    bool fruitful; /* commits have come since we last lingered for some */
    uint64_t leave_us;
};

/* ---- From effects to deeds ---- */

static struct later *add_later(struct daemon *d, enum pd_event_kind kind)
{
    if (d->later_n == d->later_cap) {
        d->later_cap = d->later_cap ? d->later_cap * 2 : 16;
        d->later = realloc(d->later, d->later_cap * sizeof *d->later);
        must(d->later);
    }
    struct later *l = &d->later[d->later_n++];
    memset(l, 0, sizeof *l);
    l->kind = kind;
    return l;
}

static void do_dial(struct daemon *d, const struct pd_effect *fx, struct bytes data)
{
    (void)fx, (void)data;
    place_begin(d->place, clock_us());
}

static void do_fault(struct daemon *d, const struct pd_effect *fx, struct bytes data)
{
    (void)fx;
    char why[RPC_WHY_MAX];
    snprintf(why, sizeof why, "%.*s", (int)data.len, (const char *)data.data);
    log_error("the task server at %s broke the protocol: %s", d->address, why);
    uplink_fault(d->uplink, why);
}

static void do_holds(struct daemon *d, const struct pd_effect *fx, struct bytes data)
{
    (void)fx;
    uplink_holds(d->uplink, data);
}

static void do_window(struct daemon *d, const struct pd_effect *fx, struct bytes data)
{
    (void)data;
    uplink_window(d->uplink, fx->n);
}

static void do_commit(struct daemon *d, const struct pd_effect *fx, struct bytes data)
{
    (void)fx;
    uplink_commits(d->uplink, data);
}

static void do_fetch(struct daemon *d, const struct pd_effect *fx, struct bytes data)
{
    (void)fx;
    fetch_blob(d->fetch, data.data);
}

static void do_start(struct daemon *d, const struct pd_effect *fx, struct bytes data)
{
    runners_start(d->runners, fx->runner, data.data,
                  data.len > PD_SHA_BYTES ? data.data + PD_SHA_BYTES : NULL);
}

static void do_kill(struct daemon *d, const struct pd_effect *fx, struct bytes data)
{
    (void)data;
    runners_kill(d->runners, fx->runner);
}

static void do_run(struct daemon *d, const struct pd_effect *fx, struct bytes data)
{
    runners_run(d->runners, fx->runner, fx->seat, fx->number, data);
}

static void do_take_back(struct daemon *d, const struct pd_effect *fx, struct bytes data)
{
    (void)data;
    if (!runners_take_back(d->runners, fx->runner, fx->seat, fx->number))
        return;
    struct later *l = add_later(d, PD_TAKEN_BACK);
    l->runner = fx->runner;
    l->seat = fx->seat;
    l->number = fx->number;
}

static void do_bound(struct daemon *d, const struct pd_effect *fx, struct bytes data)
{
    (void)data;
    runners_bound(d->runners, fx->runner, fx->n, fx->bound);
}

static void do_hungry(struct daemon *d, const struct pd_effect *fx, struct bytes data)
{
    (void)data;
    runners_hungry(d->runners, fx->runner);
}

static void do_leave(struct daemon *d, const struct pd_effect *fx, struct bytes data)
{
    (void)fx, (void)data;
    d->leaving = true;
    d->leave_us = clock_us() + LEAVE_US;
    uplink_leave(d->uplink);
}

static void do_note(struct daemon *d, const struct pd_effect *fx, struct bytes data)
{
    (void)d;
    log_line(fx->code ? LOG_WARN : LOG_INFO, "%.*s", (int)data.len, (const char *)data.data);
}

static void (*const deeds[])(struct daemon *, const struct pd_effect *, struct bytes) = {
    [PD_FX_DIAL] = do_dial,           [PD_FX_FAULT] = do_fault,   [PD_FX_HOLDS] = do_holds,
    [PD_FX_WINDOW] = do_window,       [PD_FX_COMMIT] = do_commit, [PD_FX_FETCH] = do_fetch,
    [PD_FX_START] = do_start,         [PD_FX_KILL] = do_kill,     [PD_FX_RUN] = do_run,
    [PD_FX_TAKE_BACK] = do_take_back, [PD_FX_BOUND] = do_bound,   [PD_FX_HUNGRY] = do_hungry,
    [PD_FX_LEAVE] = do_leave,         [PD_FX_NOTE] = do_note,
};

static void execute(struct daemon *d, const struct pd_event *ev)
{
    d->executing = true;
    pd_step(d->pd, ev, &d->fx);
    for (size_t i = 0; i < d->fx.n; i++) {
        const struct pd_effect *fx = &d->fx.fx[i];
        deeds[fx->kind](d, fx, pd_effect_data(&d->fx, fx));
    }
    pd_effects_clear(&d->fx);
    buf_reset(&d->fx.data, EFFECTS_KEPT);
    d->executing = false;
}

static void execute_later(struct daemon *d, uint64_t now_us)
{
    for (size_t i = 0; i < d->later_n; i++) {
        struct later l = d->later[i];
        struct pd_event ev = {.kind = l.kind,
                              .now_us = now_us,
                              .runner = l.runner,
                              .seat = l.seat,
                              .number = l.number,
                              .code = l.code,
                              .sha = l.sha,
                              .data = bytes_str(l.text)};
        execute(d, &ev);
    }
    d->later_n = 0;
}

static void step(void *ctx, const struct pd_event *event)
{
    struct daemon *d = ctx;
    struct pd_event ev = *event;
    must(!d->executing);
    ev.now_us = clock_us();
    execute(d, &ev);
    execute_later(d, ev.now_us);
}

/* ---- From the world to events ---- */

static void tell_later(struct daemon *d, enum pd_event_kind kind, int code, const uint8_t *sha,
                       const char *why)
{
    struct later *l = add_later(d, kind);
    l->code = code;
    if (sha)
        memcpy(l->sha, sha, PD_SHA_BYTES);
    snprintf(l->text, sizeof l->text, "%s", why);
    if (!d->executing)
        execute_later(d, clock_us());
}

static void blob_done(void *ctx, const uint8_t sha[32], int code, const char *why)
{
    tell_later(ctx, PD_BLOB, code, sha, why);
}

static void place_failed(void *ctx, const char *why)
{
    tell_later(ctx, PD_DOWN, CX_ENONET, NULL, why);
}

static void place_found(void *ctx, const char *address, struct bytes shard)
{
    struct daemon *d = ctx;
    snprintf(d->address, sizeof d->address, "%s", address);
    fetch_from(d->fetch, address);
    if (uplink_dial(d->uplink, address, shard))
        place_next(d->place, "the task server's address is not usable");
}

static void uplink_closed(void *ctx, const char *why, bool was_up)
{
    struct daemon *d = ctx;
    if (was_up)
        tell_later(d, PD_DOWN, CX_ENONET, NULL, why);
    else
        place_next(d->place, why);
}

static void uplink_served(void *ctx, struct bytes shard, struct bytes addresses)
{
    struct daemon *d = ctx;
    place_served(d->place, shard, addresses);
}

static void uplink_event(void *ctx, const struct pd_event *ev)
{
    struct daemon *d = ctx;
    if (ev->kind == PD_UP)
        log_info("serving the task server at %s with %u threads", d->address, d->config.threads);
    step(d, ev);
}

static void uplink_left(void *ctx)
{
    struct daemon *d = ctx;
    d->done = true;
}

static void bell_rung(void *ctx)
{
    (void)ctx; /* the loop polls the rings */
}

static void bell_report(void *ctx, const struct spawn_report *r)
{
    struct daemon *d = ctx;
    runners_report(d->runners, r);
}

/* Without it no runner can be made, and those there were died with it: hand all back and let whoever watches
 * over us start us anew. */
static void spawner_gone(void *ctx)
{
    struct daemon *d = ctx;
    if (d->leaving)
        return;
    log_error("the spawner is gone; leaving");
    d->failed = true;
    step(d, &(struct pd_event){.kind = PD_DRAIN});
    step(d, &(struct pd_event){.kind = PD_DRAIN});
}

static void on_signal(void *ctx)
{
    struct daemon *d = ctx;
    log_info("stopping: handing back what has not started");
    step(d, &(struct pd_event){.kind = PD_DRAIN});
}

/* ---- The loop ---- */

static bool poll_runners(struct daemon *d)
{
    bool any = runners_poll(d->runners);
    d->fruitful |= any;
    return any;
}

static bool spin(struct daemon *d)
{
    uint64_t until_ns = clock_ns() + SPIN_NS;
    do {
        for (int i = 0; i < SPIN_LOOKS; i++)
            if (runners_ready(d->runners))
                return true;
        sched_yield();
    } while (clock_ns() < until_ns);
    return false;
}

/* Short tasks are not worth a ring or a message each. While many are in hand, the reactor naps in every turn
 * and so gathers their commits; while there are few, the next commit is only a moment away, and looking out
 * for it spares two wake-ups. An attempt that brought nothing is not repeated until there was a commit again,
 * so an idle daemon sleeps. */
static bool may_nap(const struct daemon *d)
{
    return d->fruitful && pd_nap_ns(d->pd) > 0;
}

static void nap(struct daemon *d)
{
    if (!may_nap(d))
        return;
    d->fruitful = false;
    nanosleep(&(struct timespec){0, (long)pd_nap_ns(d->pd)}, NULL);
}

static bool look_out(struct daemon *d)
{
    if (!d->fruitful || !pd_soon(d->pd))
        return false;
    d->fruitful = false;
    return spin(d);
}

/* The last look before sleeping: from here on the runners ring. */
static bool may_sleep(void *ctx)
{
    struct daemon *d = ctx;
    runners_flush(d->runners);
    if (may_nap(d) || look_out(d))
        return false;
    runners_arm(d->runners);
    if (!poll_runners(d))
        return true;
    runners_flush(d->runners);
    return false;
}

static void loop(struct daemon *d)
{
    prctl(PR_SET_TIMERSLACK, 1000);
    while (!d->done) {
        uint64_t due = d->leaving ? d->leave_us : pd_due(d->pd);
        rpc_run(d->rpc, due, may_sleep, d);
        runners_disarm(d->runners);
        runners_flush(d->runners);
        nap(d);
        poll_runners(d);
        uint64_t now = clock_us();
        if (now >= pd_due(d->pd))
            step(d, &(struct pd_event){.kind = PD_TICK});
        runners_flush(d->runners);
        if (d->leaving && now >= d->leave_us)
            d->done = true;
    }
}

static int build(struct daemon *d, char *why, size_t why_max)
{
    const struct daemon_config *c = &d->config;
    int rc = blobcache_new(c->cache, c->cache_max, &d->cache, why, why_max);
    if (rc)
        return rc;
    uint64_t seed;
    random_bytes(&seed, sizeof seed);
    d->pd = pd_new(&(struct pd_config){.seats = c->threads, .seed = seed, .grace_us = c->grace_us});
    d->fetch = fetch_new(
        &(struct fetch_config){.rpc = d->rpc, .me = c->me, .cache = d->cache, .done = blob_done, .ctx = d});
    d->place = place_new(&(struct place_config){.rpc = d->rpc,
                                                .me = c->me,
                                                .server = c->server,
                                                .broker = c->broker,
                                                .threads = c->threads,
                                                .arch = uplink_arch(),
                                                .found = place_found,
                                                .failed = place_failed,
                                                .ctx = d});
    d->uplink = uplink_new(&(struct uplink_config){.rpc = d->rpc,
                                                   .me = c->me,
                                                   .threads = c->threads,
                                                   .event = uplink_event,
                                                   .served = uplink_served,
                                                   .closed = uplink_closed,
                                                   .left = uplink_left,
                                                   .ctx = d});
    rc = doorbell_start(&(struct doorbell_config){.rpc = d->rpc,
                                                  .spawner = c->spawner,
                                                  .rung = bell_rung,
                                                  .report = bell_report,
                                                  .spawner_gone = spawner_gone,
                                                  .ctx = d},
                        &d->bell);
    if (rc) {
        snprintf(why, why_max, "the doorbell could not be made");
        return rc;
    }
    d->runners = runners_new(&(struct runners_config){.spawner = c->spawner,
                                                      .cache = d->cache,
                                                      .seats = c->threads,
                                                      .bell = doorbell_fd(d->bell),
                                                      .event = step,
                                                      .ctx = d});
    return 0;
}

int daemon_run(const struct daemon_config *config)
{
    struct daemon d = {.config = *config};
    char why[512] = "";
    int rc = rpc_new(&d.rpc);
    if (!rc)
        rc = build(&d, why, sizeof why);
    if (!rc)
        rc = daemon_watch_signals(d.rpc, on_signal, &d);
    if (!rc) {
        daemon_ready(config->ready_fd, 0);
        loop(&d);
        daemon_unwatch_signals();
    } else {
        log_error("%s", why[0] ? why : cx_err_text(rc));
    }
    d.leaving = true;
    if (d.bell)
        doorbell_stop(d.bell);
    rpc_free(d.rpc);
    doorbell_free(d.bell);
    runners_free(d.runners);
    uplink_free(d.uplink);
    place_free(d.place);
    fetch_free(d.fetch);
    blobcache_free(d.cache);
    pd_free(d.pd);
    pd_effects_free(&d.fx);
    free(d.later);
    return rc || !d.failed ? rc : CX_EIO;
}
