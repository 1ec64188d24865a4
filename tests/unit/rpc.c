/* Real streams over loopback: what the runtime promises in proto/rpc.h. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "proto/msg.h"
#include "proto/pki_internal.h"
#include "proto/rpc.h"
#include "tests/support/loopback.h"

#define ECHO "/cx.Test/Echo"
#define ANY  (1u << ROLE_CONSUMER | 1u << ROLE_ADMIN)

/* A reactor that serves one method, and dials itself. */
struct world {
    struct rpc *rpc;
    struct credentials server, client;
    struct end far; /* the server's end of the last stream */
    struct end near;
    struct rpc_service service;
    char address[64];
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    int port;
    char why[RPC_WHY_MAX];
    assert_non_null(w);
    w->server = test_credentials(ROLE_SERVER, NULL);
    w->client = test_credentials(ROLE_CONSUMER, "c1");
    w->far.echo = true;
    w->service = (struct rpc_service){ECHO, ANY, &end_handler, &w->far};
    assert_int_equal(rpc_new(&w->rpc), 0);
    if (rpc_listen(w->rpc, "127.0.0.1:0", &w->server, &w->service, 1, &port, why) != 0)
        fail_msg("%s", why);
    snprintf(w->address, sizeof w->address, "127.0.0.1:%d", port);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    rpc_free(w->rpc);
    pki_unload(&w->server);
    pki_unload(&w->client);
    buf_free(&w->near.out);
    buf_free(&w->far.out);
    free(w);
    return 0;
}

static void dial_as(struct world *w, struct end *e, enum role peer, const struct credentials *me,
                    const char *method)
{
    assert_int_equal(rpc_dial(w->rpc, w->address, peer, me, method, &end_handler, e, &e->stream), 0);
}

static void dial(struct world *w, struct end *e)
{
    dial_as(w, e, ROLE_SERVER, &w->client, ECHO);
}

static void expect_closed(struct rpc *r, const struct end *e, int code, const char *text)
{
    run_until_closed(r, e);
    if (e->code != code || !strstr(e->why, text))
        fail_msg("closed with %s \"%s\", want %s \"%s\"", cx_err_name(e->code), e->why, cx_err_name(code),
                 text);
    assert_int_equal(e->closed, 1);
}

/* ---- Messages ---- */

static void a_message_goes_there_and_back(void **state)
{
    struct world *w = *state;
    dial(w, &w->near);
    assert_ptr_equal(rpc_ctx(w->near.stream), &w->near);
    end_send(&w->near, "hello", 5);
    run_until(w->rpc, &w->near.got, 1);
    assert_int_equal(w->near.got_bytes, 5);
    assert_true(w->near.got_sum == sum_of(bytes_str("hello")));
    const struct identity *peer = rpc_peer(w->far.stream);
    assert_int_equal(peer->role, ROLE_CONSUMER);
    assert_string_equal(peer->name, "c1");
}

static void a_server_may_speak_first(void **state)
{
    struct world *w = *state;
    buf_add(&w->far.out, "welcome", 7);
    dial(w, &w->near);
    run_until(w->rpc, &w->near.got, 1);
    assert_int_equal(w->near.got_bytes, 7);
}

static void an_empty_message_is_a_message(void **state)
{
    struct world *w = *state;
    w->far.echo = false;
    w->near.pump = 1;
    w->near.pump_bytes = 0;
    dial(w, &w->near);
    rpc_wake(w->near.stream);
    run_until(w->rpc, &w->far.got, 1);
    assert_int_equal(w->far.got_bytes, 0);
}

static void large_messages_arrive_whole(void **state)
{
    struct world *w = *state;
    struct buf b = {0};
    size_t size = 30u << 20;
    buf_reserve(&b, size);
    for (size_t i = 0; i < size; i++)
        b.data[i] = (uint8_t)(i * 2654435761u >> 13);
    b.len = size;
    dial(w, &w->near);
    end_send(&w->near, b.data, b.len);
    run_until(w->rpc, &w->near.got, 1);
    assert_int_equal(w->near.got_bytes, size);
    assert_true(w->near.got_sum == sum_of(buf_bytes(&b)));
    buf_free(&b);
}

