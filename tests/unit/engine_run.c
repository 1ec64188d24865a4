/* One grant at a time: what its commit says, when it is published early, and what a misbehaving task is told.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/wellknown.h"
#include "cx/error.h"
#include "producer/runner/engine.h"
#undef fail /* cmocka's; a task has this name */

#pragma push_macro("CX_MODULE")
#undef CX_MODULE
#define CX_MODULE(...)
#include "examples/fib/module.c"
#include "tests/modules/chain.c"
#include "tests/modules/fail.c"
#include "tests/modules/flat.c"
#pragma pop_macro("CX_MODULE")

CX_TASK(two_successors) /* children, successors and their numbers */
{
    cx_ref a = cx_successor(cx, two_successors, 2);
    cx_spawn(cx, fib, cx_slot(a, 0), cx_args(7));
    cx_ref b = cx_successor_to(cx, CX_COUNT, 70, cx_slot(a, 1), NULL);
    cx_opts opts = {.priority = -3, .bound_kind = CX_BOUND_MAX, .bound = 9};
    cx_spawn_with(cx, fib, cx_slot(b, 69), cx_args(8), opts);
    cx_set(cx, cx_slot(b, 1), cx_v_none());
    cx_set(cx, cx_slot(b, 3), cx_v_f64(1.5));
    cx_set(cx, cx_slot(b, 0), cx_v_none());
}

CX_TASK(addresses) /* addr, i64, addr: sends to them and hands them on, with one of its own */
{
    cx_ref sum = cx_successor(cx, CX_SUM_I64, 2);
    cx_set(cx, cx_address(cx, 2), cx_v_addr(cx_slot(sum, 1)));
    cx_spawn(cx, addresses, cx_slot(sum, 0), cx_args(cx_address(cx, 2), 4, cx_slot(sum, 1)));
    cx_set(cx, cx_address(cx, 0), cx_v_i64(-1));
    cx_set(cx, cx_address(cx, 0), cx_v_i64(-2));
    cx_set(cx, cx_slot(sum, 1), cx_v_none());
}

CX_TASK(empty) /* successors that wait for nothing */
{
    cx_ref all = cx_successor(cx, CX_CONCAT, 3);
    cx_set(cx, cx_slot(all, 0), cx_v_bytes("ab", 2));
    cx_successor_to(cx, CX_CONCAT, 0, cx_slot(all, 1), NULL);
    cx_set(cx, cx_slot(all, 2), cx_v_bytes("cd", 2));
}

CX_TASK(input_sum) /* i64 from, i64 to -> the sum of these bytes of the input */
{
    cx_blob in = cx_input(cx);
    int64_t from = cx_i64(cx, 0), to = cx_i64(cx, 1);
    if (to - from <= 1)
        return cx_return_i64(cx, to > from ? ((const unsigned char *)in.data)[from] : 0);
    cx_ref sum = cx_successor(cx, CX_SUM_I64, 2);
    cx_spawn(cx, input_sum, cx_slot(sum, 0), cx_args(from, (from + to) / 2));
    cx_spawn(cx, input_sum, cx_slot(sum, 1), cx_args((from + to) / 2, to));
}

static uint64_t drawn[4];

CX_TASK(draw) /* i64 depth: child 2 of child 2 of ... draws */
{
    int64_t depth = cx_i64(cx, 0);
    for (int i = 0; depth == 0 && i < 4; i++)
        drawn[i] = cx_random(cx);
    if (depth == 0)
        return cx_return_none(cx);
    cx_ref sum = cx_successor(cx, CX_SUM_I64, 2);
    cx_spawn(cx, noop, cx_slot(sum, 0), CX_NO_ARGS);
    cx_spawn(cx, draw, cx_slot(sum, 1), cx_args(depth - 1));
}

static int64_t best_seen[4];

CX_TASK(offers) /* offers 7, and spawns one that can win, one that can draw level and one that cannot */
{
    best_seen[0] = cx_best(cx, CX_BOUND_MIN);
    cx_offer(cx, CX_BOUND_MIN, 7);
    cx_offer(cx, CX_BOUND_MIN, 11);
    best_seen[1] = cx_best(cx, CX_BOUND_MIN);
    best_seen[2] = cx_best(cx, CX_BOUND_MAX);
    cx_ref count = cx_successor(cx, CX_COUNT, 3);
    for (uint32_t i = 0; i < 3; i++) {
        cx_opts opts = {.bound_kind = CX_BOUND_MIN, .bound = 6 + i};
        cx_spawn_with(cx, noop, cx_slot(count, i), CX_NO_ARGS, opts);
    }
}

