/* The broker's shell: streams in, the core's effects out. It runs on the reactor thread of rpc.h. */
#ifndef BROKER_SERVER_H
#define BROKER_SERVER_H

#include "broker/core/bk.h"
#include "broker/store.h"
#include "proto/rpc.h"

struct server_config {
    const char *listen; /* host:port */
    struct bk_config core;
    uint32_t streams_max; /* peers at a time */
    const char *etcd;     /* where the witness keeps its records (witnessing.h); NULL: in the store */
};

struct broker;

/* Loads the store into a core and serves "/cx.Broker/Talk" on r. store and r stay the caller's. */
int broker_start(const struct server_config *config, struct rpc *r, struct store *store,
                 const struct credentials *me, struct broker **out, int *port, char *why);
/* Closes every stream with a reason; broker_idle says when they are gone. New ones are refused. Must come
 * before rpc_free. */
void broker_stop(struct broker *b);
bool broker_idle(const struct broker *b);
/* After rpc_free. */
void broker_free(struct broker *b);

#endif
