/* A run: clients, witness, faults, the end. */
#ifndef TESTS_SIM_PAIR_RUN_H
#define TESTS_SIM_PAIR_RUN_H

#include "tests/sim/pair-node.h"

enum {
    LIMIT_US = 20 * SECOND, /* from the end of the last fault until the pair is whole again */
    SETTLED_US =
        SECOND / 2, /* whole for so long: redundancy is truly back, no ask of the witness is good any more */
};

static const struct id the_shard = {7, 9};

/* Time-outs are counted by the clocks of the replicas, of which the slowest decides. And to go on alone takes
 * an answer and an ask of the witness that are both on time: where most are not, that is a matter of luck. */
static uint64_t limit_us(const struct world *w)
{
    uint64_t rate = 1000;
    for (int i = 0; i < NODES; i++)
        rate = w->node[i].rate < rate ? w->node[i].rate : rate;
    return (1ull + w->slow / 100) * LIMIT_US * 1000 / rate;
}

/* ---- Clients ---- */

static void client_sends(struct world *w, uint32_t c)
{
    struct client *k = &w->client[c];
    if (k->acked < k->n && k->sent_us) /* once more, to the other one */
        k->target = 1 - k->target;
    if (k->acked == k->n)
        k->n++;
    k->sent_us = w->now;
    send(w, CLIENT, (int)k->target, (struct event){.kind = AT_REQUEST, .a = k->target, .n = c, .m = k->n});
    happen(w, 250000, (struct event){.kind = AT_THINK, .a = c, .n = k->n});
}

static void client_acked(struct world *w, uint32_t c, uint64_t op)
{
    struct client *k = &w->client[c];
    if (op != k->n || k->acked == op)
        return;
    k->acked = (uint32_t)op;
    w->acks++;
    happen(w, between(w, 1000, 120000), (struct event){.kind = AT_THINK, .a = c, .n = op + 1});
}

static void client_thinks(struct world *w, uint32_t c, uint64_t op)
{
    struct client *k = &w->client[c];
    if (op == k->n + 1 ? k->acked == k->n : op == k->n && k->acked < k->n)
        client_sends(w, c);
}

/* ---- The witness ---- */

static void witness_start(struct world *w)
{
    struct witness_config config = {
        .boot = chance(w, UINT64_MAX - 1) + 1, .solo_us = 300000, .shards_max = 4};
    w->witness = witness_new(&config);
    w->witness_generation++;
    w->saving = (struct shard_record){0};
    if (w->store.epoch)
        must(witness_restore(w->witness, the_shard, &w->store));
}

static void witness_do(struct world *w, const struct witness_event *e)
{
    witness_step(w->witness, e, &w->wfx);
    for (size_t i = 0; i < w->wfx.n; i++) {
        const struct witness_effect *fx = &w->wfx.fx[i];
        struct event out = {.kind = AT_SAVED, .n = w->witness_generation};
        if (fx->kind == WITNESS_FX_SAVE) {
            w->saving = fx->record;
            happen(w, between(w, 200, 5000), out);
            continue;
        }
        out = (struct event){.kind = AT_ANSWER,
                             .a = fx->peer,
                             .n = w->node[fx->peer].generation,
                             .data = spare_take(&w->spare)};
        put_shard_answer(&out.data, &fx->answer);
        /* A connection ends with its process, but a new boot at the same address may get what was meant for
         * the old one, where a relay or a cache stands between. */
        send(w, WITNESS, (int)fx->peer, out);
    }
}

static void witness_asked(struct world *w, const struct event *e)
{
    struct reader r = reader_of(buf_bytes(&e->data));
    struct witness_event in = {.kind = WITNESS_ASK, .now_us = w->now, .peer = e->a};
    must(get_shard_ask(&r, &in.ask));
    if (w->witness)
        witness_do(w, &in);
}

static void witness_saved(struct world *w)
{
    const struct shard_record *s = &w->saving;
    w->store = *s;
    say(w, "witness: epoch %u.%u, primary %04x, in sync %04x %04x", (unsigned)s->epoch, (unsigned)s->version,
        (unsigned)s->primary & 0xffff, (unsigned)s->in_sync[0] & 0xffff, (unsigned)s->in_sync[1] & 0xffff);
    witness_do(w, &(struct witness_event){
                      .kind = WITNESS_SAVED, .now_us = w->now, .shard = the_shard, .record = w->saving});
    check_kept(w);
}

