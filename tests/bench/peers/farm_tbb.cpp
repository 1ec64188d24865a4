// N independent tasks of so many rounds of arithmetic in a oneTBB task_group: rows of 1,000, each a task that
// spawns its own, so that all threads spawn. Prints a line for each pair: tasks a second. usage: farm_tbb
// THREADS N ROUNDS...
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <tbb/global_control.h>
#include <tbb/task_group.h>

#include "examples/synthetic/load.h"

static void row(long n, long rounds)
{
    tbb::task_group g;
    for (long i = 0; i < n; i++)
        g.run([=] { load_spin(rounds); });
    g.wait();
}

static double run(long n, long rounds)
{
    auto from = std::chrono::steady_clock::now();
    tbb::task_group g;
    for (long i = 0; i < n; i += 1000)
        g.run([=] { row(n - i < 1000 ? n - i : 1000, rounds); });
    g.wait();
    std::chrono::duration<double> took = std::chrono::steady_clock::now() - from;
    return double(n) / took.count();
}

int main(int argc, char **argv)
{
    tbb::global_control limit(tbb::global_control::max_allowed_parallelism, argc > 1 ? atoi(argv[1]) : 1);
    run(1000, 0);
    for (int i = 2; i + 1 < argc; i += 2)
        printf("%.3f\n", run(atol(argv[i]), atol(argv[i + 1])));
}
