/* The public functions: they check what they are given and leave the work to the backend. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/commit.h"
#include "consumer/net.h"
#include "proto/limits.h"

#define INPUT_BYTES_MAX (1u << 30)
#define LOCAL_SCHEME    "local://"

uint64_t deadline_of(int timeout_ms)
{
    return timeout_ms < 0 ? UINT64_MAX : clock_us() + (uint64_t)timeout_ms * 1000;
}

static uint64_t request_deadline(const cx_net *net)
{
    return deadline_of(net->timeout_ms);
}

/* ---- Networks ---- */

static int open_as(const char *address, const char *credentials_dir, bool admin, cx_net **out)
{
    char found[ADDRESS_MAX], dir[PATH_MAX];
    int err;
    if (out == NULL)
        return fault(NULL, CX_EINVAL, "cx_open: nowhere to put the network (out is NULL)");
    if ((address != NULL && strlen(address) >= ADDRESS_MAX) ||
        (credentials_dir != NULL && strlen(credentials_dir) >= PATH_MAX))
        return fault(NULL, CX_EINVAL, "cx_open: the address or the path of the credentials is too long");
    if ((err = config_find(address, credentials_dir, found, dir)) < 0)
        return err;
    if (strncmp(found, LOCAL_SCHEME, strlen(LOCAL_SCHEME)) == 0)
        return local_open(found + strlen(LOCAL_SCHEME), out);
    return remote_open(found, dir, admin, out);
}

int cx_open_with(const char *address, const char *credentials_dir, cx_net **out)
{
    return open_as(address, credentials_dir, false, out);
}

int net_open_admin(const char *address, const char *credentials_dir, cx_net **out)
{
    return open_as(address, credentials_dir, true, out);
}

int cx_open(const char *address, cx_net **out)
{
    return cx_open_with(address, NULL, out);
}

void cx_close(cx_net *net)
{
    if (net != NULL)
        net->backend->close(net);
}

/* ---- Submitting ---- */

static int new_job_id(const cx_net *net, struct id *id)
{
    do {
        ssize_t n = getrandom(id, sizeof *id, 0);
        if (n != (ssize_t)sizeof *id && errno != EINTR)
            return fault(net, CX_EIO, "the system has no random numbers: %s", strerror(errno));
    } while (id_is_zero(*id));
    return 0;
}

static int take_id(const cx_net *net, const char *hex, struct id *id)
{
    if (hex == NULL)
        return new_job_id(net, id);
    if (!id_parse(hex, id) || id_is_zero(*id))
        return fault(net, CX_EINVAL, "'%s' is no job id: a job id is 32 hex digits, not all zero", hex);
    return 0;
}

static int pack_args(const cx_net *net, const cx_submission *what, struct buf *args)
{
    for (uint32_t i = 0; i < what->nargs; i++) {
        cx_value v = what->args[i];
        if (v.type > CX_BYTES)
            return fault(net, CX_EINVAL, "argument %u of %s is no integer, double, bytes or none", i,
                         what->function);
        if (v.type == CX_BYTES && v.len > CX_VALUE_BYTES_MAX)
            return fault(net, CX_ELIMIT,
                         "argument %u of %s has %u bytes; %u are allowed, give more as the input", i,
                         what->function, v.len, CX_VALUE_BYTES_MAX);
        put_value(args, v);
    }
    if (args->len > COMMIT_BYTES_MAX / 2)
        return fault(net, CX_ELIMIT,
                     "the arguments of %s have %zu bytes together; %u are allowed, give more as the "
                     "input",
                     what->function, args->len, COMMIT_BYTES_MAX / 2);
    return 0;
}

static int check_submission(const cx_net *net, const cx_submission *what)
{
    if (what->module == NULL || what->function == NULL)
        return fault(net, CX_EINVAL, "a submission names a module and a function");
    if (what->nargs > CX_ARGS_MAX || (what->nargs > 0 && what->args == NULL))
        return fault(net, CX_ELIMIT, "%s was given %u arguments; a task takes at most %u", what->function,
                     what->nargs, CX_ARGS_MAX);
    if (what->input_len > INPUT_BYTES_MAX || (what->input_len > 0 && what->input == NULL))
        return fault(net, CX_ELIMIT, "the input has %zu bytes; a job's input has at most %u", what->input_len,
                     INPUT_BYTES_MAX);
    if (what->label != NULL && strlen(what->label) > TS_LABEL_MAX)
        return fault(net, CX_ELIMIT, "the label has %zu bytes; %u are allowed", strlen(what->label),
                     TS_LABEL_MAX);
    if (what->weight > WEIGHT_MAX)
        return fault(net, CX_ELIMIT, "the weight is %u; %u is the greatest", what->weight, WEIGHT_MAX);
    if (what->label != NULL && !utf8_valid(bytes_str(what->label)))
        return fault(net, CX_EINVAL, "the label is no text: it has to be UTF-8");
    return 0;
}

/* A large input takes its time to send: a second more for each MiB, unless the caller has said how long. */
static uint64_t submit_deadline(const cx_net *net, const cx_submission *what)
{
    if (what->timeout_ms != 0)
        return deadline_of(what->timeout_ms);
    return deadline_of(net->timeout_ms + (int)(what->input_len >> 20) * 1000);
}

static int submit_loaded(cx_net *net, const cx_submission *what, struct module *m, cx_job **out)
{
    struct submit s = {.module = m,
                       .nargs = what->nargs,
                       .input = bytes_of(what->input, what->input_len),
                       .priority = what->priority,
                       .weight = what->weight,
                       .label = bytes_str(what->label != NULL ? what->label : "")};
    uint64_t deadline = submit_deadline(net, what);
    int err;
    if ((err = module_function(net, m, what->function, &s.fn)) == 0 &&
        (err = take_id(net, what->id, &s.job)) == 0 && (err = pack_args(net, what, &s.args)) == 0 &&
        (err = net->backend->submit(net, &s, deadline)) == 0)
        err = net->backend->attach(net, s.job, true, out);
    buf_free(&s.args);
    return err;
}

