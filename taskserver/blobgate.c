#include "taskserver/blobgate.h"

#include "base/must.h"

void blobgate_miss(struct blobgate *g, uint64_t lsn, const uint8_t *sha256)
{
    const struct blobset_item *last = g->missing.last;
    must(!last || last->number <= lsn);
    if (!blobset_find(&g->missing, sha256))
        blobset_add(&g->missing, sha256, lsn);
}

void blobgate_have(struct blobgate *g, const uint8_t *sha256)
{
    struct blobset_item *item = blobset_find(&g->missing, sha256);
    if (item)
        blobset_remove(&g->missing, item);
}

uint64_t blobgate_limit(const struct blobgate *g)
{
    const struct blobset_item *first = g->missing.first;
    if (!first)
        return UINT64_MAX;
    return first->number ? first->number - 1 : 0;
}

void blobgate_free(struct blobgate *g)
{
    blobset_free(&g->missing);
}
