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

/* Takes the event's data over. */
static void send(struct world *w, int from, int to, struct event e)
{
    bool witness = from == WITNESS || to == WITNESS;
    if (w->cut_us[from][to] > w->now || chance(w, 1000) < w->drop) {
        buf_free(&e.data);
        return;
    }
    if (chance(w, 1000) < w->twice) {
        struct event again = e;
        again.data = (struct buf){0};
        buf_add(&again.data, e.data.data, e.data.len);
        happen(w, delay(w, witness), again);
    }
    happen(w, delay(w, witness), e);
}

#endif
