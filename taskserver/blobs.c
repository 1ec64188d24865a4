#include "taskserver/blobs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/must.h"
#include "proto/pki.h"

enum { BUCKETS = 1024, PATH_MAX_BYTES = STATE_PATH_MAX };

struct blob {
    uint8_t sha256[BLOB_HASH_BYTES];
    uint64_t size;
    uint64_t used_us;
    struct blob *next; /* in its bucket; owned */
};

struct blobs {
    struct blobs_config config;
    char dir[PATH_MAX_BYTES - 128];
    struct worker *worker; /* owned */
    struct blob *bucket[BUCKETS];
    unsigned count;
    uint64_t bytes;    /* of all blobs */
    uint64_t reserved; /* of all puts under way */
    unsigned syncing;
    uint64_t temps; /* numbers the temporary files */
};

struct blob_put {
    struct work work; /* first: the worker hands it back */
    struct blobs *blobs;
    uint8_t sha256[BLOB_HASH_BYTES];
    uint64_t size, got; /* size: as announced, or, with `any`, what came */
    bool any;
    uint64_t now_us; /* when it was complete */
    struct sha256 *sum;
    int fd;
    char temp[PATH_MAX_BYTES];
    blob_done_fn *done; /* NULL: abandoned */
    void *ctx;
    bool complete; /* it is with the worker */
    int error;     /* errno of the worker's failure */
};

struct blob_get {
    struct blobs *blobs;
    uint8_t sha256[BLOB_HASH_BYTES];
    struct sha256 *sum; /* of what was read */
    int fd;
    uint64_t at, size;
};

void blob_hex(const uint8_t *sha256, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < BLOB_HASH_BYTES; i++) {
        out[2 * i] = digits[sha256[i] >> 4];
        out[2 * i + 1] = digits[sha256[i] & 15];
    }
    out[2 * BLOB_HASH_BYTES] = 0;
}

static bool parse_hex(const char *name, uint8_t *sha256)
{
    static const char digits[] = "0123456789abcdef";
    if (strlen(name) != 2 * BLOB_HASH_BYTES)
        return false;
    for (unsigned i = 0; i < 2 * BLOB_HASH_BYTES; i++) {
        const char *d = strchr(digits, name[i]);
        if (!d)
            return false;
        sha256[i / 2] = (uint8_t)(sha256[i / 2] << 4 | (d - digits));
    }
    return true;
}

static void path_of(const struct blobs *b, const uint8_t *sha256, char *path)
{
    char hex[BLOB_HEX_MAX];
    blob_hex(sha256, hex);
    snprintf(path, PATH_MAX_BYTES, "%s/%s", b->dir, hex);
}

/* ---- The table of blobs ---- */

static struct blob **place_of(struct blobs *b, const uint8_t *sha256)
{
    struct blob **at = &b->bucket[(sha256[0] | sha256[1] << 8) % BUCKETS];
    while (*at && memcmp((*at)->sha256, sha256, BLOB_HASH_BYTES) != 0)
        at = &(*at)->next;
    return at;
}

static void insert(struct blobs *b, const uint8_t *sha256, uint64_t size, uint64_t now_us)
{
    struct blob **at = place_of(b, sha256);
    if (*at)
        return;
    struct blob *blob = calloc(1, sizeof *blob);
    must(blob);
    memcpy(blob->sha256, sha256, BLOB_HASH_BYTES);
    blob->size = size;
    blob->used_us = now_us;
    *at = blob;
    b->count++;
    b->bytes += size;
}

static void drop(struct blobs *b, struct blob **at)
{
    struct blob *blob = *at;
    *at = blob->next;
    b->count--;
    b->bytes -= blob->size;
    free(blob);
}

bool blobs_have(struct blobs *b, const uint8_t *sha256, uint64_t now_us)
{
    blobs_touch(b, sha256, now_us);
    return *place_of(b, sha256) != NULL;
}

