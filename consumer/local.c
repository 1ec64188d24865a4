#include "consumer/local.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"

#define LOCAL_MEMORY_DEFAULT    ((uint64_t)4 << 30)
#define LOCAL_BUDGET_DEFAULT_US 20000
#define LOCAL_RESULT_TTL_US     ((uint64_t)24 * 3600 * 1000000)
#define LOCAL_JOBS_MAX          (1u << 20)

struct local_job {
    cx_job job;        /* first */
    struct buf result; /* the packed value that the last wait gave */
};

static struct local *of(cx_net *net)
{
    return (struct local *)net;
}

/* ---- Submitting ---- */

static struct program *program_new(const struct submit *s)
{
    struct program *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->job = s->job;
    engine_shared_init(&p->shared);
    if (s->input.len > 0) {
        if ((p->input = malloc(s->input.len)) == NULL) {
            free(p);
            return NULL;
        }
        memcpy(p->input, s->input.data, s->input.len);
        p->input_len = s->input.len;
    }
    p->module = module_hold(s->module);
    return p;
}

/* Names content within this process, where nobody forges: four seeds make 32 bytes. */
static void local_hash(struct bytes data, uint8_t out[SHA256_BYTES])
{
    for (uint64_t i = 0; i < 4; i++) {
        uint64_t h = hash64(data.data, data.len, i);
        memcpy(out + i * sizeof h, &h, sizeof h);
    }
}

static void make_request(const struct submit *s, struct ts_submit *t)
{
    *t = (struct ts_submit){.job = s->job,
                            .modules = 1,
                            .has_input = s->input.len > 0,
                            .functions = bytes_str(s->module->functions),
                            .fn = s->fn,
                            .nargs = s->nargs,
                            .args = buf_bytes(&s->args),
                            .priority = s->priority,
                            .weight = s->weight,
                            .label = s->label,
                            .owner = bytes_str("local")};
    snprintf(t->module[0].arch, sizeof t->module[0].arch, "%s", s->module->arch);
    local_hash(buf_bytes(&s->module->file), t->module[0].sha256);
    if (t->has_input)
        local_hash(s->input, t->input);
}

/* The program is in place before the core grants tasks of it; it goes again if the core does not want it. */
static void submit_locked(struct local *l, struct ts_submit *t, struct program *p)
{
    struct ts_event e = {.kind = TS_SUBMIT, .u.submit = t};
    struct ts_event watch = {.kind = TS_WATCH, .peer = LOCAL_CLIENT, .job = t->job};
    struct ts_job_info info;
    struct program *running = program_find(l, t->job);
    bool known = running != NULL && !running->ended;
    p->next = l->programs;
    l->programs = p;
    local_ask(l, &e);
    if (known || !ts_job_find(l->ts, t->job, &info) || info.state != TS_JOB_RUNNING)
        program_end(l, p);
    else
        local_step(l, &watch);
}

static int local_submit(cx_net *net, const struct submit *s, uint64_t deadline_us)
{
    struct local *l = of(net);
    struct ts_submit t;
    struct program *p = program_new(s);
    char hex[ID_HEX_MAX];
    int code;
    (void)deadline_us;
    if (p == NULL)
        return fault(net, CX_ENOMEM, "no memory for the job's input");
    make_request(s, &t);
    pthread_mutex_lock(&l->lock);
    submit_locked(l, &t, p);
    code = l->reply.code;
    id_hex(s->job, hex);
    if (code < 0)
        fault(net, code, "job %s was refused: %s", hex, l->reply.text);
    pthread_mutex_unlock(&l->lock);
    return code;
}

/* ---- Jobs ---- */

static int local_attach(cx_net *net, struct id id, bool acked, cx_job **out)
{
    (void)acked;
    struct local_job *j = calloc(1, sizeof *j);
    if (j == NULL)
        return fault(net, CX_ENOMEM, "no memory for a job");
    job_init(&j->job, net, id);
    *out = &j->job;
    return 0;
}

