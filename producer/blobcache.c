#include "producer/blobcache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"
#include "cx/error.h"
#include "proto/pki.h"

#define NAME_LEN     64 /* 32 bytes in hex */
#define CHECKED_MAX  256u
#define STALE_TEMP_S 3600
#define TEMP_PREFIX  ".new-"

/* A file as it was when its content was last known to be right. */
struct checked {
    uint8_t sha[32];
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct blobcache {
    int dir;
    uint64_t bytes_max;
    uint32_t temps;
    uint32_t next; /* in checked, a ring */
    struct checked checked[CHECKED_MAX];
};

struct blobwrite {
    struct blobcache *cache; /* borrowed */
    struct sha256 *hash;     /* owned */
    int fd;
    uint8_t sha[32];
    char temp[64];
};

static void name_of(const uint8_t sha[32], char out[NAME_LEN + 1])
{
    for (int i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", sha[i]);
}

static int make_dirs(const char *dir)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s", dir) >= (int)sizeof path)
        return -1;
    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (mkdir(path, 0755) && errno != EEXIST)
            return -1;
        *p = '/';
    }
    return mkdir(path, 0700) && errno != EEXIST ? -1 : 0;
}

int blobcache_new(const char *dir, uint64_t bytes_max, struct blobcache **out, char *why, size_t why_max)
{
    int fd = -1;
    if (make_dirs(dir) == 0)
        fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || faccessat(fd, ".", W_OK, AT_EACCESS)) {
        snprintf(why, why_max, "cache %s: %s", dir, strerror(errno));
        if (fd >= 0)
            close(fd);
        return CX_EIO;
    }
    struct blobcache *c = calloc(1, sizeof *c);
    must(c);
    c->dir = fd;
    c->bytes_max = bytes_max;
    *out = c;
    return 0;
}

void blobcache_free(struct blobcache *c)
{
    if (!c)
        return;
    close(c->dir);
    free(c);
}

/* ---- Reading ---- */

static struct checked checked_of(const uint8_t sha[32], const struct stat *st)
{
    struct checked k;
    memset(&k, 0, sizeof k);
    memcpy(k.sha, sha, 32);
    k.inode = st->st_ino;
    k.size = st->st_size;
    k.changed = st->st_ctim;
    return k;
}

static bool known_good(const struct blobcache *c, const struct checked *k)
{
    for (uint32_t i = 0; i < CHECKED_MAX; i++)
        if (memcmp(&c->checked[i], k, sizeof *k) == 0)
            return true;
    return false;
}

/* Marks it as used now, which changes its ctime, so what is noted as good is taken after that. */
static void note_good(struct blobcache *c, int fd, const uint8_t sha[32])
{
    struct stat st;
    futimens(fd, NULL);
    if (fstat(fd, &st) == 0)
        c->checked[c->next++ % CHECKED_MAX] = checked_of(sha, &st);
}

static int hash_file(int fd, uint8_t out[32])
{
    static uint8_t part[1 << 18];
    struct sha256 *s = sha256_new();
    ssize_t n;
    off_t at = 0;
    while ((n = pread(fd, part, sizeof part, at)) > 0 || (n < 0 && errno == EINTR)) {
        sha256_add(s, part, n > 0 ? (size_t)n : 0);
        at += n > 0 ? n : 0;
    }
    sha256_end(s, out);
    return n < 0 ? CX_EIO : 0;
}

int blobcache_open(struct blobcache *c, const uint8_t sha[32], int *out)
{
    char name[NAME_LEN + 1];
    uint8_t is[32];
    struct stat st;
    name_of(sha, name);
    int fd = openat(c->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? CX_ENOTFOUND : CX_EIO;
    int rc = fstat(fd, &st) ? CX_EIO : 0;
    struct checked k = rc ? (struct checked){{0}, 0, 0, {0, 0}} : checked_of(sha, &st);
    if (!rc && !known_good(c, &k)) {
        rc = hash_file(fd, is);
        if (!rc && memcmp(is, sha, 32)) {
            unlinkat(c->dir, name, 0);
            rc = CX_ENOTFOUND;
        }
    }
    if (rc) {
        close(fd);
        return rc;
    }
    note_good(c, fd, sha);
    *out = fd;
    return 0;
}

/* ---- Making room ---- */

struct entry {
    char name[NAME_LEN + 1];
    uint64_t size;
    struct timespec used;
};

struct listing {
    struct entry *entry; /* owned */
    size_t n, cap;
    uint64_t total;
};

static int by_use(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->used.tv_sec != y->used.tv_sec)
        return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
    return (x->used.tv_nsec > y->used.tv_nsec) - (x->used.tv_nsec < y->used.tv_nsec);
}

