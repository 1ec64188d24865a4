#include "producer/runner/engine_impl.h"

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

static bool take_wide(struct engine *e, struct frame *f, uint32_t slot)
{
    struct wide *w = frame_wide(e, f);
    uint64_t bit = (uint64_t)1 << slot % 64;
    if (!(w->unset[slot / 64] & bit))
        return false;
    w->unset[slot / 64] ^= bit;
    w->missing--;
    return true;
}

/* Marks a slot as set and returns its frame. NULL when there is nothing to fill: the address is no local one,
 * or the slot has its value and this second one is dropped. */
static struct frame *take(struct engine *e, uint64_t home, uint32_t slot, cx_value v)
{
    struct frame *f = frame_at(e, home);
    if (home == 0)
        engine_fail(e, "a value is sent to address zero: take addresses from cx_slot, cx_home or cx_address");
    if (home == 0 || !frame_is(f, home))
        return NULL;
    if (f->head.state == FRAME_INHERITED) {
        set_inherited(e, slot, v);
        return NULL;
    }
    if (f->head.state != FRAME_WAITING)
        return NULL;
    if (slot >= f->nslots) {
        engine_fail(e, "slot %u is set of a %s that has %u: slots count from 0", slot,
                    engine_fn_name(e, f->head.fn), f->nslots);
        return NULL;
    }
    if (f->head.flags & FRAME_WIDE)
        return take_wide(e, f, slot) ? f : NULL;
    if (!(f->unset >> slot & 1))
        return NULL;
    f->unset ^= (uint64_t)1 << slot;
    return f;
}

static void fail_fold(struct engine *e, const struct frame *f, uint32_t slot, cx_value v)
{
    if (f->head.fn == (uintptr_t)CX_CONCAT && v.type == CX_BYTES)
        engine_fail(e, "concat makes more than %u bytes: return several values", CX_VALUE_BYTES_MAX);
    else
        engine_fail(e, "slot %u of %s got %s, which it cannot take", slot, wk_name(f->head.fn),
                    engine_type_name(v.type));
}

static bool put(struct engine *e, struct frame *f, uint32_t slot, cx_value v)
{
    uint32_t fn = f->head.fn;
    if (e->folds[fn]) {
        if (v.type <= CX_ADDR && wk_fold(fn, frame_slots(f), v, NULL))
            return true;
        fail_fold(e, f, slot, v);
        return false;
    }
    uint32_t wanted = fn == (uintptr_t)CX_CONCAT ? CX_BYTES : CX_F64;
    if (fn_is_well_known(fn) && v.type != CX_NONE && v.type != wanted) {
        fail_fold(e, f, slot, v);
        return false;
    }
    if (!frame_keep(e, f, &v))
        return false;
    frame_slots(f)[slot] = v;
    return true;
}

cx_value engine_finish(struct engine *e, struct frame *f)
{
    uint32_t fn = f->head.fn;
    const cx_value *slot = frame_slots(f);
    if (e->folds[fn])
        return wk_finish(fn, slot[0], NULL);
    cx_value acc = e->heir[fn].start;
    buf_clear(&e->joined);
    for (uint32_t i = 0; i < f->nslots; i++)
        if (!wk_fold(fn, &acc, slot[i], &e->joined)) {
            fail_fold(e, f, i, slot[i]);
            break;
        }
    return wk_finish(fn, acc, &e->joined);
}

static bool is_full(struct engine *e, struct frame *f)
{
    return f->unset == 0 && (!(f->head.flags & FRAME_WIDE) || frame_wide(e, f)->missing == 0);
}

/* Sets one slot; the frame when that completed it. */
static struct frame *fill(struct engine *e, uint64_t home, uint32_t slot, cx_value v)
{
    struct frame *f = take(e, home, slot, v);
    return f && put(e, f, slot, v) && is_full(e, f) ? f : NULL;
}

/* Follows a frame that is complete: a task is ready, a well-known successor's value goes on to its home. */
static void complete(struct engine *e, struct frame *f)
{
    while (f && fn_is_well_known(f->head.fn)) {
        cx_value v = engine_finish(e, f);
        uint64_t home = f->home;
        uint32_t slot = f->home_slot;
        frame_drop(e, f);
        frame_release(e, f);
        f = fill(e, home, slot, v);
    }
    if (f)
        frame_push(e, f);
}

