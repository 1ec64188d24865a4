#include "taskserver/blobset.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"

enum { BUCKETS = 4096 };

static struct blobset_item **place_of(const struct blobset *s, const uint8_t *sha256)
{
    struct blobset_item **at = &s->bucket[(sha256[0] | sha256[1] << 8) % BUCKETS];
    while (*at && memcmp((*at)->sha256, sha256, BLOB_HASH_BYTES) != 0)
        at = &(*at)->chain;
    return at;
}

struct blobset_item *blobset_find(const struct blobset *s, const uint8_t *sha256)
{
    return s->bucket ? *place_of(s, sha256) : NULL;
}

struct blobset_item *blobset_add(struct blobset *s, const uint8_t *sha256, uint64_t number)
{
    if (!s->bucket)
        s->bucket = calloc(BUCKETS, sizeof *s->bucket);
    struct blobset_item *item = calloc(1, sizeof *item);
    must(s->bucket && item);
    struct blobset_item **at = place_of(s, sha256);
    must(!*at);
    *item = (struct blobset_item){.number = number, .prev = s->last};
    memcpy(item->sha256, sha256, BLOB_HASH_BYTES);
    *at = item;
    *(s->last ? &s->last->next : &s->first) = item;
    s->last = item;
    s->count++;
    return item;
}

void blobset_remove(struct blobset *s, struct blobset_item *item)
{
    *place_of(s, item->sha256) = item->chain;
    *(item->prev ? &item->prev->next : &s->first) = item->next;
    *(item->next ? &item->next->prev : &s->last) = item->prev;
    s->count--;
    free(item);
}

void blobset_free(struct blobset *s)
{
    while (s->first)
        blobset_remove(s, s->first);
    free(s->bucket);
    *s = (struct blobset){0};
}
