/* The state directory of a task server: journal, blobs, and the lock that keeps a second server out. */
#ifndef TASKSERVER_STATE_H
#define TASKSERVER_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "cx/error.h"

#define STATE_PATH_MAX 4096
#define STATE_WHY_MAX  512

/* Makes the directory if it is not there and locks it for this process. *fd holds the lock until it is closed
 * (or the process dies, however). CX_EEXIST: another server uses it; CX_EIO: it cannot be used; CX_EFAILED:
 * it is unfinished. why: STATE_WHY_MAX. */
int state_lock(const char *dir, int *fd, char *why);

/* Marks a locked directory as unfinished, or as finished: on disk when this returns. */
int state_unfinished(const char *dir, bool unfinished, char *why);

/* Makes a directory whose parent exists; one that exists already is fine. 0 or CX_EIO with why. */
int state_mkdir(const char *dir, char *why);

/* fsync of a directory, so that a file that was created or renamed in it is found again after a power loss. 0
 * or -1 with errno. */
int state_sync_dir(const char *dir);

#endif
