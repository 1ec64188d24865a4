/* The cx command on real processes, and `cx local`. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "base/clock.h"
#include "proto/pki.h"
#include "tests/support/testnet.h"

static cJSON *json_of(const struct command *c)
{
    cJSON *doc = cJSON_Parse(command_out(c));
    if (doc == NULL)
        fail_msg("this is no JSON: %s", command_out(c));
    return doc;
}

static const char *text_of(const cJSON *o, const char *name)
{
    const cJSON *f = cJSON_GetObjectItemCaseSensitive(o, name);
    if (!cJSON_IsString(f))
        fail_msg("the JSON has no text \"%s\"", name);
    return f->valuestring;
}

static double number_of(const cJSON *o, const char *name)
{
    const cJSON *f = cJSON_GetObjectItemCaseSensitive(o, name);
    if (!cJSON_IsNumber(f))
        fail_msg("the JSON has no number \"%s\"", name);
    return f->valuedouble;
}

/* cx submit; the id without the end of line. */
static void submit(struct testnet *t, char id[CX_JOB_ID_SIZE], const char *module, const char *function,
                   const char *a, const char *b)
{
    struct command c;
    assert_int_equal(testnet_cx(t, &c, "submit", "--label", "a test", module, function, a, b, NULL), 0);
    assert_int_equal(c.out.len, 33);
    memcpy(id, c.out.data, 32);
    id[32] = '\0';
    command_free(&c);
}

static void a_job_is_submitted_watched_and_fetched(void **state)
{
    struct testnet *t = *state;
    char id[CX_JOB_ID_SIZE];
    struct command c;
    testnet_add_producers(t, 1);
    submit(t, id, built("tests/modules/spin.so"), "spins", "40", "1000");
    testnet_expect(t, 0, "40\n", "wait", id, NULL);
    testnet_expect(t, 0, "40\n", "wait", id, NULL); /* until it is forgotten */
    assert_int_equal(testnet_cx(t, &c, "status", "--json", id, NULL), 0);
    cJSON *job = json_of(&c);
    assert_string_equal(text_of(job, "id"), id);
    assert_string_equal(text_of(job, "state"), "done");
    assert_string_equal(text_of(job, "label"), "a test");
    assert_string_equal(text_of(job, "owner"), "tester");
    assert_true(number_of(job, "executed") >= 41);
    cJSON_Delete(job);
    command_free(&c);
    testnet_expect(t, 0, NULL, "forget", id, NULL);
    testnet_expect(t, 6, "", "wait", id, NULL);
    testnet_expect(t, 6, "", "status", id, NULL);
    testnet_passed(t);
}

static void a_job_without_producers_says_why(void **state)
{
    struct testnet *t = *state;
    char id[CX_JOB_ID_SIZE];
    struct command c;
    submit(t, id, built("tests/modules/spin.so"), "spins", "4", "1");
    testnet_expect(t, 4, "", "wait", "--timeout", "0.1", id, NULL);
    assert_int_equal(testnet_cx(t, &c, "why", id, NULL), 0);
    assert_non_null(strstr(command_out(&c), "producer"));
    command_free(&c);
    assert_int_equal(testnet_cx(t, &c, "why", "--json", id, NULL), 0);
    cJSON *why = json_of(&c);
    assert_non_null(strstr(text_of(why, "why"), "producer"));
    cJSON_Delete(why);
    command_free(&c);
    testnet_expect(t, 0, NULL, "cancel", id, NULL);
    testnet_expect(t, 1, "", "wait", id, NULL);
    testnet_passed(t);
}

static void listings_show_what_is_there(void **state)
{
    struct testnet *t = *state;
    char id[CX_JOB_ID_SIZE];
    struct command c;
    testnet_add_producers(t, 2);
    testnet_until_producers(t, 2);
    submit(t, id, built("tests/modules/spin.so"), "spins", "4", "1");
    testnet_expect(t, 0, "4\n", "wait", id, NULL);
    assert_int_equal(testnet_cx(t, &c, "jobs", NULL), 0);
    assert_non_null(strstr(command_out(&c), id));
    command_free(&c);
    assert_int_equal(testnet_cx(t, &c, "producers", "--json", NULL), 0);
    cJSON *list = json_of(&c);
    assert_int_equal(cJSON_GetArraySize(list), 2);
    assert_string_equal(text_of(cJSON_GetArrayItem(list, 0), "arch"), module_native_arch());
    cJSON_Delete(list);
    command_free(&c);
    assert_int_equal(testnet_cx(t, &c, "status", "--json", NULL), 0);
    cJSON *server = json_of(&c);
    assert_true(number_of(server, "producers") == 2);
    assert_string_equal(text_of(server, "network"), "local");
    cJSON_Delete(server);
    command_free(&c);
    testnet_passed(t);
}

struct asked {
    struct testnet *t;
    char address[96];
};

static bool network_is_registered(void *ctx)
{
    struct asked *a = ctx;
    struct command c;
    testnet_cx(a->t, &c, "networks", "--json", "--network", a->address, NULL);
    bool there = strstr(command_out(&c), "\"alive\":true") != NULL;
    command_free(&c);
    return there;
}

