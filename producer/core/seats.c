/* The seats: which task runs where, and when.
 *
 * A seat's tasks wait in lanes, one a job. One lane has the turn: its tasks are pushed into the ring of the
 * runner's thread, all of them, so that the thread never waits for us; what was pushed can be taken back
 * until it starts. Another lane gets its turn when the pushed tasks are done, so a seat never computes twice
 * at once. */
#include "producer/core/internal.h"

#define TURN_TASKS 64u    /* while other lanes wait, a turn is at most this many tasks, */
#define TURN_US    10000u /* or this long */
#define LEVEL_US   2000u /* a waiting task moves to an idle seat when the one before it has run for so long */

/* The one task that has no seat yet is in the pool's count already. No more than the mean is always to be
 * found, and nearly always at once. */
uint32_t seat_choose(struct pd *pd)
{
    uint32_t mean = (pd->pool.n - 1) / pd->config.seats;
    for (;;) {
        uint32_t i = pd->cursor++;
        if (pd->cursor == pd->config.seats)
            pd->cursor = 0;
        if (pd->seat[i].tasks <= mean)
            return i;
    }
}

static void round_link(struct seat *s, struct lane *l)
{
    if (l->next)
        return;
    if (!s->round) {
        s->round = l->prev = l->next = l;
        return;
    }
    l->next = s->round;
    l->prev = s->round->prev;
    l->prev->next = l->next->prev = l;
}

static void round_unlink(struct seat *s, struct lane *l)
{
    if (!l->next)
        return;
    if (s->round == l)
        s->round = l->next == l ? NULL : l->next;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->prev = l->next = NULL;
}

void seat_queue(struct pd *pd, struct task *t, uint32_t seat)
{
    struct seat *s = &pd->seat[seat];
    struct lane *l = &t->job->lane[seat];
    t->seat = seat;
    t->state = TASK_QUEUED;
    t->wish = WISH_NONE;
    list_append(&l->tasks, t);
    s->tasks++;
    if (t->job->state == JOB_UP)
        round_link(s, l);
}

void seat_unqueue(struct pd *pd, struct task *t)
{
    struct seat *s = &pd->seat[t->seat];
    struct lane *l = &t->job->lane[t->seat];
    if (t->state == TASK_PUSHED) {
        if (s->pushed.head == t)
            s->since_us = pd->now_us;
        list_remove(&s->pushed, t);
    } else {
        list_remove(&l->tasks, t);
        if (l->tasks.n == 0)
            round_unlink(s, l);
    }
    s->tasks--;
    t->seat = PD_NO_SEAT;
}

void seats_link(struct pd *pd, struct job *j)
{
    for (uint32_t i = 0; i < pd->config.seats; i++)
        if (j->lane[i].tasks.n)
            round_link(&pd->seat[i], &j->lane[i]);
}

void seats_unlink(struct pd *pd, struct job *j)
{
    for (uint32_t i = 0; i < pd->config.seats; i++) {
        round_unlink(&pd->seat[i], &j->lane[i]);
        if (pd->seat[i].turn == &j->lane[i])
            pd->seat[i].turn = NULL;
    }
}

static void push(struct pd *pd, uint32_t seat, struct lane *l, struct pd_effects *out)
{
    struct seat *s = &pd->seat[seat];
    struct task *t = l->tasks.head;
    list_remove(&l->tasks, t);
    if (l->tasks.n == 0)
        round_unlink(s, l);
    if (s->pushed.n == 0)
        s->since_us = pd->now_us;
    t->state = TASK_PUSHED;
    t->number = l->job->number[seat]++;
    list_append(&s->pushed, t);
    s->turn_n++;
    l->job->used_us = pd->now_us;
    struct pd_effect *fx = fx_add(out, PD_FX_RUN, task_grant(t));
    fx->runner = l->job->runner;
    fx->seat = seat;
    fx->number = t->number;
}

static bool others_wait(const struct seat *s)
{
    return s->round && (s->round != s->turn || s->round->next != s->round);
}

static bool turn_over(const struct pd *pd, const struct seat *s)
{
    if (!s->turn || s->turn->tasks.n == 0)
        return others_wait(s);
    return others_wait(s) && (s->turn_n >= TURN_TASKS || pd->now_us - s->turn_us >= TURN_US);
}

static void next_turn(struct pd *pd, struct seat *s)
{
    struct lane *from = s->turn && s->turn->next ? s->turn->next : s->round;
    s->turn = from;
    s->turn_n = 0;
    s->turn_us = pd->now_us;
}

/* A claim is found by its number modulo PD_SEAT_TASKS_MAX, so no two tasks so far apart are pushed at once.
 */
