/* What keeping a sibling costs: nanoseconds a record, of the primary and of its backup.
 *
 *     replica_core [records [bytes a record [records a turn]]]
 *
 * Two replicas, joined through an acting witness. The primary's figure holds the copy into the tail, the
 * message, one copy more as on the way into the stream, and the acknowledgement; the backup's the decoding
 * and an APPLY a record, whose content nobody looks at. No journals. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/must.h"
#include "taskserver/core/replica.h"

enum { RECORDS_DEFAULT = 10000000, BYTES_DEFAULT = 70, TURN_DEFAULT = 64, UNDER_WAY = 10000 };

/* Computing time: a loaded machine changes it little. */
static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct side {
    struct replica *replica;
    struct replica_effects fx;
    struct buf msgs, scratch; /* (length:varint message)*, for the other one */
    uint64_t lsn, ns;
    uint64_t applied;
};
static struct side primary, backup;
static uint64_t now_us = 1000000;

static const struct shard_record record = {
    .epoch = 1, .version = 1, .primary = 1, .nonce = 1, .in_sync = {1, 2}};

static void snapshot(struct side *s, const struct replica_effect *fx)
{
    struct replica_msg m = fx->msg;
    m.last = true;
    buf_clear(&s->scratch);
    put_replica_msg(&s->scratch, &m);
    put_bytes(&s->msgs, buf_bytes(&s->scratch));
}

static void step(struct side *s, struct replica_event *e)
{
    e->now_us = now_us;
    replica_step(s->replica, e, &s->fx);
    for (size_t i = 0; i < s->fx.n; i++) {
        const struct replica_effect *fx = &s->fx.fx[i];
        struct replica_msg m = fx->msg;
        if (fx->kind == REPLICA_FX_SNAPSHOT)
            snapshot(s, fx);
        s->applied += fx->kind == REPLICA_FX_APPLY;
        if (fx->kind != REPLICA_FX_SEND)
            continue;
        m.data = replica_effect_data(&s->fx, fx);
        buf_clear(&s->scratch);
        put_replica_msg(&s->scratch, &m);
        put_bytes(&s->msgs, buf_bytes(&s->scratch));
    }
}

static void answer(struct side *s)
{
    step(s, &(struct replica_event){.kind = REPLICA_ANSWER, .shard = {.record = record, .boot = 1}});
}

/* All that one has said reaches the other, whose time it takes. */
static void deliver(struct side *from, struct side *to)
{
    static struct buf taken;
    struct buf swap = taken;
    uint64_t began = now_ns();
    taken = from->msgs;
    from->msgs = swap;
    buf_clear(&from->msgs);
    for (struct reader all = reader_of(buf_bytes(&taken)); reader_more(&all);) {
        struct reader one = reader_of(get_bytes(&all, SIZE_MAX));
        struct replica_event e = {.kind = REPLICA_MSG};
        must(get_replica_msg(&one, &e.msg));
        bool restores = e.msg.kind == REPLICA_SNAP;
        struct replica_tag tag = e.msg.tag;
        step(to, &e);
        if (restores)
            step(to, &(struct replica_event){.kind = REPLICA_INSTALLED, .tag = tag});
    }
    to->ns += now_ns() - began;
}

static void join(void)
{
    struct replica_config config;
    struct replica_mark mark = {0};
    replica_config_default(&config);
    config.incarnation = config.nonce = 1;
    primary.replica = replica_new(&config, &mark, 0, now_us);
    config.incarnation = config.nonce = 2;
    backup.replica = replica_new(&config, &mark, 0, now_us);
    answer(&primary);
    answer(&backup);
    for (int i = 0; i < 10; i++) {
        now_us += config.beat_us;
        step(&primary, &(struct replica_event){.kind = REPLICA_TICK});
        step(&backup, &(struct replica_event){.kind = REPLICA_TICK});
        deliver(&primary, &backup);
        deliver(&backup, &primary);
    }
    struct replica_info info;
    replica_look(primary.replica, &info);
    must(info.role == REPLICA_PRIMARY && info.backup == 2 && info.open);
    primary.ns = backup.ns = 0;
}

/* Turns of the reactor under way to the backup at the same time: what the clock costs is spread over them. */
static void turns(struct bytes body, uint64_t records)
{
    uint64_t began = now_ns();
    for (uint64_t left = UNDER_WAY; left;) {
        for (uint64_t i = 0; i < records && left; i++, left--)
            replica_logged(primary.replica, ++primary.lsn, body);
        step(&primary, &(struct replica_event){.kind = REPLICA_FLUSH, .lsn = primary.lsn});
    }
    primary.ns += now_ns() - began;
    now_us++;
    deliver(&primary, &backup);
    deliver(&backup, &primary);
}

int main(int argc, char **argv)
{
    uint64_t records = argc > 1 ? strtoull(argv[1], NULL, 10) : RECORDS_DEFAULT;
    size_t bytes = argc > 2 ? strtoull(argv[2], NULL, 10) : BYTES_DEFAULT;
    uint64_t each = argc > 3 ? strtoull(argv[3], NULL, 10) : TURN_DEFAULT;
    uint8_t *body = calloc(1, bytes + 1);
    must(body && each > 0);
    join();
    while (primary.lsn < records)
        turns(bytes_of(body, bytes), each);
    struct replica_info info;
    replica_look(primary.replica, &info);
    must(info.held == primary.lsn && backup.applied == primary.lsn);
    printf("%-28s %8.1f ns a record\n", "primary", (double)primary.ns / (double)primary.lsn);
    printf("%-28s %8.1f ns a record (%llu records of %zu bytes, %llu a turn)\n", "backup",
           (double)backup.ns / (double)backup.applied, (unsigned long long)primary.lsn, bytes,
           (unsigned long long)each);
    replica_free(primary.replica);
    replica_free(backup.replica);
    replica_effects_free(&primary.fx);
    replica_effects_free(&backup.fx);
    buf_free(&primary.msgs);
    buf_free(&primary.scratch);
    buf_free(&backup.msgs);
    buf_free(&backup.scratch);
    free(body);
    return 0;
}
