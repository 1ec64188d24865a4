/* The journal: whatever happens to its file, a start gives a prefix of what was written that holds all that
 * was promised, or refuses and says where. */
#include "tests/unit/journal_world.h"

/* ---- What was written comes back ---- */

static void test_replays_what_was_held(void **state)
{
    (void)state;
    struct world *w = new_world();
    assert_int_equal(open_world(w), 0);
    assert_int_equal(w->found.records, 0);
    append(w, 1, 10);
    wait_held(w, 10);
    append(w, 11, 500);
    close_world(w);
    assert_int_equal(w->held, 500);
    assert_int_equal(open_world(w), 0);
    assert_int_equal(w->found.lsn, 500);
    assert_int_equal(w->found.records, 500);
    assert_int_equal(w->found.incarnation, 0x1234);
    assert_int_equal(w->found.torn_bytes, 0);
    assert_false(w->wrong);
    append(w, 501, 510);
    close_world(w);
    assert_int_equal(open_world(w), 0);
    assert_int_equal(w->found.lsn, 510);
    assert_false(w->wrong);
    close_world(w);
    free_world(w);
}

/* on_held checks that what is reported only grows; here: that it never runs ahead of what was appended. */
static void test_groups_are_held_in_order(void **state)
{
    (void)state;
    struct world *w = new_world();
    assert_int_equal(open_world(w), 0);
    for (uint64_t lsn = 1; lsn <= 2000; lsn++) {
        append(w, lsn, lsn);
        journal_flush(w->j);
        while (posts_run(&w->posts, false))
            assert_true(w->held <= lsn);
    }
    wait_held(w, 2000);
    assert_int_equal(w->held, 2000);
    close_world(w);
    free_world(w);
}

/* ---- Damage ---- */

static void test_cut_anywhere_gives_a_prefix(void **state)
{
    (void)state;
    struct world *w = new_world();
    struct buf whole = make_small_journal(w);
    uint64_t before = 0;
    for (size_t cut = 0; cut <= whole.len; cut++) {
        spill(w, whole.data, cut);
        int code = open_world(w);
        if (cut < JOURNAL_HEADER_BYTES) {
            assert_int_equal(code, CX_EFAILED);
            continue;
        }
        assert_int_equal(code, 0);
        assert_false(w->wrong);
        assert_true(w->found.lsn >= before);
        before = w->found.lsn;
        append(w, w->found.lsn + 1, w->found.lsn + 2); /* goes on from there */
        uint64_t last = w->found.lsn + 2;
        close_world(w);
        assert_int_equal(open_world(w), 0);
        assert_int_equal(w->found.lsn, last);
        assert_int_equal(w->found.torn_bytes, 0);
        assert_false(w->wrong);
        close_world(w);
    }
    assert_int_equal(before, 9);
    buf_free(&whole);
    free_world(w);
}

/* All nine records were promised, and the seal behind them says so: a flip is found, or it hit the last seal.
 */
static void test_flip_anywhere_is_found(void **state)
{
    (void)state;
    struct world *w = new_world();
    struct buf whole = make_small_journal(w);
    size_t last_seal = whole.len - JOURNAL_RECORD_HEAD;
    for (size_t at = 0; at < whole.len; at++) {
        whole.data[at] ^= (uint8_t)(1 << at % 8);
        spill(w, whole.data, whole.len);
        int code = open_world(w);
        assert_false(w->wrong);
        if (code == 0) {
            assert_int_equal(w->found.lsn, 9); /* only a record of no data was hit */
            close_world(w);
        } else {
            assert_int_equal(code, CX_EFAILED);
            assert_true(at < last_seal);
            assert_non_null(strstr(w->why, w->dir));
            struct buf after = slurp(w);
            assert_true(bytes_equal(buf_bytes(&after), buf_bytes(&whole)));
            buf_free(&after);
        }
        whole.data[at] ^= (uint8_t)(1 << at % 8);
    }
    buf_free(&whole);
    free_world(w);
}

static void test_refusal_names_offset_and_next_step(void **state)
{
    (void)state;
    struct world *w = new_world();
    struct buf whole = make_small_journal(w);
    whole.data[JOURNAL_HEADER_BYTES + JOURNAL_RECORD_HEAD] ^= 1; /* in the data of record 1 */
    spill(w, whole.data, whole.len);
    assert_int_equal(open_world(w), CX_EFAILED);
    assert_non_null(strstr(w->why, "offset 56"));
    assert_non_null(strstr(w->why, "record 1"));
    assert_non_null(strstr(w->why, "Restore"));
    buf_free(&whole);
    free_world(w);
}

