#include "taskserver/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/must.h"
#include "taskserver/journal_file.h"

enum { KEPT_BYTES = 16 << 20 }; /* a buffer that grew beyond this is given back */

/* Records go through three buffers: `fill` grows on the reactor, `queued` waits, `writing` is with the disk.
 * They change places, so no record is copied twice and none needs memory of its own. */
struct journal {
    struct journal_config config;
    char path[STATE_PATH_MAX], path_new[STATE_PATH_MAX];
    uint64_t incarnation;
    uint64_t compact_bytes;

    /* The reactor's. */
    struct buf fill;
    uint64_t last;         /* lsn of the last record appended */
    uint64_t told;         /* lsn last reported as held */
    uint64_t bytes;        /* of the file and all that is on its way to it */
    uint64_t snapshot_len; /* of the snapshot at the file's head */
    struct buf taking;     /* the snapshot being taken */
    uint64_t taking_records;

    pthread_t thread;
    pthread_mutex_t lock; /* guards the following */
    pthread_cond_t more;  /* for the disk thread */
    pthread_cond_t less;  /* for a reactor that waits for room */
    struct buf queued;
    uint64_t queued_lsn;
    struct buf snapshot; /* to be written when `queued` has been; empty: none */
    uint64_t snapshot_records, snapshot_lsn;
    bool snapshot_asked;
    uint64_t held;
    bool posted, stop;

    /* The disk thread's, and of open before it starts. */
    int fd;
    struct buf writing;
};

/* ---- The disk thread ---- */

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

static void tell_held(void *ctx)
{
    struct journal *j = ctx;
    pthread_mutex_lock(&j->lock);
    uint64_t lsn = j->held;
    j->posted = false;
    pthread_mutex_unlock(&j->lock);
    journal_flush(j);
    if (lsn <= j->told)
        return;
    j->told = lsn;
    j->config.held(j->config.ctx, lsn);
}

/* Says on the reactor that the log up to lsn is on disk; a post that is still under way will say this too. */
static void report(struct journal *j, uint64_t lsn)
{
    pthread_mutex_lock(&j->lock);
    j->held = lsn;
    bool post = !j->posted;
    j->posted = true;
    pthread_mutex_unlock(&j->lock);
    if (post)
        j->config.poster.post(j->config.poster.reactor, tell_held, j);
}

static void write_group(struct journal *j, uint64_t lsn)
{
    journal_record_mark(j->writing.data, j->incarnation);
    write_all(j, j->fd, buf_bytes(&j->writing));
    if (fdatasync(j->fd))
        die(j, "cannot sync");
    report(j, lsn);
}

/* A MARK behind a group that nothing follows: it says that the group was synced. Need not be synced itself.
 */
static void write_seal(struct journal *j, uint64_t lsn)
{
    buf_clear(&j->writing);
    journal_record_put(&j->writing, j->incarnation, lsn, true, (struct bytes){0});
    write_all(j, j->fd, buf_bytes(&j->writing));
}

/* A new file in the place of the old: header, snapshot; then the log goes on in it. A crash anywhere in
 * between leaves one or the other under the journal's name, both good for the same state. */
