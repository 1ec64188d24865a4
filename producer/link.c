#include "producer/link.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/must.h"
#include "cx/error.h"

static size_t aligned(size_t n)
{
    return (n + 63) & ~(size_t)63;
}
static size_t head_bytes(void)
{
    return aligned(sizeof(struct link_head));
}
static size_t in_offset(void)
{
    return aligned(sizeof(struct link_thread));
}
static size_t out_offset(void)
{
    return in_offset() + aligned(ring_bytes(LINK_IN_BYTES));
}
static size_t thread_bytes(void)
{
    return out_offset() + aligned(ring_bytes(LINK_OUT_BYTES));
}
static size_t link_bytes(uint32_t threads)
{
    return head_bytes() + threads * thread_bytes();
}

static int map_fd(struct link *l, int fd, uint32_t threads)
{
    size_t len = link_bytes(threads);
    void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return CX_EIO;
    *l = (struct link){.map = map, .len = len, .threads = threads, .head = map};
    return 0;
}

int link_create(struct link *l, uint32_t threads, bool has_input, int *out)
{
    must(threads > 0 && threads <= LINK_THREADS_MAX);
    int fd = memfd_create("cx-link", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return CX_EIO;
    if (ftruncate(fd, (off_t)link_bytes(threads)) ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) || map_fd(l, fd, threads)) {
        close(fd);
        return CX_EIO;
    }
    l->head->version = LINK_VERSION;
    l->head->threads = threads;
    l->head->has_input = has_input;
    atomic_store(&l->head->engine.best_min, INT64_MAX);
    atomic_store(&l->head->engine.best_max, INT64_MIN);
    *out = fd;
    return 0;
}

int link_attach(struct link *l, int fd)
{
    struct link_head head;
    struct stat st;
    if (pread(fd, &head, sizeof head, 0) != (ssize_t)sizeof head || fstat(fd, &st))
        return CX_EIO;
    if (head.version != LINK_VERSION || head.threads == 0 || head.threads > LINK_THREADS_MAX ||
        (size_t)st.st_size != link_bytes(head.threads))
        return CX_EVERSION;
    return map_fd(l, fd, head.threads);
}

void link_close(struct link *l)
{
    if (l->map)
        munmap(l->map, l->len);
    *l = (struct link){0};
}

static uint8_t *thread_at(const struct link *l, uint32_t i)
{
    must(i < l->threads);
    return l->map + head_bytes() + i * thread_bytes();
}

struct link_thread *link_thread(const struct link *l, uint32_t i)
{
    return (struct link_thread *)thread_at(l, i);
}

struct ring_shared *link_in(const struct link *l, uint32_t i)
{
    return (struct ring_shared *)(thread_at(l, i) + in_offset());
}

struct ring_shared *link_out(const struct link *l, uint32_t i)
{
    return (struct ring_shared *)(thread_at(l, i) + out_offset());
}

void link_merge_bound(struct link *l, uint32_t kind, int64_t value)
{
    _Atomic int64_t *best = kind == CX_BOUND_MIN ? &l->head->engine.best_min : &l->head->engine.best_max;
    int64_t now = atomic_load(best);
    while (kind == CX_BOUND_MIN ? value < now : value > now)
        if (atomic_compare_exchange_weak(best, &now, value))
            return;
}
