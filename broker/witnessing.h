/* The witness's shell: asks of task servers in, the core's effects out. A change is on disk before it is
 * answered.
 *
 * The records are in the broker's own store: read once, at the start, and written on the reactor. A store
 * that fails ends the process, with status WITNESSING_EXIT: after that nobody knows what is on the disk.
 *
 * Or they are in etcd, which several brokers may share. Then a thread of its own decides, ask by ask, each
 * from what etcd says at that moment: somebody else may have changed it since the last one. While etcd is
 * away nobody is answered. */
#ifndef BROKER_WITNESSING_H
#define BROKER_WITNESSING_H

#include "broker/core/witness.h"
#include "broker/store.h"
#include "proto/worker.h"

#define WITNESSING_EXIT 74 /* EX_IOERR */

struct witnessing;

struct witnessing_config {
    struct store *store;  /* borrowed */
    const char *etcd;     /* its members, http://HOST:PORT with commas between; NULL: the store */
    struct poster poster; /* etcd: reaches the reactor */
    /* Both are called on the reactor, for the peer that asked; from within the call where the store is our
     * own.
     */
    void (*answer)(void *ctx, uint64_t peer, uint64_t req, struct bytes answer); /* packed */
    void (*settled)(void *ctx, uint64_t peer, uint64_t req, int code);           /* an operator's order */
    void *ctx;
};

/* Loads what the store has; etcd is not asked yet. why: STORE_WHY_MAX bytes. */
int witnessing_new(const struct witnessing_config *config, struct witnessing **out, char *why);
/* Joins the thread; what is asked from now on is dropped. Before the reactor's last posts are run. */
void witnessing_stop(struct witnessing *w);
/* After them. NULL is legal. */
void witnessing_free(struct witnessing *w);
/* One ask. Not every one is answered: whoever is not asks again. */
void witnessing_ask(struct witnessing *w, uint64_t peer, uint64_t req, const struct shard_ask *ask);
/* The operator's word that what others have of a shard is lost: `member` goes on with what it has.
 * CX_ENOTFOUND: there is no such shard; CX_ENONET: etcd is away, nobody knows. */
void witnessing_accept_loss(struct witnessing *w, uint64_t peer, uint64_t req, struct id shard,
                            uint64_t member);

#endif
