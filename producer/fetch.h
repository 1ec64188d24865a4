/* Fetching modules and inputs from the task server into the cache, one after the other, on a connection of
 * their own so that grants and commits do not wait behind them. */
#ifndef PRODUCER_FETCH_H
#define PRODUCER_FETCH_H

#include "producer/blobcache.h"
#include "proto/blobget.h"

struct fetch;

struct fetch_config {
    struct rpc *rpc;              /* borrowed */
    const struct credentials *me; /* borrowed */
    struct blobcache *cache;      /* borrowed */
    /* code 0: it is in the cache. CX_ENONET, CX_EIO: try again; others: it cannot be had. */
    void (*done)(void *ctx, const uint8_t sha[32], int code, const char *why);
    void *ctx;
};

struct fetch *fetch_new(const struct fetch_config *config);
void fetch_free(struct fetch *f); /* after rpc_free, or when no stream is open */
/* Where blobs are to be had from now on. */
void fetch_from(struct fetch *f, const char *address);
/* Asks for one; asking again while it is on its way changes nothing. done may be called before this returns.
 */
void fetch_blob(struct fetch *f, const uint8_t sha[32]);

#endif
