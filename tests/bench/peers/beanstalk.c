/* A task farm over beanstalkd, with replies: the client puts tasks into one tube, workers reserve, do the
 * rounds of arithmetic in the body, put a reply into another tube and delete the task; the client reserves
 * the replies. Commands are pipelined where the protocol allows. Prints tasks a second, or with N = 1 the
 * median microseconds. usage: beanstalk worker PORT | beanstalk client PORT N ROUNDS [TIMES] | beanstalk fill
 * PORT N */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "examples/synthetic/load.h"

static FILE *in, *out;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void dial(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&a, sizeof a)) {
        perror("beanstalk: connect");
        exit(1);
    }
    in = fdopen(fd, "r");
    out = fdopen(dup(fd), "w");
}

/* One answer line, which must begin as expected. */
static char *answer(const char *expected)
{
    static char line[256];
    fflush(out);
    if (!fgets(line, sizeof line, in) || strncmp(line, expected, strlen(expected)) != 0) {
        fprintf(stderr, "beanstalk: wanted %s, got %s\n", expected, line);
        exit(1);
    }
    return line;
}

static void put(const char *body)
{
    fprintf(out, "put 0 0 120 %zu\r\n%s\r\n", strlen(body), body);
}

static unsigned long reserve(char *body)
{
    unsigned long id;
    size_t len;
    fputs("reserve\r\n", out);
    sscanf(answer("RESERVED"), "RESERVED %lu %zu", &id, &len);
    if (len > 60 || fread(body, 1, len + 2, in) != len + 2)
        exit(1);
    body[len] = 0;
    return id;
}

static void use(const char *put_to, const char *take_from)
{
    fprintf(out, "use %s\r\n", put_to);
    answer("USING");
    fprintf(out, "watch %s\r\n", take_from);
    answer("WATCHING");
    fputs("ignore default\r\n", out);
    answer("WATCHING");
}

static void work(void)
{
    char body[64];
    use("replies", "tasks");
    for (;;) {
        unsigned long id = reserve(body);
        load_spin(atol(body));
        put("1");
        fprintf(out, "delete %lu\r\n", id);
        answer("INSERTED");
        answer("DELETED");
    }
}

static double run(int n, const char *load)
{
    char body[64];
    double from = now_s();
    for (int i = 0; i < n; i++)
        put(load);
    for (int i = 0; i < n; i++)
        answer("INSERTED");
    for (int i = 0; i < n; i++) {
        fprintf(out, "delete %lu\r\n", reserve(body));
        answer("DELETED");
    }
    return now_s() - from;
}

/* A queue that nobody shortens. */
static void fill(int n)
{
    use("tasks", "replies");
    for (int i = 0; i < n; i += 100) {
        for (int k = 0; k < 100; k++)
            put("0");
        for (int k = 0; k < 100; k++)
            answer("INSERTED");
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    dial(atoi(argv[2]));
    if (strcmp(argv[1], "worker") == 0)
        work();
    int n = atoi(argv[3]), rounds = argc > 5 ? atoi(argv[5]) : 1;
    if (strcmp(argv[1], "fill") == 0)
        return fill(n), 0;
    double *took = malloc(sizeof *took * (size_t)rounds);
    use("tasks", "replies");
    for (int i = 0; i < rounds; i++)
        took[i] = run(n, argv[4]);
    qsort(took, (size_t)rounds, sizeof *took, by_value);
    printf("%.3f\n", n == 1 ? took[rounds / 2] * 1e6 : n / took[rounds / 2]);
    return 0;
}
