/* `cx server status`: a line for each replica of each shard, then what is to be done. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "consumer/cmd/shards.h"
#include "consumer/cmd/show.h"

#define NAMES_MAX  160
#define ADVICE_MAX 512

static void in_sync_text(const struct shards *s, const struct shard_row *row, char *out)
{
    char name[TS_NAME_MAX + 1];
    size_t n = 0;
    snprintf(out, NAMES_MAX, "-");
    for (int i = 0; i < 2; i++) {
        if (row->in_sync[i] == 0)
            continue;
        shards_member(s, row->name, row->in_sync[i], name, sizeof name);
        n += (size_t)snprintf(out + n, NAMES_MAX - n, "%s%s", n > 0 ? "," : "", name);
    }
}

/* How far the other one is behind, as the primary sees it. */
static uint64_t lag(const struct shard_row *row)
{
    return row->backup != 0 && row->lsn > row->backup_lsn ? row->lsn - row->backup_lsn : 0;
}

static void lag_text(const struct shard_row *row, char *out)
{
    char records[SHORT_MAX], bytes[SHORT_MAX];
    if (!row->serves || row->backup == 0 || !row->sibling)
        snprintf(out, NAMES_MAX, "-");
    else
        snprintf(out, NAMES_MAX, "%s, %s", show_count((double)lag(row), records),
                 show_bytes(row->backup_bytes, bytes));
}

static void print_row(const struct shards *s, const struct shard_row *row)
{
    char names[NAMES_MAX], behind[NAMES_MAX];
    in_sync_text(s, row, names);
    lag_text(row, behind);
    printf("%-10s %-10s %-13s %6" PRIu64 " %10" PRIu64 " %-12s %-16s %-7s %6" PRIu64 " %6" PRIu64 "\n",
           row->name, row->server, row->role, row->epoch, row->lsn, behind, names,
           row->sibling ? "yes" : "no", row->jobs, row->producers);
}

/* Calls `each` once for each shard, in order of appearance. */
static void for_shards(const struct shards *s, void (*each)(const struct shards *, const char *, void *),
                       void *ctx)
{
    for (size_t i = 0; i < shards_count(s); i++) {
        struct shard_row row = shards_at(s, i);
        bool seen = row.silent[0] != '\0';
        for (size_t j = 0; j < i && !seen; j++) {
            struct shard_row before = shards_at(s, j);
            seen = before.silent[0] == '\0' && strcmp(before.name, row.name) == 0;
        }
        if (!seen)
            each(s, row.name, ctx);
    }
}

static void print_shard(const struct shards *s, const char *shard, void *ctx)
{
    (void)ctx;
    for (size_t i = 0; i < shards_count(s); i++) {
        struct shard_row row = shards_at(s, i);
        if (row.silent[0] == '\0' && strcmp(row.name, shard) == 0)
            print_row(s, &row);
    }
}

static void print_advice(const struct shards *s, const char *shard, void *ctx)
{
    char text[ADVICE_MAX];
    bool *any = ctx;
    if (!shards_advice(s, shard, text, sizeof text))
        return;
    printf("%s%s\n", *any ? "" : "\n", text);
    *any = true;
}

static void print_all(const struct shards *s)
{
    bool any = false;
    printf("%-10s %-10s %-13s %6s %10s %-12s %-16s %-7s %6s %6s\n", "SHARD", "SERVER", "ROLE", "EPOCH",
           "RECORD", "LAG", "IN SYNC", "SIBLING", "JOBS", "PRODS");
    for_shards(s, print_shard, NULL);
    for (size_t i = 0; i < shards_count(s); i++) {
        struct shard_row row = shards_at(s, i);
        if (row.silent[0] == '\0')
            continue;
        printf("%sserver at %s: %s\n", any ? "" : "\n", row.addresses, row.silent);
        any = true;
    }
    for_shards(s, print_advice, &any);
}

/* ---- JSON ---- */

static cJSON *json_replica(const struct shards *s, const struct shard_row *row)
{
    cJSON *o = cJSON_CreateObject(), *names = cJSON_CreateArray();
    char text[TS_NAME_MAX + 1];
    cJSON_AddStringToObject(o, "server", row->server);
    cJSON_AddStringToObject(o, "addresses", row->addresses);
    cJSON_AddStringToObject(o, "role", row->role);
    cJSON_AddBoolToObject(o, "serves", row->serves);
    cJSON_AddBoolToObject(o, "sibling_connected", row->sibling);
    cJSON_AddNumberToObject(o, "epoch", (double)row->epoch);
    cJSON_AddNumberToObject(o, "record", (double)row->lsn);
    cJSON_AddNumberToObject(o, "held", (double)row->held);
    cJSON_AddNumberToObject(o, "lag_records", (double)lag(row));
    cJSON_AddNumberToObject(o, "lag_bytes", (double)row->backup_bytes);
    cJSON_AddNumberToObject(o, "jobs", (double)row->jobs);
    cJSON_AddNumberToObject(o, "producers", (double)row->producers);
    snprintf(text, sizeof text, "%016" PRIx64, row->member); /* too long for a JSON number */
    cJSON_AddStringToObject(o, "member", text);
    for (int i = 0; i < 2; i++)
        if (row->in_sync[i] != 0) {
            shards_member(s, row->name, row->in_sync[i], text, sizeof text);
            cJSON_AddItemToArray(names, cJSON_CreateString(text));
        }
    cJSON_AddItemToObject(o, "in_sync", names);
    return o;
}

static void json_shard(const struct shards *s, const char *shard, void *ctx)
{
    cJSON *o = cJSON_CreateObject(), *replicas = cJSON_CreateArray();
    struct shard_row primary;
    char text[ADVICE_MAX], hex[ID_HEX_MAX];
    cJSON_AddStringToObject(o, "shard", shard);
    if (shards_any(s, shard, &primary)) {
        id_hex(primary.id, hex);
        cJSON_AddStringToObject(o, "id", hex);
    }
    if (shards_primary(s, shard, &primary))
        cJSON_AddStringToObject(o, "primary", primary.server);
    else
        cJSON_AddNullToObject(o, "primary");
    cJSON_AddBoolToObject(o, "paired", shards_paired(s, shard));
    cJSON_AddBoolToObject(o, "at_home", shards_at_home(s, shard));
    for (size_t i = 0; i < shards_count(s); i++) {
        struct shard_row row = shards_at(s, i);
        if (row.silent[0] == '\0' && strcmp(row.name, shard) == 0)
            cJSON_AddItemToArray(replicas, json_replica(s, &row));
    }
    cJSON_AddItemToObject(o, "replicas", replicas);
    if (shards_advice(s, shard, text, sizeof text))
        cJSON_AddStringToObject(o, "advice", text);
    cJSON_AddItemToArray(ctx, o);
}

static void json_all(const struct shards *s)
{
    cJSON *doc = cJSON_CreateObject();
    cJSON *all = cJSON_AddArrayToObject(doc, "shards"), *silent = cJSON_AddArrayToObject(doc, "silent");
    for_shards(s, json_shard, all);
    for (size_t i = 0; i < shards_count(s); i++) {
        struct shard_row row = shards_at(s, i);
        if (row.silent[0] == '\0')
            continue;
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "address", row.addresses);
        cJSON_AddStringToObject(o, "text", row.silent);
        cJSON_AddItemToArray(silent, o);
    }
    print_json(doc);
}

void show_shards(const struct shards *s)
{
    common.json ? json_all(s) : print_all(s);
}
