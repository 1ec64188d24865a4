/* A disk whose power can fail: ext4 in a file, mounted through a loop device within this process's own mount
 * namespace, so that nothing is left of it when the process ends.
 *
 *     why = disk_available();               // first thing in main; NULL: yes
 *     disk_insert(&d, image, directory);    // makes both
 *     ... a program writes below directory
 *     disk_power_fails(&d);                 // what was not synced is lost, whoever writes on gets an error
 *     ... the program ends
 *     disk_power_returns(&d);               // mounted again, the file system recovers itself
 *     disk_remove(&d);
 */
#ifndef TESTS_SUPPORT_DISK_H
#define TESTS_SUPPORT_DISK_H

#include <limits.h>

struct disk {
    char image[PATH_MAX], directory[PATH_MAX];
    int loop; /* number of the device */
};

/* Enters a mount namespace of its own. NULL, or why there can be no such disks: not root, or a kernel without
 * loop devices. */
const char *disk_available(void);

void disk_insert(struct disk *d, const char *image, const char *directory);
void disk_power_fails(struct disk *d);
/* Whoever had files open there must have ended. */
void disk_power_returns(struct disk *d);
void disk_remove(struct disk *d);

#endif