__attribute__((noinline)) void engine_deliver(struct engine *e, uint64_t home, uint32_t slot, cx_value v)
{
    complete(e, fill(e, home, slot, v));
}

/* What follows is the same for what nearly every call is: a plain value for a frame that takes it quickly.
 * All else goes to engine_deliver before anything is changed. These paths call no other function, so that the
 * compiler has no registers to save. */

/* One test of the bitmap finds out those that are gone, slots out of range and slots set before. */
static inline bool is_open(const struct frame *f, uint64_t home, uint32_t slot)
{
    return frame_is(f, home) && slot < 64 && f->unset >> slot & 1;
}

static inline void put_own(struct engine *e, struct frame *f, uint32_t slot, cx_value v)
{
    f->value[slot] = v;
    f->unset ^= (uint64_t)1 << slot;
    if (f->unset == 0)
        frame_push(e, f);
}

/* The last slot of f, which sums integers, has been set: the sum goes on, as wk_fold and wk_finish would have
 * it. */
__attribute__((noinline)) static void complete_sum(struct engine *e, struct frame *f, uint64_t sum)
{
    for (;;) {
        uint64_t home = f->home;
        uint32_t slot = f->home_slot;
        f->unset = 0;
        frame_release(e, f);
        f = frame_at(e, home);
        if (unlikely(!is_open(f, home, slot) || f->head.quick == QUICK_NOT)) {
            engine_deliver(e, home, slot, cx_v_i64((int64_t)sum));
            return;
        }
        if (f->head.quick == QUICK_OWN) {
            put_own(e, f, slot, cx_v_i64((int64_t)sum));
            return;
        }
        sum += (uint64_t)f->value[0].as.i64;
        uint64_t unset = f->unset ^ (uint64_t)1 << slot;
        if (unset) {
            f->unset = unset;
            f->value[0].as.i64 = (int64_t)sum;
            return;
        }
    }
}

static inline void deliver_i64(struct engine *e, uint64_t home, uint32_t slot, int64_t i)
{
    struct frame *f = frame_at(e, home);
    if (unlikely(!is_open(f, home, slot) || f->head.quick == QUICK_NOT)) {
        engine_deliver(e, home, slot, cx_v_i64(i));
        return;
    }
    if (f->head.quick == QUICK_OWN) {
        put_own(e, f, slot, cx_v_i64(i));
        return;
    }
    uint64_t sum = (uint64_t)f->value[0].as.i64 + (uint64_t)i;
    uint64_t unset = f->unset ^ (uint64_t)1 << slot;
    if (unset == 0) {
        complete_sum(e, f, sum);
        return;
    }
    f->unset = unset;
    f->value[0].as.i64 = (int64_t)sum;
}

static inline void deliver(struct engine *e, uint64_t home, uint32_t slot, cx_value v)
{
    struct frame *f = frame_at(e, home);
    if (v.type == CX_I64)
        deliver_i64(e, home, slot, v.as.i64);
    else if (v.type <= CX_F64 && is_open(f, home, slot) && f->head.quick == QUICK_OWN)
        put_own(e, f, slot, v);
    else
        engine_deliver(e, home, slot, v);
}

void engine_api_give_i64(cx_ctx *cx, int64_t i)
{
    struct engine *e = engine_of(cx);
    e->did.handed = true;
    deliver_i64(e, e->cur->home, e->cur->home_slot, i);
}

void engine_api_give(cx_ctx *cx, cx_value v)
{
    struct engine *e = engine_of(cx);
    e->did.handed = true;
    deliver(e, e->cur->home, e->cur->home_slot, v);
}

void engine_api_set(cx_ctx *cx, cx_addr to, cx_value v)
{
    deliver(engine_of(cx), to.task, to.slot, v);
}

cx_addr engine_api_home(cx_ctx *cx)
{
    struct engine *e = engine_of(cx);
    e->did.handed = true;
    return (cx_addr){e->cur->home, e->cur->home_slot, 0};
}
