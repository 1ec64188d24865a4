/* Branch and bound: the cheapest assignment of n workers to n jobs, costs from a seed. Every complete
 * assignment offers its cost; branches that cannot beat the best are cut, here and by the engine. bound_seq
 * tries it all. */
#include <cx/task.h>

#define WORKERS_MAX 12

static int64_t cost(int64_t seed, int64_t worker, int64_t job)
{
    uint64_t x = (uint64_t)(seed * 1000003 + worker * 1009 + job * 9176 + 12345) * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9u;
    return (int64_t)((x ^ x >> 29) % 1000);
}

/* Cannot be beaten by any way to go on: each worker left takes its cheapest job left. */
static int64_t lower_bound(int64_t n, int64_t seed, int64_t worker, int64_t taken, int64_t so_far)
{
    for (; worker < n; worker++) {
        int64_t least = INT64_MAX;
        for (int64_t job = 0; job < n; job++)
            if (!(taken >> job & 1) && cost(seed, worker, job) < least)
                least = cost(seed, worker, job);
        so_far += least;
    }
    return so_far;
}

CX_TASK(branch) /* i64 n, i64 seed, i64 worker, i64 jobs taken, i64 cost so far -> i64 least cost */
{
    int64_t n = cx_i64(cx, 0), seed = cx_i64(cx, 1), worker = cx_i64(cx, 2), taken = cx_i64(cx, 3),
            so_far = cx_i64(cx, 4);
    if (worker == n) {
        cx_offer(cx, CX_BOUND_MIN, so_far);
        return cx_return_i64(cx, so_far);
    }
    cx_ref least = cx_successor(cx, CX_MIN_I64, (uint32_t)n);
    for (int64_t job = 0; job < n; job++) {
        int64_t next = so_far + cost(seed, worker, job), with = taken | (int64_t)1 << job;
        int64_t bound = lower_bound(n, seed, worker + 1, with, next);
        if ((taken >> job & 1) || bound >= cx_best(cx, CX_BOUND_MIN)) {
            cx_set(cx, cx_slot(least, (uint32_t)job), cx_v_none());
            continue;
        }
        cx_opts opts = {.priority = (int32_t)-bound, .bound_kind = CX_BOUND_MIN, .bound = bound};
        cx_spawn_with(cx, branch, cx_slot(least, (uint32_t)job), cx_args(n, seed, worker + 1, with, next),
                      opts);
    }
}

static int bound_fits(cx_ctx *cx)
{
    int64_t n = cx_i64(cx, 0);
    if (n >= 1 && n <= WORKERS_MAX)
        return 1;
    cx_fail(cx, "n is %lld, but must be 1 to %d", (long long)n, WORKERS_MAX);
    return 0;
}

CX_TASK(bound) /* i64 n, i64 seed -> i64 least cost */
{
    if (!bound_fits(cx))
        return;
    cx_ref least = cx_successor(cx, CX_MIN_I64, 1);
    cx_spawn(cx, branch, cx_slot(least, 0), cx_args(cx_i64(cx, 0), cx_i64(cx, 1), 0, 0, 0));
}

static int64_t try_all(int64_t n, int64_t seed, int64_t worker, int64_t taken, int64_t so_far, int64_t best)
{
    if (worker == n)
        return so_far < best ? so_far : best;
    for (int64_t job = 0; job < n; job++)
        if (!(taken >> job & 1) && so_far + cost(seed, worker, job) < best)
            best = try_all(n, seed, worker + 1, taken | (int64_t)1 << job, so_far + cost(seed, worker, job),
                           best);
    return best;
}

CX_TASK(bound_seq) /* the same, in one task */
{
    if (bound_fits(cx))
        cx_return_i64(cx, try_all(cx_i64(cx, 0), cx_i64(cx, 1), 0, 0, 0, INT64_MAX));
}

CX_MODULE(bound, bound_seq, branch)
