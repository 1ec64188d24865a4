#include "proto/worker.h"

#include <pthread.h>
#include <stdlib.h>

#include "cx/error.h"

struct worker {
    struct poster poster;
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t more;
    struct work *first, **last;
    bool stop;
};

static struct work *worker_take(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->first && !w->stop)
        pthread_cond_wait(&w->more, &w->lock);
    struct work *work = w->first;
    if (work) {
        w->first = work->next;
        if (!w->first)
            w->last = &w->first;
    }
    pthread_mutex_unlock(&w->lock);
    return work;
}

static void work_end(void *ctx)
{
    struct work *work = ctx;
    work->done(work);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    for (struct work *work; (work = worker_take(w));) {
        work->run(work);
        w->poster.post(w->poster.reactor, work_end, work);
    }
    return NULL;
}

int worker_new(struct poster poster, struct worker **out)
{
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return CX_ENOMEM;
    w->poster = poster;
    w->last = &w->first;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    if (pthread_create(&w->thread, NULL, worker_main, w)) {
        free(w);
        return CX_ENOMEM;
    }
    *out = w;
    return 0;
}

void worker_add(struct worker *w, struct work *work)
{
    work->next = NULL;
    pthread_mutex_lock(&w->lock);
    *w->last = work;
    w->last = &work->next;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->more);
    free(w);
}
