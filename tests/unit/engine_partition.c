/* Law 7: however a job is cut into grants, its answer is the same. Each job here runs with many seeds: other
 * budgets, another order, runs that are lost, hungry neighbours, and little memory. */
#include "tests/unit/engine_world.h"

#include "tests/unit/engine_tasks.h"

#define SEEDS 40

struct answer {
    uint32_t type;
    int64_t i64;
    double f64;
    struct bytes bytes;
};

static void check_answer(const struct world *w, cx_value want)
{
    if (w->failed)
        fail_msg("%s", w->text);
    assert_int_equal(w->result.v.type, want.type);
    if (want.type == CX_BYTES) {
        assert_int_equal(w->result.v.len, want.len);
        assert_memory_equal(w->result.v.as.bytes, want.as.bytes, want.len);
    } else {
        assert_int_equal(w->result.v.as.i64, want.as.i64);
    }
}

static void plan_of(struct world_plan *p, uint64_t seed)
{
    static const size_t memory[] = {1 << 20, 2 << 20, 64 << 20};
    *p = (struct world_plan){.module = &cx_module_v1, .seed = seed, .budget_us = WORLD_RANDOM};
    p->memory_max = memory[seed % 3];
    p->restless = seed % 2;
    if (seed == 1)
        p->budget_us = 0;
    if (seed == 2)
        p->budget_us = UINT32_MAX;
    world_tick = seed % 5 == 0 ? 200000 : 2000;
}

static void check_all(const char *fn, uint32_t n, const cx_value *args, cx_value want, size_t memory_min)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct world_plan p;
        struct world w;
        plan_of(&p, seed);
        if (p.memory_max < memory_min)
            p.memory_max = memory_min;
        world_run(&w, &p, fn, n, args);
        check_answer(&w, want);
        world_free(&w);
    }
}

#define ARGS(...)                                                                                            \
    (sizeof((cx_value[]){__VA_ARGS__}) / sizeof(cx_value)), (cx_value[])                                     \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define I(x) cx_v_i64(x)

/* The answer of the variant that computes in one task. */
static cx_value answer_of(const char *fn, uint32_t n, const cx_value *args)
{
    struct world_plan p = {.module = &cx_module_v1, .seed = 1, .budget_us = 0};
    struct world w;
    world_run(&w, &p, fn, n, args);
    assert_false(w.failed);
    assert_int_equal(w.result.v.type, CX_I64);
    cx_value v = w.result.v;
    world_free(&w);
    return v;
}

static void fib_is_fib(void **state)
{
    (void)state;
    check_all("fib", ARGS(I(16)), I(987), 0);
}

static void queens_are_counted(void **state)
{
    (void)state;
    check_all("nqueens", ARGS(I(8)), I(92), 0);
    check_all("nqueens", ARGS(I(10)), I(724), 0);
}

static void flat_counts(void **state)
{
    (void)state;
    check_all("flat", ARGS(I(0)), I(0), 0);
    check_all("flat", ARGS(I(64)), I(64), 0);
    check_all("flat", ARGS(I(65)), I(65), 0);
    check_all("flat", ARGS(I(3000)), I(3000), 0);
    check_all("flats", ARGS(I(70), I(20)), I(1400), 0);
}

static void chain_is_long(void **state)
{
    (void)state;
    check_all("chain", ARGS(I(3000), I(0)), I(3000 * 3001 / 2), 0);
    check_all("nest", ARGS(I(3000)), I(3000 * 3001 / 2), 0);
}

static void dag_reaches_every_vertex(void **state)
{
    (void)state;
    for (int64_t seed = 1; seed <= 3; seed++)
        check_all("dag", ARGS(I(200), I(seed)), answer_of("dag_seq", ARGS(I(200), I(seed))), 0);
}

