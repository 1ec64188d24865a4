/* Brokers as processes of their own, for tests of the witness in them. */
#ifndef TESTS_SUPPORT_WITNESSES_H
#define TESTS_SUPPORT_WITNESSES_H

#include "consumer/cmd/launch.h"
#include "tests/support/caller.h"

/* The pair of these tests: servers s1 and s2 of one network, which the policy lists. */
#define PAIR_NETWORK "lab"
#define PAIR_POLICY  "lab=s1,s2"

struct witnesses {
    char dir[64];
    struct rpc *rpc; /* of the callers */
    struct child broker[2];
};

/* cmocka's: *state is a struct witnesses with nothing running. */
int witnesses_setup(void **state);
int witnesses_teardown(void **state);
/* The i-th broker, at the port and with the store it had before. witness: as the option; NULL: its store. */
void witnesses_start(struct witnesses *w, int i, const char *witness);
void witnesses_kill(struct witnesses *w, int i); /* SIGKILL */
/* Connects s1 or the like to the i-th broker, and registers it there. */
void witnesses_join(struct witnesses *w, int i, struct caller *c, const char *server);
/* Makes the shard: of s1, which is primary; s2 is in sync with it. Members and nonces are 1 and 2. */
struct shard_answer witnesses_pair_up(struct caller *s1);

/* Asks about s1's shard, about which the last answer said that. */
struct shard_ask pair_ask(enum shard_ask_kind kind, uint64_t member, uint64_t nonce,
                          const struct shard_answer *last);
struct id pair_shard(void);

#endif