static void local_detach(cx_job *job)
{
    struct local_job *j = (struct local_job *)job;
    buf_free(&j->result);
    free(j);
}

static int local_progress(cx_job *job, uint64_t deadline_us, cx_progress *out)
{
    struct local *l = of(job->net);
    struct ts_job_info info;
    (void)deadline_us;
    pthread_mutex_lock(&l->lock);
    bool found = ts_job_find(l->ts, job->id, &info);
    uint64_t end = found && info.state != TS_JOB_RUNNING ? info.ended_us : clock_us();
    if (found)
        *out = (cx_progress){.state = (cx_state)info.state,
                             .ready = info.ready,
                             .waiting = info.waiting,
                             .granted = info.granted,
                             .executed = info.executed,
                             .duplicates = info.duplicates,
                             .busy_s = (double)info.busy_ns / 1e9,
                             .age_s = (double)(end - info.submitted_us) / 1e6};
    pthread_mutex_unlock(&l->lock);
    return found ? 0 : fault_unknown_job(job);
}

static int ended(struct local_job *j, const struct ts_job_info *info, cx_value *out)
{
    if (info->state != TS_JOB_DONE)
        return fault_ended(&j->job, (cx_state)info->state, info->reason);
    if (j->result.len == 0)
        buf_add(&j->result, info->result.data, info->result.len);
    struct reader r = reader_of(buf_bytes(&j->result));
    cx_value v = get_value(&r);
    must(!r.bad);
    *out = v;
    return 0;
}

static int local_wait_job(cx_job *job, uint64_t deadline_us, cx_value *out)
{
    struct local *l = of(job->net);
    struct ts_job_info info;
    int err = 1;
    pthread_mutex_lock(&l->lock);
    while (err > 0) {
        if (!ts_job_find(l->ts, job->id, &info))
            err = fault_unknown_job(job);
        else if (info.state != TS_JOB_RUNNING)
            err = ended((struct local_job *)job, &info, out);
        else if (deadline_us <= clock_us())
            err = fault(job->net, CX_ETIMEOUT, "job %s is still running; it goes on, wait for it again",
                        job->hex);
        else
            local_wait(l, &l->changed, deadline_us);
    }
    pthread_mutex_unlock(&l->lock);
    return err;
}

static int ask_about(cx_job *job, enum ts_event_kind kind)
{
    struct local *l = of(job->net);
    struct ts_event e = {.kind = kind, .job = job->id, .u.owner = bytes_str("local")};
    int code;
    pthread_mutex_lock(&l->lock);
    local_ask(l, &e);
    code = l->reply.code;
    if (code < 0 && code != CX_ENOTFOUND)
        fault(job->net, code, "job %s: %s", job->hex, l->reply.text);
    pthread_mutex_unlock(&l->lock);
    return code == CX_ENOTFOUND ? fault_unknown_job(job) : code;
}

static int local_cancel(cx_job *job, uint64_t deadline_us)
{
    (void)deadline_us;
    return ask_about(job, TS_CANCEL);
}

static int local_forget(cx_job *job, uint64_t deadline_us)
{
    (void)deadline_us;
    return ask_about(job, TS_FORGET);
}

static int local_why(cx_job *job, uint64_t deadline_us, struct buf *text)
{
    struct local *l = of(job->net);
    struct ts_job_info info;
    (void)deadline_us;
    pthread_mutex_lock(&l->lock);
    bool found = ts_job_find(l->ts, job->id, &info);
    if (found)
        ts_why(l->ts, job->id, clock_us(), text);
    pthread_mutex_unlock(&l->lock);
    return found ? 0 : fault_unknown_job(job);
}

/* ---- Listings ---- */

static void job_row_of(const struct ts_job_info *j, uint64_t now_us, struct job_row *row)
{
    *row = (struct job_row){.id = j->id,
                            .state = j->state,
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
                            .age_us = now_us - j->submitted_us,
                            .has_min = j->has_min,
                            .has_max = j->has_max,
                            .best_min = j->bound_min,
                            .best_max = j->bound_max};
    function_name(j->functions, j->fn, row->function, sizeof row->function);
    row_line(row->label, sizeof row->label, j->label);
    row_text(row->owner, sizeof row->owner, j->owner);
    row_text(row->reason, sizeof row->reason, j->reason);
}

