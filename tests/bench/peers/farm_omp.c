/* N independent OpenMP tasks of so many rounds of arithmetic: rows of 1,000, each a task that spawns its own,
 * so that all threads spawn. Prints a line for each pair: tasks a second. usage: farm_omp THREADS N ROUNDS [N
 * ROUNDS]... */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "examples/synthetic/load.h"

static void row(long n, long rounds)
{
    for (long i = 0; i < n; i++) {
#pragma omp task firstprivate(rounds)
        load_spin(rounds);
    }
#pragma omp taskwait
}

static double run(long n, long rounds)
{
    double from = omp_get_wtime();
#pragma omp parallel
#pragma omp single
    for (long i = 0; i < n; i += 1000) {
#pragma omp task firstprivate(i, n, rounds)
        row(n - i < 1000 ? n - i : 1000, rounds);
    }
    return (double)n / (omp_get_wtime() - from);
}

int main(int argc, char **argv)
{
    omp_set_num_threads(argc > 1 ? atoi(argv[1]) : 1);
    run(1000, 0);
    for (int i = 2; i + 1 < argc; i += 2)
        printf("%.3f\n", run(atol(argv[i]), atol(argv[i + 1])));
    return 0;
}
