/* What every daemon does besides its job: stop in order on SIGTERM or SIGINT, and say when it is ready. */
#ifndef PROTO_DAEMON_H
#define PROTO_DAEMON_H

#include "proto/rpc.h"

/* Call before any thread or gRPC starts: blocks the signals (all threads inherit that) and ignores SIGPIPE.
 */
void daemon_block_signals(void);
/* A child process inherits the blocked signals, through exec too: call this in it, between fork and exec. */
void daemon_child_signals(void);
/* Starts the thread that waits for SIGTERM and SIGINT and posts stop(ctx) to the reactor, once per signal. */
int daemon_watch_signals(struct rpc *r, void (*stop)(void *ctx), void *ctx);
/* Ends that thread; after it nothing more is posted. Call before rpc_free. Does nothing when none is
 * watching. */
void daemon_unwatch_signals(void);
/* Writes "ready PORT\n" to fd and closes it; fd -1: nothing. Whoever started the daemon waits for this line.
 */
void daemon_ready(int fd, int port);

#endif