CX_TASK(hoard) /* i64 n, i64 size: n children with size bytes each */
{
    static char data[1 << 20];
    int64_t n = cx_i64(cx, 0);
    cx_blob b = {data, (size_t)cx_i64(cx, 1)};
    cx_ref count = cx_successor(cx, CX_COUNT, (uint32_t)n);
    for (int64_t i = 0; i < n; i++)
        cx_spawn(cx, noop, cx_slot(count, (uint32_t)i), cx_args(b));
}

CX_TASK(fail_then) /* what follows a failure has no effect, and breaks nothing */
{
    cx_ref sum = cx_successor(cx, CX_SUM_I64, 2);
    cx_offer(cx, CX_BOUND_MIN, 5);
    cx_fail(cx, "first");
    cx_fail(cx, "second");
    cx_ref more = cx_successor(cx, CX_SUM_I64, cx_slot(sum, 0).slot + 1);
    cx_spawn(cx, noop, cx_slot(more, 0), CX_NO_ARGS);
    cx_set(cx, cx_home(cx), cx_v_i64(cx_i64(cx, 99)));
    cx_offer(cx, CX_BOUND_MIN, 3);
    (void)(cx_random(cx) + (uint64_t)cx_best(cx, CX_BOUND_MIN));
    cx_return_i64(cx, (int64_t)cx_input(cx).len);
}

static uint64_t time_ns;
CX_TASK(heavy_below) /* i64 n: n children of a millisecond each */
{
    int64_t n = cx_i64(cx, 0);
    cx_ref count = cx_successor(cx, CX_COUNT, (uint32_t)(n ? n : 1));
    if (n == 0) {
        time_ns += 1000000;
        cx_set(cx, cx_slot(count, 0), cx_v_i64(1));
    }
    for (int64_t i = 0; i < n; i++)
        cx_spawn(cx, heavy_below, cx_slot(count, (uint32_t)i), cx_args(0));
}

CX_MODULE(fib, chain, nest, fail, fail_deep, fail_api, flat, flats, noop, two_successors, addresses, empty,
          input_sum, draw, offers, hoard, fail_then, heavy_below)

/* ---- Running one grant and putting its commit into words ---- */

static struct engine_shared shared;
static struct engine *engine;
static uint64_t tick_ns;
static bool restless; /* the hungry counter moves at every look */

static uint64_t turned_clock(void)
{
    if (restless)
        atomic_fetch_add(&shared.hungry, 1);
    return time_ns += tick_ns;
}

static void engine_up(size_t memory_max)
{
    static const char input[] = {1, 2, 3, 4, 5};
    engine_shared_init(&shared);
    struct engine_config config = {.module = &cx_module_v1, .shared = &shared, .clock_ns = turned_clock};
    config.memory_max = memory_max;
    config.input = bytes_of(input, sizeof input);
    assert_int_equal(engine_new(&config, &engine), 0);
    tick_ns = 1000;
}

static int up(void **state)
{
    (void)state;
    engine_up((size_t)64 << 20);
    return 0;
}

static int down(void **state)
{
    (void)state;
    engine_free(engine);
    engine = NULL;
    return 0;
}

static struct buf out;
static struct commit commit; /* of the last run; borrows from out */

static void run_fn(uint32_t fn, uint32_t n, const cx_value *args, uint32_t budget_us)
{
    struct buf values = {0};
    for (uint32_t i = 0; i < n; i++)
        put_value(&values, args[i]);
    struct grant g = {
        .job = {1, 2}, .task = id_root(), .hash = 42, .budget_us = budget_us, .fn = fn, .nslots = n};
    g.values = buf_bytes(&values);
    buf_clear(&out);
    engine_run(engine, &g, &out);
    struct reader r = reader_of(buf_bytes(&out));
    assert_true(commit_get(&r, &commit) && r.at == r.end);
    assert_true(commit.kind == COMMIT_DONE && commit.hash == 42 && id_equal(commit.task, id_root()));
    buf_free(&values);
}

