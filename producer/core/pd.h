/* The producer's pure core: an event in, effects out.
 *
 * It knows the connection to the task server, the jobs it has been told of, one runner a job, and the seats:
 * seat i is thread i of whichever job's runner has its turn there, so that never more threads compute than
 * there are seats. It does no I/O, reads no clock, starts no threads; randomness comes from a seed. The shell
 * (daemon.c) executes the effects in order and decides nothing.
 *
 * Limited commitment (Maestro): a seat has the task that runs and one that waits behind it, and more only as
 * far as the measured ratio of round trip to task time says, so that latency is hidden. The sum over the
 * seats is the window that the server is told.
 *
 * A grant is never lost and never a lock: each task ends in exactly one commit - what the runner wrote,
 * CRASHED, a FAIL when its runner dies at its start, or RETURNED, with a text when none of the job can run
 * here - or is dropped because the server said so (REVOKE, JOB_GONE). The core cannot fail: what the server
 * sends wrongly becomes a FAULT, what a runner writes wrongly ends the runner. */
#ifndef PRODUCER_CORE_PD_H
#define PRODUCER_CORE_PD_H

#include "base/commit.h"

#define PD_SHA_BYTES      32
#define PD_SEATS_MAX      1024u
#define PD_SEAT_TASKS_MAX 4096u      /* tasks of one seat */
#define PD_WINDOW_MAX     (1u << 19) /* tasks of all seats together */
#define PD_JOBS_MAX       1024u
#define PD_NO_SEAT        UINT32_MAX

struct pd_config {
    uint32_t seats;    /* threads that may compute at a time */
    uint64_t seed;     /* of the back-off's jitter */
    uint64_t grace_us; /* how long running tasks may go on after DRAIN */
};

/* ---- Events ---- */

struct pd_job {
    struct id job;
    const uint8_t *module; /* SHA-256; NULL: the job has none for this architecture */
    const uint8_t *input;  /* SHA-256; NULL: none */
    bool has_min, has_max;
    int64_t best_min, best_max;
};

struct pd_exit {
    bool refused;            /* it could not start and never will: text says why */
    uint32_t culprit;        /* seat whose task a fatal signal hit; PD_NO_SEAT: not known */
    const uint32_t *running; /* per seat: 1 + number of the grant the thread was in, 0: none */
};

enum pd_event_kind {
    PD_TICK,     /* time passes; wanted at pd_due() at the latest */
    PD_UP,       /* the server's Welcome */
    PD_DOWN,     /* the stream is gone or could not be had */
    PD_GRANTS,   /* data: a packed batch of grants */
    PD_JOB,      /* about a job, before its first grant */
    PD_JOB_GONE, /* job */
    PD_BOUND,    /* job, bound_kind, bound */
    PD_HUNGRY,
    PD_REVOKE,     /* job, task */
    PD_BLOB,       /* sha is in the cache (code 0), cannot be had (text), or could not be had now (CX_ENONET,
                      CX_EIO) */
    PD_RUNNING,    /* runner is up */
    PD_EXITED,     /* runner has exited, of itself; its commits have been delivered before. text: how */
    PD_COMMITS,    /* data: a packed batch of commits from the ring of runner's thread `seat`, hostile */
    PD_TAKEN_BACK, /* a TAKE_BACK succeeded: runner, seat, number */
    PD_BROKEN,     /* the ring of runner's thread `seat` is not a ring any more */
    PD_DRAIN, /* SIGTERM: hand back what has not started, finish or return the rest, leave. Again: at once */
};

struct pd_event {
    enum pd_event_kind kind;
    uint64_t now_us;
    struct id job, task;
    uint32_t runner, seat, number;
    uint32_t bound_kind;
    int64_t bound;
    int code;
    const uint8_t *sha;
    struct bytes data; /* or text */
    union {
        const struct pd_job *info;  /* JOB */
        const struct pd_exit *exit; /* EXITED */
    } u;
};

/* ---- Effects ---- */

enum pd_effect_kind {
    PD_FX_DIAL,      /* connect and say hello; UP or DOWN will follow */
    PD_FX_FAULT,     /* the server broke the protocol: close the stream; text says how. DOWN will follow */
    PD_FX_HOLDS,     /* data: packed (job, task, hash)* */
    PD_FX_WINDOW,    /* tell the server: n */
    PD_FX_COMMIT,    /* data: packed commits, appended to what waits to be sent; kept over a reconnect */
    PD_FX_FETCH,     /* have the blob named by data (its SHA-256) in the cache; BLOB will follow */
    PD_FX_START,     /* start runner; data: SHA-256 of the module, then of the input if there is one */
    PD_FX_KILL,      /* end runner; nothing more is heard of it */
    PD_FX_RUN,       /* data: one packed grant for runner's thread seat, its number-th */
    PD_FX_TAKE_BACK, /* grant number of runner's thread seat, if it has not started: TAKEN_BACK follows, or
                        nothing */
    PD_FX_BOUND,     /* merge bound_kind, bound into runner's link */
    PD_FX_HUNGRY,    /* runner is to publish its frontiers soon */
    PD_FX_LEAVE,     /* send all commits, then Leave, close, and exit */
    PD_FX_NOTE,      /* for the log: text; code is 0 or an error */
};

struct pd_effect {
    enum pd_effect_kind kind;
    uint32_t runner, seat, number;
    uint32_t n; /* WINDOW: grants; BOUND: bound_kind */
    int code;   /* NOTE */
    int64_t bound;
    size_t at, len; /* data or text: a run of pd_effects.data */
};

/* Reused from step to step; the shell empties it with pd_effects_clear. */
struct pd_effects {
    struct pd_effect *fx;
    size_t n, cap;
    struct buf data;
};

static inline struct bytes pd_effect_data(const struct pd_effects *e, const struct pd_effect *fx)
{
    return (struct bytes){e->data.data + fx->at, fx->len};
}
void pd_effects_clear(struct pd_effects *e);
void pd_effects_free(struct pd_effects *e);

/* ---- The machine ---- */

struct pd;

struct pd *pd_new(const struct pd_config *config);
void pd_free(struct pd *pd);
void pd_step(struct pd *pd, const struct pd_event *event, struct pd_effects *out);
uint64_t pd_due(const struct pd *pd); /* when the next TICK is wanted; UINT64_MAX: never */
/* How to wait for the runners, by what is in hand and the mean task: so many nanoseconds may their commits
 * gather, since there is much more to do behind them; 0: one should hear of the next at once. */
uint64_t pd_nap_ns(const struct pd *pd);
bool pd_soon(const struct pd *pd); /* the next commit is a moment away: not worth going to sleep for */

/* ---- Looking ---- */

struct pd_stats {
    uint32_t jobs, runners;          /* runners that are up */
    uint32_t tasks;                  /* granted to us and not ended */
    uint32_t pushed;                 /* of these, in a runner's ring or running */
    uint32_t window;                 /* as last announced */
    uint64_t round_trip_us, task_ns; /* as measured */
    bool connected, draining, left;
};
void pd_stats(const struct pd *pd, struct pd_stats *out);
/* Every internal relation that must hold; aborts otherwise. */
void pd_check(const struct pd *pd);

#endif
