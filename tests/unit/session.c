/* What the task server refuses: each bad message ends its stream with a status that names the reason, and
 * changes nothing: the jobs are as they were, and others are served. */
#include "tests/unit/taskserver_rig.h"

static struct rpc *rpc;
static struct daemon server;
static struct peer *admin; /* looks whether something changed */
static char before[2048];
static const struct id job1 = {1, 101}, job2 = {2, 102};

static int start(const char *const *options)
{
    assert_int_equal(rpc_new(&rpc), 0);
    daemon_dir(&server);
    daemon_start(&server, options);
    put_module(rpc, &server);
    struct peer *c = consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
    assert_int_equal(submit_fib(c, &job1, 10), 0);
    peer_close(c);
    admin = consumer_open(rpc, &server, ROLE_ADMIN, "a1");
    list_jobs(admin, before, sizeof before);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return start(NULL);
}

static int setup_small(void **state)
{
    (void)state;
    static const char *const options[] = {"--outbox", "64K", "--blobs", "1M", "--no-journal", NULL};
    return start(options);
}

/* Whatever the test did: the jobs are as they were, and the server ends in order. */
static int teardown(void **state)
{
    (void)state;
    char after[2048];
    list_jobs(admin, after, sizeof after);
    bool same = strcmp(before, after) == 0;
    if (!same)
        print_error("before:\n%safter:\n%s", before, after);
    peer_close(admin);
    int code = daemon_stop(&server, SIGTERM);
    rpc_free(rpc);
    daemon_remove(&server);
    return same ? code : 1;
}

static void expect_closed(struct peer *p, int code, const char *reason)
{
    peer_wait_over(p);
    assert_int_equal(p->code, code);
    if (!strstr(p->why, reason))
        fail_msg("closed with \"%s\", which does not say \"%s\"", p->why, reason);
    peer_close(p);
}

/* Protobuf by hand, for what the encoder would not write. */
static void pb_varint(struct buf *b, unsigned field, uint64_t v)
{
    put_varint(b, field << 3);
    put_varint(b, v);
}
static void pb_bytes(struct buf *b, unsigned field, struct bytes v)
{
    put_varint(b, field << 3 | 2);
    put_bytes(b, v);
}

static struct peer *open_stream(const char *method)
{
    if (strstr(method, "Produce"))
        return producer_open(rpc, &server, 0);
    return consumer_open(rpc, &server, ROLE_CONSUMER, "c1");
}

static const char *const both[] = {"/cx.TaskServer/Produce", "/cx.TaskServer/Consume"};

static struct peer *dial_both(int i)
{
    return peer_dial(rpc, &server, i ? ROLE_CONSUMER : ROLE_PRODUCER, i ? "c1" : "p1", both[i]);
}

/* ---- Opening ---- */

static void test_version_that_does_not_fit(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct peer *p = dial_both(i);
        peer_hello(p, 7, 0);
        expect_closed(p, CX_EVERSION, "version 7");
    }
}

static void test_stream_begins_with_hello_and_only_once(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct peer *p = dial_both(i);
        cx_Msg m = {.which_body = i ? cx_Msg_list_tag : cx_Msg_leave_tag};
        peer_send(p, &m);
        expect_closed(p, CX_EPROTO, "begins with hello");
        p = open_stream(both[i]);
        peer_hello(p, PROTOCOL_VERSION, 0);
        expect_closed(p, CX_EPROTO, "only once");
    }
}

static void test_producer_without_architecture_or_threads(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct peer *p = dial_both(0);
        cx_Msg m = {.which_body = cx_Msg_hello_tag};
        m.body.hello = (cx_Hello){
            .version = PROTOCOL_VERSION, .arch = bytes_str(i ? "x86_64" : ""), .threads = i ? 0 : 1};
        peer_send(p, &m);
        expect_closed(p, CX_EINVAL, "architecture");
    }
}

static void test_wrong_role(void **state)
{
    (void)state;
    struct peer *p = peer_dial(rpc, &server, ROLE_PRODUCER, "p1", both[1]);
    peer_hello(p, PROTOCOL_VERSION, 0);
    expect_closed(p, CX_EAUTH, "producer/p1 may not call");
    p = peer_dial(rpc, &server, ROLE_CONSUMER, "c1", both[0]);
    peer_hello(p, PROTOCOL_VERSION, 0);
    expect_closed(p, CX_EAUTH, "consumer/c1 may not call");
    p = peer_dial(rpc, &server, ROLE_PRODUCER, "p1", "/cx.TaskServer/Blobs");
    uint8_t sha256[32] = {0};
    cx_Msg m = {.req = 1, .which_body = cx_Msg_blob_put_tag};
    m.body.blob_put = (cx_BlobRef){.sha256 = bytes_of(sha256, 32), .size = 1};
    peer_send(p, &m);
    expect_closed(p, CX_EAUTH, "blob_put");
}

