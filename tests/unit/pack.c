/* The packed encoding: what is written is read back, and no truncated or hostile input is read past its end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/pack.h"

/* A reader on a copy of exactly len bytes, so that a sanitizer sees one byte too many. */
struct exact {
    uint8_t *copy;
    struct reader reader;
};

static struct exact exact_of(const struct buf *b, size_t len)
{
    struct exact e = {.copy = malloc(len ? len : 1)};
    assert_non_null(e.copy);
    if (len)
        memcpy(e.copy, b->data, len);
    e.reader = reader_of(bytes_of(e.copy, len));
    return e;
}

static const uint64_t numbers[] = {
    0, 1, 127, 128, 300, UINT32_MAX, (uint64_t)UINT32_MAX + 1, UINT64_MAX - 1, UINT64_MAX};
enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

static void numbers_come_back(void **state)
{
    (void)state;
    for (int i = 0; i < NUMBERS; i++) {
        struct buf b = {0};
        uint64_t v = numbers[i];
        put_u8(&b, (uint8_t)v);
        put_u32(&b, (uint32_t)v);
        put_u64(&b, v);
        put_varint(&b, v);
        put_zigzag(&b, (int64_t)v);
        put_zigzag(&b, -(int64_t)(v >> 1));
        put_id(&b, (struct id){v, ~v});
        struct reader r = reader_of(buf_bytes(&b));
        assert_int_equal(get_u8(&r), (uint8_t)v);
        assert_int_equal(get_u32(&r), (uint32_t)v);
        assert_true(get_u64(&r) == v);
        assert_true(get_varint(&r) == v);
        assert_true(get_zigzag(&r) == (int64_t)v);
        assert_true(get_zigzag(&r) == -(int64_t)(v >> 1));
        struct id id = get_id(&r);
        assert_true(id.hi == v && id.lo == ~v);
        assert_false(reader_more(&r));
        assert_false(r.bad);
        buf_free(&b);
    }
}

static void every_truncated_number_is_bad(void **state)
{
    (void)state;
    for (int i = 0; i < NUMBERS; i++) {
        struct buf b = {0};
        put_varint(&b, numbers[i]);
        for (size_t len = 0; len < b.len; len++) {
            struct exact e = exact_of(&b, len);
            assert_true(get_varint(&e.reader) == 0);
            assert_true(e.reader.bad);
            assert_true(get_u64(&e.reader) == 0); /* and all that follows is zero */
            assert_false(reader_more(&e.reader));
            free(e.copy);
        }
        buf_free(&b);
    }
    struct buf b = {0};
    put_id(&b, (struct id){1, 2});
    for (size_t len = 0; len < b.len; len++) {
        struct exact e = exact_of(&b, len);
        assert_true(id_is_zero(get_id(&e.reader)));
        assert_true(e.reader.bad);
        free(e.copy);
    }
    buf_free(&b);
}

