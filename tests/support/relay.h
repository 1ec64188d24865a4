/* A way between two programs on one machine: forwards TCP connections to a port of 127.0.0.1, each byte after
 * a delay. It is a process of its own and can be cut: stopped, it says nothing and loses nothing, as a wire
 * does whose other end cannot be seen.
 *
 *     struct relay r;
 *     relay_start(&r, port, 0);            // dial 127.0.0.1:r.port instead
 *     relay_cut(&r); ... relay_mend(&r);   // what was said meanwhile arrives late
 *     relay_stop(&r);                      // connections are reset */
#ifndef TESTS_SUPPORT_RELAY_H
#define TESTS_SUPPORT_RELAY_H

#include <stdint.h>
#include <sys/types.h>

struct relay {
    pid_t pid; /* 0: none runs */
    int port;  /* where it listens */
};

/* To be started before this process has threads: it is forked from it. */
void relay_start(struct relay *r, int target, uint64_t delay_us);
void relay_cut(struct relay *r);
void relay_mend(struct relay *r);
void relay_stop(struct relay *r);

/* In this process, for ever. */
int relay_listen(int *port);
_Noreturn void relay_run(int listener, int target, uint64_t delay_us);

#endif
