/* Parcels between shards, as bytes. Other servers are known to us, but their faults must not become ours: all
 * is checked before anything is used. */
#include "taskserver/core/core.h"

void put_parcel_head(struct buf *b, const struct parcel_head *h)
{
    put_u8(b, (uint8_t)h->kind);
    put_id(b, h->job);
    put_varint(b, h->born_us);
    put_varint(b, h->executed);
    put_varint(b, h->busy_ns);
    put_varint(b, h->commits);
}

enum haste parcel_haste(struct bytes parcel)
{
    uint8_t kind = parcel.len ? parcel.data[0] : 0;
    return kind == PARCEL_DRAINED ? HASTE_ANSWER : kind == PARCEL_SLOT ? HASTE_VALUE : HASTE_NOW;
}

static void head_get(struct reader *r, struct parcel_head *h)
{
    h->kind = get_u8(r);
    h->job = get_id(r);
    h->born_us = get_varint(r);
    h->executed = get_varint(r);
    h->busy_ns = get_varint(r);
    h->commits = get_varint(r);
    r->bad |= id_is_zero(h->job);
}

void put_far_addr(struct buf *b, const struct far_addr *a)
{
    put_id(b, a->task);
    put_varint(b, a->slot);
    put_varint(b, a->shard);
}

bool far_addr_get(struct reader *r, struct far_addr *a)
{
    a->task = get_id(r);
    a->slot = (uint32_t)get_varint_max(r, CX_SLOTS_MAX - 1);
    a->shard = (uint32_t)get_varint_max(r, SHARDS_MAX - 1);
    return !r->bad;
}

struct id parcel_shard(const struct parcel_view *v, uint32_t place)
{
    struct reader r =
        reader_of(bytes_of(v->shards.data + (size_t)place * sizeof(struct id), sizeof(struct id)));
    must(place < v->nshards);
    return get_id(&r);
}

/* ---- MOVE ---- */

static bool values_fit(const struct parcel_task *t)
{
    struct reader r = reader_of(t->values);
    uint32_t naddrs = 0;
    for (uint32_t i = 0; i < t->nslots && !r.bad; i++)
        naddrs += get_value(&r).type == CX_ADDR;
    return !r.bad && r.at == r.end && naddrs == t->naddrs;
}

bool parcel_task_get(struct reader *r, const struct parcel_view *v, struct parcel_task *t)
{
    struct far_addr a;
    if (!reader_more(r))
        return false;
    t->id = get_id(r);
    t->fn = (uint32_t)get_varint_max(r, FN_FIRST + functions_count(v->card.functions) - 1);
    t->depth = (uint32_t)get_varint_max(r, UINT32_MAX);
    t->priority = (int32_t)get_zigzag(r);
    t->crashes = get_u8(r);
    t->bound_kind = (uint8_t)get_varint_max(r, CX_BOUND_MAX);
    t->bound = get_zigzag(r);
    far_addr_get(r, &t->home);
    r->bad |= t->home.shard >= v->nshards;
    t->nslots = (uint32_t)get_varint_max(r, CX_SLOTS_MAX);
    t->naddrs = (uint32_t)get_varint_max(r, t->nslots);
    t->addrs = *r;
    for (uint32_t i = 0; i < t->naddrs && !r->bad; i++)
        r->bad |= !far_addr_get(r, &a) || a.shard >= v->nshards;
    t->values = get_bytes(r, TASK_BYTES_MAX);
    r->bad |= fn_is_well_known(t->fn) || t->fn == 0 || id_is_zero(t->id);
    r->bad |= !r->bad && !values_fit(t);
    return !r->bad;
}

static void move_get(struct reader *r, struct parcel_view *v)
{
    struct parcel_task t;
    v->origin = get_id(r);
    v->content = get_u64(r);
    submission_get(r, v->head.job, &v->card);
    v->has_min = get_flag_i64(r, &v->bound_min);
    v->has_max = get_flag_i64(r, &v->bound_max);
    v->nshards = (uint32_t)get_varint_max(r, SHARDS_MAX);
    v->shards = get_raw(r, (size_t)v->nshards * sizeof(struct id));
    v->ntasks = (uint32_t)get_varint_max(r, UINT32_MAX);
    v->tasks = get_raw(r, (size_t)(r->end - r->at));
    r->bad |= id_is_zero(v->origin) || v->card.nargs || v->card.args.len || submit_check(&v->card);
    if (r->bad)
        return;
    struct reader tasks = reader_of(v->tasks);
    uint32_t n = 0;
    while (parcel_task_get(&tasks, v, &t))
        n++;
    r->bad |= tasks.bad || tasks.at != tasks.end || n != v->ntasks || n == 0;
}

/* ---- The others ---- */

static void slot_get(struct reader *r, struct parcel_view *v)
{
    v->task = get_id(r);
    v->slot = (uint32_t)get_varint_max(r, CX_SLOTS_MAX - 1);
    v->value = get_value(r);
    if (v->value.type != CX_ADDR)
        return;
    v->at_shard = get_id(r);
    v->at.task = get_id(r);
    v->at.slot = (uint32_t)get_varint_max(r, CX_SLOTS_MAX - 1);
}

static void drained_get(struct reader *r, struct parcel_view *v)
{
    v->answers = get_varint(r);
}

static void failed_get(struct reader *r, struct parcel_view *v)
{
    v->reason = get_bytes(r, 2 * TS_REASON_MAX);
}

static void gone_get(struct reader *r, struct parcel_view *v)
{
    (void)r;
    (void)v;
}

bool parcel_get(struct bytes parcel, struct parcel_view *v)
{
    static void (*const get[])(struct reader *, struct parcel_view *) = {
        [PARCEL_MOVE] = move_get,     [PARCEL_SLOT] = slot_get, [PARCEL_DRAINED] = drained_get,
        [PARCEL_FAILED] = failed_get, [PARCEL_GONE] = gone_get,
    };
    struct reader r = reader_of(parcel);
    *v = (struct parcel_view){0};
    head_get(&r, &v->head);
    if (r.bad || v->head.kind < PARCEL_MOVE || v->head.kind > PARCEL_GONE)
        return false;
    get[v->head.kind](&r, v);
    return !r.bad && r.at == r.end;
}

size_t parcels_blobs(struct bytes parcels, const uint8_t *sha256[], size_t max)
{
    for (struct reader in = reader_of(parcels); reader_more(&in);) {
        struct parcel_head h;
        struct reader r = reader_of(get_bytes(&in, SIZE_MAX));
        head_get(&r, &h);
        if (h.kind != PARCEL_MOVE)
            continue;
        get_id(&r);
        get_u64(&r);
        return submission_blobs(&r, sha256, max);
    }
    return 0;
}
