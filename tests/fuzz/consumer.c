/* The consumer's core under any sequence of events, and the lists of cx_map under any bytes: nothing but the
 * invariants may end the program. Each event is a few bytes of the input. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "base/pack.h"
#include "consumer/core/client.h"
#include "cx/map.h"

#define CALLS 8
#define JOBS  2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct client_blob blobs[] = {{.sha256 = {1}, .data = {(const uint8_t *)"a", 1}},
                                           {.sha256 = {2}, .data = {(const uint8_t *)"b", 1}}};

struct world {
    struct client *c;
    struct client_effects fx;
    struct call call[CALLS];
    struct client_job job[JOBS];
    uint64_t now;
};

static void step(struct world *w, struct client_event e)
{
    e.now_us = w->now;
    w->fx.n = 0;
    client_step(w->c, &e, &w->fx);
    client_check(w->c);
}

static void ask(struct world *w, uint8_t which, uint8_t kind, uint8_t time)
{
    struct call *call = &w->call[which % CALLS];
    if (!call->done && call->deadline_us != 0)
        return;
    buf_free(&call->out);
    *call = (struct call){.kind = (enum call_kind)(kind % CALL_KINDS),
                          .deadline_us = w->now + time * 5000u + 1,
                          .id = {1, which}};
    if (call->kind == CALL_WAIT || call->kind == CALL_PROGRESS)
        call->job = &w->job[which % JOBS];
    if (call->kind == CALL_SUBMIT) {
        call->blob = blobs;
        call->blobs = which % 3;
    }
    step(w, (struct client_event){.kind = CLIENT_CALL, .call = call});
}

static void event(struct world *w, struct reader *r)
{
    uint8_t kind = get_u8(r), link = get_u8(r), req = get_u8(r), code = get_u8(r);
    struct bytes text = get_bytes(r, 64);
    struct client_progress p = {.executed = code};
    struct client_event e = {.kind = (enum client_event_kind)(kind % (CLIENT_CLOSED + 1)),
                             .link = (enum client_link)(link % LINKS),
                             .req = req,
                             .code = -(int)(code % 16),
                             .text = text,
                             .data = text,
                             .address = text,
                             .network = text,
                             .shard = {0, (uint64_t)(link % 3)},
                             .state = code % 4,
                             .progress = link & 128 ? &p : NULL};
    w->now += code * 1000u;
    if (r->bad || e.kind == CLIENT_JOB_DROP)
        return;
    if (e.kind == CLIENT_CALL)
        ask(w, req, link, code);
    else
        step(w, e);
}

static void items(const uint8_t *data, size_t size)
{
    cx_value v;
    for (size_t n; size > 0 && (n = cx_item_get(data, size, &v)) > 0; data += n, size -= n)
        must(n <= size && n == cx_item_size(v));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const addresses[] = {"a:1", "a:1,b:2", "broker:b:9"};
    struct reader r = reader_of(bytes_of(data, size));
    struct world w = {.now = 1};
    struct client_config config = {.address = addresses[get_u8(&r) % 3], .seed = 3, .grace_us = 100000};
    w.c = client_new(&config);
    for (int i = 0; i < JOBS; i++)
        w.job[i].id = (struct id){2, (uint64_t)i};
    while (reader_more(&r))
        event(&w, &r);
    w.now += 1000000000;
    step(&w, (struct client_event){.kind = CLIENT_TICK});
    for (int i = 0; i < CALLS; i++) {
        must(w.call[i].done || w.call[i].deadline_us == 0);
        buf_free(&w.call[i].out);
    }
    for (int i = 0; i < JOBS; i++)
        buf_free(&w.job[i].value);
    client_free(w.c);
    client_effects_free(&w.fx);
    items(data, size);
    return 0;
}
