/* Tasks: what one is made of, by state. */
#include "taskserver/core/core.h"

#define TAIL_MAX                                                                                             \
    512u /* longer payloads of waiting tasks are a block of their own, given back when they are full */

void addr_put(uint8_t *at, struct addr a)
{
    memcpy(at, &a.task.hi, 8);
    memcpy(at + 8, &a.task.lo, 8);
    uint32_t word = addr_word(a);
    memcpy(at + 16, &word, 4);
}

struct addr addr_get(const uint8_t *at)
{
    struct id task;
    uint32_t word;
    memcpy(&task.hi, at, 8);
    memcpy(&task.lo, at + 8, 8);
    memcpy(&word, at + 16, 4);
    return addr_of(task, word);
}

struct addr task_addr(const struct task *t, uint32_t index)
{
    if (index == 0)
        return addr_of(t->home_task, t->home_word);
    must(t->state != TASK_WAITING && index <= t->open);
    return addr_get(t->payload + (size_t)(index - 1) * ADDR_BYTES);
}

/* Law 6: the same name with another content is another task. */
uint64_t task_hash(const struct task *t)
{
    uint64_t head[5] = {t->fn, t->nslots, t->home_task.hi, t->home_task.lo, t->home_word};
    return hash64(t->payload, t->payload_len, hash64(head, sizeof head, 0));
}

static size_t bitmap_bytes(uint32_t nslots)
{
    return ((size_t)nslots + 63) / 64 * 8;
}

static size_t slots_bytes(uint32_t fn, uint32_t nslots)
{
    return task_folds(fn) ? sizeof(struct fold) : nslots * sizeof(struct cell);
}

size_t task_waiting_bytes(uint32_t fn, uint32_t nslots)
{
    return slots_bytes(fn, nslots) + bitmap_bytes(nslots);
}

/* 32: of a table that has just doubled, and has the array before it still. */
size_t task_need(uint32_t fn, uint32_t nslots, size_t payload_len)
{
    return sizeof(struct task) + 32 + pool_round(payload_len) +
           task_waiting_bytes(fn, fn_is_well_known(fn) ? nslots : 0);
}

uint64_t *task_bitmap(const struct task *t)
{
    return (uint64_t *)(void *)(t->payload + slots_bytes(t->fn, t->nslots));
}

struct cell *task_cells(const struct task *t)
{
    return (struct cell *)(void *)t->payload;
}

struct val cell_val(const struct cell *c)
{
    struct val v = {.v = {.len = c->len, .type = c->type}};
    v.v.as.i64 = c->as.i64;
    if (c->type == CX_BYTES)
        v.v.as.bytes = c->as.block;
    else if (c->type == CX_ADDR)
        v = (struct val){cx_v_addr((cx_addr){0, 0, 0}), addr_get(c->as.block)};
    return v;
}

/* ---- Making ---- */

static struct task *task_new(struct ts *ts, struct job *job, const struct spawn *s, uint32_t tail_len)
{
    struct task *t = mem_get(ts, job, sizeof *t + tail_len);
    *t = (struct task){
        .entry.id = s->id,
        .job = job,
        .home_task = s->home.task,
        .home_word = addr_word(s->home),
        .fn = (uint8_t)s->fn,
        .nslots = s->nslots,
        .depth = s->depth,
        .priority = s->priority,
        .bound_kind = s->bound_kind & 3,
        .bound = s->bound,
        .tail_len = tail_len,
        .payload = t->tail,
        .payload_len = tail_len,
    };
    uint64_t before = ts->pool.used;
    table_insert(&job->tasks, &ts->pool, &t->entry);
    job->bytes += ts->pool.used - before;
    return t;
}

struct task *task_full(struct ts *ts, struct job *job, const struct spawn *s, size_t payload_len,
                       uint32_t naddrs)
{
    struct task *t = task_new(ts, job, s, (uint32_t)payload_len);
    t->open = naddrs;
    return t;
}

void task_filled(struct ts *ts, struct task *t)
{
    t->hash = task_hash(t);
    ready_push(ts, t, false);
}

static void count_waiting(struct ts *ts, struct task *t, int64_t change)
{
    t->job->nwaiting += (uint64_t)change;
    ts->nwaiting += (uint64_t)change;
}

