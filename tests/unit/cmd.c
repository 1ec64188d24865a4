/* The cx command: how it reads arguments, what it prints, how it ends. On local://, so without any network.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "tests/support/command.h"

/* The parts of the command under test that are no programs. */
#include "consumer/cmd/args.c"
#include "consumer/cmd/follow.c"
#include "consumer/cmd/show_value.c"

struct common common = {.timeout_ms = -1};

int report(int code, const char *text)
{
    (void)text;
    return cx_err_exit(code);
}

void print_json(struct cJSON *doc)
{
    cJSON_Delete(doc);
}

/* ---- Arguments ---- */

static cx_value parsed(const char *text, void **owned)
{
    char why[ARG_WHY_MAX];
    cx_value v;
    if (arg_parse(text, &v, owned, why) < 0)
        fail_msg("%s: %s", text, why);
    return v;
}

static void integers_are_i64(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } rows[] = {{"0", 0},       {"42", 42},
                {"-5", -5},     {"+7", 7},
                {"0x2a", 42},   {"i:-5", -5},
                {"i:0x10", 16}, {"9223372036854775807", INT64_MAX},
                {"-0x10", -16}, {"-9223372036854775808", INT64_MIN}};
    void *owned;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cx_value v = parsed(rows[i].text, &owned);
        assert_int_equal(v.type, CX_I64);
        assert_true(v.as.i64 == rows[i].value);
        assert_null(owned);
    }
}

static void decimals_are_f64(void **state)
{
    static const struct {
        const char *text;
        double value;
    } rows[] = {{"2.5", 2.5}, {"-0.5", -0.5}, {"1e9", 1e9}, {"f:5", 5.0}, {".5", 0.5}, {"f:-1", -1.0}};
    void *owned;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cx_value v = parsed(rows[i].text, &owned);
        assert_int_equal(v.type, CX_F64);
        assert_true(v.as.f64 == rows[i].value);
    }
}

static void bytes_are_said_outright(void **state)
{
    void *owned;
    cx_value v = parsed("str:a b", &owned);
    (void)state;
    assert_true(v.type == CX_BYTES && v.len == 3 && memcmp(v.as.bytes, "a b", 3) == 0);
    free(owned);
    v = parsed("hex:00fFa0", &owned);
    assert_true(v.type == CX_BYTES && v.len == 3 && memcmp(v.as.bytes, "\x00\xff\xa0", 3) == 0);
    free(owned);
    v = parsed("hex:", &owned);
    assert_true(v.type == CX_BYTES && v.len == 0);
    free(owned);
    v = parsed("none:", &owned);
    assert_int_equal(v.type, CX_NONE);
    v = parsed("none", &owned);
    assert_int_equal(v.type, CX_NONE);
}

static void what_is_not_understood_is_refused(void **state)
{
    static const char *const bad[] = {"abc",
                                      "",
                                      "5x",
                                      "1.5.2",
                                      "i:",
                                      "i:2.5",
                                      "f:",
                                      "f:x",
                                      "hex:0",
                                      "hex:0g",
                                      "none:1",
                                      "99999999999999999999i",
                                      "99999999999999999999",
                                      "0xffffffffffffffff",
                                      "-9223372036854775809",
                                      "1e400",
                                      "f:1e400",
                                      "i:9223372036854775808"};
    char why[ARG_WHY_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cx_value v = cx_v_i64(4711);
        void *owned;
        if (arg_parse(bad[i], &v, &owned, why) != CX_EINVAL)
            fail_msg("'%s' was taken", bad[i]);
        assert_true(v.as.i64 == 4711 && strlen(why) > 0);
    }
    cx_value v;
    void *owned;
    assert_int_equal(arg_parse("@/nowhere/at/all", &v, &owned, why), CX_ENOTFOUND);
    assert_non_null(strstr(why, "/nowhere/at/all"));
}

/* ---- Printing ---- */

