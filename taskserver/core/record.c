/* Log records as bytes. docs/PROTOCOL.md has the grammar; the log, a replica and a snapshot share it. */
#include "taskserver/core/core.h"

void put_flag_i64(struct buf *b, bool has, int64_t v)
{
    put_u8(b, has);
    if (has)
        put_zigzag(b, v);
}

bool get_flag_i64(struct reader *r, int64_t *v)
{
    bool has = get_u8(r);
    *v = has ? get_zigzag(r) : 0;
    return has;
}

/* ---- Submissions ---- */

void submission_put(struct buf *b, const struct ts_submit *s)
{
    put_varint(b, s->modules);
    for (uint32_t i = 0; i < s->modules; i++) {
        put_bytes(b, bytes_str(s->module[i].arch));
        buf_add(b, s->module[i].sha256, SHA256_BYTES);
    }
    put_u8(b, s->has_input);
    if (s->has_input)
        buf_add(b, s->input, SHA256_BYTES);
    put_bytes(b, s->functions);
    put_varint(b, s->fn);
    put_varint(b, s->nargs);
    put_bytes(b, s->args);
    put_zigzag(b, s->priority);
    put_varint(b, s->weight);
    put_bytes(b, s->label);
    put_bytes(b, s->owner);
}

static void raw_get(struct reader *r, void *to, size_t len)
{
    struct bytes b = get_raw(r, len);
    if (b.data)
        memcpy(to, b.data, len);
}

void submission_get(struct reader *r, struct id job, struct ts_submit *s)
{
    *s = (struct ts_submit){.job = job, .modules = (uint32_t)get_varint_max(r, TS_MODULES_MAX)};
    for (uint32_t i = 0; i < s->modules; i++) {
        struct bytes arch = get_bytes(r, sizeof s->module[i].arch - 1);
        if (arch.len)
            memcpy(s->module[i].arch, arch.data, arch.len);
        raw_get(r, s->module[i].sha256, SHA256_BYTES);
    }
    s->has_input = get_u8(r);
    if (s->has_input)
        raw_get(r, s->input, SHA256_BYTES);
    s->functions = get_bytes(r, TS_FUNCTIONS_MAX);
    s->fn = (uint32_t)get_varint_max(r, FN_MAX);
    s->nargs = (uint32_t)get_varint_max(r, CX_ARGS_MAX);
    s->args = get_bytes(r, TASK_BYTES_MAX);
    s->priority = (int32_t)get_zigzag(r);
    s->weight = (uint32_t)get_varint_max(r, UINT32_MAX);
    s->label = get_bytes(r, TS_LABEL_MAX);
    s->owner = get_bytes(r, TS_LABEL_MAX);
}

/* Where a submission's hashes are, in the order in which submission_get reads it. */
size_t submission_blobs(struct reader *r, const uint8_t *sha256[], size_t max)
{
    size_t n = 0;
    uint32_t modules = (uint32_t)get_varint_max(r, TS_MODULES_MAX);
    for (uint32_t i = 0; i < modules; i++) {
        get_bytes(r, SIZE_MAX);
        const uint8_t *module = reader_take(r, SHA256_BYTES);
        if (module && n < max)
            sha256[n++] = module;
    }
    const uint8_t *input = get_u8(r) ? reader_take(r, SHA256_BYTES) : NULL;
    if (input && n < max)
        sha256[n++] = input;
    return n;
}

/* ---- One pair of functions a kind; kind, time and job are done ---- */

/* The rest of the record is its body. */
static void rest_put(struct buf *b, const struct record *r)
{
    buf_add(b, r->body.data, r->body.len);
}
static void rest_get(struct reader *in, struct record *r)
{
    r->body = get_raw(in, (size_t)(in->end - in->at));
}

static void submitted_put(struct buf *b, const struct record *r)
{
    submission_put(b, &r->submit);
}
static void submitted_get(struct reader *in, struct record *r)
{
    submission_get(in, r->job, &r->submit);
}

static void ended_put(struct buf *b, const struct record *r)
{
    put_u8(b, (uint8_t)r->state);
    put_bytes(b, r->body);
}
static void ended_get(struct reader *in, struct record *r)
{
    r->state = get_u8(in);
    r->body = get_bytes(in, COMMIT_BYTES_MAX);
}

static void forgotten_put(struct buf *b, const struct record *r)
{
    (void)b;
    (void)r;
}
static void forgotten_get(struct reader *in, struct record *r)
{
    (void)in;
    (void)r;
}

static void job_put(struct buf *b, const struct record *r)
{
    submission_put(b, &r->submit);
    put_u64(b, r->content);
    ended_put(b, r);
    put_varint(b, r->ended_us);
    put_varint(b, r->commits);
    put_varint(b, r->elapsed_ns);
    put_varint(b, r->executed);
    put_flag_i64(b, r->has_min, r->bound_min);
    put_flag_i64(b, r->has_max, r->bound_max);
}
static void job_get(struct reader *in, struct record *r)
{
    submission_get(in, r->job, &r->submit);
    r->content = get_u64(in);
    ended_get(in, r);
    r->ended_us = get_varint(in);
    r->commits = get_varint(in);
    r->elapsed_ns = get_varint(in);
    r->executed = get_varint(in);
    r->has_min = get_flag_i64(in, &r->bound_min);
    r->has_max = get_flag_i64(in, &r->bound_max);
}

