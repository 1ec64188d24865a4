/* The journal and its disk: compaction while it is used, a disk that is full or fails, a process that is
 * killed. */
#include "tests/unit/journal_world.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* ---- Compaction ---- */

/* As the server's loop does, until a compaction has come to its end, well. */
static void wait_shorter(struct world *w, uint64_t bytes)
{
    while (journal_bytes(w->j) >= bytes) {
        journal_compact(w->j);
        posts_run(&w->posts, false);
        sched_yield();
    }
}

static void test_compaction_keeps_state_and_tail(void **state)
{
    (void)state;
    struct world *w = new_world();
    assert_int_equal(open_world(w), 0);
    append(w, 1, 20);
    wait_held(w, 20);
    journal_compact(w->j); /* too short yet */
    append(w, 21, 100);
    wait_held(w, 100);
    uint64_t bytes = journal_bytes(w->j);
    pthread_mutex_lock(&gate);
    journal_compact(w->j);
    append(w, 101, 140);
    wait_held(w, 140); /* nobody waits for a compaction */
    assert_true(journal_bytes(w->j) > bytes);
    pthread_mutex_unlock(&gate);
    wait_shorter(w, bytes);
    append(w, 141, 150);
    wait_held(w, 150);
    close_world(w);
    struct buf file = slurp(w);
    assert_true(file.len < bytes);
    buf_free(&file);
    assert_int_equal(open_world(w), 0);
    assert_int_equal(w->found.lsn, 150);
    assert_int_equal(w->found.records, 51); /* the snapshot of 100, and what came after it */
    assert_int_equal(w->found.incarnation, 0x1234);
    assert_false(w->wrong);
    append(w, 151, 160);
    close_world(w);
    assert_int_equal(open_world(w), 0);
    assert_int_equal(w->found.lsn, 160);
    assert_false(w->wrong);
    close_world(w);
    free_world(w);
}

static void test_compaction_again_and_again(void **state)
{
    (void)state;
    struct world *w = new_world();
    assert_int_equal(open_world(w), 0);
    for (uint64_t lsn = 1; lsn <= 20000; lsn++) {
        append(w, lsn, lsn);
        journal_flush(w->j);
        journal_compact(w->j);
        while (posts_run(&w->posts, false))
            ;
    }
    wait_held(w, 20000);
    wait_shorter(w, 400000);
    close_world(w);
    assert_int_equal(open_world(w), 0);
    assert_int_equal(w->found.lsn, 20000);
    assert_true(w->found.records < 20000);
    assert_false(w->wrong);
    close_world(w);
    free_world(w);
}

/* Closing does not wait for it, and the file is whole, old or new. */
static void test_closing_ends_a_compaction(void **state)
{
    (void)state;
    struct world *w = new_world();
    char path[128];
    path_of(w, path, "journal.new");
    for (uint64_t round = 0; round < 50; round++) {
        assert_int_equal(open_world(w), 0);
        assert_false(w->wrong);
        assert_int_equal(w->found.lsn, round * 100);
        append(w, round * 100 + 1, round * 100 + 100);
        wait_held(w, round * 100 + 100);
        journal_compact(w->j);
        for (uint64_t i = 0; i < round * 20; i++)
            posts_run(&w->posts, false);
        close_world(w);
        assert_int_equal(access(path, F_OK), -1);
    }
    free_world(w);
}

static void test_compaction_that_fails_changes_nothing(void **state)
{
    (void)state;
    struct world *w = new_world();
    char path[128];
    assert_int_equal(open_world(w), 0);
    path_of(w, path, "journal.new");
    assert_int_equal(mkdir(path, 0700), 0); /* in the way */
    append(w, 1, 100);
    wait_held(w, 100);
    journal_compact(w->j);
    posts_run(&w->posts, true);
    append(w, 101, 110);
    wait_held(w, 110);
    journal_compact(w->j); /* not tried again before it is twice as long */
    rmdir(path);
    close_world(w);
    assert_int_equal(open_world(w), 0);
    assert_int_equal(w->found.records, 110);
    assert_false(w->wrong);
    close_world(w);
    free_world(w);
}

