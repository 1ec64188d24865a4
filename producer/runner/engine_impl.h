/* The inside of the engine: frames and what its files share. Only engine*.c include this.
 *
 * engine.c          a grant from beginning to end: the loop, the budget
 * engine_api.c      what tasks call: spawn, successor, set, give, ...
 * engine_frame.c    frames: where slots lie, naming, release
 * engine_publish.c  the commit: the frontier, the values set, the bound
 * engine_arena.c    memory of values
 * engine_fail.c     what a misbehaving task is told
 * engine_shared.c   the bound shared between engines
 *
 * A frame is one local task, waiting or ready or run. It lies in one region and is known outside by a handle,
 * index and generation, so that an address whose task is gone is recognised and dropped. A task that has run
 * keeps its frame while descendants of it live, because their names lead through it.
 *
 *     (new) -> WAITING -> READY -> RUNNING -> DONE -> FREE
 *                 \-> FREE                            well-known successors are finished by the value set
 * last */
#ifndef RUNNER_ENGINE_IMPL_H
#define RUNNER_ENGINE_IMPL_H

#include "base/must.h"
#include "base/wellknown.h"
#include "producer/runner/engine.h"
#include "producer/runner/engine_arena.h"

#define FRAME_VALUES       4u         /* values that fit into the frame itself */
#define FRAME_RUNNING_REFS (1u << 30) /* keeps a running frame's count above zero */
#define FRAME_OF_INHERITED 1u
#define FRAME_FIRST        2u  /* frames below stand for no task and for inherited addresses */
#define FN_TABLE           64u /* at least twice CX_MODULE_TASKS_MAX, a power of two */

enum frame_state {
    FRAME_FREE = 0,
    FRAME_INHERITED, /* the one frame that stands for the addresses the granted task was given */
    FRAME_WAITING,
    FRAME_READY,
    FRAME_RUNNING,
    FRAME_DONE,
};

enum frame_flag {
    FRAME_BLOCK = 1,     /* slot points to a block of the arena, else to value[] */
    FRAME_BYTES = 2,     /* some slot holds bytes of the arena */
    FRAME_OPTS = 4,      /* a cx_opts lies behind the values */
    FRAME_WIDE = 8,      /* more than 64 slots: a struct wide lies behind values and options */
    FRAME_BORROWED = 16, /* bytes belong to the grant */
    FRAME_ID = 32,       /* DONE: id is known */
};

/* 128 bytes, the first 64 of them all that a set or a release touches. */
struct frame {
    uint32_t gen; /* of the handle; moves when the frame is freed */
    uint8_t fn;
    uint8_t state;
    uint8_t flags;
    uint8_t unused;
    uint64_t unset; /* bit i: slot i is still empty. 0 for FRAME_WIDE */
    uint64_t home;  /* handle: where the value goes */
    uint32_t home_slot;
    uint32_t nslots;
    cx_value *slot;
    struct frame *parent;
    union {
        struct frame *link; /* READY, FREE: the next */
        struct {
            uint32_t refs; /* RUNNING, DONE: children that are not yet free */
            uint32_t name; /* in the commit being written; 0: none yet */
        };
    };
    uint32_t child; /* number below parent */
    uint32_t depth; /* levels below the granted task */
    union {
        cx_value value[FRAME_VALUES];
        struct id id; /* DONE */
    };
};
_Static_assert(sizeof(struct frame) == 128, "two cache lines");
_Static_assert(sizeof(cx_opts) == sizeof(cx_value), "options take the place of one value");

struct wide {
    uint64_t missing; /* slots still empty */
    uint64_t unset[]; /* as in struct frame */
};

/* A value for an inherited address, kept until the commit is written. */
struct engine_set {
    uint32_t index;
    cx_value value;
};

struct engine_fn {
    cx_fn run;
    uint32_t number;
};

struct engine {
    cx_ctx ctx; /* first: tasks are handed a pointer to it */

    /* The running task. */
    struct frame *cur;
    uint32_t children; /* numbers given out; the first successor's 0 is not among them */
    uint32_t successors;
    uint32_t randoms; /* calls of cx_random so far */
    bool handed;      /* its home has been set, inherited or taken */
    bool id_known;
    struct id id;

    /* Frames. */
    struct frame *ready; /* stack */
    struct frame *free;
    struct frame *frames; /* owned region; frame 0 stands for no task, 1 for the inherited addresses */
    uint32_t mask;        /* frames in the region, less one */
    uint32_t top;         /* frames used so far */
    uint32_t inherited;   /* addresses, home included */

    /* Stopping. */
    uint32_t until; /* tasks until the next look at the clock; 1 asks for a look now */
    uint32_t stride;
    uint32_t hungry;
    uint32_t growths; /* tasks that went over memory_soft */
    bool grown;
    bool deep;
    uint64_t start_ns, looked_ns, deadline_ns;
    uint64_t executed, looked_executed;
    size_t memory_soft; /* publish soon */
    size_t wide_bytes;  /* what wide successors add to the commit beyond their memory */

