#include "broker/core/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/must.h"

struct registry registry_new(uint32_t max)
{
    struct registry r = {.server = calloc(max, sizeof *r.server), .max = max};
    must(r.server);
    return r;
}

void registry_free(struct registry *r)
{
    free(r->server);
    *r = (struct registry){0};
}

static uint64_t key_of(const char *network, const char *name)
{
    return hash64(name, strlen(name), hash64(network, strlen(network), 0));
}

struct server *registry_find(const struct registry *r, const char *network, const char *name)
{
    uint64_t key = key_of(network, name);
    for (uint32_t i = 0; i < r->n; i++) {
        struct server *s = &r->server[i];
        if (s->key == key && strcmp(s->record.network, network) == 0 && strcmp(s->record.name, name) == 0)
            return s;
    }
    return NULL;
}

struct server *registry_add(struct registry *r, const char *network, const char *name)
{
    if (r->n == r->max)
        return NULL;
    r->networks += registry_count(r, network, name).in_network == 0;
    struct server *s = &r->server[r->n++];
    s->key = key_of(network, name);
    snprintf(s->record.network, sizeof s->record.network, "%s", network);
    snprintf(s->record.name, sizeof s->record.name, "%s", name);
    return s;
}

struct registry_count registry_count(const struct registry *r, const char *network, const char *name)
{
    struct registry_count count = {0};
    for (uint32_t i = 0; i < r->n; i++) {
        count.in_network += strcmp(r->server[i].record.network, network) == 0;
        count.of_name += strcmp(r->server[i].record.name, name) == 0;
    }
    return count;
}

bool server_alive(const struct server *s, uint64_t now_us, uint64_t silence_us)
{
    return s->heard && (now_us < s->seen_us || now_us - s->seen_us <= silence_us);
}
