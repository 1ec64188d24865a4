/* A backup's file: whatever is done to it is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "taskserver/archive.h"

struct world {
    char dir[64], path[96];
    char why[STATE_WHY_MAX];
};

static struct world *new_world(void)
{
    struct world *w = calloc(1, sizeof *w);
    strcpy(w->dir, "/tmp/cx-archive-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof w->path, "%s/file", w->dir);
    return w;
}

static void free_world(struct world *w)
{
    unlink(w->path);
    assert_int_equal(rmdir(w->dir), 0);
    free(w);
}

static struct bytes part_of(unsigned n, uint8_t *mem)
{
    memset(mem, (int)n, n * 7 % 40);
    return bytes_of(mem, n * 7 % 40);
}

enum { PARTS = 12 };

static void write_small(struct world *w)
{
    struct archive_writer *a;
    uint8_t mem[64];
    assert_int_equal(archive_create(w->path, &a, w->why), 0);
    for (unsigned n = 0; n < PARTS; n++)
        archive_put(a, 1 + n % 4, part_of(n, mem));
    assert_int_equal(archive_close(a, true, w->why), 0);
}

static struct buf slurp(const struct world *w)
{
    struct buf b = {0};
    FILE *f = fopen(w->path, "rb");
    assert_non_null(f);
    for (int c; (c = fgetc(f)) != EOF;)
        buf_add(&b, &(uint8_t){(uint8_t)c}, 1);
    fclose(f);
    return b;
}

static void spill(const struct world *w, const void *data, size_t len)
{
    FILE *f = fopen(w->path, "wb");
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
}

/* Reads to the end; the code that it met, 0 when all is well. All that is read is as it was written. */
static int read_all(struct world *w)
{
    struct archive_reader *a;
    struct archive_part part = {0};
    uint8_t mem[64];
    int code = archive_open(w->path, &a, w->why);
    if (code)
        return code;
    for (unsigned n = 0; !(code = archive_next(a, &part, w->why)) && part.kind != ARCHIVE_END; n++) {
        assert_true(n < PARTS);
        assert_int_equal(part.kind, 1 + n % 4);
        assert_true(bytes_equal(part.data, part_of(n, mem)));
    }
    archive_free(a);
    return code;
}

static void test_what_was_put_is_read(void **state)
{
    (void)state;
    struct world *w = new_world();
    write_small(w);
    assert_int_equal(read_all(w), 0);
    free_world(w);
}

static void test_existing_file_is_kept(void **state)
{
    (void)state;
    struct world *w = new_world();
    struct archive_writer *a;
    spill(w, "precious", 8);
    assert_int_equal(archive_create(w->path, &a, w->why), CX_EEXIST);
    struct buf b = slurp(w);
    assert_true(bytes_equal(buf_bytes(&b), bytes_str("precious")));
    buf_free(&b);
    free_world(w);
}

static void test_what_is_not_kept_goes(void **state)
{
    (void)state;
    struct world *w = new_world();
    struct archive_writer *a;
    assert_int_equal(archive_create(w->path, &a, w->why), 0);
    archive_put(a, ARCHIVE_RECORD, bytes_str("half"));
    assert_int_equal(archive_close(a, false, w->why), 0);
    assert_int_equal(access(w->path, F_OK), -1);
    free_world(w);
}

static void test_cut_anywhere_is_found(void **state)
{
    (void)state;
    struct world *w = new_world();
    write_small(w);
    struct buf whole = slurp(w);
    for (size_t cut = 0; cut < whole.len; cut++) {
        spill(w, whole.data, cut);
        assert_int_equal(read_all(w), CX_EFAILED);
        assert_non_null(strstr(w->why, w->path));
    }
    buf_add(&whole, "x", 1);
    spill(w, whole.data, whole.len);
    assert_int_equal(read_all(w), CX_EFAILED);
    buf_free(&whole);
    free_world(w);
}

static void test_flip_anywhere_is_found(void **state)
{
    (void)state;
    struct world *w = new_world();
    write_small(w);
    struct buf whole = slurp(w);
    for (size_t bit = 0; bit < 8 * whole.len; bit++) {
        whole.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        spill(w, whole.data, whole.len);
        assert_int_equal(read_all(w), CX_EFAILED);
        whole.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    buf_free(&whole);
    free_world(w);
}

/* Each part by itself is whole; one is missing. */
static void test_missing_part_is_found(void **state)
{
    (void)state;
    struct world *w = new_world();
    write_small(w);
    struct buf whole = slurp(w), less = {0};
    buf_add(&less, whole.data, 16);
    buf_add(&less, whole.data + 16 + 13, whole.len - 16 - 13); /* the first has no data */
    spill(w, less.data, less.len);
    assert_int_equal(read_all(w), CX_EFAILED);
    buf_free(&whole);
    buf_free(&less);
    free_world(w);
}

static void test_unusable_paths_are_told(void **state)
{
    (void)state;
    struct world *w = new_world();
    struct archive_writer *a;
    strcpy(w->path, "/nowhere/at/all");
    assert_int_equal(archive_create(w->path, &a, w->why), CX_EIO);
    assert_non_null(strstr(w->why, "/nowhere/at/all"));
    assert_int_equal(read_all(w), CX_EIO);
    snprintf(w->path, sizeof w->path, "%s/file", w->dir);
    free_world(w);
}

/* A file that may not grow is as a full disk. */
static void test_full_disk_is_told_and_leaves_nothing(void **state)
{
    (void)state;
    struct world *w = new_world();
    struct archive_writer *a;
    struct rlimit before, limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){100, before.rlim_max};
    assert_int_equal(archive_create(w->path, &a, w->why), 0);
    setrlimit(RLIMIT_FSIZE, &limit);
    for (int i = 0; i < 10; i++)
        archive_put(a, ARCHIVE_RECORD, bytes_str("more than there is room for"));
    int code = archive_close(a, true, w->why);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(code, CX_EIO);
    assert_int_equal(access(w->path, F_OK), -1);
    free_world(w);
}

int main(void)
{
    log_start("archive", LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_put_is_read),
        cmocka_unit_test(test_existing_file_is_kept),
        cmocka_unit_test(test_what_is_not_kept_goes),
        cmocka_unit_test(test_cut_anywhere_is_found),
        cmocka_unit_test(test_flip_anywhere_is_found),
        cmocka_unit_test(test_missing_part_is_found),
        cmocka_unit_test(test_unusable_paths_are_told),
        cmocka_unit_test(test_full_disk_is_told_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
