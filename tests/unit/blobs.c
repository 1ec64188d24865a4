/* Blobs: a name in the store is a whole blob of that hash, whatever was sent, and survives a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "proto/pki.h"
#include "taskserver/blobs.h"
#include "tests/unit/taskserver_poster.h"

struct world {
    char dir[64];
    struct posts posts;
    struct blobs *b;
    char why[STATE_WHY_MAX];
    int code; /* of the last `done` */
    int dones;
};

static const struct blobs_config limits = {.blob_max = 1000, .total_max = 2500, .ttl_us = 100};

static void open_world(struct world *w)
{
    struct blobs_config config = limits;
    config.dir = w->dir;
    config.poster = posts_poster(&w->posts);
    assert_int_equal(blobs_open(&config, 1000, &w->b, w->why), 0);
}

static void close_world(struct world *w)
{
    blobs_stop(w->b);
    while (posts_run(&w->posts, false))
        ;
    assert_int_equal(blobs_syncing(w->b), 0);
    blobs_free(w->b);
}

static struct world *new_world(void)
{
    struct world *w = calloc(1, sizeof *w);
    w->posts = (struct posts)POSTS_INIT;
    strcpy(w->dir, "/tmp/cx-blobs-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    open_world(w);
    return w;
}

/* Calls fn with each file in the store; returns how many there are. */
static int files(const struct world *w, void (*fn)(const char *path))
{
    char path[512];
    int n = 0;
    snprintf(path, sizeof path, "%s/blobs", w->dir);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir));) {
        if (d->d_name[0] == '.')
            continue;
        n++;
        snprintf(path, sizeof path, "%s/blobs/%s", w->dir, d->d_name);
        if (fn)
            fn(path);
    }
    closedir(dir);
    return n;
}

static void remove_file(const char *path)
{
    assert_int_equal(unlink(path), 0);
}

static void free_world(struct world *w)
{
    char path[512];
    close_world(w);
    files(w, remove_file);
    snprintf(path, sizeof path, "%s/blobs", w->dir);
    rmdir(path);
    rmdir(w->dir);
    free(w);
}

static void on_done(void *ctx, int code, const char *why)
{
    struct world *w = ctx;
    w->code = code;
    w->dones++;
    snprintf(w->why, sizeof w->why, "%s", why);
}

/* A blob of n bytes, all equal to `fill`, and its hash. */
static struct bytes blob_of(uint8_t *mem, size_t n, uint8_t fill, uint8_t *sha)
{
    memset(mem, fill, n);
    sha256_of(bytes_of(mem, n), sha);
    return bytes_of(mem, n);
}

static int put(struct world *w, const uint8_t *sha, struct bytes data, uint64_t announced)
{
    struct blob_put *p;
    int before = w->dones;
    int code = blob_put_begin(w->b, sha, announced, on_done, w, &p, w->why);
    if (code)
        return code;
    size_t half = data.len / 2;
    code = blob_put_add(p, bytes_of(data.data, half), false, 1000, w->why);
    if (!code)
        code = blob_put_add(p, bytes_of(data.data + half, data.len - half), true, 1000, w->why);
    if (code)
        return code;
    while (w->dones == before)
        posts_run(&w->posts, true);
    return w->code;
}

static bool get_equals(struct world *w, const uint8_t *sha, struct bytes data)
{
    struct blob_get *g;
    struct buf got = {0};
    bool last = false;
    if (blob_get_begin(w->b, sha, 1000, &g, w->why))
        return false;
    int code = 0;
    while (!last && !code)
        code = blob_get_next(g, 7, &got, &last);
    blob_get_end(g);
    bool equal = !code && bytes_equal(buf_bytes(&got), data);
    buf_free(&got);
    return equal;
}

