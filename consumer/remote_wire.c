#include <string.h>

#include "base/must.h"
#include "consumer/remote.h"

/* Job ids on the wire: put_id's 16 bytes. */
struct id_bytes {
    uint8_t data[16];
};

static struct bytes id_out(struct id id, struct id_bytes *room)
{
    for (int i = 0; i < 8; i++) {
        room->data[i] = (uint8_t)(id.hi >> 8 * i);
        room->data[8 + i] = (uint8_t)(id.lo >> 8 * i);
    }
    return bytes_of(room->data, sizeof room->data);
}

static struct id id_in(struct bytes b)
{
    struct reader r = reader_of(b);
    return get_id(&r);
}

/* ---- Out ---- */

static void put_hello(const struct client_effect *fx, cx_Msg *m)
{
    (void)fx; /* the shard is put by wire_encode, as all ids */
    m->which_body = cx_Msg_hello_tag;
    m->body.hello = (cx_Hello){.version = PROTOCOL_VERSION, .software = bytes_str("libcx " CX_VERSION)};
}

static void put_submit(const struct client_effect *fx, cx_Msg *m)
{
    const struct remote_submission *p = fx->call->payload;
    const struct submit *s = p->submit;
    cx_Submit *out = &m->body.submit;
    m->which_body = cx_Msg_submit_tag;
    *out = (cx_Submit){.module_count = 1,
                       .functions = bytes_str(s->module->functions),
                       .fn = s->fn,
                       .nargs = s->nargs,
                       .args = buf_bytes(&s->args),
                       .priority = s->priority,
                       .weight = s->weight,
                       .label = s->label};
    out->module[0] = (cx_Module){.arch = bytes_str(s->module->arch),
                                 .sha256 = bytes_of(p->blob[0].sha256, CLIENT_SHA_BYTES)};
    if (s->input.len > 0)
        out->input = bytes_of(p->blob[1].sha256, CLIENT_SHA_BYTES);
}

static void put_list(const struct client_effect *fx, cx_Msg *m)
{
    m->which_body = cx_Msg_list_tag;
    m->body.list.what = fx->what;
}

static void put_order(const struct client_effect *fx, cx_Msg *m)
{
    m->which_body = cx_Msg_admin_tag;
    m->body.admin = (cx_Admin){.verb = fx->what, .member = fx->member};
}

static void put_blob(const struct client_effect *fx, cx_Msg *m)
{
    m->which_body = fx->message == SEND_HAVE ? cx_Msg_blob_have_tag : cx_Msg_blob_put_tag;
    m->body.blob_put =
        (cx_BlobRef){.sha256 = bytes_of(fx->blob->sha256, CLIENT_SHA_BYTES), .size = fx->blob->data.len};
}

static void put_match(const struct client_effect *fx, cx_Msg *m)
{
    m->which_body = cx_Msg_match_tag;
    m->body.match = (cx_Match){.network = bytes_str(fx->address), .price_max = UINT32_MAX};
}

void wire_encode(const struct client_effect *fx, struct buf *out)
{
    static const struct {
        void (*put)(const struct client_effect *, cx_Msg *);
        pb_size_t job_ref; /* or the tag of a message that is a JobRef */
    } rows[] = {
        [SEND_HELLO] = {put_hello, 0},
        [SEND_SUBMIT] = {put_submit, 0},
        [SEND_LIST] = {put_list, 0},
        [SEND_ORDER] = {put_order, 0},
        [SEND_HAVE] = {put_blob, 0},
        [SEND_PUT] = {put_blob, 0},
        [SEND_MATCH] = {put_match, 0},
        [SEND_CANCEL] = {NULL, cx_Msg_cancel_tag},
        [SEND_FORGET] = {NULL, cx_Msg_forget_tag},
        [SEND_WHY] = {NULL, cx_Msg_why_tag},
        [SEND_WATCH] = {NULL, cx_Msg_watch_tag},
        [SEND_UNWATCH] = {NULL, cx_Msg_unwatch_tag},
    };
    cx_Msg m = {.req = fx->req};
    struct id_bytes id;
    if (rows[fx->message].put != NULL) {
        rows[fx->message].put(fx, &m);
    } else {
        m.which_body = rows[fx->message].job_ref;
        m.body.cancel.job = id_out(fx->id, &id);
    }
    if (fx->message == SEND_SUBMIT)
        m.body.submit.job = id_out(fx->id, &id);
    else if (fx->message == SEND_HELLO && !id_is_zero(fx->id))
        m.body.hello.shard = id_out(fx->id, &id);
    else if (fx->message == SEND_ORDER && !id_is_zero(fx->id))
        m.body.admin.shard = id_out(fx->id, &id);
    msg_encode(&m, out);
}

