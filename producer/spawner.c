#include "producer/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cx/error.h"
#include "producer/link.h"

enum spawn_op { SPAWN_RUN = 1, SPAWN_KILL = 2 };

struct spawn_request {
    uint32_t op;
    uint32_t runner;
};

#define FDS_MAX 4

/* ---- The spawner's side. It runs alone in its process, which may therefore exit anywhere ---- */

struct child {
    pid_t pid;
    uint32_t runner;
};

struct nursery {
    int fd, signals;
    const char *runner_path;
    sigset_t inherited;  /* what the runner's mask is to be */
    struct child *child; /* owned */
    size_t n, cap;
};

static void report(struct nursery *y, uint32_t runner, int status, int error)
{
    struct spawn_report r = {runner, status, error};
    if (send(y->fd, &r, sizeof r, MSG_NOSIGNAL) != (ssize_t)sizeof r)
        _exit(0); /* the daemon is gone */
}

static int open_null(void)
{
    return open("/dev/null", O_RDWR | O_CLOEXEC);
}

/* In the child: descriptors to where the runner looks for them, all others closed, then exec. They are moved
 * out of the way first, since one may lie where another is to go. */
static void become_runner(struct nursery *y, const int *fds, size_t n)
{
    int high[FDS_MAX], null = open_null();
    for (size_t i = 0; i < n; i++)
        high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, LINK_FD_END + FDS_MAX);
    for (size_t i = 0; i < n; i++)
        if (high[i] < 0 || dup2(high[i], LINK_FD_MEMORY + (int)i) < 0)
            _exit(126);
    dup2(null, STDIN_FILENO);
    close_range(LINK_FD_MEMORY + (unsigned)n, ~0u, CLOSE_RANGE_CLOEXEC);
    sigprocmask(SIG_SETMASK, &y->inherited, NULL);
    char *argv[] = {(char *)"cx-runner", NULL};
    char *none[] = {NULL};
    execve(y->runner_path, argv, none);
}

/* vfork-like: the pipe closes at exec, or carries the reason why there was none. */
static int exec_error(int pipe_end)
{
    int error = 0;
    ssize_t n;
    do
        n = read(pipe_end, &error, sizeof error);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof error ? error : 0;
}

static int give_birth(struct nursery *y, const int *fds, size_t n, pid_t *out)
{
    int p[2];
    pid_t parent = getpid();
    if (pipe2(p, O_CLOEXEC))
        return errno;
    pid_t pid = fork();
    if (pid == 0) {
        int keep = fcntl(p[1], F_DUPFD_CLOEXEC, LINK_FD_END + 2 * FDS_MAX);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(0); /* the spawner died before it could take us along */
        become_runner(y, fds, n);
        int error = errno;
        if (write(keep, &error, sizeof error) < 0)
            _exit(126);
        _exit(127);
    }
    int error = pid < 0 ? errno : 0;
    close(p[1]);
    if (pid > 0 && (error = exec_error(p[0])))
        waitpid(pid, NULL, 0);
    close(p[0]);
    *out = pid;
    return error;
}

static void nursery_add(struct nursery *y, pid_t pid, uint32_t runner)
{
    if (y->n == y->cap) {
        y->cap = y->cap ? y->cap * 2 : 16;
        y->child = realloc(y->child, y->cap * sizeof *y->child);
        if (!y->child)
            abort();
    }
    y->child[y->n++] = (struct child){pid, runner};
}

static void on_run(struct nursery *y, uint32_t runner, const int *fds, size_t n)
{
    pid_t pid = -1;
    int error = n < 3 ? EINVAL : give_birth(y, fds, n, &pid);
    if (error)
        report(y, runner, 0, error);
    else
        nursery_add(y, pid, runner);
}

static void on_kill(struct nursery *y, uint32_t runner)
{
    for (size_t i = 0; i < y->n; i++)
        if (y->child[i].runner == runner)
            kill(y->child[i].pid, SIGKILL);
}

