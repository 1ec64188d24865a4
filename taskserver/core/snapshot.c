/* The state as records, and back. */
#include "taskserver/core/core.h"

/* ---- Writing ---- */

struct emitting {
    const struct job *job;
    struct buf record, body;
    void (*emit)(void *ctx, struct bytes record);
    void *ctx;
};

static void emit_record(struct emitting *e, const struct record *r)
{
    buf_clear(&e->record);
    record_put(&e->record, r);
    e->emit(e->ctx, buf_bytes(&e->record));
}

/* The root's arguments are those of its task, if that is still there. */
static void emit_job(struct emitting *e, const struct job *job)
{
    struct record r = {
        .kind = RECORD_JOB,
        .now_us = job->submitted_us,
        .job = job->entry.id,
        .submit = job_card(job),
        .content = job->content,
        .state = job->state,
        .body = bytes_of(job->answer, job->answer_len),
        .ended_us = job->ended_us,
        .commits = job->commits,
        .elapsed_ns = job->busy_ns,
        .executed = job->executed,
        .has_min = job->has_min,
        .has_max = job->has_max,
        .bound_min = job->bound_min,
        .bound_max = job->bound_max,
    };
    emit_record(e, &r);
}

static void emit_away(struct emitting *e, const struct job *job)
{
    if (!job->origin && !job->ties)
        return;
    buf_clear(&e->body);
    put_away(&e->body, job);
    emit_record(e, &(struct record){.kind = RECORD_AWAY, .job = job->entry.id, .body = buf_bytes(&e->body)});
}

static void emit_channel(struct emitting *e, const struct channel *c)
{
    uint64_t number = c->confirmed;
    emit_record(e, &(struct record){.kind = RECORD_SHARD,
                                    .shard = c->shard,
                                    .index = c->index,
                                    .number = number,
                                    .applied = c->applied});
    for (const struct parcel *p = c->first; p; p = p->next)
        emit_record(e, &(struct record){.kind = RECORD_PARCEL,
                                        .shard = c->shard,
                                        .number = ++number,
                                        .body = bytes_of(p->data, p->len)});
}

static void emit_gone(struct emitting *e, const struct ts *ts)
{
    if (!ts->gone.n)
        return;
    buf_clear(&e->body);
    put_gone(&e->body, ts);
    emit_record(e, &(struct record){.kind = RECORD_GONE, .body = buf_bytes(&e->body)});
}

static void put_cells(struct buf *b, const struct task *t)
{
    for (uint32_t i = 0; i < t->nslots; i++) {
        const struct cell *c = &task_cells(t)[i];
        if (!(task_bitmap(t)[i / 64] >> i % 64 & 1))
            continue;
        put_varint(b, i);
        put_value(b, cell_val(c).v);
        if (c->type == CX_ADDR)
            buf_add(b, c->as.block, ADDR_BYTES);
    }
}

static void put_fold(struct buf *b, const struct task *t)
{
    const struct fold *f = (const struct fold *)(const void *)t->payload;
    put_value(b, f->acc);
    for (uint32_t i = 0; i < t->nslots; i += 64)
        put_u64(b, f->set[i / 64]);
}

static void emit_task(void *ctx, struct entry *entry)
{
    struct emitting *e = ctx;
    const struct task *t = (const struct task *)entry;
    struct record r = {
        .kind = RECORD_TASK,
        .job = e->job->entry.id,
        .task = t->entry.id,
        .waiting = t->state == TASK_WAITING,
        .naddrs = t->state == TASK_WAITING ? 0 : t->open,
        .body = bytes_of(t->payload, t->payload_len),
        .spawn = {.id = t->entry.id,
                  .home = task_addr(t, 0),
                  .fn = t->fn,
                  .nslots = t->nslots,
                  .depth = t->depth,
                  .priority = t->priority,
                  .bound_kind = t->bound_kind,
                  .bound = t->bound},
    };
    if (r.waiting) {
        buf_clear(&e->body);
        (task_folds(t->fn) ? put_fold : put_cells)(&e->body, t);
        r.body = buf_bytes(&e->body);
    }
    emit_record(e, &r);
}

void ts_snapshot(const struct ts *ts, void (*emit)(void *ctx, struct bytes record), void *ctx)
{
    struct emitting e = {.emit = emit, .ctx = ctx};
    for (uint32_t i = 1; i < ts->channels; i++)
        emit_channel(&e, ts->channel[i]);
    emit_gone(&e, ts);
    for (uint32_t i = 0; i < ts->job_slots; i++) {
        e.job = ts->job[i];
        if (!e.job)
            continue;
        emit_job(&e, e.job);
        emit_away(&e, e.job);
        table_each(&e.job->tasks, emit_task, &e);
    }
    buf_free(&e.record);
    buf_free(&e.body);
}

/* ---- Reading: a job ---- */

