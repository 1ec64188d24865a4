#include "taskserver/register.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addresses.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "taskserver/server.h"

enum {
    EVERY_US = 2000000, /* between two registers; the broker takes a server for gone after some of these */
    DIAL_MIN_US = 200000,
    DIAL_MAX_US = 5000000,
    DIAL_ASKING_US = 200000, /* at most, while the witness is wanted */
    ARCHES_BYTES = 256,
    ASKS_MAX = 8,
    ADDRESS_BYTES = 256,
};

struct registration {
    struct taskserver *server; /* borrowed */
    struct rpc_stream *stream; /* NULL: not connected */
    char *brokers, *address;   /* owned; brokers: a comma list, dialled in turn */
    unsigned at;               /* which of them */
    uint64_t due_us;           /* the next register, or the next dial */
    uint64_t back_off_us;
    uint64_t random;                /* state of the jitter's generator */
    uint64_t req, registered;       /* the last number used; that of the last register */
    struct shard_ask ask[ASKS_MAX]; /* for the witness, to be sent */
    unsigned asks;
    bool list;    /* the network's servers are to be asked for */
    bool due;     /* a register is to be sent */
    bool refused; /* said once: the broker does not want us */
    bool stopping;
};

/* Xorshift64: spreads the dials of servers that lost the same broker. Not a secret. */
static uint64_t next_random(struct registration *r)
{
    r->random ^= r->random << 13;
    r->random ^= r->random >> 7;
    return r->random ^= r->random << 17;
}

/* Between half and one and a half times the back-off, which doubles. */
static uint64_t next_wait(struct registration *r)
{
    uint64_t wait = r->back_off_us / 2 + next_random(r) % r->back_off_us;
    r->back_off_us = r->back_off_us * 2 < DIAL_MAX_US ? r->back_off_us * 2 : DIAL_MAX_US;
    return wait;
}

/* The distinct architectures of the producers, comma-separated, as many as fit. */
static void add_arch(char *out, const char *arch)
{
    size_t len = strlen(arch), n = strlen(out);
    const char *at = len ? strstr(out, arch) : out;
    bool whole = at && (at == out || at[-1] == ',') && (!at[len] || at[len] == ',');
    if (!whole && n + len + 2 <= ARCHES_BYTES)
        snprintf(out + n, ARCHES_BYTES - n, "%s%s", n ? "," : "", arch);
}

static void list_arches(const struct taskserver *s, char *out)
{
    struct ts_producer_info p;
    out[0] = 0;
    for (size_t i = 0; i < s->shards; i++)
        for (uint64_t cursor = 0; ts_producer_next(s->shard[i].ts, &cursor, &p);)
            add_arch(out, p.arch);
}

/* Of the shards that are served here. */
static void sum_stats(const struct taskserver *s, struct ts_stats *sum)
{
    *sum = (struct ts_stats){0};
    for (size_t i = 0; i < s->shards; i++) {
        struct ts_stats st;
        if (!s->shard[i].serves)
            continue;
        ts_stats(s->shard[i].ts, &st);
        sum->producers += st.producers;
        sum->threads += st.threads;
        sum->ready += st.ready;
        sum->granted += st.granted;
        sum->jobs += st.jobs;
    }
}

/* ---- The witness ---- */

/* What is asked while nobody is there is asked again by whoever asked; but the broker is dialled soon then.
 */
void registration_ask(struct registration *r, const struct shard_ask *ask)
{
    uint64_t soon = clock_us() + DIAL_ASKING_US;
    if (!r->stream) {
        r->due_us = r->due_us < soon ? r->due_us : soon;
        return;
    }
    if (r->asks == ASKS_MAX)
        memmove(r->ask, r->ask + 1, --r->asks * sizeof r->ask[0]);
    r->ask[r->asks++] = *ask;
    rpc_wake(r->stream);
}

static bool say_ask(struct registration *r, struct buf *out)
{
    struct buf packed = {0};
    cx_Msg m = {.req = ++r->req, .which_body = cx_Msg_shard_ask_tag};
    put_shard_ask(&packed, &r->ask[0]);
    m.body.shard_ask.records = buf_bytes(&packed);
    msg_encode(&m, out);
    buf_free(&packed);
    memmove(r->ask, r->ask + 1, --r->asks * sizeof r->ask[0]);
    return true;
}

static int on_answer(struct registration *r, const cx_Msg *m, char *why)
{
    struct reader in = reader_of(m->body.shard_answer.records);
    struct replica_event e = {.kind = REPLICA_ANSWER};
    if (!get_shard_answer(&in, &e.shard)) {
        snprintf(why, RPC_WHY_MAX, "shard_answer: malformed");
        return CX_EPROTO;
    }
    struct shard *s = taskserver_shard(r->server, e.shard.shard);
    if (s && s->replica)
        shard_replica(s, &e);
    return 0;
}

/* ---- The network's other servers ---- */

static bool say_list(struct registration *r, struct buf *out)
{
    enum { NETWORKS = 4 };
    cx_Msg m = {.req = ++r->req, .which_body = cx_Msg_list_tag, .body.list.what = NETWORKS};
    r->list = false;
    msg_encode(&m, out);
    return true;
}

