/* The spawner: a small single-threaded process, forked before any thread or gRPC exists, that makes the
 * runners.
 *
 * A process that uses gRPC must not be forked, and forking a small one is cheap. Daemon and spawner speak
 * fixed-size records over a SOCK_SEQPACKET socket pair; descriptors ride along with a START. The spawner dies
 * when the daemon's end closes, and the runners die with the spawner, so nothing is ever left behind. */
#ifndef PRODUCER_SPAWNER_H
#define PRODUCER_SPAWNER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct spawner {
    int fd; /* owned: our end of the socket pair */
    pid_t pid;
};

/* What a runner is started with; the descriptors are borrowed. input -1: none. */
struct spawn_fds {
    int memory, module, bell, input;
};

/* A runner has exited: its exit status or the signal that killed it. */
struct spawn_report {
    uint32_t runner;
    int32_t status; /* as waitpid gives it */
    int32_t error;  /* errno when it could not even be started; status means nothing then */
};

/* Forks the spawner; runner_path is what it executes. Call first thing in main. CX_EIO. */
int spawner_start(struct spawner *s, const char *runner_path);
/* Asks for a runner. `runner` is the caller's number for it. CX_EIO: the spawner is gone. */
int spawner_run(struct spawner *s, uint32_t runner, const struct spawn_fds *fds);
/* SIGKILLs it if it still is there; its report comes as for any exit. CX_EIO. */
int spawner_kill(struct spawner *s, uint32_t runner);
/* Takes one report, waiting for it: 1; 0 when the spawner is gone. */
int spawner_report(struct spawner *s, struct spawn_report *out);
/* Ends the spawner and all runners, and waits for it. */
void spawner_stop(struct spawner *s);

#endif