/* Sizes around each way of making and taking slices. */
static void messages_of_every_size(void **state)
{
    struct world *w = *state;
    dial(w, &w->near);
    uint64_t bytes = 0;
    for (size_t size = 1; size < 300000; size = size * 3 / 2 + 1) {
        uint8_t *data = malloc(size);
        memset(data, (int)size, size);
        end_send(&w->near, data, size);
        run_until(w->rpc, &w->near.got_bytes, bytes += size);
        free(data);
    }
    assert_true(w->near.got_sum == w->far.got_sum);
}

static void pumped_messages_keep_their_order_and_number(void **state)
{
    struct world *w = *state;
    w->far.echo = false;
    w->near.pump = 5000;
    w->near.pump_bytes = 100;
    dial(w, &w->near);
    rpc_wake(w->near.stream);
    run_until(w->rpc, &w->far.got, 5000);
    assert_int_equal(w->far.got_bytes, 500000);
}

static void what_is_too_large_to_send_closes_the_stream(void **state)
{
    struct world *w = *state;
    w->near.pump = 1;
    w->near.pump_bytes = MSG_BYTES_MAX + 1;
    dial(w, &w->near);
    rpc_wake(w->near.stream);
    expect_closed(w->rpc, &w->near, CX_ELIMIT, "limit 41943040");
}

static void many_streams(void **state)
{
    struct world *w = *state;
    enum { N = 100 };
    static struct end near[N];
    memset(near, 0, sizeof near);
    w->far.echo = false;
    for (int i = 0; i < N; i++) {
        near[i].pump = 20;
        near[i].pump_bytes = 1000;
        dial(w, &near[i]);
        rpc_wake(near[i].stream);
    }
    run_until(w->rpc, &w->far.got, N * 20);
    for (int i = 0; i < N; i++)
        rpc_close(near[i].stream, 0, "");
    for (int i = 0; i < N; i++)
        expect_closed(w->rpc, &near[i], 0, "");
    while (w->far.closed < N)
        rpc_run(w->rpc, UINT64_MAX, NULL, NULL);
    assert_int_equal(w->far.got, N * 20);
}

/* ---- Closing ---- */

static void half_close_sends_what_is_there_and_gets_the_answers(void **state)
{
    struct world *w = *state;
    w->near.pump = 50;
    w->near.pump_bytes = 10;
    dial(w, &w->near);
    rpc_wake(w->near.stream);
    rpc_close(w->near.stream, 0, "");
    expect_closed(w->rpc, &w->near, 0, "");
    expect_closed(w->rpc, &w->far, 0, "");
    assert_int_equal(w->far.got, 50);
    assert_int_equal(w->near.got_bytes, 500);
}

static void a_server_s_close_in_order(void **state)
{
    struct world *w = *state;
    dial(w, &w->near);
    end_send(&w->near, "x", 1);
    run_until(w->rpc, &w->near.got, 1);
    w->far.pump = 3;
    w->far.pump_bytes = 7;
    rpc_wake(w->far.stream);
    rpc_close(w->far.stream, 0, "");
    expect_closed(w->rpc, &w->near, 0, "");
    expect_closed(w->rpc, &w->far, 0, "");
    assert_int_equal(w->near.got_bytes, 1 + 3 * 7);
}

static void every_code_arrives_as_it_was_sent(void **state)
{
    struct world *w = *state;
    for (int code = -1; code >= CX_EINTERNAL; code--) {
        struct end near = {0};
        w->far = (struct end){.echo = true};
        dial(w, &near);
        end_send(&near, "x", 1);
        run_until(w->rpc, &near.got, 1);
        rpc_close(w->far.stream, code, "because: 100% na\xc3\xafve");
        expect_closed(w->rpc, &near, code, "because: 100% na\xc3\xafve");
        expect_closed(w->rpc, &w->far, code, "because");
    }
}

