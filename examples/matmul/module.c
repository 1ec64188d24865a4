/* A matrix product in blocks, and a proof that it is right that costs less than the product.
 *
 *     cx run matmul.so trace 512 7               trace of C = A B, once C has passed Freivalds' check
 *     cx run --output c.bin matmul.so product 512 7    C itself: row by row, little-endian 32-bit integers
 *
 * A and B are n x n matrices of small integers that follow from a seed, so every task can make the part that
 * it needs, and no matrix travels but the result. */
#include <stdlib.h>
#include <string.h>

#include <cx/task.h>

#define BLOCK 64
#define N_MAX 2048 /* C is one value: at most 16 MiB */

/* Element (i, j) of A (which = 0) or B (1): -8 .. 7, from SplitMix64's finalizer (Steele et al., 2014). */
static int32_t element(uint64_t seed, uint64_t which, uint64_t i, uint64_t j)
{
    uint64_t z = (seed << 1 | which) * 0x9E3779B97F4A7C15u + (i << 32 | j);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (int32_t)(z >> 60) - 8;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* block(n, seed, row, column) -> the rows x columns numbers of C that start there */
CX_TASK(block)
{
    int64_t n = cx_i64(cx, 0), row = cx_i64(cx, 2), col = cx_i64(cx, 3);
    uint64_t seed = (uint64_t)cx_i64(cx, 1);
    int64_t rows = smaller(BLOCK, n - row), cols = smaller(BLOCK, n - col);
    int32_t c[BLOCK][BLOCK] = {{0}}, b[BLOCK];
    if (row < 0 || col < 0 || rows < 1 || cols < 1)
        return cx_fail(cx, "the matrix has no block at %lld, %lld", (long long)row, (long long)col);
    for (int64_t k = 0; k < n; k++) {
        for (int64_t j = 0; j < cols; j++)
            b[j] = element(seed, 1, (uint64_t)k, (uint64_t)(col + j));
        for (int64_t i = 0; i < rows; i++) {
            int32_t a = element(seed, 0, (uint64_t)(row + i), (uint64_t)k);
            for (int64_t j = 0; j < cols; j++)
                c[i][j] += a * b[j];
        }
    }
    for (int64_t i = 1; i < rows; i++)
        memmove(&c[0][0] + i * cols, c[i], (size_t)cols * sizeof(int32_t));
    cx_return_bytes(cx, c, (size_t)(rows * cols) * sizeof(int32_t));
}

/* Slot 0: n. Slot 1: seed. Slot 2 + k: block k, row by row of blocks -> C, row by row */
CX_TASK(assemble)
{
    int64_t n = cx_i64(cx, 0), across = (n + BLOCK - 1) / BLOCK;
    size_t len = (size_t)(n * n) * sizeof(int32_t);
    int32_t *c = malloc(len);
    if (c == NULL)
        return cx_fail(cx, "no memory for %zu bytes of matrix", len);
    for (uint32_t k = 0; k < across * across; k++) {
        int64_t row = k / across * BLOCK, col = k % across * BLOCK;
        int64_t rows = smaller(BLOCK, n - row), cols = smaller(BLOCK, n - col);
        cx_blob part = cx_bytes(cx, 2 + k);
        for (int64_t i = 0; i < rows; i++)
            memcpy(c + (row + i) * n + col, (const char *)part.data + i * cols * 4, (size_t)cols * 4);
    }
    cx_return_bytes(cx, c, len);
    free(c);
}

/* product(n, seed) -> C */
CX_TASK(product)
{
    int64_t n = cx_i64(cx, 0), seed = cx_i64(cx, 1), across = (n + BLOCK - 1) / BLOCK;
    if (n < 1 || n > N_MAX)
        return cx_fail(cx, "n is 1 to %d, not %lld", N_MAX, (long long)n);
    cx_ref c = cx_successor(cx, assemble, (uint32_t)(2 + across * across));
    cx_set(cx, cx_slot(c, 0), cx_v_i64(n));
    cx_set(cx, cx_slot(c, 1), cx_v_i64(seed));
    for (uint32_t k = 0; k < across * across; k++)
        cx_spawn(cx, block, cx_slot(c, 2 + k), cx_args(n, seed, k / across * BLOCK, k % across * BLOCK));
}

/* A row of a matrix that follows from the seed, times a vector. */
static uint64_t row_times(uint64_t seed, uint64_t which, uint64_t i, const uint64_t *v, uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t j = 0; j < n; j++)
        sum += (uint64_t)element(seed, which, i, j) * v[j];
    return sum;
}

/* Number i of a matrix that a task was given: bytes of a value need not be aligned. */
static int32_t number(const void *matrix, uint64_t i)
{
    int32_t x;
    memcpy(&x, (const char *)matrix + i * sizeof x, sizeof x);
    return x;
}

/* Freivalds (1977): is A (B r) = C r for a random r? Modulo 2^64, with r of 64 random bits each; a difference
 * in C of less than 2^32 is then missed with a chance of at most 2^-33. Returns the first row that is wrong,
 * or -1. */
static int64_t freivalds(cx_ctx *cx, const void *c, uint64_t n, uint64_t seed, uint64_t *r, uint64_t *br)
{
    for (uint64_t i = 0; i < n; i++)
        r[i] = cx_random(cx);
    for (uint64_t i = 0; i < n; i++)
        br[i] = row_times(seed, 1, i, r, n);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t cr = 0;
        for (uint64_t j = 0; j < n; j++)
            cr += (uint64_t)number(c, i * n + j) * r[j];
        if (cr != row_times(seed, 0, i, br, n))
            return (int64_t)i;
    }
    return -1;
}

/* checked(C, n, seed) -> the trace of C; fails the job when C is not the product */
CX_TASK(checked)
{
    static const char wrong[] = "C is not the product of A and B: row %lld is wrong";
    const void *c = cx_bytes(cx, 0).data;
    int64_t n = cx_i64(cx, 1), seed = cx_i64(cx, 2), trace = 0;
    uint64_t *r = malloc(2 * (size_t)n * sizeof *r);
    if (r == NULL || cx_bytes(cx, 0).len != (size_t)(n * n) * sizeof(int32_t)) {
        free(r);
        return cx_fail(cx, "%s", r == NULL ? "no memory for the check" : "C has the wrong size");
    }
    int64_t row = freivalds(cx, c, (uint64_t)n, (uint64_t)seed, r, r + n);
    free(r);
    for (int64_t i = 0; i < n; i++)
        trace += number(c, (uint64_t)(i * n + i));
    if (row >= 0)
        return cx_fail(cx, wrong, (long long)row);
    cx_return_i64(cx, trace);
}

/* trace(n, seed) -> the trace of C */
CX_TASK(trace)
{
    int64_t n = cx_i64(cx, 0), seed = cx_i64(cx, 1);
    cx_ref check = cx_successor(cx, checked, 3);
    cx_set(cx, cx_slot(check, 1), cx_v_i64(n));
    cx_set(cx, cx_slot(check, 2), cx_v_i64(seed));
    cx_spawn(cx, product, cx_slot(check, 0), cx_args(n, seed));
}
CX_MODULE(trace, product, block, assemble, checked)
