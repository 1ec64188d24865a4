/* What is to happen, soonest first; at the same time, in the order in which it was added.
 *
 * The heap moves keys of 16 bytes. The events themselves stay where they were put, in a slot that is used
 * again; memory is kept from one world to the next. */
#ifndef TESTS_SIM_HEAP_H
#define TESTS_SIM_HEAP_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

struct moment {
    uint64_t at_us;
    uint32_t order, slot;
};
struct heap {
    struct moment *moment;
    char *events; /* by slot */
    uint32_t *freed;
    uint32_t n, cap, slots, nfreed, order;
    size_t event_size;
};

static inline bool sooner(struct moment a, struct moment b)
{
    return a.at_us < b.at_us || (a.at_us == b.at_us && a.order < b.order);
}

static inline void *heap_event(const struct heap *h, uint32_t slot)
{
    return h->events + slot * h->event_size;
}

static inline void heap_grow(struct heap *h)
{
    h->cap = h->cap ? h->cap * 2 : 256;
    h->moment = realloc(h->moment, h->cap * sizeof *h->moment);
    h->freed = realloc(h->freed, h->cap * sizeof *h->freed);
    h->events = realloc(h->events, h->cap * h->event_size);
    must(h->moment && h->freed && h->events);
}

static inline void heap_add(struct heap *h, uint64_t at_us, const void *event)
{
    if (h->n == h->cap)
        heap_grow(h);
    struct moment m = {at_us, h->order++, h->nfreed ? h->freed[--h->nfreed] : h->slots++};
    uint32_t i = h->n++;
    for (; i && sooner(m, h->moment[(i - 1) / 2]); i = (i - 1) / 2)
        h->moment[i] = h->moment[(i - 1) / 2];
    h->moment[i] = m;
    memcpy(heap_event(h, m.slot), event, h->event_size);
}

/* Its time. There must be one. */
static inline uint64_t heap_take(struct heap *h, void *event)
{
    must(h->n);
    struct moment first = h->moment[0], last = h->moment[--h->n];
    uint32_t i = 0;
    for (uint32_t c; (c = 2 * i + 1) < h->n; i = c) {
        c += c + 1 < h->n && sooner(h->moment[c + 1], h->moment[c]);
        if (!sooner(h->moment[c], last))
            break;
        h->moment[i] = h->moment[c];
    }
    h->moment[i] = last;
    memcpy(event, heap_event(h, first.slot), h->event_size);
    h->freed[h->nfreed++] = first.slot;
    return first.at_us;
}

/* As new, for events of this size. */
static inline void heap_reset(struct heap *h, size_t event_size)
{
    must(h->n == 0 && (!h->cap || h->event_size == event_size));
    h->event_size = event_size;
    h->slots = h->nfreed = h->order = 0;
}

#endif
