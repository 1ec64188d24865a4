/* The witness's rules, one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/core/witness.h"

enum { BOOT = 77, SOLO_US = 1000, A = 11, B = 22, C = 33, D = 44, NONCE = 5 };

static const struct id shard = {1, 2};

struct setup {
    struct witness *w;
    struct witness_effects fx;
    uint64_t now;
};

static struct setup setup_of(const struct shard_record *record)
{
    struct witness_config config = {.boot = BOOT, .solo_us = SOLO_US, .shards_max = 2};
    struct setup s = {.w = witness_new(&config), .now = 5000};
    if (record)
        assert_true(witness_restore(s.w, shard, record));
    return s;
}

static void step(struct setup *s, struct witness_event e)
{
    e.now_us = s->now;
    witness_step(s->w, &e, &s->fx);
}

/* Asks, and lets the store write. True when the record changed. */
static bool changes(struct setup *s, struct shard_ask ask)
{
    ask.shard = shard;
    ask.boot = ask.boot ? ask.boot : BOOT;
    step(s, (struct witness_event){.kind = WITNESS_ASK, .peer = 3, .req = 4, .ask = ask});
    assert_int_equal(s->fx.n, 1);
    bool saved = s->fx.fx[0].kind == WITNESS_FX_SAVE;
    if (saved)
        step(s, (struct witness_event){.kind = WITNESS_SAVED, .shard = shard, .record = s->fx.fx[0].record});
    assert_int_equal(s->fx.n, 1);
    assert_int_equal(s->fx.fx[0].kind, WITNESS_FX_ANSWER);
    assert_int_equal(s->fx.fx[0].peer, 3);
    assert_int_equal(s->fx.fx[0].req, 4);
    return saved;
}

static struct shard_record now_is(struct setup *s)
{
    return s->fx.fx[0].answer.record;
}

static const struct shard_record pair = {
    .epoch = 4, .version = 9, .primary = A, .nonce = NONCE, .in_sync = {A, B}};

static void test_claim(void **state)
{
    (void)state;
    struct setup s = setup_of(&pair);
    assert_false(changes(&s, (struct shard_ask){.kind = SHARD_CLAIM, .member = C, .nonce = 8, .epoch = 4}));
    assert_false(changes(&s, (struct shard_ask){.kind = SHARD_CLAIM, .member = B, .nonce = 8, .epoch = 3}));
    assert_true(changes(&s, (struct shard_ask){.kind = SHARD_CLAIM, .member = B, .nonce = 8, .epoch = 4}));
    struct shard_record r = now_is(&s);
    assert_int_equal(r.epoch, 5);
    assert_int_equal(r.primary, B);
    assert_int_equal(r.nonce, 8);
    assert_true(shard_has(&r, A) && shard_has(&r, B)); /* R5: promotion keeps the set */
    /* Asked again, it finds its grant; a new boot of it gets the next epoch. */
    assert_false(changes(&s, (struct shard_ask){.kind = SHARD_CLAIM, .member = B, .nonce = 8, .epoch = 4}));
    assert_int_equal(now_is(&s).epoch, 5);
    assert_true(changes(&s, (struct shard_ask){.kind = SHARD_CLAIM, .member = B, .nonce = 9, .epoch = 5}));
    assert_int_equal(now_is(&s).epoch, 6);
    witness_free(s.w);
}

static struct shard_ask by_primary(enum shard_ask_kind kind)
{
    return (struct shard_ask){
        .kind = kind, .member = A, .nonce = NONCE, .epoch = 4, .version = 9, .ticket = 5000, .other = C};
}

static void test_solo(void **state)
{
    (void)state;
    struct setup s = setup_of(&pair);
    struct shard_ask ask = by_primary(SHARD_SOLO), wrong = ask;
    wrong.version = 8;
    assert_false(changes(&s, wrong));
    wrong = ask;
    wrong.nonce++;
    assert_false(changes(&s, wrong));
    wrong = ask;
    wrong.member = B;
    assert_false(changes(&s, wrong));
    wrong = ask;
    wrong.boot = BOOT + 1; /* of another start of the witness */
    assert_false(changes(&s, wrong));
    s.now += SOLO_US + 1;
    assert_false(changes(&s, ask)); /* late */
    ask.ticket = s.now;
    assert_true(changes(&s, ask));
    struct shard_record r = now_is(&s);
    assert_true(shard_has(&r, A) && !shard_has(&r, B) && r.epoch == 4 && r.version == 10);
    witness_free(s.w);
}

