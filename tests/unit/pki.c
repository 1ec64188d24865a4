/* Certificates: what is issued is what loads, and what is wrong with the rest is said with the next step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "cx/error.h"
#include "proto/pki.h"
#include "proto/pki_internal.h"

struct world {
    char dir[64], other[64]; /* two networks' CAs */
    char why[256];
};

static void run(const char *format, const char *a)
{
    char command[512];
    snprintf(command, sizeof command, format, a);
    assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    strcpy(w->dir, "/tmp/cx-pki-XXXXXX");
    strcpy(w->other, "/tmp/cx-pki-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_non_null(mkdtemp(w->other));
    assert_int_equal(pki_create_ca(w->dir, "lab", 10, w->why, sizeof w->why), 0);
    assert_int_equal(pki_create_ca(w->other, "other", 10, w->why, sizeof w->why), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    run("rm -rf %s", w->dir);
    run("rm -rf %s", w->other);
    free(w);
    return 0;
}

static void issue(struct world *w, enum role role, const char *name)
{
    if (pki_issue(w->dir, role, name, 5, w->why, sizeof w->why) != 0)
        fail_msg("%s", w->why);
}

static void refused(struct world *w, enum role role, const char *name, int code, const char *expected)
{
    struct credentials c;
    memset(&c, 0x5a, sizeof c);
    int e = pki_load(w->dir, role, name, &c, w->why, sizeof w->why);
    if (e != code || !strstr(w->why, expected))
        fail_msg("got %d \"%s\", want %d \"%s\"", e, w->why, code, expected);
    for (size_t i = 0; i < sizeof c; i++)
        assert_int_equal(((uint8_t *)&c)[i], 0x5a);
}

static X509 *certificate(const char *pem)
{
    BIO *b = BIO_new_mem_buf(pem, -1);
    X509 *cert = PEM_read_bio_X509(b, NULL, NULL, NULL);
    BIO_free(b);
    assert_non_null(cert);
    return cert;
}

static void roles_have_names(void **state)
{
    (void)state;
    for (int r = ROLE_CONSUMER; r <= ROLE_ADMIN; r++)
        assert_int_equal(role_of(role_name((enum role)r)), r);
    assert_int_equal(role_of("none"), ROLE_NONE);
    assert_int_equal(role_of("king"), ROLE_NONE);
    assert_string_equal(role_name((enum role)99), "none");
}

static void identities_are_parsed_strictly(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "cx://",
        "cx://producer",
        "cx://producer/",
        "cx://king/a",
        "cx://producer/a/b",
        "cx://producer/a b",
        "CX://producer/a",
        "http://producer/a",
        "cx://producer/../x",
        "cx://producer/-a",
        "cx:///a",
        "cx://none/a",
        "cx://producer/\xc3\xa9",
    };
    struct identity id;
    assert_true(identity_parse(bytes_str("cx://producer/lab-7.x_1"), &id));
    assert_int_equal(id.role, ROLE_PRODUCER);
    assert_string_equal(id.name, "lab-7.x_1");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (identity_parse(bytes_str(bad[i]), &id))
            fail_msg("%s was taken", bad[i]);
    char longest[80] = "cx://server/";
    memset(longest + 12, 'n', IDENTITY_NAME_MAX);
    assert_true(identity_parse(bytes_of(longest, 12 + IDENTITY_NAME_MAX), &id));
    assert_int_equal(strlen(id.name), IDENTITY_NAME_MAX);
    memset(longest + 12, 'n', IDENTITY_NAME_MAX + 1);
    assert_false(identity_parse(bytes_of(longest, 12 + IDENTITY_NAME_MAX + 1), &id));
    assert_false(identity_parse(bytes_of("cx://server/a\0b", 15), &id));
}

static void what_is_issued_loads(void **state)
{
    struct world *w = *state;
    struct credentials c;
    issue(w, ROLE_SERVER, "s1");
    issue(w, ROLE_PRODUCER, "producer-1");
    assert_int_equal(pki_load(w->dir, ROLE_SERVER, NULL, &c, w->why, sizeof w->why), 0);
    assert_int_equal(c.self.role, ROLE_SERVER);
    assert_string_equal(c.self.name, "s1");
    assert_non_null(strstr(c.cert, "BEGIN CERTIFICATE"));
    assert_non_null(strstr(c.key, "PRIVATE KEY"));
    X509 *cert = certificate(c.cert);
    assert_int_equal(X509_check_host(cert, "server.cx", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cert, "broker.cx", 0, 0, NULL), 0);
    assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 0), 1);
    assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_CLIENT, 0), 1);
    X509_free(cert);
    pki_unload(&c);
    assert_null(c.key);
    pki_unload(&c); /* twice is harmless */
    assert_int_equal(pki_load(w->dir, ROLE_PRODUCER, "producer-1", &c, w->why, sizeof w->why), 0);
    assert_string_equal(c.self.name, "producer-1");
    cert = certificate(c.cert);
    assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 0),
                     0); /* a producer cannot pose as a server */
    assert_int_equal(X509_check_host(cert, "server.cx", 0, 0, NULL), 0);
    X509_free(cert);
    pki_unload(&c);
}

