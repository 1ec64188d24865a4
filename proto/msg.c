#include "proto/msg.h"

#include <pb_decode.h>
#include <pb_encode.h>
#include <stdio.h>
#include <string.h>

#include "base/must.h"
#include "proto/limits.h"

#define HEAD_BYTES_MAX 24 /* of Msg around its body: req, the body's tag and its length */

/* The decoder's stream: a cursor over the message's buffer. A stream of our own, instead of nanopb's buffer
 * stream, lets the slice callback tell the message's buffer from the scratch buffer on the stack that nanopb
 * hands over when the wire type is a number: borrowing from that one would leave a dangling slice. */
struct cursor {
    const uint8_t *at;
};

static bool cursor_read(pb_istream_t *stream, pb_byte_t *dst, size_t count)
{
    struct cursor *c = stream->state;
    if (dst)
        memcpy(dst, c->at, count);
    c->at += count;
    return true;
}

static bool slice_decode(pb_istream_t *stream, struct bytes *out)
{
    if (stream->callback != cursor_read)
        return false;
    struct cursor *c = stream->state;
    *out = bytes_of(c->at, stream->bytes_left);
    c->at += stream->bytes_left;
    stream->bytes_left = 0;
    return true;
}

static bool slice_encode(pb_ostream_t *stream, const pb_field_t *field, struct bytes s)
{
    if (s.len == 0)
        return true;
    return pb_encode_tag_for_field(stream, field) && pb_encode_string(stream, s.data, s.len);
}

/* Every string and bytes field of the schema comes here (cx.options). */
bool cx_slice_callback(pb_istream_t *istream, pb_ostream_t *ostream, const pb_field_t *field)
{
    if (istream)
        return slice_decode(istream, field->pData);
    return slice_encode(ostream, field, *(const struct bytes *)field->pData);
}

const char *msg_kind(const cx_Msg *m)
{
    const struct msg_rules *r = msg_rules_of(m->which_body);
    return r ? r->name : "unknown";
}

int msg_decode(struct bytes data, cx_Msg *out, char *text)
{
    if (data.len > MSG_BYTES_MAX) {
        snprintf(text, MSG_TEXT_MAX, "message: %zu bytes, limit %u", data.len, MSG_BYTES_MAX);
        return CX_ELIMIT;
    }
    /* All zero is every field's default, so nanopb need not set them again. */
    cx_Msg m = {0};
    struct cursor c = {data.data};
    pb_istream_t stream = {.callback = cursor_read, .state = &c, .bytes_left = data.len};
    if (!pb_decode_ex(&stream, cx_Msg_fields, &m, PB_DECODE_NOINIT)) {
        /* nanopb has a text for everything but our callback's refusal of a number. */
        snprintf(text, MSG_TEXT_MAX, "%s: malformed: %s", m.which_body ? msg_kind(&m) : "message",
                 stream.errmsg ? stream.errmsg : "a number where bytes belong");
        return CX_EPROTO;
    }
    int e = limits_check(&m, text);
    if (e == 0)
        *out = m;
    return e;
}

static size_t varint_write(uint8_t *at, uint64_t v)
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        at[n++] = (uint8_t)(v | 0x80);
    at[n++] = (uint8_t)v;
    return n;
}

/* Msg itself is written by hand: nanopb would walk its thirty-four alternatives three times, which took seven
 * times as long as all the rest. The body is sized first, which touches no payload, so that a large slice is
 * copied once, to its place. */
void msg_encode(const cx_Msg *m, struct buf *out)
{
    char text[MSG_TEXT_MAX];
    if (limits_check(m, text) != 0) {
        fprintf(stderr, "msg_encode: %s\n", text);
        abort();
    }
    const pb_msgdesc_t *fields = msg_rules_of(m->which_body)->fields;
    size_t size;
    must(pb_get_encoded_size(&size, fields, &m->body));
    must(size <= MSG_BYTES_MAX - HEAD_BYTES_MAX);
    buf_reserve(out, HEAD_BYTES_MAX + size);
    if (m->req) {
        out->data[out->len++] = cx_Msg_req_tag << 3 | PB_WT_VARINT;
        out->len += varint_write(out->data + out->len, m->req);
    }
    out->len += varint_write(out->data + out->len, (uint64_t)m->which_body << 3 | PB_WT_STRING);
    out->len += varint_write(out->data + out->len, size);
    pb_ostream_t stream = pb_ostream_from_buffer(out->data + out->len, size);
    must(pb_encode(&stream, fields, &m->body) && stream.bytes_written == size);
    out->len += size;
}

char *msg_str(char *dst, size_t cap, struct bytes s)
{
    size_t n = s.len < cap ? s.len : cap - 1;
    while (n < s.len && n > 0 && (s.data[n] & 0xc0) == 0x80)
        n--; /* not in the middle of a character */
    if (n)
        memcpy(dst, s.data, n);
    dst[n] = 0;
    return dst;
}
