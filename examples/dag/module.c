/* A player for task graphs: the graph is the job's input, every vertex is a task, every edge carries a value.
 *
 *     cx run dag.so play 0    --input GRAPH.dag     the digest of the dataflow, at full speed
 *     cx run dag.so play 1000 --input GRAPH.dag     each vertex sleeps 1,000 us a unit of its duration
 *
 * Input: the number of vertices, then a line for each: its number, duration, number of predecessors, and
 * these. Vertices are in topological order. */
#define _POSIX_C_SOURCE 199309L /* nanosleep */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cx/task.h>

#define VERTICES_MAX 100000

/* ---- The graph, read from text ---- */

struct vertex {
    int64_t duration;
    int64_t below; /* the longest path from its end to the end of the graph */
    uint32_t preds, readers;
    uint32_t first; /* of its preds in graph.pred */
    uint32_t told;  /* readers whose address it has been given */
    cx_ref task;
};

struct graph {
    uint32_t n;
    struct vertex *vertex;
    uint32_t *pred; /* ascending for each vertex */
};

/* The next number of the text, which ends at end; -1 when there is none or it exceeds max. */
static int64_t number(const char **at, const char *end, int64_t max)
{
    int64_t x = 0;
    while (*at < end && (**at == ' ' || **at == '\n' || **at == '\r' || **at == '\t'))
        (*at)++;
    const char *start = *at;
    for (; *at < end && **at >= '0' && **at <= '9' && x <= max; (*at)++)
        x = 10 * x + (**at - '0');
    return *at > start && x <= max ? x : -1;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Reads vertex i, whose predecessors start at first. */
static bool vertex_read(struct graph *g, uint32_t i, uint32_t first, const char **at, const char *end)
{
    struct vertex *v = &g->vertex[i];
    int64_t index = number(at, end, VERTICES_MAX), preds;
    v->duration = number(at, end, INT32_MAX);
    preds = number(at, end, i);
    if (index != i || v->duration < 0 || preds < 0)
        return false;
    v->first = first;
    v->preds = (uint32_t)preds;
    for (uint32_t k = 0; k < v->preds; k++) {
        int64_t p = number(at, end, (int64_t)i - 1);
        if (p < 0)
            return false;
        g->pred[first + k] = (uint32_t)p;
        g->vertex[p].readers++;
    }
    qsort(g->pred + first, v->preds, sizeof *g->pred, ascending);
    return true;
}

/* The longest paths to the end, from the last vertex up. */
static void graph_measure(struct graph *g)
{
    for (uint32_t i = g->n; i-- > 0;) {
        const struct vertex *v = &g->vertex[i];
        for (uint32_t k = 0; k < v->preds; k++) {
            struct vertex *p = &g->vertex[g->pred[v->first + k]];
            if (p->below < v->duration + v->below)
                p->below = v->duration + v->below;
        }
    }
}

static void graph_free(struct graph *g)
{
    free(g->vertex);
    free(g->pred);
}

/* False: the text is no graph, or there is no memory; *g is then empty. */
static bool graph_read(struct graph *g, cx_blob text)
{
    const char *at = text.data, *end = at + text.len;
    int64_t n = number(&at, end, VERTICES_MAX);
    uint32_t edges = 0;
    memset(g, 0, sizeof *g);
    if (n < 1)
        return false;
    g->n = (uint32_t)n;
    g->vertex = calloc(g->n, sizeof *g->vertex);
    g->pred = malloc((text.len / 2 + 1) * sizeof *g->pred); /* an edge takes two characters */
    for (uint32_t i = 0; g->vertex != NULL && g->pred != NULL && i < g->n; i++) {
        if (!vertex_read(g, i, edges, &at, end))
            break;
        edges += g->vertex[i].preds;
        if (i + 1 == g->n) {
            graph_measure(g);
            return true;
        }
    }
    graph_free(g);
    memset(g, 0, sizeof *g);
    return false;
}

/* ---- The tasks ---- */

/* How a vertex mixes a value that reaches it into its own. */
static uint64_t mix(uint64_t h, uint64_t w)
{
    h = (h ^ w) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 29;
}

static void doze_us(int64_t us)
{
    struct timespec left = {us / 1000000, us % 1000000 * 1000};
    while (us > 0 && nanosleep(&left, &left) != 0)
        ;
}

/* Slot 0: its number. Slot 1: how long it sleeps, in us. Then the values of its predecessors, then the
 * addresses of the slots that wait for its own value. */
CX_TASK(vertex)
{
    uint64_t h = mix(0xcbf29ce484222325, (uint64_t)cx_i64(cx, 0));
    uint32_t i = 2;
    doze_us(cx_i64(cx, 1));
    for (; i < cx_argc(cx) && cx_typeof(cx, i) == CX_I64; i++)
        h = mix(h, (uint64_t)cx_i64(cx, i));
    for (; i < cx_argc(cx); i++)
        cx_set(cx, cx_address(cx, i), cx_v_i64((int64_t)h));
    cx_return_i64(cx, (int64_t)h);
}

/* Hands the address of each of v's input slots to the vertex whose value belongs there. */
static void connect(cx_ctx *cx, struct graph *g, const struct vertex *v)
{
    for (uint32_t k = 0; k < v->preds; k++) {
        struct vertex *p = &g->vertex[g->pred[v->first + k]];
        cx_addr input = cx_slot(v->task, 2 + k);
        cx_set(cx, cx_slot(p->task, 2 + p->preds + p->told++), cx_v_addr(input));
    }
}

/* play(us a unit of duration) -> the sum of all vertices' values, modulo 2^64 */
CX_TASK(play)
{
    int64_t scale = cx_i64(cx, 0);
    struct graph g;
    if (scale < 0 || scale > 1000000)
        return cx_fail(cx, "the scale is 0 to 1,000,000 us, not %lld", (long long)scale);
    if (!graph_read(&g, cx_input(cx)))
        return cx_fail(cx, "the input is no task graph of 1 to %d vertices", VERTICES_MAX);
    cx_ref digest = cx_successor(cx, CX_SUM_I64, g.n);
    for (uint32_t i = 0; i < g.n; i++) {
        struct vertex *v = &g.vertex[i];
        int64_t blevel = v->duration + v->below;
        cx_opts first = {.priority = blevel < INT32_MAX ? (int32_t)blevel : INT32_MAX};
        v->task = cx_successor_to(cx, vertex, 2 + v->preds + v->readers, cx_slot(digest, i), &first);
        cx_set(cx, cx_slot(v->task, 0), cx_v_i64(i));
        cx_set(cx, cx_slot(v->task, 1), cx_v_i64(v->duration * scale));
    }
    for (uint32_t i = 0; i < g.n; i++)
        connect(cx, &g, &g.vertex[i]);
    graph_free(&g);
}
CX_MODULE(play, vertex)
