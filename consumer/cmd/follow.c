#include "consumer/cmd/follow.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "consumer/cmd/show.h"

#define REDRAW_MS     100
#define LINE_EVERY_US 5000000
#define BAR_MAX       30

/* ---- Ctrl-C ---- */

static char farewell[1024];

/* Only what is async-signal-safe. */
static void on_interrupt(int signal_number)
{
    (void)signal_number;
    ssize_t ignored = write(STDERR_FILENO, farewell, strlen(farewell));
    (void)ignored;
    _exit(EXIT_INTERRUPTED);
}

void interrupt_leaves(const cx_net *net, const char *job)
{
    struct sigaction sa = {.sa_handler = on_interrupt};
    if (strncmp(net->address, "local://", 8) == 0)
        snprintf(farewell, sizeof farewell, "\ncx: interrupted; the job ends with this process\n");
    else
        snprintf(farewell, sizeof farewell,
                 "\ncx: interrupted; job %s goes on. Wait for it again with:\n  cx wait%s%s%s%s %s\n", job,
                 common.network != NULL ? " --network " : "", common.network != NULL ? common.network : "",
                 common.credentials != NULL ? " --credentials " : "",
                 common.credentials != NULL ? common.credentials : "", job);
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
}

/* ---- Progress ---- */

struct follower {
    bool terminal, drawn;
    uint64_t started_us, said_us, seen_us;
    uint64_t seen; /* tasks executed at seen_us */
    double rate;
};

/* How much is left is not known while a job unfolds; the bar shows the part that is done of what is known
 * now. */
static double fraction(const cx_progress *p)
{
    double known = (double)(p->executed + p->ready + p->waiting + p->granted);
    return p->state == CX_DONE ? 1.0 : known > 0 ? (double)p->executed / known : 0.0;
}

void progress_text(const cx_progress *p, double rate, int columns, char *out, size_t cap)
{
    char done[SHORT_MAX], ready[SHORT_MAX], speed[SHORT_MAX], age[SHORT_MAX], bar[BAR_MAX + 3] = "";
    int width = columns - 62 < BAR_MAX ? columns - 62 : BAR_MAX;
    if (width >= 5) {
        int full = (int)(fraction(p) * width);
        memset(bar, ' ', (size_t)width + 2);
        memset(bar + 1, '#', (size_t)full);
        bar[0] = '[';
        bar[width + 1] = ']';
        bar[width + 2] = '\0';
    }
    snprintf(out, cap, "%s%s%s done, %" PRIu64 " running, %s ready, %s/s, %s", bar, bar[0] != '\0' ? " " : "",
             show_count((double)p->executed, done), p->granted, show_count((double)p->ready, ready),
             show_count(rate, speed), show_time(p->age_s, age));
}

static int terminal_columns(void)
{
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

static void update_rate(struct follower *f, const cx_progress *p, uint64_t now_us)
{
    uint64_t passed = now_us - f->seen_us;
    if (passed < 500000 && f->seen_us != f->started_us)
        return;
    double now = passed > 0 ? (double)(p->executed - f->seen) * 1e6 / (double)passed : 0.0;
    f->rate = f->rate > 0 ? 0.7 * f->rate + 0.3 * now : now;
    f->seen = p->executed;
    f->seen_us = now_us;
}

static void draw(struct follower *f, cx_job *job, const cx_progress *p)
{
    char text[256];
    uint64_t now = clock_us();
    update_rate(f, p, now);
    if (f->terminal) {
        progress_text(p, f->rate, terminal_columns(), text, sizeof text);
        fprintf(stderr, "\r%s\033[K", text);
    } else if (now - f->said_us >= LINE_EVERY_US) {
        progress_text(p, f->rate, 0, text, sizeof text);
        fprintf(stderr, "cx: job %s: %s\n", cx_job_id(job), text);
        f->said_us = now;
    }
    f->drawn = true;
}

static int slice_ms(uint64_t deadline_us)
{
    uint64_t now = clock_us();
    if (deadline_us <= now)
        return 0;
    return deadline_us - now > REDRAW_MS * 1000 ? REDRAW_MS : (int)((deadline_us - now) / 1000 + 1);
}

int follow(cx_job *job, uint64_t deadline_us, cx_value *result)
{
    struct follower f = {.terminal = isatty(STDERR_FILENO) == 1, .started_us = clock_us()};
    cx_progress p;
    int err;
    f.said_us = f.seen_us = f.started_us;
    while ((err = cx_wait(job, slice_ms(deadline_us), result)) == CX_ETIMEOUT && clock_us() < deadline_us)
        if (!common.quiet && cx_job_progress(job, &p) == 0)
            draw(&f, job, &p);
    if (f.terminal && f.drawn)
        fputs("\r\033[K", stderr);
    return err;
}
