/* The inside of the producer's core. One noun a file: tasks.c (pool and index), jobs.c (what a job needs and
 * its runner), seats.c (who runs what next), commits.c (how tasks end), window.c (how much to ask for),
 * conn.c (the connection and the leaving), pd.c (the machine). */
#ifndef PRODUCER_CORE_INTERNAL_H
#define PRODUCER_CORE_INTERNAL_H

#include "base/must.h"
#include "cx/error.h"
#include "producer/core/pd.h"

#define NEVER UINT64_MAX

/* ---- Tasks ---- */

#define TASK_SMALL 120 /* bytes of a packed grant kept in the task itself */

enum task_state {
    TASK_QUEUED, /* in its seat's lane of its job */
    TASK_PUSHED, /* given to the runner's thread */
};

/* What is to become of a pushed task once the runner's thread is known not to start it. */
enum task_wish {
    WISH_NONE,
    WISH_DROP,   /* done elsewhere */
    WISH_RETURN, /* hand it back */
    WISH_MOVE,   /* another seat is idle */
};

struct task {
    struct id id;
    uint64_t hash;
    struct job *job;
    struct task *chain;       /* of its bucket of the index; of the free list */
    struct task *prev, *next; /* of the lane, or of the seat's pushed tasks */
    uint32_t seat;
    uint32_t number; /* PUSHED: which grant of the runner's thread */
    uint8_t state, wish;
    uint32_t len;
    uint8_t *big; /* owned: the grant when longer than TASK_SMALL */
    uint8_t small[TASK_SMALL];
};

struct task_list {
    struct task *head, *tail;
    uint32_t n;
};

void list_append(struct task_list *l, struct task *t);
void list_remove(struct task_list *l, struct task *t);

struct task_chunk;
struct task_pool {
    struct task *free;
    struct task_chunk *chunks; /* owned */
    struct task **bucket;      /* owned; buckets is a power of two */
    uint32_t buckets, n;
};

void pool_free(struct task_pool *p);
struct task *task_find(const struct task_pool *p, const struct job *job, struct id id);
/* A new task of the job with a copy of its grant. */
struct task *task_new(struct task_pool *p, struct job *job, const struct grant *g, struct bytes packed);
void task_free(struct task_pool *p, struct task *t);
static inline struct bytes task_grant(const struct task *t)
{
    return bytes_of(t->big ? t->big : t->small, t->len);
}

/* ---- Jobs ---- */

enum job_state {
    JOB_FETCHING, /* its module or input is not here yet */
    JOB_IDLE,     /* all is here, no runner: nothing to run yet */
    JOB_STARTING, /* its runner has been asked for */
    JOB_UP,
    JOB_RESTING, /* its runner crashed; started again at wake_us */
    JOB_BROKEN,  /* it can never run here: why */
};

/* The tasks of one job that wait for one seat. Linked into the seat's round while it has tasks and its job is
 * up. */
struct lane {
    struct task_list tasks;
    struct job *job;
    struct lane *prev, *next; /* the seat's round, circular; NULL when not linked */
};

struct job {
    struct id id;
    struct job *chain; /* of its bucket */
    enum job_state state;
    bool has_input, have_module, have_input;
    bool unfit; /* BROKEN: here, and perhaps not elsewhere */
    bool stale; /* told of by a connection that is gone */
    uint8_t module[PD_SHA_BYTES], input[PD_SHA_BYTES];
    bool has_best[3];
    int64_t best[3];   /* by bound kind */
    uint32_t slot;     /* in pd.job */
    uint32_t runner;   /* of the latest runner */
    uint32_t tasks;    /* queued and pushed */
    uint64_t wake_us;  /* the job's timer, NEVER when there is none */
    uint64_t up_us;    /* when its runner came up */
    uint64_t used_us;  /* when it was last given a task */
    unsigned crashes;  /* in a row, without a good run between */
    unsigned misses;   /* failed attempts to fetch, in a row */
    char why[256];     /* BROKEN */
    struct lane *lane; /* owned: one per seat */
    uint32_t *number;  /* owned: per seat, grants pushed to this runner's thread */
};

struct job *job_find(const struct pd *pd, struct id id);
struct job *job_of_runner(const struct pd *pd, uint32_t runner);
static inline bool job_has_runner(const struct job *j)
{
    return j->state == JOB_STARTING || j->state == JOB_UP;
}
void job_told(struct pd *pd, const struct pd_event *ev, struct pd_effects *out);
void job_gone(struct pd *pd, const struct pd_event *ev, struct pd_effects *out);
void job_bound(struct pd *pd, const struct pd_event *ev, struct pd_effects *out);
void job_blob(struct pd *pd, const struct pd_event *ev, struct pd_effects *out);
void job_running(struct pd *pd, const struct pd_event *ev, struct pd_effects *out);
void job_exited(struct pd *pd, const struct pd_event *ev, struct pd_effects *out);
/* Its runner wrote what no runner writes: end it, and blame the first task of that seat. */
void job_misbehaved(struct pd *pd, struct job *j, uint32_t seat, const char *how, struct pd_effects *out);
/* A task has arrived for the job: see that it gets a runner. */
void job_wants(struct pd *pd, struct job *j, struct pd_effects *out);
void jobs_hungry(struct pd *pd, struct pd_effects *out);
void jobs_tick(struct pd *pd, struct pd_effects *out);
void jobs_disconnected(struct pd *pd);
void jobs_connected(struct pd *pd);
void job_free(struct pd *pd, struct job *j);

/* ---- Seats ---- */

