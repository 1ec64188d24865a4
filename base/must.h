/* must(condition): a broken invariant of ours ends the process, in release builds too. Never for the world's
 * errors: those are answered. */
#ifndef BASE_MUST_H
#define BASE_MUST_H

#include <stdio.h>
#include <stdlib.h>

#define must(condition)                                                                                      \
    do {                                                                                                     \
        if (__builtin_expect(!(condition), 0)) {                                                             \
            fprintf(stderr, "%s:%d: %s: broken invariant: %s\n", __FILE__, __LINE__, __func__, #condition);  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

#endif
