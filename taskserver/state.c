#include "taskserver/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int state_mkdir(const char *dir, char *why)
{
    if (mkdir(dir, 0700) == 0 || errno == EEXIST)
        return 0;
    snprintf(why, STATE_WHY_MAX, "cannot make directory %.300s: %s", dir, strerror(errno));
    return CX_EIO;
}

int state_sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int err = fsync(fd) ? errno : 0;
    close(fd);
    errno = err;
    return err ? -1 : 0;
}

/* The mark's path; it is short, for the lock's is checked to fit. */
static void unfinished_path(const char *dir, char *path)
{
    snprintf(path, STATE_PATH_MAX, "%.4000s/unfinished", dir);
}

int state_unfinished(const char *dir, bool unfinished, char *why)
{
    char path[STATE_PATH_MAX];
    unfinished_path(dir, path);
    int fd = unfinished ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
    bool ok = (unfinished ? fd >= 0 : unlink(path) == 0) && state_sync_dir(dir) == 0;
    if (!ok)
        snprintf(why, STATE_WHY_MAX, "cannot make or remove %.300s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return ok ? 0 : CX_EIO;
}

static int check_finished(const char *dir, char *why)
{
    char path[STATE_PATH_MAX];
    unfinished_path(dir, path);
    if (access(path, F_OK))
        return 0;
    snprintf(why, STATE_WHY_MAX,
             "%.300s: a restore of this directory did not come to its end; remove it and "
             "restore again",
             dir);
    return CX_EFAILED;
}

int state_lock(const char *dir, int *fd, char *why)
{
    char path[STATE_PATH_MAX];
    if (snprintf(path, sizeof path, "%s/lock", dir) >= (int)sizeof path) {
        snprintf(why, STATE_WHY_MAX, "the state directory's path is too long");
        return CX_EINVAL;
    }
    int code = state_mkdir(dir, why);
    if (code)
        return code;
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0) {
        snprintf(why, STATE_WHY_MAX, "cannot open %.300s: %s", path, strerror(errno));
        return CX_EIO;
    }
    if (flock(lock, LOCK_EX | LOCK_NB) == 0) {
        code = check_finished(dir, why);
        if (code)
            close(lock);
        else
            *fd = lock;
        return code;
    }
    code = errno == EWOULDBLOCK ? CX_EEXIST : CX_EIO;
    snprintf(why, STATE_WHY_MAX,
             code == CX_EEXIST ? "%.300s: another task server uses this state directory"
                               : "cannot lock %.300s",
             path);
    close(lock);
    return code;
}
