/* The replica that serves: what is held, who is in sync, and with whom it goes on. */
#include "taskserver/core/replica_core.h"

static void role_by_record(struct replica *r)
{
    bool solo = !shard_other(&r->mark.record, r->config.incarnation);
    if (solo || r->role == REPLICA_SOLO)
        r->paired_us = r->now_us;
    if (solo || r->role != REPLICA_STEPPING_DOWN)
        replica_role_set(r, solo ? REPLICA_SOLO : REPLICA_PRIMARY);
}

/* The sibling is thought gone as soon as the connection is: it may just have been taken over from. */
static void suspect_backup(struct replica *r, uint64_t left_us)
{
    uint64_t whole = r->now_us + left_us;
    whole = whole > r->config.solo_us ? whole - r->config.solo_us : 0;
    r->whole_us = whole < r->whole_us ? whole : r->whole_us;
}

void primary_serve(struct replica *r)
{
    backup_restore_drop(r);
    r->served = r->mark.seen;
    r->mark.tag = (struct replica_tag){r->served, 0};
    r->held = 0;
    r->inherited = r->lsn;
    r->open = false;
    r->adding = 0;
    r->ticket_wanted = false;
    r->beat_us = 0;
    r->asked_us =
        r->now_us > r->config.retry_us ? r->now_us - r->config.retry_us : 0; /* the claim is through */
    r->whole_us = r->paired_us = r->now_us;
    r->follower = (struct follower){0};
    tail_reset(&r->tail, r->lsn + 1);
    suspect_backup(r, r->config.closed_us);
    replica_fx(r, REPLICA_FX_MARK)->mark = r->mark;
    role_by_record(r);
    replica_fx(r, REPLICA_FX_SERVE)->lsn = r->lsn;
    primary_held(r);
    primary_tick(r);
}

void primary_stop(struct replica *r)
{
    replica_role_set(r, REPLICA_JOINING);
    replica_fx(r, REPLICA_FX_STOP);
    follower_drop(r);
    r->adding = 0;
    r->open = false;
    r->joined_us = 0;
}

/* ---- What is held ---- */

/* How far a member of the set has the log of this epoch. */
static uint64_t member_lsn(const struct replica *r, uint64_t member)
{
    const struct follower *f = &r->follower;
    if (!member)
        return UINT64_MAX;
    return f->member == member && f->state == FOLLOWER_STREAM ? f->acked : 0;
}

/* The set is the one that the witness has recorded, and whoever it may have recorded since. */
void primary_held(struct replica *r)
{
    uint64_t held = own_lsn(r);
    uint64_t other = member_lsn(r, shard_other(&r->mark.record, r->config.incarnation));
    uint64_t added = member_lsn(r, r->adding);
    held = other < held ? other : held;
    held = added < held ? added : held;
    if (!RULE(RULE_HELD))
        held = r->lsn;
    if (held > r->held) {
        r->held = held;
        replica_fx(r, REPLICA_FX_HELD)->lsn = held;
    }
    if (r->open || held < r->inherited)
        return;
    r->open = true;
    replica_fx(r, REPLICA_FX_OPEN)->lsn = held;
}

void primary_logged(struct replica *r, uint64_t lsn, struct bytes record)
{
    must(lsn == r->lsn + 1);
    if (r->follower.sent == r->lsn)
        r->follower.since_us = r->now_us;
    r->lsn++;
    if (!r->config.journal)
        r->disk = r->lsn;
    if (r->follower.state == FOLLOWER_NONE) {
        tail_reset(&r->tail, r->lsn + 1);
        return;
    }
    tail_add(&r->tail, record);
    if (tail_bytes(&r->tail, 0) > r->config.tail_bytes_max)
        follower_drop(r);
}

void primary_flush(struct replica *r)
{
    follower_stream(r);
    primary_held(r);
}

/* ---- Who is in sync ---- */

