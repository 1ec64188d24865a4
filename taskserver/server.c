#include "taskserver/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"

enum {
    SWEEP_US = 60000000,  /* between two looks for unused blobs */
    GOODBYE_US = 1000000, /* that peers get to read what is left for them */
    DISK_US = 30000000,   /* that the disk gets for blobs that are being synced */
};

uint64_t taskserver_now(const struct taskserver *s)
{
    return clock_us() + s->epoch_us;
}

struct shard *taskserver_shard(struct taskserver *s, struct id id)
{
    for (size_t i = 0; i < s->shards; i++)
        if (id_equal(s->shard[i].id, id))
            return &s->shard[i];
    return NULL;
}

/* What they are in the task table goes with it, so they leave it here, before the streams are gone. */
void taskserver_close(struct taskserver *s, const struct shard *shard, const char *why)
{
    for (struct session *p = s->sessions; p; p = p->next) {
        if (p->shard != shard || !p->joined)
            continue;
        p->joined = false;
        peers_remove(p->kind == &producer_kind ? &s->producers : &s->clients, p->peer);
        session_close(p, CX_ENONET, why);
    }
    if (s->peering)
        peering_close(s->peering, shard);
}

/* ---- What is due ---- */

static void touch_blobs(struct taskserver *s, const struct ts *ts, uint64_t now_us)
{
    struct ts_job_info job;
    for (uint64_t cursor = 0; ts_job_next(ts, &cursor, &job);) {
        if (job.state != TS_JOB_RUNNING)
            continue;
        for (uint32_t i = 0; i < job.modules; i++)
            blobs_touch(s->blobs, job.module[i].sha256, now_us);
        if (job.has_input)
            blobs_touch(s->blobs, job.input, now_us);
    }
}

