/* Every example of examples/CHECKS gives its exact answer: with 1, 2, 4 and 8 producers, left alone and with
 * producers killed and joining at random moments, and on a pair whose servers die in turns as well. `make
 * soak RUNS=20` (CX_SOAK_RUNS) repeats it all, and adds the engine of local://, and a server that does not
 * collapse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/support/chaos.h"
#include "tests/support/pair.h"

#define CHECKS_MAX   256
#define WORDS_MAX    24
#define AT_ONCE      3
#define LONG_EVERY   10
#define CHURN_MIN_MS 20
#define CHURN_MAX_MS 250

static bool soaking(void)
{
    return getenv("CX_SOAK_RUNS") != NULL;
}

static int soak_runs(void)
{
    const char *runs = getenv("CX_SOAK_RUNS");
    return runs != NULL && atoi(runs) > 0 ? atoi(runs) : 1;
}

/* ---- The table ---- */

struct check {
    bool is_long;
    char line[512];              /* holds the words */
    const char *word[WORDS_MAX]; /* "run" MODULE.so FUNCTION ...; NULL-terminated */
    char module[512], result[128];
};

static struct check checks[CHECKS_MAX];
static int checks_n;

static void check_parse(struct check *c, const char *line)
{
    int n = 0;
    char *arrow;
    snprintf(c->line, sizeof c->line, "%s", line);
    if ((arrow = strstr(c->line, " => ")) == NULL)
        fail_msg("examples/CHECKS: no result in: %s", line);
    snprintf(c->result, sizeof c->result, "%s", arrow + 4);
    *arrow = '\0';
    c->word[n++] = "run";
    char *word = strtok(c->line, " \t");
    if (word != NULL && strcmp(word, "long") == 0) {
        c->is_long = true;
        word = strtok(NULL, " \t");
    }
    for (; word != NULL && n < WORDS_MAX - 1; word = strtok(NULL, " \t"))
        c->word[n++] = word;
    assert_true(n >= 3 && word == NULL);
    snprintf(c->module, sizeof c->module, "%s", built("examples/%s.so", c->word[1]));
    c->word[1] = c->module;
}

static int checks_read(void **state)
{
    char line[512];
    FILE *f = fopen("examples/CHECKS", "re");
    (void)state;
    if (f == NULL) {
        print_error("examples/CHECKS is not there: run from the top of the tree\n");
        return -1;
    }
    while (fgets(line, sizeof line, f) != NULL) {
        if (strchr(line, '\n') == NULL || checks_n == CHECKS_MAX)
            return -1;
        *strchr(line, '\n') = '\0';
        if (line[0] != '\0' && line[0] != '#')
            check_parse(&checks[checks_n++], line);
    }
    fclose(f);
    return checks_n > 0 ? 0 : -1;
}

/* ---- Producers, and servers, that come and go ---- */

struct churn {
    struct testnet *net; /* NULL: they stay */
    struct chaos chaos;
    uint32_t most_ms; /* between two events */
    bool dead[NETWORK_PRODUCERS_MAX];
    unsigned kills;
    bool pair;         /* servers too: the next one when both have everything again */
    int server;        /* that is dead; -1: none */
    unsigned failures; /* of servers */
};

/* It comes back with its disk, or, every other time, with an empty one. */
static void churn_servers(struct churn *c)
{
    if (c->server >= 0) {
        if (c->failures % 2 == 0)
            pair_wipe(c->net, c->server);
        pair_start(c->net, c->server);
        c->server = -1;
    } else if (pair_is_whole(c->net)) {
        c->server = (int)chaos_below(&c->chaos, 2);
        pair_kill(c->net, c->server, SIGKILL);
        c->failures++;
    }
}

static void churn_once(struct churn *c)
{
    int i = (int)chaos_below(&c->chaos, (uint32_t)c->net->network.producers);
    if (c->pair && chaos_below(&c->chaos, 2) == 0) {
        churn_servers(c);
        return;
    }
    if (c->dead[i]) {
        testnet_restart_producer(c->net, i);
    } else {
        testnet_kill_producer(c->net, i, SIGKILL);
        c->kills++;
    }
    c->dead[i] = !c->dead[i];
}

