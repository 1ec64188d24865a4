/* A real etcd, alone, on the loopback, in a directory of its own. */
#ifndef TESTS_SUPPORT_ETCD_H
#define TESTS_SUPPORT_ETCD_H

#include "tests/support/command.h"

struct etcd_process {
    char dir[64];
    char url[64];     /* of its clients */
    char witness[96]; /* as cx-broker's option */
    struct command command;
    char peer_url[64]; /* of others like it */
    int reserved[2];   /* sockets that keep the addresses ours */
};

/* Starts it, and waits until it answers; the second time at the same address, with what it had. */
void etcd_start(struct etcd_process *e);
void etcd_kill(struct etcd_process *e); /* SIGKILL */
/* As if its disk had been lost; while it does not run. */
void etcd_wipe(struct etcd_process *e);
void etcd_remove(struct etcd_process *e); /* ends it, if need be */

#endif
