/* Effects: what a step asks of the shell. */
#include <stdarg.h>

#include "taskserver/core/core.h"

void ts_effects_clear(struct ts_effects *e)
{
    e->n = 0;
    buf_clear(&e->data);
}

void ts_effects_free(struct ts_effects *e)
{
    free(e->fx);
    buf_free(&e->data);
    *e = (struct ts_effects){0};
}

/* The effect is the caller's to fill in until the next one is added. */
struct ts_effect *fx_add(struct ts *ts, enum ts_effect_kind kind, uint32_t peer)
{
    struct ts_effects *e = ts->out;
    if (e->n == e->cap) {
        e->cap = e->cap ? e->cap * 2 : 64;
        e->fx = realloc(e->fx, e->cap * sizeof *e->fx);
        if (!e->fx)
            abort();
    }
    e->fx[e->n] = (struct ts_effect){.kind = kind, .peer = peer, .at = e->data.len};
    return &e->fx[e->n++];
}

struct ts_effect *fx_job(struct ts *ts, enum ts_effect_kind kind, uint32_t peer, const struct job *job)
{
    struct ts_effect *fx = fx_add(ts, kind, peer);
    fx->job = job->entry.id;
    return fx;
}

void fx_data(struct ts *ts, struct ts_effect *fx, struct bytes data)
{
    buf_add(&ts->out->data, data.data, data.len);
    fx->len = ts->out->data.len - fx->at;
}

void fx_fault(struct ts *ts, uint32_t peer, const char *text)
{
    struct ts_effect *fx = fx_add(ts, TS_FX_FAULT, peer);
    fx->code = CX_EPROTO;
    fx_data(ts, fx, bytes_str(text));
}

void text_add(struct buf *b, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    buf_reserve(b, TS_REASON_MAX);
    int n = vsnprintf((char *)b->data + b->len, TS_REASON_MAX, format, ap);
    va_end(ap);
    must(n >= 0);
    b->len += n < (int)TS_REASON_MAX ? (size_t)n : TS_REASON_MAX - 1;
}

void text_safe(struct buf *b, struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        put_u8(b, (c < 0x20 && c != '\n') || c == 0x7f ? '?' : c);
    }
}
