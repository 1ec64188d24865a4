#include "producer/runner/engine_impl.h"

/* ---- Function numbers ---- */

static inline uint32_t fn_hash(cx_fn fn)
{
    return (uint32_t)((uintptr_t)fn >> 4) % FN_TABLE;
}

/* Where a task of this module stands, unless it shares its place. */
static inline const struct engine_fn *fn_known(const struct engine *e, cx_fn fn)
{
    return &e->fn[fn_hash(fn)];
}

void engine_fn_add(struct engine *e, cx_fn fn, uint32_t number)
{
    uint32_t i = fn_hash(fn);
    while (e->fn[i].run && e->fn[i].run != fn)
        i = (i + 1) % FN_TABLE;
    e->fn[i] = (struct engine_fn){fn, {.fn = (uint8_t)number, .state = FRAME_READY}};
}

/* The number of a task of this module; 0 when it has none. */
static uint32_t fn_number(const struct engine *e, cx_fn fn)
{
    for (uint32_t i = fn_hash(fn);; i = (i + 1) % FN_TABLE) {
        if (e->fn[i].run == fn)
            return e->fn[i].head.fn;
        if (!e->fn[i].run)
            return 0;
    }
}

static void fail_fn(struct engine *e, const char *call, cx_fn fn)
{
    if (fn && (uintptr_t)fn < CX_WELL_KNOWN_END)
        engine_fail(e, "%s of %s: the well-known functions can only be successors", call,
                    wk_name((uint32_t)(uintptr_t)fn));
    else
        engine_fail(e, "%s of a function that is not among the module's tasks: add it to CX_MODULE(...)",
                    call);
}

/* ---- New frames ---- */

static bool opts_given(const cx_opts *opts)
{
    return opts && (opts->priority || opts->bound_kind);
}

static bool opts_fit(struct engine *e, const cx_opts *opts)
{
    if (!opts || opts->bound_kind <= CX_BOUND_MAX)
        return true;
    engine_fail(e, "bound_kind is %u: it is 0, CX_BOUND_MIN or CX_BOUND_MAX", opts->bound_kind);
    return false;
}

/* ---- Successors ---- */

static bool successor_fits(struct engine *e, cx_fn fn, uint32_t number, uint32_t n, const cx_addr *home,
                           const cx_opts *opts)
{
    if (!number)
        fail_fn(e, "cx_successor", fn);
    else if (n > CX_SLOTS_MAX)
        engine_fail(e, "a successor of %u slots is over the limit of %u: make a tree of them", n,
                    CX_SLOTS_MAX);
    else if (home && home->task == 0)
        engine_fail(
            e, "a successor is to send its value to address zero: take addresses from cx_slot or cx_home");
    else
        return opts_fit(e, opts);
    return false;
}

/* A task's first successor is child 0; later ones are numbered with the children. */
static inline uint64_t successor_place(struct engine *e)
{
    if (e->did.successors)
        return ++e->place;
    e->did.successors = 1;
    return e->place >> 32 << 32;
}

/* A successor that waits for nothing is ready, or finished, at once. */
static void complete_empty(struct engine *e, struct frame *f)
{
    if (!fn_is_well_known(f->head.fn)) {
        frame_push(e, f);
        return;
    }
    cx_value v = engine_finish(e, f);
    uint64_t home = f->home;
    uint32_t slot = f->home_slot;
    frame_drop(e, f);
    frame_release(e, f);
    engine_deliver(e, home, slot, v);
}

__attribute__((noinline)) static cx_ref successor_any(struct engine *e, cx_fn fn, uint32_t n,
                                                      const cx_addr *home, const cx_opts *opts)
{
    static const cx_ref none = {0};
    bool well_known = (uintptr_t)fn < CX_WELL_KNOWN_END;
    uint32_t number = well_known ? (uint32_t)(uintptr_t)fn : fn_number(e, fn);
    struct frame *f = successor_fits(e, fn, number, n, home, opts) ? frame_new(e) : NULL;
    if (!f)
        return none;
    f->head = e->heir[number].head;
    f->parent = e->cur;
    f->home = home ? home->task : e->cur->home;
    f->home_slot = home ? home->slot : e->cur->home_slot;
    e->did.handed |= !home;
    f->nslots = n;
    f->place = successor_place(e);
    f->unset = n == 0 ? 0 : UINT64_MAX >> (n < 64 ? 64 - n : 0);
    if ((n > e->heir[number].inline_max || opts_given(opts)) &&
        !frame_widen(e, f, opts_given(opts) ? opts : NULL))
        return none;
    if (well_known)
        frame_slots(f)[0] = e->heir[number].start;
    cx_ref ref = {frame_handle(e, f)};
    if (n == 0)
        complete_empty(e, f);
    return ref;
}

cx_ref engine_api_successor(cx_ctx *cx, cx_fn fn, uint32_t n, const cx_addr *home, const cx_opts *opts)
{
    return successor_any(engine_of(cx), fn, n, home, opts);
}

