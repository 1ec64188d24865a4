/* A byte ring in shared memory between one writer and one reader, and the bell that wakes the one that
 * sleeps.
 *
 * Messages are framed: a 4-byte head (length, and whether more of the same message follows) and the data,
 * padded to 4 bytes. A message longer than a quarter of the ring travels in fragments, so that one of 32 MiB
 * passes through a ring of 1 MiB. Each side keeps its own index and copy of the ring's size in private
 * memory; the shared words are only how it tells the other. The reader takes the content for hostile: every
 * index and length is checked, and data is copied out before anybody looks at it.
 *
 * Ordering: data, then head (release); the other side's sleeping flag is read after the head was stored, and
 * the sleeper looks at the head again after it stored its flag, all sequentially consistent (Dekker), so no
 * wake-up is lost and none is paid for while the other side is awake. */
#ifndef BASE_RING_H
#define BASE_RING_H

#include <stdatomic.h>

#include "base/bytes.h"

/* ---- The bell: one sleeper, any number of ringers ---- */

struct bell {
    _Atomic uint32_t asleep;
};

/* The sleeper says that it is about to sleep. It must look for work once more after this, then sleep or
 * disarm. */
static inline void bell_arm(struct bell *b)
{
    atomic_store(&b->asleep, 1);
}
static inline void bell_disarm(struct bell *b)
{
    atomic_store_explicit(&b->asleep, 0, memory_order_relaxed);
}
/* After publishing work: true when the other side sleeps and it falls to the caller to wake it. */
static inline bool bell_due(struct bell *b)
{
    return atomic_load(&b->asleep) != 0 && atomic_exchange(&b->asleep, 0) != 0;
}
/* Sleeps on an armed bell until it is rung, or earlier, by futex; disarms it. */
void bell_wait(struct bell *b);
/* Wakes who sleeps in bell_wait, after bell_due said so. */
void bell_wake(struct bell *b);

/* ---- The ring ---- */

#define RING_BYTES_MIN 256u

struct ring_shared {
    _Alignas(64) _Atomic uint32_t head; /* the writer's: bytes ever written, modulo 2^32 */
    _Alignas(64) _Atomic uint32_t tail; /* the reader's: bytes ever read */
    struct bell room;                   /* the writer sleeps here while the ring is full */
    _Alignas(64) uint8_t data[];
};

/* Memory for a ring of `size` data bytes, a power of two of at least RING_BYTES_MIN. Zeroed memory is an
 * empty ring. */
static inline size_t ring_bytes(uint32_t size)
{
    return sizeof(struct ring_shared) + size;
}

struct ring_writer {
    struct ring_shared *s; /* borrowed */
    uint32_t size, head, tail;
};

void ring_writer_init(struct ring_writer *w, struct ring_shared *s, uint32_t size);
/* Writes what there is room for of a message, from *done on, and moves *done. True when all of it is in;
 * until then no other message may be begun. Nothing shows to the reader before ring_publish. */
bool ring_put(struct ring_writer *w, struct bytes message, size_t *done);
/* Shows all that was put to the reader. */
void ring_publish(struct ring_writer *w);
/* Waits until the reader has made room; the reader must have been woken before. */
void ring_wait_room(struct ring_writer *w);

struct ring_reader {
    struct ring_shared *s; /* borrowed */
    uint32_t size, head, tail;
    size_t message_max;
    bool broken;     /* the content was not a writer's once */
    struct buf part; /* owned: the fragments of a message that is not whole yet */
};

void ring_reader_init(struct ring_reader *r, struct ring_shared *s, uint32_t size, size_t message_max);
void ring_reader_free(struct ring_reader *r);
/* Appends the next message to out: 1. There is none: 0. The content cannot be a writer's: CX_EPROTO, for
 * ever. */
int ring_get(struct ring_reader *r, struct buf *out);
/* Gives the room of all that was read back to the writer. True when the writer waits for that and it falls to
 * the caller to wake it: by bell_wake(&r->s->room), or as the two have agreed. */
bool ring_release(struct ring_reader *r);
/* True when nothing is there to read; a last look after bell_arm. */
bool ring_empty(struct ring_reader *r);

#endif
