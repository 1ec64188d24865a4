/* Stealing: a shard whose producers are idle asks others for ready tasks.
 *
 * Who is asked next is the policy's; everything else is the same for all. The one who is asked gives about
 * half of what it has ready, the most urgent and shallowest, or says NONE, counts the asker as hungry, so
 * that its runners publish, and says SOME when there is something. Nothing here is durable. */
#ifndef TASKSERVER_CORE_STEAL_H
#define TASKSERVER_CORE_STEAL_H

#include "taskserver/core/ts.h"

#define WANT_ARCHES_MAX 4u

struct neighbour;

struct want {
    uint32_t tasks;
    uint32_t arches;
    char arch[WANT_ARCHES_MAX][16];
};

/* What a neighbour asked for in vain. */
struct hunger {
    struct want want;
    bool open;            /* it waits to hear that there is something */
    uint64_t until_us;    /* so long our runners are to publish for it */
    uint64_t told_us;     /* when SOME was said last */
    uint64_t expected_us; /* it comes for it until then */
};

struct steal {
    uint64_t chance;
    struct neighbour *asked; /* NULL: nobody is to answer */
    uint32_t asked_tasks;
    uint64_t patience_us; /* its answer is waited for until then */
    uint64_t next_us, gap_us;
    uint32_t turn;   /* the neighbour that is told next */
    uint32_t open;   /* neighbours that wait to hear of work */
    uint64_t due_us; /* when to come again */
};

void steal_init(struct ts *ts);
void steal(struct ts *ts);                  /* at the end of each step */
uint32_t steal_hunger(const struct ts *ts); /* threads elsewhere that lack work */

void steal_found(struct ts *ts, struct neighbour *n);
void steal_lost(struct ts *ts, struct neighbour *n);
/* What it says. */
void steal_asked(struct ts *ts, struct neighbour *n, const struct want *want);
void steal_refused(struct ts *ts, struct neighbour *n);
void steal_invited(struct ts *ts, struct neighbour *n);
void steal_given(struct ts *ts, struct neighbour *n, uint64_t tasks);

#endif
