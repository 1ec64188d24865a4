/* Peers of a broker: a test asks it as a server, a consumer or an administrator would, and waits for what it
 * says. All callers of one test share a reactor. */
#ifndef TESTS_SUPPORT_CALLER_H
#define TESTS_SUPPORT_CALLER_H

#include "base/shard.h"
#include "proto/msg.h"
#include "proto/pki.h"
#include "proto/rpc.h"

enum { CALLER_REPLIES = 16 };

/* What ended a request: a Status, or the witness's answer. */
struct reply {
    uint64_t req;
    bool answered; /* by the witness */
    int code;      /* of the Status */
    struct shard_answer shard;
};

struct caller {
    struct rpc *rpc; /* borrowed */
    struct credentials me;
    struct rpc_stream *stream; /* NULL: closed */
    struct buf out;            /* one message, to be sent */
    uint64_t req;              /* the last one's number */
    struct reply reply[CALLER_REPLIES];
    unsigned replies; /* in all */
    unsigned rows;    /* NetworkRows in all */
};

/* Connects as that role and name, whose certificate is issued if need be. */
void caller_open(struct caller *c, struct rpc *rpc, enum role role, const char *name, int port);
void caller_close(struct caller *c);
/* Sends; returns the request's number. */
uint64_t caller_send(struct caller *c, cx_Msg m);
uint64_t caller_send_ask(struct caller *c, const struct shard_ask *ask);
/* NULL: there is none yet. */
const struct reply *caller_reply(const struct caller *c, uint64_t req);
/* Fails the test after a minute. */
struct reply caller_wait(struct caller *c, uint64_t req);

/* Both in one. */
struct reply caller_ask(struct caller *c, const struct shard_ask *ask);
int caller_register(struct caller *c, const char *network);
int caller_list(struct caller *c);
int caller_accept_loss(struct caller *c, struct id shard, uint64_t member);

#endif
