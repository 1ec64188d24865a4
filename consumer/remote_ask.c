/* Lanes, and how callers' questions go along them. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "consumer/remote.h"

#define GRACE_US  3000000 /* how long a network that was never reached is tried before CX_ENONET */
#define LANES_MAX 128

/* ---- Lanes ---- */

bool lane_init(struct lane *l, struct remote *r, const char *address, struct id shard, bool any)
{
    struct client_config config = {.address = address, .grace_us = GRACE_US, .shard = shard, .any = any};
    if (getrandom(&config.seed, sizeof config.seed, 0) != (ssize_t)sizeof config.seed)
        config.seed = (uint64_t)(uintptr_t)l; /* jitter needs no secrecy */
    *l = (struct lane){.remote = r, .shard = shard};
    l->inbox_end = &l->inbox;
    l->client = client_new(&config);
    return l->client != NULL;
}

void lane_free(struct lane *l)
{
    if (l->client != NULL)
        client_free(l->client);
    client_effects_free(&l->fx);
    free(l->address);
}

static struct lane *lane_add(struct remote *r, const char *address, struct id shard, bool any)
{
    struct lane *l = r->lanes < LANES_MAX ? calloc(1, sizeof *l) : NULL;
    if (l == NULL)
        return NULL;
    if (!lane_init(l, r, address, shard, any) || (any && (l->address = strdup(address)) == NULL)) {
        lane_free(l);
        free(l);
        return NULL;
    }
    r->lanes++;
    l->next = r->more;
    r->more = l;
    return l;
}

struct lane *lane_to_shard(struct remote *r, struct id shard, const char *addresses)
{
    pthread_mutex_lock(&r->lock);
    struct lane *l = id_equal(client_bound(r->home.client), shard) ? &r->home : r->more;
    while (l != NULL && l != &r->home && !id_equal(l->shard, shard))
        l = l->next;
    if (l == NULL)
        l = lane_add(r, addresses, shard, false);
    pthread_mutex_unlock(&r->lock);
    return l;
}

struct lane *lane_to_server(struct remote *r, const char *address)
{
    pthread_mutex_lock(&r->lock);
    struct lane *l = r->more;
    while (l != NULL && (l->address == NULL || strcmp(l->address, address) != 0))
        l = l->next;
    if (l == NULL)
        l = lane_add(r, address, (struct id){0, 0}, true);
    pthread_mutex_unlock(&r->lock);
    return l;
}

/* ---- Questions ---- */

static void post(struct question *q)
{
    struct lane *l = q->lane;
    q->call.next = NULL;
    *l->inbox_end = &q->call;
    l->inbox_end = &q->call.next;
}

/* True: all are done. */
static bool look(struct question *q, unsigned n, bool first, bool *enough)
{
    bool all = true;
    for (unsigned i = 0; i < n; i++) {
        all = all && q[i].call.done;
        *enough = *enough || (first && q[i].call.done && q[i].call.code == 0);
    }
    return all;
}

void ask_all(struct remote *r, struct question *q, unsigned n, bool first)
{
    bool enough = false, told = false;
    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < n; i++)
        post(&q[i]);
    pthread_mutex_unlock(&r->lock);
    loop_wake(r);
    pthread_mutex_lock(&r->lock);
    while (!look(q, n, first, &enough)) {
        if (enough && !told) {
            for (unsigned i = 0; i < n; i++)
                q[i].call.deadline_us = 0;
            told = true;
            loop_wake(r);
        }
        pthread_cond_wait(&r->changed, &r->lock);
    }
    pthread_mutex_unlock(&r->lock);
}

int ask(struct lane *lane, struct call *call)
{
    struct question q = {.call = *call, .lane = lane};
    ask_all(lane->remote, &q, 1, false);
    *call = q.call;
    return call->code;
}
