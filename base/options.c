#include "base/options.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <libconfig.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/must.h"

enum { KEY_HELP = 0x1000, KEY_VERSION, KEY_CONFIG, KEY_ROWS }; /* then two keys a row: --name and --no-name */

/* Every string that was read: rows point to them as long as the process lives. */
struct text {
    struct text *next;
    char bytes[];
};
static struct text *kept;

/* What one call reads and how far it got. The rows are written only when both sources have been found good.
 */
struct sources {
    const char *program;
    const struct option_row *rows;
    size_t n;
    const char **given; /* one a row: its text on the command line, or NULL; borrowed from argv */
    union value *value; /* one a row: what was read */
    bool *read;         /* one a row: value is set */
    const char *config; /* path, or NULL */
    bool help, version;
};

union value {
    const char *string; /* kept for good */
    int64_t number;
    bool flag;
};

/* ---- One value ---- */

static const char *keep_text(const char *s)
{
    size_t size = strlen(s) + 1;
    struct text *t = malloc(sizeof *t + size);
    must(t);
    memcpy(t->bytes, s, size);
    t->next = kept;
    kept = t;
    return t->bytes;
}

/* Whole decimal number with an optional K, M, G or T (times 1024) where scaled. False on anything else. */
static bool number_of(const char *text, bool scaled, int64_t *out)
{
    char *end;
    errno = 0;
    if (text[0] == ' ' || text[0] == '\t')
        return false;
    int64_t v = strtoll(text, &end, 10);
    if (errno || end == text)
        return false;
    const char *units = "KMGT", *unit = *end ? strchr(units, *end) : NULL;
    if (scaled && unit) {
        if (__builtin_mul_overflow(v, (int64_t)1 << (10 * (unit - units + 1)), &v))
            return false;
        end++;
    }
    if (*end || (scaled && v < 0))
        return false;
    *out = v;
    return true;
}

static bool in_range(const struct option_row *row, int64_t v, char *why, size_t why_max)
{
    if ((row->min == 0 && row->max == 0) || (v >= row->min && v <= row->max))
        return true;
    snprintf(why, why_max, "%" PRId64 " is not between %" PRId64 " and %" PRId64, v, row->min, row->max);
    return false;
}

static bool value_of_text(const struct option_row *row, const char *text, union value *out, char *why,
                          size_t why_max)
{
    switch (row->kind) {
    case OPTION_STRING:
        out->string = keep_text(text);
        return true;
    case OPTION_FLAG:
        out->flag = strcmp(text, "no") != 0;
        return true;
    case OPTION_INT:
    case OPTION_SIZE:
        if (number_of(text, row->kind == OPTION_SIZE, &out->number))
            return in_range(row, out->number, why, why_max);
        snprintf(why, why_max, "\"%s\" is not a %s", text,
                 row->kind == OPTION_SIZE ? "size (like 512M or 4G)" : "whole number");
        return false;
    }
    return false;
}

static void keep(struct sources *s, size_t i, union value v)
{
    s->value[i] = v;
    s->read[i] = true;
}

