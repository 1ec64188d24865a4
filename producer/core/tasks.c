/* The tasks that we hold: a pool of records and an index by job and TaskID. */
#include "producer/core/internal.h"

#define CHUNK_TASKS 256u

struct task_chunk {
    struct task_chunk *next;
    struct task task[CHUNK_TASKS];
};

void list_append(struct task_list *l, struct task *t)
{
    t->next = NULL;
    t->prev = l->tail;
    *(l->tail ? &l->tail->next : &l->head) = t;
    l->tail = t;
    l->n++;
}

void list_remove(struct task_list *l, struct task *t)
{
    must(l->n > 0);
    *(t->prev ? &t->prev->next : &l->head) = t->next;
    *(t->next ? &t->next->prev : &l->tail) = t->prev;
    t->prev = t->next = NULL;
    l->n--;
}

static void *checked(void *p)
{
    if (!p)
        abort();
    return p;
}

static void pool_grow(struct task_pool *p)
{
    struct task_chunk *c = checked(malloc(sizeof *c));
    c->next = p->chunks;
    p->chunks = c;
    for (uint32_t i = 0; i < CHUNK_TASKS; i++) {
        c->task[i].big = NULL;
        c->task[i].chain = p->free;
        p->free = &c->task[i];
    }
}

void pool_free(struct task_pool *p)
{
    for (uint32_t i = 0; i < p->buckets; i++)
        for (struct task *t = p->bucket[i]; t; t = t->chain)
            free(t->big);
    while (p->chunks) {
        struct task_chunk *c = p->chunks;
        p->chunks = c->next;
        free(c);
    }
    free(p->bucket);
    *p = (struct task_pool){0};
}

/* TaskIDs are folded by XXH3, so their bits are as good as a hash. */
static uint32_t bucket_of(const struct task_pool *p, const struct job *job, struct id id)
{
    return (uint32_t)(id.lo + job->slot * UINT64_C(0x9E3779B97F4A7C15)) & (p->buckets - 1);
}

static void index_grow(struct task_pool *p)
{
    uint32_t old = p->buckets;
    struct task **was = p->bucket;
    p->buckets = old ? old * 2 : 1024;
    p->bucket = checked(calloc(p->buckets, sizeof *p->bucket));
    for (uint32_t i = 0; i < old; i++) {
        for (struct task *t = was[i], *next; t; t = next) {
            next = t->chain;
            struct task **b = &p->bucket[bucket_of(p, t->job, t->id)];
            t->chain = *b;
            *b = t;
        }
    }
    free(was);
}

struct task *task_find(const struct task_pool *p, const struct job *job, struct id id)
{
    if (!p->buckets)
        return NULL;
    struct task *t = p->bucket[bucket_of(p, job, id)];
    while (t && !(t->job == job && id_equal(t->id, id)))
        t = t->chain;
    return t;
}

static void keep_grant(struct task *t, struct bytes packed)
{
    t->len = (uint32_t)packed.len;
    t->big = packed.len > TASK_SMALL ? checked(malloc(packed.len)) : NULL;
    memcpy(t->big ? t->big : t->small, packed.data, packed.len);
}

struct task *task_new(struct task_pool *p, struct job *job, const struct grant *g, struct bytes packed)
{
    if (p->n >= p->buckets)
        index_grow(p);
    if (!p->free)
        pool_grow(p);
    struct task *t = p->free;
    p->free = t->chain;
    t->id = g->task;
    t->hash = g->hash;
    t->job = job;
    t->prev = t->next = NULL;
    t->seat = PD_NO_SEAT;
    t->state = TASK_QUEUED;
    t->wish = WISH_NONE;
    keep_grant(t, packed);
    struct task **b = &p->bucket[bucket_of(p, job, t->id)];
    t->chain = *b;
    *b = t;
    p->n++;
    job->tasks++;
    return t;
}

void task_free(struct task_pool *p, struct task *t)
{
    must(t->seat == PD_NO_SEAT && t->job->tasks > 0 && p->n > 0);
    struct task **at = &p->bucket[bucket_of(p, t->job, t->id)];
    while (*at != t)
        at = &(*at)->chain;
    *at = t->chain;
    t->job->tasks--;
    p->n--;
    free(t->big);
    t->big = NULL;
    t->chain = p->free;
    p->free = t;
}
