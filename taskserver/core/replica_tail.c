/* The log's last records. */
#include "taskserver/core/replica_core.h"

void tail_reset(struct tail *t, uint64_t next_lsn)
{
    buf_clear(&t->data);
    t->skip = t->n = 0;
    t->from = 0;
    t->first = next_lsn;
}

/* What has been trimmed is moved over once it is half of what is there. */
static void tail_pack(struct tail *t)
{
    if (!t->skip || t->skip < t->n / 2)
        return;
    memmove(t->data.data, t->data.data + t->from, t->data.len - t->from);
    t->data.len -= t->from;
    for (uint32_t i = t->skip; i < t->n; i++)
        t->end[i - t->skip] = t->end[i] - t->from;
    t->n -= t->skip;
    t->skip = 0;
    t->from = 0;
}

void tail_add(struct tail *t, struct bytes record)
{
    if (t->n == t->cap) {
        tail_pack(t);
        if (t->n > t->cap / 2 || !t->cap) {
            t->cap = t->cap ? t->cap * 2 : 64;
            t->end = realloc(t->end, t->cap * sizeof *t->end);
            if (!t->end)
                abort();
        }
    }
    put_bytes(&t->data, record);
    t->end[t->n++] = t->data.len;
}

void tail_trim(struct tail *t, uint64_t lsn)
{
    while (t->skip < t->n && t->first <= lsn) {
        t->from = t->end[t->skip++];
        t->first++;
    }
    if (t->skip == t->n)
        tail_reset(t, t->first);
}

/* Where record lsn begins. */
static size_t tail_at(const struct tail *t, uint64_t lsn)
{
    uint64_t i = lsn - t->first;
    return i ? t->end[t->skip + i - 1] : t->from;
}

struct bytes tail_get(const struct tail *t, uint64_t lsn, size_t max, uint64_t *n)
{
    uint64_t to = lsn, last = t->first + (t->n - t->skip) - 1;
    must(lsn >= t->first && lsn <= last);
    size_t from = tail_at(t, lsn);
    while (to < last && t->end[t->skip + (to + 1 - t->first)] - from <= max)
        to++;
    *n = to - lsn + 1;
    return bytes_of(t->data.data + from, t->end[t->skip + (to - t->first)] - from);
}

size_t tail_bytes(const struct tail *t, uint64_t after_lsn)
{
    if (t->skip == t->n || after_lsn + 1 >= t->first + (t->n - t->skip))
        return 0;
    return t->data.len - (after_lsn < t->first ? t->from : tail_at(t, after_lsn + 1));
}

void tail_free(struct tail *t)
{
    buf_free(&t->data);
    free(t->end);
}
