#include "consumer/cmd/shards.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Rows ---- */

size_t shards_count(const struct shards *s)
{
    return s->rows.len / sizeof(struct shard_row);
}

struct shard_row shards_at(const struct shards *s, size_t i)
{
    struct shard_row row;
    memcpy(&row, s->rows.data + i * sizeof row, sizeof row);
    return row;
}

/* The best row that is accepted; ties go to the first. */
static bool find(const struct shards *s, const char *shard, const char *server, bool serves,
                 struct shard_row *out)
{
    bool found = false;
    for (size_t i = 0; i < shards_count(s); i++) {
        struct shard_row row = shards_at(s, i);
        bool fits = row.silent[0] == '\0' && (shard == NULL || strcmp(row.name, shard) == 0) &&
                    (server == NULL || strcmp(row.server, server) == 0) && (!serves || row.serves);
        if (fits && (!found || row.epoch > out->epoch)) {
            *out = row;
            found = true;
        }
    }
    return found;
}

bool shards_primary(const struct shards *s, const char *shard, struct shard_row *out)
{
    return find(s, shard, NULL, true, out);
}

bool shards_replica(const struct shards *s, const char *shard, const char *server, struct shard_row *out)
{
    return find(s, shard, server, false, out);
}

bool shards_any(const struct shards *s, const char *shard, struct shard_row *out)
{
    return find(s, shard, NULL, false, out);
}

bool shards_server(const struct shards *s, const char *server, struct shard_row *out)
{
    return find(s, NULL, server, false, out);
}

/* ---- Judgements ---- */

bool shards_known(const struct shards *s, const char *shard)
{
    struct shard_row row;
    return shards_any(s, shard, &row);
}

bool shards_at_home(const struct shards *s, const char *shard)
{
    struct shard_row row;
    return !shards_primary(s, shard, &row) || strcmp(row.server, shard) == 0;
}

bool shards_paired(const struct shards *s, const char *shard)
{
    struct shard_row row;
    return shards_primary(s, shard, &row) && row.in_sync[0] != 0 && row.in_sync[1] != 0;
}

bool shards_drained(const struct shards *s, const char *server)
{
    struct shard_row row;
    return !find(s, NULL, server, true, &row);
}

bool shards_whole(const struct shards *s, const char *server)
{
    struct shard_row row;
    size_t kept = 0;
    for (size_t i = 0; i < shards_count(s); i++) {
        row = shards_at(s, i);
        if (row.silent[0] != '\0' || strcmp(row.server, server) != 0)
            continue;
        kept++;
        if (!shards_paired(s, row.name))
            return false;
    }
    return kept > 0 && shards_primary(s, server, &row) && strcmp(row.server, server) == 0;
}

/* ---- Names ---- */

void shards_address(const struct shard_row *row, char *out, size_t cap)
{
    snprintf(out, cap, "%.*s", (int)strcspn(row->addresses, ","), row->addresses);
}

void shards_member(const struct shards *s, const char *shard, uint64_t member, char *out, size_t cap)
{
    for (size_t i = 0; i < shards_count(s); i++) {
        struct shard_row row = shards_at(s, i);
        if (row.silent[0] == '\0' && row.member == member && strcmp(row.name, shard) == 0) {
            snprintf(out, cap, "%s", row.server);
            return;
        }
    }
    snprintf(out, cap, "%016" PRIx64, member);
}

uint64_t shards_member_of(const struct shards *s, const char *shard, const char *text)
{
    struct shard_row row;
    char *end;
    if (shards_replica(s, shard, text, &row))
        return row.member;
    uint64_t n = strtoull(text, &end, 16);
    return *end == '\0' && end != text ? n : 0;
}

/* ---- Advice ---- */

static bool is_halted(const struct shards *s, const char *shard, struct shard_row *out)
{
    for (size_t i = 0; i < shards_count(s); i++) {
        *out = shards_at(s, i);
        if (out->silent[0] == '\0' && strcmp(out->name, shard) == 0 && strcmp(out->role, "halted") == 0)
            return true;
    }
    return false;
}

bool shards_advice(const struct shards *s, const char *shard, char *out, size_t cap)
{
    struct shard_row row;
    if (!shards_primary(s, shard, &row) && is_halted(s, shard, &row)) {
        snprintf(
            out, cap,
            "shard %s is halted: who has all of it does not answer. Bring that server back, or: cx server "
            "accept-loss %s --member %s",
            shard, shard, row.server);
    } else if (!shards_primary(s, shard, &row)) {
        snprintf(out, cap,
                 "shard %s is served by nobody yet; when it lasts, are its other server and the broker up?",
                 shard);
    } else if (strcmp(row.role, "alone") == 0) {
        return false;
    } else if (!shards_paired(s, shard)) {
        snprintf(out, cap, "shard %s has one copy only%s", shard,
                 row.sibling ? "; the other one is being made" : ": bring the other server of the pair back");
    } else if (strcmp(row.server, shard) != 0) {
        snprintf(out, cap, "shard %s is served by %s; to give it back: cx server hand-back %s", shard,
                 row.server, shard);
    } else {
        return false;
    }
    return true;
}
