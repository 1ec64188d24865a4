/* One replica of one shard: a pure state machine beside `struct ts`, an event in, effects out.
 *
 * `struct ts` knows what the log records mean; this knows where they are. On the primary every record that ts
 * logs is numbered, kept in a tail, and streamed to the backup; what every member of the in-sync set has (on
 * its disk, where a journal is configured) is held, and only then may outputs leave (law 8). On a backup
 * records are applied and acknowledged. The rules R1 to R5 that make takeover safe, the messages, and what
 * the shell owes the machine are in docs/REPLICATION.md.
 *
 * Time is the caller's, monotonic, and decides nothing about safety: it only starts and repeats attempts. */
#ifndef TASKSERVER_CORE_REPLICA_H
#define TASKSERVER_CORE_REPLICA_H

#include "base/shard.h"

#define REPLICA_BATCH_BYTES (64u << 10) /* records in one message, unless one is longer */

/* Whose the shard is, while both could serve it: who makes it, and who gets it back. */
enum replica_preference { REPLICA_EITHER, REPLICA_MINE, REPLICA_THEIRS };

struct replica_config {
    struct id shard;
    uint64_t incarnation; /* of the disk; of the boot where there is no journal. Not 0 */
    uint64_t nonce;       /* random, made anew by each boot. Not 0 */
    bool journal;         /* records count as mine when REPLICA_DISK says so; otherwise at once */
    bool alone;           /* no sibling has ever been: may create the shard by itself, from what it has */
    enum replica_preference preference;
    uint64_t beat_us;      /* between two signs of life */
    uint64_t gather_us;    /* records that nothing waits for go to the backup together, and at most so late */
    uint64_t silence_us;   /* of the primary, after which it is suspected */
    uint64_t solo_us;      /* without the backup's word, after which the primary asks to go on alone */
    uint64_t closed_us;    /* what is left of either when the connection broke */
    uint64_t retry_us;     /* between two asks of the witness */
    uint64_t report_us;    /* between two reports to the witness when nothing is wanted of it */
    uint64_t hand_back_us; /* in sync for so long, a shard of theirs is handed over */
    uint64_t halt_us;      /* without a primary, not in sync: the shard is called halted */
    uint64_t tail_bytes_max;  /* records kept for the backup; a backup that is farther behind starts anew */
    uint64_t window_bytes;    /* records under way to the backup */
    uint64_t lag_records_max; /* a backup closer than this may be added to the in-sync set */
};
void replica_config_default(struct replica_config *config);

/* Whose history a state is: the epoch and the session by which it came. Session 0 is the primary's own. */
struct replica_tag {
    uint64_t epoch, session;
};

/* What a replica writes into its journal before the records that it concerns, and reads back at start. */
struct replica_mark {
    uint64_t seen; /* highest epoch seen */
    struct replica_tag tag;
    struct shard_record record; /* newest known */
};
void put_replica_mark(struct buf *b, const struct replica_mark *m);
bool get_replica_mark(struct reader *r, struct replica_mark *m);

/* ---- Messages between siblings ---- */

enum replica_msg_kind {
    REPLICA_BEAT,    /* primary: I live; tag.session is that of the backup, lsn my last record */
    REPLICA_RECORDS, /* primary: lsn is the first's number; data = (length:varint record)* */
    REPLICA_SNAP,    /* primary: a part of the state at lsn; data as above; seq from 0; last ends it */
    REPLICA_YIELD,   /* primary: take over now (planned hand-back) */
    REPLICA_JOIN,    /* backup: I have tag's history up to lsn, and want what follows */
    REPLICA_ACK,     /* backup: I hold tag's history up to lsn */
    REPLICA_EPOCH,   /* anybody: you are behind, see epoch and record */
    REPLICA_MSG_MAX = REPLICA_EPOCH,
};

struct replica_msg {
    enum replica_msg_kind kind;
    uint64_t from, to; /* incarnations; to 0: whoever is there */
    uint64_t epoch;    /* highest that the sender has seen */
    struct replica_tag tag;
    uint64_t lsn;
    uint32_t seq;
    bool last;
    struct shard_record record; /* newest that the sender knows */
    struct bytes data;          /* borrowed */
};
void put_replica_msg(struct buf *b, const struct replica_msg *m);
bool get_replica_msg(struct reader *r, struct replica_msg *m); /* false: malformed */

/* ---- Events ---- */

enum replica_event_kind {
    REPLICA_TICK,
    REPLICA_FLUSH,     /* primary: the reactor's turn ends. Outputs wait for lsn (ts_awaited) */
    REPLICA_DISK,      /* the own journal is on disk up to lsn (of the history under `tag`) */
    REPLICA_MSG,       /* from the sibling */
    REPLICA_ANSWER,    /* from the witness */
    REPLICA_CLOSED,    /* the connection to the sibling broke */
    REPLICA_INSTALLED, /* the snapshot of RESTORE_END is the state now, on disk where there is one */
    REPLICA_HAND_OVER, /* the operator: let the backup be primary */
};

