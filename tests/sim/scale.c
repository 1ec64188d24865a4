/* The model of a large network: scale [producers [pairs [tasks each [seconds that a producer stays]]]].
 *
 * A job of 1 s tasks enters at one shard, and spreads by stealing; machines come and go. Without arguments: a
 * small network, and the job must be done well. The line is of JSON, for the benchmarks. */
#include "tests/sim/scale-run.h"

enum { PRODUCERS = 200, PAIRS = 4, TASKS_EACH = 40, STAYS_S = 600, AWAY_S = 20 };

static void print(const struct plan *p, const struct figures *f)
{
    printf("{\"producers\":%u,\"shards\":%u,\"tasks\":%llu,\"seconds\":%.2f,\"efficiency\":%.4f,"
           "\"duplicates\":%llu,\"left\":%llu,\"between_shards\":%llu,\"between_shards_bytes\":%llu,"
           "\"with_producers\":%llu,\"steps\":%llu,\"shards_used\":%llu}\n",
           p->producers, 2 * p->pairs, (unsigned long long)f->tasks, (double)f->job_us / SECOND,
           (double)f->useful_us / (double)f->present_us, (unsigned long long)f->duplicates,
           (unsigned long long)f->left, (unsigned long long)f->between, (unsigned long long)f->between_bytes,
           (unsigned long long)f->producer, (unsigned long long)f->steps, (unsigned long long)f->shards_used);
}

int main(int argc, char **argv)
{
    uint32_t word[] = {PRODUCERS, PAIRS, TASKS_EACH, STAYS_S};
    for (int i = 1; i < argc && i < 5; i++)
        word[i - 1] = (uint32_t)strtoul(argv[i], NULL, 10);
    struct plan plan = {.producers = word[0],
                        .pairs = word[1],
                        .tasks_each = word[2],
                        .stays_s = word[3],
                        .away_s = AWAY_S,
                        .seed = 1};
    must(plan.producers && plan.pairs && plan.tasks_each);
    struct figures f = scale_run(&plan);
    print(&plan, &f);
    if (argc > 1)
        return 0;
    bool good = f.useful_us * 10 >= f.present_us * 8 && f.shards_used == 2 * plan.pairs;
    printf("%d passed, %d failed\n", good, !good);
    return !good;
}
