/* The network between the pair, the witness and the clients. */
#ifndef TESTS_SIM_PAIR_NET_H
#define TESTS_SIM_PAIR_NET_H

#include "tests/sim/pair-world.h"

static uint64_t delay(struct world *w, bool witness)
{
    if (witness && chance(w, 1000) < w->slow)
        return between(w, 1000, 3 * SECOND);
    if (chance(w, 1000) < w->late)
        return between(w, 1000, one_in(w, 4) ? 3 * SECOND : 200000);
    return between(w, 50, 1500);
}

/* A stream keeps its order; so the messages behind a late one are late, too. */
static uint64_t arrival(struct world *w, int from, int to)
{
    uint64_t after = delay(w, from == WITNESS || to == WITNESS), *last = &w->last_us[from][to];
    if (!w->ordered || from == WITNESS || to == WITNESS)
        return after;
    *last = w->now + after > *last ? w->now + after : *last;
    return *last - w->now;
}

/* Neither sibling waits long for the other's messages. */
static bool flows(const struct world *w)
{
    return w->last_us[0][1] < w->now + 50000 && w->last_us[1][0] < w->now + 50000;
}

/* Takes the event's data over. */
static void send(struct world *w, int from, int to, struct event e)
{
    if (w->cut_us[from][to] > w->now || chance(w, 1000) < w->drop) {
        spare_give(&w->spare, &e.data);
        return;
    }
    if (chance(w, 1000) < w->twice) {
        struct event again = e;
        again.data = spare_take(&w->spare);
        buf_add(&again.data, e.data.data, e.data.len);
        happen(w, delay(w, false), again);
    }
    happen(w, arrival(w, from, to), e);
}

#endif
