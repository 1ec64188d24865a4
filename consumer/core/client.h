/* The consumer's pure core: what a client of a network remembers, and what it does when the network changes.
 *
 * An event in, effects out; no I/O, clock, randomness, threads or environment. The shell (consumer/remote.c)
 * owns the streams, the clock and the callers' threads, carries out the effects in order and decides nothing.
 *
 * Callers' questions are `struct call`s, jobs that somebody has a handle of are `struct client_job`s; both
 * are owned by the shell and linked into the core while it needs them. Links to the network are made when
 * something needs them, and made again, after a jittered and growing pause, as long as something does. What
 * had been asked over a lost link is asked again over the next: every request is idempotent. */
#ifndef CONSUMER_CORE_CLIENT_H
#define CONSUMER_CORE_CLIENT_H

#include "base/bytes.h"
#include "base/id.h"
#include "cx/error.h"

#define CLIENT_SHA_BYTES   32
#define CLIENT_ADDRESS_MAX 256
#define CLIENT_TARGETS_MAX 16
#define CLIENT_NETWORK_MAX 64
#define CLIENT_TEXT_MAX    1536
#define CLIENT_BLOBS_MAX   5     /* of a submission: modules and input */
#define CLIENT_BACKOFF_MIN 20000 /* us: the first pause is from half of it to all of it */
#define CLIENT_BACKOFF_MAX 2000000
#define CLIENT_LIVE_MAX    250000 /* us: the longest pause of a client that has jobs */
#define CLIENT_REFUSED_MAX 50000  /* us: ... while a server that lives says that it is not the primary yet */
#define CLIENT_DIAL_US     1000000 /* us before another address is tried instead; doubles from round to round */
#define CLIENT_FULL_WAIT   250000 /* us before a submission is offered again to a server that is full */

/* ---- What callers ask ---- */

enum call_kind {
    CALL_SUBMIT,
    CALL_CANCEL,
    CALL_FORGET,
    CALL_WHY,      /* out: text */
    CALL_LIST,     /* out: rows */
    CALL_NETWORKS, /* of the broker; out: rows */
    CALL_WAIT,     /* done when the job has ended: see job */
    CALL_PROGRESS, /* done when the job has a progress that came over the present connection, or has ended */
    CALL_ORDER,    /* an administrator's order to the server: what, id, member */
    CALL_ACCEPT,   /* ... and to the broker */
    CALL_KINDS
};

enum call_state {
    CALL_IDLE, /* waits for a link, or its turn */
    CALL_HAVE, /* SUBMIT: asked whether the server has blob blob_at */
    CALL_PUT,  /* SUBMIT: sends it */
    CALL_SENT, /* waits for its answer */
};

struct client_blob {
    uint8_t sha256[CLIENT_SHA_BYTES];
    struct bytes data; /* borrowed until the call is done */
};

struct call {
    /* the caller's */
    enum call_kind kind;
    uint64_t deadline_us;   /* UINT64_MAX: none */
    struct id id;           /* SUBMIT, CANCEL, FORGET, WHY */
    struct client_job *job; /* WAIT, PROGRESS */
    uint32_t what;          /* LIST, ORDER, ACCEPT: the wire's number */
    uint64_t member;        /* ACCEPT */
    const struct client_blob *blob;
    uint32_t blobs;
    const void *payload; /* for the shell: what a submission says */
    bool acked;          /* CANCEL, FORGET, WHY: the job was acknowledged to this handle */
    /* the answer */
    bool done;
    int code;
    char text[CLIENT_TEXT_MAX];
    struct buf out; /* owned by the caller */
    /* the core's */
    struct call *prev, *next;
    enum call_state state;
    uint64_t req, retry_us;
    uint32_t blob_at;
    uint32_t denied; /* see links_denied */
    char full_text[256];
    bool full;      /* SUBMIT: the server was full; retry_us says when to ask again */
    bool resent;    /* asked more than once: FORGET then takes ENOTFOUND for done */
    bool reblobbed; /* SUBMIT: the server had lost a blob that it had had */
};

struct client_progress {
    uint64_t ready, waiting, granted, executed, duplicates, busy_ns, age_us;
};