static bool may_push(const struct seat *s)
{
    const struct job *j = s->turn->job;
    uint32_t next = j->number[s->turn - j->lane];
    return !s->pushed.head || next - s->pushed.head->number < PD_SEAT_TASKS_MAX;
}

void seat_feed(struct pd *pd, uint32_t seat, struct pd_effects *out)
{
    struct seat *s = &pd->seat[seat];
    if (pd->draining)
        return;
    while (s->round) {
        if (!s->turn || turn_over(pd, s)) {
            if (s->pushed.n)
                return;
            next_turn(pd, s);
        }
        if (s->turn->tasks.n == 0 || !may_push(s))
            return;
        push(pd, seat, s->turn, out);
    }
}

void seats_feed(struct pd *pd, struct pd_effects *out)
{
    for (uint32_t i = 0; i < pd->config.seats; i++)
        seat_feed(pd, i, out);
}

void seat_take_back(struct pd *pd, struct task *t, enum task_wish wish, struct pd_effects *out)
{
    (void)pd;
    must(t->state == TASK_PUSHED);
    t->wish = (uint8_t)wish;
    struct pd_effect *fx = fx_add(out, PD_FX_TAKE_BACK, (struct bytes){NULL, 0});
    fx->runner = t->job->runner;
    fx->seat = t->seat;
    fx->number = t->number;
}

static struct task *pushed_find(const struct seat *s, uint32_t number)
{
    struct task *t = s->pushed.tail;
    while (t && t->number != number)
        t = t->prev;
    return t;
}

static uint32_t idle_seat(const struct pd *pd)
{
    for (uint32_t i = 0; i < pd->config.seats; i++)
        if (pd->seat[i].tasks == 0)
            return i;
    return PD_NO_SEAT;
}

static void take_to_idle(struct pd *pd, struct task *t, struct pd_effects *out)
{
    seat_unqueue(pd, t);
    uint32_t seat = idle_seat(pd);
    if (seat == PD_NO_SEAT)
        seat = seat_choose(pd);
    seat_queue(pd, t, seat);
    seat_feed(pd, seat, out);
}

void seat_taken_back(struct pd *pd, const struct pd_event *ev, struct pd_effects *out)
{
    struct job *j = job_of_runner(pd, ev->runner);
    if (!j || ev->seat >= pd->config.seats)
        return;
    struct task *t = pushed_find(&pd->seat[ev->seat], ev->number);
    if (!t || t->job != j || t->wish == WISH_NONE)
        return;
    if (t->wish == WISH_RETURN) {
        commit_return(pd, t, out);
    } else if (t->wish == WISH_DROP) {
        task_drop(pd, t);
        window_released(pd);
    } else {
        take_to_idle(pd, t, out);
    }
    seat_feed(pd, ev->seat, out);
}

/* A task that could move to an idle seat: one that waits in a lane, or the last pushed behind a running one.
 */
static struct task *movable(const struct pd *pd, const struct seat *s)
{
    if (s->round)
        return s->round->tasks.tail;
    struct task *t = s->pushed.tail;
    bool behind = t && t != s->pushed.head && t->wish == WISH_NONE;
    return behind && pd->now_us - s->since_us >= LEVEL_US ? t : NULL;
}

void seats_level(struct pd *pd, struct pd_effects *out)
{
    pd->level_us = NEVER;
    if (pd->draining)
        return;
    for (uint32_t i = 0; i < pd->config.seats && idle_seat(pd) != PD_NO_SEAT; i++) {
        const struct seat *s = &pd->seat[i];
        if (s->tasks < 2)
            continue;
        struct task *t = movable(pd, s);
        if (t && t->state == TASK_PUSHED)
            seat_take_back(pd, t, WISH_MOVE, out);
        else if (t)
            take_to_idle(pd, t, out);
        pd->level_us = pd->now_us + LEVEL_US;
    }
}

/* Tasks that wait in lanes go at once; of the pushed ones, those behind the first, from the last. */
static void shed(struct pd *pd, struct seat *s, uint32_t excess, struct pd_effects *out)
{
    for (; excess && s->round; excess--)
        commit_return(pd, s->round->tasks.tail, out);
    for (struct task *t = s->pushed.tail; excess && t && t != s->pushed.head; t = t->prev) {
        if (t->wish != WISH_NONE)
            continue;
        seat_take_back(pd, t, WISH_RETURN, out);
        excess--;
    }
}

void seats_shed(struct pd *pd, struct pd_effects *out)
{
    for (uint32_t i = 0; i < pd->config.seats && !pd->draining; i++)
        if (pd->seat[i].tasks > 2 * pd->window.per_seat)
            shed(pd, &pd->seat[i], pd->seat[i].tasks - pd->window.per_seat, out);
}
