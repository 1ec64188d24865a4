/* What a backup may say it keeps: which blobs a record names, and how far none is missing. */
#include "tests/unit/ts_rig.h"

#include "taskserver/blobgate.h"

static const uint8_t *hash_of(uint64_t n)
{
    static uint8_t sha256[8][BLOB_HASH_BYTES];
    static unsigned turn;
    uint8_t *h = sha256[turn++ % 8];
    memset(h, 0, BLOB_HASH_BYTES);
    memcpy(h, &n, sizeof n);
    return h;
}

/* ---- The set ---- */

static void test_set_keeps_order_and_forgets(void **state)
{
    (void)state;
    struct blobset s = {0};
    assert_null(blobset_find(&s, hash_of(1)));
    for (uint64_t n = 0; n < 10000; n++)
        blobset_add(&s, hash_of(n), n);
    for (uint64_t n = 0; n < 10000; n += 2)
        blobset_remove(&s, blobset_find(&s, hash_of(n)));
    assert_int_equal(s.count, 5000);
    uint64_t want = 1;
    for (const struct blobset_item *item = s.first; item; item = item->next, want += 2)
        assert_int_equal(item->number, want);
    assert_int_equal(want, 10001);
    for (uint64_t n = 0; n < 10000; n++)
        assert_int_equal(blobset_find(&s, hash_of(n)) != NULL, n % 2);
    assert_int_equal(s.last->number, 9999);
    blobset_free(&s);
    assert_null(blobset_find(&s, hash_of(1)));
    blobset_add(&s, hash_of(1), 7);
    assert_ptr_equal(s.first, s.last);
    blobset_free(&s);
}

/* ---- The gate ---- */

static void test_limit_is_before_the_first_that_lacks_one(void **state)
{
    (void)state;
    struct blobgate g = {0};
    assert_int_equal(blobgate_limit(&g), UINT64_MAX);
    blobgate_have(&g, hash_of(1));
    blobgate_miss(&g, 5, hash_of(1));
    blobgate_miss(&g, 5, hash_of(2));
    blobgate_miss(&g, 9, hash_of(3));
    blobgate_miss(&g, 12, hash_of(1)); /* known since 5 */
    assert_int_equal(blobgate_limit(&g), 4);
    blobgate_have(&g, hash_of(2));
    assert_int_equal(blobgate_limit(&g), 4);
    blobgate_have(&g, hash_of(1));
    assert_int_equal(blobgate_limit(&g), 8);
    blobgate_have(&g, hash_of(1));
    assert_int_equal(blobgate_limit(&g), 8);
    blobgate_have(&g, hash_of(3));
    assert_int_equal(blobgate_limit(&g), UINT64_MAX);
    blobgate_miss(&g, 12, hash_of(3)); /* gone again */
    assert_int_equal(blobgate_limit(&g), 11);
    blobgate_free(&g);
    assert_int_equal(blobgate_limit(&g), UINT64_MAX);
}

/* Against the obvious: a list of (record, blob). */
static void test_gate_agrees_with_a_list(void **state)
{
    (void)state;
    enum { RECORDS = 400, BLOBS = 40 };
    struct blobgate g = {0};
    bool have[BLOBS] = {0};
    uint64_t named[RECORDS], seed = 7;
    for (uint64_t lsn = 1; lsn <= RECORDS; lsn++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        named[lsn - 1] = (seed >> 33) % BLOBS;
        if (!have[named[lsn - 1]])
            blobgate_miss(&g, lsn, hash_of(named[lsn - 1]));
        if (seed >> 62 == 0) {
            uint64_t came = (seed >> 40) % BLOBS;
            have[came] = true;
            blobgate_have(&g, hash_of(came));
        }
        uint64_t limit = 0;
        while (limit < lsn && have[named[limit]])
            limit++;
        assert_int_equal(blobgate_limit(&g), limit == lsn ? UINT64_MAX : limit);
    }
    blobgate_free(&g);
}

/* ---- What a record names ---- */

struct named {
    uint8_t sha256[16][BLOB_HASH_BYTES];
    size_t n;
};

