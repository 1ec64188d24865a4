/* How much to ask for. A seat has one task that runs and one that waits; more only as far as latency must be
 * hidden: the typical task time against the round trip from a commit to the grant that takes its place.
 * Typical is the geometric mean: among a collapsed job's grants are a few that use up their budget and many
 * that end at once, and it is these that empty a seat's queue. A round trip also costs the server and us some
 * 100 us of processor, however many tasks it carries; so that short tasks share it, no less than a certain
 * time of work is asked for: the less the longer the tasks are, and little of tasks with a collapse budget,
 * which have shared it already and may be much longer than they seem.
 *
 * The round trip is measured at work: the server keeps `announced` grants with us, so the grant that answers
 * our n-th commit is the (n + announced)-th, except while grants of a larger window are held or under way:
 * those end with the grant whose number was awaited last when the window changed (`ceiling`), for commits do
 * not overtake an announcement. A server that has nothing to grant makes a sample too long, never too short;
 * so the least of the last seconds counts, and the time it took to connect bounds it from the start. */
#include "producer/core/internal.h"

#define PERIOD_US        5000000u
#define PROBE_MAX_US     5000000u
#define ANNOUNCE_US      10000u /* announcements are at least so far apart */
#define TASK_NS_FLOOR    500u   /* what handling a task costs here, whatever it computes */
#define AHEAD_NS_MIN     UINT64_C(8000000)
#define AHEAD_TASK_NS    12500u /* tasks above this get less, in proportion */
#define BUDGETED_NS_MIN  UINT64_C(500000)
#define BUDGETED_TASK_NS 50000u
#define NAP_TASKS        8u       /* a seat that has so many */
#define NAP_NS_MIN       10000u   /* may be left alone for a quarter of their time, */
#define NAP_NS_MAX       2000000u /* up to this */
#define SOON_NS          30000u   /* a task shorter than this is waited for awake */
#define TASK_NS_MAX      UINT64_C(3600000000000)
#define TYPICAL_OF       8 /* grants that the typical task time looks back at */
#define LOG_BITS         8
#define LOG_ONE          (1u << LOG_BITS)

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t window_round_trip_us(const struct pd *pd)
{
    return least(pd->window.rtt_us[0], pd->window.rtt_us[1]);
}

static uint32_t total(const struct pd *pd)
{
    uint32_t n = pd->window.per_seat * pd->config.seats;
    return n < PD_WINDOW_MAX ? n : PD_WINDOW_MAX;
}

static void announce(struct pd *pd, uint32_t n, struct pd_effects *out)
{
    struct window *w = &pd->window;
    uint64_t may_come = w->settled + w->announced;
    w->ceiling = may_come > w->ceiling ? may_come : w->ceiling;
    w->announced = n;
    w->announced_us = pd->now_us;
    w->probing = false;
    fx_add(out, PD_FX_WINDOW, (struct bytes){NULL, 0})->n = n;
}

void window_connected(struct pd *pd, struct pd_effects *out)
{
    struct window *w = &pd->window;
    w->announced = 0;
    w->rtt_us[0] = w->rtt_us[1] = pd->now_us - pd->dial_us;
    w->period_us = pd->now_us;
    w->granted = pd->pool.n; /* what is held counts as granted by this connection */
    w->settled = w->ceiling = 0;
    announce(pd, pd->draining ? 0 : total(pd), out);
}

/* In 1/LOG_ONE; the fraction is linear between powers of two. */
static uint32_t log2_of(uint64_t x)
{
    uint32_t whole = 63 - (uint32_t)__builtin_clzll(x);
    uint64_t part = whole > LOG_BITS ? x >> (whole - LOG_BITS) : x << (LOG_BITS - whole);
    return whole * LOG_ONE + ((uint32_t)part & (LOG_ONE - 1));
}

static uint64_t exp2_of(uint32_t log)
{
    uint64_t part = LOG_ONE + (log & (LOG_ONE - 1));
    uint32_t whole = log / LOG_ONE;
    return whole > LOG_BITS ? part << (whole - LOG_BITS) : part >> (LOG_BITS - whole);
}

