#ifndef TASKSERVER_BLOBFETCH_H
#define TASKSERVER_BLOBFETCH_H
#include "proto/rpc.h"
struct blobs;
struct blobfetch;
static inline struct blobfetch *blobfetch_new(struct rpc *r, const struct credentials *me, struct blobs *b,
                                              void (*ready)(void *, const uint8_t *), void *ctx)
{
    (void)r, (void)me, (void)b, (void)ready, (void)ctx;
    return NULL;
}
static inline void blobfetch_address(struct blobfetch *f, const char *a)
{
    (void)f, (void)a;
}
static inline void blobfetch_want(struct blobfetch *f, const uint8_t *h)
{
    (void)f, (void)h;
}
static inline uint64_t blobfetch_tick(struct blobfetch *f, uint64_t now)
{
    (void)f, (void)now;
    return UINT64_MAX;
}
static inline void blobfetch_stop(struct blobfetch *f)
{
    (void)f;
}
static inline void blobfetch_free(struct blobfetch *f)
{
    (void)f;
}

static inline bool blobfetch_wanted(const struct blobfetch *f, const uint8_t *h)
{
    (void)f, (void)h;
    return false;
}
#endif