struct replica_event {
    enum replica_event_kind kind;
    uint64_t now_us;
    uint64_t lsn;              /* DISK, FLUSH */
    struct replica_tag tag;    /* DISK, INSTALLED */
    struct replica_msg msg;    /* MSG */
    struct shard_answer shard; /* ANSWER */
};

/* ---- Effects ---- */

enum replica_effect_kind {
    REPLICA_FX_SEND,     /* msg to the sibling; its data by replica_effect_data */
    REPLICA_FX_ASK,      /* ask to the witness */
    REPLICA_FX_MARK,     /* append mark to the journal, before whatever comes after */
    REPLICA_FX_APPLY,    /* ts_replay this record as lsn, and append it to the journal */
    REPLICA_FX_SNAPSHOT, /* send the state as it is now as SNAP messages: copy msg, fill seq, last, data */
    REPLICA_FX_RESTORE,  /* msg: a part of a snapshot for a state of its own, beside the present one; seq 0
                            begins  it anew. msg.last: make it the state in one step, in the journal with mark,
                            too; then  send INSTALLED with msg.tag */
    REPLICA_FX_RESTORE_DROP, /* forget the half-read snapshot */
    REPLICA_FX_SERVE,        /* primary now: ts_replayed, admit producers; consumers wait for OPEN */
    REPLICA_FX_HELD,         /* lsn: TS_HELD */
    REPLICA_FX_OPEN,         /* all that was inherited is held: admit consumers */
    REPLICA_FX_STOP, /* primary no more: close producers and consumers; the state goes on as a replica's: a
                        new ts restored from the old one's snapshot, without its volatile part */
    REPLICA_FX_ROLE, /* role and lsn, for the daemon's log */
};

enum replica_role {
    REPLICA_JOINING,       /* looks for the primary, or reads its snapshot */
    REPLICA_BACKUP,        /* follows the primary */
    REPLICA_PRIMARY,       /* serves; outputs wait for the other member of the in-sync set */
    REPLICA_SOLO,          /* serves; the in-sync set is itself */
    REPLICA_STEPPING_DOWN, /* serves; has asked the backup to take over */
    REPLICA_HALTED,        /* no primary, and not in the in-sync set: P4 */
    REPLICA_ROLES,
};

/* A backup makes one of these a record: what its kind does not need is not filled in. */
struct replica_effect {
    enum replica_effect_kind kind;
    enum replica_role role; /* ROLE */
    uint64_t lsn;           /* APPLY, SERVE, HELD, OPEN, ROLE */
    size_t at, len;         /* data or record: a run of replica_effects.data */
    union {
        struct replica_msg msg; /* SEND, SNAPSHOT, RESTORE */
        struct shard_ask ask;   /* ASK */
    };
    struct replica_mark mark; /* MARK, RESTORE */
};

/* Reused from step to step; the step empties it first. */
struct replica_effects {
    struct replica_effect *fx;
    size_t n, cap;
    struct buf data;
};
static inline struct bytes replica_effect_data(const struct replica_effects *e,
                                               const struct replica_effect *fx)
{
    return (struct bytes){fx->len ? e->data.data + fx->at : NULL, fx->len};
}
void replica_effects_free(struct replica_effects *e);

/* ---- The machine ---- */

struct replica;

/* mark and lsn: what the journal had at start, all of it on disk; zero for an empty one. */
struct replica *replica_new(const struct replica_config *config, const struct replica_mark *mark,
                            uint64_t lsn, uint64_t now_us);
/* Before its first step: of that only what is up to lsn counts as kept. REPLICA_DISK tells when more does. */
void replica_lacks(struct replica *r, uint64_t lsn);
void replica_free(struct replica *r);
void replica_step(struct replica *r, const struct replica_event *event, struct replica_effects *out);
/* Primary: ts has logged this record, lsn is its number. Nothing comes of it before the next step. */
void replica_logged(struct replica *r, uint64_t lsn, struct bytes record);
uint64_t replica_due(const struct replica *r); /* when the next TICK is wanted, at the latest */

struct replica_info {
    enum replica_role role;
    uint64_t epoch, lsn, held;
    bool serves, open;
    struct shard_record record;
    uint64_t backup;                   /* incarnation; 0: none is attached */
    uint64_t backup_lsn, backup_bytes; /* acknowledged; not acknowledged yet */
};
void replica_look(const struct replica *r, struct replica_info *out);
const char *replica_role_name(enum replica_role role);

/* Every internal relation that must hold; aborts otherwise. For tests and the simulator. */
void replica_check(const struct replica *r);

#endif
