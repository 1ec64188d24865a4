/* Connections: which server to go to, when to dial, when to try again. */
#include <string.h>

#include "consumer/core/internal.h"

#define BROKER_SCHEME "broker:"

/* ---- Addresses ---- */

static bool add_target(struct client *c, const char *text, size_t len)
{
    if (len == 0 || len >= CLIENT_ADDRESS_MAX || memchr(text, ':', len) == NULL ||
        c->targets == CLIENT_TARGETS_MAX)
        return false;
    memcpy(c->target[c->targets].address, text, len);
    c->target[c->targets++].address[len] = '\0';
    return true;
}

static int parse_broker(struct client *c, const char *text)
{
    size_t len = strcspn(text, "/");
    const char *network = text + len + (text[len] == '/');
    if (len == 0 || len >= CLIENT_ADDRESS_MAX || memchr(text, ':', len) == NULL ||
        strlen(network) >= CLIENT_NETWORK_MAX)
        return CX_EINVAL;
    memcpy(c->broker, text, len);
    strcpy(c->network, network);
    c->by_broker = true;
    return 0;
}

int links_parse(struct client *c, const char *address)
{
    if (strncmp(address, BROKER_SCHEME, strlen(BROKER_SCHEME)) == 0)
        return parse_broker(c, address + strlen(BROKER_SCHEME));
    for (;;) {
        size_t len = strcspn(address, ",");
        if (!add_target(c, address, len))
            return CX_EINVAL;
        if (address[len] == '\0')
            return 0;
        address += len + 1;
    }
}

const char *links_where(const struct client *c)
{
    if (c->by_broker && c->targets == 0)
        return c->broker;
    return c->target[c->at < c->targets ? c->at : 0].address;
}

/* ---- Pauses ---- */

static uint64_t draw(struct client *c)
{
    c->random ^= c->random << 13; /* xorshift64 (Marsaglia, 2003) */
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return c->random;
}

/* Twice as long each time, and from half to all of that, so that clients of a server that came back do not
 * come all at once. */
static void link_pause(struct client *c, struct link *l)
{
    uint64_t pause = CLIENT_BACKOFF_MIN;
    for (uint32_t i = 0; i < l->failures && pause < CLIENT_BACKOFF_MAX; i++)
        pause *= 2;
    if (pause > CLIENT_BACKOFF_MAX)
        pause = CLIENT_BACKOFF_MAX;
    l->failures++;
    l->state = LINK_PAUSE;
    l->retry_us = c->now_us + pause / 2 + draw(c) % (pause / 2 + 1);
}

void links_tick(struct client *c)
{
    for (int i = 0; i < LINKS; i++)
        if (c->link[i].state == LINK_PAUSE && c->link[i].retry_us <= c->now_us)
            c->link[i].state = LINK_DOWN; /* links_tend dials if it is still needed */
}

uint64_t links_due(const struct client *c)
{
    uint64_t due = UINT64_MAX;
    for (int i = 0; i < LINKS; i++)
        if (c->link[i].state == LINK_PAUSE && c->link[i].retry_us < due)
            due = c->link[i].retry_us;
    return due;
}

/* ---- Dialling ---- */

static void dial(struct client *c, enum client_link link, const char *address)
{
    struct client_effect *fx = client_fx(c, CLIENT_FX_DIAL, link);
    fx->address = address;
    c->link[link].state = link == LINK_TASKS ? LINK_DIALLED : LINK_UP; /* the others have no greeting */
    if (link == LINK_TASKS)
        client_send(c, link, SEND_HELLO, 0);
}

static void match(struct client *c)
{
    c->matching = true;
    c->match_req = ++c->reqs;
    c->targets = c->at = 0;
    client_send(c, LINK_BROKER, SEND_MATCH, c->match_req)->address = c->network;
}

static void tend_tasks(struct client *c)
{
    struct link *l = &c->link[LINK_TASKS];
    if (l->state != LINK_DOWN || c->matching || !(calls_need(c, LINK_TASKS) || jobs_need(c)))
        return;
    if (c->at < c->targets)
        dial(c, LINK_TASKS, c->target[c->at].address);
    else if (c->by_broker && c->link[LINK_BROKER].state == LINK_UP)
        match(c);
}

