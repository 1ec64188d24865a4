/* Messages between siblings, and the mark in the journal, as bytes. */
#include "taskserver/core/replica.h"

void put_replica_mark(struct buf *b, const struct replica_mark *m)
{
    put_varint(b, m->seen);
    put_varint(b, m->tag.epoch);
    put_varint(b, m->tag.session);
    put_shard_record(b, &m->record);
}

bool get_replica_mark(struct reader *r, struct replica_mark *m)
{
    struct replica_mark mark = {.seen = get_varint(r)};
    mark.tag.epoch = get_varint(r);
    mark.tag.session = get_varint(r);
    mark.record = get_shard_record(r);
    if (r->bad)
        return false;
    *m = mark;
    return true;
}

void put_replica_msg(struct buf *b, const struct replica_msg *m)
{
    put_u8(b, (uint8_t)m->kind);
    put_u64(b, m->from);
    put_u64(b, m->to);
    put_varint(b, m->epoch);
    put_varint(b, m->tag.epoch);
    put_varint(b, m->tag.session);
    put_varint(b, m->lsn);
    put_varint(b, m->seq);
    put_u8(b, m->last);
    put_shard_record(b, &m->record);
    put_bytes(b, m->data);
}

bool get_replica_msg(struct reader *r, struct replica_msg *m)
{
    struct replica_msg msg = {.kind = get_u8(r), .from = get_u64(r)};
    msg.to = get_u64(r);
    msg.epoch = get_varint(r);
    msg.tag.epoch = get_varint(r);
    msg.tag.session = get_varint(r);
    msg.lsn = get_varint(r);
    msg.seq = (uint32_t)get_varint_max(r, UINT32_MAX);
    msg.last = get_u8(r);
    msg.record = get_shard_record(r);
    msg.data = get_bytes(r, SIZE_MAX);
    if (r->bad || msg.kind > REPLICA_MSG_MAX || !msg.from)
        return false;
    *m = msg;
    return true;
}
