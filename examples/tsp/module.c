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
#define TOLL_STEPS   100
#define TAIL         8 /* a task that has this many cities left visits them itself */

struct map {
    uint32_t n;
    int32_t d[CITIES_MAX][CITIES_MAX];
    int64_t toll; /* what the tolls add to every round trip */
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
    m->toll = 0;
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

static void trip_start(const struct map *m, struct trip *t)
{
    *t = (struct trip){.left = (uint32_t)((UINT64_C(1) << m->n) - 1), .length = -m->toll};
    trip_visit(m, t, 0);
}

/* cities: those after city 0. False when they are no beginning of a round trip. */
static bool trip_read(const struct map *m, struct trip *t, cx_blob cities)
{
    trip_start(m, t);
    for (size_t i = 0; i < cities.len; i++) {
        uint32_t city = ((const uint8_t *)cities.data)[i];
        if (city >= m->n || (t->left >> city & 1) == 0)
            return false;
        trip_visit(m, t, city);
    }
    return true;
}

/* A toll on a city adds to each road from it and to it. Every round trip pays it twice, so the shortest stays
 * the shortest; but the bounds below it get better. */
static void map_toll(struct map *m, uint32_t city, int32_t toll)
{
    for (uint32_t i = 0; i < m->n; i++) {
        m->d[city][i] += toll;
        m->d[i][city] += toll;
    }
    m->toll += 2 * toll;
}

struct edge {
    int32_t d;
    uint32_t from, to;
};

static void edge_take(struct edge *e, int64_t *sum, int degree[CITIES_MAX])
{
    *sum += e->d;
    degree[e->from]++;
    degree[e->to]++;
}

static void edge_better(struct edge *e, const struct map *m, uint32_t from, uint32_t to)
{
    if (m->d[from][to] < e->d)
        *e = (struct edge){m->d[from][to], from, to};
}

/* No round trip that begins so is shorter: what is left to do is a path from here through all cities left and
 * home; it has an edge into them, a tree that spans them, and an edge out. Prim (1957) finds the least tree.
 * Counts the edges at each city in degree. */
static int64_t trip_bound_degrees(const struct map *m, const struct trip *t, int degree[CITIES_MAX])
{
    static const struct edge none = {INT32_MAX, 0, 0};
    struct edge near[CITIES_MAX], in = none, out = none;
    uint32_t here = t->city[t->n - 1], left = t->left;
    int64_t sum = t->length;
    if (left == 0)
        return sum + m->d[here][0];
    for (uint32_t set = left; set != 0; set &= set - 1) {
        uint32_t c = (uint32_t)__builtin_ctz(set);
        edge_better(&in, m, here, c);
        edge_better(&out, m, c, 0);
        near[c] = none;
    }
    edge_take(&in, &sum, degree);
    edge_take(&out, &sum, degree);
    for (uint32_t last = (uint32_t)__builtin_ctz(left); (left &= ~(UINT32_C(1) << last)) != 0;) {
        struct edge *best = NULL;
        for (uint32_t set = left; set != 0; set &= set - 1) {
            uint32_t c = (uint32_t)__builtin_ctz(set);
            edge_better(&near[c], m, last, c);
            if (m->d[c][last] < near[c].d)
                near[c] = (struct edge){m->d[c][last], last, c};
            if (best == NULL || near[c].d < best->d)
                best = &near[c];
        }
        edge_take(best, &sum, degree);
        last = best->to;
    }
    return sum;
}

static int64_t trip_bound(const struct map *m, const struct trip *t)
{
    int degree[CITIES_MAX] = {0};
    return trip_bound_degrees(m, t, degree);
}

/* Held and Karp (1971): raise the toll of cities with too many edges, lower it where there are too few, in
 * smaller and smaller steps, so that the tree comes to look like a path. toll[] gets the tolls that gave the
 * best bound. */
static void find_tolls(struct map m, int32_t toll[CITIES_MAX])
{
    int32_t now[CITIES_MAX] = {0};
    int64_t best = INT64_MIN;
    memset(toll, 0, sizeof now);
    for (int step = 2 * TOLL_STEPS; step > 0; step--) {
        int degree[CITIES_MAX] = {0};
        struct trip t;
        trip_start(&m, &t);
        int64_t bound = trip_bound_degrees(&m, &t, degree);
        if (bound > best) {
            best = bound;
            memcpy(toll, now, sizeof now);
        }
        for (uint32_t c = 1; c < m.n; c++) {
            int32_t more = (degree[c] - 2) * (step / 2 + 1);
            now[c] += more;
            map_toll(&m, c, more);
        }
    }
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

/* The shortest round trip that begins with t; INT64_MAX when none of them can be the answer. */
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
        if (b[i].bound >= cx_best(cx, CX_BOUND_MIN))
            continue;
        trip_visit(m, t, b[i].city);
        int64_t found = finish(cx, m, t);
        trip_unvisit(m, t);
        shortest = found < shortest ? found : shortest;
    }
    return shortest;
}