static void test_too_many_streams_of_one_name(void **state)
{
    (void)state;
    enum { MAX = 256 };
    struct peer *p[MAX];
    for (int i = 0; i < MAX; i++)
        p[i] = consumer_open(rpc, &server, ROLE_CONSUMER, "c2");
    expect_closed(peer_dial(rpc, &server, ROLE_CONSUMER, "c2", both[1]), CX_ELIMIT, "256 streams");
    struct peer *other = open_stream(both[1]); /* another name is served */
    peer_close(other);
    for (int i = 0; i < MAX; i++)
        peer_close(p[i]);
}

/* ---- Messages ---- */

static void test_malformed_messages(void **state)
{
    (void)state;
    static const char *const garbage[] = {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\xf2\x01\x7f",
                                          "\x0a", "no protobuf at all"};
    for (int i = 0; i < 8; i++) {
        struct peer *p = open_stream(both[i % 2]);
        peer_raw(p, bytes_str(garbage[i / 2]));
        expect_closed(p, CX_EPROTO, "");
    }
    struct buf unknown = {0};
    pb_bytes(&unknown, 99, bytes_str("from the future"));
    struct peer *p = open_stream(both[1]);
    peer_raw(p, buf_bytes(&unknown));
    expect_closed(p, CX_EPROTO, "no kind");
    buf_free(&unknown);
}

static void test_fields_over_their_maxima(void **state)
{
    (void)state;
    struct buf submit = {0}, m = {0};
    uint8_t long_text[3000];
    memset(long_text, 'x', sizeof long_text);
    pb_bytes(&submit, 1, id_raw(&job2));
    pb_bytes(&submit, 10, bytes_of(long_text, 256));
    pb_varint(&m, 1, 1);
    pb_bytes(&m, 30, buf_bytes(&submit));
    struct peer *p = open_stream(both[1]);
    peer_raw(p, buf_bytes(&m));
    expect_closed(p, CX_ELIMIT, "submit.label");
    buf_clear(&submit);
    buf_clear(&m);
    pb_bytes(&submit, 1, bytes_of(long_text, 15)); /* an id has 16 bytes */
    pb_bytes(&m, 30, buf_bytes(&submit));
    p = open_stream(both[1]);
    peer_raw(p, buf_bytes(&m));
    expect_closed(p, CX_EPROTO, "submit.job");
    buf_clear(&m);
    pb_varint(&submit, 1, 1);
    p = open_stream(both[0]);
    buf_clear(&submit);
    pb_varint(&submit, 1, 1u << 21);
    pb_bytes(&m, 10, buf_bytes(&submit));
    peer_raw(p, buf_bytes(&m));
    expect_closed(p, CX_ELIMIT, "window.grants");
    buf_free(&submit);
    buf_free(&m);
}

static void test_messages_of_another_stream(void **state)
{
    (void)state;
    static const unsigned not_up[2][4] = {
        {cx_Msg_list_tag, cx_Msg_grants_tag, cx_Msg_status_tag, cx_Msg_welcome_tag},
        {cx_Msg_commits_tag, cx_Msg_result_tag, cx_Msg_leave_tag, cx_Msg_window_tag}};
    for (int i = 0; i < 8; i++) {
        struct peer *p = open_stream(both[i / 4]);
        cx_Msg m = {.which_body = (pb_size_t)not_up[i / 4][i % 4]};
        if (m.which_body == cx_Msg_result_tag)
            m.body.result.job = id_raw(&job1);
        peer_send(p, &m);
        expect_closed(p, CX_EPROTO, "not to be sent by a");
    }
}

static void test_request_number_too_large(void **state)
{
    (void)state;
    struct peer *p = open_stream(both[1]);
    cx_Msg m = {.req = 1ull << 63, .which_body = cx_Msg_cancel_tag};
    m.body.cancel.job = id_raw(&job1);
    peer_send(p, &m);
    expect_closed(p, CX_EPROTO, "2^63");
}

/* ---- Submits that make no sense ---- */

