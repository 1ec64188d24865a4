/* The runner process: what its files share. */
#ifndef RUNNER_RUNNER_H
#define RUNNER_RUNNER_H

#include <pthread.h>

#include "producer/link.h"

enum { RUNNER_REFUSED = 3 }; /* exit status: cannot start, the link says why */

struct worker {
    struct runner *runner; /* borrowed */
    struct engine *engine; /* owned by its thread */
    struct link_thread *at;
    struct ring_reader in;
    struct ring_writer out;
    uint32_t number; /* of the next grant */
    uint32_t index;
    pthread_t thread;
};

struct runner {
    struct link link;
    const cx_module *module;
    struct bytes input;
    struct worker *worker; /* owned: link.threads */
    uint32_t cores;
};

/* walls.c: gives up what task code must not have. It stands between the link and the module's first
 * instruction. */
int walls_raise(bool has_input, char *why);
/* module.c: loads and checks the module, maps the input. */
int module_load(struct runner *r, char *why);
/* threads.c */
int threads_start(struct runner *r, char *why);
void threads_join(struct runner *r);
/* Wakes the daemon if it sleeps. */
void runner_ring(struct runner *r);
/* crash.c: from now on a fatal signal notes its thread in the link before it kills. Each thread needs its own
 * stack for that. */
int crash_watch(struct link_head *head, char *why);
int crash_thread(uint32_t index);

#endif
