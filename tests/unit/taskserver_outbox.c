/* The outbox of a stream: what goes in comes out in order, grants in batches, and nothing is allocated for it
 * in a steady state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "taskserver/outbox.h"

static struct bytes text(const char *s)
{
    return bytes_of(s, strlen(s));
}

static void expect(struct outbox *o, uint32_t kind, const char *data)
{
    struct segment seg;
    uint8_t *at = outbox_first(o, &seg);
    assert_non_null(at);
    assert_int_equal(seg.kind, kind);
    assert_int_equal(seg.len, strlen(data));
    assert_memory_equal(at, data, seg.len);
    outbox_pop(o);
}

static void test_order_is_kept_and_grants_join(void **state)
{
    (void)state;
    struct outbox o = {0};
    struct segment seg;
    assert_null(outbox_first(&o, &seg));
    outbox_grant(&o, text("a"), 100);
    outbox_grant(&o, text("b"), 100);
    outbox_add(&o, SEGMENT_MESSAGE, text("job"));
    outbox_grant(&o, text("c"), 100); /* not before the message that came first */
    outbox_grant(&o, text("d"), 100);
    outbox_add(&o, SEGMENT_NOTE + 1, text("note"));
    expect(&o, SEGMENT_GRANTS, "ab");
    outbox_grant(&o, text("e"), 100);
    expect(&o, SEGMENT_MESSAGE, "job");
    expect(&o, SEGMENT_GRANTS, "cd");
    expect(&o, SEGMENT_NOTE + 1, "note");
    outbox_grant(&o, text("f"), 100);
    expect(&o, SEGMENT_GRANTS, "ef");
    outbox_grant(&o, text("g"), 100); /* a batch that has been sent does not grow */
    expect(&o, SEGMENT_GRANTS, "g");
    assert_null(outbox_first(&o, &seg));
    assert_int_equal(outbox_bytes(&o), 0);
    outbox_free(&o);
}

static void test_batches_end_at_their_goal(void **state)
{
    (void)state;
    struct outbox o = {0};
    outbox_grant(&o, text("1234"), 8);
    outbox_grant(&o, text("5678"), 8);
    outbox_grant(&o, text("9"), 8);
    outbox_grant(&o, text("a grant longer than any batch"), 8);
    outbox_grant(&o, text("b"), 8);
    expect(&o, SEGMENT_GRANTS, "12345678");
    expect(&o, SEGMENT_GRANTS, "9");
    expect(&o, SEGMENT_GRANTS, "a grant longer than any batch");
    expect(&o, SEGMENT_GRANTS, "b");
    outbox_free(&o);
}

static void test_data_may_change_in_place(void **state)
{
    (void)state;
    struct outbox o = {0};
    struct segment seg;
    outbox_add(&o, SEGMENT_NOTE, text("cursor 0"));
    outbox_first(&o, &seg)[7] = '1';
    expect(&o, SEGMENT_NOTE, "cursor 1");
    outbox_free(&o);
}

/* Against a plain queue, over many random histories. */
static void test_any_history(void **state)
{
    (void)state;
    enum { QUEUE = 1 << 16 };
    struct outbox o = {0};
    uint32_t *queue = calloc(QUEUE, sizeof *queue), head = 0, tail = 0;
    uint8_t data[300];
    struct segment seg;
    srand(1);
    for (int i = 0; i < 200000; i++) {
        uint32_t r = (uint32_t)rand();
        if (r % 5 < 3 && tail - head < QUEUE - 1) {
            uint32_t len = r / 5 % sizeof data;
            memset(data, (int)len & 0xff, len);
            outbox_add(&o, SEGMENT_NOTE, bytes_of(data, len));
            queue[tail++ % QUEUE] = len;
        } else if (head != tail && r % 7) {
            uint32_t len = queue[head++ % QUEUE];
            uint8_t *at = outbox_first(&o, &seg);
            assert_int_equal(seg.len, len);
            for (uint32_t k = 0; k < len; k++)
                assert_int_equal(at[k], len & 0xff);
            outbox_pop(&o);
        }
    }
    free(queue);
    outbox_free(&o);
}

static void churn(struct outbox *o, int rounds)
{
    static uint8_t grant[120];
    struct segment seg;
    for (int i = 0; i < rounds; i++) {
        for (int k = 0; k < 64; k++)
            outbox_grant(o, bytes_of(grant, sizeof grant), 64 << 10);
        if (i % 3 == 0)
            outbox_add(o, SEGMENT_MESSAGE, bytes_of(grant, 30));
        while (outbox_first(o, &seg) && outbox_bytes(o) > 4000)
            outbox_pop(o);
    }
}

static void test_steady_state_allocates_nothing(void **state)
{
    (void)state;
    struct outbox o = {0};
    churn(&o, 1000);
    churn(&o, 1000);
    const uint8_t *memory = o.b.data;
    size_t cap = o.b.cap;
    churn(&o, 20000);
    assert_ptr_equal(o.b.data, memory);
    assert_int_equal(o.b.cap, cap);
    outbox_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_is_kept_and_grants_join),
        cmocka_unit_test(test_batches_end_at_their_goal),
        cmocka_unit_test(test_data_may_change_in_place),
        cmocka_unit_test(test_any_history),
        cmocka_unit_test(test_steady_state_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
