/* cx local: a whole network on this machine, for as long as the command runs. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "consumer/cmd/cmd.h"
#include "consumer/cmd/network.h"
#include "proto/pki.h"

#define THREADS_MAX 1024

struct local_line {
    int producers, threads;
    const char *dir, *status_file;
    bool journal, keep, pair;
    char **command; /* NULL: wait for a signal */
};

enum { KEY_DIR = 0x300, KEY_JOURNAL, KEY_PAIR, KEY_KEEP, KEY_STATUS, KEY_JSON };

static const struct argp_option options[] = {
    {"producers", 'p', "N", 0, "how many producers (default: 2)", 0},
    {"threads", 't', "N", 0, "threads of each producer (default: the cores, shared out)", 0},
    {"dir", KEY_DIR, "DIR", 0, "keep state and logs there (default: a temporary directory)", 0},
    {"journal", KEY_JOURNAL, NULL, 0, "the server journals to disk, so that a restart loses nothing", 0},
    {"pair", KEY_PAIR, NULL, 0, "two task servers, each the other's sibling: either may die", 0},
    {"keep", KEY_KEEP, NULL, 0, "do not remove the temporary directory", 0},
    {"status-file", KEY_STATUS, "FILE", 0, "write names, process ids and addresses there when all are ready",
     0},
    {"json", KEY_JSON, NULL, 0, "when all are ready, print one JSON document with the same", 0},
    {"quiet", 'q', NULL, 0, "say nothing", 0},
    {0},
};

static int number(struct argp_state *state, const char *option, const char *text, int min, int max)
{
    char *end;
    long v = strtol(text, &end, 10);
    if (end == text || *end != '\0' || v < min || v > max)
        argp_error(state, "--%s: '%s' is no number from %d to %d", option, text, min, max);
    return (int)v;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct local_line *line = state->input;
    switch (key) {
    case 'p':
        line->producers = number(state, "producers", arg, 0, NETWORK_PRODUCERS_MAX);
        return 0;
    case 't':
        line->threads = number(state, "threads", arg, 1, THREADS_MAX);
        return 0;
    case KEY_DIR:
        line->dir = arg;
        return 0;
    case KEY_JOURNAL:
        line->journal = true;
        return 0;
    case KEY_PAIR:
        line->pair = true;
        return 0;
    case KEY_KEEP:
        line->keep = true;
        return 0;
    case KEY_STATUS:
        line->status_file = arg;
        return 0;
    case KEY_JSON:
        common.json = true;
        return 0;
    case 'q':
        common.quiet = true;
        return 0;
    case ARGP_KEY_ARGS: /* COMMAND and its arguments, whatever they look like */
        line->command = state->argv + state->next;
        state->next = state->argc;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- Starting ---- */

static int default_threads(int producers)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return producers > 0 && cores > producers ? (int)(cores / producers) : 1;
}

static const char *user_name(void)
{
    struct passwd *p = getpwuid(getuid());
    struct identity id;
    char uri[256];
    if (p == NULL)
        return "user";
    snprintf(uri, sizeof uri, "cx://consumer/%s", p->pw_name);
    return identity_parse(bytes_str(uri), &id) ? p->pw_name : "user";
}

static int start_all(struct network *n, const struct local_line *line, char *why)
{
    int err = network_start_broker(n, why);
    if (err == 0)
        err = network_start_server(n, NULL, why);
    if (err == 0 && line->pair)
        err = network_start_sibling(n, NULL, why);
    for (int i = 0; i < line->producers && err == 0; i++)
        err = network_add_producer(n, NULL, why);
    return err;
}

static void write_child(FILE *f, const struct child *c, const char *address)
{
    fprintf(f, "%s %d%s%s\n", c->name, (int)c->pid, address[0] != '\0' ? " " : "", address);
}

/* Complete or not there: whoever waits for the file may read it at once. */
static int write_status(const struct network *n, const char *path)
{
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s.part", path);
    FILE *f = fopen(part, "we");
    if (f == NULL)
        return CX_EIO;
    write_child(f, &n->broker, n->broker_address);
    write_child(f, &n->server, n->address);
    if (n->sibling.pid > 0)
        write_child(f, &n->sibling, n->sibling_address);
    for (int i = 0; i < n->producers; i++)
        write_child(f, &n->producer[i], "");
    fprintf(f, "dir %s\ncredentials %s\n", n->dir, n->credentials);
    if (fclose(f) != 0 || rename(part, path) != 0)
        return CX_EIO;
    return 0;
}

static void say_usage(const struct network *n)
{
    printf("A CX network is running: broker %s, task server %s (process %d), %d producers (process",
           n->broker_address, n->where, (int)n->server.pid, n->producers);
    for (int i = 0; i < n->producers; i++)
        printf("%s %d", i > 0 ? "," : "", (int)n->producer[i].pid);
    printf(").\nUse it from another terminal:\n\n  export CX_NETWORK=%s CX_CREDENTIALS=%s\n  cx run fib.so "
           "fib 30\n\n"
           "Logs are in %s. Ctrl-C stops it all.\n",
           n->where, n->credentials, n->dir);
    fflush(stdout);
}

static cJSON *json_child(const struct child *c, const char *address)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", c->name);
    cJSON_AddNumberToObject(o, "pid", c->pid);
    if (address != NULL)
        cJSON_AddStringToObject(o, "address", address);
    cJSON_AddStringToObject(o, "log", c->log);
    return o;
}

