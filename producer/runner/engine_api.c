#include "producer/runner/engine_impl.h"

#define FN_SUM_I64 ((uint32_t)(uintptr_t)CX_SUM_I64)

/* ---- Function numbers ---- */

static uint32_t fn_hash(cx_fn fn)
{
    uintptr_t p = (uintptr_t)fn;
    return (uint32_t)(p >> 4 ^ p >> 10) & (FN_TABLE - 1);
}

void engine_fn_add(struct engine *e, cx_fn fn, uint32_t number)
{
    uint32_t i = fn_hash(fn);
    while (e->fn[i].run && e->fn[i].run != fn)
        i = (i + 1) % FN_TABLE;
    e->fn[i] = (struct engine_fn){fn, number};
}

/* The number of a task of this module; 0 when it has none. */
static inline uint32_t fn_number(const struct engine *e, cx_fn fn)
{
    for (uint32_t i = fn_hash(fn);; i = (i + 1) % FN_TABLE) {
        if (e->fn[i].run == fn)
            return e->fn[i].number;
        if (!e->fn[i].run)
            return 0;
    }
}

static void fail_fn(struct engine *e, const char *call, cx_fn fn)
{
    if (fn_is_well_known((uint32_t)(uintptr_t)fn) && (uintptr_t)fn < CX_WELL_KNOWN_END)
        engine_fail(e, "%s of %s: the well-known functions can only be successors", call,
                    wk_name((uint32_t)(uintptr_t)fn));
    else
        engine_fail(e, "%s of a function that is not among the module's tasks: add it to CX_MODULE(...)",
                    call);
}

/* ---- Setting slots ---- */

static void set_inherited(struct engine *e, uint32_t index, cx_value v)
{
    if (index >= e->inherited) {
        engine_fail(e, "an address was made up: take addresses from cx_slot, cx_home or cx_address");
        return;
    }
    if (e->was_set.data[index] || !frame_keep(e, NULL, &v))
        return;
    e->was_set.data[index] = 1;
    struct engine_set set = {index, v};
    buf_add(&e->sets, &set, sizeof set);
}

/* Every way to set a slot but the usual one. Returns the frame when a slot of it is now to be filled. */
static struct frame *take_slow(struct engine *e, uint64_t home, uint32_t slot, cx_value v)
{
    struct frame *f = frame_at(e, home);
    if (home == 0)
        engine_fail(e, "a value is sent to address zero: take addresses from cx_slot, cx_home or cx_address");
    if (home == 0 || !frame_is(f, home) || f->state == FRAME_FREE)
        return NULL; /* the task is gone, so the slot was set before: a second value is dropped */
    if (f->state == FRAME_INHERITED) {
        set_inherited(e, slot, v);
        return NULL;
    }
    if (slot >= f->nslots) {
        engine_fail(e, "slot %u is set of a %s that has %u: slots count from 0", slot,
                    engine_fn_name(e, f->fn), f->nslots);
        return NULL;
    }
    if (!(f->flags & FRAME_WIDE))
        return NULL;
    struct wide *w = frame_wide(e, f);
    uint64_t bit = (uint64_t)1 << slot % 64;
    if (!(w->unset[slot / 64] & bit))
        return NULL;
    w->unset[slot / 64] ^= bit;
    w->missing--;
    return f;
}

/* Marks a slot as set and returns its frame; NULL when there is nothing to fill. One test of the bitmap finds
 * slots out of range, set before, of tasks that run, and of wide frames: all those are rare. */
static inline struct frame *take(struct engine *e, uint64_t home, uint32_t slot, cx_value v)
{
    struct frame *f = frame_at(e, home);
    if (__builtin_expect(!frame_is(f, home) || slot >= 64 || !(f->unset >> slot & 1), 0))
        return take_slow(e, home, slot, v);
    f->unset ^= (uint64_t)1 << slot;
    return f;
}

static void fail_fold(struct engine *e, const struct frame *f, uint32_t slot, cx_value v)
{
    if (f->fn == (uintptr_t)CX_CONCAT && v.type == CX_BYTES)
        engine_fail(e, "concat makes more than %u bytes: return several values", CX_VALUE_BYTES_MAX);
    else
        engine_fail(e, "slot %u of %s got %s, which it cannot take", slot, wk_name(f->fn),
                    engine_type_name(v.type));
}

static bool put_slow(struct engine *e, struct frame *f, uint32_t slot, cx_value v)
{
    bool well_known = fn_is_well_known(f->fn);
    if (well_known && e->any_order[f->fn]) {
        if (v.type <= CX_ADDR && wk_fold(f->fn, &f->slot[0], v, NULL))
            return true;
        fail_fold(e, f, slot, v);
        return false;
    }
    uint32_t wanted = f->fn == (uintptr_t)CX_CONCAT ? CX_BYTES : CX_F64;
    if (well_known && v.type != CX_NONE && v.type != wanted) {
        fail_fold(e, f, slot, v);
        return false;
    }
    if (!frame_keep(e, f, &v))
        return false;
    f->slot[slot] = v;
    return true;
}

