/* The consumer's pure core: events in, effects out (consumer/core/client.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consumer/core/client.h"

#define GRACE 3000000u

/* ---- A world around one client ---- */

struct world {
    struct client *c;
    struct client_effects fx;
    uint64_t now;
};

static void world_start(struct world *w, const char *address)
{
    struct client_config config = {.address = address, .seed = 7, .grace_us = GRACE};
    *w = (struct world){.now = 1000000};
    w->c = client_new(&config);
    assert_non_null(w->c);
}

static void world_end(struct world *w)
{
    client_free(w->c);
    client_effects_free(&w->fx);
}

/* One event; the effects of it alone are in w->fx after it. */
static void step(struct world *w, struct client_event e)
{
    e.now_us = w->now;
    w->fx.n = 0;
    client_step(w->c, &e, &w->fx);
    client_check(w->c);
}

static void tick_at(struct world *w, uint64_t now)
{
    w->now = now;
    step(w, (struct client_event){.kind = CLIENT_TICK});
}

static void ask(struct world *w, struct call *call)
{
    step(w, (struct client_event){.kind = CLIENT_CALL, .call = call});
}

static void welcome(struct world *w)
{
    step(w, (struct client_event){.kind = CLIENT_WELCOME, .link = LINK_TASKS, .network = bytes_str("net")});
}

/* The greeting of a server of a pair. */
static void welcome_of(struct world *w, uint64_t shard, const char *addresses)
{
    step(w, (struct client_event){.kind = CLIENT_WELCOME,
                                  .link = LINK_TASKS,
                                  .network = bytes_str("net"),
                                  .shard = {0, shard},
                                  .address = bytes_str(addresses)});
}

static void closed(struct world *w, enum client_link link, int code, const char *text)
{
    step(w,
         (struct client_event){.kind = CLIENT_CLOSED, .link = link, .code = code, .text = bytes_str(text)});
}

static void status(struct world *w, enum client_link link, uint64_t req, int code, const char *text)
{
    step(w, (struct client_event){
                .kind = CLIENT_STATUS, .link = link, .req = req, .code = code, .text = bytes_str(text)});
}

static void result(struct world *w, uint64_t req, uint32_t state, const char *value, const char *reason)
{
    step(w, (struct client_event){.kind = CLIENT_RESULT,
                                  .link = LINK_TASKS,
                                  .req = req,
                                  .state = state,
                                  .data = bytes_str(value),
                                  .text = bytes_str(reason)});
}

static void progress(struct world *w, uint64_t req, uint64_t executed)
{
    struct client_progress p = {.executed = executed};
    step(w, (struct client_event){.kind = CLIENT_ROW, .link = LINK_TASKS, .req = req, .progress = &p});
}

static const struct client_effect *find(const struct world *w, enum client_effect_kind kind,
                                        enum client_link link)
{
    for (size_t i = 0; i < w->fx.n; i++)
        if (w->fx.fx[i].kind == kind && w->fx.fx[i].link == link)
            return &w->fx.fx[i];
    return NULL;
}

/* The request number of a message that the last step sent; fails when there is none. */
static uint64_t sent(const struct world *w, enum client_link link, enum client_message m)
{
    for (size_t i = 0; i < w->fx.n; i++)
        if (w->fx.fx[i].kind == CLIENT_FX_SEND && w->fx.fx[i].link == link && w->fx.fx[i].message == m)
            return w->fx.fx[i].req;
    fail_msg("message %d was not sent", (int)m);
    return 0;
}

static unsigned sends(const struct world *w)
{
    unsigned n = 0;
    for (size_t i = 0; i < w->fx.n; i++)
        n += w->fx.fx[i].kind == CLIENT_FX_SEND;
    return n;
}

static const char *dialled(const struct world *w, enum client_link link)
{
    const struct client_effect *fx = find(w, CLIENT_FX_DIAL, link);
    return fx != NULL ? fx->address : "";
}

static struct call simple(enum call_kind kind, uint64_t deadline)
{
    return (struct call){.kind = kind, .deadline_us = deadline, .id = {1, 2}};
}

static struct call about(struct client_job *job, enum call_kind kind, uint64_t deadline)
{
    return (struct call){.kind = kind, .deadline_us = deadline, .job = job};
}

static const struct client_blob two_blobs[] = {{.sha256 = {1}, .data = {(const uint8_t *)"module", 6}},
                                               {.sha256 = {2}, .data = {(const uint8_t *)"input", 5}}};

static struct call submission(uint64_t deadline)
{
    return (struct call){
        .kind = CALL_SUBMIT, .deadline_us = deadline, .id = {3, 4}, .blob = two_blobs, .blobs = 2};
}

/* A world that is connected, with nothing asked. */
static void world_connected(struct world *w, const char *address)
{
    struct call call = simple(CALL_WHY, UINT64_MAX);
    world_start(w, address);
    ask(w, &call);
    welcome(w);
    status(w, LINK_TASKS, sent(w, LINK_TASKS, SEND_WHY), 0, "");
    assert_true(call.done);
}

/* ---- Connecting ---- */

