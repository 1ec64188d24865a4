#include "consumer/cmd/launch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cx/error.h"

#define READY_FD  3
#define WORDS_MAX 64

int program_dir(char out[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    if (n <= 0)
        return CX_EIO;
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    if (slash != NULL)
        *slash = '\0';
    return 0;
}

void file_tail(const char *path, char *out, size_t cap)
{
    FILE *f = fopen(path, "rbe");
    size_t n = 0;
    out[0] = '\0';
    if (f == NULL)
        return;
    if (fseek(f, 0, SEEK_END) == 0) {
        long size = ftell(f);
        fseek(f, size > (long)cap - 1 ? size - (long)cap + 1 : 0, SEEK_SET);
        n = fread(out, 1, cap - 1, f);
    }
    out[n] = '\0';
    fclose(f);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    remove(path); /* what cannot be removed stays, the rest goes */
    return 0;
}

void directory_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- Starting ---- */

/* Between fork and exec: only what is async-signal-safe. */
static void become(const char *const *argv, int log, int ready, pid_t parent)
{
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(127);
    setpgid(0, 0); /* a Ctrl-C on the terminal is for the parent, which stops all in order */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    int null = open("/dev/null", O_RDONLY);
    if (ready == READY_FD)
        fcntl(ready, F_SETFD, 0);
    if (dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 ||
        (ready != READY_FD && dup2(ready, READY_FD) < 0))
        _exit(127);
    execv(argv[0], (char *const *)argv);
    _exit(127);
}

/* The number in "ready PORT\n", or -1 when the child closes the pipe or the time passes first. */
static int read_ready(int fd, int timeout_ms)
{
    char line[64] = "";
    size_t n = 0;
    uint64_t until = clock_us() + (uint64_t)timeout_ms * 1000;
    int port;
    while (n < sizeof line - 1 && strchr(line, '\n') == NULL) {
        uint64_t now = clock_us();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = now < until ? poll(&p, 1, (int)((until - now) / 1000) + 1) : 0;
        ssize_t got = ready > 0 ? read(fd, line + n, sizeof line - 1 - n) : ready;
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -1;
        n += (size_t)got;
    }
    return sscanf(line, "ready %d", &port) == 1 ? port : -1;
}

static void say_not_ready(struct child *c, const char *program, char *why)
{
    char tail[1024];
    file_tail(c->log, tail, sizeof tail);
    bool ended = c->status != -1;
    snprintf(why, LAUNCH_WHY_MAX, "%s (%s) %s%s%s", c->name, program,
             !ended                                                  ? "did not become ready in time"
             : WIFEXITED(c->status) && WEXITSTATUS(c->status) == 127 ? "cannot be run"
                                                                     : "ended before it was ready",
             tail[0] != '\0' ? "; it said:\n" : "", tail);
}

static int spawn(struct child *c, const char *const *argv, int *ready)
{
    int fds[2] = {-1, -1};
    int log = open(c->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    pid_t parent = getpid();
    if (log < 0 || pipe2(fds, O_CLOEXEC) < 0)
        goto fail;
    fflush(NULL);
    c->pid = fork();
    if (c->pid == 0)
        become(argv, log, fds[1], parent);
    if (c->pid < 0) {
        c->pid = 0;
        close(fds[0]);
        close(fds[1]);
        goto fail;
    }
    close(log);
    close(fds[1]);
    *ready = fds[0];
    return 0;
fail:
    if (log >= 0)
        close(log);
    return CX_EIO;
}

int child_start(struct child *c, const char *name, const char *log, const char *const *argv, int timeout_ms,
                char why[LAUNCH_WHY_MAX])
{
    const char *words[WORDS_MAX];
    size_t n = 0;
    int ready;
    memset(c, 0, sizeof *c);
    c->status = -1;
    snprintf(c->name, sizeof c->name, "%s", name);
    snprintf(c->log, sizeof c->log, "%s", log);
    while (argv[n] != NULL && n < WORDS_MAX - 3) {
        words[n] = argv[n];
        n++;
    }
    words[n++] = "--ready-fd";
    words[n++] = "3";
    words[n] = NULL;
    if (spawn(c, words, &ready) < 0) {
        snprintf(why, LAUNCH_WHY_MAX, "cannot start %s: %s", name, strerror(errno));
        return CX_EIO;
    }
    c->port = read_ready(ready, timeout_ms);
    close(ready);
    if (c->port >= 0)
        return 0;
    child_wait(c, 100); /* one that has closed the pipe is just about to end */
    say_not_ready(c, argv[0], why);
    child_signal(c, SIGKILL);
    child_wait(c, -1);
    return CX_EIO;
}

/* ---- Stopping ---- */

bool child_alive(struct child *c)
{
    if (c->pid > 0 && waitpid(c->pid, &c->status, WNOHANG) == c->pid)
        c->pid = 0;
    return c->pid > 0;
}

void child_signal(struct child *c, int signal_number)
{
    if (c->pid > 0)
        kill(c->pid, signal_number);
}

/* A pidfd is readable when its process has ended, so this waits without polling. */
bool child_wait(struct child *c, int timeout_ms)
{
    if (!child_alive(c))
        return true;
    int fd = (int)syscall(SYS_pidfd_open, c->pid, 0);
    if (fd >= 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        while (poll(&p, 1, timeout_ms) < 0 && errno == EINTR)
            ;
        close(fd);
    } else if (timeout_ms < 0 && waitpid(c->pid, &c->status, 0) == c->pid) {
        c->pid = 0;
    }
    return !child_alive(c);
}

void child_stop(struct child *c, int timeout_ms)
{
    child_signal(c, SIGCONT);
    child_signal(c, SIGTERM);
    if (!child_wait(c, timeout_ms))
        child_signal(c, SIGKILL);
    child_wait(c, -1);
}

/* Linux lets a second socket that says SO_REUSEADDR listen where one is bound that says so too and does not
 * listen; gRPC's say so. */
int address_reserve(char *address, size_t cap)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(fd, (struct sockaddr *)&at, len) < 0 || getsockname(fd, (struct sockaddr *)&at, &len) < 0) {
        if (fd >= 0)
            close(fd);
        return CX_EIO;
    }
    snprintf(address, cap, "127.0.0.1:%d", ntohs(at.sin_port));
    return fd;
}
