/* Consume streams: submits, watches, results, listings (docs/PROTOCOL.md, 4). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "taskserver/server.h"

struct consumer_session {
    struct session base; /* first */
    unsigned asked;      /* requests that the core has not answered yet */
    unsigned listings;   /* under way */
};

enum { ASKED_MAX = 4096, LISTINGS_MAX = 16, REASON_BYTES_MAX = 2048 };

/* Rendered when the stream has room. */
enum note_kind { NOTE_PROGRESS = SEGMENT_NOTE, NOTE_RESULT, NOTE_LIST };

struct job_note {
    uint64_t req;
    struct id job;
};

enum list_what { LIST_JOBS = 1, LIST_PRODUCERS = 2, LIST_SERVER = 3, LIST_SHARDS = 5 };

struct list_note {
    uint64_t req;
    uint64_t cursor;
    uint32_t what;
    bool end; /* the rows are through; the status is what is left */
};

/* An admin asks with an empty name and may do all. */
static struct bytes owner_of(const struct session *s)
{
    return s->role == ROLE_ADMIN ? (struct bytes){0} : bytes_str(s->name);
}

static bool may_see(const struct session *s, const struct ts_job_info *job)
{
    return s->role == ROLE_ADMIN || bytes_equal(owner_of(s), job->owner);
}

/* ---- Requests to the core. It is given 2 x req, and + 1 for a watch, so that its replies can be told apart
 * ---- */

static int check_req(uint64_t req, char *why)
{
    if (req >> 63 == 0)
        return 0;
    snprintf(why, RPC_WHY_MAX, "request number %" PRIu64 ": must be below 2^63", req);
    return CX_EPROTO;
}

/* False, with an answer, when too many are under way. */
static bool admit(struct session *s, uint64_t req)
{
    struct consumer_session *c = (struct consumer_session *)s;
    if (c->asked < ASKED_MAX) {
        c->asked++;
        return true;
    }
    session_statusf(s, req, CX_ELIMIT, "%u requests of this stream wait for their answers, the limit is %d",
                    c->asked, ASKED_MAX);
    return false;
}

static int ask(struct session *s, const cx_Msg *m, enum ts_event_kind kind, struct bytes job, char *why)
{
    int code = check_req(m->req, why);
    if (code || !admit(s, m->req))
        return code;
    struct ts_event e = {.kind = kind, .peer = s->peer, .req = m->req << 1, .job = id_of(job)};
    e.u.owner = owner_of(s);
    shard_step(s->shard, &e);
    return 0;
}

static int on_cancel(struct session *s, const cx_Msg *m, char *why)
{
    int code = ask(s, m, TS_CANCEL, m->body.cancel.job, why);
    shard_log_end(s->shard, id_of(m->body.cancel.job));
    return code;
}

static int on_forget(struct session *s, const cx_Msg *m, char *why)
{
    return ask(s, m, TS_FORGET, m->body.forget.job, why);
}

static int on_watch(struct session *s, const cx_Msg *m, char *why)
{
    int code = check_req(m->req, why);
    if (code)
        return code;
    struct ts_event e = {
        .kind = TS_WATCH, .peer = s->peer, .req = m->req << 1 | 1, .job = id_of(m->body.watch.job)};
    e.u.owner = owner_of(s);
    shard_step(s->shard, &e);
    return 0;
}

static int on_unwatch(struct session *s, const cx_Msg *m, char *why)
{
    (void)why;
    struct ts_event e = {
        .kind = TS_UNWATCH, .peer = s->peer, .req = m->req, .job = id_of(m->body.unwatch.job)};
    shard_step(s->shard, &e);
    session_statusf(s, m->req, CX_OK, "%s", "");
    return 0;
}

/* ---- Submit ---- */

static int submit_of(const cx_Submit *m, const struct session *s, struct ts_submit *out, char *why)
{
    *out = (struct ts_submit){.job = id_of(m->job),
                              .modules = m->module_count,
                              .has_input = m->input.len > 0,
                              .functions = m->functions,
                              .fn = m->fn,
                              .nargs = m->nargs,
                              .args = m->args,
                              .priority = m->priority,
                              .weight = m->weight,
                              .label = m->label,
                              .owner = owner_of(s)};
    for (unsigned i = 0; i < m->module_count; i++) {
        if (m->module[i].arch.len >= sizeof out->module[i].arch) {
            snprintf(why, RPC_WHY_MAX, "submit.module.arch: at most %zu bytes",
                     sizeof out->module[i].arch - 1);
            return CX_ELIMIT;
        }
        msg_str(out->module[i].arch, sizeof out->module[i].arch, m->module[i].arch);
        memcpy(out->module[i].sha256, m->module[i].sha256.data, SHA256_BYTES);
    }
    if (out->has_input)
        memcpy(out->input, m->input.data, SHA256_BYTES);
    return 0;
}

