/* The replica's rules, one by one: roles, what is held, sessions, going on alone, handing over, messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "taskserver/core/replica.h"

enum { ME = 11, OTHER = 22, STRANGER = 33, NONCE = 5, BOOT = 77 };

struct setup {
    struct replica *r;
    struct replica_config config;
    struct replica_effects fx;
    uint64_t now, lsn;
};

static struct setup setup_at(struct replica_mark mark, uint64_t lsn)
{
    struct setup s = {.now = 10000000, .lsn = lsn};
    replica_config_default(&s.config);
    s.config.shard = (struct id){1, 2};
    s.config.incarnation = ME;
    s.config.nonce = NONCE;
    s.r = replica_new(&s.config, &mark, lsn, s.now);
    return s;
}

static void setup_end(struct setup *s)
{
    replica_free(s->r);
    replica_effects_free(&s->fx);
}

static void step(struct setup *s, struct replica_event e)
{
    e.now_us = s->now;
    replica_step(s->r, &e, &s->fx);
    replica_check(s->r);
}

static void tick(struct setup *s)
{
    step(s, (struct replica_event){.kind = REPLICA_TICK});
}

/* Ticks at every beat. */
static void pass(struct setup *s, uint64_t us)
{
    for (uint64_t until = s->now + us; s->now < until;) {
        s->now += s->config.beat_us;
        tick(s);
    }
}

static const struct replica_effect *fx_of(const struct setup *s, enum replica_effect_kind kind)
{
    for (size_t i = 0; i < s->fx.n; i++)
        if (s->fx.fx[i].kind == kind)
            return &s->fx.fx[i];
    return NULL;
}

static const struct replica_effect *sent(const struct setup *s, enum replica_msg_kind kind)
{
    for (size_t i = 0; i < s->fx.n; i++)
        if (s->fx.fx[i].kind == REPLICA_FX_SEND && s->fx.fx[i].msg.kind == kind)
            return &s->fx.fx[i];
    return NULL;
}

static bool asked(const struct setup *s, enum shard_ask_kind kind)
{
    for (size_t i = 0; i < s->fx.n; i++)
        if (s->fx.fx[i].kind == REPLICA_FX_ASK && s->fx.fx[i].ask.kind == kind)
            return true;
    return false;
}

static struct replica_info look(const struct setup *s)
{
    struct replica_info info;
    replica_look(s->r, &info);
    return info;
}

static struct shard_record record(uint64_t epoch, uint64_t version, uint64_t primary, uint64_t a, uint64_t b)
{
    return (struct shard_record){
        .epoch = epoch, .version = version, .primary = primary, .nonce = NONCE, .in_sync = {a, b}};
}

static void answer(struct setup *s, struct shard_record r)
{
    step(s,
         (struct replica_event){.kind = REPLICA_ANSWER,
                                .shard = {.shard = s->config.shard, .record = r, .boot = BOOT, .ticket = 9}});
}

static void hear(struct setup *s, struct replica_msg m)
{
    m.from = m.from ? m.from : OTHER;
    step(s, (struct replica_event){.kind = REPLICA_MSG, .msg = m});
}

static void logged(struct setup *s, const char *text)
{
    replica_logged(s->r, ++s->lsn, bytes_str(text));
}

/* Something waits for the last record. */
static void flush(struct setup *s)
{
    step(s, (struct replica_event){.kind = REPLICA_FLUSH, .lsn = s->lsn});
}

static void flush_unawaited(struct setup *s)
{
    step(s, (struct replica_event){.kind = REPLICA_FLUSH});
}

/* Primary of epoch 4 with the other in the set, which is not attached yet. */
static struct setup primary_of_two(void)
{
    struct setup s = setup_at((struct replica_mark){.seen = 3, .tag = {3, 1}}, 0);
    answer(&s, record(4, 7, ME, ME, OTHER));
    assert_int_equal(look(&s).role, REPLICA_PRIMARY);
    return s;
}