/* ---- The command line ---- */

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    struct sources *s = state->input;
    if (key == KEY_HELP) {
        s->help = true;
    } else if (key == KEY_VERSION) {
        s->version = true;
    } else if (key == KEY_CONFIG) {
        s->config = arg;
    } else if (key >= KEY_ROWS && (size_t)(key - KEY_ROWS) < 2 * s->n) {
        s->given[(key - KEY_ROWS) / 2] = arg ? arg : (key - KEY_ROWS) % 2 ? "no" : "yes";
    } else if (key == ARGP_KEY_ARG) {
        fprintf(stderr, "%s: unexpected argument \"%s\"; try --help\n", s->program, arg);
        return EINVAL;
    } else {
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static char *help_of(const struct option_row *row)
{
    char *text = NULL;
    const char *string = row->kind == OPTION_STRING ? *(const char **)row->at : NULL;
    int n;
    if (string)
        n = asprintf(&text, "%s (default: %s)", row->help, string);
    else if (row->kind == OPTION_INT)
        n = asprintf(&text, "%s (default: %" PRId64 ")", row->help, *(int64_t *)row->at);
    else if (row->kind == OPTION_SIZE && *(uint64_t *)row->at)
        n = asprintf(&text, "%s (default: %" PRIu64 "M)", row->help, *(uint64_t *)row->at >> 20);
    else if (row->kind == OPTION_FLAG)
        n = asprintf(&text, "%s (default: %s)", row->help, *(bool *)row->at ? "yes" : "no");
    else
        n = asprintf(&text, "%s", row->help);
    must(n >= 0);
    return text;
}

/* argp's own table of the rows; the doc and the --no- names are owned. */
static struct argp_option *table_of(const struct sources *s)
{
    struct argp_option *table = calloc(4 + 2 * s->n + 1, sizeof *table), *o = table;
    must(table);
    for (size_t i = 0; i < s->n; i++) {
        const struct option_row *row = &s->rows[i];
        int key = KEY_ROWS + 2 * (int)i;
        *o++ = (struct argp_option){
            .name = row->name, .key = key, .arg = row->arg, .doc = help_of(row), .group = 1};
        if (row->kind != OPTION_FLAG)
            continue;
        char *no;
        must(asprintf(&no, "no-%s", row->name) >= 0);
        *o++ = (struct argp_option){.name = no, .key = key + 1, .flags = OPTION_HIDDEN, .group = 1};
    }
    *o++ = (struct argp_option){.name = "config",
                                .key = KEY_CONFIG,
                                .arg = "FILE",
                                .group = 2,
                                .doc = "Read options from FILE first"};
    *o++ = (struct argp_option){.name = "help", .key = KEY_HELP, .doc = "Show this help", .group = 2};
    *o++ = (struct argp_option){.name = "usage", .key = KEY_HELP, .flags = OPTION_HIDDEN, .group = 2};
    *o++ = (struct argp_option){.name = "version", .key = KEY_VERSION, .doc = "Show the version", .group = 2};
    return table;
}

static void table_free(struct argp_option *table)
{
    for (struct argp_option *o = table; o->key; o++) {
        if (o->key < KEY_ROWS)
            continue;
        free((void *)o->doc);
        if (o->flags & OPTION_HIDDEN)
            free((void *)o->name);
    }
    free(table);
}

/* False: the reason has been printed. */
static bool read_arguments(struct sources *s, const char *about, int argc, char **argv)
{
    struct argp_option *table = table_of(s);
    struct argp argp = {.options = table, .parser = on_option, .doc = about};
    bool good = argp_parse(&argp, argc, argv, ARGP_NO_HELP | ARGP_NO_EXIT, NULL, s) == 0;
    if (good && s->help)
        argp_help(&argp, stdout, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, (char *)s->program);
    table_free(table);
    return good;
}

static bool take_arguments(struct sources *s)
{
    char why[256];
    for (size_t i = 0; i < s->n; i++) {
        union value v;
        if (!s->given[i])
            continue;
        if (!value_of_text(&s->rows[i], s->given[i], &v, why, sizeof why)) {
            fprintf(stderr, "%s: --%s: %s\n", s->program, s->rows[i].name, why);
            return false;
        }
        keep(s, i, v);
    }
    return true;
}

/* ---- The configuration file ---- */

static const char *kind_text(enum option_kind kind)
{
    static const char *const texts[] = {"a string in quotes", "a whole number",
                                        "a number of bytes, or a size in quotes like \"512M\"",
                                        "true or false"};
    return texts[kind];
}

static bool value_of_setting(const struct option_row *row, const config_setting_t *at, union value *out,
                             char *why, size_t why_max)
{
    int type = config_setting_type(at);
    bool whole = type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
    if (type == CONFIG_TYPE_STRING && (row->kind == OPTION_STRING || row->kind == OPTION_SIZE))
        return value_of_text(row, config_setting_get_string(at), out, why, why_max);
    if (type == CONFIG_TYPE_BOOL && row->kind == OPTION_FLAG) {
        out->flag = config_setting_get_bool(at);
        return true;
    }
    if (whole && (row->kind == OPTION_INT || row->kind == OPTION_SIZE)) {
        out->number = config_setting_get_int64(at);
        if (row->kind == OPTION_INT || out->number >= 0)
            return in_range(row, out->number, why, why_max);
    }
    snprintf(why, why_max, "must be %s", kind_text(row->kind));
    return false;
}

static bool take_setting(struct sources *s, const config_setting_t *at)
{
    char why[256] = "unknown option";
    const char *name = config_setting_name(at), *file = config_setting_source_file(at);
    for (size_t i = 0; i < s->n; i++) {
        union value v;
        if (strcmp(s->rows[i].name, name) != 0)
            continue;
        if (!value_of_setting(&s->rows[i], at, &v, why, sizeof why))
            break;
        keep(s, i, v);
        return true;
    }
    fprintf(stderr, "%s: %s:%u: %s: %s\n", s->program, file ? file : s->config,
            config_setting_source_line(at), name, why);
    return false;
}

static bool take_settings(struct sources *s, config_t *config)
{
    const config_setting_t *root = config_root_setting(config);
    for (int i = 0; i < config_setting_length(root); i++)
        if (!take_setting(s, config_setting_get_elem(root, (unsigned)i)))
            return false;
    return true;
}

/* The file is opened here, so that a missing one is told apart from a malformed one, with the system's
 * reason. */
static FILE *open_config(const struct sources *s)
{
    struct stat st;
    FILE *f = fopen(s->config, "r");
    if (f && fstat(fileno(f), &st) == 0 && !S_ISDIR(st.st_mode))
        return f;
    fprintf(stderr, "%s: %s: %s\n", s->program, s->config, strerror(f ? EISDIR : errno));
    if (f)
        fclose(f);
    return NULL;
}

static bool read_config(struct sources *s)
{
    FILE *f = open_config(s);
    if (!f)
        return false;
    config_t config;
    config_init(&config);
    bool good = config_read(&config, f) == CONFIG_TRUE;
    if (good) {
        good = take_settings(s, &config);
    } else {
        const char *file = config_error_file(&config);
        fprintf(stderr, "%s: %s:%d: %s\n", s->program, file ? file : s->config, config_error_line(&config),
                config_error_text(&config));
    }
    config_destroy(&config);
    fclose(f);
    return good;
}

/* ---- Both ---- */

static void hand_over(struct sources *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (!s->read[i])
            continue;
        switch (s->rows[i].kind) {
        case OPTION_STRING:
            *(const char **)s->rows[i].at = s->value[i].string;
            break;
        case OPTION_INT:
            *(int64_t *)s->rows[i].at = s->value[i].number;
            break;
        case OPTION_SIZE:
            *(uint64_t *)s->rows[i].at = (uint64_t)s->value[i].number;
            break;
        case OPTION_FLAG:
            *(bool *)s->rows[i].at = s->value[i].flag;
            break;
        }
    }
}

static enum options_outcome read_sources(struct sources *s, const char *about, int argc, char **argv)
{
    if (!read_arguments(s, about, argc, argv))
        return OPTIONS_BAD;
    if (s->version)
        printf("%s %s\n", s->program, CX_VERSION);
    if (s->help || s->version)
        return OPTIONS_DONE;
    if ((s->config && !read_config(s)) || !take_arguments(s))
        return OPTIONS_BAD;
    hand_over(s);
    return OPTIONS_GO;
}

enum options_outcome options_read(const char *program, const char *about, const struct option_row *rows,
                                  size_t n, int argc, char **argv)
{
    struct sources s = {.program = program, .rows = rows, .n = n};
    s.given = calloc(n + 1, sizeof *s.given);
    s.value = calloc(n + 1, sizeof *s.value);
    s.read = calloc(n + 1, sizeof *s.read);
    must(s.given && s.value && s.read);
    enum options_outcome outcome = read_sources(&s, about, argc, argv);
    free(s.given);
    free(s.value);
    free(s.read);
    return outcome;
}
