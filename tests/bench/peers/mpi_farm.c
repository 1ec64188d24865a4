/* A master-worker farm over MPI: rank 0 hands out N tasks of so many rounds of arithmetic, one at a time to
 * each worker, and gathers the results. Prints a line for each pair: tasks a second, or with N = 1 the median
 * microseconds of 1,000. usage: mpirun -n 3 mpi_farm N ROUNDS [N ROUNDS]... */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#include "examples/synthetic/load.h"

static void work(void)
{
    long rounds;
    for (;;) {
        MPI_Recv(&rounds, 1, MPI_LONG, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (rounds < 0)
            return;
        load_spin(rounds);
        MPI_Send(&rounds, 1, MPI_LONG, 0, 0, MPI_COMM_WORLD);
    }
}

static double run(int n, long load, int workers)
{
    double from = MPI_Wtime();
    int sent = 0;
    for (int w = 1; w <= workers && sent < n; w++, sent++)
        MPI_Send(&load, 1, MPI_LONG, w, 0, MPI_COMM_WORLD);
    for (int got = 0; got < n; got++) {
        MPI_Status from_whom;
        long result;
        MPI_Recv(&result, 1, MPI_LONG, MPI_ANY_SOURCE, 0, MPI_COMM_WORLD, &from_whom);
        if (sent < n) {
            MPI_Send(&load, 1, MPI_LONG, from_whom.MPI_SOURCE, 0, MPI_COMM_WORLD);
            sent++;
        }
    }
    return MPI_Wtime() - from;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(int n, long load, int workers)
{
    static double took[1000];
    int times = n == 1 ? 1000 : 1;
    for (int i = 0; i < times; i++)
        took[i] = run(n, load, workers);
    qsort(took, (size_t)times, sizeof *took, by_value);
    printf("%.3f\n", n == 1 ? took[times / 2] * 1e6 : n / took[0]);
}

static void lead(int argc, char **argv, int workers)
{
    long stop = -1;
    run(1000, 0, workers);
    for (int i = 1; i + 1 < argc; i += 2)
        measure(atoi(argv[i]), atol(argv[i + 1]), workers);
    for (int w = 1; w <= workers; w++)
        MPI_Send(&stop, 1, MPI_LONG, w, 0, MPI_COMM_WORLD);
}

int main(int argc, char **argv)
{
    int rank, size;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (rank)
        work();
    else
        lead(argc, argv, size - 1);
    MPI_Finalize();
    return 0;
}
