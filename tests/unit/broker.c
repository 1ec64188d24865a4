/* The broker's core: who may register, who is offered to whom, what is remembered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/shard.h"
#include "broker/core/bk.h"
#include "broker/core/policy.h"

enum { SECOND = 1000000 };

static struct bk *bk;
static struct bk_effects out, answer;
static struct bk_event last_save;
static int saves;

static struct bk_config config_of(const char *policy)
{
    return (struct bk_config){.silence_us = 10 * SECOND,
                              .networks_max = 4,
                              .servers_max = 6,
                              .per_name_max = 3,
                              .offers_max = 3,
                              .policy = policy};
}

static void start(const char *policy)
{
    struct bk_config config = config_of(policy);
    bk_free(bk);
    bk = bk_new(&config);
    saves = 0;
}

static int teardown(void **state)
{
    (void)state;
    bk_free(bk);
    bk = NULL;
    bk_effects_free(&out);
    bk_effects_free(&answer);
    return 0;
}

/* One step; a save is answered at once as the shell does, with code. Returns the reply's code. */
static int step_with(const struct bk_event *e, int save_code)
{
    bk_step(bk, e, &out);
    bk_check(bk);
    assert_true(out.n > 0);
    struct bk_effect *last = &out.fx[out.n - 1];
    if (last->kind == BK_FX_SAVE) {
        saves++;
        last_save =
            (struct bk_event){.kind = BK_SAVED, .now_us = e->now_us, .peer = last->peer, .req = last->req};
        last_save.u.saved.server = last->server;
        last_save.u.saved.version = last->version;
        last_save.u.saved.code = save_code;
        bk_step(bk, &last_save, &answer);
        assert_int_equal(answer.n, 1);
        last = &answer.fx[0];
    }
    assert_int_equal(last->kind, BK_FX_REPLY);
    assert_int_equal(last->peer, e->peer);
    assert_int_equal(last->req, e->req);
    return last->code;
}

static const char *reason(void)
{
    return out.fx[out.n - 1].text;
}

static struct bk_event registration(const char *name, const char *network, uint64_t now_us)
{
    struct bk_event e = {
        .kind = BK_REGISTER, .now_us = now_us, .peer = 7, .req = 99, .role = BK_SERVER, .name = name};
    e.u.reg.network = bytes_str(network);
    e.u.reg.address = bytes_str("host:7401");
    e.u.reg.incarnation = 1;
    return e;
}

static int step(const struct bk_event *e)
{
    return step_with(e, 0);
}

static int add(const char *name, const char *network, uint64_t now_us)
{
    struct bk_event e = registration(name, network, now_us);
    return step(&e);
}

static int add_load(const char *name, const char *network, uint32_t threads, uint64_t ready, uint64_t now_us)
{
    struct bk_event e = registration(name, network, now_us);
    e.u.reg.threads = threads;
    e.u.reg.ready = ready;
    return step(&e);
}

static struct bk_event match_any(uint64_t now_us)
{
    return (struct bk_event){
        .kind = BK_MATCH, .now_us = now_us, .peer = 3, .req = 5, .role = BK_CONSUMER, .name = "alice"};
}

/* The networks offered, in order, as "a b c"; the listing as "a+ b-" with aliveness. */
static const char *offered(void)
{
    static char text[1024];
    text[0] = 0;
    for (size_t i = 0; i < out.n; i++) {
        const struct bk_effect *fx = &out.fx[i];
        size_t n = strlen(text);
        if (fx->kind == BK_FX_OFFER)
            snprintf(text + n, sizeof text - n, "%s%s", n ? " " : "", fx->record->network);
        else if (fx->kind == BK_FX_ROW)
            snprintf(text + n, sizeof text - n, "%s%s%c", n ? " " : "", fx->record->network,
                     fx->alive ? '+' : '-');
    }
    return text;
}

static const char *matched(uint64_t now_us)
{
    struct bk_event e = match_any(now_us);
    assert_int_equal(step(&e), 0);
    return offered();
}

