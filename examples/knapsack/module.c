/* The 0-1 knapsack by branch and bound: a task packs greedily, then has its children regret one choice each.
 *
 *     cx run knapsack.so best --input knapPI_1_50_1000_1.txt       the most profit that fits: 8373
 *
 * Input: the number of items and the capacity, then profit and weight of each item. */
#include <stdbool.h>
#include <stdlib.h>

#include <cx/task.h>

#define ITEMS_MAX  1000
#define AMOUNT_MAX 1000000000

struct item {
    int64_t profit, weight;
    uint32_t index;
};

struct sack {
    uint32_t n;
    int64_t capacity;
    struct item item[ITEMS_MAX]; /* the most profit for its weight first */
};

/* The next number of the text, which ends at end; -1 when there is none or it is too large. */
static int64_t number(const char **at, const char *end)
{
    int64_t x = 0;
    while (*at < end && (**at == ' ' || **at == '\n' || **at == '\r' || **at == '\t'))
        (*at)++;
    const char *start = *at;
    for (; *at < end && **at >= '0' && **at <= '9' && x <= AMOUNT_MAX; (*at)++)
        x = 10 * x + (**at - '0');
    return *at > start && x <= AMOUNT_MAX ? x : -1;
}

static int by_density(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    int64_t d = y->profit * x->weight - x->profit * y->weight;
    return d != 0 ? (d > 0) - (d < 0) : (x->index > y->index) - (x->index < y->index);
}

static bool sack_read(struct sack *s, cx_blob text)
{
    const char *at = text.data, *end = at + text.len;
    int64_t n = number(&at, end);
    s->capacity = number(&at, end);
    if (n < 1 || n > ITEMS_MAX || s->capacity < 0)
        return false;
    s->n = (uint32_t)n;
    for (uint32_t i = 0; i < s->n; i++) {
        struct item *it = &s->item[i];
        *it = (struct item){number(&at, end), 0, i};
        it->weight = number(&at, end);
        if (it->profit < 0 || it->weight < 1)
            return false;
    }
    qsort(s->item, s->n, sizeof s->item[0], by_density);
    return true;
}

/* What has been decided for the items before `next`. */
struct packing {
    uint32_t next;
    int64_t profit, room;
};

/* No packing that begins so has more profit: the items that follow, by density, and as much of the first that
 * does not fit as there is room for. Source: Dantzig (1957). */
static int64_t packing_bound(const struct sack *s, struct packing p)
{
    for (; p.next < s->n && s->item[p.next].weight <= p.room; p.next++) {
        p.profit += s->item[p.next].profit;
        p.room -= s->item[p.next].weight;
    }
    if (p.next == s->n)
        return p.profit;
    return p.profit + p.room * s->item[p.next].profit / s->item[p.next].weight;
}

struct regret {
    struct packing without; /* the item before without.next, which greed would have taken */
    int64_t bound;
};

/* Takes every item that fits, and notes for each what would be if it were left. Returns how many it took. */
static uint32_t pack_greedily(const struct sack *s, struct packing *p, struct regret r[ITEMS_MAX])
{
    uint32_t n = 0;
    for (; p->next < s->n; p->next++) {
        const struct item *it = &s->item[p->next];
        if (it->weight > p->room)
            continue;
        r[n].without = (struct packing){p->next + 1, p->profit, p->room};
        r[n].bound = packing_bound(s, r[n].without);
        n++;
        p->profit += it->profit;
        p->room -= it->weight;
    }
    return n;
}

/* Keeps the regrets that may lead to more than best. */
static uint32_t keep_hopeful(struct regret *r, uint32_t n, int64_t best)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (r[i].bound > best)
            r[kept++] = r[i];
    return kept;
}

/* pack(next, profit, room) -> the most profit of all packings that begin so, or less if that cannot be the
 * answer */
CX_TASK(pack)
{
    struct sack s;
    struct regret r[ITEMS_MAX];
    struct packing p = {(uint32_t)cx_i64(cx, 0), cx_i64(cx, 1), cx_i64(cx, 2)};
    if (!sack_read(&s, cx_input(cx)))
        return cx_fail(cx, "the input is no knapsack of 1 to %d items", ITEMS_MAX);
    uint32_t n = pack_greedily(&s, &p, r);
    cx_offer(cx, CX_BOUND_MAX, p.profit);
    n = keep_hopeful(r, n, cx_best(cx, CX_BOUND_MAX));
    if (n == 0)
        return cx_return_i64(cx, p.profit);
    cx_ref max = cx_successor(cx, CX_MAX_I64, n + 1);
    cx_set(cx, cx_slot(max, n), cx_v_i64(p.profit)); /* what was offered must be on its way to the result */
    for (uint32_t i = 0; i < n; i++) {
        const struct packing *w = &r[i].without;
        cx_opts opts = {.bound_kind = CX_BOUND_MAX, .bound = r[i].bound};
        opts.priority = r[i].bound < INT32_MAX ? (int32_t)r[i].bound : INT32_MAX;
        cx_spawn_with(cx, pack, cx_slot(max, i), cx_args(w->next, w->profit, w->room), opts);
    }
}

/* best() -> the most profit */
CX_TASK(best)
{
    struct sack s;
    if (!sack_read(&s, cx_input(cx)))
        return cx_fail(cx, "the input is no knapsack of 1 to %d items", ITEMS_MAX);
    cx_spawn(cx, pack, cx_home(cx), cx_args(0, 0, s.capacity));
}
CX_MODULE(best, pack)
