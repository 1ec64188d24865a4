/* The one place that reads clocks. Shells and mains use it; cores are given the time in their events. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_ns(void);      /* monotonic */
uint64_t clock_us(void);      /* monotonic */
uint64_t clock_wall_us(void); /* since 1970, UTC; jumps when somebody sets the clock: never for durations */

#endif
