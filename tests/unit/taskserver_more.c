/* The task server beside a broker, with a journal that is compacted while jobs run, and with little memory.
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

/* ---- A broker, played by the test ---- */

static struct peer *caller; /* the server's stream, once it has called */

static int broker_accept(void *service, struct rpc_stream *s, const struct identity *who, void **ctx,
                         char *why)
{
    (void)service;
    (void)why;
    assert_int_equal(who->role, ROLE_SERVER);
    caller = calloc(1, sizeof *caller);
    caller->rpc = rpc;
    caller->stream = s;
    *ctx = caller;
    return 0;
}

static const cx_Msg *next_call(uint64_t req)
{
    uint64_t deadline = clock_us() + 30000000;
    while (!caller) {
        assert_true(clock_us() < deadline);
        rpc_run(rpc, deadline, NULL, NULL);
    }
    return peer_get(caller, cx_Msg_register_network_tag, req);
}

static void hang_up(void)
{
    if (!caller->over)
        rpc_close(caller->stream, CX_ENONET, "gone");
    peer_wait_over(caller);
    peer_tidy(caller);
    free(caller);
    caller = NULL;
}

static void test_registers_and_dials_again(void **state)
{
    (void)state;
    static const struct rpc_handler handler = {
        .accept = broker_accept, .message = peer_message, .fill = peer_fill, .closed = peer_closed};
    static const struct rpc_service talk = {"/cx.Broker/Talk", 1u << ROLE_SERVER, &handler, NULL};
    struct credentials me = test_credentials(ROLE_BROKER, "b1");
    char why[RPC_WHY_MAX], address[64], advertised[64], got[64];
    int port;
    assert_int_equal(rpc_listen(rpc, "127.0.0.1:0", &me, &talk, 1, &port, why), 0);
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    const char *options[] = {"--broker", address, NULL};
    daemon_start(&server, options);
    snprintf(advertised, sizeof advertised, "127.0.0.1:%d", server.port);
    for (int i = 0; i < 3; i++) {
        const cx_Register *r = &next_call(UINT64_MAX)->body.register_network;
        assert_string_equal(msg_str(got, sizeof got, r->network), "testnet");
        assert_string_equal(msg_str(got, sizeof got, r->address), advertised);
        assert_true(r->incarnation != 0);
        hang_up();
    }
    struct peer *p = producer_open(rpc, &server, 1); /* it serves all the while */
    const cx_Register *r;
    do
        r = &next_call(UINT64_MAX)->body.register_network;
    while (r->producers == 0);
    assert_int_equal(r->threads, 1);
    assert_string_equal(msg_str(got, sizeof got, r->arch), "x86_64");
    peer_close(p);
    assert_int_equal(daemon_stop(&server, SIGTERM), 0);
    hang_up();
    pki_unload(&me);
}

static void test_no_broker_changes_nothing(void **state)
{
    (void)state;
    static const char *const options[] = {"--broker", "127.0.0.1:1", NULL};
    daemon_start(&server, options);
    put_module(rpc, &server);
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    struct peer *p = producer_open(rpc, &server, 8);
    assert_int_equal(submit_fib(c, &job1, 8), 0);
    assert_int_equal(produce_until_result(p, c, peer_ask(c, cx_Msg_watch_tag, &job1)), 21);
    peer_close(p);
    peer_close(c);
}

/* ---- Compaction ---- */

static long journal_size(void)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof path, "%s/journal", server.state);
    assert_int_equal(stat(path, &st), 0);
    return (long)st.st_size;
}

static void test_compaction_while_a_job_runs_then_kill(void **state)
{
    (void)state;
    static const char *const options[] = {"--compact", "64K", NULL};
    daemon_start(&server, options);
    put_module(rpc, &server);
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    struct peer *p = producer_open(rpc, &server, 64);
    assert_int_equal(submit_fib(c, &job1, 15), 0);
    assert_int_equal(produce_until_result(p, c, peer_ask(c, cx_Msg_watch_tag, &job1)), 610);
    assert_true(journal_size() < 1973 * 100); /* fib(15) is 1973 commits of more than 100 bytes */
    assert_int_equal(submit_fib(c, &job2, 14), 0);
    for (int i = 0; i < 10; i++)
        assert_true(produce(p) > 0);
    assert_int_equal(daemon_stop(&server, SIGKILL), 128 + SIGKILL);
    peer_close(p);
    peer_close(c);
    daemon_start(&server, options);
    c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    p = producer_open(rpc, &server, 64);
    assert_int_equal(produce_until_result(p, c, peer_ask(c, cx_Msg_watch_tag, &job2)), 377);
    const cx_Msg *m = peer_get(c, cx_Msg_result_tag, peer_ask(c, cx_Msg_watch_tag, &job1));
    struct reader r = reader_of(m->body.result.value);
    assert_int_equal(get_value(&r).as.i64, 610);
    peer_close(p);
    peer_close(c);
}

/* A journal on a full disk ends the server, loudly; with room again, all that was acknowledged is there. */
static void test_full_disk_ends_the_server(void **state)
{
    (void)state;
    struct rlimit small = {1200, RLIM_INFINITY}, before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    setrlimit(RLIMIT_FSIZE, &small);
    daemon_start(&server, NULL);
    setrlimit(RLIMIT_FSIZE, &before);
    put_module(rpc, &server);
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    struct id job = {3, 0};
    unsigned acknowledged = 0;
    for (job.lo = 1; peer_get(c, cx_Msg_status_tag, send_fib(c, &job, 5)); job.lo++)
        acknowledged++;
    assert_int_equal(exit_code(server.pid), 74);
    server.pid = 0;
    assert_true(acknowledged > 0);
    peer_close(c);
    daemon_start(&server, NULL);
    c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    for (job.lo = 1; job.lo <= acknowledged; job.lo++)
        assert_non_null(peer_get(c, cx_Msg_job_row_tag, peer_ask(c, cx_Msg_watch_tag, &job)));
    peer_close(c);
}

#define SERVER_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER_TEST(test_registers_and_dials_again),
        SERVER_TEST(test_no_broker_changes_nothing),
        SERVER_TEST(test_compaction_while_a_job_runs_then_kill),
        SERVER_TEST(test_full_disk_ends_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
