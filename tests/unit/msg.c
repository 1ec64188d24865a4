/* Messages: every kind survives the wire, every field is held to its limit, and what is not a message is told
 * so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <pb_common.h>

#include "proto/limits.h"
#include "proto/msg.h"

#define KINDS 80u /* above the highest tag of Msg's oneof */

static uint8_t filler[64]; /* what slices of test messages point to */

/* ---- A message of any kind, every field set ---- */

static const struct limit *limit_at(unsigned kind, const void *base, const void *field)
{
    const struct msg_rules *r = msg_rules_of(kind);
    for (unsigned i = 0; i < r->n; i++)
        if ((const char *)base + r->limit[i].offset == (const char *)field)
            return &r->limit[i];
    return NULL;
}

static struct bytes slice_for(const struct limit *l)
{
    bool exact = l && (l->kind == LIMIT_EXACT || l->kind == LIMIT_EXACT_OR_NONE);
    return bytes_of(filler, exact ? l->max : 5);
}

static void fill_field(unsigned kind, void *base, const pb_field_iter_t *f)
{
    const struct limit *l = limit_at(kind, base, f->pField);
    if (PB_ATYPE(f->type) == PB_ATYPE_CALLBACK)
        *(struct bytes *)f->pData = slice_for(l);
    else if (f->data_size == 1)
        *(bool *)f->pData = true;
    else if (f->data_size == 4)
        *(uint32_t *)f->pData = l ? (uint32_t)l->max : 0x80000001u;
    else
        *(uint64_t *)f->pData = l ? l->max : 0x8000000000000001u;
}

static cx_Msg filled(unsigned kind)
{
    cx_Msg m = {.req = 1 + kind, .which_body = (pb_size_t)kind};
    pb_field_iter_t outer, f;
    assert_true(pb_field_iter_begin(&outer, cx_Msg_fields, &m));
    assert_true(pb_field_iter_find(&outer, kind));
    if (kind == cx_Msg_submit_tag) {
        m.body.submit.module_count = 2;
        for (int i = 0; i < 2; i++)
            m.body.submit.module[i] = (cx_Module){bytes_str(i ? "aarch64" : "x86_64"), bytes_of(filler, 32)};
    }
    if (!pb_field_iter_begin(&f, outer.submsg_desc, &m.body))
        return m;
    do
        if (!PB_LTYPE_IS_SUBMSG(f.type))
            fill_field(kind, &m.body, &f);
    while (pb_field_iter_next(&f));
    return m;
}

static void check_same_field(const pb_field_iter_t *a, const pb_field_iter_t *b)
{
    if (PB_LTYPE_IS_SUBMSG(a->type))
        return;
    if (PB_ATYPE(a->type) == PB_ATYPE_CALLBACK)
        assert_true(bytes_equal(*(struct bytes *)a->pData, *(struct bytes *)b->pData));
    else
        assert_memory_equal(a->pData, b->pData, a->data_size);
}

static void check_same(cx_Msg *a, cx_Msg *b)
{
    pb_field_iter_t outer, fa, fb;
    assert_int_equal(a->which_body, b->which_body);
    assert_true(a->req == b->req);
    assert_true(pb_field_iter_begin(&outer, cx_Msg_fields, a) && pb_field_iter_find(&outer, a->which_body));
    if (!pb_field_iter_begin(&fa, outer.submsg_desc, &a->body))
        return;
    assert_true(pb_field_iter_begin(&fb, outer.submsg_desc, &b->body));
    do
        check_same_field(&fa, &fb);
    while (pb_field_iter_next(&fa) && pb_field_iter_next(&fb));
}

static void every_kind_survives_the_wire(void **state)
{
    (void)state;
    unsigned kinds = 0;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        if (!msg_rules_of(kind))
            continue;
        struct buf wire = {0};
        char text[MSG_TEXT_MAX] = "";
        cx_Msg m = filled(kind), back;
        msg_encode(&m, &wire);
        if (msg_decode(buf_bytes(&wire), &back, text) != 0)
            fail_msg("%s: %s", msg_kind(&m), text);
        check_same(&m, &back);
        buf_free(&wire);
        kinds++;
    }
    assert_int_equal(kinds, cx_Msg_msg.field_count - 1); /* all but req */
}