static bool blob_there(struct session *s, uint64_t req, const char *what, const uint8_t *sha256)
{
    char hex[BLOB_HEX_MAX];
    if (blobs_have(s->server->blobs, sha256, taskserver_now(s->server)))
        return true;
    blob_hex(sha256, hex);
    session_statusf(s, req, CX_ENOTFOUND, "the %s %s is not on the server: put it first (Blobs)", what, hex);
    return false;
}

/* A job is submitted when its module and input are here. One that is known already may have outlived them. */
static bool blobs_there(struct session *s, uint64_t req, const struct ts_submit *submit)
{
    struct ts_job_info known;
    if (ts_job_find(s->shard->ts, submit->job, &known))
        return true;
    for (uint32_t i = 0; i < submit->modules; i++)
        if (!blob_there(s, req, "module", submit->module[i].sha256))
            return false;
    return !submit->has_input || blob_there(s, req, "input", submit->input);
}

static int on_submit(struct session *s, const cx_Msg *m, char *why)
{
    struct ts_submit submit;
    int code = check_req(m->req, why);
    if (!code)
        code = submit_of(&m->body.submit, s, &submit, why);
    if (code || !blobs_there(s, m->req, &submit) || !admit(s, m->req))
        return code;
    struct ts_event e = {.kind = TS_SUBMIT, .peer = s->peer, .req = m->req << 1, .u.submit = &submit};
    uint64_t logged = s->shard->logged;
    shard_step(s->shard, &e);
    if (s->shard->logged != logged) {
        char hex[ID_HEX_MAX];
        id_hex(submit.job, hex);
        log_info("job %s submitted by %s: %.*s%s", hex, s->name, (int)submit.label.len,
                 (const char *)submit.label.data, submit.label.len ? "" : "(no label)");
    }
    return 0;
}

/* ---- What is answered without the core ---- */

static int on_why(struct session *s, const cx_Msg *m, char *why)
{
    (void)why;
    struct taskserver *server = s->server;
    struct id id = id_of(m->body.why.job);
    struct ts_job_info job;
    if (!ts_job_find(s->shard->ts, id, &job) || job.guest) {
        session_statusf(s, m->req, CX_ENOTFOUND, "no such job here");
        return 0;
    }
    if (!may_see(s, &job)) {
        session_statusf(s, m->req, CX_EAUTH, "the job belongs to somebody else");
        return 0;
    }
    struct buf text = {0};
    ts_why(s->shard->ts, id, shard_now(s->shard), &text);
    cx_Msg answer = {.req = m->req, .which_body = cx_Msg_text_tag};
    answer.body.text.text = text_clean(&server->scratch, buf_bytes(&text), 1u << 20);
    session_say(s, &answer);
    buf_free(&text);
    session_statusf(s, m->req, CX_OK, "%s", "");
    return 0;
}

typedef bool list_row_fn(struct session *s, struct list_note *n, cx_Msg *m, struct id_bytes *id);
static list_row_fn *list_rows(uint32_t what);

static int on_list(struct session *s, const cx_Msg *m, char *why)
{
    (void)why;
    struct consumer_session *c = (struct consumer_session *)s;
    struct list_note note = {.req = m->req, .what = m->body.list.what};
    if (!list_rows(note.what)) {
        session_statusf(s, m->req, CX_EINVAL,
                        "list %u: a task server lists 1 jobs, 2 producers, 3 itself, 5 shards", note.what);
        return 0;
    }
    if (c->listings >= LISTINGS_MAX) {
        session_statusf(s, m->req, CX_ELIMIT, "%u listings of this stream are under way, the limit is %d",
                        c->listings, LISTINGS_MAX);
        return 0;
    }
    c->listings++;
    session_note(s, NOTE_LIST, &note, sizeof note);
    return 0;
}

/* ---- Rows ---- */

static uint64_t since(uint64_t from, uint64_t to)
{
    return to > from ? to - from : 0;
}

