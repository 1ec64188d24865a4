/* Unbalanced tree search: count a tree whose shape nobody knows beforehand. Every node is a task.
 *
 *     cx run uts.so nodes T3        how many nodes (also: leaves, depth)
 */
#include <cx/task.h>

#include "uts.h"

/* A node travels as three integers: its 160 bits of state, its depth, and which tree it is of. */
static cx_arglist node_args(cx_value v[3], const struct uts_node *n, uint32_t tree)
{
    v[0] = cx_v_i64((int64_t)((uint64_t)n->state[0] << 32 | n->state[1]));
    v[1] = cx_v_i64((int64_t)((uint64_t)n->state[2] << 32 | n->state[3]));
    v[2] = cx_v_i64((int64_t)((uint64_t)n->state[4] << 32 | tree << 24 | n->depth));
    return (cx_arglist){3, v};
}

static struct uts_node node_read(cx_ctx *cx, uint32_t *tree)
{
    uint64_t a = (uint64_t)cx_i64(cx, 0), b = (uint64_t)cx_i64(cx, 1), c = (uint64_t)cx_i64(cx, 2);
    *tree = (uint32_t)(c >> 24) & 0xff;
    return (struct uts_node){{a >> 32, (uint32_t)a, b >> 32, (uint32_t)b, c >> 32}, (uint32_t)c & 0xffffff};
}

/* Spawns a task for each child; its value goes to the slot of its number. */
static void spawn_children(cx_ctx *cx, cx_fn task, cx_ref to, const struct uts_node *node, uint32_t n,
                           uint32_t tree)
{
    for (uint32_t i = 0; i < n; i++) {
        struct uts_node child;
        cx_value v[3];
        uts_child(node, i, &child);
        cx_spawn(cx, task, cx_slot(to, i), node_args(v, &child, tree));
    }
}

CX_TASK(count_nodes)
{
    uint32_t tree;
    struct uts_node node = node_read(cx, &tree);
    uint32_t n = uts_children(&uts_trees[tree], &node);
    if (n == 0)
        return cx_return_i64(cx, 1);
    cx_ref sum = cx_successor(cx, CX_SUM_I64, n + 1);
    cx_set(cx, cx_slot(sum, n), cx_v_i64(1)); /* the node itself */
    spawn_children(cx, count_nodes, sum, &node, n, tree);
}

CX_TASK(count_leaves)
{
    uint32_t tree;
    struct uts_node node = node_read(cx, &tree);
    uint32_t n = uts_children(&uts_trees[tree], &node);
    if (n == 0)
        return cx_return_i64(cx, 1);
    spawn_children(cx, count_leaves, cx_successor(cx, CX_SUM_I64, n), &node, n, tree);
}

CX_TASK(find_depth)
{
    uint32_t tree;
    struct uts_node node = node_read(cx, &tree);
    uint32_t n = uts_children(&uts_trees[tree], &node);
    if (n == 0)
        return cx_return_i64(cx, node.depth);
    spawn_children(cx, find_depth, cx_successor(cx, CX_MAX_I64, n), &node, n, tree);
}

/* Starts task at the root of the tree that argument 0 names. */
static void search(cx_ctx *cx, cx_fn task)
{
    cx_blob name = cx_bytes(cx, 0);
    for (uint32_t i = 0; i < UTS_TREES; i++)
        if (strlen(uts_trees[i].name) == name.len && memcmp(uts_trees[i].name, name.data, name.len) == 0) {
            struct uts_node root;
            cx_value v[3];
            uts_root(&uts_trees[i], &root);
            return cx_spawn(cx, task, cx_home(cx), node_args(v, &root, i));
        }
    cx_fail(cx, "there is no tree %.*s; known: T1 to T5, T1L, T2L, T3L", (int)name.len,
            (const char *)name.data);
}

CX_TASK(nodes)
{
    search(cx, count_nodes);
}
CX_TASK(leaves)
{
    search(cx, count_leaves);
}
CX_TASK(depth)
{
    search(cx, find_depth);
}
CX_MODULE(nodes, leaves, depth, count_nodes, count_leaves, find_depth)