static struct replica_tag session(uint64_t n)
{
    return (struct replica_tag){4, n};
}

static void ack(struct setup *s, struct replica_tag tag, uint64_t lsn)
{
    hear(s, (struct replica_msg){.kind = REPLICA_ACK, .to = ME, .epoch = 4, .tag = tag, .lsn = lsn});
}

/* The other has asked, been given the state, and has it. */
static void attach(struct setup *s)
{
    hear(s, (struct replica_msg){.kind = REPLICA_JOIN, .epoch = 4, .tag = {3, 1}});
    const struct replica_effect *fx = fx_of(s, REPLICA_FX_SNAPSHOT);
    assert_non_null(fx);
    assert_int_equal(fx->msg.to, OTHER);
    ack(s, fx->msg.tag, fx->msg.lsn);
    assert_int_equal(look(s).backup, OTHER);
}

/* Backup of the other, session 1 of epoch 4, with everything up to lsn. */
static struct setup backup_at(uint64_t lsn)
{
    struct setup s = setup_at(
        (struct replica_mark){.seen = 4, .tag = {4, 1}, .record = record(4, 7, OTHER, OTHER, ME)}, lsn);
    hear(&s, (struct replica_msg){.kind = REPLICA_BEAT, .epoch = 4, .tag = {4, 1}, .lsn = lsn});
    assert_int_equal(look(&s).role, REPLICA_BACKUP);
    return s;
}

/* ---- Roles ---- */

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(replica_role_name(REPLICA_JOINING), "joining");
    assert_string_equal(replica_role_name(REPLICA_HALTED), "halted");
    assert_string_equal(replica_role_name(REPLICA_ROLES), "?");
}

static void test_grant(void **state)
{
    (void)state;
    struct setup s = setup_at((struct replica_mark){.seen = 3}, 6);
    struct shard_record other_boot = record(4, 7, ME, ME, OTHER);
    other_boot.nonce++;
    answer(&s, other_boot); /* R5: it was not this boot that asked */
    assert_int_equal(look(&s).role, REPLICA_JOINING);
    answer(&s, record(5, 8, ME, ME, OTHER));
    assert_int_equal(look(&s).role, REPLICA_PRIMARY);
    const struct replica_effect *fx = fx_of(&s, REPLICA_FX_SERVE);
    assert_non_null(fx);
    assert_int_equal(fx->lsn, 6);
    assert_int_equal(fx_of(&s, REPLICA_FX_MARK)->mark.seen, 5);
    assert_false(look(&s).open); /* what it inherited is not held yet */
    setup_end(&s);
}

static void test_grant_alone_is_solo(void **state)
{
    (void)state;
    struct setup s = setup_at((struct replica_mark){0}, 0);
    answer(&s, record(1, 1, ME, ME, 0));
    assert_int_equal(look(&s).role, REPLICA_SOLO);
    assert_non_null(fx_of(&s, REPLICA_FX_OPEN));
    setup_end(&s);
}

static void test_higher_epoch_stops(void **state)
{
    (void)state;
    struct setup s = primary_of_two();
    hear(&s, (struct replica_msg){.kind = REPLICA_EPOCH, .epoch = 5});
    assert_int_equal(look(&s).role, REPLICA_JOINING);
    assert_non_null(fx_of(&s, REPLICA_FX_STOP));
    assert_int_equal(look(&s).epoch, 5);
    answer(&s, record(4, 7, ME, ME, OTHER)); /* its old grant again */
    assert_int_equal(look(&s).role, REPLICA_JOINING);
    setup_end(&s);
}

static void test_silence_and_halt(void **state)
{
    (void)state;
    struct setup s = backup_at(3);
    pass(&s, s.config.silence_us + s.config.beat_us);
    assert_int_equal(look(&s).role, REPLICA_JOINING);
    answer(&s, record(4, 8, OTHER, OTHER, 0)); /* the primary goes on alone, and then it is gone */
    pass(&s, s.config.halt_us);
    assert_int_equal(look(&s).role, REPLICA_HALTED);
    hear(&s, (struct replica_msg){.kind = REPLICA_BEAT, .epoch = 4, .tag = {4, 2}, .lsn = 9});
    assert_int_equal(look(&s).role, REPLICA_JOINING);
    setup_end(&s);
}

