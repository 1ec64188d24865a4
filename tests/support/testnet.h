/* A real CX network for end-to-end tests: broker, task server and producers as processes of their own, in a
 * fresh directory, with certificates of their own and ports that the kernel chooses.
 *
 *     static void fib_is_right(void **state)
 *     {
 *         struct testnet *t = *state;                  // made by testnet_setup: broker, server, no producers
 *         testnet_add_producers(t, 2);
 *         testnet_expect(t, 0, "832040\n", "run", built("examples/fib.so"), "fib", "30", NULL);
 *         testnet_kill_server(t, SIGKILL);
 *         testnet_start_server(t);                     // at the same address, on the same state
 *         testnet_passed(t);                           // last line: no logs are printed
 *     }
 *     cmocka_unit_test_setup_teardown(fib_is_right, testnet_setup, testnet_teardown)
 *
 * Whatever does not happen within its limit fails the test. testnet_teardown stops what runs, and prints the
 * tails of all logs unless the test has passed. */
#ifndef TESTS_SUPPORT_TESTNET_H
#define TESTS_SUPPORT_TESTNET_H

#include "consumer/cmd/network.h"
#include "consumer/net.h"
#include "tests/support/command.h"

#define TESTNET_LIMIT_MS 60000

struct testnet {
    struct network network;            /* broker, server, producer[i], addresses, dir, credentials */
    const char *const *server_options; /* more options of the next cx-taskserver; NULL-terminated, borrowed */
    const char *const *producer_options; /* of the next cx-producer */
    cx_net *net;                         /* of testnet_net, made when first asked for */
    long life[2]; /* of a pair's servers: where in their logs their present life begins */
    bool passed;
};

/* cmocka's: *state is a struct testnet with broker and server running; the second has a journal. */
int testnet_setup(void **state);
int testnet_setup_journal(void **state);
/* A pair with journals: the servers are s1 and its sibling s2. */
int testnet_setup_pair(void **state);
/* Directory and certificates only, nothing runs yet; set the options, then start. */
int testnet_setup_empty(void **state);
int testnet_prepare(void **state, bool pair, bool journal);
int testnet_teardown(void **state);
void testnet_passed(struct testnet *t);

/* Starting again keeps address, state and name. */
void testnet_start_broker(struct testnet *t);
void testnet_start_server(struct testnet *t);
void testnet_start_sibling(struct testnet *t);
void testnet_add_producers(struct testnet *t, int n);
/* Sends the signal and, for those that end a process, waits for its end. */
void testnet_kill_broker(struct testnet *t, int signal_number);
void testnet_kill_server(struct testnet *t, int signal_number);
void testnet_kill_sibling(struct testnet *t, int signal_number);
void testnet_kill_producer(struct testnet *t, int i, int signal_number);
void testnet_kill_child(struct child *c, int signal_number);
/* One that has ended, again under its name and with its cache. */
void testnet_restart_producer(struct testnet *t, int i);
/* SIGTERM, and waits for the end; returns its exit code, or 128 + signal. */
int testnet_stop_producer(struct testnet *t, int i);

/* Runs `cx WORD...` (NULL-terminated) as this network's consumer to its end; c is filled and to be freed. */
int testnet_cx(struct testnet *t, struct command *c, ...) __attribute__((sentinel));
/* Starts it and returns at once. */
void testnet_cx_start(struct testnet *t, struct command *c, ...) __attribute__((sentinel));
void testnet_cx_startv(struct testnet *t, struct command *c, const char *const *words);
/* Runs it and expects this exit code and, unless NULL, exactly this standard output. */
void testnet_expect(struct testnet *t, int code, const char *out, ...) __attribute__((sentinel));

/* A connection of this process to the network; closed by teardown. */
cx_net *testnet_net(struct testnet *t);
/* Another one as somebody else; issues the certificate if need be. To be closed by the test. */
cx_net *testnet_net_as(struct testnet *t, const char *name);

/* Looks again and again until the condition holds; fails with what after the limit. */
void testnet_until(const char *what, bool (*holds)(void *ctx), void *ctx);
/* Until the server counts n producers; until the job has executed at least n tasks or has ended. */
void testnet_until_producers(struct testnet *t, unsigned n);
void testnet_until_executed(struct testnet *t, cx_job *job, uint64_t n);

/* Does the log of a child (its last 64 KiB) say this? */
bool testnet_log_says(const struct child *c, const char *text);

#endif