static void empty_fields_survive_too(void **state)
{
    (void)state;
    cx_Msg m = {.which_body = cx_Msg_hello_tag}, back;
    struct buf wire = {0};
    char text[MSG_TEXT_MAX];
    msg_encode(&m, &wire);
    assert_int_equal(msg_decode(buf_bytes(&wire), &back, text), 0);
    assert_int_equal(back.which_body, cx_Msg_hello_tag);
    assert_int_equal(back.body.hello.software.len, 0);
    buf_free(&wire);
}

/* "Every field has a maximum": no string or bytes field is without a row in the table. */
static void every_slice_has_a_limit(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        if (!msg_rules_of(kind))
            continue;
        cx_Msg m = {.which_body = (pb_size_t)kind};
        pb_field_iter_t outer, f;
        assert_true(pb_field_iter_begin(&outer, cx_Msg_fields, &m) && pb_field_iter_find(&outer, kind));
        if (!pb_field_iter_begin(&f, outer.submsg_desc, &m.body))
            continue;
        do
            if (PB_ATYPE(f.type) == PB_ATYPE_CALLBACK && !limit_at(kind, &m.body, f.pField))
                fail_msg("%s: field %u has no limit", msg_kind(&m), f.tag);
        while (pb_field_iter_next(&f));
    }
}

static void slices_are_borrowed_from_the_buffer(void **state)
{
    (void)state;
    static uint8_t big[1 << 20];
    cx_Msg m = {.which_body = cx_Msg_grants_tag, .body.grants.records = bytes_of(big, sizeof big)}, back;
    struct buf wire = {0};
    char text[MSG_TEXT_MAX];
    buf_add(&wire, "before", 6); /* appended, not overwritten */
    msg_encode(&m, &wire);
    assert_memory_equal(wire.data, "before", 6);
    assert_int_equal(msg_decode(bytes_of(wire.data + 6, wire.len - 6), &back, text), 0);
    assert_true(back.body.grants.records.data > wire.data && back.body.grants.records.data < wire.data + 32);
    assert_int_equal(back.body.grants.records.len, sizeof big);
    buf_free(&wire);
}

/* ---- What is refused ---- */

static void refused(const void *data, size_t len, int code, const char *expected)
{
    char text[MSG_TEXT_MAX] = "";
    cx_Msg out, before;
    memset(&out, 0x5a, sizeof out);
    memcpy(&before, &out, sizeof out);
    uint8_t *exact = malloc(len ? len : 1); /* so that ASan sees a read past the end */
    assert_non_null(exact);
    if (len)
        memcpy(exact, data, len);
    int e = msg_decode(bytes_of(exact, len), &out, text);
    if (e != code || !strstr(text, expected))
        fail_msg("got %d \"%s\", want %d \"%s\"", e, text, code, expected);
    assert_memory_equal(&out, &before, sizeof out);
    free(exact);
}

#define REFUSED(literal, code, expected) refused(literal, sizeof(literal) - 1, code, expected)

static void a_kind_must_be_known(void **state)
{
    (void)state;
    REFUSED("", CX_EPROTO, "no kind");
    REFUSED("\x08\x07", CX_EPROTO, "no kind");     /* req alone */
    REFUSED("\xba\x06\x00", CX_EPROTO, "no kind"); /* field 103 */
    REFUSED("\x08\x07\xba\x06\x02hi", CX_EPROTO, "no kind");
}

static void malformed_messages_are_told_so(void **state)
{
    (void)state;
    REFUSED("\x1a", CX_EPROTO, "malformed");                               /* a tag without a value */
    REFUSED("\x1a\x05\x08", CX_EPROTO, "malformed");                       /* shorter than it says */
    REFUSED("\x18\x05", CX_EPROTO, "malformed");                           /* hello as a number */
    REFUSED("\x1a\x02\x10\x07", CX_EPROTO, "a number where bytes belong"); /* software as a number */
    REFUSED("\x1a\x05\x15\x01\x02\x03\x04", CX_EPROTO, "a number where bytes belong");
    REFUSED("\x1b\x1c", CX_EPROTO, "malformed"); /* groups */
    REFUSED("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", CX_EPROTO, "malformed");
    REFUSED("\x1a\xff\xff\xff\xff\x0f", CX_EPROTO, "malformed"); /* 4 GiB announced */
}

