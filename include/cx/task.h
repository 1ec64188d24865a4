/* Writing tasks for CX.
 *
 * A module is a shared object made of tasks; it includes this header, links to libc and libm only, and
 * exports one symbol, the module table. A task reads its arguments and then does one of two things: it
 * returns a value, or it leaves a successor that waits for values and spawns children that produce them.
 *
 *     CX_TASK(fib)                                    // i64 -> i64
 *     {
 *         int64_t n = cx_i64(cx, 0);
 *         if (n < 2)
 *             return cx_return_i64(cx, n);
 *         cx_ref sum = cx_successor(cx, CX_SUM_I64, 2);     // inherits where fib's value goes
 *         cx_spawn(cx, fib, cx_slot(sum, 0), cx_args(n - 1));
 *         cx_spawn(cx, fib, cx_slot(sum, 1), cx_args(n - 2));
 *     }
 *     CX_MODULE(fib)
 *
 * Tasks are pure: the answer depends on the function, the slots and the job's input, nothing else. A task may
 * be run more than once, on several machines; only one of its runs counts. All that a task does takes effect
 * as one commit when it returns, or not at all.
 *
 * Addresses are values: a task may hand the address of any slot it knows to its children, so that any DAG can
 * be built. A slot is set once; a second value is dropped.
 *
 * Source of the model: Cappello and Mourloukos, "CX: A Scalable, Robust Network for Parallel Computing"
 * (2001); spawn/successor/set-slot is Cilk's continuation passing (Blumofe et al., 1995). */
#ifndef CX_TASK_H
#define CX_TASK_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "value.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CX_ABI_VERSION 1u

struct cx_api;

/* The running task's view of CX. The fields are the ABI of the inline readers below: read-only to tasks. */
typedef struct cx_ctx {
    const struct cx_api *api;
    const cx_value *slot;
    uint32_t slots;
    uint32_t reserved;
} cx_ctx;

typedef void (*cx_fn)(cx_ctx *cx);

/* A successor left behind by the running task; only good for cx_slot(). */
typedef struct cx_ref {
    uint64_t task;
} cx_ref;

/* Options of a spawned task or a successor. Zeroes are the defaults. */
typedef struct cx_opts {
    int32_t priority;    /* higher first, within the job */
    uint32_t bound_kind; /* enum cx_bound, 0 for none: */
    int64_t bound; /* no value below this task can be better; pruned unrun (value: none) once it cannot win */
} cx_opts;

/* The job's shared bound. It only ever improves; a stale one costs work, never the answer. */
enum cx_bound {
    CX_BOUND_MIN = 1, /* smaller is better */
    CX_BOUND_MAX = 2, /* larger is better */
};

/* The function table handed to every task. New entries are added at the end; size tells which are there. */
struct cx_api {
    uint32_t version; /* CX_ABI_VERSION */
    uint32_t size;    /* sizeof(struct cx_api) of the runner */
    cx_ref (*successor)(cx_ctx *, cx_fn fn, uint32_t slots, const cx_addr *home, const cx_opts *);
    void (*spawn)(cx_ctx *, cx_fn fn, cx_addr home, uint32_t n, const cx_value *args, const cx_opts *);
    void (*set)(cx_ctx *, cx_addr to, cx_value v);
    void (*give)(cx_ctx *, cx_value v);
    cx_addr (*home)(cx_ctx *);
    uint64_t (*random)(cx_ctx *);
    const void *(*input)(cx_ctx *, size_t *len);
    int64_t (*best)(cx_ctx *, uint32_t kind);
    void (*offer)(cx_ctx *, uint32_t kind, int64_t value);
    void (*vfail)(cx_ctx *, const char *format, va_list);
    void (*mistyped)(cx_ctx *, uint32_t slot, uint32_t wanted);
    /* The usual forms of the above, which cost less: a successor that inherits, a child without options, one
     * with a single argument (its two words: as.i64, and len with type above it), a returned integer. */
    cx_ref (*heir)(cx_ctx *, cx_fn fn, uint32_t slots);
    void (*child)(cx_ctx *, cx_fn fn, cx_addr home, uint32_t n, const cx_value *args);
    void (*child1)(cx_ctx *, cx_fn fn, cx_addr home, int64_t as, uint64_t len_and_type);
    void (*give_i64)(cx_ctx *, int64_t i);
};

