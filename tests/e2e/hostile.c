/* Peers with valid certificates that do what they may not, and strangers without any: each is told why,
 * nothing that the server holds changes, and the job that was there all the time ends right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/commit.h"
#include "proto/msg.h"
#include "proto/rpc.h"
#include "tests/support/chaos.h"

#define PRODUCE "/cx.TaskServer/Produce"
#define CONSUME "/cx.TaskServer/Consume"
#define BLOBS   "/cx.TaskServer/Blobs"
#define SENDS   8192

/* ---- A peer ---- */

struct peer {
    struct rpc *rpc;
    struct rpc_stream *stream;
    struct credentials me;
    struct buf send[SENDS]; /* owned: messages still to be sent are at..n */
    unsigned n, at;
    unsigned welcomes, statuses, refusals, closed;
    int code, closed_code;
    char text[MSG_TEXT_MAX], why[RPC_WHY_MAX];
    struct buf grants;
};

static int on_message(void *ctx, struct rpc_stream *s, struct bytes data, char *why)
{
    (void)s;
    struct peer *p = ctx;
    cx_Msg m;
    int err = msg_decode(data, &m, why);
    if (err < 0)
        return err;
    if (m.which_body == cx_Msg_welcome_tag)
        p->welcomes++;
    if (m.which_body == cx_Msg_grants_tag)
        buf_add(&p->grants, m.body.grants.records.data, m.body.grants.records.len);
    if (m.which_body == cx_Msg_status_tag) {
        p->statuses++;
        p->refusals += m.body.status.code != 0;
        p->code = m.body.status.code;
        msg_str(p->text, sizeof p->text, m.body.status.text);
    }
    return 0;
}

static bool on_fill(void *ctx, struct rpc_stream *s, struct buf *out)
{
    (void)s;
    struct peer *p = ctx;
    if (p->at == p->n)
        return false;
    buf_add(out, p->send[p->at].data, p->send[p->at].len);
    p->at++;
    return true;
}

static void on_closed(void *ctx, struct rpc_stream *s, int code, const char *why)
{
    (void)s;
    struct peer *p = ctx;
    p->closed++;
    p->closed_code = code;
    snprintf(p->why, sizeof p->why, "%s", why);
}

static const struct rpc_handler handler = {.message = on_message, .fill = on_fill, .closed = on_closed};

static struct peer *peer_open(struct testnet *t, enum role role, const char *method)
{
    struct peer *p = calloc(1, sizeof *p);
    char why[LAUNCH_WHY_MAX] = "", name[64];
    const char *dir = t->network.credentials;
    assert_non_null(p);
    snprintf(name, sizeof name, "%s-evil", role_name(role));
    if (pki_load(dir, role, name, &p->me, why, sizeof why) != 0 &&
        (pki_issue(dir, role, "evil", 1, why, sizeof why) != 0 ||
         pki_load(dir, role, name, &p->me, why, sizeof why) != 0))
        fail_msg("%s", why);
    assert_int_equal(rpc_new(&p->rpc), 0);
    assert_int_equal(
        rpc_dial(p->rpc, t->network.address, ROLE_SERVER, &p->me, method, &handler, p, &p->stream), 0);
    return p;
}

static void peer_free(struct peer *p)
{
    rpc_free(p->rpc);
    for (unsigned i = 0; i < p->n; i++)
        buf_free(&p->send[i]);
    buf_free(&p->grants);
    pki_unload(&p->me);
    free(p);
}

static void peer_until(struct peer *p, const unsigned *counter, unsigned n)
{
    uint64_t limit = clock_us() + (uint64_t)TESTNET_LIMIT_MS * 1000;
    while (*counter < n) {
        if (p->closed && counter != &p->closed)
            fail_msg("the server closed the stream: %d, %s", p->closed_code, p->why);
        if (clock_us() > limit)
            fail_msg("the server says nothing; last: %d, %s", p->code, p->text);
        rpc_run(p->rpc, limit, NULL, NULL);
    }
}

