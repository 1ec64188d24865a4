/* Submits N tasks of so many rounds of arithmetic to gearmand and waits for all. Prints tasks a second, or
 * with N = 1 the median of TIMES in microseconds. usage: gearman_client PORT N ROUNDS [TIMES] |
 * gearman_client PORT N fill */
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

static void run(gearman_client_st *c, int n, const char *load)
{
    gearman_return_t err;
    for (int i = 0; i < n; i++) {
        char unique[32];
        snprintf(unique, sizeof unique, "%d", i);
        gearman_client_add_task(c, NULL, NULL, "work", unique, load, strlen(load), &err);
    }
    err = gearman_client_run_tasks(c);
    if (gearman_failed(err)) {
        fprintf(stderr, "gearman_client: %s\n", gearman_client_error(c));
        exit(1);
    }
    gearman_client_task_free_all(c);
}

/* A queue that nobody shortens. */
static void fill(gearman_client_st *c, int n)
{
    char handle[GEARMAN_JOB_HANDLE_SIZE];
    for (int i = 0; i < n; i++) {
        char unique[32];
        snprintf(unique, sizeof unique, "%d", i);
        if (gearman_client_do_background(c, "queue", unique, "0", 1, handle) != GEARMAN_SUCCESS)
            exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    int n = atoi(argv[2]), rounds = argc > 4 ? atoi(argv[4]) : 1;
    gearman_client_st *c = gearman_client_create(NULL);
    gearman_client_add_server(c, "127.0.0.1", (in_port_t)atoi(argv[1]));
    if (strcmp(argv[3], "fill") == 0)
        return fill(c, n), 0;
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
