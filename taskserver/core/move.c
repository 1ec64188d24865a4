/* Work leaves for other shards: moved tasks, values, the end of jobs. */
#include "taskserver/core/core.h"

#define MOVE_BYTES_MAX (256u << 10) /* of one parcel's tasks, about */
#define MOVED_BYTES    17u /* of a task in a MOVED record: its id, and how many runners it has killed */

/* ---- Ties ---- */

static struct tie *tie_of(struct ts *ts, struct job *job, uint32_t shard)
{
    for (uint32_t i = 0; i < job->ties; i++)
        if (job->tie[i].shard == shard)
            return &job->tie[i];
    size_t size = job->ties * sizeof *job->tie;
    struct tie *more = mem_get(ts, job, size + sizeof *more);
    if (size)
        memcpy(more, job->tie, size);
    mem_put(ts, job, job->tie, size);
    more[job->ties] = (struct tie){.shard = shard};
    job->tie = more;
    return &job->tie[job->ties++];
}

static void tie_send(struct ts *ts, struct job *job, uint32_t shard, uint64_t n)
{
    tie_of(ts, job, shard)->away += n;
    job->away += n;
}

void move_answered(struct ts *ts, struct job *job, uint32_t shard, uint64_t n)
{
    struct tie *t = tie_of(ts, job, shard);
    if (n > t->away)
        n = t->away;
    t->away -= n;
    job->away -= n;
}

void move_free(struct ts *ts, struct job *job)
{
    mem_put(ts, job, job->tie, job->ties * sizeof *job->tie);
    job->tie = NULL;
    job->ties = 0;
}

uint64_t move_bytes(const struct job *job)
{
    return pool_round(job->ties * sizeof *job->tie);
}

void move_check(const struct ts *ts, const struct job *job)
{
    uint64_t away = 0;
    for (uint32_t i = 0; i < job->ties; i++) {
        must(job->tie[i].shard > 0 && job->tie[i].shard < ts->channels);
        away += job->tie[i].away;
    }
    must(away == job->away && job->due == 0);
    must(job->origin < (ts->channels ? ts->channels : 1) && (job->parent == 0) == (job->owed == 0));
    must(!job->parent || job->origin);
    /* A guest at rest has said so. */
    must(!job->parent || job->tasks.n > job->nwaiting || job->away);
    must(job->state == TS_JOB_RUNNING || (!job->parent && !job->away));
}

/* ---- Parcels ---- */

/* Whether what is sent may carry a guest's counts. They go with tasks and values: so whoever has a value has
 * also been told of the work that went into it, by whatever way it came, and a job that is done has counted
 * all of it. Anything else could be overtaken by a value, unless none is to come from here. */
static bool carries_counts(const struct job *job, uint32_t shard, enum parcel_kind kind)
{
    bool last = kind == PARCEL_FAILED || (job->tasks.n == 0 && job->away == 0);
    return job->origin && (kind <= PARCEL_SLOT || (shard == job->origin && last));
}

/* A parcel of this job for another shard, begun in ts->parcel. */
static struct buf *parcel_of(struct ts *ts, struct job *job, uint32_t shard, enum parcel_kind kind)
{
    struct parcel_head h = {.kind = kind, .job = job->entry.id, .born_us = job->submitted_us};
    if (carries_counts(job, shard, kind)) {
        h.executed = job->executed;
        h.busy_ns = job->busy_ns;
        h.commits = job->commits;
        job->executed = job->busy_ns = job->commits = 0;
    }
    buf_clear(&ts->parcel);
    put_parcel_head(&ts->parcel, &h);
    return &ts->parcel;
}

static void parcel_post(struct ts *ts, uint32_t shard)
{
    channel_post(ts, shard, buf_bytes(&ts->parcel));
}