static void randoms_follow_names(void **state)
{
    (void)state;
    struct world_plan p = {.module = &cx_module_v1, .seed = 1, .budget_us = UINT32_MAX};
    struct world w;
    world_run(&w, &p, "randoms", ARGS(I(12)));
    cx_value want = w.result.v;
    world_free(&w);
    check_all("randoms", ARGS(I(12)), want, 0);
}

static void concat_keeps_order(void **state)
{
    (void)state;
    char text[8192];
    int len = 0;
    for (int i = 0; i < 700; i++)
        len += snprintf(text + len, sizeof text - (size_t)len, "%d,", i);
    check_all("concat", ARGS(I(700)), cx_v_bytes(text, (size_t)len), 0);
    check_all("concat", ARGS(I(0)), cx_v_bytes(text, 0), 0);
}

static void f64_sums_keep_order(void **state)
{
    (void)state;
    struct world_plan p = {.module = &cx_module_v1, .seed = 1, .budget_us = 0};
    struct world w;
    world_run(&w, &p, "sum_f64", ARGS(I(9)));
    cx_value want = w.result.v;
    world_free(&w);
    assert_int_equal(want.type, CX_F64);
    check_all("sum_f64", ARGS(I(9)), want, 0);
}

static void well_known_fold_alike(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 4, 63, 64, 65, 130};
    for (int64_t fn = 1; fn < CX_WELL_KNOWN_END; fn++)
        for (size_t k = 0; k < sizeof sizes / sizeof sizes[0] && wk_any_order((uint32_t)fn); k++) {
            bool real = fn == (int64_t)(uintptr_t)CX_MIN_F64 || fn == (int64_t)(uintptr_t)CX_MAX_F64;
            cx_value want = wk_start((uint32_t)fn);
            for (int64_t i = 0; i < sizes[k]; i++)
                if (i % 5 != 3)
                    wk_fold((uint32_t)fn, &want,
                            real ? cx_v_f64((double)(i * 37 % 101) - 50.5) : I(i * 37 % 101 - 50), NULL);
            check_all("mixed", ARGS(I(fn), I(sizes[k])), want, 0);
        }
}

static void wide_successors_fill(void **state)
{
    (void)state;
    static const int64_t sizes[] = {3, 4, 5, 64, 65, 200, 1000};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        int64_t want = 0;
        for (int64_t i = 0; i < sizes[k]; i++)
            want += (i + 1) * (i % 3 == 0 ? i % 256 : i);
        check_all("wide", ARGS(I(sizes[k])), I(want), 0);
    }
}

static void bound_finds_the_best(void **state)
{
    (void)state;
    for (int64_t seed = 1; seed <= 3; seed++)
        check_all("bound", ARGS(I(7), I(seed)), answer_of("bound_seq", ARGS(I(7), I(seed))), 0);
}

static void first_value_counts(void **state)
{
    (void)state;
    check_all("twice", ARGS(I(7)), I(520128), 0);
}

static void bytes_travel(void **state)
{
    (void)state;
    check_all("bigbytes", ARGS(I(70), I(0)), answer_of("bigbytes_seq", ARGS(I(70), I(0))), 0);
    check_all("bigbytes", ARGS(I(17), I(1000)), answer_of("bigbytes_seq", ARGS(I(17), I(1000))), 0);
    check_all("bigbytes", ARGS(I(5), I(300000)), answer_of("bigbytes_seq", ARGS(I(5), I(300000))), 16 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fib_is_fib),
        cmocka_unit_test(queens_are_counted),
        cmocka_unit_test(flat_counts),
        cmocka_unit_test(chain_is_long),
        cmocka_unit_test(dag_reaches_every_vertex),
        cmocka_unit_test(randoms_follow_names),
        cmocka_unit_test(concat_keeps_order),
        cmocka_unit_test(f64_sums_keep_order),
        cmocka_unit_test(well_known_fold_alike),
        cmocka_unit_test(wide_successors_fill),
        cmocka_unit_test(bound_finds_the_best),
        cmocka_unit_test(first_value_counts),
        cmocka_unit_test(bytes_travel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
