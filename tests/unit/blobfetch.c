/* Blobs from the sibling: each one that is wanted comes, whatever happens on the way, or is given up when the
 * sibling says that it has none. */
#include "tests/unit/taskserver_rig.h"

#include "base/log.h"
#include "taskserver/blobfetch.h"

enum { BLOB_BYTES = 3000, CHUNK_BYTES = 1000, BLOBS = 8 };

/* ---- A sibling that may be told to misbehave, and a store ---- */

struct world;

struct stream {
    struct world *world;
    struct rpc_stream *stream;
    uint64_t req; /* the get that is being answered; 0: none */
    unsigned blob;
    size_t sent;
};

struct world {
    struct rpc *rpc;
    struct credentials me;
    struct rpc_service service;
    char address[64], dir[64];
    struct blobs *blobs;
    struct blobfetch *fetch;
    /* the sibling */
    bool has[BLOBS + 1];
    unsigned gets, break_in, spoil; /* gets so far; that end in the middle, or with a wrong byte, still */
    /* heard */
    unsigned ready[BLOBS + 1], readies;
    unsigned lates; /* times that one could not be had yet */
    unsigned then;  /* wanted by the first that is ready; 0: none */
};

static struct bytes blob_of(unsigned n, uint8_t *sha256)
{
    static uint8_t data[BLOBS][BLOB_BYTES];
    for (size_t i = 0; i < BLOB_BYTES; i++)
        data[n][i] = (uint8_t)(n * 37 + i * 11 + (i >> 8));
    if (sha256)
        sha256_of(bytes_of(data[n], BLOB_BYTES), sha256);
    return bytes_of(data[n], BLOB_BYTES);
}

static unsigned blob_number(const uint8_t *sha256)
{
    uint8_t sha[BLOB_HASH_BYTES];
    for (unsigned n = 0; n < BLOBS; n++) {
        blob_of(n, sha);
        if (memcmp(sha, sha256, sizeof sha) == 0)
            return n;
    }
    return BLOBS; /* one that nobody here knows */
}

static int accept(void *service, struct rpc_stream *s, const struct identity *peer, void **ctx, char *why)
{
    (void)why;
    struct stream *st = calloc(1, sizeof *st);
    assert_int_equal(peer->role, ROLE_SERVER);
    *st = (struct stream){.world = service, .stream = s};
    *ctx = st;
    return 0;
}

static int message(void *ctx, struct rpc_stream *s, struct bytes data, char *why)
{
    struct stream *st = ctx;
    cx_Msg m;
    assert_int_equal(msg_decode(data, &m, why), 0);
    assert_int_equal(m.which_body, cx_Msg_blob_get_tag);
    assert_int_equal(st->req, 0);
    st->world->gets++;
    st->req = m.req;
    st->blob = blob_number(m.body.blob_get.sha256.data);
    st->sent = 0;
    rpc_wake(s);
    return 0;
}

static void chunk(struct stream *st, cx_Msg *m)
{
    struct world *w = st->world;
    static uint8_t part[CHUNK_BYTES];
    memcpy(part, blob_of(st->blob, NULL).data + st->sent, CHUNK_BYTES);
    st->sent += CHUNK_BYTES;
    if (st->sent == BLOB_BYTES && w->spoil) {
        w->spoil--;
        part[0] ^= 1;
    }
    m->which_body = cx_Msg_blob_chunk_tag;
    m->body.blob_chunk = (cx_BlobChunk){.data = bytes_of(part, CHUNK_BYTES), .last = st->sent == BLOB_BYTES};
}

static bool fill(void *ctx, struct rpc_stream *s, struct buf *out)
{
    struct stream *st = ctx;
    struct world *w = st->world;
    cx_Msg m = {.req = st->req};
    if (!st->req)
        return false;
    if (st->sent && w->break_in) {
        w->break_in--;
        st->req = 0;
        rpc_close(s, CX_ENONET, "the power failed");
        return false;
    }
    if (w->has[st->blob]) {
        chunk(st, &m);
    } else {
        m.which_body = cx_Msg_status_tag;
        m.body.status = (cx_Status){CX_ENOTFOUND, bytes_str("not here")};
        st->sent = BLOB_BYTES;
    }
    if (st->sent == BLOB_BYTES)
        st->req = 0;
    msg_encode(&m, out);
    return true;
}

static void closed(void *ctx, struct rpc_stream *s, int code, const char *why)
{
    (void)s, (void)code, (void)why;
    free(ctx);
}

static const struct rpc_handler sibling = {accept, message, fill, closed};

static void want(struct world *w, unsigned n)
{
    uint8_t sha256[BLOB_HASH_BYTES];
    blob_of(n, sha256);
    blobfetch_want(w->fetch, sha256);
}

