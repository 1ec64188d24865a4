/* The daemon's side of the runners: their links, rings and ends. It executes what the core wants of them and
 * turns what they do into the core's events. All of it runs on the reactor thread. */
#ifndef PRODUCER_RUNNERS_H
#define PRODUCER_RUNNERS_H

#include "producer/blobcache.h"
#include "producer/core/pd.h"
#include "producer/spawner.h"

struct runners;

struct runners_config {
    struct spawner *spawner; /* borrowed */
    struct blobcache *cache; /* borrowed */
    uint32_t seats;
    int bell; /* eventfd that runners ring; borrowed */
    void (*event)(void *ctx,
                  const struct pd_event *ev); /* time not set; may start and kill runners in turn */
    void *ctx;
};

struct runners *runners_new(const struct runners_config *config);
void runners_free(struct runners *rs);

/* module, input: SHA-256, input NULL for none. A failure shows as EXITED at the next poll. */
void runners_start(struct runners *rs, uint32_t runner, const uint8_t *module, const uint8_t *input);
void runners_kill(struct runners *rs, uint32_t runner);
void runners_run(struct runners *rs, uint32_t runner, uint32_t seat, uint32_t number, struct bytes grant);
/* True when the grant has not started and never will. */
bool runners_take_back(struct runners *rs, uint32_t runner, uint32_t seat, uint32_t number);
void runners_bound(struct runners *rs, uint32_t runner, uint32_t kind, int64_t value);
void runners_hungry(struct runners *rs, uint32_t runner);

/* Shows the grants given since the last flush to their threads, waking those that sleep. */
void runners_flush(struct runners *rs);
/* Delivers what the runners have done. True when there was anything. */
bool runners_poll(struct runners *rs);
/* True when runners_poll would find commits: a look at memory, to be had again and again. */
bool runners_ready(struct runners *rs);
/* The reactor is about to sleep: runners are to ring from now on. Poll once more after this. */
void runners_arm(struct runners *rs);
void runners_disarm(struct runners *rs);
/* The spawner has reported an end. */
void runners_report(struct runners *rs, const struct spawn_report *report);

#endif
