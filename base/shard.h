/* What the witness keeps of a shard, and what replicas ask of it: shared by the task server's core (which
 * asks) and the broker's (which answers). docs/REPLICATION.md has the protocol.
 *
 * A member is named by the incarnation of its disk: a random number made with it, never 0. A server without a
 * journal keeps nothing over a restart, so each boot is a new incarnation; so is a disk that was replaced. */
#ifndef BASE_SHARD_H
#define BASE_SHARD_H

#include "base/pack.h"

enum { SHARD_MEMBERS = 2 };

/* A shard is named by its network and the server whose own it is. */
struct id shard_id(const char *network, const char *server);

/* One state of the record. (epoch, version) names it; every change makes the pair greater. */
struct shard_record {
    uint64_t epoch;   /* 0: there is no record */
    uint64_t version; /* counts all changes, within an epoch and across */
    uint64_t primary; /* member; 0: nobody holds the epoch */
    uint64_t nonce;   /* of the primary's boot that asked for the epoch */
    uint64_t in_sync[SHARD_MEMBERS];
};

static inline bool shard_newer(const struct shard_record *a, const struct shard_record *b)
{
    return a->epoch != b->epoch ? a->epoch > b->epoch : a->version > b->version;
}
static inline bool shard_has(const struct shard_record *r, uint64_t member)
{
    return member && (r->in_sync[0] == member || r->in_sync[1] == member);
}
/* The in-sync member that is not this one; 0: none. */
static inline uint64_t shard_other(const struct shard_record *r, uint64_t member)
{
    return r->in_sync[0] != member ? r->in_sync[0] : r->in_sync[1];
}

enum shard_ask_kind {
    SHARD_READ,
    SHARD_CLAIM, /* the next epoch after `epoch` */
    SHARD_SOLO,  /* in-sync = {me}: only the primary, at exactly (epoch, version), with a fresh ticket */
    SHARD_ADD,   /* in-sync = {me, other}: only the primary, at exactly (epoch, version) */
    SHARD_ASK_MAX = SHARD_ADD,
};

/* `known` is the newest record that the asker knows of, `epoch` the highest it has seen: a witness that lost
 * its store is rebuilt from them. */
struct shard_ask {
    enum shard_ask_kind kind;
    struct id shard;
    uint64_t member, nonce; /* who asks, and which boot of it */
    uint64_t epoch, version;
    uint64_t boot, ticket; /* of the latest answer; 0: there was none */
    uint64_t other;        /* ADD */
    bool create;           /* CLAIM: the shard is new, nobody has ever held anything of it */
    struct shard_record known;
};

/* The answer to any ask is the record. A grant is a record that names the asker and its nonce as primary. */
struct shard_answer {
    struct id shard;
    struct shard_record record; /* epoch 0: the witness knows none */
    uint64_t boot;              /* of the witness: random */
    uint64_t ticket;            /* its time; both mean something to it alone */
};

void put_shard_record(struct buf *b, const struct shard_record *r);
struct shard_record get_shard_record(struct reader *r);
void put_shard_ask(struct buf *b, const struct shard_ask *a);
bool get_shard_ask(struct reader *r, struct shard_ask *a); /* false: malformed */
void put_shard_answer(struct buf *b, const struct shard_answer *a);
bool get_shard_answer(struct reader *r, struct shard_answer *a);

/* The simulator's tests switch one rule off and see a seed turn red; a product has no such switch. */
enum shard_rule {
    RULE_NONE,
    RULE_INCARNATION, /* R1 (the simulator's: who names the disks) */
    RULE_SESSION,     /* R2 */
    RULE_ADD,         /* R3 */
    RULE_TAIL,        /* R4 */
    RULE_NONCE,       /* R5: a grant echoes this boot's nonce */
    RULE_ADOPT,       /* R5: adopt the highest epoch seen, step down */
    RULE_KEEP,        /* R5: promotion never shrinks the in-sync set */
    RULE_HELD,        /* law 8 */
    RULE_DEADLINE,    /* a solo request is fresh */
    RULE_MAX = RULE_DEADLINE,
};
#ifdef CX_SABOTAGE
extern int rule_off;
#define RULE(number) (rule_off != (number))
#else
#define RULE(number) true
#endif

#endif
