/* What all verbs share: common options, opening the network, saying what went wrong. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/cmd/cmd.h"

struct common common = {.timeout_ms = -1};

enum { KEY_NETWORK = 0x100, KEY_CREDENTIALS, KEY_JSON, KEY_TIMEOUT };

static const struct argp_option options[] = {
    {"network", KEY_NETWORK, "ADDR", 0, "where to compute: HOST:PORT, broker:HOST:PORT or local://", 0},
    {"credentials", KEY_CREDENTIALS, "DIR", 0, "directory with the CA's and one's own certificate", 0},
    {"timeout", KEY_TIMEOUT, "SECONDS", 0, "give up after so long; a job goes on", 0},
    {"json", KEY_JSON, NULL, 0, "print one JSON document", 0},
    {"quiet", 'q', NULL, 0, "no progress", 0},
    {0},
};

static void parse_timeout(const char *text, struct argp_state *state)
{
    char *end;
    double s = strtod(text, &end);
    if (end == text || *end != '\0' || !(s >= 0.0) || s > 2e6)
        argp_error(state, "--timeout: '%s' is no number of seconds", text);
    common.timeout_ms = (int)ceil(s * 1000);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    switch (key) {
    case KEY_NETWORK:
        common.network = arg;
        return 0;
    case KEY_CREDENTIALS:
        common.credentials = arg;
        return 0;
    case KEY_JSON:
        common.json = true;
        return 0;
    case KEY_TIMEOUT:
        parse_timeout(arg, state);
        return 0;
    case 'q':
        common.quiet = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp common_argp = {.options = options, .parser = parse};

struct words {
    int n, min, max;
    const char **word;
};

static error_t parse_words(int key, char *arg, struct argp_state *state)
{
    struct words *w = state->input;
    if (key == ARGP_KEY_ARG) {
        if (w->n == w->max)
            argp_error(state, "'%s' is one argument too many", arg);
        w->word[w->n++] = arg;
        return 0;
    }
    if (key == ARGP_KEY_END && w->n < w->min)
        argp_usage(state);
    return key == ARGP_KEY_END ? 0 : ARGP_ERR_UNKNOWN;
}

void words_parse(int argc, char **argv, const char *args_doc, const char *doc, int words_min, int words_max,
                 const char **words)
{
    struct words w = {.min = words_min, .max = words_max, .word = words};
    struct argp argp = {.parser = parse_words, .args_doc = args_doc, .doc = doc, .children = COMMON_CHILDREN};
    argp_parse(&argp, argc, argv, 0, NULL, &w);
}

int open_network(cx_net **net)
{
    int err = cx_open_with(common.network, common.credentials, net);
    if (err < 0)
        return report_net(NULL, err);
    if (common.timeout_ms >= 0)
        (*net)->timeout_ms = common.timeout_ms;
    return 0;
}

int report(int code, const char *text)
{
    if (common.json) {
        cJSON *doc = cJSON_CreateObject(), *error = cJSON_AddObjectToObject(doc, "error");
        cJSON_AddStringToObject(error, "code", cx_err_name(code));
        cJSON_AddStringToObject(error, "text", text);
        print_json(doc);
    } else {
        fprintf(stderr, "cx: %s\n", text[0] != '\0' ? text : cx_err_text(code));
    }
    return cx_err_exit(code);
}

int report_net(const cx_net *net, int code)
{
    return report(code, cx_error(net));
}

void print_json(struct cJSON *doc)
{
    char *text = cJSON_PrintUnformatted(doc);
    if (text != NULL)
        puts(text);
    cJSON_free(text);
    cJSON_Delete(doc);
}
