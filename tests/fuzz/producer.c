/* The producer's core fed with anything: each record of the input is an event, with the rest of the record as
 * its batch. The invariants hold after every step. */
#include <stdint.h>
#include <string.h>

#include "base/must.h"
#include "producer/core/pd.h"

#define SEATS 3u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct feed {
    struct pd *pd;
    struct pd_effects out;
    uint64_t now;
    uint32_t runner; /* the last that was started */
};

static struct id small_id(struct reader *r)
{
    uint8_t n = get_u8(r);
    return (struct id){n % 4, n % 8};
}

static void step(struct feed *f, struct pd_event *ev)
{
    ev->now_us = f->now;
    pd_effects_clear(&f->out);
    pd_step(f->pd, ev, &f->out);
    pd_check(f->pd);
    for (size_t i = 0; i < f->out.n; i++)
        if (f->out.fx[i].kind == PD_FX_START)
            f->runner = f->out.fx[i].runner;
}

static void one(struct feed *f, struct reader *r)
{
    static const uint8_t sha[PD_SHA_BYTES];
    uint32_t running[SEATS] = {1, 2, 0};
    struct pd_event ev = {.kind = get_u8(r) % (PD_DRAIN + 1)};
    uint8_t bits = get_u8(r);
    f->now += (uint64_t)get_u8(r) * get_u8(r) * 100;
    ev.job = small_id(r);
    ev.task = small_id(r);
    ev.seat = bits % (SEATS + 1);
    ev.number = bits >> 4;
    ev.runner = bits & 8 ? f->runner : f->runner + bits;
    ev.bound_kind = bits & 3;
    ev.bound = (int8_t)bits;
    ev.code = bits & 4 ? 0 : -(bits % 16);
    ev.sha = sha;
    struct pd_job job = {.job = ev.job, .module = bits & 32 ? sha : NULL, .input = bits & 64 ? sha : NULL};
    struct pd_exit x = {.refused = bits & 128, .culprit = bits % (SEATS + 2), .running = running};
    if (ev.kind == PD_JOB)
        ev.u.info = &job;
    if (ev.kind == PD_EXITED)
        ev.u.exit = &x;
    ev.data = get_bytes(r, 4096);
    if (r->bad)
        ev.data = (struct bytes){NULL, 0};
    step(f, &ev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct feed f = {.pd = pd_new(&(struct pd_config){.seats = SEATS, .seed = 1, .grace_us = 1000})};
    struct reader r = reader_of(bytes_of(data, size));
    while (reader_more(&r))
        one(&f, &r);
    pd_effects_free(&f.out);
    pd_free(f.pd);
    return 0;
}
