/* A hash table of things named by a 128-bit id: chained, intrusive, growing and shrinking a little at a time.
 *
 * When it is resized the old array is emptied by a few chains with every change, so that no step pays for
 * moving a million entries at once. */
#ifndef TASKSERVER_CORE_TABLE_H
#define TASKSERVER_CORE_TABLE_H

#include "base/id.h"
#include "taskserver/core/pool.h"

/* First member of what the table holds. */
struct entry {
    struct entry *next;
    struct id id;
};

struct table {
    struct entry **slot; /* size entries; NULL while the table is new */
    struct entry **old;  /* of the array before, while chains are being moved out of it */
    size_t size, old_size;
    size_t moved; /* chains of old that are empty by now */
    size_t n;     /* entries */
};

struct entry *table_find(const struct table *t, struct id id);
/* The id must not be in the table. */
void table_insert(struct table *t, struct pool *p, struct entry *e);
void table_remove(struct table *t, struct pool *p, struct entry *e);
/* Calls fn for every entry, which it may free, but not remove. */
void table_each(const struct table *t, void (*fn)(void *ctx, struct entry *e), void *ctx);
/* Gives the arrays back; the entries are forgotten. */
void table_free(struct table *t, struct pool *p);

#endif
