#include "producer/runner/engine_impl.h"

#define FRAMES_AT_ONCE 8u

static void memory_spent(struct engine *e)
{
    e->over_limit |= !e->failed;
    engine_fail(
        e, "needs more than the %zu MiB that a runner's thread may use: spawn fewer or smaller tasks at once",
        e->config.memory_max >> 20);
}

/* Notes that memory has grown: asks for a look above memory_soft; false, and the task has failed, above the
 * limit. What counts is the memory touched, not what is live: it is what the machine has lost, and the commit
 * cannot need more. */
static bool memory_grew(struct engine *e)
{
    size_t used = (size_t)e->top * sizeof(struct frame) + e->arena.top;
    if (used > e->config.memory_max) {
        memory_spent(e);
        return false;
    }
    if (used + e->wide_bytes > e->memory_soft) {
        e->grown = true;
        e->until = 1;
    }
    return true;
}

static struct frame *frame_touch(struct engine *e)
{
    struct frame *f = &e->frames[e->top++];
    f->gen += f->gen == 0;
    f->unset = 0;
    f->head.state = FRAME_FREE;
    return f;
}

/* Frames beyond those in use are taken a few at a time, so that spawning many finds most on the free list. */
struct frame *frame_new_slow(struct engine *e)
{
    uint32_t n = e->frames_max - e->top;
    if (n == 0) {
        memory_spent(e);
        return NULL;
    }
    struct frame *f = frame_touch(e);
    struct frame **last = &e->free;
    for (n = n < FRAMES_AT_ONCE ? n : FRAMES_AT_ONCE; n > 1; n--) {
        *last = frame_touch(e);
        last = &(*last)->link;
    }
    *last = NULL;
    return memory_grew(e) ? f : NULL;
}

void *engine_alloc(struct engine *e, size_t bytes)
{
    size_t top = e->arena.top;
    void *p = arena_alloc(&e->arena, bytes);
    if (!p) {
        memory_spent(e);
        return NULL;
    }
    return e->arena.top == top || memory_grew(e) ? p : NULL;
}

static uint32_t wide_words(const struct frame *f)
{
    return (f->nslots + 63) / 64;
}

static size_t block_bytes(const struct engine *e, const struct frame *f)
{
    size_t n = e->folds[f->head.fn] ? 1 : f->nslots;
    n = (n + !!(f->head.flags & FRAME_OPTS)) * sizeof(cx_value);
    if (f->head.flags & FRAME_WIDE)
        n += sizeof(struct wide) + wide_words(f) * sizeof(uint64_t);
    return n;
}

/* A set slot of a folding successor costs a commit up to 4 bytes and its memory here one bit. */
static size_t wide_cost(const struct frame *f)
{
    return (size_t)f->nslots * 4;
}

static void wide_init(struct engine *e, struct frame *f)
{
    struct wide *w = frame_wide(e, f);
    uint32_t words = wide_words(f);
    w->missing = f->nslots;
    memset(w->unset, 0xff, words * sizeof(uint64_t));
    if (f->nslots % 64)
        w->unset[words - 1] = ((uint64_t)1 << f->nslots % 64) - 1;
    e->wide_bytes += wide_cost(f);
}

bool frame_widen(struct engine *e, struct frame *f, const cx_opts *opts)
{
    f->head.quick = QUICK_NOT;
    if (opts)
        f->head.flags |= FRAME_OPTS;
    if (f->unset && f->nslots > 64) {
        f->head.flags |= FRAME_WIDE;
        f->unset = 0;
    }
    size_t bytes = block_bytes(e, f);
    if (bytes > sizeof f->value) {
        f->block = engine_alloc(e, bytes);
        if (!f->block)
            return false;
        f->head.flags |= FRAME_BLOCK;
    }
    if (opts)
        *frame_opts(e, f) = *opts;
    if (f->head.flags & FRAME_WIDE)
        wide_init(e, f);
    return true;
}

/* Frames are dropped when all their slots are set, never before. */
static void drop_bytes(struct engine *e, struct frame *f)
{
    const cx_value *slot = frame_slots(f);
    for (uint32_t i = 0; i < f->nslots; i++)
        if (slot[i].type == CX_BYTES && slot[i].len)
            arena_give(&e->arena, (void *)(uintptr_t)slot[i].as.bytes, slot[i].len);
}

void frame_drop(struct engine *e, struct frame *f)
{
    if ((f->head.flags & (FRAME_BYTES | FRAME_BORROWED)) == FRAME_BYTES)
        drop_bytes(e, f);
    if (f->head.flags & FRAME_WIDE)
        e->wide_bytes -= wide_cost(f);
    if (f->head.flags & FRAME_BLOCK)
        arena_give(&e->arena, f->block, block_bytes(e, f));
    f->head.flags = 0;
}

static bool keep_bytes(struct engine *e, struct frame *f, cx_value *v)
{
    if (v->len > CX_VALUE_BYTES_MAX) {
        engine_fail(e, "a value of %u bytes is over the limit of %u: split it over several values", v->len,
                    CX_VALUE_BYTES_MAX);
        return false;
    }
    if (v->len == 0)
        return true;
    void *copy = engine_alloc(e, v->len);
    if (!copy)
        return false;
    memcpy(copy, v->as.bytes, v->len);
    v->as.bytes = copy;
    if (f)
        f->head.flags |= FRAME_BYTES;
    return true;
}

bool frame_keep(struct engine *e, struct frame *f, cx_value *v)
{
    if (v->type == CX_BYTES)
        return keep_bytes(e, f, v);
    if (v->type == CX_ADDR && v->as.task == 0)
        engine_fail(
            e, "an address that is zero is passed on: take addresses from cx_slot, cx_home or cx_address");
    else if (v->type > CX_ADDR)
        engine_fail(e, "a value has type %u, which is none: make values with the cx_v_ functions", v->type);
    return !e->failed;
}

/* Climbs to the nearest ancestor whose TaskID is known, then names every one on the way back, so that no
 * level is hashed twice. The running task's own is kept in the engine: its slots are still in use. */
struct id frame_id(struct engine *e, struct frame *f)
{
    if (f == e->cur && e->did.id_known)
        return e->id;
    buf_clear(&e->path);
    struct frame *at = f;
    for (; frame_depth(at) && at->head.state != FRAME_DONE_ID; at = at->parent)
        buf_add(&e->path, &at, sizeof at);
    struct id id = frame_depth(at) ? at->id : e->grant->task;
    struct frame **path = (struct frame **)(void *)e->path.data;
    for (size_t i = e->path.len / sizeof at; i-- > 0;) {
        id = id_child(id, frame_child(path[i]));
        if (path[i] == e->cur)
            continue;
        path[i]->id = id;
        path[i]->head.state = FRAME_DONE_ID;
    }
    if (f == e->cur) {
        e->id = id;
        e->did.id_known = true;
    }
    return id;
}
