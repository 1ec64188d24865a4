/* A network behind streams: the shell of the consumer's core (core/client.h).
 *
 * One thread of the cx_net is the reactor: it owns the streams and steps the cores, one a lane. Callers put a
 * `struct call` into the inbox and wait for it to be done. `lock` guards the inbox, the core and what callers
 * read of it. */
#ifndef CONSUMER_REMOTE_H
#define CONSUMER_REMOTE_H

#include <pthread.h>

#include "consumer/core/client.h"
#include "consumer/net.h"
#include "proto/msg.h"
#include "proto/rpc.h"

struct remote;
struct lane;

/* A message that waits for its stream; of a blob, what is left of its data. */
struct outgoing {
    struct outgoing *next;
    struct buf message;
    struct bytes blob; /* borrowed from the call, which waits */
    uint64_t req;
};

/* One dialled stream. Freed when its `closed` has come; given up before that when the core hangs up. */
struct conn {
    struct lane *lane;
    enum client_link link;
    struct rpc_stream *stream;
    bool given_up;
    struct outgoing *first, **last;
};

/* The way to one shard, with a core of its own: it knows where the shard may be served and follows it there.
 * Lanes live as long as the network. */
struct lane {
    struct remote *remote;
    struct lane *next;
    struct client *client;
    struct client_effects fx;
    struct conn *conn[LINKS]; /* the present one of each link, or NULL */
    int failed[LINKS];        /* dialling failed at once with this code; told to the core after the step */
    struct call *inbox, **inbox_end;
    struct id shard; /* the only one it is for; zero: a server chooses */
    char *address;   /* of a lane to a server, whatever that serves; NULL: it is to a shard */
};

struct remote_job;

struct remote {
    cx_net net; /* first */
    struct credentials me;
    struct rpc *rpc;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* some call is done */
    struct lane home;       /* where jobs are submitted */
    struct lane *more;      /* to the other shards and servers, made when somebody looks there */
    unsigned lanes;
    struct remote_job *dropped, *jobs;
    bool stopping;
};

/* What several handles of one job share; guarded by the lock. */
struct remote_job {
    struct client_job job; /* first */
    struct remote_job *next;
    struct lane *lane;
    unsigned handles;
};

/* A submission as the shell keeps it for the call: hashes are made before. */
struct remote_submission {
    const struct submit *submit;
    struct client_blob blob[CLIENT_BLOBS_MAX];
    uint32_t blobs;
};

/* remote_wire.c: effects into messages, messages into events. */
void wire_encode(const struct client_effect *fx, struct buf *out);
void wire_chunk(struct outgoing *o, struct buf *out); /* the next piece of o->blob */
/* Decodes one message and steps the core with what it means. A negative code refuses it. */
int wire_receive(struct conn *conn, struct bytes data, char *why);

/* remote_loop.c: the reactor. */
int loop_start(struct remote *r);
void loop_stop(struct remote *r);
void loop_wake(struct remote *r);
void remote_step(struct lane *l, struct client_event *e); /* with the lock held, on the reactor */

/* remote_ask.c: lanes, and questions along them. */
struct question {
    struct call call;
    struct lane *lane;
};
/* Hands the questions to the reactor and waits until all are done; time-outs are the core's. With `first`,
 * one that was answered with 0 ends the others. */
void ask_all(struct remote *r, struct question *q, unsigned n, bool first);
int ask(struct lane *lane, struct call *call);
bool lane_init(struct lane *l, struct remote *r, const char *address, struct id shard, bool any);
/* Finds or makes it; NULL: no memory, or there are too many. */
struct lane *lane_to_shard(struct remote *r, struct id shard, const char *addresses);
struct lane *lane_to_server(struct remote *r, const char *address);
void lane_free(struct lane *l);

/* remote_shards.c: the shards of the network. */
/* Asks every server of the network for its rows (struct shard_row, appended); those that do not answer have a
 * row that says so, and their number is returned. */
unsigned shards_find(struct remote *r, struct buf *rows);
/* The lane to the shard that knows the job; NULL: none does, and why (CLIENT_TEXT_MAX) is "" or says which
 * could not be asked. */
struct lane *shards_locate(struct remote *r, struct id job, char *why);
/* What shards_find finds, once some server has been reached. */
int shards_all(struct remote *r, uint64_t deadline_us, struct buf *rows);
/* A listing over all shards; the number of shards that could not be asked, or an error. */
int shards_list(struct remote *r, enum list_what what, uint64_t deadline_us, struct buf *rows);

#endif
