/* The shortest consumer: one cx_run(), and the picture that comes back is written as a JPEG.
 *
 * Usage: mandelbrot mandelbrot.so WIDTH HEIGHT FILE.jpg        where to compute: CX_NETWORK, else in this
 * process */
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

#include <cx/consumer.h>

#define QUALITY 92

/* Libjpeg itself ends the program, with a message, when the disk is full. */
static void jpeg_write(FILE *out, const unsigned char *rgb, unsigned width, unsigned height)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, out);
    jpeg.image_width = width;
    jpeg.image_height = height;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, QUALITY, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    while (jpeg.next_scanline < height) {
        JSAMPROW row = (JSAMPROW)rgb + (size_t)jpeg.next_scanline * width * 3;
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
}

static int picture_compute(const char *module, long width, long height, cx_value *ppm)
{
    cx_net *net = NULL;
    cx_value args[2] = {cx_v_i64(width), cx_v_i64(height)};
    int err = cx_open(NULL, &net);
    if (err == 0)
        err = cx_run(net, module, "picture", 2, args, ppm);
    if (err < 0)
        fprintf(stderr, "mandelbrot: %s\n", net != NULL ? cx_error(net) : cx_err_text(err));
    cx_close(net);
    return err;
}

int main(int argc, char **argv)
{
    cx_value ppm;
    long width = argc == 5 ? strtol(argv[2], NULL, 10) : 0,
         height = argc == 5 ? strtol(argv[3], NULL, 10) : 0;
    if (width < 1 || height < 1) {
        fprintf(stderr, "usage: mandelbrot mandelbrot.so WIDTH HEIGHT FILE.jpg\n");
        return 2;
    }
    int err = picture_compute(argv[1], width, height, &ppm);
    if (err < 0)
        return cx_err_exit(err);
    FILE *out = fopen(argv[4], "wb");
    if (out == NULL) {
        perror(argv[4]);
        return EXIT_FAILURE;
    }
    size_t pixels = (size_t)(width * height * 3); /* the last of the file: its header comes before */
    jpeg_write(out, (const unsigned char *)ppm.as.bytes + ppm.len - pixels, (unsigned)width,
               (unsigned)height);
    free((void *)ppm.as.bytes);
    return fclose(out) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