static void a_bad_message_closes_with_the_handler_s_reason(void **state)
{
    struct world *w = *state;
    dial(w, &w->near);
    end_send(&w->near, "x", 1);
    run_until(w->rpc, &w->near.got, 1);
    w->far.refuse = CX_EPROTO;
    end_send(&w->near, "y", 1);
    expect_closed(w->rpc, &w->near, CX_EPROTO, "message 2 is bad");
    expect_closed(w->rpc, &w->far, CX_EPROTO, "message 2 is bad");
}

static void a_bad_answer_closes_too(void **state)
{
    struct world *w = *state;
    dial(w, &w->near);
    w->near.refuse = CX_EVERSION;
    end_send(&w->near, "x", 1);
    expect_closed(w->rpc, &w->near, CX_EVERSION, "message 1 is bad");
    expect_closed(w->rpc, &w->far, CX_ENONET, "gone");
}

static void a_client_s_cancel(void **state)
{
    struct world *w = *state;
    dial(w, &w->near);
    end_send(&w->near, "x", 1);
    run_until(w->rpc, &w->near.got, 1);
    rpc_close(w->near.stream, CX_ECANCELLED, "enough");
    rpc_close(w->near.stream, CX_EIO, "the first reason stays");
    expect_closed(w->rpc, &w->near, CX_ECANCELLED, "enough");
    expect_closed(w->rpc, &w->far, CX_ENONET, "gone");
}

static void a_cancel_after_a_half_close(void **state)
{
    struct world *w = *state;
    dial(w, &w->near);
    end_send(&w->near, "x", 1);
    run_until(w->rpc, &w->near.got, 1);
    rpc_close(w->near.stream, 0, "");
    rpc_close(w->near.stream, CX_ETIMEOUT, "waited enough");
    expect_closed(w->rpc, &w->near, CX_ETIMEOUT, "waited enough");
}

static void closing_before_anything_happened(void **state)
{
    struct world *w = *state;
    dial(w, &w->near);
    rpc_close(w->near.stream, CX_ECANCELLED, "changed my mind");
    expect_closed(w->rpc, &w->near, CX_ECANCELLED, "changed my mind");
}

static void freeing_closes_open_streams_once(void **state)
{
    struct world *w = *state;
    struct end other = {0}, early = {0};
    dial(w, &w->near);
    dial(w, &other);
    end_send(&w->near, "x", 1);
    run_until(w->rpc, &w->near.got, 1);
    dial(w, &early); /* not even connected */
    w->near.pump = 1000000;
    w->near.pump_bytes = 100000;
    rpc_wake(w->near.stream); /* in the middle of things */
    rpc_run(w->rpc, 0, NULL, NULL);
    rpc_free(w->rpc);
    assert_int_equal(w->near.closed, 1);
    assert_int_equal(other.closed, 1);
    assert_int_equal(early.closed, 1);
    assert_true(w->far.closed >= 1);
    assert_int_equal(w->far.code, CX_ENONET);
    w->rpc = NULL;
}

/* ---- Who may ---- */

static void other_roles_are_told(void **state)
{
    struct world *w = *state;
    struct credentials p = test_credentials(ROLE_PRODUCER, NULL);
    dial_as(w, &w->near, ROLE_SERVER, &p, ECHO);
    expect_closed(w->rpc, &w->near, CX_EAUTH,
                  "producer/p1 may not call /cx.Test/Echo; roles that may: consumer, admin");
    assert_int_equal(w->far.closed, 0); /* never accepted */
    pki_unload(&p);
}

static void unknown_methods_are_told(void **state)
{
    struct world *w = *state;
    dial_as(w, &w->near, ROLE_SERVER, &w->client, "/cx.Test/Nothing");
    expect_closed(w->rpc, &w->near, CX_EVERSION, "does not serve that method");
}

static void accept_may_refuse(void **state)
{
    struct world *w = *state;
    w->far.refuse = CX_EFULL;
    dial(w, &w->near);
    end_send(&w->near, "x", 1);
    expect_closed(w->rpc, &w->near, CX_EFULL, "not you, c1");
    assert_int_equal(w->far.closed, 0);
}