static void numbers_read_back_as_they_were(void **state)
{
    static const double values[] = {0.1, 1.0 / 3.0, 1e300, -2.5, 5e-324, 123456789.0};
    char text[32];
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        assert_true(strtod(show_f64(values[i], text), NULL) == values[i]);
    assert_string_equal(show_f64(0.1, text), "0.1");
}

static void times_and_counts_are_short(void **state)
{
    char text[SHORT_MAX];
    (void)state;
    assert_string_equal(show_time(65.7, text), "1:05");
    assert_string_equal(show_time(3661, text), "1:01:01");
    assert_string_equal(show_time(-1, text), "0:00");
    assert_string_equal(show_count(999, text), "999");
    assert_string_equal(show_count(12345, text), "12.3k");
    assert_string_equal(show_count(2.5e9, text), "2.5G");
    assert_string_equal(show_bytes(1536, text), "1.5kB");
}

static void the_bar_fits_its_line(void **state)
{
    cx_progress p = {.executed = 75, .ready = 20, .granted = 5, .age_s = 61};
    char text[256];
    (void)state;
    progress_text(&p, 1234.0, 0, text, sizeof text);
    assert_string_equal(text, "75 done, 5 running, 20 ready, 1.2k/s, 1:01");
    progress_text(&p, 1234.0, 82, text, sizeof text);
    assert_non_null(strstr(text, "[###############     ]"));
    for (int columns = 40; columns < 200; columns++) {
        progress_text(&p, 1234.0, columns, text, sizeof text);
        assert_true((int)strlen(text) < (columns > 62 ? columns : 62));
    }
}

/* ---- The program ---- */

struct ended {
    struct command c;
    cJSON *json;
};

static int cx(struct ended *e, ...)
{
    const char *words[32] = {built("bin/cx")};
    int n = 1;
    va_list ap;
    memset(e, 0, sizeof *e);
    va_start(ap, e);
    while (n < 31 && (words[n] = va_arg(ap, const char *)) != NULL)
        n++;
    va_end(ap);
    words[n] = NULL;
    setenv("CX_NETWORK", "local://?threads=2", 1);
    command_start(&e->c, words, NULL);
    command_finish(&e->c);
    e->json = cJSON_Parse(command_out(&e->c));
    return e->c.code;
}

static void ended_free(struct ended *e)
{
    cJSON_Delete(e->json);
    command_free(&e->c);
}

static void expect_code(int want, struct ended *e)
{
    if (e->c.code != want)
        fail_msg("exit code %d, want %d: %s%s", e->c.code, want, command_out(&e->c), command_err(&e->c));
}

/* Runs cx and expects code and the exact output (NULL: whatever); and that complaints go to standard error.
 */
#define EXPECT(code, out, ...)                                                                               \
    do {                                                                                                     \
        struct ended ended_;                                                                                 \
        cx(&ended_, __VA_ARGS__, NULL);                                                                      \
        expect_code(code, &ended_);                                                                          \
        if ((out) != NULL)                                                                                   \
            assert_string_equal(command_out(&ended_.c), (const char *)(out));                                \
        if ((code) != 0)                                                                                     \
            assert_true(ended_.c.err.len > 0);                                                               \
        ended_free(&ended_);                                                                                 \
    } while (0)

#define ECHO built("tests/modules/echo.so")
#define FIB  built("examples/fib.so")

static void results_are_printed(void **state)
{
    (void)state;
    EXPECT(0, "832040\n", "run", FIB, "fib", "30");
    EXPECT(0, "25\n", "run", ECHO, "square", "-5");
    EXPECT(0, "-2.5\n", "run", ECHO, "echo", "-2.5");
    EXPECT(0, "0.1\n", "run", ECHO, "echo", "0.1");
    EXPECT(0, "none\n", "run", ECHO, "echo");
    EXPECT(0, "raw bytes", "run", ECHO, "echo", "str:raw bytes");
    EXPECT(0, "4\n", "run", "--quiet", ECHO, "argc", "1", "2", "3", "4");
}

