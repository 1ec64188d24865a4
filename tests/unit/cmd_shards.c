/* What `cx server` makes of the rows that the servers of a network send (consumer/cmd/shards.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consumer/cmd/shards.c"

/* s1 and s2 are a pair; member numbers are 11, 12 for shard s1 and 21, 22 for shard s2. */
static struct shard_row replica(const char *shard, const char *server, const char *role, uint64_t epoch)
{
    bool first = strcmp(server, "s1") == 0;
    struct shard_row row = {.epoch = epoch, .sibling = true};
    row.member = (strcmp(shard, "s1") == 0 ? 10u : 20u) + (first ? 1u : 2u);
    row.in_sync[0] = row.member;
    row.serves = strcmp(role, "primary") == 0 || strcmp(role, "solo") == 0 || strcmp(role, "alone") == 0;
    snprintf(row.name, sizeof row.name, "%s", shard);
    snprintf(row.server, sizeof row.server, "%s", server);
    snprintf(row.role, sizeof row.role, "%s", role);
    snprintf(row.addresses, sizeof row.addresses, "%s", first ? "a:1,b:2" : "b:2,a:1");
    return row;
}

static void add(struct shards *s, struct shard_row row)
{
    buf_add(&s->rows, &row, sizeof row);
}

static void add_pair(struct shards *s, const char *shard, const char *primary, const char *backup)
{
    struct shard_row p = replica(shard, primary, "primary", 3), b = replica(shard, backup, "backup", 3);
    p.in_sync[1] = b.member;
    memcpy(b.in_sync, p.in_sync, sizeof b.in_sync);
    add(s, b);
    add(s, p);
}

static void add_silent(struct shards *s, const char *address)
{
    struct shard_row row = {.serves = false};
    snprintf(row.addresses, sizeof row.addresses, "%s", address);
    snprintf(row.silent, sizeof row.silent, "refused");
    add(s, row);
}

static void expect_advice(const struct shards *s, const char *shard, const char *part)
{
    char text[512];
    if (!shards_advice(s, shard, text, sizeof text))
        fail_msg("no advice about %s", shard);
    if (strstr(text, part) == NULL)
        fail_msg("'%s' does not say '%s'", text, part);
}

static void a_pair_in_order_needs_nothing(void **state)
{
    struct shards s = {0};
    struct shard_row row;
    char text[512];
    (void)state;
    add_pair(&s, "s1", "s1", "s2");
    add_pair(&s, "s2", "s2", "s1");
    assert_true(shards_paired(&s, "s1") && shards_at_home(&s, "s1"));
    assert_true(shards_whole(&s, "s1") && shards_whole(&s, "s2"));
    assert_true(shards_primary(&s, "s1", &row));
    assert_string_equal(row.server, "s1");
    assert_false(shards_advice(&s, "s1", text, sizeof text));
    assert_false(shards_drained(&s, "s1"));
    assert_false(shards_known(&s, "s3"));
    buf_free(&s.rows);
}

static void a_shard_away_from_home_is_to_be_handed_back(void **state)
{
    struct shards s = {0};
    (void)state;
    add_pair(&s, "s1", "s2", "s1");
    add_pair(&s, "s2", "s2", "s1");
    assert_false(shards_at_home(&s, "s1"));
    assert_true(shards_drained(&s, "s1"));
    assert_false(shards_whole(&s, "s1"));
    expect_advice(&s, "s1", "cx server hand-back s1");
    buf_free(&s.rows);
}

/* The old primary has not heard yet that it is none any more. */
static void the_highest_epoch_is_the_primary(void **state)
{
    struct shards s = {0};
    struct shard_row row;
    (void)state;
    add(&s, replica("s1", "s1", "primary", 3));
    add(&s, replica("s1", "s2", "solo", 4));
    assert_true(shards_primary(&s, "s1", &row));
    assert_string_equal(row.server, "s2");
    buf_free(&s.rows);
}

static void a_server_alone_is_said_to_be(void **state)
{
    struct shards s = {0};
    struct shard_row row = replica("s1", "s2", "solo", 4);
    (void)state;
    row.sibling = false;
    add(&s, row);
    add_silent(&s, "a:1");
    assert_false(shards_paired(&s, "s1"));
    assert_false(shards_whole(&s, "s1"));
    expect_advice(&s, "s1", "bring the other server");
    assert_int_equal(shards_count(&s), 2);
    buf_free(&s.rows);
}

static void a_server_without_a_sibling_needs_none(void **state)
{
    struct shards s = {0};
    char text[512];
    (void)state;
    add(&s, replica("s1", "s1", "alone", 0));
    assert_false(shards_advice(&s, "s1", text, sizeof text));
    buf_free(&s.rows);
}

static void a_halted_shard_names_who_could_go_on(void **state)
{
    struct shards s = {0};
    char text[512];
    (void)state;
    add(&s, replica("s1", "s1", "joining", 4));
    expect_advice(&s, "s1", "nobody yet");
    assert_true(shards_at_home(&s, "s1")); /* there is nothing to hand back */
    buf_clear(&s.rows);
    add(&s, replica("s1", "s1", "halted", 4));
    expect_advice(&s, "s1", "accept-loss s1 --member s1");
    add(&s, replica("s1", "s2", "primary", 4)); /* who has it is there */
    assert_true(shards_advice(&s, "s1", text, sizeof text));
    assert_null(strstr(text, "accept-loss"));
    buf_free(&s.rows);
}

static void members_have_names_and_numbers(void **state)
{
    struct shards s = {0};
    struct shard_row row;
    char text[64];
    (void)state;
    add_pair(&s, "s1", "s1", "s2");
    shards_member(&s, "s1", 12, text, sizeof text);
    assert_string_equal(text, "s2");
    shards_member(&s, "s1", 0xabc, text, sizeof text);
    assert_string_equal(text, "0000000000000abc");
    assert_true(shards_member_of(&s, "s1", "s2") == 12);
    assert_true(shards_member_of(&s, "s1", "0000000000000abc") == 0xabc);
    assert_true(shards_member_of(&s, "s1", "nobody") == 0);
    assert_true(shards_member_of(&s, "s1", "") == 0);
    assert_true(shards_replica(&s, "s1", "s2", &row));
    shards_address(&row, text, sizeof text);
    assert_string_equal(text, "b:2");
    buf_free(&s.rows);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_in_order_needs_nothing),
        cmocka_unit_test(a_shard_away_from_home_is_to_be_handed_back),
        cmocka_unit_test(the_highest_epoch_is_the_primary),
        cmocka_unit_test(a_server_alone_is_said_to_be),
        cmocka_unit_test(a_server_without_a_sibling_needs_none),
        cmocka_unit_test(a_halted_shard_names_who_could_go_on),
        cmocka_unit_test(members_have_names_and_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
