/* Whose fault a crash is: the handler runs on a stack of its own, as the thread's may be what has overflowed.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "cx/error.h"
#include "producer/runner/runner.h"

#define ALT_STACK_BYTES (64u << 10)

static struct link_head *noted;     /* borrowed; set once, before any thread */
static _Thread_local uint32_t self; /* 1 + index */

/* Only what is safe in a signal handler. The handler was set with SA_RESETHAND: after it returns, the
 * instruction faults again, or the raised signal kills. */
static void note(int sig)
{
    uint32_t none = 0;
    if (self && atomic_compare_exchange_strong(&noted->culprit, &none, self))
        atomic_store(&noted->signal, (uint32_t)sig);
    raise(sig);
}

int crash_watch(struct link_head *head, char *why)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP};
    noted = head;
    struct sigaction a = {.sa_handler = note, .sa_flags = (int)(SA_ONSTACK | SA_RESETHAND)};
    sigemptyset(&a.sa_mask);
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) {
        if (sigaction(fatal[i], &a, NULL)) {
            snprintf(why, LINK_WHY_MAX, "no handler for signal %d: %s", fatal[i], strerror(errno));
            return CX_EIO;
        }
    }
    return 0;
}

int crash_thread(uint32_t index)
{
    self = index + 1;
    void *stack = mmap(NULL, ALT_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED)
        return CX_ENOMEM;
    return sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = ALT_STACK_BYTES}, NULL) ? CX_EIO : 0;
}
