#include "taskserver/core/table.h"

#include "base/must.h"

#include <string.h>

_Static_assert(sizeof(struct group) == 64, "a group is a cache line");

static uint64_t hash_of(struct id id)
{
    uint64_t h = (id.hi ^ id.lo) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}

static uint8_t tag_of(uint64_t hash)
{
    uint8_t tag = (uint8_t)(hash >> 56);
    return tag ? tag : 1;
}

/* A bit for every place of the group whose tag may be this one: all that are, and rarely one that is not. */
static uint64_t tag_places(const struct group *g, uint8_t tag)
{
    const uint64_t low = 0x0101010101010101u;
    uint64_t word;
    memcpy(&word, g, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    word ^= low * tag;
    return (word - low) & ~word & 0x0080808080808080u;
}

/* Where the entry of this id lies, or NULL; *first is the number of its home group. */
static struct entry **find_in(struct group *array, size_t groups, struct id id)
{
    uint64_t hash = hash_of(id);
    for (size_t i = hash & (groups - 1), tries = 0; tries < groups; i = (i + 1) & (groups - 1), tries++) {
        struct group *g = &array[i];
        for (uint64_t places = tag_places(g, tag_of(hash)); places; places &= places - 1) {
            struct entry **at = &g->entry[__builtin_ctzll(places) / 8];
            if (*at && id_equal((*at)->id, id))
                return at;
        }
        if (!g->over)
            return NULL;
    }
    return NULL;
}

static void put_in(struct group *array, size_t groups, struct entry *e)
{
    uint64_t hash = hash_of(e->id);
    for (size_t i = hash & (groups - 1);; i = (i + 1) & (groups - 1)) {
        struct group *g = &array[i];
        uint64_t places = tag_places(g, 0);
        if (places) {
            unsigned place = (unsigned)__builtin_ctzll(places) / 8;
            g->tag[place] = tag_of(hash);
            g->entry[place] = e;
            return;
        }
        g->over += g->over < UINT8_MAX;
    }
}

/* Takes the entry at a place out of its group, and its mark off those that it had passed by. */
static void take_out(struct group *array, size_t groups, struct entry **at)
{
    size_t lies = (size_t)((char *)at - (char *)array) / sizeof(struct group);
    for (size_t i = hash_of((*at)->id) & (groups - 1); i != lies; i = (i + 1) & (groups - 1))
        array[i].over -= array[i].over < UINT8_MAX;
    array[lies].tag[at - array[lies].entry] = 0;
    *at = NULL;
}

/* ---- Resizing ---- */

static void expect_group(const struct group *g)
{
    for (unsigned i = 0; i < GROUP_ENTRIES; i++)
        __builtin_prefetch(g->entry[i]);
}

/* The entries left behind stay findable: the marks of the old array are never taken off. */
static void move_groups(struct table *t, struct pool *p, size_t count)
{
    for (; t->old && count; count--) {
        struct group *g = &t->old[t->moved++];
        for (unsigned i = 0; i < GROUP_ENTRIES; i++) {
            if (g->entry[i])
                put_in(t->group, t->groups, g->entry[i]);
            g->tag[i] = 0;
            g->entry[i] = NULL;
        }
        if (t->moved < t->old_groups) {
            expect_group(&t->old[t->moved]);
            continue;
        }
        pool_put(p, t->old, t->old_groups * sizeof *t->old);
        t->old = NULL;
    }
}

static void resize(struct table *t, struct pool *p, size_t groups)
{
    move_groups(t, p, SIZE_MAX);
    if (t->group) {
        t->old = t->group;
        t->old_groups = t->groups;
        t->moved = 0;
    }
    t->group = pool_get(p, groups * sizeof *t->group);
    memset(t->group, 0, groups * sizeof *t->group);
    t->groups = groups;
}

/* ---- The table ---- */

struct entry *table_find(const struct table *t, struct id id)
{
    struct entry **at = t->group ? find_in(t->group, t->groups, id) : NULL;
    if (!at && t->old)
        at = find_in(t->old, t->old_groups, id);
    return at ? *at : NULL;
}

void table_insert(struct table *t, struct pool *p, struct entry *e)
{
    if (t->n >= t->groups * (GROUP_ENTRIES - 1))
        resize(t, p, t->groups ? t->groups * 2 : 1);
    move_groups(t, p, 1);
    put_in(t->group, t->groups, e);
    t->n++;
}

void table_remove(struct table *t, struct pool *p, struct entry *e)
{
    struct entry **at = find_in(t->group, t->groups, e->id);
    if (at) {
        must(*at == e);
        take_out(t->group, t->groups, at);
    } else {
        at = find_in(t->old, t->old_groups, e->id);
        must(at && *at == e);
        size_t lies = (size_t)((char *)at - (char *)t->old) / sizeof(struct group);
        t->old[lies].tag[at - t->old[lies].entry] = 0;
        *at = NULL;
    }
    t->n--;
    if (!t->old && t->groups > 1 && t->n < t->groups)
        resize(t, p, t->groups / 2);
    move_groups(t, p, 1);
}

void table_expect(const struct table *t, struct id id)
{
    if (t->group)
        __builtin_prefetch(&t->group[hash_of(id) & (t->groups - 1)]);
    if (t->old)
        __builtin_prefetch(&t->old[hash_of(id) & (t->old_groups - 1)]);
}

void table_expect_entry(const struct table *t, struct id id)
{
    if (!t->group)
        return;
    uint64_t hash = hash_of(id);
    const struct group *g = &t->group[hash & (t->groups - 1)];
    for (uint64_t places = tag_places(g, tag_of(hash)); places; places &= places - 1) {
        const char *e = (const char *)g->entry[__builtin_ctzll(places) / 8];
        if (!e)
            continue;
        __builtin_prefetch(e);
        __builtin_prefetch(e + 64);
    }
}

static void array_each(struct group *a, size_t groups, void (*fn)(void *ctx, struct entry *e), void *ctx)
{
    for (size_t i = 0; i < groups; i++)
        for (unsigned k = 0; k < GROUP_ENTRIES; k++)
            if (a[i].entry[k])
                fn(ctx, a[i].entry[k]);
}

void table_each(const struct table *t, void (*fn)(void *ctx, struct entry *e), void *ctx)
{
    if (t->group)
        array_each(t->group, t->groups, fn, ctx);
    if (t->old)
        array_each(t->old, t->old_groups, fn, ctx);
}

void table_free(struct table *t, struct pool *p)
{
    pool_put(p, t->group, t->groups * sizeof *t->group);
    pool_put(p, t->old, t->old_groups * sizeof *t->old);
    *t = (struct table){0};
}
