#include "consumer/cmd/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cx/error.h"
#include "proto/pki.h"

#define STOP_MS    10000
#define DAYS_LOCAL 3650 /* a directory may be used again much later */
#define WORDS_MAX  48

static int make_dir(struct network *n, char *why)
{
    const char *tmp = getenv("TMPDIR");
    if (n->options.dir != NULL) {
        if (strlen(n->options.dir) >= sizeof n->dir || (mkdir(n->options.dir, 0700) < 0 && errno != EEXIST)) {
            snprintf(why, LAUNCH_WHY_MAX, "cannot make the directory %s: %s", n->options.dir,
                     strerror(errno));
            return CX_EIO;
        }
        if (realpath(n->options.dir, n->credentials) == NULL || strlen(n->credentials) >= sizeof n->dir)
            return CX_EIO;
        strcpy(n->dir, n->credentials);
        return 0;
    }
    snprintf(n->dir, sizeof n->dir, "%s/cx-local-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(n->dir) == NULL) {
        snprintf(why, LAUNCH_WHY_MAX, "cannot make a directory in %.1000s: %s", tmp != NULL ? tmp : "/tmp",
                 strerror(errno));
        return CX_EIO;
    }
    n->owns_dir = true;
    return 0;
}

static int issue(struct network *n, enum role role, const char *name, char *why)
{
    int err = pki_issue(n->credentials, role, name, DAYS_LOCAL, why, LAUNCH_WHY_MAX);
    return err == CX_EEXIST ? 0 : err;
}

/* The administrator's certificate is for cx server. */
static int issue_pair(struct network *n, char *why)
{
    int err = issue(n, ROLE_SERVER, "s1", why);
    if (err == 0)
        err = issue(n, ROLE_SERVER, "s2", why);
    return err == 0 ? issue(n, ROLE_ADMIN, n->options.user, why) : err;
}

static int make_credentials(struct network *n, char *why)
{
    int err;
    snprintf(n->credentials, sizeof n->credentials, "%s/credentials", n->dir);
    mkdir(n->credentials, 0700);
    err = pki_create_ca(n->credentials, "local", DAYS_LOCAL, why, LAUNCH_WHY_MAX);
    if (err < 0 && err != CX_EEXIST)
        return err;
    if ((err = issue(n, ROLE_BROKER, "local", why)) < 0)
        return err;
    if (n->options.pair)
        err = issue_pair(n, why);
    else
        err = issue(n, ROLE_SERVER, "local", why);
    if (err < 0)
        return err;
    return issue(n, ROLE_CONSUMER, n->options.user, why);
}

/* Servers of a pair know each other's address before they listen, and all daemons are found where they were
 * in their next life. */
static int choose_addresses(struct network *n, char *why)
{
    char *const address[] = {n->broker_address, n->address, n->sibling_address};
    for (int i = 0; i < 3; i++)
        if ((n->reserved[i] = address_reserve(address[i], sizeof n->address)) < 0) {
            snprintf(why, LAUNCH_WHY_MAX, "no port of 127.0.0.1 is free: %s", strerror(errno));
            return CX_EIO;
        }
    snprintf(n->where, sizeof n->where, "%s%s%s", n->address, n->options.pair ? "," : "",
             n->options.pair ? n->sibling_address : "");
    return 0;
}

int network_prepare(struct network *n, const struct network_options *o, char why[LAUNCH_WHY_MAX])
{
    int err;
    memset(n, 0, sizeof *n);
    n->options = *o;
    snprintf(why, LAUNCH_WHY_MAX, "the path of the directory is too long");
    if ((err = make_dir(n, why)) == 0)
        err = make_credentials(n, why);
    if (err == 0)
        err = choose_addresses(n, why);
    return err;
}

/* A growing command line whose words live as long as it. */
struct line {
    const char *word[WORDS_MAX];
    int n;
    char program[PATH_MAX + 32];
};

static void line_begin(struct line *l, const struct network *n, const char *program)
{
    snprintf(l->program, sizeof l->program, "%s/%s", n->options.bin_dir, program);
    l->n = 0;
    l->word[l->n++] = l->program;
    l->word[l->n++] = "--credentials";
    l->word[l->n++] = n->credentials;
    l->word[l->n] = NULL;
}

static void line_add(struct line *l, const char *option, const char *value)
{
    if (l->n < WORDS_MAX - 2) {
        l->word[l->n++] = option;
        if (value != NULL)
            l->word[l->n++] = value;
        l->word[l->n] = NULL;
    }
}