static void addresses_are_checked(void **state)
{
    static const char *const bad[] = {"",         "host",    "a:1,",        ",a:1",
                                      "a:1,,b:2", "broker:", "broker:host", "broker:/x"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (client_new(&(struct client_config){.address = bad[i]}) != NULL)
            fail_msg("'%s' was taken", bad[i]);
}

static void nothing_is_dialled_before_it_is_needed(void **state)
{
    struct world w;
    (void)state;
    world_start(&w, "a:1");
    tick_at(&w, 2000000);
    assert_int_equal(w.fx.n, 0);
    assert_true(client_due(w.c) == UINT64_MAX);
    struct call call = simple(CALL_WHY, UINT64_MAX);
    ask(&w, &call);
    assert_string_equal(dialled(&w, LINK_TASKS), "a:1");
    sent(&w, LINK_TASKS, SEND_HELLO);
    assert_int_equal(sends(&w), 1); /* the question waits for the greeting */
    welcome(&w);
    sent(&w, LINK_TASKS, SEND_WHY);
    world_end(&w);
}

static void pauses_grow_and_stay_bounded(void **state)
{
    struct world w;
    struct call call = simple(CALL_WHY, UINT64_MAX);
    uint64_t last = 0, longest = 0;
    (void)state;
    world_connected(&w, "a:1"); /* so that it is patient */
    closed(&w, LINK_TASKS, CX_ENONET, "reset");
    assert_int_equal(w.fx.n, 0); /* nothing needs it */
    ask(&w, &call);
    for (int i = 0; i < 12; i++) {
        uint64_t due = client_due(w.c);
        assert_true(due > w.now && due - w.now <= CLIENT_BACKOFF_MAX);
        assert_true(due - w.now >= CLIENT_BACKOFF_MIN / 2);
        last = due - w.now;
        longest = last > longest ? last : longest;
        tick_at(&w, due);
        assert_string_equal(dialled(&w, LINK_TASKS), "a:1");
        closed(&w, LINK_TASKS, CX_ENONET, "refused");
        assert_false(call.done);
    }
    assert_true(longest > CLIENT_BACKOFF_MAX / 2 - 1);
    world_end(&w);
}

static void two_clients_do_not_come_back_together(void **state)
{
    uint64_t due[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct client_config config = {.address = "a:1", .seed = (uint64_t)i * 977 + 1, .grace_us = GRACE};
        struct world w = {.c = client_new(&config), .now = 5};
        struct call call = simple(CALL_WHY, UINT64_MAX);
        ask(&w, &call);
        closed(&w, LINK_TASKS, CX_ENONET, "refused");
        due[i] = client_due(w.c);
        world_end(&w);
    }
    assert_true(due[0] != due[1]);
}

static void every_address_is_tried_in_order(void **state)
{
    struct world w;
    struct call call = simple(CALL_WHY, UINT64_MAX);
    (void)state;
    world_start(&w, "a:1,b:2");
    ask(&w, &call);
    assert_string_equal(dialled(&w, LINK_TASKS), "a:1");
    closed(&w, LINK_TASKS, CX_ENONET, "refused");
    assert_string_equal(dialled(&w, LINK_TASKS), "b:2"); /* at once */
    closed(&w, LINK_TASKS, CX_ENONET, "refused");
    assert_null(find(&w, CLIENT_FX_DIAL, LINK_TASKS));
    tick_at(&w, client_due(w.c));
    assert_string_equal(dialled(&w, LINK_TASKS), "a:1");
    world_end(&w);
}

static void a_network_never_reached_is_told_after_a_grace(void **state)
{
    struct world w;
    struct call call = simple(CALL_LIST, UINT64_MAX);
    (void)state;
    world_start(&w, "a:1");
    ask(&w, &call);
    closed(&w, LINK_TASKS, CX_ENONET, "connection refused");
    tick_at(&w, w.now + GRACE - 1);
    assert_false(call.done);
    tick_at(&w, w.now + 1);
    assert_true(call.done);
    assert_int_equal(call.code, CX_ENONET);
    assert_non_null(strstr(call.text, "no network at a:1"));
    assert_non_null(strstr(call.text, "connection refused"));
    world_end(&w);
}

/* cx wait shows progress, so it waits in slices. */
static void waiting_in_slices_gives_the_network_its_time(void **state)
{
    struct world w;
    struct client_job job = {.id = {5, 6}};
    (void)state;
    world_start(&w, "a:1");
    uint64_t start = w.now;
    while (w.now < start + GRACE - 100000) {
        struct call call = about(&job, CALL_WAIT, w.now + 100000);
        ask(&w, &call);
        tick_at(&w, w.now + 100000);
        assert_int_equal(call.code, CX_ETIMEOUT);
    }
    struct call last = about(&job, CALL_WAIT, w.now + 100000), next = last;
    ask(&w, &last);
    tick_at(&w, w.now + 100000);
    assert_int_equal(last.code, CX_ENONET);
    ask(&w, &next); /* and it is tried anew */
    next.deadline_us = UINT64_MAX;
    tick_at(&w, w.now + GRACE / 2);
    assert_false(next.done);
    welcome(&w);
    result(&w, sent(&w, LINK_TASKS, SEND_WATCH), 1, "v", "");
    assert_true(next.done && next.code == 0);
    buf_free(&job.value);
    world_end(&w);
}

static void a_network_once_reached_is_waited_for(void **state)
{
    struct world w;
    struct client_job job = {.id = {5, 6}};
    struct call call = about(&job, CALL_WAIT, 60000000);
    (void)state;
    world_connected(&w, "a:1");
    closed(&w, LINK_TASKS, CX_ENONET, "reset");
    ask(&w, &call);
    tick_at(&w, w.now + 10 * GRACE);
    assert_false(call.done);
    tick_at(&w, 60000000);
    assert_int_equal(call.code, CX_ETIMEOUT);
    assert_non_null(strstr(call.text, "reset"));
    world_end(&w);
}

static void a_refusal_is_final(void **state)
{
    struct world w;
    struct call call = simple(CALL_LIST, UINT64_MAX);
    (void)state;
    world_start(&w, "a:1,b:2");
    ask(&w, &call);
    closed(&w, LINK_TASKS, CX_EAUTH, "not on the list");
    assert_true(call.done);
    assert_int_equal(call.code, CX_EAUTH);
    assert_non_null(strstr(call.text, "not on the list"));
    world_end(&w);
}

/* ---- Questions ---- */

static void answers_find_their_questions(void **state)
{
    struct world w;
    struct call a = simple(CALL_WHY, UINT64_MAX), b = simple(CALL_WHY, UINT64_MAX);
    (void)state;
    world_connected(&w, "a:1");
    ask(&w, &a);
    uint64_t ra = sent(&w, LINK_TASKS, SEND_WHY);
    ask(&w, &b);
    uint64_t rb = sent(&w, LINK_TASKS, SEND_WHY);
    assert_true(ra != rb);
    step(&w, (struct client_event){
                 .kind = CLIENT_TEXT, .link = LINK_TASKS, .req = rb, .text = bytes_str("busy")});
    status(&w, LINK_TASKS, rb, CX_OK, "");
    assert_true(b.done && !a.done && b.code == 0);
    assert_memory_equal(b.out.data, "busy", 4);
    status(&w, LINK_TASKS, ra, CX_EAUTH, "not yours");
    assert_true(a.done && a.code == CX_EAUTH);
    assert_string_equal(a.text, "not yours");
    status(&w, LINK_TASKS, ra, CX_OK, ""); /* an answer too many is nobody's */
    status(&w, LINK_TASKS, 0, CX_OK, "");
    buf_free(&b.out);
    world_end(&w);
}

static void rows_are_collected_once(void **state)
{
    struct world w;
    struct call call = simple(CALL_LIST, UINT64_MAX);
    (void)state;
    world_connected(&w, "a:1");
    ask(&w, &call);
    uint64_t req = sent(&w, LINK_TASKS, SEND_LIST);
    step(&w,
         (struct client_event){.kind = CLIENT_ROW, .link = LINK_TASKS, .req = req, .data = bytes_str("one")});
    closed(&w, LINK_TASKS, CX_ENONET, "reset");
    tick_at(&w, client_due(w.c));
    welcome(&w);
    req = sent(&w, LINK_TASKS, SEND_LIST); /* asked again, from the start */
    step(&w,
         (struct client_event){.kind = CLIENT_ROW, .link = LINK_TASKS, .req = req, .data = bytes_str("one")});
    step(&w,
         (struct client_event){.kind = CLIENT_ROW, .link = LINK_TASKS, .req = req, .data = bytes_str("two")});
    status(&w, LINK_TASKS, req, CX_OK, "");
    assert_int_equal(call.out.len, 6);
    assert_memory_equal(call.out.data, "onetwo", 6);
    buf_free(&call.out);
    world_end(&w);
}

static void a_question_without_answer_ends_in_time(void **state)
{
    struct world w;
    (void)state;
    world_connected(&w, "a:1");
    struct call call = simple(CALL_CANCEL, w.now + 500);
    ask(&w, &call);
    assert_true(client_due(w.c) == w.now + 500);
    uint64_t req = sent(&w, LINK_TASKS, SEND_CANCEL);
    tick_at(&w, w.now + 500);
    assert_int_equal(call.code, CX_ETIMEOUT);
    status(&w, LINK_TASKS, req, CX_OK, ""); /* too late */
    assert_int_equal(call.code, CX_ETIMEOUT);
    world_end(&w);
}

/* The answer to the first FORGET was lost with the link: that there is nothing left to forget is success. */
static void forgetting_twice_is_forgetting(void **state)
{
    struct world w;
    struct call call = simple(CALL_FORGET, UINT64_MAX), other = simple(CALL_FORGET, UINT64_MAX);
    (void)state;
    world_connected(&w, "a:1");
    ask(&w, &call);
    closed(&w, LINK_TASKS, CX_ENONET, "reset");
    tick_at(&w, client_due(w.c));
    welcome(&w);
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_FORGET), CX_ENOTFOUND, "no such job");
    assert_true(call.done && call.code == CX_OK);
    ask(&w, &other);
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_FORGET), CX_ENOTFOUND, "no such job");
    assert_int_equal(other.code, CX_ENOTFOUND);
    world_end(&w);
}

