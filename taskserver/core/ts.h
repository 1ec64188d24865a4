/* The task server's pure core: an event in, effects out.
 *
 * It holds the jobs and tasks of one shard. It does no I/O, reads no clock, draws no random numbers, starts
 * no threads, and takes memory only from its own bounded pool; the shell (server.c) owns all that, executes
 * the effects in order and decides nothing. The simulator and the in-process engine (local://) drive this
 * same code.
 *
 * Durable state - jobs, tasks, slots, bounds, results - changes only by applying log records, through one
 * function, which live operation, restart and a replica share. Grants, producers, clients and timers are
 * volatile and never logged.
 *
 * The core cannot fail: bad input becomes a reply or a fault effect and changes nothing; a broken invariant
 * is an assert that stays on in release builds. */
#ifndef TASKSERVER_CORE_TS_H
#define TASKSERVER_CORE_TS_H

#include "base/commit.h"

#define SHA256_BYTES      32
#define TS_NAME_MAX       63
#define TS_FUNCTIONS_MAX  2048 /* the module's function names, comma-separated */
#define TS_LABEL_MAX      255
#define TS_MODULES_MAX    4
#define TS_REASON_MAX     MESSAGE_TEXT_MAX
#define TS_POISON_CRASHES 3

/* Whom a shard with idle producers asks for work. */
enum ts_steal {
    TS_STEAL_NONE,    /* nobody; others may still ask here */
    TS_STEAL_RANDOM,  /* any other shard */
    TS_STEAL_LATENCY, /* the nearest first: round trips up to 10, 100, 250 ms and above; any within a group */
};

#define TS_GATHER_US 10000u

struct ts_config {
    uint64_t memory_max;    /* bytes for jobs, tasks and results together; 0: no limit */
    uint64_t seed;          /* of whatever is to look random */
    uint64_t result_ttl_us; /* how long an unfetched result is kept; 0: until it is forgotten */
    uint64_t gather_us;     /* what nobody waits for goes to other shards together, and at most so late */
    uint32_t budget_max_us; /* longest collapse budget given with a grant */
    uint32_t jobs_max;      /* 0: no limit */
    struct id shard;        /* this one; zero: there are no others */
    enum ts_steal steal;
    bool collapse; /* false: every budget is 0 and every task a commit of its own (benchmarks, oracle) */
};

/* ---- Events ---- */

struct ts_module {
    char arch[16]; /* "x86_64", "aarch64"; "" fits every producer */
    uint8_t sha256[SHA256_BYTES];
};

struct ts_submit {
    struct id job; /* chosen by the consumer; makes the submit idempotent */
    struct ts_module module[TS_MODULES_MAX];
    uint32_t modules;
    bool has_input;
    uint8_t input[SHA256_BYTES];
    struct bytes functions; /* names of the module's tasks in order, comma-separated */
    uint32_t fn;            /* FN_FIRST + index of the root function */
    uint32_t nargs;
    struct bytes args;  /* nargs packed values, no addresses */
    int32_t priority;   /* between jobs: higher first */
    uint32_t weight;    /* share among jobs of equal priority; 0 means 1 */
    struct bytes label; /* free text for people */
    struct bytes owner; /* the consumer's certified name */
};

enum ts_event_kind {
    TS_TICK, /* time passes: deadlines, eager scheduling, expiry. Send one at ts_due() at the latest */
    TS_PRODUCER_JOINED,
    TS_PRODUCER_LEFT,   /* gone or silent: its grants are withdrawn */
    TS_PRODUCER_WINDOW, /* how many grants it wants outstanding */
    TS_PRODUCER_HOLDS,  /* after a reconnect: what it is still running (a packed batch of holds) */
    TS_COMMITS,         /* a packed batch of commit records (commit.h) */
    TS_SUBMIT,
    TS_CANCEL,
    TS_WATCH, /* a client wants progress and the result of a job */
    TS_UNWATCH,
    TS_FORGET,      /* the result has been fetched, it may go */
    TS_HELD,        /* the log up to lsn is as durable as is configured (law 8) */
    TS_CLIENT_LEFT, /* its watches and unsent replies go; its number may be used again */
    TS_PEER_UP,     /* another shard of the network is connected; again: over a new connection */
    TS_PEER_DOWN,
    TS_PEER_MSG, /* from another shard: what a TS_FX_PEER there gave, in order and once a connection */
    TS_PEER_RTT, /* the round trip to it has changed */
};

