#include "tests/support/consumer_suite.h"

#include <elf.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "consumer/module.h"
#include "tests/support/command.h"

#define ECHO built("tests/modules/echo.so")
#define SPIN built("tests/modules/spin.so")
#define FAIL built("tests/modules/fail.so")

static void expect(cx_net *net, int code, int want)
{
    if (code != want)
        fail_msg("%s \"%s\", want %s", cx_err_name(code), cx_error(net), cx_err_name(want));
}

static void expect_error(const cx_net *net, const char *text)
{
    if (strstr(cx_error(net), text) == NULL)
        fail_msg("the error \"%s\" does not say \"%s\"", cx_error(net), text);
}

static int64_t run_i64(cx_net *net, const char *module, const char *function, uint32_t nargs,
                       const cx_value *args)
{
    cx_value v;
    expect(net, cx_run(net, module, function, nargs, args, &v), CX_OK);
    assert_int_equal(v.type, CX_I64);
    return v.as.i64;
}

static cx_job *submit(cx_net *net, const cx_submission *what)
{
    cx_job *job;
    expect(net, cx_submit(net, what, &job), CX_OK);
    return job;
}

/* A job that goes on for minutes, in tasks of a millisecond, so that it can be cancelled anywhere. */
static cx_job *submit_long(cx_net *net)
{
    static const cx_value args[] = {{{.i64 = 200000}, 0, CX_I64}, {{.i64 = 1000}, 0, CX_I64}};
    cx_submission what = {.module = SPIN, .function = "spins", .nargs = 2, .args = args};
    return submit(net, &what);
}

static void cancel_and_free(cx_net *net, cx_job *job)
{
    expect(net, cx_cancel(job), CX_OK);
    expect(net, cx_wait(job, -1, NULL), CX_ECANCELLED);
    cx_job_free(job);
}

/* ---- Results ---- */

static void a_job_unfolds_and_gives_its_value(cx_net *net)
{
    assert_int_equal(run_i64(net, built("examples/fib.so"), "fib", 1, (cx_value[]){cx_v_i64(25)}), 75025);
}

static void every_type_comes_back_as_it_was(cx_net *net)
{
    cx_value v;
    expect(net, cx_run(net, ECHO, "echo", 1, (cx_value[]){cx_v_i64(INT64_MIN)}, &v), CX_OK);
    assert_true(v.type == CX_I64 && v.as.i64 == INT64_MIN);
    expect(net, cx_run(net, ECHO, "echo", 1, (cx_value[]){cx_v_f64(-0.1)}, &v), CX_OK);
    assert_true(v.type == CX_F64 && v.as.f64 == -0.1);
    expect(net, cx_run(net, ECHO, "echo", 0, NULL, &v), CX_OK);
    assert_int_equal(v.type, CX_NONE);
    expect(net, cx_run(net, ECHO, "echo", 1, (cx_value[]){cx_v_bytes("a\0b", 3)}, &v), CX_OK);
    assert_true(v.type == CX_BYTES && v.len == 3 && memcmp(v.as.bytes, "a\0b", 3) == 0);
    free((void *)v.as.bytes);
    expect(net, cx_run(net, ECHO, "echo", 1, (cx_value[]){cx_v_bytes("", 0)}, &v), CX_OK);
    assert_true(v.type == CX_BYTES && v.len == 0 && v.as.bytes != NULL);
    free((void *)v.as.bytes);
}

static void a_result_may_be_unwanted(cx_net *net)
{
    expect(net, cx_run(net, ECHO, "echo", 1, (cx_value[]){cx_v_bytes("abc", 3)}, NULL), CX_OK);
}

