#include "proto/limits.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/commit.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define AT(m, f) offsetof(cx_##m, f)
#define TEXT(m, f, max)                                                                                      \
    {                                                                                                        \
        LIMIT_TEXT, AT(m, f), max, #f                                                                        \
    }
#define BYTES(m, f, max)                                                                                     \
    {                                                                                                        \
        LIMIT_BYTES, AT(m, f), max, #f                                                                       \
    }
#define ID(m, f)                                                                                             \
    {                                                                                                        \
        LIMIT_EXACT, AT(m, f), 16, #f                                                                        \
    }
#define ID_OR_NONE(m, f)                                                                                     \
    {                                                                                                        \
        LIMIT_EXACT_OR_NONE, AT(m, f), 16, #f                                                                \
    }
#define HASH(m, f)                                                                                           \
    {                                                                                                        \
        LIMIT_EXACT, AT(m, f), 32, #f                                                                        \
    }
#define HASH_OR_NONE(m, f)                                                                                   \
    {                                                                                                        \
        LIMIT_EXACT_OR_NONE, AT(m, f), 32, #f                                                                \
    }
#define U32(m, f, max)                                                                                       \
    {                                                                                                        \
        LIMIT_U32, AT(m, f), max, #f                                                                         \
    }
#define U64(m, f, max)                                                                                       \
    {                                                                                                        \
        LIMIT_U64, AT(m, f), max, #f                                                                         \
    }

enum {
    NAME_MAX_BYTES = 63,
    OWNER_MAX_BYTES = 127, /* role/name */
    ARCH_MAX_BYTES = 31,
    ARCHES_MAX_BYTES = 255, /* a comma-separated list */
    ADDRESS_MAX_BYTES = 255,
    LABEL_MAX_BYTES = 255,
    FUNCTIONS_MAX_BYTES = 2048,
    REASON_MAX_BYTES = 2048, /* a failure's message and what names the task */
    THREADS_MAX = 65536,     /* of one machine */
    NETWORK_THREADS_MAX = 1 << 28,
    WINDOW_MAX = 1 << 20,
    WEIGHT_MAX = 1000000,
    STATE_MAX = 3,
    ROLE_MAX_BYTES = 15, /* of a replica */
    VERB_MAX = 3,
    ASK_MAX_BYTES = 256, /* packed, to the witness or from it */
};
#define ARGS_MAX_BYTES    (32u << 20)
#define RECORDS_MAX_BYTES (MSG_BYTES_MAX - 64u)
#define VALUE_MAX_BYTES   (CX_VALUE_BYTES_MAX + 16u) /* packed: tag and length before the bytes */

/* What is not listed is a number of which every value is legal. */
static const struct limit status[] = {TEXT(Status, text, REASON_MAX_BYTES)};
static const struct limit hello[] = {TEXT(Hello, software, NAME_MAX_BYTES),
                                     TEXT(Hello, arch, ARCH_MAX_BYTES),
                                     U32(Hello, threads, THREADS_MAX),
                                     U32(Hello, window, WINDOW_MAX),
                                     ID_OR_NONE(Hello, shard),
                                     ID_OR_NONE(Hello, from)};
static const struct limit welcome[] = {TEXT(Welcome, software, NAME_MAX_BYTES),
                                       TEXT(Welcome, network, NAME_MAX_BYTES),
                                       U32(Welcome, heartbeat_ms, 60000), ID_OR_NONE(Welcome, shard),
                                       TEXT(Welcome, addresses, ADDRESS_MAX_BYTES)};
static const struct limit window[] = {U32(Window, grants, WINDOW_MAX)};
static const struct limit packed[] = {BYTES(Packed, records, RECORDS_MAX_BYTES)};
static const struct limit job_ref[] = {ID(JobRef, job)};
static const struct limit task_ref[] = {ID(TaskRef, job), ID(TaskRef, task)};
static const struct limit bound[] = {ID(Bound, job), U32(Bound, kind, CX_BOUND_MAX)};
static const struct limit module[] = {TEXT(Module, arch, ARCH_MAX_BYTES), HASH(Module, sha256)};
static const struct limit job_info[] = {ID(JobInfo, job), HASH(JobInfo, module),
                                        HASH_OR_NONE(JobInfo, input)};
static const struct limit submit[] = {
    ID(Submit, job),
    {LIMIT_MODULES, AT(Submit, module), 4, "module"},
    HASH_OR_NONE(Submit, input),
    TEXT(Submit, functions, FUNCTIONS_MAX_BYTES),
    U32(Submit, fn, FN_MAX),
    U32(Submit, nargs, CX_ARGS_MAX),
    BYTES(Submit, args, ARGS_MAX_BYTES),
    U32(Submit, weight, WEIGHT_MAX),
    TEXT(Submit, label, LABEL_MAX_BYTES),
};
static const struct limit result[] = {ID(Result, job), U32(Result, state, STATE_MAX),
                                      BYTES(Result, value, VALUE_MAX_BYTES),
                                      TEXT(Result, reason, REASON_MAX_BYTES)};
