/* Unbalanced tree search: count a tree whose shape nobody knows beforehand. Every node that has
 * children is a task.
 *
 *     cx run uts.so nodes str:T3        how many nodes (also: leaves, depth)
 */
#include <cx/task.h>

#include "uts.h"

/* A node that is searched by a task of its own, and those of its children that have children. */
struct work {
    struct uts_node node;
    uint32_t tree;
    uint32_t children; /* at least one */
    uint32_t inner;
    struct uts_node inner_node[UTS_ROOT_CHILDREN_MAX];
    uint32_t inner_children[UTS_ROOT_CHILDREN_MAX];
};

/* A node travels as four integers: its 160 bits of state, its depth, which tree it is of, how many children
 * it has. */
static void spawn_node(cx_ctx *cx, cx_fn task, cx_addr to, const struct uts_node *n, uint32_t tree,
                       uint32_t children)
{
    cx_spawn(cx, task, to,
             cx_args((uint64_t)n->state[0] << 32 | n->state[1], (uint64_t)n->state[2] << 32 | n->state[3],
                     (uint64_t)n->state[4] << 32 | n->depth, (uint64_t)tree << 32 | children));
}

/* Reads the node and finds its children. Leaves are only counted: a hash is done sooner than a task. */
static void expand(cx_ctx *cx, struct work *w)
{
    uint64_t a = (uint64_t)cx_i64(cx, 0), b = (uint64_t)cx_i64(cx, 1), c = (uint64_t)cx_i64(cx, 2);
    uint64_t d = (uint64_t)cx_i64(cx, 3);
    w->node = (struct uts_node){{a >> 32, (uint32_t)a, b >> 32, (uint32_t)b, c >> 32}, (uint32_t)c};
    w->tree = d >> 32 < UTS_TREES ? (uint32_t)(d >> 32) : 0;
    w->children = (uint32_t)d < UTS_ROOT_CHILDREN_MAX ? (uint32_t)d : UTS_ROOT_CHILDREN_MAX;
    w->inner = 0;
    for (uint32_t i = 0; i < w->children; i++) {
        struct uts_node *child = &w->inner_node[w->inner];
        uts_child(&w->node, i, child);
        w->inner_children[w->inner] = uts_children(&uts_trees[w->tree], child);
        w->inner += w->inner_children[w->inner] > 0;
    }
}

/* Joins, by a well-known successor, what is known of the node and its leaves with the answers of its other
 * children. */
static void descend(cx_ctx *cx, cx_fn task, cx_fn join, const struct work *w, int64_t known)
{
    if (w->inner == 0)
        return cx_return_i64(cx, known);
    cx_ref all = cx_successor(cx, join, w->inner + 1);
    cx_set(cx, cx_slot(all, w->inner), cx_v_i64(known));
    for (uint32_t i = 0; i < w->inner; i++)
        spawn_node(cx, task, cx_slot(all, i), &w->inner_node[i], w->tree, w->inner_children[i]);
}

CX_TASK(count_nodes)
{
    struct work w;
    expand(cx, &w);
    descend(cx, count_nodes, CX_SUM_I64, &w, 1 + w.children - w.inner);
}

CX_TASK(count_leaves)
{
    struct work w;
    expand(cx, &w);
    descend(cx, count_leaves, CX_SUM_I64, &w, w.children - w.inner);
}

CX_TASK(find_depth)
{
    struct work w;
    expand(cx, &w);
    descend(cx, find_depth, CX_MAX_I64, &w, w.node.depth + 1);
}

/* Starts task at the root of the tree that argument 0 names. */
static void search(cx_ctx *cx, cx_fn task)
{
    cx_blob name = cx_bytes(cx, 0);
    for (uint32_t i = 0; i < UTS_TREES; i++)
        if (strlen(uts_trees[i].name) == name.len && memcmp(uts_trees[i].name, name.data, name.len) == 0) {
            struct uts_node root;
            uts_root(&uts_trees[i], &root);
            return spawn_node(cx, task, cx_home(cx), &root, i, uts_children(&uts_trees[i], &root));
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
