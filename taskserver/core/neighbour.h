/* Neighbours: shards that a connection leads to just now. All of it is volatile.
 *
 * message = confirmed:varint first:varint parcels:bytes note*    (docs/PROTOCOL.md)
 *
 * Every message confirms; parcels are numbered from `first` on; notes are lost with the connection, and none
 * the worse. */
#ifndef TASKSERVER_CORE_NEIGHBOUR_H
#define TASKSERVER_CORE_NEIGHBOUR_H

#include "taskserver/core/steal.h"

struct job;
struct parcel;

struct neighbour {
    struct id shard;
    uint64_t rtt_us;
    struct channel *channel; /* borrowed; NULL: there was none among the first `looked` */
    uint32_t looked;
    uint64_t told;       /* what was confirmed last */
    bool tell;           /* confirm again, whether there is news or not */
    uint64_t since_us;   /* there is something to say that may wait for company; 0: nothing */
    bool faulted;        /* nothing it says is listened to before it connects again */
    struct parcel *sent; /* the last that was sent and is not confirmed; NULL: none */
    uint64_t sent_number;
    size_t flying; /* bytes of parcels sent and not confirmed */
    struct hunger hunger;
    uint64_t quiet_us;   /* it is not asked for work before, unless it says SOME */
    uint64_t refused_us; /* how long it was not to be asked after its last NONE; 0: since then it gave */
    bool rich;           /* it has more than it needs, as far as is known */
};

enum note_kind {
    NOTE_WANT = 1,  /* tasks for idle threads of these architectures */
    NOTE_NONE = 2,  /* the answer, when there is nothing to give now */
    NOTE_SOME = 3,  /* there would be something now */
    NOTE_BOUND = 4, /* a job's bound improved */
};
struct note {
    enum note_kind kind;
    struct want want;
    struct id job; /* BOUND */
    uint64_t born_us;
    uint32_t bound_kind;
    int64_t bound;
};

struct neighbour *neighbour_find(const struct ts *ts, struct id shard);
void neighbour_note(struct ts *ts, struct neighbour *n, const struct note *note);
void neighbours_send(struct ts *ts); /* what is held and not yet sent */
void neighbours_free(struct ts *ts);

void on_peer_up(struct ts *ts, const struct ts_event *e);
void on_peer_down(struct ts *ts, const struct ts_event *e);
void on_peer_rtt(struct ts *ts, const struct ts_event *e);
void on_peer_msg(struct ts *ts, const struct ts_event *e);

#endif
