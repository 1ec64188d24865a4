/* The witness: rules of compare-and-set, and how a lost store is rebuilt. */
#include "broker/core/witness.h"

#include <stdlib.h>

#include "base/must.h"

enum { REPORTS = 4 };

/* What a server said of itself while there was no record of its shard. */
struct report {
    uint64_t member; /* 0: free */
    uint64_t epoch;
    struct shard_record known;
};

struct row {
    struct id shard;
    struct shard_record record; /* on disk; epoch 0: there is none */
    struct shard_record next;   /* being saved; epoch 0: nothing is */
    uint32_t peer;              /* who waits for it */
    uint64_t req;
    bool asked;
    struct report report[REPORTS];
};

struct witness {
    struct witness_config config;
    struct row *rows; /* owned; in no order: a broker has few hundred */
    uint32_t n, cap;
    uint64_t now_us;
    struct witness_effects *out;
};

struct witness *witness_new(const struct witness_config *config)
{
    struct witness *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    w->config = *config;
    return w;
}

void witness_free(struct witness *w)
{
    if (!w)
        return;
    free(w->rows);
    free(w);
}

static struct row *row_find(const struct witness *w, struct id shard)
{
    for (uint32_t i = 0; i < w->n; i++)
        if (id_equal(w->rows[i].shard, shard))
            return &w->rows[i];
    return NULL;
}

static struct row *row_get(struct witness *w, struct id shard)
{
    struct row *row = row_find(w, shard);
    if (row || w->n == w->config.shards_max)
        return row;
    if (w->n == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 8;
        w->rows = realloc(w->rows, w->cap * sizeof *w->rows);
        if (!w->rows)
            abort();
    }
    w->rows[w->n] = (struct row){.shard = shard};
    return &w->rows[w->n++];
}

bool witness_restore(struct witness *w, struct id shard, const struct shard_record *record)
{
    struct row *row = record->epoch && !row_find(w, shard) ? row_get(w, shard) : NULL;
    if (row)
        row->record = *record;
    return row;
}

bool witness_find(const struct witness *w, struct id shard, struct shard_record *out)
{
    const struct row *row = row_find(w, shard);
    if (row && row->record.epoch)
        *out = row->record;
    return row && row->record.epoch;
}

/* ---- Effects ---- */

static struct witness_effect *fx_add(struct witness *w, enum witness_effect_kind kind)
{
    struct witness_effects *e = w->out;
    must(e->n < sizeof e->fx / sizeof e->fx[0]);
    e->fx[e->n] = (struct witness_effect){.kind = kind};
    return &e->fx[e->n++];
}

static void answer(struct witness *w, const struct row *row, uint32_t peer, uint64_t req)
{
    struct witness_effect *fx = fx_add(w, WITNESS_FX_ANSWER);
    fx->peer = peer;
    fx->req = req;
    fx->answer = (struct shard_answer){
        .shard = row->shard, .record = row->record, .boot = w->config.boot, .ticket = w->now_us};
}

static void save(struct witness *w, struct row *row, struct shard_record next, const struct witness_event *e)
{
    must(shard_newer(&next, &row->record));
    row->next = next;
    row->peer = e->peer;
    row->req = e->req;
    row->asked = e->kind == WITNESS_ASK;
    struct witness_effect *fx = fx_add(w, WITNESS_FX_SAVE);
    fx->shard = row->shard;
    fx->record = next;
}

/* ---- The rules: true, and what the record becomes ---- */

static bool by_primary(const struct shard_record *r, const struct shard_ask *a)
{
    return a->epoch == r->epoch && a->version == r->version && a->member == r->primary &&
           a->nonce == r->nonce;
}

static bool may_read(const struct witness *w, const struct shard_ask *a, struct shard_record *r)
{
    (void)w;
    (void)a;
    (void)r;
    return false;
}

/* Only one who knows of the last epoch may have the next, and only one who holds all that is held. The set
 * stays as it was (R5): the one who was primary may still hold things that are nowhere else, if the grant
 * gets lost. */
static bool may_claim(const struct witness *w, const struct shard_ask *a, struct shard_record *r)
{
    (void)w;
    if (r->primary == a->member && r->nonce == a->nonce)
        return false; /* it has been granted: the answer says so once more */
    if (a->epoch != r->epoch || !shard_has(r, a->member))
        return false;
    r->epoch++;
    r->primary = a->member;
    r->nonce = a->nonce;
    if (!RULE(RULE_KEEP)) {
        r->in_sync[0] = a->member;
        r->in_sync[1] = 0;
    }
    return true;
}

static bool may_solo(const struct witness *w, const struct shard_ask *a, struct shard_record *r)
{
    bool fresh = a->boot == w->config.boot && w->now_us - a->ticket <= w->config.solo_us;
    if (!by_primary(r, a) || (RULE(RULE_DEADLINE) && !fresh))
        return false;
    r->in_sync[0] = a->member;
    r->in_sync[1] = 0;
    return true;
}

static bool may_add(const struct witness *w, const struct shard_ask *a, struct shard_record *r)
{
    (void)w;
    if (!by_primary(r, a) || !a->other || shard_has(r, a->other) || shard_other(r, a->member))
        return false;
    r->in_sync[0] = a->member;
    r->in_sync[1] = a->other;
    return true;
}

/* ---- No record: a new shard, or a lost store ---- */

