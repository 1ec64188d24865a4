#include "taskserver/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "taskserver/journal_compact.h"

enum {
    KEPT_BYTES = 16 << 20,    /* a buffer that grew beyond this is given back */
    BEHIND_BYTES = 256 << 10, /* a new file that lags no more than this is put in place */
};

/* Records go through three buffers: `fill` grows on the reactor, `queued` waits, `writing` is with the disk.
 * They change places, so no record is copied twice and none needs memory of its own. */
struct journal {
    struct journal_config config;
    char path[STATE_PATH_MAX], path_new[STATE_PATH_MAX]; /* of a compaction */
    char path_other[STATE_PATH_MAX];                     /* of another state */
    uint64_t incarnation;

    /* The reactor's. */
    struct buf fill;
    uint64_t last;          /* lsn of the last record appended */
    uint64_t told;          /* lsn last reported as held ... */
    uint64_t told_gen;      /* ... and its generation */
    uint64_t generation;    /* of what is appended now */
    uint64_t bytes;         /* of the file and all that is on its way to it */
    uint64_t compact_bytes; /* below this a compaction is not worth it */
    uint64_t snapshot_len;  /* of the snapshot at the file's head */
    uint64_t compact_from_us;
    bool compacting; /* from its start until its end has been told */
    journal_rebuilt_fn *rebuilt;
    void *rebuilt_ctx;
    uint64_t rebuilt_gen;

    pthread_t thread, compactor;
    pthread_mutex_t lock; /* guards the following */
    pthread_cond_t more;  /* for the disk thread */
    pthread_cond_t less;  /* for a reactor that waits for room */
    struct buf queued;
    uint64_t queued_lsn, queued_gen;
    uint64_t held, held_gen;
    struct journal_rebuild *rebuild; /* owned; committed, and to be put in place */
    uint64_t end;                    /* of the file, after the last group or seal */
    uint64_t on_its_way;             /* bytes of the group that is being written, not in end yet */
    bool posted, stop;
    enum { COMPACT_NOT, COMPACT_READY, COMPACT_DONE, COMPACT_FAILED } compact; /* the new file's state */

    struct compaction compaction; /* the compactor's, until COMPACT_READY; then the disk thread's */

    /* The disk thread's, and of open before it starts. */
    int fd;
    struct buf writing;
};

/* A whole file, in memory. */
struct journal_rebuild {
    struct journal *journal; /* borrowed */
    struct buf file;
    uint64_t lsn, records, snapshot_bytes;
    uint64_t generation;
};

static void swap(struct buf *a, struct buf *b)
{
    struct buf t = *a;
    *a = *b;
    *b = t;
}

/* ---- The disk thread: groups ---- */

static void die(const struct journal *j, const char *what)
{
    log_error(
        "journal %s: %s: %s. Nothing more can be promised, so this server ends; put the disk in order and "
        "start it again",
        j->path, what, strerror(errno));
    _exit(JOURNAL_EXIT);
}