/* ---- Submitting ---- */

static void a_submission_asks_sends_and_submits(void **state)
{
    struct world w;
    struct call call = submission(UINT64_MAX);
    (void)state;
    world_connected(&w, "a:1");
    ask(&w, &call);
    assert_string_equal(dialled(&w, LINK_BLOBS), "a:1");
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_ENOTFOUND, "");
    const struct client_effect *put = find(&w, CLIENT_FX_SEND, LINK_BLOBS);
    assert_true(put->message == SEND_PUT && put->blob == &two_blobs[0]);
    status(&w, LINK_BLOBS, put->req, CX_OK, "");
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_OK, ""); /* the input is there */
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_SUBMIT), CX_OK, "");
    assert_true(call.done && call.code == CX_OK);
    world_end(&w);
}

static void what_the_server_has_is_not_asked_again(void **state)
{
    struct world w;
    struct call a = submission(UINT64_MAX), b = submission(UINT64_MAX);
    (void)state;
    world_connected(&w, "a:1");
    ask(&w, &a);
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_OK, "");
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_OK, "");
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_SUBMIT), CX_OK, "");
    ask(&w, &b);
    assert_int_equal(sends(&w), 1);
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_SUBMIT), CX_ENOTFOUND, "the module is not here");
    assert_false(b.done); /* it has lost it: from the start, once */
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_OK, "");
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_OK, "");
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_SUBMIT), CX_ENOTFOUND, "the module is not here");
    assert_int_equal(b.code, CX_ENOTFOUND);
    world_end(&w);
}

static void a_submission_survives_each_lost_link(void **state)
{
    (void)state;
    for (int lost_at = 0; lost_at < 3; lost_at++) {
        struct world w;
        struct call call = submission(UINT64_MAX);
        world_connected(&w, "a:1");
        ask(&w, &call);
        if (lost_at > 0)
            status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_ENOTFOUND, "");
        if (lost_at > 1) {
            status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_PUT), CX_OK, "");
            status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_OK, "");
            sent(&w, LINK_TASKS, SEND_SUBMIT);
        }
        closed(&w, LINK_TASKS, CX_ENONET, "reset");
        assert_non_null(find(&w, CLIENT_FX_HANGUP, LINK_BLOBS));
        tick_at(&w, client_due(w.c));
        welcome(&w);
        assert_string_equal(dialled(&w, LINK_BLOBS), "a:1");
        status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_OK, ""); /* the new server may lack it */
        status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_OK, "");
        const struct client_effect *fx = find(&w, CLIENT_FX_SEND, LINK_TASKS);
        assert_true(fx->message == SEND_SUBMIT && fx->id.hi == 3 && fx->id.lo == 4); /* the same id */
        status(&w, LINK_TASKS, fx->req, CX_OK, "");
        assert_true(call.done && call.code == CX_OK);
        world_end(&w);
    }
}

static void a_lost_blob_link_is_made_again(void **state)
{
    struct world w;
    struct call call = submission(UINT64_MAX);
    (void)state;
    world_connected(&w, "a:1");
    ask(&w, &call);
    closed(&w, LINK_BLOBS, CX_ENONET, "reset");
    assert_false(call.done);
    tick_at(&w, client_due(w.c));
    assert_string_equal(dialled(&w, LINK_BLOBS), "a:1");
    sent(&w, LINK_BLOBS, SEND_HAVE);
    world_end(&w);
}

static void submissions_use_the_blob_link_in_turn(void **state)
{
    struct world w;
    struct call a = submission(UINT64_MAX), b = submission(UINT64_MAX);
    (void)state;
    world_connected(&w, "a:1");
    ask(&w, &a);
    uint64_t have = sent(&w, LINK_BLOBS, SEND_HAVE);
    ask(&w, &b);
    assert_int_equal(w.fx.n, 0);
    status(&w, LINK_BLOBS, have, CX_OK, "");
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_OK, "");
    assert_int_equal(sends(&w), 2); /* both are submitted: what one has put the other need not */
    world_end(&w);
}

static void a_refused_blob_fails_the_submission(void **state)
{
    struct world w;
    struct call call = submission(UINT64_MAX);
    (void)state;
    world_connected(&w, "a:1");
    ask(&w, &call);
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_ENOTFOUND, "");
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_PUT), CX_ELIMIT, "too large");
    assert_int_equal(call.code, CX_ELIMIT);
    assert_non_null(strstr(call.text, "too large"));
    assert_null(find(&w, CLIENT_FX_HANGUP, LINK_BLOBS));
    world_end(&w);
}

