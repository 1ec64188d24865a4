/* Reading credentials from a directory, and saying what is wrong with them before any peer does. */
#include <dirent.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/must.h"
#include "cx/error.h"
#include "proto/pki_file.h"
#include "proto/pki_internal.h"

struct why {
    char *text;
    size_t max;
};

static X509 *parse_certificate(const char *pem, size_t len)
{
    BIO *b = BIO_new_mem_buf(pem, (int)len);
    X509 *cert = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
    BIO_free(b);
    if (!cert)
        ERR_clear_error();
    return cert;
}

static EVP_PKEY *parse_key(const char *pem)
{
    BIO *b = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, NULL) : NULL;
    BIO_free(b);
    if (!key)
        ERR_clear_error();
    return key;
}

static time_t asn1_time(const ASN1_TIME *t)
{
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;
}

bool cert_facts_of(const char *pem, size_t len, struct cert_facts *out)
{
    X509 *cert = len <= PEM_BYTES_MAX ? parse_certificate(pem, len) : NULL;
    if (!cert)
        return false;
    BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    char *hex = n ? BN_bn2hex(n) : NULL;
    bool ok = hex && strlen(hex) < sizeof out->serial;
    if (ok) {
        strcpy(out->serial, hex);
        out->until = asn1_time(X509_get0_notAfter(cert));
    }
    OPENSSL_free(hex);
    BN_free(n);
    X509_free(cert);
    return ok;
}

/* The identity in the certificate: exactly one cx:// URI. */
static bool identity_of(X509 *cert, struct identity *out)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int found = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        if (g->type != GEN_URI)
            continue;
        const ASN1_IA5STRING *uri = g->d.uniformResourceIdentifier;
        if (identity_parse(bytes_of(ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri)), out))
            found++;
    }
    GENERAL_NAMES_free(names);
    return found == 1;
}

static char *read_pem(const char *path, const char *dir, enum role role, const char *name, struct why why)
{
    char *text = file_read(path);
    if (text)
        return text;
    const char *r = role_name(role);
    if (strcmp(path + strlen(path) - strlen("ca.crt"), "ca.crt") == 0)
        snprintf(why.text, why.max, "%s: %s; make a CA (cx ca init DIR) or copy its ca.crt here", path,
                 strerror(errno));
    else
        snprintf(why.text, why.max, "%s: %s; run: cx ca issue %s %s %s", path, strerror(errno), dir, r, name);
    return NULL;
}

static int check_dates(X509 *cert, const char *path, const struct identity *self, struct why why)
{
    if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0) {
        snprintf(why.text, why.max, "%s: not valid yet; is this machine's clock right?", path);
        return CX_EAUTH;
    }
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) >= 0)
        return 0;
    char day[32] = "?";
    time_t until = asn1_time(X509_get0_notAfter(cert));
    struct tm tm;
    if (gmtime_r(&until, &tm))
        strftime(day, sizeof day, "%Y-%m-%d %H:%M UTC", &tm);
    snprintf(why.text, why.max, "%s: expired %s; run: cx ca issue DIR %s %s", path, day,
             role_name(self->role), self->name);
    return CX_EAUTH;
}

/* A key that others may read is one that others may have. Group members may: that is how a service's keys are
 * shared with its administrators. */
static int check_mode(const char *path, struct why why)
{
    struct stat st;
    if (stat(path, &st) != 0 || (st.st_mode & 027) == 0)
        return 0;
    snprintf(why.text, why.max, "%s: mode %03o lets others at the private key; run: chmod 600 %s", path,
             st.st_mode & 0777u, path);
    return CX_EAUTH;
}

enum { LOAD_ATTEMPTS = 3 };

struct paths {
    char ca[PKI_PATH_MAX], cert[PKI_PATH_MAX], key[PKI_PATH_MAX], deny[PKI_PATH_MAX];
};

static int check_pair(const struct paths *p, const struct credentials *c, X509 *ca, X509 *cert,
                      struct why why)
{
    EVP_PKEY *key = parse_key(c->key);
    int e = CX_EAUTH;
    if (!key)
        snprintf(why.text, why.max, "%s: not a private key in PEM", p->key);
    else if (X509_check_private_key(cert, key) != 1)
        snprintf(why.text, why.max, "%s: not the key of %s; run: cx ca issue DIR %s %s", p->key, p->cert,
                 role_name(c->self.role), c->self.name);
    else if (X509_verify(cert, X509_get0_pubkey(ca)) != 1)
        snprintf(why.text, why.max, "%s: not signed by %s: it is of another network's CA", p->cert, p->ca);
    else
        e = check_dates(cert, p->cert, &c->self, why);
    ERR_clear_error();
    EVP_PKEY_free(key);
    return e;
}