static void test_bad_submits_are_answered(void **state)
{
    (void)state;
    struct peer *p = open_stream(both[1]);
    uint8_t sha256[32];
    sha256_of(bytes_str(the_module), sha256);
    for (int i = 0; i < 4; i++) {
        cx_Msg m = {.req = ++p->req, .which_body = cx_Msg_submit_tag};
        m.body.submit = (cx_Submit){.job = id_raw(&job2),
                                    .module_count = i != 0,
                                    .functions = bytes_str("fib"),
                                    .fn = i == 1   ? FN_FIRST + 1
                                          : i == 2 ? 1
                                                   : FN_FIRST,
                                    .nargs = 1,
                                    .args = bytes_str(i == 3 ? "\x63" : "\x01\x02")};
        m.body.submit.module[0] = (cx_Module){.arch = bytes_str(""), .sha256 = bytes_of(sha256, 32)};
        peer_send(p, &m);
        assert_int_equal(peer_status(p, p->req), CX_EINVAL);
        assert_true(p->why[0] != 0);
    }
    peer_close(p);
}

/* ---- Commits ---- */

static void send_records(struct peer *p, unsigned kind, struct bytes records)
{
    cx_Msg m = {.which_body = (pb_size_t)kind};
    m.body.commits.records = records;
    peer_send(p, &m);
}

static void test_malformed_batches(void **state)
{
    (void)state;
    static const unsigned kinds[] = {cx_Msg_commits_tag, cx_Msg_holds_tag};
    for (int i = 0; i < 2; i++) {
        struct peer *p = producer_open(rpc, &server, 0);
        send_records(p, kinds[i], bytes_str("\x01 half a record"));
        expect_closed(p, CX_EPROTO, "malformed");
    }
}

/* The right task, the right content, but granted to somebody else. */
static void test_commit_of_a_task_that_was_not_granted(void **state)
{
    (void)state;
    struct peer *honest = producer_open(rpc, &server, 1);
    struct reader r = reader_of(peer_get(honest, cx_Msg_grants_tag, 0)->body.grants.records);
    struct grant g;
    struct buf batch = {0};
    assert_true(grant_get(&r, &g));
    fib_commit(&g, &batch);
    struct peer *forger = producer_open(rpc, &server, 0);
    send_records(forger, cx_Msg_commits_tag, buf_bytes(&batch));
    expect_closed(forger, CX_EPROTO, "not granted");
    peer_close(honest);
    buf_free(&batch);
}

/* Law 6: other content is other work; it is dropped, and costs the producer nothing. */
static void test_commit_with_another_content_hash(void **state)
{
    (void)state;
    struct peer *p = producer_open(rpc, &server, 1);
    struct reader r = reader_of(peer_get(p, cx_Msg_grants_tag, 0)->body.grants.records);
    struct grant g;
    struct buf batch = {0};
    assert_true(grant_get(&r, &g));
    g.hash ^= 1;
    fib_commit(&g, &batch);
    send_records(p, cx_Msg_commits_tag, buf_bytes(&batch));
    cx_Msg m = {.which_body = cx_Msg_leave_tag};
    peer_send(p, &m);
    expect_closed(p, CX_OK, "");
    buf_free(&batch);
}

/* A commit whose body names what does not exist: checked whole, so none of it is applied. */
static void test_commit_with_a_bad_reference(void **state)
{
    (void)state;
    struct peer *p = producer_open(rpc, &server, 1);
    struct reader r = reader_of(peer_get(p, cx_Msg_grants_tag, 0)->body.grants.records);
    struct grant g;
    struct buf body = {0}, batch = {0};
    assert_true(grant_get(&r, &g));
    fib_body(10, &body);
    put_set(&body, (struct ref){.index = 77, .slot = 0}, cx_v_i64(1), (struct ref){0});
    commit_put(&batch, &(struct commit){.kind = COMMIT_DONE,
                                        .job = g.job,
                                        .task = g.task,
                                        .hash = g.hash,
                                        .executed = 1,
                                        .body = buf_bytes(&body)});
    send_records(p, cx_Msg_commits_tag, buf_bytes(&batch));
    expect_closed(p, CX_EPROTO, "reference");
    buf_free(&body);
    buf_free(&batch);
}

/* ---- Blobs ---- */

static int put(const void *data, size_t len, uint64_t announced, int spoil, char *why)
{
    uint8_t sha256[32];
    sha256_of(bytes_of(data, len), sha256);
    sha256[0] ^= (uint8_t)spoil;
    return blob_put(rpc, &server, ROLE_CONSUMER, bytes_of(data, len), sha256, announced, why);
}

static void test_blobs_that_are_not_what_they_say(void **state)
{
    (void)state;
    char why[RPC_WHY_MAX];
    assert_int_equal(put("hello", 5, 5, 1, why), CX_EPROTO);
    assert_non_null(strstr(why, "SHA-256"));
    assert_int_equal(put("hello", 5, 6, 0, why), CX_EPROTO);
    assert_int_equal(put("hello", 5, 4, 0, why), CX_EPROTO);
    assert_int_equal(put("hello", 5, 5, 0, why), 0);
    assert_int_equal(put("hello", 5, 5, 0, why), 0); /* again: it is there */
}

