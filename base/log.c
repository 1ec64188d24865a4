#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const names[] = {"error", "warn", "info", "debug"};
static const char *program_name = "cx";
static enum log_level most = LOG_INFO;

void log_start(const char *program, enum log_level level)
{
    program_name = program;
    most = level;
}

int log_level_of(const char *name)
{
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

void log_line(enum log_level level, const char *format, ...)
{
    if (level > most)
        return;
    char line[1200];
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ %s %s: ", t.tv_nsec / 1000000, names[level],
                          program_name);
    va_list ap;
    va_start(ap, format);
    int more = vsnprintf(line + n, sizeof line - n - 1, format, ap);
    va_end(ap);
    if (more > 0)
        n += (size_t)more < sizeof line - n - 1 ? (size_t)more : sizeof line - n - 2;
    line[n++] = '\n';
    fwrite(line, 1, n, stderr); /* one write a line: whole lines even from several threads */
}