static void test_silence_claims(void **state)
{
    (void)state;
    struct setup s = backup_at(3);
    bool claimed = false;
    for (uint64_t until = s.now + 2 * s.config.silence_us; s.now < until && !claimed;) {
        pass(&s, s.config.beat_us);
        claimed = asked(&s, SHARD_CLAIM);
    }
    assert_true(claimed);
    setup_end(&s);
}

/* Who got no tick for long was away itself. */
static void test_away_forgives(void **state)
{
    (void)state;
    struct setup s = backup_at(3);
    s.now += 100 * s.config.silence_us;
    tick(&s);
    assert_int_equal(look(&s).role, REPLICA_BACKUP);
    assert_false(asked(&s, SHARD_CLAIM));
    setup_end(&s);
}

/* ---- What is held ---- */

static void test_held_waits_for_both(void **state)
{
    (void)state;
    struct setup s = primary_of_two();
    logged(&s, "a");
    flush(&s);
    assert_null(fx_of(&s, REPLICA_FX_HELD));
    attach(&s); /* the snapshot has it */
    assert_int_equal(look(&s).held, 1);
    logged(&s, "b");
    logged(&s, "c");
    flush(&s);
    assert_null(fx_of(&s, REPLICA_FX_HELD));
    const struct replica_effect *fx = sent(&s, REPLICA_RECORDS);
    assert_non_null(fx);
    assert_int_equal(fx->msg.lsn, 2);
    assert_true(bytes_equal(replica_effect_data(&s.fx, fx), bytes_str("\1b\1c")));
    ack(&s, session(1), 2);
    assert_int_equal(fx_of(&s, REPLICA_FX_HELD)->lsn, 2);
    ack(&s, session(1), 2); /* again */
    assert_null(fx_of(&s, REPLICA_FX_HELD));
    ack(&s, session(1), 9); /* of what there is not */
    assert_int_equal(look(&s).held, 2);
    setup_end(&s);
}

static void test_held_waits_for_the_own_disk(void **state)
{
    (void)state;
    struct setup s = setup_at((struct replica_mark){0}, 0);
    s.config.journal = true;
    replica_free(s.r);
    s.r = replica_new(&s.config, &(struct replica_mark){0}, 0, s.now);
    answer(&s, record(1, 1, ME, ME, 0));
    logged(&s, "a");
    flush(&s);
    assert_null(fx_of(&s, REPLICA_FX_HELD));
    step(&s, (struct replica_event){.kind = REPLICA_DISK, .lsn = 1, .tag = {9, 9}}); /* of another file */
    assert_null(fx_of(&s, REPLICA_FX_HELD));
    step(&s, (struct replica_event){.kind = REPLICA_DISK, .lsn = 1, .tag = {1, 0}});
    assert_int_equal(fx_of(&s, REPLICA_FX_HELD)->lsn, 1);
    setup_end(&s);
}

/* A takeover opens when what it inherited is held in its own epoch. */
static void test_open(void **state)
{
    (void)state;
    struct setup s = setup_at((struct replica_mark){.seen = 3, .tag = {3, 1}}, 5);
    s.lsn = 5;
    answer(&s, record(4, 7, ME, ME, OTHER));
    assert_false(look(&s).open);
    attach(&s);
    assert_true(look(&s).open);
    setup_end(&s);
}

