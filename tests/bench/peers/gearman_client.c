/* Submits N tasks of NS nanoseconds to gearmand and waits for all. Prints tasks a second, or with N = 1
 * rounds of one task at a time: the median in microseconds. usage: gearman_client PORT N NS [ROUNDS] */
#include <libgearman/gearman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void run(gearman_client_st *c, int n, const char *ns)
{
    gearman_return_t err;
    for (int i = 0; i < n; i++) {
        char unique[32];
        snprintf(unique, sizeof unique, "%d", i);
        gearman_client_add_task(c, NULL, NULL, "work", unique, ns, strlen(ns), &err);
    }
    err = gearman_client_run_tasks(c);
    if (gearman_failed(err)) {
        fprintf(stderr, "gearman_client: %s\n", gearman_client_error(c));
        exit(1);
    }
    gearman_client_task_free_all(c);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    int n = atoi(argv[2]), rounds = argc > 4 ? atoi(argv[4]) : 1;
    gearman_client_st *c = gearman_client_create(NULL);
    gearman_client_add_server(c, "127.0.0.1", (in_port_t)atoi(argv[1]));
    run(c, n < 100 ? n : 100, "0");
    double *took = malloc(sizeof *took * (size_t)rounds);
    for (int i = 0; i < rounds; i++) {
        double from = now_s();
        run(c, n, argv[3]);
        took[i] = now_s() - from;
    }
    qsort(took, (size_t)rounds, sizeof *took, by_value);
    printf("%.3f\n", n == 1 ? took[rounds / 2] * 1e6 : n / took[rounds / 2]);
    return 0;
}
