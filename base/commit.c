#include "base/commit.h"

void grant_put(struct buf *b, const struct grant *g)
{
    put_id(b, g->job);
    put_id(b, g->task);
    put_u64(b, g->hash);
    put_varint(b, g->budget_us);
    put_varint(b, g->fn);
    put_varint(b, g->nslots);
    buf_add(b, g->values.data, g->values.len);
}

bool grant_get(struct reader *r, struct grant *g)
{
    g->job = get_id(r);
    g->task = get_id(r);
    g->hash = get_u64(r);
    g->budget_us = (uint32_t)get_varint_max(r, UINT32_MAX);
    g->fn = (uint32_t)get_varint_max(r, FN_MAX);
    g->nslots = (uint32_t)get_varint_max(r, CX_SLOTS_MAX);
    const uint8_t *from = r->at;
    for (uint32_t i = 0; i < g->nslots && !r->bad; i++)
        get_value(r);
    g->values = bytes_of(from, (size_t)(r->at - from));
    return !r->bad && g->fn >= FN_FIRST;
}

void commit_put(struct buf *b, const struct commit *c)
{
    put_u8(b, (uint8_t)c->kind);
    put_id(b, c->job);
    put_id(b, c->task);
    put_u64(b, c->hash);
    put_varint(b, c->elapsed_ns);
    put_varint(b, c->executed);
    put_bytes(b, c->body);
}

bool commit_get(struct reader *r, struct commit *c)
{
    c->kind = get_u8(r);
    c->job = get_id(r);
    c->task = get_id(r);
    c->hash = get_u64(r);
    c->elapsed_ns = get_varint(r);
    c->executed = get_varint(r);
    c->body = get_bytes(r, COMMIT_BYTES_MAX);
    return !r->bad && c->kind >= COMMIT_DONE && c->kind <= COMMIT_RETURNED;
}

void put_name(struct buf *b, uint32_t parent, uint32_t child)
{
    put_u8(b, OP_NAME);
    put_varint(b, parent);
    put_varint(b, child);
}

void put_ref(struct buf *b, struct ref ref)
{
    put_varint(b, (uint64_t)ref.index * 2 + !ref.inherited);
    if (!ref.inherited)
        put_varint(b, ref.slot);
}

static struct ref get_ref(struct reader *r)
{
    uint64_t v = get_varint_max(r, (uint64_t)COMMIT_NAMES_MAX * 2 + 1);
    struct ref ref = {.inherited = !(v & 1), .index = (uint32_t)(v / 2)};
    if (!ref.inherited)
        ref.slot = (uint32_t)get_varint_max(r, CX_SLOTS_MAX - 1);
    return ref;
}

static void put_ref_value(struct buf *b, cx_value v, struct ref ref)
{
    put_value(b, v);
    if (v.type == CX_ADDR)
        put_ref(b, ref);
}

void put_task(struct buf *b, const struct op *op)
{
    put_u8(b, OP_TASK);
    put_varint(b, op->name);
    put_varint(b, op->fn);
    put_u8(b, op->flags);
    if (op->flags & TASK_PRIORITY)
        put_zigzag(b, op->priority);
    if (op->flags & TASK_BOUND) {
        put_u8(b, op->bound_kind);
        put_zigzag(b, op->bound);
    }
    put_ref(b, op->to);
    put_varint(b, op->nslots);
    if (!(op->flags & TASK_FULL))
        put_varint(b, op->nset);
}

void put_task_value(struct buf *b, const struct op *op, const struct op_value *v)
{
    if (!(op->flags & TASK_FULL))
        put_varint(b, v->slot);
    put_ref_value(b, v->value, v->ref);
}

void put_set(struct buf *b, struct ref to, cx_value v, struct ref ref)
{
    put_u8(b, OP_SET);
    put_ref(b, to);
    put_ref_value(b, v, ref);
}

void put_bound(struct buf *b, uint8_t kind, int64_t value)
{
    put_u8(b, OP_BOUND);
    put_u8(b, kind);
    put_zigzag(b, value);
}

void put_fail(struct buf *b, struct bytes text)
{
    put_u8(b, OP_FAIL);
    put_bytes(b, text);
}

bool op_value_get(struct reader *r, const struct op *op, uint32_t *i, struct op_value *v)
{
    if (*i >= op->nset || r->bad)
        return false;
    bool numbered = op->kind == OP_TASK && !(op->flags & TASK_FULL);
    v->slot = numbered ? (uint32_t)get_varint_max(r, op->nslots ? op->nslots - 1 : 0) : *i;
    v->value = get_value(r);
    v->ref = v->value.type == CX_ADDR ? get_ref(r) : (struct ref){0};
    ++*i;
    return !r->bad;
}

/* Steps over the values of an operation, so that a body is known to be well formed before any of it is used.
 */
static void span_values(struct reader *r, struct op *op)
{
    const uint8_t *from = r->at;
    struct op_value v;
    uint32_t i = 0;
    int64_t last = -1;
    while (op_value_get(r, op, &i, &v)) {
        if ((int64_t)v.slot <= last)
            r->bad = true;
        last = v.slot;
    }
    op->values = bytes_of(from, (size_t)(r->at - from));
}

static void get_bound(struct reader *r, struct op *op)
{
    op->bound_kind = get_u8(r);
    op->bound = get_zigzag(r);
    if (op->bound_kind != CX_BOUND_MIN && op->bound_kind != CX_BOUND_MAX)
        r->bad = true;
}

static void get_task(struct reader *r, struct op *op)
{
    op->name = (uint32_t)get_varint_max(r, COMMIT_NAMES_MAX);
    op->fn = (uint32_t)get_varint_max(r, FN_MAX);
    op->flags = get_u8(r);
    if (op->fn == 0 || op->flags & ~(TASK_FULL | TASK_PRIORITY | TASK_BOUND))
        r->bad = true;
    if (op->flags & TASK_PRIORITY) {
        int64_t priority = get_zigzag(r);
        op->priority = (int32_t)priority;
        r->bad |= op->priority != priority;
    }
    if (op->flags & TASK_BOUND)
        get_bound(r, op);
    op->to = get_ref(r);
    op->nslots = (uint32_t)get_varint_max(r, CX_SLOTS_MAX);
    op->nset = op->flags & TASK_FULL ? op->nslots : (uint32_t)get_varint_max(r, op->nslots);
    if (!(op->flags & TASK_FULL) && op->nset == op->nslots)
        r->bad = true; /* one way to say one thing */
    span_values(r, op);
}

bool op_get(struct reader *r, struct op *op)
{
    if (!reader_more(r))
        return false;
    *op = (struct op){.kind = get_u8(r)};
    switch (op->kind) {
    case OP_NAME:
        op->name = (uint32_t)get_varint_max(r, COMMIT_NAMES_MAX);
        op->child = (uint32_t)get_varint_max(r, UINT32_MAX);
        break;
    case OP_TASK:
        get_task(r, op);
        break;
    case OP_SET:
        op->to = get_ref(r);
        op->nset = 1;
        span_values(r, op);
        break;
    case OP_BOUND:
        get_bound(r, op);
        break;
    case OP_FAIL:
        op->text = get_bytes(r, MESSAGE_TEXT_MAX);
        break;
    default:
        r->bad = true;
    }
    return !r->bad;
}
