/* Modules and inputs that another server has, a sibling mostly, and this one has not: they are fetched into
 * the store one after the other, over a stream of their own, again and again until each is here.
 *
 * One that none of its addresses has is given up, and told like one that came: a primary keeps what its
 * running jobs use, so the job that named it is over, or it cannot be run by anybody any more, and what
 * waited for the blob would wait for ever. */
#ifndef TASKSERVER_BLOBFETCH_H
#define TASKSERVER_BLOBFETCH_H

#include "proto/rpc.h"
#include "taskserver/blobs.h"

struct blobfetch;

struct blobfetch_config {
    struct rpc *rpc;              /* borrowed */
    const struct credentials *me; /* borrowed */
    struct blobs *blobs;          /* borrowed */
    uint64_t (*now)(void *ctx);   /* the store's clock */
    /* This one is here now, or given up. Called from the reactor and from blobfetch_tick, not once it was
     * stopped; may want more. */
    void (*ready)(void *ctx, const uint8_t *sha256);
    /* It could not be had this time, and is tried again. May be NULL. */
    void (*late)(void *ctx, const uint8_t *sha256);
    void *ctx;
};

struct blobfetch *blobfetch_new(const struct blobfetch_config *config);
void blobfetch_address(struct blobfetch *f, const char *addresses); /* a comma list, asked in turn; copied */
/* Wants one that is not here. Wanting it again changes nothing. */
void blobfetch_want(struct blobfetch *f, const uint8_t *sha256);
bool blobfetch_wanted(const struct blobfetch *f, const uint8_t *sha256); /* and not here yet */
/* Asks for the next one when that is due; returns when to call again. */
uint64_t blobfetch_tick(struct blobfetch *f, uint64_t now_us);
/* Closes, and asks no more. */
void blobfetch_stop(struct blobfetch *f);
/* After blobs_stop and rpc_free, in this order. NULL is legal. */
void blobfetch_free(struct blobfetch *f);

#endif