/* Its data belongs to a caller that is about to return. */
static void a_put_that_runs_out_of_time_is_cut_off(void **state)
{
    struct world w;
    (void)state;
    world_connected(&w, "a:1");
    struct call call = submission(w.now + 1000);
    ask(&w, &call);
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_ENOTFOUND, "");
    tick_at(&w, w.now + 1000);
    assert_true(call.done && call.code == CX_ETIMEOUT);
    assert_true(w.fx.n == 2 && w.fx.fx[0].kind == CLIENT_FX_HANGUP && w.fx.fx[1].kind == CLIENT_FX_DONE);
    world_end(&w);
}

static void a_full_server_is_asked_again_until_the_time_is_up(void **state)
{
    struct world w;
    (void)state;
    world_connected(&w, "a:1");
    struct call call = {.kind = CALL_SUBMIT, .deadline_us = w.now + 10 * CLIENT_FULL_WAIT, .id = {3, 4}};
    ask(&w, &call);
    for (int i = 0; i < 9; i++) {
        status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_SUBMIT), CX_EFULL, "the budget is spent");
        assert_false(call.done);
        assert_int_equal(sends(&w), 0);
        tick_at(&w, client_due(w.c));
    }
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_SUBMIT), CX_EFULL, "the budget is spent");
    tick_at(&w, call.deadline_us);
    assert_int_equal(call.code, CX_EFULL);
    assert_string_equal(call.text, "the budget is spent");
    world_end(&w);
}

/* ---- Jobs ---- */

static void a_wait_is_over_when_the_result_comes(void **state)
{
    struct world w;
    struct client_job job = {.id = {5, 6}};
    struct call call = about(&job, CALL_WAIT, UINT64_MAX), again = about(&job, CALL_WAIT, UINT64_MAX);
    (void)state;
    world_connected(&w, "a:1");
    ask(&w, &call);
    uint64_t req = sent(&w, LINK_TASKS, SEND_WATCH);
    progress(&w, req, 10);
    assert_false(call.done);
    result(&w, req, 1, "value", "");
    assert_true(call.done && call.code == 0 && job.ended && job.state == 1);
    assert_memory_equal(job.value.data, "value", 5);
    ask(&w, &again); /* answered without a question */
    assert_true(again.done);
    assert_int_equal(sends(&w), 0);
    buf_free(&job.value);
    world_end(&w);
}

static void a_watch_is_made_again_over_the_next_link(void **state)
{
    struct world w;
    struct client_job job = {.id = {5, 6}};
    struct call call = about(&job, CALL_WAIT, UINT64_MAX);
    (void)state;
    world_connected(&w, "a:1");
    ask(&w, &call);
    uint64_t old = sent(&w, LINK_TASKS, SEND_WATCH);
    closed(&w, LINK_TASKS, CX_ENONET, "reset");
    tick_at(&w, client_due(w.c));
    welcome(&w);
    uint64_t new = sent(&w, LINK_TASKS, SEND_WATCH);
    result(&w, old, 1, "late", ""); /* of a link that is gone: cannot be, and must not matter */
    assert_false(call.done);
    result(&w, new, 2, "", "it failed");
    assert_true(call.done && job.state == 2);
    assert_string_equal(job.reason, "it failed");
    buf_free(&job.value);
    world_end(&w);
}

static void progress_must_be_of_the_present_link(void **state)
{
    struct world w;
    struct client_job job = {.id = {5, 6}};
    struct call a = about(&job, CALL_PROGRESS, UINT64_MAX), b = a, c = a;
    (void)state;
    world_connected(&w, "a:1");
    ask(&w, &a);
    uint64_t req = sent(&w, LINK_TASKS, SEND_WATCH);
    progress(&w, req, 10);
    assert_true(a.done && job.progress.executed == 10);
    ask(&w, &b);
    assert_true(b.done); /* the watch goes on and is fresh */
    closed(&w, LINK_TASKS, CX_ENONET, "reset");
    ask(&w, &c);
    assert_false(c.done);
    tick_at(&w, client_due(w.c));
    welcome(&w);
    progress(&w, sent(&w, LINK_TASKS, SEND_WATCH), 12);
    assert_true(c.done && job.progress.executed == 12);
    world_end(&w);
}

static void a_watch_refused_is_told_and_may_be_asked_again(void **state)
{
    struct world w;
    struct client_job job = {.id = {5, 6}};
    struct call a = about(&job, CALL_WAIT, UINT64_MAX), b = a;
    (void)state;
    world_connected(&w, "a:1");
    ask(&w, &a);
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_WATCH), CX_ENOTFOUND, "no such job");
    assert_true(a.done && a.code == CX_ENOTFOUND);
    ask(&w, &b);
    result(&w, sent(&w, LINK_TASKS, SEND_WATCH), 1, "v", "");
    assert_true(b.done && b.code == 0);
    buf_free(&job.value);
    world_end(&w);
}

static void a_dropped_job_is_watched_no_more(void **state)
{
    struct world w;
    struct client_job job = {.id = {5, 6}};
    (void)state;
    world_connected(&w, "a:1");
    struct call call = about(&job, CALL_WAIT, w.now + 10);
    ask(&w, &call);
    uint64_t req = sent(&w, LINK_TASKS, SEND_WATCH);
    tick_at(&w, w.now + 10);
    assert_int_equal(call.code, CX_ETIMEOUT);
    step(&w, (struct client_event){.kind = CLIENT_JOB_DROP, .job = &job});
    sent(&w, LINK_TASKS, SEND_UNWATCH);
    result(&w, req, 1, "v", ""); /* may cross the drop */
    assert_false(job.ended);
    closed(&w, LINK_TASKS, CX_ENONET, "reset");
    tick_at(&w, w.now + 10000000);
    assert_int_equal(w.fx.n, 0); /* nobody needs the network */
    world_end(&w);
}

/* ---- Brokers ---- */

static void offer(struct world *w, uint64_t req, const char *address)
{
    step(w, (struct client_event){.kind = CLIENT_OFFER,
                                  .link = LINK_BROKER,
                                  .req = req,
                                  .address = bytes_str(address),
                                  .network = bytes_str("net")});
}

