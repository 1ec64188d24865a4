/* Listings as plain structs: one a line of `cx jobs`, `cx producers`, `cx status` and `cx networks`. */
#ifndef CONSUMER_ROWS_H
#define CONSUMER_ROWS_H

#include "base/id.h"
#include "taskserver/core/ts.h"

enum list_what {
    LIST_JOBS = 1,
    LIST_PRODUCERS = 2,
    LIST_SERVER = 3,
    LIST_NETWORKS = 4,
    LIST_SHARDS = 5
}; /* the wire's numbers */

#define ROW_TEXT_MAX 256

struct job_row {
    struct id id;
    uint32_t state; /* enum cx_state */
    char label[ROW_TEXT_MAX], owner[TS_NAME_MAX + 1], function[ROW_TEXT_MAX];
    char reason[TS_REASON_MAX + 1];
    int32_t priority;
    uint32_t weight;
    uint64_t ready, waiting, granted, executed, duplicates, commits, busy_ns, bytes, age_us;
    bool has_min, has_max;
    int64_t best_min, best_max;
};

struct producer_row {
    char name[TS_NAME_MAX + 1], arch[16];
    uint32_t threads, window, granted;
    uint64_t commits, executed, busy_ns, age_us;
};

struct server_row {
    char name[TS_NAME_MAX + 1], network[TS_NAME_MAX + 1], software[TS_NAME_MAX + 1];
    uint64_t jobs, tasks, ready, waiting, granted, producers, threads, memory, memory_max, lsn, held, age_us;
    bool journal;
};

struct network_row {
    char network[TS_NAME_MAX + 1], address[ROW_TEXT_MAX], arch[ROW_TEXT_MAX];
    uint32_t producers, threads, price;
    uint64_t ready, granted, jobs, age_ms;
    bool alive;
};

/* One replica of a shard, as the server that keeps it sees it. */
struct shard_row {
    char silent[ROW_TEXT_MAX]; /* not "": no replica, but the server at `addresses`, which does not answer:
                                  why */
    struct id id;
    char name[TS_NAME_MAX + 1], server[TS_NAME_MAX + 1], role[32],
        addresses[2 * ROW_TEXT_MAX]; /* the server's own first */
    uint64_t epoch, lsn, held, jobs, producers;
    uint64_t primary, in_sync[2], member, backup; /* incarnations; 0: none */
    uint64_t backup_lsn, backup_bytes;            /* how far the backup is, and what is on its way to it */
    bool serves, sibling;                         /* sibling: it is connected */
};

/* The name of function fn (FN_FIRST + index) in a comma-separated list. */
void function_name(struct bytes functions, uint32_t fn, char *out, size_t cap);
/* Copies and cuts; control characters become '?', for others' labels are shown on one's terminal. */
void row_text(char *dst, size_t cap, struct bytes s);
/* What has one line in a table: line ends and tabs become '?', too. */
void row_line(char *dst, size_t cap, struct bytes s);

#endif
