#include "tests/support/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE_MIB = 64, LOOP_MAJOR = 7, LOOP_TRIES = 100 };

/* Not in the headers of every system. The file system stops at once; its log is not written out before. */
#define SHUTDOWN            _IOR('X', 125, uint32_t)
#define SHUTDOWN_NOLOGFLUSH 2

#define NODE_OF_CONTROL makedev(10, 237)

/* ---- Devices ---- */

/* Where /dev lacks it, as in a new root directory, by a node of our own. */
static int open_device(const char *name, mode_t type, dev_t number)
{
    char path[64], dir[] = "/tmp/cx-device-XXXXXX";
    snprintf(path, sizeof path, "/dev/%s", name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 || errno != ENOENT || mkdtemp(dir) == NULL)
        return fd;
    snprintf(path, sizeof path, "%s/node", dir);
    if (mknod(path, type | 0600, number) == 0)
        fd = open(path, O_RDWR | O_CLOEXEC);
    unlink(path);
    rmdir(dir);
    return fd;
}

static int open_control(void)
{
    return open_device("loop-control", S_IFCHR, NODE_OF_CONTROL);
}

static int open_loop(int n)
{
    char name[32];
    snprintf(name, sizeof name, "loop%d", n);
    return open_device(name, S_IFBLK, makedev(LOOP_MAJOR, (unsigned)n));
}

/* A descriptor of a loop device that shows the image; it lives until this is closed and nothing is mounted.
 * Somebody else may take the free one first. */
static int attach(struct disk *d)
{
    struct loop_config config = {.info.lo_flags = LO_FLAGS_AUTOCLEAR};
    int control = open_control(), image = open(d->image, O_RDWR | O_CLOEXEC), fd = -1;
    assert_true(control >= 0 && image >= 0);
    config.fd = (uint32_t)image;
    for (int i = 0; i < LOOP_TRIES && fd < 0; i++) {
        d->loop = ioctl(control, LOOP_CTL_GET_FREE);
        fd = d->loop < 0 ? -1 : open_loop(d->loop);
        if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) < 0) {
            close(fd);
            fd = -1;
        }
    }
    if (fd < 0)
        fail_msg("no loop device: %s", strerror(errno));
    close(image);
    close(control);
    return fd;
}

const char *disk_available(void)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return "only root may mount disks";
    int control = open_control();
    if (control < 0)
        return "there are no loop devices";
    close(control);
    return NULL;
}

/* ---- The file system ---- */

/* mount wants the path of a device, and it may be a node of our own. */
static void mount_image(struct disk *d)
{
    char device[64];
    int fd = attach(d);
    snprintf(device, sizeof device, "/proc/self/fd/%d", fd);
    if (mount(device, d->directory, "ext4", 0, NULL) < 0)
        fail_msg("cannot mount %s at %s: %s", d->image, d->directory, strerror(errno));
    close(fd);
}

static void make_file_system(const char *image)
{
    char command[PATH_MAX + 64];
    int fd = open(image, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)SIZE_MIB << 20), 0);
    close(fd);
    snprintf(command, sizeof command, "PATH=$PATH:/usr/sbin:/sbin; mkfs.ext4 -q -F '%s'", image);
    if (system(command) != 0)
        fail_msg("not done: %s", command);
}

void disk_insert(struct disk *d, const char *image, const char *directory)
{
    snprintf(d->image, sizeof d->image, "%s", image);
    snprintf(d->directory, sizeof d->directory, "%s", directory);
    make_file_system(image);
    assert_int_equal(mkdir(directory, 0700), 0);
    mount_image(d);
}

void disk_power_fails(struct disk *d)
{
    uint32_t flags = SHUTDOWN_NOLOGFLUSH;
    int fd = open(d->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    if (ioctl(fd, SHUTDOWN, &flags) < 0)
        fail_msg("ext4 cannot be shut down: %s", strerror(errno));
    close(fd);
}

void disk_power_returns(struct disk *d)
{
    if (umount(d->directory) < 0)
        fail_msg("cannot unmount %s: %s", d->directory, strerror(errno));
    mount_image(d);
}

void disk_remove(struct disk *d)
{
    if (umount2(d->directory, MNT_DETACH) < 0)
        print_message("cannot unmount %s: %s\n", d->directory, strerror(errno));
}
