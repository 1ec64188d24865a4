/* The trees of UTS, the unbalanced tree search benchmark (Olivier et al., LCPC 2006): how many children a
 * node has follows from a hash of its parent, so nobody can know the shape of a subtree without searching it.
 *
 * The module and the sequential program that it is compared with (tests/bench/uts_seq.c) share this file. */
#ifndef EXAMPLES_UTS_UTS_H
#define EXAMPLES_UTS_UTS_H

#include <math.h>
#include <string.h>

#include "sha1.h"

#define UTS_CHILDREN_MAX      100 /* of a node; the root of a binomial tree may have more */
#define UTS_ROOT_CHILDREN_MAX 2001

enum uts_kind { UTS_BINOMIAL, UTS_GEOMETRIC, UTS_HYBRID };
enum uts_shape { UTS_LINEAR, UTS_EXPDEC, UTS_CYCLIC, UTS_FIXED }; /* how b falls with the depth: geometric */

struct uts_tree {
    const char *name;
    enum uts_kind kind;
    enum uts_shape shape;
    int depth; /* d: geometric */
    double b;  /* children of the root */
    double q;  /* binomial: the chance to have m children */
    int m;
    uint32_t seed;
};

/* The published sample trees. The long ones have about 100 million nodes, the others 4 million. */
static const struct uts_tree uts_trees[] = {
    {"T1", UTS_GEOMETRIC, UTS_FIXED, 10, 4, 0, 0, 19},
    {"T2", UTS_GEOMETRIC, UTS_CYCLIC, 16, 6, 0, 0, 502},
    {"T3", UTS_BINOMIAL, UTS_LINEAR, 0, 2000, 0.124875, 8, 42},
    {"T4", UTS_HYBRID, UTS_LINEAR, 16, 6, 0.234375, 4, 1},
    {"T5", UTS_GEOMETRIC, UTS_LINEAR, 20, 4, 0, 0, 34},
    {"T1L", UTS_GEOMETRIC, UTS_FIXED, 13, 4, 0, 0, 29},
    {"T2L", UTS_GEOMETRIC, UTS_CYCLIC, 23, 7, 0, 0, 220},
    {"T3L", UTS_BINOMIAL, UTS_LINEAR, 0, 2000, 0.200014, 5, 7},
};
#define UTS_TREES (sizeof uts_trees / sizeof uts_trees[0])

struct uts_node {
    uint32_t state[SHA1_WORDS];
    uint32_t depth;
};

static inline void uts_root(const struct uts_tree *t, struct uts_node *root)
{
    uint32_t block[16] = {[4] = t->seed, [5] = 0x80000000, [15] = 8 * 20};
    sha1_block(block, root->state);
    root->depth = 0;
}

static inline void uts_child(const struct uts_node *parent, uint32_t i, struct uts_node *child)
{
    uint32_t block[16] = {[5] = i, [6] = 0x80000000, [15] = 8 * 24};
    memcpy(block, parent->state, sizeof parent->state);
    sha1_block(block, child->state);
    child->depth = parent->depth + 1;
}

/* The expected number of children at depth h of a geometric tree. */
static inline double uts_branching(const struct uts_tree *t, double h)
{
    double d = t->depth;
    if (h == 0)
        return t->b;
    switch (t->shape) {
    case UTS_LINEAR:
        return t->b * (1 - h / d);
    case UTS_EXPDEC:
        return t->b * pow(h, -log(t->b) / log(d));
    case UTS_CYCLIC:
        return h > 5 * d ? 0 : pow(t->b, sin(2 * 3.141592653589793 * h / d));
    case UTS_FIXED:
        return h < d ? t->b : 0;
    }
    return 0;
}

static inline uint32_t uts_geometric(const struct uts_tree *t, uint32_t depth, double u)
{
    double b = uts_branching(t, depth);
    if (b <= 0)
        return 0;
    double n = floor(log(1 - u) / log(1 - 1 / (1 + b)));
    return n > UTS_CHILDREN_MAX ? UTS_CHILDREN_MAX : (uint32_t)n;
}

static inline uint32_t uts_children(const struct uts_tree *t, const struct uts_node *node)
{
    double u = (node->state[4] & 0x7fffffff) / 2147483648.0;
    if (t->kind == UTS_GEOMETRIC || (t->kind == UTS_HYBRID && node->depth < 0.5 * t->depth))
        return uts_geometric(t, node->depth, u);
    if (node->depth == 0)
        return (uint32_t)t->b;
    return u < t->q ? (uint32_t)t->m : 0;
}

#endif
