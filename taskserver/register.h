/* The server's place in the broker's registry: a stream that says every two seconds who we are and what we
 * have, and
 * that carries the replicas' asks to the witness. A broker that is away changes nothing else; it is dialled
 * for ever. */
#ifndef TASKSERVER_REGISTER_H
#define TASKSERVER_REGISTER_H

#include <stdint.h>

#include "base/shard.h"

struct taskserver;
struct registration;

/* Begins. brokers: a comma list; one at a time is used. address: what the broker tells others. Both are
 * copied. */
struct registration *registration_new(struct taskserver *server, const char *brokers, const char *address);
/* Does what is due at now (monotonic) and says when to call again. */
uint64_t registration_tick(struct registration *r, uint64_t now_us);
/* Asks the witness. The answer goes to the shard's replica; there may be none, and whoever asked asks again.
 */
void registration_ask(struct registration *r, const struct shard_ask *ask);
/* Says good-bye; nothing is dialled any more. */
void registration_stop(struct registration *r);
/* After the stream has gone (rpc_free). NULL is legal. */
void registration_free(struct registration *r);

#endif
