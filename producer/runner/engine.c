#include "cx/error.h"
#include "producer/runner/engine_impl.h"

#include <stdlib.h>

#define STRIDE_MAX    1024u   /* tasks between two looks at the clock */
#define STRIDE_NS     20000u  /* and about how long they may take together */
#define HUNGRY_MIN_NS 200000u /* computed at least, before others' hunger ends a grant */
#define MEMORY_MIN    ((size_t)1 << 20)
#define KEEP_BYTES    ((size_t)8 << 20) /* what a buffer keeps of its memory from grant to grant */

/* ---- Making an engine ---- */

static int check_module(const cx_module *m)
{
    if (m->abi != CX_ABI_VERSION)
        return CX_EVERSION;
    if (m->tasks == 0 || m->tasks > CX_MODULE_TASKS_MAX || !m->task)
        return CX_EINVAL;
    for (uint32_t i = 0; i < m->tasks; i++)
        if (!m->task[i].run || !m->task[i].name)
            return CX_EINVAL;
    return 0;
}

static void fill_tables(struct engine *e)
{
    const cx_module *m = e->config.module;
    for (uint32_t i = 0; i < m->tasks; i++) {
        e->run[FN_FIRST + i] = m->task[i].run;
        engine_fn_add(e, m->task[i].run, FN_FIRST + i);
    }
    for (uint32_t fn = 1; fn < FN_FIRST + m->tasks; fn++) {
        bool well_known = fn_is_well_known(fn);
        e->folds[fn] = well_known && wk_any_order(fn);
        e->heir[fn].start = well_known ? wk_start(fn) : cx_v_none();
        e->heir[fn].inline_max = e->folds[fn] ? 64 : FRAME_VALUES;
        e->heir[fn].head = (struct frame_head){.fn = (uint8_t)fn, .state = FRAME_WAITING};
        e->heir[fn].head.quick = fn >= FN_FIRST                ? QUICK_OWN
                                 : fn == (uintptr_t)CX_SUM_I64 ? QUICK_SUM
                                                               : QUICK_NOT;
    }
}

static size_t frames_bytes(const struct engine *e)
{
    return (size_t)e->frames_max * sizeof(struct frame);
}

static bool take_memory(struct engine *e)
{
    if (e->config.memory_max < MEMORY_MIN)
        e->config.memory_max = MEMORY_MIN;
    e->frames_max = 1;
    while (frames_bytes(e) * 2 <= e->config.memory_max && frames_bytes(e) * 2 <= (size_t)UINT32_MAX + 1)
        e->frames_max *= 2;
    e->mask = (uint32_t)(frames_bytes(e) - sizeof(struct frame));
    e->memory_soft = e->config.memory_max / 2;
    if (e->memory_soft > COMMIT_BYTES_MAX / 2)
        e->memory_soft = COMMIT_BYTES_MAX / 2;
    e->frames = region_new(frames_bytes(e));
    return e->frames && arena_init(&e->arena, e->config.memory_max);
}

int engine_new(const struct engine_config *config, struct engine **out)
{
    int err = check_module(config->module);
    if (err)
        return err;
    struct engine *e = calloc(1, sizeof *e);
    if (!e)
        return CX_ENOMEM;
    e->config = *config;
    if (!take_memory(e)) {
        engine_free(e);
        return CX_ENOMEM;
    }
    fill_tables(e);
    *out = e;
    return 0;
}

void engine_free(struct engine *e)
{
    if (!e)
        return;
    region_free(e->frames, frames_bytes(e));
    arena_destroy(&e->arena);
    buf_free(&e->sets);
    buf_free(&e->was_set);
    buf_free(&e->path);
    buf_free(&e->joined);
    buf_free(&e->body);
    free(e);
}

/* ---- Beginning and ending a grant ---- */

/* Frame 0 stands for no task and is the granted task's parent: it is never freed. */
static void init_frames(struct engine *e)
{
    e->frames[0] = (struct frame){.refs = FRAME_RUNNING_REFS};
    e->frames[FRAME_OF_INHERITED] = (struct frame){.gen = 1, .head.state = FRAME_INHERITED};
    e->top = FRAME_FIRST;
    e->inherited = 1;
}

