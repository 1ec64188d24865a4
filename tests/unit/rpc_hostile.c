/* Peers that do not play by the rules: they get nothing, or a reason, and honest peers are served as before.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <grpc/byte_buffer.h>
#include <grpc/compression.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "proto/msg.h"
#include "proto/rpc.h"
#include "tests/support/loopback.h"

#define ECHO "/cx.Test/Echo"

struct world {
    struct rpc *rpc;
    struct credentials server, client;
    struct end far, near;
    struct rpc_service service;
    char address[64];
    int port;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    char why[RPC_WHY_MAX];
    assert_non_null(w);
    w->server = test_credentials(ROLE_SERVER, NULL);
    w->client = test_credentials(ROLE_CONSUMER, "c1");
    w->far.echo = true;
    w->service = (struct rpc_service){ECHO, 1u << ROLE_CONSUMER, &end_handler, &w->far};
    assert_int_equal(rpc_new(&w->rpc), 0);
    if (rpc_listen(w->rpc, "127.0.0.1:0", &w->server, &w->service, 1, &w->port, why) != 0)
        fail_msg("%s", why);
    snprintf(w->address, sizeof w->address, "127.0.0.1:%d", w->port);
    *state = w;
    return 0;
}

/* Whatever was done to it: the server serves the honest. */
static int teardown(void **state)
{
    struct world *w = *state;
    assert_int_equal(
        rpc_dial(w->rpc, w->address, ROLE_SERVER, &w->client, ECHO, &end_handler, &w->near, &w->near.stream),
        0);
    end_send(&w->near, "honest", 6);
    run_until(w->rpc, &w->near.got, 1);
    rpc_free(w->rpc);
    pki_unload(&w->server);
    pki_unload(&w->client);
    free(w);
    return 0;
}

/* ---- Without TLS ---- */

static int connect_raw(const struct world *w)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)w->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* Runs the server a little, so that the other side, which is here too, gets its turn. */
static void turn(struct world *w)
{
    rpc_run(w->rpc, clock_us() + 1000, NULL, NULL);
}

