/* Restoring a backup: a new disk, with the state of an old one. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "base/shard.h"
#include "proto/msg.h"
#include "proto/pki.h"
#include "taskserver/archive.h"
#include "taskserver/backup.h"
#include "taskserver/blobs.h"
#include "taskserver/core/replica.h"
#include "taskserver/journal.h"

/* ---- What the disk's threads have to say, instead of a reactor ---- */

struct post {
    void (*fn)(void *ctx);
    void *ctx;
};

struct posts {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct post *post; /* owned */
    size_t n, cap;
};

static void posts_add(void *reactor, void (*fn)(void *), void *ctx)
{
    struct posts *p = reactor;
    pthread_mutex_lock(&p->lock);
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 16;
        p->post = realloc(p->post, p->cap * sizeof *p->post);
        must(p->post);
    }
    p->post[p->n++] = (struct post){fn, ctx};
    pthread_cond_signal(&p->more);
    pthread_mutex_unlock(&p->lock);
}

static void posts_wait(struct posts *p, const bool *done)
{
    while (!*done) {
        pthread_mutex_lock(&p->lock);
        while (!p->n)
            pthread_cond_wait(&p->more, &p->lock);
        struct post first = p->post[0];
        memmove(p->post, p->post + 1, --p->n * sizeof *p->post);
        pthread_mutex_unlock(&p->lock);
        first.fn(first.ctx);
    }
}

/* ---- A restore under way ---- */

struct restore {
    const struct backup_config *config;
    struct archive_reader *archive; /* owned */
    struct archive_part part;       /* the one that is next */
    struct posts posts;
    struct blobs *blobs; /* owned */
    unsigned shards, count;
    char *why;
};

static int next(struct restore *r)
{
    return archive_next(r->archive, &r->part, r->why);
}

static int refuse(struct restore *r, int code, const char *text)
{
    snprintf(r->why, STATE_WHY_MAX, "%.400s", text);
    return code;
}

/* ---- Shards ---- */

struct shard_head {
    char server[IDENTITY_NAME_MAX + 1];
    bool own;
    uint64_t lsn;
    struct buf note; /* owned */
};

/* Names become names of directories. */
static bool name_valid(struct bytes name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    for (size_t i = 0; i < name.len; i++)
        if (!memchr(letters, name.data[i], sizeof letters - 1))
            return false;
    return name.len > 0;
}

/* The mark of another disk: how far the world had come, and who was in sync, is still worth to know; that the
 * records came in a session is not, for that was with the other disk. */
static bool settle_note(struct bytes from, struct buf *to)
{
    struct replica_mark mark;
    struct reader in = reader_of(from);
    if (!from.len)
        return true;
    if (!get_replica_mark(&in, &mark))
        return false;
    mark.tag = (struct replica_tag){0};
    put_replica_mark(to, &mark);
    return true;
}

/* A shard is named by its network and server: under another name it would be another one. */
static int check_names(struct restore *r, const struct shard_head *head, struct id id)
{
    const struct backup_config *config = r->config;
    if (head->own && strcmp(head->server, config->server) != 0)
        snprintf(r->why, STATE_WHY_MAX, "the backup is of server %s, this one's certificate names %s",
                 head->server, config->server);
    else if (!id_equal(id, shard_id(config->network, head->server)))
        snprintf(r->why, STATE_WHY_MAX, "the backup is of another network than %.200s", config->network);
    else
        return 0;
    return CX_EINVAL;
}

static int read_head(struct restore *r, struct shard_head *head)
{
    struct reader in = reader_of(r->part.data);
    struct id id = get_id(&in);
    struct bytes server = get_bytes(&in, IDENTITY_NAME_MAX);
    head->lsn = get_varint(&in);
    struct bytes note = get_bytes(&in, SIZE_MAX);
    if (in.bad || in.at != in.end || !name_valid(server) || !settle_note(note, &head->note))
        return refuse(r, CX_EFAILED, "the backup's shard is not one of this version");
    memcpy(head->server, server.data, server.len);
    head->server[server.len] = 0;
    head->own = r->shards++ == 0;
    return check_names(r, head, id);
}

