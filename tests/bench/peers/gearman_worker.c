/* A gearman worker: "work" does so many rounds of arithmetic as its workload says (0: a no-op) and returns a
 * byte. usage: gearman_worker PORT */
#include <libgearman/gearman.h>
#include <stdlib.h>
#include <string.h>

#include "examples/synthetic/load.h"

static gearman_return_t work(gearman_job_st *job, void *context)
{
    (void)context;
    char text[32] = "0";
    size_t n = gearman_job_workload_size(job);
    memcpy(text, gearman_job_workload(job), n < 31 ? n : 31);
    load_spin(atol(text));
    return gearman_job_send_data(job, "1", 1), GEARMAN_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    gearman_worker_st *w = gearman_worker_create(NULL);
    gearman_worker_add_server(w, "127.0.0.1", (in_port_t)atoi(argv[1]));
    gearman_function_t f = gearman_function_create(work);
    gearman_worker_define_function(w, "work", 4, f, 0, NULL);
    while (gearman_success(gearman_worker_work(w)))
        ;
    return 1;
}
