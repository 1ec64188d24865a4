/* The travelling salesman by branch and bound: all tasks share the best tour found so far.
 *
 *     cx run tsp.so tour --input gr17.mat        the length of the shortest round trip: 2085
 *
 * Input: the number of cities and the matrix of distances, symmetric or not. */
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include <cx/task.h>

#define CITIES_MAX   32
#define DISTANCE_MAX 100000000
#define TAIL         8 /* a task that has this many cities left visits them itself */

struct map {
    uint32_t n;
    int32_t d[CITIES_MAX][CITIES_MAX];
};

/* The next number of the text, which ends at end; -1 when there is none or it is too large. */
static int32_t number(const char **at, const char *end)
{
    int32_t x = 0;
    while (*at < end && (**at == ' ' || **at == '\n' || **at == '\r' || **at == '\t'))
        (*at)++;
    const char *start = *at;
    for (; *at < end && **at >= '0' && **at <= '9' && x <= DISTANCE_MAX; (*at)++)
        x = 10 * x + (**at - '0');
    return *at > start && x <= DISTANCE_MAX ? x : -1;
}

static bool map_read(cx_ctx *cx, struct map *m)
{
    cx_blob text = cx_input(cx);
    const char *at = text.data, *end = at + text.len;
    int32_t n = number(&at, end);
    if (n < 3 || n > CITIES_MAX) {
        cx_fail(cx, "the input is no map of 3 to %d cities", CITIES_MAX);
        return false;
    }
    m->n = (uint32_t)n;
    for (int32_t i = 0; i < n * n; i++) {
        int32_t *d = &m->d[i / n][i % n];
        *d = number(&at, end);
        if (*d < 0) {
            cx_fail(cx, "the map has no distance from city %d to city %d", i / n, i % n);
            return false;
        }
    }
    return true;
}

/* A round trip from city 0 that has been begun: where it has been, in order, and how long that was. */
struct trip {
    uint32_t n;
    uint32_t left; /* set of cities, a bit each */
    uint8_t city[CITIES_MAX];
    int64_t length;
};

static void trip_visit(const struct map *m, struct trip *t, uint32_t city)
{
    if (t->n > 0)
        t->length += m->d[t->city[t->n - 1]][city];
    t->left &= ~(UINT32_C(1) << city);
    t->city[t->n++] = (uint8_t)city;
}

static void trip_unvisit(const struct map *m, struct trip *t)
{
    uint32_t city = t->city[--t->n];
    t->left |= UINT32_C(1) << city;
    t->length -= m->d[t->city[t->n - 1]][city];
}

