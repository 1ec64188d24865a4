#include "base/ring.h"

#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/must.h"
#include "cx/error.h"

#define FRAME_HEAD 4u
#define FRAME_MORE 0x80000000u /* the message goes on in the next frame */

static uint32_t padded(uint32_t len)
{
    return (len + 3u) & ~3u;
}

/* The futex is shared between processes, so without FUTEX_PRIVATE_FLAG. */
static void futex(_Atomic uint32_t *word, int op, uint32_t value)
{
    syscall(SYS_futex, (void *)word, op, value, NULL, NULL, 0);
}

void bell_wait(struct bell *b)
{
    while (atomic_load(&b->asleep))
        futex(&b->asleep, FUTEX_WAIT, 1);
}

void bell_wake(struct bell *b)
{
    futex(&b->asleep, FUTEX_WAKE, INT_MAX);
}

static void check_size(uint32_t size)
{
    must(size >= RING_BYTES_MIN && size <= (1u << 30) && (size & (size - 1)) == 0);
}

void ring_writer_init(struct ring_writer *w, struct ring_shared *s, uint32_t size)
{
    check_size(size);
    *w = (struct ring_writer){.s = s, .size = size};
}

/* A reader that lies about its index gains nothing: writes stay inside the ring, and a senseless one reads as
 * full. */
static bool has_room(struct ring_writer *w, uint32_t need)
{
    if (w->size - (w->head - w->tail) >= need)
        return true;
    uint32_t tail = atomic_load(&w->s->tail);
    if (w->head - tail > w->size)
        return false;
    w->tail = tail;
    return w->size - (w->head - tail) >= need;
}

static void copy_in(struct ring_writer *w, uint32_t at, const void *data, uint32_t len)
{
    at &= w->size - 1;
    uint32_t first = w->size - at < len ? w->size - at : len;
    memcpy(w->s->data + at, data, first);
    memcpy(w->s->data, (const uint8_t *)data + first, len - first);
}

static uint32_t frame_max(uint32_t size)
{
    return size / 4 - FRAME_HEAD;
}

bool ring_put(struct ring_writer *w, struct bytes message, size_t *done)
{
    do {
        size_t left = message.len - *done;
        uint32_t len = left < frame_max(w->size) ? (uint32_t)left : frame_max(w->size);
        uint32_t need = FRAME_HEAD + padded(len);
        if (!has_room(w, need))
            return false;
        uint32_t head = len | (len < left ? FRAME_MORE : 0);
        copy_in(w, w->head, &head, FRAME_HEAD);
        if (len)
            copy_in(w, w->head + FRAME_HEAD, message.data + *done, len);
        w->head += need;
        *done += len;
    } while (*done < message.len);
    return true;
}

void ring_publish(struct ring_writer *w)
{
    atomic_store(&w->s->head, w->head);
}

void ring_wait_room(struct ring_writer *w)
{
    bell_arm(&w->s->room);
    if (has_room(w, FRAME_HEAD + padded(frame_max(w->size))))
        bell_disarm(&w->s->room);
    else
        bell_wait(&w->s->room);
}

void ring_reader_init(struct ring_reader *r, struct ring_shared *s, uint32_t size, size_t message_max)
{
    check_size(size);
    *r = (struct ring_reader){.s = s, .size = size, .message_max = message_max};
}

void ring_reader_free(struct ring_reader *r)
{
    buf_free(&r->part);
}

static void copy_out(struct ring_reader *r, uint32_t at, void *data, uint32_t len)
{
    at &= r->size - 1;
    uint32_t first = r->size - at < len ? r->size - at : len;
    memcpy(data, r->s->data + at, first);
    memcpy((uint8_t *)data + first, r->s->data, len - first);
}

static void append_out(struct ring_reader *r, struct buf *out, uint32_t len)
{
    if (!len)
        return;
    buf_reserve(out, len);
    copy_out(r, r->tail + FRAME_HEAD, out->data + out->len, len);
    out->len += len;
}

/* The next frame's head, copied and checked once: what the other side does to it afterwards does not matter.
 */
static int next_frame(struct ring_reader *r, uint32_t *len, bool *more)
{
    if (r->head == r->tail)
        r->head = atomic_load_explicit(&r->s->head, memory_order_acquire);
    uint32_t there = r->head - r->tail;
    if (there == 0)
        return 0;
    if (there > r->size || there < FRAME_HEAD || there % 4)
        return CX_EPROTO;
    uint32_t head;
    copy_out(r, r->tail, &head, FRAME_HEAD);
    *more = head & FRAME_MORE;
    *len = head & ~FRAME_MORE;
    if (*len > frame_max(r->size) || FRAME_HEAD + padded(*len) > there)
        return CX_EPROTO;
    if (r->part.len + *len > r->message_max)
        return CX_EPROTO;
    return 1;
}

int ring_get(struct ring_reader *r, struct buf *out)
{
    for (;;) {
        uint32_t len;
        bool more;
        int rc = r->broken ? CX_EPROTO : next_frame(r, &len, &more);
        r->broken = rc < 0;
        if (rc <= 0)
            return rc;
        bool whole = !more && r->part.len == 0;
        append_out(r, whole ? out : &r->part, len);
        r->tail += FRAME_HEAD + padded(len);
        if (more)
            continue;
        if (!whole) {
            buf_add(out, r->part.data, r->part.len);
            buf_free(&r->part);
        }
        return 1;
    }
}

bool ring_release(struct ring_reader *r)
{
    atomic_store(&r->s->tail, r->tail);
    return bell_due(&r->s->room);
}

bool ring_empty(struct ring_reader *r)
{
    return r->head == r->tail && atomic_load(&r->s->head) == r->tail;
}