/* The module table, the one symbol a module exports. */
struct cx_task_entry {
    const char *name;
    cx_fn run;
};
typedef struct cx_module {
    uint32_t abi;   /* CX_ABI_VERSION */
    uint32_t tasks; /* entries; at most CX_MODULE_TASKS_MAX */
    const struct cx_task_entry *task;
} cx_module;
#define CX_MODULE_SYMBOL    "cx_module_v1"
#define CX_MODULE_TASKS_MAX 34u /* CX_MODULE's up to 32, and the two that it adds for cx_map() */

/* Well-known successors: they run inside the engine and need no user code. All skip slots that hold none.
 * SUM_I64 wraps; SUM_F64 adds in slot order; MIN and MAX of nothing is none; COUNT counts the slots that hold
 * a value; CONCAT joins bytes in slot order. */
#define CX_WELL_KNOWN(n)  ((cx_fn)(uintptr_t)(n))
#define CX_SUM_I64        CX_WELL_KNOWN(1)
#define CX_SUM_F64        CX_WELL_KNOWN(2)
#define CX_MIN_I64        CX_WELL_KNOWN(3)
#define CX_MAX_I64        CX_WELL_KNOWN(4)
#define CX_MIN_F64        CX_WELL_KNOWN(5)
#define CX_MAX_F64        CX_WELL_KNOWN(6)
#define CX_COUNT          CX_WELL_KNOWN(7)
#define CX_CONCAT         CX_WELL_KNOWN(8)
#define CX_WELL_KNOWN_END 9u

/* ---- Defining tasks and the module ---- */

#define CX_TASK(name)                                                                                        \
    static void name(cx_ctx *cx);                                                                            \
    static void name(cx_ctx *cx)

/* CX_MODULE(a, b, c): the tasks of this module, the function numbers in this order. Once a module. Two more
 * come by themselves, cx_map and cx_gather, with which a consumer's cx_map() applies any task to a list of
 * items. */
#define CX_MODULE(...)                                                                                       \
    static void cx_map_run(cx_ctx *cx);                                                                      \
    static void cx_gather_run(cx_ctx *cx);                                                                   \
    static const struct cx_task_entry cx_module_tasks[] = {                                                  \
        CX_EACH(CX_ENTRY, __VA_ARGS__){"cx_map", cx_map_run}, {"cx_gather", cx_gather_run}};                 \
    static void cx_map_run(cx_ctx *cx)                                                                       \
    {                                                                                                        \
        const struct cx_map_task self = {cx_module_tasks,                                                    \
                                         sizeof cx_module_tasks / sizeof cx_module_tasks[0] - 2, cx_map_run, \
                                         cx_gather_run};                                                     \
        cx_map_items(cx, &self);                                                                             \
    }                                                                                                        \
    static void cx_gather_run(cx_ctx *cx)                                                                    \
    {                                                                                                        \
        cx_gather_slots(cx);                                                                                 \
    }                                                                                                        \
    CX_EXPORT const cx_module cx_module_v1 = {                                                               \
        CX_ABI_VERSION, (uint32_t)(sizeof cx_module_tasks / sizeof cx_module_tasks[0]), cx_module_tasks};
#define CX_ENTRY(f) {#f, f},
#ifdef __cplusplus
#define CX_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define CX_EXPORT __attribute__((visibility("default")))
#endif

/* ---- Reading arguments: slot i of the running task. A wrong type or number fails the task with a message
 * ---- */

typedef struct cx_blob {
    const void *data; /* borrowed until the task returns */
    size_t len;
} cx_blob;

static inline uint32_t cx_argc(const cx_ctx *cx)
{
    return cx->slots;
}
static inline enum cx_type cx_typeof(const cx_ctx *cx, uint32_t i)
{
    return i < cx->slots ? (enum cx_type)cx->slot[i].type : CX_NONE;
}
/* True when slot i holds a value of this type; otherwise the task has failed and says so. */
static inline int cx_holds(cx_ctx *cx, uint32_t i, enum cx_type type);

