/* Loads for measuring: what a task may be made to do besides its work. Shared with the benchmarks' sequential
 * programs, so that both sides bear the same. With -std=c11, define _POSIX_C_SOURCE 199309L first. */
#ifndef EXAMPLES_SYNTHETIC_LOAD_H
#define EXAMPLES_SYNTHETIC_LOAD_H

#include <stdint.h>
#include <time.h>

/* A fixed amount of arithmetic, whoever else wants the processor: what efficiency is measured with. A round
 * is a multiplication and an addition that wait for the round before. */
static inline uint64_t load_spin(int64_t rounds)
{
    uint64_t x = 1;
    for (int64_t i = 0; i < rounds; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        __asm__ volatile("" : "+r"(x)); /* keeps the compiler from leaving the loop out */
    }
    return x;
}

static inline int64_t load_clock_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Computes until so many microseconds have passed: with more threads than processors this is less work. */
static inline void load_busy_us(int64_t us)
{
    int64_t end = load_clock_us() + us;
    while (us > 0 && load_clock_us() < end)
        load_spin(50);
}

static inline void load_doze_us(int64_t us)
{
    struct timespec left = {us / 1000000, us % 1000000 * 1000};
    while (us > 0 && nanosleep(&left, &left) != 0)
        ;
}

#endif
