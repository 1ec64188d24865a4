/* What the wire costs: records a second in batches that grow by themselves, and one record there and back.
 *
 * The server is another process of this program, so the two ends have a core each where there are two. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"
#include "proto/msg.h"
#include "proto/rpc.h"
#include "tests/support/loopback.h"

#define METHOD  "/cx.Bench/Echo"
#define RECORD  64u
#define STREAMS 8

/* One end: records wait as a number, and leave in one message for all that are there. */
struct pipe {
    struct rpc_stream *stream;
    uint64_t waiting; /* records to send */
    uint64_t batch;   /* at most so many in a message */
    uint64_t sent, got, messages;
    bool echo, closed;
};

static uint8_t zeros[1 << 20];

static int on_accept(void *service, struct rpc_stream *s, const struct identity *peer, void **ctx, char *why)
{
    (void)service, (void)peer, (void)why;
    struct pipe *p = calloc(1, sizeof *p);
    must(p);
    *p = (struct pipe){.stream = s, .batch = 1024, .echo = true};
    *ctx = p;
    return 0;
}

static int on_message(void *ctx, struct rpc_stream *s, struct bytes data, char *why)
{
    struct pipe *p = ctx;
    cx_Msg m;
    int e = msg_decode(data, &m, why);
    if (e != 0)
        return e;
    uint64_t n = m.body.grants.records.len / RECORD;
    p->got += n;
    p->messages++;
    if (p->echo) {
        p->waiting += n;
        rpc_wake(s);
    }
    return 0;
}

static bool on_fill(void *ctx, struct rpc_stream *s, struct buf *out)
{
    (void)s;
    struct pipe *p = ctx;
    uint64_t n = p->waiting < p->batch ? p->waiting : p->batch;
    if (n == 0)
        return false;
    cx_Msg m = {.which_body = cx_Msg_grants_tag, .body.grants.records = bytes_of(zeros, n * RECORD)};
    msg_encode(&m, out);
    p->waiting -= n;
    p->sent += n;
    return true;
}

static void on_closed(void *ctx, struct rpc_stream *s, int code, const char *why)
{
    (void)s;
    struct pipe *p = ctx;
    if (p->echo) {
        free(p);
        return;
    }
    (void)code, (void)why;
    p->closed = true;
}

static const struct rpc_handler handler = {on_accept, on_message, on_fill, on_closed};

static int serve(const char *dir)
{
    struct rpc *r;
    struct credentials me;
    struct rpc_service service = {METHOD, 1u << ROLE_CONSUMER, &handler, NULL};
    char why[RPC_WHY_MAX];
    int port;
    if (pki_load(dir, ROLE_SERVER, NULL, &me, why, sizeof why) != 0 || rpc_new(&r) != 0 ||
        rpc_listen(r, "127.0.0.1:0", &me, &service, 1, &port, why) != 0)
        return 1;
    printf("%d\n", port);
    fflush(stdout);
    for (;;)
        rpc_run(r, UINT64_MAX, NULL, NULL);
}

static pid_t spawn_server(char address[32])
{
    int out[2];
    char port[16] = "";
    must(pipe(out) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* not to outlive a test that fails */
        dup2(out[1], 1);
        execl("/proc/self/exe", "wire", "serve", test_credentials_dir(), (char *)NULL);
        _exit(127);
    }
    must(pid > 0 && read(out[0], port, sizeof port - 1) > 1);
    snprintf(address, 32, "127.0.0.1:%d", atoi(port));
    return pid;
}

static struct rpc *reactor;
static struct pipe pipes[STREAMS];

static void dial_all(const char *address, const struct credentials *me)
{
    for (int i = 0; i < STREAMS; i++) {
        pipes[i] = (struct pipe){.batch = 1};
        must(rpc_dial(reactor, address, ROLE_SERVER, me, METHOD, &handler, &pipes[i], &pipes[i].stream) == 0);
    }
}

static uint64_t total(void)
{
    uint64_t n = 0;
    for (int i = 0; i < STREAMS; i++) {
        n += pipes[i].got;
        must(!pipes[i].closed);
    }
    return n;
}

