/* The inside of the engine: frames and what its files share. Only engine*.c include this.
 *
 * engine.c          a grant from beginning to end: the loop, the budget
 * engine_spawn.c    what tasks call: spawn and successor
 * engine_set.c      what tasks call: return and set; and what a set slot sets going
 * engine_api.c      what tasks call: the rest, and the tables
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

#define unlikely(condition) __builtin_expect(!!(condition), 0)

#define FRAME_VALUES       4u         /* values that fit into the frame itself */
#define FRAME_RUNNING_REFS (1u << 30) /* keeps a running task's count above zero */
#define FRAME_OF_INHERITED 1u
#define FRAME_FIRST        2u   /* frames below stand for no task and for inherited addresses */
#define FN_TABLE           256u /* far more than CX_MODULE_TASKS_MAX, so that few share a place */

enum frame_state {
    FRAME_FREE = 0,
    FRAME_INHERITED, /* the one frame that stands for the addresses the granted task was given */
    FRAME_WAITING,
    FRAME_READY, /* also while it runs */
    FRAME_DONE,
    FRAME_DONE_ID, /* DONE, and id is known */
};

enum frame_flag {
    FRAME_BLOCK = 1,     /* slots lie in a block of the arena, else in value[] */
    FRAME_BYTES = 2,     /* some slot holds bytes of the arena */
    FRAME_OPTS = 4,      /* a cx_opts lies behind the slots */
    FRAME_WIDE = 8,      /* more than 64 slots: a struct wide lies behind slots and options */
    FRAME_BORROWED = 16, /* bytes belong to the grant */
};

/* How a waiting frame takes a plain value. */
enum frame_quick {
    QUICK_NOT = 0, /* by engine_deliver() */
    QUICK_SUM,     /* sums integers; flags are 0 */
    QUICK_OWN,     /* stores it for a task of the module; slots are in value[] */
};

/* What a frame begins with after its generation, as one word: spawning writes it at once. */
struct frame_head {
    uint8_t fn;
    uint8_t state; /* enum frame_state */
    uint8_t flags; /* 0 once the task has run and its values are gone */
    uint8_t quick; /* enum frame_quick */
};

/* 128 bytes, the first 64 of them all that a release touches. A frame waits with its slots' bitmap; folding
 * successors keep their accumulator where slot 0 would be. */
struct frame {
    uint32_t gen; /* of the handle; moves when the frame is freed */
    struct frame_head head;
    uint64_t
        unset; /* WAITING: bit i says that slot i is still empty; 0 for FRAME_WIDE. Else 0 or meaningless */
    uint64_t home; /* handle: where the value goes */
    uint32_t home_slot;
    uint32_t nslots;
    struct frame *parent;
    union {
        struct frame *link; /* READY, FREE: the next */
        struct {
            uint32_t refs; /* running, DONE: children that are not yet free */
            uint32_t name; /* in the commit being written; 0: none yet */
        };
        uint64_t refs_and_name;
    };
    uint64_t place;  /* levels below the granted task << 32 | number among its parent's children */
    cx_value *block; /* FRAME_BLOCK */
    union {
        cx_value value[FRAME_VALUES];
        struct id id; /* DONE_ID */
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
    struct frame_head head; /* of a child that runs it */
};

/* What is to be known of a function as a successor. */
struct engine_heir {
    struct frame_head head; /* while it waits, without a block */
    uint32_t inline_max;    /* slots that need no block */
    cx_value start;         /* where folding starts; none for the module's own */
};

/* What the running task has done. */
struct engine_did {
    uint32_t randoms;   /* calls of cx_random so far */
    uint8_t successors; /* whether it has any */
    uint8_t handed;     /* whether its home has been set, inherited or taken */
    uint8_t id_known;
    uint8_t unused;
};

struct engine {
    cx_ctx ctx; /* first: tasks are handed a pointer to it */

    /* The running task. */
    struct frame *cur;
    uint64_t
        place; /* of its youngest child: levels << 32 | children so far, the first successor's 0 left out */
    struct engine_did did;
    struct id id;