/* All that the server says until it hangs up. */
static size_t listen_until_end(struct world *w, int fd, uint8_t *out, size_t max)
{
    size_t n = 0;
    for (;;) {
        ssize_t got = recv(fd, out + n, max - n, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            return n;
        if (got > 0)
            n += (size_t)got;
        turn(w);
    }
}

static void gets_nothing(struct world *w, const void *data, size_t len)
{
    uint8_t answer[1024];
    int fd = connect_raw(w);
    assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
    size_t n = listen_until_end(w, fd, answer, sizeof answer);
    /* Nothing, or TLS alerts (record type 21), which carry seven bytes each and say nothing of us. */
    if (n > 0)
        assert_true(answer[0] == 21 && n <= 14);
    assert_int_equal(w->far.got, 0);
    close(fd);
}

static void plaintext_gets_nothing(void **state)
{
    static const char http2[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    gets_nothing(*state, http2, sizeof http2 - 1);
    gets_nothing(*state, http, sizeof http - 1);
}

static void garbage_gets_nothing(void **state)
{
    uint8_t junk[4096];
    uint64_t x = 1;
    for (int i = 0; i < 20; i++) {
        for (size_t k = 0; k < sizeof junk; k++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            junk[k] = (uint8_t)(x >> 56);
        }
        if (i % 2)
            memcpy(junk, "\x16\x03\x01\x0f\x00", 5); /* looks like a handshake */
        gets_nothing(*state, junk, sizeof junk);
    }
}

static void silent_connections_delay_nobody(void **state)
{
    struct world *w = *state;
    int fd[200];
    for (int i = 0; i < 200; i++) {
        fd[i] = connect_raw(w);
        if (i % 8 == 0)
            turn(w);
    }
    struct end near = {0};
    assert_int_equal(
        rpc_dial(w->rpc, w->address, ROLE_SERVER, &w->client, ECHO, &end_handler, &near, &near.stream), 0);
    end_send(&near, "x", 1);
    run_until(w->rpc, &near.got, 1);
    rpc_close(near.stream, 0, "");
    run_until_closed(w->rpc, &near);
    for (int i = 0; i < 200; i++)
        close(fd[i]);
}

/* ---- TLS, but not as it must be ---- */

static SSL_CTX *tls_context(const struct credentials *me)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(ctx);
    assert_int_equal(SSL_CTX_set_alpn_protos(ctx, (const uint8_t *)"\2h2", 3), 0);
    if (me) {
        BIO *c = BIO_new_mem_buf(me->cert, -1), *k = BIO_new_mem_buf(me->key, -1);
        X509 *cert = PEM_read_bio_X509(c, NULL, NULL, NULL);
        EVP_PKEY *key = PEM_read_bio_PrivateKey(k, NULL, NULL, NULL);
        assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
        X509_free(cert);
        EVP_PKEY_free(key);
        BIO_free(c);
        BIO_free(k);
    }
    return ctx;
}

/* Shakes hands and waits for a byte; true when one came. */
static bool tls_is_served(struct world *w, SSL_CTX *ctx, int *version)
{
    int fd = connect_raw(w), e;
    SSL *ssl = SSL_new(ctx);
    char byte;
    assert_int_equal(SSL_set_fd(ssl, fd), 1);
    do {
        turn(w);
        e = SSL_connect(ssl);
    } while (e != 1 &&
             (SSL_get_error(ssl, e) == SSL_ERROR_WANT_READ || SSL_get_error(ssl, e) == SSL_ERROR_WANT_WRITE));
    bool served = e == 1;
    *version = served ? SSL_version(ssl) : 0;
    while (served) {
        turn(w);
        e = SSL_read(ssl, &byte, 1);
        if (e == 1)
            break;
        served = SSL_get_error(ssl, e) == SSL_ERROR_WANT_READ;
    }
    SSL_free(ssl);
    close(fd);
    ERR_clear_error();
    return served;
}

static void no_certificate_no_service(void **state)
{
    struct world *w = *state;
    SSL_CTX *ctx = tls_context(NULL);
    int version;
    assert_false(tls_is_served(w, ctx, &version));
    SSL_CTX_free(ctx);
}

/* The control: the same client with a certificate is served, by TLS 1.3. */
static void a_certificate_is_served_by_tls_1_3(void **state)
{
    struct world *w = *state;
    SSL_CTX *ctx = tls_context(&w->client);
    int version;
    assert_true(tls_is_served(w, ctx, &version));
    assert_int_equal(version, TLS1_3_VERSION);
    SSL_CTX_free(ctx);
}

static void tls_1_2_is_not_spoken(void **state)
{
    struct world *w = *state;
    SSL_CTX *ctx = tls_context(&w->client);
    int version;
    assert_int_equal(SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION), 1);
    assert_false(tls_is_served(w, ctx, &version));
    SSL_CTX_free(ctx);
}

/* ---- gRPC, but not as our runtime speaks it ---- */

struct raw_call {
    grpc_completion_queue *queue;
    grpc_channel *channel;
    grpc_call *call;
    grpc_metadata_array initial, trailing;
    grpc_status_code status;
    grpc_slice details;
};

