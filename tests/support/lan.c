#include "tests/support/lan.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SWITCH = LAN_MACHINES, NAMESPACES };

static const char *const address[LAN_MACHINES] = {"10.77.0.1", "10.77.0.2", "10.77.0.3"};
static int namespaces[NAMESPACES]; /* descriptors */

const char *lan_address(int machine)
{
    return address[machine];
}

/* ---- Making it ---- */

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
    if (fd >= 0)
        close(fd);
    return n == (ssize_t)strlen(text) ? 0 : -1;
}

/* Whoever is not root becomes it within a user namespace, where networks may be made, too. Root does without:
 * in a changed root directory there are no user namespaces. */
static int become_able(void)
{
    char uid[32], gid[32];
    snprintf(uid, sizeof uid, "0 %u 1", (unsigned)getuid());
    snprintf(gid, sizeof gid, "0 %u 1", (unsigned)getgid());
    if (unshare(CLONE_NEWNET) == 0)
        return 0;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 || write_file("/proc/self/setgroups", "deny") < 0)
        return -1;
    return write_file("/proc/self/uid_map", uid) < 0 || write_file("/proc/self/gid_map", gid) < 0 ? -1 : 0;
}

/* A new one for each but the first, which this thread is in and comes back to. */
static int make_namespaces(void)
{
    static const int order[NAMESPACES] = {LAN_REST, 0, 1, SWITCH};
    for (int i = 0; i < NAMESPACES; i++) {
        if (i > 0 && unshare(CLONE_NEWNET) < 0)
            return -1;
        if ((namespaces[order[i]] = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) < 0)
            return -1;
    }
    return setns(namespaces[LAN_REST], CLONE_NEWNET);
}

/* What the command said goes to out, if there is one. */
static int run_in(int namespace, const char *command, char *out, size_t cap)
{
    size_t n = 0;
    if (setns(namespaces[namespace], CLONE_NEWNET) < 0)
        return -1;
    FILE *f = popen(command, "re");
    if (f != NULL && out != NULL) {
        n = fread(out, 1, cap - 1, f);
        out[n] = '\0';
    }
    int status = f == NULL ? -1 : pclose(f);
    return setns(namespaces[LAN_REST], CLONE_NEWNET) < 0 || status != 0 ? -1 : 0;
}

/* sbin is not in everybody's PATH. */
#define SHELL "set -e; PATH=$PATH:/usr/sbin:/sbin; "

static int make_switch(void)
{
    return run_in(SWITCH, SHELL "ip link add bridge type bridge; ip link set bridge up", NULL, 0);
}

static int make_machine(int m)
{
    char plug[320], set_up[320];
    snprintf(plug, sizeof plug,
             SHELL "ip link add port%d type veth peer name eth0 netns /proc/%d/fd/%d; "
                   "ip link set port%d master bridge up",
             m, (int)getpid(), namespaces[m], m);
    snprintf(set_up, sizeof set_up,
             SHELL "ip link set lo up; ip address add %s/24 dev eth0; ip link set eth0 up; "
                   "nft 'add table ip faults; "
                   "add chain ip faults arrive { type filter hook input priority 0; }'",
             address[m]);
    return run_in(SWITCH, plug, NULL, 0) < 0 ? -1 : run_in(m, set_up, NULL, 0);
}

int lan_make(void)
{
    if (become_able() < 0 || make_namespaces() < 0) {
        fprintf(stderr, "cannot make network namespaces: %s; this needs root or user namespaces\n",
                strerror(errno));
        return -1;
    }
    int err = make_switch();
    for (int m = 0; m < LAN_MACHINES && err == 0; m++)
        err = make_machine(m);
    if (err < 0)
        fprintf(stderr, "cannot set up the network between namespaces (above); this needs ip (iproute2), nft "
                        "(nftables) and a kernel with veth, bridge and nf_tables\n");
    return err;
}

/* ---- Being there ---- */

void lan_enter(int machine)
{
    assert_int_equal(setns(namespaces[machine], CLONE_NEWNET), 0);
}

void lan_leave(void)
{
    lan_enter(LAN_REST);
}

/* ---- Faults ---- */

void lan_drop(int from, int to, const char *words)
{
    char command[320];
    snprintf(command, sizeof command, SHELL "nft 'add rule ip faults arrive ip saddr %s %s counter drop'",
             address[from], words);
    if (run_in(to, command, NULL, 0) < 0)
        fail_msg("not done: %s", command);
}

void lan_cut(int a, int b)
{
    lan_drop(a, b, "");
    lan_drop(b, a, "");
}

unsigned long lan_lost(int to)
{
    char rules[4096];
    unsigned long sum = 0;
    if (run_in(to, SHELL "nft list chain ip faults arrive", rules, sizeof rules) < 0)
        fail_msg("the rules of machine %d cannot be read", to);
    for (const char *at = rules; (at = strstr(at, "counter packets ")) != NULL; at++)
        sum += strtoul(at + strlen("counter packets "), NULL, 10);
    return sum;
}

void lan_mend(void)
{
    for (int m = 0; m < LAN_MACHINES; m++)
        if (run_in(m, SHELL "nft flush chain ip faults arrive", NULL, 0) < 0)
            fail_msg("machine %d cannot be mended", m);
}