int cx_submit(cx_net *net, const cx_submission *what, cx_job **out)
{
    struct module *m;
    int err;
    if (net == NULL || what == NULL || out == NULL)
        return fault(net, CX_EINVAL,
                     "cx_submit: network, submission and the place for the job must be given");
    if ((err = check_submission(net, what)) < 0 || (err = module_open(net, what->module, &m)) < 0)
        return err;
    err = submit_loaded(net, what, m, out);
    module_drop(m);
    return err;
}

/* ---- Jobs ---- */

int cx_attach(cx_net *net, const char *id, cx_job **out)
{
    struct id job;
    int err;
    if (net == NULL || id == NULL || out == NULL)
        return fault(net, CX_EINVAL, "cx_attach: network, job id and the place for the job must be given");
    if ((err = take_id(net, id, &job)) < 0)
        return err;
    return net->backend->attach(net, job, false, out);
}

const char *cx_job_id(const cx_job *job)
{
    return job->hex;
}

void cx_job_free(cx_job *job)
{
    if (job != NULL)
        job->net->backend->detach(job);
}

int cx_job_progress(cx_job *job, cx_progress *out)
{
    if (job == NULL || out == NULL)
        return CX_EINVAL;
    return job->net->backend->progress(job, request_deadline(job->net), out);
}

int cx_wait(cx_job *job, int timeout_ms, cx_value *result)
{
    cx_value unwanted;
    if (job == NULL)
        return CX_EINVAL;
    return job->net->backend->wait(job, deadline_of(timeout_ms), result != NULL ? result : &unwanted);
}

int cx_cancel(cx_job *job)
{
    return job == NULL ? CX_EINVAL : job->net->backend->cancel(job, request_deadline(job->net));
}

int cx_forget(cx_job *job)
{
    return job == NULL ? CX_EINVAL : job->net->backend->forget(job, request_deadline(job->net));
}

/* ---- In one call ---- */

int own_bytes(const cx_net *net, cx_value *v)
{
    if (v->type != CX_BYTES)
        return 0;
    void *copy = malloc(v->len > 0 ? v->len : 1);
    if (copy == NULL)
        return fault(net, CX_ENOMEM, "no memory for a result of %u bytes", v->len);
    if (v->len > 0)
        memcpy(copy, v->as.bytes, v->len);
    v->as.bytes = copy;
    return 0;
}

int run_submission(cx_net *net, cx_submission *what, cx_value *result)
{
    char id[CX_JOB_ID_SIZE];
    cx_job *job;
    cx_value v;
    int err;
    for (int tries = 0;; tries++) {
        if ((err = cx_submit(net, what, &job)) < 0)
            return err;
        err = cx_wait(job, -1, &v);
        if (err != CX_ENOTFOUND || tries == SUBMIT_TRIES_MAX)
            break;
        /* The server lost it (a restart without a journal). Tasks are pure, so the job may run again. */
        memcpy(id, cx_job_id(job), sizeof id);
        what->id = id;
        cx_job_free(job);
    }
    if (err == 0 && (err = own_bytes(net, &v)) == 0)
        *result = v;
    if (err == 0 || err == CX_EFAILED || err == CX_ECANCELLED)
        job->net->backend->forget(
            job, deadline_of(FORGET_TIMEOUT_MS)); /* if it is not heard, the result expires */
    cx_job_free(job);
    return err;
}

int cx_run(cx_net *net, const char *module, const char *function, uint32_t nargs, const cx_value *args,
           cx_value *result)
{
    cx_submission what = {.module = module, .function = function, .nargs = nargs, .args = args};
    cx_value unwanted;
    int err;
    if (result != NULL)
        return run_submission(net, &what, result);
    if ((err = run_submission(net, &what, &unwanted)) == 0 && unwanted.type == CX_BYTES)
        free((void *)unwanted.as.bytes);
    return err;
}

/* ---- For the command ---- */

int net_list(cx_net *net, enum list_what what, struct buf *rows)
{
    return net->backend->list(net, what, NULL, request_deadline(net), rows);
}

int net_order(cx_net *net, const struct order *order)
{
    return net->backend->order(net, order, request_deadline(net));
}

int job_why(cx_job *job, struct buf *text)
{
    return job->net->backend->why(job, request_deadline(job->net), text);
}

int job_row_listed(cx_job *job, struct job_row *out)
{
    struct buf rows = {0};
    int err = job->net->backend->list(job->net, LIST_JOBS, job, request_deadline(job->net), &rows);
    if (err == 0)
        err = CX_ENOTFOUND;
    for (size_t at = 0; at + sizeof *out <= rows.len && err == CX_ENOTFOUND; at += sizeof *out) {
        struct job_row row;
        memcpy(&row, rows.data + at, sizeof row);
        if (id_equal(row.id, job->id)) {
            *out = row;
            err = 0;
        }
    }
    buf_free(&rows);
    return err;
}

/* When it is not there, who is asked about the job itself says why: one may not see it, it is in another
 * shard, where it is looked for once more, or it is unknown. */
int job_row(cx_job *job, struct job_row *out)
{
    cx_progress p;
    int err = job_row_listed(job, out);
    if (err != CX_ENOTFOUND)
        return err;
    if ((err = cx_job_progress(job, &p)) < 0 || (err = job_row_listed(job, out)) != CX_ENOTFOUND)
        return err;
    return fault_unknown_job(job);
}