static inline bool put(struct engine *e, struct frame *f, uint32_t slot, cx_value v)
{
    if (f->fn == FN_SUM_I64 && v.type == CX_I64) { /* what wk_fold does, without a call */
        f->slot[0].as.i64 = (int64_t)((uint64_t)f->slot[0].as.i64 + (uint64_t)v.as.i64);
        return true;
    }
    if (!fn_is_well_known(f->fn) && v.type <= CX_F64) {
        f->slot[slot] = v;
        return true;
    }
    return put_slow(e, f, slot, v);
}

/* The value of a well-known successor whose slots are all set. Bytes lie in e->joined until the next call. */
static cx_value finish_slow(struct engine *e, struct frame *f)
{
    if (e->any_order[f->fn])
        return wk_finish(f->fn, f->slot[0], NULL);
    cx_value acc = e->start[f->fn];
    buf_clear(&e->joined);
    for (uint32_t i = 0; i < f->nslots; i++)
        if (!wk_fold(f->fn, &acc, f->slot[i], &e->joined)) {
            fail_fold(e, f, i, f->slot[i]);
            break;
        }
    return wk_finish(f->fn, acc, &e->joined);
}

static inline void deliver(struct engine *e, uint64_t home, uint32_t slot, cx_value v)
{
    struct frame *f;
    while ((f = take(e, home, slot, v))) {
        if (!put(e, f, slot, v) || f->unset)
            return;
        if (__builtin_expect(f->flags & FRAME_WIDE, 0) && frame_wide(e, f)->missing)
            return;
        if (!fn_is_well_known(f->fn)) {
            frame_push(e, f);
            return;
        }
        v = f->fn == FN_SUM_I64 ? f->slot[0] : finish_slow(e, f);
        home = f->home;
        slot = f->home_slot;
        frame_release(e, f);
    }
}

void engine_deliver(struct engine *e, uint64_t home, uint32_t slot, cx_value v)
{
    deliver(e, home, slot, v);
}

static void api_give(cx_ctx *cx, cx_value v)
{
    struct engine *e = engine_of(cx);
    e->handed = true;
    deliver(e, e->cur->home, e->cur->home_slot, v);
}

static void api_set(cx_ctx *cx, cx_addr to, cx_value v)
{
    deliver(engine_of(cx), to.task, to.slot, v);
}

static cx_addr api_home(cx_ctx *cx)
{
    struct engine *e = engine_of(cx);
    e->handed = true;
    return (cx_addr){e->cur->home, e->cur->home_slot, 0};
}

/* ---- New tasks ---- */

static inline struct frame *frame_below(struct engine *e, uint32_t fn, uint32_t nslots, cx_addr home)
{
    struct frame *f = frame_new(e);
    if (__builtin_expect(!f, 0))
        return NULL;
    f->fn = (uint8_t)fn;
    f->flags = 0;
    f->home = home.task;
    f->home_slot = home.slot;
    f->nslots = nslots;
    f->slot = f->value;
    f->parent = e->cur;
    f->depth = e->cur->depth + 1;
    return f;
}

static bool opts_given(const cx_opts *opts)
{
    return opts && (opts->priority || opts->bound_kind);
}

static bool check_opts(struct engine *e, const cx_opts *opts)
{
    if (opts->bound_kind <= CX_BOUND_MAX)
        return true;
    engine_fail(e, "bound_kind is %u: it is 0, CX_BOUND_MIN or CX_BOUND_MAX", opts->bound_kind);
    return false;
}

static const cx_ref no_ref = {0};

/* A successor that waits for nothing is ready, or finished, at once. */
static void complete_empty(struct engine *e, struct frame *f)
{
    if (!fn_is_well_known(f->fn)) {
        frame_push(e, f);
        return;
    }
    cx_value v = finish_slow(e, f);
    uint64_t home = f->home;
    uint32_t slot = f->home_slot;
    frame_release(e, f);
    deliver(e, home, slot, v);
}

