/* A CX value: what an argument, a slot or a result holds. 16 bytes, passed by value. */
#ifndef CX_VALUE_H
#define CX_VALUE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum cx_type {
    CX_NONE = 0,  /* nothing: what a pruned task gives; the well-known successors skip it */
    CX_I64 = 1,   /* signed 64-bit integer */
    CX_F64 = 2,   /* IEEE 754 double */
    CX_BYTES = 3, /* at most CX_VALUE_BYTES_MAX bytes */
    CX_ADDR = 4,  /* the address of a slot; only between tasks */
};

/* The address of one slot of one task. Meaningful only inside the task that made or received it. */
typedef struct cx_addr {
    uint64_t task; /* runner's handle, never a pointer */
    uint32_t slot;
    uint32_t reserved;
} cx_addr;

typedef struct cx_value {
    union {
        int64_t i64;
        double f64;
        const void *bytes; /* borrowed: CX copies what it keeps */
        uint64_t task;     /* CX_ADDR: cx_addr.task */
    } as;
    uint32_t len;  /* CX_BYTES: length; CX_ADDR: slot */
    uint32_t type; /* enum cx_type */
} cx_value;

#define CX_VALUE_BYTES_MAX (16u << 20) /* bytes in one value */
#define CX_ARGS_MAX        64u         /* arguments of a spawned task */
#define CX_SLOTS_MAX       (1u << 20)  /* slots of a successor */

static inline cx_value cx_v_none(void)
{
    cx_value v;
    v.as.i64 = 0;
    v.len = 0;
    v.type = CX_NONE;
    return v;
}
static inline cx_value cx_v_i64(int64_t i)
{
    cx_value v;
    v.as.i64 = i;
    v.len = 0;
    v.type = CX_I64;
    return v;
}
static inline cx_value cx_v_f64(double d)
{
    cx_value v;
    v.as.f64 = d;
    v.len = 0;
    v.type = CX_F64;
    return v;
}
static inline cx_value cx_v_bytes(const void *data, size_t len)
{
    cx_value v;
    v.as.bytes = data;
    v.len = len > UINT32_MAX ? UINT32_MAX : (uint32_t)len; /* too long is refused where the value is used */
    v.type = CX_BYTES;
    return v;
}
static inline cx_value cx_v_addr(cx_addr a)
{
    cx_value v;
    v.as.task = a.task;
    v.len = a.slot;
    v.type = CX_ADDR;
    return v;
}

#ifdef __cplusplus
}
#endif
#endif
