/* Runs seeds of the simulated pair: pair-sim [-v] [first seed [count]]; see runner.h. -v tells what happens.
 */
#include "tests/sim/pair-run.h"
#include "tests/sim/runner.h"

#if defined CX_ASAN || defined CX_TSAN
enum { SEEDS = 500 };
#else
enum { SEEDS = 6000 };
#endif

static struct tally *tally; /* shared by the processes */

static void run(uint64_t seed)
{
    struct tally one = {0};
    world_run(seed, &one);
    tally->events += one.events;
    tally->faults += one.faults;
    tally->takeovers += one.takeovers;
    tally->acks += one.acks;
    tally->halted += one.halted;
}

int main(int argc, char **argv)
{
    static const struct simulator sim = {.name = "pair-sim", .seeds = SEEDS, .run = run, .talk = &talk};
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(tally != MAP_FAILED);
    int code = runner_main(&sim, argc, argv);
    fprintf(
        stderr,
        "%llu events, %llu faults, %llu takeovers, %llu acknowledged, %llu halted until loss was accepted\n",
        (unsigned long long)tally->events, (unsigned long long)tally->faults,
        (unsigned long long)tally->takeovers, (unsigned long long)tally->acks,
        (unsigned long long)tally->halted);
    return code;
}