static struct buf *next(struct peer *p)
{
    assert_true(p->n < SENDS);
    if (!p->closed)
        rpc_wake(p->stream);
    return &p->send[p->n++];
}

static void say(struct peer *p, const cx_Msg *m)
{
    msg_encode(m, next(p));
}

static void say_hello(struct peer *p)
{
    cx_Msg m = {.which_body = cx_Msg_hello_tag};
    m.body.hello = (cx_Hello){.version = PROTOCOL_VERSION,
                              .software = bytes_str("evil"),
                              .arch = bytes_str("x86_64"),
                              .threads = 1};
    say(p, &m);
}

static void say_packed(struct peer *p, unsigned kind, struct bytes records)
{
    cx_Msg m = {.which_body = (pb_size_t)kind, .body.commits.records = records};
    say(p, &m);
}

/* ---- Protobuf by hand, since our own encoder refuses to break the rules ---- */

static void put_field(struct buf *b, unsigned field, const void *data, size_t len)
{
    put_varint(b, field << 3 | 2);
    put_bytes(b, bytes_of(data, len));
}

static void put_number(struct buf *b, unsigned field, uint64_t v)
{
    put_varint(b, field << 3);
    put_varint(b, v);
}

static void say_body(struct peer *p, unsigned kind, const struct buf *body)
{
    struct buf *b = next(p);
    put_number(b, 1, 7);
    put_field(b, kind, body->data, body->len);
}

/* ---- What is refused with the end of the stream ---- */

static const uint8_t zeros[32];