    cx_fn run[FN_MAX + 1];
    cx_value start[CX_WELL_KNOWN_END]; /* where folding starts */
    bool any_order[CX_WELL_KNOWN_END];
    struct engine_fn fn[FN_TABLE]; /* by address, open addressing */

    struct arena arena;
    struct buf sets;    /* of struct engine_set */
    struct buf was_set; /* a byte for each inherited address */
    struct buf path;    /* scratch: of struct frame * */
    struct buf joined;  /* scratch: bytes that CX_CONCAT made, until they are copied to a slot */
    struct buf body;    /* scratch: the commit's */
    int64_t offered[CX_BOUND_MAX + 1]; /* the best this grant found */
    bool has_offer[CX_BOUND_MAX + 1];
    const struct grant *grant; /* borrowed for the call */
    bool failed;
    bool over_limit; /* failed for memory or for the commit's size */
    bool alone;      /* run the granted task and nothing below it */
    uint32_t names;
    char text[MESSAGE_TEXT_MAX];
    struct engine_config config;
};

/* ---- engine_frame.c ---- */

struct frame *frame_new_slow(struct engine *e);
/* Frees values and their block. */
void frame_drop(struct engine *e, struct frame *f);
/* Gives the frame room for its slots (and options) outside of value[]. False: the task has failed. */
bool frame_widen(struct engine *e, struct frame *f, const cx_opts *opts);
/* Makes a value the engine's own: bytes are copied. False: the task has failed. */
bool frame_keep(struct engine *e, struct frame *f, cx_value *v);
struct id frame_id(struct engine *e, struct frame *f); /* RUNNING or DONE */
/* A block of the arena; NULL: the task has failed for memory. */
void *engine_alloc(struct engine *e, size_t bytes);

static inline bool frame_folds(const struct engine *e, const struct frame *f)
{
    return fn_is_well_known(f->fn) && e->any_order[f->fn];
}
/* Values that a frame's slot array holds: a folding successor has its accumulator alone. */
static inline uint32_t frame_values(const struct engine *e, const struct frame *f)
{
    return frame_folds(e, f) ? 1 : f->nslots;
}
static inline cx_opts *frame_opts(const struct engine *e, const struct frame *f)
{
    return (cx_opts *)(void *)(f->slot + frame_values(e, f));
}
static inline struct wide *frame_wide(const struct engine *e, const struct frame *f)
{
    return (struct wide *)(void *)(f->slot + frame_values(e, f) + !!(f->flags & FRAME_OPTS));
}
static inline uint64_t frame_handle(const struct engine *e, const struct frame *f)
{
    return (uint64_t)f->gen << 32 | (uint64_t)(f - e->frames);
}
/* The frame a handle would mean; it does when frame_is() says so. */
static inline struct frame *frame_at(const struct engine *e, uint64_t handle)
{
    return e->frames + ((uint32_t)handle & e->mask);
}
static inline bool frame_is(const struct frame *f, uint64_t handle)
{
    return f->gen == (uint32_t)(handle >> 32);
}
static inline struct frame *frame_new(struct engine *e)
{
    struct frame *f = e->free;
    if (!f)
        return frame_new_slow(e);
    e->free = f->link;
    return f;
}
static inline void frame_push(struct engine *e, struct frame *f)
{
    f->state = FRAME_READY;
    f->link = e->ready;
    e->ready = f;
}
/* Frees a frame without live children, and with it the ancestors that lived only for its name. */
static inline void frame_release(struct engine *e, struct frame *f)
{
    do {
        struct frame *parent = f->parent;
        if (f->flags)
            frame_drop(e, f);
        f->gen++;
        f->state = FRAME_FREE;
        f->link = e->free;
        e->free = f;
        f = parent;
    } while (--f->refs == 0);
}

/* ---- engine_api.c ---- */

extern const struct cx_api engine_api;
extern const struct cx_api engine_api_dead; /* for a task that has failed: its calls change nothing */

void engine_fn_add(struct engine *e, cx_fn fn, uint32_t number);
/* Sets a slot, to a copy of the value, and follows what that completes. */
void engine_deliver(struct engine *e, uint64_t home, uint32_t slot, cx_value v);
/* True when no value below the frame can win against the bound known here. */
bool engine_hopeless(struct engine *e, const struct frame *f);

/* ---- engine_fail.c ---- */

/* The running task has failed, and with it the grant; the first failure counts. */
__attribute__((format(printf, 2, 3), cold)) void engine_fail(struct engine *e, const char *format, ...);
__attribute__((format(printf, 2, 0), cold)) void engine_vfail(struct engine *e, const char *format, va_list);
const char *engine_fn_name(const struct engine *e, uint32_t fn);
const char *engine_type_name(uint32_t type);

/* ---- engine_publish.c ---- */

void engine_publish(struct engine *e); /* into e->body */

static inline struct engine *engine_of(cx_ctx *cx)
{
    return (struct engine *)(void *)cx;
}

#endif