    /* Frames. */
    struct frame *ready; /* stack */
    struct frame *free;
    struct frame *frames; /* owned region; frame 0 stands for no task, 1 for the inherited addresses */
    uint32_t mask; /* turns the low half of a handle, a byte offset, into one that lies in the region */
    uint32_t frames_max;
    uint32_t top;       /* frames used so far */
    uint32_t inherited; /* addresses, home included */

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
    struct engine_heir heir[FN_MAX + 1];
    bool folds[FN_MAX + 1];        /* well-known, and kept as an accumulator */
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
/* Frees values and their block; flags are 0 afterwards. */
void frame_drop(struct engine *e, struct frame *f);
/* Gives the frame room for its slots (and options) outside of value[]. False: the task has failed. */
bool frame_widen(struct engine *e, struct frame *f, const cx_opts *opts);
/* Makes a value the engine's own: bytes are copied. False: the task has failed. */
bool frame_keep(struct engine *e, struct frame *f, cx_value *v);
struct id frame_id(struct engine *e, struct frame *f); /* running or DONE */
/* A block of the arena; NULL: the task has failed for memory. */
void *engine_alloc(struct engine *e, size_t bytes);

static inline uint32_t frame_child(const struct frame *f)
{
    return (uint32_t)f->place;
}
static inline uint32_t frame_depth(const struct frame *f)
{
    return (uint32_t)(f->place >> 32);
}
static inline cx_value *frame_slots(struct frame *f)
{
    return f->head.flags & FRAME_BLOCK ? f->block : f->value;
}
/* What lies behind the slots, or behind the accumulator of a successor that folds. */
static inline void *frame_behind(const struct engine *e, struct frame *f)
{
    return frame_slots(f) + (e->folds[f->head.fn] ? 1 : f->nslots);
}
static inline cx_opts *frame_opts(const struct engine *e, struct frame *f)
{
    return frame_behind(e, f);
}
static inline struct wide *frame_wide(const struct engine *e, struct frame *f)
{
    cx_value *behind = frame_behind(e, f);
    return (struct wide *)(void *)(behind + !!(f->head.flags & FRAME_OPTS));
}
static inline uint64_t frame_handle(const struct engine *e, const struct frame *f)
{
    return (uint64_t)f->gen << 32 | (uint64_t)((const uint8_t *)f - (const uint8_t *)e->frames);
}
/* The frame a handle would mean; it does when frame_is() says so. */
static inline struct frame *frame_at(const struct engine *e, uint64_t handle)
{
    return (struct frame *)(void *)((uint8_t *)e->frames + ((uint32_t)handle & e->mask));
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
    f->head.state = FRAME_READY;
    f->link = e->ready;
    e->ready = f;
}
/* Frees a frame that has no values and no live children, and the ancestors that lived only for its name. */
static inline void frame_release(struct engine *e, struct frame *f)
{
    do {
        struct frame *parent = f->parent;
        f->gen++;
        f->head.state = FRAME_FREE;
        f->link = e->free;
        e->free = f;
        f = parent;
    } while (--f->refs == 0);
}

/* ---- engine_set.c ---- */

/* Sets a slot, to a copy of the value, and follows what that completes. */
void engine_deliver(struct engine *e, uint64_t home, uint32_t slot, cx_value v);
/* The value of a well-known successor whose slots are all set. Bytes are good until the next call. */
cx_value engine_finish(struct engine *e, struct frame *f);
void engine_api_give(cx_ctx *cx, cx_value v);
void engine_api_give_i64(cx_ctx *cx, int64_t i);
void engine_api_set(cx_ctx *cx, cx_addr to, cx_value v);
cx_addr engine_api_home(cx_ctx *cx);

/* ---- engine_spawn.c ---- */

void engine_fn_add(struct engine *e, cx_fn fn, uint32_t number);
cx_ref engine_api_successor(cx_ctx *cx, cx_fn fn, uint32_t n, const cx_addr *home, const cx_opts *opts);
cx_ref engine_api_heir(cx_ctx *cx, cx_fn fn, uint32_t n);
void engine_api_child(cx_ctx *cx, cx_fn fn, cx_addr home, uint32_t n, const cx_value *args);
void engine_api_child1(cx_ctx *cx, cx_fn fn, cx_addr home, int64_t as, uint64_t len_and_type);
void engine_api_spawn(cx_ctx *cx, cx_fn fn, cx_addr home, uint32_t n, const cx_value *args,
                      const cx_opts *opts);

/* ---- engine_api.c ---- */

extern const struct cx_api engine_api;
extern const struct cx_api engine_api_dead; /* for a task that has failed: its calls change nothing */

/* True when no value below the frame can win against the bound known here. */
bool engine_hopeless(struct engine *e, struct frame *f);

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