void move_slot(struct ts *ts, struct job *job, struct addr to, const struct val *v)
{
    struct buf *b = parcel_of(ts, job, to.shard, PARCEL_SLOT);
    put_id(b, to.task);
    put_varint(b, to.slot);
    put_value(b, v->v);
    if (v->v.type == CX_ADDR) {
        put_id(b, channel_shard(ts, v->at.shard));
        put_id(b, v->at.task);
        put_varint(b, v->at.slot);
    }
    tie_send(ts, job, to.shard, 1);
    parcel_post(ts, to.shard);
}

void move_drained(struct ts *ts, struct job *job, uint32_t shard, uint64_t answers)
{
    put_varint(parcel_of(ts, job, shard, PARCEL_DRAINED), answers);
    parcel_post(ts, shard);
}

void move_settle(struct ts *ts, struct job *job)
{
    if (!job->parent || job->state != TS_JOB_RUNNING || job->tasks.n > job->nwaiting || job->away)
        return;
    uint32_t parent = job->parent;
    uint64_t owed = job->owed;
    job->parent = 0;
    job->owed = 0;
    move_drained(ts, job, parent, owed);
}

/* ---- The end ---- */

static void tell_over(struct ts *ts, struct job *job)
{
    for (uint32_t i = 0; i < job->ties; i++) {
        if (!job->tie[i].gave)
            continue;
        parcel_of(ts, job, job->tie[i].shard, PARCEL_GONE);
        parcel_post(ts, job->tie[i].shard);
    }
}

static void tell_failed(struct ts *ts, struct job *job)
{
    size_t len = job->answer_len < 2 * TS_REASON_MAX ? job->answer_len : 2 * TS_REASON_MAX;
    put_bytes(parcel_of(ts, job, job->origin, PARCEL_FAILED), bytes_of(job->answer, len));
    parcel_post(ts, job->origin);
}

/* A guest that failed waits for its home to say that it is over: only then is that passed on. */
void move_ended(struct ts *ts, struct job *job)
{
    if (!job->origin)
        tell_over(ts, job);
    else if (job->state == TS_JOB_FAILED)
        tell_failed(ts, job);
    for (uint32_t i = 0; i < job->ties; i++)
        job->tie[i].away = 0;
    job->away = job->owed = job->due = 0;
    job->parent = 0;
}

static void gone_add(struct ts *ts, struct id job, uint64_t born_us)
{
    if (!ts->gone.at)
        ts->gone.at = calloc(GONE_MAX, sizeof *ts->gone.at);
    if (!ts->gone.at)
        abort();
    ts->gone.at[ts->gone.n++ % GONE_MAX] = (struct gone){job, born_us};
}

void move_gone(struct ts *ts, struct job *job)
{
    must(job->origin);
    tell_over(ts, job);
    gone_add(ts, job->entry.id, job->submitted_us);
    if (job->state == TS_JOB_RUNNING) {
        job_end(ts, job, TS_JOB_CANCELLED, bytes_of(NULL, 0));
        job_clear(ts, job, ts->now_us);
    }
    job_free(ts, job);
}

/* ---- Tasks leave ---- */

/* The shards that a parcel's addresses name, in the order they appear. */
struct shard_table {
    uint32_t place[SHARDS_MAX]; /* by shard: its place in the table, plus 1 */
    uint32_t shard[SHARDS_MAX];
    uint32_t n;
};

static void put_addr(struct buf *b, struct shard_table *s, struct addr a)
{
    if (!s->place[a.shard]) {
        s->shard[s->n++] = a.shard;
        s->place[a.shard] = s->n;
    }
    put_far_addr(b, &(struct far_addr){a.task, a.slot, s->place[a.shard] - 1});
}

static void put_moved(struct buf *b, struct shard_table *s, const struct task *t, uint8_t crashes)
{
    put_id(b, t->entry.id);
    put_varint(b, t->fn);
    put_varint(b, t->depth);
    put_zigzag(b, t->priority);
    put_u8(b, crashes);
    put_u8(b, t->bound_kind);
    put_zigzag(b, t->bound);
    put_addr(b, s, task_addr(t, 0));
    put_varint(b, t->nslots);
    put_varint(b, t->open);
    for (uint32_t i = 1; i <= t->open; i++)
        put_addr(b, s, task_addr(t, i));
    put_bytes(b, task_values(t));
}

