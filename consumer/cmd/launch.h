/* Daemons as children: started, waited for until they say that they are ready, stopped. Used by `cx local`
 * and by the tests. Not thread-safe: one thread starts and stops. */
#ifndef CMD_LAUNCH_H
#define CMD_LAUNCH_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define LAUNCH_WHY_MAX  2048
#define LAUNCH_READY_MS 20000
#define LAUNCH_NAME_MAX 64

struct child {
    char name[LAUNCH_NAME_MAX];
    char log[PATH_MAX]; /* its standard output and error */
    pid_t pid;          /* 0: not running */
    int port;           /* that it listens on, as it said; 0 for those that do not listen */
    int status;         /* of waitpid, once it has ended */
};

/* The directory of the running program, where its siblings are. */
int program_dir(char out[PATH_MAX]);

/* Starts argv (argv[0]: the path) with "--ready-fd 3" appended, output appended to `log`, and waits for its
 * ready line. The child gets SIGTERM when this process dies. On failure nothing runs and why says so, with
 * the log's last lines. */
int child_start(struct child *c, const char *name, const char *log, const char *const *argv, int timeout_ms,
                char why[LAUNCH_WHY_MAX]);
/* Notices an end without waiting: true when it still runs. */
bool child_alive(struct child *c);
/* SIGTERM, then SIGKILL after timeout_ms; returns when it is gone. */
void child_stop(struct child *c, int timeout_ms);
void child_signal(struct child *c, int signal_number);
/* Waits until it has ended; false after timeout_ms. */
bool child_wait(struct child *c, int timeout_ms);

/* The last lines of a file, zero-terminated. */
void file_tail(const char *path, char *out, size_t cap);

/* An address on the loopback ("127.0.0.1:PORT") for a daemon that is to be named before it listens, and for
 * its later lives. Returns a socket that is bound to it: as long as it is open, the kernel gives the port to
 * nobody who does not ask for it by number. < 0: none. */
int address_reserve(char *address, size_t cap);

/* Removes a directory and all that is in it. */
void directory_remove(const char *path);

#endif
