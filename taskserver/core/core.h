/* The core's data structures, shared by its files and nobody else. ts.h is the way in. */
#ifndef TASKSERVER_CORE_CORE_H
#define TASKSERVER_CORE_CORE_H

#include "base/must.h"
#include "base/wellknown.h"
#include "cx/error.h"
#include "taskserver/core/channel.h"
#include "taskserver/core/list.h"
#include "taskserver/core/move.h"
#include "taskserver/core/neighbour.h"
#include "taskserver/core/order.h"
#include "taskserver/core/parcel.h"
#include "taskserver/core/pool.h"
#include "taskserver/core/steal.h"
#include "taskserver/core/table.h"
#include "taskserver/core/ts.h"

#define NEVER             UINT64_MAX
#define PEERS_MAX         (1u << 20)
#define HUNGRY_GAP_MIN    1000u /* us between two signals to one producer, at least */
#define AHEAD_US          2000u /* who is idle within that gets work while there is time */
#define EAGER_LEVELS      4u    /* tasks held by 1, 2, 3, and 4 or more producers */
#define ADDR_BYTES        20u   /* of an address in a task's payload */
#define PROGRESS_EVERY_US 100000u
#define NAMES_AHEAD       16u /* a commit's names are looked for in the table so many before their turn */
#define SCRATCH_KEPT_MAX  (1u << 20)       /* bytes of a scratch buffer kept from step to step */
#define TASK_BYTES_MAX    COMMIT_BYTES_MAX /* packed arguments of one task */
#define LOOKAHEAD         32u /* commits that are read, and whose tasks are fetched, before they are applied */
#define COMMITS_BYTES     8192u /* a record of commits that is so long is closed */

/* The tests of the laws' tests switch one law off and see a seed turn red; a product has no such switch. */
#ifdef CX_SABOTAGE /* 11 and 12 are of the channels between shards: a parcel counts once, stuck is known at  \
                      home */
extern int ts_sabotage;
#define LAW(number) (ts_sabotage != (number))
#else
#define LAW(number) true
#endif

/* The address of a slot, in this shard (0) or another. The zero id is the job's result. Slot and shard share
 * a word, in the records, too: those of a lone shard are as they were before there were others. */
#define SLOT_BITS 20
struct addr {
    struct id task;
    uint32_t slot : SLOT_BITS, shard : 32 - SLOT_BITS;
};
_Static_assert(CX_SLOTS_MAX <= 1u << SLOT_BITS && SHARDS_MAX <= 1u << (32 - SLOT_BITS), "an address fits");
static inline uint32_t addr_word(struct addr a)
{
    return a.slot | (uint32_t)a.shard << SLOT_BITS;
}
static inline struct addr addr_of(struct id task, uint32_t word)
{
    return (struct addr){task, word & ((1u << SLOT_BITS) - 1), word >> SLOT_BITS};
}

/* A value with its address, where it is one. */
struct val {
    cx_value v;
    struct addr at; /* CX_ADDR */
};

/* ---- Tasks ---- */

/* WAITING: some slot is open. READY: in a bucket. GRANTED: held by one producer or more. */
enum task_state { TASK_WAITING, TASK_READY, TASK_GRANTED };

/* What a task keeps of its slots, by state and function:
 * full                       address * naddrs (20 bytes each), then the packed values, as a grant carries
 * them waiting, foldable          struct fold and the bitmap of slots that are set waiting, otherwise struct
 * cell * nslots and the bitmap */
struct task {
    struct entry entry;
    struct job *job;
    struct task *prev, *next; /* READY: in its bucket; GRANTED: in its function's list; firing: next only */
    union {
        struct bucket *bucket;  /* READY */
        struct holder *holders; /* GRANTED */
    } u;
    struct id home_task;
    uint64_t hash; /* of the content; 0 while waiting */
    int64_t bound;
    uint8_t *payload; /* owned, unless it is the tail */
    uint32_t payload_len;
    uint32_t tail_len;  /* payload bytes allocated with the task, behind it */
    uint32_t home_word; /* slot and shard of its home */
    uint32_t nslots;
    uint32_t open; /* WAITING: slots not set; otherwise the number of addresses in the payload */
    uint32_t depth;
    int32_t priority;
    uint8_t fn;
    uint8_t state : 2;
    uint8_t bound_kind : 2;
    uint8_t crashes;
    uint8_t held; /* number of holders */
    uint8_t tail[];
};