static void say_noise(struct peer *p)
{
    buf_add(next(p), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
}

static void say_nothing(struct peer *p)
{
    put_number(next(p), 1, 7);
}

static void say_cut_short(struct peer *p)
{
    struct buf *b = next(p);
    put_varint(b, cx_Msg_submit_tag << 3 | 2);
    put_varint(b, 1000);
}

static void say_job_id(struct peer *p, unsigned kind, size_t len)
{
    struct buf body = {0};
    put_field(&body, 1, zeros, len);
    say_body(p, kind, &body);
    buf_free(&body);
}

static void say_short_id(struct peer *p)
{
    say_job_id(p, cx_Msg_watch_tag, 15);
}

static void say_label(struct peer *p, const char *label, size_t len)
{
    struct buf body = {0};
    put_field(&body, 1, zeros, 16);
    put_field(&body, 10, label, len);
    say_body(p, cx_Msg_submit_tag, &body);
    buf_free(&body);
}

static void say_long_label(struct peer *p)
{
    char label[256];
    memset(label, 'l', sizeof label);
    say_label(p, label, sizeof label);
}

static void say_label_of_no_text(struct peer *p)
{
    say_label(p, "\xc0\xaf", 2);
}

static void say_five_modules(struct peer *p)
{
    struct buf body = {0}, module = {0};
    put_field(&body, 1, zeros, 16);
    put_field(&module, 2, zeros, 32);
    for (int i = 0; i < 5; i++)
        put_field(&body, 2, module.data, module.len);
    say_body(p, cx_Msg_submit_tag, &body);
    buf_free(&module);
    buf_free(&body);
}

static void say_wide_window(struct peer *p)
{
    struct buf body = {0};
    put_number(&body, 1, (1u << 20) + 1);
    say_body(p, cx_Msg_window_tag, &body);
    buf_free(&body);
}

static void say_window(struct peer *p)
{
    cx_Msg m = {.which_body = cx_Msg_window_tag, .body.window.grants = 0};
    say(p, &m);
}

static void say_noisy_commits(struct peer *p)
{
    say_packed(p, cx_Msg_commits_tag, bytes_str("\x01this is no commit at all, and it is long enough"));
}

static void say_noisy_holds(struct peer *p)
{
    say_packed(p, cx_Msg_holds_tag, bytes_of(zeros, 31));
}

static void say_wrong_version(struct peer *p)
{
    cx_Msg m = {.which_body = cx_Msg_hello_tag, .body.hello.version = PROTOCOL_VERSION + 1};
    say(p, &m);
}

static void say_no_threads(struct peer *p)
{
    cx_Msg m = {.which_body = cx_Msg_hello_tag, .body.hello.version = PROTOCOL_VERSION};
    say(p, &m);
}

static void say_cancel(struct peer *p)
{
    say_job_id(p, cx_Msg_cancel_tag, 16);
}

static void say_put(struct peer *p)
{
    cx_Msg m = {.req = 1, .which_body = cx_Msg_blob_put_tag};
    m.body.blob_put = (cx_BlobRef){.sha256 = bytes_of(zeros, 32), .size = 5};
    say(p, &m);
}

static void say_huge_put(struct peer *p)
{
    struct buf body = {0};
    put_field(&body, 1, zeros, 32);
    put_number(&body, 2, (uint64_t)BLOB_BYTES_MAX + 1);
    say_body(p, cx_Msg_blob_put_tag, &body);
    buf_free(&body);
}

static void say_chunk_of_nothing(struct peer *p)
{
    cx_Msg m = {.req = 1, .which_body = cx_Msg_blob_chunk_tag, .body.blob_chunk.last = true};
    say(p, &m);
}

static const struct offence {
    const char *what;
    enum role role;
    const char *method;
    bool hello;
    void (*say)(struct peer *p);
    int code;
    const char *says;
} offences[] = {
    {"noise", ROLE_CONSUMER, CONSUME, true, say_noise, CX_EPROTO, ""},
    {"no body", ROLE_CONSUMER, CONSUME, true, say_nothing, CX_EPROTO, ""},
    {"cut short", ROLE_CONSUMER, CONSUME, true, say_cut_short, CX_EPROTO, ""},
    {"job id of 15 bytes", ROLE_CONSUMER, CONSUME, true, say_short_id, CX_EPROTO, "watch.job"},
    {"label too long", ROLE_CONSUMER, CONSUME, true, say_long_label, CX_ELIMIT, "submit.label"},
    {"label no UTF-8", ROLE_CONSUMER, CONSUME, true, say_label_of_no_text, CX_EPROTO, "submit.label"},
    {"five modules", ROLE_CONSUMER, CONSUME, true, say_five_modules, CX_EPROTO, ""},
    {"window too wide", ROLE_PRODUCER, PRODUCE, true, say_wide_window, CX_ELIMIT, "window.grants"},
    {"noise for commits", ROLE_PRODUCER, PRODUCE, true, say_noisy_commits, CX_EPROTO, "malformed"},
    {"noise for holds", ROLE_PRODUCER, PRODUCE, true, say_noisy_holds, CX_EPROTO, "malformed"},
    {"a consumer that produces", ROLE_CONSUMER, PRODUCE, true, say_window, CX_EAUTH, "consumer"},
    {"a producer that consumes", ROLE_PRODUCER, CONSUME, true, say_cancel, CX_EAUTH, "producer"},
    {"a producer that cancels", ROLE_PRODUCER, PRODUCE, true, say_cancel, CX_EPROTO, "cancel"},
    {"a consumer that commits", ROLE_CONSUMER, CONSUME, true, say_noisy_commits, CX_EPROTO, "commits"},
    {"a producer that puts", ROLE_PRODUCER, BLOBS, false, say_put, CX_EAUTH, "producer"},
    {"another version", ROLE_PRODUCER, PRODUCE, false, say_wrong_version, CX_EVERSION, "version"},
    {"another version", ROLE_CONSUMER, CONSUME, false, say_wrong_version, CX_EVERSION, "version"},
    {"a producer without threads", ROLE_PRODUCER, PRODUCE, false, say_no_threads, CX_EINVAL, "threads"},
    {"no hello", ROLE_PRODUCER, PRODUCE, false, say_window, CX_EPROTO, "hello"},
    {"no hello", ROLE_CONSUMER, CONSUME, false, say_cancel, CX_EPROTO, "hello"},
    {"hello twice", ROLE_PRODUCER, PRODUCE, true, say_hello, CX_EPROTO, "hello"},
    {"a blob over the limit", ROLE_CONSUMER, BLOBS, false, say_huge_put, CX_ELIMIT, "blob_put.size"},
    {"a chunk without a put", ROLE_CONSUMER, BLOBS, false, say_chunk_of_nothing, CX_EPROTO, "blob_chunk"},
    {"a server's method", ROLE_CONSUMER, "/cx.TaskServer/Nothing", false, say_nothing, CX_EVERSION, ""},
};

static void offend(struct testnet *t, const struct offence *o)
{
    struct peer *p = peer_open(t, o->role, o->method);
    if (o->hello)
        say_hello(p);
    o->say(p);
    peer_until(p, &p->closed, 1);
    if (p->closed_code != o->code || strstr(p->why, o->says) == NULL)
        fail_msg("%s: the stream ended with %s (%s), want %s and \"%s\"", o->what,
                 cx_err_name(p->closed_code), p->why, cx_err_name(o->code), o->says);
    assert_true(p->why[0] != '\0');
    peer_free(p);
}

/* ---- The honest job, and what the server holds ---- */

#define HONEST "00000000000000000000000000b0b0b0"

struct held {
    struct testnet *net;
    char *jobs, *server;
};

static bool holds_the_same(void *ctx)
{
    struct held *h = ctx;
    char *jobs = listing_of(h->net, "jobs"), *server = listing_of(h->net, "status");
    bool same = strcmp(jobs, h->jobs) == 0 && strcmp(server, h->server) == 0;
    if (!same)
        fprintf(stderr, "now  %s %s\nthen %s %s\n", jobs, server, h->jobs, h->server);
    free(jobs);
    free(server);
    return same;
}

static struct held honest_begin(struct testnet *t)
{
    testnet_expect(t, 0, NULL, "submit", "--id", HONEST, built("tests/modules/spin.so"), "spins", "50",
                   "1000", NULL);
    return (struct held){.net = t, .jobs = listing_of(t, "jobs"), .server = listing_of(t, "status")};
}

static void honest_end(struct held *h)
{
    testnet_until("the server holds what it held", holds_the_same, h);
    free(h->jobs);
    free(h->server);
    testnet_add_producers(h->net, 1);
    testnet_expect(h->net, 0, "50\n", "wait", HONEST, NULL);
    testnet_passed(h->net);
}

static void what_may_not_be_said_is_refused(void **state)
{
    struct testnet *t = *state;
    struct held held = honest_begin(t);
    for (size_t i = 0; i < sizeof offences / sizeof offences[0]; i++)
        offend(t, &offences[i]);
    honest_end(&held);
}

/* ---- Forged commits ---- */

/* A producer that was granted the honest job's root, which it now knows all about. */
static struct peer *granted(struct testnet *t, struct grant *g)
{
    struct peer *p = peer_open(t, ROLE_PRODUCER, PRODUCE);
    cx_Msg m = {.which_body = cx_Msg_window_tag, .body.window.grants = 1};
    say_hello(p);
    say(p, &m);
    while (p->grants.len == 0 && !p->closed)
        rpc_run(p->rpc, clock_us() + 1000000, NULL, NULL);
    assert_int_equal(p->closed, 0);
    struct reader r = reader_of(buf_bytes(&p->grants));
    assert_true(grant_get(&r, g));
    return p;
}

static void put_answer(struct buf *body, struct ref to)
{
    put_set(body, to, cx_v_i64(666), (struct ref){0});
}

static void say_commit(struct peer *p, struct id job, struct id task, uint64_t hash, const struct buf *body)
{
    struct buf b = {0};
    struct commit c = {
        .kind = COMMIT_DONE, .job = job, .task = task, .hash = hash, .executed = 1, .body = buf_bytes(body)};
    commit_put(&b, &c);
    say_packed(p, cx_Msg_commits_tag, buf_bytes(&b));
    buf_free(&b);
}

/* Commits that name what was never granted are passed over or faulted; none counts. */
static void forged_commits_count_for_nothing(void **state)
{
    struct testnet *t = *state;
    struct held held = honest_begin(t);
    struct grant g;
    struct buf body = {0}, beyond = {0};
    put_answer(&body, (struct ref){.inherited = true});
    put_answer(&beyond, (struct ref){.inherited = true, .index = 3});
    struct peer *p = granted(t, &g);
    say_commit(p, g.job, g.task, g.hash + 1, &body);          /* other content */
    say_commit(p, (struct id){7, 7}, g.task, g.hash, &body);  /* no such job */
    say_commit(p, g.job, id_child(g.task, 1), g.hash, &body); /* no such task */
    say_commit(p, g.job, g.task, g.hash, &beyond);            /* an address that it was not given */
    peer_until(p, &p->closed, 1);
    assert_int_equal(p->closed_code, CX_EPROTO);
    assert_non_null(strstr(p->why, "was not given"));
    peer_free(p);
    p = peer_open(t, ROLE_PRODUCER, PRODUCE); /* another stream, to which nothing was granted */
    say_hello(p);
    say_commit(p, g.job, g.task, g.hash, &body);
    peer_until(p, &p->closed, 1);
    assert_int_equal(p->closed_code, CX_EPROTO);
    assert_non_null(strstr(p->why, "not granted"));
    peer_free(p);
    buf_free(&body);
    buf_free(&beyond);
    honest_end(&held);
}

/* ---- Blobs ---- */

static void put_blob(struct peer *p, const char *sent, uint64_t announced, int code, const char *says)
{
    uint8_t sha256[32];
    unsigned before = p->statuses;
    sha256_of(bytes_str("honest"), sha256);
    cx_Msg put = {.req = before + 1, .which_body = cx_Msg_blob_put_tag};
    cx_Msg chunk = {.req = before + 1, .which_body = cx_Msg_blob_chunk_tag};
    put.body.blob_put = (cx_BlobRef){.sha256 = bytes_of(sha256, 32), .size = announced};
    chunk.body.blob_chunk = (cx_BlobChunk){.data = bytes_str(sent), .last = true};
    say(p, &put);
    say(p, &chunk);
    peer_until(p, &p->statuses, before + 1);
    if (p->code != code || strstr(p->text, says) == NULL)
        fail_msg("%s: %s (%s), want %s and \"%s\"", sent, cx_err_name(p->code), p->text, cx_err_name(code),
                 says);
}

static void blobs_are_what_their_names_say(void **state)
{
    struct testnet *t = *state;
    struct held held = honest_begin(t);
    struct peer *p = peer_open(t, ROLE_CONSUMER, BLOBS);
    put_blob(p, "forged", 6, CX_EPROTO, "");
    put_blob(p, "honest and more", 6, CX_EPROTO, "");
    put_blob(p, "hon", 6, CX_EPROTO, "");
    put_blob(p, "honest", 6, CX_OK, "");
    peer_free(p);
    honest_end(&held);
}

/* ---- Floods ---- */

static void say_submit(struct peer *p, uint64_t req, struct bytes module, struct bytes job)
{
    cx_Msg m = {.req = req, .which_body = cx_Msg_submit_tag};
    m.body.submit = (cx_Submit){.job = job, .module_count = 1, .functions = bytes_str("f"), .fn = FN_FIRST};
    m.body.submit.module[0] = (cx_Module){.arch = bytes_str("x86_64"), .sha256 = module};
    say(p, &m);
}

/* More jobs than the server takes: those beyond are refused, those before are as they were. */
static void a_flood_of_submits_is_stopped(void **state)
{
    static const char *const options[] = {"--jobs-max", "9", NULL};
    struct testnet *t = *state;
    uint8_t module[32], job[16] = {0};
    t->server_options = options;
    testnet_start_broker(t);
    testnet_start_server(t);
    struct held held = honest_begin(t);
    struct peer *p = peer_open(t, ROLE_CONSUMER, CONSUME), *blobs = peer_open(t, ROLE_CONSUMER, BLOBS);
    sha256_of(bytes_str("honest"), module);
    put_blob(blobs, "honest", 6, CX_OK, "");
    peer_free(blobs);
    say_hello(p);
    for (unsigned i = 1; i <= 5000; i++) {
        memcpy(job, &i, sizeof i);
        say_submit(p, i, bytes_of(module, 32), bytes_of(job, 16));
    }
    peer_until(p, &p->statuses, 5000);
    assert_int_equal(p->refusals, 5000 - 8);
    assert_true(p->text[0] != '\0' && (p->code == CX_ELIMIT || p->code == CX_EFULL));
    for (unsigned i = 1; i <= 8; i++) {
        memcpy(job, &i, sizeof i);
        cx_Msg m = {.req = i, .which_body = cx_Msg_cancel_tag, .body.cancel.job = bytes_of(job, 16)};
        say(p, &m);
        m = (cx_Msg){.req = i, .which_body = cx_Msg_forget_tag, .body.forget.job = bytes_of(job, 16)};
        say(p, &m);
    }
    peer_until(p, &p->statuses, 5016);
    peer_free(p);
    free(held.server); /* the log is longer now */
    held.server = listing_of(t, "status");
    honest_end(&held);
}

static void a_consumer_that_does_not_read_harms_nobody(void **state)
{
    struct testnet *t = *state;
    struct command deaf;
    testnet_add_producers(t, 1);
    testnet_expect(t, 0, NULL, "submit", "--id", HONEST, built("tests/modules/spin.so"), "spins", "100",
                   "10000", NULL);
    testnet_cx_start(t, &deaf, "wait", HONEST, NULL);
    runner_wait(t->network.producer[0].pid);
    command_signal(&deaf, SIGSTOP);
    testnet_expect(t, 0, "100\n", "wait", HONEST, NULL);
    command_signal(&deaf, SIGCONT);
    command_expect(&deaf, 0, "100\n");
    command_free(&deaf);
    testnet_passed(t);
}

/* ---- Strangers ---- */

/* Sends what it is told, reads until the server closes; whatever comes back, it must not be an answer. */
static void stranger(const struct testnet *t, const void *data, size_t len)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)t->network.server.port)};
    char back[4096];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    assert_true(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    assert_true(send(fd, data, len, MSG_NOSIGNAL) == (ssize_t)len);
    shutdown(fd, SHUT_WR);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ssize_t n = 1, all = 0;
    while (n > 0) {
        if (poll(&p, 1, TESTNET_LIMIT_MS) <= 0)
            fail_msg("the server keeps a stranger's connection open");
        n = recv(fd, back, sizeof back, 0);
        all += n > 0 ? n : 0;
    }
    assert_true(all < 64); /* a TLS alert */
    close(fd);
}