struct task *task_waiting(struct ts *ts, struct job *job, const struct spawn *s)
{
    size_t len = task_waiting_bytes(s->fn, s->nslots);
    struct task *t = task_new(ts, job, s, len <= TAIL_MAX ? (uint32_t)len : 0);
    t->state = TASK_WAITING;
    t->open = s->nslots;
    t->payload_len = (uint32_t)len;
    if (len > TAIL_MAX)
        t->payload = mem_get(ts, job, len);
    memset(t->payload, 0, len);
    if (task_folds(t->fn))
        ((struct fold *)(void *)t->payload)->acc = wk_start(t->fn);
    count_waiting(ts, t, 1);
    return t;
}

/* ---- From waiting to full ---- */

static void cell_free(struct ts *ts, struct job *job, struct cell *c)
{
    if (c->type == CX_BYTES)
        mem_put(ts, job, c->as.block, c->len);
    else if (c->type == CX_ADDR)
        mem_put(ts, job, c->as.block, ADDR_BYTES);
}

static void payload_free(struct ts *ts, struct task *t)
{
    if (t->state == TASK_WAITING && !task_folds(t->fn))
        for (uint32_t i = 0; i < t->nslots; i++)
            cell_free(ts, t->job, &task_cells(t)[i]);
    if (t->payload != t->tail)
        mem_put(ts, t->job, t->payload, t->payload_len);
}

/* Packs the cells of a full task into ts->pack; returns the number of addresses. */
static uint32_t cells_pack(struct ts *ts, const struct task *t)
{
    const struct cell *cell = task_cells(t);
    uint32_t naddrs = 0;
    buf_clear(&ts->pack);
    for (uint32_t i = 0; i < t->nslots; i++) {
        if (cell[i].type != CX_ADDR)
            continue;
        buf_add(&ts->pack, cell[i].as.block, ADDR_BYTES);
        naddrs++;
    }
    for (uint32_t i = 0; i < t->nslots; i++)
        put_value(&ts->pack, cell_val(&cell[i]).v);
    return naddrs;
}

static void task_pack(struct ts *ts, struct task *t)
{
    uint32_t naddrs = cells_pack(ts, t);
    payload_free(ts, t);
    t->open = naddrs;
    t->payload_len = (uint32_t)ts->pack.len;
    t->payload = t->tail;
    if (t->payload_len > t->tail_len)
        t->payload = mem_get(ts, t->job, t->payload_len);
    memcpy(t->payload, ts->pack.data, t->payload_len);
}

static void too_long(struct ts *ts, const struct task *t)
{
    char hex[ID_HEX_MAX];
    struct bytes fn = job_fn_name(t->job, t->fn);
    id_hex(t->entry.id, hex);
    buf_clear(&ts->joined);
    text_add(&ts->joined, "task %s (%.*s): its arguments exceed %u MiB together", hex, (int)fn.len,
             (const char *)fn.data, TASK_BYTES_MAX >> 20);
    job_end(ts, t->job, TS_JOB_FAILED, buf_bytes(&ts->joined));
}

void task_complete(struct ts *ts, struct task *t)
{
    must(t->state == TASK_WAITING && t->open == 0);
    if (fn_is_well_known(t->fn)) {
        t->next = ts->firing;
        ts->firing = t;
        return;
    }
    cells_pack(ts, t);
    if (ts->pack.len > TASK_BYTES_MAX) {
        too_long(ts, t);
        return;
    }
    task_pack(ts, t);
    count_waiting(ts, t, -1);
    task_filled(ts, t);
}

/* ---- Going ---- */

void task_free(struct ts *ts, struct task *t)
{
    if (t->state == TASK_READY)
        ready_remove(ts, t);
    else if (t->state == TASK_GRANTED)
        grant_drop_all(ts, t);
    if (t->state == TASK_WAITING)
        count_waiting(ts, t, -1);
    payload_free(ts, t);
    mem_put(ts, t->job, t, sizeof *t + t->tail_len);
}

void task_remove(struct ts *ts, struct task *t)
{
    uint64_t before = ts->pool.used;
    table_remove(&t->job->tasks, &ts->pool, &t->entry);
    t->job->bytes += ts->pool.used - before;
    task_free(ts, t);
}