static void the_input_reaches_the_tasks(cx_net *net)
{
    size_t len = 3u << 20; /* several chunks */
    unsigned char *input = malloc(len);
    assert_non_null(input);
    memset(input, 3, len);
    cx_submission what = {.module = ECHO, .function = "input_sum", .input = input, .input_len = len};
    cx_value v;
    cx_job *job = submit(net, &what);
    free(input); /* it is the network's by now */
    expect(net, cx_wait(job, -1, &v), CX_OK);
    assert_int_equal(v.as.i64, 3 * (int64_t)len);
    cx_job_free(job);
    assert_int_equal(run_i64(net, ECHO, "input_sum", 0, NULL), 0);
}

static void large_values_pass(cx_net *net)
{
    uint32_t len = 5u << 20;
    char *data = malloc(len);
    cx_value v;
    assert_non_null(data);
    memset(data, 'x', len);
    data[len - 1] = 'y';
    expect(net, cx_run(net, ECHO, "echo", 1, (cx_value[]){cx_v_bytes(data, len)}, &v), CX_OK);
    assert_int_equal(v.len, len);
    assert_memory_equal(v.as.bytes, data, len);
    free((void *)v.as.bytes);
    free(data);
}

static void all_arguments_arrive(cx_net *net)
{
    cx_value args[CX_ARGS_MAX];
    for (unsigned i = 0; i < CX_ARGS_MAX; i++)
        args[i] = cx_v_i64(i);
    assert_int_equal(run_i64(net, ECHO, "argc", CX_ARGS_MAX, args), CX_ARGS_MAX);
}

static void the_bound_is_shared_and_the_answer_right(cx_net *net)
{
    cx_value args[] = {cx_v_i64(7), cx_v_i64(5)};
    const char *module = built("tests/modules/bound.so");
    assert_int_equal(run_i64(net, module, "bound", 2, args), run_i64(net, module, "bound_seq", 2, args));
}

static void a_graph_gives_what_one_task_does(cx_net *net)
{
    cx_value args[] = {cx_v_i64(2000), cx_v_i64(9)};
    const char *module = built("tests/modules/dag.so");
    assert_int_equal(run_i64(net, module, "dag", 2, args), run_i64(net, module, "dag_seq", 2, args));
}

/* ---- Ids ---- */

static void submitting_again_is_harmless(cx_net *net)
{
    cx_value arg = cx_v_i64(20), v;
    cx_job *a, *b;
    cx_submission what = {.module = built("examples/fib.so"), .function = "fib", .nargs = 1, .args = &arg};
    char id[CX_JOB_ID_SIZE];
    a = submit(net, &what);
    strcpy(id, cx_job_id(a));
    what.id = id;
    b = submit(net, &what);
    assert_string_equal(cx_job_id(b), id);
    expect(net, cx_wait(a, -1, &v), CX_OK);
    assert_int_equal(v.as.i64, 6765);
    expect(net, cx_wait(b, -1, &v), CX_OK);
    assert_int_equal(v.as.i64, 6765);
    cx_job_free(b);
    b = submit(net, &what); /* and after its end */
    expect(net, cx_wait(b, -1, &v), CX_OK);
    arg = cx_v_i64(21);
    cx_job *other = NULL;
    expect(net, cx_submit(net, &what, &other), CX_EEXIST);
    assert_null(other);
    expect_error(net, id);
    cx_job_free(a);
    cx_job_free(b);
}

static void a_job_can_be_attached_to_by_its_id(cx_net *net)
{
    cx_value arg = cx_v_i64(7), v;
    cx_submission what = {.module = ECHO, .function = "square", .nargs = 1, .args = &arg};
    cx_job *job = submit(net, &what);
    char id[CX_JOB_ID_SIZE];
    strcpy(id, cx_job_id(job));
    cx_job_free(job);
    expect(net, cx_attach(net, id, &job), CX_OK);
    expect(net, cx_wait(job, -1, &v), CX_OK);
    assert_int_equal(v.as.i64, 49);
    cx_job_free(job);
}

