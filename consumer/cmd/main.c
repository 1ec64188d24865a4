#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/cmd/cmd.h"

static int verb_help(int argc, char **argv);

static const struct verb verbs[] = {
    {"run", verb_run, "run a task of a module and print its result"},
    {"submit", verb_submit, "submit a job and print its id"},
    {"wait", verb_wait, "wait for a job and print its result"},
    {"status", verb_status, "show a job, or the server"},
    {"jobs", verb_jobs, "list the jobs"},
    {"producers", verb_producers, "list the producers"},
    {"networks", verb_networks, "list the networks that a broker knows"},
    {"cancel", verb_cancel, "cancel a job"},
    {"forget", verb_forget, "drop the result of a job that has ended"},
    {"why", verb_why, "say what a job waits for"},
    {"server", verb_server, "look after the task servers: status, hand-back, drain, replace, accept-loss"},
    {"local", verb_local, "start a network on this machine"},
    {"ca", verb_ca, "make a certificate authority and certificates"},
    {"help", verb_help, "explain a verb"},
};
#define VERBS (sizeof verbs / sizeof verbs[0])

static const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static void usage(FILE *out)
{
    fputs("Usage: cx VERB [ARGUMENT...]\nRun parallel computations on a CX network.\n\n", out);
    for (size_t i = 0; i < VERBS; i++)
        fprintf(out, "  %-10s %s\n", verbs[i].name, verbs[i].about);
    fputs("\nThe first lesson:  cx run fib.so fib 30\n"
          "`cx help VERB` explains one; cx(1) has all.\n",
          out);
}

static int unknown_verb(const char *name)
{
    fprintf(stderr, "cx: there is no verb '%s'; `cx help` lists those that there are\n", name);
    return EXIT_USAGE;
}

static int verb_call(const struct verb *v, int argc, char **argv)
{
    static char name[64]; /* argp keeps it for its messages */
    snprintf(name, sizeof name, "cx %s", v->name);
    argv[0] = name;
    return v->run(argc, argv);
}

static int verb_help(int argc, char **argv)
{
    const struct verb *v;
    char help[] = "--help";
    char *args[] = {NULL, help, NULL};
    if (argc < 2 || argv[1][0] == '-') {
        usage(stdout);
        return 0;
    }
    if ((v = verb_find(argv[1])) == NULL)
        return unknown_verb(argv[1]);
    return v->run == verb_help ? (usage(stdout), 0) : verb_call(v, 2, args);
}

int main(int argc, char **argv)
{
    const struct verb *v;
    argp_err_exit_status = EXIT_USAGE;
    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("cx " CX_VERSION);
        return 0;
    }
    if ((v = verb_find(argv[1])) == NULL)
        return unknown_verb(argv[1]);
    int code = verb_call(v, argc - 1, argv + 1);
    if (fflush(stdout) != 0) {
        perror("cx: standard output");
        return cx_err_exit(CX_EIO);
    }
    return code;
}
