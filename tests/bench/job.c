/* Runs a job several times over one connection and tells how long each took, without the start of any
 * program.
 *
 *     job [-r ROUNDS] [-w WARM] [-f FIRST] [-i INPUT] MODULE FUNCTION [INTEGER | str:TEXT]...
 *
 * The network is that of CX_NETWORK and CX_CREDENTIALS. Prints a JSON line for each round, after WARM (1)
 * that do not count, and in which the first argument is FIRST: seconds as the consumer sees them, from submit
 * to result; seconds from submit to end by the server's clock; tasks executed; tasks executed twice;
 * computing time; the result (bytes in hex). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cx/consumer.h"

struct timing {
    double seconds;
    cx_progress end;
};

static cx_net *net;

static void check(int code, const char *what)
{
    if (code == 0)
        return;
    fprintf(stderr, "job: %s: %s\n", what, cx_error(net));
    exit(1);
}

static cx_value argument(const char *text)
{
    if (strncmp(text, "str:", 4) == 0)
        return cx_v_bytes(text + 4, strlen(text + 4));
    return cx_v_i64(strtoll(text, NULL, 0));
}

/* The whole file; nothing for NULL. */
static void *read_input(const char *path, size_t *len)
{
    char *data = malloc(1u << 20);
    FILE *f = path != NULL ? fopen(path, "rb") : NULL;
    *len = f != NULL && data != NULL ? fread(data, 1, 1u << 20, f) : 0;
    if (path != NULL && *len == 0) {
        fprintf(stderr, "job: cannot read %s\n", path);
        exit(1);
    }
    if (f != NULL)
        fclose(f);
    return data;
}

static void print_value(const cx_value *v)
{
    if (v->type == CX_I64)
        printf("%" PRId64, v->as.i64);
    else
        putchar('"');
    for (uint32_t i = 0; v->type == CX_BYTES && i < v->len; i++)
        printf("%02x", ((const unsigned char *)v->as.bytes)[i]);
    if (v->type != CX_I64)
        putchar('"');
}

static void print(const struct timing *t, const cx_value *result)
{
    printf("{\"seconds\":%.6f,\"server_s\":%.6f,\"executed\":%" PRIu64 ",\"duplicates\":%" PRIu64
           ",\"busy_s\":%.6f,\"result\":",
           t->seconds, t->end.age_s, t->end.executed, t->end.duplicates, t->end.busy_s);
    print_value(result);
    printf("}\n");
}

static void run(const cx_submission *what, bool counts)
{
    struct timing t;
    cx_value result;
    cx_job *job;
    uint64_t from = clock_ns();
    check(cx_submit(net, what, &job), "submit");
    check(cx_wait(job, -1, &result), "wait");
    t.seconds = (double)(clock_ns() - from) / 1e9;
    check(cx_job_progress(job, &t.end), "progress");
    if (counts)
        print(&t, &result);
    check(cx_forget(job), "forget");
    cx_job_free(job);
}

int main(int argc, char **argv)
{
    int rounds = 1, warm = 1, c;
    const char *input = NULL, *first = NULL;
    cx_value args[CX_ARGS_MAX];
    cx_submission what = {.args = args};
    while ((c = getopt(argc, argv, "+r:w:f:i:")) != -1) {
        rounds = c == 'r' ? atoi(optarg) : rounds;
        warm = c == 'w' ? atoi(optarg) : warm;
        first = c == 'f' ? optarg : first;
        input = c == 'i' ? optarg : input;
    }
    if (argc - optind < 2 || argc - optind - 2 > (int)CX_ARGS_MAX) {
        fprintf(stderr,
                "usage: job [-r ROUNDS] [-w WARM] [-f FIRST] [-i INPUT] MODULE FUNCTION [ARGUMENT]...\n");
        return 2;
    }
    what.module = argv[optind];
    what.function = argv[optind + 1];
    for (int i = optind + 2; i < argc; i++)
        args[what.nargs++] = argument(argv[i]);
    void *data = read_input(input, &what.input_len);
    what.input = what.input_len > 0 ? data : NULL;
    check(cx_open(NULL, &net), "open");
    for (int i = -warm; i < rounds; i++) {
        if (what.nargs > 0)
            args[0] = argument(i < 0 && first != NULL ? first : argv[optind + 2]);
        run(&what, i >= 0);
    }
    cx_close(net);
    free(data);
    return 0;
}