void wire_chunk(struct outgoing *o, struct buf *out)
{
    size_t n = o->blob.len < BLOB_CHUNK_MAX ? o->blob.len : BLOB_CHUNK_MAX;
    cx_Msg m = {.req = o->req, .which_body = cx_Msg_blob_chunk_tag};
    m.body.blob_chunk = (cx_BlobChunk){.data = bytes_of(o->blob.data, n), .last = n == o->blob.len};
    msg_encode(&m, out);
    o->blob = bytes_of(o->blob.data + n, o->blob.len - n);
}

/* ---- In ---- */

/* Rows become structs of rows.h here. The room lives as long as the step. */
struct row_room {
    union {
        struct job_row job;
        struct producer_row producer;
        struct server_row server;
        struct network_row network;
        struct shard_row shard;
    } row;
    struct client_progress progress;
};

static int get_status(const cx_Msg *m, struct client_event *e, struct row_room *room)
{
    (void)room;
    e->kind = CLIENT_STATUS;
    e->code = m->body.status.code;
    e->text = m->body.status.text;
    return 0;
}

static int get_welcome(const cx_Msg *m, struct client_event *e, struct row_room *room)
{
    (void)room;
    if (m->body.welcome.version != PROTOCOL_VERSION)
        return CX_EVERSION;
    e->kind = CLIENT_WELCOME;
    e->network = m->body.welcome.network;
    e->address = m->body.welcome.addresses;
    if (m->body.welcome.shard.len > 0)
        e->shard = id_in(m->body.welcome.shard);
    return 0;
}

static int get_result(const cx_Msg *m, struct client_event *e, struct row_room *room)
{
    (void)room;
    struct reader r = reader_of(m->body.result.value);
    e->kind = CLIENT_RESULT;
    e->state = m->body.result.state;
    e->data = m->body.result.value;
    e->text = m->body.result.reason;
    if (e->state == CX_RUNNING)
        return CX_EPROTO;
    if (e->state != CX_DONE)
        return 0;
    cx_value v = get_value(&r);
    return r.bad || reader_more(&r) || v.type > CX_BYTES ? CX_EPROTO : 0;
}

static int get_text(const cx_Msg *m, struct client_event *e, struct row_room *room)
{
    (void)room;
    e->kind = CLIENT_TEXT;
    e->text = m->body.text.text;
    return 0;
}

static int get_offer(const cx_Msg *m, struct client_event *e, struct row_room *room)
{
    (void)room;
    e->kind = CLIENT_OFFER;
    e->address = m->body.offer.address;
    e->network = m->body.offer.network;
    return 0;
}

static void job_row_in(const cx_JobRow *j, struct job_row *row)
{
    *row = (struct job_row){.id = id_in(j->job),
                            .state = j->state,
                            .priority = j->priority,
                            .weight = j->weight,
                            .ready = j->ready,
                            .waiting = j->waiting,
                            .granted = j->granted,
                            .executed = j->executed,
                            .duplicates = j->duplicates,
                            .commits = j->commits,
                            .busy_ns = j->busy_ns,
                            .bytes = j->bytes,
                            .age_us = j->age_us,
                            .has_min = j->has_min,
                            .has_max = j->has_max,
                            .best_min = j->best_min,
                            .best_max = j->best_max};
    row_line(row->label, sizeof row->label, j->label);
    row_text(row->owner, sizeof row->owner, j->owner);
    row_text(row->reason, sizeof row->reason, j->reason);
    if (j->fn >= FN_FIRST)
        function_name(j->functions, j->fn, row->function, sizeof row->function);
}

/* The same message is a row of a listing and a job's progress; the core tells by the request. */
static int get_job_row(const cx_Msg *m, struct client_event *e, struct row_room *room)
{
    const cx_JobRow *j = &m->body.job_row;
    job_row_in(j, &room->row.job);
    room->progress = (struct client_progress){.ready = j->ready,
                                              .waiting = j->waiting,
                                              .granted = j->granted,
                                              .executed = j->executed,
                                              .duplicates = j->duplicates,
                                              .busy_ns = j->busy_ns,
                                              .age_us = j->age_us};
    e->kind = CLIENT_ROW;
    e->data = bytes_of(&room->row.job, sizeof room->row.job);
    e->progress = &room->progress;
    return 0;
}

static int get_producer_row(const cx_Msg *m, struct client_event *e, struct row_room *room)
{
    const cx_ProducerRow *p = &m->body.producer_row;
    struct producer_row *row = &room->row.producer;
    *row = (struct producer_row){.threads = p->threads,
                                 .window = p->window,
                                 .granted = p->granted,
                                 .commits = p->commits,
                                 .executed = p->executed,
                                 .busy_ns = p->busy_ns,
                                 .age_us = p->age_us};
    row_text(row->name, sizeof row->name, p->name);
    row_text(row->arch, sizeof row->arch, p->arch);
    e->kind = CLIENT_ROW;
    e->data = bytes_of(row, sizeof *row);
    return 0;
}