/* What has rotted on the disk is found by a compaction, and not made good by it. */
static void test_compaction_finds_damage(void **state)
{
    (void)state;
    struct world *w = new_world();
    char path[128];
    assert_int_equal(open_world(w), 0);
    append(w, 1, 50);
    wait_held(w, 50);
    append(w, 51, 100);
    wait_held(w, 100);
    path_of(w, path, "journal");
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "rot", 3, 300), 3);
    close(fd);
    journal_compact(w->j);
    posts_run(&w->posts, true);
    assert_true(journal_bytes(w->j) > 1000);
    append(w, 101, 110);
    close_world(w);
    assert_int_equal(open_world(w), CX_EFAILED);
    free_world(w);
}

static void test_damaged_snapshot_is_refused(void **state)
{
    (void)state;
    struct world *w = new_world();
    assert_int_equal(open_world(w), 0);
    append(w, 1, 100);
    wait_held(w, 100);
    uint64_t bytes = journal_bytes(w->j);
    journal_compact(w->j);
    wait_shorter(w, bytes);
    close_world(w);
    struct buf whole = slurp(w);
    size_t snapshot = JOURNAL_HEADER_BYTES + JOURNAL_RECORD_HEAD + 4; /* "S100"; the log has a seal at most */
    assert_in_range(whole.len, snapshot, snapshot + JOURNAL_RECORD_HEAD);
    for (size_t at = 0; at < snapshot; at++) {
        whole.data[at] ^= 4;
        spill(w, whole.data, whole.len);
        assert_int_equal(open_world(w), CX_EFAILED);
        assert_false(w->wrong);
        whole.data[at] ^= 4;
    }
    for (size_t cut = 0; cut < snapshot; cut++) {
        spill(w, whole.data, cut);
        assert_int_equal(open_world(w), CX_EFAILED);
    }
    buf_free(&whole);
    free_world(w);
}

static void test_unfinished_compaction_is_dropped(void **state)
{
    (void)state;
    struct world *w = new_world();
    struct buf whole = make_small_journal(w);
    char path[128];
    path_of(w, path, "journal.new");
    FILE *f = fopen(path, "wb");
    fputs("half a snapshot", f);
    fclose(f);
    assert_int_equal(open_world(w), 0);
    assert_int_equal(w->found.lsn, 9);
    assert_int_equal(access(path, F_OK), -1);
    close_world(w);
    buf_free(&whole);
    free_world(w);
}

/* ---- The disk fails ---- */

/* In a child: files may not grow beyond 4 KiB, as on a full disk. It must die, and must not have said more is
 * held than is there. */
static void child_fills_disk(struct world *w, int report_fd)
{
    struct rlimit limit = {4096, 4096};
    signal(SIGXFSZ, SIG_IGN);
    if (open_world(w))
        _exit(9);
    setrlimit(RLIMIT_FSIZE, &limit);
    for (uint64_t lsn = 1; lsn < 1000; lsn++) {
        append(w, lsn, lsn);
        journal_flush(w->j);
        while (w->held < lsn)
            posts_run(&w->posts, true);
        if (write(report_fd, &w->held, sizeof w->held) < 0)
            _exit(9);
    }
    _exit(0);
}

static void test_full_disk_ends_the_process(void **state)
{
    (void)state;
    struct world *w = new_world();
    int report[2], status;
    assert_int_equal(pipe(report), 0);
    pid_t child = fork();
    if (child == 0)
        child_fills_disk(w, report[1]);
    close(report[1]);
    uint64_t held = 0;
    while (read(report[0], &held, sizeof held) == sizeof held)
        ;
    close(report[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), JOURNAL_EXIT);
    assert_true(held > 10);
    assert_int_equal(open_world(w), 0);
    assert_true(w->found.lsn >= held);
    assert_false(w->wrong);
    close_world(w);
    free_world(w);
}

