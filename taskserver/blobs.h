/* Modules and inputs on disk, STATE/blobs/<64 hex digits of the SHA-256>, each whole or not there.
 *
 * A blob is written to a temporary file while its hash is computed, synced by a thread of its own, and gets
 * its name only then; so a name that exists is a whole blob, also after a power loss. Names are made from 32
 * bytes of hash and nothing else, so no name that comes over the wire can lead out of the directory.
 *
 * What no job uses goes after a time: whoever knows the jobs calls blobs_touch for what they use, then
 * blobs_expire. A start, a put, a get and a have count as uses too. The reactor calls all functions. */
#ifndef TASKSERVER_BLOBS_H
#define TASKSERVER_BLOBS_H

#include "base/bytes.h"
#include "proto/worker.h"
#include "taskserver/state.h"

#define BLOB_HASH_BYTES 32u
#define BLOBS_MAX       65536u /* in one directory */

struct blobs;

struct blobs_config {
    const char *dir; /* the state directory; borrowed */
    struct poster poster;
    uint64_t blob_max;  /* bytes of one blob */
    uint64_t total_max; /* bytes of all, those being put included */
    uint64_t ttl_us;    /* kept this long after the last use */
};

int blobs_open(const struct blobs_config *config, uint64_t now_us, struct blobs **out, char *why);
/* Ends the thread when all puts that were complete are on disk; their `done` has been posted. */
void blobs_stop(struct blobs *b);
/* After blobs_stop, when no post can be under way. Puts that were not ended must have been abandoned. */
void blobs_free(struct blobs *b);

bool blobs_have(struct blobs *b, const uint8_t *sha256, uint64_t now_us);
void blobs_touch(struct blobs *b, const uint8_t *sha256, uint64_t now_us);
void blobs_expire(struct blobs *b, uint64_t now_us);
uint64_t blobs_bytes(const struct blobs *b);
unsigned blobs_count(const struct blobs *b);
unsigned blobs_syncing(const struct blobs *b); /* puts that are with the thread now */

/* ---- Putting ---- */

struct blob_put;

/* How a put ended: 0, or a code and why. On the reactor, once; the put is gone after it. */
typedef void blob_done_fn(void *ctx, int code, const char *why);

/* Begins a put of exactly `size` bytes. CX_ELIMIT, CX_EFULL, CX_EIO: refused, why (STATE_WHY_MAX bytes) says
 * it. */
int blob_put_begin(struct blobs *b, const uint8_t *sha256, uint64_t size, blob_done_fn *done, void *ctx,
                   struct blob_put **out, char *why);
/* The same, of as many bytes as will come. */
int blob_put_begin_any(struct blobs *b, const uint8_t *sha256, blob_done_fn *done, void *ctx,
                       struct blob_put **out, char *why);
/* The next bytes. On failure the put is gone, `done` is not called, and why says what was wrong. `last`: the
 * hash is checked; if it fits, `done` follows when the blob is on disk. */
int blob_put_add(struct blob_put *p, struct bytes data, bool last, uint64_t now_us, char *why);
/* The one who put has gone: an unfinished put is dropped; a complete one goes on, `done` is not called. */
void blob_put_abandon(struct blob_put *p);

/* ---- Getting ---- */

struct blob_get;

/* CX_ENOTFOUND, CX_EIO. */
int blob_get_begin(struct blobs *b, const uint8_t *sha256, uint64_t now_us, struct blob_get **out, char *why);
/* Appends at most `max` bytes to out; *last: these were the last. 0, or CX_EIO when the disk failed or gave
 * other bytes than were put: the blob is forgotten then, so that it can be put again. */
int blob_get_next(struct blob_get *g, size_t max, struct buf *out, bool *last);
void blob_get_end(struct blob_get *g); /* NULL is legal */

/* 64 hex digits and a zero. */
#define BLOB_HEX_MAX 65
void blob_hex(const uint8_t *sha256, char *out);

#endif
