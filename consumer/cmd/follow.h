/* Following a job to its end with a progress bar, and leaving it on Ctrl-C. */
#ifndef CMD_FOLLOW_H
#define CMD_FOLLOW_H

#include "consumer/cmd/cmd.h"

/* From now on Ctrl-C ends the program with 130, saying how to wait for this job again. */
void interrupt_leaves(const cx_net *net, const char *job);

/* cx_wait with progress on standard error: a bar that is redrawn on a terminal, a line every few seconds in a
 * pipe, nothing with --quiet. deadline_us as deadline_of. */
int follow(cx_job *job, uint64_t deadline_us, cx_value *result);

/* The bar's text for a progress, without escape codes; rate in tasks a second. For tests. */
void progress_text(const cx_progress *p, double rate, int columns, char *out, size_t cap);

#endif
