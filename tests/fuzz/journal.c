/* The journal's reader over any file at all: it ends, reads no byte that is not there, and hands over records
 * in order only. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/must.h"
#include "taskserver/journal_file.h"

struct seen {
    uint64_t lsn;
    bool any;
};

static bool on_record(void *ctx, struct bytes record, uint64_t lsn)
{
    struct seen *s = ctx;
    must(!s->any || lsn == s->lsn || lsn == s->lsn + 1);
    for (size_t i = 0; i < record.len; i++)
        s->lsn += record.data[i] & 0; /* each byte can be read */
    s->lsn = lsn;
    s->any = true;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("journal", MFD_CLOEXEC);
    must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    struct journal_header h;
    struct journal_found found;
    struct seen seen = {0};
    uint64_t end = 0;
    char why[STATE_WHY_MAX] = "";
    int code = journal_scan(fd, UINT64_MAX, on_record, &seen, &h, &found, &end, why);
    must(code == 0 ? end <= size && found.torn_bytes == size - end : why[0] != 0);
    close(fd);
    return 0;
}
