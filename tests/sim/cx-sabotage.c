/* Tests the simulator of one server: see sabotage.h. */
#include "tests/sim/sabotage.h"

#include "tests/sim/cx-run.h"

int main(void)
{
    static const int laws[] = {0, 3, 4, 6, 8};
    return sabotage_main(laws, sizeof laws / sizeof laws[0], world_run);
}
