/* The streams between shards of the network: tasks and values that move from one to another
 * (taskserver/core/channel.h). Of two shards, the one whose id is the smaller dials, wherever both are
 * served; a newer stream takes an older one's place. Only open shards have them: what is said there has left
 * the shard (law 8). What is lost with a stream is said again by the channels. */
#ifndef TASKSERVER_PEERING_H
#define TASKSERVER_PEERING_H

#include "base/bytes.h"
#include "base/id.h"
#include "proto/rpc.h"

struct taskserver;
struct shard;
struct peering;

struct peering *peering_new(struct taskserver *server);
/* There is a server of this name in the network, and its shard may be served at these addresses (comma list).
 * Said again whenever it may have changed. */
void peering_know(struct peering *n, const char *name, const char *addresses);
/* Where that shard may be served, a comma list; "" when it is not known. */
const char *peering_addresses(const struct peering *n, struct id shard);
/* The shard is served from now on: what its guests need and is not here is fetched. */
void peering_guests(struct peering *n, const struct shard *s);
/* True while this blob is on its way here, for tasks that came from another shard. */
bool peering_brings(const struct peering *n, const uint8_t *sha256);
/* The shard is not served here any more. */
void peering_close(struct peering *n, const struct shard *shard);
/* Dials and measures what is due; returns when to call again. */
uint64_t peering_tick(struct peering *n, uint64_t now_us);
void peering_stop(struct peering *n);
/* After the streams have gone. NULL is legal. */
void peering_free(struct peering *n);

/* The service that other shards dial; its argument is the struct peering. */
extern const struct rpc_handler peering_handler;

#endif