struct ts_event {
    enum ts_event_kind kind;
    uint64_t
        now_us;    /* since the epoch, never going back: it is kept in the log and compared after a restart */
    uint32_t peer; /* producer or client: a small number chosen by the shell, reusable after it left */
    uint64_t req;  /* SUBMIT, CANCEL, WATCH, FORGET: echoed in the reply */
    struct id job; /* CANCEL, WATCH, UNWATCH, FORGET */
    union {
        struct {
            const char *name; /* certified */
            const char *arch;
            uint32_t threads;
        } joined;
        uint32_t window;
        /* HOLDS: (job:id task:id hash:u64)*: what is still running, or done and not sent yet, sent before any
         * commit of the new session. COMMITS: commit records, one a grant. */
        struct bytes batch;
        const struct ts_submit *submit;
        struct bytes owner; /* CANCEL, WATCH, FORGET: who asks; empty: may do all (admin) */
        uint64_t lsn;
        struct { /* PEER: another shard */
            struct id shard;
            uint64_t rtt_us;    /* UP, RTT */
            struct bytes bytes; /* MSG */
        } other;
    } u;
};

/* ---- Effects ---- */

enum ts_effect_kind {
    TS_FX_GRANT, /* to producer peer: data is one packed grant; append it to the peer's batch */
    TS_FX_JOB,   /* to producer peer: about this job (look it up with ts_job_find), before its first grant */
    TS_FX_JOB_GONE, /* to producer peer: the job ended, kill its runners */
    TS_FX_BOUND,    /* to producer peer: job's bound improved: bound_kind, bound */
    TS_FX_HUNGRY,   /* to producer peer: others are idle, publish your frontiers soon */
    TS_FX_REVOKE,   /* to producer peer: this task is done elsewhere, do not start it */
    TS_FX_FAULT,    /* producer peer sent what is not allowed: text says what; the shell closes its stream */
    TS_FX_REPLY,    /* to client peer, request req: code and text (SUBMIT, CANCEL, FORGET, refused WATCH) */
    TS_FX_PROGRESS, /* to client peer watching job: look it up with ts_job_find */
    TS_FX_RESULT,   /* to client peer watching job: it has ended: look it up with ts_job_find */
    TS_FX_PEER,     /* to another shard, if it is connected still: data is a message; drop it otherwise */
    TS_FX_PEER_FAULT, /* the other shard sent what is not allowed: text says what; close that connection */
    TS_FX_GUEST, /* tasks of job came from another shard, for the first time: its module and input are there
                  */
    TS_FX_LOG,   /* append data (one record) to the log; lsn is its number */
};

struct ts_effect {
    enum ts_effect_kind kind;
    uint32_t peer;
    uint64_t req;
    struct id job;
    union {
        struct id task;
        struct id shard; /* PEER, PEER_FAULT, GUEST */
    };
    int code; /* enum cx_err */
    uint32_t bound_kind;
    int64_t bound;
    uint64_t lsn;
    size_t at, len; /* data or text: a run of ts_effects.data */
};

/* Reused from step to step; the shell empties it with ts_effects_clear. */
struct ts_effects {
    struct ts_effect *fx;
    size_t n, cap;
    struct buf data;
    struct buf log; /* of LOG: a record may grow after other effects have come */
};

static inline struct bytes ts_effect_data(const struct ts_effects *e, const struct ts_effect *fx)
{
    return (struct bytes){(fx->kind == TS_FX_LOG ? e->log.data : e->data.data) + fx->at, fx->len};
}
void ts_effects_clear(struct ts_effects *e);
void ts_effects_free(struct ts_effects *e);

/* ---- The machine ---- */

struct ts;

struct ts *ts_new(const struct ts_config *config);
void ts_free(struct ts *ts);
void ts_step(struct ts *ts, const struct ts_event *event, struct ts_effects *out);

/* When the next TICK is wanted, at the latest (UINT64_MAX: never). */
uint64_t ts_due(const struct ts *ts);

/* Restart and replicas: applies one record of a log that ts_step wrote, in order, before any event. False
 * when the record does not fit the state (corruption): then nothing has changed, unless it is of several
 * commits. */