/* Its records, up to the next part of another kind; each has to fit the state. */
static int read_state(struct restore *r, struct journal_rebuild *rebuild, struct ts *ts, uint64_t lsn)
{
    int code = 0;
    while (!code && r->part.kind == ARCHIVE_RECORD) {
        if (!ts_replay(ts, r->part.data, lsn))
            return refuse(r, CX_EFAILED, "a record of the backup does not fit the state");
        journal_rebuild_add(rebuild, r->part.data);
        code = next(r);
    }
    return code;
}

static void on_held(void *ctx, uint64_t lsn, uint64_t generation)
{
    (void)ctx, (void)lsn, (void)generation;
}

static bool replay_nothing(void *ctx, struct bytes record, uint64_t lsn)
{
    (void)ctx, (void)record, (void)lsn;
    return false;
}

static void on_rebuilt(void *ctx, uint64_t generation)
{
    (void)generation;
    *(bool *)ctx = true;
}

static int fill_journal(struct restore *r, struct journal *j, const struct shard_head *head)
{
    struct journal_rebuild *rebuild = journal_rebuild_begin(j, head->lsn);
    struct ts *ts = backup_table(r->config, head->server);
    struct ts_stats st;
    bool done = false;
    int code = read_state(r, rebuild, ts, head->lsn);
    if (code) {
        journal_rebuild_abandon(rebuild);
    } else {
        journal_rebuild_commit(rebuild, buf_bytes(&head->note), on_rebuilt, &done);
        posts_wait(&r->posts, &done);
        ts_stats(ts, &st);
        log_info("shard %s: %" PRIu64 " jobs and %" PRIu64 " tasks, as of record %" PRIu64, head->server,
                 st.jobs, st.tasks, head->lsn);
    }
    ts_free(ts);
    return code;
}

static int make_journal(struct restore *r, const char *dir, const struct shard_head *head)
{
    struct journal_config config = {.dir = dir, .poster = {posts_add, &r->posts}, .held = on_held};
    struct journal_found found;
    struct journal *j;
    uint64_t incarnation;
    random_bytes(&incarnation, sizeof incarnation);
    int code = journal_open(&config, incarnation, replay_nothing, &j, &found, r->why);
    if (code)
        return code;
    must(found.lsn == 0);
    journal_found_free(&found);
    code = fill_journal(r, j, head);
    journal_stop(j);
    r->posts.n = 0; /* news that nobody waits for */
    journal_free(j);
    return code;
}

static int restore_shard(struct restore *r)
{
    struct shard_head head = {0};
    char dir[STATE_PATH_MAX];
    int code = read_head(r, &head);
    snprintf(dir, sizeof dir, head.own ? "%.3500s" : "%.3500s/shard-%s", r->config->state, head.server);
    if (!code)
        code = next(r);
    if (!code && !head.own)
        code = state_mkdir(dir, r->why);
    if (!code)
        code = make_journal(r, dir, &head);
    buf_free(&head.note);
    return code;
}

/* ---- Blobs ---- */

struct putting {
    bool done;
    int code;
    char *why;
};

static void on_put(void *ctx, int code, const char *why)
{
    struct putting *p = ctx;
    p->done = true;
    p->code = code;
    snprintf(p->why, STATE_WHY_MAX, "%s", why);
}

/* A blob is at its end where something else begins. */
static int put_data(struct restore *r, struct blob_put *put)
{
    int code = 0;
    while (!code && r->part.kind == ARCHIVE_DATA) {
        code = blob_put_add(put, r->part.data, false, clock_us(), r->why);
        if (code)
            return code; /* it is gone */
        code = next(r);
    }
    if (code)
        blob_put_abandon(put);
    else
        code = blob_put_add(put, (struct bytes){0}, true, clock_us(), r->why);
    return code;
}

