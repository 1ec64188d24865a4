/* A machine of the pair: the shell that the replica would have, and its disk. */
#ifndef TESTS_SIM_PAIR_NODE_H
#define TESTS_SIM_PAIR_NODE_H

#include "tests/sim/pair-ts.h"

static uint64_t clock_of(const struct world *w, const struct node *n)
{
    return n->base_us + (w->now - n->since_us) * n->rate / 1000;
}

/* ---- Disk ---- */

static void disk_sync(struct world *w, struct node *n)
{
    if (n->syncing || !w->journal || n->synced == n->written)
        return;
    n->syncing = true;
    happen(w, one_in(w, 50) ? between(w, 1000, 300000) : between(w, 100, 2000),
           (struct event){.kind = AT_SYNC, .a = index_of(w, n), .n = n->file, .m = n->written});
}

static void disk_mark(struct world *w, struct node *n, const struct replica_mark *mark)
{
    must(n->marks < MARKS);
    n->mark[n->marks].write = ++n->written;
    n->mark[n->marks++].mark = *mark;
    disk_sync(w, n);
}

/* A new file in the old one's place. */
static void disk_new(struct node *n, const struct replica_mark *mark)
{
    n->file++;
    n->syncing = false;
    n->written = n->synced = 1;
    n->marks = 1;
    n->mark[0].write = 1;
    n->mark[0].mark = *mark;
    for (uint32_t i = 0; i < n->state.n; i++)
        n->state.entry[i].write = 1;
}

/* ---- Effects ---- */

static void node_step(struct world *w, struct node *n, struct replica_event e);

static void fx_send(struct world *w, struct node *n, const struct replica_effect *fx)
{
    struct event e = {.kind = AT_MSG, .a = 1 - index_of(w, n), .data = spare_take(&w->spare)};
    struct replica_msg m = fx->msg;
    m.data = replica_effect_data(&w->fx[w->depth - 1], fx);
    put_replica_msg(&e.data, &m);
    send(w, (int)index_of(w, n), (int)e.a, e);
}

static void fx_ask(struct world *w, struct node *n, const struct replica_effect *fx)
{
    struct event e = {.kind = AT_ASK, .a = index_of(w, n), .n = n->generation, .data = spare_take(&w->spare)};
    put_shard_ask(&e.data, &fx->ask);
    w->asker = fx->ask.kind == SHARD_READ ? w->asker : e.a;
    send(w, (int)e.a, WITNESS, e);
}

static void fx_mark(struct world *w, struct node *n, const struct replica_effect *fx)
{
    disk_mark(w, n, &fx->mark);
}

/* One record more of the history, and of the file. */
static void record_add(struct world *w, struct node *n, struct bytes record)
{
    if (!w->real) {
        entry_get(w, record, &n->state, ++n->written);
        return;
    }
    history_add(w, &n->state, OWN, 0, hash64(record.data, record.len, 0), ++n->written);
    put_bytes(&n->log, record);
}

static void fx_apply(struct world *w, struct node *n, const struct replica_effect *fx)
{
    struct bytes record = replica_effect_data(&w->fx[w->depth - 1], fx);
    must(fx->lsn == n->state.n + 1);
    record_add(w, n, record);
    if (w->real && !ts_replay(n->ts, record, fx->lsn))
        broken(w, "a record does not fit the backup's state");
    disk_sync(w, n);
}

/* Items: an entry of the history, or a record of the real table, told apart by their first byte. */
enum { ITEM_ENTRY, ITEM_RECORD };
static void item_put(struct buf *all, uint8_t kind, struct bytes b)
{
    put_varint(all, b.len + 1);
    put_u8(all, kind);
    buf_add(all, b.data, b.len);
}
static void item_record(void *ctx, struct bytes record)
{
    item_put(ctx, ITEM_RECORD, record);
}

static struct buf snapshot(const struct world *w, const struct node *n)
{
    struct buf all = {0}, one = {0};
    for (uint32_t i = 0; i < n->state.n; i++) {
        buf_clear(&one);
        entry_put(&one, &n->state.entry[i]);
        item_put(&all, ITEM_ENTRY, buf_bytes(&one));
    }
    if (w->real)
        ts_snapshot(n->ts, item_record, &all);
    buf_free(&one);
    return all;
}