static void report(struct row *row, const struct shard_ask *a)
{
    struct report *at = &row->report[0];
    for (struct report *p = row->report; p < row->report + REPORTS; p++)
        if (p->member == a->member) {
            at = p; /* and messages may overtake each other */
            break;
        } else if (shard_newer(&at->known, &p->known)) {
            at = p; /* the oldest gives way */
        }
    if (at->member == a->member && shard_newer(&at->known, &a->known))
        return;
    uint64_t epoch = a->epoch > a->known.epoch ? a->epoch : a->known.epoch;
    *at = (struct report){.member = a->member, .epoch = epoch, .known = a->known};
}

static bool reported(const struct row *row, uint64_t member)
{
    for (const struct report *p = row->report; p < row->report + REPORTS; p++)
        if (p->member == member)
            return true;
    return false;
}

/* All members of the newest set that anybody knows have said what they know: what they agree on is the
 * record. A set is left only on the word of a member, so whoever knows of a newer one would have been heard.
 * One grant of max + 1 may still be under way; nobody holds max + 2, and the next one to be granted is max
 * + 3. */
static bool rebuild(const struct row *row, struct shard_record *r)
{
    const struct report *best = &row->report[0];
    uint64_t epoch = 0;
    for (const struct report *p = row->report; p < row->report + REPORTS; p++) {
        epoch = p->epoch > epoch ? p->epoch : epoch;
        if (shard_newer(&p->known, &best->known))
            best = p;
    }
    *r = best->known;
    for (int i = 0; i < SHARD_MEMBERS; i++)
        if (r->in_sync[i] && !reported(row, r->in_sync[i]))
            return false;
    r->epoch = epoch + 2;
    r->primary = r->nonce = 0;
    return best->known.epoch;
}

static bool seen_before(const struct row *row)
{
    for (const struct report *p = row->report; p < row->report + REPORTS; p++)
        if (p->epoch)
            return true;
    return false;
}

/* What was sent before this boot's first answer may be older than what has been settled since. */
static bool begin(const struct witness *w, struct row *row, const struct shard_ask *a, struct shard_record *r)
{
    if (a->boot != w->config.boot)
        return false;
    report(row, a);
    if (seen_before(row))
        return rebuild(row, r);
    if (a->kind != SHARD_CLAIM || !a->create)
        return false;
    *r = (struct shard_record){.epoch = 1, .primary = a->member, .nonce = a->nonce, .in_sync = {a->member}};
    return true;
}

/* ---- Steps ---- */

static void on_ask(struct witness *w, const struct witness_event *e)
{
    static bool (*const rule[])(const struct witness *, const struct shard_ask *, struct shard_record *) = {
        [SHARD_READ] = may_read, [SHARD_CLAIM] = may_claim, [SHARD_SOLO] = may_solo, [SHARD_ADD] = may_add};
    const struct shard_ask *a = &e->ask;
    struct row *row = a->kind <= SHARD_ASK_MAX && a->member ? row_get(w, a->shard) : NULL;
    if (!row || row->next.epoch) /* one change at a time; whoever is not answered asks again */
        return;
    struct shard_record next = row->record;
    if (row->record.epoch ? rule[a->kind](w, a, &next) : begin(w, row, a, &next)) {
        next.version++;
        save(w, row, next, e);
    } else {
        answer(w, row, e->peer, e->req);
    }
}

static void on_saved(struct witness *w, const struct witness_event *e)
{
    struct row *row = row_find(w, e->shard);
    if (!row || row->next.epoch != e->record.epoch || row->next.version != e->record.version)
        return;
    row->record = row->next;
    row->next = (struct shard_record){0};
    memset(row->report, 0, sizeof row->report);
    if (row->asked)
        answer(w, row, row->peer, row->req);
}

static void on_accept_loss(struct witness *w, const struct witness_event *e)
{
    struct row *row = row_find(w, e->shard);
    if (!row || row->next.epoch || !e->member)
        return;
    struct shard_record next = row->record;
    for (const struct report *p = row->report; p < row->report + REPORTS; p++)
        next.epoch = p->epoch > next.epoch ? p->epoch : next.epoch;
    next.epoch += 2; /* beyond any grant that may be under way */
    next.version++;
    next.primary = next.nonce = next.in_sync[1] = 0;
    next.in_sync[0] = e->member;
    save(w, row, next, e);
}

/* What was reported to an older boot may be older than what has been settled since. */
static void set_boot(struct witness *w, uint64_t boot)
{
    if (w->config.boot == boot)
        return;
    w->config.boot = boot;
    for (uint32_t i = 0; i < w->n; i++)
        memset(w->rows[i].report, 0, sizeof w->rows[i].report);
}

static void on_loaded(struct witness *w, const struct witness_event *e)
{
    struct row *row = e->record.epoch ? row_get(w, e->shard) : row_find(w, e->shard);
    set_boot(w, e->boot);
    if (!row)
        return;
    must(!row->next.epoch);
    row->record = e->record;
    if (row->record.epoch)
        memset(row->report, 0, sizeof row->report);
}

static void on_unsaved(struct witness *w, const struct witness_event *e)
{
    struct row *row = row_find(w, e->shard);
    if (row)
        row->next = (struct shard_record){0};
}

void witness_step(struct witness *w, const struct witness_event *event, struct witness_effects *out)
{
    typedef void handler_fn(struct witness *, const struct witness_event *);
    static handler_fn *const handler[] = {
        [WITNESS_ASK] = on_ask,       [WITNESS_SAVED] = on_saved,     [WITNESS_ACCEPT_LOSS] = on_accept_loss,
        [WITNESS_LOADED] = on_loaded, [WITNESS_UNSAVED] = on_unsaved,
    };
    must(event->kind < sizeof handler / sizeof handler[0]);
    w->now_us = event->now_us > w->now_us ? event->now_us : w->now_us;
    out->n = 0;
    w->out = out;
    handler[event->kind](w, event);
}
