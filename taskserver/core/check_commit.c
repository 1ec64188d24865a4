/* Law 2: a commit is checked whole before any of it is applied.
 *
 * The body is read once: every name is derived from the granted task's (law 5), every reference looked at,
 * and what applying it would cost is added up. Only when a reference names a task that is made later in the
 * body is it read a second time. The names stay in ts->checked for apply. */
#include "taskserver/core/core.h"

struct check {
    struct ts *ts;
    struct checked *c;
    const struct job *job;
    const struct task *by;
    const char *wrong;
    uint32_t ops;
    bool again; /* the second reading: all tasks are known */
};

static struct name *name_add(struct checked *c)
{
    if (c->names == c->names_cap) {
        c->names_cap = c->names_cap ? c->names_cap * 2 : 64;
        c->name = realloc(c->name, c->names_cap * sizeof *c->name);
        if (!c->name)
            abort();
    }
    return &c->name[c->names++];
}

static void scratch_reset(struct checked *c, const struct task *by)
{
    *c = (struct checked){.name = c->name, .names_cap = c->names_cap, .set = c->set};
    buf_clear(&c->set);
    *name_add(c) = (struct name){.id = by->entry.id, .depth = by->depth};
}

/* Whether a value was given for this slot together with the task: its slots with a value are in order. */
static bool slot_given(const struct checked *c, const struct name *n, uint32_t slot)
{
    if (n->full || n->nset == 0)
        return n->full;
    const uint32_t *set = (const uint32_t *)(const void *)c->set.data + n->set_at;
    uint32_t lo = 0, hi = n->nset;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (set[mid] < slot)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n->nset && set[lo] == slot;
}

static void check_ref(struct check *k, struct ref ref)
{
    struct checked *c = k->c;
    if (ref.inherited) {
        if (ref.index > k->by->open)
            k->wrong = "a reference to an address that the task was not given";
        return;
    }
    const struct name *n = &c->name[ref.index];
    if (ref.index == 0)
        return; /* nowhere: the granted task's slots are all set, so what is sent there is dropped */
    if (k->again && ref.index >= c->names) {
        k->wrong = "a reference to a task that the commit does not make";
    } else if (ref.index >= c->names || !n->made) {
        c->forward = true;
        if (k->again)
            k->wrong = "a reference to a task that the commit does not make";
    } else if (ref.slot >= n->nslots || slot_given(c, n, ref.slot)) {
        k->wrong = "a reference to a slot that does not exist or has its value";
    }
}

static void check_name(struct check *k, const struct op *op)
{
    struct checked *c = k->c;
    if (k->again)
        return;
    if (op->name >= c->names) {
        k->wrong = "a name below one that is not defined yet";
        return;
    }
    if (c->names > COMMIT_NAMES_MAX || c->name[op->name].level >= COMMIT_DEPTH_MAX) {
        k->wrong = "too many names, or too deep ones";
        return;
    }
    struct name *n = name_add(c);
    const struct name *parent = &c->name[op->name];
    /* The successor takes its parent's place: a chain of them is not deep. */
    *n = (struct name){.id = id_child(parent->id, op->child),
                       .depth = parent->depth + (op->child != 0),
                       .level = parent->level + 1};
    if (c->names <= NAMES_AHEAD)
        table_expect(&k->job->tasks, n->id);
}

static void check_values(struct check *k, const struct op *op, struct name *n)
{
    struct reader r = reader_of(op->values);
    struct op_value v;
    for (uint32_t i = 0; !k->wrong && op_value_get(&r, op, &i, &v);) {
        if (v.value.type == CX_ADDR) {
            check_ref(k, v.ref);
            if (n)
                n->naddrs++;
        }
        if (n && !n->full)
            buf_add(&k->c->set, &v.slot, sizeof v.slot);
    }
}

static void check_task(struct check *k, const struct op *op)
{
    struct checked *c = k->c;
    if (!k->again) {
        if (op->name == 0 || op->name >= c->names || c->name[op->name].made) {
            k->wrong = "a task with a name that is not defined or is taken";
            return;
        }
        if (op->fn >= FN_FIRST + k->job->fns) {
            k->wrong = "a task of a function that the module does not have";
            return;
        }
    }
    struct name *n = k->again ? NULL : &c->name[op->name];
    if (n) {
        n->set_at = (uint32_t)(c->set.len / sizeof(uint32_t));
        n->full = op->flags & TASK_FULL;
        n->nslots = op->nslots;
    }
    check_values(k, op, n);
    check_ref(k, op->to);
    if (!n || k->wrong)
        return;
    n->made = true;
    n->nset = n->full ? 0 : op->nset;
    c->tasks++;
    size_t slots = n->full ? 0 : task_waiting_bytes(op->fn, op->nslots);
    if (op->flags & TASK_PRIORITY)
        c->need += sizeof(struct bucket); /* each may have a priority of its own */
    c->need += task_need(op->fn, op->nslots, op->values.len + (size_t)n->naddrs * ADDR_BYTES) + slots;
    if (n->full && !fn_is_well_known(op->fn) && op->values.len > TASK_BYTES_MAX - n->naddrs * ADDR_BYTES)
        k->wrong = "a task whose arguments are too long together";
}

static void check_set(struct check *k, const struct op *op)
{
    check_ref(k, op->to);
    check_values(k, op, NULL);
    if (k->again)
        return;
    k->c->sets++;
    k->c->need += pool_round(op->values.len);
}

static void check_bound(struct check *k, const struct op *op)
{
    (void)op;
    k->c->bounds += !k->again;
}

static void check_fail(struct check *k, const struct op *op)
{
    k->c->failed = true;
    k->c->fail = op->text;
}

static void check_ops(struct check *k, struct bytes body)
{
    static void (*const handler[])(struct check *, const struct op *) = {
        [OP_NAME] = check_name,   [OP_TASK] = check_task, [OP_SET] = check_set,
        [OP_BOUND] = check_bound, [OP_FAIL] = check_fail,
    };
    struct reader r = reader_of(body);
    struct op op;
    while (!k->wrong && op_get(&r, &op)) {
        handler[op.kind](k, &op);
        k->ops++;
    }
    if (!k->wrong && r.bad)
        k->wrong = "a malformed operation";
}

const char *commit_check(struct ts *ts, const struct job *job, const struct task *by, struct bytes body)
{
    struct check k = {.ts = ts, .c = &ts->checked, .job = job, .by = by};
    scratch_reset(&ts->checked, by);
    check_ops(&k, body);
    if (!k.wrong && k.c->failed && k.ops != 1)
        k.wrong = "a failure together with other operations";
    if (!k.wrong && k.c->forward) {
        k.again = true;
        check_ops(&k, body);
    }
    return k.wrong;
}