static void test_put_then_get_also_after_restart(void **state)
{
    (void)state;
    struct world *w = new_world();
    uint8_t mem[500], sha[32];
    struct bytes data = blob_of(mem, sizeof mem, 'a', sha);
    assert_false(blobs_have(w->b, sha, 1000));
    assert_int_equal(put(w, sha, data, data.len), 0);
    assert_true(blobs_have(w->b, sha, 1000));
    assert_true(get_equals(w, sha, data));
    assert_int_equal(blobs_bytes(w->b), 500);
    close_world(w);
    open_world(w);
    assert_true(blobs_have(w->b, sha, 1000));
    assert_true(get_equals(w, sha, data));
    assert_int_equal(blobs_bytes(w->b), 500);
    free_world(w);
}

static void test_empty_blob(void **state)
{
    (void)state;
    struct world *w = new_world();
    uint8_t sha[32];
    sha256_of((struct bytes){0}, sha);
    assert_int_equal(put(w, sha, (struct bytes){0}, 0), 0);
    assert_true(get_equals(w, sha, (struct bytes){0}));
    free_world(w);
}

static void test_wrong_hash_is_refused_and_leaves_nothing(void **state)
{
    (void)state;
    struct world *w = new_world();
    uint8_t mem[100], sha[32];
    struct bytes data = blob_of(mem, sizeof mem, 'a', sha);
    sha[31] ^= 1;
    assert_int_equal(put(w, sha, data, data.len), CX_EPROTO);
    assert_non_null(strstr(w->why, "SHA-256"));
    assert_false(blobs_have(w->b, sha, 1000));
    sha[31] ^= 1;
    assert_false(blobs_have(w->b, sha, 1000));
    assert_int_equal(files(w, NULL), 0);
    assert_int_equal(w->dones, 0);
    free_world(w);
}

static void test_wrong_length_is_refused(void **state)
{
    (void)state;
    struct world *w = new_world();
    uint8_t mem[100], sha[32];
    struct bytes data = blob_of(mem, sizeof mem, 'a', sha);
    assert_int_equal(put(w, sha, data, 99), CX_EPROTO);
    assert_int_equal(put(w, sha, data, 101), CX_EPROTO);
    assert_int_equal(files(w, NULL), 0);
    assert_int_equal(put(w, sha, data, 100), 0);
    free_world(w);
}

static void test_quotas(void **state)
{
    (void)state;
    struct world *w = new_world();
    uint8_t mem[1001], sha[32];
    struct bytes data = blob_of(mem, 1001, 'a', sha);
    assert_int_equal(put(w, sha, data, data.len), CX_ELIMIT);
    assert_non_null(strstr(w->why, "1000"));
    data = blob_of(mem, 1000, 'a', sha);
    assert_int_equal(put(w, sha, data, data.len), 0);
    data = blob_of(mem, 1000, 'b', sha);
    assert_int_equal(put(w, sha, data, data.len), 0);
    data = blob_of(mem, 501, 'c', sha);
    assert_int_equal(put(w, sha, data, data.len), CX_EFULL);
    assert_non_null(strstr(w->why, "2500"));
    data = blob_of(mem, 500, 'c', sha);
    assert_int_equal(put(w, sha, data, data.len), 0);
    free_world(w);
}

/* What is announced counts at once, so that puts side by side cannot go over the quota together. */
static void test_puts_under_way_count(void **state)
{
    (void)state;
    struct world *w = new_world();
    uint8_t sha[32] = {1};
    struct blob_put *a, *b, *c;
    assert_int_equal(blob_put_begin(w->b, sha, 1000, on_done, w, &a, w->why), 0);
    assert_int_equal(blob_put_begin(w->b, sha, 1000, on_done, w, &b, w->why), 0);
    assert_int_equal(blob_put_begin(w->b, sha, 1000, on_done, w, &c, w->why), CX_EFULL);
    blob_put_abandon(a);
    assert_int_equal(blob_put_begin(w->b, sha, 1000, on_done, w, &c, w->why), 0);
    blob_put_abandon(b);
    blob_put_abandon(c);
    assert_int_equal(files(w, NULL), 0);
    assert_int_equal(w->dones, 0);
    free_world(w);
}

