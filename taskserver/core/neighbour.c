/* Connections to other shards: messages in and out. */
#include "taskserver/core/core.h"

#define FLYING_MAX  (8u << 20) /* bytes of parcels under way */
#define MESSAGE_MAX (1u << 20) /* bytes of parcels in one message, if there is more than one */

/* ---- Who is there ---- */

struct neighbour *neighbour_find(const struct ts *ts, struct id shard)
{
    for (uint32_t i = 0; i < ts->neighbours; i++)
        if (id_equal(ts->neighbour[i]->shard, shard))
            return ts->neighbour[i];
    return NULL;
}

/* Remembered: this is asked of every neighbour whenever the log is held. Channels stay for ever. */
static struct channel *channel_of(const struct ts *ts, struct neighbour *n)
{
    for (; !n->channel && n->looked < ts->channels; n->looked++)
        if (n->looked && id_equal(ts->channel[n->looked]->shard, n->shard))
            n->channel = ts->channel[n->looked];
    return n->channel;
}

static struct neighbour *neighbour_add(struct ts *ts)
{
    ts->neighbour = realloc(ts->neighbour, (ts->neighbours + 1) * sizeof(struct neighbour *));
    struct neighbour *n = malloc(sizeof *n);
    if (!ts->neighbour || !n)
        abort();
    ts->neighbour[ts->neighbours++] = n;
    return n;
}

/* What was sent over an earlier connection and is not confirmed is sent again. */
void on_peer_up(struct ts *ts, const struct ts_event *e)
{
    struct id shard = e->u.other.shard;
    must(!id_is_zero(shard) && !id_equal(shard, ts->config.shard));
    struct neighbour *n = neighbour_find(ts, shard);
    if (n)
        steal_lost(ts, n);
    else
        n = neighbour_add(ts);
    *n = (struct neighbour){.shard = shard, .rtt_us = e->u.other.rtt_us, .tell = true};
    bounds_again(ts, channel_find(ts, shard));
    ts->stirred = true;
}

void on_peer_down(struct ts *ts, const struct ts_event *e)
{
    struct neighbour *n = neighbour_find(ts, e->u.other.shard);
    if (!n)
        return;
    steal_lost(ts, n);
    uint32_t i = 0;
    while (ts->neighbour[i] != n)
        i++;
    ts->neighbour[i] = ts->neighbour[--ts->neighbours];
    ts->gathered_us = NEVER; /* with the last one; otherwise it is looked for again */
    ts->stirred = true;
    free(n);
}

void on_peer_rtt(struct ts *ts, const struct ts_event *e)
{
    struct neighbour *n = neighbour_find(ts, e->u.other.shard);
    if (n)
        n->rtt_us = e->u.other.rtt_us;
}

void neighbours_free(struct ts *ts)
{
    for (uint32_t i = 0; i < ts->neighbours; i++)
        free(ts->neighbour[i]);
    free(ts->neighbour);
}

/* ---- Notes ---- */

static void note_put(struct buf *b, const struct note *note)
{
    put_u8(b, (uint8_t)note->kind);
    if (note->kind == NOTE_WANT) {
        put_varint(b, note->want.threads);
        put_varint(b, note->want.tasks);
        put_varint(b, note->want.arches);
        for (uint32_t i = 0; i < note->want.arches; i++)
            put_bytes(b, bytes_str(note->want.arch[i]));
    } else if (note->kind == NOTE_BOUND) {
        put_id(b, note->job);
        put_varint(b, note->born_us);
        put_u8(b, (uint8_t)note->bound_kind);
        put_zigzag(b, note->bound);
    }
}

static void want_get(struct reader *r, struct want *w)
{
    w->threads = (uint32_t)get_varint_max(r, UINT32_MAX);
    w->tasks = (uint32_t)get_varint_max(r, UINT32_MAX);
    w->arches = (uint32_t)get_varint_max(r, WANT_ARCHES_MAX);
    for (uint32_t i = 0; i < w->arches; i++) {
        struct bytes name = get_bytes(r, sizeof w->arch[i] - 1);
        if (name.len)
            memcpy(w->arch[i], name.data, name.len);
    }
}

static bool note_get(struct reader *r, struct note *note)
{
    if (!reader_more(r))
        return false;
    *note = (struct note){.kind = get_u8(r)};
    r->bad |= note->kind < NOTE_WANT || note->kind > NOTE_BOUND;
    if (note->kind == NOTE_WANT) {
        want_get(r, &note->want);
    } else if (note->kind == NOTE_BOUND) {
        note->job = get_id(r);
        note->born_us = get_varint(r);
        note->bound_kind = (uint32_t)get_varint_max(r, CX_BOUND_MAX);
        note->bound = get_zigzag(r);
        r->bad |= note->bound_kind != CX_BOUND_MIN && note->bound_kind != CX_BOUND_MAX;
    }
    return !r->bad;
}

/* ---- Sending ---- */

static size_t varint_len(uint64_t v)
{
    size_t len = 1;
    for (; v >= 0x80; v >>= 7)
        len++;
    return len;
}

