/* Jobs: memory, names, life and end. */
#include "taskserver/core/core.h"

void *mem_get(struct ts *ts, struct job *job, size_t size)
{
    job->bytes += pool_round(size);
    return pool_get(&ts->pool, size);
}

void mem_put(struct ts *ts, struct job *job, void *block, size_t size)
{
    if (block)
        job->bytes -= pool_round(size);
    pool_put(&ts->pool, block, size);
}

struct job *job_find(const struct ts *ts, struct id id)
{
    return (struct job *)table_find(&ts->jobs, id);
}

/* ---- What is submitted ---- */

uint32_t functions_count(struct bytes functions)
{
    uint32_t n = functions.len > 0;
    for (size_t i = 0; i < functions.len; i++)
        n += functions.data[i] == ',';
    return n;
}

static bool args_fit(const struct ts_submit *s)
{
    struct reader r = reader_of(s->args);
    for (uint32_t i = 0; i < s->nargs && !r.bad; i++)
        r.bad |= get_value(&r).type == CX_ADDR;
    return !r.bad && r.at == r.end;
}

static bool arch_fits(const struct ts_module *m)
{
    return memchr(m->arch, 0, sizeof m->arch) != NULL;
}

/* What is wrong with a submission, or NULL. */
const char *submit_check(const struct ts_submit *s)
{
    if (id_is_zero(s->job))
        return "the job id is zero";
    if (s->modules < 1 || s->modules > TS_MODULES_MAX)
        return "a job has one to four modules";
    for (uint32_t i = 0; i < s->modules; i++)
        if (!arch_fits(&s->module[i]))
            return "the name of a module's architecture is too long";
    if (s->functions.len == 0 || s->functions.len > TS_FUNCTIONS_MAX ||
        functions_count(s->functions) > CX_MODULE_TASKS_MAX)
        return "the list of functions is empty or too long";
    if (s->fn < FN_FIRST || s->fn - FN_FIRST >= functions_count(s->functions))
        return "the module has no such function";
    if (s->nargs > CX_ARGS_MAX)
        return "too many arguments";
    if (s->args.len > TASK_BYTES_MAX || !args_fit(s))
        return "the arguments are malformed or too long";
    if (s->label.len > TS_LABEL_MAX || s->owner.len > TS_LABEL_MAX)
        return "the label or the owner's name is too long";
    return NULL;
}

/* All that the consumer chose, by one number: the same job id with another one is another job. */
uint64_t submit_content(struct ts *ts, const struct ts_submit *s)
{
    struct record r = {.kind = RECORD_SUBMITTED, .job = s->job, .submit = *s};
    buf_clear(&ts->record);
    record_put(&ts->record, &r);
    return hash64(ts->record.data, ts->record.len, 0);
}

uint64_t submit_need(const struct ts_submit *s)
{
    return sizeof(struct job) + s->functions.len + s->label.len + s->owner.len +
           functions_count(s->functions) * sizeof(struct fn_stat) + task_need(s->fn, s->nargs, s->args.len) +
           256;
}

/* ---- Life ---- */

static uint32_t free_index(struct ts *ts)
{
    uint32_t i = ts->njobs < ts->job_slots ? 0 : ts->job_slots;
    while (i < ts->job_slots && ts->job[i])
        i++;
    if (i < ts->job_slots)
        return i;
    uint32_t slots = ts->job_slots ? ts->job_slots * 2 : 16;
    ts->job = realloc(ts->job, slots * sizeof *ts->job);
    if (!ts->job)
        abort();
    memset(ts->job + ts->job_slots, 0, (slots - ts->job_slots) * sizeof *ts->job);
    ts->job_slots = slots;
    return i;
}

static struct bytes text_keep(uint8_t **at, struct bytes text)
{
    struct bytes kept = {*at, text.len};
    if (text.len)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return kept;
}

static void job_texts(struct ts *ts, struct job *job, const struct ts_submit *s)
{
    job->text_len = s->functions.len + s->label.len + s->owner.len;
    job->text = mem_get(ts, job, job->text_len);
    uint8_t *at = job->text;
    job->functions = text_keep(&at, s->functions);
    job->label = text_keep(&at, s->label);
    job->owner = text_keep(&at, s->owner);
    job->fns = functions_count(job->functions);
    job->fn = mem_get(ts, job, job->fns * sizeof *job->fn);
    memset(job->fn, 0, job->fns * sizeof *job->fn);
}

/* A running job without tasks. */
struct job *job_new(struct ts *ts, const struct ts_submit *s, uint64_t content)
{
    struct job *job = pool_get(&ts->pool, sizeof *job);
    *job = (struct job){
        .entry.id = s->job,
        .index = free_index(ts),
        .state = TS_JOB_RUNNING,
        .modules = s->modules,
        .has_input = s->has_input,
        .root_fn = s->fn,
        .priority = s->priority,
        .weight = s->weight ? s->weight : 1,
        .content = content,
        .bytes = pool_round(sizeof *job),
    };
    memcpy(job->module, s->module, sizeof job->module);
    memcpy(job->input, s->input, sizeof job->input);
    job_texts(ts, job, s);
    list_init(&job->granting);
    list_init(&job->unheld);
    list_init(&job->watches);
    list_init(&job->improved);
    table_insert(&ts->jobs, &ts->pool, &job->entry);
    ts->job[job->index] = job;
    ts->njobs++;
    return job;
}