static void put_card(struct buf *b, const struct ts *ts, const struct job *job)
{
    struct ts_submit card = job_card(job);
    put_id(b, channel_shard(ts, job->origin));
    put_u64(b, job->content);
    submission_put(b, &card);
    put_flag_i64(b, job->has_min, job->bound_min);
    put_flag_i64(b, job->has_max, job->bound_max);
}

static void put_shards(struct buf *b, const struct ts *ts, const struct shard_table *s)
{
    put_varint(b, s->n);
    for (uint32_t i = 0; i < s->n; i++)
        put_id(b, channel_shard(ts, s->shard[i]));
}

/* The tasks leave the table and are in the channel from here
 * on: there is never a second copy. */
void apply_moved(struct ts *ts, const struct record *r)
{
    struct job *job = job_find(ts, r->job);
    uint32_t shard = channel_intern(ts, r->shard), n = (uint32_t)(r->body.len / MOVED_BYTES);
    struct shard_table *s = calloc(1, sizeof *s);
    struct buf tasks = {0};
    if (!s)
        abort();
    for (struct reader in = reader_of(r->body); reader_more(&in);) {
        struct task *t = task_find(job, get_id(&in));
        put_moved(&tasks, s, t, get_u8(&in));
        task_remove(ts, t);
    }
    struct buf *b = parcel_of(ts, job, shard, PARCEL_MOVE);
    put_card(b, ts, job);
    put_shards(b, ts, s);
    put_varint(b, n);
    buf_add(b, tasks.data, tasks.len);
    tie_send(ts, job, shard, n);
    tie_of(ts, job, shard)->gave = true;
    ts->channel[shard]->given += n;
    parcel_post(ts, shard);
    buf_free(&tasks);
    free(s);
}

static int moved_order(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct id));
}

/* Each task once. */
static bool moved_unique(struct bytes moved)
{
    size_t n = moved.len / MOVED_BYTES;
    uint8_t *sorted = malloc(moved.len);
    bool unique = true;
    if (!sorted)
        abort();
    memcpy(sorted, moved.data, moved.len);
    qsort(sorted, n, MOVED_BYTES, moved_order);
    for (size_t i = 1; i < n; i++)
        unique &= moved_order(sorted + (i - 1) * MOVED_BYTES, sorted + i * MOVED_BYTES) != 0;
    free(sorted);
    return unique;
}

bool moved_fits(struct ts *ts, const struct record *r)
{
    struct job *job = job_find(ts, r->job);
    if (!job || job->state != TS_JOB_RUNNING || r->body.len == 0 || r->body.len % MOVED_BYTES ||
        channel_find(ts, r->shard) == 0 || !channel_room(ts, 1) || !moved_unique(r->body))
        return false;
    for (struct reader in = reader_of(r->body); reader_more(&in); get_u8(&in)) {
        const struct task *t = task_find(job, get_id(&in));
        if (!t || t->state == TASK_WAITING)
            return false;
    }
    return true;
}

/* The tasks that go, as the body of a MOVED record, in the order of the queue: the most urgent and shallowest
 * first. One goes, however long it is. */
static uint32_t choose_moved(const struct job *job, uint32_t most, struct buf *body)
{
    uint32_t n = 0;
    size_t bytes = 0;
    for (const struct knot *k = job->ready.first; k && n < most; k = tree_after(&job->ready, k->hi, k->lo))
        for (const struct task *t = list_item(k, const struct bucket, knot)->tasks.head; t && n < most;
             t = t->next) {
            size_t len = t->payload_len + sizeof *t;
            if (n && bytes + len > MOVE_BYTES_MAX)
                continue;
            put_id(body, t->entry.id);
            put_u8(body, t->crashes);
            bytes += len;
            n++;
        }
    return n;
}

