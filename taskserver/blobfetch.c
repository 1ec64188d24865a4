#include "taskserver/blobfetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addresses.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "proto/blobget.h"
#include "taskserver/blobset.h"

enum {
    RETRY_US = 100000,      /* after a first failure; twice as long after each further one ... */
    RETRY_MAX_US = 2000000, /* ... up to this */
    SYNCING_MAX = 16,       /* that wait for the disk while the next ones come */
};

/* What the number of a wanted one says. */
enum { WAITS, COMES, IS_SYNCED };

struct blobfetch {
    struct blobfetch_config config;
    struct blobget *get;    /* owned */
    char addresses[512];    /* asked in turn */
    unsigned at, denied;    /* which of them; how many in a row did not have the one that was asked for */
    struct blobset wanted;  /* those that have failed come last */
    struct arrival *coming; /* owned: the one whose bytes come; NULL: none, or not begun */
    unsigned syncing;
    bool asked; /* one is being asked for */
    bool stopping;
    uint64_t retry_us, delay_us; /* not before; how long it was */
};

/* One that comes, until it is on the disk. */
struct arrival {
    struct blobfetch *fetch; /* borrowed */
    struct blob_put *put;    /* NULL: it has failed */
    uint8_t sha256[BLOB_HASH_BYTES];
};

/* ---- How one ends ---- */

static void settle(struct blobfetch *f, const uint8_t *sha256)
{
    uint8_t copy[BLOB_HASH_BYTES];
    memcpy(copy, sha256, sizeof copy);
    blobset_remove(&f->wanted, blobset_find(&f->wanted, copy));
    if (!f->stopping)
        f->config.ready(f->config.ctx, copy);
}

/* Later, behind the others. Said once when it takes long. */
static void try_again(struct blobfetch *f, const uint8_t *sha256, const char *why)
{
    char hex[BLOB_HEX_MAX];
    uint8_t copy[BLOB_HASH_BYTES];
    uint64_t before = f->delay_us, next = before ? 2 * before : RETRY_US;
    memcpy(copy, sha256, sizeof copy);
    blob_hex(copy, hex);
    blobset_remove(&f->wanted, blobset_find(&f->wanted, copy));
    blobset_add(&f->wanted, copy, WAITS);
    f->at++;
    f->delay_us = next < RETRY_MAX_US ? next : RETRY_MAX_US;
    f->retry_us = clock_us() + f->delay_us;
    bool long_now = f->delay_us == RETRY_MAX_US && before != RETRY_MAX_US && !f->stopping;
    log_line(long_now ? LOG_WARN : LOG_DEBUG, "blob %s cannot be had: %s; trying again", hex, why);
    if (f->config.late && !f->stopping)
        f->config.late(f->config.ctx, copy);
}

static void give_up(struct blobfetch *f, const uint8_t *sha256)
{
    char hex[BLOB_HEX_MAX];
    blob_hex(sha256, hex);
    log_warn("blob %s: nobody has it any more: the job that named it is over, or cannot be run", hex);
    f->delay_us = 0;
    settle(f, sha256);
}

/* ---- Bytes ---- */

static void synced(void *ctx, int code, const char *why)
{
    struct arrival *a = ctx;
    struct blobfetch *f = a->fetch;
    f->syncing--;
    if (code) {
        try_again(f, a->sha256, why);
    } else {
        f->delay_us = 0;
        settle(f, a->sha256);
    }
    free(a);
}

static int on_data(void *ctx, const uint8_t *sha256, struct bytes data, bool last, char *why)
{
    struct blobfetch *f = ctx;
    struct arrival *a = f->coming;
    char text[STATE_WHY_MAX] = "";
    int code = 0;
    if (!a) {
        a = f->coming = calloc(1, sizeof *a);
        must(a);
        a->fetch = f;
        memcpy(a->sha256, sha256, sizeof a->sha256);
        code = blob_put_begin_any(f->config.blobs, sha256, synced, a, &a->put, text);
    }
    if (!code)
        code = blob_put_add(a->put, data, last, f->config.now(f->config.ctx), text);
    if (code) {
        a->put = NULL;
        snprintf(why, RPC_WHY_MAX, "%.255s", text);
    }
    return code;
}

static void drop_coming(struct blobfetch *f)
{
    struct arrival *a = f->coming;
    f->coming = NULL;
    if (a && a->put)
        blob_put_abandon(a->put);
    free(a);
}

/* All its bytes came: the disk has the last word. */
static void came(struct blobfetch *f, const uint8_t *sha256)
{
    f->coming = NULL;
    f->syncing++;
    blobset_find(&f->wanted, sha256)->number = IS_SYNCED;
}

static void on_done(void *ctx, const uint8_t *sha256, int code, const char *why)
{
    struct blobfetch *f = ctx;
    f->asked = false;
    if (!code) {
        came(f, sha256);
        return;
    }
    drop_coming(f);
    bool denied = code == CX_ENOTFOUND && ++f->denied >= addresses_count(f->addresses);
    if (denied || code != CX_ENOTFOUND)
        f->denied = 0;
    if (denied)
        give_up(f, sha256);
    else
        try_again(f, sha256, why);
}

/* ---- Asking ---- */

static struct blobset_item *next_wanted(const struct blobfetch *f)
{
    struct blobset_item *item = f->wanted.first;
    while (item && item->number != WAITS)
        item = item->next;
    return item;
}

static void ask(struct blobfetch *f, struct blobset_item *item)
{
    if (blobs_have(f->config.blobs, item->sha256,
                   f->config.now(f->config.ctx))) { /* a consumer has brought it meanwhile */
        settle(f, item->sha256);
        return;
    }
    char address[256];
    address_at(f->addresses, f->at, address, sizeof address);
    blobget_from(f->get, address);
    if (blobget_ask(f->get, item->sha256)) {
        try_again(f, item->sha256, "its address is not usable");
    } else {
        item->number = COMES;
        f->asked = true;
    }
}

uint64_t blobfetch_tick(struct blobfetch *f, uint64_t now_us)
{
    struct blobset_item *item;
    while (!f->stopping && !f->asked && f->syncing < SYNCING_MAX && (item = next_wanted(f))) {
        if (now_us < f->retry_us)
            return f->retry_us;
        ask(f, item);
    }
    return UINT64_MAX;
}

void blobfetch_want(struct blobfetch *f, const uint8_t *sha256)
{
    if (!blobset_find(&f->wanted, sha256))
        blobset_add(&f->wanted, sha256, WAITS);
}

bool blobfetch_wanted(const struct blobfetch *f, const uint8_t *sha256)
{
    return blobset_find(&f->wanted, sha256) != NULL;
}

/* ---- Life ---- */

struct blobfetch *blobfetch_new(const struct blobfetch_config *config)
{
    struct blobfetch *f = calloc(1, sizeof *f);
    must(f);
    f->config = *config;
    f->get = blobget_new(&(struct blobget_config){
        .rpc = config->rpc, .me = config->me, .data = on_data, .done = on_done, .ctx = f});
    return f;
}

void blobfetch_address(struct blobfetch *f, const char *addresses)
{
    snprintf(f->addresses, sizeof f->addresses, "%s", addresses);
}

void blobfetch_stop(struct blobfetch *f)
{
    f->stopping = true;
    blobget_close(f->get);
}

void blobfetch_free(struct blobfetch *f)
{
    if (!f)
        return;
    drop_coming(f);
    blobget_free(f->get);
    blobset_free(&f->wanted);
    free(f);
}
