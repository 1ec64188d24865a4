/* A borrowed run of bytes, and a growable buffer that owns some. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrowed; valid as long as whoever owns the memory says. */
struct bytes {
    const uint8_t *data;
    size_t len;
};

/* Owned by its holder; {0} is an empty buffer. Running out of memory aborts the process: a daemon that cannot
 * allocate a message is restarted by its log, and limits keep it from getting there. */
struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
};

void buf_free(struct buf *b);
void buf_grow(struct buf *b, size_t more);
static inline void buf_reserve(struct buf *b, size_t more) /* room for at least `more` bytes after len */
{
    if (b->cap - b->len < more)
        buf_grow(b, more);
}
void buf_add(struct buf *b, const void *data, size_t len);

/* Empties it, and gives its memory back when that is more than `keep` bytes: one huge message should not be
 * paid for ever after. */
void buf_reset(struct buf *b, size_t keep);

static inline void buf_clear(struct buf *b)
{
    b->len = 0;
}
static inline struct bytes buf_bytes(const struct buf *b)
{
    return (struct bytes){b->data, b->len};
}
static inline struct bytes bytes_of(const void *data, size_t len)
{
    return (struct bytes){data, len};
}
struct bytes bytes_str(const char *s);
bool bytes_equal(struct bytes a, struct bytes b);

#endif
