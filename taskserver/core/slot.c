/* Setting slots, and the well-known successors that fire when their last slot is set. */
#include "taskserver/core/core.h"

static void mistyped(struct ts *ts, const struct task *t, uint32_t slot, uint32_t type)
{
    static const char *const types[] = {"none", "i64", "f64", "bytes", "addr"};
    char hex[ID_HEX_MAX];
    id_hex(t->entry.id, hex);
    buf_clear(&ts->joined);
    text_add(&ts->joined,
             "task %s (%s): slot %u was given a value of type %s, which %s cannot take, or is too long", hex,
             wk_name(t->fn), slot, types[type], wk_name(t->fn));
    job_end(ts, t->job, TS_JOB_FAILED, buf_bytes(&ts->joined));
}

/* The job's own slot: its value ends the job. */
static void result_set(struct ts *ts, struct job *job, const struct val *v)
{
    if (v->v.type == CX_ADDR) {
        job_end(ts, job, TS_JOB_FAILED,
                bytes_str("the job's result is an address, which means nothing outside"));
        return;
    }
    buf_clear(&ts->pack);
    put_value(&ts->pack, v->v);
    job_end(ts, job, TS_JOB_DONE, buf_bytes(&ts->pack));
}

static void cell_store(struct ts *ts, struct job *job, struct cell *c, const struct val *v)
{
    *c = (struct cell){.len = v->v.len, .type = v->v.type};
    c->as.i64 = v->v.as.i64;
    if (c->type == CX_BYTES) {
        c->as.block = mem_get(ts, job, c->len);
        if (c->len)
            memcpy(c->as.block, v->v.as.bytes, c->len);
    } else if (c->type == CX_ADDR) {
        c->as.block = mem_get(ts, job, ADDR_BYTES);
        addr_put(c->as.block, v->at);
    }
}

/* Law 4: a slot is set once; the bitmap remembers which. */
void slot_put(struct ts *ts, struct task *t, uint32_t slot, const struct val *v)
{
    uint64_t *word = &task_bitmap(t)[slot / 64], bit = (uint64_t)1 << slot % 64;
    if (*word & bit && LAW(4))
        return;
    if (t->open == 0)
        return;
    bool again = *word & bit;
    *word |= bit;
    t->open--;
    if (task_folds(t->fn)) {
        struct fold *f = (struct fold *)(void *)t->payload;
        if (!wk_fold(t->fn, &f->acc, v->v, NULL))
            mistyped(ts, t, slot, v->v.type);
    } else if (!again) {
        cell_store(ts, t->job, &task_cells(t)[slot], v);
    }
    if (t->open == 0)
        task_complete(ts, t);
}

/* A value for a task that is gone, or full, is dropped: the one that counts was there before. */
void slot_set(struct ts *ts, struct job *job, struct addr at, const struct val *v)
{
    if (at.shard) {
        move_slot(ts, job, at, v);
        return;
    }
    if (id_is_zero(at.task)) {
        result_set(ts, job, v);
        return;
    }
    struct task *t = task_find(job, at.task);
    if (t && t->state == TASK_WAITING && at.slot < t->nslots)
        slot_put(ts, t, at.slot, v);
}

/* The value of a well-known successor; bytes of CONCAT lie in ts->joined. */
static bool value_of(struct ts *ts, const struct task *t, struct val *out)
{
    if (task_folds(t->fn)) {
        out->v = wk_finish(t->fn, ((const struct fold *)(void *)t->payload)->acc, NULL);
        return true;
    }
    cx_value acc = wk_start(t->fn);
    buf_clear(&ts->joined);
    for (uint32_t i = 0; i < t->nslots; i++) {
        const struct cell *c = &task_cells(t)[i];
        if (!wk_fold(t->fn, &acc, cell_val(c).v, &ts->joined)) {
            mistyped(ts, t, i, c->type);
            return false;
        }
    }
    out->v = wk_finish(t->fn, acc, &ts->joined);
    return true;
}

/* A loop, not a recursion: a value may run through a million successors. */
void fire_all(struct ts *ts, struct job *job)
{
    while (ts->firing && job->state == TS_JOB_RUNNING) {
        struct task *t = ts->firing;
        struct val v = {0};
        if (!value_of(ts, t, &v))
            break;
        ts->firing = t->next;
        struct addr home = task_addr(t, 0);
        task_remove(ts, t);
        slot_set(ts, job, home, &v);
    }
    ts->firing = NULL;
}