static void a_broker_lists_its_networks(void **state)
{
    struct asked a = {.t = *state};
    snprintf(a.address, sizeof a.address, "broker:%s", a.t->network.broker_address);
    testnet_until("the network at the broker", network_is_registered, &a);
    testnet_expect(a.t, 0, NULL, "networks", "--network", a.address, NULL);
    testnet_expect(a.t, 0, "[]\n", "jobs", "--json", "--network", a.address, NULL);
    testnet_passed(a.t);
}

static void nobody_at_the_address_is_3(void **state)
{
    struct testnet *t = *state;
    struct command c;
    assert_int_equal(testnet_cx(t, &c, "jobs", "--network", "127.0.0.1:1", NULL), 3);
    assert_non_null(strstr(command_err(&c), "no network at 127.0.0.1:1"));
    assert_non_null(strstr(command_err(&c), "try: cx local"));
    command_free(&c);
    testnet_passed(t);
}

static void ctrl_c_leaves_the_job_running(void **state)
{
    struct testnet *t = *state;
    struct command c;
    char id[CX_JOB_ID_SIZE];
    testnet_add_producers(t, 1);
    testnet_cx_start(t, &c, "run", built("tests/modules/spin.so"), "spins", "7000", "1000", NULL);
    command_wait_text(&c, "running");
    command_signal(&c, SIGINT);
    assert_int_equal(command_finish(&c), 130);
    const char *hint = strstr(command_err(&c), "cx wait ");
    assert_non_null(hint);
    assert_int_equal(sscanf(hint, "cx wait %32s", id), 1);
    command_free(&c);
    testnet_expect(t, 4, "", "wait", "--timeout", "0.05", id, NULL);
    testnet_expect(t, 0, NULL, "cancel", id, NULL);
    testnet_passed(t);
}

/* An administrator's directory: no consumer's certificate in it. */
static void an_administrator_sees_all_jobs(void **state)
{
    struct testnet *t = *state;
    char id[CX_JOB_ID_SIZE], dir[PATH_MAX], why[LAUNCH_WHY_MAX], shell[PATH_MAX * 5];
    struct command c;
    submit(t, id, built("tests/modules/spin.so"), "spins", "4", "1");
    assert_int_equal(pki_issue(t->network.credentials, ROLE_ADMIN, "root", 1, why, sizeof why), 0);
    snprintf(dir, sizeof dir, "%s/admin", t->network.dir);
    snprintf(shell, sizeof shell, "mkdir %s && cp -p %s/ca.crt %s/admin-root.* %s", dir,
             t->network.credentials, t->network.credentials, dir);
    assert_int_equal(system(shell), 0);
    const char *words[] = {built("bin/cx"), "jobs", "--network", t->network.address,
                           "--credentials", dir,    NULL};
    command_start(&c, words, NULL);
    assert_int_equal(command_finish(&c), 0);
    assert_non_null(strstr(command_out(&c), id));
    command_free(&c);
    testnet_passed(t);
}

/* ---- cx ca ---- */