static void list_jobs(struct local *l, struct buf *rows)
{
    struct ts_job_info info;
    struct job_row row;
    for (uint64_t cursor = 0; ts_job_next(l->ts, &cursor, &info);) {
        job_row_of(&info, clock_us(), &row);
        buf_add(rows, &row, sizeof row);
    }
}

static void list_producers(struct local *l, struct buf *rows)
{
    struct ts_producer_info p;
    for (uint64_t cursor = 0; ts_producer_next(l->ts, &cursor, &p);) {
        struct producer_row row = {.threads = p.threads,
                                   .window = p.window,
                                   .granted = p.granted,
                                   .commits = p.commits,
                                   .executed = p.executed,
                                   .busy_ns = p.busy_ns,
                                   .age_us = clock_us() - p.joined_us};
        row_text(row.name, sizeof row.name, bytes_str(p.name));
        row_text(row.arch, sizeof row.arch, bytes_str(p.arch));
        buf_add(rows, &row, sizeof row);
    }
}

static void list_server(struct local *l, struct buf *rows)
{
    struct ts_stats s;
    ts_stats(l->ts, &s);
    struct server_row row = {.name = "local",
                             .network = "local",
                             .software = "cx " CX_VERSION,
                             .jobs = s.jobs,
                             .tasks = s.tasks,
                             .ready = s.ready,
                             .waiting = s.waiting,
                             .granted = s.granted,
                             .producers = s.producers,
                             .threads = s.threads,
                             .memory = s.memory,
                             .memory_max = s.memory_max,
                             .lsn = s.lsn,
                             .held = s.held};
    buf_add(rows, &row, sizeof row);
}

static int local_list(cx_net *net, enum list_what what, cx_job *of_job, uint64_t deadline_us,
                      struct buf *rows)
{
    static void (*const list[])(struct local *, struct buf *) = {
        [LIST_JOBS] = list_jobs, [LIST_PRODUCERS] = list_producers, [LIST_SERVER] = list_server};
    struct local *l = of(net);
    (void)of_job;
    (void)deadline_us;
    if (what > LIST_SERVER)
        return fault(net, CX_EINVAL,
                     "local:// has no broker and no servers; name one: --network broker:HOST:PORT");
    pthread_mutex_lock(&l->lock);
    list[what](l, rows);
    pthread_mutex_unlock(&l->lock);
    return 0;
}

static int local_order(cx_net *net, const struct order *order, uint64_t deadline_us)
{
    (void)order;
    (void)deadline_us;
    return fault(net, CX_EINVAL, "local:// has no servers to order about");
}

/* ---- Opening and closing ---- */

struct local_options {
    uint64_t threads, collapse, budget_us, memory;
};

static bool set_option(struct local_options *o, const char *at, size_t len)
{
    const struct {
        const char *name;
        uint64_t *value, min, max;
    } rows[] = {{"threads=", &o->threads, 1, LOCAL_THREADS_MAX},
                {"collapse=", &o->collapse, 0, 1},
                {"budget_us=", &o->budget_us, 0, UINT32_MAX - 1},
                {"memory=", &o->memory, 1u << 16, UINT64_MAX}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t n = strlen(rows[i].name);
        char number[24], *end;
        if (len <= n || len - n >= sizeof number || strncmp(at, rows[i].name, n) != 0 || at[n] < '0' ||
            at[n] > '9')
            continue;
        snprintf(number, sizeof number, "%.*s", (int)(len - n), at + n);
        *rows[i].value = strtoull(number, &end, 10);
        return *end == '\0' && *rows[i].value >= rows[i].min && *rows[i].value <= rows[i].max;
    }
    return false;
}

