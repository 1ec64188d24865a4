#include "proto/pki.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/must.h"
#include "proto/pki_internal.h"

static const char *const role_names[] = {
    [ROLE_NONE] = "none",     [ROLE_CONSUMER] = "consumer", [ROLE_PRODUCER] = "producer",
    [ROLE_SERVER] = "server", [ROLE_BROKER] = "broker",     [ROLE_ADMIN] = "admin",
};

#define ROLES (sizeof role_names / sizeof role_names[0])

const char *role_name(enum role r)
{
    return (unsigned)r < ROLES ? role_names[r] : role_names[ROLE_NONE];
}

enum role role_of(const char *name)
{
    for (unsigned r = ROLE_NONE + 1; r < ROLES; r++)
        if (strcmp(name, role_names[r]) == 0)
            return (enum role)r;
    return ROLE_NONE;
}

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

/* Names are parts of file names and of URIs, so they start with a letter or a digit. */
bool identity_name_valid(struct bytes name)
{
    if (name.len == 0 || name.len > IDENTITY_NAME_MAX || strchr(".-_", name.data[0]))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!name_char((char)name.data[i]))
            return false;
    return true;
}

bool identity_parse(struct bytes uri, struct identity *out)
{
    static const char scheme[] = "cx://";
    size_t n = sizeof scheme - 1;
    if (uri.len <= n || memcmp(uri.data, scheme, n) != 0)
        return false;
    const uint8_t *slash = memchr(uri.data + n, '/', uri.len - n);
    if (!slash)
        return false;
    struct bytes name = bytes_of(slash + 1, (size_t)(uri.data + uri.len - slash - 1));
    char role[16];
    size_t role_len = (size_t)(slash - uri.data) - n;
    if (role_len >= sizeof role || !identity_name_valid(name))
        return false;
    memcpy(role, uri.data + n, role_len);
    role[role_len] = 0;
    struct identity who = {role_of(role), {0}};
    if (who.role == ROLE_NONE)
        return false;
    memcpy(who.name, name.data, name.len);
    *out = who;
    return true;
}

void pki_unload(struct credentials *c)
{
    if (c->key)
        OPENSSL_cleanse(c->key, strlen(c->key));
    free(c->ca);
    free(c->cert);
    free(c->key);
    free(c->deny);
    *c = (struct credentials){0};
}

/* One line of a deny list: "role/name", or a serial in hex; "#" starts a comment. */
static bool line_denies(char *line, const char *who, const char *serial)
{
    line[strcspn(line, "#\r\n")] = 0;
    char *word = line + strspn(line, " \t");
    word[strcspn(word, " \t")] = 0;
    return strcmp(word, who) == 0 || (*word && strcasecmp(word, serial) == 0);
}

bool deny_listed(const char *path, const struct identity *who, const char *serial)
{
    if (!path)
        return false;
    FILE *f = fopen(path, "re");
    if (!f)
        return errno != ENOENT;
    char line[256], name[IDENTITY_NAME_MAX + 16];
    snprintf(name, sizeof name, "%s/%s", role_name(who->role), who->name);
    bool denied = false;
    while (!denied && fgets(line, sizeof line, f))
        denied = line_denies(line, name, serial);
    denied = denied || ferror(f);
    fclose(f);
    return denied;
}

struct sha256 {
    EVP_MD_CTX *ctx;
};

struct sha256 *sha256_new(void)
{
    struct sha256 *s = malloc(sizeof *s);
    must(s);
    s->ctx = EVP_MD_CTX_new();
    must(s->ctx && EVP_DigestInit_ex(s->ctx, EVP_sha256(), NULL) == 1);
    return s;
}

void sha256_add(struct sha256 *s, const void *data, size_t len)
{
    must(EVP_DigestUpdate(s->ctx, data, len) == 1);
}

void sha256_end(struct sha256 *s, uint8_t out[32])
{
    must(EVP_DigestFinal_ex(s->ctx, out, NULL) == 1);
    EVP_MD_CTX_free(s->ctx);
    free(s);
}

void sha256_of(struct bytes data, uint8_t out[32])
{
    must(EVP_Digest(data.data, data.len, out, NULL, EVP_sha256(), NULL) == 1);
}

void random_bytes(void *out, size_t len)
{
    must(len <= INT32_MAX && RAND_bytes(out, (int)len) == 1);
}
