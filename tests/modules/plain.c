/* A module whose table was written by hand: it lacks the tasks that CX_MODULE adds. */
#include <cx/task.h>

static void alone(cx_ctx *cx)
{
    cx_return_i64(cx, 1);
}

static const struct cx_task_entry tasks[] = {{"alone", alone}};
CX_EXPORT const cx_module cx_module_v1 = {CX_ABI_VERSION, 1, tasks};
