/* Applying log records: the one place where durable state changes. */
#include "taskserver/core/core.h"

/* ---- Submitted ---- */

static void apply_submitted(struct ts *ts, const struct record *r)
{
    const struct ts_submit *s = &r->submit;
    struct job *job = job_new(ts, s, submit_content(ts, s));
    job->submitted_us = r->now_us;
    job->submit_lsn = ts->lsn;
    struct spawn root = {.id = id_root(), .fn = s->fn, .nslots = s->nargs};
    struct task *t = task_full(ts, job, &root, s->args.len, 0);
    if (s->args.len)
        memcpy(t->payload, s->args.data, s->args.len);
    task_filled(ts, t);
}

static bool submitted_fits(struct ts *ts, const struct record *r)
{
    return !submit_check(&r->submit) && !job_find(ts, r->job);
}

/* ---- Commit ---- */

struct applying {
    struct ts *ts;
    struct job *job;
    struct task *by; /* the granted task; it is there until all references are resolved */
};

static struct addr resolve(const struct applying *a, struct ref ref)
{
    if (ref.inherited)
        return task_addr(a->by, ref.index);
    return (struct addr){.task = a->ts->checked.name[ref.index].id, .slot = ref.slot};
}

static struct val resolve_value(const struct applying *a, const struct op_value *v)
{
    struct val out = {.v = v->value};
    if (v->value.type == CX_ADDR)
        out.at = resolve(a, v->ref);
    return out;
}

/* Fills in the payload of a task that has all its values: the addresses, then the values as they came, except
 * that an address is its tag alone. */
static void fill(const struct applying *a, struct task *t, const struct op *op)
{
    uint8_t *addr = t->payload, *at = addr + (size_t)t->open * ADDR_BYTES;
    struct reader r = reader_of(op->values);
    const uint8_t *from = r.at;
    struct op_value v;
    if (t->open == 0) {
        if (op->values.len)
            memcpy(at, op->values.data, op->values.len);
        return;
    }
    for (uint32_t i = 0; op_value_get(&r, op, &i, &v); from = r.at) {
        size_t len = v.value.type == CX_ADDR ? 1 : (size_t)(r.at - from);
        memcpy(at, from, len);
        at += len;
        if (v.value.type != CX_ADDR)
            continue;
        addr_put(addr, resolve(a, v.ref));
        addr += ADDR_BYTES;
    }
}

/* Bytes of the packed values when every address is only its tag. */
static size_t values_len(const struct op *op, uint32_t naddrs)
{
    struct reader r = reader_of(op->values);
    const uint8_t *from = r.at;
    struct op_value v;
    size_t len = op->values.len;
    if (naddrs == 0)
        return len;
    for (uint32_t i = 0; op_value_get(&r, op, &i, &v); from = r.at)
        if (v.value.type == CX_ADDR)
            len -= (size_t)(r.at - from) - 1;
    return len;
}

static void spawn_waiting(const struct applying *a, const struct spawn *s, const struct op *op)
{
    struct task *t = task_waiting(a->ts, a->job, s);
    struct reader r = reader_of(op->values);
    struct op_value v;
    if (t->open == 0)
        task_complete(a->ts, t);
    for (uint32_t i = 0; op_value_get(&r, op, &i, &v);) {
        struct val value = resolve_value(a, &v);
        slot_put(a->ts, t, v.slot, &value);
    }
}

static void apply_task(const struct applying *a, const struct op *op)
{
    const struct name *n = &a->ts->checked.name[op->name];
    struct spawn s = {.id = n->id,
                      .home = resolve(a, op->to),
                      .fn = op->fn,
                      .nslots = op->nslots,
                      .depth = n->depth,
                      .priority = op->priority,
                      .bound_kind = op->bound_kind,
                      .bound = op->bound};
    if (op->name + NAMES_AHEAD < a->ts->checked.names)
        table_expect(&a->job->tasks, n[NAMES_AHEAD].id);
    if (task_find(a->job, n->id))
        return;
    if (!(op->flags & TASK_FULL) || fn_is_well_known(op->fn)) {
        spawn_waiting(a, &s, op);
        return;
    }
    size_t len = values_len(op, n->naddrs) + (size_t)n->naddrs * ADDR_BYTES;
    struct task *t = task_full(a->ts, a->job, &s, len, n->naddrs);
    fill(a, t, op);
    task_filled(a->ts, t);
}

