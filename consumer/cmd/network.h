/* A CX network on this machine: certificates, broker, task server or pair of them, and producers, in one
 * directory. */
#ifndef CMD_NETWORK_H
#define CMD_NETWORK_H

#include "consumer/cmd/launch.h"

#define NETWORK_PRODUCERS_MAX 64
#define NETWORK_PATH_MAX      (PATH_MAX - 128) /* of the directory; leaves room for the names in it */

struct network_options {
    const char *bin_dir; /* of the programs */
    const char *dir;     /* NULL: a new one below TMPDIR, removed in the end */
    const char *user;    /* name of the consumer certificate that is made */
    int threads;         /* of a producer; 0: its default */
    bool journal;
    bool pair; /* two task servers, each the other's sibling */
};

struct network {
    struct network_options options;
    char dir[NETWORK_PATH_MAX], credentials[PATH_MAX];
    bool owns_dir;
    struct child broker, server, sibling, producer[NETWORK_PRODUCERS_MAX];
    int producers;                         /* started so far; names are p1, p2, ... */
    char address[64], sibling_address[64]; /* of the servers */
    char where[160];                       /* of those there are: what consumers and producers are told */
    char broker_address[64];
    int reserved[3]; /* sockets that keep the addresses ours */
};

/* Makes directory and certificates, and chooses the addresses; nothing runs yet. A directory that was used
 * before keeps its authority. */
int network_prepare(struct network *n, const struct network_options *o, char why[LAUNCH_WHY_MAX]);
/* Each waits until what it has started is ready. It listens at its address, which the caller may have
 * changed. Servers ask the broker if that was started before them. */
int network_start_broker(struct network *n, char why[LAUNCH_WHY_MAX]);
int network_start_server(struct network *n, const char *const *more_options, char why[LAUNCH_WHY_MAX]);
/* The second server of a pair, likewise. */
int network_start_sibling(struct network *n, const char *const *more_options, char why[LAUNCH_WHY_MAX]);
int network_add_producer(struct network *n, const char *const *more_options, char why[LAUNCH_WHY_MAX]);
/* Stops producers, server and broker, in this order, and removes the directory if it was made here. */
void network_stop(struct network *n);
void network_cleanup(struct network *n, bool keep);

#endif