/* With its share of the table, about 16 bytes, this is what a queued task costs beside its arguments. */
_Static_assert(sizeof(struct task) == 120, "a task is 120 bytes");

struct fold {
    cx_value acc;
    uint64_t set[];
};
struct cell {
    union {
        int64_t i64;
        double f64;
        uint8_t *block; /* owned: CX_BYTES: len bytes; CX_ADDR: a struct addr */
    } as;
    uint32_t len;
    uint32_t type;
};

struct task_list {
    struct task *head, *tail;
};

/* Ready tasks of one priority and depth, first in first out. */
struct bucket {
    struct knot knot; /* hi: priority, higher first; lo: depth */
    struct task_list tasks;
    uint64_t n;
};

/* A grant: this producer may be running this task. */
struct holder {
    struct task *task;
    struct producer *producer;
    struct holder *next; /* of the same task */
    struct link of_producer;
    uint64_t since_us;
    uint64_t charge_ns; /* what the job's share was charged in advance */
    uint32_t budget_us;
    bool faulted; /* its commit for this task was malformed */
};

/* ---- Jobs ---- */

/* What is known of one function of one job. Volatile: it steers, it does not decide answers. */
struct fn_stat {
    uint64_t commits;
    uint64_t mean_ns;                       /* of a commit, moving average */
    uint64_t task_ns;                       /* of one executed task, moving average */
    uint64_t longest_ns;                    /* of the commits; those of old count for less and less */
    struct task_list granted[EAGER_LEVELS]; /* by number of holders, oldest grant first */
};

struct job {
    struct entry entry;
    uint32_t index; /* in ts->job */
    enum ts_job_state state;
    /* as submitted */
    struct ts_module module[TS_MODULES_MAX];
    uint32_t modules;
    bool has_input;
    uint8_t input[SHA256_BYTES];
    int32_t priority;
    uint32_t weight;
    struct bytes functions, label, owner; /* in text */
    uint8_t *text;                        /* owned */
    size_t text_len;
    uint64_t content; /* hash of the whole submission */
    uint64_t submitted_us, ended_us, submit_lsn, ended_lsn;
    /* tasks */
    struct table tasks;
    struct tree ready; /* of buckets */
    struct bucket *recent;
    uint64_t nready, nwaiting, ngranted;
    uint32_t root_fn; /* for people: what was submitted */
    uint32_t fns;
    struct fn_stat *fn; /* owned, fns entries */
    /* outcome */
    uint8_t *answer; /* owned: DONE: a packed value; FAILED, CANCELLED: the reason */
    size_t answer_len;
    uint64_t executed, duplicates, commits, busy_ns, bytes;
    bool has_min, has_max;
    int64_t bound_min, bound_max;
    /* other shards (move.h) */
    uint32_t origin; /* its home; 0: here */
    uint32_t parent; /* a guest that is engaged: the shard that is to be answered at rest; 0: not engaged */
    uint32_t ties;
    struct tie *tie; /* owned */
    uint64_t owed;   /* answers to the parent */
    uint64_t away;   /* unanswered, of all ties */
    uint64_t due;    /* answers at the end of the record that is being applied */
    /* volatile */
    uint32_t came_from; /* shard whose tasks came last */
    uint64_t came_us;
    bool told_has_min, told_has_max; /* the bounds that were told */
    int64_t told_min, told_max;
    uint64_t bound_lsn;
    struct link improved; /* in ts->improved until that is held and told to other shards */
    uint64_t pass;        /* stride scheduling: computing time received, over weight */
    struct knot share;    /* in ts->share while tasks are ready */
    bool sharing;
    struct knot timer; /* running: the next progress; ended: expiry */
    bool timed;
    uint64_t progress_us; /* when watchers were last told */
    struct link granting; /* in ts->granting while tasks are granted */
    struct link unheld;   /* in ts->unheld from its end until that is held */
    struct link watches;
    struct buf known; /* a bit for every producer that was told of this job */
    struct buf unfit; /* text: who could not run it, and why; the last to say so */
};

/* ---- Peers ---- */

/* Producers of one architecture that fit the same jobs (arch.c). */
struct arch {
    char name[16];
    struct buf unfit; /* ids of jobs that they cannot run all the same */
    uint32_t producers;
    struct link idle;   /* those with a thread that has nothing to do, in the order they are served */
    struct link hungry; /* those whose threads are busy, but whose window is not full: they prefetch */
};