static void say_json(const struct network *n)
{
    cJSON *doc = cJSON_CreateObject(), *producers;
    cJSON_AddStringToObject(doc, "network", n->where);
    cJSON_AddStringToObject(doc, "credentials", n->credentials);
    cJSON_AddStringToObject(doc, "dir", n->dir);
    cJSON_AddItemToObject(doc, "broker", json_child(&n->broker, n->broker_address));
    cJSON_AddItemToObject(doc, "server", json_child(&n->server, n->address));
    if (n->sibling.pid > 0)
        cJSON_AddItemToObject(doc, "sibling", json_child(&n->sibling, n->sibling_address));
    producers = cJSON_AddArrayToObject(doc, "producers");
    for (int i = 0; i < n->producers; i++)
        cJSON_AddItemToArray(producers, json_child(&n->producer[i], NULL));
    print_json(doc);
    fflush(stdout);
}

/* ---- Running ---- */

static pid_t start_command(const struct network *n, char **command)
{
    pid_t parent = getpid(), pid;
    sigset_t none;
    fflush(NULL);
    pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(127);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setenv("CX_NETWORK", n->where, 1);
    setenv("CX_CREDENTIALS", n->credentials, 1);
    execvp(command[0], command);
    fprintf(stderr, "cx local: cannot run %s: %s\n", command[0], strerror(errno));
    _exit(127);
}

static void note_end(struct child *c, bool expected)
{
    if (c->pid == 0 || child_alive(c) || expected || common.quiet)
        return;
    if (WIFSIGNALED(c->status))
        fprintf(stderr, "cx local: %s was killed by signal %d (%s)\n", c->name, WTERMSIG(c->status),
                strsignal(WTERMSIG(c->status)));
    else
        fprintf(stderr, "cx local: %s ended with code %d; its log is %s\n", c->name, WEXITSTATUS(c->status),
                c->log);
}

static void note_ends(struct network *n)
{
    note_end(&n->broker, false);
    note_end(&n->server, false);
    note_end(&n->sibling, false);
    for (int i = 0; i < n->producers; i++)
        note_end(&n->producer[i], false);
}

static void signals_of_ours(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGCHLD);
}

/* Until the command ends (its exit code) or, without one, a signal comes (0). A signal that comes while a
 * command runs is passed on; the terminal has given it a Ctrl-C already. */
static int run_until_end(struct network *n, pid_t command)
{
    sigset_t set;
    int status, signal_number;
    signals_of_ours(&set);
    for (;;) {
        if (command > 0 && waitpid(command, &status, WNOHANG) == command)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        note_ends(n);
        if (sigwait(&set, &signal_number) != 0 || signal_number == SIGCHLD)
            continue;
        if (command <= 0)
            return 0;
        if (signal_number != SIGINT)
            kill(command, signal_number);
    }
}

static int run_network(struct network *n, const struct local_line *line)
{
    char why[LAUNCH_WHY_MAX] = "";
    pid_t command = 0;
    int err = start_all(n, line, why);
    if (err == 0 && line->status_file != NULL && (err = write_status(n, line->status_file)) < 0)
        snprintf(why, sizeof why, "cannot write %s: %s", line->status_file, strerror(errno));
    if (err < 0)
        return report(err, why);
    if (common.json)
        say_json(n);
    else if (line->command == NULL && !common.quiet)
        say_usage(n);
    if (line->command != NULL && (command = start_command(n, line->command)) < 0)
        return report(CX_EIO, "cannot start another process");
    return run_until_end(n, command);
}

int verb_local(int argc, char **argv)
{
    struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "[-- COMMAND...]",
        .doc = "Start a broker, a task server (or a pair) and producers on this machine, with certificates "
               "of their "
               "own, and stop them again on Ctrl-C, or when COMMAND, which is run with CX_NETWORK and "
               "CX_CREDENTIALS set, has ended."};
    struct local_line line = {.producers = 2};
    static struct network network; /* large, and its children's names are used by it */
    char bin[PATH_MAX], why[LAUNCH_WHY_MAX] = "";
    sigset_t set;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &line);
    signals_of_ours(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    if (program_dir(bin) < 0)
        return report(CX_EIO, "cannot find my own program file in /proc");
    struct network_options o = {.bin_dir = bin,
                                .dir = line.dir,
                                .user = user_name(),
                                .threads = line.threads > 0 ? line.threads : default_threads(line.producers),
                                .journal = line.journal,
                                .pair = line.pair};
    int code = network_prepare(&network, &o, why);
    code = code < 0 ? report(code, why) : run_network(&network, &line);
    network_stop(&network);
    if (line.status_file != NULL)
        unlink(line.status_file);
    network_cleanup(&network, line.keep);
    return code;
}