static void a_varint_over_64_bits_is_bad(void **state)
{
    (void)state;
    const uint8_t most[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    const uint8_t over[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    const uint8_t endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    struct reader r = reader_of(bytes_of(most, sizeof most));
    assert_true(get_varint(&r) == UINT64_MAX && !r.bad);
    r = reader_of(bytes_of(over, sizeof over));
    assert_true(get_varint(&r) == 0 && r.bad);
    r = reader_of(bytes_of(endless, sizeof endless));
    assert_true(get_varint(&r) == 0 && r.bad);
}

static void maxima_are_inclusive(void **state)
{
    (void)state;
    struct buf b = {0};
    put_varint(&b, 1000);
    struct reader r = reader_of(buf_bytes(&b));
    assert_true(get_varint_max(&r, 1000) == 1000 && !r.bad);
    r = reader_of(buf_bytes(&b));
    assert_true(get_varint_max(&r, 999) == 0 && r.bad);
    buf_free(&b);
}

/* A length that promises more than there is must not be believed, whatever it adds up to. */
static void lengths_are_not_believed(void **state)
{
    (void)state;
    for (int i = 0; i < NUMBERS; i++) {
        struct buf b = {0};
        put_varint(&b, numbers[i]);
        put_u8(&b, 'x');
        struct exact e = exact_of(&b, b.len);
        struct bytes got = get_bytes(&e.reader, SIZE_MAX);
        if (numbers[i] <= 1) {
            assert_int_equal(got.len, numbers[i]);
            assert_false(e.reader.bad);
        } else {
            assert_true(e.reader.bad && got.data == NULL && got.len == 0);
        }
        free(e.copy);
        buf_free(&b);
    }
}

static cx_value sample(int i)
{
    static const char text[] = "some bytes";
    switch (i) {
    case 0:
        return cx_v_none();
    case 1:
        return cx_v_i64(INT64_MIN);
    case 2:
        return cx_v_f64(-0.0);
    case 3:
        return cx_v_bytes(text, sizeof text);
    case 4:
        return cx_v_bytes(NULL, 0);
    default:
        return cx_v_addr((cx_addr){7, 3, 0});
    }
}

static void values_come_back_and_truncated_ones_are_bad(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct buf b = {0}, again = {0};
        put_value(&b, sample(i));
        struct reader r = reader_of(buf_bytes(&b));
        cx_value v = get_value(&r);
        assert_false(r.bad || reader_more(&r));
        assert_int_equal(v.type, sample(i).type);
        put_value(&again, v);
        assert_true(bytes_equal(buf_bytes(&b), buf_bytes(&again)));
        for (size_t len = 0; len < b.len; len++) {
            struct exact e = exact_of(&b, len);
            assert_int_equal(get_value(&e.reader).type == CX_BYTES, 0);
            assert_true(e.reader.bad);
            free(e.copy);
        }
        buf_free(&b);
        buf_free(&again);
    }
}

static void an_address_is_its_tag_alone(void **state)
{
    (void)state;
    struct buf b = {0};
    put_value(&b, cx_v_addr((cx_addr){7, 3, 0}));
    assert_int_equal(b.len, 1);
    struct reader r = reader_of(buf_bytes(&b));
    cx_value v = get_value(&r);
    assert_true(v.type == CX_ADDR && v.as.task == 0 && v.len == 0); /* nothing of ours is let out */
    buf_free(&b);
}

static void nan_keeps_its_bits(void **state)
{
    (void)state;
    uint64_t bits = 0x7ff800000000beefu, got;
    double d;
    memcpy(&d, &bits, sizeof d);
    struct buf b = {0};
    put_value(&b, cx_v_f64(d));
    struct reader r = reader_of(buf_bytes(&b));
    d = get_value(&r).as.f64;
    memcpy(&got, &d, sizeof got);
    assert_true(got == bits);
    buf_free(&b);
}

static void unknown_tags_and_oversized_bytes_are_bad(void **state)
{
    (void)state;
    for (unsigned tag = CX_ADDR + 1; tag < 256; tag++) {
        uint8_t data[16] = {(uint8_t)tag};
        struct reader r = reader_of(bytes_of(data, sizeof data));
        assert_int_equal(get_value(&r).type, CX_NONE);
        assert_true(r.bad);
    }
    struct buf b = {0};
    put_u8(&b, CX_BYTES);
    put_varint(&b, CX_VALUE_BYTES_MAX + 1);
    buf_reserve(&b, CX_VALUE_BYTES_MAX + 1);
    memset(b.data + b.len, 0, CX_VALUE_BYTES_MAX + 1);
    b.len += CX_VALUE_BYTES_MAX + 1;
    struct reader r = reader_of(buf_bytes(&b));
    get_value(&r);
    assert_true(r.bad);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_come_back),
        cmocka_unit_test(every_truncated_number_is_bad),
        cmocka_unit_test(a_varint_over_64_bits_is_bad),
        cmocka_unit_test(maxima_are_inclusive),
        cmocka_unit_test(lengths_are_not_believed),
        cmocka_unit_test(values_come_back_and_truncated_ones_are_bad),
        cmocka_unit_test(an_address_is_its_tag_alone),
        cmocka_unit_test(nan_keeps_its_bits),
        cmocka_unit_test(unknown_tags_and_oversized_bytes_are_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