/* The same message with one field longer than its limit says. */
static void overlong_slices_name_field_and_limit(void **state)
{
    (void)state;
    char label[300];
    memset(label, 'x', sizeof label);
    struct buf wire = {0}, inner = {0};
    buf_add(&inner,
            "\x0a\x10"
            "0123456789abcdef"
            "\x52\xac\x02",
            21); /* job; label of 300 bytes */
    buf_add(&inner, label, sizeof label);
    buf_add(&wire, "\xf2\x01\xc1\x02", 4); /* submit, 321 bytes */
    buf_add(&wire, inner.data, inner.len);
    refused(wire.data, wire.len, CX_ELIMIT, "submit.label: 300 bytes, limit 255");
    buf_free(&wire);
    buf_free(&inner);
}

static void text_is_utf8_without_nul(void **state)
{
    (void)state;
    REFUSED("\x12\x04\x12\x02\x00x", CX_EPROTO, "status.text: not text");
    REFUSED("\x12\x04\x12\x02\xc0\xaf", CX_EPROTO, "status.text: not text");     /* overlong */
    REFUSED("\x12\x05\x12\x03\xed\xa0\x80", CX_EPROTO, "status.text: not text"); /* a surrogate */
    REFUSED("\x12\x04\x12\x02\xc3(", CX_EPROTO, "status.text: not text");
    REFUSED("\x12\x06\x12\x04\xf4\x90\x80\x80", CX_EPROTO, "status.text: not text"); /* above 10FFFF */
    assert_true(utf8_valid(bytes_str("na\xc3\xafve \xe2\x82\xac \xf0\x9f\x8c\x8d")));
    assert_false(utf8_valid(bytes_of("\xe2\x82", 2)));
}

static void exact_lengths(void **state)
{
    (void)state;
    REFUSED("\x7a\x00", CX_EPROTO, "job_gone.job: 0 bytes, must be 16");
    REFUSED("\x7a\x04\x0a\x02xy", CX_EPROTO, "job_gone.job: 2 bytes, must be 16");
    REFUSED("\x92\x03\x03\x0a\x01x", CX_EPROTO, "blob_have.sha256: 1 bytes, must be 32");
}

static void numbers_have_limits(void **state)
{
    (void)state;
    REFUSED("\x52\x05\x08\xff\xff\xff\x7f", CX_ELIMIT, "window.grants: 268435455, limit 1048576");
    REFUSED("\xaa\x02\x02\x08\x09", CX_ELIMIT, "list.what: 9, limit 5");
}

static void too_many_modules(void **state)
{
    (void)state;
    struct buf wire = {0};
    buf_add(&wire, "\xf2\x01\x0f",
            3); /* submit, 15 bytes: five empty modules and padding that is not looked at */
    for (int i = 0; i < 5; i++)
        buf_add(&wire, "\x12\x00", 2);
    buf_add(&wire, "\x28\x01\x28\x01\x28", 5);
    refused(wire.data, wire.len, CX_EPROTO, "submit: malformed");
    buf_free(&wire);
}

/* Every prefix of every kind: never a crash, and a shorter message never passes for the whole one. */
static void prefixes(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        if (!msg_rules_of(kind))
            continue;
        cx_Msg m = filled(kind), back;
        struct buf wire = {0};
        char text[MSG_TEXT_MAX];
        msg_encode(&m, &wire);
        for (size_t n = 3; n < wire.len; n++) {
            uint8_t *part = malloc(n);
            memcpy(part, wire.data, n);
            assert_true(msg_decode(bytes_of(part, n), &back, text) < 0);
            free(part);
        }
        buf_free(&wire);
    }
}

static void the_last_one_of_a_repeated_kind_counts(void **state)
{
    (void)state;
    char text[MSG_TEXT_MAX];
    cx_Msg m;
    /* hello{software}, then status{code}: protobuf's rule for a oneof */
    assert_int_equal(msg_decode(bytes_of("\x1a\x04\x12\x02hi\x12\x02\x08\x03", 10), &m, text), 0);
    assert_int_equal(m.which_body, cx_Msg_status_tag);
    assert_int_equal(m.body.status.code, -2);
    assert_int_equal(m.body.status.text.len, 0);
}