static const char *placed(const char *arch, uint32_t threads, uint64_t now_us)
{
    struct bk_event e = {.kind = BK_PLACE, .now_us = now_us, .role = BK_PRODUCER, .name = "p1"};
    e.u.place.arch = bytes_str(arch);
    e.u.place.threads = threads;
    assert_int_equal(step(&e), 0);
    return offered();
}

static const char *listed(uint64_t now_us)
{
    struct bk_event e = {.kind = BK_LIST, .now_us = now_us, .role = BK_CONSUMER, .name = "alice"};
    assert_int_equal(step(&e), 0);
    return offered();
}

/* ---- Registering ---- */

static void only_servers_register(void **state)
{
    (void)state;
    start(NULL);
    static const enum bk_role others[] = {BK_CONSUMER, BK_PRODUCER, BK_ADMIN, 0};
    for (int i = 0; i < 4; i++) {
        struct bk_event e = registration("s1", "a", 0);
        e.role = others[i];
        assert_int_equal(step(&e), CX_EAUTH);
    }
    assert_string_equal(listed(0), "");
}

static void malformed_registrations_change_nothing(void **state)
{
    (void)state;
    start(NULL);
    static const char *const names[] = {"", "a b", "a/b", "\xff",
                                        "0123456789012345678901234567890123456789012345678901234567890123"};
    static const char *const addresses[] = {
        "",         "host",    "host:",   ":1",      "host:123456", "ho st:1",
        "host:1\n", "host:x1", "host:1,", ",host:1", "host:1,host", "host:1,,host:2"};
    static const char *const archs[] = {",", "x86_64,", ",x86_64", "x86 64", "a,,b"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(add("s1", names[i], 0), CX_EINVAL);
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        struct bk_event e = registration("s1", "a", 0);
        e.u.reg.address = bytes_str(addresses[i]);
        assert_int_equal(step(&e), CX_EINVAL);
        assert_non_null(strstr(reason(), "address"));
    }
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
        struct bk_event e = registration("s1", "a", 0);
        e.u.reg.arch = bytes_str(archs[i]);
        assert_int_equal(step(&e), CX_EINVAL);
    }
    char long_address[300];
    snprintf(long_address, sizeof long_address, "%0260d:1", 0);
    struct bk_event e = registration("s1", "a", 0);
    e.u.reg.address = bytes_str(long_address);
    assert_int_equal(step(&e), CX_EINVAL);
    assert_string_equal(listed(0), "");
    assert_int_equal(saves, 0);
}

/* A server says where its sibling is, too: whoever is told of it knows both. */
static void an_address_may_be_several(void **state)
{
    (void)state;
    char longest[300];
    start(NULL);
    struct bk_event e = registration("s1", "a", 0);
    e.u.reg.address = bytes_str("one:7401,[::1]:7402,10.0.0.3:1");
    assert_int_equal(step(&e), 0);
    assert_string_equal(matched(0), "a");
    assert_string_equal(out.fx[0].record->address, "one:7401,[::1]:7402,10.0.0.3:1");
    snprintf(longest, sizeof longest, "%0126d:1,%0124d:1", 0, 0);
    e.u.reg.address = bytes_str(longest);
    assert_int_equal(step(&e), 0);
    assert_string_equal(matched(0), "a");
    assert_string_equal(out.fx[0].record->address, longest);
}

static bool may_ask(const char *name, const char *network, const char *server)
{
    return bk_may_ask(bk, name, shard_id(network, server));
}