static int check_credentials(const struct paths *p, struct credentials *c, enum role role, struct why why)
{
    X509 *ca = parse_certificate(c->ca, strlen(c->ca));
    X509 *cert = parse_certificate(c->cert, strlen(c->cert));
    int e = CX_EAUTH;
    if (!ca || !cert)
        snprintf(why.text, why.max, "%s: not a certificate in PEM", ca ? p->cert : p->ca);
    else if (!identity_of(cert, &c->self) || c->self.role != role)
        snprintf(why.text, why.max, "%s: no identity cx://%s/NAME in it; run: cx ca issue DIR %s NAME",
                 p->cert, role_name(role), role_name(role));
    else
        e = check_pair(p, c, ca, cert, why);
    X509_free(ca);
    X509_free(cert);
    return e;
}

/* NAME of the file name ROLE-NAME.crt, or NULL. */
static bool name_in(const char *file, enum role role, char out[IDENTITY_NAME_MAX + 1])
{
    size_t prefix = strlen(role_name(role)), len = strlen(file);
    if (len < prefix + 1 + 1 + 4 || strncmp(file, role_name(role), prefix) != 0 || file[prefix] != '-' ||
        strcmp(file + len - 4, ".crt") != 0 || len - prefix - 5 > IDENTITY_NAME_MAX)
        return false;
    memcpy(out, file + prefix + 1, len - prefix - 5);
    out[len - prefix - 5] = 0;
    return true;
}

static int find_only(const char *dir, enum role role, char name[IDENTITY_NAME_MAX + 1], struct why why)
{
    DIR *d = opendir(dir);
    if (!d) {
        snprintf(why.text, why.max, "%s: %s; make a CA (cx ca init DIR) or name your credentials' directory",
                 dir, strerror(errno));
        return errno == ENOENT ? CX_ENOTFOUND : CX_EIO;
    }
    int found = 0;
    for (struct dirent *f; (f = readdir(d)) && found < 2;) {
        char n[IDENTITY_NAME_MAX + 1];
        if (name_in(f->d_name, role, n) && ++found == 1)
            strcpy(name, n);
    }
    closedir(d);
    if (found == 1)
        return 0;
    const char *r = role_name(role);
    if (found == 0)
        snprintf(why.text, why.max, "%s: no %s-NAME.crt; run: cx ca issue %s %s NAME", dir, r, dir, r);
    else
        snprintf(why.text, why.max, "%s: several %s-NAME.crt; choose one by its name", dir, r);
    return found ? CX_EINVAL : CX_ENOTFOUND;
}

/* The name may be given as NAME or as ROLE-NAME. */
static int choose(const char *dir, enum role role, const char *name, char out[IDENTITY_NAME_MAX + 1],
                  struct why why)
{
    if (!name)
        return find_only(dir, role, out, why);
    char path[PKI_PATH_MAX];
    struct stat st;
    size_t prefix = strlen(role_name(role));
    bool prefixed = strncmp(name, role_name(role), prefix) == 0 && name[prefix] == '-';
    if (prefixed && (!file_path(path, dir, role_name(role), name, "crt") || stat(path, &st) != 0))
        name += prefix + 1;
    if (!identity_name_valid(bytes_str(name))) {
        snprintf(why.text, why.max, "\"%.80s\" is not a legal name", name);
        return CX_EINVAL;
    }
    strcpy(out, name);
    return 0;
}

static bool make_paths(struct paths *p, const char *dir, enum role role, const char *name)
{
    const char *r = role_name(role);
    return file_path(p->ca, dir, "ca", NULL, "crt") && file_path(p->cert, dir, r, name, "crt") &&
           file_path(p->key, dir, r, name, "key") && snprintf(p->deny, sizeof p->deny, "%s/deny", dir) > 0;
}

static int load_pair(const struct paths *p, const char *dir, enum role role, const char *name,
                     struct credentials *out, struct why why)
{
    struct credentials c = {0};
    int e = CX_ENOTFOUND;
    if ((c.ca = read_pem(p->ca, dir, role, name, why)) &&
        (c.cert = read_pem(p->cert, dir, role, name, why)) &&
        (c.key = read_pem(p->key, dir, role, name, why)))
        e = check_mode(p->key, why);
    if (e == 0)
        e = check_credentials(p, &c, role, why);
    if (e == 0 && !(c.deny = strdup(p->deny)))
        e = CX_ENOMEM;
    if (e == 0)
        *out = c;
    else
        pki_unload(&c);
    return e;
}

/* Key and certificate are two files, each replaced in one step: who reads while they are issued again may see
 * one of each, and sees a pair the next time. */
int pki_load(const char *dir, enum role role, const char *name, struct credentials *out, char *text,
             size_t text_max)
{
    struct why why = {text, text_max};
    char chosen[IDENTITY_NAME_MAX + 1];
    int e = choose(dir, role, name, chosen, why);
    if (e != 0)
        return e;
    struct paths *p = malloc(sizeof *p);
    must(p);
    if (!make_paths(p, dir, role, chosen)) {
        snprintf(text, text_max, "%.80s...: path too long", dir);
        free(p);
        return CX_EINVAL;
    }
    e = CX_EAUTH;
    for (int attempt = 0; attempt < LOAD_ATTEMPTS && e == CX_EAUTH; attempt++)
        e = load_pair(p, dir, role, chosen, out, why);
    free(p);
    return e;
}
