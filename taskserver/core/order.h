/* An ordered set with 128-bit keys: ready buckets, jobs by fair share, timers.
 *
 * A treap (Seidel and Aragon, 1996) whose heap ranks are hashes of the keys, so that its shape depends on the
 * keys alone: O(log n) expected for any order of arrival, no random numbers, two pointers a node. */
#ifndef TASKSERVER_CORE_ORDER_H
#define TASKSERVER_CORE_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lies in what it orders; keys are unique within a tree and stay as they are while in it. */
struct knot {
    uint64_t hi, lo;
    struct knot *left, *right;
};
struct tree {
    struct knot *root;
    struct knot *first; /* the least; NULL when empty */
};

void tree_insert(struct tree *t, struct knot *k);
void tree_remove(struct tree *t, struct knot *k);
struct knot *tree_find(const struct tree *t, uint64_t hi, uint64_t lo);
struct knot *tree_after(const struct tree *t, uint64_t hi,
                        uint64_t lo); /* the least above the key, or NULL */
struct knot *tree_before(const struct tree *t, uint64_t hi,
                         uint64_t lo); /* the greatest below the key, or NULL */

#endif
