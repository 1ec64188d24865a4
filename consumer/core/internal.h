/* The parts of the consumer's core and what they share. links.c: connections; calls.c: questions; jobs.c:
 * watches; blobs.c: the submission's way to the server. */
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
};

struct target {
    char address[CLIENT_ADDRESS_MAX];
};

struct client {
    struct link link[LINKS];
    struct target target[CLIENT_TARGETS_MAX]; /* servers, best first; of a broker: its last offers */
    uint32_t targets, at;                     /* at: the one in use or to be dialled */
    bool by_broker, matching;
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
bool calls_need(const struct client *c, enum client_link link);

/* jobs.c */
void job_link(struct client *c, struct client_job *job);
void job_drop(struct client *c, struct client_job *job);
struct client_job *job_of(struct client *c, uint64_t req);
void jobs_watch(struct client *c);
void jobs_lost(struct client *c);
bool jobs_need(const struct client *c);
void job_progressed(struct client *c, struct client_job *job, const struct client_progress *p);
void job_ended(struct client *c, struct client_job *job, const struct client_event *e);
void job_refused(struct client *c, struct client_job *job, int code, struct bytes text);

/* blobs.c */
void submit_advance(struct client *c, struct call *call); /* from CALL_IDLE or after a blob is there */
void submit_answered(struct client *c, struct call *call, int code, struct bytes text);
struct call *submit_in_blobs(const struct client *c); /* the one that uses LINK_BLOBS */

#endif
