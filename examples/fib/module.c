/* Fibonacci numbers, the slow way: the smallest job that unfolds. */
#include <cx/task.h>

CX_TASK(fib) /* i64 -> i64 */
{
    int64_t n = cx_i64(cx, 0);
    if (n < 2)
        return cx_return_i64(cx, n);
    cx_ref sum = cx_successor(cx, CX_SUM_I64, 2); /* inherits where fib's value goes */
    cx_spawn(cx, fib, cx_slot(sum, 0), cx_args(n - 1));
    cx_spawn(cx, fib, cx_slot(sum, 1), cx_args(n - 2));
}

CX_MODULE(fib)
