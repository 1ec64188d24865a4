#include "producer/runners.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/must.h"
#include "cx/error.h"
#include "producer/link.h"

#define BATCH_BYTES (64u << 10) /* commits handed to the core at a time */
#define BATCH_KEPT  (1u << 20)  /* memory kept from batch to batch */

struct thread {
    struct link_thread *at; /* in the link */
    struct ring_writer in;
    struct ring_reader out;
    bool unpublished;
    struct buf waiting; /* owned: grants that the ring has no room for: length, then data */
    size_t from;        /* of the first of them, in waiting */
    size_t done;        /* of its data, in the ring already */
};

struct runner {
    uint32_t id;
    bool up;
    struct link link;
    struct thread *thread;       /* owned: one a seat */
    struct runner *next;         /* of the dead list */
    char why[LINK_WHY_MAX + 64]; /* on the dead list: why it did not start */
};

struct runners {
    struct runners_config config;
    struct runner *slot[PD_JOBS_MAX]; /* owned */
    struct runner **at_seat;          /* owned array: who was last given work there */
    struct runner *stillborn;         /* owned: could not be started, the core has still to hear */
    uint32_t starting;
    uint32_t *running; /* owned: for pd_exit */
    struct buf batch;
};

static void *zeroed(size_t n, size_t size)
{
    void *p = calloc(n, size);
    must(p);
    return p;
}

struct runners *runners_new(const struct runners_config *config)
{
    struct runners *rs = zeroed(1, sizeof *rs);
    rs->config = *config;
    rs->at_seat = zeroed(config->seats, sizeof(*rs->at_seat));
    rs->running = zeroed(config->seats, sizeof(*rs->running));
    return rs;
}

static struct runner *find(struct runners *rs, uint32_t id)
{
    struct runner *r = rs->slot[id % PD_JOBS_MAX];
    return r && r->id == id ? r : NULL;
}

static void runner_free(struct runner *r, uint32_t seats)
{
    for (uint32_t i = 0; r->thread && i < seats; i++) {
        ring_reader_free(&r->thread[i].out);
        buf_free(&r->thread[i].waiting);
    }
    free(r->thread);
    link_close(&r->link);
    free(r);
}

static void forget(struct runners *rs, struct runner *r)
{
    for (uint32_t i = 0; i < rs->config.seats; i++)
        if (rs->at_seat[i] == r)
            rs->at_seat[i] = NULL;
    rs->slot[r->id % PD_JOBS_MAX] = NULL;
    rs->starting -= !r->up;
    runner_free(r, rs->config.seats);
}

void runners_free(struct runners *rs)
{
    if (!rs)
        return;
    for (uint32_t i = 0; i < PD_JOBS_MAX; i++)
        if (rs->slot[i])
            forget(rs, rs->slot[i]);
    for (struct runner *r = rs->stillborn, *next; r; r = next) {
        next = r->next;
        runner_free(r, rs->config.seats);
    }
    free(rs->at_seat);
    free(rs->running);
    buf_free(&rs->batch);
    free(rs);
}

/* ---- Starting and ending ---- */

static void wire_threads(struct runner *r, uint32_t seats)
{
    r->thread = zeroed(seats, sizeof *r->thread);
    for (uint32_t i = 0; i < seats; i++) {
        struct thread *t = &r->thread[i];
        t->at = link_thread(&r->link, i);
        ring_writer_init(&t->in, link_in(&r->link, i), LINK_IN_BYTES);
        ring_reader_init(&t->out, link_out(&r->link, i), LINK_OUT_BYTES, LINK_COMMIT_MAX);
    }
}

static int open_blob(struct runners *rs, struct runner *r, const uint8_t *sha, const char *what, int *fd)
{
    int rc = blobcache_open(rs->config.cache, sha, fd);
    if (rc)
        snprintf(r->why, sizeof r->why, "the job's %s is gone from the cache: %s", what, cx_err_text(rc));
    return rc;
}

static int start(struct runners *rs, struct runner *r, const uint8_t *module, const uint8_t *input)
{
    struct spawn_fds fds = {-1, -1, rs->config.bell, -1};
    int rc = open_blob(rs, r, module, "module", &fds.module);
    if (!rc && input)
        rc = open_blob(rs, r, input, "input", &fds.input);
    if (!rc && (rc = link_create(&r->link, rs->config.seats, input != NULL, &fds.memory)))
        snprintf(r->why, sizeof r->why, "no shared memory for the runner");
    if (!rc) {
        wire_threads(r, rs->config.seats);
        rc = spawner_run(rs->config.spawner, r->id, &fds);
        if (rc)
            snprintf(r->why, sizeof r->why, "the spawner is gone");
    }
    int mine[] = {fds.memory, fds.module, fds.input};
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++)
        if (mine[i] >= 0)
            close(mine[i]);
    return rc;
}