static bool wants_solo(struct replica *r)
{
    uint64_t other = shard_other(&r->mark.record, r->config.incarnation);
    uint64_t need = other ? other : r->adding;
    if (!need || follower_whole(r, need))
        r->whole_us = r->now_us;
    return need && due(r, r->whole_us, r->config.solo_us);
}

/* R3: it has everything that is held, and from now on nothing is held that it does not have. */
static bool wants_add(const struct replica *r)
{
    const struct follower *f = &r->follower;
    if (shard_other(&r->mark.record, r->config.incarnation) || f->state == FOLLOWER_NONE)
        return false;
    if (!RULE(RULE_ADD))
        return true;
    return follower_whole(r, f->member) && f->acked >= r->held &&
           r->lsn - f->acked <= r->config.lag_records_max && (!r->adding || r->adding == f->member);
}

static void ask_add(struct replica *r)
{
    if (RULE(RULE_ADD))
        r->adding = r->follower.member;
    replica_ask(r, SHARD_ADD);
    r->out->fx[r->out->n - 1].ask.other = r->follower.member;
}

static void primary_ask(struct replica *r)
{
    if (!due(r, r->asked_us, r->config.retry_us))
        return;
    r->ticket_wanted = wants_solo(r);
    if (r->ticket_wanted)
        replica_ask(r, SHARD_READ); /* the answer brings the ask itself */
    else if (wants_add(r))
        ask_add(r);
    else if (due(r, r->asked_us, r->config.report_us))
        replica_ask(r, SHARD_READ);
}

/* What it was for may have passed while the answer was under way; and what was refused is not asked again at
 * once.
 */
void primary_answer(struct replica *r)
{
    bool ticket = r->ticket_wanted;
    r->ticket_wanted = false;
    if (ticket && wants_solo(r))
        replica_ask(r, SHARD_SOLO);
}

void primary_record(struct replica *r)
{
    const struct shard_record *s = &r->mark.record;
    if (s->primary != r->config.incarnation || s->epoch != r->served) {
        primary_stop(r); /* a witness that contradicts itself */
        return;
    }
    r->adding = 0;
    role_by_record(r);
    primary_held(r);
}

void primary_closed(struct replica *r)
{
    if (r->follower.state == FOLLOWER_NONE)
        return;
    r->follower.heard_us = 0;
    suspect_backup(r, r->config.closed_us);
}

/* ---- Hand-back ---- */

void primary_hand_over(struct replica *r)
{
    const struct follower *f = &r->follower;
    if (r->role != REPLICA_PRIMARY || !shard_has(&r->mark.record, f->member) || !follower_whole(r, f->member))
        return;
    replica_role_set(r, REPLICA_STEPPING_DOWN);
    r->yield_us = r->now_us;
    r->awaited = r->lsn; /* nothing stays behind */
    follower_stream(r);
    replica_send(r, REPLICA_YIELD)->msg.tag.session = f->session;
}

static void yield_over(struct replica *r)
{
    if (r->role != REPLICA_STEPPING_DOWN || !due(r, r->yield_us, r->config.silence_us))
        return;
    r->paired_us = r->now_us;
    replica_role_set(r, REPLICA_PRIMARY);
}

/* What is theirs goes back when they have kept up with it for a while. */
static void hand_back(struct replica *r)
{
    if (r->config.preference == REPLICA_THEIRS && r->open && due(r, r->paired_us, r->config.hand_back_us))
        primary_hand_over(r);
}

/* ---- Time ---- */

static void primary_beat(struct replica *r)
{
    if (!due(r, r->beat_us, r->config.beat_us))
        return;
    r->beat_us = r->now_us;
    struct replica_effect *fx = replica_send(r, REPLICA_BEAT);
    fx->msg.to = 0;
    fx->msg.tag.session = r->follower.session;
}

void primary_tick(struct replica *r)
{
    yield_over(r);
    hand_back(r);
    primary_beat(r);
    follower_stream(r);
    primary_ask(r);
}
