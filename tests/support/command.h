/* Programs run by tests: what they print is captured, waiting is for what they print or for their end, never
 * for time to pass. All functions fail the running test (cmocka) when a time limit passes. */
#ifndef TESTS_SUPPORT_COMMAND_H
#define TESTS_SUPPORT_COMMAND_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/bytes.h"

#define COMMAND_LIMIT_MS 60000

struct command {
    pid_t pid; /* 0: has ended */
    int out_fd, err_fd;
    struct buf out, err; /* always zero-terminated beyond len */
    int code;            /* exit code, or 128 + signal */
};

/* Starts argv (argv[0]: a path) with the environment env (NULL: ours). Standard input is /dev/null. It dies
 * with us. */
void command_start(struct command *c, const char *const *argv, char *const *env);
/* Reads until `text` appears in its standard output or error. */
void command_wait_text(struct command *c, const char *text);
/* Reads until its end; returns the exit code. */
int command_finish(struct command *c);
void command_signal(struct command *c, int signal_number);
/* Kills it if need be, and frees. */
void command_free(struct command *c);

/* "out" and "err" as C strings. */
const char *command_out(const struct command *c);
const char *command_err(const struct command *c);

/* The directory of the programs of this build: build/VARIANT/bin. */
const char *programs_dir(void);
/* The path of build/VARIANT/WHAT, in one of a few static rooms: good for the next seven calls. */
const char *built(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
