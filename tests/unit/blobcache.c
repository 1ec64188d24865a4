/* The producer's cache on disk: what it gives out is what its name says, and it keeps to its size. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cx/error.h"
#include "producer/blobcache.h"
#include "proto/pki.h"

struct fixture {
    char base[64], dir[80];
    struct blobcache *cache;
};

static void open_cache(struct fixture *f, uint64_t bytes_max)
{
    char why[256];
    assert_int_equal(blobcache_new(f->dir, bytes_max, &f->cache, why, sizeof why), 0);
}

static void fixture_open(struct fixture *f, uint64_t bytes_max)
{
    strcpy(f->base, "/tmp/cx-cache-XXXXXX");
    assert_non_null(mkdtemp(f->base));
    snprintf(f->dir, sizeof f->dir, "%s/made/here", f->base);
    open_cache(f, bytes_max);
}

static void fixture_close(struct fixture *f)
{
    char command[128];
    blobcache_free(f->cache);
    snprintf(command, sizeof command, "rm -rf %s", f->base);
    assert_int_equal(system(command), 0);
}

static void keep(struct fixture *f, struct bytes content, uint8_t sha[32])
{
    struct blobwrite *w;
    sha256_of(content, sha);
    assert_int_equal(blobcache_begin(f->cache, sha, &w), 0);
    assert_int_equal(blobwrite_add(w, bytes_of(content.data, content.len / 2)), 0);
    assert_int_equal(
        blobwrite_add(w, bytes_of(content.data + content.len / 2, content.len - content.len / 2)), 0);
    assert_int_equal(blobwrite_end(w), 0);
}

static size_t files_in(const struct fixture *f)
{
    size_t n = 0;
    DIR *d = opendir(f->dir);
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    closedir(d);
    return n;
}

static bool is_here(struct fixture *f, const uint8_t sha[32])
{
    int fd, rc = blobcache_open(f->cache, sha, &fd);
    assert_true(rc == 0 || rc == CX_ENOTFOUND);
    if (rc == 0)
        close(fd);
    return rc == 0;
}

static void path_of(const struct fixture *f, const uint8_t sha[32], char path[200])
{
    int n = snprintf(path, 200, "%s/", f->dir);
    for (int i = 0; i < 32; i++)
        n += snprintf(path + n, 3, "%02x", sha[i]);
}

static void what_was_kept_can_be_read_and_survives_a_restart(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t sha[32];
    char got[16] = "";
    int fd;
    fixture_open(&f, 1 << 20);
    keep(&f, bytes_str("a module"), sha);
    blobcache_free(f.cache);
    open_cache(&f, 1 << 20);
    assert_int_equal(blobcache_open(f.cache, sha, &fd), 0);
    assert_int_equal(read(fd, got, sizeof got), 8);
    assert_string_equal(got, "a module");
    close(fd);
    fixture_close(&f);
}

static void content_that_is_not_its_name_is_not_kept(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t sha[32];
    struct blobwrite *w;
    fixture_open(&f, 1 << 20);
    sha256_of(bytes_str("wanted"), sha);
    assert_int_equal(blobcache_begin(f.cache, sha, &w), 0);
    assert_int_equal(blobwrite_add(w, bytes_str("forged")), 0);
    assert_int_equal(blobwrite_end(w), CX_EPROTO);
    assert_false(is_here(&f, sha));
    assert_int_equal(files_in(&f), 0);
    fixture_close(&f);
}

static void a_dropped_writer_leaves_nothing(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t sha[32] = {1};
    struct blobwrite *w;
    fixture_open(&f, 1 << 20);
    assert_int_equal(blobcache_begin(f.cache, sha, &w), 0);
    assert_int_equal(blobwrite_add(w, bytes_str("half of")), 0);
    blobwrite_drop(w);
    blobwrite_drop(NULL);
    assert_int_equal(files_in(&f), 0);
    fixture_close(&f);
}

static void spoil(struct fixture *f, const uint8_t sha[32])
{
    char path[200];
    path_of(f, sha, path);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "X", 1, 0), 1);
    close(fd);
}

static void a_corrupt_blob_is_as_if_not_there(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t sha[32];
    fixture_open(&f, 1 << 20);
    keep(&f, bytes_str("a module"), sha);
    assert_true(is_here(&f, sha));
    spoil(&f, sha); /* behind the back of a cache that knew it to be good */
    assert_false(is_here(&f, sha));
    assert_int_equal(files_in(&f), 0);
    keep(&f, bytes_str("a module"), sha);
    blobcache_free(f.cache);
    spoil(&f, sha);
    open_cache(&f, 1 << 20);
    assert_false(is_here(&f, sha));
    fixture_close(&f);
}

static void set_age(struct fixture *f, const uint8_t sha[32], time_t seconds)
{
    char path[200];
    struct timespec t[2] = {{.tv_sec = 1600000000 + seconds}, {.tv_sec = 1600000000 + seconds}};
    path_of(f, sha, path);
    assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

static void the_oldest_used_goes_when_it_is_full(void **state)
{
    (void)state;
    static uint8_t content[400];
    struct fixture f;
    uint8_t sha[3][32];
    fixture_open(&f, 1000);
    for (uint8_t i = 0; i < 2; i++) {
        content[0] = i;
        keep(&f, bytes_of(content, sizeof content), sha[i]);
        set_age(&f, sha[i], i);
    }
    int fd;
    assert_int_equal(blobcache_open(f.cache, sha[0], &fd), 0); /* used just now, and still open */
    content[0] = 2;
    keep(&f, bytes_of(content, sizeof content), sha[2]);
    assert_true(is_here(&f, sha[0]));
    assert_false(is_here(&f, sha[1]));
    assert_true(is_here(&f, sha[2]));
    close(fd);
    fixture_close(&f);
}

static void one_larger_than_the_cache_is_kept_for_its_use(void **state)
{
    (void)state;
    static uint8_t content[4000];
    struct fixture f;
    uint8_t small[32], large[32];
    fixture_open(&f, 1000);
    keep(&f, bytes_str("small"), small);
    set_age(&f, small, 0);
    keep(&f, bytes_of(content, sizeof content), large);
    assert_true(is_here(&f, large));
    assert_false(is_here(&f, small));
    fixture_close(&f);
}

static void a_directory_that_cannot_be_is_refused_by_name(void **state)
{
    (void)state;
    struct blobcache *c;
    char why[256] = "";
    assert_int_equal(blobcache_new("/proc/version/cache", 1, &c, why, sizeof why), CX_EIO);
    assert_non_null(strstr(why, "/proc/version/cache"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_kept_can_be_read_and_survives_a_restart),
        cmocka_unit_test(content_that_is_not_its_name_is_not_kept),
        cmocka_unit_test(a_dropped_writer_leaves_nothing),
        cmocka_unit_test(a_corrupt_blob_is_as_if_not_there),
        cmocka_unit_test(the_oldest_used_goes_when_it_is_full),
        cmocka_unit_test(one_larger_than_the_cache_is_kept_for_its_use),
        cmocka_unit_test(a_directory_that_cannot_be_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