static void a_server_asks_about_the_shards_of_its_network(void **state)
{
    (void)state;
    start("lab=s1,s2;other=s3,s4");
    assert_false(may_ask("s1", "lab", "s1")); /* it has not registered */
    assert_int_equal(add("s1", "lab", 0), 0);
    assert_int_equal(add("s3", "other", 0), 0);
    assert_int_equal(add("s5", "free", 0), 0);
    assert_true(may_ask("s1", "lab", "s1"));
    assert_true(may_ask("s1", "lab", "s2")); /* its sibling is named, if not here */
    assert_false(may_ask("s2", "lab", "s1"));
    assert_false(may_ask("s1", "lab", "s3"));
    assert_false(may_ask("s1", "other", "s3"));
    assert_false(may_ask("s3", "lab", "s1"));
    assert_false(may_ask("s5", "lab", "s1"));
    assert_true(may_ask("s5", "free", "s5"));
    assert_false(may_ask("s5", "free", "s6"));
    assert_false(may_ask("nobody", "lab", "s1"));
}

static void the_first_to_come_owns_a_network(void **state)
{
    (void)state;
    start(NULL);
    assert_int_equal(add("s1", "a", 0), 0);
    assert_int_equal(add("s2", "a", 0), CX_EAUTH);
    assert_int_equal(add("s2", "a", 3600ull * SECOND), CX_EAUTH); /* silence does not give it away */
    assert_int_equal(add("s2", "b", 0), 0);
    assert_int_equal(add("s1", "a", 0), 0);
    assert_string_equal(listed(0), "a+ b+");
}

static void the_policy_decides_where_it_speaks(void **state)
{
    (void)state;
    start("a=s1,s2;b=s3");
    assert_int_equal(add("s2", "a", 0), 0);
    assert_int_equal(add("s1", "a", 0), 0);
    assert_int_equal(add("s3", "a", 0), CX_EAUTH);
    assert_int_equal(add("s1", "b", 0), CX_EAUTH); /* the first to come, but not listed */
    assert_int_equal(add("s1", "c", 0), 0);        /* of which the policy says nothing */
    assert_string_equal(listed(0), "a+ a+ c+");
}

/* One who was let in before the operator listed others is out. */
static void the_policy_holds_for_what_was_stored(void **state)
{
    (void)state;
    start("a=s2");
    struct bk_record r = {.network = "a", .name = "s1", .address = "x:1"};
    assert_true(bk_restore(bk, &r, 0));
    assert_int_equal(add("s1", "a", 0), CX_EAUTH);
    assert_int_equal(add("s2", "a", 0), 0);
    assert_string_equal(listed(0), "a- a+");
}