static void task_put(struct buf *b, const struct record *r)
{
    put_id(b, r->task);
    put_varint(b, r->spawn.fn);
    put_id(b, r->spawn.home.task);
    put_varint(b, addr_word(r->spawn.home));
    put_varint(b, r->spawn.nslots);
    put_varint(b, r->spawn.depth);
    put_zigzag(b, r->spawn.priority);
    put_u8(b, r->spawn.bound_kind);
    put_zigzag(b, r->spawn.bound);
    put_u8(b, r->waiting);
    put_varint(b, r->naddrs);
    put_varint(b, r->body.len);
    buf_add(b, r->body.data, r->body.len);
}
static void task_get(struct reader *in, struct record *r)
{
    r->task = r->spawn.id = get_id(in);
    r->spawn.fn = (uint32_t)get_varint_max(in, FN_MAX);
    struct id home = get_id(in);
    r->spawn.home = addr_of(home, (uint32_t)get_varint_max(in, UINT32_MAX));
    r->spawn.nslots = (uint32_t)get_varint_max(in, CX_SLOTS_MAX);
    r->spawn.depth = (uint32_t)get_varint_max(in, UINT32_MAX);
    r->spawn.priority = (int32_t)get_zigzag(in);
    r->spawn.bound_kind = get_u8(in) & 3;
    r->spawn.bound = get_zigzag(in);
    r->waiting = get_u8(in);
    r->naddrs = (uint32_t)get_varint_max(in, CX_SLOTS_MAX);
    r->body = get_bytes(in, SIZE_MAX);
}

/* ---- Records of other shards ---- */

static void moved_put(struct buf *b, const struct record *r)
{
    put_id(b, r->shard);
    rest_put(b, r);
}
static void moved_get(struct reader *in, struct record *r)
{
    r->shard = get_id(in);
    rest_get(in, r);
}

static void numbered_put(struct buf *b, const struct record *r)
{
    put_id(b, r->shard);
    put_varint(b, r->number);
    rest_put(b, r);
}
static void numbered_get(struct reader *in, struct record *r)
{
    r->shard = get_id(in);
    r->number = get_varint(in);
    rest_get(in, r);
}

static void bound_put(struct buf *b, const struct record *r)
{
    put_u8(b, (uint8_t)r->bound_kind);
    put_zigzag(b, r->bound);
}
static void bound_get(struct reader *in, struct record *r)
{
    r->bound_kind = get_u8(in);
    r->bound = get_zigzag(in);
    in->bad |= r->bound_kind != CX_BOUND_MIN && r->bound_kind != CX_BOUND_MAX;
}

static void shard_put(struct buf *b, const struct record *r)
{
    put_id(b, r->shard);
    put_varint(b, r->index);
    put_varint(b, r->number);
    put_varint(b, r->applied);
}
static void shard_get(struct reader *in, struct record *r)
{
    r->shard = get_id(in);
    r->index = (uint32_t)get_varint_max(in, SHARDS_MAX);
    r->number = get_varint(in);
    r->applied = get_varint(in);
}

static const struct {
    void (*put)(struct buf *b, const struct record *r);
    void (*get)(struct reader *in, struct record *r);
} codec[] = {
    [RECORD_SUBMITTED] = {submitted_put, submitted_get},
    [RECORD_COMMIT] = {rest_put, rest_get},
    [RECORD_ENDED] = {ended_put, ended_get},
    [RECORD_FORGOTTEN] = {forgotten_put, forgotten_get},
    [RECORD_JOB] = {job_put, job_get},
    [RECORD_TASK] = {task_put, task_get},
    [RECORD_MOVED] = {moved_put, moved_get},
    [RECORD_RECEIVED] = {numbered_put, numbered_get},
    [RECORD_CONFIRMED] = {numbered_put, numbered_get},
    [RECORD_BOUND] = {bound_put, bound_get},
    [RECORD_SHARD] = {shard_put, shard_get},
    [RECORD_PARCEL] = {numbered_put, numbered_get},
    [RECORD_AWAY] = {rest_put, rest_get},
    [RECORD_GONE] = {rest_put, rest_get},
};

void done_put(struct buf *b, const struct done *d)
{
    put_id(b, d->task);
    put_varint(b, d->elapsed_ns);
    put_varint(b, d->executed);
    put_bytes(b, d->body);
}

bool done_get(struct reader *r, struct done *d)
{
    d->task = get_id(r);
    d->elapsed_ns = get_varint(r);
    d->executed = get_varint(r);
    d->body = get_bytes(r, COMMIT_BYTES_MAX);
    return !r->bad;
}

void record_put(struct buf *b, const struct record *r)
{
    put_u8(b, (uint8_t)r->kind);
    put_varint(b, r->now_us);
    put_id(b, r->job);
    codec[r->kind].put(b, r);
}

bool record_get(struct bytes b, struct record *r)
{
    struct reader in = reader_of(b);
    *r = (struct record){.kind = get_u8(&in)};
    r->now_us = get_varint(&in);
    r->job = get_id(&in);
    if (in.bad || r->kind < RECORD_SUBMITTED || r->kind > RECORD_MAX)
        return false;
    codec[r->kind].get(&in, r);
    return !in.bad && in.at == in.end;
}

size_t ts_record_blobs(struct bytes record, const uint8_t *sha256[], size_t max)
{
    struct record r;
    if (!record_get(record, &r))
        return 0;
    if (r.kind == RECORD_RECEIVED)
        return parcels_blobs(r.body, sha256, max);
    if (r.kind != RECORD_SUBMITTED && (r.kind != RECORD_JOB || r.state != TS_JOB_RUNNING))
        return 0;
    struct reader in = reader_of(record);
    get_u8(&in);
    get_varint(&in);
    get_id(&in);
    return submission_blobs(&in, sha256, max);
}