static void fx_snapshot(struct world *w, struct node *n, const struct replica_effect *fx)
{
    struct buf all = snapshot(w, n);
    size_t most = all.len / between(w, 1, 3) + 1;
    struct reader r = reader_of(buf_bytes(&all));
    struct replica_msg m = fx->msg;
    bool ordered = w->ordered;
    must(m.lsn == n->state.n);
    w->ordered = true; /* its parts keep their order, or hardly any would arrive */
    say(w, "node %u sends a snapshot of %u, session %u", index_of(w, n), n->state.n, (unsigned)m.tag.session);
    for (m.seq = 0; !m.last; m.seq++) {
        struct event e = {.kind = AT_MSG, .a = 1 - index_of(w, n), .data = spare_take(&w->spare)};
        const uint8_t *from = r.at;
        while (reader_more(&r) && (size_t)(r.at - from) < most)
            get_bytes(&r, SIZE_MAX);
        m.last = !reader_more(&r);
        m.data = bytes_of(from, (size_t)(r.at - from));
        put_replica_msg(&e.data, &m);
        send(w, (int)index_of(w, n), (int)e.a, e);
    }
    w->ordered = ordered;
    buf_free(&all);
}

static void fx_restore(struct world *w, struct node *n, const struct replica_effect *fx)
{
    struct reader r = reader_of(replica_effect_data(&w->fx[w->depth - 1], fx));
    must(!n->installing);
    if (!fx->msg.seq) {
        history_cut(&n->scratch, 0);
        table_restore_begin(w, n);
    }
    while (reader_more(&r)) {
        struct bytes item = get_bytes(&r, SIZE_MAX), body = bytes_of(item.data + 1, item.len - 1);
        must(!r.bad);
        if (item.data[0] == ITEM_ENTRY)
            entry_get(w, body, &n->scratch, 0);
        else
            table_restore(w, n, body, fx->msg.lsn);
    }
    if (!fx->msg.last)
        return;
    must(n->scratch.n == fx->msg.lsn);
    n->installing = true;
    n->install = fx->msg.tag;
    n->install_mark = fx->mark;
    happen(w, between(w, 100, 30000),
           (struct event){.kind = AT_INSTALL, .a = index_of(w, n), .n = n->generation});
}

static void fx_restore_drop(struct world *w, struct node *n, const struct replica_effect *fx)
{
    (void)w;
    (void)fx;
    must(!n->installing);
    history_cut(&n->scratch, 0);
}

static void fx_serve(struct world *w, struct node *n, const struct replica_effect *fx)
{
    struct replica_info info;
    must(fx->lsn == n->state.n && !n->serves);
    replica_look(n->replica, &info);
    n->serves = true;
    n->open = false;
    n->held = 0;
    n->epoch = info.epoch;
    say(w, "node %u serves epoch %u from %u", index_of(w, n), (unsigned)n->epoch, n->state.n);
    check_serves(w, n, n->epoch);
    if (w->real)
        table_serve(w, n);
}

static void ack_client(struct world *w, struct node *n, uint32_t c)
{
    if (!n->serves || !n->open)
        broken(w, "an output of one who may not");
    send(w, (int)index_of(w, n), CLIENT, (struct event){.kind = AT_ACK, .n = c, .m = n->state.last[c]});
}

static void fx_held(struct world *w, struct node *n, const struct replica_effect *fx)
{
    uint64_t before = n->held;
    must(n->serves && fx->lsn > before);
    check_held(w, n, fx->lsn);
    n->held = fx->lsn;
    if (w->real)
        table_step(w, n, (struct ts_event){.kind = TS_HELD, .u.lsn = fx->lsn});
    for (uint32_t c = 0; !w->real && n->open && c < CLIENTS; c++)
        if (n->state.last_lsn[c] > before && n->state.last_lsn[c] <= n->held)
            ack_client(w, n, c);
}

static void fx_open(struct world *w, struct node *n, const struct replica_effect *fx)
{
    (void)fx;
    say(w, "node %u is open", index_of(w, n));
    n->open = true;
}

static void fx_stop(struct world *w, struct node *n, const struct replica_effect *fx)
{
    (void)fx;
    say(w, "node %u stops", index_of(w, n));
    if (w->real)
        table_stop(w, n);
    n->serves = n->open = false;
}

