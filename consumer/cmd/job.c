/* Verbs about one job that was submitted before, and the listings. */
#include <cjson/cJSON.h>
#include <stdio.h>

#include "consumer/cmd/cmd.h"
#include "consumer/cmd/follow.h"
#include "consumer/cmd/show.h"

/* Opens the network and a handle of a job; code is 0 or what was reported. */
static int attach(const char *id, cx_net **net, cx_job **job)
{
    int err, code = open_network(net);
    if (code != 0)
        return code;
    if ((err = cx_attach(*net, id, job)) < 0)
        return report_net(*net, err);
    return 0;
}

/* ---- wait ---- */

struct wait_line {
    const char *id, *output;
};

static error_t parse_wait(int key, char *arg, struct argp_state *state)
{
    struct wait_line *w = state->input;
    if (key == 'o') {
        w->output = arg;
        return 0;
    }
    if (key == ARGP_KEY_ARG && state->arg_num == 0) {
        w->id = arg;
        return 0;
    }
    if (key == ARGP_KEY_ARG)
        argp_error(state, "'%s' is one argument too many", arg);
    if (key == ARGP_KEY_END && w->id == NULL)
        argp_usage(state);
    return key == ARGP_KEY_END ? 0 : ARGP_ERR_UNKNOWN;
}

int verb_wait(int argc, char **argv)
{
    static const struct argp_option options[] = {{"output", 'o', "FILE", 0, "write the result to a file", 0},
                                                 {0}};
    struct argp argp = {
        .options = options,
        .parser = parse_wait,
        .args_doc = "JOB",
        .doc = "Wait for a job and print its result.\vThe result stays fetchable until it expires "
               "or `cx forget JOB`.",
        .children = COMMON_CHILDREN};
    struct wait_line line = {0};
    cx_net *net = NULL;
    cx_job *job = NULL;
    cx_value v;
    argp_parse(&argp, argc, argv, 0, NULL, &line);
    int code = attach(line.id, &net, &job);
    if (code == 0) {
        interrupt_leaves(net, cx_job_id(job));
        int err = follow(job, deadline_of(common.timeout_ms), &v);
        code = err == 0 ? show_result(cx_job_id(job), v, line.output) : report_net(net, err);
    }
    cx_job_free(job);
    cx_close(net);
    return code;
}

/* ---- cancel, forget, why: one job, one question ---- */

static int say_done(cx_job *job, const char *what)
{
    if (common.json) {
        cJSON *doc = cJSON_CreateObject();
        cJSON_AddStringToObject(doc, "id", cx_job_id(job));
        cJSON_AddStringToObject(doc, "done", what);
        print_json(doc);
    } else if (!common.quiet) {
        printf("job %s: %s\n", cx_job_id(job), what);
    }
    return 0;
}

static int do_cancel(cx_job *job)
{
    struct job_row row;
    int err = cx_cancel(job);
    if (err < 0)
        return err;
    bool ended = job_row(job, &row) == 0 && (row.state == CX_DONE || row.state == CX_FAILED);
    return say_done(job, ended ? "had ended already" : "cancelled");
}

static int do_forget(cx_job *job)
{
    int err = cx_forget(job);
    return err < 0 ? err : say_done(job, "forgotten");
}

static int do_why(cx_job *job)
{
    struct buf text = {0};
    int err = job_why(job, &text);
    if (err == 0 && common.json) {
        cJSON *doc = cJSON_CreateObject();
        buf_add(&text, "", 1);
        cJSON_AddStringToObject(doc, "id", cx_job_id(job));
        cJSON_AddStringToObject(doc, "why", (const char *)text.data);
        print_json(doc);
    } else if (err == 0) {
        printf("%.*s%s", (int)text.len, (const char *)text.data,
               text.len > 0 && text.data[text.len - 1] == '\n' ? "" : "\n");
    }
    buf_free(&text);
    return err;
}

static int do_status(cx_job *job)
{
    struct job_row row;
    int err = job_row(job, &row);
    if (err == 0)
        show_job(&row);
    return err;
}

static int with_job(const char *id, int (*act)(cx_job *))
{
    cx_net *net = NULL;
    cx_job *job = NULL;
    int err, code = attach(id, &net, &job);
    if (code == 0 && (err = act(job)) < 0)
        code = report_net(net, err);
    cx_job_free(job);
    cx_close(net);
    return code;
}

int verb_cancel(int argc, char **argv)
{
    const char *id = NULL;
    words_parse(argc, argv, "JOB", "Cancel a job: its tasks are dropped, its consumer gets CX_ECANCELLED.", 1,
                1, &id);
    return with_job(id, do_cancel);
}

int verb_forget(int argc, char **argv)
{
    const char *id = NULL;
    words_parse(argc, argv, "JOB", "Drop the kept result of a job that has ended.", 1, 1, &id);
    return with_job(id, do_forget);
}

int verb_why(int argc, char **argv)
{
    const char *id = NULL;
    words_parse(argc, argv, "JOB", "Say what a job waits for.", 1, 1, &id);
    return with_job(id, do_why);
}

/* ---- Listings ---- */

static int listing(enum list_what what, void (*show)(const struct buf *))
{
    cx_net *net = NULL;
    struct buf rows = {0};
    int err = 0, code = open_network(&net);
    if (code == 0 && (err = net_list(net, what, &rows)) < 0)
        code = report_net(net, err);
    else if (code == 0)
        show(&rows);
    if (code == 0 && err > 0) { /* half a list is no list: the exit code says so */
        fprintf(stderr, "cx: not all shards are listed: %s\n", cx_error(net));
        code = cx_err_exit(CX_ENONET);
    }
    buf_free(&rows);
    cx_close(net);
    return code;
}

int verb_status(int argc, char **argv)
{
    const char *id = NULL;
    words_parse(argc, argv, "[JOB]", "Show a job; without JOB, the server.", 0, 1, &id);
    return id != NULL ? with_job(id, do_status) : listing(LIST_SERVER, show_server);
}

int verb_jobs(int argc, char **argv)
{
    words_parse(argc, argv, "", "List the jobs that one may see.", 0, 0, NULL);
    return listing(LIST_JOBS, show_jobs);
}

int verb_producers(int argc, char **argv)
{
    words_parse(argc, argv, "", "List the producers of the network.", 0, 0, NULL);
    return listing(LIST_PRODUCERS, show_producers);
}

int verb_networks(int argc, char **argv)
{
    words_parse(argc, argv, "", "List the networks that the broker (--network broker:HOST:PORT) knows.", 0, 0,
                NULL);
    return listing(LIST_NETWORKS, show_networks);
}
