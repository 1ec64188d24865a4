/* The replica: events to handlers, roles, and what all roles do with epochs and records. */
#include "taskserver/core/replica_core.h"

void replica_config_default(struct replica_config *c)
{
    *c = (struct replica_config){.beat_us = 100000,
                                 .gather_us = 10000,
                                 .silence_us = 1000000,
                                 .solo_us = 500000,
                                 .closed_us = 30000,
                                 .retry_us = 100000,
                                 .report_us = 2000000,
                                 .hand_back_us = 2000000,
                                 .halt_us = 5000000,
                                 .tail_bytes_max = 256u << 20,
                                 .window_bytes = 8u << 20,
                                 .lag_records_max = 4000};
}

/* ---- Effects ---- */

struct replica_effect *replica_fx(struct replica *r, enum replica_effect_kind kind)
{
    struct replica_effects *e = r->out;
    if (e->n == e->cap) {
        e->cap = e->cap ? e->cap * 2 : 16;
        e->fx = realloc(e->fx, e->cap * sizeof *e->fx);
        if (!e->fx)
            abort();
    }
    struct replica_effect *fx = &e->fx[e->n++];
    fx->kind = kind;
    fx->at = e->data.len;
    fx->len = 0;
    return fx;
}

void replica_fx_data(struct replica *r, struct replica_effect *fx, struct bytes data)
{
    buf_add(&r->out->data, data.data, data.len);
    fx->len = data.len;
}

void replica_effects_free(struct replica_effects *e)
{
    free(e->fx);
    buf_free(&e->data);
    *e = (struct replica_effects){0};
}

struct replica_effect *replica_send(struct replica *r, enum replica_msg_kind kind)
{
    struct replica_effect *fx = replica_fx(r, REPLICA_FX_SEND);
    fx->msg = (struct replica_msg){.kind = kind,
                                   .from = r->config.incarnation,
                                   .to = r->follower.member,
                                   .epoch = r->mark.seen,
                                   .tag = r->mark.tag,
                                   .lsn = r->lsn,
                                   .record = r->mark.record};
    return fx;
}

void replica_ask(struct replica *r, enum shard_ask_kind kind)
{
    r->asked_us = r->now_us;
    struct replica_effect *fx = replica_fx(r, REPLICA_FX_ASK);
    fx->ask = (struct shard_ask){.kind = kind,
                                 .shard = r->config.shard,
                                 .member = r->config.incarnation,
                                 .nonce = r->config.nonce,
                                 .epoch = r->mark.seen,
                                 .version = r->mark.record.version,
                                 .boot = r->boot,
                                 .ticket = r->ticket,
                                 .known = r->mark.record};
}

/* ---- Roles ---- */

#define TO(role) (1u << REPLICA_##role)
static const struct {
    const char *name;
    unsigned to; /* roles that may follow */
} roles[REPLICA_ROLES] = {
    [REPLICA_JOINING] = {"joining", TO(BACKUP) | TO(PRIMARY) | TO(SOLO) | TO(HALTED)},
    [REPLICA_BACKUP] = {"backup", TO(JOINING) | TO(PRIMARY) | TO(SOLO) | TO(HALTED)},
    [REPLICA_PRIMARY] = {"primary", TO(SOLO) | TO(STEPPING_DOWN) | TO(JOINING)},
    [REPLICA_SOLO] = {"solo", TO(PRIMARY) | TO(JOINING)},
    [REPLICA_STEPPING_DOWN] = {"stepping down", TO(PRIMARY) | TO(SOLO) | TO(JOINING)},
    [REPLICA_HALTED] = {"halted", TO(JOINING) | TO(BACKUP) | TO(PRIMARY) | TO(SOLO)},
};

const char *replica_role_name(enum replica_role role)
{
    return role < REPLICA_ROLES ? roles[role].name : "?";
}

void replica_role_set(struct replica *r, enum replica_role role)
{
    if (r->role == role)
        return;
    must(roles[r->role].to & 1u << role);
    r->role = role;
    struct replica_effect *fx = replica_fx(r, REPLICA_FX_ROLE);
    fx->role = role;
    fx->lsn = r->lsn;
}

/* ---- Epochs and records ---- */

/* R5: the highest epoch that was seen is adopted, whoever tells; who serves a lower one steps down. */
void replica_seen(struct replica *r, uint64_t epoch)
{
    if (epoch <= r->mark.seen || !RULE(RULE_ADOPT))
        return;
    r->mark.seen = epoch;
    if (serves(r))
        primary_stop(r);
    backup_restore_drop(r);
    r->heard_us = r->now_us; /* whoever has it gets time to be heard */
    replica_fx(r, REPLICA_FX_MARK)->mark = r->mark;
}

/* R5: only a record that names this very boot is a grant; one that comes late has been overtaken by its
 * epoch. While a snapshot is being put in place there is no state to serve. */
