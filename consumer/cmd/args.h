/* Arguments of tasks as people write them. */
#ifndef CMD_ARGS_H
#define CMD_ARGS_H

#include "base/bytes.h"
#include "cx/value.h"

#define ARG_WHY_MAX 512

/* 42 -5 0x2a: i64; 2.5 1e9: f64; @FILE: the file's bytes; and said outright: i:5 f:2 str:text hex:00ff none:
 * Bytes are malloc'ed into *owned (free it), or NULL. 0, CX_EINVAL, CX_ENOTFOUND, CX_EIO or CX_ELIMIT and
 * why. */
int arg_parse(const char *text, cx_value *out, void **owned, char why[ARG_WHY_MAX]);

/* A whole file, malloc'ed; at most max bytes. */
int read_whole_file(const char *path, size_t max, struct buf *out, char why[ARG_WHY_MAX]);

#endif