static int restore_blob(struct restore *r)
{
    struct putting p = {.why = r->why};
    struct blob_put *put;
    if (r->part.data.len != BLOB_HASH_BYTES)
        return refuse(r, CX_EFAILED, "the backup names a module or input wrongly");
    int code = blob_put_begin_any(r->blobs, r->part.data.data, on_put, &p, &put, r->why);
    if (code)
        return code;
    code = next(r);
    if (code)
        blob_put_abandon(put);
    else
        code = put_data(r, put);
    if (code)
        return code;
    posts_wait(&r->posts, &p.done);
    r->count++;
    return p.code;
}

/* ---- All of it ---- */

static int restore_parts(struct restore *r)
{
    int code = next(r);
    while (!code && r->part.kind != ARCHIVE_END) {
        if (r->part.kind == ARCHIVE_SHARD)
            code = restore_shard(r);
        else if (r->part.kind == ARCHIVE_BLOB)
            code = restore_blob(r);
        else
            code = refuse(r, CX_EFAILED, "the backup's parts are in disorder");
    }
    return code;
}

/* The file is whole, and of this server: before anything is made. */
static int check_archive(struct restore *r, const char *file)
{
    int code = archive_open(file, &r->archive, r->why);
    if (code)
        return code;
    for (code = next(r); !code && r->part.kind != ARCHIVE_END; code = code ? code : next(r)) {
        struct shard_head head = {0};
        if (r->part.kind == ARCHIVE_SHARD)
            code = read_head(r, &head);
        buf_free(&head.note);
    }
    archive_free(r->archive);
    r->archive = NULL;
    if (!code && !r->shards)
        code = refuse(r, CX_EFAILED, "there is no shard in the backup");
    r->shards = 0;
    return code;
}

static int restore_into(struct restore *r)
{
    struct blobs_config config = {.dir = r->config->state,
                                  .poster = {posts_add, &r->posts},
                                  .blob_max = BLOB_BYTES_MAX,
                                  .total_max = UINT64_MAX,
                                  .ttl_us = UINT64_MAX};
    int code = state_unfinished(r->config->state, true, r->why);
    if (!code)
        code = blobs_open(&config, clock_us(), &r->blobs, r->why);
    if (code)
        return code;
    code = restore_parts(r);
    blobs_stop(r->blobs);
    blobs_free(r->blobs);
    return code ? code : state_unfinished(r->config->state, false, r->why);
}

/* Nothing is overwritten, not even half. */
static int check_empty(const char *state, char *why)
{
    DIR *dir = opendir(state);
    bool taken = false;
    if (!dir) {
        snprintf(why, STATE_WHY_MAX, "cannot open %.300s: %s", state, strerror(errno));
        return CX_EIO;
    }
    for (struct dirent *d; (d = readdir(dir));)
        taken |= strncmp(d->d_name, "journal", 7) == 0 || strncmp(d->d_name, "shard-", 6) == 0;
    closedir(dir);
    if (taken)
        snprintf(why, STATE_WHY_MAX, "%.300s is a server's state already, which is not overwritten", state);
    return taken ? CX_EEXIST : 0;
}

int backup_restore(const struct backup_config *config, const char *file, char *why)
{
    struct restore r = {.config = config, .why = why};
    int lock = -1;
    pthread_mutex_init(&r.posts.lock, NULL);
    pthread_cond_init(&r.posts.more, NULL);
    int code = check_archive(&r, file);
    if (!code)
        code = archive_open(file, &r.archive, why);
    if (!code)
        code = state_lock(config->state, &lock, why);
    if (!code)
        code = check_empty(config->state, why);
    if (!code)
        code = restore_into(&r);
    if (!code)
        log_info(
            "%s restored from %s: %u shards, %u modules and inputs. It is a new disk: in a pair it counts as "
            "keeping nothing, and reads its sibling's state",
            config->state, file, r.shards, r.count);
    if (lock >= 0)
        close(lock);
    archive_free(r.archive);
    free(r.posts.post);
    pthread_mutex_destroy(&r.posts.lock);
    pthread_cond_destroy(&r.posts.more);
    return code;
}