static uint64_t typical_ns(const struct pd *pd)
{
    uint64_t ns = exp2_of((uint32_t)pd->window.typical_log);
    return ns < TASK_NS_FLOOR ? TASK_NS_FLOOR : ns;
}

static uint32_t middle(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

/* The middle of three: a task that lost its processor for a while is not typical, and looks a thousand times
 * as long as it is when it is short. */
void window_ran(struct pd *pd, uint64_t elapsed_ns)
{
    struct window *w = &pd->window;
    int64_t ns = (int64_t)least(elapsed_ns, TASK_NS_MAX);
    w->task_ns = (uint64_t)((int64_t)w->task_ns + (ns - (int64_t)w->task_ns) / 8);
    uint32_t log = log2_of((uint64_t)ns + TASK_NS_FLOOR);
    w->typical_log += ((int32_t)middle(w->last_log[0], w->last_log[1], log) - w->typical_log) / TYPICAL_OF;
    w->last_log[0] = w->last_log[1];
    w->last_log[1] = log;
}

void window_settled(struct pd *pd)
{
    struct window *w = &pd->window;
    w->settled++;
    uint64_t answer = w->settled + w->announced;
    if (w->probing || pd->conn != CONN_UP || w->granted > answer || answer <= w->ceiling)
        return;
    w->probing = true;
    w->probe_us = pd->now_us;
    w->probe_granted = answer;
}

void window_released(struct pd *pd)
{
    pd->window.settled++;
    pd->window.probing = false;
}

static void sample(struct pd *pd, uint64_t us)
{
    struct window *w = &pd->window;
    if (pd->now_us - w->period_us >= PERIOD_US) {
        w->rtt_us[1] = w->rtt_us[0];
        w->rtt_us[0] = us;
        w->period_us = pd->now_us;
    }
    w->rtt_us[0] = least(w->rtt_us[0], us);
}

void window_granted(struct pd *pd, uint32_t n, bool budgeted)
{
    struct window *w = &pd->window;
    w->budgeted = budgeted;
    w->granted += n;
    if (!w->probing || w->granted < w->probe_granted)
        return;
    w->probing = false;
    if (pd->now_us - w->probe_us < PROBE_MAX_US)
        sample(pd, pd->now_us - w->probe_us);
}

uint64_t pd_nap_ns(const struct pd *pd)
{
    uint64_t each = pd->pool.n / pd->config.seats, ns = each * typical_ns(pd) / 4;
    return each < NAP_TASKS || ns < NAP_NS_MIN ? 0 : least(ns, NAP_NS_MAX);
}

bool pd_soon(const struct pd *pd)
{
    return pd->pool.n > 0 && typical_ns(pd) < SOON_NS;
}

static uint64_t least_shared(uint64_t ns, uint64_t of_task_ns, uint64_t task_ns)
{
    return task_ns > of_task_ns ? ns * of_task_ns / task_ns : ns;
}

/* One and a half round trips of work may wait: the half is for jitter. */
static uint32_t wanted_per_seat(const struct pd *pd)
{
    uint64_t task_ns = typical_ns(pd);
    uint64_t ahead_ns = window_round_trip_us(pd) * 1500;
    uint64_t shared_ns = pd->window.budgeted ? least_shared(BUDGETED_NS_MIN, BUDGETED_TASK_NS, task_ns)
                                             : least_shared(AHEAD_NS_MIN, AHEAD_TASK_NS, task_ns);
    uint64_t n = 2 + (ahead_ns < shared_ns ? shared_ns : ahead_ns) / task_ns;
    return n < PD_SEAT_TASKS_MAX ? (uint32_t)n : PD_SEAT_TASKS_MAX;
}

void window_update(struct pd *pd, struct pd_effects *out)
{
    struct window *w = &pd->window;
    if (pd->conn != CONN_UP || pd->draining)
        return;
    w->per_seat = wanted_per_seat(pd);
    uint32_t n = total(pd), was = w->announced;
    bool enough = n > was + was / 4 || n < was - was / 4;
    if (!enough || pd->now_us - w->announced_us < ANNOUNCE_US)
        return;
    announce(pd, n, out);
    if (n < was)
        seats_shed(pd, out);
}
