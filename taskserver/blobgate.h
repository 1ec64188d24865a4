/* What a backup may say it keeps. It applies records in order; one that names modules or an input which are
 * not here counts, and all that follow it count, only when they have come: otherwise a takeover would find
 * jobs that were acknowledged and that nobody can run. Bookkeeping alone; {0} is an empty one. */
#ifndef TASKSERVER_BLOBGATE_H
#define TASKSERVER_BLOBGATE_H

#include "taskserver/blobset.h"

struct blobgate {
    struct blobset missing; /* by the record that named it first; those never go back */
};

/* The record names this blob, which is not here. Records come in order. */
void blobgate_miss(struct blobgate *g, uint64_t lsn, const uint8_t *sha256);
/* It is here now, or nothing needs it any more. */
void blobgate_have(struct blobgate *g, const uint8_t *sha256);
/* Up to this record all blobs are here; UINT64_MAX: nothing is missing. */
uint64_t blobgate_limit(const struct blobgate *g);
void blobgate_free(struct blobgate *g); /* it is empty after that */

#endif