void runners_start(struct runners *rs, uint32_t runner, const uint8_t *module, const uint8_t *input)
{
    struct runner *r = zeroed(1, sizeof *r);
    r->id = runner;
    must(!rs->slot[runner % PD_JOBS_MAX]);
    if (start(rs, r, module, input)) {
        r->next = rs->stillborn;
        rs->stillborn = r;
        return;
    }
    rs->slot[runner % PD_JOBS_MAX] = r;
    rs->starting++;
}

void runners_kill(struct runners *rs, uint32_t runner)
{
    struct runner *r = find(rs, runner);
    if (!r)
        return;
    spawner_kill(rs->config.spawner, runner);
    forget(rs, r);
}

/* ---- Giving work ---- */

static void set_aside(struct thread *t, struct bytes grant)
{
    put_u32(&t->waiting, (uint32_t)grant.len);
    buf_add(&t->waiting, grant.data, grant.len);
}

void runners_run(struct runners *rs, uint32_t runner, uint32_t seat, uint32_t number, struct bytes grant)
{
    struct runner *r = find(rs, runner);
    if (!r)
        return;
    struct thread *t = &r->thread[seat];
    rs->at_seat[seat] = r;
    link_claim_reset(t->at, number);
    t->unpublished = true;
    size_t done = 0;
    if (t->waiting.len || !ring_put(&t->in, grant, &done)) {
        if (!t->waiting.len)
            t->done = done;
        set_aside(t, grant);
    }
}

/* Puts into the ring what there is room for now. True when that was all. */
static bool put_some(struct thread *t)
{
    while (t->from < t->waiting.len) {
        struct reader rd = reader_of(bytes_of(t->waiting.data + t->from, t->waiting.len - t->from));
        struct bytes grant = get_raw(&rd, get_u32(&rd));
        size_t before = t->done;
        bool whole = ring_put(&t->in, grant, &t->done);
        t->unpublished |= whole || t->done != before;
        if (!whole)
            return false;
        t->from += 4 + grant.len;
        t->done = 0;
    }
    buf_free(&t->waiting);
    t->from = 0;
    return true;
}

/* While some is left, the thread is to ring when it has made room. */
static void put_waiting(struct thread *t)
{
    if (put_some(t))
        return;
    bell_arm(&t->in.s->room);
    if (put_some(t))
        bell_disarm(&t->in.s->room);
}

void runners_flush(struct runners *rs)
{
    for (uint32_t i = 0; i < rs->config.seats; i++) {
        struct thread *t = rs->at_seat[i] ? &rs->at_seat[i]->thread[i] : NULL;
        if (t && t->waiting.len)
            put_waiting(t);
        if (!t || !t->unpublished)
            continue;
        t->unpublished = false;
        ring_publish(&t->in);
        if (bell_due(&t->at->bell))
            bell_wake(&t->at->bell);
    }
}

bool runners_take_back(struct runners *rs, uint32_t runner, uint32_t seat, uint32_t number)
{
    struct runner *r = find(rs, runner);
    return r && link_claim_take_back(r->thread[seat].at, number);
}

void runners_bound(struct runners *rs, uint32_t runner, uint32_t kind, int64_t value)
{
    struct runner *r = find(rs, runner);
    if (r)
        link_merge_bound(&r->link, kind, value);
}

void runners_hungry(struct runners *rs, uint32_t runner)
{
    struct runner *r = find(rs, runner);
    if (r)
        atomic_fetch_add(&r->link.head->engine.hungry, 1);
}

/* ---- Hearing of work ---- */

/* One batch of the thread's commits; true when there may be more. The runner may be gone after this. */
static bool read_batch(struct runners *rs, struct runner *r, uint32_t seat)
{
    struct ring_reader *ring = &r->thread[seat].out;
    struct pd_event ev = {.kind = PD_COMMITS, .runner = r->id, .seat = seat};
    struct pd_event broken = {.kind = PD_BROKEN, .runner = r->id, .seat = seat};
    int rc = 1;
    buf_clear(&rs->batch);
    while (rs->batch.len < BATCH_BYTES && (rc = ring_get(ring, &rs->batch)) > 0)
        ;
    if (ring_release(ring))
        bell_wake(&ring->s->room);
    if (rs->batch.len) {
        ev.data = buf_bytes(&rs->batch);
        rs->config.event(rs->config.ctx, &ev);
    }
    if (rc < 0)
        rs->config.event(rs->config.ctx, &broken);
    buf_reset(&rs->batch, BATCH_KEPT);
    return rc > 0;
}

