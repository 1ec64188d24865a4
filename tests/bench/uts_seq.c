/* The sequential UTS program that the network's speed-up is measured against: a plain recursion.
 *
 * Usage: uts_seq TREE     prints one JSON line with nodes, leaves, depth and seconds. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "examples/uts/uts.h"

struct totals {
    uint64_t nodes, leaves;
    uint32_t depth;
};

static void visit(const struct uts_tree *t, const struct uts_node *node, struct totals *sum)
{
    uint32_t n = uts_children(t, node);
    sum->nodes++;
    sum->leaves += n == 0;
    if (node->depth > sum->depth)
        sum->depth = node->depth;
    for (uint32_t i = 0; i < n; i++) {
        struct uts_node child;
        uts_child(node, i, &child);
        visit(t, &child, sum);
    }
}

static double now_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < UTS_TREES; i++) {
        if (strcmp(argv[1], uts_trees[i].name) != 0)
            continue;
        struct uts_node root;
        struct totals sum = {0, 0, 0};
        double start = now_s();
        uts_root(&uts_trees[i], &root);
        visit(&uts_trees[i], &root, &sum);
        printf("{\"tree\":\"%s\",\"nodes\":%llu,\"leaves\":%llu,\"depth\":%u,\"seconds\":%.6f}\n", argv[1],
               (unsigned long long)sum.nodes, (unsigned long long)sum.leaves, sum.depth, now_s() - start);
        return EXIT_SUCCESS;
    }
    fprintf(stderr, "usage: uts_seq T1|T2|T3|T4|T5|T1L|T2L|T3L\n");
    return 2;
}