static void strangers_get_nothing(void **state)
{
    /* The preface of HTTP/2, settings, and a HEADERS frame: gRPC in the clear. */
    static const char clear[] =
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\5\1\4\0\0\0\1\203\206\204\101\0";
    struct testnet *t = *state;
    struct chaos chaos = chaos_begin("strangers get nothing");
    struct held held = honest_begin(t);
    uint8_t noise[8192];
    stranger(t, clear, sizeof clear - 1);
    stranger(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    for (int i = 0; i < 8; i++) {
        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = (uint8_t)chaos_below(&chaos, 256);
        stranger(t, noise, 1 + chaos_below(&chaos, sizeof noise));
    }
    honest_end(&held);
}

#define ON_NET(test) cmocka_unit_test_setup_teardown(test, testnet_setup, testnet_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_NET(what_may_not_be_said_is_refused),
        ON_NET(forged_commits_count_for_nothing),
        ON_NET(blobs_are_what_their_names_say),
        cmocka_unit_test_setup_teardown(a_flood_of_submits_is_stopped, testnet_setup_empty, testnet_teardown),
        ON_NET(a_consumer_that_does_not_read_harms_nobody),
        ON_NET(strangers_get_nothing),
    };
    cmocka_set_test_filter(getenv("CX_TEST_FILTER")); /* NULL: all of them */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
