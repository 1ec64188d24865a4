#include "producer/bell.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/must.h"

struct doorbell {
    struct doorbell_config config;
    pthread_t thread;
    int ring, quit; /* owned eventfds */
    atomic_bool posted;
};

struct posted_report {
    struct doorbell *bell;
    struct spawn_report report;
};

static void rung(void *ctx)
{
    struct doorbell *b = ctx;
    atomic_store(&b->posted, false);
    b->config.rung(b->config.ctx);
}

static void reported(void *ctx)
{
    struct posted_report *p = ctx;
    p->bell->config.report(p->bell->config.ctx, &p->report);
    free(p);
}

static void gone(void *ctx)
{
    struct doorbell *b = ctx;
    b->config.spawner_gone(b->config.ctx);
}

static void on_ring(struct doorbell *b)
{
    uint64_t n;
    if (read(b->ring, &n, sizeof n) != (ssize_t)sizeof n)
        return;
    if (!atomic_exchange(&b->posted, true))
        rpc_post(b->config.rpc, rung, b);
}

static bool on_report(struct doorbell *b)
{
    struct spawn_report r;
    if (!spawner_report(b->config.spawner, &r)) {
        rpc_post(b->config.rpc, gone, b);
        return false;
    }
    struct posted_report *p = malloc(sizeof *p);
    must(p);
    *p = (struct posted_report){b, r};
    rpc_post(b->config.rpc, reported, p);
    return true;
}

static void *listen_main(void *arg)
{
    struct doorbell *b = arg;
    struct pollfd p[] = {{.fd = b->quit, .events = POLLIN},
                         {.fd = b->ring, .events = POLLIN},
                         {.fd = b->config.spawner->fd, .events = POLLIN}};
    prctl(PR_SET_NAME, "cx-doorbell");
    while (!p[0].revents) {
        if (poll(p, 3, -1) < 0) {
            must(errno == EINTR);
            continue;
        }
        if (p[1].revents)
            on_ring(b);
        if (p[2].revents && !on_report(b))
            p[2].fd = -1; /* the spawner is gone: nothing more comes from there */
    }
    return NULL;
}

int doorbell_start(const struct doorbell_config *config, struct doorbell **out)
{
    struct doorbell *b = calloc(1, sizeof *b);
    must(b);
    b->config = *config;
    b->ring = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->quit = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (b->ring < 0 || b->quit < 0 || pthread_create(&b->thread, NULL, listen_main, b)) {
        doorbell_free(b);
        return CX_EIO;
    }
    *out = b;
    return 0;
}

int doorbell_fd(const struct doorbell *b)
{
    return b->ring;
}

void doorbell_stop(struct doorbell *b)
{
    uint64_t one = 1;
    must(write(b->quit, &one, sizeof one) == (ssize_t)sizeof one);
    pthread_join(b->thread, NULL);
}

void doorbell_free(struct doorbell *b)
{
    if (!b)
        return;
    if (b->ring >= 0)
        close(b->ring);
    if (b->quit >= 0)
        close(b->quit);
    free(b);
}
