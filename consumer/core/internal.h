/* The parts of the consumer's core and what they share. targets.c: addresses; links.c: connections; calls.c:
 * questions; jobs.c: watches; blobs.c: the submission's way to the server. */
#ifndef CONSUMER_CORE_INTERNAL_H
#define CONSUMER_CORE_INTERNAL_H

#include "base/must.h"
#include "consumer/core/client.h"

#define KNOWN_BLOBS_MAX 32

enum link_state {
    LINK_DOWN,
    LINK_PAUSE,   /* until retry_us */
    LINK_DIALLED, /* LINK_TASKS: not greeted yet */
    LINK_UP,
};

struct link {
    enum link_state state;
    uint64_t retry_us;
    uint32_t failures; /* in a row */
    uint64_t dialled_us;
};

struct target {
    char address[CLIENT_ADDRESS_MAX];
    char network[CLIENT_NETWORK_MAX]; /* as the broker said; "" when it did not */
    bool home;                        /* our shard may be served there */
};

struct targets {
    struct target target[CLIENT_TARGETS_MAX]; /* best first */
    uint32_t n;
};

struct client {
    struct link link[LINKS];
    struct targets targets; /* servers */
    struct targets offers;  /* of the match that is under way */
    uint32_t at;            /* the target in use or to be dialled */
    uint32_t tried;         /* bit i: target i was tried in this round */
    uint32_t rounds;        /* in which nobody greeted us */
    struct id shard;        /* of the last stream */
    bool bound;             /* some job of ours is there: never another one */
    bool any;
    bool refused; /* in this round, by a server that is not the primary */
    bool leave;   /* another server is to be asked, too, as soon as nothing is under way here */
    bool by_broker, matching;
    bool stale; /* the broker is to be asked before the next round */
    uint64_t match_req;
    char broker[CLIENT_ADDRESS_MAX];
    char network[CLIENT_NETWORK_MAX]; /* wanted, or learnt: jobs stay where they are */
    bool ever_up;
    char trouble[CLIENT_TEXT_MAX]; /* why the last link was lost or not made */
    uint64_t grace_us, random, reqs, now_us;
    uint64_t needed_us;             /* since when something has needed the network; 0: nothing does */
    struct call *calls, *calls_end; /* in order of arrival */
    struct client_job *jobs;
    uint8_t known[KNOWN_BLOBS_MAX][CLIENT_SHA_BYTES]; /* blobs that this server has confirmed to hold */
    uint32_t knowns;
    struct client_effects *out; /* during a step */
};

struct client_effect *client_fx(struct client *c, enum client_effect_kind kind, enum client_link link);
struct client_effect *client_send(struct client *c, enum client_link link, enum client_message m,
                                  uint64_t req);
void text_set(char *out, size_t cap, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* targets.c */
/* False: it is none, or there is no room. One that is known is found, not added. */
bool target_add(struct targets *t, struct bytes address, struct bytes network);
bool targets_add(struct targets *t, struct bytes list, struct bytes network); /* comma-separated; true: all */
/* The stream's shard may be served at these, and where we are: nowhere else. */
void targets_settle(struct client *c, struct bytes list);
bool target_next(struct client *c);            /* moves on; false: the round is over, and another begins */
bool target_other(const struct client *c);     /* there is one left in this round */
void targets_renew(struct client *c);          /* with the offers */
uint32_t targets_home(const struct client *c); /* bits */

/* links.c */
int links_parse(struct client *c, const char *address);
void links_tend(struct client *c); /* dials what is needed, hangs up what is not */
void links_tick(struct client *c);
uint64_t links_due(const struct client *c);
void link_hang_up(struct client *c, enum client_link link);
void link_greeted(struct client *c, const struct client_event *e);
void link_closed(struct client *c, const struct client_event *e);
void link_offer(struct client *c, const struct client_event *e);
bool link_matched(struct client *c, const struct client_event *e); /* true: the status was the match's */
const char *links_where(const struct client *c);                   /* for messages */
void link_bind(struct client *c);       /* a job of ours is on this stream's shard */
bool link_tied(const struct client *c); /* the next stream must be for the shard of the last */
/* The server knows no such job. True: that is the shard's word, and final. False: ask again elsewhere;
 * *denied remembers who has said so. */
bool links_denied(struct client *c, uint32_t *denied);
bool link_asks(const struct client *c, uint32_t denied); /* the question may go out on the present stream */
void link_leave(struct client *c, const char *why);

/* calls.c */
void call_add(struct client *c, struct call *call);
void call_done(struct client *c, struct call *call, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
struct call *call_of(struct client *c, uint64_t req);
void call_answered(struct client *c, struct call *call, int code, struct bytes text);
void calls_send(struct client *c); /* whatever can go out now */
void calls_lost(struct client *c, enum client_link link);
void calls_fail(struct client *c, enum client_link link, int code); /* what waits for it, with c->trouble */
void calls_tick(struct client *c);
uint64_t calls_due(const struct client *c);
bool call_by_broker(const struct call *call); /* the broker answers it */
bool calls_need(const struct client *c, enum client_link link);
bool calls_busy(const struct client *c);  /* some wait for what the server of LINK_TASKS is about to say */
bool calls_doubt(const struct client *c); /* some were told that there is no such job, and are not sure */
void calls_forget_doubts(struct client *c);
/* Target `at` could not be asked; sure: it is there and not the primary. */
void calls_unheard(struct client *c, bool sure);

/* jobs.c */
void job_link(struct client *c, struct client_job *job);
void job_drop(struct client *c, struct client_job *job);
struct client_job *job_of(struct client *c, uint64_t req);
void jobs_watch(struct client *c);
void jobs_lost(struct client *c);
bool jobs_doubt(const struct client *c);
void jobs_forget_doubts(struct client *c);
void jobs_unheard(struct client *c, bool sure);
bool jobs_need(const struct client *c);
void job_progressed(struct client *c, struct client_job *job, const struct client_progress *p);
void job_ended(struct client *c, struct client_job *job, const struct client_event *e);
void job_refused(struct client *c, struct client_job *job, int code, struct bytes text);

/* blobs.c */
void submit_advance(struct client *c, struct call *call); /* from CALL_IDLE or after a blob is there */
void submit_answered(struct client *c, struct call *call, int code, struct bytes text);
struct call *submit_in_blobs(const struct client *c); /* the one that uses LINK_BLOBS */

#endif
