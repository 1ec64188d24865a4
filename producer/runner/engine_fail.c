#include <stdio.h>

#include "producer/runner/engine_impl.h"

const char *engine_fn_name(const struct engine *e, uint32_t fn)
{
    if (fn_is_well_known(fn))
        return wk_name(fn);
    if (fn >= FN_FIRST && fn - FN_FIRST < e->config.module->tasks)
        return e->config.module->task[fn - FN_FIRST].name;
    return "?";
}

const char *engine_type_name(uint32_t type)
{
    static const char *const names[] = {"none", "i64", "f64", "bytes", "addr"};
    return type < sizeof names / sizeof names[0] ? names[type] : "a value of no known type";
}

void engine_vfail(struct engine *e, const char *format, va_list ap)
{
    if (e->failed)
        return;
    char hex[ID_HEX_MAX];
    struct id task = e->cur ? frame_id(e, e->cur) : e->grant->task;
    uint32_t fn = e->cur ? e->cur->head.fn : e->grant->fn;
    id_hex(task, hex);
    int n = snprintf(e->text, sizeof e->text, "%s (task %s): ", engine_fn_name(e, fn), hex);
    vsnprintf(e->text + n, sizeof e->text - (size_t)n, format, ap);
    e->failed = true;
    e->until = 1;
    e->ctx.api = &engine_api_dead;
}

void engine_fail(struct engine *e, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    engine_vfail(e, format, ap);
    va_end(ap);
}
