/* One peer's stream: it opens with Hello, has a number in the core, an outbox, and limits. What the three
 * kinds of stream have in common (docs/PROTOCOL.md, 1 and 2). */
#ifndef TASKSERVER_SESSION_H
#define TASKSERVER_SESSION_H

#include "proto/msg.h"
#include "proto/rpc.h"
#include "taskserver/outbox.h"

struct taskserver;
struct shard;
struct session;

enum { SESSION_TAGS = 80 }; /* message kinds have lower tags */

typedef int session_message_fn(struct session *s, const cx_Msg *m, char *why);

/* What rendering a note has given. */
enum rendered {
    RENDERED_NOTHING, /* nothing to say any more; the note goes */
    RENDERED_LAST,    /* one message; the note goes */
    RENDERED_MORE,    /* one message, and the note has more to say */
};

struct session_kind {
    const char *name;      /* for people */
    size_t bytes;          /* of the struct that begins with a struct session */
    bool hello;            /* must begin with Hello */
    bool outputs;          /* what it hears has left the shard: only while that is open (law 8) */
    unsigned outbox_share; /* times the server's outbox_max: a peer that leaves more unread does not read */
    unsigned streams_max;  /* of this kind by one certified name */
    session_message_fn *const *on;                                      /* by tag; NULL: not on this stream */
    int (*joined)(struct session *s, const cx_Hello *hello, char *why); /* may be NULL */
    enum rendered (*render)(struct session *s, uint32_t note, uint8_t *data, struct buf *out);
    bool (*more)(struct session *s, struct buf *out); /* when the outbox is empty; may be NULL */
    void (*gone)(struct session *s, int code, const char *why);
};

struct session {
    struct taskserver *server; /* borrowed */
    struct shard *shard;       /* borrowed; whom the stream is for, from Hello on; NULL: blobs */
    struct rpc_stream *stream; /* borrowed */
    const struct session_kind *kind;
    struct session *next, **at; /* in the server's list */
    enum role role;
    char name[IDENTITY_NAME_MAX + 1];
    uint32_t peer; /* its number in the core, while joined */
    bool joined;
    bool looking; /* an administrator where nothing is served: may list, and give orders */
    bool closing; /* rpc_close was called: nothing more is said or heard */
    struct outbox out;
};

extern const struct rpc_handler session_handler;

/* What a service hands to accept. */
struct session_service {
    struct taskserver *server;
    const struct session_kind *kind;
};

/* Queues a message. */
void session_say(struct session *s, const cx_Msg *m);
/* Answers request req; text of any bytes, cut and cleaned as the protocol wants it. */
void session_status(struct session *s, uint64_t req, int code, struct bytes text);
void session_statusf(struct session *s, uint64_t req, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Queues a note: `data` is what render is given. */
void session_note(struct session *s, uint32_t note, const void *data, size_t len);
void session_grant(struct session *s, struct bytes grant);
void session_close(struct session *s, int code, const char *why);

/* The small numbers by which the core knows its peers. */
struct peers {
    struct session **session; /* owned array; by number, NULL where free */
    uint32_t *spare;          /* owned; numbers that were given back */
    uint32_t cap, used, spares;
};
uint32_t peers_add(struct peers *p, struct session *s);
void peers_remove(struct peers *p, uint32_t peer);
static inline struct session *peers_get(const struct peers *p, uint32_t peer)
{
    return peer < p->used ? p->session[peer] : NULL;
}
void peers_free(struct peers *p);

/* Ids in messages. */
struct id id_of(struct bytes b);
struct id_bytes {
    uint8_t b[16];
};
struct id_bytes id_bytes(struct id id);
static inline struct bytes id_view(const struct id_bytes *b)
{
    return (struct bytes){b->b, sizeof b->b};
}

/* Text as the protocol wants it: valid UTF-8 without zero bytes, at most max bytes; what is not becomes '?'.
 * Borrowed from text, or from scratch until its next use. */
struct bytes text_clean(struct buf *scratch, struct bytes text, size_t max);

#endif