static void unknown_jobs_are_not_found(cx_net *net)
{
    cx_job *job;
    cx_progress p;
    cx_value v;
    expect(net, cx_attach(net, "00000000000000000000000000000bad", &job), CX_OK);
    expect(net, cx_wait(job, -1, &v), CX_ENOTFOUND);
    expect_error(net, "00000000000000000000000000000bad");
    expect(net, cx_job_progress(job, &p), CX_ENOTFOUND);
    expect(net, cx_cancel(job), CX_ENOTFOUND);
    expect(net, cx_forget(job), CX_ENOTFOUND);
    cx_job_free(job);
}

static void ids_are_checked(cx_net *net)
{
    static const char *const bad[] = {"", "12", "zz000000000000000000000000000000",
                                      "00000000000000000000000000000000",
                                      "000000000000000000000000000000011"};
    cx_job *job = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cx_submission what = {.module = ECHO, .function = "echo", .id = bad[i]};
        expect(net, cx_attach(net, bad[i], &job), CX_EINVAL);
        expect(net, cx_submit(net, &what, &job), CX_EINVAL);
        assert_null(job);
    }
}

/* What the wire would not carry is refused to the caller; it does not end his process. */
static void what_cannot_be_sent_is_refused(cx_net *net)
{
    cx_job *job = NULL;
    cx_submission no_text = {.module = ECHO, .function = "echo", .label = "caf\xe9"};
    cx_submission heavy = {.module = ECHO, .function = "echo", .weight = 1000001};
    expect(net, cx_submit(net, &no_text, &job), CX_EINVAL);
    expect_error(net, "UTF-8");
    expect(net, cx_submit(net, &heavy, &job), CX_ELIMIT);
    expect_error(net, "1000001");
    assert_null(job);
    cx_submission greatest = {.module = ECHO, .function = "echo", .weight = 1000000, .priority = INT32_MIN};
    job = submit(net, &greatest);
    cx_value v;
    expect(net, cx_wait(job, -1, &v), CX_OK);
    expect(net, cx_forget(job), CX_OK);
    cx_job_free(job);
}

static void a_forgotten_job_is_gone(cx_net *net)
{
    cx_submission what = {.module = ECHO, .function = "echo"};
    cx_job *job = submit(net, &what);
    char id[CX_JOB_ID_SIZE];
    cx_value v;
    strcpy(id, cx_job_id(job));
    expect(net, cx_wait(job, -1, &v), CX_OK);
    expect(net, cx_forget(job), CX_OK);
    cx_job_free(job);
    expect(net, cx_attach(net, id, &job), CX_OK);
    expect(net, cx_wait(job, 10000, &v), CX_ENOTFOUND);
    expect_error(net, id);
    cx_job_free(job);
}

/* ---- Ends other than a value ---- */

static void a_failure_names_task_and_cause(cx_net *net)
{
    cx_value v, text = cx_v_bytes("the moon is full", 16);
    expect(net, cx_run(net, FAIL, "fail", 1, &text, &v), CX_EFAILED);
    expect_error(net, "the moon is full");
    expect_error(net, "fail");
    expect_error(net, "job ");
    expect(net, cx_run(net, FAIL, "fail_deep", 1, (cx_value[]){cx_v_i64(6)}, &v), CX_EFAILED);
    expect_error(net, "the bottom was reached");
    expect_error(net, "fail_deep");
    expect(net, cx_run(net, ECHO, "square", 1, (cx_value[]){cx_v_f64(2.5)}, &v), CX_EFAILED);
    expect_error(net, "square");
}

static void outputs_stay_untouched_on_failure(cx_net *net)
{
    cx_value v = cx_v_i64(4711);
    cx_job *job = (cx_job *)&v;
    expect(net, cx_run(net, ECHO, "square", 1, (cx_value[]){cx_v_i64(-1)}, &v), CX_EFAILED);
    assert_int_equal(v.as.i64, 4711);
    cx_submission what = {.module = "/nowhere/at/all.so", .function = "f"};
    expect(net, cx_submit(net, &what, &job), CX_ENOTFOUND);
    assert_ptr_equal(job, &v);
}

