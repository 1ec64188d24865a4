/* A network behind streams: the shell of the consumer's core (core/client.h).
 *
 * One thread of the cx_net is the reactor: it owns the streams and steps the core. Callers put a `struct
 * call` into the inbox and wait for it to be done. `lock` guards the inbox, the core and what callers read of
 * it. */
#ifndef CONSUMER_REMOTE_H
#define CONSUMER_REMOTE_H

#include <pthread.h>

#include "consumer/core/client.h"
#include "consumer/net.h"
#include "proto/msg.h"
#include "proto/rpc.h"

struct remote;

/* A message that waits for its stream; of a blob, what is left of its data. */
struct outgoing {
    struct outgoing *next;
    struct buf message;
    struct bytes blob; /* borrowed from the call, which waits */
    uint64_t req;
};

/* One dialled stream. Freed when its `closed` has come; given up before that when the core hangs up. */
struct conn {
    struct remote *remote;
    enum client_link link;
    struct rpc_stream *stream;
    bool given_up;
    struct outgoing *first, **last;
};

struct remote_job;

struct remote {
    cx_net net; /* first */
    struct credentials me;
    struct rpc *rpc;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* some call is done */
    struct client *client;
    struct client_effects fx;
    struct conn *conn[LINKS]; /* the present one of each link, or NULL */
    int failed[LINKS];        /* dialling failed at once with this code; told to the core after the step */
    struct call *inbox, **inbox_end;
    struct remote_job *dropped, *jobs;
    bool stopping;
};

/* What several handles of one job share; guarded by the lock. */
struct remote_job {
    struct client_job job; /* first */
    struct remote_job *next;
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
void remote_step(struct remote *r, struct client_event *e); /* with the lock held, on the reactor */

#endif
