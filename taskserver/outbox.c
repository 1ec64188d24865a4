#include "taskserver/outbox.h"

#include <string.h>

#include "base/must.h"

enum { KEPT_BYTES = 4 << 20, SLACK_BYTES = 64 << 10 };

struct buf *outbox_begin(struct outbox *o, uint32_t kind, size_t *at)
{
    struct segment seg = {kind, 0};
    o->grants = 0;
    *at = o->b.len;
    buf_add(&o->b, &seg, sizeof seg);
    return &o->b;
}

void outbox_end(struct outbox *o, size_t at)
{
    uint32_t len = (uint32_t)(o->b.len - at - sizeof(struct segment));
    memcpy(o->b.data + at + offsetof(struct segment, len), &len, sizeof len);
    if (outbox_bytes(o) > o->largest)
        o->largest = outbox_bytes(o);
}

void outbox_add(struct outbox *o, uint32_t kind, struct bytes data)
{
    size_t at;
    buf_add(outbox_begin(o, kind, &at), data.data, data.len);
    outbox_end(o, at);
}

void outbox_grant(struct outbox *o, struct bytes grant, size_t goal)
{
    size_t at = o->grants - 1;
    bool grows = o->grants && o->b.len - at - sizeof(struct segment) + grant.len <= goal;
    if (!grows)
        outbox_begin(o, SEGMENT_GRANTS, &at);
    buf_add(&o->b, grant.data, grant.len);
    outbox_end(o, at);
    o->grants = at + 1;
}

uint8_t *outbox_first(struct outbox *o, struct segment *seg)
{
    if (o->head == o->b.len)
        return NULL;
    memcpy(seg, o->b.data + o->head, sizeof *seg);
    return o->b.data + o->head + sizeof *seg;
}

/* Moves what is left to the front when more than half of the buffer has been sent, so each byte is moved
 * about once at most. */
static void outbox_close_up(struct outbox *o)
{
    size_t left = outbox_bytes(o);
    if (left && (o->head < SLACK_BYTES || o->head < left))
        return;
    memmove(o->b.data, o->b.data + o->head, left);
    if (o->grants)
        o->grants -= o->head;
    o->b.len = left;
    o->head = 0;
    if (!left)
        buf_reset(&o->b, KEPT_BYTES);
}

void outbox_pop(struct outbox *o)
{
    struct segment seg;
    must(outbox_first(o, &seg));
    if (o->grants == o->head + 1)
        o->grants = 0;
    o->head += sizeof seg + seg.len;
    outbox_close_up(o);
}

void outbox_free(struct outbox *o)
{
    buf_free(&o->b);
}
