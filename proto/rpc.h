/* The RPC runtime: long-lived bidirectional streams of messages over gRPC with mutual TLS; the only user of
 * gRPC.
 *
 * One completion queue, one thread, and that thread is the reactor: it owns every stream and all the state of
 * its daemon, without locks. All callbacks run on it, from rpc_run. Sending is by pull: a stream that has
 * something to say is marked with rpc_wake; when the queue of events has been drained and the stream's last
 * message is out, its `fill` is asked for the next one. So messages grow with the load by themselves, and at
 * light load each leaves at once. (Measured against other threadings: docs/ARCHITECTURE.md, "Threads".)
 *
 * A peer that is silent (stopped, unplugged, or busy in one callback) for more than 1 to 1.5 s is taken for
 * dead by the other side: its streams close with CX_ENONET. So no callback may take that long. */
#ifndef PROTO_RPC_H
#define PROTO_RPC_H

#include "base/bytes.h"
#include "cx/error.h"
#include "proto/pki.h"

struct rpc;
struct rpc_stream;

/* What happens to a stream. ctx is the stream's, set by rpc_dial or by `accept`. */
struct rpc_handler {
    /* Server side: a peer with this identity opened a stream of this method. Sets *ctx and returns 0, or
     * refuses with a negative code and a text of at most 256 bytes, which the peer gets as its status. */
    int (*accept)(void *service, struct rpc_stream *s, const struct identity *peer, void **ctx, char *why);
    /* One message. data is valid during the call. A negative return closes the stream with that code and why.
     */
    int (*message)(void *ctx, struct rpc_stream *s, struct bytes data, char *why);
    /* The stream is writable and was woken: append one message to out and return true; false when there is
     * none. Called again after each message that was sent, until it says false. */
    bool (*fill)(void *ctx, struct rpc_stream *s, struct buf *out);
    /* The stream is gone, for whatever reason, after this call s is invalid. code 0: the other side closed it
     * in order. Called exactly once for each accepted or dialled stream, also at shutdown. */
    void (*closed)(void *ctx, struct rpc_stream *s, int code, const char *why);
};

/* A method that a daemon serves: "/cx.TaskServer/Produce", and the roles that may call it (bits 1 << enum
 * role). */
struct rpc_service {
    const char *method;
    unsigned roles;
    const struct rpc_handler *handler;
    void *service; /* handed to accept */
};

#define RPC_WHY_MAX 256

int rpc_new(struct rpc **out);
/* Binds "host:port" (port 0: any) with mutual TLS and serves. May be called once. *port: the one bound. A
 * port in use is CX_EIO. Peers of other roles than a service names get UNAUTHENTICATED/PERMISSION_DENIED with
 * a reason. */
int rpc_listen(struct rpc *r, const char *address, const struct credentials *me,
               const struct rpc_service *services, size_t n, int *port, char *why);
/* Opens a stream to a daemon whose certificate must be of role server or broker, at "host:port". Returns at
 * once (CX_EINVAL: not an address); success shows by the first message, failure by `closed` (CX_ENONET:
 * unreachable; CX_EAUTH: refused). The runtime does not reconnect: the caller decides when to dial again.
 * Each stream has a connection of its own, so a dial after a failure starts afresh and one stream's large
 * messages delay no other. me and method are not kept, but method
 * must be a constant. */
int rpc_dial(struct rpc *r, const char *address, enum role peer, const struct credentials *me,
             const char *method, const struct rpc_handler *handler, void *ctx, struct rpc_stream **out);

/* Marks the stream as having something to send. Cheap, idempotent. */
void rpc_wake(struct rpc_stream *s);
/* Ends the stream. Code 0, in order: what `fill` still has (if the stream was woken) is sent first; then a
 * client half-closes and goes on receiving until the server has ended too, and a server ends with status OK.
 * A negative code: a server sends it and why as the status, after the message that is being sent, a client
 * cancels at once. No `message` follows (but for the half-closed client), `closed` does, from rpc_run, with
 * this code and why. The first call counts; only an error may follow a 0. A server's stream whose client has
 * half-closed ends in order by itself, as if by rpc_close(s, 0, ""). */
void rpc_close(struct rpc_stream *s, int code, const char *why);
const struct identity *rpc_peer(const struct rpc_stream *s); /* server side */
void *rpc_ctx(const struct rpc_stream *s);

/* Waits until an event, a post or deadline_us (monotonic, clock_us(); UINT64_MAX: none), handles all that is
 * there (at most 64 events), sends one message on each woken stream, and returns. May return early, with
 * nothing done. `idle`, if set, is called just before it would block and may return false to not block this
 * time (a last look at shared rings). */
void rpc_run(struct rpc *r, uint64_t deadline_us, bool (*idle)(void *), void *idle_ctx);
/* From any thread: run fn(ctx) on the reactor thread soon. */
void rpc_post(struct rpc *r, void (*fn)(void *ctx), void *ctx);
/* Runs the posts that are there, closes everything in the order gRPC demands and frees it; NULL is legal.
 * Handlers get `closed` for each open stream; servers' peers are told "shutting down". Not from a callback.
 */
void rpc_free(struct rpc *r);

#endif
