/* What waits to be sent on one stream, in order: encoded messages, packed grants, and notes of what is to be
 * rendered when its turn comes (so that what a slow peer has not read yet costs a few bytes, and is never
 * stale). One buffer; in a steady state nothing is allocated. */
#ifndef TASKSERVER_OUTBOX_H
#define TASKSERVER_OUTBOX_H

#include "base/bytes.h"

enum segment_kind {
    SEGMENT_MESSAGE, /* data is one encoded message */
    SEGMENT_GRANTS,  /* data is packed grants; grows while it is the last and shorter than a batch */
    SEGMENT_NOTE,    /* and above: the stream's own */
};

struct segment {
    uint32_t kind;
    uint32_t len;
};

struct outbox {
    struct buf b;
    size_t head;    /* of the first segment in b */
    size_t grants;  /* 1 + where the last segment is, if it is grants that may grow; 0: none */
    size_t largest; /* bytes ever in it at once */
};

static inline size_t outbox_bytes(const struct outbox *o)
{
    return o->b.len - o->head;
}
void outbox_add(struct outbox *o, uint32_t kind, struct bytes data);
/* For data that is written in place: begin, append to the buffer, end. */
struct buf *outbox_begin(struct outbox *o, uint32_t kind, size_t *at);
void outbox_end(struct outbox *o, size_t at);
/* Appends one packed grant: to the last batch, or as a new one when that is `goal` bytes long or something
 * else has been added behind it. */
void outbox_grant(struct outbox *o, struct bytes grant, size_t goal);
/* The first segment: its data may be changed in place until the next call of any function. NULL: empty. */
uint8_t *outbox_first(struct outbox *o, struct segment *seg);
void outbox_pop(struct outbox *o);
void outbox_free(struct outbox *o);

#endif
