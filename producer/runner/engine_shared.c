#include "producer/runner/engine.h"

void engine_shared_init(struct engine_shared *s)
{
    atomic_init(&s->best_min, INT64_MAX);
    atomic_init(&s->best_max, INT64_MIN);
    atomic_init(&s->hungry, 0);
}

/* Relaxed order suffices: the bound only ever improves, and a stale one costs work, never the answer (law 9).
 */
void engine_shared_merge(struct engine_shared *s, uint32_t kind, int64_t value)
{
    bool min = kind == CX_BOUND_MIN;
    _Atomic int64_t *best = min ? &s->best_min : &s->best_max;
    int64_t seen = atomic_load_explicit(best, memory_order_relaxed);
    while (min ? value < seen : value > seen)
        if (atomic_compare_exchange_weak_explicit(best, &seen, value, memory_order_relaxed,
                                                  memory_order_relaxed))
            return;
}
