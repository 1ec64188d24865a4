/* local://: what libcx promises, in one process; and what only local:// has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consumer/net.h"
#include "tests/support/command.h"
#include "tests/support/consumer_suite.h"

static cx_net *network;

static void run_suite_test(void **state)
{
    const struct suite_test *t = *state;
    t->run(network);
}

static cx_net *open_ok(const char *address)
{
    cx_net *net = NULL;
    if (cx_open(address, &net) < 0)
        fail_msg("%s: %s", address, cx_error(NULL));
    return net;
}

static void collapse_changes_no_answer(void **state)
{
    static const char *const addresses[] = {"local://?collapse=0&threads=3", "local://?threads=1&budget_us=0",
                                            "local://?budget_us=50&threads=2"};
    (void)state;
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        cx_net *net = open_ok(addresses[i]);
        cx_value v;
        assert_int_equal(
            cx_run(net, built("tests/modules/randoms.so"), "randoms", 1, (cx_value[]){cx_v_i64(12)}, &v), 0);
        cx_value w;
        assert_int_equal(
            cx_run(network, built("tests/modules/randoms.so"), "randoms", 1, (cx_value[]){cx_v_i64(12)}, &w),
            0);
        assert_true(v.as.i64 == w.as.i64);
        cx_close(net);
    }
}

static void options_are_checked(void **state)
{
    static const char *const bad[] = {"local://?threads=0",  "local://?threads=9999", "local://?collapse=2",
                                      "local://?collapse=",  "local://?nonsense=1",   "local://?threads=two",
                                      "local://?threads=-1", "local://here"};
    cx_net *net = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(cx_open(bad[i], &net), CX_EINVAL);
        assert_null(net);
        assert_non_null(strstr(cx_error(NULL), "local://"));
    }
    assert_int_equal(cx_open(NULL, NULL), CX_EINVAL);
    cx_close(NULL);
}

static void too_little_memory_is_told(void **state)
{
    static char data[200000];
    cx_net *net = open_ok("local://?memory=65536");
    cx_value v;
    (void)state;
    int err = cx_run(net, built("tests/modules/echo.so"), "echo", 1,
                     (cx_value[]){cx_v_bytes(data, sizeof data)}, &v);
    assert_true(err == CX_ELIMIT || err == CX_EFULL);
    assert_non_null(strstr(cx_error(net), "memory"));
    cx_close(net);
}

static void closing_ends_running_jobs(void **state)
{
    cx_net *net = open_ok("local://");
    cx_value args[] = {cx_v_i64(200000), cx_v_i64(1000)};
    cx_submission what = {
        .module = built("tests/modules/spin.so"), .function = "spins", .nargs = 2, .args = args};
    cx_job *job;
    (void)state;
    assert_int_equal(cx_submit(net, &what, &job), 0);
    cx_job_free(job);
    cx_close(net);
}

static void the_environment_names_the_network(void **state)
{
    cx_net *net;
    (void)state;
    setenv("CX_NETWORK", "local://?bad=1", 1);
    assert_int_equal(cx_open(NULL, &net), CX_EINVAL);
    setenv("CX_NETWORK", "local://?threads=1", 1);
    net = open_ok(NULL);
    cx_close(net);
    unsetenv("CX_NETWORK");
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void the_configuration_names_the_network(void **state)
{
    char home[] = "/tmp/cx-test-XXXXXX", path[128], command[160];
    cx_net *net;
    (void)state;
    assert_non_null(mkdtemp(home));
    snprintf(command, sizeof command, "mkdir -p %s/.config/cx", home);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof path, "%s/.config/cx/cx.conf", home);
    setenv("HOME", home, 1);
    unsetenv("CX_NETWORK");
    write_text(path, "network = \"local://?nonsense=1\";\n");
    assert_int_equal(cx_open(NULL, &net), CX_EINVAL);
    write_text(path, "network = ;\n");
    assert_int_equal(cx_open(NULL, &net), CX_EINVAL);
    assert_non_null(strstr(cx_error(NULL), "cx.conf:1"));
    write_text(path, "network = \"local://?threads=1\";\n");
    net = open_ok(NULL);
    cx_close(net);
    snprintf(command, sizeof command, "rm -r %s", home);
    assert_int_equal(system(command), 0);
}

static void the_command_gets_its_listings(void **state)
{
    struct buf rows = {0}, text = {0};
    struct server_row server;
    struct job_row row;
    cx_value arg = cx_v_i64(3);
    cx_submission what = {.module = built("tests/modules/echo.so"),
                          .function = "square",
                          .nargs = 1,
                          .args = &arg,
                          .label = "a\x1b[1mb\nc\td\xc2\x9b"
                                   "e\xc3\xa9"};
    cx_net *net = open_ok("local://?threads=3");
    cx_job *job;
    (void)state;
    assert_int_equal(cx_submit(net, &what, &job), 0);
    assert_int_equal(cx_wait(job, -1, NULL), 0);
    assert_int_equal(net_list(net, LIST_SERVER, &rows), 0);
    memcpy(&server, rows.data, sizeof server);
    assert_int_equal(server.producers, 3);
    buf_clear(&rows);
    assert_int_equal(net_list(net, LIST_PRODUCERS, &rows), 0);
    assert_int_equal(rows.len, 3 * sizeof(struct producer_row));
    assert_int_equal(job_row(job, &row), 0);
    assert_int_equal(row.state, CX_DONE);
    assert_string_equal(row.label, "a?[1mb?c?d??e\xc3\xa9"); /* no escape codes on others' terminals */
    assert_int_equal(job_why(job, &text), 0);
    assert_true(text.len > 0);
    assert_int_equal(net_list(net, LIST_NETWORKS, &rows), CX_EINVAL);
    buf_free(&rows);
    buf_free(&text);
    cx_job_free(job);
    cx_close(net);
}

static int open_shared(void **state)
{
    (void)state;
    network = open_ok("local://?threads=4");
    return 0;
}

static int close_shared(void **state)
{
    (void)state;
    cx_close(network);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest own[] = {
        cmocka_unit_test(collapse_changes_no_answer),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(too_little_memory_is_told),
        cmocka_unit_test(closing_ends_running_jobs),
        cmocka_unit_test(the_environment_names_the_network),
        cmocka_unit_test(the_configuration_names_the_network),
        cmocka_unit_test(the_command_gets_its_listings),
    };
    static struct CMUnitTest tests[64];
    size_t n = 0;
    for (; n < consumer_suite_n; n++)
        tests[n] = (struct CMUnitTest){consumer_suite[n].name, run_suite_test, NULL, NULL,
                                       (void *)&consumer_suite[n]};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        tests[n++] = own[i];
    return _cmocka_run_group_tests("consumer_local", tests, n, open_shared, close_shared);
}
