/* An administrator's orders to this server, and the list of what it keeps (docs/PROTOCOL.md, 4). */
#include "base/log.h"
#include "taskserver/server.h"

enum verb { VERB_HAND_OVER = 1, VERB_DRAIN = 2 };

static int hand_over(struct session *s, struct id id, const char **text)
{
    struct shard *shard = taskserver_shard(s->server, id);
    *text = !shard            ? "this server does not keep that shard"
            : !shard->replica ? "this server has no sibling"
            : !shard->serves  ? "this server is not the primary of that shard"
                              : "";
    if (**text)
        return CX_EINVAL;
    log_info("shard %s: %s has it handed over", shard->name, s->name);
    shard_replica(shard, &(struct replica_event){.kind = REPLICA_HAND_OVER});
    return CX_OK;
}

/* What is not in sync yet goes over as soon as it is: the order stands until the server is started again. */
static int drain(struct session *s, struct id id, const char **text)
{
    struct taskserver *server = s->server;
    (void)id;
    if (!server->sibling) {
        *text = "this server has no sibling that could take over";
        return CX_EINVAL;
    }
    log_info("%s drains this server: its shards go to %s", s->name, sibling_name(server->sibling));
    server->draining = true;
    for (size_t i = 0; i < server->shards; i++)
        shard_replica(&server->shard[i], &(struct replica_event){.kind = REPLICA_HAND_OVER});
    return CX_OK;
}

int on_admin(struct session *s, const cx_Msg *m, char *why)
{
    static int (*const order[])(struct session *, struct id,
                                const char **) = {[VERB_HAND_OVER] = hand_over, [VERB_DRAIN] = drain};
    const cx_Admin *a = &m->body.admin;
    const char *text = "";
    (void)why;
    if (s->role != ROLE_ADMIN) {
        session_statusf(s, m->req, CX_EAUTH, "only an administrator may do that");
        return 0;
    }
    if (a->verb >= sizeof order / sizeof order[0] || !order[a->verb]) {
        session_statusf(s, m->req, CX_EINVAL, "order %u: a task server knows 1 hand over and 2 drain",
                        a->verb);
        return 0;
    }
    int code = order[a->verb](s, a->shard.len ? id_of(a->shard) : (struct id){0}, &text);
    session_statusf(s, m->req, code, "%s", text);
    return 0;
}

bool shard_row(struct taskserver *server, uint64_t *cursor, cx_Msg *m, struct id_bytes *id)
{
    struct replica_info info = {0};
    struct ts_stats st;
    if (*cursor >= server->shards)
        return false;
    const struct shard *s = &server->shard[(*cursor)++];
    *id = id_bytes(s->id);
    ts_stats(s->ts, &st);
    if (s->replica)
        replica_look(s->replica, &info);
    m->which_body = cx_Msg_shard_row_tag;
    m->body.shard_row = (cx_ShardRow){.id = id_view(id),
                                      .name = bytes_str(s->name),
                                      .addresses = bytes_str(server->addresses),
                                      .role = bytes_str(s->replica ? replica_role_name(info.role) : "alone"),
                                      .serves = s->serves,
                                      .epoch = info.epoch,
                                      .lsn = s->logged,
                                      .held = s->serves ? s->held : s->disk,
                                      .primary = info.record.primary,
                                      .in_sync_a = info.record.in_sync[0],
                                      .in_sync_b = info.record.in_sync[1],
                                      .member = s->incarnation,
                                      .backup = info.backup,
                                      .backup_lsn = info.backup_lsn,
                                      .backup_bytes = info.backup_bytes,
                                      .sibling = server->sibling && sibling_connected(server->sibling),
                                      .server = bytes_str(server->config.me->self.name),
                                      .jobs = st.jobs,
                                      .producers = st.producers};
    return true;
}
