/* The connection to the sibling: one stream, over which the replicas of both shards speak. The server whose
 * name is the smaller dials, the other one accepts; a newer stream takes an older one's place. What is said
 * while there is none is lost, and said again by the replicas. */
#ifndef TASKSERVER_SIBLING_H
#define TASKSERVER_SIBLING_H

#include "base/id.h"
#include "proto/rpc.h"
#include "taskserver/core/replica.h"

struct taskserver;
struct sibling;

/* text: NAME@HOST:PORT. CX_EINVAL with why (STATE_WHY_MAX bytes) when it is not. */
int sibling_new(struct taskserver *server, const char *text, struct sibling **out, char *why);
const char *sibling_name(const struct sibling *sib);
const char *sibling_address(const struct sibling *sib);
bool sibling_connected(const struct sibling *sib);
void sibling_say(struct sibling *sib, struct id shard, const struct replica_msg *m);
/* Dials when that is due; returns when to call again. */
uint64_t sibling_tick(struct sibling *sib, uint64_t now_us);
/* Closes, and dials no more. */
void sibling_stop(struct sibling *sib);
/* After the streams have gone. NULL is legal. */
void sibling_free(struct sibling *sib);

/* The service that the sibling dials; its argument is the struct sibling. */
extern const struct rpc_handler sibling_handler;

#endif
