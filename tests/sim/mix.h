/* Two numbers to one that looks random: the simulators' dice, and their programs'. */
#ifndef TESTS_SIM_MIX_H
#define TESTS_SIM_MIX_H

#include <stdint.h>

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t h = a * 0x9e3779b97f4a7c15u + b + 0x632be59bd9b4e019u;
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 27) * 0x94d049bb133111ebu;
    return h ^ h >> 31;
}

#endif
