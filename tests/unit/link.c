/* The link between daemon and runner: both sides see the same, claims are settled once, the memory is sealed.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "cx/error.h"
#include "producer/link.h"

static void both_sides_see_the_same(void **state)
{
    (void)state;
    struct link a, b;
    int fd;
    assert_int_equal(link_create(&a, 3, true, &fd), 0);
    assert_int_equal(link_attach(&b, fd), 0);
    assert_int_equal(b.threads, 3);
    assert_true(b.head->has_input);
    for (uint32_t i = 0; i < 3; i++) {
        link_thread(&a, i)->running = i + 1;
        atomic_store(&link_in(&a, i)->head, 10 + i);
        atomic_store(&link_out(&b, i)->head, 20 + i);
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(link_thread(&b, i)->running, i + 1);
        assert_int_equal(atomic_load(&link_in(&b, i)->head), 10 + i);
        assert_int_equal(atomic_load(&link_out(&a, i)->head), 20 + i);
    }
    close(fd);
    link_close(&a);
    link_close(&b);
    link_close(&b);
}

static void the_memory_cannot_be_shrunk(void **state)
{
    (void)state;
    struct link a;
    int fd;
    assert_int_equal(link_create(&a, 1, false, &fd), 0);
    assert_int_equal(ftruncate(fd, 4096), -1);
    assert_int_equal(ftruncate(fd, 1 << 30), -1);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    close(fd);
    link_close(&a);
}

static void what_is_no_link_is_not_attached(void **state)
{
    (void)state;
    struct link l;
    int fd = memfd_create("none", MFD_CLOEXEC);
    assert_int_equal(link_attach(&l, fd), CX_EIO);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    assert_int_equal(link_attach(&l, fd), CX_EVERSION);
    close(fd);
    assert_int_equal(link_attach(&l, -1), CX_EIO);
}

static void a_bound_only_improves(void **state)
{
    (void)state;
    struct link a;
    int fd;
    assert_int_equal(link_create(&a, 1, false, &fd), 0);
    link_merge_bound(&a, CX_BOUND_MIN, 5);
    link_merge_bound(&a, CX_BOUND_MIN, 9);
    link_merge_bound(&a, CX_BOUND_MAX, 5);
    link_merge_bound(&a, CX_BOUND_MAX, 9);
    assert_int_equal(atomic_load(&a.head->engine.best_min), 5);
    assert_int_equal(atomic_load(&a.head->engine.best_max), 9);
    close(fd);
    link_close(&a);
}

/* ---- Claims: one thread starts them in turn, the other takes them back; each is had by exactly one ---- */

#define CLAIMS (4u * LINK_AHEAD_MAX)

struct race {
    struct link_thread *at;
    _Atomic uint32_t shown, begun;
    bool started[CLAIMS], taken[CLAIMS];
};

static void *start_all(void *arg)
{
    struct race *r = arg;
    for (uint32_t i = 0; i < CLAIMS;) {
        if (i == atomic_load(&r->shown))
            continue;
        r->started[i] = link_claim_start(r->at, i);
        atomic_store(&r->begun, ++i);
    }
    return NULL;
}

static void a_grant_is_started_or_taken_back_never_both(void **state)
{
    (void)state;
    struct link a;
    int fd;
    pthread_t t;
    struct race *r = calloc(1, sizeof *r);
    assert_int_equal(link_create(&a, 1, false, &fd), 0);
    r->at = link_thread(&a, 0);
    assert_int_equal(pthread_create(&t, NULL, start_all, r), 0);
    for (uint32_t i = 0; i < CLAIMS;) {
        if (i - atomic_load(&r->begun) >= LINK_AHEAD_MAX)
            continue;
        link_claim_reset(r->at, i);
        atomic_store(&r->shown, i + 1);
        if (i % 3 == 0)
            r->taken[i] = link_claim_take_back(r->at, i);
        i++;
    }
    pthread_join(t, NULL);
    for (uint32_t i = 0; i < CLAIMS; i++)
        assert_int_equal(r->started[i] + r->taken[i], 1);
    free(r);
    close(fd);
    link_close(&a);
}

static void a_grant_whose_place_was_given_away_is_not_started(void **state)
{
    (void)state;
    struct link a;
    int fd;
    assert_int_equal(link_create(&a, 1, false, &fd), 0);
    struct link_thread *t = link_thread(&a, 0);
    link_claim_reset(t, 7);
    assert_true(link_claim_take_back(t, 7));
    link_claim_reset(t, 7 + LINK_AHEAD_MAX);
    assert_false(link_claim_start(t, 7));
    assert_true(link_claim_start(t, 7 + LINK_AHEAD_MAX));
    close(fd);
    link_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_see_the_same),
        cmocka_unit_test(the_memory_cannot_be_shrunk),
        cmocka_unit_test(what_is_no_link_is_not_attached),
        cmocka_unit_test(a_bound_only_improves),
        cmocka_unit_test(a_grant_is_started_or_taken_back_never_both),
        cmocka_unit_test(a_grant_whose_place_was_given_away_is_not_started),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