static void sweep(struct taskserver *s, uint64_t now_us)
{
    if (now_us < s->sweep_us)
        return;
    s->sweep_us = now_us + (s->config.blob_ttl_us < SWEEP_US ? s->config.blob_ttl_us : SWEEP_US);
    for (size_t i = 0; i < s->shards; i++)
        touch_blobs(s, s->shard[i].ts, taskserver_now(s));
    blobs_expire(s->blobs, taskserver_now(s));
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Does what is due; returns when to come again. */
static uint64_t do_due(struct taskserver *s)
{
    uint64_t now = clock_us(), next = UINT64_MAX;
    for (size_t i = 0; i < s->shards; i++)
        next = earlier(next, shard_turn(&s->shard[i]));
    if (s->sibling)
        next = earlier(next, sibling_tick(s->sibling, now));
    if (s->peering)
        next = earlier(next, peering_tick(s->peering, now));
    if (s->fetch)
        next = earlier(next, blobfetch_tick(s->fetch, now));
    if (s->registration)
        next = earlier(next, registration_tick(s->registration, now));
    sweep(s, now);
    return earlier(next, s->sweep_us);
}

/* ---- Stopping ---- */

static bool all_read(const struct taskserver *s)
{
    for (const struct session *p = s->sessions; p; p = p->next)
        if (!p->closing && outbox_bytes(&p->out))
            return false;
    return true;
}

/* What was asked and is on disk is answered, then every stream is told that the server goes. */
static void finish(struct taskserver *s)
{
    for (size_t i = 0; i < s->shards; i++)
        shard_stop(&s->shard[i]);
    uint64_t until = clock_us() + DISK_US;
    while (blobs_syncing(s->blobs) && clock_us() < until)
        rpc_run(s->rpc, until, NULL, NULL);
    for (until = clock_us() + GOODBYE_US; !all_read(s) && clock_us() < until;)
        rpc_run(s->rpc, until, NULL, NULL);
    for (struct session *p = s->sessions; p; p = p->next)
        session_close(p, CX_ENONET, "the server is stopping");
    if (s->registration)
        registration_stop(s->registration);
    if (s->sibling)
        sibling_stop(s->sibling);
    if (s->peering)
        peering_stop(s->peering);
    if (s->fetch)
        blobfetch_stop(s->fetch);
    for (until = clock_us() + GOODBYE_US; s->sessions && clock_us() < until;)
        rpc_run(s->rpc, until, NULL, NULL);
    for (size_t i = 0; i < s->shards; i++) {
        struct ts_stats st;
        ts_stats(s->shard[i].ts, &st);
        log_info("stopped: shard %s: %" PRIu64 " jobs and %" PRIu64 " tasks %s", s->shard[i].name, st.jobs,
                 st.tasks,
                 s->shard[i].journal ? "are in the journal" : "are gone from here, as there is no journal");
    }
}

void taskserver_stop(void *server)
{
    struct taskserver *s = server;
    if (!s->stopping)
        log_info("stopping");
    s->stopping = true;
}

void taskserver_run(struct taskserver *s)
{
    while (!s->stopping)
        rpc_run(s->rpc, do_due(s), NULL, NULL);
    do_due(s);
    finish(s);
}

/* ---- Starting ---- */

static void post(void *rpc, void (*fn)(void *), void *ctx)
{
    rpc_post(rpc, fn, ctx);
}

static int open_sibling(struct taskserver *s, char *why)
{
    if (!s->config.broker) {
        snprintf(why, STATE_WHY_MAX, "--sibling wants --broker too: it is the pair's witness");
        return CX_EINVAL;
    }
    return sibling_new(s, s->config.sibling, &s->sibling, why);
}

static int open_shards(struct taskserver *s, char *why)
{
    const char *name[SHARDS_MAX] = {s->config.me->self.name, s->sibling ? sibling_name(s->sibling) : NULL};
    for (int code; s->shards < SHARDS_MAX && name[s->shards];) {
        struct shard *shard = &s->shard[s->shards];
        code = shard_open(shard, s, name[s->shards], s->shards == 0, why);
        s->shards++; /* so that it is freed */
        if (code)
            return code;
    }
    return 0;
}

static void blob_came(void *ctx, const uint8_t *sha256)
{
    struct taskserver *s = ctx;
    for (size_t i = 0; i < s->shards; i++)
        if (s->shard[i].replica)
            shard_blob(&s->shard[i], sha256);
    blob_came_for_streams(s);
}

static void blob_late(void *ctx, const uint8_t *sha256)
{
    blob_late_for_streams(ctx, sha256);
}

static uint64_t store_now(void *ctx)
{
    return taskserver_now(ctx);
}

struct blobfetch *taskserver_fetch(struct taskserver *s)
{
    return blobfetch_new(&(struct blobfetch_config){.rpc = s->rpc,
                                                    .me = s->config.me,
                                                    .blobs = s->blobs,
                                                    .now = store_now,
                                                    .ready = blob_came,
                                                    .late = blob_late,
                                                    .ctx = s});
}

bool taskserver_brings(const struct taskserver *s, const uint8_t *sha256)
{
    return (s->fetch && blobfetch_wanted(s->fetch, sha256)) ||
           (s->peering && peering_brings(s->peering, sha256));
}

static int open_state(struct taskserver *s, char *why)
{
    s->poster = (struct poster){post, s->rpc};
    struct blobs_config blobs = {.dir = s->config.state,
                                 .poster = s->poster,
                                 .blob_max = BLOB_BYTES_MAX,
                                 .total_max = s->config.blobs_max,
                                 .ttl_us = s->config.blob_ttl_us};
    s->started_us = taskserver_now(s);
    int code = state_lock(s->config.state, &s->lock, why);
    if (!code)
        code = blobs_open(&blobs, s->started_us, &s->blobs, why);
    if (!code && s->config.sibling)
        code = open_sibling(s, why);
    if (!code && s->sibling) {
        s->fetch = taskserver_fetch(s);
        blobfetch_address(s->fetch, sibling_address(s->sibling));
    }
    if (!code && s->config.broker)
        s->peering = peering_new(s);
    if (!code && s->sibling)
        peering_know(s->peering, sibling_name(s->sibling), sibling_address(s->sibling));
    return code ? code : open_shards(s, why);
}

static int listen_on(struct taskserver *s, char *why)
{
    static const struct session_kind *const kinds[] = {&producer_kind, &consumer_kind, &blob_kind};
    unsigned consumers = 1u << ROLE_CONSUMER | 1u << ROLE_ADMIN, producers = 1u << ROLE_PRODUCER,
             servers = 1u << ROLE_SERVER;
    for (int i = 0; i < 3; i++)
        s->services[i] = (struct session_service){s, kinds[i]};
    const struct rpc_service services[] = {
        {"/cx.TaskServer/Produce", producers, &session_handler, &s->services[0]},
        {"/cx.TaskServer/Consume", consumers, &session_handler, &s->services[1]},
        {"/cx.TaskServer/Blobs", producers | consumers | servers, &session_handler, &s->services[2]},
        {"/cx.TaskServer/Peer", servers, &peering_handler, s->peering},
        {"/cx.TaskServer/Replicate", servers, &sibling_handler, s->sibling},
    };
    size_t n = s->sibling ? SERVICES : s->peering ? SERVICES - 1 : SERVICES - 2;
    memcpy(s->rpc_services, services, sizeof services);
    char text[RPC_WHY_MAX] = "";
    int code = rpc_listen(s->rpc, s->config.listen, s->config.me, s->rpc_services, n, &s->port, text);
    if (code)
        snprintf(why, STATE_WHY_MAX, "%.100s: %s", s->config.listen, text);
    return code;
}

/* What others are told, unless --advertise says better: the host of --listen, or this machine's name where
 * that is all of its addresses; and the port that was bound. Then the sibling's. */
static void set_addresses(struct taskserver *s)
{
    char host[256] = "", own[300];
    const char *colon = strrchr(s->config.listen, ':');
    snprintf(host, sizeof host, "%.*s", colon ? (int)(colon - s->config.listen) : 0, s->config.listen);
    if (!host[0] || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "[::]") == 0)
        gethostname(host, sizeof host - 1);
    snprintf(own, sizeof own, "%s:%d", host, s->port);
    snprintf(s->addresses, sizeof s->addresses, "%s%s%s", s->config.advertise ? s->config.advertise : own,
             s->sibling ? "," : "", s->sibling ? sibling_address(s->sibling) : "");
}

