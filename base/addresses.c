#include "base/addresses.h"

#include <stdio.h>
#include <string.h>

unsigned addresses_count(const char *list)
{
    unsigned n = *list != 0;
    for (const char *c = list; *c; c++)
        n += *c == ',';
    return n;
}

static const char *skip(const char *list, unsigned n)
{
    for (; n > 0; n--)
        list = strchr(list, ',') + 1;
    return list;
}

void address_at(const char *list, unsigned i, char *out, size_t max)
{
    unsigned n = addresses_count(list);
    const char *one = n ? skip(list, i % n) : "";
    snprintf(out, max, "%.*s", (int)strcspn(one, ","), one);
}

static bool has(const char *list, const char *one, size_t len)
{
    for (unsigned i = 0, n = addresses_count(list); i < n; i++) {
        const char *at = skip(list, i);
        if (strcspn(at, ",") == len && memcmp(at, one, len) == 0)
            return true;
    }
    return false;
}

bool addresses_add(char *list, size_t max, const char *more)
{
    bool grown = false;
    for (unsigned i = 0, n = addresses_count(more); i < n; i++) {
        const char *one = skip(more, i);
        size_t len = strcspn(one, ","), used = strlen(list);
        if (len == 0 || has(list, one, len) || used + len + 2 > max)
            continue;
        snprintf(list + used, max - used, "%s%.*s", used ? "," : "", (int)len, one);
        grown = true;
    }
    return grown;
}