struct producer {
    uint32_t peer;
    char name[TS_NAME_MAX + 1];
    struct arch *arch;
    uint32_t threads, window, granted;
    uint32_t budgeted;   /* of the granted, those with a collapse budget */
    uint64_t charged_ns; /* what the granted are expected to take */
    struct link holders; /* oldest first */
    struct link
        served;       /* in arch->idle while granted < threads, else in arch->hungry while granted < window */
    struct link busy; /* in ts->busy while budgeted > 0; least recently signalled first */
    bool idle;        /* in arch->idle */
    uint64_t hungry_us; /* not signalled again before */
    uint64_t hungry_gap_us;
    uint64_t commits, executed, busy_ns, joined_us;
    struct buf disowned; /* uint64_t each: tasks it came back with that were not its any more */
};

struct watch {
    struct link of_job, of_ts;
    struct job *job;
    uint32_t peer;
    uint64_t req;
};

/* A reply that waits until the log it depends on is held (law 8). */
struct pending {
    struct link link;
    uint64_t lsn;
    uint32_t peer;
    uint64_t req;
    struct id job;
    int code;
    size_t len;
    char text[];
};

/* ---- A commit that was checked: scratch between check and apply ---- */

struct name {
    struct id id;
    uint32_t depth;
    uint32_t level; /* below the granted task */
    uint32_t nslots;
    uint32_t naddrs;
    uint32_t set_at, nset; /* its slots with a value: a run of checked.set */
    bool made, full;
};
struct checked {
    struct name *name; /* owned; [0] is the granted task */
    uint32_t names, names_cap;
    struct buf set; /* uint32_t each, ascending within a task */
    uint32_t tasks, sets, bounds;
    bool forward; /* some reference names a task made later in the body */
    bool failed;  /* the body is one FAIL */
    struct bytes fail;
    uint64_t need; /* bytes, at most, that applying it adds */
};

/* ---- The machine ---- */

struct ts {
    struct ts_config config;
    struct pool pool;
    uint64_t now_us;
    uint64_t lsn, held, forgotten_lsn;
    uint64_t commits_lsn;   /* of the record that this step's next commit of the same job joins; 0: none */
    uint32_t commits_fx;    /* its effect in this step's */
    uint64_t awaited;       /* the last record that something which is to leave waits for (law 8) */
    struct ts_effects *out; /* of this step; in replay, quiet */
    struct ts_effects quiet;
    /* jobs */
    struct table jobs;
    struct job **job; /* owned; by index, NULL where free */
    uint32_t job_slots, njobs;
    struct tree share;  /* jobs with ready tasks, next to be served first */
    uint64_t share_now; /* the pass the service has come to */
    struct tree timers;
    struct link granting, unheld;
    uint64_t nready, nwaiting, ngranted;
    struct task *firing; /* well-known successors whose slots are all set */
    /* peers */
    struct producer **producer; /* owned; by peer, NULL where there is none */
    uint32_t producer_slots, nproducers;
    uint64_t threads;
    struct arch **arch; /* owned; by first appearance */
    uint32_t arches;
    uint32_t hungry; /* producers with free window */
    struct link busy;
    struct link watches, pending;
    uint64_t eager_us, eager_scan_us; /* when to look for overdue grants; when that was last done */
    uint64_t signal_us, signalled_us; /* when to signal hunger next; when that was last done */
    /* other shards */
    struct channel **channel; /* owned; by number, from 1 */
    uint32_t channels, channel_slots;
    struct neighbour **neighbour; /* owned; in no order */
    uint32_t neighbours;
    struct gone_ring gone;
    struct steal steal;
    struct link improved;
    uint64_t applied_us;  /* time of the record RECEIVED that is being applied */
    bool stirred;         /* there may be something to send to other shards */
    uint64_t gathered_us; /* when what has been gathered for them goes */
    bool calm;            /* all are busy: values are gathered, too */
    bool again;           /* work was cut short: tick at once */
    bool recheck;         /* after replay: look for jobs that cannot end */
    /* scratch */
    struct checked checked;
    struct buf record, pack, joined, parcel;
};

