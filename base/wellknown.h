/* The well-known successors: what sum, min, max, count and concat make of their slots. One implementation,
 * used by the task server's core and by the runner's engine, so that collapse cannot change an answer. */
#ifndef BASE_WELLKNOWN_H
#define BASE_WELLKNOWN_H

#include "base/commit.h"

const char *wk_name(uint32_t fn); /* "sum_i64"; NULL when not well known */

/* True when slots may be folded as they arrive, in any order, keeping only the accumulator: integer sum, min,
 * max and count. The others (f64 sum, concat) depend on slot order and are folded when all slots are there.
 */
bool wk_any_order(uint32_t fn);

/* Where folding starts. */
cx_value wk_start(uint32_t fn);
/* Folds one slot's value into *acc. False when the value's type does not suit fn (NONE always does). For
 * CX_CONCAT, bytes are appended to *bytes and *acc says so in the end; others ignore bytes (may be NULL). */
bool wk_fold(uint32_t fn, cx_value *acc, cx_value v, struct buf *bytes);
/* The successor's value after the last slot. */
cx_value wk_finish(uint32_t fn, cx_value acc, const struct buf *bytes);

#endif