/* What nobody waits for goes together: when it is due, when it is enough, or with what is waited for. */
static void test_gathers(void **state)
{
    (void)state;
    static char large[REPLICA_BATCH_BYTES / 2];
    struct setup s = primary_of_two();
    memset(large, 'x', sizeof large - 1);
    attach(&s);
    logged(&s, "a");
    flush_unawaited(&s);
    assert_null(sent(&s, REPLICA_RECORDS));
    assert_int_equal(replica_due(s.r), s.now + s.config.gather_us);
    logged(&s, "b");
    s.now += s.config.gather_us;
    tick(&s);
    assert_int_equal(sent(&s, REPLICA_RECORDS)->msg.lsn, 1);
    assert_int_equal(sent(&s, REPLICA_RECORDS)->len, 4); /* both */
    logged(&s, "c");
    flush_unawaited(&s);
    assert_null(sent(&s, REPLICA_RECORDS));
    flush(&s);
    assert_int_equal(sent(&s, REPLICA_RECORDS)->msg.lsn, 3);
    for (int i = 0; i < 2; i++) {
        flush_unawaited(&s);
        assert_null(sent(&s, REPLICA_RECORDS));
        logged(&s, large);
    }
    flush_unawaited(&s);
    assert_int_equal(sent(&s, REPLICA_RECORDS)->msg.lsn, 4);
    setup_end(&s);
}

/* ---- Sessions ---- */

static void test_old_session(void **state)
{
    (void)state;
    struct setup s = primary_of_two();
    attach(&s);
    logged(&s, "a");
    flush(&s);
    ack(&s, session(2), 1);
    ack(&s, (struct replica_tag){3, 1}, 1);
    hear(&s,
         (struct replica_msg){.kind = REPLICA_ACK, .from = STRANGER, .epoch = 4, .tag = {4, 1}, .lsn = 1});
    assert_int_equal(look(&s).held, 0);
    ack(&s, session(1), 1);
    assert_int_equal(look(&s).held, 1);
    setup_end(&s);
}

static void test_join_resumes(void **state)
{
    (void)state;
    struct setup s = primary_of_two();
    attach(&s);
    for (int i = 0; i < 5; i++)
        logged(&s, "x");
    flush(&s);
    hear(&s, (struct replica_msg){.kind = REPLICA_JOIN, .epoch = 4, .tag = {4, 1}, .lsn = 2});
    assert_null(fx_of(&s, REPLICA_FX_SNAPSHOT));
    assert_int_equal(sent(&s, REPLICA_RECORDS)->msg.lsn, 3);
    hear(&s, (struct replica_msg){.kind = REPLICA_JOIN, .epoch = 4, .tag = {3, 9}, .lsn = 2}); /* R4 */
    assert_int_equal(fx_of(&s, REPLICA_FX_SNAPSHOT)->msg.tag.session, 2);
    setup_end(&s);
}

/* A backup that is farther behind than the tail starts anew. */
static void test_tail_overflows(void **state)
{
    (void)state;
    struct setup s = setup_at((struct replica_mark){0}, 0);
    s.config.tail_bytes_max = 100;
    replica_free(s.r);
    s.r = replica_new(&s.config, &(struct replica_mark){0}, 0, s.now);
    answer(&s, record(4, 7, ME, ME, OTHER));
    attach(&s);
    for (int i = 0; i < 60; i++)
        logged(&s, "xy");
    flush(&s);
    assert_int_equal(look(&s).backup, 0);
    assert_null(sent(&s, REPLICA_RECORDS));
    attach(&s);
    assert_int_equal(look(&s).held, 60);
    setup_end(&s);
}

/* What does not arrive is sent again. */
static void test_resend(void **state)
{
    (void)state;
    struct setup s = primary_of_two();
    attach(&s);
    logged(&s, "a");
    flush(&s);
    assert_non_null(sent(&s, REPLICA_RECORDS));
    s.now += s.config.retry_us;
    tick(&s);
    assert_int_equal(sent(&s, REPLICA_RECORDS)->msg.lsn, 1);
    setup_end(&s);
}

/* ---- The backup ---- */

static void records_from(struct setup *s, uint64_t lsn, struct replica_tag tag, const char *data)
{
    hear(s,
         (struct replica_msg){
             .kind = REPLICA_RECORDS, .to = ME, .epoch = 4, .tag = tag, .lsn = lsn, .data = bytes_str(data)});
}

