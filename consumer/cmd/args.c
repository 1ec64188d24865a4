#include "consumer/cmd/args.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cx/error.h"

int read_whole_file(const char *path, size_t max, struct buf *out, char why[ARG_WHY_MAX])
{
    FILE *f = fopen(path, "rbe");
    struct stat st;
    size_t n = 0;
    if (f == NULL) {
        snprintf(why, ARG_WHY_MAX, "cannot open %s: %s", path, strerror(errno));
        return errno == ENOENT ? CX_ENOTFOUND : CX_EIO;
    }
    if (fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && (size_t)st.st_size <= max)
        buf_reserve(out, (size_t)st.st_size + (64u << 10)); /* a large one is not copied while it grows */
    do {
        out->len += n;
        buf_reserve(out, 64u << 10);
        n = fread(out->data + out->len, 1, 64u << 10, f);
    } while (n > 0 && out->len <= max);
    int failed = ferror(f);
    fclose(f);
    if (failed || out->len > max) {
        snprintf(why, ARG_WHY_MAX, failed ? "cannot read %s" : "%s is larger than %zu bytes", path, max);
        buf_free(out);
        return failed ? CX_EIO : CX_ELIMIT;
    }
    return 0;
}

static int refuse(char *why, const char *text, const char *reason)
{
    snprintf(why, ARG_WHY_MAX, "'%s' %s", text, reason);
    return CX_EINVAL;
}

static int arg_i64(const char *text, cx_value *out, void **owned, char *why)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 0);
    (void)owned;
    if (end == text || *end != '\0')
        return refuse(why, text, "is no integer");
    if (errno == ERANGE)
        return refuse(why, text, "does not fit into 64 bits");
    *out = cx_v_i64(v);
    return 0;
}

static int arg_f64(const char *text, cx_value *out, void **owned, char *why)
{
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    (void)owned;
    if (end == text || *end != '\0')
        return refuse(why, text, "is no number");
    if (errno == ERANGE && isinf(v)) /* what is too small becomes 0, or nearly: that is rounding */
        return refuse(why, text, "is too large for a double");
    *out = cx_v_f64(v);
    return 0;
}

static int arg_str(const char *text, cx_value *out, void **owned, char *why)
{
    (void)why;
    *owned = strdup(text);
    if (*owned == NULL)
        return CX_ENOMEM;
    *out = cx_v_bytes(*owned, strlen(text));
    return 0;
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, tolower((unsigned char)c)) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

static int arg_hex(const char *text, cx_value *out, void **owned, char *why)
{
    size_t n = strlen(text);
    uint8_t *bytes = malloc(n / 2 + 1);
    if (bytes == NULL)
        return CX_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int digit = hex_digit(text[i]);
        if (digit < 0 || n % 2 != 0) {
            free(bytes);
            return refuse(why, text, "is no even number of hex digits");
        }
        bytes[i / 2] = (uint8_t)(i % 2 == 0 ? digit << 4 : bytes[i / 2] | digit);
    }
    *owned = bytes;
    *out = cx_v_bytes(bytes, n / 2);
    return 0;
}

static int arg_none(const char *text, cx_value *out, void **owned, char *why)
{
    (void)owned;
    if (*text != '\0')
        return refuse(why, text, "follows none:, which stands alone");
    *out = cx_v_none();
    return 0;
}

static int arg_file(const char *path, cx_value *out, void **owned, char *why)
{
    struct buf b = {0};
    int err = read_whole_file(path, CX_VALUE_BYTES_MAX, &b, why);
    if (err < 0)
        return err;
    *owned = b.data;
    *out = cx_v_bytes(b.data, b.len);
    return 0;
}

static const struct {
    const char *prefix;
    int (*parse)(const char *text, cx_value *out, void **owned, char *why);
} forms[] = {{"i:", arg_i64},   {"f:", arg_f64},     {"str:", arg_str},
             {"hex:", arg_hex}, {"none:", arg_none}, {"@", arg_file}};

/* What is written as an integer is one or is refused: as a double it would be another number. */
static int arg_number(const char *text, cx_value *out, void **owned, char *why)
{
    char *end;
    errno = 0;
    strtoll(text, &end, 0);
    if (end != text && *end == '\0' && errno == ERANGE) {
        snprintf(why, ARG_WHY_MAX, "'%s' does not fit into 64 bits; write f:%s for a double", text, text);
        return CX_EINVAL;
    }
    if (arg_i64(text, out, owned, why) == 0)
        return 0;
    strtod(text, &end);
    if (end != text && *end == '\0')
        return arg_f64(text, out, owned, why);
    snprintf(why, ARG_WHY_MAX, "'%s' is no number; write str:%s for a text, @%s for a file's bytes", text,
             text, text);
    return CX_EINVAL;
}

int arg_parse(const char *text, cx_value *out, void **owned, char why[ARG_WHY_MAX])
{
    *owned = NULL;
    snprintf(why, ARG_WHY_MAX, "out of memory");
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        size_t n = strlen(forms[i].prefix);
        if (strncmp(text, forms[i].prefix, n) == 0)
            return forms[i].parse(text + n, out, owned, why);
    }
    if (strcmp(text, "none") == 0)
        return arg_none("", out, owned, why);
    return arg_number(text, out, owned, why);
}