static void a_broker_is_asked_and_its_offers_tried(void **state)
{
    struct world w;
    struct call call = simple(CALL_LIST, UINT64_MAX);
    (void)state;
    world_start(&w, "broker:b:9");
    ask(&w, &call);
    assert_string_equal(dialled(&w, LINK_BROKER), "b:9");
    uint64_t req = sent(&w, LINK_BROKER, SEND_MATCH);
    offer(&w, req, "s:1");
    offer(&w, req, "s:2");
    assert_null(find(&w, CLIENT_FX_DIAL, LINK_TASKS));
    status(&w, LINK_BROKER, req, CX_OK, "");
    assert_string_equal(dialled(&w, LINK_TASKS), "s:1");
    closed(&w, LINK_TASKS, CX_ENONET, "refused");
    assert_string_equal(dialled(&w, LINK_TASKS), "s:2");
    welcome(&w);
    sent(&w, LINK_TASKS, SEND_LIST);
    assert_string_equal(client_network(w.c), "net");
    world_end(&w);
}

/* Jobs stay where they are, so a client that has been at a network asks the broker for that one. */
static void a_client_stays_with_its_network(void **state)
{
    struct world w;
    struct call call = simple(CALL_LIST, UINT64_MAX);
    (void)state;
    world_start(&w, "broker:b:9");
    ask(&w, &call);
    uint64_t req = sent(&w, LINK_BROKER, SEND_MATCH);
    assert_string_equal(find(&w, CLIENT_FX_SEND, LINK_BROKER)->address, "");
    offer(&w, req, "s:1");
    status(&w, LINK_BROKER, req, CX_OK, "");
    welcome(&w);
    closed(&w, LINK_TASKS, CX_ENONET, "reset");
    tick_at(&w, client_due(w.c));
    sent(&w, LINK_BROKER, SEND_MATCH);
    assert_string_equal(find(&w, CLIENT_FX_SEND, LINK_BROKER)->address, "net");
    world_end(&w);
}

static void a_broker_without_offers_is_asked_again(void **state)
{
    struct world w;
    struct call call = simple(CALL_LIST, UINT64_MAX);
    (void)state;
    world_start(&w, "broker:b:9/mine");
    ask(&w, &call);
    status(&w, LINK_BROKER, sent(&w, LINK_BROKER, SEND_MATCH), CX_ENOTFOUND, "nobody registered");
    assert_false(call.done);
    tick_at(&w, client_due(w.c));
    sent(&w, LINK_BROKER, SEND_MATCH);
    tick_at(&w, w.now + GRACE);
    assert_int_equal(call.code, CX_ENONET);
    assert_non_null(strstr(call.text, "nobody registered"));
    assert_non_null(strstr(call.text, "mine"));
    world_end(&w);
}

static void a_lost_broker_is_dialled_again(void **state)
{
    struct world w;
    struct call call = simple(CALL_NETWORKS, UINT64_MAX);
    (void)state;
    world_start(&w, "broker:b:9");
    ask(&w, &call);
    sent(&w, LINK_BROKER, SEND_LIST);
    closed(&w, LINK_BROKER, CX_ENONET, "reset");
    assert_false(call.done);
    tick_at(&w, client_due(w.c));
    assert_string_equal(dialled(&w, LINK_BROKER), "b:9");
    status(&w, LINK_BROKER, sent(&w, LINK_BROKER, SEND_LIST), CX_OK, "");
    assert_true(call.done && call.code == 0);
    world_end(&w);
}

static void networks_are_a_brokers_to_list(void **state)
{
    struct world w;
    struct call call = simple(CALL_NETWORKS, UINT64_MAX);
    (void)state;
    world_start(&w, "a:1");
    ask(&w, &call);
    assert_int_equal(call.code, CX_EINVAL);
    world_end(&w);
}

/* ---- Pairs ---- */

#define NOT_PRIMARY "not the primary of shard s1"

/* The shard that the last step's Hello asked for. */
static uint64_t asked_for(const struct world *w)
{
    for (size_t i = 0; i < w->fx.n; i++)
        if (w->fx.fx[i].kind == CLIENT_FX_SEND && w->fx.fx[i].message == SEND_HELLO)
            return w->fx.fx[i].id.lo;
    fail_msg("no Hello was sent");
    return 0;
}

static void expect_dial(const struct world *w, const char *address, uint64_t shard)
{
    assert_string_equal(dialled(w, LINK_TASKS), address);
    assert_int_equal(asked_for(w), shard);
}

/* Connected to a:1, which is primary of shard 7; its sibling is b:2. */
static void world_paired(struct world *w)
{
    struct call call = simple(CALL_LIST, UINT64_MAX);
    world_start(w, "a:1");
    ask(w, &call);
    expect_dial(w, "a:1", 0);
    welcome_of(w, 7, "a:1,b:2");
    status(w, LINK_TASKS, sent(w, LINK_TASKS, SEND_LIST), CX_OK, "");
    assert_true(call.done);
}

static void world_submitted(struct world *w)
{
    struct call call = {.kind = CALL_SUBMIT, .deadline_us = UINT64_MAX, .id = {5, 6}};
    world_paired(w);
    ask(w, &call);
    status(w, LINK_TASKS, sent(w, LINK_TASKS, SEND_SUBMIT), CX_OK, "");
    assert_true(call.done && call.code == CX_OK);
}

static void a_submission_goes_on_at_the_sibling(void **state)
{
    struct world w;
    struct call call = submission(UINT64_MAX);
    (void)state;
    world_paired(&w);
    ask(&w, &call);
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_OK, "");
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_OK, "");
    sent(&w, LINK_TASKS, SEND_SUBMIT);
    closed(&w, LINK_TASKS, CX_ENONET, "reset");
    expect_dial(&w, "b:2", 7);                      /* at once, and for no other shard */
    closed(&w, LINK_TASKS, CX_ENONET, NOT_PRIMARY); /* not yet */
    tick_at(&w, client_due(w.c));
    expect_dial(&w, "a:1", 7);
    closed(&w, LINK_TASKS, CX_ENONET, "refused");
    expect_dial(&w, "b:2", 7);
    welcome_of(&w, 7, "b:2,a:1");
    assert_string_equal(dialled(&w, LINK_BLOBS), "b:2");
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_OK, "");
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_OK, "");
    const struct client_effect *fx = find(&w, CLIENT_FX_SEND, LINK_TASKS);
    assert_true(fx->message == SEND_SUBMIT && fx->id.hi == 3 && fx->id.lo == 4);
    status(&w, LINK_TASKS, fx->req, CX_OK, "");
    assert_true(call.done && call.code == CX_OK);
    world_end(&w);
}

