/* The task server's shell: sockets, clock, disk and threads around the core (taskserver/core/ts.h). It turns
 * messages into events, carries out the effects in order, and decides nothing. One thread, the reactor, runs
 * all of it; journal and blobs each have a thread that waits for the disk in its stead. */
#ifndef TASKSERVER_SERVER_H
#define TASKSERVER_SERVER_H

#include "proto/rpc.h"
#include "taskserver/blobfetch.h"
#include "taskserver/blobs.h"
#include "taskserver/peering.h"
#include "taskserver/register.h"
#include "taskserver/session.h"
#include "taskserver/shard.h"
#include "taskserver/sibling.h"

struct taskserver_config {
    const char *listen;  /* "host:port" */
    const char *network; /* its name */
    const char *broker;  /* "host:port", or NULL */
    const char *sibling; /* "name@host:port", or NULL: a server without one */
    const char
        *advertise;    /* the address that the broker tells others; NULL: host of listen and the port bound */
    const char *state; /* directory */
    const struct credentials *me;
    bool journal;
    uint64_t blobs_max;   /* bytes of all blobs */
    uint64_t outbox_max;  /* bytes that a peer may leave unread, times its kind's share */
    uint64_t compact;     /* bytes of the journal below which it is not compacted; 0: JOURNAL_COMPACT_BYTES */
    uint64_t blob_ttl_us; /* an unused blob is kept so long */
    struct ts_config core;
};

enum { SHARDS_MAX = 2, SERVICES = 5 };

struct taskserver {
    struct taskserver_config config;
    struct rpc *rpc;
    struct poster poster;
    struct shard shard[SHARDS_MAX]; /* the own one, and the sibling's where there is a sibling */
    size_t shards;
    struct sibling *sibling; /* NULL: without */
    struct peering *peering; /* NULL: without a broker, nobody knows of other shards */
    struct blobs *blobs;
    struct blobfetch *fetch;           /* from the sibling; NULL: without */
    struct registration *registration; /* NULL: without a broker */
    struct session_service services[3];
    struct rpc_service rpc_services[SERVICES]; /* the runtime borrows them */
    struct session *sessions;                  /* of every kind, newest first */
    struct peers producers, clients;
    struct buf scratch;  /* for text */
    char addresses[512]; /* own and sibling's, comma-separated: what others are told */
    uint64_t epoch_us;   /* wall time less monotonic time at start: the core's times survive the process */
    uint64_t started_us; /* in the core's time */
    uint64_t sweep_us;   /* when unused blobs are looked for again; monotonic */
    int lock;            /* of the state directory */
    int port;
    bool draining; /* hands over what it serves, and takes nothing back */
    bool stopping;
};

/* Opens state, journal and blobs, replays, and listens. why: STATE_WHY_MAX bytes. */
int taskserver_start(const struct taskserver_config *config, struct taskserver **out, char *why);
/* Serves until taskserver_stop. */
void taskserver_run(struct taskserver *s);
/* From the reactor (daemon_watch_signals): ends in order. */
void taskserver_stop(void *server);
/* NULL and half-started ones are legal. */
void taskserver_free(struct taskserver *s);

/* The shard of this name, if this server keeps it; NULL: it does not. */
struct shard *taskserver_shard(struct taskserver *s, struct id id);
/* Ends all streams that are for this shard: it is no longer served here. */
void taskserver_close(struct taskserver *s, const struct shard *shard, const char *why);
/* What brings blobs here from one other server; its address is to be set. */
struct blobfetch *taskserver_fetch(struct taskserver *s);
/* True while this blob is on its way here from another server. */
bool taskserver_brings(const struct taskserver *s, const uint8_t *sha256);
/* blobstream.c: gets that waited for blobs that were being brought are looked at again. */
void blob_came_for_streams(struct taskserver *s);
void blob_late_for_streams(struct taskserver *s, const uint8_t *sha256);
uint64_t taskserver_now(const struct taskserver *s); /* wall time that never goes back */

/* The kinds of stream, and the effects that concern each. */
extern const struct session_kind producer_kind, consumer_kind, blob_kind;
typedef void effect_fn(struct shard *s, const struct ts_effect *fx);
effect_fn producer_grant, producer_job, producer_job_gone, producer_bound, producer_hungry, producer_revoke,
    producer_fault;
/* admin.c: an administrator's orders, and what this server keeps of each shard. */
session_message_fn on_admin;
bool shard_row(struct taskserver *s, uint64_t *cursor, cx_Msg *m, struct id_bytes *id); /* false: no more */
effect_fn peer_say, peer_fault, peer_guest; /* peering.c: to other shards */
effect_fn consumer_reply, consumer_progress, consumer_result;

#endif
