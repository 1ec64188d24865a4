/* Work comes from other shards: what each kind of parcel does here. */
#include "taskserver/core/core.h"

struct arriving {
    struct ts *ts;
    struct channel *from;
    const struct parcel_view *v;
};

/* The job that is meant, if it is here and runs. */
static struct job *running_job(const struct arriving *a)
{
    struct job *job = job_find(a->ts, a->v->head.job);
    return job && job->state == TS_JOB_RUNNING && job->submitted_us == a->v->head.born_us ? job : NULL;
}

static void count(struct job *job, const struct parcel_head *h)
{
    job->executed += h->executed;
    job->busy_ns += h->busy_ns;
    job->commits += h->commits;
}

/* Tasks or a value came, which are to be answered: at once by the home and by those who are engaged. */
static void engage(struct job *job, uint32_t from, uint64_t n)
{
    if (job->origin && (!job->parent || job->parent == from)) {
        job->parent = from;
        job->owed += n;
    } else {
        job->due += n;
    }
}

/* ---- MOVE ---- */

static void answer_gone(const struct arriving *a)
{
    struct parcel_head h = {.kind = PARCEL_GONE, .job = a->v->head.job, .born_us = a->v->head.born_us};
    buf_clear(&a->ts->parcel);
    put_parcel_head(&a->ts->parcel, &h);
    channel_post(a->ts, a->from->index, buf_bytes(&a->ts->parcel));
}

static bool was_here(const struct ts *ts, struct id job, uint64_t born_us)
{
    uint64_t n = ts->gone.n < GONE_MAX ? ts->gone.n : GONE_MAX;
    for (uint64_t i = 0; i < n; i++)
        if (id_equal(ts->gone.at[i].job, job) && ts->gone.at[i].born_us == born_us)
            return true;
    return false;
}

static struct job *guest_new(const struct arriving *a, uint32_t origin)
{
    struct ts *ts = a->ts;
    struct job *job = job_new(ts, &a->v->card, a->v->content);
    job->submitted_us = a->v->head.born_us;
    job->submit_lsn = ts->lsn;
    job->origin = origin;
    fx_job(ts, TS_FX_GUEST, 0, job)->shard = a->from->shard;
    return job;
}

/* Whose tasks these are; NULL when they are not wanted. */
static struct job *move_job(const struct arriving *a, uint32_t origin)
{
    struct ts *ts = a->ts;
    struct job *job = job_find(ts, a->v->head.job);
    uint64_t born_us = a->v->head.born_us;
    if (job && job->origin && origin && job->submitted_us < born_us) {
        move_gone(ts, job); /* a job of an earlier life */
        job = NULL;
    }
    if (!job && origin && !was_here(ts, a->v->head.job, born_us))
        return guest_new(a, origin);
    /* A guest that failed here has told its home so, and waits to hear that the job is over. */
    bool same = job && job->submitted_us == born_us && job->origin == origin;
    if (same && (job->state == TS_JOB_RUNNING || job->origin))
        return job;
    answer_gone(a);
    return NULL;
}

/* Numbers of the shards in a parcel's table. */
static uint32_t *table_numbers(struct ts *ts, const struct parcel_view *v)
{
    uint32_t *number = malloc((v->nshards + 1) * sizeof *number);
    if (!number)
        abort();
    for (uint32_t i = 0; i < v->nshards; i++)
        number[i] = channel_intern(ts, parcel_shard(v, i));
    return number;
}

static struct addr near_addr(const struct far_addr *a, const uint32_t *number)
{
    return (struct addr){a->task, a->slot, number[a->shard]};
}

static void task_arrives(struct ts *ts, struct job *job, struct parcel_task *in, const uint32_t *number)
{
    struct spawn s = {.id = in->id,
                      .home = near_addr(&in->home, number),
                      .fn = in->fn,
                      .nslots = in->nslots,
                      .depth = in->depth,
                      .priority = in->priority,
                      .bound_kind = in->bound_kind,
                      .bound = in->bound};
    if (task_find(job, in->id))
        return;
    size_t addrs = (size_t)in->naddrs * ADDR_BYTES;
    struct task *t = task_full(ts, job, &s, addrs + in->values.len, in->naddrs);
    for (uint32_t i = 0; i < in->naddrs; i++) {
        struct far_addr a;
        far_addr_get(&in->addrs, &a);
        addr_put(t->payload + (size_t)i * ADDR_BYTES, near_addr(&a, number));
    }
    if (in->values.len)
        memcpy(t->payload + addrs, in->values.data, in->values.len);
    t->crashes = in->crashes;
    task_filled(ts, t);
}

static void on_move(const struct arriving *a)
{
    struct ts *ts = a->ts;
    const struct parcel_view *v = a->v;
    uint32_t origin = channel_intern(ts, v->origin), *number = table_numbers(ts, v);
    struct job *job = move_job(a, origin);
    struct reader r = reader_of(v->tasks);
    struct parcel_task t;
    if (job && job->state == TS_JOB_RUNNING) {
        count(job, &v->head);
        if (v->has_min)
            bound_improve(job, CX_BOUND_MIN, v->bound_min);
        if (v->has_max)
            bound_improve(job, CX_BOUND_MAX, v->bound_max);
        engage(job, a->from->index, v->ntasks);
        while (parcel_task_get(&r, v, &t))
            task_arrives(ts, job, &t, number);
        a->from->taken += v->ntasks;
        job->came_from = a->from->index;
        job->came_us = ts->now_us;
    }
    free(number);
}

