/* Channels to the other shards of the network: what goes there arrives once and in order.
 *
 * Other shards are named by 128-bit ids; each is given a small number here, in the order they are first heard
 * of in the log, so that an address costs 12 bits for its shard. Number 0 is this shard. A channel's outgoing
 * parcels are made by applying log records, and kept until the other shard confirms them; so a restarted
 * server or a replica has the very same ones under the same numbers. A parcel leaves when the record that
 * made it is held; what arrived is confirmed when the record that applied it is held (law 8). After any break
 * the sender begins again at the first that is not confirmed, and the receiver drops what it has applied:
 * that is all there is to exactly-once. */
#ifndef TASKSERVER_CORE_CHANNEL_H
#define TASKSERVER_CORE_CHANNEL_H

#include "base/pack.h"

#define SHARDS_MAX 4096u /* what 12 bits of an address can name, this one included */

struct ts;
struct record;

/* How soon a parcel is to leave. What may wait goes in company: a message costs both sides more than a
 * parcel.
 */
enum haste {
    HASTE_ANSWER, /* nothing runs by it */
    HASTE_VALUE,  /* something may be made ready by it: it waits while everybody is known to have work */
    HASTE_NOW,
};

struct parcel {
    struct parcel *next;
    uint64_t lsn; /* of the record that made it */
    size_t len;
    enum haste haste;
    uint8_t data[];
};

struct channel {
    struct id shard;
    uint32_t index; /* in ts->channel, and in addresses */
    /* durable */
    uint64_t sealed;             /* number of the last parcel that was made */
    uint64_t confirmed;          /* number of the last that the other shard has */
    struct parcel *first, *last; /* owned: those between */
    uint64_t applied;            /* number of the last that came from there */
    /* volatile */
    uint64_t held;           /* the last that came from there and is held: confirmed up to here */
    uint64_t mark, mark_lsn; /* this one is held when that record is */
    uint64_t value_lsn;      /* of the record that made the last value */
    uint64_t given, taken;   /* tasks */
};

/* The number of a shard; SHARDS_MAX when it has none. */
uint32_t channel_find(const struct ts *ts, struct id shard);
/* The same, and gives it one. There must be room: see channel_room. In apply only: numbers are durable. */
uint32_t channel_intern(struct ts *ts, struct id shard);
bool channel_room(const struct ts *ts, uint64_t more);
struct id channel_shard(const struct ts *ts, uint32_t index);
/* Seals a parcel. In apply only. */
void channel_post(struct ts *ts, uint32_t index, struct bytes parcel);
/* What came from there up to this number was applied by the record ts->lsn. */
void channel_applied(struct ts *ts, struct channel *c, uint64_t number);
void channels_held(struct ts *ts); /* ts->held has moved */
void channels_free(struct ts *ts);
uint64_t channels_bytes(const struct ts *ts); /* of the pool */
void channels_check(const struct ts *ts);

/* Records: CONFIRMED, and of the snapshot SHARD and PARCEL. */
void apply_confirmed(struct ts *ts, const struct record *r);
bool confirmed_fits(struct ts *ts, const struct record *r);
void restore_shard(struct ts *ts, const struct record *r);
bool restore_shard_fits(struct ts *ts, const struct record *r);
void restore_parcel(struct ts *ts, const struct record *r);
bool restore_parcel_fits(struct ts *ts, const struct record *r);

#endif
