/* cx run and cx submit: a job from the command line. */
#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "consumer/cmd/args.h"
#include "consumer/cmd/cmd.h"
#include "consumer/cmd/follow.h"
#include "consumer/cmd/show.h"
#include "proto/limits.h"

#define INPUT_MAX ((size_t)1 << 30)

struct request {
    cx_submission what;
    const char *input, *output;
    char id[CX_JOB_ID_SIZE];
    cx_value args[CX_ARGS_MAX];
    void *owned[CX_ARGS_MAX];
    struct buf input_bytes;
    char label[TS_LABEL_MAX + 1];      /* the call as it was written, when none is given */
    const char *word[CX_ARGS_MAX + 2]; /* as they were written: module, function, arguments */
    int words;
};

enum { KEY_INPUT = 0x200, KEY_ID, KEY_PRIORITY, KEY_WEIGHT, KEY_LABEL };

static const struct argp_option options[] = {
    {"input", KEY_INPUT, "FILE", 0, "the job's read-only input", 0},
    {"output", 'o', "FILE", 0, "write the result to a file (run)", 0},
    {"id", KEY_ID, "ID", 0, "the job's id, 32 hex digits; submitting it twice is harmless", 0},
    {"priority", KEY_PRIORITY, "N", 0, "among jobs: higher first", 0},
    {"weight", KEY_WEIGHT, "N", 0, "share among jobs of equal priority", 0},
    {"label", KEY_LABEL, "TEXT", 0, "free text, shown by cx jobs", 0},
    {0},
};

static long number(struct argp_state *state, const char *option, const char *text, long min, long max)
{
    char *end;
    errno = 0;
    long v = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || v < min || v > max)
        argp_error(state, "--%s: '%s' is no number from %ld to %ld", option, text, min, max);
    return v;
}

static void take_id(struct request *r, const char *text, struct argp_state *state)
{
    struct id id;
    if (!id_parse(text, &id) || id_is_zero(id))
        argp_error(state, "--id: '%s' is not 32 hex digits, not all zero", text);
    id_hex(id, r->id);
}