static void forget_last(struct engine *e)
{
    arena_reset(&e->arena);
    region_trim(e->frames, KEEP_BYTES, (size_t)e->top * sizeof(struct frame));
    buf_reset(&e->sets, KEEP_BYTES);
    buf_reset(&e->was_set, KEEP_BYTES);
    buf_reset(&e->path, KEEP_BYTES);
    buf_reset(&e->joined, KEEP_BYTES);
    buf_reset(&e->body, KEEP_BYTES);
    e->ready = e->free = e->cur = NULL;
    e->growths = 0;
    e->wide_bytes = 0;
    e->grown = e->deep = e->failed = e->over_limit = false;
    e->has_offer[CX_BOUND_MIN] = e->has_offer[CX_BOUND_MAX] = false;
    e->offered[CX_BOUND_MIN] = INT64_MAX;
    e->offered[CX_BOUND_MAX] = INT64_MIN;
    e->executed = e->looked_executed = 0;
    e->until = e->stride = 1;
    e->ctx.api = &engine_api;
    init_frames(e);
}

static void begin(struct engine *e, const struct grant *g)
{
    forget_last(e);
    e->grant = g;
    e->start_ns = e->looked_ns = e->config.clock_ns();
    e->deadline_ns = g->budget_us == UINT32_MAX ? UINT64_MAX : e->start_ns + (uint64_t)g->budget_us * 1000;
    e->hungry = atomic_load_explicit(&e->config.shared->hungry, memory_order_relaxed);
}

/* The granted task's slots. Bytes stay where they are; addresses are numbered in the order they come. */
static bool read_slots(struct engine *e, struct frame *f, const struct grant *g)
{
    struct reader r = reader_of(g->values);
    uint64_t inherited = frame_handle(e, &e->frames[FRAME_OF_INHERITED]);
    cx_value *slot = frame_slots(f);
    for (uint32_t i = 0; i < g->nslots; i++) {
        slot[i] = get_value(&r);
        if (slot[i].type == CX_ADDR)
            slot[i] = cx_v_addr((cx_addr){inherited, e->inherited++, 0});
    }
    if (r.bad || reader_more(&r))
        engine_fail(e, "was granted with malformed arguments: its server or this runner is broken");
    return !e->failed;
}

static void admit(struct engine *e, const struct grant *g)
{
    if (g->fn < FN_FIRST || g->fn - FN_FIRST >= e->config.module->tasks) {
        engine_fail(e,
                    "function number %u is not among the module's %u tasks: was the job submitted with "
                    "another module?",
                    g->fn - FN_FIRST, e->config.module->tasks);
        return;
    }
    struct frame *f = frame_new(e);
    must(f);
    uint32_t gen = f->gen;
    *f = (struct frame){.gen = gen, .nslots = g->nslots, .parent = &e->frames[0]};
    f->head = (struct frame_head){.fn = (uint8_t)g->fn, .flags = FRAME_BORROWED};
    f->home = frame_handle(e, &e->frames[FRAME_OF_INHERITED]);
    if ((g->nslots > FRAME_VALUES && !frame_widen(e, f, NULL)) || !read_slots(e, f, g))
        return;
    buf_reserve(&e->was_set, e->inherited);
    memset(e->was_set.data, 0, e->inherited);
    frame_push(e, f);
}

static void write_commit(struct engine *e, const struct grant *g, struct buf *out)
{
    struct commit c = {
        .kind = COMMIT_DONE,
        .job = g->job,
        .task = g->task,
        .hash = g->hash,
        .elapsed_ns = e->config.clock_ns() - e->start_ns,
        .executed = e->executed,
        .body = buf_bytes(&e->body),
    };
    commit_put(out, &c);
}

/* ---- Running ---- */

/* The granted task may use more than memory_soft once: what it spawned at one go is as well run here as
 * published. Growing a second time says that the tasks below grow too. */
static bool must_publish(struct engine *e)
{
    if (e->grown) {
        e->grown = false;
        e->growths++;
    }
    return e->growths > 1 || e->deep || e->alone;
}

