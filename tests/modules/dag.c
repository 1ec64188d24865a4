/* A random graph that is no tree: every vertex is a successor with a slot for each value it waits for and, in
 * other slots, the addresses that its own value goes to. Vertices with many readers hand the addresses on to
 * relays. dag_seq computes the same in one task. */
#include <cx/task.h>
#include <stdlib.h>

#define VERTICES_MAX 20000
#define IN_MAX       3
#define BACK_MAX     9 /* a vertex reads from the last few before it */
#define RELAY_MAX    2 /* values set by one task itself */
#define OUT_MAX      (IN_MAX * BACK_MAX)

struct vertex {
    uint32_t in, out;
    uint32_t from[IN_MAX];
};

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = a * 0x9e3779b97f4a7c15u ^ (b + 0x7f4a7c15u);
    x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9u;
    return x ^ x >> 29;
}

static void dag_make(struct vertex *v, uint32_t n, uint64_t seed)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t r = mix(seed, i);
        v[i] = (struct vertex){.in = i ? (uint32_t)(r % (IN_MAX + 1)) : 0};
        for (uint32_t k = 0; k < v[i].in; k++) {
            uint32_t back = i < BACK_MAX ? i : BACK_MAX;
            v[i].from[k] = i - 1 - (uint32_t)((r >> (8 + 16 * k)) % back);
            v[v[i].from[k]].out++;
        }
    }
}

/* Copies of an address are sent the value by relays: each takes half of them. */
static void spread(cx_ctx *cx, cx_fn relay, cx_value value, const cx_value *to, uint32_t n)
{
    if (n <= RELAY_MAX) {
        for (uint32_t i = 0; i < n; i++)
            cx_set(cx, (cx_addr){to[i].as.task, to[i].len, 0}, value);
        return;
    }
    for (int half = 0; half < 2; half++) {
        cx_value args[OUT_MAX + 1] = {value};
        uint32_t from = half ? n / 2 : 0, end = half ? n : n / 2, k = 1;
        for (uint32_t i = from + 1; i < end; i++)
            args[k++] = to[i];
        cx_spawn(cx, relay, (cx_addr){to[from].as.task, to[from].len, 0}, (cx_arglist){k, args});
    }
}

CX_TASK(relay) /* value, addresses... -> value, and sent to all of them */
{
    cx_return(cx, cx->slot[0]);
    spread(cx, relay, cx->slot[0], cx->slot + 1, cx_argc(cx) - 1);
}

CX_TASK(vertex) /* i64 seed, i64 readers, their addresses..., i64 values... -> i64 */
{
    uint64_t value = (uint64_t)cx_i64(cx, 0);
    uint32_t out = (uint32_t)cx_i64(cx, 1);
    for (uint32_t i = 2 + out; i < cx_argc(cx); i++)
        value = mix(value, (uint64_t)cx_i64(cx, i));
    spread(cx, relay, cx_v_i64((int64_t)value), cx->slot + 2, out);
    cx_return_i64(cx, (int64_t)(value & 0xffff));
}

static uint32_t vertices(cx_ctx *cx)
{
    int64_t n = cx_i64(cx, 0);
    if (n >= 0 && n <= VERTICES_MAX)
        return (uint32_t)n;
    cx_fail(cx, "n is %lld, but must be 0 to %d", (long long)n, VERTICES_MAX);
    return 0;
}

CX_TASK(dag) /* i64 n, i64 seed -> i64 sum over the vertices */
{
    uint32_t n = vertices(cx);
    uint64_t seed = (uint64_t)cx_i64(cx, 1);
    struct vertex *v = (struct vertex *)calloc(n + 1, sizeof *v);
    cx_ref *task = (cx_ref *)calloc(n + 1, sizeof *task);
    uint32_t *next = (uint32_t *)calloc(n + 1, sizeof *next);
    dag_make(v, n, seed);
    cx_ref sum = cx_successor(cx, CX_SUM_I64, n);
    for (uint32_t i = 0; i < n; i++) {
        task[i] = cx_successor_to(cx, vertex, 2 + v[i].out + v[i].in, cx_slot(sum, i), NULL);
        for (uint32_t k = 0; k < v[i].in; k++) {
            uint32_t from = v[i].from[k];
            cx_set(cx, cx_slot(task[from], 2 + next[from]++), cx_v_addr(cx_slot(task[i], 2 + v[i].out + k)));
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        cx_set(cx, cx_slot(task[i], 1), cx_v_i64(v[i].out));
        cx_set(cx, cx_slot(task[i], 0), cx_v_i64((int64_t)mix(i, seed)));
    }
    free(v);
    free(task);
    free(next);
}

CX_TASK(dag_seq) /* the same, in one task */
{
    uint32_t n = vertices(cx);
    uint64_t seed = (uint64_t)cx_i64(cx, 1);
    struct vertex *v = (struct vertex *)calloc(n + 1, sizeof *v);
    uint64_t *value = (uint64_t *)calloc(n + 1, sizeof *value);
    uint64_t sum = 0;
    dag_make(v, n, seed);
    for (uint32_t i = 0; i < n; i++) {
        value[i] = mix(i, seed);
        for (uint32_t k = 0; k < v[i].in; k++)
            value[i] = mix(value[i], value[v[i].from[k]]);
        sum += value[i] & 0xffff;
    }
    free(v);
    free(value);
    cx_return_i64(cx, (int64_t)sum);
}

CX_MODULE(dag, dag_seq, vertex, relay)