static void churn_rest(struct churn *c)
{
    for (int i = 0; c->net != NULL && i < c->net->network.producers; i++)
        if (c->dead[i])
            testnet_restart_producer(c->net, i);
    memset(c->dead, 0, sizeof c->dead);
    if (c->pair && c->server >= 0)
        churn_servers(c);
    if (c->pair)
        pair_until_whole(c->net);
}

/* ---- Running the table ---- */

struct running {
    struct command command[AT_ONCE];
    const struct check *check[AT_ONCE];
};

static void finish(struct running *r, int i)
{
    const struct check *c = r->check[i];
    struct command *run = &r->command[i];
    char want[sizeof c->result + 1];
    snprintf(want, sizeof want, "%s\n", c->result);
    if (command_finish(run) != 0 || strcmp(command_out(run), want) != 0)
        fail_msg("%s %s %s...: want %s; it ended with %d and said:\n%s%s", c->module, c->word[2],
                 c->word[3] != NULL ? c->word[3] : "", c->result, run->code, command_out(run),
                 command_err(run));
    command_free(run);
    r->check[i] = NULL;
}

/* Until one of those that run has ended; meanwhile, producers come and go. */
static int wait_any(struct running *r, struct churn *churn)
{
    uint64_t limit = clock_us() + (uint64_t)(soaking() ? 600 : 120) * 1000000;
    for (;;) {
        int ms = churn->net != NULL ? (int)chaos_between(&churn->chaos, CHURN_MIN_MS, churn->most_ms) : 1000;
        int i = commands_any_end(r->command, AT_ONCE, ms);
        if (i >= 0)
            return i;
        if (clock_us() > limit)
            fail_msg("none of the jobs that run has ended for minutes");
        if (churn->net != NULL)
            churn_once(churn);
    }
}

/* A few at a time, so that jobs share producers. start: NULL-terminated words to a command that runs. */
static void run_all(void (*start)(void *ctx, struct command *c, const char *const *words), void *ctx,
                    struct churn *churn, bool (*wanted)(void *ctx, int line))
{
    struct running r = {0};
    int next = 0, busy = 0;
    while (next < checks_n || busy > 0) {
        int i = 0;
        while (i < AT_ONCE && r.check[i] != NULL)
            i++;
        if (next < checks_n && !wanted(ctx, next)) {
            next++;
        } else if (next < checks_n && i < AT_ONCE) {
            r.check[i] = &checks[next++];
            start(ctx, &r.command[i], r.check[i]->word);
            busy++;
        } else if (busy > 0) {
            finish(&r, wait_any(&r, churn));
            busy--;
        }
    }
}

struct table {
    struct testnet *net;
    bool churns;
    bool small; /* without collapse, the trees of uts take minutes each */
    int run;    /* of a soak */
};

static void start_remote(void *ctx, struct command *c, const char *const *words)
{
    testnet_cx_startv(((struct table *)ctx)->net, c, words);
}

/* Long ones only in every tenth run of a soak, and there with four producers. Otherwise, while producers come
 * and go, a network takes every other line: each is run with two numbers of producers, in half the time. */
static bool is_wanted(void *ctx, int line)
{
    const struct table *t = ctx;
    int producers = t->net->network.producers;
    if (checks[line].is_long)
        return soaking() && producers == 4 && t->run % LONG_EVERY == 0;
    if (t->small && strstr(checks[line].module, "uts") != NULL)
        return false;
    return soaking() || !t->churns || (line + (producers == 2 || producers == 8)) % 2 == 0;
}

