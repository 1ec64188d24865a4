/* The replica's data structures, shared by its files and nobody else. replica.h is the way in. */
#ifndef TASKSERVER_CORE_REPLICA_CORE_H
#define TASKSERVER_CORE_REPLICA_CORE_H

#include "base/must.h"
#include "taskserver/core/replica.h"

/* The log's last records, kept until the backup has them. */
struct tail {
    struct buf data; /* (length:varint record)* */
    size_t *end;     /* owned; of record first + i in data, less `gone` */
    size_t from;     /* of the first record in data */
    uint64_t first;  /* lsn of the first record */
    uint32_t skip, n, cap;
};
void tail_reset(struct tail *t, uint64_t next_lsn);
void tail_add(struct tail *t, struct bytes record);
void tail_trim(struct tail *t, uint64_t lsn); /* drops up to lsn */
/* Records from lsn on, at most `max` bytes of them but one at least. *n: how many. */
struct bytes tail_get(const struct tail *t, uint64_t lsn, size_t max, uint64_t *n);
size_t tail_bytes(const struct tail *t, uint64_t after_lsn);
void tail_free(struct tail *t);

/* The backup as its primary sees it. */
enum follower_state { FOLLOWER_NONE, FOLLOWER_SNAPSHOT, FOLLOWER_STREAM };
struct follower {
    enum follower_state state;
    uint64_t member;
    uint64_t session;
    uint64_t acked, sent;
    uint64_t since_us; /* when the first record was logged that is not sent yet */
    uint32_t tries;    /* snapshots before this one of which nothing came */
    uint64_t heard_us; /* last ACK of this session, or its start */
    uint64_t moved_us; /* acked grew, or something was sent anew */
};

/* A snapshot that is being read. */
enum restore_state { RESTORE_NONE, RESTORE_READING, RESTORE_INSTALLING };
struct restore {
    enum restore_state state;
    struct replica_tag tag;
    uint64_t lsn;
    uint32_t seq; /* the next part */
    uint64_t moved_us;
};

struct replica {
    struct replica_config config;
    enum replica_role role;
    uint64_t now_us, ticked_us; /* of the last step; of the last tick */
    struct replica_effects *out;
    struct replica_mark mark; /* seen, tag of the state, record */
    uint64_t lsn;             /* last record of the state */
    uint64_t disk;            /* of it on disk; without a journal: lsn */
    uint64_t asked_us;        /* last ask of the witness; 0: never */
    uint64_t answered_us;     /* its last answer; 0: never */
    uint64_t boot, ticket;    /* of that */
    bool sibling_empty;       /* it said that it has nothing of the shard */
    uint64_t sibling;         /* its incarnation, when it said so */
    /* not primary */
    uint64_t heard_us;  /* the primary's last sign of life, or what counts as such */
    uint64_t joined_us; /* last JOIN */
    struct restore restore;
    /* primary */
    uint64_t served; /* last epoch this boot was primary in */
    uint64_t sessions;
    uint64_t held, inherited; /* inherited: lsn at takeover */
    uint64_t awaited;         /* record that outputs wait for */
    bool open;
    uint64_t beat_us;   /* last BEAT */
    uint64_t whole_us;  /* when the other in-sync member was last all right */
    bool ticket_wanted; /* a READ is under way, for a SOLO */
    uint64_t yield_us;  /* STEPPING_DOWN since */
    uint64_t paired_us; /* PRIMARY since */
    uint64_t adding;    /* an ADD of this member is under way, or was and may be */
    struct follower follower;
    struct tail tail;
};

static inline bool serves(const struct replica *r)
{
    return r->role == REPLICA_PRIMARY || r->role == REPLICA_SOLO || r->role == REPLICA_STEPPING_DOWN;
}
static inline bool tag_equal(struct replica_tag a, struct replica_tag b)
{
    return a.epoch == b.epoch && a.session == b.session;
}
static inline bool tag_newer(struct replica_tag a, struct replica_tag b)
{
    return a.epoch != b.epoch ? a.epoch > b.epoch : a.session > b.session;
}
/* What of the own state counts as kept. */
static inline uint64_t own_lsn(const struct replica *r)
{
    return r->config.journal ? r->disk : r->lsn;
}
static inline bool due(const struct replica *r, uint64_t since_us, uint64_t after_us)
{
    return r->now_us >= since_us + after_us;
}

/* replica.c */
struct replica_effect *replica_fx(struct replica *r, enum replica_effect_kind kind);
void replica_fx_data(struct replica *r, struct replica_effect *fx, struct bytes data);
/* The message is the caller's to fill in until the next effect is added. */
struct replica_effect *replica_send(struct replica *r, enum replica_msg_kind kind);
void replica_ask(struct replica *r, enum shard_ask_kind kind);
void replica_role_set(struct replica *r, enum replica_role role);
void replica_seen(struct replica *r, uint64_t epoch);
void replica_record(struct replica *r, const struct shard_record *record);
void replica_suspect(struct replica *r, uint64_t left_us); /* the primary; unless it is heard in left_us */

/* replica_primary.c */
void primary_serve(struct replica *r);
void primary_stop(struct replica *r);
void primary_tick(struct replica *r);
void primary_record(struct replica *r); /* the record changed */
void primary_answer(struct replica *r);
void primary_held(struct replica *r);
void primary_logged(struct replica *r, uint64_t lsn, struct bytes record);
void primary_flush(struct replica *r);
void primary_closed(struct replica *r);
void primary_hand_over(struct replica *r);

/* replica_session.c: the backup as the primary serves it */
void follower_on_join(struct replica *r, const struct replica_msg *m);
void follower_on_ack(struct replica *r, const struct replica_msg *m);
void follower_stream(struct replica *r);
uint64_t follower_due(const struct replica *r); /* when what is gathered goes; UINT64_MAX: nothing is */
void follower_drop(struct replica *r);
bool follower_whole(const struct replica *r, uint64_t member); /* it has the session, and is alive */

/* replica_backup.c */
void backup_tick(struct replica *r);
void backup_on_beat(struct replica *r, const struct replica_msg *m);
void backup_on_records(struct replica *r, const struct replica_msg *m);
void backup_on_snap(struct replica *r, const struct replica_msg *m);
void backup_on_yield(struct replica *r, const struct replica_msg *m);
void backup_ack(struct replica *r);
void backup_installed(struct replica *r, const struct replica_event *e);
void backup_restore_drop(struct replica *r);

#endif