static void witness_stop(struct world *w, bool wipe)
{
    if (!w->witness)
        return;
    say(w, "witness dies%s", wipe ? ", its store too" : "");
    if (shard_newer(&w->saving, &w->store) && one_in(w, 2))
        w->store = w->saving; /* written, not said */
    check_kept(w);
    if (wipe)
        w->store = (struct shard_record){0};
    witness_free(w->witness);
    w->witness = NULL;
    w->witness_generation++;
}

/* ---- Faults: each says how long it lasts ---- */

static uint64_t span(struct world *w)
{
    static const uint64_t longest_us[] = {400000, 700000, 1200000,
                                          4 * SECOND}; /* the time-outs lie between */
    uint64_t i = chance(w, 4);
    return between(w, i ? longest_us[i - 1] : 10000, longest_us[i]);
}
static struct node *some_node(struct world *w)
{
    struct node *n = &w->node[chance(w, NODES)];
    for (int i = 0; i < NODES; i++)
        if (w->node[i].serves && !one_in(w, 3))
            n = &w->node[i];
    return one_in(w, 3) ? &w->node[w->asker] : n;
}

static uint64_t fault_kill(struct world *w)
{
    uint64_t us = span(w);
    struct node *n = some_node(w);
    node_stop(w, n, false);
    happen(w, us, (struct event){.kind = AT_RESTART, .a = index_of(w, n)});
    return us;
}

static uint64_t fault_wipe(struct world *w)
{
    uint64_t us = span(w);
    struct node *n = some_node(w);
    if (w->mode != MODE_SINGLE)
        return fault_kill(w);
    node_stop(w, n, true);
    happen(w, us, (struct event){.kind = AT_RESTART, .a = index_of(w, n)});
    return us;
}

static uint64_t fault_pause(struct world *w)
{
    uint64_t us = span(w);
    struct node *n = some_node(w);
    say(w, "node %u is paused for %.3f s", index_of(w, n), (double)us / 1e6);
    n->paused_us = w->now + us;
    return us;
}

/* Just long enough to be suspected: what is asked of the witness then is no longer wanted when it comes. */
static uint64_t fault_blink(struct world *w)
{
    struct node *n = &w->node[chance(w, NODES)];
    uint64_t us = between(w, 0, 150000) + (n->serves ? w->config.silence_us : w->config.solo_us);
    say(w, "node %u blinks for %.3f s", index_of(w, n), (double)us / 1e6);
    n->paused_us = w->now + us;
    return us;
}

static uint64_t fault_cut(struct world *w)
{
    uint64_t us = span(w), from = chance(w, ENDS), to = (from + between(w, 1, ENDS - 1)) % ENDS;
    say(w, "cut from %u to %u for %.3f s", (unsigned)from, (unsigned)to, (double)us / 1e6);
    w->cut_us[from][to] = w->now + us;
    if (one_in(w, 2))
        w->cut_us[to][from] = w->now + us;
    return us;
}

static uint64_t fault_isolate(struct world *w)
{
    uint64_t us = span(w), end = index_of(w, some_node(w));
    bool clients = one_in(w, 2);
    say(w, "node %u is isolated for %.3f s", (unsigned)end, (double)us / 1e6);
    for (int i = 0; i < ENDS - !clients; i++)
        w->cut_us[i][end] = w->cut_us[end][i] = w->now + us;
    return us;
}

static uint64_t fault_witness(struct world *w)
{
    uint64_t us = span(w);
    witness_stop(w, w->mode == MODE_SINGLE && one_in(w, 4));
    happen(w, us, (struct event){.kind = AT_RESTART, .a = WITNESS});
    return us;
}

static uint64_t fault_hand_over(struct world *w)
{
    struct node *n = some_node(w);
    say(w, "node %u is to hand over", index_of(w, n));
    if (n->replica && n->paused_us <= w->now)
        node_step(w, n, (struct replica_event){.kind = REPLICA_HAND_OVER});
    return 0;
}