/* One whose size nobody has announced is held to the same limits, as it grows. */
static void test_put_of_any_size(void **state)
{
    (void)state;
    struct world *w = new_world();
    uint8_t mem[1001], sha[32];
    struct blob_put *p, *q;
    struct bytes data = blob_of(mem, 1000, 'a', sha);
    assert_int_equal(blob_put_begin_any(w->b, sha, on_done, w, &p, w->why), 0);
    assert_int_equal(blob_put_add(p, bytes_of(mem, 600), false, 1000, w->why), 0);
    assert_int_equal(blob_put_add(p, bytes_of(mem, 400), true, 1000, w->why), 0);
    while (w->dones < 1)
        posts_run(&w->posts, true);
    assert_int_equal(w->code, 0);
    assert_true(get_equals(w, sha, data));
    blob_of(mem, 1001, 'b', sha);
    assert_int_equal(blob_put_begin_any(w->b, sha, on_done, w, &p, w->why), 0);
    assert_int_equal(blob_put_add(p, bytes_of(mem, 1000), false, 1000, w->why), 0);
    assert_int_equal(blob_put_begin_any(w->b, sha, on_done, w, &q, w->why), 0);
    assert_int_equal(blob_put_add(q, bytes_of(mem, 501), false, 1000, w->why), CX_EFULL);
    assert_int_equal(blob_put_add(p, bytes_of(mem, 1), true, 1000, w->why), CX_ELIMIT);
    data = blob_of(mem, 1000, 'c', sha); /* what was reserved has been given back */
    assert_int_equal(put(w, sha, data, data.len), 0);
    assert_int_equal(files(w, NULL), 2);
    free_world(w);
}

static void test_two_puts_of_the_same_blob(void **state)
{
    (void)state;
    struct world *w = new_world();
    uint8_t mem[100], sha[32];
    struct bytes data = blob_of(mem, sizeof mem, 'a', sha);
    struct blob_put *a, *b;
    assert_int_equal(blob_put_begin(w->b, sha, 100, on_done, w, &a, w->why), 0);
    assert_int_equal(blob_put_begin(w->b, sha, 100, on_done, w, &b, w->why), 0);
    assert_int_equal(blob_put_add(a, data, true, 1000, w->why), 0);
    assert_int_equal(blob_put_add(b, data, true, 1000, w->why), 0);
    while (w->dones < 2)
        posts_run(&w->posts, true);
    assert_int_equal(files(w, NULL), 1);
    assert_int_equal(blobs_bytes(w->b), 100);
    assert_true(get_equals(w, sha, data));
    free_world(w);
}

static void test_abandoned_complete_put_is_kept_silently(void **state)
{
    (void)state;
    struct world *w = new_world();
    uint8_t mem[100], sha[32];
    struct bytes data = blob_of(mem, sizeof mem, 'a', sha);
    struct blob_put *p;
    assert_int_equal(blob_put_begin(w->b, sha, 100, on_done, w, &p, w->why), 0);
    assert_int_equal(blob_put_add(p, data, true, 1000, w->why), 0);
    blob_put_abandon(p);
    close_world(w);
    assert_int_equal(w->dones, 0);
    open_world(w);
    assert_true(get_equals(w, sha, data));
    free_world(w);
}

static void test_unused_blobs_expire(void **state)
{
    (void)state;
    struct world *w = new_world();
    uint8_t mem[100], one[32], two[32];
    struct bytes data = blob_of(mem, sizeof mem, 'a', one);
    assert_int_equal(put(w, one, data, data.len), 0);
    data = blob_of(mem, sizeof mem, 'b', two);
    assert_int_equal(put(w, two, data, data.len), 0);
    blobs_expire(w->b, 1100);
    assert_int_equal(blobs_count(w->b), 2);
    blobs_touch(w->b, two, 1050); /* a job uses it */
    blobs_expire(w->b, 1101);
    assert_false(blobs_have(w->b, one, 1101));
    assert_true(get_equals(w, two, data));
    assert_int_equal(files(w, NULL), 1);
    blobs_expire(w->b, 900); /* a clock that went back expires nothing */
    assert_int_equal(blobs_count(w->b), 1);
    free_world(w);
}