uint32_t move_tasks(struct ts *ts, struct job *job, struct id shard, uint32_t most)
{
    struct buf body = {0};
    uint32_t n = choose_moved(job, most, &body);
    struct record r = {.kind = RECORD_MOVED,
                       .now_us = ts->now_us,
                       .job = job->entry.id,
                       .shard = shard,
                       .body = buf_bytes(&body)};
    if (n)
        log_apply(ts, &r);
    buf_free(&body);
    return n;
}

/* ---- Snapshots ---- */

void put_away(struct buf *b, const struct job *job)
{
    put_varint(b, job->origin);
    put_varint(b, job->parent);
    put_varint(b, job->owed);
    put_varint(b, job->ties);
    for (uint32_t i = 0; i < job->ties; i++) {
        put_varint(b, job->tie[i].shard);
        put_u8(b, job->tie[i].gave);
        put_varint(b, job->tie[i].away);
    }
}

struct away {
    uint32_t origin, parent, ties;
    uint64_t owed;
};

static bool away_get(struct reader *r, const struct ts *ts, struct away *a)
{
    uint64_t most = ts->channels ? ts->channels - 1 : 0;
    a->origin = (uint32_t)get_varint_max(r, most);
    a->parent = (uint32_t)get_varint_max(r, most);
    a->owed = get_varint(r);
    a->ties = (uint32_t)get_varint_max(r, most);
    return !r->bad;
}

static bool tie_get(struct reader *r, const struct ts *ts, struct tie *t)
{
    t->shard = (uint32_t)get_varint_max(r, ts->channels ? ts->channels - 1 : 0);
    t->gave = get_u8(r);
    t->away = get_varint(r);
    return !r->bad;
}

bool restore_away_fits(struct ts *ts, const struct record *r)
{
    struct job *job = job_find(ts, r->job);
    struct reader in = reader_of(r->body);
    struct away a;
    struct tie t;
    uint64_t away = 0;
    if (!job || job->origin || job->ties || !away_get(&in, ts, &a))
        return false;
    for (uint32_t i = 0; i < a.ties; i++) {
        if (!tie_get(&in, ts, &t) || t.shard == 0 || t.away > UINT64_MAX - away)
            return false;
        away += t.away;
    }
    bool idle = job->state != TS_JOB_RUNNING && (a.parent || away);
    return in.at == in.end && (a.parent == 0) == (a.owed == 0) && (!a.parent || a.origin) && !idle;
}

void restore_away(struct ts *ts, const struct record *r)
{
    struct job *job = job_find(ts, r->job);
    struct reader in = reader_of(r->body);
    struct away a;
    struct tie t;
    must(away_get(&in, ts, &a));
    job->origin = a.origin;
    job->parent = a.parent;
    job->owed = a.owed;
    for (uint32_t i = 0; i < a.ties && tie_get(&in, ts, &t); i++) {
        tie_send(ts, job, t.shard, t.away);
        tie_of(ts, job, t.shard)->gave |= t.gave;
    }
}

void put_gone(struct buf *b, const struct ts *ts)
{
    uint64_t first = ts->gone.n > GONE_MAX ? ts->gone.n - GONE_MAX : 0;
    for (uint64_t i = first; i < ts->gone.n; i++) {
        put_id(b, ts->gone.at[i % GONE_MAX].job);
        put_u64(b, ts->gone.at[i % GONE_MAX].born_us);
    }
}

bool restore_gone_fits(struct ts *ts, const struct record *r)
{
    return ts->gone.n == 0 && r->body.len % (sizeof(struct id) + 8) == 0 &&
           r->body.len / (sizeof(struct id) + 8) <= GONE_MAX;
}

void restore_gone(struct ts *ts, const struct record *r)
{
    for (struct reader in = reader_of(r->body); reader_more(&in);) {
        struct id job = get_id(&in);
        gone_add(ts, job, get_u64(&in));
    }
}
