/* Options of daemons: both sources, which of them wins, and what is said of a wrong one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/options.h"

static struct settings {
    const char *listen, *store;
    int64_t threads;
    uint64_t memory;
    bool journal, quiet;
} set;

static const struct option_row rows[] = {
    {"listen", OPTION_STRING, &set.listen, "HOST:PORT", "Serve here", 0, 0},
    {"store", OPTION_STRING, &set.store, "FILE", "Keep it here", 0, 0},
    {"threads", OPTION_INT, &set.threads, "N", "Threads", 1, 64},
    {"memory", OPTION_SIZE, &set.memory, "SIZE", "Memory", 0, 0},
    {"journal", OPTION_FLAG, &set.journal, NULL, "Keep a journal", 0, 0},
    {"quiet", OPTION_FLAG, &set.quiet, NULL, "Say less", 0, 0},
};

static const struct settings defaults = {"here:1", NULL, 4, 1 << 20, true, false};
static char said[8192]; /* on standard error and output, by the last read_options */

static enum options_outcome run_options(int argc, char **argv)
{
    int capture = memfd_create("said", 0), out = dup(1), err = dup(2);
    fflush(stdout);
    dup2(capture, 1);
    dup2(capture, 2);
    enum options_outcome o =
        options_read("cx-test", "Tests options.", rows, sizeof rows / sizeof rows[0], argc, argv);
    fflush(stdout);
    dup2(out, 1);
    dup2(err, 2);
    ssize_t n = pread(capture, said, sizeof said - 1, 0);
    said[n > 0 ? n : 0] = 0;
    close(out);
    close(err);
    close(capture);
    return o;
}

/* Arguments separated by spaces; config, if any, becomes a file that --config names. */
static enum options_outcome read_options(const char *config, const char *arguments)
{
    static char line[1024], path[64];
    static char name[] = "cx-test", option[] = "--config";
    char *argv[32] = {name};
    int argc = 1, fd = -1;
    set = defaults;
    snprintf(line, sizeof line, "%s", arguments);
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    if (config) {
        fd = memfd_create("config", 0);
        assert_int_equal(write(fd, config, strlen(config)), strlen(config));
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        argv[argc++] = option;
        argv[argc++] = path;
    }
    enum options_outcome o = run_options(argc, argv);
    if (fd >= 0)
        close(fd);
    return o;
}

static void defaults_stay(void **state)
{
    (void)state;
    assert_int_equal(read_options(NULL, ""), OPTIONS_GO);
    assert_memory_equal(&set, &defaults, sizeof set);
    assert_string_equal(said, "");
}

static void the_command_line_sets(void **state)
{
    (void)state;
    assert_int_equal(
        read_options(NULL, "--listen a:2 --store=/x --threads 64 --memory 3K --no-journal --quiet"),
        OPTIONS_GO);
    assert_string_equal(set.listen, "a:2");
    assert_string_equal(set.store, "/x");
    assert_true(set.threads == 64 && set.memory == 3072 && !set.journal && set.quiet);
}

static void the_file_sets(void **state)
{
    (void)state;
    assert_int_equal(
        read_options("# comment\nlisten = \"b:3\"; threads = 7\nmemory = \"2G\"\njournal = false\n", ""),
        OPTIONS_GO);
    assert_string_equal(set.listen, "b:3");
    assert_true(set.threads == 7 && set.memory == 2ull << 30 && !set.journal && !set.quiet);
    assert_int_equal(read_options("memory = 5000000000L", ""), OPTIONS_GO);
    assert_true(set.memory == 5000000000u);
}

