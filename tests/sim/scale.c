/* A model of how CX scales: up to 10,000 producers and 64 pairs of servers (128 shards), in virtual time.
 *
 *     scale                     a small network; asserts what must hold (a test)
 *     scale SIZE...             networks of so many producers
 *     scale --full              10, 100, 1,000 and 10,000 producers
 *     --json                    one JSON object instead of the table; --svg FILE: the plot
 *
 * The servers are the real thing: every shard is taskserver/core as it is shipped, with its stealing, and
 * every message that it gives is delivered, late. Modelled are the rest: a producer is a few lines
 * (scale-run.h) that keep its threads busy with the grants it holds, and ask for two a thread, as limited
 * commitment comes to for tasks of a second; producer/core with its seats, runners, rings, bundles and
 * measured round trips decides nothing more where a task is a second long, and ten thousand of it would cost
 * more than the 128 servers that are the question. Replication is modelled by its latency only: what a shard
 * logs is held one flush and one round trip to the sibling later; nothing of it is counted as a message. No
 * server dies here: net-sim and pair-sim are for that. Nor does a message, a grant or a commit cost a server
 * time: bench is for that.
 *
 * Producers have 1 to 4 threads and are 1 to 50 ms away (one way) from a server that is drawn at random; they
 * stay 20 minutes in the mean, then they go with what they run (one in four without a word), and others come.
 * Shards are 50 ms from each other, siblings too. JOBS trees, whose leaves are tasks of 3/4 to 5/4 s, enter
 * at one shard of an idle network; every task is a commit of its own (no collapse). There is as much work for
 * a thread at every size (weak scaling).
 *
 * efficiency = work of all tasks, each counted once / threads present x time from submission to last result.
 */
#include <time.h>

#include "tests/sim/scale-run.h"

enum {
    SIZES_MAX = 16,
    SMALL = 200,
    SMALL_LEAVES = 40,
    LEAVES = 100
}; /* leaves a place: so much work a thread / 2.5 */

struct figures {
    uint32_t producers, pairs;
    uint64_t tasks;
    double seconds, thread_s, efficiency, with_producers, between, between_bytes, cpu_s;
    uint64_t duplicates, lost;
};

static double cpu_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static uint32_t pairs_of(uint32_t producers)
{
    uint32_t pairs = (producers * 64 + 5000) / 10000;
    return pairs ? pairs : 1;
}

static void jobs_run(struct world *w)
{
    uint64_t limit = w->now + IDLE_US + 100 * (uint64_t)JOBS * (uint64_t)w->leaves * SECOND / w->places;
    world_until(w, w->now + IDLE_US);
    threads_change(w, 0);
    w->start_us = w->now;
    w->to_producers = w->from_producers = w->between = 0;
    for (uint32_t i = 0; i < JOBS; i++)
        job_submit(w, i);
    while (w->done < JOBS) {
        if (w->now > limit)
            broken(w, "the jobs do not end");
        world_until(w, w->now + SECOND);
    }
}

/* Duplicates: leaves that ran to their end more than once. Lost: runs that their producer took with it. */
static struct figures measure(uint32_t producers, uint32_t pairs, int64_t leaves)
{
    struct world w;
    double began = cpu_s();
    uint64_t end_us = 0;
    world_open(&w, producers, pairs, leaves * producers / JOBS);
    jobs_run(&w);
    for (uint32_t i = 0; i < JOBS; i++)
        end_us = w.job[i].done_us > end_us ? w.job[i].done_us : end_us;
    struct figures f = {.producers = producers,
                        .pairs = pairs,
                        .tasks = JOBS * tree_tasks(w.leaves),
                        .seconds = (double)(end_us - w.start_us) / 1e6,
                        .thread_s = w.thread_s,
                        .efficiency = work_s(&w) / w.thread_s,
                        .duplicates = w.leaves_run - JOBS * (uint64_t)w.leaves,
                        .lost = w.lost};
    f.with_producers = (double)(w.to_producers + w.from_producers) / (double)f.tasks;
    f.between = (double)w.between / (double)f.tasks;
    f.between_bytes = (double)w.between_bytes / (double)f.tasks;
    world_close(&w);
    f.cpu_s = cpu_s() - began;
    return f;
}

/* ---- Saying it ---- */

static void print_head(void)
{
    puts("producers  pairs      tasks  threads  seconds  efficiency  duplicates  lost  messages a task:");
    puts("                                                                         with producers  between "
         "shards (bytes)  cpu s");
}

static void print_row(const struct figures *f)
{
    printf("%9u %6u %10llu %8.0f %8.1f %11.3f %11llu %5llu %15.2f %15.3f %7.0f %6.1f\n", f->producers,
           f->pairs, (unsigned long long)f->tasks, f->thread_s / f->seconds, f->seconds, f->efficiency,
           (unsigned long long)f->duplicates, (unsigned long long)f->lost, f->with_producers, f->between,
           f->between_bytes, f->cpu_s);
    fflush(stdout);
}

static void print_json(const struct figures *f, uint32_t n)
{
    printf("{\"sizes\":[");
    for (uint32_t i = 0; i < n; i++)
        printf("%s{\"producers\":%u,\"pairs\":%u,\"tasks\":%llu,\"threads\":%.0f,\"seconds\":%.2f,"
               "\"efficiency\":%.4f,\"duplicates\":%llu,\"lost\":%llu,\"messages_producers\":%.3f,"
               "\"messages_shards\":%.4f,\"cpu_s\":%.1f}",
               i ? "," : "", f[i].producers, f[i].pairs, (unsigned long long)f[i].tasks,
               f[i].thread_s / f[i].seconds, f[i].seconds, f[i].efficiency,
               (unsigned long long)f[i].duplicates, (unsigned long long)f[i].lost, f[i].with_producers,
               f[i].between, f[i].cpu_s);
    puts("]}");
}

/* The small network, as a test: what must hold is asserted on the way, and that it spread is checked here. */
static int test(void)
{
    struct figures f = measure(SMALL, 4, SMALL_LEAVES);
    bool spread = f.efficiency > 0.5; /* one shard alone could not have more than an eighth */
    print_head();
    print_row(&f);
    printf("%d passed, %d failed\n", spread, !spread);
    return !spread;
}

int main(int argc, char **argv)
{
    static const uint32_t full[] = {10, 100, 1000, 10000};
    struct figures f[SIZES_MAX];
    uint32_t size[SIZES_MAX], n = 0;
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--full") == 0)
            for (uint32_t k = 0; k < 4; k++)
                size[n++] = full[k];
        else
            size[n++] = (uint32_t)atoi(argv[i]);
    }
    if (!n)
        return test();
    if (!json)
        print_head();
    for (uint32_t i = 0; i < n; i++) {
        f[i] = measure(size[i], pairs_of(size[i]), LEAVES);
        if (!json)
            print_row(&f[i]);
    }
    if (json)
        print_json(f, n);
    return 0;
}