int taskserver_start(const struct taskserver_config *config, struct taskserver **out, char *why)
{
    struct taskserver *s = calloc(1, sizeof *s);
    must(s);
    s->config = *config;
    s->lock = -1;
    s->epoch_us = clock_wall_us() - clock_us();
    int code = rpc_new(&s->rpc);
    if (code)
        snprintf(why, STATE_WHY_MAX, "cannot start the RPC runtime");
    if (!code)
        code = open_state(s, why);
    if (!code)
        code = listen_on(s, why);
    if (code) {
        taskserver_free(s);
        return code;
    }
    set_addresses(s);
    if (config->broker)
        s->registration = registration_new(s, config->broker, s->addresses);
    *out = s;
    return 0;
}

void taskserver_free(struct taskserver *s)
{
    if (!s)
        return;
    if (s->blobs)
        blobs_stop(s->blobs);
    for (size_t i = 0; i < s->shards && !s->stopping; i++)
        shard_stop(&s->shard[i]);
    s->stopping = true;
    rpc_free(s->rpc); /* streams and posts still use what follows */
    for (size_t i = 0; i < s->shards; i++)
        shard_free(&s->shard[i]);
    sibling_free(s->sibling);
    peering_free(s->peering);
    blobfetch_free(s->fetch);
    blobs_free(s->blobs);
    registration_free(s->registration);
    peers_free(&s->producers);
    peers_free(&s->clients);
    buf_free(&s->scratch);
    if (s->lock >= 0)
        close(s->lock);
    free(s);
}