static void run(const char *fn, uint32_t n, const cx_value *args, uint32_t budget_us)
{
    uint32_t i = 0;
    while (i < cx_module_v1.tasks && strcmp(cx_module_v1.task[i].name, fn) != 0)
        i++;
    run_fn(FN_FIRST + i, n, args, budget_us);
}

#define ARGS(...)                                                                                            \
    (sizeof((cx_value[]){__VA_ARGS__}) / sizeof(cx_value)), (cx_value[])                                     \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define I(x)    cx_v_i64(x)
#define ENDLESS UINT32_MAX

static char words[65536];

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list ap;
    size_t len = strlen(words);
    va_start(ap, format);
    vsnprintf(words + len, sizeof words - len, format, ap);
    va_end(ap);
}

static void say_ref(struct ref ref)
{
    if (ref.inherited)
        say("@%u", ref.index);
    else
        say("%u.%u", ref.index, ref.slot);
}

static void say_values(const struct op *op)
{
    struct reader r = reader_of(op->values);
    struct op_value v;
    for (uint32_t i = 0; op_value_get(&r, op, &i, &v);) {
        say(op->kind == OP_TASK && !(op->flags & TASK_FULL) ? " %u=" : " ", v.slot);
        if (v.value.type == CX_I64)
            say("%lld", (long long)v.value.as.i64);
        else if (v.value.type == CX_F64)
            say("%g", v.value.as.f64);
        else if (v.value.type == CX_BYTES)
            say("\"%.*s\"", (int)v.value.len, (const char *)v.value.as.bytes);
        else if (v.value.type == CX_ADDR)
            say("&"), say_ref(v.ref);
        else
            say("none");
    }
}

static const char *fn_word(uint32_t fn)
{
    return fn < FN_FIRST ? wk_name(fn) : cx_module_v1.task[fn - FN_FIRST].name;
}

static void say_task(const struct op *op)
{
    say("%u is %s/%u ", op->name, fn_word(op->fn), op->nslots);
    if (op->flags & TASK_PRIORITY)
        say("priority %d ", op->priority);
    if (op->flags & TASK_BOUND)
        say("bound %u %lld ", op->bound_kind, (long long)op->bound);
    say("to ");
    say_ref(op->to);
    say(op->flags & TASK_FULL ? " full" : " waits");
    say_values(op);
}

/* The last commit's operations, one a line. */
static const char *said(void)
{
    struct reader r = reader_of(commit.body);
    struct op op;
    uint32_t names = 0;
    words[0] = 0;
    while (op_get(&r, &op)) {
        if (op.kind == OP_NAME)
            say("%u = %u:%u", ++names, op.name, op.child);
        else if (op.kind == OP_TASK)
            say_task(&op);
        else if (op.kind == OP_SET)
            say("set "), say_ref(op.to), say_values(&op);
        else if (op.kind == OP_BOUND)
            say("bound %u %lld", op.bound_kind, (long long)op.bound);
        else if (op.kind == OP_FAIL)
            say("fail %.*s", (int)op.text.len, (const char *)op.text.data);
        say("\n");
    }
    assert_false(r.bad);
    return words;
}

/* ---- What commits say ---- */

static void leaf_sets_home(void **state)
{
    (void)state;
    run("fib", ARGS(I(1)), 0);
    assert_string_equal(said(), "set @0 1\n");
    assert_int_equal(commit.executed, 1);
    run("fib", ARGS(I(1)), ENDLESS);
    assert_string_equal(said(), "set @0 1\n");
}

static void budget_zero_publishes_children(void **state)
{
    (void)state;
    run("fib", ARGS(I(5)), 0);
    assert_string_equal(said(), "1 = 0:0\n2 = 0:1\n3 = 0:2\n"
                                "1 is sum_i64/2 to @0 waits\n"
                                "2 is fib/1 to 1.0 full 4\n"
                                "3 is fib/1 to 1.1 full 3\n");
    assert_int_equal(commit.executed, 1);
}

static void endless_budget_collapses(void **state)
{
    (void)state;
    run("fib", ARGS(I(20)), ENDLESS);
    assert_string_equal(said(), "set @0 6765\n");
    assert_int_equal(commit.executed, 21891);
    assert_true(commit.elapsed_ns > 0);
}