/* Parcels that leave in one message. */
struct load {
    struct parcel *first;
    uint32_t count;
    size_t bytes;     /* of the parcels */
    size_t packed;    /* each with its length */
    enum haste haste; /* the greatest */
};

static bool may_leave(const struct ts *ts, const struct neighbour *n, const struct parcel *p,
                      const struct load *so_far)
{
    return p && p->lsn <= ts->held && n->flying + so_far->bytes < FLYING_MAX &&
           (!so_far->count || so_far->packed + p->len <= MESSAGE_MAX);
}

static struct load load_of(const struct ts *ts, struct neighbour *n)
{
    const struct channel *c = channel_of(ts, n);
    struct load load = {0};
    if (c && !n->sent) {
        n->sent_number = c->confirmed;
        n->flying = 0;
        load.first = c->first;
    } else if (c) {
        load.first = n->sent->next;
    }
    for (const struct parcel *p = load.first; may_leave(ts, n, p, &load); p = p->next) {
        load.count++;
        load.bytes += p->len;
        load.packed += varint_len(p->len) + p->len;
        load.haste = p->haste > load.haste ? p->haste : load.haste;
    }
    return load;
}

static void put_load(struct buf *b, struct neighbour *n, const struct load *load)
{
    struct parcel *p = load->first;
    put_varint(b, load->count ? n->sent_number + 1 : 0);
    put_varint(b, load->packed);
    for (uint32_t i = 0; i < load->count; i++, p = p->next) {
        put_bytes(b, bytes_of(p->data, p->len));
        n->sent = p;
        n->sent_number++;
    }
    n->flying += load->bytes;
}

/* A message: what is confirmed, parcels, and a note or none. */
static void say(struct ts *ts, struct neighbour *n, const struct load *load, const struct note *note)
{
    const struct channel *c = channel_of(ts, n);
    struct ts_effect *fx = fx_add(ts, TS_FX_PEER, 0);
    fx->shard = n->shard;
    n->told = c ? c->held : 0;
    n->tell = false;
    n->since_us = 0;
    put_varint(&ts->out->data, n->told);
    put_load(&ts->out->data, n, load);
    if (note)
        note_put(&ts->out->data, note);
    fx->len = ts->out->data.len - fx->at;
}

void neighbour_note(struct ts *ts, struct neighbour *n, const struct note *note)
{
    struct load load = load_of(ts, n);
    say(ts, n, &load, note);
}

/* Every thread has work, here and wherever is known: nobody waits for a value. */
static bool all_busy(const struct ts *ts)
{
    return ts->threads && ts->ngranted >= ts->threads && !ts->steal.open;
}

/* Whether what there is to say is gathered still, since it first was there. */
static bool gathers(const struct ts *ts, struct neighbour *n)
{
    if (!n->since_us)
        n->since_us = ts->now_us;
    return ts->now_us < n->since_us + ts->config.gather_us;
}

/* One message of parcels, or of a confirmation alone; false when there is nothing to say now. */
static bool send_some(struct ts *ts, struct neighbour *n)
{
    const struct channel *c = channel_of(ts, n);
    struct load load = load_of(ts, n);
    bool unsent = c && c->sealed > n->sent_number, confirms = c && c->held != n->told;
    bool may_wait = !n->tell && load.haste <= (ts->calm ? HASTE_VALUE : HASTE_ANSWER);
    if ((unsent || confirms) && may_wait && gathers(ts, n))
        return false;
    if (!load.count && !confirms && !n->tell)
        return false;
    say(ts, n, &load, NULL);
    return true;
}

static void neighbour_send(struct ts *ts, struct neighbour *n)
{
    const struct channel *c = channel_of(ts, n);
    if (c && !ts->calm && c->value_lsn > ts->awaited)
        ts->awaited = c->value_lsn;
    while (send_some(ts, n))
        ;
    uint64_t due = n->since_us ? n->since_us + ts->config.gather_us : NEVER;
    if (due > ts->now_us && due < ts->gathered_us) /* otherwise it waits to be held */
        ts->gathered_us = due;
}

void neighbours_send(struct ts *ts)
{
    bool was_calm = ts->calm;
    ts->calm = all_busy(ts);
    if (!ts->stirred && ts->now_us < ts->gathered_us && (ts->calm || !was_calm))
        return;
    ts->stirred = false;
    ts->gathered_us = NEVER;
    for (uint32_t i = 0; i < ts->neighbours; i++)
        if (!ts->neighbour[i]->faulted)
            neighbour_send(ts, ts->neighbour[i]);
}

/* ---- Receiving ---- */

struct peer_msg {
    uint64_t confirmed, first, n;
    struct bytes parcels;
    struct reader notes;
};