static void fx_role(struct world *w, struct node *n, const struct replica_effect *fx)
{
    say(w, "node %u is %s at %u", index_of(w, n), replica_role_name(fx->role), (unsigned)fx->lsn);
}

static void node_step(struct world *w, struct node *n, struct replica_event e)
{
    static void (*const effect[])(struct world *, struct node *, const struct replica_effect *) = {
        [REPLICA_FX_SEND] = fx_send,         [REPLICA_FX_ASK] = fx_ask,
        [REPLICA_FX_MARK] = fx_mark,         [REPLICA_FX_APPLY] = fx_apply,
        [REPLICA_FX_SNAPSHOT] = fx_snapshot, [REPLICA_FX_RESTORE] = fx_restore,
        [REPLICA_FX_SERVE] = fx_serve,       [REPLICA_FX_RESTORE_DROP] = fx_restore_drop,
        [REPLICA_FX_HELD] = fx_held,         [REPLICA_FX_OPEN] = fx_open,
        [REPLICA_FX_STOP] = fx_stop,         [REPLICA_FX_ROLE] = fx_role,
    };
    e.now_us = clock_of(w, n);
    must(w->depth < sizeof w->fx / sizeof w->fx[0]);
    struct replica_effects *fx = &w->fx[w->depth++];
    replica_step(n->replica, &e, fx);
    for (size_t i = 0; i < fx->n; i++)
        effect[fx->fx[i].kind](w, n, &fx->fx[i]);
    w->depth--;
    replica_check(n->replica);
}

/* ---- Life ---- */

static void node_tick_later(struct world *w, struct node *n)
{
    uint64_t due = replica_due(n->replica), now = clock_of(w, n);
    happen(w, due > now ? (due - now) * 1000 / n->rate + 1 : 0,
           (struct event){.kind = AT_TICK, .a = index_of(w, n), .n = n->generation});
}

/* R1: who a disk is. */
static uint64_t incarnation_new(struct world *w, const struct node *n)
{
    return RULE(RULE_INCARNATION) ? chance(w, UINT64_MAX - 1) + 1 : index_of(w, n) + 1;
}

static void node_start(struct world *w, struct node *n)
{
    struct replica_config config = w->config;
    struct replica_mark mark = {0};
    n->generation++;
    if (!w->journal || !n->incarnation) {
        n->incarnation = incarnation_new(w, n);
        history_cut(&n->state, 0);
        disk_new(n, &mark);
        table_empty(w, n);
    } else if (w->real) {
        table_boot(w, n, n->state.n);
    }
    mark = n->mark[n->marks - 1].mark;
    check_starts(w, n, &mark);
    n->installing = n->flushing = n->serves = n->open = false;
    n->nonce = config.nonce = chance(w, UINT64_MAX - 1) + 1;
    config.incarnation = n->incarnation;
    n->base_us = between(w, 10 * SECOND, 1000ull * SECOND);
    n->since_us = w->now;
    say(w, "node %u starts at %u, tag %u.%u", index_of(w, n), n->state.n, (unsigned)mark.tag.epoch,
        (unsigned)mark.tag.session);
    n->replica = replica_new(&config, &mark, n->state.n, clock_of(w, n));
    node_step(w, n, (struct replica_event){.kind = REPLICA_TICK});
    node_tick_later(w, n);
    happen(w, chance(w, 50000), (struct event){.kind = AT_OWN, .a = index_of(w, n), .n = n->generation});
}

/* What was written and not synced may be there, to some point, or not. */
static void disk_crash(struct world *w, struct node *n)
{
    uint64_t keep = between(w, n->synced, n->written);
    uint32_t lsn = n->state.n;
    while (lsn && n->state.entry[lsn - 1].write > keep)
        lsn--;
    history_cut(&n->state, lsn);
    while (n->marks > 1 && n->mark[n->marks - 1].write > keep)
        n->marks--;
    n->written = n->synced = keep;
    n->file++;
    n->syncing = false;
}