static void a_server_is_not_a_broker(void **state)
{
    struct world *w = *state;
    dial_as(w, &w->near, ROLE_BROKER, &w->client, ECHO);
    expect_closed(w->rpc, &w->near, CX_EAUTH, "broker.cx");
}

static void a_consumer_cannot_pose_as_a_server(void **state)
{
    struct world *w = *state;
    struct credentials impostor = test_credentials(ROLE_CONSUMER, "c2");
    struct rpc *r;
    int port;
    char why[RPC_WHY_MAX];
    assert_int_equal(rpc_new(&r), 0);
    assert_int_equal(rpc_listen(r, "127.0.0.1:0", &impostor, &w->service, 1, &port, why), 0);
    snprintf(w->address, sizeof w->address, "127.0.0.1:%d", port);
    assert_int_equal(
        rpc_dial(r, w->address, ROLE_SERVER, &w->client, ECHO, &end_handler, &w->near, &w->near.stream), 0);
    expect_closed(r, &w->near, CX_EAUTH, "");
    rpc_free(r);
    pki_unload(&impostor);
}

static void another_network_s_certificates(void **state)
{
    struct world *w = *state;
    char dir[] = "/tmp/cx-other-XXXXXX", why[256] = "", command[100];
    struct credentials stranger, mixed;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(pki_create_ca(dir, "other", 1, why, sizeof why), 0);
    assert_int_equal(pki_issue(dir, ROLE_CONSUMER, "x", 1, why, sizeof why), 0);
    assert_int_equal(pki_load(dir, ROLE_CONSUMER, NULL, &stranger, why, sizeof why), 0);
    dial_as(w, &w->near, ROLE_SERVER, &stranger, ECHO); /* does not know the server's CA */
    expect_closed(w->rpc, &w->near, CX_EAUTH, "");
    mixed = stranger;
    mixed.ca = w->client.ca; /* knows it, but is not known there */
    struct end near = {0};
    dial_as(w, &near, ROLE_SERVER, &mixed, ECHO);
    end_send(&near, "x", 1);
    run_until_closed(w->rpc, &near);
    assert_true(near.code == CX_EAUTH || near.code == CX_ENONET);
    assert_int_equal(w->far.got, 0);
    pki_unload(&stranger);
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

/* The certificate and key of an identity whose validity is over. */
static void an_expired_certificate(void **state)
{
    struct world *w = *state;
    char why[256] = "", path[100];
    struct credentials c = {0};
    time_t now = time(NULL);
    assert_int_equal(
        pki_issue_between(test_credentials_dir(), ROLE_ADMIN, "old", now - 100, now - 50, why, sizeof why),
        0);
    c.ca = w->client.ca;
    struct buf pem[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/admin-old.%s", test_credentials_dir(), i ? "key" : "crt");
        FILE *f = fopen(path, "r");
        buf_reserve(&pem[i], 8192);
        pem[i].len = fread(pem[i].data, 1, 8000, f);
        pem[i].data[pem[i].len] = 0;
        fclose(f);
        unlink(path);
    }
    c.cert = (char *)pem[0].data;
    c.key = (char *)pem[1].data;
    dial_as(w, &w->near, ROLE_SERVER, &c, ECHO);
    end_send(&w->near, "x", 1);
    run_until_closed(w->rpc, &w->near);
    assert_true(w->near.code == CX_EAUTH || w->near.code == CX_ENONET);
    assert_int_equal(w->far.got, 0);
    buf_free(&pem[0]);
    buf_free(&pem[1]);
}

static void write_deny(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void the_deny_list_is_read_on_each_call(void **state)
{
    struct world *w = *state;
    dial(w, &w->near);
    end_send(&w->near, "x", 1);
    run_until(w->rpc, &w->near.got, 1);
    write_deny(w->server.deny, "consumer/c1\n");
    struct end again = {0}, other = {0};
    dial(w, &again);
    expect_closed(w->rpc, &again, CX_EAUTH, "consumer/c1 is on the deny list");
    expect_closed(w->rpc, &w->near, CX_EAUTH, "deny list now"); /* and ends what is open */
    struct credentials c2 = test_credentials(ROLE_CONSUMER, "c2");
    dial_as(w, &other, ROLE_SERVER, &c2, ECHO);
    end_send(&other, "x", 1);
    run_until(w->rpc, &other.got, 1);
    unlink(w->server.deny);
    pki_unload(&c2);
    rpc_close(other.stream, 0, "");
    run_until_closed(w->rpc, &other);
}

static void a_stream_ends_with_its_certificate(void **state)
{
    struct world *w = *state;
    char why[256] = "";
    struct credentials c;
    time_t now = time(NULL);
    assert_int_equal(
        pki_issue_between(test_credentials_dir(), ROLE_ADMIN, "brief", now - 100, now + 2, why, sizeof why),
        0);
    c = test_credentials(ROLE_ADMIN, "brief");
    dial_as(w, &w->near, ROLE_SERVER, &c, ECHO);
    end_send(&w->near, "x", 1);
    run_until(w->rpc, &w->near.got, 1);
    expect_closed(w->rpc, &w->near, CX_EAUTH, "expired");
    pki_unload(&c);
}

/* ---- Addresses ---- */

static void nobody_listens(void **state)
{
    struct world *w = *state;
    strcpy(w->address, "127.0.0.1:1");
    dial(w, &w->near);
    end_send(&w->near, "x", 1);
    expect_closed(w->rpc, &w->near, CX_ENONET, "127.0.0.1:1");
}

static void no_such_host(void **state)
{
    struct world *w = *state;
    strcpy(w->address, "no-such-host.invalid:77");
    dial(w, &w->near);
    expect_closed(w->rpc, &w->near, CX_ENONET, "");
}

static void names_are_resolved(void **state)
{
    struct world *w = *state;
    char address[64];
    snprintf(address, sizeof address, "localhost%s", strchr(w->address, ':'));
    strcpy(w->address, address);
    dial(w, &w->near);
    end_send(&w->near, "x", 1);
    run_until(w->rpc, &w->near.got, 1);
}

static void bad_addresses(void **state)
{
    struct world *w = *state;
    static const char *const bad[] = {"", "host", ":1", "host:", "host:x", "host:1/2"};
    struct rpc_stream *s = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(rpc_dial(w->rpc, bad[i], ROLE_SERVER, &w->client, ECHO, &end_handler, &w->near, &s),
                         CX_EINVAL);
    assert_null(s);
}

static void a_port_in_use(void **state)
{
    struct world *w = *state;
    struct rpc *r;
    int port = 7;
    char why[RPC_WHY_MAX] = "";
    assert_int_equal(rpc_new(&r), 0);
    assert_int_equal(rpc_listen(r, w->address, &w->server, &w->service, 1, &port, why), CX_EIO);
    assert_non_null(strstr(why, w->address));
    assert_int_equal(port, 7);
    rpc_free(r);
}

/* ---- The reactor ---- */

static uint64_t posted; /* changed on the reactor thread alone */

static void count_post(void *ctx)
{
    posted += *(const uint64_t *)ctx;
}

static void *poster(void *arg)
{
    static const uint64_t one = 1;
    for (int i = 0; i < 5000; i++)
        rpc_post(arg, count_post, (void *)&one);
    return NULL;
}

static void posts_come_from_any_thread(void **state)
{
    struct world *w = *state;
    pthread_t t[4];
    posted = 0;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, poster, w->rpc), 0);
    run_until(w->rpc, &posted, 20000);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(posted, 20000);
}

