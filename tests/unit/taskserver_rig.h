/* A real cx-taskserver process and hand-driven peers over the RPC runtime, for tests of the whole server. */
#ifndef TESTS_UNIT_TASKSERVER_RIG_H
#define TESTS_UNIT_TASKSERVER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/commit.h"
#include "proto/msg.h"
#include "proto/rpc.h"
#include "tests/support/loopback.h"

/* ---- The server ---- */

struct daemon {
    pid_t pid; /* 0: not running */
    int port;
    char state[64];
};

static inline void daemon_dir(struct daemon *d)
{
    strcpy(d->state, "/tmp/cx-ts-XXXXXX");
    assert_non_null(mkdtemp(d->state));
}

static inline void daemon_remove(struct daemon *d)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", d->state);
    assert_int_equal(system(command), 0);
}

static inline const char *program_path(void)
{
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(n > 0);
    path[n] = 0;
    char *tests = strstr(path, "/tests/");
    assert_non_null(tests);
    snprintf(tests, sizeof path - (size_t)(tests - path), "/bin/cx-taskserver");
    return path;
}

/* Starts the program; more: options after the usual ones, or NULL. */
static inline pid_t daemon_spawn(const struct daemon *d, int ready, const char *const *more)
{
    const char *argv[32] = {"cx-taskserver",
                            "--listen",
                            "127.0.0.1:0",
                            "--network",
                            "testnet",
                            "--credentials",
                            test_credentials_dir(),
                            "--state",
                            d->state,
                            "--log-level",
                            getenv("CX_TEST_LOG") ? "debug" : "error",
                            "--ready-fd",
                            "3"};
    int n = 13;
    while (more && *more)
        argv[n++] = *more++;
    const char *path = program_path();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails badly leaves nothing behind */
        if (ready >= 0)
            dup2(ready, 3);
        execv(path, (char *const *)argv);
        _exit(127);
    }
    return pid;
}

