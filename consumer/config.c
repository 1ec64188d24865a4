/* Where to compute, and who one is: what the caller says, else the environment, else the user's
 * configuration. */
#include <libconfig.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "consumer/net.h"

struct found {
    char address[ADDRESS_MAX];
    char dir[PATH_MAX];
};

static void copy_setting(const config_t *c, const char *name, char *out, size_t cap)
{
    const char *value;
    if (out[0] == '\0' && config_lookup_string(c, name, &value))
        snprintf(out, cap, "%s", value);
}

/* A file that is not there is no error; one that cannot be understood is. */
static int read_file(const char *path, struct found *f)
{
    config_t c;
    int err = 0;
    if (access(path, F_OK) != 0)
        return 0;
    config_init(&c);
    if (!config_read_file(&c, path))
        err = fault(NULL, CX_EINVAL, "%s:%d: %s", path, config_error_line(&c), config_error_text(&c));
    else {
        copy_setting(&c, "network", f->address, sizeof f->address);
        copy_setting(&c, "credentials", f->dir, sizeof f->dir);
    }
    config_destroy(&c);
    return err;
}

static void first_of(char *out, size_t cap, const char *given, const char *variable)
{
    const char *env = getenv(variable);
    const char *best = given != NULL ? given : env != NULL ? env : "";
    snprintf(out, cap, "%s", best);
}

int config_find(const char *address_given, const char *dir_given, char *address, char *dir)
{
    struct found f = {0};
    char home[PATH_MAX - 64], path[PATH_MAX];
    const char *h = getenv("HOME");
    int err = 0;
    snprintf(home, sizeof home, "%s/.config/cx", h != NULL ? h : "");
    first_of(f.address, sizeof f.address, address_given, "CX_NETWORK");
    first_of(f.dir, sizeof f.dir, dir_given, "CX_CREDENTIALS");
    snprintf(path, sizeof path, "%s/cx.conf", home);
    if (h != NULL && (f.address[0] == '\0' || f.dir[0] == '\0'))
        err = read_file(path, &f);
    if (err < 0)
        return err;
    snprintf(address, ADDRESS_MAX, "%s", f.address[0] != '\0' ? f.address : "local://");
    snprintf(dir, PATH_MAX, "%s", f.dir[0] != '\0' ? f.dir : home);
    return 0;
}
