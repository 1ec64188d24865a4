/* Connections: which server to go to, when to dial, when to try again. */
#include <string.h>

#include "consumer/core/internal.h"

#define BROKER_SCHEME "broker:"

/* ---- Addresses ---- */

static int parse_broker(struct client *c, const char *text)
{
    size_t len = strcspn(text, "/");
    const char *network = text + len + (text[len] == '/');
    if (len == 0 || len >= CLIENT_ADDRESS_MAX || memchr(text, ':', len) == NULL ||
        strlen(network) >= CLIENT_NETWORK_MAX)
        return CX_EINVAL;
    memcpy(c->broker, text, len);
    strcpy(c->network, network);
    c->by_broker = c->stale = true;
    return 0;
}

int links_parse(struct client *c, const char *address)
{
    if (strncmp(address, BROKER_SCHEME, strlen(BROKER_SCHEME)) == 0)
        return parse_broker(c, address + strlen(BROKER_SCHEME));
    return targets_add(&c->targets, bytes_str(address), bytes_str("")) ? 0 : CX_EINVAL;
}

const char *links_where(const struct client *c)
{
    if (c->by_broker && c->targets.n == 0)
        return c->broker;
    return c->targets.target[c->at].address;
}

/* ---- Pauses ---- */

static uint64_t draw(struct client *c)
{
    c->random ^= c->random << 13; /* xorshift64 (Marsaglia, 2003) */
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return c->random;
}

static uint64_t pause_max(const struct client *c, const struct link *l)
{
    if (l == &c->link[LINK_BROKER] || !(c->bound || jobs_need(c)))
        return CLIENT_BACKOFF_MAX;
    return c->refused ? CLIENT_REFUSED_MAX : CLIENT_LIVE_MAX;
}

/* Twice as long each time, and from half to all of that, so that clients of a server that came back do not
 * come all at once. A pair has a new primary after half a second, and whoever has jobs there is not to wait
 * much longer. */
static void link_pause(struct client *c, struct link *l)
{
    uint64_t pause = CLIENT_BACKOFF_MIN, max = pause_max(c, l);
    for (uint32_t i = 0; i < l->failures && pause < max; i++)
        pause *= 2;
    if (pause > max)
        pause = max;
    l->failures++;
    l->state = LINK_PAUSE;
    l->retry_us = c->now_us + pause / 2 + draw(c) % (pause / 2 + 1);
}

/* When to give up on a machine that does not even refuse, for there are others; UINT64_MAX: never. */
static uint64_t dial_limit(const struct client *c)
{
    const struct link *l = &c->link[LINK_TASKS];
    if (l->state != LINK_DIALLED || !target_other(c))
        return UINT64_MAX;
    return l->dialled_us + ((uint64_t)CLIENT_DIAL_US << (c->rounds < 4 ? c->rounds : 4));
}

void links_tick(struct client *c)
{
    for (int i = 0; i < LINKS; i++)
        if (c->link[i].state == LINK_PAUSE && c->link[i].retry_us <= c->now_us)
            c->link[i].state = LINK_DOWN; /* links_tend dials if it is still needed */
    if (dial_limit(c) <= c->now_us)
        link_leave(c, "it does not answer");
}

uint64_t links_due(const struct client *c)
{
    uint64_t due = dial_limit(c);
    for (int i = 0; i < LINKS; i++)
        if (c->link[i].state == LINK_PAUSE && c->link[i].retry_us < due)
            due = c->link[i].retry_us;
    return due;
}

/* ---- The shard ---- */

void link_bind(struct client *c)
{
    if (!id_is_zero(c->shard))
        c->bound = true;
}

bool link_tied(const struct client *c)
{
    return c->bound || calls_doubt(c) || jobs_doubt(c);
}

/* A server that was overtaken and has not heard of it may say wrongly that there is no such job. It is
 * believed when every server of the shard has said so or is not its primary. One that cannot be reached is
 * not waited for, except when the job was acknowledged to us: then it may be the one who has it. */
bool links_denied(struct client *c, uint32_t *denied)
{
    if (id_is_zero(c->shard))
        return true;
    *denied |= 1u << c->at;
    if ((targets_home(c) & ~*denied) == 0)
        return true;
    c->leave = true;
    return false;
}

bool link_asks(const struct client *c, uint32_t denied)
{
    return (denied >> c->at & 1) == 0 || !c->leave;
}

/* ---- Dialling ---- */

static void dial(struct client *c, enum client_link link, const char *address)
{
    struct client_effect *fx = client_fx(c, CLIENT_FX_DIAL, link);
    fx->address = address;
    c->link[link].state = link == LINK_TASKS ? LINK_DIALLED : LINK_UP; /* the others have no greeting */
    c->link[link].dialled_us = c->now_us;
    if (link == LINK_TASKS)
        client_send(c, link, SEND_HELLO, 0)->id = link_tied(c) ? c->shard : (struct id){0, 0};
}

