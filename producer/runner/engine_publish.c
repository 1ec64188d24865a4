#include "producer/runner/engine_impl.h"

/* A value sent to the granted task itself is dropped by the server, since its slots are all set: so this is
 * how an address is written whose task has run within this grant. */
static const struct ref nowhere = {.inherited = false, .index = 0, .slot = 0};

static bool published(const struct frame *f)
{
    return f->head.state == FRAME_READY || f->head.state == FRAME_WAITING;
}

static bool slot_is_set(const struct engine *e, struct frame *f, uint32_t slot)
{
    if (f->head.state == FRAME_READY)
        return true;
    if (f->head.flags & FRAME_WIDE)
        return !(frame_wide(e, f)->unset[slot / 64] >> slot % 64 & 1);
    return !(f->unset >> slot & 1);
}

/* An address as the commit says it. Slots that have their value are nowhere: what is sent there is dropped.
 */
static struct ref ref_of(struct engine *e, uint64_t handle, uint32_t slot)
{
    struct frame *f = frame_at(e, handle);
    if (!frame_is(f, handle))
        return nowhere;
    if (f->head.state == FRAME_INHERITED && slot < e->inherited)
        return (struct ref){.inherited = true, .index = slot};
    if (f->head.state == FRAME_WAITING && slot >= f->nslots)
        engine_fail(e, "the address of slot %u of a %s is passed on, which has %u: slots count from 0", slot,
                    engine_fn_name(e, f->head.fn), f->nslots);
    if (f->head.state != FRAME_WAITING || slot >= f->nslots || slot_is_set(e, f, slot))
        return nowhere;
    return (struct ref){.index = f->name, .slot = slot};
}

/* Names a frame and those of its ancestors that have none yet, parents first. Ancestors are all DONE; of the
 * granted task, the name is 0. */
static void name_frame(struct engine *e, struct frame *f)
{
    buf_clear(&e->path);
    f->name = 0;
    struct frame *at = f;
    for (; frame_depth(at) && !at->name; at = at->parent)
        buf_add(&e->path, &at, sizeof at);
    uint32_t parent = at->name;
    struct frame **path = (struct frame **)(void *)e->path.data;
    for (size_t i = e->path.len / sizeof at; i-- > 0;) {
        put_name(&e->body, parent, frame_child(path[i]));
        parent = path[i]->name = ++e->names;
    }
}

static void put_slot(struct engine *e, const struct op *op, uint32_t slot, cx_value v)
{
    struct op_value ov = {.slot = slot, .value = v};
    if (v.type == CX_ADDR)
        ov.ref = ref_of(e, v.as.task, v.len);
    put_task_value(&e->body, op, &ov);
}

/* A folding successor kept only its accumulator. It goes into the lowest slot that is set, and none into the
 * others; that is the same again when the rest is folded, since none is skipped. A count has no such slot: as
 * many of its set slots as were counted are filled with a placeholder. */
static cx_value folded_slot(const struct frame *f, cx_value acc, uint32_t nth)
{
    if (f->head.fn != (uintptr_t)CX_COUNT)
        return nth == 0 ? acc : cx_v_none();
    return nth < (uint64_t)acc.as.i64 ? cx_v_i64(0) : cx_v_none();
}

static void put_slots(struct engine *e, struct frame *f, const struct op *op)
{
    const cx_value *slot = frame_slots(f);
    uint32_t nth = 0;
    for (uint32_t i = 0; i < f->nslots; i++)
        if (slot_is_set(e, f, i))
            put_slot(e, op, i, e->folds[f->head.fn] ? folded_slot(f, slot[0], nth++) : slot[i]);
}

static uint32_t slots_missing(const struct engine *e, struct frame *f)
{
    if (f->head.state == FRAME_READY)
        return 0;
    if (f->head.flags & FRAME_WIDE)
        return (uint32_t)frame_wide(e, f)->missing;
    return (uint32_t)__builtin_popcountll(f->unset);
}

static void put_frame(struct engine *e, struct frame *f)
{
    uint32_t missing = slots_missing(e, f);
    struct op op = {
        .kind = OP_TASK,
        .name = f->name,
        .fn = f->head.fn,
        .flags = missing ? 0 : TASK_FULL,
        .to = ref_of(e, f->home, f->home_slot),
        .nslots = f->nslots,
        .nset = f->nslots - missing,
    };
    if (f->head.flags & FRAME_OPTS) {
        const cx_opts *opts = frame_opts(e, f);
        op.flags |= (opts->priority ? TASK_PRIORITY : 0) | (opts->bound_kind ? TASK_BOUND : 0);
        op.priority = opts->priority;
        op.bound_kind = (uint8_t)opts->bound_kind;
        op.bound = opts->bound;
    }
    put_task(&e->body, &op);
    put_slots(e, f, &op);
}

static void put_frontier(struct engine *e)
{
    for (uint32_t i = FRAME_FIRST; i < e->top; i++)
        if (published(&e->frames[i]))
            name_frame(e, &e->frames[i]);
    for (uint32_t i = FRAME_FIRST; i < e->top && e->body.len <= COMMIT_BYTES_MAX; i++)
        if (published(&e->frames[i]))
            put_frame(e, &e->frames[i]);
}

static void put_sets(struct engine *e)
{
    const struct engine_set *set = (const struct engine_set *)(const void *)e->sets.data;
    for (size_t n = e->sets.len / sizeof *set; n > 0; n--, set++) {
        struct ref ref = {0};
        if (set->value.type == CX_ADDR)
            ref = ref_of(e, set->value.as.task, set->value.len);
        put_set(&e->body, (struct ref){.inherited = true, .index = set->index}, set->value, ref);
    }
}

static void put_failure(struct engine *e)
{
    buf_clear(&e->body);
    put_fail(&e->body, bytes_str(e->text));
}

/* Leaves room for the record's own fields, of which the body is the last. */
static bool too_large(const struct engine *e)
{
    return e->body.len > COMMIT_BYTES_MAX - 128 || e->names > COMMIT_NAMES_MAX;
}

void engine_publish(struct engine *e)
{
    buf_clear(&e->body);
    e->names = 0;
    e->cur = NULL; /* what fails from here on is the grant as a whole */
    if (!e->failed) {
        put_frontier(e);
        put_sets(e);
        for (uint8_t kind = CX_BOUND_MIN; kind <= CX_BOUND_MAX; kind++)
            if (e->has_offer[kind])
                put_bound(&e->body, kind, e->offered[kind]);
        e->over_limit = !e->failed && too_large(e);
        if (e->over_limit)
            engine_fail(e, "leaves a commit of over %u MiB or %u tasks: spawn fewer or smaller tasks at once",
                        COMMIT_BYTES_MAX >> 20, COMMIT_NAMES_MAX);
    }
    if (e->failed)
        put_failure(e);
}