static const struct limit list[] = {U32(List, what, 5)};
static const struct limit text_of[] = {TEXT(Text, text, 1u << 20)};
static const struct limit job_row[] = {
    ID(JobRow, job),
    U32(JobRow, state, STATE_MAX),
    TEXT(JobRow, label, LABEL_MAX_BYTES),
    TEXT(JobRow, owner, OWNER_MAX_BYTES),
    TEXT(JobRow, functions, FUNCTIONS_MAX_BYTES),
    U32(JobRow, fn, FN_MAX),
    U32(JobRow, weight, WEIGHT_MAX),
    TEXT(JobRow, reason, REASON_MAX_BYTES),
};
static const struct limit producer_row[] = {TEXT(ProducerRow, name, OWNER_MAX_BYTES),
                                            TEXT(ProducerRow, arch, ARCH_MAX_BYTES),
                                            U32(ProducerRow, threads, THREADS_MAX)};
static const struct limit server_row[] = {TEXT(ServerRow, name, NAME_MAX_BYTES),
                                          TEXT(ServerRow, network, NAME_MAX_BYTES),
                                          TEXT(ServerRow, software, NAME_MAX_BYTES)};
static const struct limit admin[] = {U32(Admin, verb, VERB_MAX), ID_OR_NONE(Admin, shard)};
static const struct limit shard_row[] = {
    ID(ShardRow, id), TEXT(ShardRow, name, NAME_MAX_BYTES), TEXT(ShardRow, addresses, ADDRESS_MAX_BYTES),
    TEXT(ShardRow, role, ROLE_MAX_BYTES), TEXT(ShardRow, server, NAME_MAX_BYTES)};
static const struct limit replica[] = {ID(Replica, shard), BYTES(Replica, msg, RECORDS_MAX_BYTES)};
static const struct limit shard_ask[] = {BYTES(Packed, records, ASK_MAX_BYTES)};
static const struct limit blob_ref[] = {HASH(BlobRef, sha256), U64(BlobRef, size, BLOB_BYTES_MAX)};
static const struct limit blob_chunk[] = {BYTES(BlobChunk, data, BLOB_CHUNK_MAX)};
static const struct limit register_network[] = {
    TEXT(Register, network, NAME_MAX_BYTES),     TEXT(Register, address, ADDRESS_MAX_BYTES),
    TEXT(Register, arch, ARCHES_MAX_BYTES),      U32(Register, producers, NETWORK_THREADS_MAX),
    U32(Register, threads, NETWORK_THREADS_MAX),
};
static const struct limit match[] = {TEXT(Match, network, NAME_MAX_BYTES),
                                     U32(Match, threads, NETWORK_THREADS_MAX),
                                     TEXT(Match, arch, ARCHES_MAX_BYTES)};
static const struct limit place[] = {TEXT(Place, arch, ARCH_MAX_BYTES), U32(Place, threads, THREADS_MAX)};
static const struct limit offer[] = {TEXT(Offer, network, NAME_MAX_BYTES),
                                     TEXT(Offer, address, ADDRESS_MAX_BYTES),
                                     U32(Offer, threads, NETWORK_THREADS_MAX)};
static const struct limit network_row[] = {
    TEXT(NetworkRow, network, NAME_MAX_BYTES),       TEXT(NetworkRow, address, ADDRESS_MAX_BYTES),
    U32(NetworkRow, producers, NETWORK_THREADS_MAX), U32(NetworkRow, threads, NETWORK_THREADS_MAX),
    TEXT(NetworkRow, arch, ARCHES_MAX_BYTES),        TEXT(NetworkRow, name, NAME_MAX_BYTES),
};

#define KIND(tag, message, rows) [cx_Msg_##tag##_tag] = {#tag, cx_##message##_fields, rows, COUNT(rows)}
#define BARE(tag, message)       [cx_Msg_##tag##_tag] = {#tag, cx_##message##_fields, NULL, 0}

