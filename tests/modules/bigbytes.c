/* Large values up and down: each child is given a run of bytes and returns it turned round. */
#include <cx/task.h>
#include <stdlib.h>

CX_TASK(turn) /* bytes -> the same bytes, last first */
{
    cx_blob b = cx_bytes(cx, 0);
    unsigned char *turned = (unsigned char *)malloc(b.len + 1);
    for (size_t i = 0; i < b.len; i++)
        turned[i] = ((const unsigned char *)b.data)[b.len - 1 - i];
    cx_return_bytes(cx, turned, b.len);
    free(turned);
}

CX_TASK(checksum) /* bytes... -> i64, dependent on every byte and its place */
{
    uint64_t sum = 1469598103934665603u;
    for (uint32_t i = 0; i < cx_argc(cx); i++) {
        cx_blob b = cx_bytes(cx, i);
        for (size_t k = 0; k < b.len; k++)
            sum = (sum ^ ((const unsigned char *)b.data)[k]) * 1099511628211u;
    }
    cx_return_i64(cx, (int64_t)sum);
}

static void fill(unsigned char *data, int64_t size, int64_t nth, int turned)
{
    for (int64_t k = 0; k < size; k++)
        data[turned ? size - 1 - k : k] = (unsigned char)((k * 7 + nth * 131) >> (nth & 3));
}

static int big_fits(cx_ctx *cx, int64_t n, int64_t size)
{
    if (n >= 0 && n <= 1024 && size >= 0 && size <= (int64_t)CX_VALUE_BYTES_MAX)
        return 1;
    cx_fail(cx, "n is 0 to 1024, size 0 to %u", CX_VALUE_BYTES_MAX);
    return 0;
}

CX_TASK(bigbytes) /* i64 n, i64 size of each -> i64 checksum */
{
    int64_t n = cx_i64(cx, 0), size = cx_i64(cx, 1);
    if (!big_fits(cx, n, size))
        return;
    unsigned char *data = (unsigned char *)malloc((size_t)size + 1);
    cx_ref all = cx_successor(cx, checksum, (uint32_t)n);
    for (int64_t i = 0; i < n; i++) {
        fill(data, size, i, 0);
        cx_blob b = {data, (size_t)size};
        cx_spawn(cx, turn, cx_slot(all, (uint32_t)i), cx_args(b));
    }
    free(data);
}

CX_TASK(bigbytes_seq) /* the same, in one task */
{
    int64_t n = cx_i64(cx, 0), size = cx_i64(cx, 1);
    uint64_t sum = 1469598103934665603u;
    if (!big_fits(cx, n, size))
        return;
    unsigned char *data = (unsigned char *)malloc((size_t)size + 1);
    for (int64_t i = 0; i < n; i++) {
        fill(data, size, i, 1);
        for (int64_t k = 0; k < size; k++)
            sum = (sum ^ data[k]) * 1099511628211u;
    }
    free(data);
    cx_return_i64(cx, (int64_t)sum);
}

CX_MODULE(bigbytes, bigbytes_seq, turn, checksum)
