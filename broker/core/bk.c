#include "broker/core/bk.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "base/shard.h"
#include "broker/core/policy.h"
#include "broker/core/registry.h"

struct bk {
    struct bk_config config;
    struct registry registry;
    struct server **offers; /* owned: room for offers_max */
};

struct bk *bk_new(const struct bk_config *config)
{
    struct bk *bk = calloc(1, sizeof *bk);
    must(bk);
    must(config->offers_max > 0 && policy_valid(config->policy ? config->policy : ""));
    bk->config = *config;
    bk->registry = registry_new(config->servers_max);
    bk->offers = calloc(config->offers_max, sizeof *bk->offers);
    must(bk->offers);
    return bk;
}

void bk_free(struct bk *bk)
{
    if (!bk)
        return;
    registry_free(&bk->registry);
    free(bk->offers);
    free(bk);
}

/* ---- Effects ---- */

static struct bk_effect *add(struct bk_effects *out, enum bk_effect_kind kind, const struct bk_event *e)
{
    if (out->n == out->cap) {
        out->cap = out->cap ? out->cap * 2 : 16;
        out->fx = realloc(out->fx, out->cap * sizeof *out->fx);
        must(out->fx);
    }
    struct bk_effect *fx = &out->fx[out->n++];
    *fx = (struct bk_effect){.kind = kind, .peer = e->peer, .req = e->req};
    return fx;
}

__attribute__((format(printf, 4, 5))) static void reply(struct bk_effects *out, const struct bk_event *e,
                                                        int code, const char *format, ...)
{
    struct bk_effect *fx = add(out, BK_FX_REPLY, e);
    fx->code = code;
    va_list ap;
    va_start(ap, format);
    vsnprintf(fx->text, sizeof fx->text, format, ap);
    va_end(ap);
}

static void add_server(const struct bk *bk, struct bk_effects *out, enum bk_effect_kind kind,
                       const struct bk_event *e, const struct server *s)
{
    struct bk_effect *fx = add(out, kind, e);
    fx->server = (uint32_t)(s - bk->registry.server);
    fx->version = s->version;
    fx->record = &s->record;
    fx->load = s->load;
    fx->alive = server_alive(s, e->now_us, bk->config.silence_us);
    fx->age_us = e->now_us > s->seen_us ? e->now_us - s->seen_us : 0;
}

void bk_effects_free(struct bk_effects *e)
{
    free(e->fx);
    *e = (struct bk_effects){0};
}

/* ---- Register ---- */

/* Printable, no spaces, ends in :PORT. */
static bool one_address_valid(struct bytes a)
{
    size_t digits = 0;
    for (size_t i = 0; i < a.len; i++)
        if (a.data[i] <= ' ' || a.data[i] > '~')
            return false;
    while (digits < a.len && a.data[a.len - 1 - digits] >= '0' && a.data[a.len - 1 - digits] <= '9')
        digits++;
    return digits >= 1 && digits <= 5 && a.len >= digits + 2 && a.data[a.len - 1 - digits] == ':';
}

/* Things with commas between. */
static bool list_valid(struct bytes a, size_t max, bool (*valid)(struct bytes one))
{
    if (a.len > max)
        return false;
    for (size_t from = 0, i = 0; i <= a.len; i++) {
        if (i < a.len && a.data[i] != ',')
            continue;
        if (!valid(bytes_of(a.data + from, i - from)))
            return false;
        from = i + 1;
    }
    return true;
}

static bool address_valid(struct bytes a)
{
    return list_valid(a, BK_ADDRESS_MAX, one_address_valid);
}

static bool arch_valid(struct bytes a)
{
    return a.len == 0 || list_valid(a, BK_ARCH_MAX, bk_name_valid);
}

static void copy(char *dst, size_t cap, struct bytes s)
{
    must(s.len < cap);
    if (s.len)
        memcpy(dst, s.data, s.len);
    dst[s.len] = 0;
}

static bool register_valid(const struct bk_event *e, struct bk_effects *out)
{
    const struct bk_register *g = &e->u.reg;
    const char *field = !bk_name_valid(g->network) ? "network: 1 to 63 letters, digits, '.', '-' or '_'"
                        : !address_valid(g->address)
                            ? "address: must be HOST:PORT, or several with commas, at most 255 characters"
                        : !arch_valid(g->arch) ? "arch: must be names with commas between"
                                               : NULL;
    if (e->role != BK_SERVER)
        reply(out, e, CX_EAUTH, "only a certificate of role server may register a network");
    else if (!bk_name_valid(bytes_str(e->name)))
        reply(out, e, CX_EAUTH, "the certified name is not one that can register");
    else if (field)
        reply(out, e, CX_EINVAL, "register: %s", field);
    else
        return true;
    return false;
}

