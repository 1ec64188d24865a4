#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "consumer/cmd/show.h"

#define TEXT_SHOWN_MAX 4096

const char *state_name(unsigned state)
{
    static const char *const names[] = {"running", "done", "failed", "cancelled"};
    return state < sizeof names / sizeof names[0] ? names[state] : "?";
}

char *show_time(double seconds, char out[SHORT_MAX])
{
    unsigned long s = seconds > 0 && seconds < 1e9 ? (unsigned long)seconds : 0;
    if (s >= 3600)
        snprintf(out, SHORT_MAX, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, SHORT_MAX, "%lu:%02lu", s / 60, s % 60);
    return out;
}

static char *show_scaled(double n, double base, const char *unit, char out[SHORT_MAX])
{
    const char *const scales[] = {"", "k", "M", "G", "T"};
    unsigned i = 0;
    for (; n >= base && i < 4; i++)
        n /= base;
    snprintf(out, SHORT_MAX, n < 100 && i > 0 ? "%.1f%s%s" : "%.0f%s%s", n, scales[i], unit);
    return out;
}

char *show_count(double n, char out[SHORT_MAX])
{
    return show_scaled(n, 1000, "", out);
}

char *show_bytes(uint64_t n, char out[SHORT_MAX])
{
    return show_scaled((double)n, 1024, "B", out);
}

char *show_f64(double v, char out[32])
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, 32, "%.*g", digits, v);
        if (strtod(out, NULL) == v)
            break;
    }
    return out;
}

/* ---- JSON ---- */

static char *base64(const uint8_t *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = malloc((len + 2) / 3 * 4 + 1), *at = out;
    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i;
        uint32_t v =
            (uint32_t)data[i] << 16 | (n > 1 ? (uint32_t)data[i + 1] << 8 : 0) | (n > 2 ? data[i + 2] : 0);
        *at++ = digits[v >> 18];
        *at++ = digits[v >> 12 & 63];
        *at++ = n > 1 ? digits[v >> 6 & 63] : '=';
        *at++ = n > 2 ? digits[v & 63] : '=';
    }
    *at = '\0';
    return out;
}

static void json_f64(cJSON *o, double v)
{
    char text[32];
    if (isfinite(v))
        cJSON_AddRawToObject(o, "value", show_f64(v, text));
    else
        cJSON_AddStringToObject(o, "value", isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
}

struct cJSON *json_value(cx_value v)
{
    static const char *const types[] = {"none", "i64", "f64", "bytes"};
    cJSON *o = cJSON_CreateObject();
    char text[32];
    cJSON_AddStringToObject(o, "type", types[v.type <= CX_BYTES ? v.type : 0]);
    if (v.type == CX_I64) {
        snprintf(text, sizeof text, "%" PRId64, v.as.i64);
        cJSON_AddRawToObject(o, "value", text); /* a double would round it */
    } else if (v.type == CX_F64) {
        json_f64(o, v.as.f64);
    } else if (v.type == CX_BYTES) {
        char *coded = base64(v.as.bytes, v.len);
        cJSON_AddNumberToObject(o, "length", v.len);
        cJSON_AddStringToObject(o, "base64", coded != NULL ? coded : "");
        free(coded);
    } else {
        cJSON_AddNullToObject(o, "value");
    }
    return o;
}

/* ---- For people ---- */

static int write_file(const char *path, cx_value v)
{
    FILE *f = fopen(path, "wbe");
    char text[512];
    bool bad = f == NULL || fwrite(v.as.bytes, 1, v.len, f) != v.len;
    if ((f != NULL && fclose(f) != 0) || bad) {
        snprintf(text, sizeof text, "cannot write %s: %s", path, strerror(errno));
        return report(CX_EIO, text);
    }
    return 0;
}

static bool is_text(const uint8_t *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((s[i] < ' ' && s[i] != '\n' && s[i] != '\t') || s[i] == 0x7f)
            return false;
    return len <= TEXT_SHOWN_MAX;
}

static void show_on_terminal(cx_value v)
{
    const uint8_t *s = v.as.bytes;
    if (v.len > 0 && is_text(s, v.len))
        printf("%.*s%s", (int)v.len, (const char *)s, s[v.len - 1] == '\n' ? "" : "\n");
    else
        printf("%u bytes (--output FILE writes them to a file)\n", v.len);
}

static void show_plain(cx_value v)
{
    char text[32];
    if (v.type == CX_NONE)
        puts("none");
    else if (v.type == CX_I64)
        printf("%" PRId64 "\n", v.as.i64);
    else if (v.type == CX_F64)
        puts(show_f64(v.as.f64, text));
    else if (isatty(STDOUT_FILENO))
        show_on_terminal(v);
    else
        fwrite(v.as.bytes, 1, v.len, stdout);
}

/* Numbers go into a file as they are printed. */
static int result_to_file(cx_value v, const char *path)
{
    char text[48] = "none\n";
    if (v.type == CX_BYTES)
        return write_file(path, v);
    if (v.type == CX_I64)
        snprintf(text, sizeof text, "%" PRId64 "\n", v.as.i64);
    else if (v.type == CX_F64)
        strcat(show_f64(v.as.f64, text), "\n");
    return write_file(path, cx_v_bytes(text, strlen(text)));
}

int show_result(const char *job, cx_value v, const char *output)
{
    int code = output != NULL ? result_to_file(v, output) : 0;
    if (code != 0)
        return code;
    if (common.json) {
        cJSON *doc = cJSON_CreateObject();
        cJSON_AddStringToObject(doc, "id", job);
        cJSON_AddStringToObject(doc, "state", "done");
        if (output != NULL)
            cJSON_AddStringToObject(doc, "output", output);
        else
            cJSON_AddItemToObject(doc, "result", json_value(v));
        print_json(doc);
    } else if (output == NULL) {
        show_plain(v);
    }
    return 0;
}