static uint64_t fault_closed(struct world *w)
{
    for (uint32_t i = 0; i < NODES; i++)
        happen(w, between(w, 50, 1000), (struct event){.kind = AT_CLOSED, .a = i});
    return 0;
}

static uint64_t fault_clock(struct world *w)
{
    struct node *n = &w->node[chance(w, NODES)];
    n->base_us = clock_of(w, n) + (one_in(w, 4) ? between(w, 0, 3 * SECOND) : 0);
    n->since_us = w->now;
    n->rate = between(w, 600, 1700);
    return 0;
}

static void fault(struct world *w)
{
    static uint64_t (*const faults[])(struct world *) = {
        fault_kill, fault_kill,    fault_wipe,    fault_pause,     fault_blink,  fault_blink, fault_cut,
        fault_cut,  fault_isolate, fault_witness, fault_hand_over, fault_closed, fault_clock};
    uint64_t us = faults[chance(w, sizeof faults / sizeof faults[0])](w);
    w->faults++;
    w->whole_us = 0;
    w->fault_us = w->now + us > w->fault_us ? w->now + us : w->fault_us;
}

/* In mode single the next fault waits until redundancy is truly back. */
static void next_fault(struct world *w)
{
    bool settled = w->whole_us && is_whole(w) && flows(w) && w->now - w->whole_us >= SETTLED_US;
    if (w->healed)
        return;
    if (w->mode != MODE_SINGLE || settled)
        fault(w);
    uint64_t next = w->mode == MODE_SINGLE ? between(w, 10000, one_in(w, 2) ? 50000 : SECOND)
                                           : between(w, 1000, 2 * SECOND);
    happen(w, next, (struct event){.kind = AT_FAULT});
}

/* ---- Looking ---- */

static void stuck(struct world *w)
{
    for (int i = 0; i < NODES; i++) {
        struct replica_info a = {0};
        if (w->node[i].replica)
            replica_look(w->node[i].replica, &a);
        fprintf(stderr, "node %d: %s epoch %u lsn %u held %u\n", i,
                w->node[i].replica ? replica_role_name(a.role) : "down", (unsigned)a.epoch, (unsigned)a.lsn,
                (unsigned)a.held);
    }
    broken(w, "the pair does not become whole again");
}

/* P4: without disks a second loss may come too early. Then nobody serves, one says why, and the operator
 * decides. */
static bool accept_loss(struct world *w)
{
    struct replica_info a[NODES] = {0};
    if (w->journal || w->mode == MODE_SINGLE || w->accepted)
        return false;
    for (int i = 0; i < NODES; i++) {
        replica_look(w->node[i].replica, &a[i]);
        if (w->node[i].serves && shard_has(&w->store, w->node[i].incarnation))
            return false;
    }
    if (a[0].role != REPLICA_HALTED && a[1].role != REPLICA_HALTED)
        broken(w, "a lost shard does not say so");
    say(w, "loss accepted");
    w->lossy = w->accepted = true;
    w->fault_us = w->now;
    witness_do(w, &(struct witness_event){.kind = WITNESS_ACCEPT_LOSS,
                                          .now_us = w->now,
                                          .shard = the_shard,
                                          .member = w->node[chance(w, NODES)].incarnation});
    return true;
}

static void look(struct world *w)
{
    w->whole = is_whole(w) && flows(w) && w->now >= w->fault_us;
    if (!w->whole)
        w->whole_us = 0;
    else if (!w->whole_us)
        w->whole_us = w->now;
    bool calm = w->mode == MODE_SINGLE || w->healed;
    if (!w->whole && calm && w->now > w->fault_us + limit_us(w) && !accept_loss(w))
        stuck(w);
    happen(w, 50000, (struct event){.kind = AT_LOOK});
}

/* Whatever is wrong ends: what is down starts, what is cut is joined. */
static void heal(struct world *w)
{
    say(w, "healing");
    w->healed = true;
    w->fault_us = w->now;
    w->ordered = true;
    w->drop = w->twice = w->late = w->slow = 0;
    w->whole_us = 0;
    memset(w->cut_us, 0, sizeof w->cut_us);
    for (uint32_t i = 0; i < NODES; i++) {
        w->node[i].paused_us = 0;
        if (!w->node[i].replica)
            node_start(w, &w->node[i]);
    }
    if (!w->witness)
        witness_start(w);
    for (int i = 0; i < CLIENTS; i++)
        w->client[i].healed_n = 0;
}