static void apply_set(const struct applying *a, const struct op *op)
{
    struct reader r = reader_of(op->values);
    struct op_value v;
    uint32_t i = 0;
    if (!op_value_get(&r, op, &i, &v))
        return;
    struct val value = resolve_value(a, &v);
    slot_set(a->ts, a->job, resolve(a, op->to), &value);
}

/* Runs the operations of some kinds. Tasks come before sets, whatever their order in the body, so that a
 * value finds the task that it is for. */
static void apply_ops(const struct applying *a, struct bytes body, bool sets)
{
    struct reader r = reader_of(body);
    struct op op;
    while (a->job->state == TS_JOB_RUNNING && op_get(&r, &op)) {
        if (sets && op.kind == OP_SET)
            apply_set(a, &op);
        else if (!sets && op.kind == OP_TASK)
            apply_task(a, &op);
        else if (!sets && op.kind == OP_BOUND)
            bound_improve(a->job, op.bound_kind, op.bound);
    }
}

static void apply_commit(struct ts *ts, struct job *job, const struct done *d, uint64_t now_us)
{
    struct applying a = {ts, job, task_find(job, d->task)};
    const struct checked *c = &ts->checked;
    job->commits++;
    job->executed += d->executed;
    job->busy_ns += d->elapsed_ns;
    if (c->tasks || c->bounds)
        apply_ops(&a, d->body, false);
    if (c->sets)
        apply_ops(&a, d->body, true);
    if (job->state == TS_JOB_RUNNING && LAW(3))
        task_remove(ts, a.by);
    fire_all(ts, job);
    if (job->state != TS_JOB_RUNNING)
        job_clear(ts, job, now_us);
    else if (job->parent)
        move_settle(ts, job);
}

static bool commit_fits(struct ts *ts, struct job *job, const struct done *d)
{
    struct task *t = job->state == TS_JOB_RUNNING ? task_find(job, d->task) : NULL;
    return t && t->state != TASK_WAITING && !commit_check(ts, job, t, d->body) && !ts->checked.failed;
}

/* Reads some commits, and fetches what they will touch (look_ahead in commits.c). */
static uint32_t read_ahead(const struct job *job, struct reader *in, struct done d[LOOKAHEAD])
{
    uint32_t n = 0;
    for (; n < LOOKAHEAD && reader_more(in) && done_get(in, &d[n]); n++)
        table_expect(&job->tasks, d[n].task);
    for (uint32_t i = 0; i < n; i++)
        table_expect_entry(&job->tasks, d[i].task);
    return n;
}

/* Each is checked against the state that those before it have left. */
static bool replay_commits(struct ts *ts, const struct record *r)
{
    struct job *job = job_find(ts, r->job);
    struct reader in = reader_of(r->body);
    struct done d[LOOKAHEAD];
    bool fits = job && reader_more(&in);
    while (fits && reader_more(&in)) {
        uint32_t n = read_ahead(job, &in, d);
        for (uint32_t i = 0; i < n && fits; i++) {
            fits = commit_fits(ts, job, &d[i]);
            if (fits)
                apply_commit(ts, job, &d[i], r->now_us);
        }
    }
    return fits && !in.bad;
}

/* ---- Ended, forgotten ---- */

static void apply_ended(struct ts *ts, const struct record *r)
{
    struct job *job = job_find(ts, r->job);
    job_end(ts, job, r->state, r->body);
    job_clear(ts, job, r->now_us);
}

static bool ended_fits(struct ts *ts, const struct record *r)
{
    struct job *job = job_find(ts, r->job);
    return job && job->state == TS_JOB_RUNNING && (r->state == TS_JOB_FAILED || r->state == TS_JOB_CANCELLED);
}

