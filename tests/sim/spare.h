/* Buffers that are used again: a simulator makes and drops one for nearly every message. */
#ifndef TESTS_SIM_SPARE_H
#define TESTS_SIM_SPARE_H

#include "base/bytes.h"

enum { SPARES = 64, SPARE_BYTES_MAX = 4096 };

struct spare {
    struct buf buf[SPARES];
    uint32_t n;
};

static inline struct buf spare_take(struct spare *s)
{
    return s->n ? s->buf[--s->n] : (struct buf){0};
}

/* Takes the buffer over. */
static inline void spare_give(struct spare *s, struct buf *b)
{
    if (!b->data)
        return;
    if (s->n == SPARES || b->cap > SPARE_BYTES_MAX) {
        buf_free(b);
        return;
    }
    buf_clear(b);
    s->buf[s->n++] = *b;
    *b = (struct buf){0};
}

#endif