/* May this name serve this network, and is there room? Finds or makes its entry; NULL: refused, and said why.
 */
static struct server *admit(struct bk *bk, const struct bk_event *e, const char *network,
                            struct bk_effects *out)
{
    struct server *s = registry_find(&bk->registry, network, e->name);
    enum policy_answer answer = policy_ask(bk->config.policy, network, e->name);
    if (answer == POLICY_OTHERS) {
        reply(out, e, CX_EAUTH, "network %s is not for server %s: the broker's `servers` does not list it",
              network, e->name);
        return NULL;
    }
    if (s)
        return s;
    struct registry_count count = registry_count(&bk->registry, network, e->name);
    if (answer == POLICY_SILENT && count.in_network > 0)
        reply(out, e, CX_EAUTH,
              "network %s belongs to another server; to share it, list both in the broker's `servers`",
              network);
    else if (count.in_network == 0 && bk->registry.networks >= bk->config.networks_max)
        reply(out, e, CX_ELIMIT, "the broker knows %u networks, as many as it may", bk->registry.networks);
    else if (count.of_name >= bk->config.per_name_max)
        reply(out, e, CX_ELIMIT, "server %s is in %u networks, as many as it may", e->name, count.of_name);
    else if (!(s = registry_add(&bk->registry, network, e->name)))
        reply(out, e, CX_ELIMIT, "the broker knows %u servers, as many as it may", bk->registry.max);
    return s;
}

/* Capacity comes and goes with the producers: it is worth a write only when it is another order of things. */
static bool capacity_moved(uint32_t saved, uint32_t now)
{
    return now > 2 * (uint64_t)saved || 2 * (uint64_t)now < saved;
}

/* Takes over what the server says of itself; true when the record changed. */
static bool update_record(struct bk_record *r, const struct bk_register *g)
{
    bool changed = !bytes_equal(g->address, bytes_str(r->address)) ||
                   !bytes_equal(g->arch, bytes_str(r->arch)) || g->incarnation != r->incarnation ||
                   g->price != r->price || capacity_moved(r->threads, g->threads);
    if (!changed)
        return false;
    copy(r->address, sizeof r->address, g->address);
    copy(r->arch, sizeof r->arch, g->arch);
    r->incarnation = g->incarnation;
    r->price = g->price;
    r->threads = g->threads;
    return true;
}

static void on_register(struct bk *bk, const struct bk_event *e, struct bk_effects *out)
{
    const struct bk_register *g = &e->u.reg;
    char network[BK_NAME_MAX + 1];
    if (!register_valid(e, out))
        return;
    copy(network, sizeof network, g->network);
    struct server *s = admit(bk, e, network, out);
    if (!s)
        return;
    if (update_record(&s->record, g))
        s->version++;
    s->load = (struct bk_load){g->producers, g->threads, g->ready, g->granted, g->jobs};
    s->seen_us = e->now_us;
    s->heard = true;
    s->placed = 0;
    if (s->version != s->saved)
        add_server(bk, out, BK_FX_SAVE, e, s);
    else
        reply(out, e, 0, "%s", "");
}

static void on_saved(struct bk *bk, const struct bk_event *e, struct bk_effects *out)
{
    must(e->u.saved.server < bk->registry.n);
    struct server *s = &bk->registry.server[e->u.saved.server];
    if (e->u.saved.code) {
        reply(out, e, e->u.saved.code, "the broker could not write its store; try again");
        return;
    }
    must(e->u.saved.version <= s->version);
    if (e->u.saved.version > s->saved)
        s->saved = e->u.saved.version;
    reply(out, e, 0, "%s", "");
}

/* ---- Match, Place, List ---- */

static uint32_t answer(struct bk *bk, const struct bk_event *e, const struct order *order,
                       struct bk_effects *out)
{
    uint32_t n = registry_rank(&bk->registry, order, bk->offers, bk->config.offers_max);
    for (uint32_t i = 0; i < n; i++)
        add_server(bk, out, BK_FX_OFFER, e, bk->offers[i]);
    return n;
}

