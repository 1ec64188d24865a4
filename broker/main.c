/* cx-broker: introduces consumers and producers to networks. docs/man/cx-broker.1 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "broker/core/policy.h"
#include "broker/server.h"
#include "proto/daemon.h"

struct settings {
    const char *listen, *store, *credentials, *name, *servers, *witness, *log_level;
    int64_t ready_fd, networks_max, silence_s;
};

static const char etcd_prefix[] = "etcd:";

struct daemon {
    struct broker *broker;
    bool stopping;
};

static void stop(void *ctx)
{
    struct daemon *d = ctx;
    if (d->stopping)
        return;
    d->stopping = true;
    log_info("stopping");
    broker_stop(d->broker);
}

static void run(struct daemon *d, struct rpc *r)
{
    enum { GOODBYE_US = 1000000 }; /* that peers get to take note */
    uint64_t until = UINT64_MAX;
    while (!d->stopping || (!broker_idle(d->broker) && clock_us() < until)) {
        if (d->stopping && until == UINT64_MAX)
            until = clock_us() + GOODBYE_US;
        rpc_run(r, until, NULL, NULL);
    }
}

/* NULL: the witness keeps its records in the store. */
static const char *etcd_of(const struct settings *set)
{
    return set->witness ? set->witness + strlen(etcd_prefix) : NULL;
}

/* Frees r. */
static int serve(const struct settings *set, struct rpc *r, struct store *store, const struct credentials *me,
                 char *why)
{
    struct server_config config = {.listen = set->listen, .streams_max = 4096, .etcd = etcd_of(set)};
    config.core = (struct bk_config){.silence_us = (uint64_t)set->silence_s * 1000000,
                                     .networks_max = (uint32_t)set->networks_max,
                                     .servers_max = (uint32_t)set->networks_max * 4,
                                     .per_name_max = 16,
                                     .offers_max = 16,
                                     .policy = set->servers};
    struct daemon d = {0};
    int port;
    int rc = broker_start(&config, r, store, me, &d.broker, &port, why);
    if (!rc)
        rc = daemon_watch_signals(r, stop, &d);
    if (!rc) {
        log_info("serving as %s on %s, port %d", me->self.name, set->listen, port);
        daemon_ready((int)set->ready_fd, port);
        run(&d, r);
    }
    daemon_unwatch_signals();
    rpc_free(r);
    broker_free(d.broker);
    return rc;
}

static int start(const struct settings *set)
{
    struct credentials me = {0};
    struct store *store = NULL;
    struct rpc *r = NULL;
    char why[RPC_WHY_MAX] = "";
    int rc = pki_load(set->credentials, ROLE_BROKER, set->name, &me, why, sizeof why);
    if (rc) {
        log_error("credentials in %s: %s", set->credentials, why);
        return rc;
    }
    rc = store_open(set->store, &store, why);
    if (rc) {
        log_error("store %s: %s", set->store, why);
        goto unload;
    }
    rc = rpc_new(&r);
    if (!rc)
        rc = serve(set, r, store, &me, why);
    if (rc)
        log_error("%s: %s", set->listen, why[0] ? why : cx_err_text(rc));
    store_close(store);
unload:
    pki_unload(&me);
    return rc;
}

/* NULL: nothing. */
static const char *wrong_in(const struct settings *set)
{
    if (log_level_of(set->log_level) < 0)
        return "log-level: must be error, warn, info or debug";
    if (set->servers && !policy_valid(set->servers))
        return "servers: must be like NETWORK=NAME,NAME;NETWORK=NAME";
    if (set->witness && strncmp(set->witness, etcd_prefix, strlen(etcd_prefix)) != 0)
        return "witness: must be like etcd:http://HOST:2379,http://HOST:2379";
    return NULL;
}

int main(int argc, char **argv)
{
    struct settings set = {.listen = "0.0.0.0:7071",
                           .store = "cx-broker.db",
                           .credentials = ".",
                           .log_level = "info",
                           .ready_fd = -1,
                           .networks_max = 1024,
                           .silence_s = 10};
    const struct option_row rows[] = {
        {"listen", OPTION_STRING, &set.listen, "HOST:PORT", "Serve on this address; port 0: any", 0, 0},
        {"store", OPTION_STRING, &set.store, "FILE", "Keep what is known in this file", 0, 0},
        {"credentials", OPTION_STRING, &set.credentials, "DIR", "Directory of the certificates", 0, 0},
        {"name", OPTION_STRING, &set.name, "NAME", "Certified name, where the directory has several", 0, 0},
        {"servers", OPTION_STRING, &set.servers, "POLICY", "Who may serve: NETWORK=NAME,NAME;NETWORK=NAME", 0,
         0},
        {"witness", OPTION_STRING, &set.witness, "WHERE", "etcd:URL,URL: keep shards there, not in the store",
         0, 0},
        {"networks-max", OPTION_INT, &set.networks_max, "N", "Networks to know at most", 1, 65536},
        {"silence-s", OPTION_INT, &set.silence_s, "N", "Seconds of silence until a server is not alive", 1,
         3600},
        {"log-level", OPTION_STRING, &set.log_level, "LEVEL", "error, warn, info or debug", 0, 0},
        {"ready-fd", OPTION_INT, &set.ready_fd, "FD", "Write \"ready PORT\" to this descriptor", -1, 1 << 20},
    };
    switch (options_read("cx-broker", "Introduces consumers and producers to CX networks.", rows,
                         sizeof rows / sizeof rows[0], argc, argv)) {
    case OPTIONS_DONE:
        return 0;
    case OPTIONS_BAD:
        return 2;
    case OPTIONS_GO:
        break;
    }
    const char *wrong = wrong_in(&set);
    if (wrong) {
        fprintf(stderr, "cx-broker: --%s\n", wrong);
        return 2;
    }
    log_start("cx-broker", (enum log_level)log_level_of(set.log_level));
    daemon_block_signals();
    return cx_err_exit(start(&set));
}
