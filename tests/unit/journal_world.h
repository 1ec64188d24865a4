/* A journal in a directory of its own, and a machine that checks what it is given, for tests of the journal.
 */
#ifndef TESTS_UNIT_JOURNAL_WORLD_H
#define TESTS_UNIT_JOURNAL_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/id.h"
#include "base/log.h"
#include "taskserver/journal.h"
#include "tests/unit/taskserver_poster.h"

/* Record n is n%37+1 bytes made from n: any two differ. */
static inline struct bytes record_of(uint64_t n, uint8_t *mem)
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
    uint64_t generation; /* told with it */
    uint64_t replayed;   /* lsn of the last record replayed */
    uint64_t records;    /* replayed */
    bool wrong;          /* a replayed record was not the one written */
    uint64_t refuse_lsn; /* replay refuses this one */
};

static inline void on_held(void *ctx, uint64_t lsn, uint64_t generation)
{
    struct world *w = ctx;
    assert_true(generation > w->generation || lsn > w->held);
    assert_true(generation >= w->generation);
    w->held = lsn;
    w->generation = generation;
}

/* Snapshots in these tests are one record that holds the lsn in decimal; others are record_of(lsn). */
static inline bool on_replay(void *ctx, struct bytes rec, uint64_t lsn)
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

static inline void *machine_begin(void *ctx)
{
    (void)ctx;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return calloc(1, sizeof(struct world));
}

static inline void machine_snapshot(const void *state, void (*emit)(void *ctx, struct bytes record),
                                    void *ctx)
{
    const struct world *w = state;
    char text[32];
    int n = snprintf(text, sizeof text, "S%llu", (unsigned long long)w->replayed);
    assert_false(w->wrong);
    if (w->replayed)
        emit(ctx, bytes_of(text, (size_t)n));
}

static const struct journal_machine machine = {machine_begin, on_replay, machine_snapshot, free};

static inline int open_world(struct world *w)
{
    struct journal_config config = {.dir = w->dir,
                                    .poster = posts_poster(&w->posts),
                                    .held = on_held,
                                    .machine = &machine,
                                    .ctx = w,
                                    .compact_bytes = 1000};
    w->held = w->generation = w->replayed = w->records = 0;
    journal_found_free(&w->found);
    w->wrong = false;
    w->why[0] = 0;
    int code = journal_open(&config, 0x1234, on_replay, &w->j, &w->found, w->why);
    if (code == 0)
        w->held = w->found.lsn;
    return code;
}

static inline void close_world(struct world *w)
{
    journal_stop(w->j);
    while (posts_run(&w->posts, false))
        ;
    journal_free(w->j);
    w->j = NULL;
}

static inline struct world *new_world(void)
{
    struct world *w = calloc(1, sizeof *w);
    w->posts = (struct posts)POSTS_INIT;
    strcpy(w->dir, "/tmp/cx-journal-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    return w;
}

static inline void path_of(const struct world *w, char *path, const char *name)
{
    snprintf(path, 128, "%s/%s", w->dir, name);
}

static inline void free_world(struct world *w)
{
    char path[128];
    static const char *const names[] = {"journal", "journal.new", "journal.other", "lock"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        path_of(w, path, names[i]);
        unlink(path);
    }
    rmdir(w->dir);
    journal_found_free(&w->found);
    free(w);
}

static inline void append(struct world *w, uint64_t from, uint64_t to)
{
    uint8_t mem[64];
    for (uint64_t lsn = from; lsn <= to; lsn++)
        journal_append(w->j, lsn, record_of(lsn, mem));
}

static inline void wait_held(struct world *w, uint64_t lsn)
{
    journal_flush(w->j);
    while (w->held < lsn)
        posts_run(&w->posts, true);
}

static inline struct buf slurp(const struct world *w)
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

static inline void spill(const struct world *w, const void *data, size_t len)
{
    char path[128];
    path_of(w, path, "journal");
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
}

static inline struct buf make_small_journal(struct world *w)
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

#endif
