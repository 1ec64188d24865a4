#include "producer/runner/engine_impl.h"

/* Counter based: a hash of the TaskID and the number of the call, so it does not depend on what ran before.
 */
static uint64_t api_random(cx_ctx *cx)
{
    struct engine *e = engine_of(cx);
    struct id id = frame_id(e, e->cur);
    return hash64(&id, sizeof id, e->did.randoms++);
}

static const void *api_input(cx_ctx *cx, size_t *len)
{
    struct engine *e = engine_of(cx);
    *len = e->config.input.len;
    return e->config.input.len ? e->config.input.data : NULL;
}

static int64_t shared_best(struct engine *e, uint32_t kind)
{
    struct engine_shared *s = e->config.shared;
    return atomic_load_explicit(kind == CX_BOUND_MIN ? &s->best_min : &s->best_max, memory_order_relaxed);
}

/* What others found is told one worse. Their run may yet be lost, with the value that it found; a task that
 * can only equal it must then still be run, and find it. What this grant itself found is in the same commit.
 */
static int64_t api_best(cx_ctx *cx, uint32_t kind)
{
    struct engine *e = engine_of(cx);
    bool min = kind == CX_BOUND_MIN;
    int64_t best = shared_best(e, kind), own = e->offered[min ? CX_BOUND_MIN : CX_BOUND_MAX];
    if (min)
        best += best < INT64_MAX;
    else
        best -= best > INT64_MIN;
    return (min ? own < best : own > best) ? own : best;
}

bool engine_hopeless(struct engine *e, struct frame *f)
{
    const cx_opts *opts = frame_opts(e, f);
    if (opts->bound_kind == CX_BOUND_MIN)
        return opts->bound >= api_best(&e->ctx, CX_BOUND_MIN);
    return opts->bound_kind == CX_BOUND_MAX && opts->bound <= api_best(&e->ctx, CX_BOUND_MAX);
}

static void api_offer(cx_ctx *cx, uint32_t kind, int64_t value)
{
    struct engine *e = engine_of(cx);
    if (kind != CX_BOUND_MIN && kind != CX_BOUND_MAX) {
        engine_fail(e, "cx_offer of bound kind %u: it is CX_BOUND_MIN or CX_BOUND_MAX", kind);
        return;
    }
    bool min = kind == CX_BOUND_MIN;
    int64_t shared = shared_best(e, kind), own = e->offered[kind];
    if (min ? value >= own || value > shared : value <= own || value < shared)
        return;
    e->offered[kind] = value;
    e->has_offer[kind] = true;
    engine_shared_merge(e->config.shared, kind, value);
}

static void api_mistyped(cx_ctx *cx, uint32_t slot, uint32_t wanted)
{
    struct engine *e = engine_of(cx);
    if (slot >= cx->slots)
        engine_fail(
            e, "argument %u is read as %s, but there are %u: check what the spawner or the consumer passes",
            slot, engine_type_name(wanted), cx->slots);
    else
        engine_fail(e,
                    "argument %u is read as %s, but holds %s: check what the spawner or the consumer passes",
                    slot, engine_type_name(wanted), engine_type_name(cx->slot[slot].type));
}

/* ---- For a task that has failed: it goes on until it returns, and its calls change nothing ---- */

static void dead_give(cx_ctx *cx, cx_value v)
{
    (void)cx, (void)v;
}
static void dead_give_i64(cx_ctx *cx, int64_t i)
{
    (void)cx, (void)i;
}
static cx_ref dead_heir(cx_ctx *cx, cx_fn fn, uint32_t n)
{
    (void)cx, (void)fn, (void)n;
    return (cx_ref){0};
}
static void dead_set(cx_ctx *cx, cx_addr to, cx_value v)
{
    (void)cx, (void)to, (void)v;
}
static cx_ref dead_successor(cx_ctx *cx, cx_fn fn, uint32_t n, const cx_addr *home, const cx_opts *opts)
{
    (void)cx, (void)fn, (void)n, (void)home, (void)opts;
    return (cx_ref){0};
}
static void dead_spawn(cx_ctx *cx, cx_fn fn, cx_addr home, uint32_t n, const cx_value *args,
                       const cx_opts *opts)
{
    (void)cx, (void)fn, (void)home, (void)n, (void)args, (void)opts;
}
static void dead_child(cx_ctx *cx, cx_fn fn, cx_addr home, uint32_t n, const cx_value *args)
{
    (void)cx, (void)fn, (void)home, (void)n, (void)args;
}
static void dead_child1(cx_ctx *cx, cx_fn fn, cx_addr home, int64_t as, uint64_t len_and_type)
{
    (void)cx, (void)fn, (void)home, (void)as, (void)len_and_type;
}
static void dead_offer(cx_ctx *cx, uint32_t kind, int64_t value)
{
    (void)cx, (void)kind, (void)value;
}
static void dead_mistyped(cx_ctx *cx, uint32_t slot, uint32_t wanted)
{
    (void)cx, (void)slot, (void)wanted;
}
static void api_vfail(cx_ctx *cx, const char *format, va_list ap)
{
    engine_vfail(engine_of(cx), format, ap);
}

const struct cx_api engine_api = {
    .version = CX_ABI_VERSION,
    .size = sizeof(struct cx_api),
    .successor = engine_api_successor,
    .spawn = engine_api_spawn,
    .set = engine_api_set,
    .give = engine_api_give,
    .home = engine_api_home,
    .random = api_random,
    .input = api_input,
    .best = api_best,
    .offer = api_offer,
    .vfail = api_vfail,
    .mistyped = api_mistyped,
    .heir = engine_api_heir,
    .child = engine_api_child,
    .child1 = engine_api_child1,
    .give_i64 = engine_api_give_i64,
};

const struct cx_api engine_api_dead = {
    .version = CX_ABI_VERSION,
    .size = sizeof(struct cx_api),
    .successor = dead_successor,
    .spawn = dead_spawn,
    .set = dead_set,
    .give = dead_give,
    .home = engine_api_home,
    .random = api_random,
    .input = api_input,
    .best = api_best,
    .offer = dead_offer,
    .vfail = api_vfail,
    .mistyped = dead_mistyped,
    .heir = dead_heir,
    .child = dead_child,
    .child1 = dead_child1,
    .give_i64 = dead_give_i64,
};
