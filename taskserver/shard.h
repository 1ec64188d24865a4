/* One shard as this server keeps it: the task table, its journal, and, where there is a sibling, the replica
 * that says whether we serve it. The shell's part of docs/REPLICATION.md: it carries the effects of both
 * machines out in order, and decides nothing. */
#ifndef TASKSERVER_SHARD_H
#define TASKSERVER_SHARD_H

#include "proto/pki.h"
#include "taskserver/blobgate.h"
#include "taskserver/core/replica.h"
#include "taskserver/core/ts.h"
#include "taskserver/journal.h"

struct taskserver;

/* A snapshot that is being read: a state beside the present one. */
struct restoring {
    struct ts *ts;                   /* owned; NULL: none is being read */
    struct journal_rebuild *journal; /* NULL: without a journal, or committed */
    struct replica_mark mark;
    uint64_t lsn;
    bool whole, on_disk; /* all parts came; the new journal is in place */
    bool marked;         /* mark has changed since it was whole */
    struct blobgate gate;
};

struct shard {
    struct taskserver *server; /* borrowed */
    struct id id;
    char name[IDENTITY_NAME_MAX + 1]; /* of the server whose own it is */
    char dir[STATE_PATH_MAX];
    struct ts *ts;
    struct ts_effects fx;
    struct journal *journal; /* NULL: without */
    struct replica *replica; /* NULL: no sibling; served from the start */
    struct replica_tag tag;  /* under which the journal's generation `generation` is written */
    uint64_t generation;
    struct replica_effects replica_fx;
    struct restoring restoring;
    struct blobgate gate; /* records whose blobs are still on their way here */
    uint64_t incarnation;
    uint64_t ahead_us;   /* of the server's clock: the shard's time has come from one that was ahead */
    uint64_t logged;     /* lsn of the last record */
    uint64_t disk;       /* lsn that the journal has reported; without one: logged */
    uint64_t reported;   /* what the replica was last told of the disk */
    uint64_t held, told; /* law 8: held, and what ts was last told of it */
    bool serves, open;   /* producers are admitted; consumers too */
    bool stepping;       /* ts is within a step */
    bool unflushed;      /* records were logged in this turn of the reactor */
    uint64_t awaited;    /* the record of which the replica knows that outputs wait for it */
    struct id job_ended; /* the last whose end was written to the daemon's log */
};

/* Opens journal and state. own: the server's own shard; otherwise its sibling's. why: STATE_WHY_MAX bytes. */
int shard_open(struct shard *s, struct taskserver *server, const char *name, bool own, char *why);
/* One event for the task table, which must serve, and its effects. The event's time is set here. */
void shard_step(struct shard *s, struct ts_event *event);
/* One event for the replica. */
void shard_replica(struct shard *s, struct replica_event *event);
/* A blob has come: what waited for it may go on. */
void shard_blob(struct shard *s, const uint8_t *sha256);
/* Does what is due, at the end of a turn of the reactor; returns when to come again, monotonic. */
uint64_t shard_turn(struct shard *s);
struct ts *shard_table(const struct shard *s); /* a new, empty task table for it */
uint64_t shard_now(const struct shard *s);     /* the task table's clock */
/* One log line when a job has ended; nothing while it runs, or when it was the last to be said. */
void shard_log_end(struct shard *s, struct id job);
/* Before the poster goes, and after. */
void shard_stop(struct shard *s);
void shard_free(struct shard *s);

#endif