static const struct msg_rules rules[] = {
    KIND(status, Status, status),
    KIND(hello, Hello, hello),
    KIND(welcome, Welcome, welcome),
    KIND(window, Window, window),
    KIND(grants, Packed, packed),
    KIND(commits, Packed, packed),
    KIND(holds, Packed, packed),
    KIND(job, JobInfo, job_info),
    KIND(job_gone, JobRef, job_ref),
    KIND(bound, Bound, bound),
    BARE(hungry, Hungry),
    KIND(revoke, TaskRef, task_ref),
    BARE(leave, Leave),
    KIND(submit, Submit, submit),
    KIND(cancel, JobRef, job_ref),
    KIND(watch, JobRef, job_ref),
    KIND(unwatch, JobRef, job_ref),
    KIND(forget, JobRef, job_ref),
    KIND(job_row, JobRow, job_row),
    KIND(result, Result, result),
    KIND(list, List, list),
    KIND(producer_row, ProducerRow, producer_row),
    KIND(server_row, ServerRow, server_row),
    KIND(why, JobRef, job_ref),
    KIND(text, Text, text_of),
    KIND(admin, Admin, admin),
    KIND(shard_row, ShardRow, shard_row),
    KIND(replica, Replica, replica),
    KIND(peer, Packed, packed),
    KIND(shard_ask, Packed, shard_ask),
    KIND(shard_answer, Packed, shard_ask),
    KIND(blob_have, BlobRef, blob_ref),
    KIND(blob_get, BlobRef, blob_ref),
    KIND(blob_put, BlobRef, blob_ref),
    KIND(blob_chunk, BlobChunk, blob_chunk),
    KIND(register_network, Register, register_network),
    KIND(match, Match, match),
    KIND(place, Place, place),
    KIND(offer, Offer, offer),
    KIND(network_row, NetworkRow, network_row),
};

const struct msg_rules *msg_rules_of(unsigned kind)
{
    return kind < COUNT(rules) && rules[kind].name ? &rules[kind] : NULL;
}

/* The length of the well-formed UTF-8 sequence at s, by its first byte and the legal range of the second
 * (RFC 3629, section 4); 0 when there is none. */
static size_t utf8_sequence(const uint8_t *s, size_t left)
{
    uint8_t lo = 0x80, hi = 0xbf;
    size_t n = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    if (s[0] == 0xe0)
        lo = 0xa0;
    else if (s[0] == 0xed)
        hi = 0x9f;
    else if (s[0] == 0xf0)
        lo = 0x90;
    else if (s[0] == 0xf4)
        hi = 0x8f;
    if (s[1] < lo || s[1] > hi)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

bool utf8_valid(struct bytes s)
{
    for (size_t i = 0; i < s.len;) {
        size_t n = 1;
        if (s.data[i] == 0)
            return false;
        if (s.data[i] >= 0x80)
            n = utf8_sequence(s.data + i, s.len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

static int check_length(const struct limit *l, struct bytes s, const char *name, char *text)
{
    bool exact = l->kind == LIMIT_EXACT || (l->kind == LIMIT_EXACT_OR_NONE && s.len > 0);
    if (exact && s.len != l->max) {
        snprintf(text, MSG_TEXT_MAX, "%s.%s: %zu bytes, must be %" PRIu64, name, l->field, s.len, l->max);
        return CX_EPROTO;
    }
    if (s.len > l->max) {
        snprintf(text, MSG_TEXT_MAX, "%s.%s: %zu bytes, limit %" PRIu64, name, l->field, s.len, l->max);
        return CX_ELIMIT;
    }
    if (l->kind == LIMIT_TEXT && !utf8_valid(s)) {
        snprintf(text, MSG_TEXT_MAX, "%s.%s: not text (invalid UTF-8, or a NUL byte)", name, l->field);
        return CX_EPROTO;
    }
    return 0;
}

static int check_number(const struct limit *l, uint64_t v, const char *name, char *text)
{
    if (v <= l->max)
        return 0;
    snprintf(text, MSG_TEXT_MAX, "%s.%s: %" PRIu64 ", limit %" PRIu64, name, l->field, v, l->max);
    return CX_ELIMIT;
}

static int check_rows(const struct limit *rows_of, size_t n, const void *base, const char *name, char *text);

static int check_modules(const cx_Submit *s, char *text)
{
    int e = 0;
    for (pb_size_t i = 0; i < s->module_count && e == 0; i++)
        e = check_rows(module, COUNT(module), &s->module[i], "submit.module", text);
    return e;
}

static int check_row(const struct limit *l, const void *base, const char *name, char *text)
{
    const char *at = (const char *)base + l->offset;
    switch ((enum limit_kind)l->kind) {
    case LIMIT_U32:
        return check_number(l, *(const uint32_t *)(const void *)at, name, text);
    case LIMIT_U64:
        return check_number(l, *(const uint64_t *)(const void *)at, name, text);
    case LIMIT_MODULES:
        return check_modules(base, text);
    default:
        return check_length(l, *(const struct bytes *)(const void *)at, name, text);
    }
}

static int check_rows(const struct limit *rows_of, size_t n, const void *base, const char *name, char *text)
{
    int e = 0;
    for (size_t i = 0; i < n && e == 0; i++)
        e = check_row(&rows_of[i], base, name, text);
    return e;
}

int limits_check(const cx_Msg *m, char *text)
{
    const struct msg_rules *r = msg_rules_of(m->which_body);
    if (!r) {
        snprintf(text, MSG_TEXT_MAX, "message %u: no kind, or one that this version does not know",
                 m->which_body);
        return CX_EPROTO;
    }
    return check_rows(r->limit, r->n, &m->body, r->name, text);
}
