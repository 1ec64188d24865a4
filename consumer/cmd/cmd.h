/* The cx command: a table of verbs, each of which reads its own command line and does one thing. */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include <argp.h>
#include <stdbool.h>

#include "consumer/net.h"

struct cJSON;

/* What every verb understands. */
struct common {
    const char *network, *credentials;
    bool json, quiet;
    int timeout_ms; /* negative: none given */
};

extern struct common common;
extern const struct argp common_argp; /* put it among the children of a verb's argp */
#define COMMON_CHILDREN ((const struct argp_child[]){{&common_argp, 0, "Common options:", 10}, {0}})

enum { EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

/* One verb. argv[0] is its name; returns the exit code. */
struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
};

int verb_run(int argc, char **argv);
int verb_submit(int argc, char **argv);
int verb_wait(int argc, char **argv);
int verb_status(int argc, char **argv);
int verb_jobs(int argc, char **argv);
int verb_producers(int argc, char **argv);
int verb_networks(int argc, char **argv);
int verb_cancel(int argc, char **argv);
int verb_forget(int argc, char **argv);
int verb_why(int argc, char **argv);
int verb_server(int argc, char **argv);
int verb_local(int argc, char **argv);
int verb_ca(int argc, char **argv);

/* Parses the command line of a verb whose whole input is `arguments` words (argp's own check is done by it);
 * the words are put into words[]. Usage errors exit with 2, as argp does. */
void words_parse(int argc, char **argv, const char *args_doc, const char *doc, int words_min, int words_max,
                 const char **words);

/* Opens the network that the options, the environment or the configuration name. On failure says why and
 * returns the exit code, else 0. */
int open_network(cx_net **net);
/* Says on standard error (or, with --json, on standard output) what went wrong; returns the exit code of
 * code. */
int report(int code, const char *text);
int report_net(const cx_net *net, int code); /* with cx_error(net) */

/* Prints one JSON document and frees it. */
void print_json(struct cJSON *doc);

#endif