static void test_add(void **state)
{
    (void)state;
    struct shard_record solo = pair;
    solo.in_sync[1] = 0;
    struct setup s = setup_of(&pair);
    assert_false(changes(&s, by_primary(SHARD_ADD))); /* never beside another one */
    witness_free(s.w);
    s = setup_of(&solo);
    assert_true(changes(&s, by_primary(SHARD_ADD)));
    struct shard_record r = now_is(&s);
    assert_true(shard_has(&r, A) && shard_has(&r, C));
    assert_false(changes(&s, by_primary(SHARD_ADD))); /* twice */
    witness_free(s.w);
}

static void test_one_change_at_a_time(void **state)
{
    (void)state;
    struct setup s = setup_of(&pair);
    struct shard_ask claim = {.kind = SHARD_CLAIM, .shard = shard, .member = B, .nonce = 8, .epoch = 4};
    step(&s, (struct witness_event){.kind = WITNESS_ASK, .ask = claim});
    assert_int_equal(s.fx.fx[0].kind, WITNESS_FX_SAVE);
    struct shard_record saving = s.fx.fx[0].record, found;
    struct shard_ask solo = by_primary(SHARD_SOLO);
    solo.shard = shard;
    solo.boot = BOOT;
    step(&s, (struct witness_event){.kind = WITNESS_ASK, .ask = solo});
    assert_int_equal(s.fx.n, 0);
    assert_true(witness_find(s.w, shard, &found));
    assert_int_equal(found.epoch, 4); /* not before it is on disk */
    step(&s, (struct witness_event){.kind = WITNESS_SAVED, .shard = shard, .record = saving});
    assert_int_equal(now_is(&s).epoch, 5);
    witness_free(s.w);
}

static void test_new_shard(void **state)
{
    (void)state;
    struct setup s = setup_of(NULL);
    struct shard_ask ask = {.kind = SHARD_CLAIM, .member = A, .nonce = NONCE};
    assert_false(changes(&s, ask));
    assert_int_equal(now_is(&s).epoch, 0);
    ask.create = true;
    assert_true(changes(&s, ask));
    struct shard_record r = now_is(&s);
    assert_true(r.epoch == 1 && r.primary == A && shard_has(&r, A) && !shard_other(&r, A));
    witness_free(s.w);
}

static void test_lost_store(void **state)
{
    (void)state;
    struct setup s = setup_of(NULL);
    struct shard_record old = {.epoch = 3, .version = 5, .in_sync = {B, C}};
    struct shard_ask a = {.kind = SHARD_READ, .member = A, .nonce = NONCE, .epoch = 4, .known = pair};
    struct shard_ask b = {.kind = SHARD_READ, .member = B, .nonce = 8, .epoch = 3, .known = old};
    a.boot = BOOT - 1;
    assert_false(changes(&s, a)); /* said before the loss */
    assert_false(changes(&s, b));
    struct shard_ask empty = {.kind = SHARD_CLAIM, .member = D, .nonce = 1, .create = true};
    assert_false(changes(&s, empty)); /* not a new shard: B has seen it */
    a.boot = BOOT;
    assert_true(changes(&s, a)); /* now both members of the newest set have spoken */
    struct shard_record r = now_is(&s);
    assert_int_equal(r.epoch, 6);
    assert_int_equal(r.primary, 0);
    assert_true(shard_newer(&r, &pair) && shard_has(&r, A) && shard_has(&r, B));
    witness_free(s.w);
}

static void test_accept_loss(void **state)
{
    (void)state;
    struct setup s = setup_of(&pair);
    struct shard_record r;
    step(&s, (struct witness_event){.kind = WITNESS_ACCEPT_LOSS, .shard = shard, .member = C});
    step(&s, (struct witness_event){.kind = WITNESS_SAVED, .shard = shard, .record = s.fx.fx[0].record});
    assert_int_equal(s.fx.n, 0);
    assert_true(witness_find(s.w, shard, &r));
    assert_true(r.epoch == 6 && !r.primary && shard_has(&r, C) && !shard_other(&r, C));
    witness_free(s.w);
}

static void test_limits(void **state)
{
    (void)state;
    struct setup s = setup_of(&pair);
    assert_false(witness_restore(s.w, shard, &pair));
    for (uint64_t i = 0; i < 3; i++) {
        struct shard_ask ask = {.kind = SHARD_READ, .shard = {9, i}, .member = A};
        step(&s, (struct witness_event){.kind = WITNESS_ASK, .ask = ask});
        assert_int_equal(s.fx.n, i == 0 ? 1 : 0);
    }
    struct shard_ask wrong = {.kind = SHARD_ASK_MAX + 1, .shard = shard, .member = A};
    step(&s, (struct witness_event){.kind = WITNESS_ASK, .ask = wrong});
    assert_int_equal(s.fx.n, 0);
    witness_free(s.w);
}

/* ---- A store that several witnesses share ---- */

/* The one cell of such a store, and who writes it: only from what it has been read as. */
struct cell {
    struct shard_record record;
    unsigned revision;
};

