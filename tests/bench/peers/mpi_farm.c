/* A master-worker farm over MPI: rank 0 hands out N tasks of NS nanoseconds, one at a time to each worker,
 * and gathers the results. Prints tasks a second, or with N = 1 the median microseconds of ROUNDS. usage:
 * mpirun -n 3 mpi_farm N NS [ROUNDS] */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

static void work(void)
{
    long ns;
    for (;;) {
        MPI_Recv(&ns, 1, MPI_LONG, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (ns < 0)
            return;
        for (double until = MPI_Wtime() + (double)ns * 1e-9; ns && MPI_Wtime() < until;)
            ;
        MPI_Send(&ns, 1, MPI_LONG, 0, 0, MPI_COMM_WORLD);
    }
}

static double run(int n, long ns, int workers)
{
    double from = MPI_Wtime();
    int sent = 0;
    for (int w = 1; w <= workers && sent < n; w++, sent++)
        MPI_Send(&ns, 1, MPI_LONG, w, 0, MPI_COMM_WORLD);
    for (int got = 0; got < n; got++) {
        MPI_Status from_whom;
        long result;
        MPI_Recv(&result, 1, MPI_LONG, MPI_ANY_SOURCE, 0, MPI_COMM_WORLD, &from_whom);
        if (sent < n) {
            MPI_Send(&ns, 1, MPI_LONG, from_whom.MPI_SOURCE, 0, MPI_COMM_WORLD);
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

static void lead(int n, long ns, int rounds, int workers)
{
    double *took = malloc(sizeof *took * (size_t)rounds);
    run(100, 0, workers);
    for (int i = 0; i < rounds; i++)
        took[i] = run(n, ns, workers);
    qsort(took, (size_t)rounds, sizeof *took, by_value);
    printf("%.3f\n", n == 1 ? took[rounds / 2] * 1e6 : n / took[rounds / 2]);
    free(took);
    long stop = -1;
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
        lead(argc > 1 ? atoi(argv[1]) : 10000, argc > 2 ? atol(argv[2]) : 0, argc > 3 ? atoi(argv[3]) : 5,
             size - 1);
    MPI_Finalize();
    return 0;
}
