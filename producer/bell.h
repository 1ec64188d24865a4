/* The doorbell thread: waits where the reactor cannot - on the eventfd that runners ring, and for the
 * spawner's reports - and posts to the reactor. */
#ifndef PRODUCER_BELL_H
#define PRODUCER_BELL_H

#include "producer/spawner.h"
#include "proto/rpc.h"

struct doorbell;

struct doorbell_config {
    struct rpc *rpc;         /* borrowed */
    struct spawner *spawner; /* borrowed */
    /* On the reactor: */
    void (*rung)(void *ctx);
    void (*report)(void *ctx, const struct spawn_report *r);
    void (*spawner_gone)(void *ctx);
    void *ctx;
};

int doorbell_start(const struct doorbell_config *config, struct doorbell **out);
int doorbell_fd(const struct doorbell *b); /* for runners to ring */
/* Ends the thread; before rpc_free. Reports that were not posted yet are dropped. */
void doorbell_stop(struct doorbell *b);
/* After rpc_free: what was posted may still have been on its way until then. */
void doorbell_free(struct doorbell *b);

#endif
