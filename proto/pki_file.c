#include "proto/pki_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_path(char out[PKI_PATH_MAX], const char *dir, const char *a, const char *b, const char *suffix)
{
    int n = b ? snprintf(out, PKI_PATH_MAX, "%s/%s-%s.%s", dir, a, b, suffix)
              : snprintf(out, PKI_PATH_MAX, "%s/%s.%s", dir, a, suffix);
    return n > 0 && n < PKI_PATH_MAX;
}

static char *read_all(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return NULL;
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)PEM_BYTES_MAX) {
        errno = EFBIG;
        return NULL;
    }
    size_t len = (size_t)st.st_size, at = 0;
    char *text = malloc(len + 1);
    ssize_t n = 1;
    while (text && at < len && (n = read(fd, text + at, len - at)) != 0) {
        if (n < 0 && errno != EINTR)
            break;
        at += n > 0 ? (size_t)n : 0;
    }
    if (!text || n < 0) {
        free(text);
        return NULL;
    }
    text[at] = 0;
    return text;
}

char *file_read(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    char *text = read_all(fd);
    int e = errno;
    close(fd);
    errno = e;
    return text;
}

static int write_all(int fd, const char *data, size_t len, unsigned mode)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return fchmod(fd, mode) != 0 || fsync(fd) != 0 ? -1 : 0;
}

int draft_write(struct draft *d, const char *path, const char *data, size_t len, unsigned mode)
{
    snprintf(d->path, sizeof d->path, "%s", path);
    snprintf(d->temp, sizeof d->temp, "%s.XXXXXX", path);
    int fd = mkostemp(d->temp,
                      O_CLOEXEC); /* mode 0600 from the start: a key is never readable, not for a moment */
    if (fd < 0) {
        d->temp[0] = 0;
        return -1;
    }
    int e = write_all(fd, data, len, mode);
    if (close(fd) != 0)
        e = -1;
    return e;
}

int draft_show(struct draft *d, bool fresh)
{
    if (fresh)
        return link(d->temp, d->path); /* the draft's own name goes with draft_drop */
    if (rename(d->temp, d->path) != 0)
        return -1;
    d->temp[0] = 0;
    return 0;
}

void draft_drop(struct draft *d)
{
    if (d->temp[0])
        unlink(d->temp);
}
