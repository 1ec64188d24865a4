/* The last error, per thread and network. A thread that uses several networks at once finds the error of
 * each; the oldest is forgotten first. */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "consumer/net.h"

#define FAULTS_MAX     4
#define FAULT_TEXT_MAX 2048

struct fault_text {
    uint64_t serial; /* of the network; 0: of cx_open */
    bool used;
    char text[FAULT_TEXT_MAX];
};

static _Thread_local struct fault_text faults[FAULTS_MAX];
static _Thread_local unsigned next_fault;

static struct fault_text *fault_find(uint64_t serial)
{
    for (unsigned i = 0; i < FAULTS_MAX; i++)
        if (faults[i].used && faults[i].serial == serial)
            return &faults[i];
    return NULL;
}

int fault(const cx_net *net, int code, const char *format, ...)
{
    uint64_t serial = net != NULL ? net->serial : 0;
    struct fault_text *f = fault_find(serial);
    char text[FAULT_TEXT_MAX];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap); /* an argument may be the previous error */
    va_end(ap);
    if (f == NULL)
        f = &faults[next_fault++ % FAULTS_MAX];
    f->serial = serial;
    f->used = true;
    memcpy(f->text, text, sizeof text);
    return code;
}

const char *cx_error(const cx_net *net)
{
    const struct fault_text *f = fault_find(net != NULL ? net->serial : 0);
    return f != NULL ? f->text : "";
}

int fault_ended(cx_job *job, cx_state state, struct bytes reason)
{
    int len = (int)(reason.len < TS_REASON_MAX ? reason.len : TS_REASON_MAX);
    const char *text = (const char *)reason.data;
    if (state == CX_CANCELLED)
        return fault(job->net, CX_ECANCELLED, "job %s was cancelled%s%.*s", job->hex, len > 0 ? ": " : "",
                     len, len > 0 ? text : "");
    bool local = strncmp(job->net->address, "local://", 8) == 0;
    return fault(job->net, CX_EFAILED, "job %s failed: %.*s%s", job->hex, len > 0 ? len : 10,
                 len > 0 ? text : "no reason",
                 local ? "" : "; to debug it, run it in one process, on local://");
}

int fault_unknown_job(cx_job *job)
{
    return fault(
        job->net, CX_ENOTFOUND,
        "no job %s at %s: it was never submitted there, its result has been fetched or has expired, or the "
        "server was restarted without a journal; `cx jobs` lists what is there, submitting it again is "
        "safe",
        job->hex, job->net->address);
}

void net_init(cx_net *net, const struct backend *backend, const char *address)
{
    static atomic_uint_fast64_t serials;
    net->backend = backend;
    net->serial = atomic_fetch_add(&serials, 1) + 1;
    net->timeout_ms = REQUEST_TIMEOUT_MS;
    snprintf(net->address, sizeof net->address, "%s", address);
}

void job_init(cx_job *job, cx_net *net, struct id id)
{
    job->net = net;
    job->id = id;
    id_hex(id, job->hex);
}
