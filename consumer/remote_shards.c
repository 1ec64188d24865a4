/* The shards of the network: which there are, which of them knows a job, and listings over all. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/must.h"
#include "consumer/remote.h"

#define LOOK_US     3000000 /* for servers that do not answer at all */
#define SERVERS_MAX 64
#define SHARDS_MAX  64

/* ---- Servers ---- */

struct servers {
    char address[SERVERS_MAX][CLIENT_ADDRESS_MAX];
    unsigned n;
};

static void servers_add(struct servers *s, const char *address, size_t len)
{
    if (len == 0 || len >= CLIENT_ADDRESS_MAX || s->n == SERVERS_MAX)
        return;
    for (unsigned i = 0; i < s->n; i++)
        if (strlen(s->address[i]) == len && memcmp(s->address[i], address, len) == 0)
            return;
    memcpy(s->address[s->n], address, len);
    s->address[s->n++][len] = '\0';
}

static void servers_add_list(struct servers *s, const char *list)
{
    for (;;) {
        size_t len = strcspn(list, ",");
        servers_add(s, list, len);
        if (list[len] == '\0')
            return;
        list += len + 1;
    }
}

static void servers_of(struct servers *s, struct lane *l)
{
    const char *address;
    pthread_mutex_lock(&l->remote->lock);
    for (uint32_t i = 0; (address = client_address(l->client, i)) != NULL; i++)
        servers_add(s, address, strlen(address));
    pthread_mutex_unlock(&l->remote->lock);
}

/* ---- Rows ---- */

/* They are too large for the stack of a caller's thread. */
static struct question *questions(unsigned n)
{
    struct question *q = calloc(n, sizeof *q);
    must(q != NULL);
    return q;
}

static struct shard_row row_at(const struct buf *rows, size_t at)
{
    struct shard_row row;
    memcpy(&row, rows->data + at, sizeof row);
    return row;
}

static bool has_rows(const struct buf *rows)
{
    for (size_t at = 0; at + sizeof(struct shard_row) <= rows->len; at += sizeof(struct shard_row))
        if (row_at(rows, at).silent[0] == '\0')
            return true;
    return false;
}

static unsigned lanes_to(struct remote *r, const struct servers *s, unsigned from, struct question *q)
{
    unsigned n = 0;
    for (unsigned i = from; i < s->n; i++) {
        struct lane *l = lane_to_server(r, s->address[i]);
        if (l == NULL)
            continue;
        q[n++] = (struct question){
            .lane = l, .call = {.kind = CALL_LIST, .what = LIST_SHARDS, .deadline_us = clock_us() + LOOK_US}};
    }
    return n;
}

static bool could_not_say(const struct call *call)
{
    return call->code == CX_ENONET || call->code == CX_ETIMEOUT;
}

static void add_silent(struct buf *rows, const char *address, const char *why)
{
    struct shard_row row = {.serves = false};
    size_t n = strlen(address);
    while (strncmp(why, address, n) == 0 && why[n] == ':' && why[n + 1] == ' ')
        why += n + 2; /* who says it and who it is about: the row says that */
    row_text(row.addresses, sizeof row.addresses, bytes_str(address));
    row_line(row.silent, sizeof row.silent, bytes_str(why[0] != '\0' ? why : "it does not answer"));
    buf_add(rows, &row, sizeof row);
}

/* Servers name their siblings, which are asked in the next round. */
static unsigned look_at(struct remote *r, struct servers *s, unsigned from, struct buf *rows)
{
    struct question *q = questions(SERVERS_MAX);
    unsigned mute = 0, n = lanes_to(r, s, from, q);
    ask_all(r, q, n, false);
    for (unsigned i = 0; i < n; i++) {
        struct call *call = &q[i].call;
        if (call->code < 0) {
            mute++;
            add_silent(rows, q[i].lane->address, call->text);
        } else {
            buf_add(rows, call->out.data, call->out.len);
        }
        buf_free(&call->out);
    }
    free(q);
    return mute;
}

