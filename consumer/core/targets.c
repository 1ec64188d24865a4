/* Addresses: which servers there are, which of them may serve our shard, and whose turn it is. */
#include <string.h>

#include "consumer/core/internal.h"

#define ALL_EVERY 4 /* rounds: a server that replaced one of the pair may have another address */

/* ---- The list ---- */

static struct target *target_find(struct targets *t, struct bytes address)
{
    for (uint32_t i = 0; i < t->n; i++)
        if (strlen(t->target[i].address) == address.len &&
            memcmp(t->target[i].address, address.data, address.len) == 0)
            return &t->target[i];
    return NULL;
}

static void text_copy(char *out, size_t cap, struct bytes text)
{
    size_t n = text.len < cap ? text.len : 0;
    if (n > 0)
        memcpy(out, text.data, n);
    out[n] = '\0';
}

static bool is_address(struct bytes a)
{
    return a.len > 0 && a.len < CLIENT_ADDRESS_MAX && memchr(a.data, ':', a.len) != NULL &&
           memchr(a.data, '\0', a.len) == NULL;
}

bool target_add(struct targets *t, struct bytes address, struct bytes network)
{
    if (!is_address(address))
        return false;
    if (target_find(t, address) != NULL)
        return true;
    if (t->n == CLIENT_TARGETS_MAX)
        return false;
    struct target *target = &t->target[t->n++];
    *target = (struct target){.home = false};
    text_copy(target->address, sizeof target->address, address);
    text_copy(target->network, sizeof target->network, network);
    return true;
}

/* Takes the first of a comma-separated list off it. */
static struct bytes list_take(struct bytes *list)
{
    const uint8_t *comma = list->len > 0 ? memchr(list->data, ',', list->len) : NULL;
    size_t n = comma != NULL ? (size_t)(comma - list->data) : list->len;
    struct bytes first = bytes_of(list->data, n);
    *list = comma != NULL ? bytes_of(comma + 1, list->len - n - 1) : bytes_of(NULL, 0);
    return first;
}

bool targets_add(struct targets *t, struct bytes list, struct bytes network)
{
    bool all = true;
    size_t commas = 0;
    for (size_t i = 0; i < list.len; i++)
        commas += list.data[i] == ',';
    for (size_t i = 0; i <= commas; i++)
        all = target_add(t, list_take(&list), network) && all;
    return all;
}

/* ---- Ours among them ---- */

uint32_t targets_home(const struct client *c)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < c->targets.n; i++)
        bits |= (uint32_t)c->targets.target[i].home << i;
    return bits;
}

/* When the table is full, the last of those that are not ours makes room. */
static struct target *target_home(struct client *c, struct bytes address)
{
    struct targets *t = &c->targets;
    if (!is_address(address))
        return NULL;
    if (t->n == CLIENT_TARGETS_MAX && target_find(t, address) == NULL) {
        uint32_t last = t->n - 1;
        if (t->target[last].home || last == c->at)
            return NULL;
        t->n--;
    }
    target_add(t, address, bytes_str(c->network));
    return target_find(t, address);
}

void targets_settle(struct client *c, struct bytes list)
{
    if (list.len == 0)
        return; /* a server that knows no shards */
    for (uint32_t i = 0; i < c->targets.n; i++)
        c->targets.target[i].home = i == c->at;
    while (list.len > 0) {
        struct target *t = target_home(c, list_take(&list));
        if (t != NULL)
            t->home = true;
    }
}

void targets_renew(struct client *c)
{
    if (targets_home(c) != 0 && (c->bound || c->link[LINK_TASKS].state >= LINK_DIALLED)) {
        for (uint32_t i = 0; i < c->offers.n; i++) /* ours stay, and in their places */
            target_add(&c->targets, bytes_str(c->offers.target[i].address),
                       bytes_str(c->offers.target[i].network));
    } else if (c->link[LINK_TASKS].state < LINK_DIALLED) {
        c->targets = c->offers;
        c->at = c->tried = 0;
        calls_forget_doubts(c);
        jobs_forget_doubts(c);
    }
}

/* ---- Whose turn it is ---- */

static bool is_candidate(const struct client *c, uint32_t i)
{
    const struct target *t = &c->targets.target[i];
    bool ours = c->network[0] == '\0' || t->network[0] == '\0' || strcmp(t->network, c->network) == 0;
    bool all = targets_home(c) == 0 || !link_tied(c) || c->rounds % ALL_EVERY == ALL_EVERY - 1;
    return ours && (all || t->home);
}

static bool target_seek(const struct client *c, uint32_t *at)
{
    for (uint32_t i = 1; i <= c->targets.n; i++) {
        uint32_t k = (c->at + i) % c->targets.n;
        if ((c->tried >> k & 1) == 0 && is_candidate(c, k)) {
            *at = k;
            return true;
        }
    }
    return false;
}

bool target_other(const struct client *c)
{
    uint32_t at;
    return target_seek(c, &at) && at != c->at;
}

bool target_next(struct client *c)
{
    c->tried |= 1u << c->at;
    if (target_seek(c, &c->at))
        return true;
    c->tried = 0;
    c->rounds++;
    target_seek(c, &c->at);
    return false;
}