static void raw_dial(struct world *w, struct raw_call *c, grpc_compression_algorithm how)
{
    grpc_ssl_pem_key_cert_pair pair = {w->client.key, w->client.cert};
    grpc_channel_credentials *creds = grpc_ssl_credentials_create_ex(w->client.ca, &pair, NULL, NULL);
    grpc_arg args[] = {
        {GRPC_ARG_STRING, (char *)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, {.string = (char *)"server.cx"}},
        {GRPC_ARG_INTEGER, (char *)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, {.integer = 1}},
        {GRPC_ARG_INTEGER, (char *)GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM, {.integer = (int)how}}};
    grpc_channel_args list = {3, args};
    c->queue = grpc_completion_queue_create_for_next(NULL);
    c->channel = grpc_channel_create(w->address, creds, &list);
    grpc_channel_credentials_release(creds);
    c->call = grpc_channel_create_call(c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, c->queue,
                                       grpc_slice_from_static_string(ECHO), NULL,
                                       gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_metadata_array_init(&c->initial);
    grpc_metadata_array_init(&c->trailing);
    c->details = grpc_empty_slice();
}

/* Sends one message, and waits until the server has ended the call. */
static void raw_send(struct world *w, struct raw_call *c, grpc_byte_buffer *message)
{
    grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                      .data.recv_status_on_client = {.trailing_metadata = &c->trailing,
                                                     .status = &c->status,
                                                     .status_details = &c->details}};
    grpc_op rest[] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                      {.op = GRPC_OP_RECV_INITIAL_METADATA,
                       .data.recv_initial_metadata.recv_initial_metadata = &c->initial},
                      {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message}};
    int left = 2;
    assert_int_equal(grpc_call_start_batch(c->call, &status, 1, &status, NULL), GRPC_CALL_OK);
    assert_int_equal(grpc_call_start_batch(c->call, rest, 3, rest, NULL), GRPC_CALL_OK);
    while (left > 0) {
        left -= grpc_completion_queue_next(c->queue, gpr_inf_past(GPR_CLOCK_MONOTONIC), NULL).type ==
                GRPC_OP_COMPLETE;
        turn(w);
    }
    grpc_byte_buffer_destroy(message);
}

static void raw_free(struct raw_call *c)
{
    grpc_metadata_array_destroy(&c->initial);
    grpc_metadata_array_destroy(&c->trailing);
    grpc_slice_unref(c->details);
    grpc_call_unref(c->call);
    grpc_channel_destroy(c->channel);
    grpc_completion_queue_shutdown(c->queue);
    while (grpc_completion_queue_next(c->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(c->queue);
}

static void expect_status(const struct raw_call *c, grpc_status_code status, const char *text)
{
    char details[512];
    msg_str(details, sizeof details,
            bytes_of(GRPC_SLICE_START_PTR(c->details), GRPC_SLICE_LENGTH(c->details)));
    if (c->status != status || !strstr(details, text))
        fail_msg("status %d \"%s\"", (int)c->status, details);
}

static grpc_byte_buffer *message_of(size_t len)
{
    grpc_slice slice = grpc_slice_malloc(len);
    memset(GRPC_SLICE_START_PTR(slice), 'x', len);
    grpc_byte_buffer *b = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return b;
}

static void over_the_limit_is_told(void **state)
{
    struct world *w = *state;
    struct raw_call c = {0};
    raw_dial(w, &c, GRPC_COMPRESS_NONE);
    raw_send(w, &c, message_of(MSG_BYTES_MAX + 1));
    expect_status(&c, GRPC_STATUS_RESOURCE_EXHAUSTED, "larger than max (41943041 vs. 41943040)");
    raw_free(&c);
    run_until_closed(w->rpc, &w->far);
    assert_int_equal(w->far.got, 0);
}

/* Or a message of 40 MiB might become one of 40 GiB. */
static void compressed_messages_are_refused(void **state)
{
    struct world *w = *state;
    struct raw_call c = {0};
    raw_dial(w, &c, GRPC_COMPRESS_GZIP);
    raw_send(w, &c, message_of(1000));
    expect_status(&c, GRPC_STATUS_INVALID_ARGUMENT, "compressed messages are not taken");
    raw_free(&c);
    run_until_closed(w->rpc, &w->far);
    assert_int_equal(w->far.got, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(plaintext_gets_nothing),
        TEST(garbage_gets_nothing),
        TEST(silent_connections_delay_nobody),
        TEST(no_certificate_no_service),
        TEST(a_certificate_is_served_by_tls_1_3),
        TEST(tls_1_2_is_not_spoken),
        TEST(over_the_limit_is_told),
        TEST(compressed_messages_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