unsigned shards_find(struct remote *r, struct buf *rows)
{
    struct servers *s = calloc(1, sizeof *s);
    unsigned mute = 0, from = 0;
    if (s == NULL)
        return 0;
    servers_of(s, &r->home);
    while (from < s->n) {
        size_t at = rows->len;
        unsigned asked = s->n;
        mute += look_at(r, s, from, rows);
        from = asked;
        for (; at + sizeof(struct shard_row) <= rows->len; at += sizeof(struct shard_row)) {
            struct shard_row row = row_at(rows, at);
            servers_add_list(s, row.addresses);
        }
    }
    free(s);
    return mute;
}

/* ---- Shards ---- */

static bool is_there(const struct question *q, unsigned n, const struct lane *l)
{
    while (n > 0 && q[n - 1].lane != l)
        n--;
    return n > 0;
}

/* One question a shard, however many replicas of it were seen. */
static unsigned shards_ask(struct remote *r, const struct buf *rows, const struct call *call, bool first,
                           struct question *q)
{
    unsigned n = 0;
    for (size_t at = 0; at + sizeof(struct shard_row) <= rows->len && n < SHARDS_MAX;
         at += sizeof(struct shard_row)) {
        struct shard_row row = row_at(rows, at);
        struct lane *l = row.silent[0] == '\0' ? lane_to_shard(r, row.id, row.addresses) : NULL;
        if (l != NULL && !is_there(q, n, l))
            q[n++] = (struct question){.call = *call, .lane = l};
    }
    ask_all(r, q, n, first);
    return n;
}

static bool has_shards(struct remote *r)
{
    pthread_mutex_lock(&r->lock);
    bool has = !id_is_zero(client_shard(r->home.client));
    pthread_mutex_unlock(&r->lock);
    return has;
}

struct lane *shards_locate(struct remote *r, struct id job, char *why)
{
    struct call call = {.kind = CALL_WHY, .deadline_us = clock_us() + 2 * LOOK_US, .id = job};
    struct buf rows = {0};
    struct lane *found = NULL;
    why[0] = '\0';
    if (!has_shards(r))
        return NULL;
    struct question *q = questions(SHARDS_MAX);
    shards_find(r, &rows);
    unsigned n = shards_ask(r, &rows, &call, true, q);
    for (unsigned i = 0; i < n; i++) {
        if (could_not_say(&q[i].call))
            memcpy(why, q[i].call.text, CLIENT_TEXT_MAX);
        if (q[i].call.code == 0 || q[i].call.code == CX_EAUTH) /* it is somebody else's, but there */
            found = q[i].lane;
        buf_free(&q[i].call.out);
    }
    buf_free(&rows);
    free(q);
    return found;
}

/* The answers of all shards in one; how many did not answer. */
static int gather(struct remote *r, struct question *q, unsigned n, struct buf *rows)
{
    int mute = 0, err = 0;
    for (unsigned i = 0; i < n; i++) {
        struct call *call = &q[i].call;
        if (call->code == 0) {
            buf_add(rows, call->out.data, call->out.len);
        } else {
            mute++;
            err = fault(&r->net, call->code, "%s", call->text);
        }
        buf_free(&call->out);
    }
    return mute > 0 && mute == (int)n ? err : mute;
}

int shards_all(struct remote *r, uint64_t deadline_us, struct buf *rows)
{
    struct call call = {.kind = CALL_LIST, .what = LIST_SERVER, .deadline_us = deadline_us};
    int err = ask(&r->home, &call); /* a broker tells the addresses when somebody needs them */
    buf_free(&call.out);
    unsigned mute = shards_find(r, rows);
    if (!has_rows(rows) && err < 0)
        return fault(&r->net, err, "%s", call.text);
    return (int)mute;
}

int shards_list(struct remote *r, enum list_what what, uint64_t deadline_us, struct buf *rows)
{
    struct call call = {.kind = CALL_LIST, .what = what, .deadline_us = deadline_us};
    struct question *q = questions(SHARDS_MAX);
    struct buf shards = {0};
    unsigned n = 1;
    q[0] = (struct question){.call = call, .lane = &r->home};
    ask_all(r, q, 1, false);
    if (q[0].call.code == 0 && has_shards(r)) {
        shards_find(r, &shards);
        if (has_rows(&shards)) {
            buf_free(&q[0].call.out);
            n = shards_ask(r, &shards, &call, false, q);
        }
        buf_free(&shards);
    }
    int code = gather(r, q, n, rows);
    free(q);
    return code;
}
