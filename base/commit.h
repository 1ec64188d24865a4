/* What travels between server and runner: grants down, commits up.
 *
 * grant  = job:id task:id hash:u64 budget_us:varint fn:varint nslots:varint value*
 * commit = kind:u8 job:id task:id hash:u64 elapsed_ns:varint executed:varint body:bytes
 * body   = op*
 *   NAME  1  parent:varint child:varint             names task i (1, 2, ... in order): child `child` of name
 *                                                   `parent`, where name 0 is the granted task
 *   TASK  2  name:varint fn:varint flags:u8 [priority:zigzag] [bound_kind:u8 bound:zigzag] home:ref
 * nslots:varint FULL: value*nslots; else nset:varint (slot:varint value)*nset, slots ascending SET   3 to:ref
 * value BOUND 4  kind:u8 value:zigzag FAIL  5  message:bytes                          alone in its body ref
 * = varint r: r even: inherited address r/2 - 0 is the granted task's home, j its j-th CX_ADDR argument; r
 * odd: name (r-1)/2 of this commit, followed by slot:varint value  = as in pack.h, but CX_ADDR is followed by
 * a ref
 *
 * Child numbers: a task's first successor is child 0; all it spawns, and further successors, are 1, 2, ... in
 * the order made. A ref to name 0, the granted task itself, means nowhere: its slots are all set, so what is
 * sent there is dropped. The runner writes it (slot 0) for an address whose slot has been set within this
 * grant.
 *
 * So a commit names nothing absolutely: not tasks (they are child numbers below the granted task) and not
 * addresses (they are those the granted task was given). A producer cannot name what it was not granted.
 * Frontier tasks of a collapsed subtree have multi-level names, shared through the NAME table.
 *
 * fn: 0 is illegal; 1 .. CX_WELL_KNOWN_END-1 the well-known successors; FN_FIRST + i is task i of the module.
 *
 * Both readers take hostile input: on false, nothing may be used. */
#ifndef BASE_COMMIT_H
#define BASE_COMMIT_H

#include "base/pack.h"
#include "cx/task.h"

#define FN_FIRST         CX_WELL_KNOWN_END
#define FN_MAX           (FN_FIRST + CX_MODULE_TASKS_MAX - 1)
#define COMMIT_BYTES_MAX (32u << 20) /* one commit record */
#define COMMIT_DEPTH_MAX 65536u      /* levels below the granted task */
#define COMMIT_NAMES_MAX (4u << 20)
#define MESSAGE_TEXT_MAX 1024u /* a failure's message */

static inline bool fn_is_well_known(uint32_t fn)
{
    return fn > 0 && fn < CX_WELL_KNOWN_END;
}

struct grant {
    struct id job;
    struct id task;
    uint64_t hash; /* of the task's content, as the server computed it; echoed by the commit (law 6) */
    uint32_t budget_us;
    uint32_t fn;
    uint32_t nslots;
    struct bytes values; /* borrowed: nslots packed values */
};

void grant_put(struct buf *b, const struct grant *g);
bool grant_get(struct reader *r, struct grant *g); /* one of a batch; checks every value */

enum commit_kind {
    COMMIT_DONE = 1,     /* the task ran: body is what it did */
    COMMIT_CRASHED = 2,  /* the task's runner died under it: counts towards poison; body: text */
    COMMIT_RETURNED = 3, /* handed back unrun; body: empty, or why none of the job can run here */
};

struct commit {
    enum commit_kind kind;
    struct id job;
    struct id task;
    uint64_t hash;
    uint64_t elapsed_ns; /* of computing, for scheduling */
    uint64_t executed;   /* tasks run within, for progress */
    struct bytes body;   /* borrowed */
};

void commit_put(struct buf *b, const struct commit *c);
bool commit_get(struct reader *r, struct commit *c); /* one of a batch; the body is not looked into */

enum op_kind { OP_NAME = 1, OP_TASK = 2, OP_SET = 3, OP_BOUND = 4, OP_FAIL = 5 };

struct ref {
    bool inherited;
    uint32_t index; /* of the inherited address (0: home), or of the name */
    uint32_t slot;  /* names only */
};

enum task_flag { TASK_FULL = 1, TASK_PRIORITY = 2, TASK_BOUND = 4 };

/* One operation, decoded. Values stay packed: walk them with op_value(). */
struct op {
    enum op_kind kind;
    uint32_t name;      /* NAME: the parent; TASK: the task's */
    uint32_t child;     /* NAME */
    uint32_t fn;        /* TASK */
    uint32_t nslots;    /* TASK */
    uint32_t nset;      /* TASK: values that follow; SET: 1 */
    uint8_t flags;      /* TASK */
    uint8_t bound_kind; /* TASK, BOUND */
    int32_t priority;
    int64_t bound;
    struct ref to;       /* TASK: home; SET: where */
    struct bytes values; /* TASK, SET: packed */
    struct bytes text;   /* FAIL */
};

struct op_value {
    uint32_t slot;
    cx_value value; /* bytes borrowed from the body; CX_ADDR: see ref */
    struct ref ref;
};

/* Reads the next operation of a body and checks it by itself: kinds, maxima, order of slots. False at the end
 * and, with r->bad, on malformed input. */
bool op_get(struct reader *r, struct op *op);
/* Walks the values of a TASK or SET: start with a reader on op->values and *i = 0. */
bool op_value_get(struct reader *r, const struct op *op, uint32_t *i, struct op_value *v);

void put_name(struct buf *b, uint32_t parent, uint32_t child);
void put_ref(struct buf *b, struct ref ref);
/* The head of a TASK; its nset values follow, each by put_task_value, ascending. */
void put_task(struct buf *b, const struct op *op);
void put_task_value(struct buf *b, const struct op *op, const struct op_value *v);
void put_set(struct buf *b, struct ref to, cx_value v, struct ref ref);
void put_bound(struct buf *b, uint8_t kind, int64_t value);
void put_fail(struct buf *b, struct bytes text);

#endif
