/* PEM files: small, read whole, written so that a crash leaves the old one or the new one, never half of one.
 */
#ifndef PROTO_PKI_FILE_H
#define PROTO_PKI_FILE_H

#include <stdbool.h>
#include <stddef.h>

#define PEM_BYTES_MAX (256u << 10)
#define PKI_PATH_MAX  4096

/* The file's content, zero-terminated, owned by the caller; NULL with errno set. */
char *file_read(const char *path);
/* A new file is written in two steps, so that several can be shown at nearly the same moment: on disk under a
 * name of its own, then under the one it is for. */
struct draft {
    char path[PKI_PATH_MAX];
    char temp[PKI_PATH_MAX + 8]; /* "" when there is none */
};
/* 0, or -1 with errno set. */
int draft_write(struct draft *d, const char *path, const char *data, size_t len, unsigned mode);
/* Creates or replaces the path; `fresh`: fails with EEXIST when there is one. 0, or -1 with errno set. */
int draft_show(struct draft *d, bool fresh);
/* Removes what was not shown. */
void draft_drop(struct draft *d);
/* "dir/a-b.suffix", or "dir/a.suffix" when b is NULL; false when it does not fit. */
bool file_path(char out[PKI_PATH_MAX], const char *dir, const char *a, const char *b, const char *suffix);

#endif
