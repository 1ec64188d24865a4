/* A set of hashes of blobs, in the order in which they came, each with a number that means something to its
 * user. {0} is an empty one. */
#ifndef TASKSERVER_BLOBSET_H
#define TASKSERVER_BLOBSET_H

#include "taskserver/blobs.h"

struct blobset_item {
    uint8_t sha256[BLOB_HASH_BYTES];
    uint64_t number;
    struct blobset_item *prev, *next; /* in order */
    struct blobset_item *chain;       /* in its bucket */
};

struct blobset {
    struct blobset_item *first, *last; /* owned */
    struct blobset_item **bucket;      /* owned; NULL while nothing was ever in it */
    size_t count;
};

struct blobset_item *blobset_find(const struct blobset *s, const uint8_t *sha256); /* NULL: not in it */
/* At the end; it must not be in the set. */
struct blobset_item *blobset_add(struct blobset *s, const uint8_t *sha256, uint64_t number);
void blobset_remove(struct blobset *s, struct blobset_item *item);
void blobset_free(struct blobset *s); /* it is empty after that, and may be used again */

#endif
