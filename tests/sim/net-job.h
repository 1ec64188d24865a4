/* The jobs of the simulated network: what must come out of them, and the clients that wait for it. */
#ifndef TESTS_SIM_NET_JOB_H
#define TESTS_SIM_NET_JOB_H

#include "tests/sim/net-shard.h"

enum { CLIENT = 1000 };

/* ---- Planning ---- */

/* By the sequential machine, which knows nothing of shards. */
static void job_expect(struct world *w, struct job_sim *j)
{
    struct machine m = {0};
    machine_start(&m, j->submit.fn, 3, buf_bytes(&j->args));
    machine_run(&m, UINT64_MAX);
    j->fails = m.failed || m.crashed;
    j->reason = j->mode == MODE_FAILS ? "bad luck" : "crashed 3 times";
    j->executed = m.executed;
    if (!j->fails && (m.nout == 0 || !m.out[0].to.outer || m.out[0].to.index))
        broken(w, "the simulator's program gives no result");
    if (!j->fails)
        j->value = m.out[0].v;
    machine_free(&m);
}

static void job_plan(struct world *w, uint32_t i)
{
    struct job_sim *j = &w->job[i];
    bool search = one_in(w, 3);
    int64_t n = search ? (int64_t)chance(w, 7) : 1 + (int64_t)chance(w, one_in(w, 3) ? 1500 : 150);
    j->id = (struct id){w->seed + 1, i + 1};
    j->home = (uint32_t)chance(w, w->shards);
    j->mode = search || !one_in(w, 5) ? MODE_SOUND : one_in(w, 2) ? MODE_FAILS : MODE_CRASHES;
    j->mute = j->mode == MODE_SOUND && one_in(w, 6);
    put_value(&j->args, cx_v_i64((int64_t)mix(w->rng, i)));
    put_value(&j->args, cx_v_i64(n));
    put_value(&j->args, cx_v_i64(j->mode));
    j->submit = (struct ts_submit){.job = j->id,
                                   .modules = 1,
                                   .module = {{.arch = "x86_64"}},
                                   .fn = search ? W_SEARCH : W_NODE,
                                   .functions = bytes_str(WORK_FUNCTIONS),
                                   .nargs = 3,
                                   .args = buf_bytes(&j->args),
                                   .priority = (int32_t)chance(w, 2),
                                   .owner = bytes_str("ann"),
                                   .label = bytes_str("sim")};
    if (one_in(w, 8))
        j->cancel_us = w->now + 1 + chance(w, 500000);
    job_expect(w, j);
    happen(w, chance(w, w->heal_us - w->now), (struct happens){.kind = AT_CLIENT, .a = i});
}

/* ---- Clients ---- */

/* What is next: submit until it is known, watch until it has ended, forget until it is gone. */
static void client_acts(struct world *w, uint32_t i)
{
    struct job_sim *j = &w->job[i];
    struct ts_job_info info;
    bool known = ts_job_find(w->shard[j->home].ts, j->id, &info);
    struct ts_event e = {.peer = CLIENT + i, .req = 1, .job = j->id, .u.owner = bytes_str("ann")};
    happen(w, 1000 + chance(w, 10000), (struct happens){.kind = AT_CLIENT, .a = i});
    j->gone = j->answered && !known; /* not for ever: a crash may bring it back */
    if (j->gone)
        return;
    e.kind = !known ? TS_SUBMIT : j->answered ? TS_FORGET : TS_WATCH;
    if (!known)
        e.u.submit = &j->submit;
    if (known && j->cancel_us && w->now >= j->cancel_us && !j->cancelled && !j->answered) {
        e.kind = TS_CANCEL;
        j->cancelled = true;
    }
    shard_step(w, j->home, e);
}

static void check_done(struct world *w, const struct job_sim *j, const struct ts_job_info *info)
{
    struct reader r = reader_of(info->result);
    struct mval v = mv_of(get_value(&r));
    if (j->fails)
        broken(w, "a job is done that had to fail");
    if (mv_hash(&v) != mv_hash(&j->value))
        broken(w, "a wrong result");
    if (j->submit.fn == W_NODE && !j->muted && info->executed != j->executed)
        fprintf(stderr, "%llu executed, %llu counted\n", (unsigned long long)j->executed,
                (unsigned long long)info->executed);
    if (j->submit.fn == W_NODE && !j->muted && info->executed != j->executed)
        broken(w, "tasks were executed, but not counted, or counted twice");
}

static void check_failed(struct world *w, const struct job_sim *j, const struct ts_job_info *info)
{
    struct bytes text = info->reason;
    bool stuck = memmem(text.data, text.len, "can set any more", 16) ||
                 memmem(text.data, text.len, "none returned the job", 21);
    if (stuck && !j->muted)
        broken(w, "a job that goes on was held to be stuck");
    if (!stuck && (!j->fails || !memmem(text.data, text.len, j->reason, strlen(j->reason)))) {
        fprintf(stderr, "%.*s\n", (int)text.len, (const char *)text.data);
        broken(w, "a job failed for a wrong reason");
    }
}

static void client_result(struct world *w, uint32_t at, const struct ts_effect *fx)
{
    struct job_sim *j = job_of(w, fx->job);
    struct ts_job_info info;
    if (at != j->home || !ts_job_find(w->shard[at].ts, fx->job, &info) || info.guest ||
        info.state == TS_JOB_RUNNING)
        broken(w, "a result where there is none");
    uint64_t answer = mix(info.state, hash64(info.result.data, info.result.len, 1));
    if (j->answered && j->answer != answer)
        broken(w, "two different answers");
    j->answered = true;
    j->answer = answer;
    if (info.state == TS_JOB_DONE)
        check_done(w, j, &info);
    else if (info.state == TS_JOB_FAILED)
        check_failed(w, j, &info);
    else if (!j->cancel_us)
        broken(w, "a job was cancelled that nobody cancelled");
}

static void shard_effect(struct world *w, uint32_t at, const struct ts_effect *fx)
{
    struct shard *s = &w->shard[at];
    struct bytes data = ts_effect_data(&s->fx, fx);
    switch (fx->kind) {
    case TS_FX_LOG:
        if (fx->lsn != ++s->records)
            broken(w, "the log has a gap");
        keep_record(&s->log, data);
        break;
    case TS_FX_RESULT:
        client_result(w, at, fx);
        break;
    case TS_FX_GRANT:
        granted(w, at, fx);
        break;
    case TS_FX_REVOKE:
    case TS_FX_JOB_GONE:
        revoked(s, fx);
        break;
    case TS_FX_PEER:
        message_leaves(w, at, fx);
        break;
    case TS_FX_GUEST:
        w->moved++;
        break;
    case TS_FX_FAULT:
    case TS_FX_PEER_FAULT:
        fprintf(stderr, "%.*s\n", (int)data.len, (const char *)data.data);
        broken(w, "an honest peer is at fault");
        break;
    case TS_FX_REPLY:
    case TS_FX_PROGRESS:
    case TS_FX_JOB:
    case TS_FX_BOUND:
    case TS_FX_HUNGRY:
        break;
    }
}

static void shard_effects(struct world *w, uint32_t at)
{
    for (size_t i = 0; i < w->shard[at].fx.n; i++)
        shard_effect(w, at, &w->shard[at].fx.fx[i]);
}

#endif
