/* A module for a task interface of another time, as its builder would never make it on purpose. */
#include <cx/task.h>

static void alone(cx_ctx *cx)
{
    cx_return_none(cx);
}

static const struct cx_task_entry tasks[] = {{"alone", alone}};
CX_EXPORT const cx_module cx_module_v1 = {CX_ABI_VERSION + 7, 1, tasks};
