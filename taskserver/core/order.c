#include "taskserver/core/order.h"

#include "base/must.h"

static bool key_less(uint64_t ahi, uint64_t alo, uint64_t bhi, uint64_t blo)
{
    return ahi < bhi || (ahi == bhi && alo < blo);
}

static bool knot_less(const struct knot *a, const struct knot *b)
{
    return key_less(a->hi, a->lo, b->hi, b->lo);
}

/* Murmur3's finisher: every bit of the key reaches every bit of the rank. */
static uint64_t knot_rank(const struct knot *k)
{
    uint64_t h = k->hi * 0x9e3779b97f4a7c15u ^ k->lo;
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 33;
}

static void split(struct knot *n, const struct knot *k, struct knot **less, struct knot **more)
{
    while (n) {
        if (knot_less(n, k)) {
            *less = n;
            less = &n->right;
            n = n->right;
        } else {
            *more = n;
            more = &n->left;
            n = n->left;
        }
    }
    *less = *more = NULL;
}

/* All of a lies before all of b. */
static struct knot *merge(struct knot *a, struct knot *b)
{
    struct knot *root, **at = &root;
    while (a && b) {
        if (knot_rank(a) >= knot_rank(b)) {
            *at = a;
            at = &a->right;
            a = a->right;
        } else {
            *at = b;
            at = &b->left;
            b = b->left;
        }
    }
    *at = a ? a : b;
    return root;
}

void tree_insert(struct tree *t, struct knot *k)
{
    uint64_t rank = knot_rank(k);
    struct knot **at = &t->root;
    while (*at && knot_rank(*at) >= rank)
        at = knot_less(k, *at) ? &(*at)->left : &(*at)->right;
    split(*at, k, &k->left, &k->right);
    *at = k;
    if (!t->first || knot_less(k, t->first))
        t->first = k;
}

void tree_remove(struct tree *t, struct knot *k)
{
    struct knot **at = &t->root;
    while (*at != k) {
        must(*at != NULL);
        at = knot_less(k, *at) ? &(*at)->left : &(*at)->right;
    }
    *at = merge(k->left, k->right);
    if (t->first == k)
        for (t->first = t->root; t->first && t->first->left;)
            t->first = t->first->left;
}

struct knot *tree_find(const struct tree *t, uint64_t hi, uint64_t lo)
{
    struct knot *n = t->root;
    while (n && (n->hi != hi || n->lo != lo))
        n = key_less(hi, lo, n->hi, n->lo) ? n->left : n->right;
    return n;
}

struct knot *tree_after(const struct tree *t, uint64_t hi, uint64_t lo)
{
    struct knot *best = NULL;
    for (struct knot *n = t->root; n;) {
        bool above = key_less(hi, lo, n->hi, n->lo);
        best = above ? n : best;
        n = above ? n->left : n->right;
    }
    return best;
}

struct knot *tree_before(const struct tree *t, uint64_t hi, uint64_t lo)
{
    struct knot *best = NULL;
    for (struct knot *n = t->root; n;) {
        bool below = key_less(n->hi, n->lo, hi, lo);
        best = below ? n : best;
        n = below ? n->right : n->left;
    }
    return best;
}