static void keep_names(void *ctx, struct bytes record)
{
    struct named *all = ctx;
    const uint8_t *sha256[TS_RECORD_BLOBS_MAX];
    size_t n = ts_record_blobs(record, sha256, TS_RECORD_BLOBS_MAX);
    for (size_t i = 0; i < n; i++) {
        assert_true(sha256[i] >= record.data && sha256[i] + BLOB_HASH_BYTES <= record.data + record.len);
        assert_true(all->n < 16);
        memcpy(all->sha256[all->n++], sha256[i], BLOB_HASH_BYTES);
    }
}

static struct named names_of_log(const struct rig *r)
{
    struct named all = {0};
    struct reader at = reader_of(buf_bytes(&r->log.bytes));
    while (reader_more(&at))
        keep_names(&all, get_raw(&at, get_u64(&at)));
    return all;
}

static struct named names_of_state(const struct rig *r)
{
    struct named all = {0};
    ts_snapshot(r->ts, keep_names, &all);
    return all;
}

static void submit_with(struct rig *r, uint64_t job, uint32_t modules, bool input)
{
    struct ts_submit s = rig_submission(job, (struct bytes){0}, 0);
    static const char *const arch[] = {"x86_64", "aarch64", "riscv64", ""};
    s.modules = modules;
    for (uint32_t i = 0; i < modules; i++) {
        strcpy(s.module[i].arch, arch[i]);
        memcpy(s.module[i].sha256, hash_of(10 * job + i), BLOB_HASH_BYTES);
    }
    s.has_input = input;
    memcpy(s.input, hash_of(10 * job + 9), BLOB_HASH_BYTES);
    rig_submit_as(r, &s);
}

static void assert_named(const struct named *all, size_t i, uint64_t n)
{
    assert_true(i < all->n);
    assert_memory_equal(all->sha256[i], hash_of(n), BLOB_HASH_BYTES);
}

static void test_submission_names_modules_and_input(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, (struct ts_config){0});
    submit_with(&r, 1, TS_MODULES_MAX, true);
    struct named all = names_of_log(&r);
    assert_int_equal(all.n, TS_MODULES_MAX + 1);
    for (uint32_t i = 0; i < TS_MODULES_MAX; i++)
        assert_named(&all, i, 10 + i);
    assert_named(&all, TS_MODULES_MAX, 19);
    submit_with(&r, 2, 1, false);
    all = names_of_log(&r);
    assert_int_equal(all.n, TS_MODULES_MAX + 2);
    assert_named(&all, TS_MODULES_MAX + 1, 20);
    rig_close(&r);
}

/* Of a snapshot's jobs, those that are over need nothing: their blobs may have expired. */
static void test_snapshot_names_those_of_running_jobs(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, (struct ts_config){0});
    submit_with(&r, 1, 1, true);
    submit_with(&r, 2, 2, false);
    struct named all = names_of_state(&r);
    assert_int_equal(all.n, 4);
    rig_client(&r, TS_CANCEL, 100, 1, "ann");
    all = names_of_state(&r);
    assert_int_equal(all.n, 2);
    assert_named(&all, 0, 20);
    assert_named(&all, 1, 21);
    rig_close(&r);
}

static void test_other_bytes_name_nothing(void **state)
{
    (void)state;
    struct rig r;
    const uint8_t *sha256[TS_RECORD_BLOBS_MAX];
    rig_open(&r, (struct ts_config){0});
    submit_with(&r, 1, 2, true);
    struct reader at = reader_of(buf_bytes(&r.log.bytes));
    struct bytes record = get_raw(&at, get_u64(&at));
    assert_int_equal(ts_record_blobs(record, sha256, TS_RECORD_BLOBS_MAX), 3);
    assert_int_equal(ts_record_blobs(record, sha256, 2), 2);
    for (size_t cut = 0; cut < record.len; cut++)
        assert_int_equal(ts_record_blobs(bytes_of(record.data, cut), sha256, TS_RECORD_BLOBS_MAX), 0);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_keeps_order_and_forgets),
        cmocka_unit_test(test_limit_is_before_the_first_that_lacks_one),
        cmocka_unit_test(test_gate_agrees_with_a_list),
        cmocka_unit_test(test_submission_names_modules_and_input),
        cmocka_unit_test(test_snapshot_names_those_of_running_jobs),
        cmocka_unit_test(test_other_bytes_name_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
