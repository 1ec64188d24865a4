/* What libcx promises (include/cx/consumer.h), tested on whatever network is given: local:// by a unit test,
 * real processes by an end-to-end test. The same tests, since it is the same interface with the same results.
 */
#ifndef TESTS_SUPPORT_CONSUMER_SUITE_H
#define TESTS_SUPPORT_CONSUMER_SUITE_H

#include <stddef.h>

#include "cx/consumer.h"

struct suite_test {
    const char *name;
    void (*run)(cx_net *net);
};

extern const struct suite_test consumer_suite[];
extern const size_t consumer_suite_n;

#endif
