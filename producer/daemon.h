/* The producer's shell: owns the connections, the runners and the time, executes the core's effects in order
 * and decides nothing. */
#ifndef PRODUCER_DAEMON_H
#define PRODUCER_DAEMON_H

#include "producer/core/pd.h"
#include "producer/spawner.h"
#include "proto/rpc.h"

struct daemon_config {
    const struct credentials *me;
    struct spawner *spawner;
    const char *server, *broker; /* one of them */
    const char *cache;           /* directory */
    uint64_t cache_max;          /* bytes */
    uint32_t threads;
    uint64_t grace_us;
    int ready_fd;
};

/* Serves until SIGTERM or SIGINT has been obeyed. 0, or a code after the reason was logged. */
int daemon_run(const struct daemon_config *config);

#endif
