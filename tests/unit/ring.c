/* The ring: order and content between two threads, messages longer than the ring, and a hostile other side.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/ring.h"
#include "cx/error.h"

#define SIZE 4096u

struct fixture {
    struct ring_shared *s;
    struct ring_writer w;
    struct ring_reader r;
    struct buf out;
};

static struct fixture *fixture_new(uint32_t size, size_t message_max)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->s = aligned_alloc(64, ring_bytes(size));
    memset(f->s, 0, ring_bytes(size));
    ring_writer_init(&f->w, f->s, size);
    ring_reader_init(&f->r, f->s, size, message_max);
    return f;
}

static void fixture_free(struct fixture *f)
{
    ring_reader_free(&f->r);
    buf_free(&f->out);
    free(f->s);
    free(f);
}

static bool put(struct fixture *f, const void *data, size_t len)
{
    size_t done = 0;
    bool whole = ring_put(&f->w, bytes_of(data, len), &done);
    ring_publish(&f->w);
    return whole;
}

static void messages_come_out_as_they_went_in(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(SIZE, SIZE);
    for (uint32_t round = 0; round < 5000; round++) {
        uint8_t data[300];
        size_t len = round * 7 % sizeof data;
        memset(data, (int)round, sizeof data);
        assert_true(put(f, data, len));
        buf_clear(&f->out);
        assert_int_equal(ring_get(&f->r, &f->out), 1);
        ring_release(&f->r);
        assert_int_equal(f->out.len, len);
        assert_true(len == 0 || memcmp(f->out.data, data, len) == 0);
        assert_int_equal(ring_get(&f->r, &f->out), 0);
    }
    fixture_free(f);
}

static void nothing_shows_before_it_is_published(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(SIZE, SIZE);
    size_t done = 0;
    assert_true(ring_put(&f->w, bytes_str("early"), &done));
    assert_true(ring_empty(&f->r));
    assert_int_equal(ring_get(&f->r, &f->out), 0);
    ring_publish(&f->w);
    assert_false(ring_empty(&f->r));
    assert_int_equal(ring_get(&f->r, &f->out), 1);
    fixture_free(f);
}

static void a_full_ring_takes_no_more_until_released(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(RING_BYTES_MIN, SIZE);
    int n = 0;
    while (put(f, "sixteen bytes it", 16))
        n++;
    assert_int_equal(n, RING_BYTES_MIN / 20);
    for (int i = 0; i < n; i++)
        assert_int_equal(ring_get(&f->r, &f->out), 1);
    assert_false(put(f, "sixteen bytes it", 16));
    ring_release(&f->r);
    assert_true(put(f, "sixteen bytes it", 16));
    fixture_free(f);
}

static void a_message_longer_than_the_ring_passes_in_fragments(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(RING_BYTES_MIN, 100000);
    struct buf message = {0};
    for (uint32_t i = 0; i < 50001; i++)
        buf_add(&message, &i, 1 + i % 2);
    size_t done = 0;
    int rc = 0;
    while (!ring_put(&f->w, buf_bytes(&message), &done)) {
        ring_publish(&f->w);
        rc = ring_get(&f->r, &f->out);
        assert_int_equal(rc, 0);
        assert_int_equal(f->out.len, 0);
        ring_release(&f->r);
    }
    assert_true(put(f, "next", 4));
    assert_int_equal(ring_get(&f->r, &f->out), 1);
    assert_true(bytes_equal(buf_bytes(&f->out), buf_bytes(&message)));
    buf_clear(&f->out);
    assert_int_equal(ring_get(&f->r, &f->out), 1);
    assert_true(bytes_equal(buf_bytes(&f->out), bytes_str("next")));
    buf_free(&message);
    fixture_free(f);
}

/* ---- Two threads, each sleeping when it has nothing to do ---- */

#define MANY 200000u

struct pair {
    struct fixture *f;
    struct bell reader;
};

static size_t length_of(uint32_t i)
{
    return i % 1000 == 999 ? 3 * SIZE + i % 77 : 4 + i % 60;
}

static void fill_message(uint8_t *data, uint32_t i)
{
    memset(data, (int)(i * 31), length_of(i));
    memcpy(data, &i, sizeof i);
}

static void ring_reader_bell(struct pair *p)
{
    ring_publish(&p->f->w);
    if (bell_due(&p->reader))
        bell_wake(&p->reader);
}