static void on_match(struct bk *bk, const struct bk_event *e, struct bk_effects *out)
{
    const struct bk_match *m = &e->u.match;
    if (e->role != BK_CONSUMER && e->role != BK_ADMIN) {
        reply(out, e, CX_EAUTH, "only a certificate of role consumer or admin may ask for a match");
        return;
    }
    struct order order = {.now_us = e->now_us,
                          .silence_us = bk->config.silence_us,
                          .network = m->network,
                          .arch = m->arch,
                          .threads = m->threads,
                          .price_max = m->price_max};
    if (answer(bk, e, &order, out) > 0)
        reply(out, e, 0, "%s", "");
    else if (bk->registry.n == 0)
        reply(out, e, CX_ENOTFOUND, "no network has registered with this broker");
    else
        reply(out, e, CX_ENOTFOUND, "none of %u registered servers suits: network, threads, arch or price",
              bk->registry.n);
}

static void on_place(struct bk *bk, const struct bk_event *e, struct bk_effects *out)
{
    if (e->role != BK_PRODUCER && e->role != BK_ADMIN) {
        reply(out, e, CX_EAUTH, "only a certificate of role producer or admin may ask for a place");
        return;
    }
    struct order order = {
        .now_us = e->now_us, .silence_us = bk->config.silence_us, .place = true, .arch = e->u.place.arch};
    if (answer(bk, e, &order, out) == 0) {
        reply(out, e, CX_ENOTFOUND, "no network has registered with this broker");
        return;
    }
    /* Many producers may come before the servers report again: they are not all sent to the same one. */
    bk->offers[0]->placed += e->u.place.threads ? e->u.place.threads : 1;
    reply(out, e, 0, "%s", "");
}

static void on_list(struct bk *bk, const struct bk_event *e, struct bk_effects *out)
{
    for (uint32_t i = 0; i < bk->registry.n; i++)
        add_server(bk, out, BK_FX_ROW, e, &bk->registry.server[i]);
    reply(out, e, 0, "%s", "");
}

void bk_step(struct bk *bk, const struct bk_event *event, struct bk_effects *out)
{
    static void (*const handlers[])(struct bk *, const struct bk_event *, struct bk_effects *) = {
        [BK_REGISTER] = on_register, [BK_MATCH] = on_match, [BK_PLACE] = on_place,
        [BK_LIST] = on_list,         [BK_SAVED] = on_saved,
    };
    out->n = 0;
    handlers[event->kind](bk, event, out);
}

/* ---- Start, checks ---- */

bool bk_restore(struct bk *bk, const struct bk_record *record, uint64_t now_us)
{
    if (!bk_name_valid(bytes_str(record->network)) || !bk_name_valid(bytes_str(record->name)) ||
        !address_valid(bytes_str(record->address)) || !arch_valid(bytes_str(record->arch)) ||
        registry_find(&bk->registry, record->network, record->name))
        return false;
    struct server *s = registry_add(&bk->registry, record->network, record->name);
    if (!s)
        return false;
    s->record = *record;
    s->load.threads = record->threads;
    s->seen_us = now_us;
    return true;
}

/* ---- Who may ask the witness ---- */

struct owner {
    const char *network;
    struct id shard;
};

static bool owns(void *ctx, const char *name)
{
    const struct owner *o = ctx;
    return id_equal(shard_id(o->network, name), o->shard);
}

static bool in_network(const struct bk *bk, const char *network, struct id shard)
{
    struct owner o = {network, shard};
    for (uint32_t i = 0; i < bk->registry.n; i++) {
        const struct bk_record *r = &bk->registry.server[i].record;
        if (strcmp(r->network, network) == 0 && owns(&o, r->name))
            return true;
    }
    return policy_names(bk->config.policy, network, owns, &o);
}

bool bk_may_ask(const struct bk *bk, const char *name, struct id shard)
{
    for (uint32_t i = 0; i < bk->registry.n; i++) {
        const struct bk_record *r = &bk->registry.server[i].record;
        if (strcmp(r->name, name) == 0 && in_network(bk, r->network, shard))
            return true;
    }
    return false;
}

void bk_check(const struct bk *bk)
{
    must(bk->registry.n <= bk->registry.max);
    for (uint32_t i = 0; i < bk->registry.n; i++) {
        const struct server *s = &bk->registry.server[i];
        must(bk_name_valid(bytes_str(s->record.network)) && bk_name_valid(bytes_str(s->record.name)));
        must(address_valid(bytes_str(s->record.address)) && arch_valid(bytes_str(s->record.arch)));
        must(registry_find(&bk->registry, s->record.network, s->record.name) == s);
        must(s->saved <= s->version);
    }
}