static bool trip_read(const struct map *m, struct trip *t, cx_blob cities)
{
    memset(t, 0, sizeof *t);
    t->left = (uint32_t)((UINT64_C(1) << m->n) - 1);
    for (size_t i = 0; i < cities.len; i++) {
        uint32_t city = ((const uint8_t *)cities.data)[i];
        if (city >= m->n || (t->left >> city & 1) == 0)
            return false;
        trip_visit(m, t, city);
    }
    return t->n > 0;
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* No round trip that begins so is shorter: what is left to do is a path from here through all cities left and
 * home; it has an edge into them, a tree that spans them, and an edge out. Prim (1957) finds the least tree.
 */
static int64_t trip_bound(const struct map *m, const struct trip *t)
{
    int32_t near[CITIES_MAX], in = INT32_MAX, out = INT32_MAX;
    uint32_t here = t->city[t->n - 1], left = t->left;
    int64_t tree = 0;
    if (left == 0)
        return t->length + m->d[here][0];
    for (uint32_t set = left; set != 0; set &= set - 1) {
        uint32_t c = (uint32_t)__builtin_ctz(set);
        in = least(in, m->d[here][c]);
        out = least(out, m->d[c][0]);
        near[c] = INT32_MAX;
    }
    for (uint32_t last = (uint32_t)__builtin_ctz(left); (left &= ~(UINT32_C(1) << last)) != 0;) {
        uint32_t next = 0;
        int32_t best = INT32_MAX;
        for (uint32_t set = left; set != 0; set &= set - 1) {
            uint32_t c = (uint32_t)__builtin_ctz(set);
            near[c] = least(near[c], least(m->d[last][c], m->d[c][last]));
            if (near[c] < best) {
                best = near[c];
                next = c;
            }
        }
        tree += best;
        last = next;
    }
    return t->length + in + tree + out;
}

struct branch {
    uint32_t city;
    int64_t bound;
};

/* The cities to go to next, the most promising last: a runner runs first what was spawned last. */
static uint32_t branches(const struct map *m, struct trip *t, struct branch b[CITIES_MAX])
{
    uint32_t n = 0;
    for (uint32_t set = t->left; set != 0; set &= set - 1) {
        struct branch new = {(uint32_t)__builtin_ctz(set), 0};
        trip_visit(m, t, new.city);
        new.bound = trip_bound(m, t);
        trip_unvisit(m, t);
        uint32_t i = n++;
        for (; i > 0 && b[i - 1].bound < new.bound; i--)
            b[i] = b[i - 1];
        b[i] = new;
    }
    return n;
}

/* The shortest round trip that begins with t, or the best one known anywhere, if that is as good. */
static int64_t finish(cx_ctx *cx, const struct map *m, struct trip *t)
{
    struct branch b[CITIES_MAX];
    int64_t shortest = INT64_MAX;
    if (t->left == 0) {
        int64_t length = trip_bound(m, t);
        cx_offer(cx, CX_BOUND_MIN, length);
        return length;
    }
    for (uint32_t i = branches(m, t, b); i-- > 0;) {
        int64_t found = cx_best(cx, CX_BOUND_MIN);
        if (b[i].bound < found) {
            trip_visit(m, t, b[i].city);
            found = finish(cx, m, t);
            trip_unvisit(m, t);
        }
        shortest = found < shortest ? found : shortest;
    }
    return shortest;
}

static void explore(cx_ctx *cx);

/* Spawns a task for every city to go to next. A task whose bound is worse than the best is dropped unrun. */
static void spread(cx_ctx *cx, const struct map *m, struct trip *t)
{
    struct branch b[CITIES_MAX];
    uint32_t n = branches(m, t, b);
    cx_ref min = cx_successor(cx, CX_MIN_I64, n);
    for (uint32_t i = 0; i < n; i++) {
        cx_opts opts = {.bound_kind = CX_BOUND_MIN, .bound = b[i].bound - 1};
        opts.priority = b[i].bound < INT32_MAX ? (int32_t)-b[i].bound : INT32_MIN;
        t->city[t->n] = (uint8_t)b[i].city;
        cx_value args[2] = {cx_v_bytes(t->city, t->n + 1), cx_v_i64(b[i].bound)};
        cx_spawn_with(cx, explore, cx_slot(min, i), (cx_arglist){2, args}, opts);
    }
}

/* explore(the cities visited, a byte each; their bound) -> the shortest round trip that begins so, or one as
 * good */
CX_TASK(explore)
{
    struct map m;
    struct trip t;
    int64_t best = cx_best(cx, CX_BOUND_MIN);
    if (cx_i64(cx, 1) >= best)
        return cx_return_i64(cx, best);
    if (!map_read(cx, &m))
        return;
    if (!trip_read(&m, &t, cx_bytes(cx, 0)))
        return cx_fail(cx, "these cities are no beginning of a round trip");
    if (t.n + TAIL >= m.n)
        return cx_return_i64(cx, finish(cx, &m, &t));
    spread(cx, &m, &t);
}

CX_TASK(tour)
{
    cx_spawn(cx, explore, cx_home(cx), cx_args(((cx_blob){"\0", 1}), 0));
}
CX_MODULE(tour, explore)
