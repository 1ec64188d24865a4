/* With a law of the task server's core switched off, some seed of a simulator must turn red.
 *
 * The core is compiled into the program with the switch, which no product has. */
#ifndef TESTS_SIM_SABOTAGE_H
#define TESTS_SIM_SABOTAGE_H

#define CX_SABOTAGE
#include "taskserver/core/apply.c"
#include "taskserver/core/arrive.c"
#include "taskserver/core/bound.c"
#include "taskserver/core/channel.c"
#include "taskserver/core/check.c"
#include "taskserver/core/check_commit.c"
#include "taskserver/core/client.c"
#include "taskserver/core/commits.c"
#include "taskserver/core/eager.c"
#include "taskserver/core/effect.c"
#include "taskserver/core/grant.c"
#include "taskserver/core/info.c"
#include "taskserver/core/job.c"
#include "taskserver/core/move.c"
#include "taskserver/core/neighbour.c"
#include "taskserver/core/order.c"
#include "taskserver/core/parcel.c"
#include "taskserver/core/pool.c"
#include "taskserver/core/producer.c"
#include "taskserver/core/ready.c"
#include "taskserver/core/record.c"
#include "taskserver/core/requests.c"
#include "taskserver/core/slot.c"
#include "taskserver/core/snapshot.c"
#include "taskserver/core/steal.c"
#include "taskserver/core/table.c"
#include "taskserver/core/task.c"
#include "taskserver/core/ts.c"

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/limit.h"

enum { SABOTAGE_SEEDS = 200 };

/* A world that ends badly ends its process. */
static bool sabotage_red(void (*run)(uint64_t seed), int law, uint64_t seed)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int quiet = open("/dev/null", O_WRONLY);
        dup2(quiet, STDERR_FILENO);
        limit_seconds(20);
        ts_sabotage = law;
        run(seed);
        _exit(0);
    }
    int status = 0;
    must(pid > 0 && waitpid(pid, &status, 0) == pid);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

/* Law 0 is none: all seeds must be green. Ends as a test program does. */
static int sabotage_main(const int *laws, size_t n, void (*run)(uint64_t seed))
{
    unsigned passed = 0, failed = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t seed = 1;
        while (seed <= SABOTAGE_SEEDS && !sabotage_red(run, laws[i], seed))
            seed++;
        bool found = seed <= SABOTAGE_SEEDS;
        if (laws[i])
            printf("law %d off: %s %llu\n", laws[i], found ? "red at seed" : "NOT NOTICED in seeds 1 to",
                   (unsigned long long)(found ? seed : SABOTAGE_SEEDS));
        else
            printf("all laws on: %s %llu\n", found ? "RED at seed" : "green in seeds 1 to",
                   (unsigned long long)(found ? seed : SABOTAGE_SEEDS));
        *(found == (laws[i] != 0) ? &passed : &failed) += 1;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}

#endif
