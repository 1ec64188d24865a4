/* Whom a producer serves, and where it looks for a shard whose server is gone. */
#include "producer/place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SHARD   "0123456789abcdef"
#define SECONDS UINT64_C(1000000)

struct world {
    struct place *place;
    char address[64]; /* that was found; "" when it failed */
    char shard[17];
};

static void found(void *ctx, const char *address, struct bytes shard)
{
    struct world *w = ctx;
    snprintf(w->address, sizeof w->address, "%s", address);
    snprintf(w->shard, sizeof w->shard, "%.*s", (int)shard.len, (const char *)shard.data);
}

static void failed(void *ctx, const char *why)
{
    struct world *w = ctx;
    (void)why;
    w->address[0] = w->shard[0] = 0;
}

static void world_make(struct world *w, const char *server)
{
    *w = (struct world){0};
    w->place = place_new(
        &(struct place_config){.server = server, .arch = "x", .found = found, .failed = failed, .ctx = w});
}

/* An attempt finds this one, and asks it for this shard; "" for none. */
static void begins(struct world *w, uint64_t now_us, const char *address, const char *shard)
{
    place_begin(w->place, now_us);
    assert_string_equal(w->address, address);
    assert_string_equal(w->shard, shard);
}

static void next(struct world *w, const char *address)
{
    place_next(w->place, "gone");
    assert_string_equal(w->address, address);
}

static void served(struct world *w, const char *shard, const char *addresses)
{
    place_served(w->place, bytes_str(shard), bytes_str(addresses));
}

static void an_attempt_goes_through_the_list(void **state)
{
    struct world w;
    (void)state;
    world_make(&w, "a:1,b:2,a:1");
    for (int i = 0; i < 3; i++) {
        begins(&w, 0, "a:1", "");
        next(&w, "b:2");
        next(&w, "");
    }
    place_free(w.place);
}

static void a_lost_shard_is_looked_for_at_the_sibling_first(void **state)
{
    static const char *const turns[] = {"b:2", "b:2", "b:2", "a:1"};
    struct world w;
    (void)state;
    world_make(&w, "a:1");
    begins(&w, 0, "a:1", "");
    served(&w, SHARD, "a:1,b:2");
    for (int i = 0; i < 12; i++) {
        begins(&w, SECONDS, turns[i % 4], SHARD);
        next(&w, ""); /* one address an attempt */
    }
    place_free(w.place);
}

static void found_again_it_is_lost_anew(void **state)
{
    struct world w;
    (void)state;
    world_make(&w, "a:1");
    begins(&w, 0, "a:1", "");
    served(&w, SHARD, "a:1,b:2");
    begins(&w, 1 * SECONDS, "b:2", SHARD);
    served(&w, SHARD, "b:2,a:1");
    begins(&w, 60 * SECONDS, "a:1", SHARD);
    place_free(w.place);
}

static void a_shard_that_nobody_serves_is_given_up(void **state)
{
    struct world w;
    (void)state;
    world_make(&w, "c:3,a:1");
    begins(&w, 0, "c:3", "");
    next(&w, "a:1");
    served(&w, SHARD, "a:1,b:2");
    begins(&w, 100 * SECONDS, "b:2", SHARD);
    begins(&w, 107 * SECONDS, "b:2", SHARD);
    begins(&w, 107 * SECONDS, "b:2", SHARD);
    begins(&w, 107 * SECONDS, "a:1", SHARD);
    begins(&w, 109 * SECONDS, "c:3", "");
    next(&w, "a:1");
    next(&w, "");
    begins(&w, 110 * SECONDS, "c:3", "");
    place_free(w.place);
}

/* Ten seconds pass until a dialled server that says nothing is given up. */
static void silent_servers_are_all_tried_before(void **state)
{
    struct world w;
    (void)state;
    world_make(&w, "a:1");
    begins(&w, 0, "a:1", "");
    served(&w, SHARD, "a:1,b:2");
    begins(&w, 10 * SECONDS, "b:2", SHARD);
    begins(&w, 20 * SECONDS, "b:2", SHARD);
    begins(&w, 30 * SECONDS, "b:2", SHARD);
    begins(&w, 40 * SECONDS, "a:1", SHARD);
    begins(&w, 50 * SECONDS, "a:1", "");
    place_free(w.place);
}

static void without_a_sibling_it_is_looked_for_where_it_was(void **state)
{
    struct world w;
    (void)state;
    world_make(&w, "a:1");
    begins(&w, 0, "a:1", "");
    served(&w, SHARD, "");
    begins(&w, 1 * SECONDS, "a:1", SHARD);
    begins(&w, 2 * SECONDS, "a:1", SHARD);
    place_free(w.place);
}

static void a_server_that_names_no_shard_binds_nobody(void **state)
{
    struct world w;
    (void)state;
    world_make(&w, "a:1,b:2");
    begins(&w, 0, "a:1", "");
    served(&w, "", "");
    begins(&w, 1 * SECONDS, "a:1", "");
    next(&w, "b:2");
    place_free(w.place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_attempt_goes_through_the_list),
        cmocka_unit_test(a_lost_shard_is_looked_for_at_the_sibling_first),
        cmocka_unit_test(found_again_it_is_lost_anew),
        cmocka_unit_test(a_shard_that_nobody_serves_is_given_up),
        cmocka_unit_test(silent_servers_are_all_tried_before),
        cmocka_unit_test(without_a_sibling_it_is_looked_for_where_it_was),
        cmocka_unit_test(a_server_that_names_no_shard_binds_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
