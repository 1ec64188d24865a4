#include "taskserver/journal_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/pack.h"

static const char magic[8] = {'C', 'X', 'J', 'O', 'U', 'R', 'N', 'L'};

void journal_header_put(struct buf *b, const struct journal_header *h)
{
    size_t at = b->len;
    buf_add(b, magic, sizeof magic);
    put_u32(b, JOURNAL_VERSION);
    put_u32(b, 0);
    put_u64(b, h->incarnation);
    put_u64(b, h->base);
    put_u64(b, h->snapshot_records);
    put_u64(b, h->snapshot_bytes);
    put_u64(b, hash64(b->data + at, b->len - at, 0));
}

int journal_header_get(struct bytes data, struct journal_header *h, char *why)
{
    struct reader r = reader_of(data);
    struct bytes m = get_raw(&r, sizeof magic);
    uint32_t version = get_u32(&r);
    get_u32(&r);
    struct journal_header got = {get_u64(&r), get_u64(&r), get_u64(&r), get_u64(&r)};
    size_t summed = (size_t)(r.at - data.data);
    uint64_t sum = get_u64(&r);
    if (r.bad || memcmp(m.data, magic, sizeof magic) != 0) {
        snprintf(why, STATE_WHY_MAX, "it does not begin as a journal does");
        return CX_EFAILED;
    }
    if (sum != hash64(data.data, summed, 0)) {
        snprintf(why, STATE_WHY_MAX, "its header is damaged");
        return CX_EFAILED;
    }
    if (version != JOURNAL_VERSION) {
        snprintf(why, STATE_WHY_MAX, "it has format version %u, this server reads version %u", version,
                 JOURNAL_VERSION);
        return CX_EFAILED;
    }
    *h = got;
    return 0;
}

void journal_found_free(struct journal_found *found)
{
    buf_free(&found->note);
}

#define FLAGS (JOURNAL_MARK | JOURNAL_NOTE)

/* The sum of a record: its data's, seeded by that of length (with the mark) and lsn. */
static uint64_t record_sum(const uint8_t *length_and_lsn, struct bytes data, uint64_t incarnation)
{
    return hash64(data.data, data.len, hash64(length_and_lsn, 12, incarnation));
}

static void store64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

void journal_record_put(struct buf *b, uint64_t incarnation, uint64_t lsn, uint32_t flags,
                        struct bytes record)
{
    buf_reserve(b, JOURNAL_RECORD_HEAD + record.len);
    size_t head = b->len;
    put_u32(b, (uint32_t)record.len | flags);
    put_u64(b, lsn);
    put_u64(b, record_sum(b->data + head, record, incarnation));
    buf_add(b, record.data, record.len);
}

void journal_record_mark(uint8_t *head, uint64_t incarnation)
{
    struct reader r = {head, head + 4, false};
    size_t len = get_u32(&r) & ~FLAGS;
    head[3] |= 0x80;
    store64(head + 12, record_sum(head, bytes_of(head + JOURNAL_RECORD_HEAD, len), incarnation));
}

/* ---- Reading ---- */

/* A file seen through a window of memory, so that a journal of gigabytes needs only a little. */
struct scan {
    int fd;
    uint64_t size;
    uint64_t incarnation;
    struct buf window; /* owned: the file's bytes from `from` on */
    uint64_t from;
    int error; /* errno of a read that failed */
};

struct found_record {
    uint64_t lsn;
    bool mark, note;
    struct bytes data; /* borrowed until the next look */
};

enum { WINDOW_BYTES = 1 << 20 };

static bool scan_fill(struct scan *s, uint64_t at, size_t need)
{
    size_t want = need > WINDOW_BYTES ? need : WINDOW_BYTES;
    if (want > s->size - at)
        want = (size_t)(s->size - at);
    buf_clear(&s->window);
    buf_reserve(&s->window, want);
    s->from = at;
    while (s->window.len < want) {
        ssize_t n =
            pread(s->fd, s->window.data + s->window.len, want - s->window.len, (off_t)(at + s->window.len));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            s->error = n < 0 ? errno : EIO;
            return false;
        }
        s->window.len += (size_t)n;
    }
    return true;
}

