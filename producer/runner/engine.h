/* The runner's engine: runs a granted task and, while its budget lasts, the tasks below it; writes one
 * commit.
 *
 * One engine belongs to one thread. A granted task's children run last in, first out, on the engine's own
 * arena; local successors are joined without telling anyone (collapse, law 7). When the budget is spent, or
 * `hungry` moves, what is left - ready tasks and half-filled successors - is written into the commit as the
 * frontier, with names relative to the granted task. Spawning, running and joining a local task costs a few
 * nanoseconds.
 *
 * The engine uses libc only: no wire, no locks; what it shares with other threads are the atomics of
 * engine_shared. It is linked by the runner, by local:// and by the benchmarks. */
#ifndef RUNNER_ENGINE_H
#define RUNNER_ENGINE_H

#include <stdatomic.h>

#include "base/commit.h"

/* Shared by the engines of one job on one machine, and with the daemon (it lies in shared memory). */
struct engine_shared {
    _Atomic int64_t best_min; /* INT64_MAX: none yet */
    _Atomic int64_t best_max; /* INT64_MIN: none yet */
    _Atomic uint32_t hungry;  /* moves when others are idle: publish soon */
};
void engine_shared_init(struct engine_shared *s);
void engine_shared_merge(struct engine_shared *s, uint32_t kind, int64_t value); /* keeps the better one */

struct engine_config {
    const cx_module *module;
    struct bytes input; /* the job's, may be empty */
    struct engine_shared *shared;
    uint64_t (*clock_ns)(void); /* monotonic; budgets are measured with it */
    size_t memory_max;          /* of arena and values; reached: the frontier is published early */
};

struct engine;

int engine_new(const struct engine_config *config, struct engine **out);
void engine_free(struct engine *e);

/* Runs the grant and appends one commit record (commit.h) to out. budget_us 0: the granted task alone.
 * UINT32_MAX: as long as it takes, unless others become hungry. Limits of memory, depth and the commit's size
 * end a grant early. A misbehaving task gives a commit whose body is FAIL; the engine stays usable. Tasks
 * that go over a limit together do not fail for it: the granted task is then run again alone. */
void engine_run(struct engine *e, const struct grant *g, struct buf *out);

#endif
