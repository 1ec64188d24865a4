/* Runs seeds of a simulated network of shards: net-sim [-v] [first seed [count]]; see runner.h. -v tells how
 * much happened. */
#include "tests/sim/net-run.h"
#include "tests/sim/runner.h"

#if defined CX_ASAN || defined CX_TSAN
enum { SEEDS = 200 };
#else
enum { SEEDS = 1500 };
#endif

static bool talk;

static void run(uint64_t seed)
{
    world_run(seed, talk);
}

int main(int argc, char **argv)
{
    static const struct simulator sim = {.name = "net-sim", .seeds = SEEDS, .run = run, .talk = &talk};
    return runner_main(&sim, argc, argv);
}