static void on_ready(void *ctx, const uint8_t *sha256)
{
    struct world *w = ctx;
    assert_false(blobfetch_wanted(w->fetch, sha256));
    w->ready[blob_number(sha256)]++;
    w->readies++;
    if (w->then)
        want(w, w->then);
    w->then = 0;
}

static void on_late(void *ctx, const uint8_t *sha256)
{
    struct world *w = ctx;
    assert_true(blobfetch_wanted(w->fetch, sha256));
    w->lates++;
}

static uint64_t store_now(void *ctx)
{
    (void)ctx;
    return 1000;
}

static void post(void *rpc, void (*fn)(void *), void *ctx)
{
    rpc_post(rpc, fn, ctx);
}

static struct world *new_world(uint64_t store_max)
{
    struct world *w = calloc(1, sizeof *w);
    char why[STATE_WHY_MAX] = "";
    strcpy(w->dir, "/tmp/cx-fetch-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(rpc_new(&w->rpc), 0);
    w->me = test_credentials(ROLE_SERVER, "s1");
    struct blobs_config config = {
        .dir = w->dir, .poster = {post, w->rpc}, .blob_max = 1 << 20, .total_max = store_max, .ttl_us = 1000};
    assert_int_equal(blobs_open(&config, 1000, &w->blobs, why), 0);
    w->fetch = blobfetch_new(&(struct blobfetch_config){.rpc = w->rpc,
                                                        .me = &w->me,
                                                        .blobs = w->blobs,
                                                        .now = store_now,
                                                        .ready = on_ready,
                                                        .late = on_late,
                                                        .ctx = w});
    return w;
}

static void listen_as_sibling(struct world *w)
{
    char why[RPC_WHY_MAX] = "";
    int port;
    w->service = (struct rpc_service){"/cx.TaskServer/Blobs", 1u << ROLE_SERVER, &sibling, w};
    assert_int_equal(rpc_listen(w->rpc, "127.0.0.1:0", &w->me, &w->service, 1, &port, why), 0);
    snprintf(w->address, sizeof w->address, "127.0.0.1:%d", port);
    blobfetch_address(w->fetch, w->address);
    for (unsigned n = 0; n < BLOBS; n++)
        w->has[n] = true;
}

/* As the server's loop does; but what the tick has brought is looked at before anything is waited for. */
static void run_once(struct world *w, uint64_t deadline_us)
{
    unsigned before = w->readies;
    uint64_t next = blobfetch_tick(w->fetch, clock_us());
    if (clock_us() > deadline_us)
        fail_msg("nothing came for 30 s");
    if (w->readies == before)
        rpc_run(w->rpc, next < deadline_us ? next : deadline_us, NULL, NULL);
}

static void run_until_ready(struct world *w, unsigned n)
{
    uint64_t deadline = clock_us() + 30000000;
    while (w->readies < n)
        run_once(w, deadline);
    assert_int_equal(w->readies, n);
}

static bool in_store(struct world *w, unsigned n)
{
    uint8_t sha256[BLOB_HASH_BYTES];
    struct blob_get *g;
    struct buf got = {0};
    char why[STATE_WHY_MAX];
    bool last;
    struct bytes data = blob_of(n, sha256);
    if (blob_get_begin(w->blobs, sha256, 1000, &g, why))
        return false;
    assert_int_equal(blob_get_next(g, 2 * BLOB_BYTES, &got, &last), 0);
    assert_true(last && bytes_equal(buf_bytes(&got), data));
    blob_get_end(g);
    buf_free(&got);
    return true;
}

static void free_world(struct world *w)
{
    char command[128];
    unsigned before = w->readies;
    blobfetch_stop(w->fetch);
    assert_int_equal(blobfetch_tick(w->fetch, clock_us()), UINT64_MAX);
    blobs_stop(w->blobs);
    rpc_free(w->rpc);
    assert_int_equal(w->readies, before);
    blobfetch_free(w->fetch);
    blobs_free(w->blobs);
    pki_unload(&w->me);
    snprintf(command, sizeof command, "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
}

static struct world *new_pair(void)
{
    struct world *w = new_world(1 << 20);
    listen_as_sibling(w);
    return w;
}

/* ---- Tests ---- */

static void test_each_comes_once(void **state)
{
    (void)state;
    struct world *w = new_pair();
    for (unsigned n = 0; n < BLOBS; n++)
        want(w, n);
    want(w, 3);
    run_until_ready(w, BLOBS);
    for (unsigned n = 0; n < BLOBS; n++) {
        assert_int_equal(w->ready[n], 1);
        assert_true(in_store(w, n));
    }
    assert_int_equal(w->gets, BLOBS);
    free_world(w);
}

static void test_ready_may_want_more(void **state)
{
    (void)state;
    struct world *w = new_pair();
    w->then = 2;
    want(w, 1);
    run_until_ready(w, 2);
    assert_true(in_store(w, 2));
    free_world(w);
}

static void test_broken_streams_are_opened_again(void **state)
{
    (void)state;
    struct world *w = new_pair();
    w->break_in = 2;
    for (unsigned n = 0; n < 3; n++)
        want(w, n);
    run_until_ready(w, 3);
    for (unsigned n = 0; n < 3; n++)
        assert_true(in_store(w, n));
    assert_int_equal(w->gets, 5);
    assert_int_equal(w->lates, 2);
    free_world(w);
}

static void test_what_arrives_spoilt_is_fetched_again(void **state)
{
    (void)state;
    struct world *w = new_pair();
    w->spoil = 1;
    want(w, 0);
    run_until_ready(w, 1);
    assert_true(in_store(w, 0));
    assert_int_equal(w->gets, 2);
    free_world(w);
}

static void test_what_the_sibling_has_not_is_given_up(void **state)
{
    (void)state;
    struct world *w = new_pair();
    w->has[1] = false;
    want(w, 1);
    want(w, 2);
    run_until_ready(w, 2);
    assert_false(in_store(w, 1));
    assert_int_equal(w->ready[1], 1);
    w->has[1] = true; /* wanted again, it is asked for again */
    want(w, 1);
    run_until_ready(w, 3);
    assert_true(in_store(w, 1));
    free_world(w);
}

static void ignore_done(void *ctx, int code, const char *why)
{
    (void)code, (void)why;
    *(bool *)ctx = true;
}

static void bring(struct world *w, unsigned n)
{
    uint8_t sha256[BLOB_HASH_BYTES];
    struct bytes data = blob_of(n, sha256);
    struct blob_put *put;
    char why[STATE_WHY_MAX];
    bool done = false;
    assert_int_equal(blob_put_begin(w->blobs, sha256, data.len, ignore_done, &done, &put, why), 0);
    assert_int_equal(blob_put_add(put, data, true, 1000, why), 0);
    while (!done)
        rpc_run(w->rpc, UINT64_MAX, NULL, NULL);
}

/* Nobody is there, and a consumer brings it: found when it is next looked for. */
static void test_what_comes_from_elsewhere_is_ready_too(void **state)
{
    (void)state;
    struct world *w = new_world(1 << 20);
    blobfetch_address(w->fetch, "127.0.0.1:1");
    want(w, 4);
    blobfetch_tick(w->fetch, clock_us());
    bring(w, 4);
    run_until_ready(w, 1);
    assert_int_equal(w->ready[4], 1);
    free_world(w);
}

static void test_unusable_address_is_tried_until_there_is_another(void **state)
{
    (void)state;
    struct world *w = new_world(1 << 20);
    blobfetch_address(w->fetch, "nonsense");
    want(w, 0);
    assert_true(blobfetch_tick(w->fetch, clock_us()) != UINT64_MAX);
    listen_as_sibling(w);
    run_until_ready(w, 1);
    assert_true(in_store(w, 0));
    free_world(w);
}

static void expire_all(struct world *w)
{
    blobs_expire(w->blobs, 10000);
}

/* A store that is full keeps it waiting until there is room; what was reserved is given back. */
static void test_full_store_is_waited_for(void **state)
{
    (void)state;
    struct world *w = new_world(BLOB_BYTES + CHUNK_BYTES);
    listen_as_sibling(w);
    bring(w, 7);
    want(w, 0);
    while (w->gets < 2)
        run_once(w, clock_us() + 30000000);
    assert_int_equal(w->readies, 0);
    expire_all(w);
    run_until_ready(w, 1);
    assert_true(in_store(w, 0));
    assert_int_equal(blobs_bytes(w->blobs), BLOB_BYTES);
    free_world(w);
}

/* Stopped in the middle of one, and with one at the disk: nothing is told, nothing is lost or leaked. */
static void test_stopping_in_the_middle(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 40; turns++) {
        struct world *w = new_pair();
        for (unsigned n = 0; n < BLOBS; n++)
            want(w, n);
        for (unsigned i = 0; i < turns && w->readies < BLOBS; i++)
            run_once(w, clock_us() + 30000000);
        free_world(w);
    }
}

/* ---- With the real server ---- */

static void module_hash(uint8_t *sha256)
{
    sha256_of(bytes_str(the_module), sha256);
}

static unsigned modules_ready;
static void on_module(void *ctx, const uint8_t *sha256)
{
    (void)ctx, (void)sha256;
    modules_ready++;
}

/* Its port is another one after a restart. */
static void point_at(struct blobfetch *f, const struct daemon *d)
{
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%d", d->port);
    blobfetch_address(f, address);
}

static void test_a_real_server_gives_also_after_a_crash(void **state)
{
    (void)state;
    struct world *w = new_world(1 << 20);
    struct daemon d;
    uint8_t sha256[BLOB_HASH_BYTES];
    module_hash(sha256);
    daemon_dir(&d);
    daemon_start(&d, NULL);
    put_module(w->rpc, &d);
    struct blobfetch *f = blobfetch_new(&(struct blobfetch_config){
        .rpc = w->rpc, .me = &w->me, .blobs = w->blobs, .now = store_now, .ready = on_module});
    point_at(f, &d);
    assert_int_equal(daemon_stop(&d, SIGKILL), 128 + SIGKILL);
    blobfetch_want(f, sha256);
    blobfetch_tick(f, clock_us()); /* nobody is there */
    daemon_start(&d, NULL);
    point_at(f, &d);
    uint64_t deadline = clock_us() + 30000000;
    while (!modules_ready) {
        uint64_t next = blobfetch_tick(f, clock_us());
        assert_true(clock_us() < deadline);
        rpc_run(w->rpc, next < deadline ? next : deadline, NULL, NULL);
    }
    assert_true(blobs_have(w->blobs, sha256, 1000));
    blobfetch_stop(f);
    free_world(w);
    blobfetch_free(f);
    assert_int_equal(daemon_stop(&d, SIGTERM), 0);
    daemon_remove(&d);
}

/* The first of two servers has nothing, the second has one: that one comes, the other is given up. */
static void test_servers_are_asked_in_turn(void **state)
{
    (void)state;
    struct world *w = new_pair();
    struct daemon d;
    char both[128];
    uint8_t sha256[BLOB_HASH_BYTES];
    module_hash(sha256);
    daemon_dir(&d);
    daemon_start(&d, NULL);
    put_module(w->rpc, &d);
    snprintf(both, sizeof both, "%s,127.0.0.1:%d", w->address, d.port);
    blobfetch_address(w->fetch, both);
    w->has[1] = false;
    blobfetch_want(w->fetch, sha256);
    want(w, 1);
    run_until_ready(w, 2);
    assert_true(blobs_have(w->blobs, sha256, 1000));
    assert_false(in_store(w, 1));
    free_world(w);
    assert_int_equal(daemon_stop(&d, SIGTERM), 0);
    daemon_remove(&d);
}

static void test_a_server_may_have_and_get_but_not_put(void **state)
{
    (void)state;
    struct rpc *r;
    struct daemon d;
    uint8_t sha256[BLOB_HASH_BYTES];
    module_hash(sha256);
    assert_int_equal(rpc_new(&r), 0);
    daemon_dir(&d);
    daemon_start(&d, NULL);
    struct peer *p = peer_dial(r, &d, ROLE_SERVER, "s1", "/cx.TaskServer/Blobs");
    cx_Msg m = {.req = 1, .which_body = cx_Msg_blob_have_tag};
    m.body.blob_have.sha256 = bytes_of(sha256, sizeof sha256);
    peer_send(p, &m);
    assert_int_equal(peer_status(p, 1), CX_ENOTFOUND);
    put_module(r, &d);
    m.req = 2;
    peer_send(p, &m);
    assert_int_equal(peer_status(p, 2), 0);
    m.req = 3;
    m.which_body = cx_Msg_blob_get_tag;
    peer_send(p, &m);
    const cx_Msg *chunk_of = peer_get(p, cx_Msg_blob_chunk_tag, 3);
    assert_non_null(chunk_of);
    assert_true(bytes_equal(chunk_of->body.blob_chunk.data, bytes_str(the_module)));
    m.req = 4;
    m.which_body = cx_Msg_blob_put_tag;
    m.body.blob_put.size = 3;
    peer_send(p, &m);
    peer_wait_over(p);
    assert_int_equal(p->code, CX_EAUTH);
    peer_close(p);
    rpc_free(r);
    assert_int_equal(daemon_stop(&d, SIGTERM), 0);
    daemon_remove(&d);
}

int main(void)
{
    log_start("blobfetch", LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_comes_once),
        cmocka_unit_test(test_ready_may_want_more),
        cmocka_unit_test(test_broken_streams_are_opened_again),
        cmocka_unit_test(test_what_arrives_spoilt_is_fetched_again),
        cmocka_unit_test(test_what_the_sibling_has_not_is_given_up),
        cmocka_unit_test(test_what_comes_from_elsewhere_is_ready_too),
        cmocka_unit_test(test_unusable_address_is_tried_until_there_is_another),
        cmocka_unit_test(test_full_store_is_waited_for),
        cmocka_unit_test(test_stopping_in_the_middle),
        cmocka_unit_test(test_a_real_server_gives_also_after_a_crash),
        cmocka_unit_test(test_servers_are_asked_in_turn),
        cmocka_unit_test(test_a_server_may_have_and_get_but_not_put),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
