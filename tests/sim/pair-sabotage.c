/* Tests the simulator of the pair: with any one rule of replication switched off, some seed must turn red.
 *
 * The cores are compiled into this program with the switch, which no product has. */
#define CX_SABOTAGE
#include "base/shard.c"
#include "broker/core/witness.c"
#include "taskserver/core/replica.c"
#include "taskserver/core/replica_backup.c"
#include "taskserver/core/replica_msg.c"
#include "taskserver/core/replica_primary.c"
#include "taskserver/core/replica_session.c"
#include "taskserver/core/replica_tail.c"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/limit.h"
#include "tests/sim/pair-run.h"

enum { SEEDS = 20000, BATCH = 50 };

int rule_off;

/* The first seed of the range that turns red, or 0. Only what the world's checks say counts, and `why` is
 * what they said: an assertion that trips inside the core would prove less. */
static uint64_t red_in(int rule, uint64_t first, uint64_t count, char *why, size_t why_max)
{
    int out[2];
    must(pipe(out) == 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct tally tally = {0};
        dup2(out[1], STDERR_FILENO);
        limit_seconds(60);
        rule_off = rule;
        for (uint64_t i = 0; i < count; i++) {
            uint64_t seed = first + i;
            world_run(seed, &tally);
        }
        _exit(0);
    }
    close(out[1]);
    size_t n = 0;
    for (ssize_t got; (got = read(out[0], why + n, why_max - 1 - n)) > 0;)
        n += (size_t)got;
    why[n] = 0;
    close(out[0]);
    int status = 0;
    must(pid > 0 && waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    const char *at = strstr(why, "seed ");
    return at ? strtoull(at + 5, NULL, 10) : rule ? 0 : first;
}

static uint64_t red(int rule, uint64_t seeds, char *why, size_t why_max)
{
    uint64_t seed = 0;
    for (uint64_t first = 1; first <= seeds && !seed; first += BATCH)
        seed = red_in(rule, first, BATCH, why, why_max);
    return seed;
}

static const char *last_line(char *why)
{
    size_t n = strlen(why);
    while (n && why[n - 1] == '\n')
        why[--n] = 0;
    const char *at = strrchr(why, '\n');
    at = at ? at + 1 : why;
    const char *said = strstr(at, "s: ");
    return said ? said + 3 : at;
}

int main(void)
{
    static const char *const names[] = {
        [RULE_NONE] = "all rules on",
        [RULE_INCARNATION] = "R1 membership by disk incarnation",
        [RULE_SESSION] = "R2 session in every acknowledgement",
        [RULE_ADD] = "R3 added once it holds everything held",
        [RULE_TAIL] = "R4 an old tail needs a snapshot",
        [RULE_NONCE] = "R5 a grant echoes the boot's nonce",
        [RULE_ADOPT] = "R5 the highest epoch is adopted",
        [RULE_KEEP] = "R5 promotion keeps the in-sync set",
        [RULE_HELD] = "law 8 outputs wait until held",
        [RULE_DEADLINE] = "a solo request has a deadline",
    };
    unsigned passed = 0, failed = 0;
    for (int rule = 0; rule <= RULE_MAX; rule++) {
        static char why[4096];
        uint64_t seeds = rule ? SEEDS : 500, seed = red(rule, seeds, why, sizeof why);
        if (seed)
            printf("%-40s %s at seed %llu: %s\n", names[rule], rule ? "off: red" : "RED",
                   (unsigned long long)seed, last_line(why));
        else
            printf("%-40s %s in seeds 1 to %llu\n", names[rule], rule ? "off: NOT NOTICED" : "green",
                   (unsigned long long)seeds);
        *((seed != 0) == (rule != 0) ? &passed : &failed) += 1;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
