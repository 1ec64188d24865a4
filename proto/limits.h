/* The maxima of every field on the wire, in one table: what a decoded message is checked by, and what our own
 * messages are held to before they are encoded. docs/PROTOCOL.md prints it. */
#ifndef PROTO_LIMITS_H
#define PROTO_LIMITS_H

#include <stdbool.h>

#include "proto/msg.h"

enum limit_kind {
    LIMIT_TEXT = 1,      /* UTF-8 without NUL, at most max bytes */
    LIMIT_BYTES,         /* at most max bytes */
    LIMIT_EXACT,         /* exactly max bytes */
    LIMIT_EXACT_OR_NONE, /* exactly max bytes, or empty */
    LIMIT_U32,           /* at most max */
    LIMIT_U64,           /* at most max */
    LIMIT_MODULES,       /* repeated Module: each is checked by its own rows */
};

struct limit {
    uint8_t kind;
    uint16_t offset; /* of the field in the generated struct */
    uint64_t max;
    const char *field;
};

/* One kind of message: its name in diagnostics and the limits of its fields. */
struct msg_rules {
    const char *name;
    const pb_msgdesc_t *fields;
    const struct limit *limit; /* n rows */
    unsigned n;
};

/* By the tag of Msg's oneof; NULL when there is no such kind. */
const struct msg_rules *msg_rules_of(unsigned kind);

/* 0, or CX_EPROTO or CX_ELIMIT and the reason in text (MSG_TEXT_MAX bytes). */
int limits_check(const cx_Msg *m, char *text);

/* Well-formed UTF-8 by RFC 3629 (no overlong forms, no surrogates) and no NUL. */
bool utf8_valid(struct bytes s);

#endif
