#include "producer/place.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "proto/msg.h"

#define OFFERS_MAX 16u

struct place {
    struct place_config config;
    struct rpc_stream *stream; /* to the broker, NULL: none */
    bool asked, answered;
    char offer[OFFERS_MAX][256];
    uint32_t offers, tried;
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

void place_next(struct place *p, const char *why)
{
    if (p->tried < p->offers)
        p->config.found(p->config.ctx, p->offer[p->tried++]);
    else
        p->config.failed(p->config.ctx, why);
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
    if (m.which_body == cx_Msg_offer_tag && p->offers < OFFERS_MAX)
        msg_str(p->offer[p->offers++], sizeof p->offer[0], m.body.offer.address);
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

void place_begin(struct place *p)
{
    p->offers = p->tried = 0;
    if (p->config.server) {
        p->config.found(p->config.ctx, p->config.server);
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
