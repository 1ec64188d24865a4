/* The backup as its primary serves it: sessions, streaming, acknowledgements. */
#include "taskserver/core/replica_core.h"

enum { TRIES_MAX = 2 }; /* what is lost again and again is not waited for longer */

void follower_drop(struct replica *r)
{
    r->follower = (struct follower){0};
    tail_reset(&r->tail, r->lsn + 1);
}

bool follower_whole(const struct replica *r, uint64_t member)
{
    const struct follower *f = &r->follower;
    return f->member == member && f->state == FOLLOWER_STREAM && !due(r, f->heard_us, r->config.solo_us);
}

/* R4: what came under another epoch or session may be another history, whatever its numbers say. */
static bool may_resume(const struct replica *r, const struct replica_msg *m)
{
    const struct follower *f = &r->follower;
    struct replica_tag tag = {r->served, f->session};
    if (!RULE(RULE_TAIL))
        return m->lsn + 1 >= r->tail.first && m->lsn <= r->lsn;
    return f->state != FOLLOWER_NONE && f->member == m->from && tag_equal(m->tag, tag) &&
           m->lsn + 1 >= r->tail.first && m->lsn <= r->lsn;
}

static void session_resume(struct replica *r, const struct replica_msg *m)
{
    struct follower *f = &r->follower;
    if (!RULE(RULE_TAIL) && f->member != m->from)
        *f = (struct follower){.member = m->from, .session = ++r->sessions};
    f->state = FOLLOWER_STREAM;
    f->heard_us = f->moved_us = r->now_us;
    f->acked = m->lsn > f->acked ? m->lsn : f->acked;
    f->sent = f->acked;
}

/* The state as it is now, and every record from here on. */
static void session_begin(struct replica *r, uint64_t member)
{
    const struct follower *old = &r->follower;
    bool again = old->state == FOLLOWER_SNAPSHOT && old->member == member;
    uint32_t tries = again && old->tries < TRIES_MAX ? old->tries + 1 : again ? TRIES_MAX : 0;
    r->follower = (struct follower){.state = FOLLOWER_SNAPSHOT,
                                    .tries = tries,
                                    .member = member,
                                    .session = ++r->sessions,
                                    .acked = r->lsn,
                                    .sent = r->lsn,
                                    .heard_us = r->now_us,
                                    .moved_us = r->now_us};
    tail_reset(&r->tail, r->lsn + 1);
    struct replica_effect *fx = replica_send(r, REPLICA_SNAP);
    fx->kind = REPLICA_FX_SNAPSHOT;
    fx->msg.tag = (struct replica_tag){r->served, r->sessions};
}

/* A snapshot takes its time; an ask in its midst is not a reason for another one, unless it got lost. Where
 * the way is long, more and more patience is needed. */
void follower_on_join(struct replica *r, const struct replica_msg *m)
{
    const struct follower *f = &r->follower;
    bool busy = f->state == FOLLOWER_SNAPSHOT && !due(r, f->heard_us, r->config.silence_us << f->tries);
    if (f->state == FOLLOWER_STREAM && f->member != m->from && follower_whole(r, f->member))
        return; /* an old boot's message, or a stranger's */
    if (may_resume(r, m))
        session_resume(r, m);
    else if (!busy || f->member != m->from)
        session_begin(r, m->from);
    follower_stream(r);
    primary_held(r);
}

/* R2: an acknowledgement speaks of one session only, that of this epoch with this member. */
void follower_on_ack(struct replica *r, const struct replica_msg *m)
{
    struct follower *f = &r->follower;
    struct replica_tag tag = {r->served, f->session};
    bool fits = f->member == m->from && tag_equal(m->tag, tag);
    if (!RULE(RULE_SESSION))
        fits = f->member == m->from;
    if (f->state == FOLLOWER_NONE || !fits || m->lsn > r->lsn)
        return;
    f->state = FOLLOWER_STREAM;
    f->heard_us = r->now_us;
    if (m->lsn > f->acked) {
        f->acked = m->lsn;
        f->sent = f->sent < m->lsn ? m->lsn : f->sent;
        f->moved_us = r->now_us;
        tail_trim(&r->tail, f->acked);
    }
    follower_stream(r);
    primary_held(r);
}

static size_t under_way(const struct replica *r)
{
    return tail_bytes(&r->tail, r->follower.acked) - tail_bytes(&r->tail, r->follower.sent);
}

/* A message costs both sides some 50 us of processor, whatever it carries, and most records are waited for by
 * nobody: producers get their next tasks without. */
static bool may_gather(const struct replica *r)
{
    const struct follower *f = &r->follower;
    return f->sent >= r->awaited && tail_bytes(&r->tail, f->sent) < REPLICA_BATCH_BYTES;
}

uint64_t follower_due(const struct replica *r)
{
    const struct follower *f = &r->follower;
    bool may_send = f->state == FOLLOWER_STREAM && f->sent < r->lsn && under_way(r) <= r->config.window_bytes;
    return may_send && may_gather(r) ? f->since_us + r->config.gather_us : UINT64_MAX;
}

/* As much as the window allows; anew from what was acknowledged when nothing has come of it for long. */
void follower_stream(struct replica *r)
{
    struct follower *f = &r->follower;
    if (f->state != FOLLOWER_STREAM)
        return;
    if (f->sent > f->acked && due(r, f->moved_us, r->config.retry_us)) {
        f->sent = f->acked;
        f->moved_us = r->now_us;
    }
    if (may_gather(r) && !due(r, f->since_us, r->config.gather_us))
        return;
    while (f->sent < r->lsn && under_way(r) <= r->config.window_bytes) {
        uint64_t n;
        if (f->sent == f->acked)
            f->moved_us = r->now_us;
        struct bytes records = tail_get(&r->tail, f->sent + 1, REPLICA_BATCH_BYTES, &n);
        struct replica_effect *fx = replica_send(r, REPLICA_RECORDS);
        fx->msg.tag.session = f->session;
        fx->msg.lsn = f->sent + 1;
        replica_fx_data(r, fx, records);
        f->sent += n;
    }
}
