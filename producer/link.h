/* The link: the shared memory between the daemon and one runner. Daemon and runner both map it; its layout is
 * known only here.
 *
 * Per thread there is a ring of grants down and a ring of commits up. Grants of a thread are numbered from 0;
 * the number finds the grant's claim, by which daemon and runner settle who has it: the thread takes it
 * before it starts, the daemon may take it back before that. `running` tells which grant a thread is in, so
 * that a crash can be laid at a task's door.
 *
 * The runner is taken for hostile: it can write all of this memory at any time, so the daemon believes
 * nothing it reads here beyond what it checks, and keeps sizes and indices of its own. The memory is sealed:
 * it cannot be shrunk under the daemon's feet. */
#ifndef PRODUCER_LINK_H
#define PRODUCER_LINK_H

#include "base/ring.h"
#include "producer/runner/engine.h"

#define LINK_VERSION     1u
#define LINK_THREADS_MAX 1024u
#define LINK_AHEAD_MAX   4096u        /* grants of one thread that are not yet committed */
#define LINK_IN_BYTES    (256u << 10) /* ring of grants */
#define LINK_OUT_BYTES   (1u << 20)   /* ring of commits */
#define LINK_GRANT_MAX   (40u << 20)
#define LINK_COMMIT_MAX  (COMMIT_BYTES_MAX + 256u)
#define LINK_WHY_MAX     200

/* The descriptors that a runner is started with. */
enum link_fd { LINK_FD_MEMORY = 3, LINK_FD_MODULE = 4, LINK_FD_BELL = 5, LINK_FD_INPUT = 6, LINK_FD_END = 7 };

enum link_state { LINK_STARTING = 0, LINK_UP = 1, LINK_REFUSED = 2 /* cannot start: see why */ };

struct link_head {
    uint32_t version, threads;
    uint32_t has_input;
    _Atomic uint32_t state;   /* enum link_state, the runner's word */
    _Atomic uint32_t culprit; /* 1 + the thread that a fatal signal hit; 0: none */
    _Atomic uint32_t signal;
    char why[LINK_WHY_MAX];              /* REFUSED: the reason, zero-terminated */
    _Alignas(64) struct bell daemon;     /* armed while the daemon sleeps; rung through LINK_FD_BELL */
    _Alignas(64) _Atomic uint32_t awake; /* threads that are not asleep */
    _Alignas(64) struct engine_shared engine;
};

/* A claim is the grant's number, shifted, and its state; a thread that finds another number there has a grant
 * that was taken back, and its place given to a later one. */
enum link_claim { CLAIM_FREE, CLAIM_STARTED, CLAIM_TAKEN_BACK, CLAIM_STATES };

struct link_thread {
    _Alignas(64) _Atomic uint32_t running; /* 1 + number of the grant it is in; 0: none */
    _Alignas(64) struct bell bell;         /* armed while the thread sleeps; a futex */
    _Alignas(64) _Atomic uint32_t claim[LINK_AHEAD_MAX];
};

/* One side's mapping. */
struct link {
    uint8_t *map; /* owned */
    size_t len;
    uint32_t threads;
    struct link_head *head;
};

/* Makes and maps the memory; *fd is the caller's to pass on and close. CX_EIO. */
int link_create(struct link *l, uint32_t threads, bool has_input, int *fd);
/* The runner's side. CX_EVERSION, CX_EIO. */
int link_attach(struct link *l, int fd);
void link_close(struct link *l);

struct link_thread *link_thread(const struct link *l, uint32_t i);
struct ring_shared *link_in(const struct link *l, uint32_t i);
struct ring_shared *link_out(const struct link *l, uint32_t i);

/* The daemon merges a better bound in. (The engine has its own; the daemon does not link the engine.) */
void link_merge_bound(struct link *l, uint32_t kind, int64_t value);

/* The daemon, before it sends grant `number`: its claim is free. */
static inline void link_claim_reset(struct link_thread *t, uint32_t number)
{
    atomic_store_explicit(&t->claim[number % LINK_AHEAD_MAX], number * CLAIM_STATES + CLAIM_FREE,
                          memory_order_relaxed);
}
static inline bool link_claim_move(struct link_thread *t, uint32_t number, enum link_claim to)
{
    uint32_t wanted = number * CLAIM_STATES + CLAIM_FREE;
    return atomic_compare_exchange_strong(&t->claim[number % LINK_AHEAD_MAX], &wanted,
                                          number * CLAIM_STATES + to);
}
/* The runner, before it starts a grant: false when the daemon has taken it back. */
static inline bool link_claim_start(struct link_thread *t, uint32_t number)
{
    return link_claim_move(t, number, CLAIM_STARTED);
}
/* The daemon: true when the grant was not started and now never will be. */
static inline bool link_claim_take_back(struct link_thread *t, uint32_t number)
{
    return link_claim_move(t, number, CLAIM_TAKEN_BACK);
}

#endif