static error_t take_word(struct request *r, char *arg, struct argp_state *state)
{
    char why[ARG_WHY_MAX];
    uint32_t n = r->what.nargs;
    if (r->words < (int)(sizeof r->word / sizeof r->word[0]))
        r->word[r->words++] = arg;
    if (state->arg_num == 0) {
        r->what.module = arg;
        return 0;
    }
    if (state->arg_num == 1) {
        r->what.function = arg;
        return 0;
    }
    if (n == CX_ARGS_MAX)
        argp_error(state, "a task takes at most %u arguments", CX_ARGS_MAX);
    int err = arg_parse(arg, &r->args[n], &r->owned[n], why);
    if (err == CX_EINVAL)
        argp_error(state, "argument %u: %s", n + 1, why);
    if (err < 0)
        exit(report(err, why));
    r->what.nargs++;
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct request *r = state->input;
    switch (key) {
    case KEY_INPUT:
        r->input = arg;
        return 0;
    case 'o':
        r->output = arg;
        return 0;
    case KEY_ID:
        take_id(r, arg, state);
        return 0;
    case KEY_PRIORITY:
        r->what.priority = (int32_t)number(state, "priority", arg, -1000000, 1000000);
        return 0;
    case KEY_WEIGHT:
        r->what.weight = (uint32_t)number(state, "weight", arg, 1, WEIGHT_MAX);
        return 0;
    case KEY_LABEL:
        r->what.label = arg;
        return 0;
    case ARGP_KEY_ARG:
        return take_word(r, arg, state);
    case ARGP_KEY_END:
        if (state->arg_num < 2)
            argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* "-5" is a number, not options: it is given to argp as "i:-5" ("-0.5": "f:-0.5"), since no option of ours
 * begins with a digit. The words made are kept until the program ends. */
static void protect_negatives(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *s = argv[i];
        char *with;
        if (strcmp(s, "--") == 0)
            return;
        if (s[0] != '-' || !(isdigit((unsigned char)s[1]) || (s[1] == '.' && isdigit((unsigned char)s[2]))))
            continue;
        bool whole = strspn(s + 1, "0123456789abcdefxABCDEFX") == strlen(s + 1) &&
                     (strchr(s, 'x') != NULL || strpbrk(s, "eE") == NULL);
        if (asprintf(&with, "%s%s", whole ? "i:" : "f:", s) >= 0)
            argv[i] = with;
    }
}

static void choose_id(struct request *r)
{
    struct id id = {0};
    while (r->id[0] == '\0')
        if (getrandom(&id, sizeof id, 0) == (ssize_t)sizeof id && !id_is_zero(id))
            id_hex(id, r->id);
    r->what.id = r->id;
}

/* Cuts what is too long before a character, not within it; a call that is no text has no label. */
static void label_cut(char *label, size_t len)
{
    size_t end = len < TS_LABEL_MAX ? len : TS_LABEL_MAX;
    while (end > 0 && len > TS_LABEL_MAX && !utf8_valid(bytes_of(label, end)) && len - end < 4)
        end--;
    label[utf8_valid(bytes_of(label, end)) ? end : 0] = '\0';
}

/* "fib 30" says more in a listing than nothing does. */
static void default_label(struct request *r)
{
    size_t at = 0;
    if (r->what.label != NULL)
        return;
    for (int i = 1; i < r->words && at < sizeof r->label; i++)
        at += (size_t)snprintf(r->label + at, sizeof r->label - at, "%s%s", at > 0 ? " " : "", r->word[i]);
    label_cut(r->label, at < sizeof r->label ? at : sizeof r->label);
    r->what.label = r->label;
}

static int read_input(struct request *r)
{
    char why[ARG_WHY_MAX];
    int err = r->input != NULL ? read_whole_file(r->input, INPUT_MAX, &r->input_bytes, why) : 0;
    if (err < 0)
        return report(err, why);
    r->what.input = r->input_bytes.data;
    r->what.input_len = r->input_bytes.len;
    return 0;
}

static void request_free(struct request *r)
{
    for (uint32_t i = 0; i < r->what.nargs; i++)
        free(r->owned[i]);
    buf_free(&r->input_bytes);
}

static int print_id(const char *id)
{
    if (common.json) {
        cJSON *doc = cJSON_CreateObject();
        cJSON_AddStringToObject(doc, "id", id);
        print_json(doc);
    } else {
        puts(id);
    }
    return 0;
}

/* A server that was restarted without a journal has forgotten the job; it may run again, since tasks are
 * pure. */
static int submit_and_follow(cx_net *net, struct request *r, uint64_t deadline, cx_job **job, cx_value *v)
{
    int err = 0;
    for (int tries = 0; tries < SUBMIT_TRIES_MAX; tries++) {
        cx_job_free(*job);
        *job = NULL;
        if ((err = cx_submit(net, &r->what, job)) < 0)
            return err;
        if ((err = follow(*job, deadline, v)) != CX_ENOTFOUND)
            break;
    }
    return err;
}

static bool is_local(const cx_net *net)
{
    return strncmp(net->address, "local://", 8) == 0;
}

/* A task of local:// runs in this process, cannot be stopped and might never return: closing the network
 * would wait for it. */
static _Noreturn void leave_local(const struct request *r)
{
    char text[128];
    snprintf(text, sizeof text, "job %s has not ended in time; as one of local:// it ends with this process",
             r->id);
    int code = report(CX_ETIMEOUT, text);
    fflush(NULL);
    _exit(code);
}

static int run_job(cx_net *net, struct request *r)
{
    cx_job *job = NULL;
    cx_value v;
    uint64_t deadline = deadline_of(common.timeout_ms);
    int err, code;
    interrupt_leaves(net, r->id);
    err = submit_and_follow(net, r, deadline, &job, &v);
    if (err == CX_ETIMEOUT && is_local(net))
        leave_local(r);
    code = err == 0 ? show_result(r->id, v, r->output) : report_net(net, err);
    if (job != NULL && (err == 0 || err == CX_EFAILED || err == CX_ECANCELLED))
        cx_forget(job);
    cx_job_free(job);
    return code;
}

static int submit_job(cx_net *net, struct request *r)
{
    cx_job *job;
    int err;
    interrupt_leaves(net, r->id);
    if (is_local(net))
        return report(CX_EINVAL,
                      "a job of local:// ends with this process, so there is nothing to submit it to: use "
                      "cx run, or name a network (--network; cx local starts one)");
    if ((err = cx_submit(net, &r->what, &job)) < 0)
        return report_net(net, err);
    cx_job_free(job);
    return print_id(r->id);
}

static int call(int argc, char **argv, bool waits)
{
    const char *doc =
        waits ? "Run FUNCTION of MODULE.so and print its result.\v"
                "Arguments: 42 and -5 are integers, 2.5 is a double, @FILE is a file's bytes; i:5, "
                "f:5, str:TEXT, hex:00ff and none: say it outright. Ctrl-C leaves the job running."
              : "Submit FUNCTION of MODULE.so as a job and print the job's id.\v"
                "Arguments as for cx run. `cx wait ID` prints the result.";
    struct argp argp = {options, parse, "MODULE.so FUNCTION [ARGUMENT...]", doc, COMMON_CHILDREN, NULL, NULL};
    struct request r = {0};
    cx_net *net = NULL;
    int code;
    r.what.args = r.args;
    protect_negatives(argc, argv);
    argp_parse(&argp, argc, argv, 0, NULL, &r);
    if (!waits && r.output != NULL)
        return report(CX_EINVAL, "cx submit has no result to write: give --output to cx wait");
    choose_id(&r);
    default_label(&r);
    if ((code = read_input(&r)) == 0 && (code = open_network(&net)) == 0)
        code = waits ? run_job(net, &r) : submit_job(net, &r);
    cx_close(net);
    request_free(&r);
    return code;
}

int verb_run(int argc, char **argv)
{
    return call(argc, argv, true);
}

int verb_submit(int argc, char **argv)
{
    return call(argc, argv, false);
}
