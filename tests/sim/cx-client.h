/* Jobs, and the clients that want their results: what must come out, and what they may be told. */
#ifndef TESTS_SIM_CX_CLIENT_H
#define TESTS_SIM_CX_CLIENT_H

#include "tests/sim/cx-server.h"

/* Odd events now and then: somebody who may not, a second submission, a watcher that leaves. */
static void client_sends(struct world *w, struct job_sim *j)
{
    uint32_t peer = PEERS + (uint32_t)(j - w->job) * 16 + (uint32_t)chance(w, 4);
    struct ts_event e = {.peer = peer, .req = 1, .job = j->id, .u.owner = bytes_str("ann")};
    if (j->gone)
        return;
    happen(w, 20000 + chance(w, 200000), (struct event){.kind = AT_SEND, .a = (uint32_t)(j - w->job)});
    if (!j->acked || (!j->answered && one_in(w, 10))) {
        e.kind = TS_SUBMIT;
        e.u.submit = &j->submit;
    } else if (j->answered) {
        e.kind = TS_FORGET;
        e.req = 4;
    } else if (j->cancel_us && w->now >= j->cancel_us && !j->cancelled) {
        e.kind = TS_CANCEL;
        e.req = 3;
        j->cancelled = true;
    } else if (one_in(w, 10)) {
        e.kind = one_in(w, 2) ? TS_CLIENT_LEFT : TS_UNWATCH;
    } else if (one_in(w, 20)) {
        e.kind = TS_CANCEL;
        e.req = 5; /* must be refused */
        e.u.owner = bytes_str("bob");
    } else {
        e.kind = TS_WATCH;
        e.req = 2;
    }
    j->peer = peer;
    server_step(w, e);
}

static void client_replied(struct world *w, const struct ts_effect *fx)
{
    struct job_sim *j = job_of(w, fx->job);
    if (fx->lsn > w->held)
        broken(w, "a reply left before the log it depends on was held (law 8)");
    switch (fx->req) {
    case 1:
        if (fx->code == CX_EFULL && w->tight)
            return;
        if (fx->code != CX_OK)
            broken(w, "a submission was refused");
        j->acked = true;
        return;
    case 2:
        if (fx->code == CX_ENOTFOUND && !j->gone)
            broken(w, "a job that was acknowledged is lost (law 10)");
        return;
    case 3:
        if (fx->code != CX_OK)
            broken(w, "a cancel was refused");
        return;
    case 4:
        if (fx->code != CX_OK && fx->code != CX_ENOTFOUND)
            broken(w, "a forget was refused");
        j->gone = true;
        return;
    case 5:
        if (fx->code != CX_EAUTH)
            broken(w, "a stranger may cancel a job");
        return;
    default:
        broken(w, "a reply to nothing");
    }
}

static bool says(struct bytes text, const char *part)
{
    return memmem(text.data, text.len, part, strlen(part)) != NULL;
}

static void check_value(struct world *w, const struct job_sim *j, const struct ts_job_info *info)
{
    struct reader r = reader_of(info->result);
    struct mval v = mv_of(get_value(&r));
    if (j->fails)
        broken(w, "a job that must fail is done");
    if (r.bad || r.at != r.end || mv_hash(&v) != mv_hash(&j->value))
        broken(w, "a wrong result");
    if (j->exact && info->executed != j->executed)
        broken(w, "tasks were counted more or less than once (law 3)");
}

static void check_answer(struct world *w, struct job_sim *j, const struct ts_job_info *info)
{
    if (info->state == TS_JOB_DONE)
        check_value(w, j, info);
    else if (info->state == TS_JOB_CANCELLED && !j->cancelled)
        broken(w, "a job was cancelled by nobody");
    else if (info->state == TS_JOB_FAILED && !(w->tight && says(info->reason, "memory budget")) &&
             !(j->fails && says(info->reason, j->reason) && says(info->reason, "task ")))
        broken(w, "a job failed for no reason");
}

static void client_result(struct world *w, const struct ts_effect *fx)
{
    struct job_sim *j = job_of(w, fx->job);
    struct ts_job_info info;
    if (fx->lsn > w->held)
        broken(w, "a result left before the log it depends on was held (law 8)");
    if (!ts_job_find(w->ts, fx->job, &info) || info.state == TS_JOB_RUNNING)
        broken(w, "a result of a job that has not ended");
    check_answer(w, j, &info);
    uint64_t hash = hash64(info.result.data, info.result.len, info.state);
    if (j->answered && hash != j->answer_hash)
        broken(w, "a job was answered in two ways (law 10)");
    j->answered = true;
    j->answer_hash = hash;
}

static void client_progress(struct world *w, const struct ts_effect *fx)
{
    struct ts_job_info info;
    if (!ts_job_find(w->ts, fx->job, &info) || info.state != TS_JOB_RUNNING)
        broken(w, "progress of a job that is not running");
}

static void job_expect(struct world *w, struct job_sim *j, int64_t mode)
{
    struct machine m = {0};
    machine_start(&m, j->fn, 3, buf_bytes(&j->args));
    machine_run(&m, UINT64_MAX);
    j->fails = m.failed || m.crashed;
    j->reason = mode == MODE_FAILS ? "bad luck" : "crashed 3 times";
    j->executed = m.executed;
    j->exact = j->fn == W_NODE;
    if (!j->fails && (m.nout == 0 || !m.out[0].to.outer || m.out[0].to.index))
        broken(w, "the simulator's program gives no result");
    if (!j->fails)
        j->value = m.out[0].v;
    machine_free(&m);
}

static void job_plan(struct world *w, uint32_t i)
{
    struct job_sim *j = &w->job[i];
    bool search = one_in(w, 4);
    int64_t mode = search || !one_in(w, 5) ? MODE_SOUND : one_in(w, 2) ? MODE_FAILS : MODE_CRASHES;
    j->id = (struct id){w->seed + 1, i + 1};
    j->fn = search ? W_SEARCH : W_NODE;
    put_value(&j->args, cx_v_i64((int64_t)mix(w->rng, i)));
    put_value(&j->args,
              cx_v_i64(search ? (int64_t)chance(w, 6) : 1 + (int64_t)chance(w, one_in(w, 5) ? 1000 : 80)));
    put_value(&j->args, cx_v_i64(mode));
    j->submit = (struct ts_submit){.job = j->id,
                                   .modules = 1,
                                   .module = {{.arch = "x86_64"}},
                                   .fn = j->fn,
                                   .functions = bytes_str(WORK_FUNCTIONS),
                                   .nargs = 3,
                                   .args = buf_bytes(&j->args),
                                   .priority = (int32_t)chance(w, 2),
                                   .weight = (uint32_t)chance(w, 4),
                                   .owner = bytes_str("ann"),
                                   .label = bytes_str("sim")};
    if (one_in(w, 2)) {
        j->submit.modules = 2;
        memcpy(j->submit.module[1].arch, "aarch64", 8);
    }
    if (one_in(w, 8))
        j->cancel_us = 1 + chance(w, 500000);
    job_expect(w, j, mode);
    happen(w, chance(w, 300000), (struct event){.kind = AT_SEND, .a = i});
}

#endif