static void waiting_ends_at_its_time(cx_net *net)
{
    cx_job *job = submit_long(net);
    cx_value v = cx_v_i64(4711);
    expect(net, cx_wait(job, 0, &v), CX_ETIMEOUT);
    expect(net, cx_wait(job, 20, &v), CX_ETIMEOUT);
    assert_int_equal(v.as.i64, 4711);
    expect_error(net, cx_job_id(job));
    cancel_and_free(net, job);
}

static void *cancel_it(void *job)
{
    return (void *)(intptr_t)cx_cancel(job);
}

static void another_thread_may_cancel(cx_net *net)
{
    cx_job *job = submit_long(net);
    cx_value v;
    pthread_t thread;
    void *code;
    assert_int_equal(pthread_create(&thread, NULL, cancel_it, job), 0);
    expect(net, cx_wait(job, -1, &v), CX_ECANCELLED);
    expect_error(net, "cancelled");
    pthread_join(thread, &code);
    assert_int_equal((intptr_t)code, CX_OK);
    cx_job_free(job);
}

static void progress_is_told(cx_net *net)
{
    cx_job *job = submit_long(net);
    cx_progress p;
    do
        expect(net, cx_job_progress(job, &p), CX_OK);
    while (p.executed < 20);
    assert_int_equal(p.state, CX_RUNNING);
    assert_true(p.busy_s > 0 && p.age_s > 0);
    expect(net, cx_cancel(job), CX_OK);
    expect(net, cx_wait(job, -1, NULL), CX_ECANCELLED);
    expect(net, cx_job_progress(job, &p), CX_OK);
    assert_int_equal(p.state, CX_CANCELLED);
    cx_job_free(job);
}

static void progress_is_complete_in_the_end(cx_net *net)
{
    static const cx_value args[] = {{{.i64 = 30}, 0, CX_I64}, {{.i64 = 10}, 0, CX_I64}};
    cx_submission what = {.module = SPIN, .function = "spins", .nargs = 2, .args = args};
    cx_job *job = submit(net, &what);
    cx_progress p;
    expect(net, cx_wait(job, -1, NULL), CX_OK);
    expect(net, cx_job_progress(job, &p), CX_OK);
    assert_int_equal(p.state, CX_DONE);
    assert_true(p.executed >= 31 && p.ready + p.waiting + p.granted == 0);
    expect(net, cx_forget(job), CX_OK);
    cx_job_free(job);
}

static void a_handle_may_be_dropped_while_the_job_runs(cx_net *net)
{
    cx_job *job = submit_long(net), *again;
    char id[CX_JOB_ID_SIZE];
    strcpy(id, cx_job_id(job));
    expect(net, cx_wait(job, 1, NULL), CX_ETIMEOUT);
    cx_job_free(job);
    expect(net, cx_attach(net, id, &again), CX_OK);
    cancel_and_free(net, again);
    cx_job_free(NULL);
}

/* ---- What is refused ---- */

/* echo.so as it would be for another machine; path has room for 64 bytes. */
static void make_foreign_module(char *path)
{
    char command[8192];
    strcpy(path, "/tmp/cx-test-XXXXXX");
    int fd = mkstemp(path);
    unsigned char machine = module_native_arch()[0] == 'a' ? EM_X86_64 : EM_AARCH64;
    assert_true(fd >= 0);
    snprintf(command, sizeof command, "cp %s %s", ECHO, path);
    assert_int_equal(system(command), 0);
    assert_int_equal(pwrite(fd, &machine, 1, offsetof(Elf64_Ehdr, e_machine)), 1);
    close(fd);
}

