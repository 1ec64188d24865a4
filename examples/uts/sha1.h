/* SHA-1 of one block, the random number generator of the UTS benchmark. Source: FIPS 180-4, section 6.1.2.
 *
 * UTS hashes 20 or 24 bytes, which fit one block with their padding, so nothing else is here. It is a
 * generator of trees that everybody can reproduce; nobody's secret depends on it. */
#ifndef EXAMPLES_UTS_SHA1_H
#define EXAMPLES_UTS_SHA1_H

#include <stdint.h>

#define SHA1_WORDS 5

static inline uint32_t sha1_rotl(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

#define SHA1_CHOOSE(b, c, d)   ((d) ^ ((b) & ((c) ^ (d))))
#define SHA1_PARITY(b, c, d)   ((b) ^ (c) ^ (d))
#define SHA1_MAJORITY(b, c, d) (((b) & (c)) | ((d) & ((b) | (c))))
/* The schedule rolls through the block's own 16 words. */
#define SHA1_WORD(i)                                                                                         \
    ((i) < 16 ? w[(i)&15]                                                                                    \
              : (w[(i)&15] =                                                                                 \
                     sha1_rotl(w[((i) + 13) & 15] ^ w[((i) + 8) & 15] ^ w[((i) + 2) & 15] ^ w[(i)&15], 1)))
#define SHA1_ROUND(f, k, a, b, c, d, e, i)                                                                   \
    e += sha1_rotl(a, 5) + f(b, c, d) + (k) + SHA1_WORD(i);                                                  \
    b = sha1_rotl(b, 30);
/* Five rounds bring the names back to where they were. */
#define SHA1_5(f, k, i)                                                                                      \
    SHA1_ROUND(f, k, a, b, c, d, e, i)                                                                       \
    SHA1_ROUND(f, k, e, a, b, c, d, (i) + 1)                                                                 \
    SHA1_ROUND(f, k, d, e, a, b, c, (i) + 2)                                                                 \
    SHA1_ROUND(f, k, c, d, e, a, b, (i) + 3)                                                                 \
    SHA1_ROUND(f, k, b, c, d, e, a, (i) + 4)
#define SHA1_20(f, k, i) SHA1_5(f, k, i) SHA1_5(f, k, (i) + 5) SHA1_5(f, k, (i) + 10) SHA1_5(f, k, (i) + 15)

/* The digest of the one block w, padding included; w is used up. */
static inline void sha1_block(uint32_t w[16], uint32_t digest[SHA1_WORDS])
{
    uint32_t a = 0x67452301, b = 0xEFCDAB89, c = 0x98BADCFE, d = 0x10325476, e = 0xC3D2E1F0;
    SHA1_20(SHA1_CHOOSE, 0x5A827999, 0)
    SHA1_20(SHA1_PARITY, 0x6ED9EBA1, 20)
    SHA1_20(SHA1_MAJORITY, 0x8F1BBCDC, 40)
    SHA1_20(SHA1_PARITY, 0xCA62C1D6, 60)
    digest[0] = 0x67452301 + a;
    digest[1] = 0xEFCDAB89 + b;
    digest[2] = 0x98BADCFE + c;
    digest[3] = 0x10325476 + d;
    digest[4] = 0xC3D2E1F0 + e;
}

#endif
