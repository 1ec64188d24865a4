#include "tests/support/command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

extern char **environ;

/* ---- Where things are ---- */

/* A test is build/VARIANT/tests/GROUP/NAME. */
static const char *build_dir(void)
{
    static char dir[PATH_MAX];
    ssize_t n = dir[0] == '\0' ? readlink("/proc/self/exe", dir, sizeof dir - 1) : 0;
    char *tests;
    if (n > 0) {
        dir[n] = '\0';
        tests = strstr(dir, "/tests/");
        if (tests == NULL)
            fail_msg("%s is not below a build directory", dir);
        else
            *tests = '\0';
    }
    return dir;
}

const char *programs_dir(void)
{
    static char dir[PATH_MAX + 8];
    snprintf(dir, sizeof dir, "%s/bin", build_dir());
    return dir;
}

const char *built(const char *format, ...)
{
    static char rooms[8][PATH_MAX * 2];
    static unsigned next;
    char *room = rooms[next++ % 8], name[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    snprintf(room, sizeof rooms[0], "%s/%s", build_dir(), name);
    return room;
}

/* ---- Starting ---- */

static void become(const char *const *argv, char *const *env, int out, int err)
{
    int null = open("/dev/null", O_RDONLY);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(127);
    execve(argv[0], (char *const *)argv, env);
    _exit(127);
}

void command_start(struct command *c, const char *const *argv, char *const *env)
{
    int out[2], err[2];
    memset(c, 0, sizeof *c);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    fflush(NULL);
    c->pid = fork();
    assert_true(c->pid >= 0);
    if (c->pid == 0)
        become(argv, env != NULL ? env : environ, out[1], err[1]);
    close(out[1]);
    close(err[1]);
    c->out_fd = out[0];
    c->err_fd = err[0];
}

/* ---- Reading ---- */

static void terminate(struct buf *b)
{
    buf_reserve(b, 1);
    b->data[b->len] = '\0';
}

static void take(int *fd, struct buf *b)
{
    buf_reserve(b, 65536);
    ssize_t n = read(*fd, b->data + b->len, 65535);
    if (n > 0) {
        b->len += (size_t)n;
    } else if (n == 0 || errno != EINTR) {
        close(*fd);
        *fd = -1;
    }
    terminate(b);
}

/* Reads what there is, waiting for some until the limit. False when both streams have ended. */
static bool read_some(struct command *c, uint64_t limit_us)
{
    struct pollfd p[2] = {{.fd = c->out_fd, .events = POLLIN}, {.fd = c->err_fd, .events = POLLIN}};
    uint64_t now = clock_us();
    if (c->out_fd < 0 && c->err_fd < 0)
        return false;
    if (now >= limit_us)
        fail_msg("a program went on too long; it said:\n%s%s", command_out(c), command_err(c));
    if (poll(p, 2, (int)((limit_us - now) / 1000) + 1) < 0)
        return true;
    if (p[0].revents != 0)
        take(&c->out_fd, &c->out);
    if (p[1].revents != 0)
        take(&c->err_fd, &c->err);
    return true;
}

const char *command_out(const struct command *c)
{
    return c->out.data != NULL ? (const char *)c->out.data : "";
}

const char *command_err(const struct command *c)
{
    return c->err.data != NULL ? (const char *)c->err.data : "";
}

void command_wait_text(struct command *c, const char *text)
{
    uint64_t limit = clock_us() + (uint64_t)COMMAND_LIMIT_MS * 1000;
    while (strstr(command_out(c), text) == NULL && strstr(command_err(c), text) == NULL)
        if (!read_some(c, limit))
            fail_msg("a program ended without saying \"%s\"; it said:\n%s%s", text, command_out(c),
                     command_err(c));
}

int command_finish(struct command *c)
{
    uint64_t limit = clock_us() + (uint64_t)COMMAND_LIMIT_MS * 1000;
    int status;
    while (read_some(c, limit))
        ;
    if (c->pid > 0 && waitpid(c->pid, &status, 0) == c->pid) {
        c->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        c->pid = 0;
    }
    return c->code;
}

void command_signal(struct command *c, int signal_number)
{
    if (c->pid > 0)
        kill(c->pid, signal_number);
}

void command_free(struct command *c)
{
    if (c->pid > 0) {
        kill(c->pid, SIGKILL);
        waitpid(c->pid, NULL, 0);
    }
    if (c->out_fd > 0)
        close(c->out_fd);
    if (c->err_fd > 0)
        close(c->err_fd);
    buf_free(&c->out);
    buf_free(&c->err);
    memset(c, 0, sizeof *c);
}
