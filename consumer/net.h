/* The inside of a cx_net: what the public functions (api.c) share with the two backends that do the work:
 * local.c, an engine in this process, and remote.c, a network. Never installed. */
#ifndef CONSUMER_NET_H
#define CONSUMER_NET_H

#include "consumer/module.h"
#include "consumer/rows.h"
#include "cx/consumer.h"

#define ADDRESS_MAX        512
#define REQUEST_TIMEOUT_MS 30000
#define FORGET_TIMEOUT_MS  2000
#define SUBMIT_TRIES_MAX   5
#define WEIGHT_MAX         1000000 /* as on the wire */

/* A submission, checked and made ready. */
struct submit {
    struct id job;
    struct module *module; /* borrowed from the caller for the call */
    uint32_t fn;           /* FN_FIRST + index */
    uint32_t nargs;
    struct buf args; /* packed; owned */
    struct bytes input;
    int32_t priority;
    uint32_t weight;
    struct bytes label;
};

/* What an administrator may tell a server, or the broker. */
enum order_verb { ORDER_HAND_OVER = 1, ORDER_DRAIN = 2, ORDER_ACCEPT_LOSS = 3 }; /* the wire's numbers */

struct order {
    enum order_verb verb;
    const char *address; /* of the server; NULL: it is for the broker */
    struct id shard;     /* DRAIN: none */
    uint64_t member;     /* ACCEPT_LOSS */
};

/* Every operation runs in its caller's thread, may wait until deadline_us (monotonic; UINT64_MAX: for ever),
 * and returns 0 or what fault() returned. Outputs are touched on success only. */
struct backend {
    int (*submit)(cx_net *net, const struct submit *s, uint64_t deadline_us);
    /* No question is asked yet. acked: it was just submitted and acknowledged. */
    int (*attach)(cx_net *net, struct id job, bool acked, cx_job **out);
    void (*detach)(cx_job *job);
    int (*progress)(cx_job *job, uint64_t deadline_us, cx_progress *out);
    int (*wait)(cx_job *job, uint64_t deadline_us, cx_value *out); /* bytes live as long as job */
    int (*cancel)(cx_job *job, uint64_t deadline_us);
    int (*forget)(cx_job *job, uint64_t deadline_us);
    /* Row structs, of the whole network, or (of not NULL) of the shard of that job. A positive number: so
     * many shards could not be asked, and cx_error says which. */
    int (*list)(cx_net *net, enum list_what what, cx_job *of, uint64_t deadline_us, struct buf *rows);
    int (*order)(cx_net *net, const struct order *order, uint64_t deadline_us);
    int (*why)(cx_job *job, uint64_t deadline_us, struct buf *text);
    void (*close)(cx_net *net); /* frees it */
};

struct cx_net {
    const struct backend *backend;
    uint64_t serial; /* never reused: errors are remembered by it */
    int timeout_ms;  /* of requests that name no time-out of their own */
    char address[ADDRESS_MAX];
};

struct cx_job {
    cx_net *net; /* borrowed */
    struct id id;
    char hex[CX_JOB_ID_SIZE];
};

int local_open(const char *options, cx_net **out);
/* admin: with an administrator's certificate before a consumer's, where there are both. */
int remote_open(const char *address, const char *credentials_dir, bool admin, cx_net **out);

/* Remembers the message for cx_error(net) in this thread and returns code. net NULL: of cx_open. */
int fault(const cx_net *net, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Job ends other than a value, in one wording for both backends. */
int fault_ended(cx_job *job, cx_state state, struct bytes reason);
int fault_unknown_job(cx_job *job);

void net_init(cx_net *net, const struct backend *backend, const char *address);
void job_init(cx_job *job, cx_net *net, struct id id);
uint64_t deadline_of(int timeout_ms); /* negative: for ever */

/* Replaces borrowed bytes by malloc'ed ones. */
int own_bytes(const cx_net *net, cx_value *v);
/* Submits, waits and forgets; the result's bytes are malloc'ed. */
int run_submission(cx_net *net, cx_submission *what, cx_value *result);

/* For the command: what the public interface has no functions for. rows: structs of rows.h, as many as fit. A
 * listing may be incomplete: it returns how many shards could not be asked, and cx_error says which. */
int net_list(cx_net *net, enum list_what what, struct buf *rows);
int net_order(cx_net *net, const struct order *order);
int net_open_admin(const char *address, const char *credentials_dir, cx_net **out);
int job_why(cx_job *job, struct buf *text);
int job_row(cx_job *job, struct job_row *out);
int job_row_listed(cx_job *job, struct job_row *out); /* CX_ENOTFOUND: its server lists no such job */

/* Where to compute, when the caller does not say (config.c). address: ADDRESS_MAX bytes; dir: PATH_MAX. */
int config_find(const char *address_given, const char *dir_given, char *address, char *dir);

#endif
