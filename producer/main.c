/* cx-producer: serves a task server with this machine's cores. docs/man/cx-producer.1 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/options.h"
#include "producer/daemon.h"
#include "proto/daemon.h"

struct settings {
    const char *credentials, *name, *server, *broker, *cache, *runner, *log_level;
    int64_t threads, grace_s, ready_fd;
    uint64_t cache_size;
};

static int64_t cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return n < (int)PD_SEATS_MAX ? n : (int)PD_SEATS_MAX;
}

static const char *default_cache(char *path, size_t max)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache)
        snprintf(path, max, "%s/cx", cache);
    else if (home && *home)
        snprintf(path, max, "%s/.cache/cx", home);
    else
        snprintf(path, max, "/var/cache/cx");
    return path;
}

/* cx-runner beside our own executable. */
static const char *default_runner(char *path, size_t max)
{
    static const char name[] = "cx-runner";
    ssize_t n = readlink("/proc/self/exe", path, max - sizeof name);
    while (n > 0 && path[n - 1] != '/')
        n--;
    snprintf(path + (n > 0 ? n : 0), sizeof name, "%s", name);
    return path;
}

static int wrong(const char *what)
{
    fprintf(stderr, "cx-producer: %s\n", what);
    return 2;
}

/* The spawner is forked here, before any thread and before gRPC. */
static int start(const struct settings *set)
{
    struct spawner spawner;
    struct credentials me;
    char why[RPC_WHY_MAX] = "";
    if (access(set->runner, X_OK)) {
        log_error("--runner %s: cannot be executed", set->runner);
        return CX_EIO;
    }
    int rc = spawner_start(&spawner, set->runner);
    if (rc) {
        log_error("the spawner could not be started");
        return rc;
    }
    daemon_block_signals();
    rc = pki_load(set->credentials, ROLE_PRODUCER, set->name, &me, why, sizeof why);
    if (rc) {
        log_error("credentials in %s: %s", set->credentials, why);
        spawner_stop(&spawner);
        return rc;
    }
    rc = daemon_run(&(struct daemon_config){.me = &me,
                                            .spawner = &spawner,
                                            .server = set->server,
                                            .broker = set->broker,
                                            .cache = set->cache,
                                            .cache_max = set->cache_size,
                                            .threads = (uint32_t)set->threads,
                                            .grace_us = (uint64_t)set->grace_s * 1000000,
                                            .ready_fd = (int)set->ready_fd});
    spawner_stop(&spawner);
    pki_unload(&me);
    return rc;
}

int main(int argc, char **argv)
{
    char cache[4096], runner[4096];
    struct settings set = {.credentials = ".",
                           .cache = default_cache(cache, sizeof cache),
                           .runner = default_runner(runner, sizeof runner),
                           .log_level = "info",
                           .threads = cores(),
                           .grace_s = 5,
                           .ready_fd = -1,
                           .cache_size = UINT64_C(4) << 30};
    const struct option_row rows[] = {
        {"server", OPTION_STRING, &set.server, "HOST:PORT,...", "Serve this task server, or this pair", 0, 0},
        {"broker", OPTION_STRING, &set.broker, "HOST:PORT", "Ask this broker whom to serve", 0, 0},
        {"credentials", OPTION_STRING, &set.credentials, "DIR", "Directory of the certificates", 0, 0},
        {"name", OPTION_STRING, &set.name, "NAME", "Certified name, where the directory has several", 0, 0},
        {"threads", OPTION_INT, &set.threads, "N", "Compute with so many threads (the cores)", 1,
         PD_SEATS_MAX},
        {"cache", OPTION_STRING, &set.cache, "DIR", "Keep modules and inputs here", 0, 0},
        {"cache-size", OPTION_SIZE, &set.cache_size, "SIZE", "Keep at most so much (4G)", 1 << 20, INT64_MAX},
        {"runner", OPTION_STRING, &set.runner, "PATH",
         "The program that runs tasks (cx-runner beside this one)", 0, 0},
        {"grace-s", OPTION_INT, &set.grace_s, "N", "Seconds for running tasks to end after SIGTERM (5)", 0,
         3600},
        {"log-level", OPTION_STRING, &set.log_level, "LEVEL", "error, warn, info or debug", 0, 0},
        {"ready-fd", OPTION_INT, &set.ready_fd, "FD", "Write \"ready PORT\" to this descriptor", -1, 1 << 20},
    };
    switch (options_read("cx-producer", "Serves a CX network with this machine's cores.", rows,
                         sizeof rows / sizeof rows[0], argc, argv)) {
    case OPTIONS_DONE:
        return 0;
    case OPTIONS_BAD:
        return 2;
    case OPTIONS_GO:
        break;
    }
    int level = log_level_of(set.log_level);
    if (level < 0)
        return wrong("--log-level: must be error, warn, info or debug");
    if (!set.server == !set.broker)
        return wrong("one of --server and --broker must be given");
    log_start("cx-producer", (enum log_level)level);
    return cx_err_exit(start(&set));
}
