/* Memory of a grant's values: blocks of size classes in one reserved region, all given back at once.
 *
 * Classes are four to a doubling, so at most a fifth of a block is wasted. A freed block goes to its class's
 * list; blocks are never split or joined, and the arena is emptied after each grant, so fragmentation cannot
 * outlive one. The caller remembers each block's size. */
#ifndef RUNNER_ENGINE_ARENA_H
#define RUNNER_ENGINE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_CLASSES 128

struct arena_block {
    struct arena_block *next;
};

struct arena {
    uint8_t *base; /* owned: a reserved region, touched only as far as it is used */
    size_t cap;
    size_t top; /* bytes of the region handed out so far, freed blocks included */
    struct arena_block *free[ARENA_CLASSES];
};

/* Reserves zeroed address space; memory is taken only when touched. NULL when there is none. */
void *region_new(size_t bytes);
void region_free(void *region, size_t bytes);
/* Gives the memory behind a region back to the system, from `keep` bytes on; it reads as zero afterwards. */
void region_trim(void *region, size_t keep, size_t used);

bool arena_init(struct arena *a, size_t cap);
void arena_destroy(struct arena *a);
void arena_reset(struct arena *a);

/* A block of at least size bytes, aligned to 16; NULL when the region is used up. */
void *arena_alloc(struct arena *a, size_t size);
void arena_give(struct arena *a, void *block, size_t size);

#endif