static void line_add_all(struct line *l, const char *const *more)
{
    for (; more != NULL && *more != NULL; more++)
        line_add(l, *more, NULL);
}

static int start(struct network *n, struct child *c, const char *name, struct line *l, char *why)
{
    char log[PATH_MAX];
    snprintf(log, sizeof log, "%s/%s.log", n->dir, name);
    return child_start(c, name, log, l->word, LAUNCH_READY_MS, why);
}

int network_start_broker(struct network *n, char why[LAUNCH_WHY_MAX])
{
    struct line l;
    char store[PATH_MAX];
    snprintf(store, sizeof store, "%s/broker.db", n->dir);
    line_begin(&l, n, "cx-broker");
    line_add(&l, "--listen", n->broker_address);
    line_add(&l, "--store", store);
    if (n->options.pair)
        line_add(&l, "--servers", "local=s1,s2");
    return start(n, &n->broker, "broker", &l, why);
}

/* One of the servers, which are called s1 and s2 where they are a pair. */
static int start_server(struct network *n, bool first, const char *const *more_options, char *why)
{
    struct line l;
    char state[PATH_MAX], sibling[96];
    const char *address = first ? n->address : n->sibling_address, *name = first ? "s1" : "s2";
    snprintf(state, sizeof state, "%s/%s", n->dir, first ? "server" : "sibling");
    line_begin(&l, n, "cx-taskserver");
    line_add(&l, "--listen", address);
    line_add(&l, "--network", "local");
    line_add(&l, "--state", state);
    line_add(&l, n->options.journal ? "--journal" : "--no-journal", NULL);
    if (n->broker.port != 0)
        line_add(&l, "--broker", n->broker_address);
    if (n->options.pair) {
        snprintf(sibling, sizeof sibling, "%s@%s", first ? "s2" : "s1",
                 first ? n->sibling_address : n->address);
        line_add(&l, "--name", name);
        line_add(&l, "--sibling", sibling);
    }
    line_add_all(&l, more_options);
    return start(n, first ? &n->server : &n->sibling, first ? "server" : "sibling", &l, why);
}

int network_start_server(struct network *n, const char *const *more_options, char why[LAUNCH_WHY_MAX])
{
    return start_server(n, true, more_options, why);
}

int network_start_sibling(struct network *n, const char *const *more_options, char why[LAUNCH_WHY_MAX])
{
    return start_server(n, false, more_options, why);
}

int network_add_producer(struct network *n, const char *const *more_options, char why[LAUNCH_WHY_MAX])
{
    struct line l;
    char name[32], cache[PATH_MAX], threads[16];
    int err;
    if (n->producers == NETWORK_PRODUCERS_MAX) {
        snprintf(why, LAUNCH_WHY_MAX, "a network on one machine has at most %d producers",
                 NETWORK_PRODUCERS_MAX);
        return CX_ELIMIT;
    }
    snprintf(name, sizeof name, "p%d", n->producers + 1);
    snprintf(cache, sizeof cache, "%s/cache-%s", n->dir, name);
    snprintf(threads, sizeof threads, "%d", n->options.threads);
    if ((err = issue(n, ROLE_PRODUCER, name, why)) < 0)
        return err;
    line_begin(&l, n, "cx-producer");
    line_add(&l, "--server", n->where);
    line_add(&l, "--name", name);
    line_add(&l, "--cache", cache);
    if (n->options.threads > 0)
        line_add(&l, "--threads", threads);
    line_add_all(&l, more_options);
    if ((err = start(n, &n->producer[n->producers], name, &l, why)) == 0)
        n->producers++;
    return err;
}

void network_stop(struct network *n)
{
    for (int i = 0; i < n->producers; i++)
        child_signal(&n->producer[i], SIGTERM); /* all at once: each hands back what it has */
    for (int i = 0; i < n->producers; i++)
        child_stop(&n->producer[i], STOP_MS);
    child_stop(&n->server, STOP_MS);
    child_stop(&n->sibling, STOP_MS);
    child_stop(&n->broker, STOP_MS);
}

void network_cleanup(struct network *n, bool keep)
{
    for (int i = 0; i < 3; i++)
        if (n->reserved[i] > 0)
            close(n->reserved[i]);
    if (n->owns_dir && !keep)
        directory_remove(n->dir);
}
