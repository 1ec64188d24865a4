#include "consumer/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "proto/limits.h"

struct remote_handle {
    cx_job job; /* first */
    struct remote_job *shared;
    struct remote_job *before; /* as it was where it was not found; others may be asking there still */
};

static struct remote *of(cx_net *net)
{
    return (struct remote *)net;
}

static struct remote_job *shared_of(cx_job *job)
{
    struct remote *r = of(job->net);
    pthread_mutex_lock(&r->lock);
    struct remote_job *j = ((struct remote_handle *)job)->shared;
    pthread_mutex_unlock(&r->lock);
    return j;
}

/* ---- Submitting ---- */

static int remote_submit(cx_net *net, const struct submit *s, uint64_t deadline_us)
{
    struct remote_submission p = {.submit = s, .blobs = 1};
    struct call call = {.kind = CALL_SUBMIT, .deadline_us = deadline_us, .id = s->job, .payload = &p};
    char hex[ID_HEX_MAX];
    p.blob[0].data = buf_bytes(&s->module->file);
    sha256_of(p.blob[0].data, p.blob[0].sha256);
    if (s->input.len > 0) {
        p.blob[1].data = s->input;
        sha256_of(s->input, p.blob[1].sha256);
        p.blobs = 2;
    }
    call.blob = p.blob;
    call.blobs = p.blobs;
    if (ask(&of(net)->home, &call) == 0)
        return 0;
    id_hex(s->job, hex);
    return fault(net, call.code, "job %s was not accepted: %s", hex,
                 call.text[0] != '\0' ? call.text : "no reason");
}

/* ---- Jobs ---- */

static struct remote_job *shared_find(struct remote *r, struct id id, const struct lane *lane)
{
    struct remote_job *j = r->jobs;
    while (j != NULL && !(id_equal(j->job.id, id) && (lane == NULL || j->lane == lane)))
        j = j->next;
    return j;
}

/* With one holder more. fresh is used, and set to NULL, when it is not there yet. */
static struct remote_job *shared_hold(struct remote *r, struct id id, const struct lane *lane,
                                      struct remote_job **fresh)
{
    struct remote_job *j = shared_find(r, id, lane);
    if (j == NULL) {
        j = *fresh;
        *fresh = NULL;
        j->job.id = id;
        j->next = r->jobs;
        r->jobs = j;
    }
    j->handles++;
    return j;
}

/* True: the reactor has to hear of it. */
static bool shared_release(struct remote *r, struct remote_job *j)
{
    struct remote_job **at = &r->jobs;
    if (j == NULL || --j->handles > 0)
        return false;
    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    j->next = r->dropped;
    r->dropped = j;
    return true;
}

static int remote_attach(cx_net *net, struct id id, bool acked, cx_job **out)
{
    struct remote *r = of(net);
    struct remote_handle *h = calloc(1, sizeof *h);
    struct remote_job *fresh = calloc(1, sizeof *fresh);
    if (h == NULL || fresh == NULL) {
        free(h);
        free(fresh);
        return fault(net, CX_ENOMEM, "no memory for a job");
    }
    fresh->lane = &r->home;
    job_init(&h->job, net, id);
    pthread_mutex_lock(&r->lock);
    h->shared = shared_hold(r, id, acked ? &r->home : NULL, &fresh);
    h->shared->job.acked = h->shared->job.acked || acked;
    pthread_mutex_unlock(&r->lock);
    free(fresh);
    *out = &h->job;
    return 0;
}

static void remote_detach(cx_job *job)
{
    struct remote *r = of(job->net);
    struct remote_handle *h = (struct remote_handle *)job;
    pthread_mutex_lock(&r->lock);
    bool last = shared_release(r, h->shared);
    last = shared_release(r, h->before) || last;
    pthread_mutex_unlock(&r->lock);
    if (last)
        loop_wake(r);
    free(job);
}

/* The job is known along another lane than where it was asked for. */
static bool move(struct remote *r, struct remote_handle *h, struct lane *lane)
{
    struct remote_job *fresh = calloc(1, sizeof *fresh);
    bool moved = fresh != NULL;
    if (!moved)
        return false;
    fresh->lane = lane;
    pthread_mutex_lock(&r->lock);
    if (h->before == NULL) {
        h->before = h->shared;
        h->shared = shared_hold(r, h->job.id, lane, &fresh);
    }
    pthread_mutex_unlock(&r->lock);
    free(fresh);
    return moved;
}

/* Asks about the job; where it is not known, and nobody said that it should be, the other shards are asked.
 */