/* This process's CPU time: what the wire costs, whoever else uses the machine. */
static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Keeps `window` records outstanding on each of n streams until `records` have come back. */
static void flood(const char *what, int n, uint64_t batch, uint64_t window, uint64_t records)
{
    uint64_t base = total(), done = 0, messages = 0, began = clock_ns();
    uint64_t got[STREAMS], sent[STREAMS];
    double cpu = cpu_s();
    for (int i = 0; i < n; i++) {
        got[i] = pipes[i].got;
        sent[i] = pipes[i].sent;
        pipes[i].batch = batch;
        pipes[i].messages = 0;
    }
    while (done < records) {
        for (int i = 0; i < n; i++) {
            struct pipe *p = &pipes[i];
            uint64_t out = p->sent - sent[i] + p->waiting - (p->got - got[i]);
            if (out < window && done + window * (uint64_t)n < records + window * (uint64_t)n) {
                p->waiting += window - out;
                rpc_wake(p->stream);
            }
        }
        rpc_run(reactor, UINT64_MAX, NULL, NULL);
        done = total() - base;
    }
    double s = (double)(clock_ns() - began) / 1e9;
    cpu = cpu_s() - cpu;
    for (int i = 0; i < n; i++) {
        messages += pipes[i].messages;
        pipes[i].waiting = 0;
    }
    printf("%-44s %6.0f k records/s %4.0f k messages/s; CPU of one end %.2f us a message\n", what,
           (double)done / s / 1e3, (double)messages / s / 1e3, cpu * 1e6 / (double)messages);
    for (int i = 0; i < n; i++)
        while (pipes[i].got - got[i] < pipes[i].sent - sent[i])
            rpc_run(reactor, UINT64_MAX, NULL, NULL);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void ping(void)
{
    enum { N = 10000 };
    static uint64_t t[N];
    struct pipe *p = &pipes[0];
    p->batch = 1;
    for (int i = 0; i < N; i++) {
        uint64_t before = clock_ns(), want = p->got + 1;
        p->waiting = 1;
        rpc_wake(p->stream);
        while (p->got < want)
            rpc_run(reactor, UINT64_MAX, NULL, NULL);
        t[i] = clock_ns() - before;
    }
    qsort(t, N, sizeof t[0], by_value);
    printf("%-44s p50 %.1f us, p99 %.1f us\n", "one record there and back", (double)t[N / 2] / 1e3,
           (double)t[N * 99 / 100] / 1e3);
}

static void codec(void)
{
    enum { N = 2000000 };
    struct buf b = {0};
    cx_Msg m = {.which_body = cx_Msg_grants_tag, .body.grants.records = bytes_of(zeros, RECORD)}, back;
    char text[MSG_TEXT_MAX];
    uint64_t began = clock_ns();
    for (int i = 0; i < N; i++) {
        buf_clear(&b);
        msg_encode(&m, &b);
    }
    uint64_t encoded = clock_ns();
    for (int i = 0; i < N; i++)
        must(msg_decode(buf_bytes(&b), &back, text) == 0);
    uint64_t decoded = clock_ns();
    printf("%-44s encode %.0f ns, decode %.0f ns\n", "codec, one record of 64 bytes",
           (double)(encoded - began) / N, (double)(decoded - encoded) / N);
    buf_free(&b);
}

static void post_nothing(void *ctx)
{
    ++*(uint64_t *)ctx;
}

static void posts(void)
{
    enum { N = 200000 };
    uint64_t ran = 0, began = clock_ns();
    for (int i = 0; i < N; i++) {
        rpc_post(reactor, post_nothing, &ran);
        if (i % 64 == 63)
            rpc_run(reactor, 0, NULL, NULL);
    }
    run_until(reactor, &ran, N);
    printf("%-44s %.0f ns each\n", "posts, 64 at a time", (double)(clock_ns() - began) / N);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2]);
    char address[32];
    struct credentials me = test_credentials(ROLE_CONSUMER, "c1");
    pid_t server = spawn_server(address);
    must(rpc_new(&reactor) == 0);
    codec();
    posts();
    dial_all(address, &me);
    ping();
    flood("1 stream, 1 record a message, window 512", 1, 1, 512, 300000);
    flood("8 streams, 1 record a message, window 512", STREAMS, 1, 512, 600000);
    flood("8 streams, up to 64 a message, window 1024", STREAMS, 64, 1024, 6000000);
    flood("8 streams, up to 1024 a message, window 4096", STREAMS, 1024, 4096, 20000000);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    rpc_free(reactor);
    pki_unload(&me);
    return 0;
}
