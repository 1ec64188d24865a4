#include "tests/support/testnet.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "proto/pki.h"

#define WORDS_MAX 80

extern char **environ;

/* ---- Setting up and tearing down ---- */

int testnet_prepare(void **state, bool pair, bool journal)
{
    struct testnet *t = calloc(1, sizeof *t);
    struct network_options o = {
        .bin_dir = programs_dir(), .user = "tester", .threads = 1, .journal = journal, .pair = pair};
    char why[LAUNCH_WHY_MAX];
    assert_non_null(t);
    *state = t;
    if (network_prepare(&t->network, &o, why) < 0)
        fail_msg("%s", why);
    return 0;
}

static int setup_started(void **state, bool journal)
{
    testnet_prepare(state, false, journal);
    testnet_start_broker(*state);
    testnet_start_server(*state);
    return 0;
}

int testnet_setup_empty(void **state)
{
    return testnet_prepare(state, false, false);
}

int testnet_setup_pair(void **state)
{
    testnet_prepare(state, true, true);
    testnet_start_broker(*state);
    testnet_start_server(*state);
    testnet_start_sibling(*state);
    return 0;
}

int testnet_setup(void **state)
{
    return setup_started(state, false);
}

int testnet_setup_journal(void **state)
{
    return setup_started(state, true);
}

void testnet_passed(struct testnet *t)
{
    t->passed = true;
}

static void print_tail(const struct child *c)
{
    char tail[3000];
    if (c->log[0] == '\0')
        return;
    file_tail(c->log, tail, sizeof tail);
    print_message("---- %s: ----\n%s\n", c->name, tail);
}

int testnet_teardown(void **state)
{
    struct testnet *t = *state;
    struct network *n = &t->network;
    cx_close(t->net);
    network_stop(n);
    if (!t->passed) {
        print_tail(&n->broker);
        print_tail(&n->server);
        print_tail(&n->sibling);
        for (int i = 0; i < n->producers; i++)
            print_tail(&n->producer[i]);
    }
    network_cleanup(n, getenv("CX_TEST_KEEP") != NULL);
    free(t);
    return 0;
}

/* ---- Processes ---- */

void testnet_start_broker(struct testnet *t)
{
    char why[LAUNCH_WHY_MAX];
    if (network_start_broker(&t->network, why) < 0)
        fail_msg("%s", why);
}

void testnet_start_server(struct testnet *t)
{
    char why[LAUNCH_WHY_MAX];
    if (network_start_server(&t->network, t->server_options, why) < 0)
        fail_msg("%s", why);
}

void testnet_start_sibling(struct testnet *t)
{
    char why[LAUNCH_WHY_MAX];
    if (network_start_sibling(&t->network, t->server_options, why) < 0)
        fail_msg("%s", why);
}

void testnet_add_producers(struct testnet *t, int n)
{
    char why[LAUNCH_WHY_MAX];
    while (n-- > 0)
        if (network_add_producer(&t->network, t->producer_options, why) < 0)
            fail_msg("%s", why);
}

void testnet_restart_producer(struct testnet *t, int i)
{
    char why[LAUNCH_WHY_MAX];
    int n = t->network.producers;
    assert_in_range(i, 0, n - 1);
    assert_false(child_alive(&t->network.producer[i]));
    t->network.producers = i; /* the next to be added is number i again */
    int err = network_add_producer(&t->network, t->producer_options, why);
    t->network.producers = n;
    if (err < 0)
        fail_msg("%s", why);
}

void testnet_kill_child(struct child *c, int signal_number)
{
    bool ends = signal_number != SIGSTOP && signal_number != SIGCONT && signal_number != SIGUSR1;
    child_signal(c, signal_number);
    if (ends && !child_wait(c, TESTNET_LIMIT_MS))
        fail_msg("%s does not end on signal %d", c->name, signal_number);
}

void testnet_kill_broker(struct testnet *t, int signal_number)
{
    testnet_kill_child(&t->network.broker, signal_number);
}

void testnet_kill_server(struct testnet *t, int signal_number)
{
    testnet_kill_child(&t->network.server, signal_number);
}

void testnet_kill_sibling(struct testnet *t, int signal_number)
{
    testnet_kill_child(&t->network.sibling, signal_number);
}

void testnet_kill_producer(struct testnet *t, int i, int signal_number)
{
    assert_in_range(i, 0, t->network.producers - 1);
    testnet_kill_child(&t->network.producer[i], signal_number);
}

