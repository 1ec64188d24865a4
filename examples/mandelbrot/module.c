/* The Mandelbrot set as a picture: bands of rows, joined in order by a well-known successor.
 *
 *     cx run --output m.ppm mandelbrot.so picture 1200 800
 *     cx run mandelbrot.so crc 1200 800        the CRC-32 of the same bytes
 */
#include <stdio.h>
#include <stdlib.h>

#include <cx/task.h>

#define BAND_ROWS      8
#define ITERATIONS_MAX 1000

/* Iterations until |z| exceeds 2; ITERATIONS_MAX when it does not. Plain IEEE arithmetic in a fixed order, so
 * that every machine finds the same. */
static int escape(double cr, double ci)
{
    double zr = 0, zi = 0;
    for (int i = 0; i < ITERATIONS_MAX; i++) {
        double rr = zr * zr, ii = zi * zi;
        if (rr + ii > 4)
            return i;
        zi = 2 * zr * zi + ci;
        zr = rr - ii + cr;
    }
    return ITERATIONS_MAX;
}

static void colour(int iterations, uint8_t rgb[3])
{
    int i = iterations == ITERATIONS_MAX ? 0 : iterations * 8;
    rgb[0] = (uint8_t)(i < 256 ? i : 255);
    rgb[1] = (uint8_t)(i < 512 ? i / 2 : 255);
    rgb[2] = (uint8_t)(iterations == ITERATIONS_MAX ? 0 : i < 1024 ? 64 + i * 3 / 16 : 255);
}

/* band(width, height, first row) -> the bytes of up to BAND_ROWS rows */
CX_TASK(band)
{
    int64_t width = cx_i64(cx, 0), height = cx_i64(cx, 1), first = cx_i64(cx, 2);
    int64_t rows = height - first < BAND_ROWS ? height - first : BAND_ROWS;
    size_t len = (size_t)(width * rows * 3);
    uint8_t *rgb = malloc(len), *p = rgb;
    if (rgb == NULL)
        return cx_fail(cx, "no memory for %zu bytes of picture", len);
    for (int64_t y = first; y < first + rows; y++)
        for (int64_t x = 0; x < width; x++, p += 3)
            colour(escape(3.0 * (double)x / (double)width - 2.2, 2.4 * (double)y / (double)height - 1.2), p);
    cx_return_bytes(cx, rgb, len);
    free(rgb);
}

/* Spawns the bands; the slots of concat become the picture file: a header, then the rows from top to bottom.
 */
static void spawn_bands(cx_ctx *cx, cx_ref concat, int64_t width, int64_t height, uint32_t bands)
{
    char header[64];
    int n = snprintf(header, sizeof header, "P6\n%lld %lld\n255\n", (long long)width, (long long)height);
    cx_set(cx, cx_slot(concat, 0), cx_v_bytes(header, (size_t)n));
    for (uint32_t i = 0; i < bands; i++)
        cx_spawn(cx, band, cx_slot(concat, i + 1), cx_args(width, height, i * BAND_ROWS));
}

/* picture(width, height) -> a PPM file */
CX_TASK(picture)
{
    int64_t width = cx_i64(cx, 0), height = cx_i64(cx, 1);
    if (width < 1 || height < 1 || width > 16384 || height > 16384 || width * height > 5000000)
        return cx_fail(cx, "a picture has 1 to 5,000,000 pixels, not %lld x %lld", (long long)width,
                       (long long)height);
    uint32_t bands = (uint32_t)((height + BAND_ROWS - 1) / BAND_ROWS);
    spawn_bands(cx, cx_successor(cx, CX_CONCAT, bands + 1), width, height, bands);
}

CX_TASK(crc_of)
{
    cx_blob b = cx_bytes(cx, 0);
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < b.len; i++) {
        crc ^= ((const uint8_t *)b.data)[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (0xEDB88320 & (0 - (crc & 1)));
    }
    cx_return_i64(cx, (uint32_t)~crc);
}

CX_TASK(crc)
{
    cx_ref then = cx_successor(cx, crc_of, 1);
    cx_spawn(cx, picture, cx_slot(then, 0), cx_args(cx_i64(cx, 0), cx_i64(cx, 1)));
}
CX_MODULE(picture, crc, band, crc_of)
