#include "taskserver/journal_compact.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK_BYTES = 1 << 20 };

static void write_out(struct compaction *c, struct bytes data)
{
    while (data.len && !c->error) {
        ssize_t n = write(c->to, data.data, data.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            c->error = n < 0 ? errno : EIO;
            return;
        }
        data.data += n;
        data.len -= (size_t)n;
        c->bytes += (uint64_t)n;
    }
}

static void write_chunk(struct compaction *c)
{
    write_out(c, buf_bytes(&c->chunk));
    buf_clear(&c->chunk);
}

static void emit(void *ctx, struct bytes record)
{
    struct compaction *c = ctx;
    if (c->error || atomic_load(&c->abandon))
        return;
    journal_record_put(&c->chunk, c->incarnation, c->lsn, 0, record);
    c->records++;
    if (c->chunk.len >= CHUNK_BYTES)
        write_chunk(c);
}

/* The header counts what follows it, so that it is written last. */
static void write_header(struct compaction *c)
{
    struct journal_header h = {c->incarnation, c->lsn, c->records, c->snapshot_bytes};
    buf_clear(&c->chunk);
    journal_header_put(&c->chunk, &h);
    if (!c->error && pwrite(c->to, c->chunk.data, c->chunk.len, 0) != (ssize_t)c->chunk.len)
        c->error = errno ? errno : EIO;
    buf_clear(&c->chunk);
}

static bool failed(struct compaction *c)
{
    if (c->error)
        snprintf(c->why, sizeof c->why, "cannot write %.300s: %s", c->path_new, strerror(c->error));
    else if (atomic_load(&c->abandon))
        snprintf(c->why, sizeof c->why, "the server is stopping");
    return c->error || atomic_load(&c->abandon);
}

static bool write_state(struct compaction *c, void *state, struct bytes note)
{
    buf_reserve(&c->chunk, JOURNAL_HEADER_BYTES);
    memset(c->chunk.data, 0, JOURNAL_HEADER_BYTES);
    c->chunk.len = JOURNAL_HEADER_BYTES;
    c->machine->snapshot(state, emit, c);
    write_chunk(c);
    c->snapshot_bytes = c->bytes - JOURNAL_HEADER_BYTES;
    write_header(c);
    if (note.len)
        journal_record_put(&c->chunk, c->incarnation, c->lsn, JOURNAL_NOTE, note);
    write_chunk(c);
    return !failed(c);
}

struct replaying {
    struct compaction *c;
    void *state;
};

static bool replay(void *ctx, struct bytes record, uint64_t lsn)
{
    struct replaying *r = ctx;
    return !atomic_load(&r->c->abandon) && r->c->machine->replay(r->state, record, lsn);
}

static bool read_state(struct compaction *c, void *state, struct journal_found *found)
{
    struct replaying r = {c, state};
    struct journal_header h;
    uint64_t end;
    int code = journal_scan(c->from, c->limit, replay, &r, &h, found, &end, c->why);
    if (failed(c) || code)
        return false;
    if (end == c->limit && found->lsn == c->lsn)
        return true;
    snprintf(c->why, sizeof c->why, "the file is damaged at offset %llu", (unsigned long long)end);
    return false;
}

static bool open_files(struct compaction *c)
{
    c->from = open(c->path, O_RDONLY | O_CLOEXEC);
    c->to = open(c->path_new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (c->from >= 0 && c->to >= 0)
        return true;
    snprintf(c->why, sizeof c->why, "cannot open %.300s: %s", c->from < 0 ? c->path : c->path_new,
             strerror(errno));
    return false;
}

bool compaction_run(struct compaction *c)
{
    c->copied = c->limit;
    struct journal_found found = {0};
    void *state = c->machine->begin(c->ctx);
    bool ok = open_files(c) && read_state(c, state, &found) && write_state(c, state, buf_bytes(&found.note));
    c->machine->end(state);
    journal_found_free(&found);
    return ok;
}

bool compaction_catch_up(struct compaction *c, uint64_t end)
{
    buf_reserve(&c->chunk, CHUNK_BYTES);
    while (c->copied < end && !failed(c)) {
        size_t want = end - c->copied < CHUNK_BYTES ? (size_t)(end - c->copied) : CHUNK_BYTES;
        ssize_t n = pread(c->from, c->chunk.data, want, (off_t)c->copied);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            snprintf(c->why, sizeof c->why, "cannot read %.300s: %s", c->path,
                     n ? strerror(errno) : "it ends");
            return false;
        }
        write_out(c, bytes_of(c->chunk.data, (size_t)n));
        c->copied += (uint64_t)n;
    }
    if (!c->error && fdatasync(c->to))
        c->error = errno;
    return !failed(c);
}

void compaction_end(struct compaction *c, bool kept)
{
    if (c->from >= 0)
        close(c->from);
    if (!kept && c->to >= 0) {
        close(c->to);
        unlink(c->path_new);
    }
    buf_free(&c->chunk);
}
