#include "taskserver/archive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/must.h"
#include "base/pack.h"

static const char magic[8] = {'C', 'X', 'B', 'A', 'C', 'K', 'U', 'P'};

enum { HEADER_BYTES = 16, HEAD_BYTES = 13, SUMMED_BYTES = 5 };

static uint64_t part_sum(const uint8_t *head, struct bytes data, uint64_t number)
{
    return hash64(data.data, data.len, hash64(head, SUMMED_BYTES, number));
}

/* ---- Writing ---- */

struct archive_writer {
    FILE *file; /* owned */
    char path[STATE_PATH_MAX];
    uint64_t parts;
    int error; /* errno of the first failure */
};

static void put_raw(struct archive_writer *w, struct bytes data)
{
    if (!w->error && data.len && fwrite(data.data, 1, data.len, w->file) != data.len)
        w->error = errno ? errno : EIO;
}

int archive_create(const char *path, struct archive_writer **out, char *why)
{
    FILE *file = fopen(path, "wbxe");
    if (!file) {
        int error = errno;
        snprintf(why, STATE_WHY_MAX, "cannot make %.300s: %s", path, strerror(error));
        return error == EEXIST ? CX_EEXIST : CX_EIO;
    }
    struct archive_writer *w = calloc(1, sizeof *w);
    must(w);
    w->file = file;
    snprintf(w->path, sizeof w->path, "%s", path);
    struct buf b = {0};
    buf_add(&b, magic, sizeof magic);
    put_u32(&b, ARCHIVE_VERSION);
    put_u32(&b, 0);
    put_raw(w, buf_bytes(&b));
    buf_free(&b);
    *out = w;
    return 0;
}

void archive_put(struct archive_writer *w, enum archive_kind kind, struct bytes data)
{
    uint8_t head[HEAD_BYTES] = {(uint8_t)kind};
    must(data.len <= UINT32_MAX);
    store_u32(head + 1, (uint32_t)data.len);
    store_u64(head + SUMMED_BYTES, part_sum(head, data, w->parts++));
    put_raw(w, bytes_of(head, sizeof head));
    put_raw(w, data);
}

/* The directory that the file's name is in: after a power loss it is to be there. */
static int sync_parent(const char *path)
{
    char dir[STATE_PATH_MAX];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (!slash)
        return state_sync_dir(".");
    slash[slash == dir] = 0;
    return state_sync_dir(dir);
}

int archive_close(struct archive_writer *w, bool keep, char *why)
{
    if (keep)
        archive_put(w, ARCHIVE_END, (struct bytes){0});
    if (!w->error && (fflush(w->file) || (keep && fsync(fileno(w->file)))))
        w->error = errno;
    if (fclose(w->file) && !w->error)
        w->error = errno;
    if (keep && !w->error && sync_parent(w->path))
        w->error = errno;
    int error = keep ? w->error : 0;
    if (error)
        snprintf(why, STATE_WHY_MAX, "cannot write %.300s: %s", w->path, strerror(error));
    if (!keep || error)
        unlink(w->path);
    free(w);
    return error ? CX_EIO : 0;
}

/* ---- Reading ---- */

struct archive_reader {
    FILE *file; /* owned */
    char path[STATE_PATH_MAX];
    uint64_t size, at; /* of the file */
    uint64_t parts;
    struct buf data; /* owned: of the part that was read last */
};

static int damaged(const struct archive_reader *r, const char *what, char *why)
{
    snprintf(why, STATE_WHY_MAX, "%.300s: at offset %llu: %s", r->path, (unsigned long long)r->at, what);
    return CX_EFAILED;
}

static int unreadable(const struct archive_reader *r, char *why)
{
    snprintf(why, STATE_WHY_MAX, "cannot read %.300s: %s", r->path, strerror(errno));
    return CX_EIO;
}

static int read_raw(struct archive_reader *r, void *to, size_t len, char *why)
{
    if (r->size - r->at < len)
        return damaged(r, "the file ends in the middle", why);
    if (fread(to, 1, len, r->file) != len)
        return unreadable(r, why);
    r->at += len;
    return 0;
}

static int read_header(struct archive_reader *r, char *why)
{
    uint8_t head[HEADER_BYTES];
    int code = read_raw(r, head, sizeof head, why);
    if (code)
        return code;
    if (memcmp(head, magic, sizeof magic) != 0)
        return damaged(r, "it does not begin as a backup does", why);
    if (load_u32(head + sizeof magic) != ARCHIVE_VERSION || load_u32(head + sizeof magic + 4) != 0)
        return damaged(r, "a backup of another version", why);
    return 0;
}

int archive_open(const char *path, struct archive_reader **out, char *why)
{
    struct archive_reader *r = calloc(1, sizeof *r);
    struct stat st;
    must(r);
    snprintf(r->path, sizeof r->path, "%s", path);
    r->file = fopen(path, "rbe");
    int code = !r->file || fstat(fileno(r->file), &st) ? unreadable(r, why) : 0;
    if (!code) {
        r->size = (uint64_t)st.st_size;
        code = read_header(r, why);
    }
    if (code)
        archive_free(r);
    else
        *out = r;
    return code;
}

int archive_next(struct archive_reader *r, struct archive_part *part, char *why)
{
    uint8_t head[HEAD_BYTES];
    uint64_t from = r->at;
    int code = read_raw(r, head, sizeof head, why);
    if (code)
        return code;
    size_t len = load_u32(head + 1);
    if (r->size - r->at < len)
        return damaged(r, "the file ends in the middle", why);
    buf_clear(&r->data);
    code = read_raw(r, buf_more(&r->data, len), len, why);
    if (code)
        return code;
    *part = (struct archive_part){head[0], buf_bytes(&r->data)};
    bool whole = load_u64(head + SUMMED_BYTES) == part_sum(head, part->data, r->parts++) &&
                 part->kind >= ARCHIVE_SHARD && part->kind <= ARCHIVE_END;
    if (whole && (part->kind != ARCHIVE_END || r->at == r->size))
        return 0;
    r->at = whole ? r->at : from;
    return damaged(r, whole ? "there is more behind the end" : "it has been changed", why);
}

void archive_free(struct archive_reader *r)
{
    if (!r)
        return;
    if (r->file)
        fclose(r->file);
    buf_free(&r->data);
    free(r);
}