/* effect.c */
struct ts_effect *fx_add(struct ts *ts, enum ts_effect_kind kind, uint32_t peer);
struct ts_effect *fx_job(struct ts *ts, enum ts_effect_kind kind, uint32_t peer, const struct job *job);
void fx_data(struct ts *ts, struct ts_effect *fx, struct bytes data);
void fx_fault(struct ts *ts, uint32_t peer, const char *text);
__attribute__((format(printf, 2, 3))) void text_add(struct buf *b, const char *format, ...);
void text_safe(struct buf *b, struct bytes text); /* text of strangers: what is not plain UTF-8 becomes '?' */

/* client.c: what clients are told, and when it may leave (law 8) */
__attribute__((format(printf, 5, 6))) void reply(struct ts *ts, const struct ts_event *e, uint64_t lsn,
                                                 int code, const char *format, ...);
void client_watch(struct ts *ts, const struct ts_event *e);
void client_unwatch(struct ts *ts, const struct ts_event *e);
void client_left(struct ts *ts, const struct ts_event *e);
void client_held(struct ts *ts, const struct ts_event *e);
void job_changed(struct ts *ts, struct job *job); /* its watchers are to hear of progress */
void job_progress(struct ts *ts, struct job *job);
void job_unwatched(struct ts *ts, struct job *job); /* it is forgotten: refuses those who still wait */
void clients_free(struct ts *ts);

/* job.c */
void *mem_get(struct ts *ts, struct job *job, size_t size);
void mem_put(struct ts *ts, struct job *job, void *block, size_t size);
struct job *job_find(const struct ts *ts, struct id id);
struct job *job_new(struct ts *ts, const struct ts_submit *s, uint64_t content);
void job_free(struct ts *ts, struct job *job);
struct ts_submit job_card(const struct job *job); /* as it was submitted, without the root's arguments */
const char *submit_check(const struct ts_submit *s);
uint64_t submit_content(struct ts *ts, const struct ts_submit *s);
uint64_t submit_need(const struct ts_submit *s);
uint32_t functions_count(struct bytes functions);
struct bytes job_fn_name(const struct job *job, uint32_t fn); /* well-known ones too */
struct fn_stat *job_fn(struct job *job, uint32_t fn);
void job_end(struct ts *ts, struct job *job, enum ts_job_state state,
             struct bytes answer); /* first one counts */
/* After its end: tasks, grants and timers go, producers are told. */
void job_clear(struct ts *ts, struct job *job, uint64_t now_us);
void job_set_timer(struct ts *ts, struct job *job, uint64_t due_us);
void job_stop_timer(struct ts *ts, struct job *job);
bool job_known(const struct job *job, uint32_t peer);
void job_know(struct job *job, uint32_t peer, bool known);
void jobs_due(struct ts *ts); /* timers that are due */

/* requests.c: SUBMIT, CANCEL, FORGET */
void on_submit(struct ts *ts, const struct ts_event *e);
void on_cancel(struct ts *ts, const struct ts_event *e);
void on_forget(struct ts *ts, const struct ts_event *e);
bool may_ask(const struct job *job, struct bytes owner);
struct job *asked_job(struct ts *ts, const struct ts_event *e); /* NULL: the request is refused */

/* task.c */
struct spawn {
    struct id id;
    struct addr home;
    uint32_t fn, nslots, depth;
    int32_t priority;
    uint8_t bound_kind;
    int64_t bound;
};
static inline struct task *task_find(const struct job *job, struct id id)
{
    return (struct task *)table_find(&job->tasks, id);
}
static inline bool task_folds(uint32_t fn)
{
    return fn_is_well_known(fn) && wk_any_order(fn);
}
static inline struct bytes task_values(const struct task *t) /* of a full task: as a grant carries them */
{
    size_t skip = (size_t)t->open * ADDR_BYTES;
    return bytes_of(t->payload + skip, t->payload_len - skip);
}
struct addr task_addr(const struct task *t, uint32_t index); /* of a full task: 0 is its home */
/* A task of the module all of whose slots are known: the caller fills in the payload, then calls task_filled.
 */
struct task *task_full(struct ts *ts, struct job *job, const struct spawn *s, size_t payload_len,
                       uint32_t naddrs);
