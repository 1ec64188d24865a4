/* Backup and restore of a state directory that no server uses.
 *
 * A backup is of the state, not of the disk: what is restored is a new disk, with incarnations of its own
 * (docs/REPLICATION.md, R1). It counts as keeping nothing for anybody, however old or new it is: in a pair it
 * reads the state of its sibling, or, where that is lost too, waits until the operator accepts the loss. */
#ifndef TASKSERVER_BACKUP_H
#define TASKSERVER_BACKUP_H

#include "taskserver/core/ts.h"
#include "taskserver/state.h"

struct backup_config {
    const char *state;   /* directory */
    const char *network; /* its name */
    const char *server;  /* the certified name */
    bool broker;         /* it has one, so its shards have names */
    const struct ts_config *core;
};

/* Writes all shards of the directory, and the modules and inputs that their running jobs need, to a new file.
 * The journals are checked on the way; they are not changed. why: STATE_WHY_MAX bytes. CX_EEXIST: the file
 * is there, or a server uses the directory; CX_ENOTFOUND: there is no journal. */
int backup_write(const struct backup_config *config, const char *file, char *why);

/* Fills a directory that has no journal yet. On failure nothing of it counts: the server does not start on a
 * directory whose restore did not come to its end. */
int backup_restore(const struct backup_config *config, const char *file, char *why);

/* An empty table for the shard of this server. Both use it. */
struct ts *backup_table(const struct backup_config *config, const char *server);

#endif
