/* cx ca: a certificate authority and certificates of a network. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/cmd/cmd.h"
#include "proto/pki.h"

#define DAYS_CA      3650
#define DAYS_DEFAULT 365
#define WHY_MAX      512

struct ca_line {
    const char *word[4];
    int words;
    const char *network;
    unsigned days; /* 0: the default of the action */
};

struct ca_action {
    const char *name;
    int words; /* after the name */
    int (*run)(const struct ca_line *line);
};

static const struct argp_option options[] = {
    {"network", 'n', "NAME", 0, "init: the network's name, for people (default: cx)", 0},
    {"days", 'd', "N", 0, "how long the certificate is valid", 0},
    {"json", 'j', NULL, 0, "print one JSON document", 0},
    {0},
};

static int say(const char *what, const char *text)
{
    if (common.json) {
        cJSON *doc = cJSON_CreateObject();
        cJSON_AddStringToObject(doc, what, text);
        print_json(doc);
    } else {
        printf("%s %s\n", what, text);
    }
    return 0;
}

static int ca_init(const struct ca_line *line)
{
    char why[WHY_MAX] = "";
    const char *dir = line->word[0];
    int err = pki_create_ca(dir, line->network, line->days > 0 ? line->days : DAYS_CA, why, sizeof why);
    return err < 0 ? report(err, why) : say("created", dir);
}

static int ca_issue(const struct ca_line *line)
{
    char why[WHY_MAX] = "", path[WHY_MAX];
    enum role role = role_of(line->word[1]);
    if (role == ROLE_NONE) {
        snprintf(why, sizeof why, "'%s' is no role; roles are consumer, producer, server, broker, admin",
                 line->word[1]);
        return report(CX_EINVAL, why);
    }
    int err = pki_issue(line->word[0], role, line->word[2], line->days > 0 ? line->days : DAYS_DEFAULT, why,
                        sizeof why);
    if (err < 0)
        return report(err, why);
    snprintf(path, sizeof path, "%s/%s-%s.crt", line->word[0], line->word[1], line->word[2]);
    return say("issued", path);
}

/* "role/name" or a serial in hex: what a deny list may hold. */
static bool deniable(const char *who)
{
    struct identity id;
    char uri[WHY_MAX];
    snprintf(uri, sizeof uri, "cx://%s", who);
    size_t n = strlen(who);
    return identity_parse(bytes_str(uri), &id) ||
           (n > 0 && n <= 64 && strspn(who, "0123456789abcdefABCDEF") == n);
}

static int ca_deny(const struct ca_line *line)
{
    char path[WHY_MAX], text[WHY_MAX * 2];
    const char *who = line->word[1];
    if (!deniable(who)) {
        snprintf(text, sizeof text, "'%s' is neither ROLE/NAME nor a serial in hex", who);
        return report(CX_EINVAL, text);
    }
    snprintf(path, sizeof path, "%s/deny", line->word[0]);
    FILE *f = fopen(path, "ae");
    bool bad = f == NULL || fprintf(f, "%s\n", who) < 0;
    if ((f != NULL && fclose(f) != 0) || bad) {
        snprintf(text, sizeof text, "cannot write %s: %s", path, strerror(errno));
        return report(CX_EIO, text);
    }
    return say("denied", who);
}

static const struct ca_action actions[] = {
    {"init", 1, ca_init}, {"issue", 3, ca_issue}, {"deny", 2, ca_deny}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct ca_line *line = state->input;
    char *end;
    switch (key) {
    case 'n':
        line->network = arg;
        return 0;
    case 'd':
        line->days = (unsigned)strtoul(arg, &end, 10);
        if (*end != '\0' || line->days == 0 || line->days > 36500)
            argp_error(state, "--days: '%s' is no number from 1 to 36500", arg);
        return 0;
    case 'j':
        common.json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (line->words == 4)
            argp_error(state, "'%s' is one argument too many", arg);
        line->word[line->words++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (line->words == 0)
            argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int verb_ca(int argc, char **argv)
{
    struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "init DIR\nissue DIR ROLE NAME\ndeny DIR ROLE/NAME|SERIAL",
        .doc = "Make a network's certificate authority, issue certificates, refuse some.\vROLE is consumer, "
               "producer, "
               "server, broker or admin. The private key of the authority, DIR/ca.key, stays where it is "
               "made; a "
               "machine gets ca.crt and the .crt and .key of its role. DIR/deny is read by whoever was "
               "started with "
               "--credentials DIR.",
    };
    struct ca_line line = {.network = "cx"};
    argp_parse(&argp, argc, argv, 0, NULL, &line);
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(line.word[0], actions[i].name) != 0)
            continue;
        if (line.words - 1 != actions[i].words)
            break;
        struct ca_line rest = line;
        memmove(rest.word, rest.word + 1, sizeof rest.word - sizeof rest.word[0]);
        return actions[i].run(&rest);
    }
    return report(CX_EINVAL,
                  "usage: cx ca init DIR | issue DIR ROLE NAME | deny DIR ROLE/NAME; cx help ca says more");
}
