/* raytrace: renders a scene on a CX network, or in this one process, and writes a JPEG.
 *
 * A host program in full: open a network, submit a job, show how it gets on, take its result. With
 * --reference the tracer is called directly, without CX; the two files are equal, byte for byte. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cx/consumer.h>
#include <jpeglib.h>

#include "tracer.h"

#define QUALITY       90
#define SCENE_MAX     (1u << 20) /* bytes */
#define PATH_BYTES    4096
#define LOOK_EVERY_MS 100
#define BAR_WIDTH     40

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NO_NETWORK = 3 };

struct options {
    const char *network; /* NULL: as the environment says */
    const char *module;
    const char *scene, *out;
    struct picture picture;
    int reference;
};

struct text {
    char *data; /* owned */
    size_t len;
};

static void usage(FILE *to)
{
    fprintf(
        to,
        "usage: raytrace [--network ADDR] [--width W] [--height H] [--samples N] [--reference]\n"
        "                [--module raytrace.so] SCENE OUT.jpg\n"
        "\n"
        "  --network ADDR  HOST:PORT of a task server, broker:HOST:PORT, or local:// (default: $CX_NETWORK)\n"
        "  --samples N     N * N rays a pixel (default 3)\n"
        "  --reference     render here, in one process, without CX\n");
}

/* The module lies beside this program: build/X/bin/raytrace and build/X/examples/raytrace.so. */
static const char *default_module(void)
{
    static char path[PATH_BYTES + 32];
    ssize_t n = readlink("/proc/self/exe", path, PATH_BYTES - 1);
    path[n > 0 ? n : 0] = 0;
    char *slash = strrchr(path, '/');
    strcpy(slash ? slash + 1 : path, "../examples/raytrace.so");
    return path;
}

static int number(const char *text, int max, int *out)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (*end || n < 1 || n > max) {
        fprintf(stderr, "raytrace: %s is not a number from 1 to %d\n", text, max);
        return -1;
    }
    *out = (int)n;
    return 0;
}

static int option(struct options *o, int letter)
{
    switch (letter) {
    case 'n':
        o->network = optarg;
        return 0;
    case 'm':
        o->module = optarg;
        return 0;
    case 'w':
        return number(optarg, 65535, &o->picture.width);
    case 'h':
        return number(optarg, 65535, &o->picture.height);
    case 's':
        return number(optarg, SAMPLES_MAX, &o->picture.samples);
    case 'r':
        o->reference = 1;
        return 0;
    default:
        return -1;
    }
}

static int options_parse(struct options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        {"network", required_argument, NULL, 'n'}, {"module", required_argument, NULL, 'm'},
        {"width", required_argument, NULL, 'w'},   {"height", required_argument, NULL, 'h'},
        {"samples", required_argument, NULL, 's'}, {"reference", no_argument, NULL, 'r'},
        {"help", no_argument, NULL, '?'},          {NULL, 0, NULL, 0},
    };
    *o = (struct options){.picture = {1280, 720, 3}, .module = default_module()};
    for (int letter; (letter = getopt_long(argc, argv, "", longs, NULL)) != -1;)
        if (option(o, letter) != 0)
            return -1;
    if (argc - optind != 2)
        return -1;
    o->scene = argv[optind];
    o->out = argv[optind + 1];
    return 0;
}

static int scene_read(const char *path, struct text *out)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "raytrace: cannot open the scene %s\n", path);
        return -1;
    }
    out->data = (char *)malloc(SCENE_MAX + 1);
    out->len = out->data ? fread(out->data, 1, SCENE_MAX + 1, f) : 0;
    int wrong = !out->data || ferror(f) || out->len > SCENE_MAX;
    fclose(f);
    if (wrong)
        fprintf(stderr, "raytrace: cannot read the scene %s: it is at most %u bytes of text\n", path,
                SCENE_MAX);
    return wrong ? -1 : 0;
}

/* ---- The picture as JPEG ---- */

static void jpeg_rows(struct jpeg_compress_struct *jpeg, const struct picture *p, const unsigned char *rgb)
{
    jpeg->image_width = (JDIMENSION)p->width;
    jpeg->image_height = (JDIMENSION)p->height;
    jpeg->input_components = 3;
    jpeg->in_color_space = JCS_RGB;
    jpeg_set_defaults(jpeg);
    jpeg_set_quality(jpeg, QUALITY, TRUE);
    jpeg_start_compress(jpeg, TRUE);
    while (jpeg->next_scanline < jpeg->image_height) {
        JSAMPROW row = (JSAMPROW)(rgb + (size_t)jpeg->next_scanline * (size_t)p->width * 3);
        jpeg_write_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_compress(jpeg);
}

static int jpeg_write(const struct options *o, const unsigned char *rgb)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *data = NULL;
    unsigned long len = 0;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &data, &len);
    jpeg_rows(&jpeg, &o->picture, rgb);
    jpeg_destroy_compress(&jpeg);
    FILE *f = fopen(o->out, "wb");
    int wrong = !f || fwrite(data, 1, len, f) != len;
    wrong |= f && fclose(f) != 0;
    free(data);
    if (wrong)
        fprintf(stderr, "raytrace: cannot write %s\n", o->out);
    return wrong ? EXIT_FAILED : EXIT_OK;
}