static int get_server_row(const cx_Msg *m, struct client_event *e, struct row_room *room)
{
    const cx_ServerRow *s = &m->body.server_row;
    struct server_row *row = &room->row.server;
    *row = (struct server_row){.jobs = s->jobs,
                               .tasks = s->tasks,
                               .ready = s->ready,
                               .waiting = s->waiting,
                               .granted = s->granted,
                               .producers = s->producers,
                               .threads = s->threads,
                               .memory = s->memory,
                               .memory_max = s->memory_max,
                               .lsn = s->lsn,
                               .held = s->held,
                               .age_us = s->age_us,
                               .journal = s->journal};
    row_text(row->name, sizeof row->name, s->name);
    row_text(row->network, sizeof row->network, s->network);
    row_text(row->software, sizeof row->software, s->software);
    e->kind = CLIENT_ROW;
    e->data = bytes_of(row, sizeof *row);
    return 0;
}

static int get_network_row(const cx_Msg *m, struct client_event *e, struct row_room *room)
{
    const cx_NetworkRow *n = &m->body.network_row;
    struct network_row *row = &room->row.network;
    *row = (struct network_row){.producers = n->producers,
                                .threads = n->threads,
                                .price = n->price,
                                .ready = n->ready,
                                .granted = n->granted,
                                .jobs = n->jobs,
                                .age_ms = n->age_ms,
                                .alive = n->alive};
    row_text(row->network, sizeof row->network, n->network);
    row_text(row->address, sizeof row->address, n->address);
    row_text(row->arch, sizeof row->arch, n->arch);
    e->kind = CLIENT_ROW;
    e->data = bytes_of(row, sizeof *row);
    return 0;
}

static int get_shard_row(const cx_Msg *m, struct client_event *e, struct row_room *room)
{
    const cx_ShardRow *s = &m->body.shard_row;
    struct shard_row *row = &room->row.shard;
    *row = (struct shard_row){.id = id_in(s->id),
                              .epoch = s->epoch,
                              .lsn = s->lsn,
                              .held = s->held,
                              .jobs = s->jobs,
                              .producers = s->producers,
                              .primary = s->primary,
                              .in_sync = {s->in_sync_a, s->in_sync_b},
                              .member = s->member,
                              .backup = s->backup,
                              .backup_lsn = s->backup_lsn,
                              .backup_bytes = s->backup_bytes,
                              .serves = s->serves,
                              .sibling = s->sibling};
    row_text(row->name, sizeof row->name, s->name);
    row_text(row->server, sizeof row->server, s->server);
    row_text(row->role, sizeof row->role, s->role);
    row_text(row->addresses, sizeof row->addresses, s->addresses);
    e->kind = CLIENT_ROW;
    e->data = bytes_of(row, sizeof *row);
    return 0;
}

/* What may come on which link. */
static const struct {
    pb_size_t tag;
    unsigned links; /* bits 1 << enum client_link */
    int (*get)(const cx_Msg *, struct client_event *, struct row_room *);
} in[] = {
    {cx_Msg_status_tag, 1 << LINK_TASKS | 1 << LINK_BLOBS | 1 << LINK_BROKER, get_status},
    {cx_Msg_welcome_tag, 1 << LINK_TASKS, get_welcome},
    {cx_Msg_job_row_tag, 1 << LINK_TASKS, get_job_row},
    {cx_Msg_producer_row_tag, 1 << LINK_TASKS, get_producer_row},
    {cx_Msg_server_row_tag, 1 << LINK_TASKS, get_server_row},
    {cx_Msg_result_tag, 1 << LINK_TASKS, get_result},
    {cx_Msg_text_tag, 1 << LINK_TASKS, get_text},
    {cx_Msg_offer_tag, 1 << LINK_BROKER, get_offer},
    {cx_Msg_shard_row_tag, 1 << LINK_TASKS, get_shard_row},
    {cx_Msg_network_row_tag, 1 << LINK_BROKER, get_network_row},
};

int wire_receive(struct conn *conn, struct bytes data, char *why)
{
    struct client_event e = {.link = conn->link};
    struct row_room room;
    cx_Msg m;
    int code = msg_decode(data, &m, why);
    if (code < 0)
        return code;
    e.req = m.req;
    for (size_t i = 0; i < sizeof in / sizeof in[0]; i++) {
        if (in[i].tag != m.which_body || (in[i].links >> conn->link & 1) == 0)
            continue;
        if ((code = in[i].get(&m, &e, &room)) == 0)
            remote_step(conn->lane, &e);
        else
            snprintf(why, RPC_WHY_MAX, "the server's %s is not understood: %s", msg_kind(&m),
                     cx_err_text(code));
        return code;
    }
    snprintf(why, RPC_WHY_MAX, "the server sent %s, which does not belong there", msg_kind(&m));
    return CX_EPROTO;
}