void task_filled(struct ts *ts, struct task *t);
/* A task with open slots, or a well-known successor with none: that one is to fire. */
struct task *task_waiting(struct ts *ts, struct job *job, const struct spawn *s);
void task_complete(struct ts *ts, struct task *t); /* its last slot was set */
void task_remove(struct ts *ts, struct task *t);
void task_free(struct ts *ts, struct task *t); /* without taking it out of the table */
uint64_t task_hash(const struct task *t);
size_t task_waiting_bytes(uint32_t fn, uint32_t nslots);
size_t task_need(uint32_t fn, uint32_t nslots, size_t payload_len); /* at most, with its share of the table */
uint64_t *task_bitmap(const struct task *t);
struct cell *task_cells(const struct task *t);
void addr_put(uint8_t *at, struct addr a);
struct addr addr_get(const uint8_t *at);
struct val cell_val(const struct cell *c);

/* slot.c: setting slots, and what fires when the last is set */
void slot_set(struct ts *ts, struct job *job, struct addr at, const struct val *v);
void slot_put(struct ts *ts, struct task *t, uint32_t slot, const struct val *v);
void fire_all(struct ts *ts, struct job *job);

/* ready.c */
void ready_push(struct ts *ts, struct task *t, bool front);
void ready_remove(struct ts *ts, struct task *t);
struct task *ready_first(struct ts *ts, struct job *job);
struct job *share_first(struct ts *ts, const struct arch *arch); /* whose turn it is, or NULL */
void share_charge(struct ts *ts, struct job *job, int64_t ns);
void share_leave(struct ts *ts, struct job *job);

/* producer.c */
struct producer *producer_find(const struct ts *ts, uint32_t peer);
void producer_joined(struct ts *ts, const struct ts_event *e);
void producer_left(struct ts *ts, const struct ts_event *e);
void producer_window(struct ts *ts, const struct ts_event *e);
void producer_holds(struct ts *ts, const struct ts_event *e);
/* Whether it is expected to have done by then what it has. */
bool producer_idle_within(const struct producer *p, uint64_t us);
void producer_update(struct ts *ts, struct producer *p);
void producer_served(struct producer *p);                               /* after granted or window changed */
void producer_tell(struct ts *ts, struct producer *p, struct job *job); /* of a job, once */
/* Whether it came back with this task, and was told that it is done elsewhere or unknown. */
bool producer_disowned(const struct producer *p, struct id job, struct id task);
void producers_free(struct ts *ts);

/* It cannot run any task of the job, and gets no more of them. */
void producer_unfit(struct ts *ts, struct producer *p, struct job *job, struct bytes why);

/* arch.c */
bool job_fits(const struct job *job, const struct arch *arch);
struct arch *arch_of(struct ts *ts, const char *name);
struct arch *arch_without(struct ts *ts, const struct arch *a, const struct job *job);
void arches_forget(struct ts *ts, struct id job);
void arches_free(struct ts *ts);

/* grant.c */
struct holder *holder_find(const struct task *t, const struct producer *p);
struct holder *grant_add(struct ts *ts, struct producer *p, struct task *t, uint32_t budget_us);
void grant_drop(struct ts *ts, struct holder *h); /* the task may be left with no holder: see grant_requeue */
void grant_drop_all(struct ts *ts, struct task *t); /* of this task */
void grant_requeue(struct ts *ts, struct task *t);  /* ready again, when nobody holds it */
void grant_send(struct ts *ts, struct producer *p, struct task *t);
void serve(struct ts *ts);

/* eager.c */
void eager(struct ts *ts);

/* check_commit.c: NULL when the body may be applied, and what it is lies in ts->checked */
const char *commit_check(struct ts *ts, const struct job *job, const struct task *by, struct bytes body);