static void write_all(const struct journal *j, int fd, struct bytes data)
{
    while (data.len) {
        ssize_t n = write(fd, data.data, data.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            die(j, "cannot write");
        data.data += n;
        data.len -= (size_t)n;
    }
}

static void tell_news(void *ctx);

/* With the lock held: the reactor is to look at what is new; true when it has to be told. */
static bool news(struct journal *j)
{
    bool post = !j->posted;
    j->posted = true;
    return post;
}

static void post_news(struct journal *j, bool post)
{
    if (post)
        j->config.poster.post(j->config.poster.reactor, tell_news, j);
}

static void write_group(struct journal *j, uint64_t lsn, uint64_t generation)
{
    journal_record_mark(j->writing.data, j->incarnation);
    write_all(j, j->fd, buf_bytes(&j->writing));
    if (fdatasync(j->fd))
        die(j, "cannot sync");
    pthread_mutex_lock(&j->lock);
    j->held = lsn;
    j->held_gen = generation;
    j->end += j->writing.len;
    j->on_its_way = 0;
    bool post = news(j);
    pthread_mutex_unlock(&j->lock);
    post_news(j, post);
}

/* A MARK behind a group that nothing follows: it says that the group was synced. Need not be synced itself.
 */
static void write_seal(struct journal *j, uint64_t lsn)
{
    buf_clear(&j->writing);
    journal_record_put(&j->writing, j->incarnation, lsn, JOURNAL_MARK, (struct bytes){0});
    write_all(j, j->fd, buf_bytes(&j->writing));
    pthread_mutex_lock(&j->lock);
    j->end += j->writing.len;
    pthread_mutex_unlock(&j->lock);
}

/* ---- The disk thread: a compacted file takes the journal's place ---- */

/* A crash anywhere in between leaves one file or the other under the journal's name, both good for the same
 * state. No group is written meanwhile: what is left to copy is little. */
static bool change_files(struct journal *j)
{
    struct compaction *c = &j->compaction;
    if (!compaction_catch_up(c, j->end))
        return false;
    if (rename(j->path_new, j->path) || state_sync_dir(j->config.dir))
        die(j, "cannot put the compacted file in place");
    if (fcntl(c->to, F_SETFL, O_APPEND))
        die(j, "cannot append to the compacted file");
    close(j->fd);
    j->fd = c->to;
    return true;
}

static void finish_compaction(struct journal *j)
{
    bool ok = change_files(j);
    compaction_end(&j->compaction, ok);
    pthread_mutex_lock(&j->lock);
    if (ok)
        j->end = j->compaction.bytes;
    j->compact = ok ? COMPACT_DONE : COMPACT_FAILED;
    bool post = news(j);
    pthread_mutex_unlock(&j->lock);
    post_news(j, post);
}

/* ---- The disk thread: another state's file takes the journal's place ---- */

static void put_rebuilt(struct journal *j, struct journal_rebuild *r)
{
    int fd = open(j->path_other, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        die(j, "cannot make the file of another state");
    write_all(j, fd, buf_bytes(&r->file));
    if (fsync(fd) || rename(j->path_other, j->path) || state_sync_dir(j->config.dir))
        die(j, "cannot put another state's file in place");
    close(j->fd);
    j->fd = fd;
    pthread_mutex_lock(&j->lock);
    j->end = r->file.len;
    j->held = r->lsn;
    j->held_gen = r->generation;
    bool post = news(j);
    pthread_mutex_unlock(&j->lock);
    journal_rebuild_abandon(r);
    post_news(j, post);
}

/* ---- The disk thread: its loop ---- */

struct errand {
    uint64_t lsn, generation;
    bool group, change;
    struct journal_rebuild *rebuild;
};

/* Waits for something to do. False: stop, and all is written. */
static bool next_errand(struct journal *j, struct errand *e)
{
    pthread_mutex_lock(&j->lock);
    while (!j->queued.len && j->compact != COMPACT_READY && !j->rebuild && !j->stop)
        pthread_cond_wait(&j->more, &j->lock);
    *e = (struct errand){j->queued_lsn, j->queued_gen, j->queued.len > 0, j->compact == COMPACT_READY,
                         j->rebuild};
    j->rebuild = NULL;
    swap(&j->queued, &j->writing);
    j->on_its_way = j->writing.len;
    pthread_cond_signal(&j->less);
    pthread_mutex_unlock(&j->lock);
    return e->group || e->change || e->rebuild;
}

static bool nothing_waits(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    bool nothing = !j->queued.len;
    pthread_mutex_unlock(&j->lock);
    return nothing;
}

static void *disk_main(void *arg)
{
    struct journal *j = arg;
    struct errand e;
    while (next_errand(j, &e)) {
        if (e.rebuild)
            put_rebuilt(j, e.rebuild);
        if (e.group)
            write_group(j, e.lsn, e.generation);
        if (e.group && nothing_waits(j))
            write_seal(j, e.lsn);
        if (e.change)
            finish_compaction(j);
        buf_reset(&j->writing, KEPT_BYTES);
    }
    return NULL;
}

/* ---- The compactor ---- */

static uint64_t file_end(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    uint64_t end = j->end;
    pthread_mutex_unlock(&j->lock);
    return end;
}

/* The rest is left to the disk thread when it is little. */
static bool catch_up(struct journal *j)
{
    struct compaction *c = &j->compaction;
    do
        if (!compaction_catch_up(c, file_end(j)))
            return false;
    while (file_end(j) - c->copied > BEHIND_BYTES);
    return true;
}

static void *compactor_main(void *arg)
{
    struct journal *j = arg;
    bool ok = compaction_run(&j->compaction) && catch_up(j);
    if (!ok)
        compaction_end(&j->compaction, false);
    pthread_mutex_lock(&j->lock);
    j->compact = ok ? COMPACT_READY : COMPACT_FAILED;
    bool post = !ok && news(j);
    pthread_cond_signal(&j->more);
    pthread_mutex_unlock(&j->lock);
    post_news(j, post);
    return NULL;
}

void journal_compact(struct journal *j)
{
    if (j->compacting || j->bytes <= j->compact_bytes || j->bytes <= JOURNAL_COMPACT_FACTOR * j->snapshot_len)
        return;
    struct compaction *c = &j->compaction;
    *c = (struct compaction){.machine = j->config.machine,
                             .ctx = j->config.ctx,
                             .path = j->path,
                             .path_new = j->path_new,
                             .incarnation = j->incarnation,
                             .from = -1,
                             .to = -1};
    pthread_mutex_lock(&j->lock);
    c->limit = j->end;
    c->lsn = j->held;
    j->compact = COMPACT_NOT;
    pthread_mutex_unlock(&j->lock);
    j->compact_from_us = clock_us();
    j->compacting = pthread_create(&j->compactor, NULL, compactor_main, j) == 0;
    if (j->compacting)
        log_info("compacting the journal: %" PRIu64 " bytes", j->bytes);
}

/* A failure loses nothing but time: the old file goes on. It is tried again when that is twice as long. */
static void compaction_over(struct journal *j, bool ok, uint64_t end)
{
    const struct compaction *c = &j->compaction;
    pthread_join(j->compactor, NULL);
    j->compacting = false;
    if (!ok && atomic_load(&c->abandon))
        return; /* another state has taken the journal's place */
    if (!ok) {
        log_error("the journal %s was not compacted: %s. It is used as it is", j->path, c->why);
        j->compact_bytes = 2 * j->bytes;
        return;
    }
    j->bytes = end + j->fill.len;
    j->snapshot_len = c->snapshot_bytes;
    log_info("journal compacted to %" PRIu64 " bytes, %" PRIu64 " records, in %.1f s", end, c->records,
             (double)(clock_us() - j->compact_from_us) / 1e6);
}

/* ---- The reactor's side ---- */

static void tell_rebuilt(struct journal *j, uint64_t generation)
{
    journal_rebuilt_fn *done = j->rebuilt;
    if (!done || generation < j->rebuilt_gen)
        return;
    j->rebuilt = NULL;
    done(j->rebuilt_ctx, j->rebuilt_gen);
}

static void tell_news(void *ctx)
{
    struct journal *j = ctx;
    pthread_mutex_lock(&j->lock);
    uint64_t lsn = j->held, generation = j->held_gen, end = j->end + j->on_its_way + j->queued.len;
    bool over = j->compacting && (j->compact == COMPACT_DONE || j->compact == COMPACT_FAILED);
    bool ok = j->compact == COMPACT_DONE;
    j->posted = false;
    pthread_mutex_unlock(&j->lock);
    if (over)
        compaction_over(j, ok, end);
    journal_flush(j);
    tell_rebuilt(j, generation);
    if (lsn == j->told && generation == j->told_gen)
        return;
    j->told = lsn;
    j->told_gen = generation;
    j->config.held(j->config.ctx, lsn, generation);
}

void journal_append(struct journal *j, uint64_t lsn, struct bytes record)
{
    must(lsn == j->last + 1);
    must(record.len > 0 && record.len < JOURNAL_NOTE);
    size_t before = j->fill.len;
    journal_record_put(&j->fill, j->incarnation, lsn, 0, record);
    j->last = lsn;
    j->bytes += j->fill.len - before;
}

uint64_t journal_note(struct journal *j, struct bytes note)
{
    size_t before = j->fill.len;
    must(note.len > 0 && note.len < JOURNAL_NOTE);
    journal_record_put(&j->fill, j->incarnation, j->last, JOURNAL_NOTE, note);
    j->bytes += j->fill.len - before;
    return ++j->generation;
}

/* Hands over; wait: until there is room. */
static void flush(struct journal *j, bool wait)
{
    if (!j->fill.len)
        return;
    pthread_mutex_lock(&j->lock);
    while (wait && j->queued.len)
        pthread_cond_wait(&j->less, &j->lock);
    if (!j->queued.len) {
        swap(&j->fill, &j->queued);
        buf_reset(&j->fill, KEPT_BYTES);
        j->queued_lsn = j->last;
        j->queued_gen = j->generation;
        pthread_cond_signal(&j->more);
    }
    pthread_mutex_unlock(&j->lock);
}

void journal_flush(struct journal *j)
{
    flush(j, j->fill.len > JOURNAL_UNWRITTEN_MAX);
}

/* ---- Another state ---- */

struct journal_rebuild *journal_rebuild_begin(struct journal *j, uint64_t lsn)
{
    struct journal_rebuild *r = calloc(1, sizeof *r);
    must(r);
    *r = (struct journal_rebuild){.journal = j, .lsn = lsn};
    journal_header_put(&r->file, &(struct journal_header){0}); /* in its place; written in the end */
    return r;
}

void journal_rebuild_add(struct journal_rebuild *r, struct bytes record)
{
    journal_record_put(&r->file, r->journal->incarnation, r->lsn, 0, record);
    r->records++;
}

void journal_rebuild_abandon(struct journal_rebuild *r)
{
    if (r)
        buf_free(&r->file);
    free(r);
}

static void rebuild_end(struct journal_rebuild *r, struct bytes note)
{
    struct buf head = {0};
    struct journal_header h = {r->journal->incarnation, r->lsn, r->records,
                               r->file.len - JOURNAL_HEADER_BYTES};
    journal_header_put(&head, &h);
    must(head.len == JOURNAL_HEADER_BYTES);
    memcpy(r->file.data, head.data, head.len);
    buf_free(&head);
    r->snapshot_bytes = h.snapshot_bytes;
    journal_record_put(&r->file, r->journal->incarnation, r->lsn, JOURNAL_NOTE | JOURNAL_MARK, note);
}

void journal_rebuild_commit(struct journal_rebuild *r, struct bytes note, journal_rebuilt_fn *done, void *ctx)
{
    struct journal *j = r->journal;
    must(!j->rebuilt);
    rebuild_end(r, note);
    j->rebuilt = done;
    j->rebuilt_ctx = ctx;
    j->rebuilt_gen = r->generation = ++j->generation;
    j->last = r->lsn;
    j->bytes = r->file.len;
    j->snapshot_len = r->snapshot_bytes;
    buf_clear(&j->fill);
    if (j->compacting)
        atomic_store(&j->compaction.abandon, true);
    pthread_mutex_lock(&j->lock);
    buf_clear(&j->queued);
    j->rebuild = r;
    pthread_cond_signal(&j->more);
    pthread_mutex_unlock(&j->lock);
}

uint64_t journal_bytes(const struct journal *j)
{
    return j->bytes;
}

/* ---- Opening ---- */

/* A new journal appears under its name only when its header is on disk. */
static int create(struct journal *j, uint64_t incarnation, char *why)
{
    struct buf b = {0};
    journal_header_put(&b, &(struct journal_header){.incarnation = incarnation});
    int fd = open(j->path_new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, b.data, b.len) == (ssize_t)b.len && fsync(fd) == 0 &&
              rename(j->path_new, j->path) == 0 && state_sync_dir(j->config.dir) == 0;
    if (!ok)
        snprintf(why, STATE_WHY_MAX, "cannot make the journal %.300s: %s", j->path, strerror(errno));
    if (fd >= 0)
        close(fd);
    buf_free(&b);
    return ok ? 0 : CX_EIO;
}

/* After a kill, what the last server wrote may be in memory only: it goes to disk before anybody relies on
 * it. And after a failed sync, the system's copy in memory may pretend to hold what the disk does not: it is
 * dropped, so that what is replayed is what the disk has. */
static int face_disk(const struct journal *j, char *why)
{
    if (fsync(j->fd)) {
        snprintf(why, STATE_WHY_MAX, "cannot sync %.300s: %s", j->path, strerror(errno));
        return CX_EIO;
    }
    posix_fadvise(j->fd, 0, 0, POSIX_FADV_DONTNEED);
    return 0;
}

/* Cuts off a torn tail. */
static int settle(struct journal *j, uint64_t torn, char *why)
{
    if (!torn)
        return 0;
    log_warn("journal %s: the last %" PRIu64
             " bytes are a record that was being written when the server died; "
             "nobody was told that it was kept, and it is cut off",
             j->path, torn);
    if (ftruncate(j->fd, (off_t)j->end) || fsync(j->fd)) {
        snprintf(why, STATE_WHY_MAX, "cannot cut or sync %.300s: %s", j->path, strerror(errno));
        return CX_EIO;
    }
    return 0;
}

static int load(struct journal *j, journal_replay_fn *replay, struct journal_found *found, char *why)
{
    char reason[STATE_WHY_MAX];
    struct journal_header h;
    uint64_t end;
    int code = face_disk(j, why);
    if (code)
        return code;
    code = journal_scan(j->fd, UINT64_MAX, replay, j->config.ctx, &h, found, &end, reason);
    if (code) {
        snprintf(why, STATE_WHY_MAX, "journal %.120s: %.380s", j->path, reason);
        return code;
    }
    j->incarnation = h.incarnation;
    j->last = j->told = j->held = found->lsn;
    j->bytes = j->end = end;
    j->snapshot_len = h.snapshot_bytes;
    return settle(j, found->torn_bytes, why);
}

static int open_file(struct journal *j, uint64_t incarnation, char *why)
{
    unlink(j->path_new); /* of a compaction that did not come to its end */
    unlink(j->path_other);
    j->fd = open(j->path, O_RDWR | O_APPEND | O_CLOEXEC);
    if (j->fd < 0 && errno == ENOENT) {
        int code = create(j, incarnation, why);
        if (code)
            return code;
        j->fd = open(j->path, O_RDWR | O_APPEND | O_CLOEXEC);
    }
    if (j->fd >= 0)
        return 0;
    snprintf(why, STATE_WHY_MAX, "cannot open the journal %.300s: %s", j->path, strerror(errno));
    return CX_EIO;
}

static int start_disk(struct journal *j, char *why)
{
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->more, NULL);
    pthread_cond_init(&j->less, NULL);
    if (pthread_create(&j->thread, NULL, disk_main, j) == 0)
        return 0;
    snprintf(why, STATE_WHY_MAX, "cannot start the disk thread");
    return CX_ENOMEM;
}

static void release(struct journal *j)
{
    if (j->fd >= 0)
        close(j->fd);
    buf_free(&j->fill);
    buf_free(&j->queued);
    buf_free(&j->writing);
    free(j);
}

int journal_open(const struct journal_config *config, uint64_t incarnation, journal_replay_fn *replay,
                 struct journal **out, struct journal_found *found, char *why)
{
    struct journal *j = calloc(1, sizeof *j);
    if (!j) {
        snprintf(why, STATE_WHY_MAX, "out of memory");
        return CX_ENOMEM;
    }
    j->config = *config;
    j->fd = -1;
    j->compact_bytes = config->compact_bytes ? config->compact_bytes : JOURNAL_COMPACT_BYTES;
    snprintf(j->path, sizeof j->path, "%.4000s/journal", config->dir);
    snprintf(j->path_new, sizeof j->path_new, "%.4000s/journal.new", config->dir);
    snprintf(j->path_other, sizeof j->path_other, "%.4000s/journal.other", config->dir);
    struct journal_found f = {0};
    int code = open_file(j, incarnation, why);
    if (!code)
        code = load(j, replay, &f, why);
    if (!code)
        code = start_disk(j, why);
    if (code) {
        journal_found_free(&f);
        release(j);
        return code;
    }
    *out = j;
    *found = f;
    return 0;
}

/* ---- Reading only ---- */

int journal_read(const char *dir, journal_replay_fn *replay, void *ctx, struct journal_found *found,
                 char *why)
{
    char path[STATE_PATH_MAX], reason[STATE_WHY_MAX];
    struct journal_header h;
    uint64_t end;
    snprintf(path, sizeof path, "%.4000s/journal", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int error = errno;
        snprintf(why, STATE_WHY_MAX, "cannot open the journal %.300s: %s", path, strerror(error));
        return error == ENOENT ? CX_ENOTFOUND : CX_EIO;
    }
    int code = journal_scan(fd, UINT64_MAX, replay, ctx, &h, found, &end, reason);
    if (code)
        snprintf(why, STATE_WHY_MAX, "journal %.120s: %.380s", path, reason);
    close(fd);
    return code;
}

/* ---- Closing ---- */

void journal_stop(struct journal *j)
{
    flush(j, true);
    if (j->compacting) {
        atomic_store(&j->compaction.abandon, true);
        pthread_join(j->compactor, NULL);
        j->compacting = false;
    }
    pthread_mutex_lock(&j->lock);
    j->stop = true;
    pthread_cond_signal(&j->more);
    pthread_mutex_unlock(&j->lock);
    pthread_join(j->thread, NULL);
    tell_news(j);
}

void journal_free(struct journal *j)
{
    if (!j)
        return;
    pthread_mutex_destroy(&j->lock);
    pthread_cond_destroy(&j->more);
    pthread_cond_destroy(&j->less);
    release(j);
}
