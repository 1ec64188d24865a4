#include "consumer/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/must.h"
#include "proto/limits.h"

#define GRACE_US 3000000 /* how long a network that was never reached is tried before CX_ENONET */

struct remote_handle {
    cx_job job; /* first */
    struct remote_job *shared;
};

static struct remote *of(cx_net *net)
{
    return (struct remote *)net;
}

static struct client_job *job_of(cx_job *job)
{
    return &((struct remote_handle *)job)->shared->job;
}

/* Hands the call to the reactor and waits until it is done; time-outs are the core's. */
static int ask(struct remote *r, struct call *call)
{
    pthread_mutex_lock(&r->lock);
    call->next = NULL;
    *r->inbox_end = call;
    r->inbox_end = &call->next;
    pthread_mutex_unlock(&r->lock);
    loop_wake(r);
    pthread_mutex_lock(&r->lock);
    while (!call->done)
        pthread_cond_wait(&r->changed, &r->lock);
    pthread_mutex_unlock(&r->lock);
    return call->code;
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
    if (ask(of(net), &call) == 0)
        return 0;
    id_hex(s->job, hex);
    return fault(net, call.code, "job %s was not accepted: %s", hex,
                 call.text[0] != '\0' ? call.text : "no reason");
}

/* ---- Jobs ---- */

static struct remote_job *shared_find(struct remote *r, struct id id)
{
    struct remote_job *j = r->jobs;
    while (j != NULL && !id_equal(j->job.id, id))
        j = j->next;
    return j;
}

static int remote_attach(cx_net *net, struct id id, cx_job **out)
{
    struct remote *r = of(net);
    struct remote_handle *h = calloc(1, sizeof *h);
    struct remote_job *fresh = calloc(1, sizeof *fresh), *j;
    if (h == NULL || fresh == NULL) {
        free(h);
        free(fresh);
        return fault(net, CX_ENOMEM, "no memory for a job");
    }
    job_init(&h->job, net, id);
    pthread_mutex_lock(&r->lock);
    if ((j = shared_find(r, id)) == NULL) {
        j = fresh;
        fresh = NULL;
        j->job.id = id;
        j->next = r->jobs;
        r->jobs = j;
    }
    j->handles++;
    h->shared = j;
    pthread_mutex_unlock(&r->lock);
    free(fresh);
    *out = &h->job;
    return 0;
}

static void remote_detach(cx_job *job)
{
    struct remote *r = of(job->net);
    struct remote_job *j = ((struct remote_handle *)job)->shared, **at = &r->jobs;
    pthread_mutex_lock(&r->lock);
    bool last = --j->handles == 0;
    if (last) {
        while (*at != j)
            at = &(*at)->next;
        *at = j->next;
        j->next = r->dropped;
        r->dropped = j;
    }
    pthread_mutex_unlock(&r->lock);
    if (last)
        loop_wake(r);
    free(job);
}

static int call_fault(cx_job *job, const struct call *call)
{
    if (call->code == CX_ENOTFOUND)
        return fault_unknown_job(job);
    return fault(job->net, call->code, "job %s: %s", job->hex, call->text);
}

/* The last watch of a job that has ended told what it had done a moment before; its row in the server's list,
 * if it is there still, has it all. */
static void complete_progress(cx_job *job, cx_progress *p)
{
    struct job_row row;
    if (job_row(job, &row) < 0)
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
    struct client_job *j = job_of(job);
    struct call call = {.kind = CALL_PROGRESS, .deadline_us = deadline_us, .job = j};
    if (ask(r, &call) < 0)
        return call_fault(job, &call);
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
    struct client_job *j = job_of(job);
    struct call call = {.kind = CALL_WAIT, .deadline_us = deadline_us, .job = j};
    if (ask(of(job->net), &call) < 0)
        return call_fault(job, &call);
    if (j->state != CX_DONE)
        return fault_ended(job, (cx_state)j->state, bytes_str(j->reason));
    struct reader r = reader_of(buf_bytes(&j->value));
    *out = get_value(&r);
    must(!r.bad); /* it was checked when it came */
    return 0;
}

static int ask_about(cx_job *job, enum call_kind kind, uint64_t deadline_us)
{
    struct call call = {.kind = kind, .deadline_us = deadline_us, .id = job->id};
    return ask(of(job->net), &call) < 0 ? call_fault(job, &call) : 0;
}

static int remote_cancel(cx_job *job, uint64_t deadline_us)
{
    return ask_about(job, CALL_CANCEL, deadline_us);
}

static int remote_forget(cx_job *job, uint64_t deadline_us)
{
    return ask_about(job, CALL_FORGET, deadline_us);
}

static int remote_why(cx_job *job, uint64_t deadline_us, struct buf *text)
{
    struct call call = {.kind = CALL_WHY, .deadline_us = deadline_us, .id = job->id};
    int err = ask(of(job->net), &call);
    if (err == 0)
        buf_add(text, call.out.data, call.out.len);
    buf_free(&call.out);
    return err < 0 ? call_fault(job, &call) : 0;
}

static int remote_list(cx_net *net, enum list_what what, uint64_t deadline_us, struct buf *rows)
{
    struct call call = {
        .kind = what == LIST_NETWORKS ? CALL_NETWORKS : CALL_LIST, .deadline_us = deadline_us, .what = what};
    int err = ask(of(net), &call);
    if (err == 0)
        buf_add(rows, call.out.data, call.out.len);
    buf_free(&call.out);
    return err < 0 ? fault(net, err, "%s", call.text) : 0;
}

/* ---- Opening and closing ---- */

static void remote_free(struct remote *r)
{
    client_free(r->client);
    client_effects_free(&r->fx);
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
    .why = remote_why,
    .close = remote_close,
};

/* A consumer's certificate, or, where there is none, an administrator's. CX_CONSUMER chooses among several.
 */
static int load_credentials(struct remote *r, const char *dir)
{
    char why[RPC_WHY_MAX] = "", ignored[RPC_WHY_MAX];
    const char *name = getenv("CX_CONSUMER");
    int err = pki_load(dir, ROLE_CONSUMER, name, &r->me, why, sizeof why);
    if (err == CX_ENOTFOUND && pki_load(dir, ROLE_ADMIN, name, &r->me, ignored, sizeof ignored) == 0)
        return 0;
    if (err == 0)
        return 0;
    return fault(
        NULL, err == CX_ENOTFOUND ? CX_EAUTH : err,
        "no credentials for %s: %s (CX_CREDENTIALS or --credentials names their directory, CX_CONSUMER one "
        "of several)",
        r->net.address, why);
}

static int make_client(struct remote *r)
{
    struct client_config config = {.address = r->net.address, .grace_us = GRACE_US};
    if (getrandom(&config.seed, sizeof config.seed, 0) != (ssize_t)sizeof config.seed)
        config.seed = (uint64_t)(uintptr_t)r;  /* jitter needs no secrecy */
    if (utf8_valid(bytes_str(config.address))) /* it is sent to the broker, as text */
        r->client = client_new(&config);
    if (r->client == NULL)
        return fault(NULL, CX_EINVAL, "'%s' is no network: write HOST:PORT, broker:HOST:PORT or local://",
                     r->net.address);
    return 0;
}

int remote_open(const char *address, const char *credentials_dir, cx_net **out)
{
    struct remote *r = calloc(1, sizeof *r);
    int err;
    if (r == NULL)
        return fault(NULL, CX_ENOMEM, "no memory for a network");
    net_init(&r->net, &remote_backend, address);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    r->inbox_end = &r->inbox;
    if ((err = make_client(r)) < 0 || (err = load_credentials(r, credentials_dir)) < 0)
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