static void test_chunk_without_a_put(void **state)
{
    (void)state;
    struct peer *p = peer_dial(rpc, &server, ROLE_CONSUMER, "c1", "/cx.TaskServer/Blobs");
    cx_Msg m = {.req = 5, .which_body = cx_Msg_blob_chunk_tag};
    m.body.blob_chunk = (cx_BlobChunk){.data = bytes_str("stray"), .last = true};
    peer_send(p, &m);
    expect_closed(p, CX_EPROTO, "no put");
}

static void test_large_blob_goes_and_comes(void **state)
{
    (void)state;
    enum { LEN = 3 * (1 << 20) + 17 };
    uint8_t *data = malloc(LEN), sha256[32];
    char why[RPC_WHY_MAX];
    for (size_t i = 0; i < LEN; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    assert_int_equal(put(data, LEN, LEN, 0, why), 0);
    sha256_of(bytes_of(data, LEN), sha256);
    struct peer *p = peer_dial(rpc, &server, ROLE_PRODUCER, "p1", "/cx.TaskServer/Blobs");
    cx_Msg m = {.req = 9, .which_body = cx_Msg_blob_get_tag};
    m.body.blob_get.sha256 = bytes_of(sha256, 32);
    peer_send(p, &m);
    size_t at = 0;
    for (bool last = false; !last;) {
        const cx_Msg *c = peer_get(p, cx_Msg_blob_chunk_tag, 9);
        struct bytes got = c->body.blob_chunk.data;
        assert_true(got.len <= LEN - at);
        assert_memory_equal(got.data, data + at, got.len);
        at += got.len;
        last = c->body.blob_chunk.last;
    }
    assert_int_equal(at, LEN);
    sha256[5] ^= 1;
    m.req = 10;
    peer_send(p, &m);
    assert_int_equal(peer_status(p, 10), CX_ENOTFOUND);
    m.req = 11;
    m.which_body = cx_Msg_blob_have_tag;
    peer_send(p, &m);
    assert_int_equal(peer_status(p, 11), CX_ENOTFOUND);
    peer_close(p);
    free(data);
}

static void test_blob_quota(void **state)
{
    (void)state;
    enum { LEN = 900 << 10 };
    uint8_t *data = calloc(1, LEN);
    char why[RPC_WHY_MAX];
    assert_int_equal(put(data, LEN, LEN, 0, why), 0);
    data[0] = 1;
    assert_int_equal(put(data, LEN, LEN, 0, why), CX_EFULL);
    assert_int_equal(put("small", 5, 5, 0, why), 0);
    free(data);
}

/* ---- Peers that do not read ---- */

/* It asks and asks; each answer is twice as many messages as it takes in a round of its reactor. */
static void test_consumer_that_does_not_read(void **state)
{
    (void)state;
    struct peer *p = open_stream(both[1]);
    uint64_t deadline = clock_us() + 60000000;
    while (!p->over) {
        if (p->out.len - p->sent < 4096)
            for (int i = 0; i < 100; i++)
                peer_ask(p, cx_Msg_why_tag, &job1);
        peer_run(p, deadline);
        if (p->letters > INBOX_MAX / 2)
            peer_tidy(p);
    }
    /* The reason stands behind what it has not read: where that takes it too long, it is cut off without. */
    assert_true(p->code == CX_ENONET || strstr(p->why, "does not read"));
    peer_close(p);
}

#define SERVER_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER_TEST(test_version_that_does_not_fit),
        SERVER_TEST(test_stream_begins_with_hello_and_only_once),
        SERVER_TEST(test_producer_without_architecture_or_threads),
        SERVER_TEST(test_wrong_role),
        SERVER_TEST(test_too_many_streams_of_one_name),
        SERVER_TEST(test_malformed_messages),
        SERVER_TEST(test_fields_over_their_maxima),
        SERVER_TEST(test_messages_of_another_stream),
        SERVER_TEST(test_request_number_too_large),
        SERVER_TEST(test_bad_submits_are_answered),
        SERVER_TEST(test_malformed_batches),
        SERVER_TEST(test_commit_of_a_task_that_was_not_granted),
        SERVER_TEST(test_commit_with_another_content_hash),
        SERVER_TEST(test_commit_with_a_bad_reference),
        SERVER_TEST(test_blobs_that_are_not_what_they_say),
        SERVER_TEST(test_chunk_without_a_put),
        SERVER_TEST(test_large_blob_goes_and_comes),
        cmocka_unit_test_setup_teardown(test_blob_quota, setup_small, teardown),
        cmocka_unit_test_setup_teardown(test_consumer_that_does_not_read, setup_small, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
