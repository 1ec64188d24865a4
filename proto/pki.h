/* Identities: a CA of the network's own, and certificates that carry a role and a name.
 *
 * The role is in a URI subject alternative name, cx://ROLE/NAME, which only the CA can give. Servers and
 * brokers also carry DNS:server.cx or DNS:broker.cx, which is what a client checks whom it has reached by, so
 * that addresses and ports may change. Keys are EC P-256; TLS 1.3, both sides, always. */
#ifndef PROTO_PKI_H
#define PROTO_PKI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum role { ROLE_NONE, ROLE_CONSUMER, ROLE_PRODUCER, ROLE_SERVER, ROLE_BROKER, ROLE_ADMIN };

const char *role_name(enum role r);  /* "consumer" ... */
enum role role_of(const char *name); /* ROLE_NONE when unknown */

#define IDENTITY_NAME_MAX 63

struct identity {
    enum role role;
    char name[IDENTITY_NAME_MAX + 1]; /* letters, digits, '.', '-', '_' */
};

/* cx://role/name -> identity; false on anything else. */
bool identity_parse(struct bytes uri, struct identity *out);

/* PEM files of one daemon or user: DIR/ca.crt, DIR/ROLE-NAME.crt, DIR/ROLE-NAME.key. Contents owned. */
struct credentials {
    struct identity self;
    char *ca, *cert, *key; /* PEM, zero-terminated */
    char *deny; /* path of a deny list (one "role/name" or hex serial a line), or NULL; read on each call */
};

/* Creates DIR with ca.crt and ca.key (mode 0600). CX_EEXIST when there is a CA already. */
int pki_create_ca(const char *dir, const char *network, unsigned days, char *why, size_t why_max);
/* Issues DIR/ROLE-NAME.crt and .key, signed by DIR's CA. */
int pki_issue(const char *dir, enum role role, const char *name, unsigned days, char *why, size_t why_max);
/* Loads credentials from a directory: NAME "role-name" chooses; NULL takes the only one of that role. */
int pki_load(const char *dir, enum role role, const char *name, struct credentials *out, char *why,
             size_t why_max);
void pki_unload(struct credentials *c);

/* SHA-256 by OpenSSL, streaming and in one call. */
struct sha256;
struct sha256 *sha256_new(void);
void sha256_add(struct sha256 *s, const void *data, size_t len);
void sha256_end(struct sha256 *s, uint8_t out[32]); /* frees s */
void sha256_of(struct bytes data, uint8_t out[32]);
void random_bytes(void *out, size_t len); /* cryptographic; aborts when the system has none */

#endif
