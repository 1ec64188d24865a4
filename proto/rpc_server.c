/* Serving: who may open which stream, and how streams end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/must.h"
#include "proto/internal.h"
#include "proto/pki_internal.h"

#define HANGING_CLOSE_US 2000000 /* a peer that does not take its status in that time is cut off */

static grpc_arg number(const char *key, int value)
{
    return (grpc_arg){GRPC_ARG_INTEGER, (char *)key, {.integer = value}};
}

static grpc_server *server_new(void)
{
    grpc_arg args[] = {
        number(GRPC_ARG_ALLOW_REUSEPORT, 0), /* or a second daemon would silently share the port */
        number(GRPC_ARG_MAX_CONCURRENT_STREAMS, CONNECTION_STREAMS),
        number(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, MSG_BYTES_MAX),
        number(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, MSG_BYTES_MAX),
        number(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION,
               0), /* or a small message might become a large one */
        number(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, CONNECT_TIMEOUT_MS),
        number(GRPC_ARG_MAX_CONNECTION_IDLE_MS, UNUSED_CONNECTION_MS),
        number(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_TIME_MS),
        number(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
        number(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        number(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, KEEPALIVE_TIME_MS / 2),
        number(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0),
    };
    grpc_channel_args list = {sizeof args / sizeof args[0], args};
    return grpc_server_create(&list, NULL);
}

/* ---- Accepting ---- */

static bool property(grpc_auth_context *auth, const char *name, struct bytes *out,
                     grpc_auth_property_iterator *it)
{
    if (name)
        *it = grpc_auth_context_find_properties_by_name(auth, name);
    const grpc_auth_property *p = grpc_auth_property_iterator_next(it);
    if (p)
        *out = bytes_of(p->value, p->value_length);
    return p != NULL;
}

/* Exactly one cx:// URI in a certificate that the CA has signed. */
static bool peer_identity(grpc_call *call, struct rpc_stream *s)
{
    grpc_auth_context *auth = grpc_call_auth_context(call);
    grpc_auth_property_iterator it;
    struct bytes value;
    struct cert_facts facts;
    unsigned found = 0;
    if (!auth)
        return false;
    for (bool more = property(auth, GRPC_PEER_URI_PROPERTY_NAME, &value, &it); more;
         more = property(auth, NULL, &value, &it))
        found += identity_parse(value, &s->peer);
    if (found == 1 && property(auth, GRPC_X509_PEM_CERT_PROPERTY_NAME, &value, &it) &&
        cert_facts_of((const char *)value.data, value.len, &facts)) {
        strcpy(s->serial, facts.serial);
        s->until = facts.until;
    } else {
        found = 0;
    }
    grpc_auth_context_release(auth);
    return found == 1;
}

static void list_roles(unsigned roles, char *out, size_t max)
{
    size_t n = 0;
    out[0] = 0;
    for (int role = ROLE_CONSUMER; role <= ROLE_ADMIN && n < max; role++)
        if (roles & 1u << role)
            n += (size_t)snprintf(out + n, max - n, "%s%s", n ? ", " : "", role_name((enum role)role));
}

static const struct rpc_service *service_of(const struct rpc *r, grpc_slice method)
{
    for (size_t i = 0; i < r->nservices; i++)
        if (grpc_slice_str_cmp(method, r->services[i].method) == 0)
            return &r->services[i];
    return NULL;
}

/* 0, or why this peer may not open a stream of this service. */
static int admit(struct rpc *r, struct rpc_stream *s, const struct rpc_service *service, char *why)
{
    if (!peer_identity(s->call, s)) {
        snprintf(why, RPC_WHY_MAX,
                 "the certificate has no identity (cx://role/name); make one with: cx ca issue");
        return CX_EAUTH;
    }
    if (!service) {
        snprintf(why, RPC_WHY_MAX,
                 "this daemon does not serve that method; is it the right address and version?");
        return CX_EVERSION;
    }
    if (!(service->roles & 1u << s->peer.role)) {
        char roles[64];
        list_roles(service->roles, roles, sizeof roles);
        snprintf(why, RPC_WHY_MAX, "%s/%s may not call %s; roles that may: %s", role_name(s->peer.role),
                 s->peer.name, service->method, roles);
        return CX_EAUTH;
    }
    if (deny_listed(r->deny, &s->peer, s->serial)) {
        snprintf(why, RPC_WHY_MAX, "%s/%s is on the deny list", role_name(s->peer.role), s->peer.name);
        return CX_EAUTH;
    }
    if (r->streams > STREAMS_MAX) {
        snprintf(why, RPC_WHY_MAX, "this daemon has %u streams, limit %u; try later", r->streams - 1,
                 STREAMS_MAX);
        return CX_EFULL;
    }
    return 0;
}

static void plain_done(struct op *op, bool ok)
{
    (void)ok;
    stream_done(op->owner);
}

static void recv_close_done(struct op *op, bool ok)
{
    (void)ok;
    struct rpc_stream *s = op->owner;
    if (s->peer_cancelled)
        s->broken = true;
    stream_done(s);
}

static void start(struct rpc_stream *s)
{
    grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
                     .data.recv_close_on_server.cancelled = &s->peer_cancelled};
    grpc_op initial = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    batch_stream(s, &close, &s->tail, recv_close_done);
    batch_stream(s, &initial, &s->start, plain_done);
}

static void welcome(struct rpc *r, grpc_call *call, grpc_slice method)
{
    char why[RPC_WHY_MAX] = "";
    struct rpc_stream *s = stream_new(r, NULL, call);
    const struct rpc_service *service = service_of(r, method);
    int e = admit(r, s, service, why);
    start(s);
    if (e == 0)
        e = service->handler->accept(service->service, s, &s->peer, &s->ctx, why);
    if (e != 0) {
        rpc_close(s, e, why);
        return;
    }
    s->handler = service->handler;
    stream_receive(s);
}

static void request_call(struct rpc *r);

static void call_done(struct op *op, bool ok)
{
    struct rpc *r = op->owner;
    struct incoming_call *c = &r->next_call;
    grpc_call *call = c->call;
    grpc_slice method = grpc_slice_ref(c->details.method);
    grpc_call_details_destroy(&c->details);
    grpc_metadata_array_destroy(&c->metadata);
    c->call = NULL;
    if (ok && !r->freeing) {
        request_call(r);
        welcome(r, call, method);
    } else if (ok) {
        grpc_call_unref(call);
    }
    grpc_slice_unref(method);
}

static void request_call(struct rpc *r)
{
    struct incoming_call *c = &r->next_call;
    c->op = (struct op){call_done, r};
    grpc_call_details_init(&c->details);
    grpc_metadata_array_init(&c->metadata);
    TAG_GIVEN(&c->op);
    must(grpc_server_request_call(r->server, &c->call, &c->details, &c->metadata, r->queue, r->queue,
                                  &c->op) == GRPC_CALL_OK);
}

int rpc_listen(struct rpc *r, const char *address, const struct credentials *me,
               const struct rpc_service *services, size_t n, int *port, char *why)
{
    must(!r->server);
    grpc_ssl_pem_key_cert_pair pair = {me->key, me->cert};
    grpc_server_credentials *creds = grpc_ssl_server_credentials_create_ex(
        me->ca, &pair, 1, GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, NULL);
    r->server = server_new();
    r->services = services;
    r->nservices = n;
    r->deny = me->deny ? strdup(me->deny) : NULL;
    grpc_server_register_completion_queue(r->server, r->queue, NULL);
    int bound = grpc_server_add_http2_port(r->server, address, creds);
    grpc_server_credentials_release(creds);
    grpc_server_start(r->server);
    if (bound == 0) {
        snprintf(why, RPC_WHY_MAX,
                 "cannot listen on %.150s: in use, or not an address (host:port) of this machine", address);
        return CX_EIO;
    }
    request_call(r);
    *port = bound;
    return 0;
}

/* ---- Ending ---- */

void server_finish(struct rpc_stream *s)
{
    grpc_slice text = s->close_code ? status_text(s->close_code, s->close_why) : grpc_empty_slice();
    grpc_op o = {
        .op = GRPC_OP_SEND_STATUS_FROM_SERVER,
        .data.send_status_from_server = {.status = status_of(s->close_code), .status_details = &text}};
    batch_stream(s, &o, &s->finish, plain_done);
    grpc_slice_unref(text);
}

int server_close_code(const struct rpc_stream *s, char *why)
{
    if (s->close_code == 0 && s->peer_cancelled) {
        snprintf(why, RPC_WHY_MAX, "the peer has gone, or cancelled");
        return CX_ENONET;
    }
    snprintf(why, RPC_WHY_MAX, "%s", s->close_why);
    return s->close_code;
}

/* True when the deny list is another one than at the last look. */
static bool deny_changed(struct rpc *r)
{
    struct stat st = {0};
    if (!r->deny)
        return false;
    if (stat(r->deny, &st) != 0)
        st = (struct stat){0};
    bool same = st.st_ino == r->deny_stat.st_ino && st.st_size == r->deny_stat.st_size &&
                st.st_mtim.tv_sec == r->deny_stat.st_mtim.tv_sec &&
                st.st_mtim.tv_nsec == r->deny_stat.st_mtim.tv_nsec;
    r->deny_stat = st;
    return !same;
}

/* A stream whose right has ended since it was opened, or whose close the peer does not let through. */
static void check_stream(struct rpc_stream *s, bool deny_is_new, uint64_t now_us, time_t now)
{
    if (s->closing && s->close_code < 0 && !s->cancelled && now_us - s->closing_since_us > HANGING_CLOSE_US) {
        s->cancelled = s->ended = true;
        grpc_call_cancel(s->call, NULL);
    } else if (!s->closing && now > s->until) {
        rpc_close(s, CX_EAUTH, "the certificate has expired");
    } else if (!s->closing && deny_is_new && deny_listed(s->rpc->deny, &s->peer, s->serial)) {
        rpc_close(s, CX_EAUTH, "the peer is on the deny list now");
    }
}

void server_tick(struct rpc *r)
{
    bool deny_is_new = deny_changed(r);
    uint64_t now_us = clock_us();
    time_t now = time(NULL);
    for (struct link *l = r->all.next; l != &r->all; l = l->next) {
        struct rpc_stream *s = (struct rpc_stream *)l;
        if (!s->channel)
            check_stream(s, deny_is_new, now_us, now);
    }
}

static void shutdown_done(struct op *op, bool ok)
{
    (void)ok;
    struct rpc *r = op->owner;
    r->server_down = true;
}

void server_stop(struct rpc *r)
{
    r->shutdown = (struct op){shutdown_done, r};
    TAG_GIVEN(&r->shutdown);
    grpc_server_shutdown_and_notify(r->server, r->queue, &r->shutdown);
}

void server_free(struct rpc *r)
{
    if (r->server)
        grpc_server_destroy(r->server);
}
