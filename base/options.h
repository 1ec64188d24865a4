/* Options of a daemon: one table, read from a configuration file (libconfig) and from the command line
 * (argp), the command line winning. Every option has the same name in both. --help, --version and --config
 * come by themselves. */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_STRING, /* at: const char *; lives as long as the process */
    OPTION_INT,    /* at: int64_t */
    OPTION_SIZE,   /* at: uint64_t; "512M", "4G" */
    OPTION_FLAG,   /* at: bool; --name and --no-name */
};

struct option_row {
    const char *name; /* "log-level" */
    enum option_kind kind;
    void *at;        /* holds the default before */
    const char *arg; /* what --help calls the argument; NULL for flags */
    const char *help;
    int64_t min, max; /* INT and SIZE: inclusive limits; both 0: none */
};

enum options_outcome { OPTIONS_GO, OPTIONS_DONE, OPTIONS_BAD };

/* Reads both sources into the rows. DONE: --help or --version was printed, exit with 0. BAD: the reason was
 * printed on standard error, naming file and line or option, exit with 2. No positional arguments are taken.
 */
enum options_outcome options_read(const char *program, const char *about, const struct option_row *rows,
                                  size_t n, int argc, char **argv);

#endif