/* A power loss may keep the later pages of a group that was never synced and lose the earlier ones. */
static void test_hole_in_an_unsynced_group_is_a_torn_tail(void **state)
{
    (void)state;
    struct world *w = new_world();
    assert_int_equal(open_world(w), 0);
    append(w, 1, 3);
    wait_held(w, 3);
    close_world(w);
    struct buf synced = slurp(w);
    assert_int_equal(open_world(w), 0);
    append(w, 4, 20);
    close_world(w);
    struct buf whole = slurp(w);
    memset(whole.data + synced.len, 0, 100);
    spill(w, whole.data, whole.len - JOURNAL_RECORD_HEAD); /* the seal is written only behind a sync */
    assert_int_equal(open_world(w), 0);
    assert_int_equal(w->found.lsn, 3);
    assert_true(w->found.torn_bytes > 0);
    assert_false(w->wrong);
    close_world(w);
    buf_free(&synced);
    buf_free(&whole);
    free_world(w);
}

static void test_lost_seal_is_no_damage(void **state)
{
    (void)state;
    struct world *w = new_world();
    assert_int_equal(open_world(w), 0);
    append(w, 1, 3);
    close_world(w);
    struct buf first = slurp(w);
    assert_int_equal(open_world(w), 0);
    append(w, 4, 6);
    close_world(w);
    struct buf whole = slurp(w);
    memset(whole.data + first.len - JOURNAL_RECORD_HEAD, 0, JOURNAL_RECORD_HEAD);
    spill(w, whole.data, whole.len);
    assert_int_equal(open_world(w), 0);
    assert_int_equal(w->found.lsn, 6);
    assert_false(w->wrong);
    close_world(w);
    buf_free(&first);
    buf_free(&whole);
    free_world(w);
}

static void test_records_of_another_journal_do_not_check(void **state)
{
    (void)state;
    struct world *w = new_world();
    struct buf mine = make_small_journal(w);
    mine.data[16] ^= 1; /* the incarnation, with a header sum that fits */
    uint64_t sum = hash64(mine.data, 48, 0);
    for (int i = 0; i < 8; i++)
        mine.data[48 + i] = (uint8_t)(sum >> 8 * i);
    spill(w, mine.data, mine.len);
    assert_int_equal(open_world(w), 0);
    assert_int_equal(w->found.records, 0);
    close_world(w);
    buf_free(&mine);
    free_world(w);
}

static void test_record_that_does_not_fit_the_state_is_refused(void **state)
{
    (void)state;
    struct world *w = new_world();
    struct buf whole = make_small_journal(w);
    w->refuse_lsn = 5;
    assert_int_equal(open_world(w), CX_EFAILED);
    assert_non_null(strstr(w->why, "record 5"));
    buf_free(&whole);
    free_world(w);
}

static void test_other_version_is_refused(void **state)
{
    (void)state;
    struct world *w = new_world();
    struct buf whole = make_small_journal(w);
    whole.data[8] = 99;
    uint64_t sum = hash64(whole.data, 48, 0);
    for (int i = 0; i < 8; i++)
        whole.data[48 + i] = (uint8_t)(sum >> 8 * i);
    spill(w, whole.data, whole.len);
    assert_int_equal(open_world(w), CX_EFAILED);
    assert_non_null(strstr(w->why, "version 99"));
    buf_free(&whole);
    free_world(w);
}

int main(void)
{
    log_start("journal", LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replays_what_was_held),
        cmocka_unit_test(test_groups_are_held_in_order),
        cmocka_unit_test(test_cut_anywhere_gives_a_prefix),
        cmocka_unit_test(test_flip_anywhere_is_found),
        cmocka_unit_test(test_refusal_names_offset_and_next_step),
        cmocka_unit_test(test_hole_in_an_unsynced_group_is_a_torn_tail),
        cmocka_unit_test(test_lost_seal_is_no_damage),
        cmocka_unit_test(test_records_of_another_journal_do_not_check),
        cmocka_unit_test(test_record_that_does_not_fit_the_state_is_refused),
        cmocka_unit_test(test_other_version_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
