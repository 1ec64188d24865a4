/* Runs seeds of the simulated network round one server: cx-sim [first seed [count]]; see runner.h. */
#include "tests/sim/cx-run.h"
#include "tests/sim/runner.h"

#if defined CX_ASAN || defined CX_TSAN
enum { SEEDS = 1000 };
#else
enum { SEEDS = 8000 };
#endif

int main(int argc, char **argv)
{
    static const struct simulator sim = {.name = "cx-sim", .seeds = SEEDS, .run = world_run};
    return runner_main(&sim, argc, argv);
}
