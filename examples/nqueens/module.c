/* The n queens: in how many ways can n queens stand on an n by n board so that none attacks another?
 *
 * A task places the queens of one row, one child for each square that is free, down to a cut-off; below it, a
 * task counts on its own. The cut-off is the one new idea: small tasks spread well and cost little here, but
 * the work below the last rows is smaller than even a collapsed task. */
#include <cx/task.h>

#define N_MAX     20
#define LAST_ROWS 6 /* counted by one task, without children */

/* Bits set in columns, left and right: squares of this row that a queen above attacks. */
static int64_t count(uint32_t all, uint32_t columns, uint32_t left, uint32_t right)
{
    if (columns == all)
        return 1;
    int64_t ways = 0;
    for (uint32_t free = all & ~(columns | left | right); free; free &= free - 1) {
        uint32_t square = free & -free;
        ways += count(all, columns | square, (left | square) << 1, (right | square) >> 1);
    }
    return ways;
}

static uint32_t bits(uint32_t x)
{
    return (uint32_t)__builtin_popcount(x);
}

CX_TASK(queens) /* i64 n, columns, left, right -> i64 ways */
{
    uint32_t all = (1u << cx_i64(cx, 0)) - 1;
    uint32_t columns = (uint32_t)cx_i64(cx, 1), left = (uint32_t)cx_i64(cx, 2),
             right = (uint32_t)cx_i64(cx, 3);
    uint32_t free = all & ~(columns | left | right);
    if (bits(all) - bits(columns) <= LAST_ROWS || !free)
        return cx_return_i64(cx, count(all, columns, left, right));
    cx_ref sum = cx_successor(cx, CX_SUM_I64, bits(free));
    for (uint32_t i = 0; free; free &= free - 1, i++) {
        uint32_t square = free & -free;
        cx_spawn(cx, queens, cx_slot(sum, i),
                 cx_args(cx_i64(cx, 0), columns | square, (left | square) << 1, (right | square) >> 1));
    }
}

CX_TASK(nqueens) /* i64 n -> i64 ways */
{
    int64_t n = cx_i64(cx, 0);
    if (n < 1 || n > N_MAX)
        return cx_fail(cx, "n is %lld, but must be 1 to %d", (long long)n, N_MAX);
    cx_ref sum = cx_successor(cx, CX_SUM_I64, 1);
    cx_spawn(cx, queens, cx_slot(sum, 0), cx_args(n, 0, 0, 0));
}

CX_MODULE(nqueens, queens)
