/* Text made in pieces: "0,1,2,...,n-1," however it is split. */
#include <cx/task.h>
#include <stdio.h>

CX_TASK(concat_range) /* i64 from, i64 to -> bytes */
{
    int64_t from = cx_i64(cx, 0), to = cx_i64(cx, 1);
    if (to - from <= 1) {
        char text[24];
        int len = from < to ? snprintf(text, sizeof text, "%lld,", (long long)from) : 0;
        return cx_return_bytes(cx, text, (size_t)len);
    }
    int64_t third = (to - from + 2) / 3;
    cx_ref all = cx_successor(cx, CX_CONCAT, 3);
    for (uint32_t i = 0; i < 3; i++) {
        int64_t begin = from + third * i, end = begin + third;
        cx_spawn(cx, concat_range, cx_slot(all, i), cx_args(begin < to ? begin : to, end < to ? end : to));
    }
}

CX_TASK(concat) /* i64 n -> bytes */
{
    cx_ref all = cx_successor(cx, CX_CONCAT, 1);
    cx_spawn(cx, concat_range, cx_slot(all, 0), cx_args(0, cx_i64(cx, 0)));
}

CX_MODULE(concat, concat_range)