void blobs_touch(struct blobs *b, const uint8_t *sha256, uint64_t now_us)
{
    struct blob *blob = *place_of(b, sha256);
    if (blob)
        blob->used_us = now_us;
}

static void discard(struct blobs *b, struct blob **at, enum log_level level, const char *because)
{
    char path[PATH_MAX_BYTES];
    path_of(b, (*at)->sha256, path);
    if (unlink(path))
        log_warn("cannot remove blob %s: %s", path, strerror(errno));
    else
        log_line(level, "blob %s %s and has been removed", path, because);
    drop(b, at);
}

void blobs_expire(struct blobs *b, uint64_t now_us)
{
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct blob **at = &b->bucket[i]; *at;)
            if (now_us > (*at)->used_us && now_us - (*at)->used_us > b->config.ttl_us)
                discard(b, at, LOG_DEBUG, "was not used any more");
            else
                at = &(*at)->next;
}

uint64_t blobs_bytes(const struct blobs *b)
{
    return b->bytes;
}

unsigned blobs_count(const struct blobs *b)
{
    return b->count;
}

unsigned blobs_syncing(const struct blobs *b)
{
    return b->syncing;
}

/* ---- Opening and closing ---- */

static void load_entry(struct blobs *b, const char *name, uint64_t now_us)
{
    uint8_t sha256[BLOB_HASH_BYTES];
    char path[PATH_MAX_BYTES];
    struct stat st;
    snprintf(path, sizeof path, "%s/%.100s", b->dir, name);
    if (strncmp(name, "put-", 4) == 0)
        unlink(path); /* of a put that did not come to its end */
    else if (parse_hex(name, sha256) && stat(path, &st) == 0 && S_ISREG(st.st_mode))
        insert(b, sha256, (uint64_t)st.st_size, now_us);
}

static int load(struct blobs *b, uint64_t now_us, char *why)
{
    DIR *dir = opendir(b->dir);
    if (!dir) {
        snprintf(why, STATE_WHY_MAX, "cannot open %.300s: %s", b->dir, strerror(errno));
        return CX_EIO;
    }
    for (struct dirent *d; (d = readdir(dir));)
        load_entry(b, d->d_name, now_us);
    closedir(dir);
    return 0;
}

int blobs_open(const struct blobs_config *config, uint64_t now_us, struct blobs **out, char *why)
{
    struct blobs *b = calloc(1, sizeof *b);
    if (!b) {
        snprintf(why, STATE_WHY_MAX, "out of memory");
        return CX_ENOMEM;
    }
    b->config = *config;
    int code = CX_EINVAL;
    if (snprintf(b->dir, sizeof b->dir, "%s/blobs", config->dir) >= (int)sizeof b->dir)
        snprintf(why, STATE_WHY_MAX, "the state directory's path is too long");
    else
        code = state_mkdir(b->dir, why);
    if (!code)
        code = load(b, now_us, why);
    if (!code && (code = worker_new(config->poster, &b->worker)))
        snprintf(why, STATE_WHY_MAX, "cannot start the blobs' thread");
    if (code)
        blobs_free(b);
    else
        *out = b;
    return code;
}

void blobs_stop(struct blobs *b)
{
    worker_free(b->worker);
    b->worker = NULL;
}

void blobs_free(struct blobs *b)
{
    if (!b)
        return;
    for (unsigned i = 0; i < BUCKETS; i++)
        while (b->bucket[i])
            drop(b, &b->bucket[i]);
    free(b);
}

/* ---- Putting ---- */

static void put_free(struct blob_put *p)
{
    if (p->fd >= 0) {
        close(p->fd);
        unlink(p->temp);
    }
    if (p->sum) {
        uint8_t unused[BLOB_HASH_BYTES];
        sha256_end(p->sum, unused);
    }
    p->blobs->reserved -= p->size;
    free(p);
}

/* On the blobs' thread: the blob gets its name when it is on disk. */
static void put_sync(struct work *w)
{
    struct blob_put *p = (struct blob_put *)w;
    char path[PATH_MAX_BYTES];
    path_of(p->blobs, p->sha256, path);
    if (fsync(p->fd) || rename(p->temp, path) || state_sync_dir(p->blobs->dir)) {
        p->error = errno;
        unlink(p->temp);
    }
    close(p->fd);
    p->fd = -1;
}

