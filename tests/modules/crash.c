/* A task that brings its process down, in the way its argument says: 0 not at all (returns 0), 1 a wild
 * write, 2 abort, 3 exit in mid-task, 4 the stack, 5 an endless loop. */
#include <cx/task.h>
#include <stdlib.h>

static volatile unsigned sink;
static volatile unsigned bottom = 0xffffffff;
static int *volatile wild = (int *)16;

static unsigned deeper(unsigned n)
{
    volatile unsigned char frame[4096];
    frame[n % sizeof frame] = (unsigned char)n;
    return n == bottom ? 0 : deeper(n + 1) + frame[n % sizeof frame];
}

static void forever(void)
{
    for (;;)
        sink++;
}

CX_TASK(crash) /* i64 how -> i64 */
{
    int64_t how = cx_i64(cx, 0);
    if (how == 1)
        *wild = 1;
    else if (how == 2)
        abort();
    else if (how == 3)
        exit(3);
    else if (how == 4)
        sink = deeper(0);
    else if (how == 5)
        forever();
    cx_return_i64(cx, how);
}

/* n harmless tasks of which one, the last, crashes as told. */
CX_TASK(crash_among) /* i64 n, i64 how -> i64 sum */
{
    int64_t n = cx_i64(cx, 0), how = cx_i64(cx, 1);
    if (n < 1 || n > 100000)
        return cx_fail(cx, "n is %lld, but must be 1 to 100000", (long long)n);
    cx_ref sum = cx_successor(cx, CX_SUM_I64, (uint32_t)n);
    for (uint32_t i = 0; i < (uint32_t)n; i++)
        cx_spawn(cx, crash, cx_slot(sum, i), cx_args(i == (uint32_t)n - 1 ? how : 0));
}

CX_MODULE(crash, crash_among)