static cx_ref api_successor(cx_ctx *cx, cx_fn fn, uint32_t n, const cx_addr *home, const cx_opts *opts)
{
    struct engine *e = engine_of(cx);
    bool well_known = (uintptr_t)fn < CX_WELL_KNOWN_END;
    uint32_t number = well_known ? (uint32_t)(uintptr_t)fn : fn_number(e, fn);
    if (__builtin_expect(!number, 0)) {
        fail_fn(e, "cx_successor", fn);
        return no_ref;
    }
    if (__builtin_expect(n > CX_SLOTS_MAX, 0)) {
        engine_fail(e, "a successor of %u slots is over the limit of %u: make a tree of them", n,
                    CX_SLOTS_MAX);
        return no_ref;
    }
    cx_addr to = {e->cur->home, e->cur->home_slot, 0};
    if (!home) {
        e->handed = true;
    } else {
        to = *home;
        if (to.task == 0) {
            engine_fail(
                e,
                "a successor is to send its value to address zero: take addresses from cx_slot or cx_home");
            return no_ref;
        }
    }
    struct frame *f = frame_below(e, number, n, to);
    if (__builtin_expect(!f, 0))
        return no_ref;
    f->state = FRAME_WAITING;
    f->child = e->successors++ ? ++e->children : 0;
    f->unset = n >= 64 ? UINT64_MAX : ((uint64_t)1 << n) - 1;
    bool folds = well_known && e->any_order[number];
    if (__builtin_expect(n > (folds ? 64 : FRAME_VALUES) || opts_given(opts), 0)) {
        bool with = opts_given(opts);
        if ((with && !check_opts(e, opts)) || !frame_widen(e, f, with ? opts : NULL))
            return no_ref;
    }
    if (well_known)
        f->slot[0] = e->start[number];
    cx_ref ref = {frame_handle(e, f)};
    if (__builtin_expect(n == 0, 0))
        complete_empty(e, f);
    return ref;
}

static bool keep_args(struct engine *e, struct frame *f)
{
    for (uint32_t i = 0; i < f->nslots; i++)
        if (f->slot[i].type > CX_F64 && !frame_keep(e, f, &f->slot[i]))
            return false;
    return true;
}

static bool spawn_fits(struct engine *e, cx_fn fn, uint32_t number, cx_addr home, uint32_t n,
                       const cx_opts *opts)
{
    if (!number)
        fail_fn(e, "cx_spawn", fn);
    else if (home.task == 0)
        engine_fail(e, "cx_spawn of %s to address zero: take addresses from cx_slot, cx_home or cx_address",
                    engine_fn_name(e, number));
    else if (n > CX_ARGS_MAX)
        engine_fail(e, "cx_spawn of %s with %u arguments: at most %u, pass more as bytes",
                    engine_fn_name(e, number), n, CX_ARGS_MAX);
    else
        return !opts || check_opts(e, opts);
    return false;
}

static void api_spawn(cx_ctx *cx, cx_fn fn, cx_addr home, uint32_t n, const cx_value *args,
                      const cx_opts *opts)
{
    struct engine *e = engine_of(cx);
    uint32_t number = fn_number(e, fn);
    if (__builtin_expect(!number || home.task == 0 || n > FRAME_VALUES || opts, 0) &&
        !spawn_fits(e, fn, number, home, n, opts))
        return;
    struct frame *f = frame_below(e, number, n, home);
    if (__builtin_expect(!f, 0))
        return;
    f->child = ++e->children;
    f->unset = 0;
    if (__builtin_expect(n > FRAME_VALUES || opts_given(opts), 0) &&
        !frame_widen(e, f, opts_given(opts) ? opts : NULL))
        return;
    uint32_t types = 0;
    for (uint32_t i = 0; i < n; i++) {
        f->slot[i] = args[i];
        types |= args[i].type;
    }
    if (__builtin_expect(types > CX_F64, 0) && !keep_args(e, f))
        return;
    frame_push(e, f);
}

/* ---- The rest ---- */

/* Counter based: a hash of the TaskID and the number of the call, so it does not depend on what ran before.
 */
static uint64_t api_random(cx_ctx *cx)
{
    struct engine *e = engine_of(cx);
    struct id id = frame_id(e, e->cur);
    return hash64(&id, sizeof id, e->randoms++);
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

bool engine_hopeless(struct engine *e, const struct frame *f)
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

static void dead_give(cx_ctx *cx, cx_value v)
{
    (void)cx, (void)v;
}
static void dead_set(cx_ctx *cx, cx_addr to, cx_value v)
{
    (void)cx, (void)to, (void)v;
}
static cx_ref dead_successor(cx_ctx *cx, cx_fn fn, uint32_t n, const cx_addr *home, const cx_opts *opts)
{
    (void)cx, (void)fn, (void)n, (void)home, (void)opts;
    return no_ref;
}
static void dead_spawn(cx_ctx *cx, cx_fn fn, cx_addr home, uint32_t n, const cx_value *args,
                       const cx_opts *opts)
{
    (void)cx, (void)fn, (void)home, (void)n, (void)args, (void)opts;
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
    .successor = api_successor,
    .spawn = api_spawn,
    .set = api_set,
    .give = api_give,
    .home = api_home,
    .random = api_random,
    .input = api_input,
    .best = api_best,
    .offer = api_offer,
    .vfail = api_vfail,
    .mistyped = api_mistyped,
};

const struct cx_api engine_api_dead = {
    .version = CX_ABI_VERSION,
    .size = sizeof(struct cx_api),
    .successor = dead_successor,
    .spawn = dead_spawn,
    .set = dead_set,
    .give = dead_give,
    .home = api_home,
    .random = api_random,
    .input = api_input,
    .best = api_best,
    .offer = dead_offer,
    .vfail = api_vfail,
    .mistyped = dead_mistyped,
};
