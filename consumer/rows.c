#include "consumer/rows.h"

#include <string.h>

static bool is_control(uint8_t c)
{
    return (c < ' ' && c != '\n' && c != '\t') || c == 0x7f;
}

/* U+0080 to U+009F, with which a terminal can be told things, too. */
static bool is_control_pair(const char *s)
{
    return (uint8_t)s[0] == 0xc2 && (uint8_t)s[1] >= 0x80 && (uint8_t)s[1] < 0xa0;
}

void row_text(char *dst, size_t cap, struct bytes s)
{
    size_t n = s.len < cap - 1 ? s.len : cap - 1;
    for (size_t i = 0; i < n; i++)
        dst[i] = is_control(s.data[i]) ? '?' : (char)s.data[i];
    dst[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if (is_control_pair(dst + i))
            dst[i] = dst[i + 1] = '?';
}

void row_line(char *dst, size_t cap, struct bytes s)
{
    row_text(dst, cap, s);
    for (; *dst != '\0'; dst++)
        if (*dst == '\n' || *dst == '\t')
            *dst = '?';
}

void function_name(struct bytes functions, uint32_t fn, char *out, size_t cap)
{
    const uint8_t *at = functions.data, *end = at + functions.len;
    for (uint32_t i = FN_FIRST; at < end; i++) {
        const uint8_t *comma = memchr(at, ',', (size_t)(end - at));
        if (comma == NULL)
            comma = end;
        if (i == fn) {
            row_text(out, cap, bytes_of(at, (size_t)(comma - at)));
            return;
        }
        at = comma + 1;
    }
    row_text(out, cap, bytes_str("?"));
}