bool ts_replay(struct ts *ts, struct bytes record, uint64_t lsn);
/* The state is that at lsn: what was replayed may have been a snapshot of nothing. */
void ts_at(struct ts *ts, uint64_t lsn);
/* Ends replay: everything ready is put in the queues. */
void ts_replayed(struct ts *ts, uint64_t now_us);
/* The state as records, each handed to emit in turn; replaying them into a new ts gives an equal state. */
void ts_snapshot(const struct ts *ts, void (*emit)(void *ctx, struct bytes record), void *ctx);
/* The hashes of the modules and the input without which the state after this record cannot be worked on:
 * those of a job that it begins, or shows as running. Borrowed from the record; at most max, of which
 * TS_RECORD_BLOBS_MAX are enough. Returns how many. */
#define TS_RECORD_BLOBS_MAX (TS_MODULES_MAX + 1)
size_t ts_record_blobs(struct bytes record, const uint8_t *sha256[], size_t max);
uint64_t ts_lsn(const struct ts *ts);     /* of the last record */
uint64_t ts_awaited(const struct ts *ts); /* of the last that something waits for to leave (law 8); 0: none */
/* The machine's time: that of the latest event or record. It never goes back, and stands still while events
 * are older; so a shell whose clock was set back begins here after a replay. */
uint64_t ts_now(const struct ts *ts);

/* ---- Looking (no change) ---- */

enum ts_job_state { TS_JOB_RUNNING, TS_JOB_DONE, TS_JOB_FAILED, TS_JOB_CANCELLED };

/* Pointers are borrowed until the next step. */
struct ts_job_info {
    struct id id;
    enum ts_job_state state;
    struct ts_module module[TS_MODULES_MAX];
    uint32_t modules;
    bool has_input;
    uint8_t input[SHA256_BYTES];
    struct bytes functions, label, owner;
    uint32_t fn;         /* of the root */
    struct bytes result; /* DONE: one packed value */
    struct bytes reason; /* FAILED, CANCELLED */
    int32_t priority;
    uint32_t weight;
    uint64_t submitted_us, ended_us;
    uint64_t ready, waiting, granted;       /* tasks now */
    uint64_t executed, duplicates, commits; /* so far; executed counts collapsed tasks too */
    uint64_t busy_ns;                       /* computing time committed */
    uint64_t bytes;                         /* memory held */
    bool has_min, has_max;
    int64_t bound_min, bound_max;
    /* Other shards. A guest is a job of another shard that has tasks here: it is looked at to run it, and to
     * keep its module and input, but is nobody's to watch, and not counted or listed as a job. */
    bool guest;
    struct id origin; /* of a guest: its home */
    uint64_t away;    /* tasks and values sent to other shards that are not answered yet */
};
/* Another shard. */
struct ts_peer_info {
    struct id shard;
    bool up;
    uint64_t rtt_us;
    uint64_t unconfirmed, unconfirmed_bytes; /* parcels that it has not confirmed */
    uint64_t given, taken;                   /* tasks, since this server began */
};
struct ts_producer_info {
    uint32_t peer;
    const char *name, *arch;
    uint32_t threads, window, granted;
    uint64_t commits, executed, busy_ns, joined_us;
};
struct ts_stats {
    uint64_t jobs, tasks, ready, waiting, granted, producers, threads;
    uint64_t memory, memory_max, lsn, held;
};

bool ts_job_find(const struct ts *ts, struct id job, struct ts_job_info *out);
/* Walks: start with *cursor = 0; false when there is no more. A job whose end is not held yet is shown as
 * running, so that a listing may be given away at once (law 8). Guests are among them, and marked. */
bool ts_job_next(const struct ts *ts, uint64_t *cursor, struct ts_job_info *out);
bool ts_producer_next(const struct ts *ts, uint64_t *cursor, struct ts_producer_info *out);
bool ts_peer_next(const struct ts *ts, uint64_t *cursor, struct ts_peer_info *out);
void ts_stats(const struct ts *ts, struct ts_stats *out);
/* What a job waits for, in words for a person: up to a few lines. */
void ts_why(const struct ts *ts, struct id job, uint64_t now_us, struct buf *text);

/* Every internal relation that must hold; aborts with a message otherwise. For tests and the simulator. */
void ts_check(const struct ts *ts);

#endif