int testnet_stop_producer(struct testnet *t, int i)
{
    testnet_kill_producer(t, i, SIGTERM);
    int status = t->network.producer[i].status;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool testnet_log_says(const struct child *c, const char *text)
{
    char *tail = malloc(65536);
    assert_non_null(tail);
    file_tail(c->log, tail, 65536);
    bool says = strstr(tail, text) != NULL;
    free(tail);
    return says;
}

/* ---- The command ---- */

/* Our environment with the network's own values instead of whatever the tester's are. */
static char **environment(struct testnet *t)
{
    static char network[sizeof t->network.where + 16], credentials[PATH_MAX + 32], home[PATH_MAX + 8],
        consumer[128];
    size_t n = 0;
    while (environ[n] != NULL)
        n++;
    char **env = calloc(n + 5, sizeof *env);
    assert_non_null(env);
    snprintf(network, sizeof network, "CX_NETWORK=%s", t->network.where);
    snprintf(credentials, sizeof credentials, "CX_CREDENTIALS=%s", t->network.credentials);
    snprintf(consumer, sizeof consumer, "CX_CONSUMER=%s", t->network.options.user);
    snprintf(home, sizeof home, "HOME=%s", t->network.dir);
    env[0] = network;
    env[1] = credentials;
    env[2] = home;
    env[3] = consumer;
    for (size_t i = 0, at = 4; i < n; i++)
        if (strncmp(environ[i], "CX_", 3) != 0 && strncmp(environ[i], "HOME=", 5) != 0)
            env[at++] = environ[i];
    return env;
}

void testnet_cx_startv(struct testnet *t, struct command *c, const char *const *words)
{
    char program[PATH_MAX];
    const char *all[WORDS_MAX] = {program};
    char **env = environment(t);
    snprintf(program, sizeof program, "%s/cx", programs_dir());
    for (int n = 0; n < WORDS_MAX - 2 && words[n] != NULL; n++)
        all[n + 1] = words[n];
    command_start(c, all, env);
    free(env);
}

static void start_words(struct testnet *t, struct command *c, va_list ap)
{
    const char *words[WORDS_MAX];
    int n = 0;
    while (n < WORDS_MAX - 2 && (words[n] = va_arg(ap, const char *)) != NULL)
        n++;
    words[n] = NULL;
    testnet_cx_startv(t, c, words);
}

void testnet_cx_start(struct testnet *t, struct command *c, ...)
{
    va_list ap;
    va_start(ap, c);
    start_words(t, c, ap);
    va_end(ap);
}

int testnet_cx(struct testnet *t, struct command *c, ...)
{
    va_list ap;
    va_start(ap, c);
    start_words(t, c, ap);
    va_end(ap);
    return command_finish(c);
}

void testnet_expect(struct testnet *t, int code, const char *out, ...)
{
    struct command c;
    va_list ap;
    va_start(ap, out);
    start_words(t, &c, ap);
    va_end(ap);
    if (command_finish(&c) != code || (out != NULL && strcmp(command_out(&c), out) != 0)) {
        print_message("cx ended with %d, want %d; it said:\n%s%s\n", c.code, code, command_out(&c),
                      command_err(&c));
        assert_int_equal(c.code, code);
        assert_string_equal(command_out(&c), out);
    }
    command_free(&c);
}

/* ---- Looking in ---- */

/* The directory has several consumers then; the environment chooses among them. */
cx_net *testnet_net_as(struct testnet *t, const char *name)
{
    char why[LAUNCH_WHY_MAX], certificate[PATH_MAX];
    cx_net *net;
    int err = 0;
    snprintf(certificate, sizeof certificate, "%.3900s/consumer-%s.crt", t->network.credentials, name);
    if (access(certificate, F_OK) != 0) /* another one is not made: a program may be reading this one */
        err = pki_issue(t->network.credentials, ROLE_CONSUMER, name, 1, why, sizeof why);
    if (err < 0)
        fail_msg("%s", why);
    setenv("CX_CONSUMER", name, 1);
    err = cx_open_with(t->network.where, t->network.credentials, &net);
    unsetenv("CX_CONSUMER");
    if (err < 0)
        fail_msg("%s", cx_error(NULL));
    return net;
}

cx_net *testnet_net(struct testnet *t)
{
    if (t->net == NULL)
        t->net = testnet_net_as(t, t->network.options.user);
    return t->net;
}

void testnet_until(const char *what, bool (*holds)(void *ctx), void *ctx)
{
    uint64_t limit = clock_us() + (uint64_t)TESTNET_LIMIT_MS * 1000;
    struct timespec pause = {.tv_nsec = 2000000};
    while (!holds(ctx)) {
        if (clock_us() > limit)
            fail_msg("waited in vain for: %s", what);
        nanosleep(&pause, NULL);
    }
}

struct wanted {
    cx_net *net;
    cx_job *job;
    uint64_t n;
};

static bool has_producers(void *ctx)
{
    struct wanted *w = ctx;
    struct buf rows = {0};
    struct server_row row = {0};
    if (net_list(w->net, LIST_SERVER, &rows) == 0 && rows.len >= sizeof row)
        memcpy(&row, rows.data, sizeof row);
    else
        row.producers = UINT64_MAX;
    buf_free(&rows);
    return row.producers == w->n;
}

void testnet_until_producers(struct testnet *t, unsigned n)
{
    struct wanted w = {.net = testnet_net(t), .n = n};
    char what[64];
    snprintf(what, sizeof what, "%u producers", n);
    testnet_until(what, has_producers, &w);
}

static bool has_executed(void *ctx)
{
    struct wanted *w = ctx;
    cx_progress p;
    return cx_job_progress(w->job, &p) == 0 && (p.executed >= w->n || p.state != CX_RUNNING);
}

void testnet_until_executed(struct testnet *t, cx_job *job, uint64_t n)
{
    struct wanted w = {.net = testnet_net(t), .job = job, .n = n};
    testnet_until("tasks executed", has_executed, &w);
}
