/* The producer's core in a world of random servers, runners and faults, from a seed. At each step the core's
 * invariants hold; in the end each task that was granted has had exactly one commit, unless the server itself
 * dropped it. CX_SEED=n repeats one run. */
#include "producer_rig.h"

#define SEATS 3u
#define TASKS 4000u
#define JOBS  4u
#define STEPS 6000u

enum fate { UNKNOWN, HELD, COMMITTED, DROPPED };

struct sim_runner {
    uint32_t id;
    bool used, up;
    uint32_t job; /* 1 .. JOBS */
    struct {
        uint32_t number, task;
        bool back; /* taken back */
    } queue[SEATS][512];
    uint32_t first[SEATS], n[SEATS];
    bool started[SEATS]; /* the first one has been */
};

struct sim {
    struct rig r;
    uint64_t random;
    bool connected, dialling, told[JOBS + 1], have_module;
    uint32_t window, held, next_task;
    enum fate fate[TASKS];
    uint32_t job_of[TASKS];
    struct sim_runner runner[8];
    size_t seen; /* effects looked at */
    bool left;
};

static uint32_t below(struct sim *s, uint32_t n)
{
    s->random = s->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(s->random >> 33) % n;
}

static struct sim_runner *runner_of(struct sim *s, uint32_t id)
{
    for (size_t i = 0; i < 8; i++)
        if (s->runner[i].used && s->runner[i].id == id)
            return &s->runner[i];
    return NULL;
}

static void on_commit(struct sim *s, struct bytes data)
{
    struct reader rd = reader_of(data);
    while (reader_more(&rd)) {
        struct commit c;
        assert_true(commit_get(&rd, &c));
        uint32_t task = (uint32_t)c.task.lo;
        assert_in_range(task, 1, s->next_task - 1);
        assert_int_equal(s->fate[task], HELD);
        assert_true(id_equal(c.job, rig_id(s->job_of[task])));
        s->fate[task] = COMMITTED;
        s->held--;
    }
}

static void on_start(struct sim *s, const struct pd_effect *fx)
{
    for (size_t i = 0; i < 8; i++) {
        if (s->runner[i].used)
            continue;
        memset(&s->runner[i], 0, sizeof s->runner[i]);
        s->runner[i].used = true;
        s->runner[i].id = fx->runner;
        return;
    }
    fail_msg("more runners than jobs");
}

static void on_run(struct sim *s, const struct pd_effect *fx, struct bytes data)
{
    struct sim_runner *w = runner_of(s, fx->runner);
    struct reader rd = reader_of(data);
    struct grant g;
    assert_non_null(w);
    assert_true(w->up);
    assert_true(grant_get(&rd, &g));
    uint32_t at = (w->first[fx->seat] + w->n[fx->seat]++) % 512;
    assert_true(w->n[fx->seat] <= 512);
    w->queue[fx->seat][at].number = fx->number;
    w->queue[fx->seat][at].task = (uint32_t)g.task.lo;
    w->queue[fx->seat][at].back = false;
    w->job = s->job_of[g.task.lo];
    /* A seat computes for one job at a time. */
    for (size_t i = 0; i < 8; i++)
        assert_true(&s->runner[i] == w || !s->runner[i].used || !s->runner[i].started[fx->seat]);
}

static void look(struct sim *s);

static void on_take_back(struct sim *s, const struct pd_effect *fx)
{
    struct sim_runner *w = runner_of(s, fx->runner);
    assert_non_null(w);
    for (uint32_t i = w->started[fx->seat] ? 1 : 0; i < w->n[fx->seat]; i++) {
        uint32_t at = (w->first[fx->seat] + i) % 512;
        if (w->queue[fx->seat][at].number != fx->number || w->queue[fx->seat][at].back)
            continue;
        w->queue[fx->seat][at].back = true;
        struct pd_event ev = {
            .kind = PD_TAKEN_BACK, .runner = fx->runner, .seat = fx->seat, .number = fx->number};
        rig_step(&s->r, ev);
        return;
    }
}

static void look(struct sim *s)
{
    for (; s->seen < s->r.n; s->seen++) {
        struct pd_effect fx = s->r.fx[s->seen].fx;
        struct bytes data = bytes_of(s->r.fx[s->seen].data, fx.len);
        if (fx.kind == PD_FX_DIAL)
            s->dialling = true;
        else if (fx.kind == PD_FX_WINDOW)
            s->window = fx.n;
        else if (fx.kind == PD_FX_COMMIT)
            on_commit(s, data);
        else if (fx.kind == PD_FX_START)
            on_start(s, &fx);
        else if (fx.kind == PD_FX_KILL)
            runner_of(s, fx.runner)->used = false;
        else if (fx.kind == PD_FX_RUN)
            on_run(s, &fx, data);
        else if (fx.kind == PD_FX_TAKE_BACK)
            on_take_back(s, &fx);
        else if (fx.kind == PD_FX_FETCH)
            s->have_module = true; /* asked for, to be answered */
        else if (fx.kind == PD_FX_LEAVE)
            s->left = true;
        assert_int_not_equal(fx.kind, PD_FX_FAULT);
    }
    rig_forget(&s->r);
    s->seen = 0;
}

static void step(struct sim *s, struct pd_event ev)
{
    rig_step(&s->r, ev);
    look(s);
}

/* ---- What may happen ---- */