static void match(struct client *c)
{
    c->matching = true;
    c->stale = false;
    c->match_req = ++c->reqs;
    c->offers.n = 0;
    client_send(c, LINK_BROKER, SEND_MATCH, c->match_req)->address = c->network;
}

static bool tasks_needed(const struct client *c)
{
    return c->link[LINK_TASKS].state == LINK_DOWN && (calls_need(c, LINK_TASKS) || jobs_need(c));
}

/* Who has a job somewhere goes on without the broker; who has none wants to know first who is best. */
static void tend_tasks(struct client *c)
{
    if (!tasks_needed(c))
        return;
    if (c->stale && c->link[LINK_BROKER].state == LINK_UP && !c->matching)
        match(c);
    if (c->targets.n > 0 && (!c->matching || link_tied(c)))
        dial(c, LINK_TASKS, c->targets.target[c->at].address);
}

static bool needs_broker(const struct client *c)
{
    return c->by_broker && (calls_need(c, LINK_BROKER) || (c->stale && tasks_needed(c)));
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
        dial(c, LINK_BLOBS, c->targets.target[c->at].address);
        calls_send(c);
    }
}

/* ---- What happens to them ---- */

static bool is_wanted(const struct client *c, const struct client_event *e)
{
    bool none = id_is_zero(e->shard) && e->address.len > 0;
    return c->any || (link_tied(c) && !id_is_zero(c->shard) ? id_equal(e->shard, c->shard) : !none);
}

void link_greeted(struct client *c, const struct client_event *e)
{
    struct link *l = &c->link[LINK_TASKS];
    if (l->state != LINK_DIALLED)
        return;
    if (!is_wanted(c, e)) {
        c->refused = true;
        link_leave(c, "it does not serve the shard");
        return;
    }
    l->state = LINK_UP;
    if (!calls_doubt(c) && !jobs_doubt(c))
        l->failures = 0;
    c->ever_up = true;
    c->refused = false;
    c->tried = c->rounds = 0;
    c->shard = c->any ? c->shard : e->shard;
    if (c->network[0] == '\0' && e->network.len < CLIENT_NETWORK_MAX && e->network.len > 0)
        memcpy(c->network, e->network.data, e->network.len);
    if (!c->any)
        targets_settle(c, e->address);
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

static bool says_not_primary(const struct client *c)
{
    return strstr(c->trouble, "not the primary") != NULL;
}

static void tasks_closed(struct client *c, int code)
{
    struct link *l = &c->link[LINK_TASKS];
    bool greeted = l->state == LINK_UP;
    c->knowns = 0; /* the next server may be another */
    c->leave = false;
    if (c->link[LINK_BLOBS].state == LINK_UP) {
        link_hang_up(c, LINK_BLOBS);
        calls_lost(c, LINK_BLOBS);
    }
    jobs_lost(c);
    l->state = LINK_DOWN;
    c->refused = c->refused || says_not_primary(c);
    if (!greeted) {
        calls_unheard(c, says_not_primary(c));
        jobs_unheard(c, says_not_primary(c));
    }
    if (!target_next(c) || is_final(code)) {
        c->stale = c->by_broker;
        link_pause(c, l);
        c->refused = false;
    }
}

/* As if it had been closed by the other side. */
void link_leave(struct client *c, const char *why)
{
    if (c->link[LINK_TASKS].state < LINK_DIALLED)
        return;
    client_fx(c, CLIENT_FX_HANGUP, LINK_TASKS);
    text_set(c->trouble, sizeof c->trouble, "%s: %s", links_where(c), why);
    tasks_closed(c, CX_ENONET);
    calls_lost(c, LINK_TASKS);
}

static void broker_closed(struct client *c)
{
    c->stale = c->stale || c->matching;
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
    if (is_final(e->code) || (c->any && e->link == LINK_TASKS))
        calls_fail(c, e->link, e->code);
}

void link_offer(struct client *c, const struct client_event *e)
{
    if (c->matching && e->req == c->match_req)
        targets_add(&c->offers, e->address, e->network);
}

static void no_offers(struct client *c, const struct client_event *e)
{
    struct link *l = &c->link[LINK_TASKS];
    text_set(c->trouble, sizeof c->trouble, "the broker knows no network%s%s: %.*s",
             c->network[0] != '\0' ? " " : "", c->network, (int)(e->text.len < 512 ? e->text.len : 512),
             e->text.len > 0 ? (const char *)e->text.data : "");
    if (c->targets.n == 0) {
        c->stale = true; /* it is asked again after a pause */
        link_pause(c, l);
    }
    if (is_final(e->code))
        calls_fail(c, LINK_BROKER, e->code);
}

bool link_matched(struct client *c, const struct client_event *e)
{
    if (!c->matching || e->req != c->match_req)
        return false;
    c->matching = false;
    if (e->code == 0 && c->offers.n > 0) {
        c->link[LINK_BROKER].failures = 0;
        targets_renew(c);
    } else {
        no_offers(c, e);
    }
    return true;
}
