/* Certificates, and both ends of streams that record what happened to them, for tests of and over the RPC
 * runtime. */
#ifndef TESTS_SUPPORT_LOOPBACK_H
#define TESTS_SUPPORT_LOOPBACK_H

#include "proto/pki.h"
#include "proto/rpc.h"

/* One end of a stream, the context of `end_handler`. */
struct end {
    struct rpc_stream *stream; /* NULL until accepted or dialled, and after closed */
    struct buf out;            /* the next message, if not empty */
    bool echo;                 /* messages go back as they came */
    uint64_t pump;             /* messages of pump_bytes still to send */
    size_t pump_bytes;
    uint64_t fills; /* messages given to the runtime */
    uint64_t got;   /* messages */
    uint64_t got_bytes;
    uint64_t got_sum; /* of the messages' hashes */
    int refuse;       /* code to return from `message`, once one came */
    unsigned closed;  /* how often */
    int code;
    char why[RPC_WHY_MAX];
};

extern const struct rpc_handler end_handler; /* accept: the service's context is the struct end */

uint64_t sum_of(struct bytes data);
void end_send(struct end *e, const void *data, size_t len);

/* Runs until *counter is at least n; fails the test after 60 s. */
void run_until(struct rpc *r, const uint64_t *counter, uint64_t n);
void run_until_closed(struct rpc *r, const struct end *e);

/* A directory with a CA and certificates of all roles, made once in a process and removed at its end. */
const char *test_credentials_dir(void);
struct credentials test_credentials(enum role role, const char *name);

#endif