/* As successor_any, for slots that fit into the frame, and without calling any other function. */
cx_ref engine_api_heir(cx_ctx *cx, cx_fn fn, uint32_t n)
{
    struct engine *e = engine_of(cx);
    uintptr_t number = (uintptr_t)fn;
    if (number >= CX_WELL_KNOWN_END) {
        const struct engine_fn *known = fn_known(e, fn);
        number = known->run == fn ? known->head.fn : 0;
    }
    const struct engine_heir *heir = &e->heir[number];
    struct frame *f = e->free;
    if (unlikely(n - 1 >= heir->inline_max || !f))
        return successor_any(e, fn, n, NULL, NULL);
    const struct frame *cur = e->cur;
    e->free = f->link;
    f->head = heir->head;
    f->unset = UINT64_MAX >> (64 - n);
    f->home = cur->home;
    f->home_slot = cur->home_slot;
    f->parent = e->cur;
    f->nslots = n;
    f->place = successor_place(e);
    f->value[0] = heir->start;
    e->did.handed = true;
    return (cx_ref){frame_handle(e, f)};
}

/* ---- Children ---- */

static bool spawn_fits(struct engine *e, cx_fn fn, uint32_t number, cx_addr home, uint32_t n,
                       const cx_opts *opts)
{
    const char *name = engine_fn_name(e, number);
    if (!number)
        fail_fn(e, "cx_spawn", fn);
    else if (home.task == 0)
        engine_fail(e, "cx_spawn of %s to address zero: take addresses from cx_slot, cx_home or cx_address",
                    name);
    else if (n > CX_ARGS_MAX)
        engine_fail(e, "cx_spawn of %s with %u arguments: at most %u, pass more as bytes", name, n,
                    CX_ARGS_MAX);
    else
        return opts_fit(e, opts);
    return false;
}

static bool keep_args(struct engine *e, struct frame *f, const cx_value *args)
{
    cx_value *slot = frame_slots(f);
    for (uint32_t i = 0; i < f->nslots; i++) {
        slot[i] = args[i];
        if (slot[i].type > CX_F64 && !frame_keep(e, f, &slot[i]))
            return false;
    }
    return true;
}

__attribute__((noinline)) static void spawn_any(struct engine *e, cx_fn fn, cx_addr home, uint32_t n,
                                                const cx_value *args, const cx_opts *opts)
{
    uint32_t number = fn_number(e, fn);
    struct frame *f = spawn_fits(e, fn, number, home, n, opts) ? frame_new(e) : NULL;
    if (!f)
        return;
    f->head = (struct frame_head){.fn = (uint8_t)number, .state = FRAME_READY};
    f->parent = e->cur;
    f->home = home.task;
    f->home_slot = home.slot;
    f->nslots = n;
    f->place = ++e->place;
    if ((n > FRAME_VALUES || opts_given(opts)) && !frame_widen(e, f, opts_given(opts) ? opts : NULL))
        return;
    if (keep_args(e, f, args))
        frame_push(e, f);
}

void engine_api_spawn(cx_ctx *cx, cx_fn fn, cx_addr home, uint32_t n, const cx_value *args,
                      const cx_opts *opts)
{
    spawn_any(engine_of(cx), fn, home, n, args, opts);
}

/* The usual calls, without any other function: known tasks, a few plain values, no options. Until link_child,
 * a call can still be handed to spawn_any. */

static inline void link_child(struct engine *e, struct frame *f, const struct engine_fn *known, cx_addr home,
                              uint32_t n)
{
    e->free = f->link;
    f->head = known->head;
    f->home = home.task;
    f->nslots = n;
    f->parent = e->cur;
    f->home_slot = home.slot;
    f->place = ++e->place;
    f->link = e->ready;
    e->ready = f;
}

__attribute__((noinline)) static void child1_any(cx_ctx *cx, cx_fn fn, cx_addr home, int64_t as,
                                                 uint64_t len_and_type)
{
    cx_value arg = {.as.i64 = as, .len = (uint32_t)len_and_type, .type = (uint32_t)(len_and_type >> 32)};
    spawn_any(engine_of(cx), fn, home, 1, &arg, NULL);
}

void engine_api_child1(cx_ctx *cx, cx_fn fn, cx_addr home, int64_t as, uint64_t len_and_type)
{
    struct engine *e = engine_of(cx);
    const struct engine_fn *known = fn_known(e, fn);
    if (unlikely(known->run != fn || len_and_type >= (uint64_t)(CX_F64 + 1) << 32))
        goto any;
    struct frame *f = e->free;
    if (unlikely(!f))
        goto any;
    f->value[0].as.i64 = as;
    memcpy(&f->value[0].len, &len_and_type, sizeof len_and_type);
    if (unlikely(home.task == 0))
        goto any;
    link_child(e, f, known, home, 1);
    return;
any:
    child1_any(cx, fn, home, as, len_and_type);
}

__attribute__((noinline)) static void child_any(cx_ctx *cx, cx_fn fn, cx_addr home, uint32_t n,
                                                const cx_value *args)
{
    spawn_any(engine_of(cx), fn, home, n, args, NULL);
}

void engine_api_child(cx_ctx *cx, cx_fn fn, cx_addr home, uint32_t n, const cx_value *args)
{
    struct engine *e = engine_of(cx);
    const struct engine_fn *known = fn_known(e, fn);
    struct frame *f = e->free;
    if (unlikely(known->run != fn || !f || n > FRAME_VALUES || home.task == 0))
        goto any;
    for (uint32_t i = 0; i < n; i++) {
        f->value[i] = args[i];
        if (unlikely(args[i].type > CX_F64))
            goto any;
    }
    link_child(e, f, known, home, n);
    return;
any:
    child_any(cx, fn, home, n, args);
}