static bool is_hungry(const struct engine *e, uint64_t now)
{
    return atomic_load_explicit(&e->config.shared->hungry, memory_order_relaxed) != e->hungry &&
           now - e->start_ns >= HUNGRY_MIN_NS;
}

/* Looks at the clock, and chooses when to look again: after each task when they are long, seldom when they
 * are tiny, so that neither the looks nor the tasks between them take much time. The distance doubles at
 * most, so that a few tiny tasks at the top of a tree do not hide how long those below are. */
static bool must_stop(struct engine *e)
{
    if (e->failed || must_publish(e))
        return true;
    uint64_t now = e->config.clock_ns();
    uint64_t each = (now - e->looked_ns) / (e->executed - e->looked_executed + 1) + 1;
    uint64_t stride = STRIDE_NS / each, most = e->stride * 2 < STRIDE_MAX ? e->stride * 2 : STRIDE_MAX;
    e->stride = stride < 1 ? 1 : stride > most ? (uint32_t)most : (uint32_t)stride;
    e->until = e->stride;
    e->looked_ns = now;
    e->looked_executed = e->executed;
    return now >= e->deadline_ns || is_hungry(e, now);
}

static void fail_silent(struct engine *e)
{
    engine_fail(
        e, "neither returned a value nor left a successor, so that its value would be waited for for ever: "
           "return one (cx_return_none at least), or pass cx_home on");
}

static bool prune(struct engine *e, struct frame *f)
{
    if (!(f->head.flags & FRAME_OPTS) || !engine_hopeless(e, f))
        return false;
    e->cur = f;
    e->did.id_known = false;
    uint64_t home = f->home;
    uint32_t slot = f->home_slot;
    frame_drop(e, f);
    frame_release(e, f);
    engine_deliver(e, home, slot, cx_v_none());
    return true;
}

static inline void run(struct engine *e, struct frame *f, const cx_value *slot)
{
    e->ctx.slot = slot;
    e->ctx.slots = f->nslots;
    e->cur = f;
    e->place = (f->place | UINT32_MAX) + 1;
    e->did = (struct engine_did){0};
    f->refs_and_name = FRAME_RUNNING_REFS;
    if (unlikely(e->place >= (uint64_t)COMMIT_DEPTH_MAX << 32)) {
        e->deep = true;
        e->until = 1;
    }
    e->run[f->head.fn](&e->ctx);
    e->executed++;
}

/* The task has run and its values are gone. Its frame stays as long as children of it are alive. */
static inline void retire(struct engine *e, struct frame *f)
{
    if (unlikely(!e->did.handed))
        fail_silent(e);
    uint32_t children = (uint32_t)e->place + e->did.successors;
    if (children == 0 || (f->refs += children - FRAME_RUNNING_REFS) == 0) {
        frame_release(e, f);
        return;
    }
    f->head.state = FRAME_DONE;
    if (unlikely(e->did.id_known)) {
        f->id = e->id;
        f->head.state = FRAME_DONE_ID;
    }
}

/* Tasks with options, bytes or many slots. */
__attribute__((noinline)) static void run_special(struct engine *e, struct frame *f)
{
    if (prune(e, f))
        return;
    run(e, f, frame_slots(f));
    frame_drop(e, f);
    retire(e, f);
}

static void run_all(struct engine *e)
{
    struct frame *f;
    while ((f = e->ready)) {
        e->ready = f->link;
        if (unlikely(f->head.flags))
            run_special(e, f);
        else
            run(e, f, f->value), retire(e, f);
        if (--e->until == 0 && must_stop(e))
            return;
    }
}

static void run_grant(struct engine *e, const struct grant *g)
{
    admit(e, g);
    if (!e->failed)
        run_all(e);
    engine_publish(e);
}

/* Tasks that go over a limit together, in memory or in the size of their commit, need not do so one by one,
 * and whether a job fails may not depend on how it is cut into grants: so the granted task is run again
 * alone. */
void engine_run(struct engine *e, const struct grant *g, struct buf *out)
{
    begin(e, g);
    e->alone = g->budget_us == 0;
    run_grant(e, g);
    if (e->over_limit && !e->alone) {
        forget_last(e);
        e->alone = true;
        run_grant(e, g);
    }
    write_commit(e, g, out);
}