/* `reason` is cleaned into the server's scratch: encode before the next text is. */
static void job_row(const struct session *s, const struct ts_job_info *j, const struct id_bytes *id,
                    cx_JobRow *row)
{
    struct taskserver *server = s->server;
    bool running = j->state == TS_JOB_RUNNING;
    *row = (cx_JobRow){
        .job = id_view(id),
        .state = (uint32_t)j->state,
        .label = j->label,
        .owner = j->owner,
        .functions = j->functions,
        .fn = j->fn,
        .priority = j->priority,
        .weight = j->weight,
        .ready = j->ready,
        .waiting = j->waiting,
        .granted = j->granted,
        .executed = j->executed,
        .duplicates = j->duplicates,
        .commits = j->commits,
        .busy_ns = j->busy_ns,
        .bytes = j->bytes,
        .age_us = since(j->submitted_us, running ? shard_now(s->shard) : j->ended_us),
        .has_min = j->has_min,
        .best_min = j->bound_min,
        .has_max = j->has_max,
        .best_max = j->bound_max,
        .reason = text_clean(&server->scratch, j->reason, REASON_BYTES_MAX),
    };
}

static bool list_job(struct session *s, struct list_note *n, cx_Msg *m, struct id_bytes *id)
{
    struct ts_job_info job;
    while (s->shard->open && ts_job_next(s->shard->ts, &n->cursor, &job)) {
        if (job.guest || !may_see(s, &job))
            continue;
        *id = id_bytes(job.id);
        m->which_body = cx_Msg_job_row_tag;
        job_row(s, &job, id, &m->body.job_row);
        return true;
    }
    return false;
}

static bool list_producer(struct session *s, struct list_note *n, cx_Msg *m, struct id_bytes *id)
{
    struct ts_producer_info p;
    (void)id;
    if (!ts_producer_next(s->shard->ts, &n->cursor, &p))
        return false;
    m->which_body = cx_Msg_producer_row_tag;
    m->body.producer_row = (cx_ProducerRow){.name = bytes_str(p.name),
                                            .arch = bytes_str(p.arch),
                                            .threads = p.threads,
                                            .window = p.window,
                                            .granted = p.granted,
                                            .commits = p.commits,
                                            .executed = p.executed,
                                            .busy_ns = p.busy_ns,
                                            .age_us = since(p.joined_us, shard_now(s->shard))};
    return true;
}

static bool list_server(struct session *s, struct list_note *n, cx_Msg *m, struct id_bytes *id)
{
    struct taskserver *server = s->server;
    struct ts_stats st;
    (void)id;
    if (n->cursor++)
        return false;
    ts_stats(s->shard->ts, &st);
    m->which_body = cx_Msg_server_row_tag;
    m->body.server_row = (cx_ServerRow){.name = bytes_str(server->config.me->self.name),
                                        .network = bytes_str(server->config.network),
                                        .jobs = st.jobs,
                                        .tasks = st.tasks,
                                        .ready = st.ready,
                                        .waiting = st.waiting,
                                        .granted = st.granted,
                                        .producers = st.producers,
                                        .threads = st.threads,
                                        .memory = st.memory,
                                        .memory_max = st.memory_max,
                                        .lsn = st.lsn,
                                        .held = st.held,
                                        .age_us = since(server->started_us, taskserver_now(server)),
                                        .software = bytes_str("cx-taskserver " CX_VERSION),
                                        .journal = s->shard->journal != NULL};
    return true;
}

static bool list_shard(struct session *s, struct list_note *n, cx_Msg *m, struct id_bytes *id)
{
    return shard_row(s->server, &n->cursor, m, id);
}

/* NULL: a task server does not list that. */
static list_row_fn *list_rows(uint32_t what)
{
    static list_row_fn *const rows[] = {[LIST_JOBS] = list_job,
                                        [LIST_PRODUCERS] = list_producer,
                                        [LIST_SERVER] = list_server,
                                        [LIST_SHARDS] = list_shard};
    return what < sizeof rows / sizeof rows[0] ? rows[what] : NULL;
}

static enum rendered render_list(struct session *s, uint8_t *data, struct buf *out)
{
    struct list_note n;
    struct id_bytes id;
    memcpy(&n, data, sizeof n);
    cx_Msg m = {.req = n.req};
    if (!list_rows(n.what)(s, &n, &m, &id)) {
        m.which_body = cx_Msg_status_tag;
        m.body.status = (cx_Status){0};
        ((struct consumer_session *)s)->listings--;
        msg_encode(&m, out);
        return RENDERED_LAST;
    }
    msg_encode(&m, out);
    memcpy(data, &n, sizeof n);
    return RENDERED_MORE;
}

