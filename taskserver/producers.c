/* Produce streams: grants down, commits up (docs/PROTOCOL.md, 3). */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "taskserver/server.h"

struct producer_session {
    struct session base; /* first */
    char arch[sizeof((struct ts_module *)0)->arch];
};

enum { THREADS_MAX = 65536 };

/* ---- Up: messages to events ---- */

static int producer_joined(struct session *s, const cx_Hello *hello, char *why)
{
    struct producer_session *p = (struct producer_session *)s;
    if (hello->arch.len == 0 || hello->arch.len >= sizeof p->arch || hello->threads == 0 ||
        hello->threads > THREADS_MAX) {
        snprintf(why, RPC_WHY_MAX,
                 "hello: a producer names its architecture (1 to %zu bytes) and threads (1 to %d)",
                 sizeof p->arch - 1, THREADS_MAX);
        return CX_EINVAL;
    }
    msg_str(p->arch, sizeof p->arch, hello->arch);
    s->peer = peers_add(&s->server->producers, s);
    struct ts_event joined = {.kind = TS_PRODUCER_JOINED, .peer = s->peer};
    joined.u.joined.name = s->name;
    joined.u.joined.arch = p->arch;
    joined.u.joined.threads = hello->threads;
    log_info("producer %s joined: %s, %u threads (number %u)", s->name, p->arch, hello->threads, s->peer);
    shard_step(s->shard, &joined);
    struct ts_event window = {.kind = TS_PRODUCER_WINDOW, .peer = s->peer, .u.window = hello->window};
    shard_step(s->shard, &window);
    return 0;
}

static int on_window(struct session *s, const cx_Msg *m, char *why)
{
    (void)why;
    struct ts_event e = {.kind = TS_PRODUCER_WINDOW, .peer = s->peer, .u.window = m->body.window.grants};
    shard_step(s->shard, &e);
    return 0;
}

static int on_commits(struct session *s, const cx_Msg *m, char *why)
{
    (void)why;
    struct ts_event e = {.kind = TS_COMMITS, .peer = s->peer, .u.batch = m->body.commits.records};
    shard_step(s->shard, &e);
    return 0;
}

static int on_holds(struct session *s, const cx_Msg *m, char *why)
{
    (void)why;
    struct ts_event e = {.kind = TS_PRODUCER_HOLDS, .peer = s->peer, .u.batch = m->body.holds.records};
    shard_step(s->shard, &e);
    return 0;
}

/* Commits carry the offers that count; a producer may say them here too, to no effect. */
static int on_bound(struct session *s, const cx_Msg *m, char *why)
{
    (void)s;
    (void)m;
    (void)why;
    return 0;
}

static void producer_leave(struct session *s, const char *why)
{
    if (!s->joined)
        return;
    log_info("producer %s left: %s (number %u)", s->name, why, s->peer);
    s->joined = false;
    struct ts_event e = {.kind = TS_PRODUCER_LEFT, .peer = s->peer};
    peers_remove(&s->server->producers, s->peer);
    shard_step(s->shard, &e);
}

static int on_leave(struct session *s, const cx_Msg *m, char *why)
{
    (void)m;
    (void)why;
    producer_leave(s, "it said good-bye");
    session_close(s, CX_OK, "");
    return 0;
}

static void producer_gone(struct session *s, int code, const char *why)
{
    producer_leave(s, why[0] ? why : code ? cx_err_text(code) : "it closed its stream");
}

static session_message_fn *const on[SESSION_TAGS] = {
    [cx_Msg_window_tag] = on_window, [cx_Msg_commits_tag] = on_commits, [cx_Msg_holds_tag] = on_holds,
    [cx_Msg_bound_tag] = on_bound,   [cx_Msg_leave_tag] = on_leave,
};

const struct session_kind producer_kind = {.name = "producer",
                                           .bytes = sizeof(struct producer_session),
                                           .hello = true,
                                           .outbox_share = 16, /* large arguments, times the window */
                                           .streams_max = 1024,
                                           .on = on,
                                           .joined = producer_joined,
                                           .gone = producer_gone};