static inline int64_t cx_i64(cx_ctx *cx, uint32_t i)
{
    return cx_holds(cx, i, CX_I64) ? cx->slot[i].as.i64 : 0;
}
static inline double cx_f64(cx_ctx *cx, uint32_t i)
{
    return cx_holds(cx, i, CX_F64) ? cx->slot[i].as.f64 : 0.0;
}
static inline cx_blob cx_bytes(cx_ctx *cx, uint32_t i)
{
    cx_blob b = {NULL, 0};
    if (cx_holds(cx, i, CX_BYTES)) {
        b.data = cx->slot[i].as.bytes;
        b.len = cx->slot[i].len;
    }
    return b;
}
static inline cx_addr cx_address(cx_ctx *cx, uint32_t i)
{
    cx_addr a = {0, 0, 0};
    if (cx_holds(cx, i, CX_ADDR)) {
        a.task = cx->slot[i].as.task;
        a.slot = cx->slot[i].len;
    }
    return a;
}

/* The job's read-only input, NULL and 0 when it has none. Borrowed for the life of the job. */
static inline cx_blob cx_input(cx_ctx *cx)
{
    cx_blob b;
    b.data = cx->api->input(cx, &b.len);
    return b;
}

/* ---- Returning ---- */

/* Sets the slot that this task's value is for. Not together with a successor that inherited it. */
static inline void cx_return(cx_ctx *cx, cx_value v)
{
    cx->api->give(cx, v);
}
static inline void cx_return_i64(cx_ctx *cx, int64_t i)
{
    cx->api->give_i64(cx, i);
}
static inline void cx_return_f64(cx_ctx *cx, double d)
{
    cx->api->give(cx, cx_v_f64(d));
}
static inline void cx_return_bytes(cx_ctx *cx, const void *data, size_t len)
{
    cx->api->give(cx, cx_v_bytes(data, len));
}
static inline void cx_return_none(cx_ctx *cx)
{
    cx->api->give(cx, cx_v_none());
}

/* Fails the job. The consumer sees the message with the task's name, the function and the producer. printf
 * form. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static inline void
cx_fail(cx_ctx *cx, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    cx->api->vfail(cx, format, ap);
    va_end(ap);
}

/* ---- Decomposing ---- */

/* A successor with n slots that inherits where this task's value goes. It becomes ready when all are set. */
static inline cx_ref cx_successor(cx_ctx *cx, cx_fn fn, uint32_t n)
{
    return cx->api->heir(cx, fn, n);
}
/* A successor whose value goes to an address of one's choice. opts may be NULL. */
static inline cx_ref cx_successor_to(cx_ctx *cx, cx_fn fn, uint32_t n, cx_addr home, const cx_opts *opts)
{
    return cx->api->successor(cx, fn, n, &home, opts);
}
static inline cx_addr cx_slot(cx_ref ref, uint32_t i)
{
    cx_addr a = {ref.task, i, 0};
    return a;
}
/* Where this task's value goes; taking it means that someone else will set it. */
static inline cx_addr cx_home(cx_ctx *cx)
{
    return cx->api->home(cx);
}
/* Sets any slot one has the address of. */
static inline void cx_set(cx_ctx *cx, cx_addr to, cx_value v)
{
    cx->api->set(cx, to, v);
}

#if defined(__GNUC__)
#define CX_KNOWN(x) __builtin_constant_p(x)
#else
#define CX_KNOWN(x) 0
#endif

typedef struct cx_arglist {
    uint32_t n;
    const cx_value *v;
} cx_arglist;

/* Spawns a child whose value goes to home. fn is a task of this module; args: cx_args(...) or CX_NO_ARGS. */
static inline void cx_spawn(cx_ctx *cx, cx_fn fn, cx_addr home, cx_arglist args)
{
    if (CX_KNOWN(args.n) && args.n == 1)
        cx->api->child1(cx, fn, home, args.v[0].as.i64, args.v[0].len | (uint64_t)args.v[0].type << 32);
    else
        cx->api->child(cx, fn, home, args.n, args.v);
}
static inline void cx_spawn_with(cx_ctx *cx, cx_fn fn, cx_addr home, cx_arglist args, cx_opts opts)
{
    cx->api->spawn(cx, fn, home, args.n, args.v, &opts);
}