static void write_snapshot(struct journal *j, struct bytes snapshot, uint64_t records, uint64_t lsn)
{
    struct journal_header h = {j->incarnation, lsn, records, snapshot.len};
    int fd = open(j->path_new, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        die(j, "cannot make the new file");
    buf_clear(&j->writing);
    journal_header_put(&j->writing, &h);
    write_all(j, fd, buf_bytes(&j->writing));
    write_all(j, fd, snapshot);
    if (fsync(fd))
        die(j, "cannot sync the new file");
    if (rename(j->path_new, j->path) || state_sync_dir(j->config.dir))
        die(j, "cannot put the new file in place");
    close(j->fd);
    j->fd = fd;
    log_info("journal compacted to %zu bytes: %llu records up to number %llu", snapshot.len,
             (unsigned long long)records, (unsigned long long)lsn);
}

static void swap(struct buf *a, struct buf *b)
{
    struct buf t = *a;
    *a = *b;
    *b = t;
}

static void trim(struct buf *b)
{
    if (b->cap > KEPT_BYTES)
        buf_free(b);
    buf_clear(b);
}

struct errand {
    uint64_t lsn;
    struct buf snapshot; /* owned */
    uint64_t snapshot_records, snapshot_lsn;
    bool group, compact;
};

/* Waits for something to write. False: stop, and all is written. */
static bool next_errand(struct journal *j, struct errand *e)
{
    pthread_mutex_lock(&j->lock);
    while (!j->queued.len && !j->snapshot_asked && !j->stop)
        pthread_cond_wait(&j->more, &j->lock);
    *e = (struct errand){.lsn = j->queued_lsn,
                         .snapshot = j->snapshot,
                         .snapshot_records = j->snapshot_records,
                         .snapshot_lsn = j->snapshot_lsn,
                         .group = j->queued.len > 0,
                         .compact = j->snapshot_asked};
    swap(&j->queued, &j->writing);
    j->snapshot = (struct buf){0};
    j->snapshot_asked = false;
    pthread_cond_signal(&j->less);
    pthread_mutex_unlock(&j->lock);
    return e->group || e->compact;
}

static bool nothing_waits(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    bool nothing = !j->queued.len && !j->snapshot_asked;
    pthread_mutex_unlock(&j->lock);
    return nothing;
}

static void *disk_main(void *arg)
{
    struct journal *j = arg;
    struct errand e;
    while (next_errand(j, &e)) {
        if (e.group)
            write_group(j, e.lsn);
        if (e.compact)
            write_snapshot(j, buf_bytes(&e.snapshot), e.snapshot_records, e.snapshot_lsn);
        else if (nothing_waits(j))
            write_seal(j, e.lsn);
        buf_free(&e.snapshot);
        trim(&j->writing);
    }
    return NULL;
}

/* ---- The reactor's side ---- */

void journal_append(struct journal *j, uint64_t lsn, struct bytes record)
{
    must(lsn == j->last + 1);
    must(record.len > 0 && record.len < JOURNAL_MARK);
    size_t before = j->fill.len;
    journal_record_put(&j->fill, j->incarnation, lsn, false, record);
    j->last = lsn;
    j->bytes += j->fill.len - before;
}

/* With the lock held: may `fill` take the place of `queued`? Not before a snapshot that is older than it. */
static bool has_room(const struct journal *j)
{
    return !j->queued.len && !j->snapshot_asked;
}

static void hand_over(struct journal *j)
{
    swap(&j->fill, &j->queued);
    trim(&j->fill);
    j->queued_lsn = j->last;
    pthread_cond_signal(&j->more);
}

/* Hands over; wait: until there is room. */
static void flush(struct journal *j, bool wait)
{
    if (!j->fill.len)
        return;
    pthread_mutex_lock(&j->lock);
    while (wait && !has_room(j))
        pthread_cond_wait(&j->less, &j->lock);
    if (has_room(j))
        hand_over(j);
    pthread_mutex_unlock(&j->lock);
}

void journal_flush(struct journal *j)
{
    flush(j, j->fill.len > JOURNAL_UNWRITTEN_MAX);
}

bool journal_is_long(const struct journal *j)
{
    return j->bytes > j->compact_bytes && j->bytes > JOURNAL_COMPACT_FACTOR * j->snapshot_len;
}

void journal_snapshot_add(struct journal *j, struct bytes record)
{
    must(record.len < JOURNAL_MARK);
    journal_record_put(&j->taking, j->incarnation, j->last, false, record);
    j->taking_records++;
}

void journal_snapshot_end(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    while (j->snapshot_asked) /* hardly ever: the file is new then, and not long */
        pthread_cond_wait(&j->less, &j->lock);
    buf_add(&j->queued, j->fill.data, j->fill.len); /* what the snapshot covers goes before it, as a group */
    j->queued_lsn = j->last;
    buf_clear(&j->fill);
    j->snapshot_len = j->taking.len;
    swap(&j->snapshot, &j->taking);
    j->snapshot_records = j->taking_records;
    j->snapshot_lsn = j->last;
    j->snapshot_asked = true;
    pthread_cond_signal(&j->more);
    pthread_mutex_unlock(&j->lock);
    j->bytes = JOURNAL_HEADER_BYTES + j->snapshot_len;
    j->taking_records = 0;
}

uint64_t journal_bytes(const struct journal *j)
{
    return j->bytes;
}

/* ---- Opening and closing ---- */

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
static int settle(struct journal *j, uint64_t end, uint64_t torn, char *why)
{
    if (!torn)
        return 0;
    log_warn("journal %s: the last %llu bytes are a record that was being written when the server died; "
             "nobody was told that it was kept, and it is cut off",
             j->path, (unsigned long long)torn);
    if (ftruncate(j->fd, (off_t)end) || fsync(j->fd)) {
        snprintf(why, STATE_WHY_MAX, "cannot cut or sync %.300s: %s", j->path, strerror(errno));
        return CX_EIO;
    }
    return 0;
}

static int load(struct journal *j, journal_replay_fn *replay, void *ctx, struct journal_found *found,
                char *why)
{
    char reason[STATE_WHY_MAX];
    struct journal_header h;
    uint64_t end;
    int code = face_disk(j, why);
    if (code)
        return code;
    code = journal_scan(j->fd, replay, ctx, &h, found, &end, reason);
    if (code) {
        snprintf(why, STATE_WHY_MAX, "journal %.120s: %.380s", j->path, reason);
        return code;
    }
    j->incarnation = h.incarnation;
    j->last = j->told = j->held = found->lsn;
    j->bytes = end;
    j->snapshot_len = h.snapshot_bytes;
    return settle(j, end, found->torn_bytes, why);
}

static void release(struct journal *j)
{
    if (j->fd >= 0)
        close(j->fd);
    buf_free(&j->fill);
    buf_free(&j->queued);
    buf_free(&j->writing);
    buf_free(&j->snapshot);
    buf_free(&j->taking);
    free(j);
}

static int open_file(struct journal *j, uint64_t incarnation, char *why)
{
    unlink(j->path_new); /* of a compaction that did not come to its end */
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

int journal_open(const struct journal_config *config, uint64_t incarnation, journal_replay_fn *replay,
                 void *ctx, struct journal **out, struct journal_found *found, char *why)
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
    struct journal_found f;
    int code = open_file(j, incarnation, why);
    if (!code)
        code = load(j, replay, ctx, &f, why);
    if (!code)
        code = start_disk(j, why);
    if (code) {
        release(j);
        return code;
    }
    *out = j;
    *found = f;
    return 0;
}

void journal_stop(struct journal *j)
{
    flush(j, true);
    pthread_mutex_lock(&j->lock);
    j->stop = true;
    pthread_cond_signal(&j->more);
    pthread_mutex_unlock(&j->lock);
    pthread_join(j->thread, NULL);
    tell_held(j);
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