static void modules_of_others_are_told_apart(cx_net *net)
{
    cx_value v, item = cx_v_i64(1);
    char path[64];
    make_foreign_module(path);
    expect(net, cx_run(net, path, "echo", 0, NULL, &v), CX_EINVAL);
    expect_error(net, module_native_arch());
    unlink(path);
    expect(net, cx_run(net, built("tests/modules/abi.so"), "alone", 0, NULL, &v), CX_EVERSION);
    expect_error(net, "build it again");
    expect(net, cx_run(net, built("tests/modules/plain.so"), "alone", 0, NULL, &v), CX_OK);
    expect(net, cx_map(net, built("tests/modules/plain.so"), "alone", 1, &item, &v), CX_EVERSION);
    expect_error(net, "CX_MODULE");
}

static void modules_are_checked(cx_net *net)
{
    cx_value v;
    expect(net, cx_run(net, "/nowhere/at/all.so", "f", 0, NULL, &v), CX_ENOTFOUND);
    expect_error(net, "/nowhere/at/all.so");
    expect(net, cx_run(net, "/proc/self/status", "f", 0, NULL, &v), CX_EINVAL);
    expect_error(net, "shared object");
    expect(net, cx_run(net, built("lib/libcx.so"), "f", 0, NULL, &v), CX_EINVAL);
    expect_error(net, "CX_MODULE");
    expect(net, cx_run(net, ECHO, "ecko", 0, NULL, &v), CX_ENOTFOUND);
    expect_error(net, "echo.so has no task named 'ecko'; it has: echo, square, input_sum, argc");
}

static void limits_are_named(cx_net *net)
{
    static cx_value many[CX_ARGS_MAX + 1];
    static char label[300];
    char *big = calloc(1, CX_VALUE_BYTES_MAX + 1);
    cx_value v, address = {{.task = 1}, 0, CX_ADDR};
    cx_job *job = NULL;
    assert_non_null(big);
    memset(label, 'l', sizeof label - 1);
    expect(net, cx_run(net, ECHO, "echo", CX_ARGS_MAX + 1, many, &v), CX_ELIMIT);
    expect(net, cx_run(net, ECHO, "echo", 1, (cx_value[]){cx_v_bytes(big, CX_VALUE_BYTES_MAX + 1)}, &v),
           CX_ELIMIT);
    expect(net, cx_run(net, ECHO, "echo", 1, &address, &v), CX_EINVAL);
    expect(net, cx_submit(net, &(cx_submission){.module = ECHO, .function = "echo", .label = label}, &job),
           CX_ELIMIT);
    expect_error(net, "label");
    expect(net, cx_submit(net, &(cx_submission){.module = ECHO, .function = "echo", .input_len = 5}, &job),
           CX_ELIMIT);
    assert_null(job);
    free(big);
}

static void nothing_given_is_refused(cx_net *net)
{
    cx_job *job;
    cx_progress p;
    cx_value v;
    expect(net, cx_submit(NULL, &(cx_submission){0}, &job), CX_EINVAL);
    expect(net, cx_submit(net, NULL, &job), CX_EINVAL);
    expect(net, cx_submit(net, &(cx_submission){0}, &job), CX_EINVAL);
    expect(net, cx_submit(net, &(cx_submission){.module = ECHO}, &job), CX_EINVAL);
    expect(net, cx_submit(net, &(cx_submission){.module = ECHO, .function = "echo"}, NULL), CX_EINVAL);
    expect(net, cx_attach(net, NULL, &job), CX_EINVAL);
    expect(net, cx_attach(NULL, "00000000000000000000000000000bad", &job), CX_EINVAL);
    expect(net, cx_run(net, NULL, "f", 0, NULL, &v), CX_EINVAL);
    expect(net, cx_run(NULL, ECHO, "f", 0, NULL, &v), CX_EINVAL);
    expect(net, cx_map(net, ECHO, "square", 1, NULL, &v), CX_EINVAL);
    expect(net, cx_map(net, ECHO, NULL, 0, NULL, NULL), CX_EINVAL);
    expect(net, cx_job_progress(NULL, &p), CX_EINVAL);
    expect(net, cx_wait(NULL, 0, &v), CX_EINVAL);
    expect(net, cx_cancel(NULL), CX_EINVAL);
    expect(net, cx_forget(NULL), CX_EINVAL);
}

