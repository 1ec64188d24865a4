/* Consuming: submit jobs to a CX network and get their results.
 *
 *     cx_net *net;
 *     cx_value v;
 *     if (cx_open(NULL, &net) == 0 &&
 *         cx_run(net, "fib.so", "fib", 1, (cx_value[]){cx_v_i64(30)}, &v) == 0)
 *         printf("%lld\n", (long long)v.as.i64);
 *
 * A network is an address: "host:port" of a task server, or several, separated by commas, of which the first
 * that answers is taken; "broker:host:port" or "broker:host:port/network"; or "local://", an engine inside
 * this process: the same core, no network (options: "local://?threads=4&collapse=0"). A job has a 128-bit id
 * that the consumer chooses, written as 32 hex digits; submitting the same id again is harmless, so a retry
 * is safe. A job outlives its consumer: detach, and attach again later by id. Connections are made, lost and
 * made again behind this interface; only time-outs show.
 *
 * All functions may be called from any thread. They return 0 or a code of <cx/error.h>; cx_error(net) then
 * has a message that names job, task, function, producer, cause and the next step. */
#ifndef CX_CONSUMER_H
#define CX_CONSUMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "value.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cx_net cx_net;
typedef struct cx_job cx_job;

#define CX_JOB_ID_SIZE 33 /* 32 hex digits and the terminating zero */

/* Opens a network. address NULL: the environment CX_NETWORK, else ~/.config/cx/cx.conf, else "local://".
 * Credentials: the directory CX_CREDENTIALS, else the configuration's, else ~/.config/cx; where it has
 * several consumers', CX_CONSUMER names one, and where it has none, an administrator's is taken. Returns at
 * once for remote networks; CX_ENONET shows when something is asked of it within its time-out. */
CX_API int cx_open(const char *address, cx_net **out);
CX_API int cx_open_with(const char *address, const char *credentials_dir, cx_net **out);
/* Jobs go on. All cx_job of the network must have been freed. NULL is legal. */
CX_API void cx_close(cx_net *net);
/* The last error on this network in this thread; "" when there was none. Valid until the thread's next call.
 */
CX_API const char *cx_error(const cx_net *net);

/* What to run. Zero what is not needed. */
typedef struct cx_submission {
    const char *module;   /* path of the module's shared object */
    const char *function; /* its root task */
    const cx_value *args;
    uint32_t nargs;    /* at most CX_ARGS_MAX */
    const void *input; /* the job's read-only input, up to 1 GiB */
    size_t input_len;
    const char *id;    /* NULL: a new random one */
    int32_t priority;  /* between jobs: higher first */
    uint32_t weight;   /* share among jobs of equal priority, up to 1000000; 0 means 1 */
    const char *label; /* free text in UTF-8, up to 255 bytes */
    int timeout_ms;    /* for the acknowledgement; 0: 30 s, and 1 s a MiB of input; negative: for ever */
} cx_submission;

/* Submits; returns when the network has acknowledged the job (it then survives what the network's promise
 * says). */
CX_API int cx_submit(cx_net *net, const cx_submission *what, cx_job **out);
/* A handle for a job submitted earlier, by anyone with the same certified name. */
CX_API int cx_attach(cx_net *net, const char *id, cx_job **out);
CX_API const char *cx_job_id(const cx_job *job);
/* Gives up the handle; the job goes on. NULL is legal. */
CX_API void cx_job_free(cx_job *job);

typedef enum cx_state { CX_RUNNING = 0, CX_DONE = 1, CX_FAILED = 2, CX_CANCELLED = 3 } cx_state;

typedef struct cx_progress {
    cx_state state;
    uint64_t ready, waiting, granted; /* tasks now */
    uint64_t executed, duplicates;    /* tasks so far */
    double busy_s;                    /* computing time so far */
    double age_s;
} cx_progress;

CX_API int cx_job_progress(cx_job *job, cx_progress *out);
/* Waits for the end. timeout_ms negative: for ever. 0 and *result (bytes borrowed until cx_job_free),
 * CX_EFAILED, CX_ECANCELLED, CX_ETIMEOUT (the job goes on). */
CX_API int cx_wait(cx_job *job, int timeout_ms, cx_value *result);
CX_API int cx_cancel(cx_job *job);
/* Tells the network that the result is no longer needed. Done by itself after cx_run and cx_map. */
CX_API int cx_forget(cx_job *job);

/* Submit, wait, forget, in one call; submits again if the server loses the job (a restart without a journal).
 * The result's bytes, if any, are malloc'ed: free((void *)result->as.bytes). */
CX_API int cx_run(cx_net *net, const char *module, const char *function, uint32_t nargs, const cx_value *args,
                  cx_value *result);
/* Parallel map: function(item) for each item, results in order; one job, n tasks. Results may be of any type,
 * their bytes as in cx_run. Items together, and results together, have at most CX_VALUE_BYTES_MAX bytes. */
CX_API int cx_map(cx_net *net, const char *module, const char *function, uint32_t n, const cx_value *items,
                  cx_value *results);

#ifdef __cplusplus
}
#endif
#endif
