/* What failures of a pair of task servers cost, on real processes of this machine.
 *
 *     pair failover_kill [ROUNDS]         the primary is killed with kill -9 in the midst of a job
 *     pair failover_stop [ROUNDS]         it is stopped: it holds its connections and says nothing
 *     pair alternating_failures [TIMES]   one dies, comes back with an empty disk, and when all is whole the
 *                                         other one dies, under running jobs
 *     pair repair_window [ROUNDS [TASKS]] how long a second failure would be one too many, with so many tasks
 *
 * Prints a JSON line for each round; times are seconds, by the servers' logs (a millisecond) where it is
 * theirs to say. Ends badly when a job's answer is wrong. */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/support/chaos.h"
#include "tests/support/pair.h"

enum { PRODUCERS = 2 };

/* ---- Times ---- */

static double wall_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of a line of a log, which begins with 2026-01-31T23:59:59.999Z; 0 when it does not. */
static double line_s(const char *line)
{
    struct tm tm = {0};
    int ms = 0;
    const char *at = strptime(line, "%Y-%m-%dT%H:%M:%S", &tm);
    if (at == NULL || sscanf(at, ".%3d", &ms) != 1)
        return 0;
    return (double)timegm(&tm) + ms / 1e3;
}

/* When the server said this for the nth time (from 1) since then; 0: not yet. */
static double said_s(struct testnet *t, int server, double since_s, const char *text, int nth)
{
    char *line = NULL;
    size_t cap = 0;
    double at_s = 0;
    FILE *f = fopen(pair_server(t, server)->log, "re");
    assert_non_null(f);
    while (nth > 0 && getline(&line, &cap, f) > 0)
        if (line_s(line) >= since_s - 0.001 && strstr(line, text) != NULL && --nth == 0)
            at_s = line_s(line);
    free(line);
    fclose(f);
    return at_s;
}

struct saying {
    struct testnet *t;
    int server, nth;
    double since_s, at_s;
    const char *text;
};

static bool is_said(void *ctx)
{
    struct saying *s = ctx;
    s->at_s = said_s(s->t, s->server, s->since_s, s->text, s->nth);
    return s->at_s != 0;
}

/* Seconds from then until the server has said it. */
static double until_said(struct testnet *t, int server, double since_s, const char *text, int nth)
{
    struct saying s = {t, server, nth, since_s, 0, text};
    testnet_until(text, is_said, &s);
    return s.at_s - since_s;
}

/* ---- Jobs ---- */

static const char *spin(void)
{
    return built("tests/modules/spin.so");
}

static struct testnet *network_new(void)
{
    void *t = NULL;
    pair_setup(&t);
    testnet_add_producers(t, PRODUCERS);
    return t;
}

static void network_free(struct testnet *t)
{
    void *state = t;
    testnet_passed(t);
    testnet_teardown(&state);
}

static cx_job *job_begin(struct testnet *t, const char *id, const char *function, const char *size,
                         const char *us)
{
    cx_job *job;
    testnet_expect(t, 0, NULL, "submit", "--id", id, spin(), function, size, us, NULL);
    assert_int_equal(cx_attach(testnet_net(t), id, &job), 0);
    return job;
}

static uint64_t executed(cx_job *job)
{
    cx_progress p;
    return cx_job_progress(job, &p) == 0 ? p.executed : 0;
}

/* ---- Failover ---- */

static void failover_round(const char *name, int signal_number, int round)
{
    const char *id = "000000000000000000000000000000aa";
    struct testnet *t = network_new();
    cx_job *job = job_begin(t, id, "spin_tree", "10", "8000");
    testnet_until_executed(t, job, 100);
    double from = wall_s();
    pair_kill(t, 0, signal_number);
    double takeover = until_said(t, 1, from, "shard s1: primary, epoch 2", 1);
    double open = until_said(t, 1, from, "shard s1: open", 1);
    double producers = until_said(t, 1, from, "joined: ", PRODUCERS);
    testnet_until_executed(t, job, executed(job) + 1);
    double progress = wall_s() - from;
    cx_job_free(job);
    testnet_expect(t, 0, "1024\n", "wait", id, NULL);
    printf("{\"case\": \"%s\", \"round\": %d, \"takeover_s\": %.3f, \"producers_s\": %.3f, "
           "\"open_s\": %.3f, \"progress_s\": %.3f}\n",
           name, round, takeover, producers, open, progress);
    fflush(stdout);
    network_free(t);
}