/* ---- Rendering, here or on the network ---- */

static int render_here(const struct options *o, const struct scene *s)
{
    unsigned char *rgb = (unsigned char *)malloc((size_t)o->picture.width * (size_t)o->picture.height * 3);
    if (!rgb) {
        fprintf(stderr, "raytrace: no memory for the picture\n");
        return EXIT_FAILED;
    }
    render_rows(s, &o->picture, 0, o->picture.height, rgb);
    int code = jpeg_write(o, rgb);
    free(rgb);
    return code;
}

static int complain(cx_net *net, int err)
{
    fprintf(stderr, "raytrace: %s\n", cx_error(net));
    return err == CX_ENONET ? EXIT_NO_NETWORK : EXIT_FAILED;
}

static void show(cx_job *job, const struct picture *p)
{
    cx_progress now;
    if (!isatty(STDERR_FILENO) || cx_job_progress(job, &now) != 0)
        return;
    long all = 1 + tasks_below(p->height), done = (long)now.executed < all ? (long)now.executed : all;
    int filled = (int)(done * BAR_WIDTH / all);
    fprintf(stderr, "\r[%.*s%*s] %3ld %%  %.1f s ", filled, "########################################",
            BAR_WIDTH - filled, "", done * 100 / all, now.age_s);
}

/* Waits for the job and shows how it gets on. */
static int await(cx_job *job, const struct picture *p, cx_value *result)
{
    int err;
    while ((err = cx_wait(job, LOOK_EVERY_MS, result)) == CX_ETIMEOUT)
        show(job, p);
    if (err == 0)
        show(job, p);
    if (isatty(STDERR_FILENO))
        fputc('\n', stderr);
    return err;
}

static int picture_take(const struct options *o, cx_value v)
{
    const struct picture *p = &o->picture;
    size_t rgb = (size_t)p->width * (size_t)p->height * 3;
    struct picture_head head;
    if (v.type != CX_BYTES || v.len != sizeof head + rgb) {
        fprintf(stderr,
                "raytrace: the job's result is no picture of this size: was it made by another module?\n");
        return EXIT_FAILED;
    }
    memcpy(&head, v.as.bytes, sizeof head);
    if (memcmp(head.magic, "RGB1", 4) != 0 || head.width != (uint32_t)p->width ||
        head.height != (uint32_t)p->height) {
        fprintf(stderr, "raytrace: the job's result is another picture: was it made by another module?\n");
        return EXIT_FAILED;
    }
    return jpeg_write(o, (const unsigned char *)v.as.bytes + sizeof head);
}

static int render_there(const struct options *o, const struct text *scene)
{
    cx_net *net;
    cx_job *job = NULL;
    cx_value result,
        args[3] = {cx_v_i64(o->picture.width), cx_v_i64(o->picture.height), cx_v_i64(o->picture.samples)};
    cx_submission what = {.module = o->module,
                          .function = "raytrace",
                          .args = args,
                          .nargs = 3,
                          .input = scene->data,
                          .input_len = scene->len,
                          .label = o->scene};
    int err = cx_open(o->network, &net);
    if (err) {
        fprintf(stderr, "raytrace: cannot open the network %s\n",
                o->network ? o->network : "of the environment");
        return EXIT_NO_NETWORK;
    }
    err = cx_submit(net, &what, &job);
    if (err == 0)
        err = await(job, &o->picture, &result);
    int code = err ? complain(net, err) : picture_take(o, result);
    if (err == 0)
        cx_forget(job);
    cx_job_free(job);
    cx_close(net);
    return code;
}

int main(int argc, char **argv)
{
    struct options o;
    struct text scene = {NULL, 0};
    static struct scene parsed;
    if (options_parse(&o, argc, argv) != 0) {
        usage(stderr);
        return EXIT_USAGE;
    }
    int code = EXIT_USAGE;
    if (scene_read(o.scene, &scene) == 0) {
        if (scene_parse(&parsed, scene.data, scene.len) != 0)
            fprintf(stderr, "raytrace: %s: %s\n", o.scene, parsed.error);
        else
            code = o.reference ? render_here(&o, &parsed) : render_there(&o, &scene);
    }
    free(scene.data);
    return code;
}
