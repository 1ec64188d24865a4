/* Dialling. Each stream has a channel, and so a connection, of its own: a dial after a failure starts afresh,
 * a bulk transfer delays nobody, and one connection's death is one stream's. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "proto/internal.h"

static grpc_arg number(const char *key, int value)
{
    return (grpc_arg){GRPC_ARG_INTEGER, (char *)key, {.integer = value}};
}

static grpc_arg string(const char *key, const char *value)
{
    return (grpc_arg){GRPC_ARG_STRING, (char *)key, {.string = (char *)value}};
}

/* "host:port" as a gRPC target: numeric addresses do not go through the resolver, nor does localhost, which
 * is this machine whatever its files say (RFC 6761). False when there is no port. */
static bool target_of(const char *address, char out[300])
{
    char host[256];
    const char *colon = strrchr(address, ':');
    if (strncmp(address, "unix:", 5) == 0)
        return snprintf(out, 300, "%s", address) < 300;
    if (!colon || colon == address || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        (size_t)(colon - address) >= sizeof host)
        return false;
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = 0;
    if (strcmp(host, "localhost") == 0)
        return snprintf(out, 300, "ipv4:127.0.0.1%s", colon) < 300;
    struct in_addr ip4;
    const char *scheme = host[0] == '[' ? "ipv6:" : inet_pton(AF_INET, host, &ip4) == 1 ? "ipv4:" : "dns:///";
    return snprintf(out, 300, "%s%s", scheme, address) < 300;
}

static grpc_channel *channel_new(const char *target, enum role peer, const struct credentials *me)
{
    grpc_arg args[] = {
        string(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, peer == ROLE_BROKER ? "broker.cx" : "server.cx"),
        number(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        number(GRPC_ARG_ENABLE_RETRIES, 0),
        number(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        number(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        number(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, MSG_BYTES_MAX),
        number(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, MSG_BYTES_MAX),
        number(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
        number(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_TIME_MS),
        number(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
        number(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        number(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS),
    };
    grpc_channel_args list = {sizeof args / sizeof args[0], args};
    grpc_ssl_pem_key_cert_pair pair = {me->key, me->cert};
    grpc_channel_credentials *creds = grpc_ssl_credentials_create_ex(me->ca, &pair, NULL, NULL);
    grpc_channel *channel = grpc_channel_create(target, creds, &list);
    grpc_channel_credentials_release(creds);
    return channel;
}

static void plain_done(struct op *op, bool ok)
{
    (void)ok;
    stream_done(op->owner);
}

static void status_done(struct op *op, bool ok)
{
    (void)ok;
    struct rpc_stream *s = op->owner;
    s->broken = true;
    stream_done(s);
}

static void start(struct rpc_stream *s)
{
    grpc_op send = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    grpc_op initial = {.op = GRPC_OP_RECV_INITIAL_METADATA,
                       .data.recv_initial_metadata.recv_initial_metadata = &s->initial_metadata};
    grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                      .data.recv_status_on_client = {.trailing_metadata = &s->trailing_metadata,
                                                     .status = &s->status,
                                                     .status_details = &s->details,
                                                     .error_string = &s->error_string}};
    batch_stream(s, &status, &s->finish, status_done);
    batch_stream(s, &send, &s->start, plain_done);
    batch_stream(s, &initial, &s->initial, plain_done);
    stream_receive(s);
}

int rpc_dial(struct rpc *r, const char *address, enum role peer, const struct credentials *me,
             const char *method, const struct rpc_handler *handler, void *ctx, struct rpc_stream **out)
{
    char target[300];
    must(!r->freeing);
    if (!target_of(address, target) || (peer != ROLE_SERVER && peer != ROLE_BROKER))
        return CX_EINVAL;
    grpc_channel *channel = channel_new(target, peer, me);
    grpc_call *call = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, r->queue,
                                               grpc_slice_from_static_string(method), NULL,
                                               gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    struct rpc_stream *s = stream_new(r, handler, call);
    s->channel = channel;
    s->address = strdup(address);
    must(s->address);
    s->ctx = ctx;
    start(s);
    *out = s;
    return 0;
}

void client_cancel(struct rpc_stream *s)
{
    if (!s->cancelled)
        grpc_call_cancel(s->call, NULL);
    s->cancelled = s->ended = true;
}

void client_half_close(struct rpc_stream *s)
{
    grpc_op o = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    batch_stream(s, &o, &s->tail, plain_done);
}

int client_close_code(const struct rpc_stream *s, char *why)
{
    if (s->cancelled) {
        snprintf(why, RPC_WHY_MAX, "%s", s->close_why);
        return s->close_code;
    }
    struct bytes text = bytes_of(GRPC_SLICE_START_PTR(s->details), GRPC_SLICE_LENGTH(s->details));
    return status_code(s->status, text, s->address, why);
}
