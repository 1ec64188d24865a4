/* The stream to the task server: what it says becomes the core's events, what the core wants said waits here
 * and is sent when the stream can take it. Commits that wait survive the stream. */
#ifndef PRODUCER_UPLINK_H
#define PRODUCER_UPLINK_H

#include "producer/core/pd.h"
#include "proto/rpc.h"

struct uplink;

struct uplink_config {
    struct rpc *rpc;              /* borrowed */
    const struct credentials *me; /* borrowed */
    uint32_t threads;
    void (*event)(void *ctx, const struct pd_event *ev); /* time not set */
    /* Welcome: for this shard, which may be served at these addresses too. PD_UP follows. */
    void (*served)(void *ctx, struct bytes shard, struct bytes addresses);
    void (*closed)(void *ctx, const char *why,
                   bool was_up); /* in place of PD_DOWN: others may be tried first */
    void (*left)(void *ctx);     /* after uplink_leave: all is said */
    void *ctx;
};

struct uplink *uplink_new(const struct uplink_config *config);
void uplink_free(struct uplink *u);

/* This machine's architecture, as modules name it. */
const char *uplink_arch(void);

/* shard: empty, or the 16 bytes of its id. */
int uplink_dial(struct uplink *u, const char *address, struct bytes shard);
void uplink_fault(struct uplink *u, const char *why);
void uplink_window(struct uplink *u, uint32_t grants);
void uplink_holds(struct uplink *u, struct bytes holds);
void uplink_commits(struct uplink *u, struct bytes commits);
/* Sends what waits, then Leave, then closes; calls left, at once when there is no stream. */
void uplink_leave(struct uplink *u);

#endif