static void *write_many(void *arg)
{
    struct pair *p = arg;
    static uint8_t data[4 * SIZE];
    for (uint32_t i = 0; i < MANY; i++) {
        size_t done = 0;
        fill_message(data, i);
        while (!ring_put(&p->f->w, bytes_of(data, length_of(i)), &done)) {
            ring_reader_bell(p);
            ring_wait_room(&p->f->w);
        }
        ring_reader_bell(p);
    }
    return NULL;
}

static void await_message(struct pair *p)
{
    bell_arm(&p->reader);
    if (ring_empty(&p->f->r))
        bell_wait(&p->reader);
    else
        bell_disarm(&p->reader);
}

static void two_threads_lose_nothing_and_no_wake_up(void **state)
{
    (void)state;
    static uint8_t want[4 * SIZE];
    struct pair p = {.f = fixture_new(SIZE, 4 * SIZE)};
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, write_many, &p), 0);
    for (uint32_t i = 0; i < MANY;) {
        buf_clear(&p.f->out);
        int rc = ring_get(&p.f->r, &p.f->out);
        if (ring_release(&p.f->r))
            bell_wake(&p.f->s->room);
        assert_true(rc >= 0);
        if (rc == 0) {
            await_message(&p);
            continue;
        }
        fill_message(want, i);
        assert_true(bytes_equal(buf_bytes(&p.f->out), bytes_of(want, length_of(i))));
        i++;
    }
    pthread_join(writer, NULL);
    fixture_free(p.f);
}

/* ---- The hostile other side ---- */

static int get_with(struct fixture *f, uint32_t head, uint32_t frame)
{
    memcpy(f->s->data, &frame, sizeof frame);
    atomic_store(&f->s->head, head);
    return ring_get(&f->r, &f->out);
}

static void a_senseless_head_or_length_is_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t head, frame;
    } lies[] = {
        {SIZE + 4, 4},    {UINT32_MAX - 3, 4},
        {2, 0},           {6, 2},
        {4, 4},           {8, 5},
        {SIZE, SIZE},     {SIZE, 0x7fffffff},
        {SIZE, SIZE / 4}, {SIZE, SIZE / 4 - 3},
        {8, 0x80000005},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct fixture *f = fixture_new(SIZE, SIZE);
        assert_int_equal(get_with(f, lies[i].head, lies[i].frame), CX_EPROTO);
        assert_int_equal(f->out.len, 0);
        assert_int_equal(get_with(f, 8, 4), CX_EPROTO); /* no way back to sense */
        fixture_free(f);
    }
}

static void fragments_without_end_are_refused_at_the_limit(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(SIZE, 10000);
    uint32_t more = 0x80000000u | 996;
    int rc = 0;
    for (uint32_t i = 0; i < 20 && rc == 0; i++) {
        for (uint32_t at = 0; at < SIZE; at += 1000)
            memcpy(f->s->data + (i * 1000 + at) % SIZE / 4 * 4, &more, sizeof more);
        memcpy(f->s->data + i * 1000 % SIZE, &more, sizeof more);
        atomic_store(&f->s->head, (i + 1) * 1000);
        rc = ring_get(&f->r, &f->out);
        ring_release(&f->r);
    }
    assert_int_equal(rc, CX_EPROTO);
    assert_true(f->r.part.len <= 10000);
    fixture_free(f);
}

static void a_lying_reader_cannot_move_the_writer_out_of_the_ring(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(RING_BYTES_MIN, SIZE);
    while (put(f, "sixteen bytes it", 16))
        ;
    atomic_store(&f->s->tail, f->w.head + 64); /* it has read what was not written */
    assert_false(put(f, "sixteen bytes it", 16));
    atomic_store(&f->s->tail, f->w.head - RING_BYTES_MIN - 4);
    assert_false(put(f, "sixteen bytes it", 16));
    atomic_store(&f->s->tail, f->w.head);
    assert_true(put(f, "sixteen bytes it", 16));
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_out_as_they_went_in),
        cmocka_unit_test(nothing_shows_before_it_is_published),
        cmocka_unit_test(a_full_ring_takes_no_more_until_released),
        cmocka_unit_test(a_message_longer_than_the_ring_passes_in_fragments),
        cmocka_unit_test(two_threads_lose_nothing_and_no_wake_up),
        cmocka_unit_test(a_senseless_head_or_length_is_refused),
        cmocka_unit_test(fragments_without_end_are_refused_at_the_limit),
        cmocka_unit_test(a_lying_reader_cannot_move_the_writer_out_of_the_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