/* Stands in for the C library's: the sync with this number fails, once. */
static atomic_int syncs;
static int bad_sync = -1;
int fdatasync(int fd)
{
    if (syncs++ == bad_sync) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

/* A sync that failed once is never tried again: the second might succeed and prove nothing. */
static void test_failed_sync_ends_the_process(void **state)
{
    (void)state;
    struct world *w = new_world();
    int report[2], status;
    assert_int_equal(pipe(report), 0);
    pid_t child = fork();
    if (child == 0) {
        bad_sync = syncs + 3;
        if (open_world(w))
            _exit(9);
        for (uint64_t lsn = 1;; lsn++) {
            append(w, lsn, lsn);
            wait_held(w, lsn);
            if (write(report[1], &lsn, sizeof lsn) < 0)
                _exit(9);
        }
    }
    close(report[1]);
    uint64_t held = 0;
    while (read(report[0], &held, sizeof held) == sizeof held)
        ;
    close(report[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), JOURNAL_EXIT);
    assert_int_equal(held, 3);
    free_world(w);
}

/* kill -9 in the middle of a stream of records: all that was said to be held is there. */
static void test_killed_process_loses_nothing_held(void **state)
{
    (void)state;
    struct world *w = new_world();
    int report[2];
    assert_int_equal(pipe(report), 0);
    pid_t child = fork();
    if (child == 0) {
        if (open_world(w))
            _exit(9);
        for (uint64_t lsn = 1;; lsn++) {
            append(w, lsn, lsn);
            journal_flush(w->j);
            uint64_t before = w->held;
            while (posts_run(&w->posts, false))
                ;
            if (w->held != before && write(report[1], &w->held, sizeof w->held) < 0)
                _exit(9);
        }
    }
    close(report[1]);
    uint64_t held = 0;
    while (held < 300 && read(report[0], &held, sizeof held) == sizeof held)
        ;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    while (read(report[0], &held, sizeof held) == sizeof held)
        ;
    close(report[0]);
    assert_true(held >= 300);
    assert_int_equal(open_world(w), 0);
    assert_true(w->found.lsn >= held);
    assert_false(w->wrong);
    close_world(w);
    free_world(w);
}

static void test_directory_is_locked(void **state)
{
    (void)state;
    struct world *w = new_world();
    int first = -1, second = -1;
    assert_int_equal(state_lock(w->dir, &first, w->why), 0);
    assert_int_equal(state_lock(w->dir, &second, w->why), CX_EEXIST);
    assert_int_equal(second, -1);
    assert_non_null(strstr(w->why, "another task server"));
    close(first);
    assert_int_equal(state_lock(w->dir, &second, w->why), 0);
    close(second);
    free_world(w);
}

static void test_unusable_directory_is_an_error(void **state)
{
    (void)state;
    struct world *w = new_world();
    char dir[64];
    strcpy(dir, w->dir);
    strcpy(w->dir, "/nowhere/at/all");
    assert_int_equal(open_world(w), CX_EIO);
    int fd;
    assert_int_equal(state_lock(w->dir, &fd, w->why), CX_EIO);
    assert_non_null(strstr(w->why, "/nowhere/at/all"));
    strcpy(w->dir, dir);
    free_world(w);
}

int main(void)
{
    log_start("journal", LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compaction_keeps_state_and_tail),
        cmocka_unit_test(test_compaction_again_and_again),
        cmocka_unit_test(test_closing_ends_a_compaction),
        cmocka_unit_test(test_compaction_that_fails_changes_nothing),
        cmocka_unit_test(test_compaction_finds_damage),
        cmocka_unit_test(test_damaged_snapshot_is_refused),
        cmocka_unit_test(test_unfinished_compaction_is_dropped),
        cmocka_unit_test(test_full_disk_ends_the_process),
        cmocka_unit_test(test_failed_sync_ends_the_process),
        cmocka_unit_test(test_killed_process_loses_nothing_held),
        cmocka_unit_test(test_directory_is_locked),
        cmocka_unit_test(test_unusable_directory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