/* `need` bytes of the file at `at`, or NULL: past its end, or unreadable (s->error). */
static const uint8_t *scan_at(struct scan *s, uint64_t at, size_t need)
{
    if (at > s->size || need > s->size - at)
        return NULL;
    if ((at < s->from || at + need > s->from + s->window.len) && !scan_fill(s, at, need))
        return NULL;
    return s->window.data + (at - s->from);
}

/* True when a record that checks is at `at`, with an lsn of this range. */
static bool scan_record(struct scan *s, uint64_t at, uint64_t lsn_min, uint64_t lsn_max,
                        struct found_record *out)
{
    const uint8_t *head = scan_at(s, at, JOURNAL_RECORD_HEAD);
    if (!head)
        return false;
    struct reader r = {head, head + JOURNAL_RECORD_HEAD, false};
    uint32_t length = get_u32(&r);
    uint64_t lsn = get_u64(&r), sum = get_u64(&r);
    size_t len = length & ~FLAGS;
    if (lsn < lsn_min || lsn > lsn_max || len > s->size - at - JOURNAL_RECORD_HEAD)
        return false;
    head = scan_at(s, at, JOURNAL_RECORD_HEAD + len);
    if (!head)
        return false;
    struct bytes data = {head + JOURNAL_RECORD_HEAD, len};
    if (sum != record_sum(head, data, s->incarnation))
        return false;
    *out = (struct found_record){lsn, (length & JOURNAL_MARK) != 0, (length & JOURNAL_NOTE) != 0, data};
    return true;
}

/* The first MARK behind `bad`, where the record after lsn `last` should be. Looked for at each byte, since
 * the damage may be in a length. The lsn has to be near, so a sum is computed hardly ever in vain. */
static bool scan_mark(struct scan *s, uint64_t bad, uint64_t last, uint64_t *at, struct found_record *rec)
{
    uint64_t lsn_max = last + (s->size - bad) / JOURNAL_RECORD_HEAD + 1;
    for (*at = bad + 1; *at + JOURNAL_RECORD_HEAD <= s->size && !s->error; ++*at)
        if (scan_record(s, *at, last, lsn_max, rec) && rec->mark)
            return true;
    return false;
}

__attribute__((format(printf, 2, 3))) static int refuse(char *why, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(why, STATE_WHY_MAX, format, ap);
    va_end(ap);
    return CX_EFAILED;
}

#define NEXT_STEP                                                                                            \
    "Nothing was changed. Restore the state directory from a copy, or move the journal away to start "       \
    "without "                                                                                               \
    "its jobs"

/* The records that the header counts as the snapshot. They were synced before the file got its name, so that
 * one that does not check is always damage. */
static int scan_snapshot(struct scan *s, const struct journal_header *h, journal_replay_fn *replay, void *ctx,
                         uint64_t *end, char *why)
{
    struct found_record rec;
    for (uint64_t i = 0; i < h->snapshot_records; i++) {
        if (!scan_record(s, *end, h->base, h->base, &rec))
            return refuse(why, "record %llu of its snapshot, at offset %llu, is damaged. " NEXT_STEP,
                          (unsigned long long)i, (unsigned long long)*end);
        if (!replay(ctx, rec.data, rec.lsn))
            return refuse(why,
                          "record %llu of its snapshot, at offset %llu, does not fit the state. " NEXT_STEP,
                          (unsigned long long)i, (unsigned long long)*end);
        *end += JOURNAL_RECORD_HEAD + rec.data.len;
    }
    if (*end != JOURNAL_HEADER_BYTES + h->snapshot_bytes)
        return refuse(why, "its snapshot is %llu bytes long, the header says %llu. " NEXT_STEP,
                      (unsigned long long)(*end - JOURNAL_HEADER_BYTES),
                      (unsigned long long)h->snapshot_bytes);
    return 0;
}

