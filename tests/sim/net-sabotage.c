/* Tests the simulator of networks: see sabotage.h. Number 11 is that a parcel counts once, 12 that a home
 * waits for what is unanswered. */
#include "tests/sim/sabotage.h"

#include "tests/sim/net-run.h"

static void run(uint64_t seed)
{
    world_run(seed, false);
}

int main(void)
{
    static const int laws[] = {0, 4, 8, 11, 12};
    return sabotage_main(laws, sizeof laws / sizeof laws[0], run);
}
