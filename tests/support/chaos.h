/* What fault tests need beyond a network: moments drawn from a seed that is printed, processes found below a
 * producer, and listings of the server without what changes by itself. */
#ifndef TESTS_SUPPORT_CHAOS_H
#define TESTS_SUPPORT_CHAOS_H

#include <stdint.h>

#include "tests/support/testnet.h"

struct chaos {
    uint64_t state;
};

/* Draws from CX_TEST_SEED, or a seed of the moment, and prints which: the same seed makes the same draws. */
struct chaos chaos_begin(const char *test);
uint32_t chaos_below(struct chaos *c, uint32_t n);
static inline uint32_t chaos_between(struct chaos *c, uint32_t least, uint32_t most)
{
    return least + chaos_below(c, most - least + 1);
}

/* Waits until the program has ended, at most so long; true when it has. Nothing is read meanwhile. */
bool command_ends_within(const struct command *c, int ms);
/* Until one of the programs has ended, at most so long: its index, or -1. Those with pid 0 are passed over.
 */
int commands_any_end(const struct command *c, int n, int ms);

/* Waits for its end, expects this exit code and, unless NULL, exactly this output; says what it said
 * otherwise. */
void command_expect(struct command *c, int code, const char *out);

/* A runner below this producer, or 0 when it has none (now). */
pid_t runner_of(pid_t producer);
/* Waits for one. */
pid_t runner_wait(pid_t producer);
/* A tree of 512 leaves, some seconds of work for the two producers that the network has then; it is begun
 * when a runner is at it. Its end is right. */
void fault_job_begin(struct testnet *t, struct command *c);
void fault_job_end(struct command *c);
/* Every thread of the process sleeps: whatever it had to compute is done. True also when it has ended. */
bool process_rests(pid_t pid);

/* The words of `cx ARGS --json` as they were printed, without age_s, busy_s and duplicates.
 * To be freed. */
char *listing_of(struct testnet *t, const char *verb);

/* One value of `cx status JOB --json`. */
double job_number(struct testnet *t, const char *id, const char *key);

#endif