struct order {
    struct rpc *rpc;
    uint64_t next, bad;
};
struct item {
    struct order *order;
    uint64_t number;
};

static void check_order(void *ctx)
{
    struct item *i = ctx;
    i->order->bad += i->number != i->order->next;
    i->order->next++;
    free(i);
}

static void *ordered_poster(void *arg)
{
    struct order *o = arg;
    for (uint64_t n = 0; n < 5000; n++) {
        struct item *i = malloc(sizeof *i);
        *i = (struct item){o, n};
        rpc_post(o->rpc, check_order, i);
    }
    return NULL;
}

static void posts_of_a_thread_keep_their_order(void **state)
{
    struct world *w = *state;
    struct order o = {.rpc = w->rpc};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, ordered_poster, &o), 0);
    run_until(w->rpc, &o.next, 5000);
    pthread_join(t, NULL);
    assert_int_equal(o.bad, 0);
}

static void posts_before_the_end_are_run(void **state)
{
    struct world *w = *state;
    static const uint64_t one = 1;
    posted = 0;
    rpc_post(w->rpc, count_post, (void *)&one);
    rpc_free(w->rpc);
    w->rpc = NULL;
    assert_int_equal(posted, 1);
}

static bool count_idle(void *ctx)
{
    ++*(uint64_t *)ctx;
    return false;
}

