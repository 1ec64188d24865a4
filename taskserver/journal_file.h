/* The journal's bytes: headers, record heads, and the walk over a file at start. Inside the journal only. */
#ifndef TASKSERVER_JOURNAL_FILE_H
#define TASKSERVER_JOURNAL_FILE_H

#include "taskserver/journal.h"

struct journal_header {
    uint64_t incarnation;
    uint64_t base;
    uint64_t snapshot_records;
    uint64_t snapshot_bytes;
};

void journal_header_put(struct buf *b, const struct journal_header *h);
/* CX_EFAILED with why when it is not a journal, of another version, or damaged. */
int journal_header_get(struct bytes data, struct journal_header *h, char *why);

/* Appends a record with its head to b. flags: JOURNAL_MARK, JOURNAL_NOTE. */
void journal_record_put(struct buf *b, uint64_t incarnation, uint64_t lsn, uint32_t flags,
                        struct bytes record);
/* Sets the MARK in the record whose head is at `head`. */
void journal_record_mark(uint8_t *head, uint64_t incarnation);

/* Walks a journal file from its header on, as far as limit: *end is where the records that check end, and the
 * file too unless found->torn_bytes says otherwise. The file is only read. */
int journal_scan(int fd, uint64_t limit, journal_replay_fn *replay, void *ctx, struct journal_header *h,
                 struct journal_found *found, uint64_t *end, char *why);

#endif
