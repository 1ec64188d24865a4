#include "tests/support/etcd.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "consumer/cmd/launch.h"

static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static const char *program(void)
{
    static const char *const places[] = {"/usr/bin/etcd", "/usr/local/bin/etcd"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    fail_msg("there is no etcd; tools/deps build installs it");
    return NULL;
}

/* It does not say which port it got, so it is told one that was free a moment ago. */
static void begin(struct etcd_process *e)
{
    char peer[64], data[80], cluster[96];
    e->port = e->port ? e->port : free_port();
    e->peer_port = e->peer_port ? e->peer_port : free_port();
    snprintf(e->url, sizeof e->url, "http://127.0.0.1:%d", e->port);
    snprintf(e->witness, sizeof e->witness, "etcd:%s", e->url);
    snprintf(peer, sizeof peer, "http://127.0.0.1:%d", e->peer_port);
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
    if (e->dir[0])
        directory_remove(e->dir);
}