static void msg_str_cuts(void **state)
{
    (void)state;
    char s[4];
    assert_string_equal(msg_str(s, sizeof s, bytes_str("abcdef")), "abc");
    assert_string_equal(msg_str(s, sizeof s, bytes_str("ab")), "ab");
    assert_string_equal(msg_str(s, sizeof s, bytes_of(NULL, 0)), "");
    assert_string_equal(msg_str(s, sizeof s, bytes_str("a\xe2\x82\xac")), "a"); /* not half a character */
}

/* ---- The other implementation of protobuf ---- */

static void write_file(const char *path, struct bytes data)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data.data, 1, data.len, f), data.len);
    assert_int_equal(fclose(f), 0);
}

static struct buf read_file(const char *path)
{
    struct buf b = {0};
    char block[4096];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        buf_add(&b, block, n);
    fclose(f);
    return b;
}

/* protoc --encode=cx.Msg or --decode=cx.Msg of the data. */
static struct buf protoc(const char *action, struct bytes data)
{
    char dir[] = "/tmp/cx-msg-XXXXXX", in[64], out[64], command[300];
    assert_non_null(mkdtemp(dir));
    snprintf(in, sizeof in, "%s/in", dir);
    snprintf(out, sizeof out, "%s/out", dir);
    write_file(in, data);
    snprintf(command, sizeof command, "protoc --%s=cx.Msg proto/cx.proto <%s >%s", action, in, out);
    if (system(command) != 0)
        fail_msg("%s failed", command);
    struct buf b = read_file(out);
    unlink(in);
    unlink(out);
    rmdir(dir);
    return b;
}

/* Ours, decoded and encoded again by protoc, is the same message. */
static void protoc_agrees_on_every_kind(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        if (!msg_rules_of(kind))
            continue;
        cx_Msg m = filled(kind), back;
        struct buf wire = {0};
        char text[MSG_TEXT_MAX];
        msg_encode(&m, &wire);
        struct buf as_text = protoc("decode", buf_bytes(&wire));
        struct buf theirs = protoc("encode", buf_bytes(&as_text));
        assert_int_equal(msg_decode(buf_bytes(&theirs), &back, text), 0);
        check_same(&m, &back);
        buf_free(&wire);
        buf_free(&as_text);
        buf_free(&theirs);
    }
}

static void protoc_text_says_what_we_meant(void **state)
{
    (void)state;
    static const char submit[] =
        "req: 9 submit { job: \"0123456789abcdef\" module { arch: \"x86_64\" sha256: "
        "\"0123456789abcdef0123456789abcdef\" } functions: \"fib\" fn: 16 nargs: 1 "
        "args: \"\\001\\074\" priority: -3 weight: 7 label: \"na\xc3\xafve\" }";
    struct buf wire = protoc("encode", bytes_str(submit));
    char text[MSG_TEXT_MAX] = "";
    cx_Msg m;
    if (msg_decode(buf_bytes(&wire), &m, text) != 0)
        fail_msg("%s", text);
    const cx_Submit *s = &m.body.submit;
    assert_int_equal(m.req, 9);
    assert_int_equal(s->module_count, 1);
    assert_true(bytes_equal(s->module[0].arch, bytes_str("x86_64")));
    assert_true(bytes_equal(s->functions, bytes_str("fib")));
    assert_true(bytes_equal(s->args, bytes_of("\001\074", 2)));
    assert_true(bytes_equal(s->label, bytes_str("na\xc3\xafve")));
    assert_int_equal(s->priority, -3);
    assert_int_equal(s->weight, 7);
    buf_free(&wire);
}

int main(void)
{
    memset(filler, 'k', sizeof filler);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_survives_the_wire),
        cmocka_unit_test(empty_fields_survive_too),
        cmocka_unit_test(every_slice_has_a_limit),
        cmocka_unit_test(slices_are_borrowed_from_the_buffer),
        cmocka_unit_test(a_kind_must_be_known),
        cmocka_unit_test(malformed_messages_are_told_so),
        cmocka_unit_test(overlong_slices_name_field_and_limit),
        cmocka_unit_test(text_is_utf8_without_nul),
        cmocka_unit_test(exact_lengths),
        cmocka_unit_test(numbers_have_limits),
        cmocka_unit_test(too_many_modules),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(the_last_one_of_a_repeated_kind_counts),
        cmocka_unit_test(msg_str_cuts),
        cmocka_unit_test(protoc_agrees_on_every_kind),
        cmocka_unit_test(protoc_text_says_what_we_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
