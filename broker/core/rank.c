/* Who suits a consumer, where a producer is needed most. */
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "broker/core/registry.h"

/* Smaller is better, field by field: tier, then the ratio over/under, then price, then the names, so that the
 * order never depends on chance. */
struct candidate {
    struct server *server;
    unsigned tier;
    uint64_t over, under; /* under > 0 */
};

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_ratio(const struct candidate *a, const struct candidate *b)
{
    unsigned __int128 left = (unsigned __int128)a->over * b->under,
                      right = (unsigned __int128)b->over * a->under;
    return (left > right) - (left < right);
}

static int compare(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    const struct bk_record *x = &a->server->record, *y = &b->server->record;
    int c = compare_u64(a->tier, b->tier);
    if (!c)
        c = compare_ratio(a, b);
    if (!c)
        c = compare_u64(x->price, y->price);
    if (!c)
        c = strcmp(x->network, y->network);
    return c ? c : strcmp(x->name, y->name);
}

/* Is `one` an element of the comma-separated list? */
static bool list_has(const char *list, struct bytes one)
{
    for (const char *at = list; *at;) {
        size_t len = strcspn(at, ",");
        if (len == one.len && memcmp(at, one.data, len) == 0)
            return true;
        at += len + (at[len] == ',');
    }
    return false;
}

static bool suits_arch(const struct server *s, struct bytes arch)
{
    return arch.len == 0 || s->record.arch[0] == 0 || list_has(s->record.arch, arch);
}

/* A consumer: what it requires is required. A network whose producers are not known yet may still suit it. */
static bool matches(const struct server *s, const struct order *o)
{
    return (o->network.len == 0 || bytes_equal(o->network, bytes_str(s->record.network))) &&
           s->load.threads >= o->threads && suits_arch(s, o->arch) &&
           (o->price_max == 0 || s->record.price <= o->price_max);
}

static uint64_t sum(uint64_t a, uint64_t b)
{
    uint64_t c;
    return __builtin_add_overflow(a, b, &c) ? UINT64_MAX : c;
}

/* Consumers: least work per thread. Producers: fewest threads, those on their way included, per ready task;
 * another architecture's network comes after those where it can surely help. */
static struct candidate candidate_of(struct server *s, const struct order *o)
{
    struct candidate c = {.server = s, .tier = server_alive(s, o->now_us, o->silence_us) ? 0 : 2};
    if (o->place) {
        c.tier += !suits_arch(s, o->arch);
        c.over = sum(s->load.threads, s->placed);
        c.under = sum(s->load.ready, 1);
    } else {
        c.tier += s->load.threads == 0;
        c.over = sum(s->load.ready, s->load.granted);
        c.under = s->load.threads ? s->load.threads : 1;
    }
    return c;
}

uint32_t registry_rank(const struct registry *r, const struct order *order, struct server **best,
                       uint32_t most)
{
    struct candidate *all = calloc(r->n + 1, sizeof *all);
    must(all);
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n; i++)
        if (order->place || matches(&r->server[i], order))
            all[n++] = candidate_of(&r->server[i], order);
    qsort(all, n, sizeof *all, compare);
    if (n > most)
        n = most;
    for (uint32_t i = 0; i < n; i++)
        best[i] = all[i].server;
    free(all);
    return n;
}
