/* The real cx-broker: what it was told survives kill -9; who may not, may not; it stops in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/msg.h"
#include "proto/rpc.h"
#include "tests/support/loopback.h"

/* ---- The daemon ---- */

static struct daemon {
    pid_t pid; /* 0: not running */
    int port;
    char store[128];
} daemon_;

static const char *program(void)
{
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(n > 0);
    path[n] = 0;
    char *tests = strstr(path, "/tests/e2e/");
    assert_non_null(tests);
    snprintf(tests, sizeof path - (size_t)(tests - path), "/bin/cx-broker");
    return path;
}

static pid_t spawn(const char *const *argv, int ready)
{
    extern char **environ;
    posix_spawn_file_actions_t actions;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    if (ready >= 0)
        posix_spawn_file_actions_adddup2(&actions, ready, 3);
    assert_int_equal(posix_spawn(&pid, program(), &actions, NULL, (char *const *)argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static int exit_code(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void start(void)
{
    int ready[2];
    char line[64] = "";
    const char *argv[] = {"cx-broker",
                          "--listen",
                          "127.0.0.1:0",
                          "--store",
                          daemon_.store,
                          "--credentials",
                          test_credentials_dir(),
                          "--servers",
                          "kept=s2",
                          "--log-level",
                          "warn",
                          "--ready-fd",
                          "3",
                          NULL};
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    daemon_.pid = spawn(argv, ready[1]);
    close(ready[1]);
    assert_true(read(ready[0], line, sizeof line - 1) > 0);
    assert_int_equal(sscanf(line, "ready %d\n", &daemon_.port), 1);
    close(ready[0]);
}

static int stop(int signal_number)
{
    assert_int_equal(kill(daemon_.pid, signal_number), 0);
    int code = exit_code(daemon_.pid);
    daemon_.pid = 0;
    return code;
}

/* ---- A peer ---- */

struct peer {
    struct rpc *rpc;
    struct rpc_stream *stream;
    struct credentials me;
    struct buf out;
    uint64_t replies; /* statuses so far */
    int code;         /* of the last one */
    char text[MSG_TEXT_MAX];
    char rows[1024]; /* what came before it: "network@address " */
    unsigned closed;
    int closed_code;
};

static void peer_row(struct peer *p, struct bytes network, struct bytes address, const char *mark)
{
    char a[128], b[128];
    size_t n = strlen(p->rows);
    snprintf(p->rows + n, sizeof p->rows - n, "%s@%s%s ", msg_str(a, sizeof a, network),
             msg_str(b, sizeof b, address), mark);
}

static int peer_message(void *ctx, struct rpc_stream *s, struct bytes data, char *why)
{
    (void)s;
    struct peer *p = ctx;
    cx_Msg m;
    int rc = msg_decode(data, &m, why);
    if (rc)
        return rc;
    if (m.which_body == cx_Msg_offer_tag)
        peer_row(p, m.body.offer.network, m.body.offer.address, "");
    if (m.which_body == cx_Msg_network_row_tag)
        peer_row(p, m.body.network_row.network, m.body.network_row.address,
                 m.body.network_row.alive ? "+" : "-");
    if (m.which_body == cx_Msg_status_tag) {
        p->replies++;
        p->code = m.body.status.code;
        msg_str(p->text, sizeof p->text, m.body.status.text);
    }
    return 0;
}

static bool peer_fill(void *ctx, struct rpc_stream *s, struct buf *out)
{
    (void)s;
    struct peer *p = ctx;
    if (!p->out.len)
        return false;
    buf_add(out, p->out.data, p->out.len);
    buf_clear(&p->out);
    return true;
}

static void peer_closed(void *ctx, struct rpc_stream *s, int code, const char *why)
{
    (void)s;
    struct peer *p = ctx;
    p->stream = NULL;
    p->closed++;
    p->closed_code = code;
    snprintf(p->text, sizeof p->text, "%s", why);
}

static const struct rpc_handler peer_handler = {NULL, peer_message, peer_fill, peer_closed};

static struct peer *peer_new(enum role role, const char *name)
{
    struct peer *p = calloc(1, sizeof *p);
    char address[64];
    assert_non_null(p);
    p->me = test_credentials(role, name);
    snprintf(address, sizeof address, "127.0.0.1:%d", daemon_.port);
    assert_int_equal(rpc_new(&p->rpc), 0);
    assert_int_equal(
        rpc_dial(p->rpc, address, ROLE_BROKER, &p->me, "/cx.Broker/Talk", &peer_handler, p, &p->stream), 0);
    return p;
}

static void peer_free(struct peer *p)
{
    rpc_free(p->rpc);
    pki_unload(&p->me);
    buf_free(&p->out);
    free(p);
}

static void peer_run(struct peer *p, uint64_t replies)
{
    uint64_t until = clock_us() + 30000000;
    while (p->replies < replies && !p->closed) {
        assert_true(clock_us() < until);
        rpc_run(p->rpc, until, NULL, NULL);
    }
}

/* Sends one request and waits for its status. Returns the code. */
static int ask(struct peer *p, cx_Msg *m)
{
    m->req = p->replies + 1;
    p->rows[0] = 0;
    msg_encode(m, &p->out);
    rpc_wake(p->stream);
    peer_run(p, p->replies + 1);
    if (p->closed)
        fail_msg("closed with code %d: %s", p->closed_code, p->text);
    return p->code;
}

static int ask_register(struct peer *p, const char *network, const char *address)
{
    cx_Msg m = {.which_body = cx_Msg_register_network_tag};
    m.body.register_network =
        (cx_Register){.network = bytes_str(network), .address = bytes_str(address), .threads = 4};
    return ask(p, &m);
}

static int ask_list(struct peer *p, uint32_t what)
{
    cx_Msg m = {.which_body = cx_Msg_list_tag};
    m.body.list.what = what;
    return ask(p, &m);
}

/* One request by a peer of its own. *rows, if not NULL, is what came with it. */
static int one_request(enum role role, const char *name, pb_size_t kind, char rows[1024])
{
    struct peer *p = peer_new(role, name);
    cx_Msg m = {.which_body = kind};
    if (kind == cx_Msg_list_tag)
        m.body.list.what = 4;
    if (kind == cx_Msg_register_network_tag)
        m.body.register_network = (cx_Register){.network = bytes_str("mine"), .address = bytes_str("evil:1")};
    int code = ask(p, &m);
    if (rows)
        memcpy(rows, p->rows, 1024);
    peer_free(p);
    return code;
}

/* ---- Tests ---- */

static int setup(void **state)
{
    (void)state;
    char why[256];
    const char *dir = test_credentials_dir();
    snprintf(daemon_.store, sizeof daemon_.store, "%s/broker.db", dir);
    unlink(daemon_.store);
    pki_issue(dir, ROLE_SERVER, "s2", 1, why, sizeof why);
    start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (daemon_.pid)
        stop(SIGKILL);
    return 0;
}

static void kill_and_restart_lose_nothing(void **state)
{
    (void)state;
    char rows[1024];
    struct peer *s1 = peer_new(ROLE_SERVER, "s1");
    assert_int_equal(ask_register(s1, "blue", "host1:7401"), 0);
    assert_int_equal(ask_register(s1, "green", "host1:7402"), 0);
    assert_int_equal(one_request(ROLE_CONSUMER, "c1", cx_Msg_list_tag, rows), 0);
    assert_string_equal(rows, "blue@host1:7401+ green@host1:7402+ ");
    assert_int_equal(stop(SIGKILL), 128 + SIGKILL);
    peer_run(s1, UINT64_MAX);
    assert_int_equal(s1->closed, 1);
    peer_free(s1);

    start();
    assert_int_equal(one_request(ROLE_CONSUMER, "c1", cx_Msg_list_tag, rows), 0);
    assert_string_equal(rows, "blue@host1:7401- green@host1:7402- ");
    assert_int_equal(one_request(ROLE_CONSUMER, "c1", cx_Msg_match_tag, rows), 0);
    assert_string_equal(
        rows, "blue@host1:7401 green@host1:7402 "); /* may well be there: nobody has said otherwise */
    s1 = peer_new(ROLE_SERVER, "s1");
    assert_int_equal(ask_register(s1, "green", "host1:7402"), 0);
    assert_int_equal(ask_list(s1, 4), 0);
    assert_string_equal(s1->rows, "blue@host1:7401- green@host1:7402+ ");
    peer_free(s1);
}

static void who_may_not_is_told_so_and_changes_nothing(void **state)
{
    (void)state;
    char rows[1024];
    assert_int_equal(one_request(ROLE_CONSUMER, "c1", cx_Msg_register_network_tag, NULL), CX_EAUTH);
    assert_int_equal(one_request(ROLE_PRODUCER, "p1", cx_Msg_register_network_tag, NULL), CX_EAUTH);
    assert_int_equal(one_request(ROLE_PRODUCER, "p1", cx_Msg_match_tag, NULL), CX_EAUTH);
    assert_int_equal(one_request(ROLE_CONSUMER, "c1", cx_Msg_place_tag, NULL), CX_EAUTH);
    struct peer *s1 = peer_new(ROLE_SERVER, "s1"), *s2 = peer_new(ROLE_SERVER, "s2");
    assert_int_equal(ask_register(s1, "kept", "host1:7401"), CX_EAUTH);
    assert_int_equal(ask_register(s2, "kept", "host2:7401"), 0);
    assert_int_equal(ask_register(s1, "first", "host1:7401"), 0);
    assert_int_equal(ask_register(s2, "first", "host2:7401"), CX_EAUTH);
    assert_non_null(strstr(s2->text, "belongs to another server"));
    assert_int_equal(ask_register(s1, "no/slash", "host1:7401"), CX_EINVAL);
    assert_int_equal(ask_register(s1, "first", "nowhere"), CX_EINVAL);
    assert_int_equal(ask_list(s1, 1), CX_EINVAL);
    peer_free(s1);
    peer_free(s2);
    assert_int_equal(one_request(ROLE_ADMIN, "a1", cx_Msg_list_tag, rows), 0);
    assert_string_equal(rows, "kept@host2:7401+ first@host1:7401+ ");
    assert_int_equal(one_request(ROLE_PRODUCER, "p1", cx_Msg_place_tag, rows), 0);
    assert_string_equal(rows, "first@host1:7401 kept@host2:7401 ");
}

static void expect_closed(const void *data, size_t len, int code)
{
    struct peer *p = peer_new(ROLE_SERVER, "s1");
    assert_int_equal(ask_list(p, 4), 0);
    buf_add(&p->out, data, len);
    rpc_wake(p->stream);
    peer_run(p, UINT64_MAX);
    assert_int_equal(p->closed, 1);
    assert_int_equal(p->closed_code, code);
    assert_true(p->text[0] != 0);
    peer_free(p);
}

static void nonsense_closes_the_stream_with_a_reason(void **state)
{
    (void)state;
    struct buf b = {0};
    cx_Msg other = {.which_body = cx_Msg_hungry_tag};
    expect_closed("\xff\xff\xff\xff", 4, CX_EPROTO);
    msg_encode(&other, &b);
    expect_closed(b.data, b.len, CX_EPROTO);
    buf_free(&b);
    cx_Msg hello = {.which_body = cx_Msg_hello_tag};
    hello.body.hello.version = PROTOCOL_VERSION + 1;
    msg_encode(&hello, &b);
    expect_closed(b.data, b.len, CX_EVERSION);
    buf_free(&b);
    assert_int_equal(one_request(ROLE_CONSUMER, "c1", cx_Msg_list_tag, NULL),
                     0); /* the others feel nothing */
}

static void sigterm_stops_it_in_order(void **state)
{
    (void)state;
    struct peer *p = peer_new(ROLE_CONSUMER, "c1");
    assert_int_equal(ask_list(p, 4), 0);
    assert_int_equal(kill(daemon_.pid, SIGTERM), 0);
    peer_run(p, UINT64_MAX);
    assert_int_equal(p->closed_code, CX_ENONET);
    int code = exit_code(daemon_.pid);
    daemon_.pid = 0;
    assert_int_equal(code, 0);
    peer_free(p);
}

static int run_once(const char *option, const char *value)
{
    const char *argv[] = {
        "cx-broker", "--listen",      "127.0.0.1:0",          "--store", daemon_.store, "--log-level",
        "error",     "--credentials", test_credentials_dir(), option,    value,         NULL};
    return exit_code(spawn(argv, -1));
}

static void what_cannot_start_says_so(void **state)
{
    (void)state;
    assert_int_equal(run_once(NULL, NULL), 1); /* the store belongs to the one that runs */
    assert_int_equal(run_once("--servers", "nonsense"), 2);
    assert_int_equal(run_once("--log-level", "loud"), 2);
    assert_int_equal(run_once("--bogus", NULL), 2);
    assert_int_equal(run_once("--name", "nobody"), 6);
    assert_int_equal(run_once("--version", NULL), 0);
}

#define with_daemon(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_daemon(kill_and_restart_lose_nothing),
        with_daemon(who_may_not_is_told_so_and_changes_nothing),
        with_daemon(nonsense_closes_the_stream_with_a_reason),
        with_daemon(sigterm_stops_it_in_order),
        with_daemon(what_cannot_start_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
