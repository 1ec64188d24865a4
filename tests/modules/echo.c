/* What a consumer sees: every type of value, the job's input, results that depend on the item. */
#include <cx/task.h>

CX_TASK(echo) /* any value -> the same; no argument -> none */
{
    if (cx_argc(cx) == 0)
        return cx_return_none(cx);
    cx_return(cx, cx->slot[0]);
}

CX_TASK(square) /* i64 n -> i64 n * n; -1 fails */
{
    int64_t n = cx_i64(cx, 0);
    if (n == -1)
        return cx_fail(cx, "minus one has no square here");
    cx_return_i64(cx, n * n);
}

CX_TASK(input_sum) /* -> i64 sum of the input's bytes */
{
    cx_blob in = cx_input(cx);
    int64_t sum = 0;
    for (size_t i = 0; i < in.len; i++)
        sum += ((const unsigned char *)in.data)[i];
    cx_return_i64(cx, sum);
}

CX_TASK(argc) /* any -> i64 how many */
{
    cx_return_i64(cx, cx_argc(cx));
}

CX_MODULE(echo, square, input_sum, argc)
