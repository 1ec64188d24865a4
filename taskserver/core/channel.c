/* Channels to the other shards: the durable side. What is on its way is in neighbour.c. */
#include "taskserver/core/core.h"

/* ---- Numbers of shards ---- */

uint32_t channel_find(const struct ts *ts, struct id shard)
{
    if (id_equal(shard, ts->config.shard))
        return 0;
    for (uint32_t i = 1; i < ts->channels; i++)
        if (id_equal(ts->channel[i]->shard, shard))
            return i;
    return SHARDS_MAX;
}

bool channel_room(const struct ts *ts, uint64_t more)
{
    return (ts->channels ? ts->channels : 1) + more <= SHARDS_MAX;
}

static void channels_grow(struct ts *ts)
{
    if (ts->channels < ts->channel_slots)
        return;
    ts->channel_slots = ts->channel_slots ? ts->channel_slots * 2 : 8;
    ts->channel = realloc(ts->channel, ts->channel_slots * sizeof *ts->channel);
    if (!ts->channel)
        abort();
    ts->channel[0] = NULL;
    if (!ts->channels)
        ts->channels = 1;
}

uint32_t channel_intern(struct ts *ts, struct id shard)
{
    uint32_t index = channel_find(ts, shard);
    if (index < SHARDS_MAX)
        return index;
    must(channel_room(ts, 1));
    channels_grow(ts);
    struct channel *c = pool_get(&ts->pool, sizeof *c);
    *c = (struct channel){.shard = shard, .index = ts->channels};
    ts->channel[ts->channels++] = c;
    return c->index;
}

struct id channel_shard(const struct ts *ts, uint32_t index)
{
    return index ? ts->channel[index]->shard : ts->config.shard;
}

/* ---- Parcels ---- */

static void parcel_add(struct ts *ts, struct channel *c, uint64_t lsn, struct bytes data)
{
    struct parcel *p = pool_get(&ts->pool, sizeof *p + data.len);
    *p = (struct parcel){.lsn = lsn, .len = data.len, .haste = parcel_haste(data)};
    memcpy(p->data, data.data, data.len);
    *(c->last ? &c->last->next : &c->first) = p;
    c->last = p;
    c->sealed++;
}

void channel_post(struct ts *ts, uint32_t index, struct bytes parcel)
{
    struct channel *c = ts->channel[index];
    parcel_add(ts, c, ts->lsn, parcel);
    if (c->last->haste == HASTE_NOW)
        ts->awaited = ts->lsn;
    else if (c->last->haste == HASTE_VALUE)
        c->value_lsn = ts->lsn;
    ts->stirred = true;
}

static void parcel_drop(struct ts *ts, struct channel *c)
{
    struct parcel *p = c->first;
    c->first = p->next;
    if (!c->first)
        c->last = NULL;
    pool_put(&ts->pool, p, sizeof *p + p->len);
}

/* ---- Confirming ---- */

/* Two marks, not a queue: the newer one is set when the older is held, so that under steady traffic something
 * is always confirmed. */
static void channel_mark(struct ts *ts, struct channel *c)
{
    if (c->mark > c->held && c->mark_lsn <= ts->held) {
        c->held = c->mark;
        ts->stirred = true;
    }
    if (c->mark == c->held && c->applied > c->mark) {
        c->mark = c->applied;
        c->mark_lsn = ts->lsn;
    }
}

void channel_applied(struct ts *ts, struct channel *c, uint64_t number)
{
    c->applied = number;
    channel_mark(ts, c);
}

void channels_held(struct ts *ts)
{
    for (uint32_t i = 1; i < ts->channels; i++) {
        channel_mark(ts, ts->channel[i]);
        channel_mark(ts, ts->channel[i]); /* what was marked just now may be held, too */
    }
    ts->stirred |= ts->channels > 1;
}

bool confirmed_fits(struct ts *ts, const struct record *r)
{
    uint32_t index = channel_find(ts, r->shard);
    if (index == 0 || index == SHARDS_MAX)
        return false;
    const struct channel *c = ts->channel[index];
    return r->number > c->confirmed && r->number <= c->sealed;
}

void apply_confirmed(struct ts *ts, const struct record *r)
{
    struct channel *c = ts->channel[channel_find(ts, r->shard)];
    for (; c->confirmed < r->number; c->confirmed++)
        parcel_drop(ts, c);
}

/* ---- Snapshots ---- */

bool restore_shard_fits(struct ts *ts, const struct record *r)
{
    return channel_find(ts, r->shard) == SHARDS_MAX && r->index == (ts->channels ? ts->channels : 1) &&
           channel_room(ts, 1);
}

void restore_shard(struct ts *ts, const struct record *r)
{
    uint32_t index = channel_intern(ts, r->shard);
    struct channel *c = ts->channel[index];
    c->sealed = c->confirmed = r->number;
    c->applied = r->applied;
}

bool restore_parcel_fits(struct ts *ts, const struct record *r)
{
    uint32_t index = channel_find(ts, r->shard);
    return index > 0 && index < SHARDS_MAX && r->number == ts->channel[index]->sealed + 1;
}

void restore_parcel(struct ts *ts, const struct record *r)
{
    parcel_add(ts, ts->channel[channel_find(ts, r->shard)], ts->lsn, r->body);
}

/* ---- The end, and checking ---- */

void channels_free(struct ts *ts)
{
    for (uint32_t i = 1; i < ts->channels; i++) {
        while (ts->channel[i]->first)
            parcel_drop(ts, ts->channel[i]);
        pool_put(&ts->pool, ts->channel[i], sizeof(struct channel));
    }
    free(ts->channel);
}

uint64_t channels_bytes(const struct ts *ts)
{
    uint64_t bytes = 0;
    for (uint32_t i = 1; i < ts->channels; i++) {
        bytes += pool_round(sizeof(struct channel));
        for (const struct parcel *p = ts->channel[i]->first; p; p = p->next)
            bytes += pool_round(sizeof *p + p->len);
    }
    return bytes;
}

void channels_check(const struct ts *ts)
{
    for (uint32_t i = 1; i < ts->channels; i++) {
        const struct channel *c = ts->channel[i];
        const struct parcel *last = NULL;
        uint64_t n = 0;
        for (const struct parcel *p = c->first; p; last = p, p = p->next, n++)
            must(p->lsn <= ts->lsn && (!last || p->lsn >= last->lsn));
        must(c->index == i && c->last == last && n == c->sealed - c->confirmed);
        must(c->held <= c->mark && c->mark <= c->applied);
        must(channel_find(ts, c->shard) == i);
    }
}