static void a_name_may_be_given_with_its_role(void **state)
{
    struct world *w = *state;
    struct credentials c;
    issue(w, ROLE_CONSUMER, "alice");
    assert_int_equal(pki_load(w->dir, ROLE_CONSUMER, "consumer-alice", &c, w->why, sizeof w->why), 0);
    assert_string_equal(c.self.name, "alice");
    pki_unload(&c);
}

static void keys_are_private(void **state)
{
    struct world *w = *state;
    char path[128];
    struct stat st;
    issue(w, ROLE_ADMIN, "root");
    static const char *const keys[] = {"ca.key", "admin-root.key"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", w->dir, keys[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_int_equal(chmod(path, 0644), 0);
    refused(w, ROLE_ADMIN, "root", CX_EAUTH, "chmod 600");
    assert_int_equal(chmod(path, 0640), 0);
    struct credentials c;
    assert_int_equal(pki_load(w->dir, ROLE_ADMIN, "root", &c, w->why, sizeof w->why), 0);
    pki_unload(&c);
}

static void one_ca_a_directory(void **state)
{
    struct world *w = *state;
    assert_int_equal(pki_create_ca(w->dir, "again", 10, w->why, sizeof w->why), CX_EEXIST);
    assert_non_null(strstr(w->why, "there is a CA already"));
    assert_int_equal(pki_create_ca(w->dir, "", 10, w->why, sizeof w->why), CX_EINVAL);
    assert_int_equal(pki_create_ca("/nonexistent/dir", "n", 10, w->why, sizeof w->why), CX_EIO);
    issue(w, ROLE_SERVER, "s1"); /* the first one still signs */
}

static void nothing_but_the_pairs_is_left_behind(void **state)
{
    struct world *w = *state;
    issue(w, ROLE_SERVER, "s1");
    issue(w, ROLE_SERVER, "s1"); /* renewed */
    run("test \"$(ls %s | tr '\\n' ' ')\" = 'ca.crt ca.key server-s1.crt server-s1.key '", w->dir);
}

static void names_are_checked(void **state)
{
    struct world *w = *state;
    static const char *const bad[] = {"", "../x", "a/b", "a b", ".hidden", "-x", "a\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(pki_issue(w->dir, ROLE_SERVER, bad[i], 1, w->why, sizeof w->why), CX_EINVAL);
    assert_int_equal(pki_issue(w->dir, ROLE_NONE, "x", 1, w->why, sizeof w->why), CX_EINVAL);
    assert_int_equal(pki_issue(w->dir, (enum role)77, "x", 1, w->why, sizeof w->why), CX_EINVAL);
    char longer[IDENTITY_NAME_MAX + 2];
    memset(longer, 'n', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_int_equal(pki_issue(w->dir, ROLE_SERVER, longer, 1, w->why, sizeof w->why), CX_EINVAL);
    longer[IDENTITY_NAME_MAX] = 0;
    issue(w, ROLE_SERVER, longer);
}

static void what_is_missing_is_named_with_the_next_step(void **state)
{
    struct world *w = *state;
    refused(w, ROLE_CONSUMER, "alice", CX_ENOTFOUND, "run: cx ca issue");
    refused(w, ROLE_CONSUMER, NULL, CX_ENOTFOUND, "no consumer-NAME.crt");
    issue(w, ROLE_CONSUMER, "alice");
    issue(w, ROLE_CONSUMER, "bob");
    refused(w, ROLE_CONSUMER, NULL, CX_EINVAL, "several");
    refused(w, ROLE_CONSUMER, "../alice", CX_EINVAL, "not a legal name");
    run("rm %s/ca.crt", w->dir);
    refused(w, ROLE_CONSUMER, "bob", CX_ENOTFOUND, "cx ca init");
    assert_int_equal(pki_issue(w->dir, ROLE_SERVER, "x", 1, w->why, sizeof w->why), CX_ENOTFOUND);
    assert_non_null(strstr(w->why, "cx ca init"));
    run("rm -r %s", w->dir);
    refused(w, ROLE_CONSUMER, NULL, CX_ENOTFOUND, "cx ca init");
    assert_int_equal(mkdir(w->dir, 0700), 0);
}

static void dates_count(void **state)
{
    struct world *w = *state;
    time_t now = time(NULL);
    assert_int_equal(
        pki_issue_between(w->dir, ROLE_SERVER, "old", now - 7200, now - 3600, w->why, sizeof w->why), 0);
    refused(w, ROLE_SERVER, "old", CX_EAUTH, "expired");
    assert_int_equal(
        pki_issue_between(w->dir, ROLE_SERVER, "new", now + 3600, now + 7200, w->why, sizeof w->why), 0);
    refused(w, ROLE_SERVER, "new", CX_EAUTH, "clock");
}

static void pairs_must_fit(void **state)
{
    struct world *w = *state;
    issue(w, ROLE_SERVER, "a");
    issue(w, ROLE_SERVER, "b");
    run("cp %1$s/server-a.key %1$s/server-b.key", w->dir);
    refused(w, ROLE_SERVER, "b", CX_EAUTH, "not the key of");
    run("cp %1$s/server-a.crt %1$s/producer-a.crt; cp %1$s/server-a.key %1$s/producer-a.key", w->dir);
    refused(w, ROLE_PRODUCER, "a", CX_EAUTH, "no identity cx://producer/NAME");
    run("echo garbage >%s/server-a.key", w->dir);
    refused(w, ROLE_SERVER, "a", CX_EAUTH, "not a private key");
    run("echo garbage >%s/server-a.crt", w->dir);
    refused(w, ROLE_SERVER, "a", CX_EAUTH, "not a certificate");
    run("rm %1$s/server-a.crt; mkdir %1$s/server-a.crt", w->dir);
    refused(w, ROLE_SERVER, "a", CX_ENOTFOUND, "server-a.crt");
}

static void another_network_s_ca_is_told(void **state)
{
    struct world *w = *state;
    char command[256];
    issue(w, ROLE_SERVER, "a");
    snprintf(command, sizeof command, "cp %s/ca.crt %s/ca.crt", w->other, w->dir);
    assert_int_equal(system(command), 0);
    refused(w, ROLE_SERVER, "a", CX_EAUTH, "another network's CA");
    assert_int_equal(pki_issue(w->dir, ROLE_SERVER, "x", 1, w->why, sizeof w->why), CX_EINVAL);
    assert_non_null(strstr(w->why, "do not belong together"));
}

static void the_deny_list(void **state)
{
    struct world *w = *state;
    struct identity who = {ROLE_PRODUCER, "p1"};
    char path[128];
    snprintf(path, sizeof path, "%s/deny", w->dir);
    assert_false(deny_listed(NULL, &who, "AB12"));
    assert_false(deny_listed(path, &who, "AB12")); /* no list: nobody */
    run("printf '# thieves\\n producer/p10\\nconsumer/p1 # not a producer\\n' >%s/deny", w->dir);
    assert_false(deny_listed(path, &who, "AB12"));
    run("printf 'producer/p1' >>%s/deny", w->dir);
    assert_true(deny_listed(path, &who, "AB12"));
    run("printf 'ab12\\r\\n\\n' >%s/deny", w->dir);
    assert_true(deny_listed(path, &who, "AB12"));
    assert_false(deny_listed(path, &who, ""));
    run("rm %1$s/deny; mkdir %1$s/deny", w->dir);
    assert_true(deny_listed(path, &who, "AB12")); /* cannot be read: everybody */
}

static void facts_of_a_certificate(void **state)
{
    struct world *w = *state;
    struct credentials c;
    struct cert_facts f;
    issue(w, ROLE_CONSUMER, "alice");
    assert_int_equal(pki_load(w->dir, ROLE_CONSUMER, NULL, &c, w->why, sizeof w->why), 0);
    assert_true(cert_facts_of(c.cert, strlen(c.cert), &f));
    assert_int_equal(strlen(f.serial), 32);
    assert_true(f.until > time(NULL) + 4 * 86400 && f.until < time(NULL) + 6 * 86400);
    assert_false(cert_facts_of("garbage", 7, &f));
    pki_unload(&c);
}

static void hashes(void **state)
{
    (void)state;
    static const uint8_t
        abc[32] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
                   0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
                   0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad}; /* FIPS 180-2 */
    uint8_t h[32], r[2][16];
    sha256_of(bytes_str("abc"), h);
    assert_memory_equal(h, abc, 32);
    struct sha256 *s = sha256_new();
    sha256_add(s, "a", 1);
    sha256_add(s, "", 0);
    sha256_add(s, "bc", 2);
    sha256_end(s, h);
    assert_memory_equal(h, abc, 32);
    random_bytes(r[0], 16);
    random_bytes(r[1], 16);
    assert_memory_not_equal(r[0], r[1], 16);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_have_names),
        cmocka_unit_test(identities_are_parsed_strictly),
        TEST(what_is_issued_loads),
        TEST(a_name_may_be_given_with_its_role),
        TEST(keys_are_private),
        TEST(one_ca_a_directory),
        TEST(nothing_but_the_pairs_is_left_behind),
        TEST(names_are_checked),
        TEST(what_is_missing_is_named_with_the_next_step),
        TEST(dates_count),
        TEST(pairs_must_fit),
        TEST(another_network_s_ca_is_told),
        TEST(the_deny_list),
        TEST(facts_of_a_certificate),
        cmocka_unit_test(hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
