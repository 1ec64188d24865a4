/* How tasks end: with the commit that the runner wrote, or with one of ours. */
#include "producer/core/internal.h"

/* Packed commits to be sent; runs that touch are one effect. */
static void send(struct pd *pd, struct bytes commits, struct pd_effects *out)
{
    (void)pd;
    struct pd_effect *last = out->n ? &out->fx[out->n - 1] : NULL;
    if (last && last->kind == PD_FX_COMMIT) {
        buf_add(&out->data, commits.data, commits.len);
        last->len += commits.len;
        return;
    }
    fx_add(out, PD_FX_COMMIT, commits);
}

void task_drop(struct pd *pd, struct task *t)
{
    seat_unqueue(pd, t);
    task_free(&pd->pool, t);
}

/* The task's grant record begins with the job's id. */
static void end_with(struct pd *pd, struct task *t, enum commit_kind kind, struct bytes body,
                     struct pd_effects *out)
{
    struct commit c = {.kind = kind, .job = t->job->id, .task = t->id, .hash = t->hash, .body = body};
    struct buf packed = {0};
    commit_put(&packed, &c);
    send(pd, buf_bytes(&packed), out);
    buf_free(&packed);
    task_drop(pd, t);
    window_settled(pd);
}

void commit_return(struct pd *pd, struct task *t, struct pd_effects *out)
{
    end_with(pd, t, COMMIT_RETURNED, (struct bytes){NULL, 0}, out);
}

void commit_unfit(struct pd *pd, struct task *t, const char *text, struct pd_effects *out)
{
    end_with(pd, t, COMMIT_RETURNED, bytes_str(text), out);
}

void commit_crashed(struct pd *pd, struct task *t, const char *text, struct pd_effects *out)
{
    end_with(pd, t, COMMIT_CRASHED, bytes_str(text), out);
}

void commit_fail(struct pd *pd, struct task *t, const char *text, struct pd_effects *out)
{
    struct buf body = {0};
    put_fail(&body, bytes_str(text));
    end_with(pd, t, COMMIT_DONE, buf_bytes(&body), out);
    buf_free(&body);
}

/* Every operation well formed by itself. What the server alone can judge, such as names, it judges. */
static bool body_ok(struct bytes body)
{
    struct reader r = reader_of(body);
    struct op op;
    while (op_get(&r, &op))
        ;
    return !r.bad;
}

/* The record at r must be the commit of the seat's first pushed task; ends that task. NULL, or what is wrong.
 */
static const char *read_one(struct pd *pd, struct job *j, struct seat *s, struct reader *r)
{
    struct commit c;
    struct task *t = s->pushed.head;
    if (!commit_get(r, &c) || c.kind != COMMIT_DONE || !body_ok(c.body))
        return "the runner wrote a malformed commit";
    if (!t || t->job != j || !id_equal(c.job, j->id) || !id_equal(c.task, t->id) || c.hash != t->hash)
        return "the runner wrote a commit for a task that it was not given";
    window_ran(pd, c.elapsed_ns);
    task_drop(pd, t);
    window_settled(pd);
    return NULL;
}

void commits_read(struct pd *pd, const struct pd_event *ev, struct pd_effects *out)
{
    struct job *j = job_of_runner(pd, ev->runner);
    if (!j || ev->seat >= pd->config.seats)
        return;
    struct seat *s = &pd->seat[ev->seat];
    struct reader r = reader_of(ev->data);
    const char *wrong = NULL;
    const uint8_t *from = r.at, *good = r.at;
    while (!wrong && reader_more(&r)) {
        wrong = read_one(pd, j, s, &r);
        if (!wrong)
            good = r.at;
    }
    if (good > from)
        send(pd, bytes_of(from, (size_t)(good - from)), out);
    if (wrong) {
        job_misbehaved(pd, j, ev->seat, wrong, out);
        return;
    }
    seat_feed(pd, ev->seat, out);
    if (s->tasks == 0)
        seats_level(pd, out);
}

void commit_broken(struct pd *pd, const struct pd_event *ev, struct pd_effects *out)
{
    struct job *j = job_of_runner(pd, ev->runner);
    if (j && ev->seat < pd->config.seats)
        job_misbehaved(pd, j, ev->seat, "the runner broke the ring of its commits", out);
}