static void authorities_are_made_by_the_command(void **state)
{
    struct testnet *t = *state;
    char dir[PATH_MAX], why[LAUNCH_WHY_MAX], deny[PATH_MAX + 8], line[64];
    struct credentials me;
    snprintf(dir, sizeof dir, "%s/ca", t->network.dir);
    testnet_expect(t, 0, NULL, "ca", "init", dir, NULL);
    testnet_expect(t, 1, "", "ca", "init", dir, NULL);
    testnet_expect(t, 0, NULL, "ca", "issue", dir, "consumer", "bob", "--days", "3", NULL);
    assert_int_equal(pki_load(dir, ROLE_CONSUMER, NULL, &me, why, sizeof why), 0);
    assert_string_equal(me.self.name, "bob");
    pki_unload(&me);
    testnet_expect(t, 0, NULL, "ca", "deny", dir, "consumer/bob", NULL);
    snprintf(deny, sizeof deny, "%s/deny", dir);
    FILE *f = fopen(deny, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    assert_string_equal(line, "consumer/bob\n");
    fclose(f);
    testnet_passed(t);
}

/* ---- cx local ---- */

static int start_local(struct command *c, const char *const *more)
{
    const char *words[24] = {built("bin/cx"), "local"};
    int n = 2;
    while (*more != NULL)
        words[n++] = *more++;
    words[n] = NULL;
    command_start(c, words, NULL);
    return 0;
}

static void local_runs_a_command_on_a_network_of_its_own(void **state)
{
    char script[2 * PATH_MAX];
    struct command c;
    (void)state;
    snprintf(script, sizeof script, "%s run %s fib 20; %s producers --json; exit 7", built("bin/cx"),
             built("examples/fib.so"), built("bin/cx"));
    start_local(&c, (const char *[]){"--producers", "2", "--threads", "1", "--", "sh", "-c", script, NULL});
    assert_int_equal(command_finish(&c), 7); /* the command's own */
    assert_non_null(strstr(command_out(&c), "6765\n"));
    assert_non_null(strstr(command_out(&c), "\"p2\""));
    command_free(&c);
}

static pid_t pid_in(const char *status, const char *name)
{
    const char *at = strstr(status, name);
    int pid = 0;
    assert_non_null(at);
    assert_int_equal(sscanf(at + strlen(name), " %d", &pid), 1);
    return pid;
}

static bool is_gone(void *pid)
{
    return kill(*(pid_t *)pid, 0) != 0;
}

static void local_stops_and_removes_all_on_a_signal(void **state)
{
    char file[64] = "/tmp/cx-test-status-XXXXXX", text[4096] = "", dir[PATH_MAX];
    struct command c;
    struct stat st;
    int fd = mkstemp(file);
    (void)state;
    close(fd);
    start_local(&c, (const char *[]){"--producers", "2", "--status-file", file, "--journal", NULL});
    command_wait_text(&c, "Ctrl-C stops it all");
    assert_non_null(strstr(command_out(&c), "export CX_NETWORK=127.0.0.1:"));
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    pid_t pids[] = {pid_in(text, "broker"), pid_in(text, "server"), pid_in(text, "p1"), pid_in(text, "p2")};
    assert_int_equal(sscanf(strstr(text, "dir "), "dir %4000s", dir), 1);
    kill(pids[2], SIGKILL);
    command_wait_text(&c, "p1 was killed by signal 9");
    command_signal(&c, SIGTERM);
    assert_int_equal(command_finish(&c), 0);
    for (int i = 0; i < 4; i++)
        testnet_until("the end of a child", is_gone, &pids[i]);
    assert_int_equal(stat(dir, &st), -1);
    assert_int_equal(stat(file, &st), -1);
    command_free(&c);
}

static void local_tells_programs_what_it_runs(void **state)
{
    struct command c;
    (void)state;
    start_local(&c, (const char *[]){"--producers", "1", "--json", "--", "true", NULL});
    assert_int_equal(command_finish(&c), 0);
    cJSON *doc = json_of(&c);
    assert_int_equal(strncmp(text_of(doc, "network"), "127.0.0.1:", 10), 0);
    assert_true(number_of(cJSON_GetObjectItem(doc, "server"), "pid") > 1);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(doc, "producers")), 1);
    cJSON_Delete(doc);
    command_free(&c);
}

static void what_local_starts_dies_with_it(void **state)
{
    struct command c;
    char dir[] = "/tmp/cx-test-XXXXXX"; /* nobody will be left to remove one of its own */
    (void)state;
    assert_non_null(mkdtemp(dir));
    start_local(&c, (const char *[]){"--producers", "1", "--dir", dir, NULL});
    command_wait_text(&c, "Ctrl-C stops it all");
    pid_t server = 0, producer = 0;
    assert_int_equal(sscanf(strstr(command_out(&c), "(process "), "(process %d)", &server), 1);
    assert_int_equal(
        sscanf(strstr(command_out(&c), "producers (process "), "producers (process %d)", &producer), 1);
    command_signal(&c, SIGKILL);
    command_finish(&c);
    testnet_until("the server's end", is_gone, &server);
    testnet_until("the producer's end", is_gone, &producer);
    directory_remove(dir);
    command_free(&c);
}

/* Who may share a port says SO_REUSEADDR and asks for it by number: our daemons. */
static void a_reserved_address_is_its_daemons_alone(void **state)
{
    char address[32];
    int fd = address_reserve(address, sizeof address), other, one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    (void)state;
    assert_true(fd >= 0);
    at.sin_port = htons((uint16_t)atoi(strchr(address, ':') + 1));
    other = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(other, (struct sockaddr *)&at, sizeof at), -1);
    assert_int_equal(errno, EADDRINUSE);
    assert_int_equal(setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), 0);
    assert_int_equal(bind(other, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(other, 1), 0);
    close(other);
    close(fd);
}

#define WITH(setup, test) cmocka_unit_test_setup_teardown(test, setup, testnet_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        WITH(testnet_setup, a_job_is_submitted_watched_and_fetched),
        WITH(testnet_setup, a_job_without_producers_says_why),
        WITH(testnet_setup, listings_show_what_is_there),
        WITH(testnet_setup, a_broker_lists_its_networks),
        WITH(testnet_setup_empty, nobody_at_the_address_is_3),
        WITH(testnet_setup, ctrl_c_leaves_the_job_running),
        WITH(testnet_setup, an_administrator_sees_all_jobs),
        WITH(testnet_setup_empty, authorities_are_made_by_the_command),
        cmocka_unit_test(local_runs_a_command_on_a_network_of_its_own),
        cmocka_unit_test(local_stops_and_removes_all_on_a_signal),
        cmocka_unit_test(local_tells_programs_what_it_runs),
        cmocka_unit_test(what_local_starts_dies_with_it),
        cmocka_unit_test(a_reserved_address_is_its_daemons_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
