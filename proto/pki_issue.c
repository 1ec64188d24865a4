/* Making certificates: the network's CA, and leaves that carry a role and a name. */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
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

#define CLOCK_SLACK_S                                                                                        \
    300 /* certificates are valid from a little earlier, for machines whose clocks are behind */
#define DAY_S 86400

static int openssl_failed(const char *what, char *why, size_t why_max)
{
    char reason[160];
    ERR_error_string_n(ERR_get_error(), reason, sizeof reason);
    snprintf(why, why_max, "%s: %s", what, reason);
    return CX_EIO;
}

static bool add_extension(X509 *cert, X509V3_CTX *ctx, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
    bool ok = e && X509_add_ext(cert, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

struct extension {
    int nid;
    const char *value;
};

static bool add_extensions(X509 *cert, X509 *issuer, const struct extension *e, size_t n)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    for (size_t i = 0; i < n; i++)
        if (!add_extension(cert, &ctx, e[i].nid, e[i].value))
            return false;
    return true;
}

/* 127 random bits: unguessable, and unique without a database (RFC 5280 allows up to 20 bytes). */
static bool set_serial(X509 *cert)
{
    uint8_t raw[16];
    random_bytes(raw, sizeof raw);
    raw[0] = (uint8_t)((raw[0] & 0x7f) | 0x40);
    BIGNUM *n = BN_bin2bn(raw, sizeof raw, NULL);
    bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
    BN_free(n);
    return ok;
}

static bool set_name(X509_NAME *name, const char *organisation, const char *common)
{
    return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const uint8_t *)organisation, -1, -1, 0) ==
               1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)common, -1, -1, 0) == 1;
}

static X509 *certificate_new(EVP_PKEY *key, time_t from, time_t until)
{
    X509 *cert = X509_new();
    if (cert && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
        ASN1_TIME_set(X509_getm_notBefore(cert), from) && ASN1_TIME_set(X509_getm_notAfter(cert), until) &&
        X509_set_pubkey(cert, key) == 1)
        return cert;
    X509_free(cert);
    return NULL;
}

static int file_failed(const char *path, char *why, size_t why_max)
{
    int e = errno == EEXIST ? CX_EEXIST : CX_EIO;
    snprintf(why, why_max, "%s: %s", path, strerror(errno));
    return e;
}

/* Shows both files of a pair, the key first: a certificate is never there without its key. */
static int show_pair(struct draft *key, struct draft *cert, bool fresh, char *why, size_t why_max)
{
    if (draft_show(key, fresh) != 0)
        return file_failed(key->path, why, why_max);
    return draft_show(cert, fresh) != 0 ? file_failed(cert->path, why, why_max) : 0;
}

static int write_pair(const char *key_path, EVP_PKEY *key, const char *cert_path, X509 *cert, bool fresh,
                      char *why, size_t why_max)
{
    BIO *k = BIO_new(BIO_s_secmem()), *c = BIO_new(BIO_s_mem());
    struct draft key_draft = {0}, cert_draft = {0};
    char *key_pem, *cert_pem;
    int e = CX_EIO;
    if (!k || !c || PEM_write_bio_PrivateKey(k, key, NULL, NULL, 0, NULL, NULL) != 1 ||
        PEM_write_bio_X509(c, cert) != 1) {
        openssl_failed("writing PEM", why, why_max);
        goto out;
    }
    size_t key_len = (size_t)BIO_get_mem_data(k, &key_pem), cert_len = (size_t)BIO_get_mem_data(c, &cert_pem);
    if (draft_write(&key_draft, key_path, key_pem, key_len, 0600) != 0)
        e = file_failed(key_path, why, why_max);
    else if (draft_write(&cert_draft, cert_path, cert_pem, cert_len, 0644) != 0)
        e = file_failed(cert_path, why, why_max);
    else
        e = show_pair(&key_draft, &cert_draft, fresh, why, why_max);
out:
    draft_drop(&key_draft);
    draft_drop(&cert_draft);
    BIO_free(k);
    BIO_free(c);
    return e;
}