static void list_one(struct listing *l, const char *name, const struct stat *st)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->entry = realloc(l->entry, l->cap * sizeof *l->entry);
        must(l->entry);
    }
    struct entry *e = &l->entry[l->n++];
    snprintf(e->name, sizeof e->name, "%s", name);
    e->size = (uint64_t)st->st_size;
    e->used = st->st_mtim;
    l->total += e->size;
}

/* What a writer that died has left behind goes after an hour. */
static void drop_stale_temp(struct blobcache *c, const char *name, const struct stat *st)
{
    if ((int64_t)(clock_wall_us() / 1000000) - st->st_mtim.tv_sec > STALE_TEMP_S)
        unlinkat(c->dir, name, 0);
}

static void list_blobs(struct blobcache *c, struct listing *l)
{
    int fd = openat(c->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct stat st;
        if (fstatat(c->dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
            continue;
        if (strncmp(e->d_name, TEMP_PREFIX, strlen(TEMP_PREFIX)) == 0)
            drop_stale_temp(c, e->d_name, &st);
        else if (strlen(e->d_name) == NAME_LEN)
            list_one(l, e->d_name, &st);
    }
    if (d)
        closedir(d);
    else if (fd >= 0)
        close(fd);
}

/* The newest stays even when it alone is over the size: it is about to be used. */
static void evict(struct blobcache *c)
{
    struct listing l = {0};
    list_blobs(c, &l);
    if (l.n && l.total > c->bytes_max)
        qsort(l.entry, l.n, sizeof *l.entry, by_use);
    for (size_t i = 0; i + 1 < l.n && l.total > c->bytes_max; i++) {
        unlinkat(c->dir, l.entry[i].name, 0);
        l.total -= l.entry[i].size;
    }
    free(l.entry);
}

/* ---- Writing ---- */

int blobcache_begin(struct blobcache *c, const uint8_t sha[32], struct blobwrite **out)
{
    struct blobwrite *w = calloc(1, sizeof *w);
    must(w);
    snprintf(w->temp, sizeof w->temp, TEMP_PREFIX "%ld-%u", (long)getpid(), c->temps++);
    w->fd = openat(c->dir, w->temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (w->fd < 0) {
        free(w);
        return CX_EIO;
    }
    w->cache = c;
    w->hash = sha256_new();
    memcpy(w->sha, sha, 32);
    *out = w;
    return 0;
}

int blobwrite_add(struct blobwrite *w, struct bytes data)
{
    sha256_add(w->hash, data.data, data.len);
    while (data.len) {
        ssize_t n = write(w->fd, data.data, data.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return CX_EIO;
        data.data += n;
        data.len -= (size_t)n;
    }
    return 0;
}

static void writer_free(struct blobwrite *w)
{
    close(w->fd);
    free(w);
}

int blobwrite_end(struct blobwrite *w)
{
    struct blobcache *c = w->cache;
    char name[NAME_LEN + 1];
    uint8_t is[32];
    int rc = 0;
    name_of(w->sha, name);
    sha256_end(w->hash, is);
    if (memcmp(is, w->sha, 32))
        rc = CX_EPROTO;
    else if (renameat(c->dir, w->temp, c->dir, name))
        rc = CX_EIO;
    if (rc)
        unlinkat(c->dir, w->temp, 0);
    else
        note_good(c, w->fd, w->sha);
    writer_free(w);
    if (!rc)
        evict(c);
    return rc;
}

void blobwrite_drop(struct blobwrite *w)
{
    uint8_t ignored[32];
    if (!w)
        return;
    sha256_end(w->hash, ignored);
    unlinkat(w->cache->dir, w->temp, 0);
    writer_free(w);
}
