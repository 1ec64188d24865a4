/* A journal that cannot grow: the server does not go on without it. It ends and says why; started again with
 * room, it goes on from what was on disk. The full disk is a limit on the size of the server's files, which
 * needs no privileges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/support/chaos.h"

static const char *const no_collapse[] = {"--no-collapse", NULL};

/* From now on the server's files may grow by `more` bytes beyond what its journal has. */
static void leave_room(struct testnet *t, rlim_t more)
{
    char path[PATH_MAX];
    struct stat st;
    snprintf(path, sizeof path, "%.4000s/server/journal", t->network.dir);
    assert_int_equal(stat(path, &st), 0);
    struct rlimit limit = {(rlim_t)st.st_size + more, (rlim_t)st.st_size + more};
    assert_int_equal(prlimit(t->network.server.pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

static void expect_death(struct testnet *t)
{
    struct child *server = &t->network.server;
    if (!child_wait(server, TESTNET_LIMIT_MS))
        fail_msg("the server goes on without a journal");
    assert_true(WIFEXITED(server->status) && WEXITSTATUS(server->status) != 0);
    assert_true(testnet_log_says(server, "error cx-taskserver"));
    assert_true(testnet_log_says(server, "journal"));
    assert_true(testnet_log_says(server, "File too large"));
}

static void a_full_disk_stops_the_server_and_loses_nothing(void **state)
{
    struct testnet *t = *state;
    struct command c;
    testnet_kill_server(t, SIGKILL);
    t->server_options = no_collapse;
    testnet_start_server(t);
    testnet_add_producers(t, 1);
    testnet_cx_start(t, &c, "run", built("tests/modules/spin.so"), "spin_tree", "9", "2000", NULL);
    runner_wait(t->network.producer[0].pid);
    for (int deaths = 0; deaths < 3; deaths++) {
        leave_room(t, 2048);
        expect_death(t);
        testnet_start_server(t);
    }
    command_expect(&c, 0, "512\n");
    command_free(&c);
    testnet_passed(t);
}

/* What could not be written was not acknowledged. */
static void a_submit_is_not_acknowledged_without_room(void **state)
{
    struct testnet *t = *state;
    const char *id = "000000000000000000000000000000dd";
    static char text[16384];
    struct command c;
    memcpy(text, "str:", 4);
    memset(text + 4, 't', sizeof text - 5); /* makes the journal longer than the log, which is to have room */
    testnet_expect(t, 0, NULL, "submit", built("tests/modules/echo.so"), "echo", text, NULL);
    testnet_expect(t, 0, NULL, "submit", built("examples/fib.so"), "fib", "20", NULL); /* brings the module */
    leave_room(t, 16);
    testnet_cx_start(t, &c, "submit", "--id", id, built("examples/fib.so"), "fib", "21", NULL);
    expect_death(t);
    assert_false(command_ends_within(&c, 0));
    testnet_start_server(t);
    command_expect(&c, 0, NULL); /* it asked again */
    command_free(&c);
    testnet_add_producers(t, 1);
    testnet_expect(t, 0, "10946\n", "wait", id, NULL);
    testnet_passed(t);
}

#define ON_JOURNAL(test) cmocka_unit_test_setup_teardown(test, testnet_setup_journal, testnet_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_JOURNAL(a_full_disk_stops_the_server_and_loses_nothing),
        ON_JOURNAL(a_submit_is_not_acknowledged_without_room),
    };
    cmocka_set_test_filter(getenv("CX_TEST_FILTER")); /* NULL: all of them */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
