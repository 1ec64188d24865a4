#include "base/pack.h"

static const uint8_t *take(struct reader *r, size_t n)
{
    if (r->bad || (size_t)(r->end - r->at) < n) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->at;
    r->at += n;
    return p;
}

uint8_t get_u8(struct reader *r)
{
    const uint8_t *p = take(r, 1);
    return p ? *p : 0;
}

uint32_t get_u32(struct reader *r)
{
    const uint8_t *p = take(r, 4);
    return p ? (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24 : 0;
}

uint64_t get_u64(struct reader *r)
{
    uint64_t lo = get_u32(r);
    return lo | (uint64_t)get_u32(r) << 32;
}

uint64_t get_varint(struct reader *r)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        uint8_t byte = get_u8(r);
        if (shift == 63 && byte > 1)
            break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return r->bad ? 0 : v;
    }
    r->bad = true;
    return 0;
}

uint64_t get_varint_max(struct reader *r, uint64_t max)
{
    uint64_t v = get_varint(r);
    if (v <= max)
        return v;
    r->bad = true;
    return 0;
}

int64_t get_zigzag(struct reader *r)
{
    uint64_t v = get_varint(r);
    return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}

struct id get_id(struct reader *r)
{
    struct id id;
    id.hi = get_u64(r);
    id.lo = get_u64(r);
    return r->bad ? (struct id){0, 0} : id;
}

struct bytes get_raw(struct reader *r, size_t len)
{
    const uint8_t *p = take(r, len);
    return p ? (struct bytes){p, len} : (struct bytes){NULL, 0};
}

struct bytes get_bytes(struct reader *r, size_t max)
{
    return get_raw(r, get_varint_max(r, max));
}

void put_u8(struct buf *b, uint8_t v)
{
    buf_reserve(b, 1);
    b->data[b->len++] = v;
}

void put_u32(struct buf *b, uint32_t v)
{
    uint8_t p[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    buf_add(b, p, sizeof p);
}

void put_u64(struct buf *b, uint64_t v)
{
    put_u32(b, (uint32_t)v);
    put_u32(b, (uint32_t)(v >> 32));
}

void put_varint(struct buf *b, uint64_t v)
{
    buf_reserve(b, 10);
    while (v >= 0x80) {
        b->data[b->len++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    b->data[b->len++] = (uint8_t)v;
}

void put_zigzag(struct buf *b, int64_t v)
{
    put_varint(b, (uint64_t)v << 1 ^ (uint64_t)(v >> 63));
}

void put_id(struct buf *b, struct id id)
{
    put_u64(b, id.hi);
    put_u64(b, id.lo);
}

void put_bytes(struct buf *b, struct bytes v)
{
    put_varint(b, v.len);
    buf_add(b, v.data, v.len);
}

void put_value(struct buf *b, cx_value v)
{
    put_u8(b, (uint8_t)v.type);
    if (v.type == CX_I64) {
        put_zigzag(b, v.as.i64);
    } else if (v.type == CX_F64) {
        uint64_t bits;
        memcpy(&bits, &v.as.f64, sizeof bits);
        put_u64(b, bits);
    } else if (v.type == CX_BYTES) {
        put_bytes(b, bytes_of(v.as.bytes, v.len));
    }
}

static double f64_of(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

cx_value get_value(struct reader *r)
{
    struct bytes b;
    switch (get_u8(r)) {
    case CX_NONE:
        return cx_v_none();
    case CX_I64:
        return cx_v_i64(get_zigzag(r));
    case CX_F64:
        return cx_v_f64(f64_of(get_u64(r)));
    case CX_BYTES:
        b = get_bytes(r, CX_VALUE_BYTES_MAX);
        return r->bad ? cx_v_none() : cx_v_bytes(b.data, b.len);
    case CX_ADDR:
        return cx_v_addr((cx_addr){0, 0, 0});
    default:
        r->bad = true;
        return cx_v_none();
    }
}