static void apply_forgotten(struct ts *ts, const struct record *r)
{
    struct job *job = job_find(ts, r->job);
    ts->forgotten_lsn = ts->lsn;
    if (job->origin) {
        move_gone(ts, job);
        return;
    }
    job_unwatched(ts, job);
    job_free(ts, job);
}

static bool forgotten_fits(struct ts *ts, const struct record *r)
{
    struct job *job = job_find(ts, r->job);
    return job && job->state != TS_JOB_RUNNING;
}

/* ---- The table ---- */

static const struct {
    void (*apply)(struct ts *ts, const struct record *r);
    bool (*fits)(struct ts *ts, const struct record *r);
} table[] = {
    [RECORD_SUBMITTED] = {apply_submitted, submitted_fits},
    [RECORD_ENDED] = {apply_ended, ended_fits},
    [RECORD_FORGOTTEN] = {apply_forgotten, forgotten_fits},
    [RECORD_JOB] = {restore_job, restore_job_fits},
    [RECORD_TASK] = {restore_task, restore_task_fits},
    [RECORD_MOVED] = {apply_moved, moved_fits},
    [RECORD_RECEIVED] = {apply_received, received_fits},
    [RECORD_CONFIRMED] = {apply_confirmed, confirmed_fits},
    [RECORD_BOUND] = {apply_bound_record, bound_fits},
    [RECORD_SHARD] = {restore_shard, restore_shard_fits},
    [RECORD_PARCEL] = {restore_parcel, restore_parcel_fits},
    [RECORD_AWAY] = {restore_away, restore_away_fits},
    [RECORD_GONE] = {restore_gone, restore_gone_fits},
};

void apply(struct ts *ts, const struct record *r)
{
    table[r->kind].apply(ts, r);
}

/* Numbers a record and begins it; its bytes are the caller's to add. */
static struct ts_effect *log_begin(struct ts *ts, struct id job)
{
    struct ts_effect *fx = fx_add(ts, TS_FX_LOG, 0);
    fx->at = ts->out->log.len;
    fx->lsn = ++ts->lsn;
    fx->job = job;
    return fx;
}

static void logged(struct ts *ts)
{
    if (!LAW(8))
        client_held(ts, &(struct ts_event){.kind = TS_HELD, .u.lsn = ts->lsn});
}

void log_apply(struct ts *ts, const struct record *r)
{
    struct ts_effect *fx = log_begin(ts, r->job);
    record_put(&ts->out->log, r);
    fx->len = ts->out->log.len - fx->at;
    apply(ts, r);
    logged(ts);
}

void log_apply_commit(struct ts *ts, struct job *job, const struct done *d)
{
    struct buf *log = &ts->out->log;
    bool joins = ts->commits_lsn && ts->commits_lsn == ts->lsn &&
                 id_equal(ts->out->fx[ts->commits_fx].job, job->entry.id);
    if (!joins) {
        ts->commits_fx = (uint32_t)(log_begin(ts, job->entry.id) - ts->out->fx);
        record_put(log, &(struct record){.kind = RECORD_COMMIT, .now_us = ts->now_us, .job = job->entry.id});
    }
    done_put(log, d);
    struct ts_effect *fx = &ts->out->fx[ts->commits_fx];
    fx->len = log->len - fx->at;
    ts->commits_lsn = fx->len < COMMITS_BYTES ? ts->lsn : 0;
    apply_commit(ts, job, d, ts->now_us);
    logged(ts);
}

bool record_replay(struct ts *ts, const struct record *r, uint64_t lsn)
{
    uint64_t before = ts->lsn;
    bool commits = r->kind == RECORD_COMMIT;
    if (!commits && !table[r->kind].fits(ts, r))
        return false;
    ts->lsn = lsn;
    if (!commits)
        apply(ts, r);
    else if (!replay_commits(ts, r))
        ts->lsn = before;
    return ts->lsn == lsn;
}
