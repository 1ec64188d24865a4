/* Messages as C structs: the generated structs of cx.proto, with strings and bytes as borrowed slices. */
#ifndef PROTO_MSG_H
#define PROTO_MSG_H

#include "base/bytes.h"
#include "cx/error.h"
#include "proto/cx.pb.h"

#define PROTOCOL_VERSION 1u
#define MSG_BYTES_MAX    (40u << 20) /* one message on the wire, both ways */
#define PACKED_BYTES_GOAL                                                                                    \
    (64u << 10) /* a batch of packed records is sent when it is this long, or sooner                         \
                 */
#define BLOB_CHUNK_MAX (1u << 20)
#define BLOB_BYTES_MAX (1u << 30)
#define MSG_TEXT_MAX   256

/* Decodes one message. Slices in *out point into data, so they live as long as data does. On CX_EPROTO or
 * CX_ELIMIT, text (MSG_TEXT_MAX bytes) says which field of which message and why. */
int msg_decode(struct bytes data, cx_Msg *out, char *text);

/* Appends the encoding to out. Aborts on a message that is over the maxima: that is a bug of the sender. */
void msg_encode(const cx_Msg *m, struct buf *out);

/* "submit", "grants", ...; for diagnostics. */
const char *msg_kind(const cx_Msg *m);

/* Copies a slice into a C string of cap bytes, cutting what is too long; returns dst. */
char *msg_str(char *dst, size_t cap, struct bytes s);

#endif