/* ---- Map ---- */

static void map_n(cx_net *net, uint32_t n)
{
    cx_value *items = calloc(n + 1, sizeof *items), *results = calloc(n + 1, sizeof *results);
    assert_true(items != NULL && results != NULL);
    for (uint32_t i = 0; i < n; i++)
        items[i] = cx_v_i64(i + 2);
    expect(net, cx_map(net, ECHO, "square", n, items, results), CX_OK);
    for (uint32_t i = 0; i < n; i++)
        if (results[i].type != CX_I64 || results[i].as.i64 != (int64_t)(i + 2) * (i + 2))
            fail_msg("map over %u items: result %u is wrong", n, i);
    free(items);
    free(results);
}

static void map_keeps_the_order_at_every_size(cx_net *net)
{
    static const uint32_t sizes[] = {0, 1, 2, 63, 64, 65, 128, 4096, 4097, 10000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        map_n(net, sizes[i]);
}

static void map_takes_and_gives_every_type(cx_net *net)
{
    cx_value items[] = {cx_v_i64(-5), cx_v_f64(0.25), cx_v_none(), cx_v_bytes("four", 4), cx_v_bytes("", 0)};
    cx_value r[5];
    expect(net, cx_map(net, ECHO, "echo", 5, items, r), CX_OK);
    assert_true(r[0].type == CX_I64 && r[0].as.i64 == -5);
    assert_true(r[1].type == CX_F64 && r[1].as.f64 == 0.25);
    assert_true(r[2].type == CX_NONE);
    assert_true(r[3].type == CX_BYTES && r[3].len == 4 && memcmp(r[3].as.bytes, "four", 4) == 0);
    assert_true(r[4].type == CX_BYTES && r[4].len == 0);
    free((void *)r[3].as.bytes);
    free((void *)r[4].as.bytes);
}

/* Items that are jobs in themselves. */
static void map_maps_a_function_that_decomposes(cx_net *net)
{
    cx_value items[] = {cx_v_i64(10), cx_v_i64(15), cx_v_i64(20)}, r[3];
    expect(net, cx_map(net, built("examples/fib.so"), "fib", 3, items, r), CX_OK);
    assert_true(r[0].as.i64 == 55 && r[1].as.i64 == 610 && r[2].as.i64 == 6765);
}

static void map_fails_when_an_item_does(cx_net *net)
{
    cx_value items[] = {cx_v_i64(1), cx_v_i64(-1)}, r[2] = {cx_v_i64(77), cx_v_i64(78)};
    expect(net, cx_map(net, ECHO, "square", 2, items, r), CX_EFAILED);
    expect_error(net, "minus one has no square here");
    assert_true(r[0].as.i64 == 77 && r[1].as.i64 == 78);
    expect(net, cx_map(net, ECHO, "cube", 2, items, r), CX_ENOTFOUND);
    expect_error(net, "has no task named 'cube'");
    items[1].type = CX_ADDR;
    expect(net, cx_map(net, ECHO, "square", 2, items, r), CX_EINVAL);
}

/* ---- Errors and threads ---- */

static void *fail_elsewhere(void *net)
{
    cx_job *job;
    cx_attach(net, "other", &job);
    return strstr(cx_error(net), "'other'") != NULL ? net : NULL;
}

static void each_thread_has_its_own_error(cx_net *net)
{
    cx_job *job;
    pthread_t thread;
    void *ok;
    expect(net, cx_attach(net, "mine", &job), CX_EINVAL);
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, net), 0);
    pthread_join(thread, &ok);
    assert_non_null(ok);
    expect_error(net, "'mine'");
}

