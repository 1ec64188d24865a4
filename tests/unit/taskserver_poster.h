/* A reactor's post queue for tests of the task server's disk threads: other threads post, the test runs. */
#ifndef TESTS_UNIT_TASKSERVER_POSTER_H
#define TESTS_UNIT_TASKSERVER_POSTER_H

#include <pthread.h>
#include <stdbool.h>

#include "proto/worker.h"

enum { POSTS_MAX = 4096 };

struct posts {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct {
        void (*fn)(void *);
        void *ctx;
    } post[POSTS_MAX];
    unsigned first, last;
};

#define POSTS_INIT                                                                                           \
    {                                                                                                        \
        .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER                                  \
    }

static inline void posts_add(void *reactor, void (*fn)(void *), void *ctx)
{
    struct posts *p = reactor;
    pthread_mutex_lock(&p->lock);
    p->post[p->last % POSTS_MAX].fn = fn;
    p->post[p->last++ % POSTS_MAX].ctx = ctx;
    pthread_cond_signal(&p->more);
    pthread_mutex_unlock(&p->lock);
}

/* Runs one post, waiting for it if told to. False: there was none. */
static inline bool posts_run(struct posts *p, bool wait)
{
    pthread_mutex_lock(&p->lock);
    while (wait && p->first == p->last)
        pthread_cond_wait(&p->more, &p->lock);
    bool any = p->first != p->last;
    unsigned at = p->first % POSTS_MAX;
    p->first += any;
    pthread_mutex_unlock(&p->lock);
    if (any)
        p->post[at].fn(p->post[at].ctx);
    return any;
}

static inline struct poster posts_poster(struct posts *p)
{
    return (struct poster){posts_add, p};
}

#endif
