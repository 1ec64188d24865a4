/* The walls around task code, as far as a process can raise them for itself. */
#include <errno.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cx/error.h"
#include "producer/runner/runner.h"

static int wall_failed(char *why, const char *what)
{
    snprintf(why, LINK_WHY_MAX, "the runner could not %s: %s", what, strerror(errno));
    return CX_EIO;
}

static int limit(int resource, rlim_t max)
{
    struct rlimit now;
    if (getrlimit(resource, &now))
        return -1;
    if (now.rlim_max < max)
        max = now.rlim_max;
    return setrlimit(resource, &(struct rlimit){max, max});
}

int walls_raise(bool has_input, char *why)
{
    unsigned first_foreign = has_input ? LINK_FD_END : LINK_FD_INPUT;
    if (close_range(first_foreign, ~0u, 0))
        return wall_failed(why, "close what it inherited");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return wall_failed(why, "renounce new privileges");
    if (limit(RLIMIT_CORE, 0) || limit(RLIMIT_NOFILE, 64))
        return wall_failed(why, "limit itself");
    return 0;
}
