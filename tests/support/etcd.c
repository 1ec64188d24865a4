#include "tests/support/etcd.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "consumer/cmd/launch.h"

static const char *program(void)
{
    static const char *const places[] = {"/usr/bin/etcd", "/usr/local/bin/etcd"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    fail_msg("there is no etcd; tools/deps build installs it");
    return NULL;
}

/* It does not say which port it got, so it is told which to take. */
static void choose_address(char url[64], int *reserved)
{
    char address[32];
    if (url[0])
        return;
    *reserved = address_reserve(address, sizeof address);
    assert_true(*reserved > 0);
    snprintf(url, 64, "http://%s", address);
}

static void begin(struct etcd_process *e)
{
    char data[80], cluster[96];
    const char *peer = e->peer_url;
    choose_address(e->url, &e->reserved[0]);
    choose_address(e->peer_url, &e->reserved[1]);
    snprintf(e->witness, sizeof e->witness, "etcd:%s", e->url);
    snprintf(data, sizeof data, "%s/data", e->dir);
    snprintf(cluster, sizeof cluster, "default=%s", peer);
    command_start(&e->command,
                  (const char *const[]){program(), "--data-dir", data, "--listen-client-urls", e->url,
                                        "--advertise-client-urls", e->url, "--listen-peer-urls", peer,
                                        "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster,
                                        "--logger", "zap", NULL},
                  NULL);
}

void etcd_start(struct etcd_process *e)
{
    if (!e->dir[0]) {
        snprintf(e->dir, sizeof e->dir, "/tmp/cx-etcd-XXXXXX");
        assert_non_null(mkdtemp(e->dir));
    }
    begin(e);
    command_wait_text(&e->command, "serving client traffic insecurely");
}

void etcd_kill(struct etcd_process *e)
{
    command_signal(&e->command, SIGKILL);
    command_finish(&e->command);
    command_free(&e->command);
}

void etcd_wipe(struct etcd_process *e)
{
    char data[80];
    snprintf(data, sizeof data, "%s/data", e->dir);
    directory_remove(data);
}

void etcd_remove(struct etcd_process *e)
{
    command_free(&e->command);
    for (int i = 0; i < 2; i++)
        if (e->reserved[i] > 0)
            close(e->reserved[i]);
    if (e->dir[0])
        directory_remove(e->dir);
}