static void frontier_names_go_down_the_tree(void **state)
{
    (void)state;
    tick_ns = 60000; /* the second look, after the second task, finds the budget spent */
    run("fib", ARGS(I(5)), 100);
    assert_int_equal(commit.executed, 2);
    assert_string_equal(said(), "1 = 0:0\n2 = 0:1\n3 = 0:2\n4 = 3:0\n5 = 3:1\n6 = 3:2\n"
                                "1 is sum_i64/2 to @0 waits\n"
                                "2 is fib/1 to 1.0 full 4\n"
                                "4 is sum_i64/2 to 1.1 waits\n"
                                "5 is fib/1 to 4.0 full 2\n"
                                "6 is fib/1 to 4.1 full 1\n");
}

static void successors_and_children_are_numbered(void **state)
{
    (void)state;
    run("two_successors", 0, NULL, 0);
    assert_string_equal(said(), "1 = 0:0\n2 = 0:1\n3 = 0:2\n4 = 0:3\n"
                                "1 is two_successors/2 to @0 waits\n"
                                "2 is fib/1 to 1.0 full 7\n"
                                "3 is count/70 to 1.1 waits 0=0 1=none 3=none\n"
                                "4 is fib/1 priority -3 bound 2 9 to 3.69 full 8\n");
}

static void addresses_become_references(void **state)
{
    (void)state;
    cx_value addr = cx_v_addr((cx_addr){0, 0, 0});
    run("addresses", ARGS(addr, I(3), addr), 0);
    assert_string_equal(said(), "1 = 0:0\n2 = 0:1\n"
                                "1 is sum_i64/2 to @0 waits 1=0\n"
                                "2 is addresses/3 to 1.0 full &@2 4 &0.0\n"
                                "set @2 &0.0\n"
                                "set @1 -1\n");
}

static void empty_successors_fire(void **state)
{
    (void)state;
    run("empty", 0, NULL, 0);
    assert_string_equal(said(), "set @0 \"abcd\"\n");
    run("flat", ARGS(I(0)), 0);
    assert_string_equal(said(), "set @0 0\n");
}

static void input_is_read(void **state)
{
    (void)state;
    run("input_sum", ARGS(I(0), I(5)), ENDLESS);
    assert_string_equal(said(), "set @0 15\n");
}

static void randoms_come_from_the_name(void **state)
{
    (void)state;
    struct id id = id_root();
    run("draw", ARGS(I(3)), ENDLESS);
    for (int i = 0; i < 3; i++)
        id = id_child(id, 2);
    for (uint64_t i = 0; i < 4; i++)
        assert_true(drawn[i] == hash64(&id, sizeof id, i));
}

static void bound_prunes_what_cannot_win(void **state)
{
    (void)state;
    run("offers", 0, NULL, ENDLESS);
    assert_true(best_seen[0] == INT64_MAX && best_seen[1] == 7 && best_seen[2] == INT64_MIN);
    assert_string_equal(said(), "set @0 1\nbound 1 7\n");
    assert_int_equal(commit.executed, 2); /* 6 can win; 7 and 8 are not run */
    /* The run above may be lost, and with it the value 7: who can equal it must run again. */
    run("offers", 0, NULL, 0);
    assert_int_equal(best_seen[0], 8);
    assert_int_equal(best_seen[1], 7);
    engine_shared_merge(&shared, CX_BOUND_MIN, 6);
    run("offers", 0, NULL, ENDLESS);
    assert_int_equal(best_seen[1], 7);
    assert_string_equal(said(), "set @0 1\n"); /* 7 is no improvement any more; 6 may still be equalled */
}

static void bound_merges_to_the_better(void **state)
{
    (void)state;
    engine_shared_merge(&shared, CX_BOUND_MIN, 5);
    engine_shared_merge(&shared, CX_BOUND_MIN, 9);
    engine_shared_merge(&shared, CX_BOUND_MAX, 5);
    engine_shared_merge(&shared, CX_BOUND_MAX, 9);
    assert_true(shared.best_min == 5 && shared.best_max == 9);
}

/* ---- When a grant ends early ---- */

