/* The witness's shell: asks of task servers in, the core's effects out. A change is on disk before it is
 * answered; a store that fails ends the process, with status WITNESSING_EXIT: after that nobody knows what is
 * on the disk. */
#ifndef BROKER_WITNESSING_H
#define BROKER_WITNESSING_H

#include "broker/core/witness.h"
#include "broker/store.h"

#define WITNESSING_EXIT 74 /* EX_IOERR */

struct witnessing;

/* An answer for the peer that asked, packed. */
typedef void witnessing_answer_fn(void *ctx, uint32_t peer, uint64_t req, struct bytes answer);

/* Loads what the store has. The store stays the caller's. why: STORE_WHY_MAX bytes. */
int witnessing_new(struct store *store, witnessing_answer_fn *answer, void *ctx, struct witnessing **out,
                   char *why);
void witnessing_free(struct witnessing *w);
/* One ask. Not every one is answered: whoever is not asks again. */
void witnessing_ask(struct witnessing *w, uint32_t peer, uint64_t req, const struct shard_ask *ask);
/* The operator's word that what others have of a shard is lost: `member` goes on with what it has. False:
 * there is no such shard, or it is being changed this moment. */
bool witnessing_accept_loss(struct witnessing *w, struct id shard, uint64_t member);

#endif
