#include "proto/daemon.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

/* One watcher a process, as signals are. */
static struct {
    pthread_t thread;
    bool running;
    atomic_bool over;
    struct rpc *rpc;
    void (*stop)(void *ctx);
    void *ctx;
} watcher;

static sigset_t stop_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
}

void daemon_block_signals(void)
{
    sigset_t set = stop_signals();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

void daemon_child_signals(void)
{
    sigset_t set = stop_signals();
    signal(SIGPIPE, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void *watch(void *unused)
{
    (void)unused;
    sigset_t set = stop_signals();
    int number;
    while (sigwait(&set, &number) == 0 && !atomic_load(&watcher.over))
        rpc_post(watcher.rpc, watcher.stop, watcher.ctx);
    return NULL;
}

int daemon_watch_signals(struct rpc *r, void (*stop)(void *ctx), void *ctx)
{
    watcher.rpc = r;
    watcher.stop = stop;
    watcher.ctx = ctx;
    atomic_store(&watcher.over, false);
    if (pthread_create(&watcher.thread, NULL, watch, NULL) != 0)
        return CX_EIO;
    watcher.running = true;
    return 0;
}

void daemon_unwatch_signals(void)
{
    if (!watcher.running)
        return;
    atomic_store(&watcher.over, true);
    pthread_kill(watcher.thread,
                 SIGTERM); /* to that thread alone: it wakes, sees that it is over, and ends */
    pthread_join(watcher.thread, NULL);
    watcher.running = false;
}

void daemon_ready(int fd, int port)
{
    if (fd < 0)
        return;
    dprintf(fd, "ready %d\n", port);
    close(fd);
}
