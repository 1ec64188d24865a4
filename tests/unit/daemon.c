/* Signals of a daemon reach its reactor, one by one, and none after it has stopped listening. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/daemon.h"

static void stop(void *ctx)
{
    ++*(uint64_t *)ctx;
}

static void run_until_stops(struct rpc *r, const uint64_t *stops, uint64_t n)
{
    uint64_t until = clock_us() + 30000000;
    while (*stops < n) {
        assert_true(clock_us() < until);
        rpc_run(r, until, NULL, NULL);
    }
}

static void each_signal_is_posted_to_the_reactor(void **state)
{
    (void)state;
    struct rpc *r;
    uint64_t stops = 0;
    assert_int_equal(rpc_new(&r), 0);
    assert_int_equal(daemon_watch_signals(r, stop, &stops), 0);
    kill(getpid(), SIGTERM);
    run_until_stops(r, &stops, 1);
    kill(getpid(), SIGINT);
    run_until_stops(r, &stops, 2);
    daemon_unwatch_signals();
    daemon_unwatch_signals(); /* harmless */
    rpc_run(r, 0, NULL, NULL);
    assert_int_equal(stops, 2);
    rpc_free(r);
}

static void it_can_watch_again(void **state)
{
    each_signal_is_posted_to_the_reactor(state);
}

static int child_code(void (*prepare)(void))
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prepare();
        kill(getpid(), SIGTERM);
        _exit(7);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void nothing(void)
{
}

/* A child would not end on SIGTERM with what it inherits. */
static void children_get_their_signals_back(void **state)
{
    (void)state;
    assert_int_equal(child_code(nothing), 7);
    assert_int_equal(child_code(daemon_child_signals), -SIGTERM);
}

static void readiness_is_one_line(void **state)
{
    (void)state;
    int fd[2];
    char line[32] = "";
    assert_int_equal(pipe(fd), 0);
    daemon_ready(fd[1], 4711);
    assert_int_equal(read(fd[0], line, sizeof line), 11);
    assert_string_equal(line, "ready 4711\n");
    assert_int_equal(read(fd[0], line, sizeof line), 0); /* and the descriptor is closed */
    close(fd[0]);
    daemon_ready(-1, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(children_get_their_signals_back),
        cmocka_unit_test(each_signal_is_posted_to_the_reactor),
        cmocka_unit_test(it_can_watch_again),
        cmocka_unit_test(readiness_is_one_line),
    };
    daemon_block_signals();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