/* What was not sent yet may go to any shard. */
static void a_client_without_jobs_goes_anywhere(void **state)
{
    struct world w;
    struct call call = submission(UINT64_MAX);
    (void)state;
    world_paired(&w);
    ask(&w, &call);
    closed(&w, LINK_TASKS, CX_ENONET, "reset");
    expect_dial(&w, "b:2", 0);
    welcome_of(&w, 8, "b:2,a:1");
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_OK, "");
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_OK, "");
    sent(&w, LINK_TASKS, SEND_SUBMIT);
    closed(&w, LINK_TASKS, CX_ENONET, "reset"); /* whether it was taken nobody knows */
    expect_dial(&w, "a:1", 8);
    world_end(&w);
}

static void a_watch_goes_on_at_the_sibling(void **state)
{
    struct world w;
    struct client_job job = {.id = {5, 6}, .acked = true};
    struct call call = about(&job, CALL_WAIT, UINT64_MAX);
    (void)state;
    world_submitted(&w);
    ask(&w, &call);
    progress(&w, sent(&w, LINK_TASKS, SEND_WATCH), 10);
    closed(&w, LINK_TASKS, CX_ENONET, "reset");
    expect_dial(&w, "b:2", 7);
    welcome_of(&w, 7, "b:2,a:1");
    uint64_t req = sent(&w, LINK_TASKS, SEND_WATCH);
    closed(&w, LINK_TASKS, CX_ENONET, "reset"); /* the result was on its way */
    expect_dial(&w, "a:1", 7);
    result(&w, req, 1, "late", "");
    assert_false(call.done);
    welcome_of(&w, 7, "a:1,b:2");
    result(&w, sent(&w, LINK_TASKS, SEND_WATCH), 1, "value", "");
    assert_true(call.done && call.code == 0);
    assert_memory_equal(job.value.data, "value", 5);
    buf_free(&job.value);
    world_end(&w);
}

/* A stream may outlast the server's office for a moment. */
static void a_refused_request_is_asked_at_the_sibling(void **state)
{
    struct world w;
    struct call call = simple(CALL_CANCEL, UINT64_MAX);
    (void)state;
    world_submitted(&w);
    ask(&w, &call);
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_CANCEL), CX_ENONET, NOT_PRIMARY);
    assert_false(call.done);
    assert_non_null(find(&w, CLIENT_FX_HANGUP, LINK_TASKS));
    expect_dial(&w, "b:2", 7);
    welcome_of(&w, 7, "b:2,a:1");
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_CANCEL), CX_OK, "");
    assert_true(call.done && call.code == CX_OK);
    world_end(&w);
}

static void another_shard_is_not_taken(void **state)
{
    struct world w;
    struct client_job job = {.id = {5, 6}, .acked = true};
    struct call call = about(&job, CALL_WAIT, UINT64_MAX);
    (void)state;
    world_submitted(&w);
    ask(&w, &call);
    closed(&w, LINK_TASKS, CX_ENONET, "reset");
    welcome_of(&w, 8, "b:2,a:1"); /* it does not heed what Hello asked */
    assert_non_null(find(&w, CLIENT_FX_HANGUP, LINK_TASKS));
    assert_int_equal(sends(&w), 0);
    tick_at(&w, client_due(w.c));
    expect_dial(&w, "a:1", 7);
    world_end(&w);
}

static void a_server_that_serves_nothing_is_left(void **state)
{
    struct world w;
    struct call call = simple(CALL_LIST, UINT64_MAX);
    (void)state;
    world_start(&w, "a:1,b:2");
    ask(&w, &call);
    welcome_of(&w, 0, "a:1,b:2");
    expect_dial(&w, "b:2", 0);
    welcome_of(&w, 8, "b:2,a:1");
    sent(&w, LINK_TASKS, SEND_LIST);
    world_end(&w);
}

static void both_down_for_a_while_is_waited_out(void **state)
{
    struct world w;
    struct client_job job = {.id = {5, 6}, .acked = true};
    struct call call = about(&job, CALL_WAIT, UINT64_MAX);
    (void)state;
    world_submitted(&w);
    ask(&w, &call);
    closed(&w, LINK_TASKS, CX_ENONET, "reset");
    for (int i = 0; i < 40; i++) {
        closed(&w, LINK_TASKS, CX_ENONET, i % 2 != 0 ? NOT_PRIMARY : "refused");
        if (find(&w, CLIENT_FX_DIAL, LINK_TASKS) == NULL) {
            assert_true(client_due(w.c) - w.now <= CLIENT_LIVE_MAX);
            tick_at(&w, client_due(w.c));
        }
        assert_non_null(find(&w, CLIENT_FX_DIAL, LINK_TASKS));
        assert_false(call.done);
    }
    welcome_of(&w, 7, "b:2,a:1");
    result(&w, sent(&w, LINK_TASKS, SEND_WATCH), 1, "value", "");
    assert_true(call.done && call.code == 0);
    buf_free(&job.value);
    world_end(&w);
}

/* A machine without power answers nothing, not even a refusal. */
static void a_silent_address_does_not_hold_up_the_other(void **state)
{
    struct world w;
    struct call call = simple(CALL_CANCEL, UINT64_MAX);
    (void)state;
    world_submitted(&w);
    ask(&w, &call);
    closed(&w, LINK_TASKS, CX_ENONET, "reset");
    expect_dial(&w, "b:2", 7);
    closed(&w, LINK_TASKS, CX_ENONET, "refused");
    tick_at(&w, client_due(w.c));
    expect_dial(&w, "a:1", 7);
    tick_at(&w, client_due(w.c));
    assert_non_null(find(&w, CLIENT_FX_HANGUP, LINK_TASKS));
    expect_dial(&w, "b:2", 7);
    world_end(&w);
}

static void one_servers_no_is_checked_with_the_other(void **state)
{
    struct world w;
    struct call call = simple(CALL_WHY, UINT64_MAX);
    (void)state;
    world_paired(&w);
    ask(&w, &call);
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_WHY), CX_ENOTFOUND, "no such job");
    assert_false(call.done);
    expect_dial(&w, "b:2", 7);
    closed(&w, LINK_TASKS, CX_ENONET, NOT_PRIMARY);
    assert_true(call.done && call.code == CX_ENOTFOUND);
    world_end(&w);
}