static void load(struct setup *s, const struct cell *cell, uint64_t boot)
{
    step(s, (struct witness_event){
                .kind = WITNESS_LOADED, .shard = shard, .record = cell->record, .boot = boot});
    assert_int_equal(s->fx.n, 0);
}

static bool write_cell(struct setup *s, struct cell *cell, unsigned read_at)
{
    struct shard_record record = s->fx.fx[0].record;
    bool done = cell->revision == read_at;
    assert_int_equal(s->fx.fx[0].kind, WITNESS_FX_SAVE);
    if (done)
        *cell = (struct cell){record, cell->revision + 1};
    step(s, (struct witness_event){
                .kind = done ? WITNESS_SAVED : WITNESS_UNSAVED, .shard = shard, .record = record});
    assert_int_equal(s->fx.n, done ? 1 : 0); /* what was not written is not answered */
    return done;
}

static void test_two_witnesses_and_one_epoch(void **state)
{
    (void)state;
    struct cell cell = {pair, 1};
    struct setup one = setup_of(NULL), two = setup_of(NULL);
    struct shard_ask a = {.kind = SHARD_CLAIM, .shard = shard, .member = A, .nonce = 6, .epoch = 4};
    struct shard_ask b = {.kind = SHARD_CLAIM, .shard = shard, .member = B, .nonce = 8, .epoch = 4};
    load(&one, &cell, BOOT);
    load(&two, &cell, BOOT + 1);
    step(&one, (struct witness_event){.kind = WITNESS_ASK, .ask = a});
    step(&two, (struct witness_event){.kind = WITNESS_ASK, .ask = b});
    assert_true(write_cell(&two, &cell, 1));
    assert_false(write_cell(&one, &cell, 1));
    load(&one, &cell, BOOT); /* it reads what the other one wrote, and decides anew */
    assert_false(changes(&one, a));
    struct shard_record r = now_is(&one);
    assert_true(r.epoch == 5 && r.primary == B && r.nonce == 8);
    witness_free(one.w);
    witness_free(two.w);
}

static void test_an_operators_order_that_was_not_written(void **state)
{
    (void)state;
    struct cell cell = {pair, 1};
    struct setup s = setup_of(NULL);
    struct witness_event order = {.kind = WITNESS_ACCEPT_LOSS, .shard = shard, .member = C};
    step(&s, order);
    assert_int_equal(s.fx.n, 0); /* no such shard yet */
    load(&s, &cell, BOOT);
    step(&s, order);
    assert_false(write_cell(&s, &cell, 0));
    load(&s, &cell, BOOT);
    step(&s, order);
    struct shard_record next = s.fx.fx[0].record;
    assert_true(next.epoch == 6 && shard_has(&next, C));
    witness_free(s.w);
}

static void test_another_store_is_another_boot(void **state)
{
    (void)state;
    struct cell none = {0};
    struct setup s = setup_of(NULL);
    struct shard_ask a = {.kind = SHARD_READ, .member = A, .nonce = NONCE, .epoch = 4, .known = pair};
    struct shard_ask b = {.kind = SHARD_READ, .member = B, .nonce = 8, .epoch = 4, .known = pair};
    load(&s, &none, BOOT);
    assert_false(changes(&s, a));
    load(&s, &none, BOOT + 1); /* emptied; what A said may be from before */
    b.boot = BOOT + 1;
    assert_false(changes(&s, b));
    assert_false(changes(&s, a)); /* with the old boot */
    a.boot = BOOT + 1;
    assert_true(changes(&s, a));
    assert_int_equal(now_is(&s).epoch, 6);
    witness_free(s.w);
}

static void test_reports_end_with_a_record(void **state)
{
    (void)state;
    struct cell none = {0}, made = {{.epoch = 7, .version = 2, .in_sync = {C}}, 1};
    struct setup s = setup_of(NULL);
    struct shard_ask a = {.kind = SHARD_READ, .member = A, .nonce = NONCE, .epoch = 4, .known = pair};
    struct shard_ask b = {.kind = SHARD_READ, .member = B, .nonce = 8, .epoch = 4, .known = pair};
    load(&s, &none, BOOT);
    assert_false(changes(&s, a));
    load(&s, &made, BOOT); /* by another witness */
    load(&s, &none, BOOT);
    assert_false(changes(&s, b)); /* A has to say it again */
    witness_free(s.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claim),
        cmocka_unit_test(test_solo),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_one_change_at_a_time),
        cmocka_unit_test(test_new_shard),
        cmocka_unit_test(test_lost_store),
        cmocka_unit_test(test_accept_loss),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_two_witnesses_and_one_epoch),
        cmocka_unit_test(test_an_operators_order_that_was_not_written),
        cmocka_unit_test(test_another_store_is_another_boot),
        cmocka_unit_test(test_reports_end_with_a_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
