/* A chunk that was read is written when its time has come; nothing else is slowed, and the order of bytes
 * stays. One thread; a connection is two pipes, one each way. When a side closes, the pipe away from it
 * closes the other side as soon as it has delivered. */
#include "tests/support/relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"

enum { CONNECTIONS_MAX = 64, CHUNK_BYTES = 1 << 16 };

struct chunk {
    struct chunk *next;
    uint64_t due_us;
    size_t len, sent;
    char data[];
};

struct pipe {
    int from, to; /* -1: free */
    struct chunk *first, **last;
    bool ended; /* nothing more comes */
};

static struct pipe pipes[2 * CONNECTIONS_MAX]; /* 2i and 2i + 1 are the two ways of connection i */
static uint64_t delay;

int relay_listen(int *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(fd >= 0 && bind(fd, (struct sockaddr *)&a, len) == 0 && listen(fd, CONNECTIONS_MAX) == 0);
    must(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
    *port = ntohs(a.sin_port);
    return fd;
}

static int dial(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    a.sin_port = htons((uint16_t)port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    close(fd);
    return -1;
}

static void pipe_open(struct pipe *p, int from, int to)
{
    int one = 1;
    setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *p = (struct pipe){.from = from, .to = to};
    p->last = &p->first;
}

static void accept_one(int listener, int port)
{
    int a = accept(listener, NULL, NULL), b = dial(port);
    for (int i = 0; a >= 0 && b >= 0 && i < 2 * CONNECTIONS_MAX; i += 2)
        if (pipes[i].from < 0) {
            pipe_open(&pipes[i], a, b);
            pipe_open(&pipes[i + 1], b, a);
            return;
        }
    close(a);
    close(b);
}

static void pipe_read(struct pipe *p)
{
    struct chunk *c = malloc(sizeof *c + CHUNK_BYTES);
    must(c);
    ssize_t n = recv(p->from, c->data, CHUNK_BYTES, MSG_DONTWAIT);
    if (n <= 0) {
        p->ended = n == 0 || (errno != EAGAIN && errno != EINTR);
        free(c);
        return;
    }
    c = realloc(c, sizeof *c + (size_t)n);
    must(c);
    c->len = (size_t)n;
    c->sent = 0;
    c->next = NULL;
    c->due_us = clock_us() + delay;
    *p->last = c;
    p->last = &c->next;
}

/* Writes what is due; false when the receiver is gone. */
static bool pipe_write(struct pipe *p, uint64_t now)
{
    while (p->first != NULL && p->first->due_us <= now) {
        struct chunk *c = p->first;
        ssize_t n = send(p->to, c->data + c->sent, c->len - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if ((c->sent += (size_t)n) < c->len)
            continue;
        p->first = c->next;
        if (p->first == NULL)
            p->last = &p->first;
        free(c);
    }
    return p->first != NULL || !p->ended;
}

static void connection_close(struct pipe *both)
{
    close(both[0].from);
    close(both[0].to);
    for (int i = 0; i < 2; i++) {
        for (struct chunk *c = both[i].first, *next; c != NULL; c = next) {
            next = c->next;
            free(c);
        }
        both[i] = (struct pipe){.from = -1, .to = -1};
    }
}

/* What to wait for, and until when. */
static int prepare(struct pollfd *fds, int listener, uint64_t now)
{
    uint64_t due = UINT64_MAX;
    fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (int i = 0; i < 2 * CONNECTIONS_MAX; i++) {
        struct pipe *p = &pipes[i];
        bool late = p->from >= 0 && p->first != NULL && p->first->due_us <= now; /* the receiver is slow */
        fds[1 + 2 * i] = (struct pollfd){.fd = p->from >= 0 && !p->ended ? p->from : -1, .events = POLLIN};
        fds[2 + 2 * i] = (struct pollfd){.fd = late ? p->to : -1, .events = POLLOUT};
        if (p->from >= 0 && p->first != NULL && !late && p->first->due_us < due)
            due = p->first->due_us;
    }
    return due == UINT64_MAX ? -1 : (int)((due - now + 999) / 1000);
}

void relay_run(int listener, int target, uint64_t delay_us)
{
    static struct pollfd fds[1 + 4 * CONNECTIONS_MAX];
    delay = delay_us;
    for (int i = 0; i < 2 * CONNECTIONS_MAX; i++)
        pipes[i].from = pipes[i].to = -1;
    for (;;) {
        poll(fds, 1 + 4 * CONNECTIONS_MAX, prepare(fds, listener, clock_us()));
        if (fds[0].revents)
            accept_one(listener, target);
        for (int i = 0; i < 2 * CONNECTIONS_MAX; i++)
            if (pipes[i].from >= 0 && fds[1 + 2 * i].fd >= 0 && fds[1 + 2 * i].revents)
                pipe_read(&pipes[i]);
        for (int i = 0; i < 2 * CONNECTIONS_MAX; i++)
            if (pipes[i].from >= 0 && !pipe_write(&pipes[i], clock_us()))
                connection_close(&pipes[i & ~1]);
    }
}

/* ---- As a process ---- */

void relay_start(struct relay *r, int target, uint64_t delay_us)
{
    int listener = relay_listen(&r->port);
    pid_t parent = getpid();
    fflush(NULL);
    r->pid = fork();
    must(r->pid >= 0);
    if (r->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        relay_run(listener, target, delay_us);
    }
    close(listener);
}

void relay_cut(struct relay *r)
{
    kill(r->pid, SIGSTOP);
}

void relay_mend(struct relay *r)
{
    kill(r->pid, SIGCONT);
}

void relay_stop(struct relay *r)
{
    if (r->pid <= 0)
        return;
    kill(r->pid, SIGKILL);
    waitpid(r->pid, NULL, 0);
    r->pid = 0;
}