/* Files that are no blobs are not served, and leftovers of puts go at a start. */
static void test_other_files_are_no_blobs(void **state)
{
    (void)state;
    struct world *w = new_world();
    static const char *const names[] = {"put-7", "README",
                                        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeg"};
    char path[512];
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/blobs/%s", w->dir, names[i]);
        fclose(fopen(path, "w"));
    }
    close_world(w);
    open_world(w);
    assert_int_equal(blobs_count(w->b), 0);
    assert_int_equal(files(w, NULL), 2);
    free_world(w);
}

/* A name is 64 hex digits, whatever the hash: "../" and "/" cannot come about. */
static void test_names_cannot_lead_out(void **state)
{
    (void)state;
    struct world *w = new_world();
    uint8_t evil[32];
    struct blob_get *g;
    memcpy(evil, "../../../../../../etc/passwd\0\0\0\0", 32);
    assert_int_equal(blob_get_begin(w->b, evil, 1000, &g, w->why), CX_ENOTFOUND);
    assert_null(strchr(w->why, '/'));
    char hex[BLOB_HEX_MAX];
    blob_hex(evil, hex);
    assert_int_equal(strspn(hex, "0123456789abcdef"), 64);
    free_world(w);
}

static void test_vanished_file_is_not_found(void **state)
{
    (void)state;
    struct world *w = new_world();
    uint8_t mem[100], sha[32];
    struct blob_get *g;
    struct bytes data = blob_of(mem, sizeof mem, 'a', sha);
    assert_int_equal(put(w, sha, data, data.len), 0);
    files(w, remove_file);
    assert_int_equal(blob_get_begin(w->b, sha, 1000, &g, w->why), CX_ENOTFOUND);
    assert_false(blobs_have(w->b, sha, 1000)); /* so it can be put again */
    assert_int_equal(put(w, sha, data, data.len), 0);
    assert_true(get_equals(w, sha, data));
    free_world(w);
}

static void damage_file(const char *path)
{
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "!", 1, 50), 1);
    close(fd);
}

static void test_damaged_file_goes_and_can_be_put_again(void **state)
{
    (void)state;
    struct world *w = new_world();
    uint8_t mem[100], sha[32];
    struct bytes data = blob_of(mem, sizeof mem, 'a', sha);
    assert_int_equal(put(w, sha, data, data.len), 0);
    files(w, damage_file);
    assert_true(blobs_have(w->b, sha, 1000)); /* nobody has looked yet */
    assert_false(get_equals(w, sha, data));
    assert_false(blobs_have(w->b, sha, 1000));
    assert_int_equal(put(w, sha, data, data.len), 0);
    assert_true(get_equals(w, sha, data));
    free_world(w);
}

int main(void)
{
    log_start("blobs", LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_then_get_also_after_restart),
        cmocka_unit_test(test_empty_blob),
        cmocka_unit_test(test_wrong_hash_is_refused_and_leaves_nothing),
        cmocka_unit_test(test_wrong_length_is_refused),
        cmocka_unit_test(test_quotas),
        cmocka_unit_test(test_puts_under_way_count),
        cmocka_unit_test(test_put_of_any_size),
        cmocka_unit_test(test_two_puts_of_the_same_blob),
        cmocka_unit_test(test_abandoned_complete_put_is_kept_silently),
        cmocka_unit_test(test_unused_blobs_expire),
        cmocka_unit_test(test_other_files_are_no_blobs),
        cmocka_unit_test(test_names_cannot_lead_out),
        cmocka_unit_test(test_vanished_file_is_not_found),
        cmocka_unit_test(test_damaged_file_goes_and_can_be_put_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
