/* The ray tracer's picture does not depend on how it was cut up, and mistakes in scenes are told. */
#include "tests/unit/engine_world.h"

#include "examples/raytrace/module.c"

static const char *const scene = "camera 0 2 -6  0 0.5 0  1.5\n"
                                 "sky 1 0.8 0.6  0.2 0.4 0.7\n"
                                 "fog 30\n"
                                 "light -5 8 -5  0.8  0.9 0.8 0.7   # the sun\n"
                                 "\n"
                                 "material mirror 0.9 0.9 0.9  0.8 1\n"
                                 "material red 0.9 0.2 0.1  0.05 0.5\n"
                                 "floor 0  red mirror  1\n"
                                 "sphere 0 1 0  1  mirror\n"
                                 "sphere 1.5 0.5 -1  0.5  red\n";

static void picture_is_the_same_in_pieces(void **state)
{
    (void)state;
    const struct picture p = {64, 37, 2};
    static struct scene s;
    static unsigned char rgb[64 * 37 * 3];
    assert_int_equal(scene_parse(&s, scene, strlen(scene)), 0);
    render_rows(&s, &p, 0, p.height, rgb);
    world_tick = 2000;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct world_plan plan = {.module = &cx_module_v1, .seed = seed, .budget_us = WORLD_RANDOM};
        struct world w;
        plan.input = bytes_str(scene);
        world_run(&w, &plan, "raytrace", 3, (cx_value[]){cx_v_i64(64), cx_v_i64(37), cx_v_i64(2)});
        assert_false(w.failed);
        assert_int_equal(w.result.v.len, sizeof(struct picture_head) + sizeof rgb);
        const unsigned char *data = w.result.v.as.bytes;
        assert_memory_equal(data, "RGB1\x40\0\0\0\x25\0\0\0", sizeof(struct picture_head));
        assert_memory_equal(data + sizeof(struct picture_head), rgb, sizeof rgb);
        assert_true(w.executed >= (uint64_t)tasks_below(37) + 1);
        world_free(&w);
    }
}

static void check_wrong(const char *text, const char *told)
{
    static struct scene s;
    assert_int_equal(scene_parse(&s, text, strlen(text)), -1);
    assert_string_equal(s.error, told);
}

static void mistakes_are_told_with_their_line(void **state)
{
    (void)state;
    check_wrong("", "the scene has no camera");
    check_wrong("camera 0 0 0 0 0 1", "scene line 1: a number is missing");
    check_wrong("camera 0 0 0 0 0 1 0", "scene line 1: zoom must be above 0");
    check_wrong("camera 0 0 0 0 9 0 1", "scene line 1: the camera may not look straight up or down");
    check_wrong("\n# x\nsphere 0 0 x 1 red", "scene line 3: not a number: x");
    check_wrong("sphere 0 0 0 1 red", "scene line 1: no such material above: red");
    check_wrong("sphere 0 0 0 1", "scene line 1: no such material above: (none given)");
    check_wrong("sphere 0 0 nan 1 red", "scene line 1: not a number: nan");
    check_wrong("sky 1 1 1 1 1 1 1", "scene line 1: more words than belong to this sky");
    check_wrong("cube 1", "scene line 1: unknown word cube");
    check_wrong("material a_name_that_is_far_too_long 1 1 1 0 0",
                "scene line 1: a material's name has 1 to 23 letters: a_name_that_is_far_too_long");
    char text[4096] = "";
    for (int i = 0; i <= LIGHTS_MAX; i++)
        strcat(text, "light 0 0 0 1 1 1 1\n");
    check_wrong(text, "scene line 9: too many of light");
    memset(text, '#', 300);
    check_wrong(text, "scene line 1: longer than 255 characters");
}

static void mistakes_fail_the_job(void **state)
{
    (void)state;
    struct world_plan plan = {.module = &cx_module_v1, .seed = 1, .input = bytes_str("sphere")};
    struct world w;
    world_run(&w, &plan, "raytrace", 3, (cx_value[]){cx_v_i64(64), cx_v_i64(37), cx_v_i64(2)});
    assert_true(w.failed);
    assert_non_null(strstr(w.text, "scene line 1: a number is missing"));
    world_free(&w);
    world_run(&w, &plan, "raytrace", 3, (cx_value[]){cx_v_i64(64000), cx_v_i64(37000), cx_v_i64(2)});
    assert_true(w.failed);
    assert_non_null(strstr(w.text, "a picture has 1 to 5592405 pixels"));
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picture_is_the_same_in_pieces),
        cmocka_unit_test(mistakes_are_told_with_their_line),
        cmocka_unit_test(mistakes_fail_the_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
