/* The whole task server, a process of its own: jobs run, survive kill -9, and nobody's errors become others'.
 */
#include "tests/unit/taskserver_rig.h"

static struct rpc *rpc;
static struct daemon server;
static const struct id job1 = {1, 101}, job2 = {2, 102};

static int setup(void **state)
{
    (void)state;
    assert_int_equal(rpc_new(&rpc), 0);
    daemon_dir(&server);
    daemon_start(&server, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    int code = server.pid ? daemon_stop(&server, SIGTERM) : 0;
    rpc_free(rpc);
    daemon_remove(&server);
    return code;
}

static uint64_t watch(struct peer *p, const struct id *job)
{
    return peer_ask(p, cx_Msg_watch_tag, job);
}

/* ---- Jobs ---- */

static void test_job_unfolds_and_comes_back(void **state)
{
    (void)state;
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    put_module(rpc, &server);
    assert_int_equal(submit_fib(c, &job1, 10), 0);
    uint64_t w = watch(c, &job1);
    assert_non_null(peer_get(c, cx_Msg_job_row_tag, w));
    struct peer *p = producer_open(rpc, &server, 16);
    assert_int_equal(produce_until_result(p, c, w), 55);
    assert_int_equal(peer_status(c, peer_ask(c, cx_Msg_forget_tag, &job1)), 0);
    assert_int_equal(peer_status(c, peer_ask(c, cx_Msg_forget_tag, &job1)), CX_ENOTFOUND);
    assert_non_null(peer_get(p, cx_Msg_job_gone_tag, 0));
    peer_close(p);
    peer_close(c);
}

/* A producer cannot run a grant before it knows the job. */
static void test_job_info_comes_before_its_grants(void **state)
{
    (void)state;
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    struct peer *p = producer_open(rpc, &server, 16);
    put_module(rpc, &server);
    assert_int_equal(submit_fib(c, &job1, 3), 0);
    assert_int_equal(submit_fib(c, &job2, 3), 0);
    for (unsigned grants = 0; grants < 2;) {
        const cx_Msg *m = peer_get(p, cx_Msg_grants_tag, 0);
        struct reader r = reader_of(m->body.grants.records);
        struct grant g;
        while (reader_more(&r)) {
            bool known = false;
            assert_true(grant_get(&r, &g));
            for (unsigned i = 0; &p->inbox[i].m < m; i++)
                known |= p->inbox[i].m.which_body == cx_Msg_job_tag &&
                         memcmp(p->inbox[i].m.body.job.job.data, &g.job, 16) == 0;
            assert_true(known);
            grants++;
        }
    }
    peer_close(p);
    peer_close(c);
}

static void test_submit_is_idempotent(void **state)
{
    (void)state;
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    put_module(rpc, &server);
    assert_int_equal(submit_fib(c, &job1, 10), 0);
    assert_int_equal(submit_fib(c, &job1, 10), 0);
    assert_int_equal(submit_fib(c, &job1, 11), CX_EEXIST);
    peer_close(c);
}

static void test_submit_without_its_module_names_the_hash(void **state)
{
    (void)state;
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    struct peer *admin = consumer_open(rpc, &server, ROLE_ADMIN, "a1");
    char rows[1024];
    assert_int_equal(submit_fib(c, &job1, 10), CX_ENOTFOUND);
    assert_non_null(strstr(c->why, "module"));
    assert_int_equal(strspn(strstr(c->why, "module ") + 7, "0123456789abcdef"), 64);
    list_jobs(admin, rows, sizeof rows);
    assert_string_equal(rows, "");
    peer_close(admin);
    peer_close(c);
}

static void test_work_of_a_lost_producer_is_done_by_the_next(void **state)
{
    (void)state;
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    put_module(rpc, &server);
    assert_int_equal(submit_fib(c, &job1, 12), 0);
    uint64_t w = watch(c, &job1);
    struct peer *first = producer_open(rpc, &server, 16);
    for (int i = 0; i < 5; i++)
        assert_true(produce(first) > 0);
    assert_non_null(peer_get(first, cx_Msg_grants_tag, 0)); /* taken, never committed */
    rpc_close(first->stream, CX_ENONET, "crash");
    peer_wait_over(first);
    struct peer *second = producer_open(rpc, &server, 16);
    assert_int_equal(produce_until_result(second, c, w), 144);
    peer_close(first);
    peer_close(second);
    peer_close(c);
}

static void test_cancel_ends_the_job_everywhere(void **state)
{
    (void)state;
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    struct peer *p = producer_open(rpc, &server, 4);
    put_module(rpc, &server);
    assert_int_equal(submit_fib(c, &job1, 12), 0);
    uint64_t w = watch(c, &job1);
    assert_true(produce(p) > 0);
    assert_int_equal(peer_status(c, peer_ask(c, cx_Msg_cancel_tag, &job1)), 0);
    const cx_Msg *result = peer_get(c, cx_Msg_result_tag, w);
    assert_int_equal(result->body.result.state, 3);
    assert_true(result->body.result.reason.len > 0);
    assert_non_null(peer_get(p, cx_Msg_job_gone_tag, 0));
    peer_close(p);
    peer_close(c);
}

/* A failure's message is bytes of a stranger: it arrives as text, and kills nobody. */
static void test_failure_text_that_is_no_text(void **state)
{
    (void)state;
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    struct peer *p = producer_open(rpc, &server, 4);
    put_module(rpc, &server);
    assert_int_equal(submit_fib(c, &job1, 12), 0);
    uint64_t w = watch(c, &job1);
    struct reader r = reader_of(peer_get(p, cx_Msg_grants_tag, 0)->body.grants.records);
    struct grant g;
    struct buf body = {0}, batch = {0};
    assert_true(grant_get(&r, &g));
    put_fail(&body, bytes_of("\xff\x00\xc3(disk on fire)\xe2\x82", 20));
    commit_put(&batch, &(struct commit){.kind = COMMIT_DONE,
                                        .job = g.job,
                                        .task = g.task,
                                        .hash = g.hash,
                                        .executed = 1,
                                        .body = buf_bytes(&body)});
    cx_Msg m = {.which_body = cx_Msg_commits_tag};
    m.body.commits.records = buf_bytes(&batch);
    peer_send(p, &m);
    const cx_Msg *result = peer_get(c, cx_Msg_result_tag, w);
    char reason[512];
    assert_int_equal(result->body.result.state, 2);
    msg_str(reason, sizeof reason, result->body.result.reason);
    assert_non_null(strstr(reason, "disk on fire"));
    assert_non_null(strstr(reason, "fib"));
    buf_free(&body);
    buf_free(&batch);
    peer_close(p);
    peer_close(c);
}

/* ---- Who may ---- */

static void test_jobs_of_others_are_not_theirs(void **state)
{
    (void)state;
    struct peer *mine = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    struct peer *other = consumer_open(rpc, &server, ROLE_CONSUMER, "c2");
    struct peer *admin = consumer_open(rpc, &server, ROLE_ADMIN, "a1");
    char before[1024], after[1024];
    put_module(rpc, &server);
    assert_int_equal(submit_fib(mine, &job1, 10), 0);
    list_jobs(admin, before, sizeof before);
    static const unsigned kinds[] = {cx_Msg_cancel_tag, cx_Msg_watch_tag, cx_Msg_forget_tag, cx_Msg_why_tag};
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(peer_status(other, peer_ask(other, kinds[i], &job1)), CX_EAUTH);
    list_jobs(other, after, sizeof after);
    assert_string_equal(after, "");
    list_jobs(admin, after, sizeof after);
    assert_string_equal(before, after);
    assert_non_null(strstr(after, "a fib c1 state 0"));
    assert_int_equal(peer_status(admin, peer_ask(admin, cx_Msg_why_tag, &job1)), 0);
    assert_int_equal(peer_status(admin, peer_ask(admin, cx_Msg_cancel_tag, &job1)), 0);
    peer_close(admin);
    peer_close(other);
    peer_close(mine);
}

static void test_listings(void **state)
{
    (void)state;
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    struct peer *p = producer_open(rpc, &server, 4);
    cx_Msg m = {.req = 1, .which_body = cx_Msg_list_tag};
    m.body.list.what = 2;
    peer_send(c, &m);
    assert_int_equal(peer_status(c, 1), 0);
    const cx_Msg *row = peer_get(c, cx_Msg_producer_row_tag, 1);
    assert_true(bytes_equal(row->body.producer_row.name, bytes_str("p1")));
    m.req = 2;
    m.body.list.what = 3;
    peer_send(c, &m);
    assert_int_equal(peer_status(c, 2), 0);
    row = peer_get(c, cx_Msg_server_row_tag, 2);
    assert_true(bytes_equal(row->body.server_row.network, bytes_str("testnet")));
    assert_int_equal(row->body.server_row.producers, 1);
    assert_true(row->body.server_row.journal);
    m.req = 3;
    m.body.list.what = 4;
    peer_send(c, &m);
    assert_int_equal(peer_status(c, 3), CX_EINVAL);
    peer_close(p);
    peer_close(c);
}

/* ---- Restarts ---- */

static void test_kill_and_restart_finishes_the_job(void **state)
{
    (void)state;
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    put_module(rpc, &server);
    assert_int_equal(submit_fib(c, &job1, 14), 0);
    struct peer *p = producer_open(rpc, &server, 16);
    for (int i = 0; i < 20; i++)
        assert_true(produce(p) > 0);
    assert_int_equal(daemon_stop(&server, SIGKILL), 128 + SIGKILL);
    peer_wait_over(p);
    peer_wait_over(c);
    peer_close(p);
    peer_close(c);
    daemon_start(&server, NULL);
    c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    assert_int_equal(submit_fib(c, &job1, 14), 0); /* the same job, not a second one */
    uint64_t w = watch(c, &job1);
    p = producer_open(rpc, &server, 16);
    assert_int_equal(produce_until_result(p, c, w), 377);
    peer_close(p);
    peer_close(c);
}

/* Killed again and again, at whatever point; each acknowledged job is there each time. */
static void test_kills_at_any_point_lose_nothing_acknowledged(void **state)
{
    (void)state;
    struct id job = {7, 0};
    int64_t answer = 0;
    for (int round = 0; round < 6; round++) {
        struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
        put_module(rpc, &server);
        job.lo++;
        assert_int_equal(submit_fib(c, &job, 10), 0);
        struct peer *p = producer_open(rpc, &server, 8);
        for (int i = 0; i < round * 3; i++)
            produce(p);
        assert_int_equal(daemon_stop(&server, SIGKILL), 128 + SIGKILL);
        peer_close(p);
        peer_close(c);
        daemon_start(&server, NULL);
    }
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    struct peer *p = producer_open(rpc, &server, 8);
    for (; job.lo > 0; job.lo--) {
        answer = produce_until_result(p, c, watch(c, &job));
        assert_int_equal(answer, 55);
    }
    peer_close(p);
    peer_close(c);
}

/* A result that was delivered is there after a restart too, until it is forgotten. */
static void test_result_waits_to_be_fetched(void **state)
{
    (void)state;
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    struct peer *p = producer_open(rpc, &server, 8);
    put_module(rpc, &server);
    assert_int_equal(submit_fib(c, &job1, 8), 0);
    assert_int_equal(produce_until_result(p, c, watch(c, &job1)), 21);
    assert_int_equal(daemon_stop(&server, SIGKILL), 128 + SIGKILL);
    peer_close(p);
    peer_close(c);
    daemon_start(&server, NULL);
    c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    const cx_Msg *m = peer_get(c, cx_Msg_result_tag, watch(c, &job1));
    struct reader r = reader_of(m->body.result.value);
    assert_int_equal(get_value(&r).as.i64, 21);
    peer_close(c);
}

static void test_incarnation_is_the_disk_s(void **state)
{
    (void)state;
    uint64_t seen[3];
    for (int i = 0; i < 3; i++) {
        struct peer *c = peer_dial(rpc, &server, ROLE_CONSUMER, "c1", "/cx.TaskServer/Consume");
        peer_hello(c, PROTOCOL_VERSION, 0);
        const cx_Msg *m = peer_get(c, cx_Msg_welcome_tag, 0);
        assert_true(bytes_equal(m->body.welcome.network, bytes_str("testnet")));
        seen[i] = m->body.welcome.incarnation;
        peer_close(c);
        assert_int_equal(daemon_stop(&server, SIGTERM), 0);
        if (i == 1) {
            daemon_remove(&server);
            daemon_dir(&server);
        }
        daemon_start(&server, NULL);
    }
    assert_true(seen[0] == seen[1]);
    assert_true(seen[1] != seen[2]);
}

static void test_without_a_journal_jobs_end_with_the_server(void **state)
{
    (void)state;
    static const char *const options[] = {"--no-journal", NULL};
    assert_int_equal(daemon_stop(&server, SIGTERM), 0);
    daemon_start(&server, options);
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    struct peer *p = producer_open(rpc, &server, 8);
    put_module(rpc, &server);
    assert_int_equal(submit_fib(c, &job1, 8), 0);
    assert_int_equal(produce_until_result(p, c, watch(c, &job1)), 21);
    assert_int_equal(daemon_stop(&server, SIGTERM), 0);
    peer_close(p);
    peer_close(c);
    daemon_start(&server, options);
    c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    assert_int_equal(peer_status(c, watch(c, &job1)), CX_ENOTFOUND);
    peer_close(c);
}

static void test_term_says_good_bye(void **state)
{
    (void)state;
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    assert_int_equal(daemon_stop(&server, SIGTERM), 0);
    peer_wait_over(c);
    assert_int_equal(c->code, CX_ENONET);
    assert_non_null(strstr(c->why, "stopping"));
    peer_close(c);
}

static void test_second_server_on_the_same_state_is_refused(void **state)
{
    (void)state;
    assert_int_not_equal(exit_code(daemon_spawn(&server, -1, NULL)), 0);
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1"); /* the first goes on */
    peer_close(c);
}

static void test_damaged_journal_is_refused_and_kept(void **state)
{
    (void)state;
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    put_module(rpc, &server);
    assert_int_equal(submit_fib(c, &job1, 8), 0);
    assert_int_equal(submit_fib(c, &job2, 8), 0);
    peer_close(c);
    assert_int_equal(daemon_stop(&server, SIGTERM), 0);
    char path[128];
    snprintf(path, sizeof path, "%s/journal", server.state);
    int fd = open(path, O_RDWR);
    off_t size = lseek(fd, 0, SEEK_END);
    assert_int_equal(pwrite(fd, "X", 1, 90), 1);
    assert_int_not_equal(exit_code(daemon_spawn(&server, -1, NULL)), 0);
    assert_int_equal(lseek(fd, 0, SEEK_END), size);
    close(fd);
}

#define SERVER_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER_TEST(test_job_unfolds_and_comes_back),
        SERVER_TEST(test_job_info_comes_before_its_grants),
        SERVER_TEST(test_submit_is_idempotent),
        SERVER_TEST(test_submit_without_its_module_names_the_hash),
        SERVER_TEST(test_work_of_a_lost_producer_is_done_by_the_next),
        SERVER_TEST(test_cancel_ends_the_job_everywhere),
        SERVER_TEST(test_failure_text_that_is_no_text),
        SERVER_TEST(test_jobs_of_others_are_not_theirs),
        SERVER_TEST(test_listings),
        SERVER_TEST(test_kill_and_restart_finishes_the_job),
        SERVER_TEST(test_kills_at_any_point_lose_nothing_acknowledged),
        SERVER_TEST(test_result_waits_to_be_fetched),
        SERVER_TEST(test_incarnation_is_the_disk_s),
        SERVER_TEST(test_without_a_journal_jobs_end_with_the_server),
        SERVER_TEST(test_term_says_good_bye),
        SERVER_TEST(test_second_server_on_the_same_state_is_refused),
        SERVER_TEST(test_damaged_journal_is_refused_and_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