static void budget_ends_by_the_clock(void **state)
{
    (void)state;
    tick_ns = 1000000;
    run("fib", ARGS(I(25)), 50000);
    assert_in_range(commit.elapsed_ns, 50000000, 53000000);
    assert_in_range(commit.executed, 2, 51); /* each look takes a millisecond: so does each task, it seems */
    tick_ns = 1000;
    run("fib", ARGS(I(25)), 50);
    assert_in_range(commit.executed, 50, 1024 * 50); /* tiny tasks: looked at seldom */
    tick_ns = 10;
    run("heavy_below", ARGS(I(1000)), 20000);
    assert_in_range(commit.elapsed_ns, 20000000, 23000000); /* the tiny one on top hides nothing */
}

static void hunger_ends_it_but_not_at_once(void **state)
{
    (void)state;
    shared.hungry = 5;
    run("fib", ARGS(I(18)), ENDLESS);
    assert_string_equal(said(), "set @0 2584\n"); /* nobody has become hungry since */
    restless = true;
    run("fib", ARGS(I(30)), ENDLESS);
    assert_in_range(commit.elapsed_ns, 200000, 210000);
    assert_true(commit.executed > 1 && commit.executed < 2692537);
    restless = false;
}

static void depth_ends_it(void **state)
{
    (void)state;
    run("chain", ARGS(I(100000), I(0)), ENDLESS);
    assert_int_equal(commit.executed, COMMIT_DEPTH_MAX);
    struct reader r = reader_of(commit.body);
    struct op op;
    uint32_t names = 0;
    while (op_get(&r, &op) && op.kind == OP_NAME)
        assert_int_equal(op.name, names++);
    assert_int_equal(names, COMMIT_DEPTH_MAX);
    assert_true(op.kind == OP_TASK && op.flags & TASK_FULL && !reader_more(&r));
}

static void memory_ends_it(void **state)
{
    (void)state;
    down(state);
    engine_up(1 << 20);
    run("nest", ARGS(I(100000)), ENDLESS); /* two frames a level are kept: half of the memory is 4096 */
    assert_in_range(commit.executed, 1900, 2200);
    run("flat", ARGS(I(6000)), ENDLESS); /* over half at one go, yet it need not be published */
    assert_string_equal(said(), "set @0 6000\n");
    run("flats", ARGS(I(3), I(5000)), ENDLESS);
    assert_string_equal(said(), "set @0 15000\n");
    run("flats", ARGS(I(5000), I(2000)), ENDLESS); /* growing a second time ends it */
    assert_int_equal(commit.executed, 2);
    run("flats", ARGS(I(5000), I(6000)),
        ENDLESS); /* the first two tasks are too much together, not one by one */
    assert_int_equal(commit.executed, 1);
    assert_null(strstr(said(), "fail"));
    run("flat", ARGS(I(10000)), ENDLESS);
    assert_non_null(
        strstr(said(), "fail flat (task 6378207461736b20726f6f7420303031): needs more than the 1 MiB"));
}

static void commit_too_large_fails(void **state)
{
    (void)state;
    run("hoard", ARGS(I(30), I(1 << 20)), 0);
    assert_true(commit.body.len > 30u << 20 && commit.body.len < COMMIT_BYTES_MAX);
    run("hoard", ARGS(I(33), I(1 << 20)), 0);
    assert_non_null(
        strstr(said(), "hoard (task 6378207461736b20726f6f7420303031): leaves a commit of over 32 MiB"));
    run("hoard", ARGS(I(33), I(1 << 20)), ENDLESS);
    assert_string_equal(said(), "set @0 33\n");
}

/* The C stack does not grow with the depth of the job, neither going down nor when values come up. */
static void *deep_run(void *arg)
{
    (void)arg;
    run("nest", ARGS(I(60000)), ENDLESS);
    return NULL;
}

static void depth_takes_no_stack(void **state)
{
    (void)state;
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 << 10);
    assert_int_equal(pthread_create(&thread, &attr, deep_run, NULL), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    assert_string_equal(said(), "set @0 1800030000\n");
}

/* ---- What a misbehaving task is told ---- */

static void check_failure(const char *text)
{
    if (!strstr(said(), text))
        print_error("\"%s\" is not in: %s", text, words);
    assert_non_null(strstr(words, text));
    struct reader r = reader_of(commit.body);
    struct op op;
    assert_true(op_get(&r, &op) && op.kind == OP_FAIL && !op_get(&r, &op) && !r.bad);
    run("fib", ARGS(I(10)), ENDLESS);
    assert_string_equal(said(), "set @0 55\n"); /* the engine is as good as before */
}