static void test_backup_applies(void **state)
{
    (void)state;
    struct setup s = backup_at(3);
    records_from(&s, 3, session(1), "\1c\1d\2ef"); /* 3 is known */
    assert_int_equal(s.fx.fx[0].kind, REPLICA_FX_APPLY);
    assert_int_equal(s.fx.fx[0].lsn, 4);
    assert_int_equal(s.fx.fx[1].lsn, 5);
    assert_true(bytes_equal(replica_effect_data(&s.fx, &s.fx.fx[1]), bytes_str("ef")));
    assert_int_equal(sent(&s, REPLICA_ACK)->msg.lsn, 5);
    records_from(&s, 7, session(1), "\1h"); /* a gap */
    assert_null(fx_of(&s, REPLICA_FX_APPLY));
    records_from(&s, 6, session(2), "\1g"); /* another session */
    assert_null(fx_of(&s, REPLICA_FX_APPLY));
    records_from(&s, 6, session(1), "\7g"); /* cut short */
    assert_null(fx_of(&s, REPLICA_FX_APPLY));
    assert_int_equal(look(&s).lsn, 5);
    setup_end(&s);
}

static void test_snapshot(void **state)
{
    (void)state;
    struct setup s = backup_at(3);
    struct replica_msg m = {
        .kind = REPLICA_SNAP, .epoch = 4, .tag = {4, 2}, .lsn = 9, .data = bytes_str("\1a")};
    hear(&s, m);
    assert_int_equal(fx_of(&s, REPLICA_FX_RESTORE)->msg.seq, 0);
    hear(&s, m); /* the same again is not its second part */
    assert_null(fx_of(&s, REPLICA_FX_RESTORE));
    m.seq = 1;
    m.last = true;
    hear(&s, m);
    assert_true(fx_of(&s, REPLICA_FX_RESTORE)->msg.last);
    assert_int_equal(fx_of(&s, REPLICA_FX_RESTORE)->mark.tag.session, 2);
    assert_int_equal(look(&s).lsn, 3); /* until it is in place */
    step(&s, (struct replica_event){.kind = REPLICA_INSTALLED, .tag = {4, 2}});
    assert_int_equal(look(&s).lsn, 9);
    assert_int_equal(look(&s).role, REPLICA_BACKUP);
    assert_int_equal(sent(&s, REPLICA_ACK)->msg.lsn, 9);
    setup_end(&s);
}

/* ---- Going on alone, and together again ---- */

static void test_solo_and_add(void **state)
{
    (void)state;
    struct setup s = primary_of_two();
    attach(&s);
    bool wanted = false;
    for (uint64_t until = s.now + 3 * s.config.solo_us; s.now < until && !wanted;) {
        pass(&s, s.config.beat_us);
        assert_false(asked(&s, SHARD_SOLO)); /* not without a fresh ticket */
        if (!asked(&s, SHARD_READ))
            continue;
        answer(&s, record(4, 7, ME, ME, OTHER));
        wanted = asked(&s, SHARD_SOLO);
    }
    assert_true(wanted);
    assert_int_equal(fx_of(&s, REPLICA_FX_ASK)->ask.ticket, 9);
    answer(&s, record(4, 8, ME, ME, 0));
    assert_int_equal(look(&s).role, REPLICA_SOLO);
    logged(&s, "a");
    flush(&s);
    assert_int_equal(look(&s).held, 1); /* nobody else is waited for */
    hear(&s, (struct replica_msg){.kind = REPLICA_JOIN, .epoch = 4, .tag = {4, 1}, .lsn = 0});
    ack(&s, session(1), 1);
    s.now += s.config.retry_us;
    tick(&s);
    assert_true(asked(&s, SHARD_ADD));
    logged(&s, "b"); /* R3: from the request on, it counts */
    flush(&s);
    assert_int_equal(look(&s).held, 1);
    ack(&s, session(1), 2);
    assert_int_equal(look(&s).held, 2);
    answer(&s, record(4, 9, ME, ME, OTHER));
    assert_int_equal(look(&s).role, REPLICA_PRIMARY);
    setup_end(&s);
}

