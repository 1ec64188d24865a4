/* What the parts of the RPC runtime share. Nobody outside proto/ includes this.
 *
 * A batch's tag is the address of its struct op, which lives in the struct that owns all memory the batch
 * points into; a stream is freed when no batch of it is outstanding. */
#ifndef PROTO_INTERNAL_H
#define PROTO_INTERNAL_H

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>

#include "proto/msg.h"
#include "proto/rpc.h"

#define EVENTS_MAX         64    /* drained before the woken streams send */
#define STREAMS_MAX        16384 /* of one daemon: accepted ones beyond that are refused */
#define CONNECTION_STREAMS 64    /* of one connection */
#define COPY_BYTES_MAX                                                                                       \
    4096 /* a message up to this long is copied into its slice, others give their buffer                     \
          */
#define KEEPALIVE_TIME_MS    500
#define UNUSED_CONNECTION_MS 60000   /* a connection without a stream is closed after that */
#define TICK_US              1000000 /* between checks of deny list, certificates' ends, and closes that hang */

/* Sanitizers make a slow machine of any: a large message's callback may take longer than a second. */
#if defined CX_TSAN || defined CX_ASAN
#define KEEPALIVE_TIMEOUT_MS 8000
#define CONNECT_TIMEOUT_MS   40000
#else
#define KEEPALIVE_TIMEOUT_MS 1000
#define CONNECT_TIMEOUT_MS                                                                                   \
    10000 /* both sides; long, or a thousand producers that come back at once never would */
#endif

/* gRPC is not instrumented, so ThreadSanitizer does not see that a tag's return follows its start. */
#ifdef CX_TSAN
void __tsan_acquire(void *at);
void __tsan_release(void *at);
#define TAG_GIVEN(tag) __tsan_release(tag)
#define TAG_BACK(tag)  __tsan_acquire(tag)
#else
#define TAG_GIVEN(tag) ((void)(tag))
#define TAG_BACK(tag)  ((void)(tag))
#endif

/* One kind of batch. done runs on the reactor thread when its tag comes back. */
struct op {
    void (*done)(struct op *op, bool ok);
    void *owner;
};

/* A stream's place in a list of its reactor's. */
struct link {
    struct link *prev, *next; /* both NULL: in no list */
};

static inline void list_init(struct link *head)
{
    head->prev = head->next = head;
}
static inline bool list_empty(const struct link *head)
{
    return head->next == head;
}
static inline bool linked(const struct link *l)
{
    return l->next != NULL;
}
static inline void list_add(struct link *head, struct link *l)
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}
static inline void list_remove(struct link *l)
{
    if (!linked(l))
        return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->prev = l->next = NULL;
}

struct rpc_stream {
    struct link all, dirty, rearm;     /* lists of the reactor; all must stay first */
    struct rpc *rpc;                   /* borrowed */
    const struct rpc_handler *handler; /* borrowed; NULL: refused, only its status remains to be sent */
    void *ctx;
    grpc_call *call;       /* owned */
    char *address;         /* as dialled, owned; NULL on the server side */
    grpc_channel *channel; /* owned; NULL on the server side */
    struct identity peer;  /* server side */
    char serial[48];       /* of the peer's certificate, server side */
    time_t until;          /* end of the peer's certificate, server side */

    unsigned pending; /* batches outstanding; the receive counts until it has returned its last */
    bool woken;       /* fill is to be asked */
    bool sending;     /* a SEND_MESSAGE is outstanding */
    bool closing;     /* rpc_close was called, or the peer has half-closed */
    bool ended;       /* our last word (status, half-close, cancel) was started */
    bool broken;      /* a send failed or the peer is gone: nothing more can be sent */
    bool cancelled;   /* by us */
    uint64_t closing_since_us;
    int close_code;
    char close_why[RPC_WHY_MAX];

    /* Memory of the batches. */
    struct op start, initial, recv, send, tail, finish;
    grpc_byte_buffer *incoming, *outgoing;
    grpc_metadata_array initial_metadata, trailing_metadata;
    grpc_status_code status;
    grpc_slice details;
    const char *error_string;
    int peer_cancelled; /* RECV_CLOSE_ON_SERVER */
};

/* The next call that the server will get. */
struct incoming_call {
    struct op op;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
};

struct post {
    struct post *next;
    void (*fn)(void *ctx);
    void *ctx;
};

struct rpc {
    grpc_completion_queue *queue;
    struct link all, dirty, rearm; /* of streams */
    unsigned streams;
    struct buf scratch; /* what fill appends to */
    bool freeing;
    uint64_t tick_at_us;

    grpc_server *server; /* NULL: not listening */
    const struct rpc_service *services;
    size_t nservices;
    char *deny;            /* path, owned */
    struct stat deny_stat; /* of the list at the last look */
    struct incoming_call next_call;
    struct op shutdown;
    bool server_down;

    grpc_channel *lame; /* its one call carries the empty batches of rpc_post */
    grpc_call *bell;
    struct op posted;
    _Atomic(struct post *) posts; /* newest first */
};

/* rpc.c */
void batch_start(grpc_call *call, const grpc_op *ops, size_t n, struct op *op);
void batch_stream(struct rpc_stream *s, const grpc_op *o, struct op *op, void (*done)(struct op *, bool));

/* rpc_stream.c */
struct rpc_stream *stream_new(struct rpc *r, const struct rpc_handler *handler, grpc_call *call);
void stream_receive(struct rpc_stream *s);
void stream_flush(struct rpc_stream *s);
void stream_done(struct rpc_stream *s); /* one batch less outstanding; frees s with the last */

/* rpc_server.c */
void server_stop(struct rpc *r); /* begins; server_down says when it has */
void server_free(struct rpc *r);
void server_finish(struct rpc_stream *s); /* sends the status */
int server_close_code(const struct rpc_stream *s, char *why);
void server_tick(struct rpc *r);

/* rpc_client.c */
void client_half_close(struct rpc_stream *s);
void client_cancel(struct rpc_stream *s);
int client_close_code(const struct rpc_stream *s, char *why);

/* rpc_status.c: codes of CX as gRPC status codes and back. The status text begins with the code's name. */
grpc_status_code status_of(int code);
grpc_slice status_text(int code, const char *why);
int status_code(grpc_status_code status, struct bytes text, const char *address, char *why);

#endif
