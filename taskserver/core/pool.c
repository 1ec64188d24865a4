#include "taskserver/core/pool.h"

#include <stdbool.h>

#include "base/must.h"

#define SLAB_ALIGN 65536u
#define SLAB_BYTES                                                                                           \
    (SLAB_ALIGN - 64u) /* leaves room for malloc's own header, so that slabs lie side by side */

/* Lies at the start of its memory; a block finds its slab by clearing the low bits of its address. */
struct slab {
    struct slab *prev, *next; /* among the class's slabs with room */
    void *free;               /* blocks given back, linked through their first word */
    uint32_t used;            /* blocks given out */
    uint32_t fresh;           /* offset of the first block never given out yet */
};

#ifndef CX_ASAN
static unsigned class_of(size_t size)
{
    return (unsigned)(pool_round(size) / POOL_STEP);
}

static bool slab_has_room(const struct slab *s, unsigned class)
{
    return s->free || s->fresh + class * POOL_STEP <= SLAB_BYTES;
}

static void slab_link(struct pool *p, struct slab *s, unsigned class)
{
    s->prev = NULL;
    s->next = p->partly[class];
    if (s->next)
        s->next->prev = s;
    p->partly[class] = s;
}

static void slab_unlink(struct pool *p, struct slab *s, unsigned class)
{
    *(s->prev ? &s->prev->next : &p->partly[class]) = s->next;
    if (s->next)
        s->next->prev = s->prev;
}

static struct slab *slab_new(struct pool *p, unsigned class)
{
    struct slab *s = p->empty[class];
    void *memory = s;
    p->empty[class] = NULL;
    if (!s && posix_memalign(&memory, SLAB_ALIGN, SLAB_BYTES) != 0)
        abort();
    s = memory;
    *s = (struct slab){.fresh = (sizeof *s + 15) & ~15u};
    slab_link(p, s, class);
    return s;
}

static void *small_get(struct pool *p, unsigned class)
{
    struct slab *s = p->partly[class] ? p->partly[class] : slab_new(p, class);
    void *block = s->free;
    if (block) {
        s->free = *(void **)block;
    } else {
        block = (char *)s + s->fresh;
        s->fresh += class * POOL_STEP;
    }
    s->used++;
    if (!slab_has_room(s, class))
        slab_unlink(p, s, class);
    return block;
}

static void small_put(struct pool *p, void *block, unsigned class)
{
    struct slab *s = (struct slab *)((uintptr_t)block & ~(uintptr_t)(SLAB_ALIGN - 1));
    if (!slab_has_room(s, class))
        slab_link(p, s, class);
    *(void **)block = s->free;
    s->free = block;
    if (--s->used)
        return;
    slab_unlink(p, s, class);
    free(p->empty[class]);
    p->empty[class] = s;
}
#endif

void *pool_get(struct pool *p, size_t size)
{
    if (size == 0)
        return NULL;
    p->used += pool_round(size);
#ifndef CX_ASAN /* the sanitizer watches blocks of malloc; it cannot see into slabs */
    if (size <= POOL_SMALL_MAX)
        return small_get(p, class_of(size));
#endif
    void *block;
    if (posix_memalign(&block, 64, size) != 0) /* whole cache lines, for the tables */
        abort();
    return block;
}

void pool_put(struct pool *p, void *block, size_t size)
{
    if (!block)
        return;
    must(p->used >= pool_round(size));
    p->used -= pool_round(size);
#ifndef CX_ASAN
    if (size <= POOL_SMALL_MAX) {
        small_put(p, block, class_of(size));
        return;
    }
#endif
    free(block);
}

void pool_free(struct pool *p)
{
    must(p->used == 0);
    for (unsigned i = 0; i < POOL_CLASSES; i++) {
        free(p->empty[i]);
        p->empty[i] = NULL;
    }
}
