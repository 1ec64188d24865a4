/* The client's side of a Blobs stream: blobs are asked for by SHA-256, one after the other, over a stream
 * that is opened when there is something to ask for and kept from then on. What becomes of the bytes, and
 * whether they are those of the hash, is the caller's: a producer writes them to its cache, a task server to
 * its store. */
#ifndef PROTO_BLOBGET_H
#define PROTO_BLOBGET_H

#include "proto/rpc.h"

struct blobget;

struct blobget_config {
    struct rpc *rpc;              /* borrowed */
    const struct credentials *me; /* borrowed */
    /* The next bytes of the blob that is on its way; last: there are no more. A negative return gives it up:
     * `done` follows with this code and why (RPC_WHY_MAX bytes). */
    int (*data)(void *ctx, const uint8_t *sha256, struct bytes data, bool last, char *why);
    /* Code 0: `data` has had all of it. CX_ENONET: the stream broke, or could not be opened. Otherwise the
     * code of `data`, or the other side's. Not called from within blobget_ask. */
    void (*done)(void *ctx, const uint8_t *sha256, int code, const char *why);
    void *ctx;
};

struct blobget *blobget_new(const struct blobget_config *config);
/* Where blobs are to be had from now on, "host:port". */
void blobget_from(struct blobget *g, const char *address);
/* Asks for one. CX_EINVAL: the address is not usable, and nothing follows. */
int blobget_ask(struct blobget *g, const uint8_t *sha256);
bool blobget_asked(const struct blobget *g, const uint8_t *sha256); /* and not done */
/* Ends the stream: what was asked for ends with CX_ENONET, from rpc_run. */
void blobget_close(struct blobget *g);
/* After rpc_free, or when no stream is open. NULL is legal. */
void blobget_free(struct blobget *g);

#endif
