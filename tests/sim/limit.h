/* A seed that does not end has failed. */
#ifndef TESTS_SIM_LIMIT_H
#define TESTS_SIM_LIMIT_H

#include <sys/time.h>

#include "base/must.h"

/* From now on the process has so many seconds of processor time: one that is paused or starved takes none. */
static inline void limit_seconds(unsigned seconds)
{
    must(setitimer(ITIMER_PROF, &(struct itimerval){.it_value.tv_sec = seconds}, NULL) == 0);
}

#endif
