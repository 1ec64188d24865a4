/* The reactor: one completion queue, drained before the woken streams send, and posts from other threads. */
#include "proto/rpc.h"

#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "proto/internal.h"

#define FAREWELL_US 500000 /* how long rpc_free lets last statuses out before it cancels */

#ifdef CX_TSAN
/* gRPC and what it links are not instrumented: only accesses of our own code are looked at. */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "ignore_noninstrumented_modules=1";
}
#endif

static void log_grpc(gpr_log_func_args *a)
{
    log_debug("grpc: %s", a->message);
}

/* gRPC 1.51 has no C interface for the lowest TLS version. Its list of TLS 1.2 ciphers can be set, though:
 * with none in it but one for RSA keys, and no key of ours being RSA, both sides can agree only on TLS 1.3.
 * Done before main, when no other thread can be reading the environment. */
__attribute__((constructor)) static void demand_tls_1_3(void)
{
    setenv("GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES256-GCM-SHA384", 1);
}

static void configure_grpc(void)
{
    gpr_set_log_function(log_grpc);
}

void batch_start(grpc_call *call, const grpc_op *ops, size_t n, struct op *op)
{
    TAG_GIVEN(op);
    must(grpc_call_start_batch(call, ops, n, op, NULL) == GRPC_CALL_OK);
}

void batch_stream(struct rpc_stream *s, const grpc_op *o, struct op *op, void (*done)(struct op *, bool))
{
    *op = (struct op){done, s};
    s->pending++;
    batch_start(s->call, o, 1, op);
}

static void run_posts(struct rpc *r)
{
    struct post *p = atomic_exchange_explicit(&r->posts, NULL, memory_order_acquire), *first = NULL;
    while (p) {
        struct post *next = p->next;
        p->next = first;
        first = p;
        p = next;
    }
    while (first) {
        p = first;
        first = p->next;
        p->fn(p->ctx);
        free(p);
    }
}

static void posted_done(struct op *op, bool ok)
{
    (void)ok;
    struct rpc *r = op->owner;
    if (!r->freeing)
        run_posts(r);
}

void rpc_post(struct rpc *r, void (*fn)(void *ctx), void *ctx)
{
    struct post *p = malloc(sizeof *p);
    must(p);
    *p = (struct post){NULL, fn, ctx};
    struct post *head = atomic_load_explicit(&r->posts, memory_order_relaxed);
    do
        p->next = head;
    while (!atomic_compare_exchange_weak_explicit(&r->posts, &head, p, memory_order_release,
                                                  memory_order_relaxed));
    if (!head) /* the bell has not been rung since the posts were last taken */
        batch_start(r->bell, NULL, 0, &r->posted);
}

int rpc_new(struct rpc **out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure_grpc);
    struct rpc *r = calloc(1, sizeof *r);
    if (!r)
        return CX_ENOMEM;
    grpc_init();
    list_init(&r->all);
    list_init(&r->dirty);
    list_init(&r->rearm);
    atomic_init(&r->posts, NULL);
    r->queue = grpc_completion_queue_create_for_next(NULL);
    r->lame = grpc_lame_client_channel_create("post", GRPC_STATUS_UNAVAILABLE, "never used");
    r->bell = grpc_channel_create_call(r->lame, NULL, GRPC_PROPAGATE_DEFAULTS, r->queue,
                                       grpc_slice_from_static_string("/post"), NULL,
                                       gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    r->posted = (struct op){posted_done, r};
    r->tick_at_us = clock_us() + TICK_US;
    *out = r;
    return 0;
}

static gpr_timespec timespec_of(uint64_t us)
{
    if (us == UINT64_MAX)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return (gpr_timespec){(int64_t)(us / 1000000), (int32_t)(us % 1000000 * 1000), GPR_CLOCK_MONOTONIC};
}

/* Takes and handles one event; false when there was none until then. */
static bool take_event(struct rpc *r, gpr_timespec until)
{
    grpc_event e = grpc_completion_queue_next(r->queue, until, NULL);
    if (e.type != GRPC_OP_COMPLETE)
        return false;
    struct op *op = e.tag;
    TAG_BACK(op);
    op->done(op, e.success);
    return true;
}

static unsigned drain(struct rpc *r, unsigned max)
{
    unsigned n = 0;
    while (n < max && take_event(r, gpr_inf_past(GPR_CLOCK_MONOTONIC)))
        n++;
    return n;
}

/* Sends first, then arms the receives again: so the window update that goes with the receive travels with the
 * message, in one system call. */
static void flush(struct rpc *r)
{
    while (!list_empty(&r->dirty)) {
        struct rpc_stream *s =
            (struct rpc_stream *)((char *)r->dirty.next - offsetof(struct rpc_stream, dirty));
        list_remove(&s->dirty);
        stream_flush(s);
    }
    while (!list_empty(&r->rearm)) {
        struct rpc_stream *s =
            (struct rpc_stream *)((char *)r->rearm.next - offsetof(struct rpc_stream, rearm));
        list_remove(&s->rearm);
        stream_receive(s);
    }
}

static void tick(struct rpc *r)
{
    uint64_t now = clock_us();
    if (now < r->tick_at_us)
        return;
    r->tick_at_us = now + TICK_US;
    server_tick(r);
}

void rpc_run(struct rpc *r, uint64_t deadline_us, bool (*idle)(void *), void *idle_ctx)
{
    unsigned n = drain(r, EVENTS_MAX);
    flush(r);
    tick(r);
    if (n > 0)
        return;
    bool block = !idle || idle(idle_ctx);
    flush(r);
    if (!block)
        return;
    if (r->streams > 0 && r->tick_at_us < deadline_us)
        deadline_us = r->tick_at_us;
    if (take_event(r, timespec_of(deadline_us)))
        drain(r, EVENTS_MAX - 1);
    flush(r);
}

static void cancel_all(struct rpc *r)
{
    for (struct link *l = r->all.next; l != &r->all; l = l->next) {
        struct rpc_stream *s = (struct rpc_stream *)l;
        grpc_call_cancel(s->call, NULL);
    }
    if (r->server)
        grpc_server_cancel_all_calls(r->server);
}

static bool quiet(const struct rpc *r)
{
    return r->streams == 0 && (!r->server || r->server_down);
}

/* Runs until nothing is outstanding or the time is over. */
static void run_down(struct rpc *r, uint64_t until_us)
{
    flush(r);
    while (!quiet(r) && take_event(r, timespec_of(until_us)))
        flush(r);
}

void rpc_free(struct rpc *r)
{
    if (!r)
        return;
    run_posts(r);
    r->freeing = true;
    for (struct link *l = r->all.next; l != &r->all; l = l->next)
        rpc_close((struct rpc_stream *)l, CX_ENONET, "shutting down");
    if (r->server)
        server_stop(r);
    run_down(r, clock_us() + FAREWELL_US);
    cancel_all(r);
    run_down(r, UINT64_MAX);
    must(quiet(r));
    server_free(r);
    grpc_call_unref(r->bell);
    grpc_channel_destroy(r->lame);
    grpc_completion_queue_shutdown(r->queue);
    while (grpc_completion_queue_next(r->queue, timespec_of(UINT64_MAX), NULL).type != GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(r->queue);
    for (struct post *p = atomic_load(&r->posts); p;) {
        struct post *next = p->next;
        free(p);
        p = next;
    }
    buf_free(&r->scratch);
    free(r->deny);
    free(r);
    grpc_shutdown_blocking();
}
