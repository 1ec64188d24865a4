/* Stealing: a shard whose producers are idle asks others for ready tasks.
 *
 * Who is asked next is the policy's; everything else is the same for all. The one who is asked gives up to
 * half of what it has ready, the most urgent and shallowest, or says NONE, counts the asker as hungry, so
 * that its runners publish, and says SOME when there is something. How much is asked for, and how soon again,
 * follows from what the last gift was worth. Nothing here is durable. */
#ifndef TASKSERVER_CORE_STEAL_H
#define TASKSERVER_CORE_STEAL_H

#include "taskserver/core/ts.h"

#define WANT_ARCHES_MAX 4u

struct neighbour;

struct want {
    uint32_t threads; /* that lack work */
    uint32_t tasks;   /* for all of them */
    uint32_t arches;
    char arch[WANT_ARCHES_MAX][16];
};

/* What a neighbour asked for in vain. */
struct hunger {
    struct want want;
    bool open;            /* it waits to hear that there is something; until then runners publish for it */
    uint64_t told_us;     /* when SOME was said last */
    uint64_t expected_us; /* it comes for it until then */
};

/* What the last gift was, until it is known what it was worth. */
enum gift { GIFT_JUDGED, GIFT_SOME, GIFT_ALL };

struct steal {
    uint64_t chance;
    struct neighbour *asked; /* NULL: nobody is to answer */
    uint32_t asked_tasks;
    uint64_t patience_us; /* its answer is waited for until then */
    enum gift gift;
    uint64_t worked_ns;           /* what producers here were busy with since the last gift */
    uint32_t ask;                 /* tasks asked for, for each thread */
    uint64_t pause_us, resume_us; /* after a gift that was not worth it: nobody is asked before */
    uint32_t turn;                /* the neighbour that is told next */
    uint32_t open;                /* neighbours that wait to hear of work */
    uint64_t due_us;              /* when to come again */
};

void steal_init(struct ts *ts);
void steal(struct ts *ts);                  /* at the end of each step */
uint32_t steal_hunger(const struct ts *ts); /* threads elsewhere that lack work */
/* Ready tasks that are not prefetched here: those who wait elsewhere may come for them. */
uint64_t steal_reserve(const struct ts *ts);

void steal_lost(struct ts *ts, struct neighbour *n);
/* What it says. */
void steal_asked(struct ts *ts, struct neighbour *n, const struct want *want);
void steal_refused(struct ts *ts, struct neighbour *n);
void steal_invited(struct neighbour *n);
void steal_given(struct ts *ts, struct neighbour *n, uint64_t tasks);

#endif
