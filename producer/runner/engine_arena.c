#include "producer/runner/engine_arena.h"

#include <string.h>
#include <sys/mman.h>

#define BLOCK_MIN  64u
#define KEEP_BYTES ((size_t)8 << 20) /* what a region keeps of its memory from grant to grant */

void *region_new(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void region_free(void *region, size_t bytes)
{
    if (region)
        munmap(region, bytes);
}

void region_trim(void *region, size_t keep, size_t used)
{
    if (used > keep)
        madvise((uint8_t *)region + keep, used - keep, MADV_DONTNEED);
}

bool arena_init(struct arena *a, size_t cap)
{
    *a = (struct arena){.base = region_new(cap), .cap = cap};
    return a->base != NULL;
}

void arena_destroy(struct arena *a)
{
    region_free(a->base, a->cap);
    *a = (struct arena){0};
}

void arena_reset(struct arena *a)
{
    if (a->top == 0)
        return;
    region_trim(a->base, KEEP_BYTES, a->top);
    memset(a->free, 0, sizeof a->free);
    a->top = 0;
}

/* Class 0 is BLOCK_MIN; after that four classes to each doubling. */
static unsigned class_of(size_t size)
{
    if (size <= BLOCK_MIN)
        return 0;
    unsigned lg = 63u - (unsigned)__builtin_clzl(size - 1);
    return (lg - 6) * 4 + (unsigned)((size - 1) >> (lg - 2) & 3) + 1;
}

static size_t class_bytes(unsigned class)
{
    if (class == 0)
        return BLOCK_MIN;
    unsigned lg = (class - 1) / 4 + 6;
    return (size_t)((class - 1) % 4 + 5) << (lg - 2);
}

void *arena_alloc(struct arena *a, size_t size)
{
    unsigned class = class_of(size);
    size_t bytes = class_bytes(class);
    struct arena_block *b = a->free[class];
    if (b) {
        a->free[class] = b->next;
    } else {
        if (a->cap - a->top < bytes)
            return NULL;
        b = (struct arena_block *)(void *)(a->base + a->top);
        a->top += bytes;
    }
    return b;
}

void arena_give(struct arena *a, void *block, size_t size)
{
    unsigned class = class_of(size);
    struct arena_block *b = block;
    b->next = a->free[class];
    a->free[class] = b;
}
