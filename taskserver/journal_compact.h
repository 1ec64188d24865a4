/* Compaction's own thread: a new journal file that begins with the state instead of what led to it. Inside
 * the journal only. */
#ifndef TASKSERVER_JOURNAL_COMPACT_H
#define TASKSERVER_JOURNAL_COMPACT_H

#include <stdatomic.h>

#include "taskserver/journal_file.h"

struct compaction {
    const struct journal_machine *machine; /* borrowed */
    void *ctx;                             /* of the machine */
    const char *path, *path_new;           /* borrowed */
    uint64_t incarnation;
    uint64_t limit;      /* the old file's records up to here are replayed ... */
    uint64_t lsn;        /* ... which ends with this one */
    atomic_bool abandon; /* the journal is being closed: end soon, failing */
    /* What came of it. */
    int from, to;            /* the old file, for reading, and the new one, at its end; owned */
    uint64_t copied;         /* the old file up to here is in the new one */
    uint64_t bytes;          /* of the new one */
    uint64_t snapshot_bytes; /* of its snapshot */
    uint64_t records;
    struct buf chunk; /* owned: on its way to the file */
    int error;        /* errno of the first failure to write; 0: none */
    char why[STATE_WHY_MAX];
};

/* Replays the old file into a machine of its own and writes that one's state to the new file. False: why says
 * what was wrong, and no new file is there. */
bool compaction_run(struct compaction *c);
/* Copies what the old file has grown since, up to end, and syncs the new one. False as above. */
bool compaction_catch_up(struct compaction *c, uint64_t end);
/* Closes what is open, and removes the new file if it was not kept. */
void compaction_end(struct compaction *c, bool kept);

#endif
