/* The broker's core under any sequence of events: its relations hold, every request gets exactly one reply,
 * and a core restored from what was saved lists the same servers. Bytes choose the events; the strings come
 * from them too. */
#include <stdlib.h>
#include <string.h>

#include "base/pack.h"
#include "broker/core/bk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
    if (!condition)
        abort();
}

static const struct bk_config config = {.silence_us = 100,
                                        .networks_max = 4,
                                        .servers_max = 8,
                                        .per_name_max = 3,
                                        .offers_max = 2,
                                        .policy = "n1=s1,s2;n2=s0"};

/* What the store holds. */
static struct {
    struct bk_record record[8];
    uint32_t n;
} disk;

static void save(const struct bk_record *r)
{
    uint32_t i = 0;
    while (i < disk.n && (strcmp(disk.record[i].network, r->network) || strcmp(disk.record[i].name, r->name)))
        i++;
    check(i < 8);
    disk.record[i] = *r;
    disk.n += i == disk.n;
}

static uint32_t step(struct bk *bk, const struct bk_event *e, bool save_works)
{
    struct bk_effects out = {0};
    struct bk_event saved = {.kind = BK_SAVED, .now_us = e->now_us, .peer = e->peer, .req = e->req};
    uint32_t rows = 0, ends = 0;
    bool save_wanted = false;
    bk_step(bk, e, &out);
    for (size_t i = 0; i < out.n; i++) {
        const struct bk_effect *fx = &out.fx[i];
        check(fx->peer == e->peer && fx->req == e->req);
        rows += fx->kind == BK_FX_ROW;
        ends += fx->kind == BK_FX_REPLY || fx->kind == BK_FX_SAVE;
        if (fx->kind != BK_FX_SAVE)
            continue;
        save_wanted = true;
        saved.u.saved.server = fx->server;
        saved.u.saved.version = fx->version;
        saved.u.saved.code = save_works ? 0 : CX_EIO;
        if (save_works)
            save(fx->record);
    }
    check(ends == 1);
    bk_effects_free(&out);
    if (save_wanted)
        check(step(bk, &saved, save_works) == 0);
    bk_check(bk);
    return rows;
}

/* A network: mostly one of a few, so that events meet; sometimes anything. */
static struct bytes get_network(struct reader *r)
{
    static const char *const some[] = {"n0", "n1", "n2", "n3", "n4", "n5"};
    uint8_t which = get_u8(r);
    return which < 0xf0 ? bytes_str(some[which % 6]) : get_bytes(r, 200);
}

static struct bytes get_short(struct reader *r, const char *usual)
{
    return get_u8(r) < 0xe0 ? bytes_str(usual) : get_bytes(r, 200);
}

static void get_register(struct reader *r, struct bk_register *g)
{
    g->network = get_network(r);
    g->address = get_short(r, "h:1");
    g->arch = get_short(r, "x86_64");
    g->threads = (uint32_t)get_varint(r);
    g->price = get_u8(r);
    g->ready = get_varint(r);
    g->granted = get_varint(r);
    g->incarnation = get_u8(r) % 4;
}

static struct bk_event get_event(struct reader *r, uint64_t *now_us)
{
    static const char *const names[] = {"s0", "s1", "s2", "s3", "", "bad name"};
    struct bk_event e = {.kind = get_u8(r) % BK_SAVED, .peer = get_u8(r), .req = get_u8(r)};
    e.now_us = *now_us += get_u8(r);
    e.role = get_u8(r) % 8 ? (enum bk_role[]){BK_SERVER, BK_CONSUMER, BK_PRODUCER, BK_ADMIN}[e.kind]
                           : get_u8(r) % 5;
    e.name = names[get_u8(r) % 6];
    if (e.kind == BK_REGISTER)
        get_register(r, &e.u.reg);
    else if (e.kind == BK_MATCH)
        e.u.match = (struct bk_match){get_network(r), get_short(r, ""), get_u8(r), get_u8(r)};
    else if (e.kind == BK_PLACE)
        e.u.place = (struct bk_place){get_short(r, "x86_64"), (uint32_t)get_varint(r)};
    return e;
}

static uint32_t count(struct bk *bk)
{
    struct bk_event e = {.kind = BK_LIST, .role = BK_ADMIN, .name = "a"};
    return step(bk, &e, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(bytes_of(data, size));
    struct bk *bk = bk_new(&config);
    uint64_t now_us = 0;
    bool all_saved = true;
    disk.n = 0;
    while (reader_more(&r)) {
        bool works = get_u8(&r) % 8 != 0;
        struct bk_event e = get_event(&r, &now_us);
        step(bk, &e, works);
        all_saved &= works;
    }
    struct bk *again = bk_new(&config);
    for (uint32_t i = 0; i < disk.n; i++)
        check(bk_restore(again, &disk.record[i], now_us));
    bk_check(again);
    check(!all_saved || count(again) == count(bk));
    bk_free(again);
    bk_free(bk);
    return 0;
}