static void explore(cx_ctx *cx);

/* Spawns a task for every city to go to next; one that cannot beat the best when its turn comes is dropped
 * unrun. */
static void spread(cx_ctx *cx, const struct map *m, struct trip *t, cx_value tolls)
{
    struct branch b[CITIES_MAX];
    uint32_t n = branches(m, t, b);
    cx_ref min = cx_successor(cx, CX_MIN_I64, n);
    for (uint32_t i = 0; i < n; i++) {
        cx_opts opts = {.bound_kind = CX_BOUND_MIN, .bound = b[i].bound};
        opts.priority = b[i].bound < INT32_MAX ? (int32_t)-b[i].bound : INT32_MIN; /* best first */
        t->city[t->n] = (uint8_t)b[i].city;
        cx_value cities = cx_v_bytes(t->city + 1, t->n);
        cx_spawn_with(cx, explore, cx_slot(min, i), cx_args(cities, tolls), opts);
    }
}

static bool read_tolls(struct map *m, cx_blob tolls)
{
    int32_t toll[CITIES_MAX];
    if (tolls.len != sizeof toll)
        return false;
    memcpy(toll, tolls.data, sizeof toll);
    for (uint32_t i = 0; i < m->n; i++)
        map_toll(m, i, toll[i]);
    return true;
}

/* explore(the cities visited, tolls) -> the shortest round trip that begins so; none if that cannot be the
 * answer */
CX_TASK(explore)
{
    struct map m;
    struct trip t;
    if (!map_read(cx, &m))
        return;
    if (!read_tolls(&m, cx_bytes(cx, 1)) || !trip_read(&m, &t, cx_bytes(cx, 0)))
        return cx_fail(cx, "these cities are no beginning of a round trip");
    if (t.n + TAIL < m.n)
        return spread(cx, &m, &t, cx->slot[1]);
    int64_t shortest = finish(cx, &m, &t);
    cx_return(cx, shortest == INT64_MAX ? cx_v_none() : cx_v_i64(shortest));
}

/* A good round trip to start from: always on to where the bound is least. */
static int64_t dive(const struct map *m)
{
    struct trip t;
    struct branch b[CITIES_MAX];
    trip_start(m, &t);
    while (t.left != 0)
        trip_visit(m, &t, b[branches(m, &t, b) - 1].city);
    return trip_bound(m, &t);
}

/* tour() -> the length of the shortest round trip */
CX_TASK(tour)
{
    struct map m;
    int32_t toll[CITIES_MAX];
    if (!map_read(cx, &m))
        return;
    find_tolls(m, toll);
    cx_value tolls = cx_v_bytes(toll, sizeof toll);
    read_tolls(&m, (cx_blob){toll, sizeof toll});
    int64_t first = dive(&m);
    cx_offer(cx, CX_BOUND_MIN, first);
    cx_ref min = cx_successor(cx, CX_MIN_I64, 2);
    cx_set(cx, cx_slot(min, 0), cx_v_i64(first)); /* what was offered must be on its way to the result */
    cx_spawn(cx, explore, cx_slot(min, 1), cx_args(cx_v_bytes("", 0), tolls));
}
CX_MODULE(tour, explore)
