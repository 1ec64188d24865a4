/* The sequential program that tasks with a load are measured against: the same load, no tasks.
 *
 *     load_seq fib N ROUNDS       F(n): Fibonacci's recursion, so many rounds of arithmetic a call
 *     load_seq loop N ROUNDS      so many rounds, N times
 *
 * Prints seconds of the clock and of the processor. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "examples/synthetic/load.h"

static int64_t fib(int64_t n, int64_t rounds)
{
    load_spin(rounds);
    return n < 2 ? n : fib(n - 1, rounds) + fib(n - 2, rounds);
}

static int64_t loop(int64_t n, int64_t rounds)
{
    for (int64_t i = 0; i < n; i++)
        load_spin(rounds);
    return n;
}

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    if (argc != 4 || (strcmp(argv[1], "fib") != 0 && strcmp(argv[1], "loop") != 0)) {
        fprintf(stderr, "usage: load_seq fib|loop N ROUNDS\n");
        return 2;
    }
    int64_t n = atoll(argv[2]), rounds = atoll(argv[3]);
    double cpu = cpu_s();
    uint64_t from = clock_ns();
    volatile int64_t answer = argv[1][0] == 'f' ? fib(n, rounds) : loop(n, rounds);
    (void)answer;
    printf("%.9f %.9f\n", (double)(clock_ns() - from) / 1e9, cpu_s() - cpu);
    return 0;
}
