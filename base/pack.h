/* The packed encoding of the hot records: little-endian fixed fields, LEB128 varints, tagged values.
 *
 * Grants, commits and log records are written and read millions of times a second, and the runner, which may not
 * link the wire's libraries, writes them too; so they have one plain encoding of their own, carried as bytes
 * inside the protobuf messages. docs/PROTOCOL.md has the grammar.
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
uint8_t get_u8(struct reader *r);
uint32_t get_u32(struct reader *r);
uint64_t get_u64(struct reader *r);
uint64_t get_varint(struct reader *r);                       /* at most 10 bytes, canonical length not required */
uint64_t get_varint_max(struct reader *r, uint64_t max);     /* bad when above max */
int64_t get_zigzag(struct reader *r);
struct id get_id(struct reader *r);
struct bytes get_bytes(struct reader *r, size_t max);        /* varint length, then data; borrowed */
struct bytes get_raw(struct reader *r, size_t len);          /* exactly len bytes; borrowed */

void put_u8(struct buf *b, uint8_t v);
void put_u32(struct buf *b, uint32_t v);
void put_u64(struct buf *b, uint64_t v);
void put_varint(struct buf *b, uint64_t v);
void put_zigzag(struct buf *b, int64_t v);
void put_id(struct buf *b, struct id id);
void put_bytes(struct buf *b, struct bytes v);

/* A value without addresses: one tag byte (enum cx_type), then zigzag varint, 8-byte double, or length and data.
 * CX_ADDR is the tag alone: what the address is, is known only to the one who keeps the task (see commit.h). */
void put_value(struct buf *b, cx_value v);
cx_value get_value(struct reader *r);

#endif
