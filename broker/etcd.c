#include "broker/etcd.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "cx/error.h"
#include "proto/pki.h"

enum { VALUE_MAX = 256, KEY_MAX = 64 };

static const char boot_key[] = "cx/boot";

struct etcd {
    struct gateway *gateway; /* owned */
};

int etcd_new(const char *urls, struct etcd **out, char *why)
{
    struct gateway *g;
    int code = gateway_new(urls, &g, why);
    if (code)
        return code;
    struct etcd *e = calloc(1, sizeof *e);
    must(e);
    e->gateway = g;
    *out = e;
    return 0;
}

void etcd_free(struct etcd *e)
{
    if (!e)
        return;
    gateway_free(e->gateway);
    free(e);
}

/* ---- Values: base64 in JSON ---- */

static void add_bytes(cJSON *to, const char *field, struct bytes data)
{
    unsigned char text[VALUE_MAX / 3 * 4 + 8];
    must(data.len <= VALUE_MAX);
    EVP_EncodeBlock(text, data.data, (int)data.len);
    must(cJSON_AddStringToObject(to, field, (const char *)text));
}

static bool decode_value(const cJSON *kv, struct buf *out)
{
    unsigned char data[VALUE_MAX + 4];
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(kv, "value"));
    size_t len = text ? strlen(text) : 0;
    if (!len || len > VALUE_MAX)
        return false;
    int n = EVP_DecodeBlock(data, (const unsigned char *)text, (int)len);
    if (n < 3)
        return false;
    n -= (text[len - 1] == '=') + (text[len - 2] == '='); /* the decoder counts the padding */
    buf_clear(out);
    buf_add(out, data, (size_t)n);
    return true;
}

static struct bytes pack_boot(uint64_t boot, uint8_t room[8])
{
    store_u64(room, boot);
    return bytes_of(room, 8);
}

/* ---- Transactions ---- */

static void key_of(struct id shard, char out[KEY_MAX])
{
    char hex[ID_HEX_MAX];
    id_hex(shard, hex);
    snprintf(out, KEY_MAX, "cx/shard/%s", hex);
}

static cJSON *txn_new(void)
{
    cJSON *txn = cJSON_CreateObject();
    must(txn && cJSON_AddArrayToObject(txn, "compare") && cJSON_AddArrayToObject(txn, "success"));
    return txn;
}

static cJSON *txn_item(cJSON *txn, const char *list)
{
    cJSON *item = cJSON_CreateObject();
    must(item && cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(txn, list), item));
    return item;
}

static cJSON *txn_compare(cJSON *txn, const char *key, const char *target)
{
    cJSON *compare = txn_item(txn, "compare");
    add_bytes(compare, "key", bytes_str(key));
    must(cJSON_AddStringToObject(compare, "target", target));
    must(cJSON_AddStringToObject(compare, "result", "EQUAL"));
    return compare;
}

static void txn_read(cJSON *txn, const char *key)
{
    cJSON *range = cJSON_AddObjectToObject(txn_item(txn, "success"), "request_range");
    add_bytes(range, "key", bytes_str(key));
}

static void txn_write(cJSON *txn, const char *key, struct bytes value)
{
    cJSON *put = cJSON_AddObjectToObject(txn_item(txn, "success"), "request_put");
    add_bytes(put, "key", bytes_str(key));
    add_bytes(put, "value", value);
}

/* Sends and frees it. */
static int txn_run(struct etcd *e, cJSON *txn, cJSON **answer, char *why)
{
    int code = gateway_post(e->gateway, "/v3/kv/txn", txn, answer, why);
    cJSON_Delete(txn);
    return code;
}

static bool succeeded(const cJSON *answer)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(answer, "succeeded"));
}

/* What the i-th operation, a read of one key, has found. NULL: there is no such key. False: it is not there
 * in the answer. */