/* Copies the descriptors out of a control message; any that are too many are closed. */
static size_t take_fds(struct msghdr *m, int fds[FDS_MAX])
{
    size_t n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t there = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < there; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (n < FDS_MAX)
                fds[n++] = fd;
            else
                close(fd);
        }
    }
    return n;
}

static void on_request(struct nursery *y)
{
    struct spawn_request q;
    union {
        struct cmsghdr align;
        char data[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct iovec iov = {&q, sizeof q};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(y->fd, &m, MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (got <= 0)
        _exit(0); /* the daemon is gone; PDEATHSIG takes the runners along */
    int fds[FDS_MAX];
    size_t n = take_fds(&m, fds);
    if (got == (ssize_t)sizeof q && q.op == SPAWN_RUN)
        on_run(y, q.runner, fds, n);
    else if (got == (ssize_t)sizeof q && q.op == SPAWN_KILL)
        on_kill(y, q.runner);
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
}

static void reap(struct nursery *y)
{
    struct signalfd_siginfo info;
    if (read(y->signals, &info, sizeof info) < 0 && errno != EAGAIN)
        _exit(1);
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (size_t i = 0; i < y->n; i++) {
            if (y->child[i].pid != pid)
                continue;
            report(y, y->child[i].runner, status, 0);
            y->child[i--] = y->child[--y->n];
        }
    }
}

/* SIGTERM and SIGINT are for the daemon, which stops us by closing its end; a session of our own keeps the
 * terminal's Ctrl-C away from us and the runners. */
static void nursery_main(struct nursery *y, pid_t daemon)
{
    sigset_t set;
    prctl(PR_SET_NAME, "cx-spawner");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != daemon)
        _exit(0);
    setsid();
    sigemptyset(&y->inherited);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_SETMASK, &set, NULL);
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    y->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (y->signals < 0)
        _exit(1);
    for (;;) {
        struct pollfd p[] = {{.fd = y->fd, .events = POLLIN}, {.fd = y->signals, .events = POLLIN}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            _exit(1);
        if (p[1].revents)
            reap(y);
        if (p[0].revents)
            on_request(y);
    }
}

/* ---- The daemon's side ---- */

int spawner_start(struct spawner *s, const char *runner_path)
{
    int fd[2];
    pid_t daemon = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd))
        return CX_EIO;
    pid_t pid = fork();
    if (pid == 0) {
        close(fd[0]);
        struct nursery y = {.fd = fd[1], .runner_path = runner_path};
        nursery_main(&y, daemon);
    }
    close(fd[1]);
    if (pid < 0) {
        close(fd[0]);
        return CX_EIO;
    }
    *s = (struct spawner){.fd = fd[0], .pid = pid};
    return 0;
}

static int request(struct spawner *s, struct spawn_request q, const int *fds, size_t n)
{
    union {
        struct cmsghdr align;
        char data[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control = {0};
    struct iovec iov = {&q, sizeof q};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n) {
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(n * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    }
    ssize_t sent;
    do
        sent = sendmsg(s->fd, &m, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)sizeof q ? 0 : CX_EIO;
}

int spawner_run(struct spawner *s, uint32_t runner, const struct spawn_fds *f)
{
    int fds[FDS_MAX] = {f->memory, f->module, f->bell, f->input};
    return request(s, (struct spawn_request){SPAWN_RUN, runner}, fds, f->input < 0 ? 3 : 4);
}

int spawner_kill(struct spawner *s, uint32_t runner)
{
    return request(s, (struct spawn_request){SPAWN_KILL, runner}, NULL, 0);
}

int spawner_report(struct spawner *s, struct spawn_report *out)
{
    struct spawn_report r;
    ssize_t got;
    do
        got = recv(s->fd, &r, sizeof r, 0);
    while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof r)
        return 0;
    *out = r;
    return 1;
}

void spawner_stop(struct spawner *s)
{
    if (s->pid <= 0)
        return;
    shutdown(s->fd, SHUT_RDWR);
    close(s->fd);
    waitpid(s->pid, NULL, 0);
    *s = (struct spawner){.fd = -1};
}