static void node_stop(struct world *w, struct node *n, bool wipe)
{
    if (!n->replica)
        return;
    say(w, "node %u dies%s", index_of(w, n), wipe ? ", its disk too" : "");
    replica_free(n->replica);
    n->replica = NULL;
    n->generation++;
    n->serves = n->open = false;
    n->paused_us = 0;
    if (wipe || !w->journal)
        n->incarnation = 0;
    else
        disk_crash(w, n);
    struct node *o = &w->node[1 - index_of(w, n)];
    if (o->replica && !one_in(w, 4))
        happen(w, between(w, 50, 1000), (struct event){.kind = AT_CLOSED, .a = index_of(w, o)});
}

static void node_flush_later(struct world *w, struct node *n, uint64_t us, bool again)
{
    if (n->flushing)
        return;
    n->flushing = true;
    happen(w, us, (struct event){.kind = AT_FLUSH, .a = index_of(w, n), .n = n->generation, .m = again});
}

/* The end of a turn; and again when what is gathered for the backup is due. */
static void node_flush(struct world *w, struct node *n, bool again)
{
    uint64_t awaited = w->real ? ts_awaited(n->ts) : one_in(w, 2) ? UINT64_MAX : 0;
    n->flushing = false;
    node_step(w, n, (struct replica_event){.kind = REPLICA_FLUSH, .lsn = awaited});
    if (!again && w->config.gather_us)
        node_flush_later(w, n, w->config.gather_us, true);
}

static void node_logged(struct world *w, struct node *n, struct bytes record)
{
    record_add(w, n, record);
    disk_sync(w, n);
    check_logged(w, n);
    replica_logged(n->replica, n->state.n, record);
    node_flush_later(w, n, chance(w, 200), false);
}

/* Abstract payload. */
static void node_log(struct world *w, struct node *n, uint32_t client, uint32_t op)
{
    struct buf record = {0};
    entry_put(&record, &(struct entry){.client = client, .n = op, .salt = ++w->salt});
    node_logged(w, n, buf_bytes(&record));
    buf_free(&record);
}

/* ---- What happens to it ---- */

static void node_synced(struct world *w, struct node *n, const struct event *e)
{
    if (n->file != e->n)
        return;
    n->synced = e->m;
    n->syncing = false;
    disk_sync(w, n);
    if (!n->replica)
        return;
    uint32_t lsn = kept(w, n);
    struct replica_tag tag = {0};
    uint32_t marks = n->marks;
    while (marks && n->mark[marks - 1].write > n->synced)
        marks--;
    if (marks)
        tag = n->mark[marks - 1].mark.tag;
    node_step(w, n, (struct replica_event){.kind = REPLICA_DISK, .lsn = lsn, .tag = tag});
}

static void node_installed(struct world *w, struct node *n)
{
    struct history old = n->state;
    n->state = n->scratch;
    n->scratch = old;
    n->installing = false;
    disk_new(n, &n->install_mark);
    table_install(n);
    say(w, "node %u has the snapshot of %u", index_of(w, n), n->state.n);
    node_step(w, n, (struct replica_event){.kind = REPLICA_INSTALLED, .tag = n->install});
    check_kept(w);
}

static void node_message(struct world *w, struct node *n, const struct event *e)
{
    struct reader r = reader_of(buf_bytes(&e->data));
    struct replica_event in = {.kind = REPLICA_MSG};
    must(get_replica_msg(&r, &in.msg));
    node_step(w, n, in);
}

static void node_answer(struct world *w, struct node *n, const struct event *e)
{
    struct reader r = reader_of(buf_bytes(&e->data));
    struct replica_event in = {.kind = REPLICA_ANSWER};
    must(get_shard_answer(&r, &in.shard));
    node_step(w, n, in);
}

static void node_request(struct world *w, struct node *n, uint32_t c, uint32_t op)
{
    if (!n->serves || !n->open)
        return;
    if (w->real) {
        table_request(w, n, c, op);
        return;
    }
    if (op > n->state.last[c] + 1 && n->epoch < w->line_epoch)
        return; /* an old primary that does not know yet; whatever it says stays with it */
    if (op > n->state.last[c])
        node_log(w, n, c, op);
    else if (op == n->state.last[c] && n->state.last_lsn[c] <= n->held)
        ack_client(w, n, c);
}

static void node_own(struct world *w, struct node *n)
{
    happen(w, between(w, 1000, 60000),
           (struct event){.kind = AT_OWN, .a = index_of(w, n), .n = n->generation});
    if (n->serves && !w->real)
        node_log(w, n, OWN, 0);
}

#endif