/* record.c, apply.c */
enum record_kind {
    RECORD_SUBMITTED = 1, /* now job submission */
    RECORD_COMMIT = 2,    /* now job (task elapsed executed body)+: commits that came together */
    RECORD_ENDED = 3,     /* now job state reason */
    RECORD_FORGOTTEN = 4, /* job */
    RECORD_JOB = 5,       /* snapshot: a job's state without its tasks */
    RECORD_TASK = 6,      /* snapshot: one task */
    RECORD_MOVED = 7,     /* now job shard (task crashes)*: they leave for there */
    RECORD_RECEIVED = 8,  /* now shard number parcels: the first has that number */
    RECORD_CONFIRMED = 9, /* now shard number: parcels up to it have arrived */
    RECORD_BOUND = 10,    /* now job bound: improved elsewhere */
    RECORD_SHARD = 11,    /* snapshot: another shard, without the parcels for it */
    RECORD_PARCEL = 12,   /* snapshot: one parcel for another shard */
    RECORD_AWAY = 13,     /* snapshot: what a job has to do with other shards */
    RECORD_GONE = 14,     /* snapshot: guests that are over */
    RECORD_MAX = RECORD_GONE,
};
struct record {
    enum record_kind kind;
    uint64_t now_us;
    struct id job;
    struct ts_submit submit;       /* SUBMITTED, JOB */
    struct id task;                /* TASK */
    uint64_t elapsed_ns, executed; /* JOB */
    struct bytes body;             /* COMMIT: done+; ENDED: reason; JOB: answer; TASK: payload or slots */
    enum ts_job_state state;       /* ENDED, JOB */
    uint64_t content, ended_us, commits; /* JOB */
    bool has_min, has_max;               /* JOB */
    int64_t bound_min, bound_max;        /* JOB */
    struct spawn spawn;                  /* TASK */
    bool waiting;                        /* TASK */
    uint32_t naddrs;                     /* TASK, full */
    struct id shard;                     /* MOVED, RECEIVED, CONFIRMED, SHARD, PARCEL */
    uint64_t number;                     /* of a parcel: RECEIVED, CONFIRMED, SHARD, PARCEL */
    uint32_t index;                      /* SHARD */
    uint64_t applied;                    /* SHARD */
    uint32_t bound_kind;                 /* BOUND */
    int64_t bound;                       /* BOUND */
};
void put_flag_i64(struct buf *b, bool has, int64_t v);
bool get_flag_i64(struct reader *r, int64_t *v);
void submission_put(struct buf *b, const struct ts_submit *s);
void submission_get(struct reader *r, struct id job, struct ts_submit *s);
size_t submission_blobs(struct reader *r, const uint8_t *sha256[], size_t max);
void record_put(struct buf *b, const struct record *r);
bool record_get(struct bytes b, struct record *r);
/* One commit of a COMMIT record. */
struct done {
    struct id task;
    uint64_t elapsed_ns, executed;
    struct bytes body;
};
void done_put(struct buf *b, const struct done *d);
bool done_get(struct reader *r, struct done *d);
/* The one function that changes durable state. The record has been checked against the state. */
void apply(struct ts *ts, const struct record *r);
/* Live: numbers the record, appends it to the log, applies it. */
void log_apply(struct ts *ts, const struct record *r);
/* The same for a commit that commit_check has just seen; it goes into the last record, if that is one of
 * commits of this job and this step. */
void log_apply_commit(struct ts *ts, struct job *job, const struct done *d);
/* Replay: false when the record does not fit the state. */
bool record_replay(struct ts *ts, const struct record *r, uint64_t lsn);

/* snapshot.c */
void restore_job(struct ts *ts, const struct record *r);
bool restore_job_fits(struct ts *ts, const struct record *r);
void restore_task(struct ts *ts, const struct record *r);
bool restore_task_fits(struct ts *ts, const struct record *r);

/* move.c */
void move_answered(struct ts *ts, struct job *job, uint32_t shard, uint64_t n);
void move_drained(struct ts *ts, struct job *job, uint32_t shard, uint64_t answers);

/* bound.c */
bool bound_improve(struct job *job, uint32_t kind, int64_t bound); /* in apply */
void bounds_tell(struct ts *ts, struct job *job);                  /* whom it concerns, if they improved */
void bounds_held(struct ts *ts);
void bounds_again(struct ts *ts, uint32_t shard); /* it is connected again */
void bound_heard(struct ts *ts, const struct note *note);
bool bound_fits(struct ts *ts, const struct record *r);
void apply_bound_record(struct ts *ts, const struct record *r);

/* commits.c */
void on_commits(struct ts *ts, const struct ts_event *e);
/* Its runner died under it, or spoilt its answer; who it was is borrowed. */
void task_crashed(struct ts *ts, struct task *t, const struct producer *p, struct bytes text);
bool task_prune(struct ts *ts, struct task *t); /* true: it could not win any more, and is gone */
void job_fail(struct ts *ts, struct job *job, struct bytes reason); /* logged */
void job_check_stuck(struct ts *ts, struct job *job);

#endif