static void exit_codes_tell_what_happened(void **state)
{
    (void)state;
    EXPECT(1, "", "run", ECHO, "square", "-1");
    EXPECT(2, "", "run");
    EXPECT(2, "", "frobnicate");
    EXPECT(2, "", "run", "--frobnicate", FIB, "fib", "1");
    EXPECT(2, "", "run", FIB, "fib", "thirty");
    EXPECT(2, "", "wait", "not-an-id");
    EXPECT(2, "", "jobs", "surplus");
    EXPECT(2, "", "run", "--priority", "high", FIB, "fib", "1");
    EXPECT(2, "", "run", "--id", "12", FIB, "fib", "1");
    EXPECT(2, "", "run", "--label", "\xff", FIB, "fib", "1");
    EXPECT(2, "", "jobs", "--network", "broker:127.0.0.1:1/\xff");
    EXPECT(2, "", "submit", FIB, "fib", "1");
    EXPECT(2, "", "submit", "--network", "127.0.0.1:1", "--credentials", "/nowhere", "-o", "f", FIB, "fib",
           "1");
    EXPECT(2, "", "ca", "issue", "/tmp", "king", "arthur");
    EXPECT(2, "", "ca", "deny", "/tmp", "not a name");
    EXPECT(2, "", "jobs", "--network", "nonsense");
    EXPECT(4, "", "run", "--timeout", "0.05", built("tests/modules/spin.so"), "spins", "100000", "1000");
    EXPECT(4, "", "run", "--timeout", "0.05", built("tests/modules/spin.so"), "spin", "600000000", "1");
    EXPECT(2, "", "server");
    EXPECT(2, "", "server", "stop");
    EXPECT(2, "", "server", "status", "s1");
    EXPECT(2, "", "server", "drain");
    EXPECT(2, "", "server", "accept-loss", "s1");
    EXPECT(2, "", "server", "accept-loss", "s1", "--member", "s2");
    EXPECT(2, "", "server", "status"); /* local:// has no servers */
    EXPECT(5, "", "server", "status", "--network", "127.0.0.1:1", "--credentials", "/nowhere");
    EXPECT(5, "", "jobs", "--network", "127.0.0.1:1", "--credentials", "/nowhere");
    EXPECT(6, "", "run", "/nowhere.so", "f");
    EXPECT(6, "", "run", FIB, "fibb", "1");
    EXPECT(6, "", "run", FIB, "fib", "@/nowhere");
    EXPECT(6, "", "wait", "00000000000000000000000000000bad");
    EXPECT(6, "", "status", "00000000000000000000000000000bad");
    EXPECT(6, "", "cancel", "00000000000000000000000000000bad");
    EXPECT(6, "", "why", "00000000000000000000000000000bad");
    EXPECT(6, "", "forget", "00000000000000000000000000000bad");
}

static void every_verb_explains_itself(void **state)
{
    static const char *const verbs[] = {"run",    "submit", "wait", "status", "jobs", "producers", "networks",
                                        "cancel", "forget", "why",  "local",  "ca",   "server"};
    (void)state;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        struct ended a, b;
        assert_int_equal(cx(&a, "help", verbs[i], NULL), 0);
        assert_int_equal(cx(&b, verbs[i], "--help", NULL), 0);
        assert_string_equal(command_out(&a.c), command_out(&b.c));
        assert_non_null(strstr(command_out(&a.c), verbs[i]));
        ended_free(&a);
        ended_free(&b);
    }
    EXPECT(0, NULL, "help");
    EXPECT(0, NULL, "--help");
    EXPECT(2, "", "help", "frobnicate");
    EXPECT(0, "cx " CX_VERSION "\n", "--version");
}

static cJSON *field(const cJSON *o, const char *name)
{
    cJSON *f = cJSON_GetObjectItemCaseSensitive(o, name);
    if (f == NULL)
        fail_msg("the JSON has no \"%s\"", name);
    return f;
}