/* a:1 was overtaken and has not heard of it. */
static void the_overtaken_are_not_believed(void **state)
{
    struct world w;
    struct client_job job = {.id = {5, 6}, .acked = true};
    struct call call = about(&job, CALL_WAIT, UINT64_MAX);
    (void)state;
    world_submitted(&w);
    ask(&w, &call);
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_WATCH), CX_ENOTFOUND, "no such job");
    for (int i = 0; i < 5; i++) { /* the other one cannot be reached */
        assert_false(call.done);
        expect_dial(&w, "b:2", 7);
        closed(&w, LINK_TASKS, CX_ENONET, "refused");
        assert_false(call.done);
        tick_at(&w, client_due(w.c));
        expect_dial(&w, "a:1", 7);
        welcome_of(&w, 7, "a:1,b:2");
        status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_WATCH), CX_ENOTFOUND, "no such job");
    }
    expect_dial(&w, "b:2", 7);
    welcome_of(&w, 7, "b:2,a:1");
    result(&w, sent(&w, LINK_TASKS, SEND_WATCH), 1, "value", "");
    assert_true(call.done && call.code == 0);
    buf_free(&job.value);
    world_end(&w);
}

static void what_both_say_is_believed(void **state)
{
    struct world w;
    struct client_job job = {.id = {5, 6}, .acked = true};
    struct call call = about(&job, CALL_WAIT, UINT64_MAX), again = call;
    (void)state;
    world_submitted(&w);
    ask(&w, &call);
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_WATCH), CX_ENOTFOUND, "no such job");
    welcome_of(&w, 7, "b:2,a:1");
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_WATCH), CX_ENOTFOUND, "no such job");
    assert_true(call.done && call.code == CX_ENOTFOUND);
    ask(&w, &again); /* and may be asked again */
    sent(&w, LINK_TASKS, SEND_WATCH);
    world_end(&w);
}

/* Of a job that somebody else submitted an unreachable server is not waited for. */
static void a_stranger_is_unknown_when_all_who_can_say_so(void **state)
{
    struct world w;
    struct client_job job = {.id = {8, 9}};
    struct call call = about(&job, CALL_WAIT, UINT64_MAX);
    (void)state;
    world_paired(&w);
    ask(&w, &call);
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_WATCH), CX_ENOTFOUND, "no such job");
    expect_dial(&w, "b:2", 7);
    closed(&w, LINK_TASKS, CX_ENONET, "refused");
    assert_true(call.done && call.code == CX_ENOTFOUND);
    world_end(&w);
}

/* Whoever is in the middle of sending is not cut off for another's doubt. */
static void a_doubt_waits_for_what_is_under_way(void **state)
{
    struct world w;
    struct call put = submission(UINT64_MAX), why = simple(CALL_WHY, UINT64_MAX);
    (void)state;
    world_paired(&w);
    ask(&w, &put);
    uint64_t have = sent(&w, LINK_BLOBS, SEND_HAVE);
    ask(&w, &why);
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_WHY), CX_ENOTFOUND, "no such job");
    assert_int_equal(w.fx.n, 0);
    status(&w, LINK_BLOBS, have, CX_OK, "");
    status(&w, LINK_BLOBS, sent(&w, LINK_BLOBS, SEND_HAVE), CX_OK, "");
    status(&w, LINK_TASKS, sent(&w, LINK_TASKS, SEND_SUBMIT), CX_OK, "");
    assert_true(put.done);
    expect_dial(&w, "b:2", 7);
    world_end(&w);
}

static void a_client_for_one_shard_asks_for_it_from_the_start(void **state)
{
    struct client_config config = {.address = "a:1,b:2", .seed = 7, .grace_us = GRACE, .shard = {0, 9}};
    struct world w = {.c = client_new(&config), .now = 1000000};
    struct call call = simple(CALL_LIST, UINT64_MAX);
    (void)state;
    ask(&w, &call);
    expect_dial(&w, "a:1", 9);
    closed(&w, LINK_TASKS, CX_ENONET, NOT_PRIMARY);
    expect_dial(&w, "b:2", 9);
    welcome_of(&w, 9, "b:2,a:1");
    sent(&w, LINK_TASKS, SEND_LIST);
    world_end(&w);
}

static void a_client_for_a_server_takes_what_it_serves(void **state)
{
    struct client_config config = {.address = "a:1", .seed = 7, .grace_us = GRACE, .any = true};
    struct world w = {.c = client_new(&config), .now = 1000000};
    struct call call = simple(CALL_LIST, UINT64_MAX);
    (void)state;
    ask(&w, &call);
    expect_dial(&w, "a:1", 0);
    welcome_of(&w, 0, "a:1,b:2");
    sent(&w, LINK_TASKS, SEND_LIST);
    world_end(&w);
}

/* Offers are pairs, and the other one's address is known with the first. */
static void offers_may_be_lists(void **state)
{
    struct world w;
    struct call call = simple(CALL_LIST, UINT64_MAX);
    (void)state;
    world_start(&w, "broker:b:9");
    ask(&w, &call);
    uint64_t req = sent(&w, LINK_BROKER, SEND_MATCH);
    offer(&w, req, "s:1,s:2");
    offer(&w, req, "s:2,s:1");
    offer(&w, req, "s:3,s:4");
    status(&w, LINK_BROKER, req, CX_OK, "");
    expect_dial(&w, "s:1", 0);
    closed(&w, LINK_TASKS, CX_ENONET, "refused");
    expect_dial(&w, "s:2", 0);
    closed(&w, LINK_TASKS, CX_ENONET, "refused");
    expect_dial(&w, "s:3", 0);
    assert_string_equal(client_address(w.c, 3), "s:4");
    assert_null(client_address(w.c, 4));
    world_end(&w);
}

/* P6: the broker introduces; who has jobs somewhere goes on without it. */
static void a_pair_fails_over_without_the_broker(void **state)
{
    struct world w;
    struct call call = {.kind = CALL_SUBMIT, .deadline_us = UINT64_MAX, .id = {5, 6}};
    (void)state;
    world_start(&w, "broker:b:9");
    ask(&w, &call);
    uint64_t req = sent(&w, LINK_BROKER, SEND_MATCH);
    offer(&w, req, "s:1,s:2");
    offer(&w, req, "s:3,s:4");
    status(&w, LINK_BROKER, req, CX_OK, "");
    welcome_of(&w, 7, "s:1,s:2");
    sent(&w, LINK_TASKS, SEND_SUBMIT);
    closed(&w, LINK_BROKER, CX_ENONET, "reset");
    closed(&w, LINK_TASKS, CX_ENONET, "reset");
    expect_dial(&w, "s:2", 7);
    closed(&w, LINK_TASKS, CX_ENONET, NOT_PRIMARY);
    assert_null(find(&w, CLIENT_FX_DIAL, LINK_TASKS)); /* not s:3: it does not have our shard */
    tick_at(&w, client_due(w.c));
    if (find(&w, CLIENT_FX_DIAL, LINK_TASKS) == NULL) /* that was the broker's turn */
        tick_at(&w, client_due(w.c));
    expect_dial(&w, "s:1", 7);
    world_end(&w);
}

