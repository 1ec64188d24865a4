#include "broker/witnessing.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "proto/pki.h"

enum { SHARDS_MAX = 65536, SOLO_US = 1000000 };

struct witnessing {
    struct witness *core; /* owned */
    struct store *store;  /* borrowed */
    witnessing_answer_fn *answer;
    void *ctx;
    struct buf packed;
};

static void do_answer(struct witnessing *w, const struct witness_effect *fx)
{
    buf_clear(&w->packed);
    put_shard_answer(&w->packed, &fx->answer);
    w->answer(w->ctx, fx->peer, fx->req, buf_bytes(&w->packed));
}

static void step(struct witnessing *w, const struct witness_event *e);

static void do_save(struct witnessing *w, const struct witness_effect *fx)
{
    char why[STORE_WHY_MAX], hex[ID_HEX_MAX];
    id_hex(fx->shard, hex);
    if (store_save_shard(w->store, fx->shard, &fx->record, why)) {
        log_error(
            "the store: %s. Nothing more can be witnessed, so this broker ends; put the disk in order and "
            "start it again",
            why);
        _exit(WITNESSING_EXIT);
    }
    log_info("shard %s: epoch %llu, primary %016llx, in sync %016llx %016llx", hex,
             (unsigned long long)fx->record.epoch, (unsigned long long)fx->record.primary,
             (unsigned long long)fx->record.in_sync[0], (unsigned long long)fx->record.in_sync[1]);
    struct witness_event saved = {
        .kind = WITNESS_SAVED, .now_us = clock_us(), .shard = fx->shard, .record = fx->record};
    step(w, &saved);
}

static void step(struct witnessing *w, const struct witness_event *e)
{
    struct witness_effects out;
    witness_step(w->core, e, &out);
    for (size_t i = 0; i < out.n; i++)
        (out.fx[i].kind == WITNESS_FX_SAVE ? do_save : do_answer)(w, &out.fx[i]);
}

void witnessing_ask(struct witnessing *w, uint32_t peer, uint64_t req, const struct shard_ask *ask)
{
    struct witness_event e = {
        .kind = WITNESS_ASK, .now_us = clock_us(), .peer = peer, .req = req, .ask = *ask};
    step(w, &e);
}

bool witnessing_accept_loss(struct witnessing *w, struct id shard, uint64_t member)
{
    struct shard_record before = {0}, after = {0};
    struct witness_event e = {
        .kind = WITNESS_ACCEPT_LOSS, .now_us = clock_us(), .shard = shard, .member = member};
    witness_find(w->core, shard, &before);
    step(w, &e);
    witness_find(w->core, shard, &after);
    return shard_newer(&after, &before);
}

static bool take(void *ctx, struct id shard, const struct shard_record *record)
{
    struct witnessing *w = ctx;
    return witness_restore(w->core, shard, record);
}

int witnessing_new(struct store *store, witnessing_answer_fn *answer, void *ctx, struct witnessing **out,
                   char *why)
{
    struct witness_config config = {.solo_us = SOLO_US, .shards_max = SHARDS_MAX};
    struct witnessing *w = calloc(1, sizeof *w);
    must(w);
    random_bytes(&config.boot, sizeof config.boot);
    *w = (struct witnessing){.core = witness_new(&config), .store = store, .answer = answer, .ctx = ctx};
    int code = store_load_shards(store, take, w, why);
    if (code)
        witnessing_free(w);
    else
        *out = w;
    return code;
}

void witnessing_free(struct witnessing *w)
{
    if (!w)
        return;
    witness_free(w->core);
    buf_free(&w->packed);
    free(w);
}
