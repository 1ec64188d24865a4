/* What the parts of proto share about certificates, and what tests need to make odd ones. */
#ifndef PROTO_PKI_INTERNAL_H
#define PROTO_PKI_INTERNAL_H

#include <time.h>

#include "proto/pki.h"

/* As pki_issue, with the certificate's validity given. */
int pki_issue_between(const char *dir, enum role role, const char *name, time_t from, time_t until, char *why,
                      size_t why_max);

/* 1 to IDENTITY_NAME_MAX letters, digits, dots, dashes and underscores; the first a letter or digit. */
bool identity_name_valid(struct bytes name);

/* What a deny list and a stream's lifetime are checked by. */
struct cert_facts {
    char serial[48]; /* upper-case hex, as openssl x509 -serial prints it */
    time_t until;    /* end of validity */
};
bool cert_facts_of(const char *pem, size_t len, struct cert_facts *out);

/* True when the file at path (borrowed, may be NULL) names the identity as role/name, or the serial. A file
 * that is not there denies nobody; one that cannot be read denies everybody. */
bool deny_listed(const char *path, const struct identity *who, const char *serial);

#endif
