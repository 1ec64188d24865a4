/* Runs seeds of the simulated pair: pair-sim [-v] [first seed [count]].
 *
 * Each batch of seeds runs in a process of its own, so that a broken invariant is reported with its seed and
 * the others go on. Without arguments: as many seeds as suit a test run. -v tells what happens. */
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/pair-run.h"

#if defined CX_ASAN || defined CX_TSAN
enum { COUNT_DEFAULT = 500, BATCH = 50 };
#else
enum { COUNT_DEFAULT = 6000, BATCH = 50 };
#endif

static struct tally *tally; /* shared with the children */

/* Runs a range; false when it did not come to its end. */
static bool run_range(uint64_t first, uint64_t count)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(120);
        for (uint64_t i = 0; i < count; i++)
            world_run(first + i, tally);
        fflush(NULL);
        _exit(0);
    }
    int status = 0;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static uint64_t run_one_by_one(const char *program, uint64_t first, uint64_t count)
{
    uint64_t failed = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (run_range(first + i, 1))
            continue;
        failed++;
        printf("seed %llu failed: see above; repeat with: %s -v %llu\n", (unsigned long long)(first + i),
               program, (unsigned long long)(first + i));
    }
    return failed;
}

int main(int argc, char **argv)
{
    const char *program = argv[0];
    if (argc > 1 && !strcmp(argv[1], "-v")) {
        talk = true;
        setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
        argc--;
        argv++;
    }
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, failed = 0;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : COUNT_DEFAULT;
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(tally != MAP_FAILED);
    for (uint64_t i = 0; i < count; i += BATCH) {
        uint64_t n = count - i < BATCH ? count - i : BATCH;
        if (!run_range(first + i, n))
            failed += run_one_by_one(program, first + i, n);
    }
    printf(
        "%llu events, %llu faults, %llu takeovers, %llu acknowledged, %llu halted until loss was accepted\n",
        (unsigned long long)tally->events, (unsigned long long)tally->faults,
        (unsigned long long)tally->takeovers, (unsigned long long)tally->acks,
        (unsigned long long)tally->halted);
    printf("%llu passed, %llu failed\n", (unsigned long long)(count - failed), (unsigned long long)failed);
    return failed != 0;
}