static void serve_if_granted(struct replica *r)
{
    const struct shard_record *s = &r->mark.record;
    bool mine = s->primary == r->config.incarnation && (!RULE(RULE_NONCE) || s->nonce == r->config.nonce);
    if (!serves(r) && mine && s->epoch == r->mark.seen && s->epoch > r->served &&
        r->restore.state != RESTORE_INSTALLING)
        primary_serve(r);
}

void replica_record(struct replica *r, const struct shard_record *record)
{
    if (!RULE(RULE_ADOPT) && record->primary == r->config.incarnation && record->epoch != r->served)
        r->mark.seen = record->epoch; /* a grant is a grant, however late */
    else if (!shard_newer(record, &r->mark.record))
        return;
    replica_seen(r, record->epoch);
    if (record->epoch != r->mark.seen)
        return;
    r->mark.record = *record;
    replica_fx(r, REPLICA_FX_MARK)->mark = r->mark;
    if (serves(r))
        primary_record(r);
    else
        serve_if_granted(r);
}

void replica_suspect(struct replica *r, uint64_t left_us)
{
    uint64_t silence = r->config.silence_us, heard = r->now_us + left_us;
    heard = heard > silence ? heard - silence : 0;
    r->heard_us = heard < r->heard_us ? heard : r->heard_us;
}

/* ---- Steps ---- */

static void on_tick(struct replica *r, const struct replica_event *e)
{
    (void)e;
    r->ticked_us = r->now_us;
    (serves(r) ? primary_tick : backup_tick)(r);
}

static void on_flush(struct replica *r, const struct replica_event *e)
{
    r->awaited = e->lsn;
    if (serves(r))
        primary_flush(r);
}

static void on_disk(struct replica *r, const struct replica_event *e)
{
    uint64_t lsn = e->lsn < r->lsn ? e->lsn : r->lsn;
    if (!tag_equal(e->tag, r->mark.tag) || lsn <= r->disk)
        return;
    r->disk = lsn;
    if (serves(r))
        primary_held(r);
    else
        backup_ack(r);
}

static void on_installed(struct replica *r, const struct replica_event *e)
{
    backup_installed(r, e);
    serve_if_granted(r);
}

static void on_closed(struct replica *r, const struct replica_event *e)
{
    (void)e;
    if (serves(r))
        primary_closed(r);
    else
        replica_suspect(r, r->config.closed_us);
}

static void on_hand_over(struct replica *r, const struct replica_event *e)
{
    (void)e;
    if (serves(r))
        primary_hand_over(r);
}

static void on_answer(struct replica *r, const struct replica_event *e)
{
    if (!id_equal(e->shard.shard, r->config.shard))
        return;
    r->answered_us = r->now_us;
    r->boot = e->shard.boot;
    r->ticket = e->shard.ticket;
    const struct shard_record *s = &e->shard.record;
    bool vacant = !serves(r) && s->epoch && !s->primary && shard_has(s, r->config.incarnation);
    replica_record(r, s);
    if (vacant && !serves(r))
        replica_suspect(r, 0); /* nobody holds the epoch */
    if (serves(r))
        primary_answer(r);
}

/* ---- Messages ---- */

/* Who is behind is told, unless it just asks to be brought up to date. */
static bool is_behind(struct replica *r, const struct replica_msg *m)
{
    if (m->epoch >= r->mark.seen)
        return false;
    if (m->kind == REPLICA_EPOCH || m->kind == REPLICA_JOIN)
        return false;
    if (m->kind == REPLICA_ACK && !RULE(RULE_SESSION))
        return false;
    replica_send(r, REPLICA_EPOCH)->msg.to = m->from;
    return true;
}

static void on_beat(struct replica *r, const struct replica_msg *m)
{
    if (!serves(r))
        backup_on_beat(r, m);
}
static void on_records(struct replica *r, const struct replica_msg *m)
{
    if (!serves(r))
        backup_on_records(r, m);
}
static void on_snap(struct replica *r, const struct replica_msg *m)
{
    if (!serves(r))
        backup_on_snap(r, m);
}
static void on_yield(struct replica *r, const struct replica_msg *m)
{
    if (!serves(r))
        backup_on_yield(r, m);
}
static void on_join(struct replica *r, const struct replica_msg *m)
{
    r->sibling_empty = !m->epoch && !m->lsn;
    r->sibling = m->from;
    if (serves(r))
        follower_on_join(r, m);
}
static void on_ack(struct replica *r, const struct replica_msg *m)
{
    if (serves(r))
        follower_on_ack(r, m);
}
static void on_epoch(struct replica *r, const struct replica_msg *m)
{
    (void)r;
    (void)m;
}

