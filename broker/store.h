/* The broker's memory on disk: one SQLite file. Every write is on disk when the call returns. */
#ifndef BROKER_STORE_H
#define BROKER_STORE_H

#include "base/shard.h"
#include "broker/core/bk.h"

struct store;

#define STORE_WHY_MAX 256

/* Opens the file, creating it when it is not there, and keeps it to this process: a second broker on the same
 * store is CX_EIO. why (STORE_WHY_MAX bytes) says what is wrong. */
int store_open(const char *path, struct store **out, char *why);
void store_close(struct store *s);
/* Hands every record to take, in the order of their first registration. A false from take stops it: CX_EIO.
 */
int store_load(struct store *s, bool (*take)(void *ctx, const struct bk_record *record), void *ctx,
               char *why);
/* Inserts or replaces one record. */
int store_save(struct store *s, const struct bk_record *record, char *why);

/* The witness's rows (core/witness.h), likewise. */
int store_load_shards(struct store *s,
                      bool (*take)(void *ctx, struct id shard, const struct shard_record *record), void *ctx,
                      char *why);
int store_forget_shards(struct store *s, char *why);
int store_save_shard(struct store *s, struct id shard, const struct shard_record *record, char *why);

#endif
