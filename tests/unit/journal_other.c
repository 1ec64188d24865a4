/* The journal's notes, and another state in its place. */
#include "tests/unit/journal_world.h"

static void note(struct world *w, const char *text)
{
    journal_note(w->j, bytes_str(text));
}

static void assert_note(const struct world *w, const char *text)
{
    assert_int_equal(w->found.note.len, strlen(text));
    assert_memory_equal(w->found.note.data, text, strlen(text));
}

static void reopen(struct world *w)
{
    close_world(w);
    assert_int_equal(open_world(w), 0);
    assert_false(w->wrong);
}

/* ---- Notes ---- */

static void test_last_note_comes_back(void **state)
{
    (void)state;
    struct world *w = new_world();
    assert_int_equal(open_world(w), 0);
    assert_int_equal(w->found.note.len, 0);
    note(w, "one");
    append(w, 1, 3);
    note(w, "two");
    append(w, 4, 5);
    reopen(w);
    assert_int_equal(w->found.lsn, 5);
    assert_int_equal(w->found.records, 5);
    assert_note(w, "two");
    note(w, "three");
    reopen(w);
    assert_note(w, "three");
    append(w, 6, 6);
    reopen(w);
    assert_int_equal(w->found.lsn, 6);
    assert_note(w, "three");
    close_world(w);
    free_world(w);
}

/* Records before a note are told of under the old generation or the new one, those behind it under the new
 * one. */
static void test_note_begins_a_generation(void **state)
{
    (void)state;
    struct world *w = new_world();
    assert_int_equal(open_world(w), 0);
    append(w, 1, 2);
    wait_held(w, 2);
    assert_int_equal(w->generation, 0);
    uint64_t generation = journal_note(w->j, bytes_str("mark"));
    journal_flush(w->j);
    while (w->generation < generation)
        posts_run(&w->posts, true);
    assert_int_equal(w->held, 2);
    append(w, 3, 3);
    wait_held(w, 3);
    assert_int_equal(w->generation, generation);
    close_world(w);
    free_world(w);
}

static void test_compaction_keeps_the_note(void **state)
{
    (void)state;
    struct world *w = new_world();
    assert_int_equal(open_world(w), 0);
    note(w, "kept");
    append(w, 1, 200);
    wait_held(w, 200);
    uint64_t bytes = journal_bytes(w->j);
    while (journal_bytes(w->j) >= bytes) {
        journal_compact(w->j);
        posts_run(&w->posts, false);
        sched_yield();
    }
    reopen(w);
    assert_true(w->found.records < 200);
    assert_int_equal(w->found.lsn, 200);
    assert_note(w, "kept");
    close_world(w);
    free_world(w);
}

/* Wherever the file is cut, a prefix comes back, with the note that belongs to it. */
static void test_cut_anywhere_with_notes(void **state)
{
    (void)state;
    struct world *w = new_world();
    assert_int_equal(open_world(w), 0);
    append(w, 1, 2);
    note(w, "A");
    append(w, 3, 4);
    note(w, "B");
    append(w, 5, 6);
    close_world(w);
    struct buf whole = slurp(w);
    for (size_t cut = JOURNAL_HEADER_BYTES; cut <= whole.len; cut++) {
        spill(w, whole.data, cut);
        assert_int_equal(open_world(w), 0);
        assert_false(w->wrong);
        if (w->found.lsn > 4)
            assert_note(w, "B");
        else if (w->found.lsn > 2)
            assert_true(w->found.note.len == 1);
        close_world(w);
    }
    buf_free(&whole);
    free_world(w);
}

/* ---- Another state ---- */

static void count(void *ctx, uint64_t generation)
{
    uint64_t *done = ctx;
    assert_int_equal(*done, 0);
    *done = generation;
}

/* A state at lsn, as the snapshots of these tests are. */
static uint64_t rebuild(struct world *w, uint64_t lsn, uint64_t *done)
{
    char text[32];
    int n = snprintf(text, sizeof text, "S%llu", (unsigned long long)lsn);
    struct journal_rebuild *r = journal_rebuild_begin(w->j, lsn);
    journal_rebuild_add(r, bytes_of(text, (size_t)n));
    *done = 0;
    journal_rebuild_commit(r, bytes_str("mine"), count, done);
    return lsn;
}

static void test_another_state_takes_its_place(void **state)
{
    (void)state;
    struct world *w = new_world();
    uint64_t done;
    assert_int_equal(open_world(w), 0);
    append(w, 1, 50);
    wait_held(w, 50);
    append(w, 51, 60); /* not written yet: of a history that is left */
    rebuild(w, 30, &done);
    append(w, 31, 33);
    journal_flush(w->j);
    while (!done || w->generation < done || w->held < 33)
        posts_run(&w->posts, true);
    assert_int_equal(w->held, 33);
    reopen(w);
    assert_int_equal(w->found.lsn, 33);
    assert_int_equal(w->found.records, 4);
    assert_int_equal(w->found.incarnation, 0x1234);
    assert_note(w, "mine");
    close_world(w);
    free_world(w);
}

static void test_abandoned_state_changes_nothing(void **state)
{
    (void)state;
    struct world *w = new_world();
    assert_int_equal(open_world(w), 0);
    append(w, 1, 5);
    struct journal_rebuild *r = journal_rebuild_begin(w->j, 3);
    journal_rebuild_add(r, bytes_str("S3"));
    journal_rebuild_abandon(r);
    reopen(w);
    assert_int_equal(w->found.lsn, 5);
    close_world(w);
    free_world(w);
}

/* One that was committed is in place when the journal has been closed; a compaction that runs is given up. */
static void test_another_state_in_a_compaction(void **state)
{
    (void)state;
    struct world *w = new_world();
    uint64_t done;
    assert_int_equal(open_world(w), 0);
    for (uint64_t round = 1; round <= 50; round++) {
        append(w, w->found.lsn + 1, w->found.lsn + 200);
        wait_held(w, w->found.lsn + 200);
        journal_compact(w->j);
        for (uint64_t i = 0; i < round * 5; i++)
            posts_run(&w->posts, false);
        rebuild(w, round * 10, &done);
        append(w, round * 10 + 1, round * 10 + 1);
        reopen(w);
        assert_int_equal(w->found.lsn, round * 10 + 1);
        assert_int_equal(w->found.records, 2);
        assert_note(w, "mine");
    }
    close_world(w);
    free_world(w);
}

/* A crash before it is in place leaves the old journal; what is left of the other file is removed. */
static void test_unfinished_other_state_is_removed(void **state)
{
    (void)state;
    struct world *w = new_world();
    char path[128];
    assert_int_equal(open_world(w), 0);
    append(w, 1, 5);
    close_world(w);
    path_of(w, path, "journal.other");
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs("half a journal", f);
    fclose(f);
    assert_int_equal(open_world(w), 0);
    assert_int_equal(w->found.lsn, 5);
    assert_int_equal(access(path, F_OK), -1);
    close_world(w);
    free_world(w);
}

int main(void)
{
    log_start("journal", LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_note_comes_back),
        cmocka_unit_test(test_note_begins_a_generation),
        cmocka_unit_test(test_compaction_keeps_the_note),
        cmocka_unit_test(test_cut_anywhere_with_notes),
        cmocka_unit_test(test_another_state_takes_its_place),
        cmocka_unit_test(test_abandoned_state_changes_nothing),
        cmocka_unit_test(test_another_state_in_a_compaction),
        cmocka_unit_test(test_unfinished_other_state_is_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