static int read_options(const char *text, struct local_options *o)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *o = (struct local_options){.threads = cores < 1                   ? 1
                                           : cores > LOCAL_THREADS_MAX ? LOCAL_THREADS_MAX
                                                                       : (uint64_t)cores,
                                .collapse = 1,
                                .budget_us = LOCAL_BUDGET_DEFAULT_US,
                                .memory = LOCAL_MEMORY_DEFAULT};
    if (*text == '?')
        text++;
    while (*text != '\0') {
        size_t len = strcspn(text, "&");
        if (!set_option(o, text, len))
            return fault(NULL, CX_EINVAL,
                         "local:// does not understand '%.*s'; it knows local://?threads=N&"
                         "collapse=0|1&budget_us=N&memory=BYTES",
                         (int)len, text);
        text += len + (text[len] == '&');
    }
    return 0;
}

static void worker_join(struct local *l, struct worker *w)
{
    char name[24];
    snprintf(name, sizeof name, "worker-%u", w->peer);
    struct ts_event joined = {.kind = TS_PRODUCER_JOINED,
                              .peer = w->peer,
                              .u.joined = {.name = name, .arch = module_native_arch(), .threads = 1}};
    struct ts_event window = {.kind = TS_PRODUCER_WINDOW, .peer = w->peer, .u.window = 1};
    local_step(l, &joined);
    local_step(l, &window);
}

static void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

/* How many workers have started; fewer than wanted only when the system has no more threads. Signals are for
 * the program's own threads. */
static unsigned start_workers(struct local *l, unsigned n)
{
    l->worker = calloc(n, sizeof *l->worker);
    sigset_t all, before;
    must(l->worker != NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&l->lock);
    for (unsigned i = 0; i < n; i++) {
        struct worker *w = &l->worker[i];
        *w = (struct worker){.local = l, .peer = i + 1};
        cond_init(&w->wake);
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
            pthread_cond_destroy(&w->wake);
            break;
        }
        l->workers++;
        worker_join(l, w);
    }
    pthread_mutex_unlock(&l->lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return l->workers;
}

static void local_close(cx_net *net)
{
    struct local *l = of(net);
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    for (struct program *p = l->programs; p != NULL; p = p->next)
        atomic_fetch_add(&p->shared.hungry, 1); /* engines publish and return at the next task */
    for (unsigned i = 0; i < l->workers; i++)
        pthread_cond_signal(&l->worker[i].wake);
    pthread_mutex_unlock(&l->lock);
    for (unsigned i = 0; i < l->workers; i++) {
        pthread_join(l->worker[i].thread, NULL);
        pthread_cond_destroy(&l->worker[i].wake);
        buf_free(&l->worker[i].grants);
    }
    programs_free(l);
    ts_effects_free(&l->fx);
    ts_free(l->ts);
    free(l->worker);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static const struct backend local_backend = {
    .submit = local_submit,
    .attach = local_attach,
    .detach = local_detach,
    .progress = local_progress,
    .wait = local_wait_job,
    .cancel = local_cancel,
    .forget = local_forget,
    .list = local_list,
    .order = local_order,
    .why = local_why,
    .close = local_close,
};

int local_open(const char *options, cx_net **out)
{
    struct local_options o;
    struct local *l;
    int err = read_options(options, &o);
    if (err < 0)
        return err;
    struct ts_config config = {.memory_max = o.memory,
                               .seed = 1,
                               .result_ttl_us = LOCAL_RESULT_TTL_US,
                               .budget_max_us = (uint32_t)o.budget_us,
                               .jobs_max = LOCAL_JOBS_MAX,
                               .collapse = o.collapse != 0};
    if ((l = calloc(1, sizeof *l)) == NULL)
        return fault(NULL, CX_ENOMEM, "no memory for local://");
    net_init(&l->net, &local_backend, "local://");
    pthread_mutex_init(&l->lock, NULL);
    cond_init(&l->changed);
    l->ts = ts_new(&config);
    must(l->ts != NULL);
    if (start_workers(l, (unsigned)o.threads) == 0) {
        local_close(&l->net);
        return fault(NULL, CX_ENOMEM, "local://: the system allows no more threads");
    }
    *out = &l->net;
    return 0;
}
