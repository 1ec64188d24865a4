/* A long way between two programs on one machine: forwards TCP connections, each byte after a delay.
 *
 *     relay TARGET_PORT DELAY_MS      prints "ready PORT", then relays what connects to it to
 * 127.0.0.1:TARGET_PORT */
#include "tests/support/relay.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    int port;
    if (argc != 3)
        return 2;
    int listener = relay_listen(&port);
    printf("ready %d\n", port);
    fflush(stdout);
    relay_run(listener, atoi(argv[1]), (uint64_t)(atof(argv[2]) * 1000));
}