bool restore_job_fits(struct ts *ts, const struct record *r)
{
    return !submit_check(&r->submit) && !job_find(ts, r->job) && r->state <= TS_JOB_CANCELLED;
}

void restore_job(struct ts *ts, const struct record *r)
{
    struct job *job = job_new(ts, &r->submit, r->content);
    job->submitted_us = r->now_us;
    job->commits = r->commits;
    job->busy_ns = r->elapsed_ns;
    job->executed = r->executed;
    job->has_min = r->has_min;
    job->has_max = r->has_max;
    job->bound_min = r->bound_min;
    job->bound_max = r->bound_max;
    if (r->state == TS_JOB_RUNNING)
        return;
    job_end(ts, job, r->state, r->body);
    job_clear(ts, job, r->ended_us);
}

/* ---- Reading: a task ---- */

static bool shard_known(const struct ts *ts, struct addr a)
{
    return a.shard == 0 || a.shard < ts->channels;
}

static bool payload_fits(const struct ts *ts, const struct record *r)
{
    struct reader in = reader_of(r->body);
    uint32_t naddrs = 0;
    struct bytes addrs = get_raw(&in, (size_t)r->naddrs * ADDR_BYTES);
    for (size_t at = 0; at < addrs.len; at += ADDR_BYTES)
        in.bad |= !shard_known(ts, addr_get(addrs.data + at));
    for (uint32_t i = 0; i < r->spawn.nslots && !in.bad; i++)
        naddrs += get_value(&in).type == CX_ADDR;
    return !in.bad && in.at == in.end && naddrs == r->naddrs;
}

static bool fold_fits(const struct record *r)
{
    struct reader in = reader_of(r->body);
    cx_value acc = get_value(&in), start = wk_start(r->spawn.fn);
    uint32_t open = r->spawn.nslots;
    for (uint32_t left = r->spawn.nslots; left && !in.bad; left -= left < 64 ? left : 64) {
        uint64_t word = get_u64(&in);
        if (left < 64 && word >> left)
            return false;
        open -= (uint32_t)__builtin_popcountll(word);
    }
    bool typed =
        acc.type == start.type || (start.type == CX_NONE && (acc.type == CX_I64 || acc.type == CX_F64));
    return !in.bad && in.at == in.end && typed && open > 0;
}

/* One slot of a waiting task. */
static bool get_cell(struct reader *in, uint32_t *slot, struct val *v)
{
    *slot = (uint32_t)get_varint_max(in, CX_SLOTS_MAX - 1);
    *v = (struct val){.v = get_value(in)};
    if (v->v.type == CX_ADDR) {
        struct bytes at = get_raw(in, ADDR_BYTES);
        if (at.data)
            v->at = addr_get(at.data);
    }
    return !in->bad;
}

static bool cells_fit(const struct ts *ts, const struct record *r)
{
    struct reader in = reader_of(r->body);
    int64_t last = -1;
    uint32_t slot, set = 0;
    struct val v;
    for (; reader_more(&in); last = slot, set++)
        if (!get_cell(&in, &slot, &v) || slot >= r->spawn.nslots || slot <= last || !shard_known(ts, v.at))
            return false;
    return set < r->spawn.nslots;
}

bool restore_task_fits(struct ts *ts, const struct record *r)
{
    struct job *job = job_find(ts, r->job);
    uint32_t fn = r->spawn.fn;
    if (!job || job->state != TS_JOB_RUNNING || task_find(job, r->task) || fn == 0 ||
        fn >= FN_FIRST + job->fns || !shard_known(ts, r->spawn.home))
        return false;
    if (!r->waiting)
        return !fn_is_well_known(fn) && r->body.len <= UINT32_MAX / 2 && payload_fits(ts, r);
    return task_folds(fn) ? fold_fits(r) : cells_fit(ts, r);
}

static void restore_waiting(struct ts *ts, struct task *t, struct reader in)
{
    struct val v;
    for (uint32_t slot; reader_more(&in) && get_cell(&in, &slot, &v);)
        slot_put(ts, t, slot, &v);
}

static void restore_fold(struct task *t, struct reader in)
{
    struct fold *f = (struct fold *)(void *)t->payload;
    f->acc = get_value(&in);
    for (uint32_t i = 0; i < t->nslots; i += 64) {
        f->set[i / 64] = get_u64(&in);
        t->open -= (uint32_t)__builtin_popcountll(f->set[i / 64]);
    }
}

void restore_task(struct ts *ts, const struct record *r)
{
    struct job *job = job_find(ts, r->job);
    if (!r->waiting) {
        struct task *t = task_full(ts, job, &r->spawn, r->body.len, r->naddrs);
        if (r->body.len)
            memcpy(t->payload, r->body.data, r->body.len);
        task_filled(ts, t);
        return;
    }
    struct task *t = task_waiting(ts, job, &r->spawn);
    if (task_folds(t->fn))
        restore_fold(t, reader_of(r->body));
    else
        restore_waiting(ts, t, reader_of(r->body));
}
