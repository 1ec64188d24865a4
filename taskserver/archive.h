/* A backup's file: the state of a server's shards, and what its running jobs need, in one file that can be
 * checked from end to end. All numbers are little-endian.
 *
 *   file = magic:8 version:u32 zero:u32 part*
 *   part = kind:u8 length:u32 sum:u64 data:length
 *
 * The sum is XXH3-64 of the data, seeded by that of kind and length, seeded by the part's number from 0: one
 * that was changed, moved, or left out is found. The last part, and the only one of its kind, is END.
 *
 *   SHARD  id:16 server:bytes lsn:varint note:bytes  a shard begins; the first one is the server's own
 *   RECORD data                                      of its state, as ts_snapshot gives it
 *   BLOB   sha256:32                                 a module or input begins
 *   DATA   data                                      of the blob
 *   END    (nothing) */
#ifndef TASKSERVER_ARCHIVE_H
#define TASKSERVER_ARCHIVE_H

#include "base/bytes.h"
#include "taskserver/state.h"

#define ARCHIVE_VERSION 1u

enum archive_kind {
    ARCHIVE_SHARD = 1,
    ARCHIVE_RECORD,
    ARCHIVE_BLOB,
    ARCHIVE_DATA,
    ARCHIVE_END,
};

/* ---- Writing ---- */

struct archive_writer;

/* Makes the file, which must not be there: CX_EEXIST. CX_EIO. why: STATE_WHY_MAX bytes. */
int archive_create(const char *path, struct archive_writer **out, char *why);
/* A failure is remembered, and told by archive_close. */
void archive_put(struct archive_writer *w, enum archive_kind kind, struct bytes data);
/* keep: ends it, and sees it to the disk. Otherwise, or when that fails (CX_EIO with why), it is removed. */
int archive_close(struct archive_writer *w, bool keep, char *why);

/* ---- Reading ---- */

struct archive_reader;

struct archive_part {
    enum archive_kind kind;
    struct bytes data; /* borrowed until the next one */
};

/* CX_EIO; CX_EFAILED: it is not a backup, or of another version. */
int archive_open(const char *path, struct archive_reader **out, char *why);
/* The next part. CX_EFAILED: the file is damaged, or ends here: only END ends it. */
int archive_next(struct archive_reader *r, struct archive_part *part, char *why);
void archive_free(struct archive_reader *r); /* NULL is legal */

#endif
