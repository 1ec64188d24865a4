/* fib as OpenMP tasks all the way down. Prints nanoseconds a task and thread, the best of 7. usage: fib_omp N
 * THREADS */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

static long fib(long n)
{
    if (n < 2)
        return n;
    long a, b;
#pragma omp task shared(a)
    a = fib(n - 1);
#pragma omp task shared(b)
    b = fib(n - 2);
#pragma omp taskwait
    return a + b;
}

static double calls(long n)
{
    double a = 1, b = 1;
    for (long i = 2; i <= n; i++) {
        double c = a + b + 1;
        a = b;
        b = c;
    }
    return b;
}

static long run(long n)
{
    long answer = 0;
#pragma omp parallel
#pragma omp single
    answer = fib(n);
    return answer;
}

int main(int argc, char **argv)
{
    long n = argc > 1 ? atol(argv[1]) : 30;
    int threads = argc > 2 ? atoi(argv[2]) : 1;
    omp_set_num_threads(threads);
    run(20);
    double best = 1e9;
    for (int i = 0; i < 7; i++) {
        double from = omp_get_wtime();
        volatile long answer = run(n);
        double took = omp_get_wtime() - from;
        (void)answer;
        best = took < best ? took : best;
    }
    printf("%.3f\n", best * 1e9 * threads / calls(n));
    return 0;
}
