/* The producer's cache of modules and inputs on disk, by SHA-256.
 *
 * A blob is written to a temporary file, its hash is checked, and then it is given its name; so a name that
 * is there is whole, unless the disk or somebody has changed it: each blob is checked again when it is first
 * opened by this process or has changed since, and one that is corrupt is removed, as if it had never been
 * there. The least recently used go when the cache is over its size; who has one open keeps it. Several
 * producers may share a directory. */
#ifndef PRODUCER_BLOBCACHE_H
#define PRODUCER_BLOBCACHE_H

#include "base/bytes.h"

struct blobcache;
struct blobwrite;

/* Makes the directory, parents included, where missing. CX_EIO, and why (at most why_max bytes). */
int blobcache_new(const char *dir, uint64_t bytes_max, struct blobcache **out, char *why, size_t why_max);
void blobcache_free(struct blobcache *c);

/* Opens a blob for reading: *fd is the caller's. CX_ENOTFOUND: it is not here, or was corrupt. CX_EIO. */
int blobcache_open(struct blobcache *c, const uint8_t sha[32], int *fd);

/* Writing one: begin, add..., end or drop. end: CX_EPROTO when the content is not what the name says; the
 * writer is gone in any case. */
int blobcache_begin(struct blobcache *c, const uint8_t sha[32], struct blobwrite **out);
int blobwrite_add(struct blobwrite *w, struct bytes data);
int blobwrite_end(struct blobwrite *w);
void blobwrite_drop(struct blobwrite *w);

#endif