/* ---- Whatever comes, in whatever order ---- */

struct storm {
    struct world w;
    uint64_t random;
    struct call call[12];
    struct client_job job[3];
};

static uint64_t draw(struct storm *s)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return s->random;
}

static void storm_ask(struct storm *s)
{
    struct call *call = &s->call[draw(s) % 12];
    bool busy = !call->done && call->deadline_us != 0;
    enum call_kind kind = (enum call_kind)(draw(s) % CALL_KINDS);
    if (busy)
        return;
    buf_free(&call->out);
    *call = (struct call){.kind = kind, .deadline_us = s->w.now + draw(s) % 2000000 + 1, .id = {1, draw(s)}};
    if (kind == CALL_WAIT || kind == CALL_PROGRESS)
        call->job = &s->job[draw(s) % 3];
    if (kind == CALL_SUBMIT) {
        call->blob = two_blobs;
        call->blobs = 2;
    }
    ask(&s->w, call);
}

static void storm_event(struct storm *s)
{
    static const int codes[] = {0, 0, 0, CX_ENOTFOUND, CX_EFULL, CX_EAUTH, CX_ENONET, CX_EPROTO};
    struct client_progress p = {.executed = draw(s)};
    struct client_event e = {.kind = (enum client_event_kind)(draw(s) % (CLIENT_CLOSED + 1)),
                             .link = (enum client_link)(draw(s) % LINKS),
                             .req = draw(s) % 4 == 0 ? draw(s) % 4 : s->random % 400,
                             .code = codes[draw(s) % 8],
                             .text = bytes_str("text"),
                             .data = bytes_str("data"),
                             .address = bytes_str(draw(s) % 2 != 0 ? "x:1" : "x:1,y:2"),
                             .shard = {0, draw(s) % 3},
                             .network = bytes_str("net"),
                             .state = (uint32_t)(draw(s) % 3 + 1),
                             .progress = draw(s) % 2 != 0 ? &p : NULL};
    if (e.kind == CLIENT_CALL || e.kind == CLIENT_JOB_DROP)
        e.kind = CLIENT_TICK;
    s->w.now += draw(s) % 100000;
    step(&s->w, e);
}

static void storms_break_nothing(void **state)
{
    static const char *const addresses[] = {"a:1", "a:1,b:2", "broker:b:9"};
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        static struct storm s;
        memset(&s, 0, sizeof s);
        s.random = seed * 0x9e3779b97f4a7c15u;
        world_start(&s.w, addresses[seed % 3]);
        for (int i = 0; i < 3; i++)
            s.job[i].id = (struct id){9, (uint64_t)i};
        for (int i = 0; i < 3000; i++)
            draw(&s) % 3 == 0 ? storm_ask(&s) : storm_event(&s);
        tick_at(&s.w, s.w.now + 100000000); /* every question has had its time */
        for (int i = 0; i < 12; i++) {
            assert_true(s.call[i].done || s.call[i].deadline_us == 0);
            buf_free(&s.call[i].out);
        }
        for (int i = 0; i < 3; i++)
            buf_free(&s.job[i].value);
        world_end(&s.w);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_checked),
        cmocka_unit_test(nothing_is_dialled_before_it_is_needed),
        cmocka_unit_test(pauses_grow_and_stay_bounded),
        cmocka_unit_test(two_clients_do_not_come_back_together),
        cmocka_unit_test(every_address_is_tried_in_order),
        cmocka_unit_test(a_network_never_reached_is_told_after_a_grace),
        cmocka_unit_test(waiting_in_slices_gives_the_network_its_time),
        cmocka_unit_test(a_network_once_reached_is_waited_for),
        cmocka_unit_test(a_refusal_is_final),
        cmocka_unit_test(answers_find_their_questions),
        cmocka_unit_test(rows_are_collected_once),
        cmocka_unit_test(a_question_without_answer_ends_in_time),
        cmocka_unit_test(forgetting_twice_is_forgetting),
        cmocka_unit_test(a_submission_asks_sends_and_submits),
        cmocka_unit_test(what_the_server_has_is_not_asked_again),
        cmocka_unit_test(a_submission_survives_each_lost_link),
        cmocka_unit_test(a_lost_blob_link_is_made_again),
        cmocka_unit_test(submissions_use_the_blob_link_in_turn),
        cmocka_unit_test(a_refused_blob_fails_the_submission),
        cmocka_unit_test(a_put_that_runs_out_of_time_is_cut_off),
        cmocka_unit_test(a_full_server_is_asked_again_until_the_time_is_up),
        cmocka_unit_test(a_wait_is_over_when_the_result_comes),
        cmocka_unit_test(a_watch_is_made_again_over_the_next_link),
        cmocka_unit_test(progress_must_be_of_the_present_link),
        cmocka_unit_test(a_watch_refused_is_told_and_may_be_asked_again),
        cmocka_unit_test(a_dropped_job_is_watched_no_more),
        cmocka_unit_test(a_broker_is_asked_and_its_offers_tried),
        cmocka_unit_test(a_client_stays_with_its_network),
        cmocka_unit_test(a_broker_without_offers_is_asked_again),
        cmocka_unit_test(a_lost_broker_is_dialled_again),
        cmocka_unit_test(networks_are_a_brokers_to_list),
        cmocka_unit_test(a_submission_goes_on_at_the_sibling),
        cmocka_unit_test(a_client_without_jobs_goes_anywhere),
        cmocka_unit_test(a_watch_goes_on_at_the_sibling),
        cmocka_unit_test(a_refused_request_is_asked_at_the_sibling),
        cmocka_unit_test(another_shard_is_not_taken),
        cmocka_unit_test(a_server_that_serves_nothing_is_left),
        cmocka_unit_test(both_down_for_a_while_is_waited_out),
        cmocka_unit_test(a_silent_address_does_not_hold_up_the_other),
        cmocka_unit_test(one_servers_no_is_checked_with_the_other),
        cmocka_unit_test(the_overtaken_are_not_believed),
        cmocka_unit_test(what_both_say_is_believed),
        cmocka_unit_test(a_stranger_is_unknown_when_all_who_can_say_so),
        cmocka_unit_test(a_doubt_waits_for_what_is_under_way),
        cmocka_unit_test(a_client_for_one_shard_asks_for_it_from_the_start),
        cmocka_unit_test(a_client_for_a_server_takes_what_it_serves),
        cmocka_unit_test(offers_may_be_lists),
        cmocka_unit_test(a_pair_fails_over_without_the_broker),
        cmocka_unit_test(storms_break_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
