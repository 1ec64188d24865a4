/* What is known of the shards of a network: the rows of all servers that answer, seen together. No I/O. */
#ifndef CMD_SHARDS_H
#define CMD_SHARDS_H

#include "base/bytes.h"
#include "consumer/rows.h"

struct shards {
    struct buf rows; /* of struct shard_row, the silent ones included; owned */
};

struct shard_row shards_at(const struct shards *s, size_t i);
size_t shards_count(const struct shards *s);

/* Each of these: false when there is none, *out untouched. */
bool shards_primary(const struct shards *s, const char *shard,
                    struct shard_row *out); /* of the highest epoch */
bool shards_replica(const struct shards *s, const char *shard, const char *server, struct shard_row *out);
bool shards_any(const struct shards *s, const char *shard, struct shard_row *out);     /* some replica */
bool shards_server(const struct shards *s, const char *server, struct shard_row *out); /* some row of it */

bool shards_known(const struct shards *s, const char *shard);
/* Served by its own server, or by nobody who is known of. */
bool shards_at_home(const struct shards *s, const char *shard);
/* Both of the pair have all that is held, so that either may die. */
bool shards_paired(const struct shards *s, const char *shard);
/* The server serves nothing: it may be stopped. */
bool shards_drained(const struct shards *s, const char *server);
/* All that the server keeps is in sync, and its own shard is its own again. */
bool shards_whole(const struct shards *s, const char *server);

/* The server's own address: the first of the list. */
void shards_address(const struct shard_row *row, char *out, size_t cap);
/* The server whose replica has this incarnation; its number in hex when none that is known of has. */
void shards_member(const struct shards *s, const char *shard, uint64_t member, char *out, size_t cap);
/* The other way round: a server's name, or a number in hex. 0: there is no such member. */
uint64_t shards_member_of(const struct shards *s, const char *shard, const char *text);
/* What an operator is to do next about this shard; false: nothing. */
bool shards_advice(const struct shards *s, const char *shard, char *out, size_t cap);

#endif
