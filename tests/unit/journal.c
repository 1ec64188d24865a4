/* The journal: whatever happens to its file, a start gives a prefix of what was written that holds all that
 * was promised, or refuses and says where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/id.h"
#include "base/log.h"
#include "taskserver/journal.h"
#include "tests/unit/taskserver_poster.h"

enum { RECORDS_MAX = 4096 };

/* Record n is n%37+1 bytes made from n: any two differ. */
static struct bytes record_of(uint64_t n, uint8_t *mem)
{
    size_t len = n % 37 + 1;
    for (size_t i = 0; i < len; i++)
        mem[i] = (uint8_t)(n * 31 + i * 7 + (n >> 8));
    return bytes_of(mem, len);
}

struct world {
    char dir[64];
    struct posts posts;
    struct journal *j;
    struct journal_found found;
    char why[STATE_WHY_MAX];
    uint64_t held;       /* last lsn told */
    uint64_t replayed;   /* lsn of the last record replayed */
    uint64_t records;    /* replayed */
    bool wrong;          /* a replayed record was not the one written */
    uint64_t refuse_lsn; /* replay refuses this one */
};

static void on_held(void *ctx, uint64_t lsn)
{
    struct world *w = ctx;
    assert_true(lsn > w->held);
    w->held = lsn;
}

/* Snapshots in these tests are one record that holds the lsn in decimal; others are record_of(lsn). */
static bool on_replay(void *ctx, struct bytes rec, uint64_t lsn)
{
    struct world *w = ctx;
    uint8_t mem[64];
    char text[32];
    int n = snprintf(text, sizeof text, "S%llu", (unsigned long long)lsn);
    if (lsn == w->refuse_lsn)
        return false;
    bool snapshot = w->records == 0 && bytes_equal(rec, bytes_of(text, (size_t)n));
    if (!snapshot && (lsn != w->replayed + 1 || !bytes_equal(rec, record_of(lsn, mem))))
        w->wrong = true;
    w->replayed = lsn;
    w->records++;
    return true;
}

/* A machine whose state is how many records it has seen; it can be made to wait before it begins. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *machine_begin(void *ctx)
{
    (void)ctx;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return calloc(1, sizeof(struct world));
}

static void machine_snapshot(const void *state, void (*emit)(void *ctx, struct bytes record), void *ctx)
{
    const struct world *w = state;
    char text[32];
    int n = snprintf(text, sizeof text, "S%llu", (unsigned long long)w->replayed);
    assert_false(w->wrong);
    if (w->replayed)
        emit(ctx, bytes_of(text, (size_t)n));
}

static const struct journal_machine machine = {machine_begin, on_replay, machine_snapshot, free};

static int open_world(struct world *w)
{
    struct journal_config config = {.dir = w->dir,
                                    .poster = posts_poster(&w->posts),
                                    .held = on_held,
                                    .machine = &machine,
                                    .ctx = w,
                                    .compact_bytes = 1000};
    w->held = w->replayed = w->records = 0;
    w->wrong = false;
    w->why[0] = 0;
    int code = journal_open(&config, 0x1234, on_replay, &w->j, &w->found, w->why);
    if (code == 0)
        w->held = w->found.lsn;
    return code;
}

static void close_world(struct world *w)
{
    journal_stop(w->j);
    while (posts_run(&w->posts, false))
        ;
    journal_free(w->j);
    w->j = NULL;
}

static struct world *new_world(void)
{
    struct world *w = calloc(1, sizeof *w);
    w->posts = (struct posts)POSTS_INIT;
    strcpy(w->dir, "/tmp/cx-journal-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    return w;
}

static void path_of(const struct world *w, char *path, const char *name)
{
    snprintf(path, 128, "%s/%s", w->dir, name);
}

static void free_world(struct world *w)
{
    char path[128];
    static const char *const names[] = {"journal", "journal.new", "lock"};
    for (unsigned i = 0; i < 3; i++) {
        path_of(w, path, names[i]);
        unlink(path);
    }
    rmdir(w->dir);
    free(w);
}

static void append(struct world *w, uint64_t from, uint64_t to)
{
    uint8_t mem[64];
    for (uint64_t lsn = from; lsn <= to; lsn++)
        journal_append(w->j, lsn, record_of(lsn, mem));
}

static void wait_held(struct world *w, uint64_t lsn)
{
    journal_flush(w->j);
    while (w->held < lsn)
        posts_run(&w->posts, true);
}

static struct buf slurp(const struct world *w)
{
    char path[128];
    path_of(w, path, "journal");
    struct buf b = {0};
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    for (int c; (c = fgetc(f)) != EOF;)
        buf_add(&b, &(uint8_t){(uint8_t)c}, 1);
    fclose(f);
    return b;
}

static void spill(const struct world *w, const void *data, size_t len)
{
    char path[128];
    path_of(w, path, "journal");
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
}

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

static struct buf make_small_journal(struct world *w)
{
    assert_int_equal(open_world(w), 0);
    append(w, 1, 3);
    wait_held(w, 3);
    append(w, 4, 4);
    wait_held(w, 4);
    append(w, 5, 9);
    close_world(w);
    return slurp(w);
}

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