static void know(struct registration *r, const cx_NetworkRow *row)
{
    char name[IDENTITY_NAME_MAX + 1], addresses[ADDRESS_BYTES];
    msg_str(name, sizeof name, row->name);
    msg_str(addresses, sizeof addresses, row->address);
    if (strcmp(name, r->server->config.me->self.name) != 0)
        peering_know(r->server->peering, name, addresses);
}

static int on_row(struct registration *r, const cx_Msg *m)
{
    const cx_NetworkRow *row = &m->body.network_row;
    if (bytes_equal(row->network, bytes_str(r->server->config.network)))
        know(r, row);
    return 0;
}

/* ---- Registering ---- */

static bool fill(void *ctx, struct rpc_stream *stream, struct buf *out)
{
    (void)stream;
    struct registration *r = ctx;
    struct ts_stats st;
    char arches[ARCHES_BYTES];
    if (r->asks)
        return say_ask(r, out);
    if (r->list)
        return say_list(r, out);
    if (!r->due)
        return false;
    r->due = false;
    sum_stats(r->server, &st);
    list_arches(r->server, arches);
    cx_Msg m = {.req = r->registered = ++r->req, .which_body = cx_Msg_register_network_tag};
    m.body.register_network = (cx_Register){.network = bytes_str(r->server->config.network),
                                            .address = bytes_str(r->address),
                                            .arch = bytes_str(arches),
                                            .producers = (uint32_t)st.producers,
                                            .threads = (uint32_t)st.threads,
                                            .ready = st.ready,
                                            .granted = st.granted,
                                            .jobs = st.jobs,
                                            .incarnation = r->server->shard[0].incarnation};
    msg_encode(&m, out);
    return true;
}

static void say_refused(struct registration *r, int code, struct bytes text)
{
    if (r->refused)
        return;
    r->refused = true;
    text = text_clean(&r->server->scratch, text, RPC_WHY_MAX);
    log_warn("the broker %s refuses us: %s: %.*s", r->brokers, cx_err_text(code), (int)text.len,
             (const char *)text.data);
}

static int message(void *ctx, struct rpc_stream *stream, struct bytes data, char *why)
{
    (void)stream;
    struct registration *r = ctx;
    cx_Msg m;
    int code = msg_decode(data, &m, why);
    if (code)
        return code;
    if (m.which_body == cx_Msg_shard_answer_tag)
        return on_answer(r, &m, why);
    if (m.which_body == cx_Msg_network_row_tag)
        return on_row(r, &m);
    if (m.which_body != cx_Msg_status_tag || m.req != r->registered)
        return 0;
    if (m.body.status.code) {
        say_refused(r, m.body.status.code, m.body.status.text);
        return 0;
    }
    if (r->back_off_us != DIAL_MIN_US || r->refused)
        log_info("registered with the broker %s", r->brokers);
    r->back_off_us = DIAL_MIN_US;
    r->refused = false;
    return 0;
}

static void closed(void *ctx, struct rpc_stream *stream, int code, const char *why)
{
    (void)stream;
    struct registration *r = ctx;
    r->stream = NULL;
    r->due = r->list = false;
    r->asks = 0;
    r->at++;
    if (r->stopping)
        return;
    uint64_t wait = next_wait(r);
    r->due_us = clock_us() + wait;
    log_debug("the broker %s: %s %s; dialled again in %.1f s", r->brokers, cx_err_text(code), why,
              (double)wait / 1e6);
    if (code == CX_EAUTH)
        say_refused(r, code, bytes_str(why));
}

static const struct rpc_handler handler = {.message = message, .fill = fill, .closed = closed};

struct registration *registration_new(struct taskserver *server, const char *broker, const char *address)
{
    struct registration *r = calloc(1, sizeof *r);
    must(r);
    r->server = server;
    r->brokers = strdup(broker);
    r->address = strdup(address);
    must(r->brokers && r->address);
    r->back_off_us = DIAL_MIN_US + 1; /* so that the first success is said */
    random_bytes(&r->random, sizeof r->random);
    r->random |= 1;
    return r;
}

static void dial(struct registration *r)
{
    char broker[ADDRESS_BYTES];
    address_at(r->brokers, r->at, broker, sizeof broker);
    int code = rpc_dial(r->server->rpc, broker, ROLE_BROKER, r->server->config.me, "/cx.Broker/Talk",
                        &handler, r, &r->stream);
    if (code) {
        r->stream = NULL;
        r->due_us = clock_us() + next_wait(r);
    }
}

uint64_t registration_tick(struct registration *r, uint64_t now_us)
{
    if (r->stopping)
        return UINT64_MAX;
    if (now_us < r->due_us)
        return r->due_us;
    r->due_us = now_us + EVERY_US;
    if (!r->stream)
        dial(r);
    if (r->stream) {
        r->due = r->list = true;
        rpc_wake(r->stream);
    }
    return r->due_us;
}

void registration_stop(struct registration *r)
{
    r->stopping = true;
    if (r->stream)
        rpc_close(r->stream, CX_OK, "");
}

void registration_free(struct registration *r)
{
    if (!r)
        return;
    free(r->brokers);
    free(r->address);
    free(r);
}