static void a_policy_is_well_formed_or_refused(void **state)
{
    (void)state;
    static const char *const good[] = {"", "a=b", "a=b,c", "a=b;c=d", "a=b;a=c;", "a.b-c_1=x"};
    static const char *const bad[] = {"a", "a=",    "=b",    "a=b,",  "a=b,,c", "a=b;;",
                                      ";", "a b=c", "a=b c", "a=b=c", "a=b\n"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(policy_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(policy_valid(bad[i]));
    assert_int_equal(policy_ask("a=b;a=c", "a", "c"), POLICY_LISTED);
    assert_int_equal(policy_ask("ab=c", "a", "c"), POLICY_SILENT);
    assert_int_equal(policy_ask("a=cd", "a", "c"), POLICY_OTHERS);
}

static void limits_are_named(void **state)
{
    (void)state;
    start("n=s1,s2,s3,s4,s5,s6");
    assert_int_equal(add("s1", "a", 0), 0);
    assert_int_equal(add("s1", "b", 0), 0);
    assert_int_equal(add("s1", "c", 0), 0);
    assert_int_equal(add("s1", "n", 0), CX_ELIMIT); /* a fourth network of one name */
    assert_non_null(strstr(reason(), "s1"));
    assert_int_equal(add("s2", "n", 0), 0);
    assert_int_equal(add("s2", "e", 0), CX_ELIMIT); /* a fifth network in all */
    assert_non_null(strstr(reason(), "4 networks"));
    assert_int_equal(add("s3", "n", 0), 0);
    assert_int_equal(add("s4", "n", 0), 0);
    assert_int_equal(add("s5", "n", 0), CX_ELIMIT); /* a seventh server */
    assert_non_null(strstr(reason(), "6 servers"));
    assert_int_equal(add("s1", "a", 0), 0); /* those who are in stay in */
}

/* ---- Saving ---- */

static void only_identity_is_saved(void **state)
{
    (void)state;
    start(NULL);
    struct bk_event e = registration("s1", "a", 0);
    e.u.reg.threads = 10;
    assert_int_equal(step(&e), 0);
    assert_int_equal(saves, 1);
    e.u.reg.ready = 1000;
    e.u.reg.granted = 12;
    e.u.reg.jobs = 3;
    e.u.reg.producers = 9;
    e.u.reg.threads = 20;
    assert_int_equal(step(&e), 0);
    assert_int_equal(saves, 1);
    e.u.reg.threads = 21; /* more than twice what is stored */
    assert_int_equal(step(&e), 0);
    assert_int_equal(saves, 2);
    e.u.reg.address = bytes_str("other:7401");
    assert_int_equal(step(&e), 0);
    assert_int_equal(saves, 3);
    e.u.reg.incarnation++;
    assert_int_equal(step(&e), 0);
    assert_int_equal(saves, 4);
    e.u.reg.price = 5;
    assert_int_equal(step(&e), 0);
    assert_int_equal(saves, 5);
    e.u.reg.arch = bytes_str("x86_64");
    assert_int_equal(step(&e), 0);
    assert_int_equal(saves, 6);
    assert_int_equal(step(&e), 0);
    assert_int_equal(saves, 6);
}

/* Not acknowledged until it is written, and tried again the next time. */
static void a_failed_save_is_reported_and_tried_again(void **state)
{
    (void)state;
    start(NULL);
    struct bk_event e = registration("s1", "a", 0);
    assert_int_equal(step_with(&e, CX_EIO), CX_EIO);
    assert_int_equal(step_with(&e, CX_EIO), CX_EIO);
    assert_int_equal(saves, 2);
    assert_int_equal(step(&e), 0);
    assert_int_equal(saves, 3);
    assert_int_equal(step(&e), 0);
    assert_int_equal(saves, 3);
}

static void nothing_is_acknowledged_before_it_is_written(void **state)
{
    (void)state;
    start(NULL);
    struct bk_event e = registration("s1", "a", 0);
    bk_step(bk, &e, &out);
    assert_int_equal(out.n, 1);
    assert_int_equal(out.fx[0].kind, BK_FX_SAVE);
    assert_string_equal(out.fx[0].record->network, "a");
    assert_string_equal(out.fx[0].record->name, "s1");
    assert_string_equal(out.fx[0].record->address, "host:7401");
}

/* ---- Silence and memory ---- */

static void silence_ends_aliveness_not_memory(void **state)
{
    (void)state;
    start(NULL);
    add("s1", "a", 0);
    add("s2", "b", 5 * SECOND);
    assert_string_equal(listed(10 * SECOND), "a+ b+");
    assert_string_equal(listed(10 * SECOND + 1), "a- b+");
    assert_int_equal(out.fx[0].age_us, 10 * SECOND + 1);
    assert_string_equal(listed(3600ull * SECOND), "a- b-");
    add("s1", "a", 3600ull * SECOND);
    assert_string_equal(listed(3601ull * SECOND), "a+ b-");
}

static void what_was_stored_is_listed_and_offered_last(void **state)
{
    (void)state;
    start(NULL);
    struct bk_record r = {.network = "old", .name = "s1", .address = "x:1", .threads = 64, .incarnation = 1};
    assert_true(bk_restore(bk, &r, 0));
    assert_false(bk_restore(bk, &r, 0)); /* one key, one record */
    assert_string_equal(listed(1), "old-");
    add_load("s2", "new", 1, 1000, 1);
    assert_string_equal(matched(2), "new old");
    saves = 0;
    struct bk_event e = registration("s1", "old", 2); /* it comes back as it was: nothing to write */
    e.u.reg.address = bytes_str("x:1");
    e.u.reg.threads = 64;
    assert_int_equal(step(&e), 0);
    assert_int_equal(saves, 0);
    assert_string_equal(matched(2), "old new");
}

static void records_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    start(NULL);
    const struct bk_record bad[] = {{.network = "", .name = "s", .address = "x:1"},
                                    {.network = "a", .name = "", .address = "x:1"},
                                    {.network = "a", .name = "s", .address = "x"},
                                    {.network = "a", .name = "s", .address = "x:1", .arch = ","}};
    for (int i = 0; i < 4; i++)
        assert_false(bk_restore(bk, &bad[i], 0));
    assert_string_equal(listed(0), "");
}

/* ---- Match ---- */

static void consumers_get_the_least_loaded_first(void **state)
{
    (void)state;
    start(NULL);
    add_load("s1", "busy", 10, 100, 0);
    add_load("s2", "idle", 2, 1, 0);
    add_load("s3", "empty", 0, 0, 0); /* no producers: not before one that has some */
    assert_string_equal(matched(0), "idle busy empty");
    assert_int_equal(out.fx[0].load.threads, 2);
    add_load("s2", "idle", 2, 21, 0);
    assert_string_equal(matched(0), "busy idle empty");
}

static void then_the_cheaper_then_by_name(void **state)
{
    (void)state;
    start(NULL);
    struct bk_event e = registration("s1", "b", 0);
    e.u.reg.threads = 4;
    e.u.reg.price = 3;
    step(&e);
    e.name = "s2";
    e.u.reg.network = bytes_str("c");
    e.u.reg.price = 2;
    step(&e);
    e.u.reg.network = bytes_str("a");
    step(&e);
    assert_string_equal(matched(0), "a c b");
}

static void huge_loads_do_not_overflow(void **state)
{
    (void)state;
    start(NULL);
    struct bk_event e = registration("s1", "a", 0);
    e.u.reg.ready = e.u.reg.granted = UINT64_MAX;
    e.u.reg.threads = 1;
    step(&e);
    add_load("s2", "b", UINT32_MAX, UINT64_MAX, 0);
    assert_string_equal(matched(0), "b a");
    assert_string_equal(placed("", 1, 0), "a b");
}

static void requirements_are_required(void **state)
{
    (void)state;
    start(NULL);
    struct bk_event s = registration("s1", "a", 0);
    s.u.reg.threads = 8;
    s.u.reg.price = 10;
    s.u.reg.arch = bytes_str("aarch64,x86_64");
    step(&s);
    static const struct {
        const char *network, *arch;
        uint32_t threads, price_max;
        int code;
    } cases[] = {
        {"", "", 0, 0, 0},
        {"a", "x86_64", 8, 10, 0},
        {"", "aarch64", 0, 0, 0},
        {"b", "", 0, 0, CX_ENOTFOUND},
        {"", "x86", 0, 0, CX_ENOTFOUND},
        {"", "aarch64,x86_64", 0, 0, CX_ENOTFOUND},
        {"", "", 9, 0, CX_ENOTFOUND},
        {"", "", 0, 9, CX_ENOTFOUND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bk_event e = match_any(0);
        e.u.match = (struct bk_match){bytes_str(cases[i].network), bytes_str(cases[i].arch), cases[i].threads,
                                      cases[i].price_max};
        assert_int_equal(step(&e), cases[i].code);
        assert_string_equal(offered(), cases[i].code ? "" : "a");
    }
}

static void answers_are_limited(void **state)
{
    (void)state;
    start("n=s1,s2,s3,s4,s5");
    for (int i = 1; i <= 5; i++) {
        char name[8];
        snprintf(name, sizeof name, "s%d", i);
        add_load(name, "n", 4, 0, 0);
    }
    assert_string_equal(matched(0), "n n n");
}

static void roles_ask_what_is_theirs(void **state)
{
    (void)state;
    start(NULL);
    struct bk_event e = match_any(0);
    assert_int_equal(step(&e), CX_ENOTFOUND); /* nobody is there yet, and that is said */
    assert_non_null(strstr(reason(), "no network has registered"));
    e.role = BK_PRODUCER;
    assert_int_equal(step(&e), CX_EAUTH);
    e.role = BK_ADMIN;
    assert_int_equal(step(&e), CX_ENOTFOUND);
    e.kind = BK_PLACE;
    e.u.place = (struct bk_place){0};
    assert_int_equal(step(&e), CX_ENOTFOUND);
    e.role = BK_CONSUMER;
    assert_int_equal(step(&e), CX_EAUTH);
}

/* ---- Place ---- */

static void producers_go_where_threads_lack_most(void **state)
{
    (void)state;
    start(NULL);
    add_load("s1", "served", 100, 10, 0);
    add_load("s2", "starved", 10, 1000, 0);
    add_load("s3", "idle", 50, 0, 0);
    assert_string_equal(placed("", 4, 0), "starved served idle");
}

/* A thousand producers that start at once are not all sent to the same place. */
static void producers_on_their_way_count(void **state)
{
    (void)state;
    start(NULL);
    add_load("s1", "a", 0, 0, 0);
    add_load("s2", "b", 0, 0, 0);
    int a = 0;
    for (int i = 0; i < 100; i++)
        a += placed("", 4, 0)[0] == 'a';
    assert_int_equal(a, 50);
    assert_string_equal(placed("", 400, 0), "a b");
    assert_string_equal(placed("", 4, 0), "b a");
    add_load("s1", "a", 0, 0, 0); /* it has reported: what it says counts from here on */
    assert_string_equal(placed("", 4, 0), "a b");
}

static void architecture_and_silence_come_first(void **state)
{
    (void)state;
    start(NULL);
    struct bk_event e = registration("s1", "arm", 0);
    e.u.reg.arch = bytes_str("aarch64");
    e.u.reg.ready = 1000000;
    step(&e);
    e.name = "s2";
    e.u.reg.network = bytes_str("intel");
    e.u.reg.arch = bytes_str("x86_64");
    e.u.reg.ready = 0;
    step(&e);
    e.name = "s3";
    e.u.reg.network = bytes_str("new"); /* no producers yet: any may come */
    e.u.reg.arch = bytes_str("");
    e.u.reg.threads = 1;
    step(&e);
    assert_string_equal(placed("x86_64", 1, 0), "intel new arm");
    assert_string_equal(placed("aarch64", 1, 0), "arm new intel");
    add("s3", "new", 20 * SECOND);
    assert_string_equal(placed("x86_64", 1, 20 * SECOND), "new intel arm");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_servers_register),
        cmocka_unit_test(malformed_registrations_change_nothing),
        cmocka_unit_test(an_address_may_be_several),
        cmocka_unit_test(a_server_asks_about_the_shards_of_its_network),
        cmocka_unit_test(the_first_to_come_owns_a_network),
        cmocka_unit_test(the_policy_decides_where_it_speaks),
        cmocka_unit_test(the_policy_holds_for_what_was_stored),
        cmocka_unit_test(a_policy_is_well_formed_or_refused),
        cmocka_unit_test(limits_are_named),
        cmocka_unit_test(only_identity_is_saved),
        cmocka_unit_test(a_failed_save_is_reported_and_tried_again),
        cmocka_unit_test(nothing_is_acknowledged_before_it_is_written),
        cmocka_unit_test(silence_ends_aliveness_not_memory),
        cmocka_unit_test(what_was_stored_is_listed_and_offered_last),
        cmocka_unit_test(records_that_do_not_fit_are_refused),
        cmocka_unit_test(consumers_get_the_least_loaded_first),
        cmocka_unit_test(then_the_cheaper_then_by_name),
        cmocka_unit_test(huge_loads_do_not_overflow),
        cmocka_unit_test(requirements_are_required),
        cmocka_unit_test(answers_are_limited),
        cmocka_unit_test(roles_ask_what_is_theirs),
        cmocka_unit_test(producers_go_where_threads_lack_most),
        cmocka_unit_test(producers_on_their_way_count),
        cmocka_unit_test(architecture_and_silence_come_first),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