static void on_msg(struct replica *r, const struct replica_event *e)
{
    static void (*const handler[])(struct replica *, const struct replica_msg *) = {
        [REPLICA_BEAT] = on_beat,   [REPLICA_RECORDS] = on_records, [REPLICA_SNAP] = on_snap,
        [REPLICA_YIELD] = on_yield, [REPLICA_JOIN] = on_join,       [REPLICA_ACK] = on_ack,
        [REPLICA_EPOCH] = on_epoch,
    };
    const struct replica_msg *m = &e->msg;
    if (m->kind > REPLICA_MSG_MAX || m->from == r->config.incarnation ||
        (m->to && m->to != r->config.incarnation))
        return;
    if (RULE(RULE_ADOPT) && m->tag.epoch > m->epoch)
        return; /* no sender has a history of an epoch that it has not seen */
    replica_seen(r, m->epoch);
    replica_record(r, &m->record);
    if (!is_behind(r, m))
        handler[m->kind](r, m);
}

/* Ticks come every beat. Who has had none for long was away itself - stopped, suspended, starved - and has no
 * right to call the other one silent. */
static void forgive(struct replica *r, uint64_t away_us)
{
    if (away_us < 4 * r->config.beat_us)
        return;
    r->heard_us += away_us;
    r->whole_us += away_us;
    if (r->follower.state != FOLLOWER_NONE)
        r->follower.heard_us += away_us;
}

void replica_step(struct replica *r, const struct replica_event *event, struct replica_effects *out)
{
    static void (*const handler[])(struct replica *, const struct replica_event *) = {
        [REPLICA_TICK] = on_tick,           [REPLICA_FLUSH] = on_flush,
        [REPLICA_DISK] = on_disk,           [REPLICA_MSG] = on_msg,
        [REPLICA_ANSWER] = on_answer,       [REPLICA_CLOSED] = on_closed,
        [REPLICA_INSTALLED] = on_installed, [REPLICA_HAND_OVER] = on_hand_over,
    };
    must(event->kind < sizeof handler / sizeof handler[0]);
    uint64_t passed = event->now_us > r->now_us ? event->now_us - r->now_us : 0;
    r->now_us += passed;
    forgive(r, passed);
    out->n = 0;
    buf_clear(&out->data);
    r->out = out;
    handler[event->kind](r, event);
}

void replica_logged(struct replica *r, uint64_t lsn, struct bytes record)
{
    if (serves(r))
        primary_logged(r, lsn, record);
}

/* The next beat, or the moment from which the other one is suspected; counted from the last tick, for other
 * steps may come without end. Or when what is gathered for the backup goes. */
uint64_t replica_due(const struct replica *r)
{
    uint64_t beat = r->ticked_us + r->config.beat_us;
    uint64_t suspect = serves(r) ? r->whole_us + r->config.solo_us : r->heard_us + r->config.silence_us;
    uint64_t gathered = follower_due(r);
    beat = gathered < beat ? gathered : beat;
    return suspect > r->ticked_us && suspect < beat ? suspect : beat;
}

/* ---- Life ---- */

struct replica *replica_new(const struct replica_config *config, const struct replica_mark *mark,
                            uint64_t lsn, uint64_t now_us)
{
    struct replica *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    must(config->incarnation && config->nonce);
    r->config = *config;
    r->mark = *mark;
    r->lsn = r->disk = lsn;
    r->now_us = r->ticked_us = r->heard_us = now_us;
    return r;
}

void replica_lacks(struct replica *r, uint64_t lsn)
{
    must(r->config.journal && lsn <= r->lsn);
    r->disk = lsn;
}

void replica_free(struct replica *r)
{
    if (!r)
        return;
    tail_free(&r->tail);
    free(r);
}

void replica_look(const struct replica *r, struct replica_info *out)
{
    const struct follower *f = &r->follower;
    *out = (struct replica_info){.role = r->role,
                                 .epoch = r->mark.seen,
                                 .lsn = r->lsn,
                                 .held = r->held,
                                 .serves = serves(r),
                                 .open = serves(r) && r->open,
                                 .record = r->mark.record};
    if (!serves(r) || f->state == FOLLOWER_NONE)
        return;
    out->backup = f->member;
    out->backup_lsn = f->acked;
    out->backup_bytes = tail_bytes(&r->tail, f->acked);
}

void replica_check(const struct replica *r)
{
    must(r->role < REPLICA_ROLES);
    must(r->disk <= r->lsn);
    must(!RULE(RULE_ADOPT) || (r->mark.tag.epoch <= r->mark.seen && r->mark.record.epoch <= r->mark.seen));
    if (!serves(r)) {
        must(r->follower.state == FOLLOWER_NONE && !r->adding);
        return;
    }
    must(r->restore.state == RESTORE_NONE && r->mark.tag.session == 0);
    must(!RULE(RULE_HELD) || r->held <= own_lsn(r));
    must(r->served == r->mark.tag.epoch);
    must(r->follower.state == FOLLOWER_NONE || r->follower.acked <= r->follower.sent);
    must(r->follower.state == FOLLOWER_NONE || r->tail.first <= r->follower.acked + 1);
}