static void each_network_has_its_own_error(cx_net *net)
{
    cx_net *other;
    cx_job *job;
    expect(net, cx_attach(net, "mine", &job), CX_EINVAL);
    assert_int_equal(cx_open("local://?threads=1", &other), CX_OK);
    assert_string_equal(cx_error(other), "");
    expect(other, cx_attach(other, "theirs", &job), CX_EINVAL);
    expect_error(net, "'mine'");
    expect_error(other, "'theirs'");
    cx_close(other);
}

static char echo_module[4096]; /* built() is not for threads */

static void *run_many(void *net)
{
    cx_value v;
    for (int64_t i = 0; i < 10; i++)
        if (cx_run(net, echo_module, "square", 1, (cx_value[]){cx_v_i64(i)}, &v) != 0 || v.as.i64 != i * i)
            return NULL;
    return net;
}

static void many_threads_share_a_network(cx_net *net)
{
    pthread_t thread[8];
    void *ok;
    snprintf(echo_module, sizeof echo_module, "%s", ECHO);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, run_many, net), 0);
    for (int i = 0; i < 8; i++) {
        pthread_join(thread[i], &ok);
        assert_non_null(ok);
    }
}

static void jobs_run_side_by_side(cx_net *net)
{
    enum { JOBS = 12 };
    cx_job *job[JOBS];
    cx_value v;
    for (int64_t i = 0; i < JOBS; i++) {
        cx_value arg = cx_v_i64(i + 5);
        cx_submission what = {.module = ECHO,
                              .function = "square",
                              .nargs = 1,
                              .args = &arg,
                              .priority = (int)i % 3,
                              .weight = (unsigned)i,
                              .label = "side by side"};
        job[i] = submit(net, &what);
    }
    for (int64_t i = JOBS - 1; i >= 0; i--) {
        expect(net, cx_wait(job[i], -1, &v), CX_OK);
        assert_int_equal(v.as.i64, (i + 5) * (i + 5));
        expect(net, cx_forget(job[i]), CX_OK);
        cx_job_free(job[i]);
    }
}

#define TEST(name)                                                                                           \
    {                                                                                                        \
#name, name                                                                                          \
    }
const struct suite_test consumer_suite[] = {
    TEST(a_job_unfolds_and_gives_its_value),
    TEST(every_type_comes_back_as_it_was),
    TEST(a_result_may_be_unwanted),
    TEST(the_input_reaches_the_tasks),
    TEST(large_values_pass),
    TEST(all_arguments_arrive),
    TEST(the_bound_is_shared_and_the_answer_right),
    TEST(a_graph_gives_what_one_task_does),
    TEST(submitting_again_is_harmless),
    TEST(a_job_can_be_attached_to_by_its_id),
    TEST(unknown_jobs_are_not_found),
    TEST(ids_are_checked),
    TEST(what_cannot_be_sent_is_refused),
    TEST(a_forgotten_job_is_gone),
    TEST(a_failure_names_task_and_cause),
    TEST(outputs_stay_untouched_on_failure),
    TEST(waiting_ends_at_its_time),
    TEST(another_thread_may_cancel),
    TEST(progress_is_told),
    TEST(progress_is_complete_in_the_end),
    TEST(a_handle_may_be_dropped_while_the_job_runs),
    TEST(modules_are_checked),
    TEST(modules_of_others_are_told_apart),
    TEST(limits_are_named),
    TEST(nothing_given_is_refused),
    TEST(map_keeps_the_order_at_every_size),
    TEST(map_takes_and_gives_every_type),
    TEST(map_maps_a_function_that_decomposes),
    TEST(map_fails_when_an_item_does),
    TEST(each_thread_has_its_own_error),
    TEST(each_network_has_its_own_error),
    TEST(many_threads_share_a_network),
    TEST(jobs_run_side_by_side),
};
const size_t consumer_suite_n = sizeof consumer_suite / sizeof consumer_suite[0];
