/* The core's memory: one bounded account, small blocks from slabs.
 *
 * Blocks up to POOL_SMALL_MAX come from slabs of one size each, in steps of 8 bytes; larger ones from malloc.
 * The pool counts what is given out, rounded; the caller decides, before it takes, whether the budget allows
 * it. */
#ifndef TASKSERVER_CORE_POOL_H
#define TASKSERVER_CORE_POOL_H

#include <stddef.h>
#include <stdint.h>

#define POOL_STEP      8u
#define POOL_SMALL_MAX 512u
#define POOL_CLASSES   (POOL_SMALL_MAX / POOL_STEP + 1)

struct slab;

struct pool {
    uint64_t used;                     /* bytes given out, rounded up to their size class */
    struct slab *partly[POOL_CLASSES]; /* slabs with room, most recently used first */
    struct slab *empty[POOL_CLASSES];  /* at most one kept, so that a queue of one task does not thrash */
};

/* What a block of this size costs. */
static inline size_t pool_round(size_t size)
{
    return (size + POOL_STEP - 1) & ~(size_t)(POOL_STEP - 1);
}
/* Never NULL: a process without memory is aborted and restarted by its log. Size 0 gives NULL. Not zeroed. */
void *pool_get(struct pool *p, size_t size);
/* size is the one the block was taken with. */
void pool_put(struct pool *p, void *block, size_t size);
/* Everything must have been given back. */
void pool_free(struct pool *p);

#endif
