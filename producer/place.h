/* Whom to serve: a fixed server, or what a broker offers, the best first. One attempt goes through all offers
 * before it fails; the core decides when to attempt again. */
#ifndef PRODUCER_PLACE_H
#define PRODUCER_PLACE_H

#include "proto/rpc.h"

struct place;

struct place_config {
    struct rpc *rpc;              /* borrowed */
    const struct credentials *me; /* borrowed */
    const char *server, *broker;  /* one of them; borrowed */
    uint32_t threads;
    const char *arch;
    void (*found)(void *ctx, const char *address); /* try this one */
    void (*failed)(void *ctx, const char *why);    /* there is none, or none is left */
    void *ctx;
};

struct place *place_new(const struct place_config *config);
void place_free(struct place *p);
/* Begins an attempt: found or failed follows. */
void place_begin(struct place *p);
/* The one that was found could not be reached: the next is found, or failed. */
void place_next(struct place *p, const char *why);

#endif
