#include "base/shard.h"

struct id shard_id(const char *network, const char *server)
{
    struct id of_network = id_of_name(network, 0);
    return id_of_name(server, of_network.hi ^ of_network.lo);
}

void put_shard_record(struct buf *b, const struct shard_record *r)
{
    put_varint(b, r->epoch);
    put_varint(b, r->version);
    put_u64(b, r->primary);
    put_u64(b, r->nonce);
    for (int i = 0; i < SHARD_MEMBERS; i++)
        put_u64(b, r->in_sync[i]);
}

struct shard_record get_shard_record(struct reader *r)
{
    struct shard_record s = {.epoch = get_varint(r), .version = get_varint(r)};
    s.primary = get_u64(r);
    s.nonce = get_u64(r);
    for (int i = 0; i < SHARD_MEMBERS; i++)
        s.in_sync[i] = get_u64(r);
    return s;
}

void put_shard_ask(struct buf *b, const struct shard_ask *a)
{
    put_u8(b, (uint8_t)a->kind);
    put_id(b, a->shard);
    put_u64(b, a->member);
    put_u64(b, a->nonce);
    put_varint(b, a->epoch);
    put_varint(b, a->version);
    put_u64(b, a->boot);
    put_varint(b, a->ticket);
    put_u64(b, a->other);
    put_u8(b, a->create);
    put_shard_record(b, &a->known);
}

bool get_shard_ask(struct reader *r, struct shard_ask *a)
{
    struct shard_ask ask = {.kind = get_u8(r), .shard = get_id(r)};
    ask.member = get_u64(r);
    ask.nonce = get_u64(r);
    ask.epoch = get_varint(r);
    ask.version = get_varint(r);
    ask.boot = get_u64(r);
    ask.ticket = get_varint(r);
    ask.other = get_u64(r);
    ask.create = get_u8(r);
    ask.known = get_shard_record(r);
    if (r->bad || ask.kind > SHARD_ASK_MAX || !ask.member)
        return false;
    *a = ask;
    return true;
}

void put_shard_answer(struct buf *b, const struct shard_answer *a)
{
    put_id(b, a->shard);
    put_shard_record(b, &a->record);
    put_u64(b, a->boot);
    put_varint(b, a->ticket);
}

bool get_shard_answer(struct reader *r, struct shard_answer *a)
{
    struct shard_answer answer = {.shard = get_id(r)};
    answer.record = get_shard_record(r);
    answer.boot = get_u64(r);
    answer.ticket = get_varint(r);
    if (r->bad)
        return false;
    *a = answer;
    return true;
}
