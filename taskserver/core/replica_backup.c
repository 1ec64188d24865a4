/* The replica that does not serve: finding the primary, reading its state, following it, taking over. */
#include "taskserver/core/replica_core.h"

static void backup_join(struct replica *r)
{
    if (r->restore.state != RESTORE_NONE || (r->joined_us && !due(r, r->joined_us, r->config.retry_us)))
        return;
    r->joined_us = r->now_us;
    struct replica_effect *fx = replica_send(r, REPLICA_JOIN);
    fx->msg.to = 0;
    fx->msg.lsn = own_lsn(r);
}

void backup_ack(struct replica *r)
{
    if (r->role != REPLICA_BACKUP)
        return;
    struct replica_effect *fx = replica_send(r, REPLICA_ACK);
    fx->msg.to = r->sibling;
    fx->msg.lsn = own_lsn(r);
}

static void backup_heard(struct replica *r, const struct replica_msg *m)
{
    r->heard_us = r->now_us;
    r->sibling = m->from;
}

/* ---- Following ---- */

void backup_on_beat(struct replica *r, const struct replica_msg *m)
{
    backup_heard(r, m);
    if (r->role == REPLICA_HALTED)
        replica_role_set(r, REPLICA_JOINING);
    if (tag_equal(m->tag, r->mark.tag) && r->restore.state == RESTORE_NONE && m->tag.session) {
        replica_role_set(r, REPLICA_BACKUP);
        backup_ack(r);
    } else {
        replica_role_set(r, REPLICA_JOINING);
        backup_join(r);
    }
}

static bool tag_fits(struct replica *r, const struct replica_msg *m)
{
    if (!RULE(RULE_TAIL) && r->restore.state == RESTORE_NONE && !tag_equal(m->tag, r->mark.tag)) {
        r->mark.tag = m->tag;
        replica_fx(r, REPLICA_FX_MARK)->mark = r->mark;
        replica_role_set(r, REPLICA_BACKUP);
    }
    return tag_equal(m->tag, r->mark.tag);
}

/* What is known already is skipped; what does not follow is left to be sent again. */
void backup_on_records(struct replica *r, const struct replica_msg *m)
{
    backup_heard(r, m);
    if (!tag_fits(r, m) || r->role != REPLICA_BACKUP || !m->lsn || m->lsn > r->lsn + 1)
        return;
    struct reader in = reader_of(m->data);
    for (uint64_t lsn = m->lsn; reader_more(&in); lsn++) {
        struct bytes record = get_bytes(&in, SIZE_MAX);
        if (in.bad)
            return;
        if (lsn <= r->lsn)
            continue;
        r->lsn = lsn;
        struct replica_effect *fx = replica_fx(r, REPLICA_FX_APPLY);
        fx->lsn = lsn;
        replica_fx_data(r, fx, record);
    }
    if (r->config.journal)
        return;
    r->disk = r->lsn;
    backup_ack(r);
}

/* ---- Reading a snapshot ---- */

void backup_restore_drop(struct replica *r)
{
    if (r->restore.state != RESTORE_READING)
        return;
    r->restore.state = RESTORE_NONE;
    replica_fx(r, REPLICA_FX_RESTORE_DROP);
}

/* Only ever forward: an older session's snapshot may lack what has been acknowledged since. */
static bool snap_begins(struct replica *r, const struct replica_msg *m)
{
    if (m->seq || r->restore.state == RESTORE_INSTALLING || !tag_newer(m->tag, r->mark.tag) ||
        (r->restore.state == RESTORE_READING && !tag_newer(m->tag, r->restore.tag)))
        return false;
    r->restore = (struct restore){.state = RESTORE_READING, .tag = m->tag, .lsn = m->lsn};
    replica_role_set(r, REPLICA_JOINING);
    return true;
}

void backup_on_snap(struct replica *r, const struct replica_msg *m)
{
    struct restore *s = &r->restore;
    backup_heard(r, m);
    if (!snap_begins(r, m) && (s->state != RESTORE_READING || !tag_equal(m->tag, s->tag) || m->seq != s->seq))
        return;
    s->seq++;
    s->moved_us = r->now_us;
    struct replica_effect *fx = replica_fx(r, REPLICA_FX_RESTORE);
    fx->msg = *m;
    fx->msg.data = bytes_of(NULL, 0);
    fx->mark = r->mark;
    fx->mark.tag = m->tag;
    replica_fx_data(r, fx, m->data);
    if (m->last)
        s->state = RESTORE_INSTALLING;
}

/* The old state is kept until here: it holds all that was held before this epoch's first record is. */
void backup_installed(struct replica *r, const struct replica_event *e)
{
    if (r->restore.state != RESTORE_INSTALLING || !tag_equal(e->tag, r->restore.tag))
        return;
    r->restore.state = RESTORE_NONE;
    r->mark.tag = r->restore.tag;
    r->lsn = r->disk = r->restore.lsn;
    if (r->mark.tag.epoch != r->mark.seen)
        return;
    replica_role_set(r, REPLICA_BACKUP);
    backup_ack(r);
}

/* ---- Taking over ---- */

void backup_on_yield(struct replica *r, const struct replica_msg *m)
{
    if (r->role != REPLICA_BACKUP || !tag_equal(m->tag, r->mark.tag))
        return;
    r->asked_us = 0;
    replica_suspect(r, 0);
    backup_tick(r);
}

/* A new shard: one of two empty servers makes it, whose it is to be; or the one that has been alone. */
static bool may_create(const struct replica *r)
{
    if (r->mark.seen)
        return false;
    if (r->config.alone)
        return true;
    bool mine = r->config.preference == REPLICA_EITHER ? r->config.incarnation < r->sibling
                                                       : r->config.preference == REPLICA_MINE;
    return !r->lsn && r->sibling_empty && mine;
}

static void claim(struct replica *r)
{
    replica_ask(r, SHARD_CLAIM);
    r->out->fx[r->out->n - 1].ask.create = may_create(r);
}

static void backup_ask(struct replica *r)
{
    const struct shard_record *s = &r->mark.record;
    uint64_t me = r->config.incarnation;
    bool silent = due(r, r->heard_us, r->config.silence_us);
    bool mine = s->epoch == r->mark.seen && s->primary == me; /* of an earlier boot: nobody else is coming */
    bool lost = r->restore.state != RESTORE_INSTALLING && shard_has(s, me) && (silent || mine);
    if (r->asked_us && !due(r, r->asked_us, r->config.retry_us))
        return;
    if (lost || (!s->epoch && may_create(r)))
        claim(r);
    else if (!s->epoch || silent || due(r, r->asked_us, r->config.report_us))
        replica_ask(r, SHARD_READ);
}

static void give_up(struct replica *r)
{
    bool stalled = r->restore.state == RESTORE_READING && due(r, r->restore.moved_us, r->config.silence_us);
    if (stalled)
        backup_restore_drop(r);
    if (r->role == REPLICA_BACKUP && due(r, r->heard_us, r->config.silence_us))
        replica_role_set(r, REPLICA_JOINING);
    if (r->role == REPLICA_JOINING && due(r, r->heard_us, r->config.halt_us) && r->mark.record.epoch &&
        !shard_has(&r->mark.record, r->config.incarnation))
        replica_role_set(r, REPLICA_HALTED);
}

void backup_tick(struct replica *r)
{
    give_up(r);
    if (r->role != REPLICA_BACKUP)
        backup_join(r);
    backup_ask(r);
}
