#include "taskserver/core/table.h"

#include "base/must.h"

#include <string.h>

enum { SIZE_MIN = 8, MOVED_A_STEP = 4 };

static size_t slot_of(struct id id, size_t size)
{
    uint64_t h = (id.hi ^ id.lo) * 0x9e3779b97f4a7c15u;
    return (size_t)(h >> 32 ^ h) & (size - 1);
}

static struct entry **array_new(struct pool *p, size_t size)
{
    struct entry **a = pool_get(p, size * sizeof *a);
    memset(a, 0, size * sizeof *a);
    return a;
}

static void move_chains(struct table *t, struct pool *p, size_t chains)
{
    for (; t->old && chains; chains--) {
        for (struct entry *e = t->old[t->moved], *next; e; e = next) {
            struct entry **to = &t->slot[slot_of(e->id, t->size)];
            next = e->next;
            e->next = *to;
            *to = e;
        }
        t->old[t->moved++] = NULL;
        if (t->moved < t->old_size)
            continue;
        pool_put(p, t->old, t->old_size * sizeof *t->old);
        t->old = NULL;
    }
}

static void resize(struct table *t, struct pool *p, size_t size)
{
    move_chains(t, p, SIZE_MAX);
    if (t->slot) {
        t->old = t->slot;
        t->old_size = t->size;
        t->moved = 0;
    }
    t->slot = array_new(p, size);
    t->size = size;
}

static struct entry **find_in(struct entry **array, size_t size, struct id id)
{
    struct entry **at = &array[slot_of(id, size)];
    while (*at && !id_equal((*at)->id, id))
        at = &(*at)->next;
    return at;
}

struct entry *table_find(const struct table *t, struct id id)
{
    if (!t->slot)
        return NULL;
    struct entry *e = *find_in(t->slot, t->size, id);
    return e || !t->old ? e : *find_in(t->old, t->old_size, id);
}

void table_insert(struct table *t, struct pool *p, struct entry *e)
{
    if (t->n >= t->size)
        resize(t, p, t->size ? t->size * 2 : SIZE_MIN);
    move_chains(t, p, MOVED_A_STEP);
    struct entry **to = &t->slot[slot_of(e->id, t->size)];
    e->next = *to;
    *to = e;
    t->n++;
}

void table_remove(struct table *t, struct pool *p, struct entry *e)
{
    struct entry **at = find_in(t->slot, t->size, e->id);
    if (!*at && t->old)
        at = find_in(t->old, t->old_size, e->id);
    must(*at == e);
    *at = e->next;
    t->n--;
    if (!t->old && t->size > SIZE_MIN && t->n < t->size / 8)
        resize(t, p, t->size / 2);
    move_chains(t, p, MOVED_A_STEP);
}

static void array_each(struct entry **a, size_t size, void (*fn)(void *ctx, struct entry *e), void *ctx)
{
    for (size_t i = 0; i < size; i++)
        for (struct entry *e = a[i], *next; e; e = next) {
            next = e->next;
            fn(ctx, e);
        }
}

void table_each(const struct table *t, void (*fn)(void *ctx, struct entry *e), void *ctx)
{
    if (t->slot)
        array_each(t->slot, t->size, fn, ctx);
    if (t->old)
        array_each(t->old, t->old_size, fn, ctx);
}

void table_free(struct table *t, struct pool *p)
{
    pool_put(p, t->slot, t->size * sizeof *t->slot);
    pool_put(p, t->old, t->old_size * sizeof *t->old);
    *t = (struct table){0};
}