/* Why the message is not listened to, or NULL. Nothing of it is applied before all of it is checked. */
static const char *msg_check(const struct ts *ts, const struct channel *c, struct bytes bytes,
                             struct peer_msg *m)
{
    struct reader r = reader_of(bytes);
    struct note note;
    *m = (struct peer_msg){.confirmed = get_varint(&r), .first = get_varint(&r)};
    m->parcels = get_bytes(&r, SIZE_MAX);
    m->notes = r;
    while (note_get(&r, &note))
        ;
    if (r.bad)
        return "a malformed message";
    if (!parcels_check(ts, m->parcels, &m->n))
        return "a malformed parcel";
    if (m->confirmed > (c ? c->sealed : 0))
        return "it confirms what was never sent";
    if (m->n && (m->first == 0 || m->first > (c ? c->applied : 0) + 1))
        return "parcels are missing";
    if (m->n && m->n > UINT64_MAX - m->first)
        return "a parcel's number is too great";
    return NULL;
}

static void confirm(struct ts *ts, struct neighbour *n, struct channel *c, uint64_t confirmed)
{
    const struct parcel *p = c->first;
    for (uint64_t i = c->confirmed + 1; n->sent && i <= confirmed && i <= n->sent_number; i++, p = p->next)
        n->flying -= p->len;
    if (confirmed >= n->sent_number)
        n->sent = NULL;
    struct record r = {
        .kind = RECORD_CONFIRMED, .now_us = ts->now_us, .shard = n->shard, .number = confirmed};
    log_apply(ts, &r);
    ts->stirred = true;
}

/* The first of these parcels, up to where tasks of a second job come: what a record brings to run is of one
 * job, so whoever keeps the log needs few modules at a time (ts_record_blobs). */
static struct bytes of_one_job(struct bytes parcels)
{
    struct reader in = reader_of(parcels);
    struct parcel_head first = {0};
    while (reader_more(&in)) {
        size_t before = (size_t)(in.at - parcels.data);
        struct parcel_view v;
        must(parcel_get(get_bytes(&in, SIZE_MAX), &v));
        if (v.head.kind != PARCEL_MOVE)
            continue;
        bool other = !id_equal(first.job, v.head.job) || first.born_us != v.head.born_us;
        if (first.kind && other)
            return bytes_of(parcels.data, before);
        first = v.head;
    }
    return parcels;
}

static void log_received(struct ts *ts, struct neighbour *n, struct bytes parcels)
{
    const struct channel *c = channel_of(ts, n);
    struct record r = {.kind = RECORD_RECEIVED,
                       .now_us = ts->now_us,
                       .shard = n->shard,
                       .number = (c ? c->applied : 0) + 1,
                       .body = parcels};
    log_apply(ts, &r);
    move_received(ts, parcels);
}

/* Those that were applied before are dropped, and confirmed again. */
static void receive(struct ts *ts, struct neighbour *n, const struct channel *c, struct peer_msg *m)
{
    struct reader in = reader_of(m->parcels);
    uint64_t applied = c ? c->applied : 0, skip = LAW(11) ? applied + 1 - m->first : 0;
    for (uint64_t i = 0; i < skip && i < m->n; i++)
        get_bytes(&in, SIZE_MAX);
    struct bytes news = bytes_of(in.at, (size_t)(in.end - in.at));
    n->tell |= skip > 0;
    ts->stirred |= n->tell;
    if (!news.len)
        return;
    uint64_t taken = c ? c->taken : 0;
    while (news.len) {
        struct bytes some = of_one_job(news);
        log_received(ts, n, some);
        news = bytes_of(news.data + some.len, news.len - some.len);
    }
    taken = channel_of(ts, n)->taken - taken;
    if (taken)
        steal_given(ts, n, taken);
}

static void on_note(struct ts *ts, struct neighbour *n, const struct note *note)
{
    switch (note->kind) {
    case NOTE_WANT:
        steal_asked(ts, n, &note->want);
        break;
    case NOTE_NONE:
        steal_refused(ts, n);
        break;
    case NOTE_SOME:
        steal_invited(n);
        break;
    case NOTE_BOUND:
        bound_heard(ts, note);
        break;
    }
}

static void peer_fault(struct ts *ts, struct id shard, const char *text)
{
    struct ts_effect *fx = fx_add(ts, TS_FX_PEER_FAULT, 0);
    fx->shard = shard;
    fx->code = CX_EPROTO;
    fx_data(ts, fx, bytes_str(text));
}

void on_peer_msg(struct ts *ts, const struct ts_event *e)
{
    struct neighbour *n = neighbour_find(ts, e->u.other.shard);
    struct channel *c = n ? channel_of(ts, n) : NULL;
    struct peer_msg m;
    const char *wrong = n ? NULL : "a message from a shard that is not connected";
    if (n && n->faulted)
        return;
    if (!wrong)
        wrong = msg_check(ts, c, e->u.other.bytes, &m);
    if (wrong) {
        if (n)
            n->faulted = true;
        peer_fault(ts, e->u.other.shard, wrong);
        return;
    }
    if (c && m.confirmed > c->confirmed)
        confirm(ts, n, c, m.confirmed);
    if (m.n)
        receive(ts, n, c, &m);
    for (struct note note; note_get(&m.notes, &note);)
        on_note(ts, n, &note);
}
