/* A thread that does what would block: it runs jobs one after the other, and each then ends on the reactor.
 */
#ifndef PROTO_WORKER_H
#define PROTO_WORKER_H

#include <stdbool.h>

/* How another thread reaches the reactor: runs fn(ctx) there soon. rpc_post, or a test's own queue. */
struct poster {
    void (*post)(void *reactor, void (*fn)(void *ctx), void *ctx);
    void *reactor;
};

/* Embedded in what the job is about; owned by whoever gave it, valid until `done` has been called. */
struct work {
    void (*run)(struct work *w);  /* on the worker's thread */
    void (*done)(struct work *w); /* on the reactor, after run */
    struct work *next;
};

struct worker;

int worker_new(struct poster poster, struct worker **out);
void worker_add(struct worker *w, struct work *work);
/* Runs what was added, joins the thread and frees. Each job's `done` has then been posted. NULL is legal. */
void worker_free(struct worker *w);

#endif
