/* Configuration files from hostile bytes: read or refused, never a crash, and nothing is set by a refused
 * one. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *listen_at;
static int64_t threads;
static uint64_t memory;
static bool journal;

static const struct option_row rows[] = {
    {"listen", OPTION_STRING, &listen_at, "HOST:PORT", "Serve here", 0, 0},
    {"threads", OPTION_INT, &threads, "N", "Threads", 1, 64},
    {"memory", OPTION_SIZE, &memory, "SIZE", "Memory", 0, 0},
    {"journal", OPTION_FLAG, &journal, NULL, "Keep a journal", 0, 0},
};

static void check(bool condition)
{
    if (!condition)
        abort();
}

/* The reasons are not wanted here; the sanitizers' reports are. */
static enum options_outcome read_quietly(int argc, char **argv)
{
    int err = dup(2), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, 2);
    enum options_outcome o = options_read("fuzz", "", rows, sizeof rows / sizeof rows[0], argc, argv);
    dup2(err, 2);
    close(err);
    close(null);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (memmem(data, size, "@include", 8)) /* other files are not what is tested */
        return 0;
    int fd = memfd_create("config", MFD_CLOEXEC);
    check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    char name[] = "fuzz", option[] = "--config", path[64] = "/proc/self/fd/",
         *argv[] = {name, option, path, NULL};
    snprintf(path + strlen(path), 20, "%d", fd);
    listen_at = NULL;
    threads = 4;
    memory = 0;
    journal = true;
    if (read_quietly(3, argv) == OPTIONS_GO)
        check(threads >= 1 && threads <= 64 && memory <= INT64_MAX);
    else
        check(!listen_at && threads == 4 && memory == 0 && journal);
    close(fd);
    return 0;
}
