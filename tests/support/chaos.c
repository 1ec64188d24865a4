#include "tests/support/chaos.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "base/clock.h"

/* ---- Draws (SplitMix64) ---- */

struct chaos chaos_begin(const char *test)
{
    struct chaos c = {0};
    const char *given = getenv("CX_TEST_SEED");
    if (given != NULL)
        c.state = strtoull(given, NULL, 10);
    else if (getrandom(&c.state, sizeof c.state, 0) != (ssize_t)sizeof c.state)
        c.state = clock_us();
    print_message("%s: CX_TEST_SEED=%llu\n", test, (unsigned long long)c.state);
    return c;
}

uint32_t chaos_below(struct chaos *c, uint32_t n)
{
    uint64_t z = c->state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (uint32_t)((z ^ z >> 31) % n);
}

/* ---- Waiting for ends ---- */

int commands_any_end(const struct command *c, int n, int ms)
{
    struct pollfd p[64];
    int at = -1;
    assert_in_range(n, 0, 64);
    for (int i = 0; i < n; i++) /* a pidfd is readable when its process has ended; -1 is passed over */
        p[i] = (struct pollfd){.fd = c[i].pid > 0 ? (int)syscall(SYS_pidfd_open, c[i].pid, 0) : -1,
                               .events = POLLIN};
    if (poll(p, (nfds_t)n, ms) > 0)
        for (int i = 0; i < n && at < 0; i++)
            if (p[i].fd >= 0 && p[i].revents != 0)
                at = i;
    for (int i = 0; i < n; i++)
        if (p[i].fd >= 0)
            close(p[i].fd);
    return at;
}

bool command_ends_within(const struct command *c, int ms)
{
    return commands_any_end(c, 1, ms) == 0;
}

void command_expect(struct command *c, int code, const char *out)
{
    command_finish(c);
    if (c->code != code || (out != NULL && strcmp(command_out(c), out) != 0))
        fail_msg("a program ended with %d, want %d; it said:\n%s%s", c->code, code, command_out(c),
                 command_err(c));
}

/* ---- Processes ---- */

struct process {
    char name[64], state;
    pid_t parent;
};

/* /proc/PID/stat: number (name) state parent ... */
static bool process_read(const char *path, struct process *p)
{
    char line[512] = "";
    FILE *f = fopen(path, "re");
    size_t n = f != NULL ? fread(line, 1, sizeof line - 1, f) : 0;
    if (f != NULL)
        fclose(f);
    char *from = strchr(line, '('), *to = strrchr(line, ')');
    int parent;
    if (n == 0 || from == NULL || to == NULL || sscanf(to + 1, " %c %d", &p->state, &parent) != 2)
        return false;
    snprintf(p->name, sizeof p->name, "%.*s", (int)(to - from - 1), from + 1);
    p->parent = parent;
    return true;
}

static bool is_below(pid_t pid, pid_t ancestor)
{
    struct process p;
    char path[64];
    for (int levels = 0; pid > 1 && levels < 8; levels++) {
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        if (!process_read(path, &p))
            return false;
        if (p.parent == ancestor)
            return true;
        pid = p.parent;
    }
    return false;
}

pid_t runner_of(pid_t producer)
{
    struct dirent *e;
    struct process p;
    char path[300];
    pid_t found = 0;
    DIR *dir = opendir("/proc");
    while (dir != NULL && found == 0 && (e = readdir(dir)) != NULL) {
        pid_t pid = atoi(e->d_name);
        snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
        if (pid > 0 && process_read(path, &p) && strcmp(p.name, "cx-runner") == 0 && p.state != 'Z' &&
            is_below(pid, producer))
            found = pid;
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}

static bool has_runner(void *ctx)
{
    return runner_of(*(pid_t *)ctx) != 0;
}

pid_t runner_wait(pid_t producer)
{
    pid_t found;
    do
        testnet_until("a runner", has_runner, &producer);
    while ((found = runner_of(producer)) == 0);
    return found;
}

void fault_job_begin(struct testnet *t, struct command *c)
{
    testnet_add_producers(t, 2 - t->network.producers);
    testnet_cx_start(t, c, "run", built("tests/modules/spin.so"), "spin_tree", "9", "8000", NULL);
    runner_wait(t->network.producer[0].pid);
}

void fault_job_end(struct command *c)
{
    command_expect(c, 0, "512\n");
    command_free(c);
}

bool process_rests(pid_t pid)
{
    char path[300];
    struct dirent *e;
    struct process p;
    bool rests = true;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    while (dir != NULL && rests && (e = readdir(dir)) != NULL) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/stat", (int)pid, e->d_name);
        if (atoi(e->d_name) > 0 && process_read(path, &p))
            rests = p.state != 'R';
    }
    if (dir != NULL)
        closedir(dir);
    return rests;
}

/* ---- Listings ---- */

static void blank(cJSON *item)
{
    cJSON *child;
    if (cJSON_IsArray(item)) {
        cJSON_ArrayForEach(child, item) blank(child);
        return;
    }
    cJSON_DeleteItemFromObject(item, "age_s");
    cJSON_DeleteItemFromObject(item, "busy_s");
    cJSON_DeleteItemFromObject(item, "duplicates");
}

char *listing_of(struct testnet *t, const char *verb)
{
    struct command c;
    int code = testnet_cx(t, &c, verb, "--json", NULL);
    cJSON *doc = cJSON_Parse(command_out(&c));
    if (code != 0 || doc == NULL)
        fail_msg("cx %s --json ended with %d and said %s%s", verb, code, command_out(&c), command_err(&c));
    blank(doc);
    char *text = cJSON_PrintUnformatted(doc);
    cJSON_Delete(doc);
    command_free(&c);
    return text;
}

double job_number(struct testnet *t, const char *id, const char *key)
{
    struct command c;
    int code = testnet_cx(t, &c, "status", id, "--json", NULL);
    cJSON *doc = cJSON_Parse(command_out(&c)), *item = cJSON_GetObjectItem(doc, key);
    if (code != 0 || !cJSON_IsNumber(item))
        fail_msg("cx status %s --json ended with %d, without %s: %s%s", id, code, key, command_out(&c),
                 command_err(&c));
    double v = item->valuedouble;
    cJSON_Delete(doc);
    command_free(&c);
    return v;
}
