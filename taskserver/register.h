/* The server's place in the broker's registry: a stream that says every two seconds who we are and what we
 * have. A broker that is away changes nothing else; it is dialled for ever. */
#ifndef TASKSERVER_REGISTER_H
#define TASKSERVER_REGISTER_H

#include <stdint.h>

struct taskserver;
struct registration;

/* Begins. address: what the broker tells others; copied. */
struct registration *registration_new(struct taskserver *server, const char *broker, const char *address);
/* Does what is due at now (monotonic) and says when to call again. */
uint64_t registration_tick(struct registration *r, uint64_t now_us);
/* Says good-bye; nothing is dialled any more. */
void registration_stop(struct registration *r);
/* After the stream has gone (rpc_free). NULL is legal. */
void registration_free(struct registration *r);

#endif