/* ---- The others ---- */

static void on_slot(const struct arriving *a)
{
    struct ts *ts = a->ts;
    struct job *job = running_job(a);
    const struct parcel_view *v = a->v;
    uint32_t at_shard = v->value.type == CX_ADDR ? channel_intern(ts, v->at_shard) : 0;
    if (!job)
        return;
    count(job, &v->head);
    engage(job, a->from->index, 1);
    if (id_is_zero(v->task) && job->origin)
        return; /* a result is its home's */
    struct val value = {v->value, {v->at.task, v->at.slot, at_shard}};
    slot_set(ts, job, (struct addr){.task = v->task, .slot = v->slot}, &value);
    fire_all(ts, job);
    if (job->state != TS_JOB_RUNNING)
        job_clear(ts, job, ts->applied_us);
}

static void on_drained(const struct arriving *a)
{
    struct job *job = running_job(a);
    if (!job)
        return;
    count(job, &a->v->head);
    move_answered(a->ts, job, a->from->index, a->v->answers);
}

static void fail(struct ts *ts, struct job *job, struct bytes reason)
{
    job_end(ts, job, TS_JOB_FAILED, reason);
    job_clear(ts, job, ts->applied_us);
}

static void on_failed(const struct arriving *a)
{
    struct job *job = running_job(a);
    if (!job || job->origin)
        return;
    count(job, &a->v->head);
    buf_clear(&a->ts->joined);
    text_safe(&a->ts->joined, a->v->reason);
    fail(a->ts, job, buf_bytes(&a->ts->joined));
}

/* A home that is told so has been forgotten by a shard that lost its state. */
static void on_gone(const struct arriving *a)
{
    struct job *job = job_find(a->ts, a->v->head.job);
    if (!job || job->submitted_us != a->v->head.born_us)
        return;
    if (job->origin)
        move_gone(a->ts, job);
    else if (job->state == TS_JOB_RUNNING)
        fail(a->ts, job, bytes_str("another shard holds the job to be over: it has lost its part of it"));
}

/* ---- RECEIVED ---- */

static void parcel_arrives(struct ts *ts, struct channel *from, const struct parcel_view *v)
{
    static void (*const on[])(const struct arriving *) = {
        [PARCEL_MOVE] = on_move,     [PARCEL_SLOT] = on_slot, [PARCEL_DRAINED] = on_drained,
        [PARCEL_FAILED] = on_failed, [PARCEL_GONE] = on_gone,
    };
    on[v->head.kind](&(struct arriving){ts, from, v});
}

/* One parcel of a batch, of which parcels_check has seen that it is sound. */
static bool next_parcel(struct reader *r, struct parcel_view *v)
{
    if (!reader_more(r))
        return false;
    must(parcel_get(get_bytes(r, SIZE_MAX), v));
    return true;
}

void apply_received(struct ts *ts, const struct record *r)
{
    uint32_t index = channel_intern(ts, r->shard);
    struct channel *from = ts->channel[index];
    struct parcel_view v;
    uint64_t number = from->applied;
    ts->applied_us = r->now_us;
    for (struct reader in = reader_of(r->body); next_parcel(&in, &v); number++)
        parcel_arrives(ts, from, &v);
    for (struct reader in = reader_of(r->body); next_parcel(&in, &v);) {
        struct job *job = job_find(ts, v.head.job);
        if (!job)
            continue;
        uint64_t due = job->due;
        job->due = 0;
        if (due)
            move_drained(ts, job, from->index, due);
        move_settle(ts, job);
    }
    channel_applied(ts, from, number);
}

bool parcels_check(const struct ts *ts, struct bytes parcels, uint64_t *n)
{
    struct reader in = reader_of(parcels);
    struct parcel_view v;
    uint64_t shards = 1;
    for (*n = 0; reader_more(&in); ++*n) {
        struct bytes one = get_bytes(&in, SIZE_MAX);
        if (in.bad || !parcel_get(one, &v))
            return false;
        shards += v.nshards + 1;
    }
    return !in.bad && channel_room(ts, shards);
}

bool received_fits(struct ts *ts, const struct record *r)
{
    uint64_t n;
    uint32_t index = channel_find(ts, r->shard);
    uint64_t applied = index && index < SHARDS_MAX ? ts->channel[index]->applied : 0;
    return index != 0 && r->number == applied + 1 && parcels_check(ts, r->body, &n) && n > 0;
}

void move_received(struct ts *ts, struct bytes parcels)
{
    struct parcel_view v;
    for (struct reader in = reader_of(parcels); next_parcel(&in, &v);) {
        struct job *job = job_find(ts, v.head.job);
        if (!job || job->state != TS_JOB_RUNNING)
            continue;
        bounds_tell(ts, job);
        job_changed(ts, job);
        job_check_stuck(ts, job);
    }
}