static void exact_at(void **state, int producers, bool churns)
{
    struct testnet *t = *state;
    struct table table = {t, churns, t->server_options != NULL, 0};
    struct churn churn = {.net = churns ? t : NULL, .most_ms = CHURN_MAX_MS * (table.small ? 6 : 1)};
    if (churns)
        churn.chaos = chaos_begin("producers come and go");
    testnet_add_producers(t, producers);
    for (; table.run < soak_runs(); table.run++) {
        run_all(start_remote, &table, &churn, is_wanted);
        churn_rest(&churn);
    }
    if (churns)
        print_message("%d producers: %u killed\n", producers, churn.kills);
    testnet_passed(t);
}

static void exact_while_servers_die(void **state)
{
    struct testnet *t = *state;
    struct table table = {t, true, false, 0};
    struct churn churn = {.net = t,
                          .most_ms = CHURN_MAX_MS,
                          .pair = true,
                          .server = -1,
                          .chaos = chaos_begin("servers and producers come and go")};
    testnet_add_producers(t, 4);
    for (; table.run < soak_runs(); table.run++) {
        run_all(start_remote, &table, &churn, is_wanted);
        churn_rest(&churn);
        print_message("run %d: %u servers and %u producers killed so far\n", table.run + 1, churn.failures,
                      churn.kills);
        fflush(stdout);
    }
    assert_true(churn.failures > 0);
    testnet_passed(t);
}

static void exact_with_1_producer(void **state)
{
    exact_at(state, 1, false);
}

static void exact_with_2_producers(void **state)
{
    exact_at(state, 2, false);
}

static void exact_with_4_producers(void **state)
{
    exact_at(state, 4, false);
}

static void exact_with_8_producers(void **state)
{
    exact_at(state, 8, false);
}

static void exact_while_1_producer_comes_and_goes(void **state)
{
    exact_at(state, 1, true);
}

static void exact_while_2_producers_come_and_go(void **state)
{
    exact_at(state, 2, true);
}

static void exact_while_4_producers_come_and_go(void **state)
{
    exact_at(state, 4, true);
}

static void exact_while_8_producers_come_and_go(void **state)
{
    exact_at(state, 8, true);
}

/* ---- Soak only ---- */

static void start_local(void *ctx, struct command *c, const char *const *words)
{
    const char *all[WORDS_MAX + 4] = {built("bin/cx"), words[0], "--network", "local://"};
    int n = 0;
    (void)ctx;
    while ((all[4 + n] = words[1 + n]) != NULL)
        n++;
    command_start(c, all, NULL);
}

static bool is_short(void *ctx, int line)
{
    (void)ctx;
    return !checks[line].is_long;
}

static void exact_in_one_process(void **state)
{
    struct churn churn = {0};
    (void)state;
    for (int run = 0; run < soak_runs(); run++)
        run_all(start_local, NULL, &churn, is_short);
}

static void exact_without_collapse(void **state)
{
    static const char *const options[] = {"--no-collapse", NULL};
    struct testnet *t = *state;
    t->server_options = options;
    testnet_start_broker(t);
    testnet_start_server(t);
    exact_at(state, 2, true);
}

#define ON_NET(test) cmocka_unit_test_setup_teardown(test, testnet_setup, testnet_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_NET(exact_with_1_producer),
        ON_NET(exact_with_2_producers),
        ON_NET(exact_with_4_producers),
        ON_NET(exact_with_8_producers),
        ON_NET(exact_while_1_producer_comes_and_goes),
        ON_NET(exact_while_2_producers_come_and_go),
        ON_NET(exact_while_4_producers_come_and_go),
        ON_NET(exact_while_8_producers_come_and_go),
        cmocka_unit_test_setup_teardown(exact_while_servers_die, pair_setup_journal, testnet_teardown),
    };
    const struct CMUnitTest soak[] = {
        cmocka_unit_test(exact_in_one_process),
        cmocka_unit_test_setup_teardown(exact_without_collapse, testnet_setup_empty, testnet_teardown),
    };
    cmocka_set_test_filter(getenv("CX_TEST_FILTER")); /* NULL: all of them */
    int failed = cmocka_run_group_tests(tests, checks_read, NULL);
    if (soaking())
        failed += cmocka_run_group_tests(soak, NULL, NULL);
    return failed;
}
