/* What must hold, looked at when it could break. */
#ifndef TESTS_SIM_PAIR_CHECK_H
#define TESTS_SIM_PAIR_CHECK_H

#include "tests/sim/pair-world.h"

static struct node *node_of(struct world *w, uint64_t incarnation)
{
    for (int i = 0; i < NODES; i++)
        if (incarnation && w->node[i].incarnation == incarnation)
            return &w->node[i];
    return NULL;
}

/* How far a node's state would be there after a kill, if it has a disk; else while it lives. */
static uint32_t kept(const struct world *w, const struct node *n)
{
    uint32_t lsn = n->state.n;
    while (w->journal && lsn && n->state.entry[lsn - 1].write > n->synced)
        lsn--;
    return lsn;
}

/* P2: each member of the in-sync set keeps whatever was ever held. A disk that was thrown away is not there
 * to be asked. */
static void check_kept(struct world *w)
{
    for (int i = 0; i < SHARD_MEMBERS; i++) {
        const struct node *n = node_of(w, w->store.in_sync[i]);
        if (!n || w->lossy)
            continue;
        if (kept(w, n) < w->truth_n)
            broken(w, "a member of the in-sync set does not keep what is held");
        if (chain_at(&n->state, w->truth_n) != w->truth[w->truth_n])
            broken(w, "a member of the in-sync set has another history");
    }
}

static void check_serves(struct world *w, struct node *n, uint64_t epoch)
{
    must(epoch < EPOCHS);
    if (w->primary[epoch].nonce)
        broken(w, "an epoch has two primaries");
    w->primary[epoch].nonce = n->nonce;
    if (epoch <= w->line_epoch) /* its grant was late; it cannot hold anything any more */
        return;
    if (!w->lossy && (n->state.n < w->truth_n || chain_at(&n->state, w->truth_n) != w->truth[w->truth_n]))
        broken(w, "the new primary lacks what was held");
    w->takeovers++;
    w->line_epoch = epoch;
    w->line_lost = false;
    w->line = room(w->line, &w->line_cap, n->state.n + 1, sizeof *w->line);
    for (w->line_n = 0; w->line_n <= n->state.n; w->line_n++)
        w->line[w->line_n] = chain_at(&n->state, w->line_n);
}

static void check_logged(struct world *w, const struct node *n)
{
    if (n->epoch != w->line_epoch)
        return;
    w->line = room(w->line, &w->line_cap, w->line_n, sizeof *w->line);
    w->line[w->line_n++] = chain_at(&n->state, n->state.n);
}

/* A primary that comes back without the mark of its epoch had nothing of it on its disk. So nothing of it was
 * held, and the primary before, as long as nobody has told it, may go on with the other one as its backup:
 * what it holds then they both have, whoever is primary next. */
static void check_starts(struct world *w, const struct node *n, const struct replica_mark *mark)
{
    if (w->primary[w->line_epoch].nonce == n->nonce && mark->seen < w->line_epoch)
        w->line_lost = true;
}

/* Law 8, and no two histories: what is held is the same for ever, and the latest primary has it. */
static void check_held(struct world *w, const struct node *n, uint64_t lsn)
{
    if (w->lossy)
        return;
    if (lsn > n->state.n)
        broken(w, "more is held than there is");
    uint64_t known = lsn < w->truth_n ? lsn : w->truth_n;
    if (chain_at(&n->state, known) != w->truth[known])
        broken(w, "two histories are held");
    if (!w->line_lost && (lsn >= w->line_n || w->line[lsn] != chain_at(&n->state, lsn)))
        broken(w, "an old primary holds what the new one does not have");
    w->truth = room(w->truth, &w->truth_cap, (uint32_t)lsn + 1, sizeof *w->truth);
    for (; w->truth_n < lsn; w->truth_n++)
        w->truth[w->truth_n + 1] = chain_at(&n->state, w->truth_n + 1);
    check_kept(w);
}

static bool is_whole(const struct world *w)
{
    for (int i = 0; i < NODES; i++) {
        const struct node *n = &w->node[i], *o = &w->node[1 - i];
        struct replica_info a, b;
        if (!n->replica || !o->replica || !w->witness || n->paused_us > w->now || o->paused_us > w->now)
            return false;
        replica_look(n->replica, &a);
        replica_look(o->replica, &b);
        if (a.role == REPLICA_PRIMARY && a.open && w->store.epoch == a.epoch &&
            w->store.primary == n->incarnation && shard_has(&w->store, n->incarnation) &&
            shard_has(&w->store, o->incarnation) && b.role == REPLICA_BACKUP && a.backup == o->incarnation &&
            a.backup_lsn + 100 > a.lsn)
            return true;
    }
    return false;
}

#endif