/* ---- Handing over ---- */

static void test_hand_over(void **state)
{
    (void)state;
    struct setup s = primary_of_two();
    step(&s, (struct replica_event){.kind = REPLICA_HAND_OVER}); /* to nobody */
    assert_int_equal(look(&s).role, REPLICA_PRIMARY);
    attach(&s);
    logged(&s, "a");
    flush_unawaited(&s);
    assert_null(sent(&s, REPLICA_RECORDS));
    step(&s, (struct replica_event){.kind = REPLICA_HAND_OVER});
    assert_int_equal(look(&s).role, REPLICA_STEPPING_DOWN);
    assert_int_equal(sent(&s, REPLICA_YIELD)->msg.tag.session, 1);
    assert_non_null(sent(&s, REPLICA_RECORDS)); /* what was gathered goes first */
    assert_true(sent(&s, REPLICA_RECORDS) < sent(&s, REPLICA_YIELD));
    for (uint64_t until = s.now + s.config.silence_us; s.now < until;) { /* nothing comes of it */
        pass(&s, s.config.beat_us);
        ack(&s, session(1), 0);
    }
    pass(&s, s.config.beat_us);
    assert_int_equal(look(&s).role, REPLICA_PRIMARY);
    setup_end(&s);
}

static void test_yield_is_followed(void **state)
{
    (void)state;
    struct setup s = backup_at(3);
    hear(&s,
         (struct replica_msg){.kind = REPLICA_YIELD, .to = ME, .epoch = 4, .tag = {4, 9}}); /* not to us */
    assert_false(asked(&s, SHARD_CLAIM));
    hear(&s, (struct replica_msg){.kind = REPLICA_YIELD, .to = ME, .epoch = 4, .tag = {4, 1}});
    assert_true(asked(&s, SHARD_CLAIM));
    assert_false(fx_of(&s, REPLICA_FX_ASK)->ask.create);
    setup_end(&s);
}

static void test_theirs_goes_back(void **state)
{
    (void)state;
    struct setup s = setup_at((struct replica_mark){0}, 0);
    s.config.preference = REPLICA_THEIRS;
    replica_free(s.r);
    s.r = replica_new(&s.config, &(struct replica_mark){0}, 0, s.now);
    answer(&s, record(4, 7, ME, ME, OTHER));
    attach(&s);
    bool yields = false;
    for (uint64_t until = s.now + 2 * s.config.hand_back_us; s.now < until && !yields;) {
        pass(&s, s.config.beat_us);
        yields = sent(&s, REPLICA_YIELD) != NULL;
        ack(&s, session(1), 0);
    }
    assert_true(yields);
    setup_end(&s);
}

/* Of two empty servers one makes the shard: the one whose it is to be. */
static void test_create(void **state)
{
    (void)state;
    for (int mine = 0; mine < 2; mine++) {
        struct setup s = setup_at((struct replica_mark){0}, 0);
        s.config.preference = mine ? REPLICA_MINE : REPLICA_THEIRS;
        replica_free(s.r);
        s.r = replica_new(&s.config, &(struct replica_mark){0}, 0, s.now);
        pass(&s, s.config.retry_us);
        assert_false(asked(&s, SHARD_CLAIM)); /* the other one may have it */
        hear(&s, (struct replica_msg){.kind = REPLICA_JOIN});
        s.now += s.config.retry_us;
        tick(&s);
        assert_int_equal(asked(&s, SHARD_CLAIM), mine);
        setup_end(&s);
    }
}

/* ---- Messages ---- */