static void mistakes_are_explained(void **state)
{
    (void)state;
    static const char *const told[] = {
        "cx_spawn of fail to address zero: take addresses from",
        "slot 2 is set of a sum_i64 that has 2: slots count from 0",
        "slot 0 of sum_i64 got f64, which it cannot take",
        "cx_spawn of a function that is not among the module's tasks: add it to CX_MODULE",
        "argument 0 is read as f64, but holds i64: check",
        "argument 7 is read as i64, but there are 1: check",
        "a successor of 1048577 slots is over the limit of 1048576",
        "a value of 16777217 bytes is over the limit of 16777216",
        "neither returned a value nor left a successor",
    };
    for (size_t how = 0; how < sizeof told / sizeof told[0]; how++) {
        run("fail_api", ARGS(I((int64_t)how)), ENDLESS);
        check_failure(told[how]);
    }
}

static void failures_name_the_task(void **state)
{
    (void)state;
    char hex[ID_HEX_MAX], want[128];
    run("fail", ARGS(cx_v_bytes("no luck", 7)), 0);
    check_failure("fail (task 6378207461736b20726f6f7420303031): no luck");
    struct id id = id_root();
    for (int i = 0; i < 4; i++)
        id = id_child(id, 1);
    id_hex(id, hex);
    snprintf(want, sizeof want, "fail_deep (task %s): the bottom was reached", hex);
    run("fail_deep", ARGS(I(4)), ENDLESS);
    check_failure(want);
}

static void nothing_follows_a_failure(void **state)
{
    (void)state;
    run("fail_then", 0, NULL, ENDLESS);
    check_failure(": first\n");
    assert_int_equal(shared.best_min, 5);
}

static void long_messages_are_cut(void **state)
{
    (void)state;
    char text[5000];
    memset(text, 'x', sizeof text);
    run("fail", ARGS(cx_v_bytes(text, sizeof text)), 0);
    check_failure("xxx");
}

static void bad_grants_fail(void **state)
{
    (void)state;
    run_fn(FN_FIRST + cx_module_v1.tasks, 0, NULL, 0);
    check_failure("is not among the module's");
    run_fn(0, 0, NULL, 0);
    check_failure("is not among the module's");
    run_fn(UINT32_MAX, 0, NULL, 0);
    check_failure("is not among the module's");
    struct grant g = {.task = id_root(), .fn = FN_FIRST, .nslots = 3, .values = bytes_str("\1\1")};
    buf_clear(&out);
    engine_run(engine, &g, &out);
    struct reader r = reader_of(buf_bytes(&out));
    assert_true(commit_get(&r, &commit));
    check_failure("malformed arguments");
}

static void modules_are_checked(void **state)
{
    (void)state;
    cx_module m = cx_module_v1;
    struct engine *e = NULL;
    struct engine_config config = {.module = &m, .shared = &shared, .clock_ns = turned_clock};
    m.abi++;
    assert_int_equal(engine_new(&config, &e), CX_EVERSION);
    m.abi--;
    m.tasks = CX_MODULE_TASKS_MAX + 1;
    assert_int_equal(engine_new(&config, &e), CX_EINVAL);
    m.tasks = 0;
    assert_int_equal(engine_new(&config, &e), CX_EINVAL);
    assert_null(e);
    engine_free(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, up, down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(leaf_sets_home),
        TEST(budget_zero_publishes_children),
        TEST(endless_budget_collapses),
        TEST(frontier_names_go_down_the_tree),
        TEST(successors_and_children_are_numbered),
        TEST(addresses_become_references),
        TEST(empty_successors_fire),
        TEST(input_is_read),
        TEST(randoms_come_from_the_name),
        TEST(bound_prunes_what_cannot_win),
        TEST(bound_merges_to_the_better),
        TEST(budget_ends_by_the_clock),
        TEST(hunger_ends_it_but_not_at_once),
        TEST(depth_ends_it),
        TEST(memory_ends_it),
        TEST(commit_too_large_fails),
        TEST(depth_takes_no_stack),
        TEST(mistakes_are_explained),
        TEST(failures_name_the_task),
        TEST(nothing_follows_a_failure),
        TEST(long_messages_are_cut),
        TEST(bad_grants_fail),
        TEST(modules_are_checked),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_free(&out);
    return failed;
}
