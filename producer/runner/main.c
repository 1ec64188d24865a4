/* cx-runner: runs the tasks of one job, a thread a seat. Started by the producer's spawner with the
 * descriptors of link.h; of no use by hand. It links neither the wire nor the cryptography. */
#include <stdio.h>
#include <string.h>

#include "producer/runner/runner.h"

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        fputs("cx-runner is started by cx-producer, see cx-producer(1)\n", stderr);
        return 2;
    }
    struct runner r = {0};
    if (link_attach(&r.link, LINK_FD_MEMORY)) {
        fputs("cx-runner: no link to a producer; it is started by cx-producer, see cx-producer(1)\n", stderr);
        return 2;
    }
    char why[LINK_WHY_MAX] = "";
    if (walls_raise(r.link.head->has_input, why) || module_load(&r, why) || threads_start(&r, why)) {
        snprintf(r.link.head->why, sizeof r.link.head->why, "%s", why);
        atomic_store(&r.link.head->state, LINK_REFUSED);
        return RUNNER_REFUSED;
    }
    atomic_store(&r.link.head->state, LINK_UP);
    runner_ring(&r);
    threads_join(&r);
    return 0;
}