static bool found(const cJSON *answer, int i, const cJSON **kv)
{
    const cJSON *all = cJSON_GetObjectItemCaseSensitive(answer, "responses");
    const cJSON *range = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(all, i), "response_range");
    *kv = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(range, "kvs"), 0);
    return cJSON_IsObject(range);
}

/* ---- Rows ---- */

static bool take_record(const cJSON *kv, struct etcd_row *row)
{
    struct buf value = {0};
    const char *revision = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(kv, "mod_revision"));
    bool good = decode_value(kv, &value) && revision && strlen(revision) < sizeof row->revision &&
                revision[strspn(revision, "0123456789")] == 0;
    struct reader r = reader_of(buf_bytes(&value));
    if (good) {
        row->record = get_shard_record(&r);
        snprintf(row->revision, sizeof row->revision, "%s", revision);
        good = !r.bad && !reader_more(&r) && row->record.epoch;
    }
    buf_free(&value);
    return good;
}

static bool take_boot(const cJSON *kv, uint64_t *boot)
{
    struct buf value = {0};
    bool good = decode_value(kv, &value) && value.len == sizeof *boot;
    if (good)
        *boot = load_u64(value.data);
    buf_free(&value);
    return good && *boot;
}

/* *boot 0: etcd has none yet. */
static int read_row(struct etcd *e, struct id shard, struct etcd_row *row, char *why)
{
    char key[KEY_MAX];
    cJSON *txn = txn_new(), *answer;
    const cJSON *record, *boot;
    key_of(shard, key);
    txn_read(txn, key);
    txn_read(txn, boot_key);
    int code = txn_run(e, txn, &answer, why);
    if (code)
        return code;
    *row = (struct etcd_row){.revision = "0"};
    bool good = found(answer, 0, &record) && found(answer, 1, &boot) &&
                (!record || take_record(record, row)) && (!boot || take_boot(boot, &row->boot));
    cJSON_Delete(answer);
    if (good)
        return 0;
    snprintf(why, GATEWAY_WHY_MAX, "what it holds under %s or %s was not written by a broker", key, boot_key);
    return CX_ENONET;
}

/* Whoever is first. */
static int make_boot(struct etcd *e, char *why)
{
    uint8_t room[8];
    uint64_t boot;
    cJSON *txn = txn_new(), *answer;
    random_bytes(&boot, sizeof boot);
    must(cJSON_AddStringToObject(txn_compare(txn, boot_key, "CREATE"), "create_revision", "0"));
    txn_write(txn, boot_key, pack_boot(boot | 1, room));
    int code = txn_run(e, txn, &answer, why);
    if (!code)
        cJSON_Delete(answer);
    return code;
}

int etcd_load(struct etcd *e, struct id shard, struct etcd_row *row, char *why)
{
    struct etcd_row got;
    int code = read_row(e, shard, &got, why);
    if (!code && !got.boot && !(code = make_boot(e, why)))
        code = read_row(e, shard, &got, why);
    if (code)
        return code;
    if (!got.boot) {
        snprintf(why, GATEWAY_WHY_MAX, "%s came and went", boot_key);
        return CX_ENONET;
    }
    *row = got;
    return 0;
}

int etcd_save(struct etcd *e, struct id shard, const struct etcd_row *was, const struct shard_record *record,
              char *why)
{
    char key[KEY_MAX];
    uint8_t boot[8];
    struct buf packed = {0};
    cJSON *txn = txn_new(), *answer;
    key_of(shard, key);
    put_shard_record(&packed, record);
    must(cJSON_AddStringToObject(txn_compare(txn, key, "MOD"), "mod_revision", was->revision));
    add_bytes(txn_compare(txn, boot_key, "VALUE"), "value", pack_boot(was->boot, boot));
    txn_write(txn, key, buf_bytes(&packed));
    buf_free(&packed);
    int code = txn_run(e, txn, &answer, why);
    if (code)
        return code;
    code = succeeded(answer) ? 0 : CX_EEXIST;
    cJSON_Delete(answer);
    return code;
}
