/* local://: the task server's core and the runner's engine in this process, without a network between them.
 *
 * A monitor: whoever holds `lock` may step the core; effects are carried out at once, under the lock. Workers
 * are the core's producers, one thread and one grant each, and leave the lock only to run tasks. Every record
 * of the log counts as held as soon as it is written: this engine promises to survive nothing. */
#ifndef CONSUMER_LOCAL_H
#define CONSUMER_LOCAL_H

#include <pthread.h>

#include "consumer/net.h"
#include "producer/runner/engine.h"
#include "taskserver/core/ts.h"

#define LOCAL_THREADS_MAX 256
#define LOCAL_CLIENT      1 /* the one client of the core */

/* What the engines of one job share. Lives until the job has ended and no worker has an engine of it. */
struct program {
    struct program *next;
    struct id job;
    struct module *module; /* held */
    void *input;           /* owned */
    size_t input_len;
    struct engine_shared shared;
    unsigned users; /* workers that have an engine of it */
    bool ended;
};

struct worker {
    struct local *local;
    pthread_t thread;
    pthread_cond_t wake;
    uint32_t peer;
    struct buf grants;       /* that the core gave; packed */
    struct engine *engine;   /* of program; owned */
    struct program *program; /* counted in its users */
};

struct local_reply {
    bool wanted, there;
    int code;
    char text[TS_REASON_MAX + 1];
};

struct local {
    cx_net net; /* first */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* some job has ended */
    struct ts *ts;
    struct ts_effects fx;
    uint64_t logged, held; /* lsn */
    struct program *programs;
    struct worker *worker; /* workers of them; owned */
    unsigned workers;
    bool stopping;
    struct local_reply reply; /* to the request that is being stepped */
    uint64_t ends;            /* jobs that have ended: changes with each */
};

/* Workers and effects (local_work.c). All but worker_main are called with the lock held. */
void *worker_main(void *worker);
void local_step(struct local *l, struct ts_event *event);
/* Steps a request of the client and leaves the core's answer in l->reply. */
void local_ask(struct local *l, struct ts_event *event);
struct program *program_find(struct local *l, struct id job);
void program_end(struct local *l, struct program *p); /* frees it now or when its last user leaves */
void programs_free(struct local *l);
/* pthread_cond_timedwait until a time of clock_us(); UINT64_MAX: no limit. */
void local_wait(struct local *l, pthread_cond_t *cond, uint64_t until_us);

#endif