static void test_not_for_me(void **state)
{
    (void)state;
    struct setup s = backup_at(3);
    hear(&s, (struct replica_msg){.kind = REPLICA_EPOCH, .to = STRANGER, .epoch = 9}); /* R1 */
    hear(&s, (struct replica_msg){.kind = REPLICA_EPOCH, .from = ME, .epoch = 9});
    assert_int_equal(look(&s).epoch, 4);
    step(&s, (struct replica_event){.kind = REPLICA_ANSWER, .shard = {.record = record(9, 9, ME, ME, 0)}});
    assert_int_equal(look(&s).epoch, 4); /* of another shard */
    hear(&s, (struct replica_msg){.kind = REPLICA_BEAT, .epoch = 3, .tag = {3, 1}});
    assert_int_equal(sent(&s, REPLICA_EPOCH)->msg.epoch, 4); /* who is behind is told */
    setup_end(&s);
}

static void test_bytes(void **state)
{
    (void)state;
    struct buf b = {0};
    struct replica_msg m = {.kind = REPLICA_RECORDS,
                            .from = ME,
                            .to = OTHER,
                            .epoch = 300,
                            .tag = {299, 1000000},
                            .lsn = UINT64_MAX,
                            .seq = UINT32_MAX,
                            .last = true,
                            .record = record(300, 7, ME, ME, OTHER),
                            .data = bytes_str("\1a")};
    struct replica_msg got;
    put_replica_msg(&b, &m);
    struct reader r = reader_of(buf_bytes(&b));
    assert_true(get_replica_msg(&r, &got));
    assert_false(reader_more(&r));
    assert_true(bytes_equal(got.data, m.data));
    got.data = m.data;
    assert_int_equal(got.kind, m.kind);
    assert_true(got.from == m.from && got.to == m.to && got.epoch == m.epoch && got.lsn == m.lsn);
    assert_true(got.tag.epoch == m.tag.epoch && got.tag.session == m.tag.session);
    assert_true(got.seq == m.seq && got.last && got.record.in_sync[1] == OTHER);
    for (size_t n = 0; n < b.len; n++) {
        r = reader_of(bytes_of(b.data, n));
        assert_false(get_replica_msg(&r, &got));
    }
    b.data[0] = REPLICA_MSG_MAX + 1;
    r = reader_of(buf_bytes(&b));
    assert_false(get_replica_msg(&r, &got));
    b.data[0] = REPLICA_ACK;
    memset(b.data + 1, 0, 8); /* from nobody */
    r = reader_of(buf_bytes(&b));
    assert_false(get_replica_msg(&r, &got));
    buf_free(&b);
}

static void test_mark_bytes(void **state)
{
    (void)state;
    struct buf b = {0};
    struct replica_mark m = {.seen = 9, .tag = {8, 7}, .record = record(8, 3, ME, ME, OTHER)}, got;
    put_replica_mark(&b, &m);
    struct reader r = reader_of(buf_bytes(&b));
    assert_true(get_replica_mark(&r, &got));
    assert_true(got.seen == 9 && got.tag.epoch == 8 && got.tag.session == 7 && got.record.version == 3);
    for (size_t n = 0; n < b.len; n++) {
        r = reader_of(bytes_of(b.data, n));
        assert_false(get_replica_mark(&r, &got));
    }
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_grant),
        cmocka_unit_test(test_grant_alone_is_solo),
        cmocka_unit_test(test_higher_epoch_stops),
        cmocka_unit_test(test_silence_and_halt),
        cmocka_unit_test(test_silence_claims),
        cmocka_unit_test(test_away_forgives),
        cmocka_unit_test(test_held_waits_for_both),
        cmocka_unit_test(test_held_waits_for_the_own_disk),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_gathers),
        cmocka_unit_test(test_old_session),
        cmocka_unit_test(test_join_resumes),
        cmocka_unit_test(test_tail_overflows),
        cmocka_unit_test(test_resend),
        cmocka_unit_test(test_backup_applies),
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_solo_and_add),
        cmocka_unit_test(test_hand_over),
        cmocka_unit_test(test_yield_is_followed),
        cmocka_unit_test(test_theirs_goes_back),
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_not_for_me),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_mark_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
