#include "producer/fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/must.h"

struct fetch {
    struct fetch_config config;
    struct blobget *get;     /* owned */
    struct blobwrite *write; /* owned: of the one that is on its way */
};

static int write_error(char *why, int code)
{
    snprintf(why, RPC_WHY_MAX, "it could not be written to the cache");
    return code;
}

/* What arrived with a wrong hash may arrive well the next time; the core limits how often. */
static int end(struct fetch *f, char *why)
{
    struct blobwrite *w = f->write;
    f->write = NULL;
    int code = blobwrite_end(w);
    if (code == CX_EPROTO)
        snprintf(why, RPC_WHY_MAX, "it arrived corrupt");
    else if (code)
        write_error(why, code);
    return code ? CX_EIO : 0;
}

static int on_data(void *ctx, const uint8_t *sha256, struct bytes data, bool last, char *why)
{
    struct fetch *f = ctx;
    int code = f->write ? 0 : blobcache_begin(f->config.cache, sha256, &f->write);
    if (!code)
        code = blobwrite_add(f->write, data);
    if (code)
        return write_error(why, code);
    return last ? end(f, why) : 0;
}

static void on_done(void *ctx, const uint8_t *sha256, int code, const char *why)
{
    struct fetch *f = ctx;
    char text[RPC_WHY_MAX + 64] = "";
    blobwrite_drop(f->write);
    f->write = NULL;
    if (code == CX_ENONET)
        snprintf(text, sizeof text, "%s", why);
    else if (code)
        snprintf(text, sizeof text, "a blob of the job cannot be had: %s", why);
    f->config.done(f->config.ctx, sha256, code, text);
}

struct fetch *fetch_new(const struct fetch_config *config)
{
    struct fetch *f = calloc(1, sizeof *f);
    must(f);
    f->config = *config;
    f->get = blobget_new(&(struct blobget_config){
        .rpc = config->rpc, .me = config->me, .data = on_data, .done = on_done, .ctx = f});
    return f;
}

void fetch_free(struct fetch *f)
{
    if (!f)
        return;
    blobwrite_drop(f->write);
    blobget_free(f->get);
    free(f);
}

void fetch_from(struct fetch *f, const char *address)
{
    blobget_from(f->get, address);
}

void fetch_blob(struct fetch *f, const uint8_t sha[32])
{
    int fd;
    if (blobget_asked(f->get, sha))
        return;
    if (blobcache_open(f->config.cache, sha, &fd) == 0) {
        close(fd);
        f->config.done(f->config.ctx, sha, 0, "");
        return;
    }
    if (blobget_ask(f->get, sha))
        f->config.done(f->config.ctx, sha, CX_ENONET, "the task server's address is not usable");
}
