/* Writing a backup. */
#include "taskserver/backup.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/shard.h"
#include "proto/msg.h"
#include "taskserver/archive.h"
#include "taskserver/blobset.h"
#include "taskserver/journal.h"

static const char prefix[] = "shard-";

struct backup {
    const struct backup_config *config;
    struct archive_writer *archive; /* owned */
    struct blobset needed;          /* by running jobs of all shards */
    uint64_t records;
    size_t put; /* of those that are needed */
    char *why;
};

/* ---- Shards ---- */

struct ts *backup_table(const struct backup_config *config, const char *server)
{
    struct ts_config core = *config->core;
    if (config->broker)
        core.shard = shard_id(config->network, server);
    return ts_new(&core);
}

static bool replay(void *ts, struct bytes record, uint64_t lsn)
{
    return ts_replay(ts, record, lsn);
}

static void put_record(void *ctx, struct bytes record)
{
    struct backup *b = ctx;
    archive_put(b->archive, ARCHIVE_RECORD, record);
    b->records++;
}

static void need(struct backup *b, const uint8_t *sha256)
{
    if (!blobset_find(&b->needed, sha256))
        blobset_add(&b->needed, sha256, 0);
}

static void need_of_jobs(struct backup *b, const struct ts *ts)
{
    struct ts_job_info job;
    for (uint64_t cursor = 0; ts_job_next(ts, &cursor, &job);) {
        for (uint32_t i = 0; job.state == TS_JOB_RUNNING && i < job.modules; i++)
            need(b, job.module[i].sha256);
        if (job.state == TS_JOB_RUNNING && job.has_input)
            need(b, job.input);
    }
}

static void put_shard(struct backup *b, const char *server, const struct ts *ts,
                      const struct journal_found *found)
{
    struct buf head = {0};
    struct ts_stats st;
    put_id(&head, shard_id(b->config->network, server));
    put_bytes(&head, bytes_str(server));
    put_varint(&head, found->lsn);
    put_bytes(&head, buf_bytes(&found->note));
    archive_put(b->archive, ARCHIVE_SHARD, buf_bytes(&head));
    ts_snapshot(ts, put_record, b);
    need_of_jobs(b, ts);
    ts_stats(ts, &st);
    log_info("shard %s: %" PRIu64 " jobs and %" PRIu64 " tasks, as of record %" PRIu64, server, st.jobs,
             st.tasks, found->lsn);
    buf_free(&head);
}

static int backup_shard(struct backup *b, const char *dir, const char *server)
{
    struct journal_found found = {0};
    struct ts *ts = backup_table(b->config, server);
    int code = journal_read(dir, replay, ts, &found, b->why);
    if (!code)
        put_shard(b, server, ts, &found);
    journal_found_free(&found);
    ts_free(ts);
    return code;
}

/* Those of siblings, which lie below the own one. */
static int backup_others(struct backup *b)
{
    char path[STATE_PATH_MAX];
    DIR *dir = opendir(b->config->state);
    int code = 0;
    if (!dir) {
        snprintf(b->why, STATE_WHY_MAX, "cannot open %.300s: %s", b->config->state, strerror(errno));
        return CX_EIO;
    }
    for (struct dirent *d; !code && (d = readdir(dir));) {
        if (strncmp(d->d_name, prefix, strlen(prefix)) != 0)
            continue;
        snprintf(path, sizeof path, "%.3500s/%.255s", b->config->state, d->d_name);
        code = backup_shard(b, path, d->d_name + strlen(prefix));
    }
    closedir(dir);
    return code;
}

/* ---- Blobs ---- */

static int put_blob(struct backup *b, struct blobs *blobs, const uint8_t *sha256)
{
    struct blob_get *get;
    struct buf chunk = {0};
    bool last = false;
    int code = blob_get_begin(blobs, sha256, clock_us(), &get, b->why);
    if (code)
        return code;
    archive_put(b->archive, ARCHIVE_BLOB, bytes_of(sha256, BLOB_HASH_BYTES));
    while (!last && !code) {
        buf_clear(&chunk);
        code = blob_get_next(get, BLOB_CHUNK_MAX, &chunk, &last);
        if (!code)
            archive_put(b->archive, ARCHIVE_DATA, buf_bytes(&chunk));
    }
    if (code)
        snprintf(b->why, STATE_WHY_MAX, "a module or input was damaged on the disk and has been removed");
    blob_get_end(get);
    buf_free(&chunk);
    return code;
}

static void never(void *reactor, void (*fn)(void *), void *ctx)
{
    (void)reactor, (void)fn, (void)ctx;
}

/* One that is not here cannot be saved, and its jobs are no worse off after a restore than now. */
static int backup_blobs(struct backup *b)
{
    struct blobs_config config = {.dir = b->config->state,
                                  .poster = {never, NULL},
                                  .blob_max = BLOB_BYTES_MAX,
                                  .total_max = UINT64_MAX,
                                  .ttl_us = UINT64_MAX};
    struct blobs *blobs;
    int code = b->needed.first ? blobs_open(&config, clock_us(), &blobs, b->why) : 0;
    if (code || !b->needed.first)
        return code;
    for (const struct blobset_item *item = b->needed.first; item && !code; item = item->next) {
        code = put_blob(b, blobs, item->sha256);
        b->put += code == 0;
        if (code == CX_ENOTFOUND) {
            log_warn("a running job needs %s; it goes without", b->why);
            code = 0;
        }
    }
    blobs_stop(blobs);
    blobs_free(blobs);
    return code;
}

/* ---- All of it ---- */

static int backup_all(struct backup *b, const char *file)
{
    int code = archive_create(file, &b->archive, b->why);
    if (code)
        return code;
    code = backup_shard(b, b->config->state, b->config->server);
    if (!code)
        code = backup_others(b);
    if (!code)
        code = backup_blobs(b);
    int closed = archive_close(b->archive, code == 0, b->why);
    return code ? code : closed;
}

int backup_write(const struct backup_config *config, const char *file, char *why)
{
    struct backup b = {.config = config, .why = why};
    int lock;
    if (access(config->state, F_OK)) { /* state_lock would make it */
        snprintf(why, STATE_WHY_MAX, "%.300s: %s", config->state, strerror(errno));
        return CX_ENOTFOUND;
    }
    int code = state_lock(config->state, &lock, why);
    if (code)
        return code;
    code = backup_all(&b, file);
    if (!code)
        log_info("backup of %s written to %s: %" PRIu64 " records, %zu modules and inputs", config->state,
                 file, b.records, b.put);
    blobset_free(&b.needed);
    close(lock);
    return code;
}