static bool seat_ready(struct runners *rs, uint32_t seat)
{
    struct runner *r = rs->at_seat[seat];
    return r && !ring_empty(&r->thread[seat].out);
}

bool runners_ready(struct runners *rs)
{
    for (uint32_t i = 0; i < rs->config.seats; i++)
        if (seat_ready(rs, i))
            return true;
    return false;
}

static bool poll_seat(struct runners *rs, uint32_t seat)
{
    if (!seat_ready(rs, seat))
        return false;
    read_batch(rs, rs->at_seat[seat], seat);
    return true;
}

static bool poll_starting(struct runners *rs)
{
    bool any = false;
    for (uint32_t i = 0; i < PD_JOBS_MAX && rs->starting; i++) {
        struct runner *r = rs->slot[i];
        if (!r || r->up || atomic_load(&r->link.head->state) != LINK_UP)
            continue;
        r->up = true;
        rs->starting--;
        any = true;
        rs->config.event(rs->config.ctx, &(struct pd_event){.kind = PD_RUNNING, .runner = r->id});
    }
    return any;
}

static void tell_exit(struct runners *rs, uint32_t id, const struct pd_exit *x, const char *text)
{
    struct pd_event ev = {.kind = PD_EXITED, .runner = id, .data = bytes_str(text), .u = {.exit = x}};
    rs->config.event(rs->config.ctx, &ev);
}

static bool poll_stillborn(struct runners *rs)
{
    struct runner *r = rs->stillborn;
    if (!r)
        return false;
    rs->stillborn = r->next;
    struct pd_exit x = {.refused = true, .culprit = PD_NO_SEAT, .running = rs->running};
    tell_exit(rs, r->id, &x, r->why);
    runner_free(r, rs->config.seats);
    return true;
}

bool runners_poll(struct runners *rs)
{
    bool any = poll_starting(rs);
    any |= poll_stillborn(rs);
    for (uint32_t i = 0; i < rs->config.seats; i++)
        any |= poll_seat(rs, i);
    return any;
}

static void set_bells(struct runners *rs, void (*set)(struct bell *))
{
    for (uint32_t i = 0; i < rs->config.seats; i++)
        if (rs->at_seat[i])
            set(&rs->at_seat[i]->link.head->daemon);
    for (uint32_t i = 0; i < PD_JOBS_MAX && rs->starting; i++)
        if (rs->slot[i] && !rs->slot[i]->up)
            set(&rs->slot[i]->link.head->daemon);
}

void runners_arm(struct runners *rs)
{
    set_bells(rs, bell_arm);
}

void runners_disarm(struct runners *rs)
{
    set_bells(rs, bell_disarm);
}

/* ---- The end of one ---- */

/* The runner's own words, which may be anything: to one line. */
static void copy_why(const char *why, char *text, size_t max)
{
    snprintf(text, max, "%.*s", LINK_WHY_MAX - 1, why);
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < ' ')
            *p = ' ';
}

static void describe(const struct runner *r, const struct spawn_report *report, const struct pd_exit *x,
                     char *text, size_t max)
{
    if (report->error)
        snprintf(text, max, "cx-runner could not be executed: %s", strerror(report->error));
    else if (x->refused)
        copy_why(r->link.head->why, text, max);
    else if (WIFSIGNALED(report->status))
        snprintf(text, max, "killed by signal %d (%s)", WTERMSIG(report->status),
                 strsignal(WTERMSIG(report->status)));
    else
        snprintf(text, max, "the task ended its process with status %d", WEXITSTATUS(report->status));
}

/* What the link says of a crash is checked by use: a culprit must be a seat, a number that of the first task.
 */
void runners_report(struct runners *rs, const struct spawn_report *report)
{
    char text[LINK_WHY_MAX + 64];
    struct runner *r = find(rs, report->runner);
    if (!r)
        return;
    for (uint32_t i = 0; i < rs->config.seats; i++)
        while (find(rs, report->runner) == r && read_batch(rs, r, i))
            ;
    if (find(rs, report->runner) != r)
        return; /* its last words were such that the core has ended it */
    struct link_head *head = r->link.head;
    uint32_t culprit = atomic_load(&head->culprit) - 1;
    bool refused = report->error || (!r->up && atomic_load(&head->state) == LINK_REFUSED);
    struct pd_exit x = {.refused = refused,
                        .culprit = culprit < rs->config.seats ? culprit : PD_NO_SEAT,
                        .running = rs->running};
    for (uint32_t i = 0; i < rs->config.seats; i++)
        rs->running[i] = atomic_load(&r->thread[i].at->running);
    describe(r, report, &x, text, sizeof text);
    forget(rs, r);
    tell_exit(rs, report->runner, &x, text);
}