static void silent(struct world *w, uint32_t c)
{
    const struct client *k = &w->client[c];
    struct buf why = {0};
    fprintf(stderr, "client %u: operation %u, %u acknowledged, %u promised\n", c, k->n, k->acked,
            k->promised);
    for (uint32_t i = 0; w->real && i < NODES; i++) {
        buf_clear(&why);
        ts_why(w->node[i].ts, job_id(c, k->n), w->now, &why);
        fprintf(stderr, "node %u: %.*s\n", i, (int)why.len, (const char *)why.data);
    }
    broken(w, "a whole pair does not answer");
}

/* Whole, and each client has got something done since. */
static bool over(struct world *w)
{
    if (!w->healed || !w->whole_us || w->now < w->whole_us + 2 * SECOND)
        return false;
    for (int i = 0; i < CLIENTS; i++) {
        if (!w->client[i].healed_n)
            w->client[i].healed_n = w->client[i].acked + 1;
        if (w->client[i].acked <= w->client[i].healed_n) {
            if (w->now > w->whole_us + limit_us(w))
                silent(w, (uint32_t)i);
            return false;
        }
    }
    return true;
}

/* ---- What happens ---- */

static void happens_to_node(struct world *w, struct node *n, const struct event *e)
{
    bool own = n->replica && e->n == n->generation;
    switch (e->kind) {
    case AT_TICK:
        if (!own)
            break;
        node_step(w, n, (struct replica_event){.kind = REPLICA_TICK});
        if (w->real)
            table_tick(w, n);
        node_tick_later(w, n);
        break;
    case AT_MSG:
        if (n->replica)
            node_message(w, n, e);
        break;
    case AT_ANSWER: /* R5 is for answers that reach the wrong boot */
        if (n->replica)
            node_answer(w, n, e);
        break;
    case AT_SYNC:
        node_synced(w, n, e);
        break;
    case AT_INSTALL:
        if (own)
            node_installed(w, n);
        break;
    case AT_CLOSED:
        if (n->replica)
            node_step(w, n, (struct replica_event){.kind = REPLICA_CLOSED});
        break;
    case AT_OWN:
        if (own)
            node_own(w, n);
        break;
    case AT_FLUSH:
        if (!own)
            break;
        node_flush(w, n, e->m);
        break;
    case AT_REQUEST:
        if (n->replica)
            node_request(w, n, (uint32_t)e->n, (uint32_t)e->m);
        break;
    case AT_RESTART:
        if (!n->replica)
            node_start(w, n);
        break;
    default:
        must(false);
    }
}

static bool of_node(const struct event *e)
{
    return e->a < NODES && e->kind != AT_ASK && e->kind != AT_SAVED && e->kind != AT_THINK &&
           e->kind != AT_ACK && e->kind != AT_FAULT && e->kind != AT_DONE && e->kind != AT_LOOK;
}

static void happens(struct world *w, struct event *e)
{
    switch (e->kind) {
    case AT_ASK:
        witness_asked(w, e);
        break;
    case AT_SAVED:
        if (w->witness && e->n == w->witness_generation)
            witness_saved(w);
        break;
    case AT_THINK:
        client_thinks(w, e->a, e->n);
        break;
    case AT_ACK:
        client_acked(w, (uint32_t)e->n, e->m);
        break;
    case AT_FAULT:
        next_fault(w);
        break;
    case AT_DONE:
        producer_done(w, e);
        break;
    case AT_LOOK:
        look(w);
        break;
    default: /* RESTART */
        if (!w->witness)
            witness_start(w);
    }
}

static void take(struct world *w, struct event *e)
{
    struct node *n = of_node(e) ? &w->node[e->a] : NULL;
    if (n && n->paused_us > w->now && e->kind != AT_SYNC) {
        happen(w, n->paused_us - w->now, *e);
        return;
    }
    if (n)
        happens_to_node(w, n, e);
    else
        happens(w, e);
    spare_give(&w->spare, &e->data);
}

