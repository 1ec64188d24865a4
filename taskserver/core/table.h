/* A hash table of things named by a 128-bit id, growing and shrinking a little at a time.
 *
 * A group is one cache line: seven entries, a byte of each one's hash, and a count of those that found the
 * group full and went on to the next (after Bronson and Shi, F14, 2019). So a lookup costs one miss, and a
 * second one only for the entry itself. When the table is resized the old array is emptied group by group
 * with every change, so that no step pays for moving a million entries at once. */
#ifndef TASKSERVER_CORE_TABLE_H
#define TASKSERVER_CORE_TABLE_H

#include "base/id.h"
#include "taskserver/core/pool.h"

/* First member of what the table holds. */
struct entry {
    struct id id;
};

#define GROUP_ENTRIES 7u
struct group {
    uint8_t tag[GROUP_ENTRIES]; /* 0: free */
    uint8_t over;               /* entries that passed by, or 255 for ever */
    struct entry *entry[GROUP_ENTRIES];
};

struct table {
    struct group *group; /* groups; NULL while the table is new */
    struct group *old;   /* of the array before, while entries are being moved out of it */
    size_t groups, old_groups;
    size_t moved; /* groups of old that are empty by now */
    size_t n;     /* entries */
};

struct entry *table_find(const struct table *t, struct id id);
/* The id must not be in the table. */
void table_insert(struct table *t, struct pool *p, struct entry *e);
void table_remove(struct table *t, struct pool *p, struct entry *e);
/* Hints that this id will be looked up soon: first its group is fetched, then, when that is there, its entry.
 */
void table_expect(const struct table *t, struct id id);
void table_expect_entry(const struct table *t, struct id id);
/* Calls fn for every entry, which it may free, but not remove. */
void table_each(const struct table *t, void (*fn)(void *ctx, struct entry *e), void *ctx);
/* Gives the arrays back; the entries are forgotten. */
void table_free(struct table *t, struct pool *p);

#endif