/* ---- Randomness and the shared bound ---- */

/* The next of a sequence seeded by the TaskID: the same on every machine and in every re-run. */
static inline uint64_t cx_random(cx_ctx *cx)
{
    return cx->api->random(cx);
}
/* What must be beaten: a task that cannot do better than this (for MIN: only values >= cx_best) may give up
 * and return none. INT64_MAX (for MIN) or INT64_MIN (for MAX) while nothing was offered. A value found in
 * another run is told one worse than it is: that run may yet be lost, and then one that equals it must still
 * be found. */
static inline int64_t cx_best(cx_ctx *cx, enum cx_bound kind)
{
    return cx->api->best(cx, kind);
}
/* Offers a value that this task returns (or has sent on its way to the job's result). */
static inline void cx_offer(cx_ctx *cx, enum cx_bound kind, int64_t value)
{
    cx->api->offer(cx, kind, value);
}

static inline int cx_holds(cx_ctx *cx, uint32_t i, enum cx_type type)
{
    if (i < cx->slots && cx->slot[i].type == (uint32_t)type)
        return 1;
    cx->api->mistyped(cx, i, (uint32_t)type);
    return 0;
}

#ifdef __cplusplus
}
#endif

/* ---- cx_args(...): 1 to 8 arguments of type integer, double, cx_blob, cx_addr or cx_value ---- */

#define CX_NO_ARGS (cx_no_args())
static inline cx_arglist cx_no_args(void)
{
    cx_arglist l = {0, NULL};
    return l;
}
static inline cx_value cx_v_blob(cx_blob b)
{
    return cx_v_bytes(b.data, b.len);
}
static inline cx_value cx_v_same(cx_value v)
{
    return v;
}

#ifdef __cplusplus
static inline cx_value cx_v(long long i)
{
    return cx_v_i64(i);
}
static inline cx_value cx_v(unsigned long long i)
{
    return cx_v_i64((int64_t)i);
}
static inline cx_value cx_v(long i)
{
    return cx_v_i64(i);
}
static inline cx_value cx_v(unsigned long i)
{
    return cx_v_i64((int64_t)i);
}
static inline cx_value cx_v(int i)
{
    return cx_v_i64(i);
}
static inline cx_value cx_v(unsigned i)
{
    return cx_v_i64(i);
}
static inline cx_value cx_v(double d)
{
    return cx_v_f64(d);
}
static inline cx_value cx_v(cx_addr a)
{
    return cx_v_addr(a);
}
static inline cx_value cx_v(cx_blob b)
{
    return cx_v_blob(b);
}
static inline cx_value cx_v(cx_value v)
{
    return v;
}
template <unsigned N> struct cx_arg_array {
    cx_value v[N];
    operator cx_arglist() const
    {
        cx_arglist l = {N, v};
        return l;
    }
};
template <class... T> static inline cx_arg_array<sizeof...(T)> cx_args(T... t)
{
    return cx_arg_array<sizeof...(T)>{{cx_v(t)...}};
}
#else
#define cx_v(x)                                                                                              \
    _Generic((x), float                                                                                      \
             : cx_v_f64, double                                                                              \
             : cx_v_f64, cx_addr                                                                             \
             : cx_v_addr, cx_blob                                                                            \
             : cx_v_blob, cx_value                                                                           \
             : cx_v_same, default                                                                            \
             : cx_v_i64)(x)
#define CX_V_ITEM(x) cx_v(x),
#define cx_args(...)                                                                                         \
    ((cx_arglist){(uint32_t)(sizeof((cx_value[]){CX_EACH(CX_V_ITEM, __VA_ARGS__)}) / sizeof(cx_value)),      \
                  (cx_value[]){CX_EACH(CX_V_ITEM, __VA_ARGS__)}})
