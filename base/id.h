/* 128-bit names: jobs and tasks.
 *
 * A TaskID is the path of a task in its job's spawn tree (root, then child numbers; the successor is child
 * 0), folded level by level to 128 bits with XXH3, so that a chain a million deep costs no more than a flat
 * job. The root's TaskID is the same in every job: names are unique within a job, and random numbers seeded
 * by them are the same in every run. */
#ifndef BASE_ID_H
#define BASE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct id {
    uint64_t hi;
    uint64_t lo;
};

#define ID_HEX_MAX 33 /* 32 digits and the terminating zero */

struct id id_root(void);
struct id id_child(struct id parent, uint32_t child);
struct id id_of_name(const char *name, uint64_t seed);
void id_hex(struct id id, char out[ID_HEX_MAX]);
bool id_parse(const char *hex, struct id *out); /* exactly 32 hex digits */

static inline bool id_equal(struct id a, struct id b)
{
    return a.hi == b.hi && a.lo == b.lo;
}
static inline bool id_is_zero(struct id a)
{
    return (a.hi | a.lo) == 0;
}

/* XXH3-64 of a run of bytes: content hashes and checksums (not a defence against forgery). */
uint64_t hash64(const void *data, size_t len, uint64_t seed);

#endif