static X509 *ca_certificate(EVP_PKEY *key, const char *network, time_t until)
{
    static const struct extension ext[] = {
        {NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
        {NID_key_usage, "critical,keyCertSign,cRLSign"},
        {NID_subject_key_identifier, "hash"},
    };
    X509 *cert = certificate_new(key, time(NULL) - CLOCK_SLACK_S, until);
    if (cert && set_name(X509_get_subject_name(cert), network, "CX certification authority") &&
        X509_set_issuer_name(cert, X509_get_subject_name(cert)) == 1 && add_extensions(cert, cert, ext, 3) &&
        X509_sign(cert, key, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

int pki_create_ca(const char *dir, const char *network, unsigned days, char *why, size_t why_max)
{
    char key_path[PKI_PATH_MAX], cert_path[PKI_PATH_MAX];
    if (!file_path(key_path, dir, "ca", NULL, "key") || !file_path(cert_path, dir, "ca", NULL, "crt") ||
        !network[0] || strlen(network) > IDENTITY_NAME_MAX) {
        snprintf(why, why_max, "a network's name has 1 to %d bytes, a directory's path less than %d",
                 IDENTITY_NAME_MAX, PKI_PATH_MAX);
        return CX_EINVAL;
    }
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        snprintf(why, why_max, "%s: %s", dir, strerror(errno));
        return CX_EIO;
    }
    if (exists(key_path) || exists(cert_path)) {
        snprintf(why, why_max, "%s: there is a CA already; use another directory, or remove it by hand", dir);
        return CX_EEXIST;
    }
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = key ? ca_certificate(key, network, time(NULL) + (time_t)days * DAY_S) : NULL;
    int e = cert ? write_pair(key_path, key, cert_path, cert, true, why, why_max)
                 : openssl_failed("making the CA", why, why_max);
    X509_free(cert);
    EVP_PKEY_free(key);
    return e;
}

struct authority {
    X509 *cert;
    EVP_PKEY *key;
};

static void authority_free(struct authority *ca)
{
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
}

static BIO *open_pem(const char *dir, const char *suffix, char path[PKI_PATH_MAX], char *why, size_t why_max)
{
    BIO *b = NULL;
    if (file_path(path, dir, "ca", NULL, suffix))
        b = BIO_new_file(path, "r");
    if (!b)
        snprintf(why, why_max, "%s/ca.%s: %s; to make a CA: cx ca init %s", dir, suffix, strerror(errno),
                 dir);
    return b;
}

static int authority_load(const char *dir, struct authority *out, char *why, size_t why_max)
{
    char path[PKI_PATH_MAX];
    struct authority ca = {0};
    BIO *b = open_pem(dir, "crt", path, why, why_max);
    if (!b)
        return CX_ENOTFOUND;
    ca.cert = PEM_read_bio_X509(b, NULL, NULL, NULL);
    BIO_free(b);
    b = open_pem(dir, "key", path, why, why_max);
    if (!b) {
        authority_free(&ca);
        return CX_ENOTFOUND;
    }
    ca.key = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
    BIO_free(b);
    if (!ca.cert || !ca.key || X509_check_private_key(ca.cert, ca.key) != 1) {
        snprintf(why, why_max, "%s: ca.crt and ca.key are damaged or do not belong together", dir);
        authority_free(&ca);
        return CX_EINVAL;
    }
    *out = ca;
    return 0;
}

/* Servers also dial (the broker, each other), so they are clients too. */
static X509 *leaf_certificate(const struct authority *ca, EVP_PKEY *key, enum role role, const char *name,
                              time_t from, time_t until)
{
    bool serves = role == ROLE_SERVER || role == ROLE_BROKER;
    char san[160], organisation[32];
    int n = snprintf(san, sizeof san, "URI:cx://%s/%s", role_name(role), name);
    if (serves)
        snprintf(san + n, sizeof san - (size_t)n, ",DNS:%s.cx", role_name(role));
    snprintf(organisation, sizeof organisation, "CX %s", role_name(role));
    const struct extension ext[] = {
        {NID_basic_constraints, "critical,CA:FALSE"},
        {NID_key_usage, "critical,digitalSignature"},
        {NID_ext_key_usage, serves ? "serverAuth,clientAuth" : "clientAuth"},
        {NID_subject_key_identifier, "hash"},
        {NID_authority_key_identifier, "keyid:always"},
        {NID_subject_alt_name, san},
    };
    X509 *cert = certificate_new(key, from, until);
    if (cert && set_name(X509_get_subject_name(cert), organisation, name) &&
        X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)) == 1 &&
        add_extensions(cert, ca->cert, ext, sizeof ext / sizeof ext[0]) &&
        X509_sign(cert, ca->key, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

static int check_request(enum role role, const char *name, char *why, size_t why_max)
{
    if (role <= ROLE_NONE || role > ROLE_ADMIN) {
        snprintf(why, why_max, "unknown role; roles are consumer, producer, server, broker, admin");
        return CX_EINVAL;
    }
    if (!identity_name_valid(bytes_str(name))) {
        snprintf(why, why_max,
                 "\"%.80s\": a name has 1 to %d letters, digits, '.', '-' or '_', and starts with a letter "
                 "or digit",
                 name, IDENTITY_NAME_MAX);
        return CX_EINVAL;
    }
    return 0;
}

int pki_issue_between(const char *dir, enum role role, const char *name, time_t from, time_t until, char *why,
                      size_t why_max)
{
    char key_path[PKI_PATH_MAX], cert_path[PKI_PATH_MAX];
    struct authority ca;
    int e = check_request(role, name, why, why_max);
    if (e == 0)
        e = authority_load(dir, &ca, why, why_max);
    if (e != 0)
        return e;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = key ? leaf_certificate(&ca, key, role, name, from, until) : NULL;
    if (!file_path(key_path, dir, role_name(role), name, "key") ||
        !file_path(cert_path, dir, role_name(role), name, "crt")) {
        snprintf(why, why_max, "%.80s...: path too long", dir);
        e = CX_EINVAL;
    } else {
        e = cert ? write_pair(key_path, key, cert_path, cert, false, why, why_max)
                 : openssl_failed("signing", why, why_max);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    authority_free(&ca);
    return e;
}

int pki_issue(const char *dir, enum role role, const char *name, unsigned days, char *why, size_t why_max)
{
    time_t now = time(NULL);
    return pki_issue_between(dir, role, name, now - CLOCK_SLACK_S, now + (time_t)days * DAY_S, why, why_max);
}
