/* A shard's replica: its effects on state, journal, sibling and witness. Inside shard.c's shell only. */
#ifndef TASKSERVER_REPLICATION_H
#define TASKSERVER_REPLICATION_H

#include "taskserver/shard.h"

/* A record of the journal that is being opened: what it names may not have come before the server ended. */
void replication_replayed(struct shard *s, struct bytes record, uint64_t lsn);
/* Makes the replica of a shard whose journal is open. found: what the journal had at its start. */
int replication_open(struct shard *s, bool own, const struct journal_found *found, char *why);
void replication_close(struct shard *s);
/* The own disk, or the blobs, are farther than they were. */
void replication_disk(struct shard *s);
/* The end of the reactor's turn: what was logged is sent, and what is due is done. When to come again. */
uint64_t replication_turn(struct shard *s);

/* shard.c, for the replica's effects. */
void shard_append(struct shard *s, uint64_t lsn,
                  struct bytes record); /* a record of the state, to the journal */
void shard_held(struct shard *s, uint64_t lsn);
void shard_serve(struct shard *s);
void shard_unserve(struct shard *s); /* streams are closed, what is volatile goes */

#endif