static void put_synced(struct work *w)
{
    struct blob_put *p = (struct blob_put *)w;
    struct blobs *b = p->blobs;
    char why[STATE_WHY_MAX] = "";
    b->syncing--;
    if (p->error)
        snprintf(why, sizeof why, "the blob could not be kept: %s", strerror(p->error));
    else
        insert(b, p->sha256, p->size, p->now_us);
    if (p->done)
        p->done(p->ctx, p->error ? CX_EIO : 0, why);
    put_free(p);
}

/* size more bytes for a blob that has `had` of them. */
static int put_admit(const struct blobs *b, uint64_t had, uint64_t size, char *why)
{
    if (had + size > b->config.blob_max) {
        snprintf(why, STATE_WHY_MAX, "the blob has %" PRIu64 " bytes, the limit is %" PRIu64, had + size,
                 b->config.blob_max);
        return CX_ELIMIT;
    }
    uint64_t used = b->bytes + b->reserved;
    if (used > b->config.total_max || size > b->config.total_max - used || b->count >= BLOBS_MAX) {
        snprintf(why, STATE_WHY_MAX,
                 "the server's store of modules and inputs is full (%" PRIu64 " of %" PRIu64
                 " bytes in %u blobs); what no job uses goes after a time",
                 used, b->config.total_max, b->count);
        return CX_EFULL;
    }
    return 0;
}

