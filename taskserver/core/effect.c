/* Effects: what a step asks of the shell. */
#include <stdarg.h>

#include "taskserver/core/core.h"

void ts_effects_clear(struct ts_effects *e)
{
    e->n = 0;
    buf_reset(&e->data, SCRATCH_KEPT_MAX);
    buf_reset(&e->log, SCRATCH_KEPT_MAX);
}

void ts_effects_free(struct ts_effects *e)
{
    free(e->fx);
    buf_free(&e->data);
    buf_free(&e->log);
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

/* Length of the UTF-8 sequence that the text begins with, 0 when it is none (RFC 3629). */
static size_t utf8_len(struct bytes text)
{
    uint8_t c = text.data[0];
    size_t len = c < 0x80                ? 1
                 : c >= 0xc2 && c < 0xe0 ? 2
                 : (c & 0xf0) == 0xe0    ? 3
                 : c >= 0xf0 && c < 0xf5 ? 4
                                         : 0;
    if (len > text.len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((text.data[i] & 0xc0) != 0x80)
            return 0;
    uint8_t second = len > 2 ? text.data[1] : 0x80;
    bool overlong = (c == 0xe0 && second < 0xa0) || (c == 0xf0 && second < 0x90);
    bool outside = (c == 0xed && second > 0x9f) || (c == 0xf4 && second > 0x8f);
    return overlong || outside ? 0 : len;
}

void text_safe(struct buf *b, struct bytes text)
{
    while (text.len) {
        size_t len = utf8_len(text), skip = len ? len : 1;
        uint8_t c = text.data[0];
        if (len == 0 || (c < 0x20 && c != '\n') || c == 0x7f)
            put_u8(b, '?');
        else
            buf_add(b, text.data, len);
        text.data += skip;
        text.len -= skip;
    }
}
