/* What a consumer's cx_map() runs: two tasks that CX_MODULE adds to every module, and the form of their
 * lists.
 *
 * cx_map(i64 task number, bytes items) splits the items until they are few, spawns the task for each of
 * these, and cx_gather packs what they gave, in order. Items and results have one form: for each value a
 * cx_item head, in the byte order of the machine (all that CX runs on are little-endian), and its data.
 *
 * Included by task.h; modules do not include it themselves. */
#ifndef CX_MAP_H
#define CX_MAP_H

#include <stdlib.h>
#include <string.h>

#include "task.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CX_MAP_FANOUT 64u

/* What cx_map has to know of its module. */
struct cx_map_task {
    const struct cx_task_entry *task;
    size_t tasks; /* the module's own */
    cx_fn map, gather;
};

struct cx_item {
    uint32_t type; /* enum cx_type */
    uint32_t len;  /* of the data: none 0, i64 and f64 8, bytes their length */
};

/* The size of the record that data starts with, and its value (bytes borrowed); 0 when it is malformed. */
static inline size_t cx_item_get(const unsigned char *data, size_t len, cx_value *v)
{
    struct cx_item head;
    if (len < sizeof head)
        return 0;
    memcpy(&head, data, sizeof head);
    if (head.len > len - sizeof head || head.type > CX_BYTES)
        return 0;
    *v = cx_v_bytes(data + sizeof head, head.len);
    if (head.type != CX_BYTES) {
        if (head.len != (head.type == CX_NONE ? 0u : 8u))
            return 0;
        *v = cx_v_none();
        v->type = head.type;
        memcpy(&v->as, data + sizeof head, head.len);
    }
    return sizeof head + head.len;
}
static inline size_t cx_item_size(cx_value v)
{
    return sizeof(struct cx_item) + (v.type == CX_BYTES ? v.len : v.type == CX_NONE ? 0u : 8u);
}
static inline void cx_item_put(unsigned char *at, cx_value v)
{
    struct cx_item head;
    head.type = v.type;
    head.len = (uint32_t)(cx_item_size(v) - sizeof head);
    memcpy(at, &head, sizeof head);
    if (head.len > 0)
        memcpy(at + sizeof head, v.type == CX_BYTES ? v.as.bytes : (const void *)&v.as, head.len);
}

/* How many records there are; fails the task when one is malformed. */
static inline uint32_t cx_items_count(cx_ctx *cx, cx_blob items)
{
    const unsigned char *at = (const unsigned char *)items.data;
    size_t left = items.len, size;
    uint32_t n = 0;
    cx_value v;
    for (; left > 0; left -= size, at += size, n++)
        if ((size = cx_item_get(at, left, &v)) == 0) {
            cx_fail(cx, "cx_map: item %u is malformed", (unsigned)n);
            return 0;
        }
    return n;
}

/* Few items: the function for each. Many: this task again for each piece of them; the pieces' results are
 * already packed, so they need only be joined. */
static inline void cx_map_spread(cx_ctx *cx, int64_t f, const struct cx_map_task *t, cx_blob items,
                                 uint32_t n)
{
    const unsigned char *at = (const unsigned char *)items.data, *end = at + items.len;
    int few = n <= CX_MAP_FANOUT;
    uint32_t piece = few                                  ? 1
                     : n <= CX_MAP_FANOUT * CX_MAP_FANOUT ? CX_MAP_FANOUT
                                                          : (n - 1) / CX_MAP_FANOUT + 1;
    cx_ref all = cx_successor(cx, few ? t->gather : CX_CONCAT, (n - 1) / piece + 1);
    uint32_t i, j;
    for (i = 0; at < end; i++) {
        const unsigned char *from = at;
        cx_value v[2];
        v[0] = cx_v_i64(f);
        for (j = 0; j < piece; j++)
            at += cx_item_get(at, (size_t)(end - at), &v[1]);
        if (!few)
            v[1] = cx_v_bytes(from, (size_t)(at - from));
        cx->api->spawn(cx, few ? t->task[f].run : t->map, cx_slot(all, i), few ? 1 : 2, few ? &v[1] : v,
                       NULL);
    }
}

static inline void cx_map_items(cx_ctx *cx, const struct cx_map_task *t)
{
    int64_t f = cx_i64(cx, 0);
    cx_blob items = cx_bytes(cx, 1);
    uint32_t n = cx_items_count(cx, items);
    if (n == 0)
        cx_return_bytes(cx, NULL, 0);
    else if (f < 0 || f >= (int64_t)t->tasks)
        cx_fail(cx, "cx_map: the module has no task number %lld", (long long)f);
    else
        cx_map_spread(cx, f, t, items, n);
}

static inline void cx_gather_slots(cx_ctx *cx)
{
    size_t size = 0;
    uint32_t i;
    unsigned char *all, *at;
    for (i = 0; i < cx->slots; i++) {
        if (cx->slot[i].type > CX_BYTES) {
            cx_fail(cx, "cx_map: item %u gave an address, which means nothing outside its job", (unsigned)i);
            return;
        }
        size += cx_item_size(cx->slot[i]);
    }
    all = at = (unsigned char *)malloc(size + 1);
    if (all == NULL) {
        cx_fail(cx, "cx_map: no memory for %llu bytes of results", (unsigned long long)size);
        return;
    }
    for (i = 0; i < cx->slots; i++) {
        cx_item_put(at, cx->slot[i]);
        at += cx_item_size(cx->slot[i]);
    }
    cx_return_bytes(cx, all, size);
    free(all);
}

#ifdef __cplusplus
}
#endif
#endif