static void the_command_line_wins(void **state)
{
    (void)state;
    assert_int_equal(read_options("listen = \"b:3\"; threads = 7; journal = false; quiet = true",
                                  "--threads 8 --journal --listen c:4"),
                     OPTIONS_GO);
    assert_string_equal(set.listen, "c:4");
    assert_true(set.threads == 8 && set.journal && set.quiet);
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t size;
    } good[] = {{"0", 0}, {"17", 17}, {"1K", 1024}, {"1M", 1 << 20}, {"4G", 4ull << 30}, {"1T", 1ull << 40}};
    static const char *const bad[] = {
        "-1", "1k", "1KB", "K", "1.5G", "0x10", "9223372036854775807K", "99999999999999999999"};
    char line[100];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(line, sizeof line, "--memory %s", good[i].text);
        assert_int_equal(read_options(NULL, line), OPTIONS_GO);
        assert_true(set.memory == good[i].size);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(line, sizeof line, "--memory=%s", bad[i]);
        assert_int_equal(read_options(NULL, line), OPTIONS_BAD);
        assert_non_null(strstr(said, "cx-test: --memory: "));
    }
}

/* What is wrong is named with its place, and nothing is changed, not even by what was right before it. */
static void wrong_input_is_named_and_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *config, *arguments, *says;
    } cases[] = {
        {NULL, "--listen z:9 --threads 0", "--threads: 0 is not between 1 and 64"},
        {NULL, "--listen z:9 --threads 65", "--threads: 65 is not between 1 and 64"},
        {NULL, "--threads 7x", "--threads: \"7x\" is not a whole number"},
        {NULL, "--threads=", "--threads: \"\" is not a whole number"},
        {NULL, "--threads", "requires an argument"},
        {NULL, "--bogus", "--bogus"},
        {NULL, "--listen z:9 stray", "unexpected argument \"stray\""},
        {NULL, "--config /nonexistent/cx.conf", "/nonexistent/cx.conf: No such file or directory"},
        {NULL, "--config /", "/: Is a directory"},
        {"listen = \"z:9\";\n\nthread = 3;", "", ":3: thread: unknown option"},
        {"listen = \"z:9\";\nthreads = 0;", "", ":2: threads: 0 is not between 1 and 64"},
        {"listen = \"z:9\";\nthreads = \"4\";", "", ":2: threads: must be a whole number"},
        {"listen = 5;", "", ":1: listen: must be a string in quotes"},
        {"journal = 1;", "", ":1: journal: must be true or false"},
        {"memory = -1;", "", ":1: memory: must be a number of bytes"},
        {"memory = \"lots\";", "", ":1: memory: \"lots\" is not a size"},
        {"listen = \"z:9\";\ngroup = { threads = 3; };", "", ":2: group: unknown option"},
        {"threads = 1;\nthreads = 2;", "", ":2: duplicate setting name"},
        {"listen = \"z:9\";\nthreads = ", "", "syntax error"},
        {"listen = \"z:9\"", "--threads 99", "--threads: 99 is not between"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(read_options(cases[i].config, cases[i].arguments), OPTIONS_BAD);
        if (!strstr(said, cases[i].says))
            fail_msg("expected \"%s\", was told: %s", cases[i].says, said);
        assert_memory_equal(&set, &defaults, sizeof set);
    }
}

static void help_names_every_option_and_its_default(void **state)
{
    (void)state;
    assert_int_equal(read_options(NULL, "--help"), OPTIONS_DONE);
    static const char *const wanted[] = {"--listen=HOST:PORT", "default: here:1", "--store=FILE",
                                         "--threads=N",        "default: 4",      "--journal",
                                         "--config=FILE",      "--version",       "Tests options."};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        assert_non_null(strstr(said, wanted[i]));
}

static void version_is_printed(void **state)
{
    (void)state;
    assert_int_equal(read_options(NULL, "--version"), OPTIONS_DONE);
    assert_string_equal(said, "cx-test " CX_VERSION "\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_stay),
        cmocka_unit_test(the_command_line_sets),
        cmocka_unit_test(the_file_sets),
        cmocka_unit_test(the_command_line_wins),
        cmocka_unit_test(sizes),
        cmocka_unit_test(wrong_input_is_named_and_changes_nothing),
        cmocka_unit_test(help_names_every_option_and_its_default),
        cmocka_unit_test(version_is_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