static int ask_about(cx_job *job, struct call *call)
{
    struct remote *r = of(job->net);
    struct remote_handle *h = (struct remote_handle *)job;
    struct call again = *call;
    for (bool looked = false;; looked = true) {
        struct remote_job *j = shared_of(job);
        struct lane *lane;
        *call = again;
        call->id = job->id;
        call->acked = j->job.acked;
        call->job = call->kind == CALL_WAIT || call->kind == CALL_PROGRESS ? &j->job : NULL;
        if (ask(j->lane, call) != CX_ENOTFOUND)
            return call->code;
        call->text[0] = '\0';
        buf_free(&call->out);
        if (j->job.acked || j->lane != &r->home || looked)
            return CX_ENOTFOUND;
        if ((lane = shards_locate(r, job->id, call->text)) == NULL || !move(r, h, lane))
            return call->code;
    }
}

static int call_fault(cx_job *job, const struct call *call)
{
    if (call->code == CX_ENOTFOUND && call->text[0] != '\0')
        return fault(job->net, CX_ENOTFOUND,
                     "no job %s in any shard of %s that can be asked now; not in all: %s", job->hex,
                     job->net->address, call->text);
    if (call->code == CX_ENOTFOUND)
        return fault_unknown_job(job);
    return fault(job->net, call->code, "job %s: %s", job->hex, call->text);
}

/* The last watch of a job that has ended told what it had done a moment before; its row in the server's list,
 * if it is there still, has it all. */
static void complete_progress(cx_job *job, cx_progress *p)
{
    struct job_row row;
    if (job_row_listed(job, &row) < 0)
        return;
    p->ready = p->waiting = p->granted = 0;
    p->executed = row.executed;
    p->duplicates = row.duplicates;
    p->busy_s = (double)row.busy_ns / 1e9;
    p->age_s = (double)row.age_us / 1e6;
}

static int remote_progress(cx_job *job, uint64_t deadline_us, cx_progress *out)
{
    struct remote *r = of(job->net);
    struct call call = {.kind = CALL_PROGRESS, .deadline_us = deadline_us};
    if (ask_about(job, &call) < 0)
        return call_fault(job, &call);
    const struct client_job *j = call.job;
    pthread_mutex_lock(&r->lock);
    *out = (cx_progress){.state = j->ended ? (cx_state)j->state : CX_RUNNING,
                         .ready = j->progress.ready,
                         .waiting = j->progress.waiting,
                         .granted = j->progress.granted,
                         .executed = j->progress.executed,
                         .duplicates = j->progress.duplicates,
                         .busy_s = (double)j->progress.busy_ns / 1e9,
                         .age_s = (double)j->progress.age_us / 1e6};
    pthread_mutex_unlock(&r->lock);
    if (out->state != CX_RUNNING)
        complete_progress(job, out);
    return 0;
}

/* A job that has ended does not change any more, so its value may be read without the lock. */
static int remote_wait(cx_job *job, uint64_t deadline_us, cx_value *out)
{
    struct call call = {.kind = CALL_WAIT, .deadline_us = deadline_us};
    if (ask_about(job, &call) < 0)
        return call_fault(job, &call);
    const struct client_job *j = call.job;
    if (j->state != CX_DONE)
        return fault_ended(job, (cx_state)j->state, bytes_str(j->reason));
    struct reader r = reader_of(buf_bytes(&j->value));
    *out = get_value(&r);
    must(!r.bad); /* it was checked when it came */
    return 0;
}

static int tell(cx_job *job, enum call_kind kind, uint64_t deadline_us)
{
    struct call call = {.kind = kind, .deadline_us = deadline_us};
    return ask_about(job, &call) < 0 ? call_fault(job, &call) : 0;
}

static int remote_cancel(cx_job *job, uint64_t deadline_us)
{
    return tell(job, CALL_CANCEL, deadline_us);
}

static int remote_forget(cx_job *job, uint64_t deadline_us)
{
    return tell(job, CALL_FORGET, deadline_us);
}

static int remote_why(cx_job *job, uint64_t deadline_us, struct buf *text)
{
    struct call call = {.kind = CALL_WHY, .deadline_us = deadline_us};
    int err = ask_about(job, &call);
    if (err == 0)
        buf_add(text, call.out.data, call.out.len);
    buf_free(&call.out);
    return err < 0 ? call_fault(job, &call) : 0;
}

