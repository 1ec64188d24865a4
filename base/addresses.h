/* Lists of addresses, HOST:PORT with commas between: the places where one thing may be found, dialled in
 * turn. */
#ifndef BASE_ADDRESSES_H
#define BASE_ADDRESSES_H

#include <stdbool.h>
#include <stddef.h>

/* How many there are; an empty list has none. */
unsigned addresses_count(const char *list);
/* The i-th, counted round and round, cut to max bytes with the zero; "" of an empty list. */
void address_at(const char *list, unsigned i, char *out, size_t max);
/* Appends those of `more` that are not in it yet, while they fit max bytes. True when the list has grown. */
bool addresses_add(char *list, size_t max, const char *more);

#endif
