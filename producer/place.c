#include "producer/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addresses.h"
#include "base/must.h"
#include "proto/msg.h"

enum {
    OFFERS_MAX = 16,
    ADDRESS_BYTES = 256,
    LIST_BYTES = 1024,
    SHARD_BYTES = 16,
    LOST_EVERY = 4,    /* of the attempts to find a shard again, the part that goes to where it was lost */
    HOME_US = 8000000, /* for these attempts, when there have been LOST_EVERY; then anybody will do */
};

struct place {
    struct place_config config;
    struct rpc_stream *stream; /* to the broker, NULL: none */
    bool asked, answered;
    char offers[LIST_BYTES]; /* addresses */
    unsigned tried;
    /* The shard that is served, or was. */
    char shard[SHARD_BYTES], home[LIST_BYTES];
    bool has_home;
    unsigned home_tries, home_at;
    uint64_t lost_us;            /* when the first of these tries was made */
    char address[ADDRESS_BYTES]; /* that was found last */
};

struct place *place_new(const struct place_config *config)
{
    struct place *p = calloc(1, sizeof *p);
    must(p);
    p->config = *config;
    return p;
}

void place_free(struct place *p)
{
    free(p);
}

static void found(struct place *p, const char *list, unsigned i)
{
    address_at(list, i, p->address, sizeof p->address);
    p->config.found(p->config.ctx, p->address, bytes_of(p->shard, p->has_home ? SHARD_BYTES : 0));
}

void place_next(struct place *p, const char *why)
{
    if (!p->has_home && p->tried < addresses_count(p->offers))
        found(p, p->offers, p->tried++);
    else
        p->config.failed(p->config.ctx, why);
}

void place_served(struct place *p, struct bytes shard, struct bytes addresses)
{
    char list[LIST_BYTES];
    p->has_home = shard.len == SHARD_BYTES;
    p->home_tries = 0;
    if (!p->has_home)
        return;
    msg_str(list, sizeof list, addresses);
    memcpy(p->shard, shard.data, SHARD_BYTES);
    snprintf(p->home, sizeof p->home, "%s", p->address);
    addresses_add(p->home, sizeof p->home, list);
    p->home_at = 0;
}

/* A server that is silent takes its time, one that refuses none, so that tries alone say little. */
static bool home_is_worth_a_try(struct place *p, uint64_t now_us)
{
    if (p->home_tries == 0)
        p->lost_us = now_us;
    return p->has_home && (p->home_tries < LOST_EVERY || now_us - p->lost_us < HOME_US);
}

/* The first address of the list is where it was lost. */
static void look_at_home(struct place *p)
{
    unsigned others = addresses_count(p->home) - 1;
    bool lost = ++p->home_tries % LOST_EVERY == 0 || others == 0;
    found(p, p->home, lost ? 0 : 1 + p->home_at++ % others);
}

static bool fill(void *ctx, struct rpc_stream *s, struct buf *out)
{
    (void)s;
    struct place *p = ctx;
    if (p->asked)
        return false;
    cx_Msg m = {.req = 1, .which_body = cx_Msg_place_tag};
    m.body.place = (cx_Place){.arch = bytes_str(p->config.arch), .threads = p->config.threads};
    msg_encode(&m, out);
    p->asked = true;
    return true;
}

static int on_status(struct place *p, struct rpc_stream *s, const cx_Msg *m)
{
    char text[MSG_TEXT_MAX];
    msg_str(text, sizeof text, m->body.status.text);
    p->answered = true;
    rpc_close(s, 0, "");
    place_next(p, m->body.status.code ? text : "the broker knows no network that needs this producer");
    return 0;
}

static int message(void *ctx, struct rpc_stream *s, struct bytes data, char *why)
{
    struct place *p = ctx;
    cx_Msg m;
    int rc = msg_decode(data, &m, why);
    if (rc || p->answered)
        return rc;
    if (m.which_body == cx_Msg_status_tag)
        return on_status(p, s, &m);
    if (m.which_body == cx_Msg_offer_tag && addresses_count(p->offers) < OFFERS_MAX) {
        char list[ADDRESS_BYTES];
        msg_str(list, sizeof list, m.body.offer.address);
        addresses_add(p->offers, sizeof p->offers, list);
    }
    return 0;
}

static void closed(void *ctx, struct rpc_stream *s, int code, const char *why)
{
    struct place *p = ctx;
    char text[RPC_WHY_MAX + 32];
    if (p->stream == s)
        p->stream = NULL;
    if (p->answered)
        return;
    p->answered = true;
    snprintf(text, sizeof text, "broker: %s", why && *why ? why : cx_err_text(code));
    p->config.failed(p->config.ctx, text);
}

static const struct rpc_handler handler = {.message = message, .fill = fill, .closed = closed};

void place_begin(struct place *p, uint64_t now_us)
{
    if (home_is_worth_a_try(p, now_us)) {
        look_at_home(p);
        return;
    }
    p->has_home = false;
    p->offers[0] = 0;
    p->tried = 0;
    if (p->config.server) {
        addresses_add(p->offers, sizeof p->offers, p->config.server);
        place_next(p, "the task server's address is not usable");
        return;
    }
    if (p->stream) {
        p->config.failed(p->config.ctx, "the broker has not closed the last inquiry yet");
        return;
    }
    p->asked = p->answered = false;
    int rc = rpc_dial(p->config.rpc, p->config.broker, ROLE_BROKER, p->config.me, "/cx.Broker/Talk", &handler,
                      p, &p->stream);
    if (rc)
        p->config.failed(p->config.ctx, "the broker's address is not usable");
    else
        rpc_wake(p->stream);
}