/* Of one lane. */
static int list_along(struct lane *l, enum list_what what, uint64_t deadline_us, struct buf *rows)
{
    struct call call = {
        .kind = what == LIST_NETWORKS ? CALL_NETWORKS : CALL_LIST, .deadline_us = deadline_us, .what = what};
    int err = ask(l, &call);
    if (err == 0)
        buf_add(rows, call.out.data, call.out.len);
    buf_free(&call.out);
    return err < 0 ? fault(&l->remote->net, err, "%s", call.text) : 0;
}

static int remote_list(cx_net *net, enum list_what what, cx_job *job, uint64_t deadline_us, struct buf *rows)
{
    if (job != NULL)
        return list_along(shared_of(job)->lane, what, deadline_us, rows);
    if (what == LIST_SERVER || what == LIST_NETWORKS)
        return list_along(&of(net)->home, what, deadline_us, rows);
    if (what == LIST_SHARDS)
        return shards_all(of(net), deadline_us, rows);
    return shards_list(of(net), what, deadline_us, rows);
}

static int remote_order(cx_net *net, const struct order *order, uint64_t deadline_us)
{
    struct remote *r = of(net);
    struct lane *l = order->address != NULL ? lane_to_server(r, order->address) : &r->home;
    struct call call = {.kind = order->address != NULL ? CALL_ORDER : CALL_ACCEPT,
                        .deadline_us = deadline_us,
                        .what = order->verb,
                        .id = order->shard,
                        .member = order->member};
    if (l == NULL)
        return fault(net, CX_ENOMEM, "no memory for a connection");
    return ask(l, &call) < 0 ? fault(net, call.code, "%s", call.text) : 0;
}

/* ---- Opening and closing ---- */

static void remote_free(struct remote *r)
{
    while (r->more != NULL) {
        struct lane *l = r->more;
        r->more = l->next;
        lane_free(l);
        free(l);
    }
    lane_free(&r->home);
    pki_unload(&r->me);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void remote_close(cx_net *net)
{
    struct remote *r = of(net);
    loop_stop(r);
    remote_free(r);
}

static const struct backend remote_backend = {
    .submit = remote_submit,
    .attach = remote_attach,
    .detach = remote_detach,
    .progress = remote_progress,
    .wait = remote_wait,
    .cancel = remote_cancel,
    .forget = remote_forget,
    .list = remote_list,
    .order = remote_order,
    .why = remote_why,
    .close = remote_close,
};

/* A consumer's certificate, or, where there is none, an administrator's; the other way round for who means to
 * give orders. CX_CONSUMER chooses among several. */
static int load_credentials(struct remote *r, const char *dir, bool admin)
{
    char why[RPC_WHY_MAX] = "", ignored[RPC_WHY_MAX];
    const char *name = getenv("CX_CONSUMER");
    enum role first = admin ? ROLE_ADMIN : ROLE_CONSUMER, second = admin ? ROLE_CONSUMER : ROLE_ADMIN;
    int err = pki_load(dir, first, name, &r->me, why, sizeof why);
    if (err == CX_ENOTFOUND && pki_load(dir, second, name, &r->me, ignored, sizeof ignored) == 0)
        return 0;
    if (err == 0)
        return 0;
    return fault(
        NULL, err == CX_ENOTFOUND ? CX_EAUTH : err,
        "no credentials for %s: %s (CX_CREDENTIALS or --credentials names their directory, CX_CONSUMER one "
        "of several)",
        r->net.address, why);
}

static int make_home(struct remote *r)
{
    bool text = utf8_valid(bytes_str(r->net.address)); /* it is sent to the broker */
    if (!text || !lane_init(&r->home, r, r->net.address, (struct id){0, 0}, false))
        return fault(NULL, CX_EINVAL, "'%s' is no network: write HOST:PORT, broker:HOST:PORT or local://",
                     r->net.address);
    return 0;
}

int remote_open(const char *address, const char *credentials_dir, bool admin, cx_net **out)
{
    struct remote *r = calloc(1, sizeof *r);
    int err;
    if (r == NULL)
        return fault(NULL, CX_ENOMEM, "no memory for a network");
    net_init(&r->net, &remote_backend, address);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    if ((err = make_home(r)) < 0 || (err = load_credentials(r, credentials_dir, admin)) < 0)
        goto fail;
    if ((err = loop_start(r)) < 0) {
        fault(NULL, err, "cannot start the network's thread: %s", cx_err_text(err));
        goto fail;
    }
    *out = &r->net;
    return 0;
fail:
    remote_free(r);
    return err;
}