static void idle_is_asked_before_it_blocks(void **state)
{
    struct world *w = *state;
    uint64_t asked = 0;
    while (asked < 3)
        rpc_run(w->rpc, UINT64_MAX, count_idle, &asked);
    assert_int_equal(asked, 3);
}

static bool wake_when_idle(void *ctx)
{
    struct end *e = ctx;
    if (e->fills == 0)
        end_send(e, "x", 1);
    return true;
}

static void what_idle_wakes_is_sent(void **state)
{
    struct world *w = *state;
    dial(w, &w->near);
    while (w->near.got < 1)
        rpc_run(w->rpc, UINT64_MAX, wake_when_idle, &w->near);
}

static void the_deadline_ends_the_wait(void **state)
{
    struct world *w = *state;
    rpc_run(w->rpc, 0, NULL, NULL); /* long past */
    rpc_run(w->rpc, clock_us() + 3000, NULL, NULL);
}

/* ---- The other side dies: it is another process, this program with an argument ---- */

struct other {
    pid_t pid;
    int out; /* its standard output */
    char address[64];
};

/* The child: serves, says its port, echoes. */
static int serve(const char *dir)
{
    struct rpc *r;
    struct credentials me;
    struct end end = {.echo = true};
    struct rpc_service service = {ECHO, ANY, &end_handler, &end};
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

/* The child: dials and sends one message. */
static int call(const char *dir, const char *address)
{
    struct rpc *r;
    struct credentials me;
    struct end end = {.pump = 1, .pump_bytes = 1};
    char why[RPC_WHY_MAX];
    if (pki_load(dir, ROLE_CONSUMER, "c1", &me, why, sizeof why) != 0 || rpc_new(&r) != 0 ||
        rpc_dial(r, address, ROLE_SERVER, &me, ECHO, &end_handler, &end, &end.stream) != 0)
        return 1;
    rpc_wake(end.stream);
    while (!end.closed)
        rpc_run(r, UINT64_MAX, NULL, NULL);
    return 0;
}

static struct other spawn(const char *what, const char *address)
{
    struct other o = {0};
    int out[2];
    assert_int_equal(pipe(out), 0);
    o.pid = fork();
    assert_true(o.pid >= 0);
    if (o.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* not to outlive a test that fails */
        dup2(out[1], 1);
        execl("/proc/self/exe", "rpc", what, test_credentials_dir(), address, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    o.out = out[0];
    return o;
}

static struct other spawn_server(void)
{
    struct other o = spawn("serve", "");
    char port[16] = "";
    ssize_t n = read(o.out, port, sizeof port - 1);
    assert_true(n > 1);
    snprintf(o.address, sizeof o.address, "127.0.0.1:%d", atoi(port));
    return o;
}

static void reap(struct other *o)
{
    kill(o->pid, SIGKILL);
    waitpid(o->pid, NULL, 0);
    close(o->out);
}

static void a_killed_server_is_noticed(void **state)
{
    struct world *w = *state;
    struct other o = spawn_server();
    strcpy(w->address, o.address);
    dial(w, &w->near);
    end_send(&w->near, "x", 1);
    run_until(w->rpc, &w->near.got, 1);
    kill(o.pid, SIGKILL);
    expect_closed(w->rpc, &w->near, CX_ENONET, "");
    reap(&o);
}

/* It is found by keepalive; and as long as it takes nothing, no more than one message is asked for at a time.
 */
static void a_stopped_server_is_noticed(void **state)
{
    struct world *w = *state;
    struct other o = spawn_server();
    strcpy(w->address, o.address);
    dial(w, &w->near);
    end_send(&w->near, "x", 1);
    run_until(w->rpc, &w->near.got, 1);
    kill(o.pid, SIGSTOP);
    w->near.pump = 1000;
    w->near.pump_bytes = 4u << 20;
    rpc_wake(w->near.stream);
    expect_closed(w->rpc, &w->near, CX_ENONET, "");
    assert_true(w->near.fills < 20);
    reap(&o);
}

static void a_stopped_client_is_noticed(void **state)
{
    struct world *w = *state;
    struct other o = spawn("call", w->address);
    run_until(w->rpc, &w->far.got, 1);
    kill(o.pid, SIGSTOP);
    expect_closed(w->rpc, &w->far, CX_ENONET, "gone");
    reap(&o);
}

static void a_killed_client_is_noticed(void **state)
{
    struct world *w = *state;
    struct other o = spawn("call", w->address);
    run_until(w->rpc, &w->far.got, 1);
    kill(o.pid, SIGKILL);
    expect_closed(w->rpc, &w->far, CX_ENONET, "gone");
    reap(&o);
}

/* An idle stream lives: keepalive is answered, and the server does not take the pings for an attack. */
static void an_idle_stream_lives(void **state)
{
    struct world *w = *state;
    struct other o = spawn_server();
    strcpy(w->address, o.address);
    dial(w, &w->near);
    end_send(&w->near, "x", 1);
    run_until(w->rpc, &w->near.got, 1);
    for (uint64_t until = clock_us() + 3000000; clock_us() < until;)
        rpc_run(w->rpc, until, NULL, NULL);
    assert_int_equal(w->near.closed, 0);
    end_send(&w->near, "x", 1);
    run_until(w->rpc, &w->near.got, 2);
    reap(&o);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2]);
    if (argc == 4 && strcmp(argv[1], "call") == 0)
        return call(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        TEST(a_message_goes_there_and_back),
        TEST(a_server_may_speak_first),
        TEST(an_empty_message_is_a_message),
        TEST(large_messages_arrive_whole),
        TEST(messages_of_every_size),
        TEST(pumped_messages_keep_their_order_and_number),
        TEST(what_is_too_large_to_send_closes_the_stream),
        TEST(many_streams),
        TEST(half_close_sends_what_is_there_and_gets_the_answers),
        TEST(a_server_s_close_in_order),
        TEST(every_code_arrives_as_it_was_sent),
        TEST(a_bad_message_closes_with_the_handler_s_reason),
        TEST(a_bad_answer_closes_too),
        TEST(a_client_s_cancel),
        TEST(a_cancel_after_a_half_close),
        TEST(closing_before_anything_happened),
        TEST(freeing_closes_open_streams_once),
        TEST(other_roles_are_told),
        TEST(unknown_methods_are_told),
        TEST(accept_may_refuse),
        TEST(a_server_is_not_a_broker),
        TEST(a_consumer_cannot_pose_as_a_server),
        TEST(another_network_s_certificates),
        TEST(an_expired_certificate),
        TEST(the_deny_list_is_read_on_each_call),
        TEST(a_stream_ends_with_its_certificate),
        TEST(nobody_listens),
        TEST(no_such_host),
        TEST(names_are_resolved),
        TEST(bad_addresses),
        TEST(a_port_in_use),
        TEST(posts_come_from_any_thread),
        TEST(posts_of_a_thread_keep_their_order),
        TEST(posts_before_the_end_are_run),
        TEST(idle_is_asked_before_it_blocks),
        TEST(what_idle_wakes_is_sent),
        TEST(the_deadline_ends_the_wait),
        TEST(a_killed_server_is_noticed),
        TEST(a_stopped_server_is_noticed),
        TEST(a_stopped_client_is_noticed),
        TEST(a_killed_client_is_noticed),
        TEST(an_idle_stream_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
