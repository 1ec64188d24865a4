/* A ray tracer in tasks: the picture is split into halves until a strip of a few rows is left, which one task
 * renders; CX_CONCAT puts the strips together again in order.
 *
 * The one new idea is the input: the scene is text that the job brings along once, and every task reads it
 * where it runs, instead of handing it from task to task. */
#include <cx/task.h>

#include "tracer.h"

/* The scene of the job. Malloc'ed; NULL when the task has failed because of it. */
static struct scene *scene_of(cx_ctx *cx)
{
    cx_blob text = cx_input(cx);
    struct scene *s = (struct scene *)malloc(sizeof *s);
    if (!s) {
        cx_fail(cx, "no memory for a scene");
    } else if (scene_parse(s, (const char *)text.data, text.len) != 0) {
        cx_fail(cx, "%s", s->error);
        free(s);
        s = NULL;
    }
    return s;
}

static void render(cx_ctx *cx, const struct picture *p, int from, int to)
{
    struct scene *s = scene_of(cx);
    size_t bytes = (size_t)(to - from) * (size_t)p->width * 3;
    unsigned char *rgb = (unsigned char *)malloc(bytes);
    if (s && rgb) {
        render_rows(s, p, from, to, rgb);
        cx_return_bytes(cx, rgb, bytes);
    } else {
        cx_fail(cx, "no memory for %zu bytes of picture", bytes);
    }
    free(rgb);
    free(s);
}

CX_TASK(strip) /* i64 width, height, samples, first row, row after the last -> bytes */
{
    struct picture p = {(int)cx_i64(cx, 0), (int)cx_i64(cx, 1), (int)cx_i64(cx, 2)};
    int from = (int)cx_i64(cx, 3), to = (int)cx_i64(cx, 4), middle = from + (to - from) / 2;
    if (to - from <= STRIP_ROWS)
        return render(cx, &p, from, to);
    cx_ref rows = cx_successor(cx, CX_CONCAT, 2);
    cx_spawn(cx, strip, cx_slot(rows, 0), cx_args(p.width, p.height, p.samples, from, middle));
    cx_spawn(cx, strip, cx_slot(rows, 1), cx_args(p.width, p.height, p.samples, middle, to));
}

CX_TASK(raytrace) /* i64 width, height, samples -> bytes: struct picture_head and the rows */
{
    int64_t width = cx_i64(cx, 0), height = cx_i64(cx, 1), samples = cx_i64(cx, 2);
    if (width < 1 || height < 1 ||
        width * height > (int64_t)(CX_VALUE_BYTES_MAX - sizeof(struct picture_head)) / 3)
        return cx_fail(cx, "a picture has 1 to %u pixels", (unsigned)(CX_VALUE_BYTES_MAX / 3));
    if (samples < 1 || samples > SAMPLES_MAX)
        return cx_fail(cx, "samples is 1 to %d", SAMPLES_MAX);
    struct scene *s = scene_of(cx); /* a mistake in it is told before anything is spawned */
    if (!s)
        return;
    free(s);
    struct picture_head head = {{'R', 'G', 'B', '1'}, (uint32_t)width, (uint32_t)height};
    cx_ref picture = cx_successor(cx, CX_CONCAT, 2);
    cx_set(cx, cx_slot(picture, 0), cx_v_bytes(&head, sizeof head));
    cx_spawn(cx, strip, cx_slot(picture, 1), cx_args(width, height, samples, 0, height));
}

CX_MODULE(raytrace, strip)