static void failover_kill(int rounds, int more)
{
    (void)more;
    for (int i = 0; i < rounds; i++)
        failover_round("failover_kill", SIGKILL, i);
}

static void failover_stop(int rounds, int more)
{
    (void)more;
    for (int i = 0; i < rounds; i++)
        failover_round("failover_stop", SIGSTOP, i);
}

/* ---- One after the other ---- */

static void run_begin(struct testnet *t, struct command *c)
{
    testnet_cx_start(t, c, "run", spin(), "spin_tree", "10", "8000", NULL);
    command_ends_within(c, 300);
}

static void run_end(struct command *c)
{
    command_expect(c, 0, "1024\n");
    command_free(c);
}

static double fail_and_repair(struct testnet *t, int victim)
{
    double from = wall_s();
    pair_kill(t, victim, SIGKILL);
    pair_until_served(t, victim, 1 - victim);
    pair_wipe(t, victim);
    pair_start(t, victim);
    pair_until_whole(t);
    return wall_s() - from;
}

static void alternating_failures(int times, int more)
{
    struct testnet *t = network_new();
    struct command c;
    int jobs = 0;
    (void)more;
    run_begin(t, &c);
    for (int i = 0; i < times; i++) {
        double whole = fail_and_repair(t, i % 2);
        if (command_ends_within(&c, 0)) {
            run_end(&c);
            run_begin(t, &c);
            jobs++;
        }
        printf("{\"case\": \"alternating_failures\", \"round\": %d, \"whole_s\": %.3f, \"jobs\": %d}\n", i,
               whole, jobs);
        fflush(stdout);
    }
    run_end(&c);
    network_free(t);
}

/* ---- The window in which the next failure would be one too many ---- */

static void repair_round(int round, int tasks)
{
    const char *id = "000000000000000000000000000000bb";
    struct testnet *t = network_new();
    char size[16];
    snprintf(size, sizeof size, "%d", tasks);
    cx_job *job = job_begin(t, id, "spins", size, "10000");
    testnet_until_executed(t, job, 2);
    double from = wall_s();
    pair_kill(t, 0, SIGKILL);
    pair_until_served(t, 0, 1);
    pair_wipe(t, 0);
    double back = wall_s();
    pair_start(t, 0);
    double ready = wall_s() - back;
    double in_sync = until_said(t, 1, back, "shard s1: primary", 1);
    pair_until_whole(t);
    printf("{\"case\": \"repair_window\", \"round\": %d, \"tasks\": %d, \"away_s\": %.3f, "
           "\"ready_s\": %.3f, \"in_sync_s\": %.3f, \"whole_s\": %.3f}\n",
           round, tasks, back - from, ready, in_sync, wall_s() - back);
    fflush(stdout);
    cx_job_free(job);
    testnet_expect(t, 0, NULL, "cancel", id, NULL);
    network_free(t);
}

static void repair_window(int rounds, int tasks)
{
    for (int i = 0; i < rounds; i++)
        repair_round(i, tasks ? tasks : 1000);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(int times, int more);
        int times;
    } cases[] = {{"failover_kill", failover_kill, 5},
                 {"failover_stop", failover_stop, 5},
                 {"alternating_failures", alternating_failures, 20},
                 {"repair_window", repair_window, 5}};
    for (size_t i = 0; argc > 1 && i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(argv[1], cases[i].name) != 0)
            continue;
        cases[i].run(argc > 2 ? atoi(argv[2]) : cases[i].times, argc > 3 ? atoi(argv[3]) : 0);
        return 0;
    }
    fprintf(stderr, "usage: pair failover_kill|failover_stop|alternating_failures|repair_window [TIMES "
                    "[TASKS]]\n");
    return 2;
}