/* ---- Beginning and end ---- */

static void config_draw(struct world *w)
{
    replica_config_default(&w->config);
    w->config.shard = the_shard;
    w->config.journal = w->journal;
    w->config.closed_us = between(w, 1, 10) * 10000;
    w->config.gather_us = one_in(w, 3) ? 0 : chance(w, 5000);
    if (one_in(w, 3))
        w->config.tail_bytes_max = between(w, 200, 3000) * (w->real ? 30 : 1);
    if (one_in(w, 3))
        w->config.window_bytes = between(w, 20, 300) * (w->real ? 30 : 1);
    if (one_in(w, 3))
        w->config.lag_records_max = chance(w, 10);
}

static void world_open(struct world *w, uint64_t seed)
{
    static const enum mode modes[] = {MODE_SINGLE, MODE_SINGLE, MODE_CHAOS, MODE_CHAOS, MODE_LIVENESS};
    *w = (struct world){
        .seed = seed, .rng = mix(seed, 4711), .now = SECOND, .heap = w->heap, .spare = w->spare};
    heap_reset(&w->heap, sizeof(struct event));
    w->mode = modes[chance(w, sizeof modes / sizeof modes[0])];
    w->journal = w->mode == MODE_LIVENESS || one_in(w, 2);
    w->real = one_in(w, 2);
    w->ordered = one_in(w, 3);
    w->drop = one_in(w, 2) ? 0 : (uint32_t)chance(w, w->mode == MODE_SINGLE ? 50 : 300);
    w->twice = one_in(w, 2) ? 0 : (uint32_t)chance(w, 100);
    w->late = one_in(w, 3) ? 0 : (uint32_t)chance(w, w->ordered ? 5 : 60);
    w->slow = one_in(w, 2) ? (uint32_t)between(w, 100, 900) : 0;
    w->end_us = w->now + between(w, 5, w->mode == MODE_LIVENESS ? 8 : 25) * SECOND;
    w->fault_us = w->now;
    w->truth = room(w->truth, &w->truth_cap, 0, sizeof *w->truth);
    w->truth[0] = 0;
    config_draw(w);
    witness_start(w);
    for (uint32_t i = 0; i < NODES; i++) {
        w->node[i].rate = one_in(w, 2) ? 1000 : between(w, 700, 1500);
        happen(w, chance(w, SECOND), (struct event){.kind = AT_RESTART, .a = i});
    }
    for (uint32_t i = 0; i < CLIENTS; i++)
        happen(w, chance(w, SECOND), (struct event){.kind = AT_THINK, .a = i, .n = 1});
    happen(w, chance(w, w->mode == MODE_SINGLE ? SECOND : 3 * SECOND), (struct event){.kind = AT_FAULT});
    happen(w, 0, (struct event){.kind = AT_LOOK});
    say(w, "mode %d, journal %d, real %d", w->mode, w->journal, w->real);
}

static void world_close(struct world *w)
{
    for (int i = 0; i < NODES; i++) {
        replica_free(w->node[i].replica);
        free(w->node[i].state.entry);
        free(w->node[i].scratch.entry);
        tables_free(&w->node[i]);
    }
    while (w->heap.n) {
        struct event e;
        heap_take(&w->heap, &e);
        spare_give(&w->spare, &e.data);
    }
    witness_free(w->witness);
    for (int i = 0; i < 4; i++)
        replica_effects_free(&w->fx[i]);
    free(w->truth);
    free(w->line);
}

struct tally {
    _Atomic uint64_t events, faults, takeovers, acks, halted;
};

/* Aborts when something that must hold does not. */
static void world_run(uint64_t seed, struct tally *tally)
{
    static struct world w;
    world_open(&w, seed);
    while (!over(&w)) {
        struct event e;
        w.now = heap_take(&w.heap, &e);
        if (!w.healed && w.now >= w.end_us)
            heal(&w);
        take(&w, &e);
        tally->events++;
    }
    tally->faults += w.faults;
    tally->takeovers += w.takeovers;
    tally->acks += w.acks;
    tally->halted += w.accepted;
    world_close(&w);
}

#endif