static void server_grants(struct sim *s)
{
    uint32_t job = 1 + below(s, JOBS);
    if (!s->connected)
        return;
    if (!s->told[job]) {
        rig_job(&s->r, job, false);
        look(s);
        s->told[job] = true;
    }
    struct buf b = {0};
    for (uint32_t n = below(s, 9); n && s->held < s->window && s->next_task < TASKS; n--) {
        s->fate[s->next_task] = HELD;
        s->job_of[s->next_task] = job;
        s->held++;
        rig_put_grant(&b, job, s->next_task++);
    }
    step(s, (struct pd_event){.kind = PD_GRANTS, .data = buf_bytes(&b)});
    buf_free(&b);
}

static void server_goes_or_comes(struct sim *s)
{
    if (s->dialling && below(s, 3)) {
        s->connected = true;
        s->dialling = false;
        step(s, (struct pd_event){.kind = PD_UP});
    } else if (s->dialling || (s->connected && below(s, 20) == 0)) {
        s->dialling = s->connected = false;
        memset(s->told, 0, sizeof s->told);
        step(s, (struct pd_event){.kind = PD_DOWN, .data = bytes_str("gone")});
    }
}

static void server_revokes(struct sim *s)
{
    uint32_t task = 1 + below(s, s->next_task);
    if (task >= s->next_task || s->fate[task] != HELD || !s->connected)
        return;
    struct pd_stats before = rig_stats(&s->r);
    step(s, (struct pd_event){.kind = PD_REVOKE, .job = rig_id(s->job_of[task]), .task = rig_id(task)});
    if (rig_stats(&s->r).tasks < before.tasks) {
        s->fate[task] = DROPPED;
        s->held--;
    }
}

static void server_ends_a_job(struct sim *s)
{
    uint32_t job = 1 + below(s, JOBS);
    if (!s->connected || !s->told[job] || below(s, 40))
        return;
    for (uint32_t t = 1; t < s->next_task; t++) {
        if (s->fate[t] == HELD && s->job_of[t] == job) {
            s->fate[t] = DROPPED;
            s->held--;
        }
    }
    s->told[job] = false;
    step(s, (struct pd_event){.kind = PD_JOB_GONE, .job = rig_id(job)});
}

static void runner_works(struct sim *s)
{
    struct sim_runner *w = &s->runner[below(s, 8)];
    uint32_t seat = below(s, SEATS);
    if (!w->used || !w->up || !w->n[seat])
        return;
    uint32_t at = w->first[seat];
    if (!w->started[seat] && !w->queue[seat][at].back) {
        w->started[seat] = true;
        return;
    }
    bool back = w->queue[seat][at].back;
    w->first[seat] = (at + 1) % 512;
    w->n[seat]--;
    w->started[seat] = false;
    if (back)
        return;
    rig_commit(&s->r, w->id, seat, s->job_of[w->queue[seat][at].task], w->queue[seat][at].task);
    look(s);
}

static void runner_comes_up_or_dies(struct sim *s)
{
    struct sim_runner *w = &s->runner[below(s, 8)];
    if (!w->used)
        return;
    uint32_t id = w->id, running[SEATS];
    if (!w->up) {
        w->up = true;
        rig_running(&s->r, id);
        look(s);
        return;
    }
    if (below(s, 30))
        return;
    for (uint32_t i = 0; i < SEATS; i++)
        running[i] = w->started[i] ? w->queue[i][w->first[i]].number + 1 : 0;
    w->used = false;
    rig_exited(&s->r, id, below(s, 2) ? PD_NO_SEAT : below(s, SEATS), running, "crash");
    look(s);
}

static void blobs_arrive(struct sim *s)
{
    if (!s->have_module)
        return;
    s->have_module = false;
    rig_blob(&s->r, rig_module, below(s, 4) ? 0 : CX_ENONET, "none");
    look(s);
}

static void time_passes(struct sim *s)
{
    s->r.now += below(s, 2) ? below(s, 3000) : below(s, 300000);
    if (s->r.now >= pd_due(s->r.pd) || below(s, 4) == 0)
        step(s, (struct pd_event){.kind = PD_TICK});
}

static void others_hunger(struct sim *s)
{
    if (s->connected)
        step(s, (struct pd_event){.kind = PD_HUNGRY});
}

static void (*const happenings[])(struct sim *) = {
    server_grants, server_grants, server_goes_or_comes,    server_revokes, server_ends_a_job, runner_works,
    runner_works,  runner_works,  runner_comes_up_or_dies, blobs_arrive,   time_passes,       others_hunger};

static void run(uint64_t seed)
{
    static struct sim s;
    memset(&s, 0, sizeof s);
    s.random = seed;
    s.next_task = 1;
    rig_open(&s.r, SEATS);
    for (uint32_t i = 0; i < STEPS; i++)
        happenings[below(&s, sizeof happenings / sizeof *happenings)](&s);
    assert_true(s.next_task > 50);
    assert_int_equal(rig_stats(&s.r).tasks, s.held);
    step(&s, (struct pd_event){.kind = PD_DRAIN});
    for (uint32_t i = 0; i < 10000 && !s.left; i++)
        happenings[below(&s, sizeof happenings / sizeof *happenings)](&s);
    assert_true(s.left);
    assert_int_equal(s.held, 0);
    for (uint32_t t = 1; t < s.next_task; t++)
        assert_true(s.fate[t] == COMMITTED || s.fate[t] == DROPPED);
    rig_close(&s.r);
}

static void every_task_ends_exactly_once(void **state)
{
    (void)state;
    const char *one = getenv("CX_SEED");
    if (one) {
        run(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= 40; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_task_ends_exactly_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
