/* <cx/task.h> is what users include: it compiles without a warning as C11 and as C++11, by itself and with
 * every kind of call, wherever there is such a compiler. Run from the top of the repository. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const source =
    "#include <cx/task.h>\n"
    "CX_TASK(fib)\n"
    "{\n"
    "    int64_t n = cx_i64(cx, 0);\n"
    "    if (n < 2)\n"
    "        return cx_return_i64(cx, n);\n"
    "    cx_ref sum = cx_successor(cx, CX_SUM_I64, 2);\n"
    "    cx_spawn(cx, fib, cx_slot(sum, 0), cx_args(n - 1));\n"
    "    cx_spawn(cx, fib, cx_slot(sum, 1), cx_args(n - 2));\n"
    "}\n"
    "CX_TASK(all)\n"
    "{\n"
    "    char c = 1; short s = 2; int i = 3; unsigned u = 4; long l = 5; unsigned long ul = 6; long long ll "
    "= 7;\n"
    "    float f = 1.5f; double d = 2.5;\n"
    "    cx_blob b = cx_bytes(cx, 0), input = cx_input(cx);\n"
    "    cx_addr a = cx_address(cx, 1);\n"
    "    cx_value v = cx_v_none();\n"
    "    cx_opts opts = cx_opts();\n"
    "    cx_ref all = cx_successor_to(cx, CX_CONCAT, 9, cx_home(cx), &opts);\n"
    "    cx_spawn(cx, fib, cx_slot(all, 0), CX_NO_ARGS);\n"
    "    cx_spawn(cx, fib, cx_slot(all, 1), cx_args(c, s, i, u, l, ul, ll, f));\n"
    "    cx_spawn(cx, fib, cx_slot(all, 2), cx_args(d, b, a, v, input, cx_typeof(cx, 2)));\n"
    "    cx_spawn(cx, fib, cx_slot(all, 3), cx_args(b));\n"
    "    cx_spawn(cx, fib, cx_slot(all, 4), cx_args(d));\n"
    "    cx_spawn_with(cx, fib, cx_slot(all, 5), cx_args(ll), opts);\n"
    "    cx_set(cx, a, cx_v_f64(cx_f64(cx, cx_argc(cx) - 1)));\n"
    "    cx_offer(cx, CX_BOUND_MAX, cx_best(cx, CX_BOUND_MIN));\n"
    "    if (cx_random(cx) % 2)\n"
    "        cx_fail(cx, \"%d of %s\", i, \"them\");\n"
    "    cx_return(cx, v), cx_return_f64(cx, d), cx_return_bytes(cx, b.data, b.len), cx_return_none(cx);\n"
    "}\n"
    "CX_MODULE(fib, all)\n";

static char path[64];

static int write_source(const char *suffix, int cpp)
{
    snprintf(path, sizeof path, "/tmp/cx-header-XXXXXX%s", suffix);
    int fd = mkstemps(path, (int)strlen(suffix));
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f)
        return -1;
    for (const char *at = source; *at;) {
        const char *zero = strstr(at, "cx_opts()");
        size_t n = zero ? (size_t)(zero - at) : strlen(at);
        fwrite(at, 1, n, f);
        at += n;
        if (zero) { /* the one thing that the two languages say differently */
            fputs(cpp ? "cx_opts()" : "{0}", f);
            at += strlen("cx_opts()");
        }
    }
    return fclose(f);
}

static void check_compiler(const char *compiler, const char *flags, const char *suffix)
{
    char command[512];
    snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", compiler);
    if (access("include/cx/task.h", R_OK) != 0 || system(command) != 0)
        skip();
    assert_int_equal(write_source(suffix, suffix[1] != 'c' || suffix[2]), 0);
    snprintf(command, sizeof command,
             "%s %s -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Werror -O2 -fPIC -shared "
             "-Iinclude %s -o %s.so",
             compiler, flags, path, path);
    int status = system(command);
    unlink(path);
    strcat(path, ".so");
    unlink(path);
    assert_int_equal(status, 0);
}

static void compiles_as_c(void **state)
{
    (void)state;
    check_compiler("cc", "-std=c11", ".c");
}
static void compiles_as_gnu_c(void **state)
{
    (void)state;
    check_compiler("gcc", "-std=gnu17", ".c");
}
static void compiles_with_clang(void **state)
{
    (void)state;
    check_compiler("clang", "-std=c11", ".c");
}
static void compiles_as_cpp(void **state)
{
    (void)state;
    check_compiler("c++", "-std=c++11", ".cc");
}
static void compiles_as_cpp_with_clang(void **state)
{
    (void)state;
    check_compiler("clang++", "-std=c++17", ".cc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compiles_as_c),
        cmocka_unit_test(compiles_as_gnu_c),
        cmocka_unit_test(compiles_with_clang),
        cmocka_unit_test(compiles_as_cpp),
        cmocka_unit_test(compiles_as_cpp_with_clang),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
