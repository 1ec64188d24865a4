#include "tests/support/pair.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* ---- Setting up ---- */

int pair_setup_empty(void **state)
{
    return testnet_prepare(state, true, false);
}

static int setup_whole(void **state, bool journal)
{
    testnet_prepare(state, true, journal);
    testnet_start_broker(*state);
    pair_start(*state, 0);
    pair_start(*state, 1);
    pair_until_whole(*state);
    return 0;
}

int pair_setup(void **state)
{
    return setup_whole(state, false);
}

int pair_setup_journal(void **state)
{
    return setup_whole(state, true);
}

/* ---- The servers ---- */

struct child *pair_server(struct testnet *t, int server)
{
    return server == 0 ? &t->network.server : &t->network.sibling;
}

static void path_of(const struct testnet *t, int server, const char *suffix, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%s%s", t->network.dir, server == 0 ? "server" : "sibling", suffix);
}

void pair_start(struct testnet *t, int server)
{
    char why[LAUNCH_WHY_MAX], log[PATH_MAX];
    struct stat st;
    path_of(t, server, ".log", log);
    t->life[server] = stat(log, &st) == 0 ? (long)st.st_size : 0;
    int err = server == 0 ? network_start_server(&t->network, t->server_options, why)
                          : network_start_sibling(&t->network, t->server_options, why);
    if (err < 0)
        fail_msg("%s", why);
}

void pair_kill(struct testnet *t, int server, int signal_number)
{
    testnet_kill_child(pair_server(t, server), signal_number);
}

void pair_wipe(struct testnet *t, int server)
{
    char dir[PATH_MAX];
    assert_false(child_alive(pair_server(t, server)));
    path_of(t, server, "", dir);
    directory_remove(dir);
}

/* ---- What they say of themselves ---- */

bool pair_serves(const struct pair_role *role)
{
    return strcmp(role->name, "primary") == 0 || strcmp(role->name, "solo") == 0 ||
           strcmp(role->name, "stepping down") == 0;
}

/* "... shard s1: primary, epoch 3, record 17" or "... shard s1: open: ..." */
static void read_line(const char *line, const char *shard, struct pair_role *role)
{
    struct pair_role said = {.open = role->open};
    unsigned long long epoch;
    const char *at = strstr(line, shard);
    if (at == NULL)
        return;
    at += strlen(shard);
    if (strncmp(at, "open: ", 6) == 0) {
        role->open = true;
    } else if (sscanf(at, "%15[a-z ], epoch %llu", said.name, &epoch) == 2) {
        said.epoch = epoch;
        said.open &= pair_serves(&said);
        *role = said;
    }
}

struct pair_role pair_role(struct testnet *t, int server, int shard)
{
    struct pair_role role = {.name = "joining"};
    char log[PATH_MAX], words[32], *line = NULL;
    size_t cap = 0;
    path_of(t, server, ".log", log);
    snprintf(words, sizeof words, "shard s%d: ", shard + 1);
    FILE *f = fopen(log, "re");
    if (f == NULL || fseek(f, t->life[server], SEEK_SET) < 0)
        fail_msg("%s cannot be read", log);
    while (getline(&line, &cap, f) > 0)
        read_line(line, words, &role);
    free(line);
    fclose(f);
    return role;
}

int pair_primary(struct testnet *t, int shard)
{
    uint64_t epoch = 0;
    int primary = -1;
    for (int i = 0; i < 2; i++) {
        struct pair_role role = pair_role(t, i, shard);
        if (!child_alive(pair_server(t, i)) || !pair_serves(&role) || role.epoch <= epoch)
            continue;
        epoch = role.epoch;
        primary = i;
    }
    return primary;
}

#define EPOCHS_MAX 256

/* serves[EPOCH] is made true where the server, in any life, said that it served the shard. */
static void read_epochs(struct testnet *t, int server, int shard, bool serves[EPOCHS_MAX])
{
    char log[PATH_MAX], words[32], *line = NULL;
    size_t cap = 0;
    path_of(t, server, ".log", log);
    snprintf(words, sizeof words, "shard s%d: ", shard + 1);
    FILE *f = fopen(log, "re");
    if (f == NULL)
        fail_msg("%s cannot be read", log);
    while (getline(&line, &cap, f) > 0) {
        struct pair_role role = {0};
        read_line(line, words, &role);
        assert_in_range(role.epoch, 0, EPOCHS_MAX - 1);
        serves[role.epoch] |= pair_serves(&role);
    }
    free(line);
    fclose(f);
}

void pair_expect_one_primary_an_epoch(struct testnet *t)
{
    for (int shard = 0; shard < 2; shard++) {
        bool serves[2][EPOCHS_MAX] = {{false}};
        for (int server = 0; server < 2; server++)
            read_epochs(t, server, shard, serves[server]);
        for (int epoch = 0; epoch < EPOCHS_MAX; epoch++)
            if (serves[0][epoch] && serves[1][epoch])
                fail_msg("both servers were primary of shard s%d in epoch %d", shard + 1, epoch);
    }
}

/* ---- Waiting ---- */

struct wanted {
    struct testnet *t;
    int shard, server;
};

static bool is_served(void *ctx)
{
    struct wanted *w = ctx;
    return pair_primary(w->t, w->shard) == w->server && pair_role(w->t, w->server, w->shard).open;
}

void pair_until_served(struct testnet *t, int shard, int server)
{
    struct wanted w = {t, shard, server};
    testnet_until("the other server takes the shard over", is_served, &w);
}

bool pair_is_whole(struct testnet *t)
{
    for (int i = 0; i < 2; i++) {
        struct pair_role own = pair_role(t, i, i), other = pair_role(t, 1 - i, i);
        if (strcmp(own.name, "primary") != 0 || !own.open || strcmp(other.name, "backup") != 0)
            return false;
    }
    return true;
}

static bool is_whole(void *ctx)
{
    return pair_is_whole(ctx);
}

void pair_until_whole(struct testnet *t)
{
    testnet_until("the pair is whole", is_whole, t);
}