struct seat {
    struct lane *turn;       /* whose tasks are pushed now; NULL: nobody's */
    struct lane *round;      /* some lane of the round, NULL: none waits */
    struct task_list pushed; /* in the order the runner's thread will do them */
    uint32_t tasks;          /* queued and pushed */
    uint32_t turn_n;         /* pushed in this turn */
    uint64_t turn_us;        /* when the turn began */
    uint64_t since_us;       /* when its first pushed task became the first */
};

/* The seat that gets the next task. */
uint32_t seat_choose(struct pd *pd);
void seat_queue(struct pd *pd, struct task *t, uint32_t seat);
/* Takes a task off its seat; it stays in the index. */
void seat_unqueue(struct pd *pd, struct task *t);
void seat_feed(struct pd *pd, uint32_t seat, struct pd_effects *out);
void seats_feed(struct pd *pd, struct pd_effects *out);
/* The job's runner came up or went. */
void seats_link(struct pd *pd, struct job *j);
void seats_unlink(struct pd *pd, struct job *j);
/* Moves waiting tasks from seats that are busy to seats that are idle. */
void seats_level(struct pd *pd, struct pd_effects *out);
/* Hands back what waits far beyond the window: it was asked for when tasks were shorter. */
void seats_shed(struct pd *pd, struct pd_effects *out);
/* Ask for a pushed task back, with what is to become of it. */
void seat_take_back(struct pd *pd, struct task *t, enum task_wish wish, struct pd_effects *out);
void seat_taken_back(struct pd *pd, const struct pd_event *ev, struct pd_effects *out);

/* ---- How tasks end ---- */

void commits_read(struct pd *pd, const struct pd_event *ev, struct pd_effects *out);
void commit_broken(struct pd *pd, const struct pd_event *ev, struct pd_effects *out);
/* Ends the task with a commit of ours: RETURNED without or with a text, CRASHED or FAIL. */
void commit_return(struct pd *pd, struct task *t, struct pd_effects *out);
void commit_unfit(struct pd *pd, struct task *t, const char *text, struct pd_effects *out);
void commit_crashed(struct pd *pd, struct task *t, const char *text, struct pd_effects *out);
void commit_fail(struct pd *pd, struct task *t, const char *text, struct pd_effects *out);
/* Ends the task without a word. */
void task_drop(struct pd *pd, struct task *t);

/* ---- How much to ask for ---- */

struct window {
    uint32_t announced;
    uint32_t per_seat;
    uint64_t announced_us;
    uint64_t task_ns;          /* mean computing time of a grant */
    int32_t typical_log;       /* its geometric mean, as a logarithm: window.c */
    uint32_t last_log[2];      /* of the last two grants */
    uint64_t rtt_us[2];        /* least of this period and of the one before; NEVER: none */
    uint64_t period_us;        /* when this period began */
    bool budgeted;             /* the latest grants may collapse */
    uint64_t granted, settled; /* counted since the connection was made */
    bool probing;              /* a commit was sent at probe_us; its grant is the probe_granted-th */
    uint64_t probe_us, probe_granted;
    uint64_t ceiling; /* no grant beyond this number was made under another window than the announced */
};

void window_connected(struct pd *pd, struct pd_effects *out);
void window_granted(struct pd *pd, uint32_t n, bool budgeted); /* the last of them */
void window_settled(struct pd *pd);
/* A grant that the server took back of itself: what it gives in its place answers no commit. */
void window_released(struct pd *pd);
void window_ran(struct pd *pd, uint64_t elapsed_ns);
void window_update(struct pd *pd, struct pd_effects *out);
uint64_t window_round_trip_us(const struct pd *pd);

/* ---- The connection ---- */

enum conn_state { CONN_WAITING, CONN_DIALLING, CONN_UP, CONN_LEFT };

void conn_up(struct pd *pd, const struct pd_event *ev, struct pd_effects *out);
void conn_down(struct pd *pd, const struct pd_event *ev, struct pd_effects *out);
void conn_tick(struct pd *pd, struct pd_effects *out);
void conn_fault(struct pd *pd, const char *text, struct pd_effects *out);
void drain_start(struct pd *pd, const struct pd_event *ev, struct pd_effects *out);
void drain_check(struct pd *pd, struct pd_effects *out);

/* ---- The machine ---- */

#define JOB_BUCKETS 256u

struct pd {
    struct pd_config config;
    uint64_t now_us; /* of the running event */
    uint64_t random;
    /* connection */
    enum conn_state conn;
    uint64_t dial_us; /* WAITING: when to dial; DIALLING: when it was dialled */
    unsigned tries;
    bool draining;
    uint64_t drain_us; /* when running tasks are given up */
    /* jobs */
    struct job *job[PD_JOBS_MAX]; /* owned, by slot */
    struct job *bucket[JOB_BUCKETS];
    struct job *latest; /* of the last grant: most are of the same job */
    uint32_t jobs;
    uint32_t generation;  /* of runners */
    uint64_t jobs_due_us; /* no job's timer is earlier */
    /* work */
    struct task_pool pool;
    struct seat *seat; /* owned */
    uint32_t cursor;   /* where seat_choose goes on */
    uint64_t level_us; /* when seats are levelled next, NEVER: all is level */
    struct window window;
    struct buf scratch; /* owned */
};

uint64_t pd_random(struct pd *pd);
/* Appends an effect; data may be empty. */
struct pd_effect *fx_add(struct pd_effects *out, enum pd_effect_kind kind, struct bytes data);
void fx_note(struct pd_effects *out, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
