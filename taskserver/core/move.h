/* Jobs that are at work in several shards.
 *
 * A job has one home, the shard it was submitted to; wherever else its tasks are it is a guest. Only ready
 * tasks move, successors stay, and an address names the shard that holds the waiting task: so a value needs
 * one parcel, however far its task has travelled.
 *
 * When is a job stuck? When nothing can run in any shard and nothing is on its way. Each shard knows its own
 * part; together it is the termination detection of Dijkstra and Scholten (1980). Every moved task and every
 * value sent is to be answered (DRAINED). The home, and a guest that is engaged, answer what comes at once;
 * a guest that is not engaged is engaged by what comes, and answers that one only when it has nothing to run
 * and nothing of its own unanswered. So while anything is at work anywhere, the home has something
 * unanswered; when it has not, and nothing to run, no slot can be set any more. A guest may keep waiting
 * tasks meanwhile: a value will engage it again. */
#ifndef TASKSERVER_CORE_MOVE_H
#define TASKSERVER_CORE_MOVE_H

#include "base/pack.h"

#define GONE_MAX 1024u /* guests that are over and remembered, so that late tasks do not bring them back */

struct ts;
struct job;
struct task;
struct addr;
struct val;
struct record;

/* What a job has to do with another shard. */
struct tie {
    uint32_t shard;
    bool gave;     /* tasks were moved there: it is told of the end */
    uint64_t away; /* moved tasks and values sent there that are not answered */
};

/* Guests that are over, in a ring. */
struct gone {
    struct id job;
    uint64_t born_us;
};
struct gone_ring {
    struct gone *at; /* owned; GONE_MAX, or NULL while there was none */
    uint64_t n;      /* ever */
};

/* A value leaves for a slot in another shard. In apply only, like what follows. */
void move_slot(struct ts *ts, struct job *job, struct addr to, const struct val *v);
/* The job has ended here: whoever works for it is told. */
void move_ended(struct ts *ts, struct job *job);
/* A guest that the home no longer needs: out with it, and with those it gave tasks to. */
void move_gone(struct ts *ts, struct job *job);
/* A guest that has come to rest says so. */
void move_settle(struct ts *ts, struct job *job);
void move_free(struct ts *ts, struct job *job); /* its ties */
void move_check(const struct ts *ts, const struct job *job);
uint64_t move_bytes(const struct job *job); /* of the pool */

/* How many of the parcels, an item `bytes` each, there are; false when one is malformed, or they name more
 * shards than fit. */
bool parcels_check(const struct ts *ts, struct bytes parcels, uint64_t *n);
/* Live, after a RECEIVED record was applied: jobs that cannot end, bounds that improved. */
void move_received(struct ts *ts, struct bytes parcels);
/* Live: moves up to `most` ready tasks of the job; returns how many went. */
uint32_t move_tasks(struct ts *ts, struct job *job, struct id shard, uint32_t most);

/* Records: MOVED, RECEIVED, and of the snapshot AWAY, GONE. */
void apply_moved(struct ts *ts, const struct record *r);
bool moved_fits(struct ts *ts, const struct record *r);
void apply_received(struct ts *ts, const struct record *r);
bool received_fits(struct ts *ts, const struct record *r);
void restore_away(struct ts *ts, const struct record *r);
bool restore_away_fits(struct ts *ts, const struct record *r);
void restore_gone(struct ts *ts, const struct record *r);
bool restore_gone_fits(struct ts *ts, const struct record *r);
void put_away(struct buf *b, const struct job *job); /* body of AWAY */
void put_gone(struct buf *b, const struct ts *ts);   /* body of GONE */

#endif
