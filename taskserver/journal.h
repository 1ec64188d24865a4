/* The journal: the log records of the core (ts.h) on disk, so that a server that was killed goes on where it
 * was.
 *
 * STATE/journal = header record*, all numbers little-endian:
 *
 *   header = magic:8 version:u32 zero:u32 incarnation:u64 base:u64 snapshot_records:u64 snapshot_bytes:u64
 * sum:u64 record = length:u32 lsn:u64 sum:u64 data:length
 *
 * The first snapshot_records records (snapshot_bytes long) are the state at lsn `base`, each with that lsn;
 * after them come the log's records, base+1, base+2, ... The sums are XXH3-64: of the header before its sum;
 * of a record's data, seeded by the sum of its length and lsn, seeded by the incarnation. The top bit of the
 * length is the MARK: all that lies before this record was synced when it was written. Each group of records
 * that is written and synced together begins with a MARK; a record of no data, which carries the last lsn, is
 * a MARK and nothing else, written behind a group when nothing follows it.
 *
 * A record whose length has the NOTE bit is not for the state: whoever keeps the journal has left a note to
 * itself (a replica its mark), in order among the records. It carries the last lsn; a start returns the last
 * one.
 *
 * So a start can tell what a record that does not check means. No MARK behind it: its group was never known
 * to be on disk, nothing of it was promised to anyone; it is a torn tail and is cut off. A MARK behind it: it
 * was on disk once and has been damaged since; the server refuses to start, names the offset, and deletes
 * nothing.
 *
 * A disk thread writes: while it syncs one group, the next grows by itself (group commit). A disk that fails
 * to write or sync ends the process, at once and for good: after a failed fsync nobody knows what is on disk,
 * and a retry that succeeds proves nothing (Rebello et al., "Can Applications Recover from fsync Failures?",
 * 2020).
 *
 * One thread, the reactor, calls all functions below. */
#ifndef TASKSERVER_JOURNAL_H
#define TASKSERVER_JOURNAL_H

#include "base/bytes.h"
#include "proto/worker.h"
#include "taskserver/state.h"

#define JOURNAL_VERSION        2u
#define JOURNAL_HEADER_BYTES   56u
#define JOURNAL_RECORD_HEAD    20u
#define JOURNAL_MARK           0x80000000u
#define JOURNAL_NOTE           0x40000000u
#define JOURNAL_COMPACT_BYTES  (64ull << 20) /* compaction is not worth it below this */
#define JOURNAL_COMPACT_FACTOR 4u            /* ... nor below this many times the last snapshot */
#define JOURNAL_EXIT           74            /* EX_IOERR: how the process ends when its disk fails */
#define JOURNAL_UNWRITTEN_MAX  (256u << 20)  /* a reactor that is this far ahead of the disk waits for it */

struct journal;

/* What replays records, for compaction: a machine of its own beside the reactor's. Called on compaction's
 * thread, so it touches nothing that the reactor does. */
struct journal_machine {
    void *(*begin)(void *ctx); /* an empty state */
    bool (*replay)(void *state, struct bytes record, uint64_t lsn);
    void (*snapshot)(const void *state, void (*emit)(void *ctx, struct bytes record), void *ctx);
    void (*end)(void *state);
};

struct journal_config {
    const char *dir;      /* in the state directory, which is locked; borrowed */
    struct poster poster; /* from the disk thread to the reactor */
    /* On the reactor: the log up to lsn is on disk, and so is everything else that was appended up to the
     * call that gave this generation. */
    void (*held)(void *ctx, uint64_t lsn, uint64_t generation);
    const struct journal_machine *machine; /* borrowed */
    void *ctx;                             /* of held, of replay, and of the machine's begin */
    uint64_t compact_bytes;                /* 0: JOURNAL_COMPACT_BYTES */
};

/* What a start found. */
struct journal_found {
    uint64_t incarnation; /* random, made with the file; says which disk a history is of */
    uint64_t lsn;         /* of the last record */
    uint64_t records;     /* replayed, snapshot and log */
    uint64_t bytes;
    uint64_t torn_bytes; /* cut off the end */
    struct buf note;     /* owned (journal_found_free): the last one; empty when there is none */
};
void journal_found_free(struct journal_found *found);

/* Is handed each record in order; false refuses it. */
typedef bool journal_replay_fn(void *ctx, struct bytes record, uint64_t lsn);

/* Opens the journal, or makes one with this incarnation; replays what is in it, and starts the disk thread.
 * All that was replayed is on disk when this returns. CX_EIO: the disk; CX_EFAILED: the journal is damaged,
 * why says where and what to do (STATE_WHY_MAX bytes). */
int journal_open(const struct journal_config *config, uint64_t incarnation, journal_replay_fn *replay,
                 struct journal **out, struct journal_found *found, char *why);

/* Replays what is in a directory's journal, without changing or making anything. CX_ENOTFOUND: there is none;
 * otherwise as journal_open. */
int journal_read(const char *dir, journal_replay_fn *replay, void *ctx, struct journal_found *found,
                 char *why);

/* Appends a record to what will be written. lsn is one more than the last. */
void journal_append(struct journal *j, uint64_t lsn, struct bytes record);
/* Appends a note, which takes the place of the last one. Returns the generation that begins with it. */
uint64_t journal_note(struct journal *j, struct bytes note);
/* Hands what was appended to the disk thread, if that has room; otherwise it goes with a later call, or by
 * itself when the thread has news. Cheap when there is nothing. */
void journal_flush(struct journal *j);

/* Begins a compaction if the journal is long and none is under way. Its thread replays the file into a
 * machine of its own, writes that one's state to a new file, and copies what has been logged since; the disk
 * thread then copies the last of it (256 KiB at most, unless more came in that moment), syncs, and puts the
 * new file in the old one's place. Records are accepted all the while, and held later than usual only in that
 * last step: the time of one sync. While it lasts, the state is in memory twice. */
void journal_compact(struct journal *j);

/* ---- Another state: a new file that takes the journal's place ---- */

struct journal_rebuild;
typedef void journal_rebuilt_fn(void *ctx, uint64_t generation);

/* Begins a file whose snapshot is the state at lsn. It is in memory until it is committed. */
struct journal_rebuild *journal_rebuild_begin(struct journal *j, uint64_t lsn);
void journal_rebuild_add(struct journal_rebuild *r, struct bytes record);
void journal_rebuild_abandon(struct journal_rebuild *r);
/* The journal is this file from here on, beginning with the note: records appended from now on follow it, and
 * what was not written to the old file yet is dropped. done, on the reactor: it is in place, on disk. A crash
 * before leaves the old file, whole. One at a time. */
void journal_rebuild_commit(struct journal_rebuild *r, struct bytes note, journal_rebuilt_fn *done,
                            void *ctx);

uint64_t journal_bytes(const struct journal *j);

/* Writes and syncs all that was appended, and joins the disk thread. Call once, before the poster goes. */
void journal_stop(struct journal *j);
/* After journal_stop, when no post of the disk thread can be under way any more. NULL is legal. */
void journal_free(struct journal *j);

#endif