static int put_new(struct blobs *b, const uint8_t *sha256, const struct blob_put *like, struct blob_put **out,
                   char *why)
{
    int code = put_admit(b, 0, like->size, why);
    if (code)
        return code;
    struct blob_put *p = calloc(1, sizeof *p);
    must(p);
    *p = *like;
    p->work = (struct work){.run = put_sync, .done = put_synced};
    p->blobs = b;
    memcpy(p->sha256, sha256, BLOB_HASH_BYTES);
    b->reserved += p->size;
    snprintf(p->temp, sizeof p->temp, "%s/put-%" PRIu64, b->dir, b->temps++);
    p->fd = open(p->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (p->fd < 0) {
        snprintf(why, STATE_WHY_MAX, "the server cannot make a file: %s", strerror(errno));
        put_free(p);
        return CX_EIO;
    }
    p->sum = sha256_new();
    *out = p;
    return 0;
}

int blob_put_begin(struct blobs *b, const uint8_t *sha256, uint64_t size, blob_done_fn *done, void *ctx,
                   struct blob_put **out, char *why)
{
    return put_new(b, sha256, &(struct blob_put){.size = size, .done = done, .ctx = ctx}, out, why);
}

int blob_put_begin_any(struct blobs *b, const uint8_t *sha256, blob_done_fn *done, void *ctx,
                       struct blob_put **out, char *why)
{
    return put_new(b, sha256, &(struct blob_put){.any = true, .done = done, .ctx = ctx}, out, why);
}

static int put_write(const struct blob_put *p, struct bytes data, char *why)
{
    while (data.len) {
        ssize_t n = write(p->fd, data.data, data.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            snprintf(why, STATE_WHY_MAX, "the server cannot write the blob: %s", strerror(errno));
            return CX_EIO;
        }
        data.data += n;
        data.len -= (size_t)n;
    }
    return 0;
}

static int put_check(struct blob_put *p, char *why)
{
    uint8_t sum[BLOB_HASH_BYTES];
    char named[BLOB_HEX_MAX], got[BLOB_HEX_MAX];
    if (p->got != p->size) {
        snprintf(why, STATE_WHY_MAX, "%" PRIu64 " bytes came, %" PRIu64 " were announced", p->got, p->size);
        return CX_EPROTO;
    }
    sha256_end(p->sum, sum);
    p->sum = NULL;
    if (memcmp(sum, p->sha256, sizeof sum) == 0)
        return 0;
    blob_hex(p->sha256, named);
    blob_hex(sum, got);
    snprintf(why, STATE_WHY_MAX, "the bytes have SHA-256 %s, not %s", got, named);
    return CX_EPROTO;
}

/* A put that has announced nothing reserves as it goes. */
static int put_extend(struct blob_put *p, uint64_t more, char *why)
{
    int code = put_admit(p->blobs, p->size, more, why);
    if (code)
        return code;
    p->size += more;
    p->blobs->reserved += more;
    return 0;
}

int blob_put_add(struct blob_put *p, struct bytes data, bool last, uint64_t now_us, char *why)
{
    must(!p->complete);
    int code = p->any ? put_extend(p, data.len, why) : 0;
    if (!code && data.len > p->size - p->got) {
        snprintf(why, STATE_WHY_MAX, "more bytes came than the %" PRIu64 " that were announced", p->size);
        code = CX_EPROTO;
    }
    if (!code)
        code = put_write(p, data, why);
    if (!code) {
        sha256_add(p->sum, data.data, data.len);
        p->got += data.len;
        code = last ? put_check(p, why) : 0;
    }
    if (code) {
        put_free(p);
        return code;
    }
    if (last) {
        p->complete = true;
        p->now_us = now_us;
        p->blobs->syncing++;
        worker_add(p->blobs->worker, &p->work);
    }
    return 0;
}

void blob_put_abandon(struct blob_put *p)
{
    p->done = NULL;
    if (!p->complete)
        put_free(p);
}

/* ---- Getting ---- */

int blob_get_begin(struct blobs *b, const uint8_t *sha256, uint64_t now_us, struct blob_get **out, char *why)
{
    char path[PATH_MAX_BYTES], hex[BLOB_HEX_MAX];
    struct blob **at = place_of(b, sha256);
    int fd = -1;
    if (*at) {
        path_of(b, sha256, path);
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) {
        blob_hex(sha256, hex);
        bool gone = !*at || errno == ENOENT;
        snprintf(why, STATE_WHY_MAX, "blob %s: %s", hex, gone ? "not here" : strerror(errno));
        if (*at && gone)
            drop(b, at);
        return gone ? CX_ENOTFOUND : CX_EIO;
    }
    struct blob_get *g = calloc(1, sizeof *g);
    must(g);
    *g = (struct blob_get){.blobs = b, .sum = sha256_new(), .fd = fd, .size = (*at)->size};
    memcpy(g->sha256, sha256, sizeof g->sha256);
    (*at)->used_us = now_us;
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    *out = g;
    return 0;
}

/* What the disk gives back is not what was put: it goes, so that it can be put again. */
static int damaged(struct blob_get *g)
{
    struct blob **at = place_of(g->blobs, g->sha256);
    if (*at)
        discard(g->blobs, at, LOG_ERROR, "was damaged on the disk");
    return CX_EIO;
}

static bool sum_fits(struct blob_get *g)
{
    uint8_t sum[BLOB_HASH_BYTES];
    sha256_end(g->sum, sum);
    g->sum = NULL;
    return memcmp(sum, g->sha256, sizeof sum) == 0;
}

int blob_get_next(struct blob_get *g, size_t max, struct buf *out, bool *last)
{
    size_t want = g->size - g->at < max ? (size_t)(g->size - g->at) : max;
    buf_reserve(out, want);
    size_t got = 0;
    while (got < want) {
        ssize_t n = pread(g->fd, out->data + out->len + got, want - got, (off_t)(g->at + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return damaged(g);
        got += (size_t)n;
    }
    sha256_add(g->sum, out->data + out->len, got);
    g->at += got;
    *last = g->at == g->size;
    if (*last && !sum_fits(g))
        return damaged(g);
    out->len += got;
    return 0;
}

void blob_get_end(struct blob_get *g)
{
    if (!g)
        return;
    if (g->sum)
        sum_fits(g);
    close(g->fd);
    free(g);
}
