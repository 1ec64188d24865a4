/* The witness's records in etcd, shared by several brokers: one key a shard, changed only by a transaction
 * that compares what it was decided from. Blocks for seconds when etcd is away; for a worker's thread.
 *
 *     cx/shard/<id, 32 hex digits>    the record, packed (base/shard.h)
 *     cx/boot                         8 random bytes, made with the first record: another etcd, another boot
 */
#ifndef BROKER_ETCD_H
#define BROKER_ETCD_H

#include "base/shard.h"
#include "broker/gateway.h"

struct etcd;

#define ETCD_REVISION_MAX 24

/* What etcd had of a shard at one moment. */
struct etcd_row {
    struct shard_record record;       /* epoch 0: none */
    char revision[ETCD_REVISION_MAX]; /* of its last change, decimal; "0": none */
    uint64_t boot;
};

/* urls, why: as gateway_new. Asks nothing yet. */
int etcd_new(const char *urls, struct etcd **out, char *why);
void etcd_free(struct etcd *e);
/* Reads linearizably: nothing that was acknowledged before the call is missed. CX_ENONET: etcd is away, or
 * holds what we cannot read. */
int etcd_load(struct etcd *e, struct id shard, struct etcd_row *row, char *why);
/* Writes if etcd still has exactly what `was` says. 0: done, by a majority. CX_EEXIST: somebody else was
 * quicker, nothing was written. CX_ENONET: nobody knows. */
int etcd_save(struct etcd *e, struct id shard, const struct etcd_row *was, const struct shard_record *record,
              char *why);

#endif
