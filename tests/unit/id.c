/* Names: 128 bits, folded from the path, written as 32 hex digits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"

static void hex_goes_there_and_back(void **state)
{
    (void)state;
    struct id id = {0x0123456789abcdefu, 0xfedcba9876543210u}, back;
    char hex[ID_HEX_MAX];
    id_hex(id, hex);
    assert_string_equal(hex, "0123456789abcdeffedcba9876543210");
    assert_true(id_parse(hex, &back));
    assert_true(id_equal(id, back));
    assert_true(id_parse("0123456789ABCDEFFEDCBA9876543210", &back));
    assert_true(id_equal(id, back));
}

static void other_texts_are_refused_and_change_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "0",
        "0123456789abcdeffedcba987654321",
        "0123456789abcdeffedcba98765432100",
        "0123456789abcdeffedcba987654321g",
        " 123456789abcdeffedcba9876543210",
        "0x23456789abcdeffedcba9876543210",
    };
    struct id id = {1, 2};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(id_parse(bad[i], &id));
        assert_true(id.hi == 1 && id.lo == 2);
    }
}

/* The fold is part of the protocol and of every log on disk: these values may never change. */
static void the_fold_is_fixed(void **state)
{
    (void)state;
    char hex[ID_HEX_MAX];
    id_hex(id_root(), hex);
    assert_string_equal(hex, "6378207461736b20726f6f7420303031");
    id_hex(id_child(id_root(), 0), hex);
    assert_string_equal(hex, "f41e348a3652fd2253a392e3f52bd36b");
    id_hex(id_child(id_child(id_root(), 1), 4294967295u), hex);
    assert_string_equal(hex, "4aaa945890a53e64539bbb27002c3c50");
    assert_true(hash64("cx", 2, 0) != hash64("cx", 2, 1));
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct id));
}

static void children_differ(void **state)
{
    (void)state;
    enum { N = 20000 };
    static struct id all[2 * N];
    struct id chain = id_root();
    for (uint32_t i = 0; i < N; i++) {
        all[i] = id_child(id_root(), i);
        all[N + i] = chain = id_child(chain, i % 3);
    }
    all[N] = id_root(); /* the chain's first link is child 0, which is there already */
    qsort(all, 2 * N, sizeof all[0], compare);
    for (int i = 1; i < 2 * N; i++)
        assert_false(id_equal(all[i - 1], all[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_goes_there_and_back),
        cmocka_unit_test(other_texts_are_refused_and_change_nothing),
        cmocka_unit_test(the_fold_is_fixed),
        cmocka_unit_test(children_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
