/* What a parcel says. docs/PROTOCOL.md has the grammar.
 *
 * A parcel names shards by their ids, so it means the same on both sides and in every log. */
#ifndef TASKSERVER_CORE_PARCEL_H
#define TASKSERVER_CORE_PARCEL_H

#include "taskserver/core/ts.h"

enum parcel_kind {
    PARCEL_MOVE = 1,    /* ready tasks of a job, with the job's card */
    PARCEL_SLOT = 2,    /* a value for a slot in the receiving shard */
    PARCEL_DRAINED = 3, /* answers so many moved tasks and values: nothing comes of them any more here */
    PARCEL_FAILED = 4,  /* to the job's home: it failed in this shard */
    PARCEL_GONE = 5,    /* the job is over */
};

/* What every kind begins with. A job is named by its id and its time of birth, for an id may be used again
 * after the job was forgotten. The counts are what was done for the job and not yet told to its home. */
struct parcel_head {
    enum parcel_kind kind;
    struct id job;
    uint64_t born_us;
    uint64_t executed, busy_ns, commits;
};

/* A slot anywhere: the shard is a place in the parcel's table, or a number of this shard's. */
struct far_addr {
    struct id task;
    uint32_t slot, shard;
};

struct parcel_task {
    struct id id;
    uint32_t fn, depth, nslots, naddrs;
    int32_t priority;
    uint8_t crashes; /* runners that died under it */
    uint8_t bound_kind;
    int64_t bound;
    struct far_addr home;
    struct reader addrs; /* naddrs times far_addr_get */
    struct bytes values;
};

/* Borrowed from the bytes it was read from. */
struct parcel_view {
    struct parcel_head head;
    /* MOVE */
    struct id origin; /* the job's home */
    uint64_t content;
    struct ts_submit card; /* without the root's arguments */
    bool has_min, has_max;
    int64_t bound_min, bound_max;
    struct bytes shards; /* the table: nshards ids */
    uint32_t nshards, ntasks;
    struct bytes tasks;
    /* SLOT */
    struct id task;
    uint32_t slot;
    cx_value value;
    struct far_addr at; /* where value is an address; at_shard says in which shard */
    struct id at_shard;
    /* DRAINED */
    uint64_t answers;
    /* FAILED */
    struct bytes reason;
};

void put_parcel_head(struct buf *b, const struct parcel_head *h);
void put_far_addr(struct buf *b, const struct far_addr *a);
bool far_addr_get(struct reader *r, struct far_addr *a);
struct id parcel_shard(const struct parcel_view *v, uint32_t place); /* of the table */
enum haste parcel_haste(struct bytes parcel);
/* Reads a parcel and checks it whole, so that it can be applied to any state. */
bool parcel_get(struct bytes parcel, struct parcel_view *v);
/* Walks the tasks of a MOVE: start with a reader on v->tasks. */
bool parcel_task_get(struct reader *r, const struct parcel_view *v, struct parcel_task *t);

/* The modules and the input of the first MOVE among these parcels; borrowed. Returns how many. */
size_t parcels_blobs(struct bytes parcels, const uint8_t *sha256[], size_t max);

#endif