/* Only running jobs: that one has ended is said by its result, which waits until the log is held (law 8). */
static enum rendered render_progress(struct session *s, const struct job_note *n, struct buf *out)
{
    struct ts_job_info job;
    if (!ts_job_find(s->shard->ts, n->job, &job) || job.state != TS_JOB_RUNNING)
        return RENDERED_NOTHING;
    struct id_bytes id = id_bytes(n->job);
    cx_Msg m = {.req = n->req, .which_body = cx_Msg_job_row_tag};
    job_row(s, &job, &id, &m.body.job_row);
    msg_encode(&m, out);
    return RENDERED_LAST;
}

static enum rendered render_result(struct session *s, const struct job_note *n, struct buf *out)
{
    struct ts_job_info job;
    struct id_bytes id = id_bytes(n->job);
    cx_Msg m = {.req = n->req};
    if (ts_job_find(s->shard->ts, n->job, &job) && job.state != TS_JOB_RUNNING) {
        m.which_body = cx_Msg_result_tag;
        m.body.result = (cx_Result){.job = id_view(&id),
                                    .state = (uint32_t)job.state,
                                    .value = job.result,
                                    .reason = text_clean(&s->server->scratch, job.reason, REASON_BYTES_MAX)};
    } else {
        m.which_body = cx_Msg_status_tag;
        m.body.status = (cx_Status){CX_ENOTFOUND, bytes_str("the job was forgotten")};
    }
    msg_encode(&m, out);
    return RENDERED_LAST;
}

static enum rendered render(struct session *s, uint32_t note, uint8_t *data, struct buf *out)
{
    struct job_note n;
    if (note == NOTE_LIST)
        return render_list(s, data, out);
    memcpy(&n, data, sizeof n);
    return note == NOTE_PROGRESS ? render_progress(s, &n, out) : render_result(s, &n, out);
}

/* ---- Down: effects to messages ---- */

void consumer_reply(struct shard *s, const struct ts_effect *fx)
{
    struct session *c = peers_get(&s->server->clients, fx->peer);
    if (!c)
        return;
    if (!(fx->req & 1))
        ((struct consumer_session *)c)->asked--;
    session_status(c, fx->req >> 1, fx->code, ts_effect_data(&s->fx, fx));
}

static void note_job(struct shard *s, const struct ts_effect *fx, uint32_t kind)
{
    struct session *c = peers_get(&s->server->clients, fx->peer);
    struct job_note note = {.req = fx->req >> 1, .job = fx->job};
    if (c)
        session_note(c, kind, &note, sizeof note);
}

void consumer_progress(struct shard *s, const struct ts_effect *fx)
{
    note_job(s, fx, NOTE_PROGRESS);
}

void consumer_result(struct shard *s, const struct ts_effect *fx)
{
    note_job(s, fx, NOTE_RESULT);
}

/* ---- Coming and going ---- */

static int consumer_joined(struct session *s, const cx_Hello *hello, char *why)
{
    (void)hello;
    (void)why;
    s->peer = peers_add(&s->server->clients, s);
    log_debug("%s %s joined (number %u)", role_name(s->role), s->name, s->peer);
    return 0;
}

static void consumer_gone(struct session *s, int code, const char *why)
{
    if (!s->joined)
        return;
    log_debug("%s %s left: %s (number %u)", role_name(s->role), s->name, why[0] ? why : cx_err_text(code),
              s->peer);
    s->joined = false;
    struct ts_event e = {.kind = TS_CLIENT_LEFT, .peer = s->peer};
    peers_remove(&s->server->clients, s->peer);
    if (!s->looking)
        shard_step(s->shard, &e);
}

static session_message_fn *const on[SESSION_TAGS] = {
    [cx_Msg_submit_tag] = on_submit, [cx_Msg_cancel_tag] = on_cancel,   [cx_Msg_forget_tag] = on_forget,
    [cx_Msg_watch_tag] = on_watch,   [cx_Msg_unwatch_tag] = on_unwatch, [cx_Msg_list_tag] = on_list,
    [cx_Msg_why_tag] = on_why,       [cx_Msg_admin_tag] = on_admin,
};

const struct session_kind consumer_kind = {.name = "consumer",
                                           .bytes = sizeof(struct consumer_session),
                                           .hello = true,
                                           .outputs = true,
                                           .outbox_share = 1,
                                           .streams_max = 256,
                                           .on = on,
                                           .joined = consumer_joined,
                                           .render = render,
                                           .gone = consumer_gone};
