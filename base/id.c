#include "base/id.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct id id_root(void)
{
    return (struct id){0x6378207461736b20u, 0x726f6f7420303031u}; /* "cx task root 001" */
}

struct id id_child(struct id parent, uint32_t child)
{
    XXH128_hash_t h = XXH3_128bits_withSeed(&parent, sizeof parent, child);
    return (struct id){h.high64, h.low64};
}

struct id id_of_name(const char *name, uint64_t seed)
{
    XXH128_hash_t h = XXH3_128bits_withSeed(name, strlen(name), seed);
    return (struct id){h.high64, h.low64};
}

void id_hex(struct id id, char out[ID_HEX_MAX])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        out[i] = digits[id.hi >> (60 - 4 * i) & 15];
        out[16 + i] = digits[id.lo >> (60 - 4 * i) & 15];
    }
    out[32] = 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool id_parse(const char *hex, struct id *out)
{
    uint64_t half[2] = {0, 0};
    for (int i = 0; i < 32; i++) {
        int d = hex_digit(hex[i]);
        if (d < 0)
            return false;
        half[i / 16] = half[i / 16] << 4 | (uint64_t)d;
    }
    if (hex[32])
        return false;
    *out = (struct id){half[0], half[1]};
    return true;
}

uint64_t hash64(const void *data, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, len, seed);
}