/* The log behind the snapshot, up to the first record that does not check. */
static int scan_log(struct scan *s, journal_replay_fn *replay, void *ctx, struct journal_found *found,
                    uint64_t *end, char *why)
{
    struct found_record rec;
    while (scan_record(s, *end, found->lsn, found->lsn + 1, &rec)) {
        bool seal = rec.lsn == found->lsn && !rec.data.len && rec.mark;
        if (rec.note && rec.lsn == found->lsn) {
            buf_clear(&found->note);
            buf_add(&found->note, rec.data.data, rec.data.len);
        } else if (rec.note || (!seal && rec.lsn == found->lsn))
            return refuse(why, "the record at offset %llu repeats number %llu. " NEXT_STEP,
                          (unsigned long long)*end, (unsigned long long)rec.lsn);
        bool record = !seal && !rec.note;
        if (record && !replay(ctx, rec.data, rec.lsn))
            return refuse(why, "record %llu, at offset %llu, does not fit the state. " NEXT_STEP,
                          (unsigned long long)rec.lsn, (unsigned long long)*end);
        found->records += record;
        found->lsn = rec.lsn;
        *end += JOURNAL_RECORD_HEAD + rec.data.len;
    }
    return 0;
}

/* The log, over places where a record of no data was lost: those are not synced by themselves, and no number
 * is missing behind them. A missing number before a MARK is damage. */
static int scan_marks(struct scan *s, journal_replay_fn *replay, void *ctx, struct journal_found *found,
                      uint64_t *end, char *why)
{
    for (;;) {
        int code = scan_log(s, replay, ctx, found, end, why);
        if (code)
            return code;
        struct found_record rec;
        uint64_t mark;
        if (!scan_mark(s, *end, found->lsn, &mark, &rec))
            return 0;
        if (rec.lsn > found->lsn + (rec.data.len > 0 && !rec.note))
            return refuse(
                why,
                "it is damaged at offset %llu, where record %llu should be: it was on disk once, since "
                "a later record (at offset %llu) says so. " NEXT_STEP,
                (unsigned long long)*end, (unsigned long long)found->lsn + 1, (unsigned long long)mark);
        *end = mark;
    }
}

static int scan_all(struct scan *s, journal_replay_fn *replay, void *ctx, struct journal_header *h,
                    struct journal_found *found, uint64_t *end, char *why)
{
    const uint8_t *head = scan_at(s, 0, JOURNAL_HEADER_BYTES);
    int code = journal_header_get(bytes_of(head, head ? JOURNAL_HEADER_BYTES : 0), h, why);
    if (code)
        return code;
    s->incarnation = h->incarnation;
    buf_free(&found->note);
    *found = (struct journal_found){.incarnation = h->incarnation, .lsn = h->base};
    *end = JOURNAL_HEADER_BYTES;
    if ((code = scan_snapshot(s, h, replay, ctx, end, why)))
        return code;
    found->records = h->snapshot_records;
    if ((code = scan_marks(s, replay, ctx, found, end, why)))
        return code;
    found->bytes = *end;
    found->torn_bytes = s->size - *end;
    return 0;
}

int journal_scan(int fd, uint64_t limit, journal_replay_fn *replay, void *ctx, struct journal_header *h,
                 struct journal_found *found, uint64_t *end, char *why)
{
    struct stat st;
    if (fstat(fd, &st)) {
        snprintf(why, STATE_WHY_MAX, "cannot be looked at: %s", strerror(errno));
        return CX_EIO;
    }
    struct scan s = {.fd = fd, .size = (uint64_t)st.st_size < limit ? (uint64_t)st.st_size : limit};
    int code = scan_all(&s, replay, ctx, h, found, end, why);
    if (s.error) {
        snprintf(why, STATE_WHY_MAX, "cannot be read: %s", strerror(s.error));
        code = CX_EIO;
    }
    buf_free(&s.window);
    return code;
}
