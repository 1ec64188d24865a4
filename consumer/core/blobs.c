/* A submission's way: for each blob ask whether the server has it, send it if not; then submit. One
 * submission at a time is in the blob part, so that two do not send the same module. */
#include <string.h>

#include "consumer/core/internal.h"

struct call *submit_in_blobs(const struct client *c)
{
    struct call *call = c->calls;
    while (call != NULL && call->state != CALL_HAVE && call->state != CALL_PUT)
        call = call->next;
    return call;
}

static bool is_known(const struct client *c, const uint8_t *sha256)
{
    for (uint32_t i = 0; i < c->knowns; i++)
        if (memcmp(c->known[i], sha256, CLIENT_SHA_BYTES) == 0)
            return true;
    return false;
}

/* When the table is full it starts anew: forgetting costs one question. */
static void know(struct client *c, const uint8_t *sha256)
{
    if (c->knowns == KNOWN_BLOBS_MAX)
        c->knowns = 0;
    memcpy(c->known[c->knowns++], sha256, CLIENT_SHA_BYTES);
}

static void send_submit(struct client *c, struct call *call)
{
    call->state = CALL_SENT;
    call->req = ++c->reqs;
    link_bind(c); /* whether it is acknowledged or not: the same job must not be in two shards */
    struct client_effect *fx = client_send(c, LINK_TASKS, SEND_SUBMIT, call->req);
    fx->id = call->id;
    fx->call = call;
}

static void send_blob(struct client *c, struct call *call, enum call_state state, enum client_message m)
{
    call->state = state;
    call->req = ++c->reqs;
    client_send(c, LINK_BLOBS, m, call->req)->blob = &call->blob[call->blob_at];
}

void submit_advance(struct client *c, struct call *call)
{
    if (call->full)
        return;
    while (call->blob_at < call->blobs && is_known(c, call->blob[call->blob_at].sha256))
        call->blob_at++;
    if (call->blob_at == call->blobs)
        send_submit(c, call);
    else if (c->link[LINK_BLOBS].state == LINK_UP && submit_in_blobs(c) == NULL)
        send_blob(c, call, CALL_HAVE, SEND_HAVE);
}

static void blob_answered(struct client *c, struct call *call, int code, struct bytes text)
{
    c->link[LINK_BLOBS].failures = 0;
    if (code == CX_ENOTFOUND && call->state == CALL_HAVE) {
        send_blob(c, call, CALL_PUT, SEND_PUT);
        return;
    }
    call->state = CALL_IDLE;
    call->req = 0;
    if (code < 0) {
        call_done(c, call, code, "the server does not take the %s: %.*s",
                  call->blob_at == 0 ? "module" : "input", (int)(text.len < 1024 ? text.len : 1024),
                  text.len > 0 ? (const char *)text.data : "");
        return;
    }
    know(c, call->blob[call->blob_at].sha256);
    call->blob_at++;
    submit_advance(c, call);
}

static void start_again(struct call *call)
{
    call->state = CALL_IDLE;
    call->req = 0;
    call->blob_at = 0;
}

static void server_full(struct client *c, struct call *call, struct bytes text)
{
    start_again(call);
    call->full = true;
    call->retry_us = c->now_us + CLIENT_FULL_WAIT;
    text_set(call->full_text, sizeof call->full_text, "%.*s", (int)(text.len < 255 ? text.len : 255),
             text.len > 0 ? (const char *)text.data : "");
}

void submit_answered(struct client *c, struct call *call, int code, struct bytes text)
{
    if (call->state != CALL_SENT) {
        blob_answered(c, call, code, text);
    } else if (code == CX_EFULL) {
        server_full(c, call, text);
    } else if (code == CX_ENOTFOUND && !call->reblobbed) {
        c->knowns = 0; /* the server has dropped a blob that it had */
        call->reblobbed = true;
        start_again(call);
    } else {
        call_done(c, call, code, "%.*s", (int)(text.len < 1024 ? text.len : 1024),
                  text.len > 0 ? (const char *)text.data : "");
    }
}