static bool needs_broker(const struct client *c)
{
    bool lost = c->link[LINK_TASKS].state == LINK_DOWN && c->at == c->targets;
    return c->by_broker &&
           (calls_need(c, LINK_BROKER) || (lost && (calls_need(c, LINK_TASKS) || jobs_need(c))));
}

void links_tend(struct client *c)
{
    if (c->link[LINK_BROKER].state == LINK_DOWN && needs_broker(c)) {
        dial(c, LINK_BROKER, c->broker);
        calls_send(c);
    }
    tend_tasks(c);
    if (c->link[LINK_BLOBS].state == LINK_DOWN && c->link[LINK_TASKS].state == LINK_UP &&
        calls_need(c, LINK_BLOBS)) {
        dial(c, LINK_BLOBS, c->target[c->at].address);
        calls_send(c);
    }
}

/* ---- What happens to them ---- */

void link_greeted(struct client *c, const struct client_event *e)
{
    struct link *l = &c->link[LINK_TASKS];
    if (l->state != LINK_DIALLED)
        return;
    l->state = LINK_UP;
    l->failures = 0;
    c->ever_up = true;
    if (c->network[0] == '\0' && e->network.len < CLIENT_NETWORK_MAX && e->network.len > 0)
        memcpy(c->network, e->network.data, e->network.len);
    jobs_watch(c);
}

void link_hang_up(struct client *c, enum client_link link)
{
    client_fx(c, CLIENT_FX_HANGUP, link);
    c->link[link] = (struct link){0};
}

/* What trying again cannot mend. */
static bool is_final(int code)
{
    return code == CX_EAUTH || code == CX_EVERSION || code == CX_EPROTO || code == CX_ELIMIT ||
           code == CX_EINVAL;
}

static void tasks_closed(struct client *c, int code)
{
    struct link *l = &c->link[LINK_TASKS];
    c->knowns = 0; /* the next server may be another */
    if (c->link[LINK_BLOBS].state == LINK_UP) {
        link_hang_up(c, LINK_BLOBS);
        calls_lost(c, LINK_BLOBS);
    }
    jobs_lost(c);
    l->state = LINK_DOWN;
    c->at++;
    if (c->at >= c->targets || is_final(code)) {
        c->at = c->by_broker ? c->targets : 0;
        link_pause(c, l);
    }
}

static void broker_closed(struct client *c)
{
    c->matching = false;
    link_pause(c, &c->link[LINK_BROKER]);
}

static void blobs_closed(struct client *c)
{
    link_pause(c, &c->link[LINK_BLOBS]);
}

void link_closed(struct client *c, const struct client_event *e)
{
    struct link *l = &c->link[e->link];
    if (l->state != LINK_UP && l->state != LINK_DIALLED)
        return;
    if (e->text.len > 0)
        text_set(c->trouble, sizeof c->trouble, "%.*s", (int)(e->text.len < 1024 ? e->text.len : 1024),
                 (const char *)e->text.data);
    else
        text_set(c->trouble, sizeof c->trouble, "%s", cx_err_text(e->code));
    if (e->link == LINK_TASKS)
        tasks_closed(c, e->code);
    else if (e->link == LINK_BROKER)
        broker_closed(c);
    else
        blobs_closed(c);
    calls_lost(c, e->link);
    if (is_final(e->code))
        calls_fail(c, e->link, e->code);
}

void link_offer(struct client *c, const struct client_event *e)
{
    if (c->matching && e->req == c->match_req)
        add_target(c, (const char *)e->address.data, e->address.len);
}

bool link_matched(struct client *c, const struct client_event *e)
{
    struct link *l = &c->link[LINK_BROKER];
    if (!c->matching || e->req != c->match_req)
        return false;
    c->matching = false;
    if (e->code == 0 && c->targets > 0) {
        l->failures = 0;
        return true;
    }
    text_set(c->trouble, sizeof c->trouble, "the broker knows no network%s%s: %.*s",
             c->network[0] != '\0' ? " " : "", c->network, (int)(e->text.len < 512 ? e->text.len : 512),
             e->text.len > 0 ? (const char *)e->text.data : "");
    c->targets = c->at = 0;
    link_pause(c, &c->link[LINK_TASKS]); /* then the broker is asked again */
    if (is_final(e->code))
        calls_fail(c, LINK_BROKER, e->code);
    return true;
}