#endif

/* CX_EACH(M, a, b, ...): M(a) M(b) ..., up to 32 arguments. */
#define CX_EACH(M, ...)                                                                                      \
    CX_EACH_PICK(__VA_ARGS__, CX_E32, CX_E31, CX_E30, CX_E29, CX_E28, CX_E27, CX_E26, CX_E25, CX_E24,        \
                 CX_E23, CX_E22, CX_E21, CX_E20, CX_E19, CX_E18, CX_E17, CX_E16, CX_E15, CX_E14, CX_E13,     \
                 CX_E12, CX_E11, CX_E10, CX_E9, CX_E8, CX_E7, CX_E6, CX_E5, CX_E4, CX_E3, CX_E2, CX_E1, 0)   \
    (M, __VA_ARGS__)
#define CX_EACH_PICK(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19,   \
                     a20, a21, a22, a23, a24, a25, a26, a27, a28, a29, a30, a31, a32, PICKED, ...)           \
    PICKED
#define CX_E1(M, a)       M(a)
#define CX_E2(M, a, ...)  M(a) CX_E1(M, __VA_ARGS__)
#define CX_E3(M, a, ...)  M(a) CX_E2(M, __VA_ARGS__)
#define CX_E4(M, a, ...)  M(a) CX_E3(M, __VA_ARGS__)
#define CX_E5(M, a, ...)  M(a) CX_E4(M, __VA_ARGS__)
#define CX_E6(M, a, ...)  M(a) CX_E5(M, __VA_ARGS__)
#define CX_E7(M, a, ...)  M(a) CX_E6(M, __VA_ARGS__)
#define CX_E8(M, a, ...)  M(a) CX_E7(M, __VA_ARGS__)
#define CX_E9(M, a, ...)  M(a) CX_E8(M, __VA_ARGS__)
#define CX_E10(M, a, ...) M(a) CX_E9(M, __VA_ARGS__)
#define CX_E11(M, a, ...) M(a) CX_E10(M, __VA_ARGS__)
#define CX_E12(M, a, ...) M(a) CX_E11(M, __VA_ARGS__)
#define CX_E13(M, a, ...) M(a) CX_E12(M, __VA_ARGS__)
#define CX_E14(M, a, ...) M(a) CX_E13(M, __VA_ARGS__)
#define CX_E15(M, a, ...) M(a) CX_E14(M, __VA_ARGS__)
#define CX_E16(M, a, ...) M(a) CX_E15(M, __VA_ARGS__)
#define CX_E17(M, a, ...) M(a) CX_E16(M, __VA_ARGS__)
#define CX_E18(M, a, ...) M(a) CX_E17(M, __VA_ARGS__)
#define CX_E19(M, a, ...) M(a) CX_E18(M, __VA_ARGS__)
#define CX_E20(M, a, ...) M(a) CX_E19(M, __VA_ARGS__)
#define CX_E21(M, a, ...) M(a) CX_E20(M, __VA_ARGS__)
#define CX_E22(M, a, ...) M(a) CX_E21(M, __VA_ARGS__)
#define CX_E23(M, a, ...) M(a) CX_E22(M, __VA_ARGS__)
#define CX_E24(M, a, ...) M(a) CX_E23(M, __VA_ARGS__)
#define CX_E25(M, a, ...) M(a) CX_E24(M, __VA_ARGS__)
#define CX_E26(M, a, ...) M(a) CX_E25(M, __VA_ARGS__)
#define CX_E27(M, a, ...) M(a) CX_E26(M, __VA_ARGS__)
#define CX_E28(M, a, ...) M(a) CX_E27(M, __VA_ARGS__)
#define CX_E29(M, a, ...) M(a) CX_E28(M, __VA_ARGS__)
#define CX_E30(M, a, ...) M(a) CX_E29(M, __VA_ARGS__)
#define CX_E31(M, a, ...) M(a) CX_E30(M, __VA_ARGS__)
#define CX_E32(M, a, ...) M(a) CX_E31(M, __VA_ARGS__)

#include "map.h"

#endif