/* ---- Down: effects to messages ---- */

void producer_grant(struct shard *s, const struct ts_effect *fx)
{
    struct session *p = peers_get(&s->server->producers, fx->peer);
    if (p)
        session_grant(p, ts_effect_data(&s->fx, fx));
}

/* The module for this architecture; one without an architecture fits all. */
static const uint8_t *module_of(const struct ts_job_info *job, const char *arch)
{
    const uint8_t *any = NULL;
    for (uint32_t i = 0; i < job->modules; i++) {
        if (strcmp(job->module[i].arch, arch) == 0)
            return job->module[i].sha256;
        if (!job->module[i].arch[0])
            any = job->module[i].sha256;
    }
    return any;
}

void producer_job(struct shard *s, const struct ts_effect *fx)
{
    struct session *p = peers_get(&s->server->producers, fx->peer);
    struct ts_job_info job;
    if (!p || !ts_job_find(s->ts, fx->job, &job))
        return;
    const uint8_t *module = module_of(&job, ((struct producer_session *)p)->arch);
    if (!module)
        return; /* such a producer is granted nothing of this job */
    struct id_bytes id = id_bytes(fx->job);
    cx_Msg m = {.which_body = cx_Msg_job_tag};
    m.body.job = (cx_JobInfo){.job = id_view(&id),
                              .module = bytes_of(module, SHA256_BYTES),
                              .input = bytes_of(job.input, job.has_input ? SHA256_BYTES : 0),
                              .has_min = job.has_min,
                              .best_min = job.bound_min,
                              .has_max = job.has_max,
                              .best_max = job.bound_max};
    session_say(p, &m);
}

void producer_job_gone(struct shard *s, const struct ts_effect *fx)
{
    struct session *p = peers_get(&s->server->producers, fx->peer);
    shard_log_end(s, fx->job);
    if (!p)
        return;
    struct id_bytes id = id_bytes(fx->job);
    cx_Msg m = {.which_body = cx_Msg_job_gone_tag};
    m.body.job_gone.job = id_view(&id);
    session_say(p, &m);
}

void producer_bound(struct shard *s, const struct ts_effect *fx)
{
    struct session *p = peers_get(&s->server->producers, fx->peer);
    if (!p)
        return;
    struct id_bytes id = id_bytes(fx->job);
    cx_Msg m = {.which_body = cx_Msg_bound_tag};
    m.body.bound = (cx_Bound){.job = id_view(&id), .kind = fx->bound_kind, .value = fx->bound};
    session_say(p, &m);
}

void producer_hungry(struct shard *s, const struct ts_effect *fx)
{
    struct session *p = peers_get(&s->server->producers, fx->peer);
    cx_Msg m = {.which_body = cx_Msg_hungry_tag};
    if (p)
        session_say(p, &m);
}

void producer_revoke(struct shard *s, const struct ts_effect *fx)
{
    struct session *p = peers_get(&s->server->producers, fx->peer);
    if (!p)
        return;
    struct id_bytes job = id_bytes(fx->job), task = id_bytes(fx->task);
    cx_Msg m = {.which_body = cx_Msg_revoke_tag};
    m.body.revoke = (cx_TaskRef){.job = id_view(&job), .task = id_view(&task)};
    session_say(p, &m);
}

void producer_fault(struct shard *s, const struct ts_effect *fx)
{
    struct session *p = peers_get(&s->server->producers, fx->peer);
    char why[RPC_WHY_MAX];
    if (!p || p->closing)
        return;
    msg_str(why, sizeof why, text_clean(&s->server->scratch, ts_effect_data(&s->fx, fx), sizeof why - 1));
    log_warn("producer %s: fault: %s", p->name, why);
    session_close(p, fx->code ? fx->code : CX_EPROTO, why);
}