static inline int exit_code(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline void daemon_start(struct daemon *d, const char *const *more)
{
    int ready[2];
    char line[64] = "";
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    d->pid = daemon_spawn(d, ready[1], more);
    close(ready[1]);
    assert_true(read(ready[0], line, sizeof line - 1) > 0);
    assert_int_equal(sscanf(line, "ready %d\n", &d->port), 1);
    close(ready[0]);
}

static inline int daemon_stop(struct daemon *d, int signal_number)
{
    assert_int_equal(kill(d->pid, signal_number), 0);
    int code = exit_code(d->pid);
    d->pid = 0;
    return code;
}

/* ---- Peers ---- */

enum { INBOX_MAX = 8192 };

struct letter {
    struct buf raw; /* owned; the message's slices point into it */
    cx_Msg m;
    bool taken;
};

struct peer {
    struct rpc *rpc;
    struct rpc_stream *stream;
    struct credentials me;
    struct buf out; /* u32 length, message; ... */
    size_t sent;
    struct letter inbox[INBOX_MAX];
    unsigned letters, next;
    bool over;
    int code; /* with which it was closed */
    char why[RPC_WHY_MAX];
    uint64_t req;
};

static inline int peer_message(void *ctx, struct rpc_stream *s, struct bytes data, char *why)
{
    (void)s;
    struct peer *p = ctx;
    assert_true(p->letters < INBOX_MAX);
    struct letter *l = &p->inbox[p->letters++];
    buf_add(&l->raw, data.data, data.len);
    if (msg_decode(buf_bytes(&l->raw), &l->m, why))
        fail_msg("the server sent what does not decode: %s", why);
    return 0;
}

static inline bool peer_fill(void *ctx, struct rpc_stream *s, struct buf *out)
{
    (void)s;
    struct peer *p = ctx;
    uint32_t len;
    if (p->sent == p->out.len)
        return false;
    memcpy(&len, p->out.data + p->sent, sizeof len);
    buf_add(out, p->out.data + p->sent + sizeof len, len);
    p->sent += sizeof len + len;
    return true;
}

static inline void peer_closed(void *ctx, struct rpc_stream *s, int code, const char *why)
{
    (void)s;
    struct peer *p = ctx;
    p->over = true;
    p->stream = NULL;
    p->code = code;
    snprintf(p->why, sizeof p->why, "%s", why);
}

static const struct rpc_handler peer_handler = {
    .message = peer_message, .fill = peer_fill, .closed = peer_closed};

static inline struct peer *peer_dial(struct rpc *r, const struct daemon *d, enum role role, const char *name,
                                     const char *method)
{
    struct peer *p = calloc(1, sizeof *p);
    char address[64];
    p->rpc = r;
    p->me = test_credentials(role, name);
    snprintf(address, sizeof address, "127.0.0.1:%d", d->port);
    assert_int_equal(rpc_dial(r, address, ROLE_SERVER, &p->me, method, &peer_handler, p, &p->stream), 0);
    return p;
}

static inline void peer_raw(struct peer *p, struct bytes message)
{
    uint32_t len = (uint32_t)message.len;
    buf_add(&p->out, &len, sizeof len);
    buf_add(&p->out, message.data, message.len);
    if (p->stream)
        rpc_wake(p->stream);
}

static inline void peer_send(struct peer *p, const cx_Msg *m)
{
    struct buf b = {0};
    msg_encode(m, &b);
    peer_raw(p, buf_bytes(&b));
    buf_free(&b);
}

static inline void peer_run(struct peer *p, uint64_t deadline_us)
{
    if (clock_us() > deadline_us)
        fail_msg("nothing came for 30 s (closed: %d, %d %s)", p->over, p->code, p->why);
    rpc_run(p->rpc, deadline_us, NULL, NULL);
}

/* The next message of this kind and request that was not taken yet, waiting for it; NULL when the stream
 * ended without it. req UINT64_MAX: any. */
static inline const cx_Msg *peer_get(struct peer *p, unsigned kind, uint64_t req)
{
    uint64_t deadline = clock_us() + 30000000;
    for (;;) {
        for (unsigned i = p->next; i < p->letters; i++) {
            struct letter *l = &p->inbox[i];
            if (l->taken || l->m.which_body != kind || (req != UINT64_MAX && l->m.req != req))
                continue;
            l->taken = true;
            while (p->next < p->letters && p->inbox[p->next].taken)
                p->next++;
            return &l->m;
        }
        if (p->over)
            return NULL;
        peer_run(p, deadline);
    }
}

static inline void peer_wait_over(struct peer *p)
{
    uint64_t deadline = clock_us() + 30000000;
    while (!p->over)
        peer_run(p, deadline);
}

/* The code of the status that answers req; its text in p->why. */
static inline int peer_status(struct peer *p, uint64_t req)
{
    const cx_Msg *m = peer_get(p, cx_Msg_status_tag, req);
    if (!m)
        fail_msg("closed instead of answered: %d %s", p->code, p->why);
    msg_str(p->why, sizeof p->why, m->body.status.text);
    return m->body.status.code;
}

/* Forgets what has been received, to make room. */
static inline void peer_tidy(struct peer *p)
{
    for (unsigned i = 0; i < p->letters; i++)
        buf_free(&p->inbox[i].raw);
    memset(p->inbox, 0, p->letters * sizeof p->inbox[0]);
    p->letters = p->next = 0;
}

static inline void peer_close(struct peer *p)
{
    if (!p->over)
        rpc_close(p->stream, 0, "");
    peer_wait_over(p);
    peer_tidy(p);
    buf_free(&p->out);
    pki_unload(&p->me);
    free(p);
}

static inline void peer_hello(struct peer *p, uint32_t version, uint32_t window)
{
    cx_Msg m = {.which_body = cx_Msg_hello_tag};
    m.body.hello = (cx_Hello){.version = version, .software = bytes_str("test"), .window = window};
    if (p->me.self.role == ROLE_PRODUCER) {
        m.body.hello.arch = bytes_str("x86_64");
        m.body.hello.threads = 1;
    }
    peer_send(p, &m);
}

static inline struct peer *consumer_open(struct rpc *r, const struct daemon *d, enum role role,
                                         const char *name)
{
    struct peer *p = peer_dial(r, d, role, name, "/cx.TaskServer/Consume");
    peer_hello(p, PROTOCOL_VERSION, 0);
    if (!peer_get(p, cx_Msg_welcome_tag, 0))
        fail_msg("no welcome: %d %s", p->code, p->why);
    return p;
}

static inline struct peer *producer_open(struct rpc *r, const struct daemon *d, uint32_t window)
{
    struct peer *p = peer_dial(r, d, ROLE_PRODUCER, "p1", "/cx.TaskServer/Produce");
    peer_hello(p, PROTOCOL_VERSION, window);
    assert_non_null(peer_get(p, cx_Msg_welcome_tag, 0));
    return p;
}

/* ---- Requests ---- */

static inline struct bytes id_raw(const struct id *id) /* this machine is little-endian, as the wire is */
{
    return bytes_of(id, sizeof *id);
}

static inline uint64_t peer_ask(struct peer *p, unsigned kind, const struct id *job)
{
    cx_Msg m = {.req = ++p->req, .which_body = (pb_size_t)kind};
    m.body.cancel.job = id_raw(job); /* all requests about a job are a JobRef */
    peer_send(p, &m);
    return p->req;
}

static inline int blob_put(struct rpc *r, const struct daemon *d, enum role role, struct bytes data,
                           uint8_t *sha256, uint64_t announced, char *why)
{
    struct peer *p = peer_dial(r, d, role, role == ROLE_CONSUMER ? "c1" : NULL, "/cx.TaskServer/Blobs");
    cx_Msg m = {.req = 1, .which_body = cx_Msg_blob_put_tag};
    m.body.blob_put = (cx_BlobRef){.sha256 = bytes_of(sha256, 32), .size = announced};
    peer_send(p, &m);
    for (size_t at = 0; at < data.len || at == 0;) {
        size_t n = data.len - at < BLOB_CHUNK_MAX ? data.len - at : BLOB_CHUNK_MAX;
        cx_Msg c = {.req = 1, .which_body = cx_Msg_blob_chunk_tag};
        c.body.blob_chunk = (cx_BlobChunk){.data = bytes_of(data.data + at, n), .last = at + n == data.len};
        peer_send(p, &c);
        at += n ? n : 1;
    }
    int code = peer_status(p, 1);
    snprintf(why, RPC_WHY_MAX, "%s", p->why);
    peer_close(p);
    return code;
}

static const char the_module[] = "not really a shared object, but the server does not look inside";

/* Sends a submit of fib(n). */
static inline uint64_t send_fib(struct peer *p, const struct id *job, int64_t n)
{
    uint8_t sha256[32];
    struct buf args = {0};
    sha256_of(bytes_str(the_module), sha256);
    put_value(&args, cx_v_i64(n));
    cx_Msg m = {.req = ++p->req, .which_body = cx_Msg_submit_tag};
    m.body.submit = (cx_Submit){.job = id_raw(job),
                                .module_count = 1,
                                .functions = bytes_str("fib"),
                                .fn = FN_FIRST,
                                .nargs = 1,
                                .args = buf_bytes(&args),
                                .label = bytes_str("a fib")};
    m.body.submit.module[0] = (cx_Module){.arch = bytes_str("x86_64"), .sha256 = bytes_of(sha256, 32)};
    peer_send(p, &m);
    buf_free(&args);
    return p->req;
}

/* Submits fib(n) and returns the code of the answer. */
static inline int submit_fib(struct peer *p, const struct id *job, int64_t n)
{
    return peer_status(p, send_fib(p, job, n));
}

static inline void put_module(struct rpc *r, const struct daemon *d)
{
    uint8_t sha256[32];
    char why[RPC_WHY_MAX];
    sha256_of(bytes_str(the_module), sha256);
    assert_int_equal(blob_put(r, d, ROLE_CONSUMER, bytes_str(the_module), sha256, sizeof the_module - 1, why),
                     0);
}

/* All jobs as an admin sees them: what must not change when something is refused. */
static inline void list_jobs(struct peer *admin, char *out, size_t max)
{
    cx_Msg m = {.req = ++admin->req, .which_body = cx_Msg_list_tag};
    m.body.list.what = 1;
    peer_send(admin, &m);
    assert_int_equal(peer_status(admin, admin->req), 0);
    size_t n = 0;
    out[0] = 0;
    for (unsigned i = 0; i < admin->letters; i++) {
        const cx_Msg *row = &admin->inbox[i].m;
        if (admin->inbox[i].taken || row->which_body != cx_Msg_job_row_tag || row->req != admin->req)
            continue;
        const cx_JobRow *j = &row->body.job_row;
        char label[64], owner[64];
        n += (size_t)snprintf(out + n, max - n, "%s %s state %u ready %llu waiting %llu executed %llu\n",
                              msg_str(label, sizeof label, j->label), msg_str(owner, sizeof owner, j->owner),
                              j->state, (unsigned long long)(j->ready + j->granted),
                              (unsigned long long)j->waiting, (unsigned long long)j->executed);
    }
    peer_tidy(admin);
}

/* ---- A producer that computes fib by hand ---- */

static inline void fib_body(int64_t n, struct buf *body)
{
    struct ref home = {.inherited = true};
    if (n < 2) {
        put_set(body, home, cx_v_i64(n), (struct ref){0});
        return;
    }
    for (uint32_t child = 0; child < 3; child++)
        put_name(body, 0, child);
    put_task(body, &(struct op){.kind = OP_TASK, .name = 1, .fn = 1, .to = home, .nslots = 2});
    for (uint32_t i = 0; i < 2; i++) {
        struct op op = {.kind = OP_TASK,
                        .name = 2 + i,
                        .fn = FN_FIRST,
                        .flags = TASK_FULL,
                        .to = {.index = 1, .slot = i},
                        .nslots = 1};
        put_task(body, &op);
        put_task_value(body, &op, &(struct op_value){.value = cx_v_i64(n - 1 - i)});
    }
}

static inline void fib_commit(const struct grant *g, struct buf *out)
{
    struct reader r = reader_of(g->values);
    struct buf body = {0};
    fib_body(get_value(&r).as.i64, &body);
    struct commit c = {.kind = COMMIT_DONE,
                       .job = g->job,
                       .task = g->task,
                       .hash = g->hash,
                       .elapsed_ns = 100,
                       .executed = 1,
                       .body = buf_bytes(&body)};
    commit_put(out, &c);
    buf_free(&body);
}

/* Computes every grant of one message; returns how many there were, 0 when the stream ended. */
static inline unsigned produce(struct peer *p)
{
    const cx_Msg *m = peer_get(p, cx_Msg_grants_tag, UINT64_MAX);
    if (!m)
        return 0;
    struct reader r = reader_of(m->body.grants.records);
    struct buf commits = {0};
    struct grant g;
    unsigned n = 0;
    while (reader_more(&r)) {
        assert_true(grant_get(&r, &g));
        fib_commit(&g, &commits);
        n++;
    }
    cx_Msg answer = {.which_body = cx_Msg_commits_tag};
    answer.body.commits.records = buf_bytes(&commits);
    peer_send(p, &answer);
    buf_free(&commits);
    if (p->letters > INBOX_MAX / 2 && p->next == p->letters)
        peer_tidy(p);
    return n;
}

/* The producer works until the consumer's watch has its result. */
static inline int64_t produce_until_result(struct peer *producer, struct peer *consumer, uint64_t watch)
{
    uint64_t deadline = clock_us() + 60000000;
    for (;;) {
        for (unsigned i = 0; i < consumer->letters; i++) {
            const cx_Msg *m = &consumer->inbox[i].m;
            if (m->which_body != cx_Msg_result_tag || m->req != watch || consumer->inbox[i].taken)
                continue;
            consumer->inbox[i].taken = true;
            assert_int_equal(m->body.result.state, 1);
            struct reader r = reader_of(m->body.result.value);
            return get_value(&r).as.i64;
        }
        bool any = false;
        for (unsigned i = producer->next; i < producer->letters && !any; i++)
            any = !producer->inbox[i].taken && producer->inbox[i].m.which_body == cx_Msg_grants_tag;
        if (any)
            produce(producer);
        else
            peer_run(producer, deadline);
        assert_false(producer->over);
    }
}

#endif
