/* One stream: receiving, sending by pull, closing; the same on both sides. */
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/must.h"
#include "proto/internal.h"

struct rpc_stream *stream_new(struct rpc *r, const struct rpc_handler *handler, grpc_call *call)
{
    struct rpc_stream *s = calloc(1, sizeof *s);
    must(s);
    s->rpc = r;
    s->handler = handler;
    s->call = call;
    s->details = grpc_empty_slice();
    grpc_metadata_array_init(&s->initial_metadata);
    grpc_metadata_array_init(&s->trailing_metadata);
    list_add(&r->all, &s->all);
    r->streams++;
    return s;
}

static void stream_free(struct rpc_stream *s)
{
    list_remove(&s->all);
    list_remove(&s->dirty);
    list_remove(&s->rearm);
    s->rpc->streams--;
    grpc_byte_buffer_destroy(s->incoming);
    grpc_byte_buffer_destroy(s->outgoing);
    grpc_metadata_array_destroy(&s->initial_metadata);
    grpc_metadata_array_destroy(&s->trailing_metadata);
    grpc_slice_unref(s->details);
    gpr_free((void *)s->error_string);
    grpc_call_unref(s->call);
    if (s->channel)
        grpc_channel_destroy(s->channel);
    free(s->address);
    free(s);
}

/* The last batch is back: whoever owns the stream learns that it is gone. */
static void stream_over(struct rpc_stream *s)
{
    char why[RPC_WHY_MAX] = "";
    int code = s->channel ? client_close_code(s, why) : server_close_code(s, why);
    s->ended = true;
    if (s->handler)
        s->handler->closed(s->ctx, s, code, why);
    stream_free(s);
}

void stream_done(struct rpc_stream *s)
{
    if (--s->pending == 0)
        stream_over(s);
}

static void mark_dirty(struct rpc_stream *s)
{
    if (!linked(&s->dirty))
        list_add(&s->rpc->dirty, &s->dirty);
}

void rpc_wake(struct rpc_stream *s)
{
    s->woken = true;
    if (!s->sending && !s->ended)
        mark_dirty(s);
}

void rpc_close(struct rpc_stream *s, int code, const char *why)
{
    if (s->closing && !(code < 0 && s->close_code == 0))
        return;
    s->closing = true;
    s->closing_since_us = clock_us();
    s->close_code = code;
    snprintf(s->close_why, sizeof s->close_why, "%s", why ? why : "");
    mark_dirty(s);
}

const struct identity *rpc_peer(const struct rpc_stream *s)
{
    return &s->peer;
}

void *rpc_ctx(const struct rpc_stream *s)
{
    return s->ctx;
}

/* ---- Receiving ---- */

static void hand_over(struct rpc_stream *s, struct bytes data)
{
    char why[RPC_WHY_MAX] = "";
    int e = s->handler->message(s->ctx, s, data, why);
    if (e < 0)
        rpc_close(s, e, why);
}

static void deliver(struct rpc_stream *s)
{
    grpc_byte_buffer_reader reader;
    if (s->incoming->data.raw.compression != GRPC_COMPRESS_NONE ||
        !grpc_byte_buffer_reader_init(&reader, s->incoming)) {
        rpc_close(s, CX_EPROTO, "compressed messages are not taken");
        return;
    }
    if (s->incoming->data.raw.slice_buffer.count == 1) {
        grpc_slice *slice;
        must(grpc_byte_buffer_reader_peek(&reader, &slice));
        hand_over(s, bytes_of(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice)));
    } else {
        grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
        hand_over(s, bytes_of(GRPC_SLICE_START_PTR(whole), GRPC_SLICE_LENGTH(whole)));
        grpc_slice_unref(whole);
    }
    grpc_byte_buffer_reader_destroy(&reader);
}

/* Messages count until the side that listens has said its last word; a client that has half-closed still
 * does. */
static bool listening(const struct rpc_stream *s)
{
    return s->handler && !s->rpc->freeing && (!s->closing || (s->channel && s->close_code == 0));
}

static void recv_done(struct op *op, bool ok)
{
    struct rpc_stream *s = op->owner;
    if (ok && s->incoming && listening(s)) {
        deliver(s);
        grpc_byte_buffer_destroy(s->incoming);
        s->incoming = NULL;
        if (listening(s)) {
            list_add(&s->rpc->rearm, &s->rearm);
            return;
        }
    } else if (!s->incoming && !s->channel && !s->closing) {
        rpc_close(s, 0, ""); /* the client has half-closed: what is left is sent, then the status */
    }
    stream_done(s);
}

static void receive(struct rpc_stream *s)
{
    grpc_op o = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &s->incoming};
    s->recv = (struct op){recv_done, s};
    batch_start(s->call, &o, 1, &s->recv);
}

void stream_receive(struct rpc_stream *s)
{
    if (s->recv.done && !listening(s)) {
        stream_done(s);
        return;
    }
    if (!s->recv.done)
        s->pending++;
    receive(s);
}

/* ---- Sending ---- */

static void free_slice(void *data)
{
    free(data);
}

/* The message in scratch as a slice. Large ones give their memory away, which is freed by the slice's last
 * user, on whatever thread. */
static grpc_slice take_scratch(struct buf *b)
{
    grpc_slice slice;
    if (b->len <= COPY_BYTES_MAX) {
        slice = grpc_slice_from_copied_buffer((const char *)b->data, b->len);
        buf_clear(b);
    } else {
        slice = grpc_slice_new_with_user_data(b->data, b->len, free_slice, b->data);
        *b = (struct buf){0};
    }
    return slice;
}

static void send_done(struct op *op, bool ok)
{
    struct rpc_stream *s = op->owner;
    grpc_byte_buffer_destroy(s->outgoing);
    s->outgoing = NULL;
    s->sending = false;
    if (!ok)
        s->broken = true;
    if (s->woken || s->closing)
        mark_dirty(s);
    stream_done(s);
}

static void send_scratch(struct rpc_stream *s)
{
    grpc_slice slice = take_scratch(&s->rpc->scratch);
    s->outgoing = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    s->sending = true;
    grpc_op o = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = s->outgoing};
    batch_stream(s, &o, &s->send, send_done);
}

/* Asks for the next message and sends it; false when there is none. */
static bool send_next(struct rpc_stream *s)
{
    struct buf *b = &s->rpc->scratch;
    buf_clear(b);
    s->woken = false;
    if (!s->handler || !s->handler->fill(s->ctx, s, b))
        return false;
    s->woken = true; /* asked again after this one */
    if (b->len > MSG_BYTES_MAX) {
        char why[RPC_WHY_MAX];
        snprintf(why, sizeof why, "a message of %zu bytes to send, limit %u", b->len, MSG_BYTES_MAX);
        rpc_close(s, CX_ELIMIT, why);
        return false;
    }
    send_scratch(s);
    return true;
}

/* What can be done now for a stream that was woken or is closing. An error ends it at once; in order, when
 * fill has no more to say. */
void stream_flush(struct rpc_stream *s)
{
    if (s->channel && s->closing && s->close_code < 0) {
        client_cancel(s);
        return;
    }
    if (s->sending || s->ended)
        return;
    bool more = s->woken && !s->broken && !s->rpc->freeing && !(s->closing && s->close_code < 0);
    if (more && send_next(s))
        return;
    if (!s->closing || s->ended)
        return;
    s->ended = true;
    if (s->channel)
        client_half_close(s);
    else
        server_finish(s);
}
