/* Values, jobs and listings for people and as JSON. */
#ifndef CMD_SHOW_H
#define CMD_SHOW_H

#include "consumer/cmd/cmd.h"

const char *state_name(unsigned state); /* "running", "done", "failed", "cancelled" */

/* 1:02:03 or 2:03, and 12,345 written as "12.3k". Each returns out. */
#define SHORT_MAX 24
char *show_time(double seconds, char out[SHORT_MAX]);
char *show_count(double n, char out[SHORT_MAX]);
char *show_bytes(uint64_t n, char out[SHORT_MAX]);
char *show_f64(double v, char out[32]); /* the shortest that reads back as the same double */

/* Writes a result where the user wants it: to the file `output`, or to standard output (raw when that is no
 * terminal). 0 or an exit code; the error has been reported. */
int show_result(const char *job, cx_value v, const char *output);
struct cJSON *json_value(cx_value v);

void show_jobs(const struct buf *rows);
void show_job(const struct job_row *row);
void show_producers(const struct buf *rows);
void show_server(const struct buf *rows);
struct shards;
void show_shards(const struct shards *s);
void show_networks(const struct buf *rows);

#endif
