#include "base/pack.h"

uint64_t get_varint_long(struct reader *r)
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
