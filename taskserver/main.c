/* cx-taskserver: holds the jobs and tasks of a network. docs/man/cx-taskserver.1 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/options.h"
#include "proto/daemon.h"
#include "proto/limits.h"
#include "taskserver/backup.h"
#include "taskserver/server.h"

enum { ADDRESS_MAX = 255 };

struct settings {
    const char *listen, *network, *broker, *sibling, *advertise, *state, *credentials, *name, *steal,
        *log_level, *backup, *restore;
    bool journal, collapse;
    uint64_t memory, blobs, outbox, compact;
    int64_t budget_us, result_ttl_s, blob_ttl_s, jobs_max, ready_fd;
};

/* enum ts_steal by its name, or -1. */
static int steal_of(const char *name)
{
    static const char *const names[] = {"none", "random", "latency"};
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

static struct taskserver_config config_of(const struct settings *set, const struct credentials *me)
{
    struct taskserver_config config = {
        .listen = set->listen,
        .network = set->network,
        .broker = set->broker,
        .sibling = set->sibling,
        .advertise = set->advertise,
        .state = set->state,
        .me = me,
        .journal = set->journal,
        .blobs_max = set->blobs,
        .outbox_max = set->outbox,
        .compact = set->compact,
        .blob_ttl_us = (uint64_t)set->blob_ttl_s * 1000000,
    };
    config.core = (struct ts_config){.memory_max = set->memory,
                                     .result_ttl_us = (uint64_t)set->result_ttl_s * 1000000,
                                     .budget_max_us = (uint32_t)set->budget_us,
                                     .jobs_max = (uint32_t)set->jobs_max,
                                     .gather_us = TS_GATHER_US,
                                     .collapse = set->collapse,
                                     .steal = (enum ts_steal)steal_of(set->steal)};
    random_bytes(&config.core.seed, sizeof config.core.seed);
    return config;
}

static int serve(const struct settings *set, const struct credentials *me)
{
    struct taskserver_config config = config_of(set, me);
    struct taskserver *server = NULL;
    char why[STATE_WHY_MAX] = "";
    int code = taskserver_start(&config, &server, why);
    if (code) {
        log_error("%s", why);
        return code;
    }
    code = daemon_watch_signals(server->rpc, taskserver_stop, server);
    if (!code) {
        log_info("cx-taskserver " CX_VERSION " serves network %s as %s on %s, port %d; state in %s%s%s%s",
                 set->network, me->self.name, set->listen, server->port, set->state,
                 set->journal ? "" : ", no journal", set->sibling ? "; pair with " : "",
                 set->sibling ? set->sibling : "");
        daemon_ready((int)set->ready_fd, server->port);
        taskserver_run(server);
    }
    daemon_unwatch_signals();
    taskserver_free(server);
    return code;
}

/* Writes or restores a backup instead of serving. */
static int save(const struct settings *set, const struct credentials *me)
{
    struct taskserver_config server = config_of(set, me);
    struct backup_config config = {.state = set->state,
                                   .network = set->network,
                                   .server = me->self.name,
                                   .broker = set->broker != NULL,
                                   .core = &server.core};
    char why[STATE_WHY_MAX] = "";
    int code =
        set->backup ? backup_write(&config, set->backup, why) : backup_restore(&config, set->restore, why);
    if (code)
        log_error("%s", why);
    return code;
}

static int start(const struct settings *set)
{
    struct credentials me = {0};
    char why[RPC_WHY_MAX] = "";
    int code = pki_load(set->credentials, ROLE_SERVER, set->name, &me, why, sizeof why);
    if (code) {
        log_error("credentials in %s: %s", set->credentials, why);
        return code;
    }
    code = (set->backup || set->restore ? save : serve)(set, &me);
    pki_unload(&me);
    return code;
}

static bool check_text(const char *option, const char *text, size_t max)
{
    struct bytes b = bytes_str(text);
    if (b.len > 0 && b.len <= max && utf8_valid(b))
        return true;
    fprintf(stderr, "cx-taskserver: --%s: must be text of 1 to %zu bytes\n", option, max);
    return false;
}

/* What the table of options cannot check. */
static bool settings_check(const struct settings *set, int *level)
{
    *level = log_level_of(set->log_level);
    if (*level < 0)
        fprintf(stderr, "cx-taskserver: --log-level: must be error, warn, info or debug\n");
    if (steal_of(set->steal) < 0) {
        fprintf(stderr, "cx-taskserver: --steal: must be none, random or latency\n");
        return false;
    }
    if (set->backup && set->restore) {
        fprintf(stderr, "cx-taskserver: --backup and --restore: one at a time\n");
        return false;
    }
    return *level >= 0 && check_text("network", set->network, TS_NAME_MAX) &&
           (!set->advertise || check_text("advertise", set->advertise, ADDRESS_MAX));
}

int main(int argc, char **argv)
{
    struct settings set = {.listen = "0.0.0.0:7070",
                           .network = "default",
                           .state = "cx-taskserver.state",
                           .credentials = ".",
                           .steal = "latency",
                           .log_level = "info",
                           .journal = true,
                           .collapse = true,
                           .memory = 1ull << 30,
                           .blobs = 16ull << 30,
                           .outbox = 64ull << 20,
                           .compact = JOURNAL_COMPACT_BYTES,
                           .budget_us = 20000,
                           .result_ttl_s = 24 * 3600,
                           .blob_ttl_s = 24 * 3600,
                           .jobs_max = 65536,
                           .ready_fd = -1};
    int64_t most = INT64_MAX;
    const struct option_row rows[] = {
        {"listen", OPTION_STRING, &set.listen, "HOST:PORT", "Serve on this address; port 0: any", 0, 0},
        {"network", OPTION_STRING, &set.network, "NAME", "Name of the production network", 0, 0},
        {"broker", OPTION_STRING, &set.broker, "HOST:PORT", "Register with this broker", 0, 0},
        {"sibling", OPTION_STRING, &set.sibling, "NAME@HOST:PORT", "The other server of this pair", 0, 0},
        {"advertise", OPTION_STRING, &set.advertise, "HOST:PORT", "Address that the broker tells others", 0,
         0},
        {"state", OPTION_STRING, &set.state, "DIR", "Journal and blobs are kept here", 0, 0},
        {"backup", OPTION_STRING, &set.backup, "FILE", "Write the state to a new file instead of serving", 0,
         0},
        {"restore", OPTION_STRING, &set.restore, "FILE", "Make the state from a backup instead of serving", 0,
         0},
        {"journal", OPTION_FLAG, &set.journal, NULL, "Keep the log on disk, so that a restart loses nothing",
         0, 0},
        {"memory", OPTION_SIZE, &set.memory, "SIZE", "For jobs, tasks and results together", 1 << 20, most},
        {"blobs", OPTION_SIZE, &set.blobs, "SIZE", "Disk for modules and inputs", 1 << 20, most},
        {"compact", OPTION_SIZE, &set.compact, "SIZE", "Compact a journal that is longer", 1 << 16, most},
        {"outbox", OPTION_SIZE, &set.outbox, "SIZE", "Close a peer that leaves more unread", 1 << 16,
         most / 16},
        {"collapse", OPTION_FLAG, &set.collapse, NULL, "Let runners run subtrees (off: for measurements)", 0,
         0},
        {"budget-us", OPTION_INT, &set.budget_us, "N", "Longest time a runner keeps a subtree", 0, 60000000},
        {"result-ttl-s", OPTION_INT, &set.result_ttl_s, "N", "Keep unfetched results so long", 1, 31536000},
        {"blob-ttl-s", OPTION_INT, &set.blob_ttl_s, "N", "Keep unused modules and inputs so long", 1,
         31536000},
        {"jobs-max", OPTION_INT, &set.jobs_max, "N", "Jobs held at once, ended ones included", 1, 1 << 24},
        {"credentials", OPTION_STRING, &set.credentials, "DIR", "Directory of the certificates", 0, 0},
        {"name", OPTION_STRING, &set.name, "NAME", "Certified name, where the directory has several", 0, 0},
        {"steal", OPTION_STRING, &set.steal, "POLICY", "Whom to ask for work: none, random or latency", 0, 0},
        {"log-level", OPTION_STRING, &set.log_level, "LEVEL", "error, warn, info or debug", 0, 0},
        {"ready-fd", OPTION_INT, &set.ready_fd, "FD", "Write \"ready PORT\" to this descriptor", -1, 1 << 20},
    };
    int level;
    switch (options_read("cx-taskserver", "Holds the jobs and tasks of a CX network.", rows,
                         sizeof rows / sizeof rows[0], argc, argv)) {
    case OPTIONS_DONE:
        return 0;
    case OPTIONS_BAD:
        return 2;
    case OPTIONS_GO:
        break;
    }
    if (!settings_check(&set, &level))
        return 2;
    log_start("cx-taskserver", (enum log_level)level);
    daemon_block_signals();
    signal(SIGXFSZ, SIG_IGN); /* a file too large for the system is a write that fails, and is said */
    return cx_err_exit(start(&set));
}
