/* The packed encoding of the hot records: little-endian fixed fields, LEB128 varints, tagged values.
 *
 * Grants, commits and log records are written and read millions of times a second, and the runner, which may
 * not link the wire's libraries, writes them too; so they have one plain encoding of their own, carried as
 * bytes inside the protobuf messages. docs/PROTOCOL.md has the grammar.
 *
 * A reader never reads past its end: the first thing that does not fit sets `bad`, and all that is read after
 * that is zero. Check `bad` once, at the end of a record. */
#ifndef BASE_PACK_H
#define BASE_PACK_H

#include <string.h>

#include "base/bytes.h"
#include "base/id.h"
#include "cx/value.h"

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

static inline struct reader reader_of(struct bytes b)
{
    const uint8_t *from = b.data ? b.data : (const uint8_t *)""; /* no arithmetic on a null pointer */
    return (struct reader){from, from + b.len, false};
}
static inline bool reader_more(const struct reader *r)
{
    return !r->bad && r->at < r->end;
}

/* ---- Reading; inline, since a record is a dozen of these ---- */

/* The next n bytes, or NULL. */
static inline const uint8_t *reader_take(struct reader *r, size_t n)
{
    if (__builtin_expect(r->bad || (size_t)(r->end - r->at) < n, 0)) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->at;
    r->at += n;
    return p;
}

static inline uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t load_u64(const uint8_t *p)
{
    return load_u32(p) | (uint64_t)load_u32(p + 4) << 32;
}

static inline uint8_t get_u8(struct reader *r)
{
    const uint8_t *p = reader_take(r, 1);
    return p ? *p : 0;
}
static inline uint32_t get_u32(struct reader *r)
{
    const uint8_t *p = reader_take(r, 4);
    return p ? load_u32(p) : 0;
}
static inline uint64_t get_u64(struct reader *r)
{
    const uint8_t *p = reader_take(r, 8);
    return p ? load_u64(p) : 0;
}
uint64_t get_varint_long(struct reader *r);
static inline uint64_t get_varint(struct reader *r) /* at most 10 bytes, canonical length not required */
{
    if (!r->bad && r->at < r->end && *r->at < 0x80)
        return *r->at++;
    return get_varint_long(r);
}
static inline uint64_t get_varint_max(struct reader *r, uint64_t max) /* bad when above max */
{
    uint64_t v = get_varint(r);
    if (v <= max)
        return v;
    r->bad = true;
    return 0;
}
static inline int64_t get_zigzag(struct reader *r)
{
    uint64_t v = get_varint(r);
    return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}
static inline struct id get_id(struct reader *r)
{
    const uint8_t *p = reader_take(r, 16);
    return p ? (struct id){load_u64(p), load_u64(p + 8)} : (struct id){0, 0};
}
static inline struct bytes get_raw(struct reader *r, size_t len) /* exactly len bytes; borrowed */
{
    const uint8_t *p = reader_take(r, len);
    return p ? (struct bytes){p, len} : (struct bytes){NULL, 0};
}
static inline struct bytes get_bytes(struct reader *r, size_t max) /* varint length, then data; borrowed */
{
    return get_raw(r, get_varint_max(r, max));
}

/* ---- Writing ---- */

static inline void store_u32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}
static inline void store_u64(uint8_t *p, uint64_t v)
{
    store_u32(p, (uint32_t)v);
    store_u32(p + 4, (uint32_t)(v >> 32));
}

/* Where the next n bytes go. */
static inline uint8_t *buf_more(struct buf *b, size_t n)
{
    buf_reserve(b, n);
    b->len += n;
    return b->data + b->len - n;
}

static inline void put_u8(struct buf *b, uint8_t v)
{
    *buf_more(b, 1) = v;
}
static inline void put_u32(struct buf *b, uint32_t v)
{
    store_u32(buf_more(b, 4), v);
}
static inline void put_u64(struct buf *b, uint64_t v)
{
    store_u64(buf_more(b, 8), v);
}
static inline void put_varint(struct buf *b, uint64_t v)
{
    buf_reserve(b, 10);
    for (; v >= 0x80; v >>= 7)
        b->data[b->len++] = (uint8_t)(v | 0x80);
    b->data[b->len++] = (uint8_t)v;
}
static inline void put_zigzag(struct buf *b, int64_t v)
{
    put_varint(b, (uint64_t)v << 1 ^ (uint64_t)(v >> 63));
}
static inline void put_id(struct buf *b, struct id id)
{
    uint8_t *p = buf_more(b, 16);
    store_u64(p, id.hi);
    store_u64(p + 8, id.lo);
}
void put_bytes(struct buf *b, struct bytes v);

/* ---- Values ---- */

/* A value without addresses: one tag byte (enum cx_type), then zigzag varint, 8-byte double, or length and
 * data. CX_ADDR is the tag alone: what the address is, is known only to the one who keeps the task (see
 * commit.h). */
void put_value(struct buf *b, cx_value v);
cx_value get_value(struct reader *r);

#endif