struct ts_submit job_card(const struct job *job)
{
    struct ts_submit s = {.job = job->entry.id,
                          .modules = job->modules,
                          .has_input = job->has_input,
                          .functions = job->functions,
                          .fn = job->root_fn,
                          .priority = job->priority,
                          .weight = job->weight,
                          .label = job->label,
                          .owner = job->owner};
    memcpy(s.module, job->module, sizeof s.module);
    memcpy(s.input, job->input, sizeof s.input);
    return s;
}

/* Its tasks must be gone. */
void job_free(struct ts *ts, struct job *job)
{
    must(job->tasks.n == 0 && list_empty(&job->watches));
    job_stop_timer(ts, job);
    list_remove(&job->unheld);
    list_remove(&job->improved);
    table_remove(&ts->jobs, &ts->pool, &job->entry);
    if (ts->jobs.n == 0)
        table_free(&ts->jobs, &ts->pool);
    ts->job[job->index] = NULL;
    ts->njobs--;
    mem_put(ts, job, job->text, job->text_len);
    mem_put(ts, job, job->fn, job->fns * sizeof *job->fn);
    mem_put(ts, job, job->answer, job->answer_len);
    move_free(ts, job);
    buf_free(&job->known);
    buf_free(&job->unfit);
    must(job->bytes == pool_round(sizeof *job));
    pool_put(&ts->pool, job, sizeof *job);
}

void job_end(struct ts *ts, struct job *job, enum ts_job_state state, struct bytes answer)
{
    if (job->state != TS_JOB_RUNNING)
        return;
    job->state = state;
    job->answer_len = answer.len;
    job->answer = mem_get(ts, job, answer.len);
    if (answer.len)
        memcpy(job->answer, answer.data, answer.len);
}

static void clear_task(void *ctx, struct entry *e)
{
    task_free(ctx, (struct task *)e);
}

static void tell_gone(struct ts *ts, struct job *job)
{
    for (uint32_t peer = 0; peer < job->known.len * 8; peer++)
        if (job_known(job, peer))
            fx_job(ts, TS_FX_JOB_GONE, peer, job);
    buf_free(&job->known);
}

void job_clear(struct ts *ts, struct job *job, uint64_t now_us)
{
    ts->firing = NULL;
    table_each(&job->tasks, clear_task, ts);
    uint64_t before = ts->pool.used;
    table_free(&job->tasks, &ts->pool);
    job->bytes -= before - ts->pool.used;
    must(job->nready == 0 && job->nwaiting == 0 && job->ngranted == 0);
    tell_gone(ts, job);
    arches_forget(ts, job->entry.id);
    buf_free(&job->unfit);
    move_ended(ts, job);
    job_stop_timer(ts, job);
    job->ended_us = now_us;
    job->ended_lsn = ts->lsn;
    ts->awaited = ts->lsn;
    list_add(&ts->unheld, &job->unheld);
    if (ts->config.result_ttl_us)
        job_set_timer(ts, job, job->ended_us + ts->config.result_ttl_us);
}

/* ---- Functions ---- */

struct bytes job_fn_name(const struct job *job, uint32_t fn)
{
    if (fn_is_well_known(fn))
        return bytes_str(wk_name(fn));
    const uint8_t *at = job->functions.data, *end = at + job->functions.len;
    for (uint32_t skip = fn - FN_FIRST; skip && at < end; at++)
        skip -= *at == ',';
    const uint8_t *comma = memchr(at, ',', (size_t)(end - at));
    return bytes_of(at, (size_t)((comma ? comma : end) - at));
}

struct fn_stat *job_fn(struct job *job, uint32_t fn)
{
    must(fn >= FN_FIRST && fn - FN_FIRST < job->fns);
    return &job->fn[fn - FN_FIRST];
}

/* ---- Who was told of it ---- */

bool job_known(const struct job *job, uint32_t peer)
{
    return peer / 8 < job->known.len && job->known.data[peer / 8] >> peer % 8 & 1;
}

void job_know(struct job *job, uint32_t peer, bool known)
{
    while (known && job->known.len <= peer / 8)
        put_u8(&job->known, 0);
    if (peer / 8 >= job->known.len)
        return;
    uint8_t bit = (uint8_t)(1u << peer % 8);
    job->known.data[peer / 8] =
        (uint8_t)(known ? job->known.data[peer / 8] | bit : job->known.data[peer / 8] & ~bit);
}

/* ---- Timers ---- */

void job_set_timer(struct ts *ts, struct job *job, uint64_t due_us)
{
    job_stop_timer(ts, job);
    job->timer.hi = due_us;
    job->timer.lo = job->index;
    tree_insert(&ts->timers, &job->timer);
    job->timed = true;
}

void job_stop_timer(struct ts *ts, struct job *job)
{
    if (job->timed)
        tree_remove(&ts->timers, &job->timer);
    job->timed = false;
}

static void job_due(struct ts *ts, struct job *job)
{
    if (job->state == TS_JOB_RUNNING) {
        job_progress(ts, job);
        return;
    }
    struct record r = {.kind = RECORD_FORGOTTEN, .job = job->entry.id, .now_us = ts->now_us};
    log_apply(ts, &r);
}

void jobs_due(struct ts *ts)
{
    while (ts->timers.first && ts->timers.first->hi <= ts->now_us) {
        struct job *job = list_item(ts->timers.first, struct job, timer);
        job_stop_timer(ts, job);
        job_due(ts, job);
    }
}