/* A job that has handles. */
struct client_job {
    struct id id;
    bool acked; /* it was acknowledged to this handle: the caller's */
    bool fresh; /* progress came over the present connection */
    bool ended;
    uint32_t state; /* once ended: enum cx_state */
    struct client_progress progress;
    struct buf value; /* packed; owned */
    char reason[CLIENT_TEXT_MAX];
    /* the core's */
    struct client_job *prev, *next;
    bool linked, wanted;
    uint64_t req;    /* of its watch; 0: not watched */
    uint32_t denied; /* see links_denied */
};

/* ---- Events ---- */

enum client_link { LINK_TASKS, LINK_BLOBS, LINK_BROKER, LINKS };

enum client_event_kind {
    CLIENT_TICK,
    CLIENT_CALL,     /* a new question */
    CLIENT_JOB_DROP, /* the job has no handles any more; after the step it may be freed */
    CLIENT_WELCOME,  /* the server's greeting on LINK_TASKS */
    CLIENT_STATUS,
    CLIENT_ROW, /* data: a row of a listing, as the caller wants it; or the progress of a watched job */
    CLIENT_RESULT,
    CLIENT_TEXT,
    CLIENT_OFFER,  /* address, network */
    CLIENT_CLOSED, /* the link is gone; also when dialling failed */
};

struct client_event {
    enum client_event_kind kind;
    enum client_link link;
    uint64_t now_us;
    uint64_t req;
    int code;                      /* STATUS, CLOSED */
    struct bytes text;             /* STATUS, TEXT, CLOSED; RESULT: the reason */
    struct bytes data;             /* ROW; RESULT: the packed value */
    uint32_t state;                /* RESULT */
    struct bytes address, network; /* OFFER; WELCOME: where its shard may be served, too */
    struct id shard;               /* WELCOME: that the stream is for; zero: none, or an old server */
    const struct client_progress *progress; /* ROW of a job, else NULL */
    struct call *call;
    struct client_job *job;
};

/* ---- Effects ---- */

enum client_effect_kind {
    CLIENT_FX_DIAL,   /* open this link to address; the answer is WELCOME or CLOSED */
    CLIENT_FX_HANGUP, /* close it; no event of it is wanted any more, not even CLOSED */
    CLIENT_FX_SEND,
    CLIENT_FX_DONE, /* call is answered: wake its caller */
};

enum client_message {
    SEND_HELLO,
    SEND_SUBMIT, /* call */
    SEND_CANCEL, /* id, as the next four */
    SEND_FORGET,
    SEND_WHY,
    SEND_WATCH,
    SEND_UNWATCH,
    SEND_LIST,  /* what */
    SEND_ORDER, /* what, id: the shard, member */
    SEND_HAVE,  /* blob */
    SEND_PUT,   /* blob, with all its data */
    SEND_MATCH, /* address: the network wanted, may be empty */
};

struct client_effect {
    enum client_effect_kind kind;
    enum client_link link;
    enum client_message message;
    uint64_t req;
    struct id id; /* HELLO: the shard wanted; zero: the server chooses */
    uint32_t what;
    uint64_t member;
    const char *address; /* borrowed until the next step */
    const struct client_blob *blob;
    struct call *call;
};

struct client_effects {
    struct client_effect *fx;
    size_t n, cap;
};

void client_effects_free(struct client_effects *e);

/* ---- The machine ---- */

struct client_config {
    const char *address; /* "host:port[,host:port...]", or "broker:host:port[/network]" */
    uint64_t seed;       /* of the jitter */
    uint64_t grace_us;   /* how long a network that has never been reached is tried */
    struct id shard;     /* the only one it is for; zero: one that a server chooses */
    bool any;            /* it asks the server itself, whatever that serves, and tries once */
};

struct client;

/* NULL: the address is malformed. */
struct client *client_new(const struct client_config *config);
void client_free(struct client *c);
/* Appends to out, which the caller empties. */
void client_step(struct client *c, const struct client_event *event, struct client_effects *out);
/* When the next TICK is wanted at the latest; UINT64_MAX: never. */
uint64_t client_due(const struct client *c);
/* The network's name as the server told it; "" before. */
const char *client_network(const struct client *c);
/* That of the present or the last stream; zero before, and of servers that know none. */
struct id client_shard(const struct client *c);
/* That of the jobs that were submitted or found; zero: there are none, the next stream may have another one.
 */
struct id client_bound(const struct client *c);
/* The i-th address that it knows of its network; NULL after the last. */
const char *client_address(const struct client *c, uint32_t i);
/* Every internal relation that must hold; aborts otherwise. */
void client_check(const struct client *c);

#endif
