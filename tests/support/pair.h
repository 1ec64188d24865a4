/* A test network whose task server is a pair. Its servers are 0 and 1, certified as s1 and s2; shard 0 is
 * server 0's own, shard 1 the other's. What they are is read in their logs.
 *
 *     static void the_primary_dies(void **state)
 *     {
 *         struct testnet *t = *state; // made by pair_setup: broker and both servers, and all is whole
 *         pair_kill(t, 0, SIGKILL);
 *         pair_until_served(t, 0, 1);
 *         pair_wipe(t, 0);
 *         pair_start(t, 0);
 *         pair_until_whole(t);
 *     }
 */
#ifndef TESTS_SUPPORT_PAIR_H
#define TESTS_SUPPORT_PAIR_H

#include "tests/support/testnet.h"

/* cmocka's; torn down by testnet_teardown. The second has journals; with the third nothing runs yet. */
int pair_setup(void **state);
int pair_setup_journal(void **state);
int pair_setup_empty(void **state);

struct child *pair_server(struct testnet *t, int server);
/* With the testnet's server_options; at its address, on its state. */
void pair_start(struct testnet *t, int server);
void pair_kill(struct testnet *t, int server, int signal_number);
/* Its disk is lost. It must have ended. */
void pair_wipe(struct testnet *t, int server);

struct pair_role {
    char name[16]; /* "joining", "backup", "primary", "solo", ... */
    uint64_t epoch;
    bool open; /* consumers are admitted */
};

/* What this server, in its present life, last said that it is for the shard. */
struct pair_role pair_role(struct testnet *t, int server, int shard);
bool pair_serves(const struct pair_role *role);
/* Who serves the shard: of those that run and say so the one with the highest epoch; -1: nobody. */
int pair_primary(struct testnet *t, int shard);

/* Each server serves its own shard, and the other one is in sync with it. */
bool pair_is_whole(struct testnet *t);

/* In all their lives the servers were never both the primary of a shard in the same epoch. */
void pair_expect_one_primary_an_epoch(struct testnet *t);

/* This server serves the shard, consumers too. */
void pair_until_served(struct testnet *t, int shard, int server);
void pair_until_whole(struct testnet *t);

#endif