static void json_of_results_is_exact(void **state)
{
    struct ended e;
    (void)state;
    assert_int_equal(cx(&e, "run", "--json", ECHO, "echo", "9007199254740993", NULL), 0);
    assert_non_null(e.json);
    assert_string_equal(field(e.json, "state")->valuestring, "done");
    assert_int_equal(strlen(field(e.json, "id")->valuestring), 32);
    assert_non_null(strstr(command_out(&e.c), ":9007199254740993}")); /* 2^53 + 1: no double has it */
    ended_free(&e);
    assert_int_equal(cx(&e, "run", "--json", ECHO, "echo", "hex:00ff10", NULL), 0);
    assert_string_equal(field(field(e.json, "result"), "base64")->valuestring, "AP8Q");
    ended_free(&e);
    assert_int_equal(cx(&e, "run", "--json", ECHO, "echo", "f:nan", NULL), 0);
    assert_string_equal(field(field(e.json, "result"), "value")->valuestring, "nan");
    ended_free(&e);
    assert_int_equal(cx(&e, "run", "--json", ECHO, "echo", NULL), 0);
    assert_true(cJSON_IsNull(field(field(e.json, "result"), "value")));
    ended_free(&e);
}

static void json_of_errors_has_code_and_text(void **state)
{
    struct ended e;
    (void)state;
    assert_int_equal(cx(&e, "run", "--json", ECHO, "square", "-1", NULL), 1);
    assert_non_null(e.json);
    assert_string_equal(field(field(e.json, "error"), "code")->valuestring, "CX_EFAILED");
    assert_non_null(strstr(field(field(e.json, "error"), "text")->valuestring, "minus one"));
    ended_free(&e);
}

static void json_of_listings_parses(void **state)
{
    static const char *const verbs[] = {"jobs", "producers", "status"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct ended e;
        assert_int_equal(cx(&e, verbs[i], "--json", NULL), 0);
        assert_non_null(e.json);
        assert_int_equal(cJSON_IsArray(e.json), i < 2);
        ended_free(&e);
    }
}

static void results_go_to_files(void **state)
{
    char path[] = "/tmp/cx-test-XXXXXX", text[64];
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    EXPECT(0, "", "run", "--output", path, ECHO, "echo", "str:into a file");
    assert_int_equal(read(fd, text, sizeof text), 11);
    assert_memory_equal(text, "into a file", 11);
    close(fd);
    EXPECT(0, "11\n", "run", ECHO, "argc", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11");
    char at[64];
    snprintf(at, sizeof at, "@%s", path);
    EXPECT(0, "into a file", "run", ECHO, "echo", at);
    EXPECT(0, "1019\n", "run", "--input", path, ECHO, "input_sum");
    EXPECT(1, "", "run", "--output", "/nowhere/file", ECHO, "echo", "str:x");
    unlink(path);
}

static void ctrl_c_is_130_and_says_how_to_go_on(void **state)
{
    const char *words[] = {built("bin/cx"), "run",   "--network", "local://", built("tests/modules/spin.so"),
                           "spins",         "60000", "1000",      NULL};
    struct command c;
    (void)state;
    command_start(&c, words, NULL);
    command_wait_text(&c, "running"); /* the line of progress that a pipe gets */
    command_signal(&c, SIGINT);
    assert_int_equal(command_finish(&c), 130);
    assert_non_null(strstr(command_err(&c), "interrupted"));
    command_free(&c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_i64),
        cmocka_unit_test(decimals_are_f64),
        cmocka_unit_test(bytes_are_said_outright),
        cmocka_unit_test(what_is_not_understood_is_refused),
        cmocka_unit_test(numbers_read_back_as_they_were),
        cmocka_unit_test(times_and_counts_are_short),
        cmocka_unit_test(the_bar_fits_its_line),
        cmocka_unit_test(results_are_printed),
        cmocka_unit_test(exit_codes_tell_what_happened),
        cmocka_unit_test(every_verb_explains_itself),
        cmocka_unit_test(json_of_results_is_exact),
        cmocka_unit_test(json_of_errors_has_code_and_text),
        cmocka_unit_test(json_of_listings_parses),
        cmocka_unit_test(results_go_to_files),
        cmocka_unit_test(ctrl_c_is_130_and_says_how_to_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
