/* Runs seeds of a simulated network of shards: net-sim [first seed [count]].
 *
 * Each batch runs in a process of its own, so that a broken invariant is reported with its seed and the
 * others go on. Without arguments: as many seeds as suit a test run. */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/net-run.h"

#if defined CX_ASAN || defined CX_TSAN
enum { COUNT_DEFAULT = 200, BATCH = 50 };
#else
enum { COUNT_DEFAULT = 1500, BATCH = 50 };
#endif

/* Runs a range; false when it did not come to its end. */
static bool run_range(uint64_t first, uint64_t count, bool say)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(120);
        for (uint64_t i = 0; i < count; i++)
            world_run(first + i, say);
        fflush(NULL);
        _exit(0);
    }
    int status = 0;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static uint64_t run_one_by_one(uint64_t first, uint64_t count)
{
    uint64_t failed = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (run_range(first + i, 1, false))
            continue;
        failed++;
        printf("seed %llu failed: see above; repeat with: build/release/tests/sim/net-sim %llu\n",
               (unsigned long long)(first + i), (unsigned long long)(first + i));
    }
    return failed;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, failed = 0;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : COUNT_DEFAULT;
    for (uint64_t i = 0; i < count; i += BATCH) {
        uint64_t n = count - i < BATCH ? count - i : BATCH;
        if (!run_range(first + i, n, count == 1))
            failed += run_one_by_one(first + i, n);
    }
    printf("%llu passed, %llu failed\n", (unsigned long long)(count - failed), (unsigned long long)failed);
    return failed != 0;
}
