/* The 15-puzzle by IDA*: searches that follow one another, each a tree of tasks.
 *
 *     cx run puzzle15.so optimum 0 1 9 7 11 13 5 3 14 12 4 2 8 6 10 15      the fewest moves: 42
 *     cx run puzzle15.so nodes   0 1 9 ...                                  nodes visited by all iterations
 *
 * The sixteen arguments are the tiles from top left to bottom right, 0 the blank; the goal is 0 1 2 ... 15.
 * Source: Korf, "Depth-First Iterative-Deepening" (1985), with Manhattan distance. */
#include <stdbool.h>
#include <stdlib.h>

#include <cx/task.h>

/* A board is one integer: square i holds tile (board >> 4 i) & 15. */
static unsigned tile_at(uint64_t board, unsigned square)
{
    return board >> (4 * square) & 15;
}

static int distance(unsigned tile, unsigned square)
{
    if (tile == 0)
        return 0;
    return abs((int)(tile / 4) - (int)(square / 4)) + abs((int)(tile % 4) - (int)(square % 4));
}

static unsigned blank_of(uint64_t board)
{
    unsigned square = 0;
    while (square < 15 && tile_at(board, square) != 0)
        square++;
    return square;
}

/* The squares next to this one, -1 ends the list. */
static const int8_t next_to[16][5] = {
    {1, 4, -1},     {0, 2, 5, -1},      {1, 3, 6, -1},      {2, 7, -1},
    {0, 5, 8, -1},  {1, 4, 6, 9, -1},   {2, 5, 7, 10, -1},  {3, 6, 11, -1},
    {4, 9, 12, -1}, {5, 8, 10, 13, -1}, {6, 9, 11, 14, -1}, {7, 10, 15, -1},
    {8, 13, -1},    {9, 12, 14, -1},    {10, 13, 15, -1},   {11, 14, -1},
};

/* What a search counts travels in one integer, so that CX_SUM_I64 adds both at once. */
#define ONE_NODE     1
#define ONE_SOLUTION (INT64_C(1) << 48)

static int64_t nodes_in(int64_t counts)
{
    return counts & (ONE_SOLUTION - 1);
}
static int64_t solutions_in(int64_t counts)
{
    return counts >> 48;
}

/* A move that is worth following: the board after it and its distance to the goal. */
struct move {
    uint64_t board;
    int64_t h;
    unsigned from; /* where the blank was */
};

/* The moves from board, but back to square `back`, that can reach the goal in `left` moves. */
static uint32_t moves_of(uint64_t board, int64_t left, int64_t h, unsigned back, struct move m[4])
{
    unsigned blank = blank_of(board);
    uint32_t n = 0;
    for (const int8_t *q = next_to[blank]; *q >= 0; q++) {
        unsigned square = (unsigned)*q;
        uint64_t tile = tile_at(board, square);
        int64_t after = h - distance((unsigned)tile, square) + distance((unsigned)tile, blank);
        if (square != back && after < left)
            m[n++] = (struct move){(board & ~(tile << 4 * square)) | tile << 4 * blank, after, blank};
    }
    return n;
}

/* search(board, moves left, distance, where the blank came from) -> counts of the subtree */
CX_TASK(search)
{
    struct move m[4];
    int64_t left = cx_i64(cx, 1), h = cx_i64(cx, 2);
    if (h == 0)
        return cx_return_i64(cx, ONE_NODE + ONE_SOLUTION);
    uint32_t n = moves_of((uint64_t)cx_i64(cx, 0), left, h, (unsigned)cx_i64(cx, 3), m);
    if (n == 0)
        return cx_return_i64(cx, ONE_NODE);
    cx_ref sum = cx_successor(cx, CX_SUM_I64, n + 1);
    cx_set(cx, cx_slot(sum, n), cx_v_i64(ONE_NODE));
    for (uint32_t i = 0; i < n; i++)
        cx_spawn(cx, search, cx_slot(sum, i), cx_args(m[i].board, left - 1, m[i].h, m[i].from));
}

/* What the consumer asked for. */
enum question { OPTIMUM, SOLUTIONS, NODES, LAST_NODES };

static int64_t answer(enum question asked, int64_t limit, int64_t total, int64_t counts)
{
    switch (asked) {
    case OPTIMUM:
        return limit;
    case SOLUTIONS:
        return solutions_in(counts);
    case NODES:
        return total;
    case LAST_NODES:
        return nodes_in(counts);
    }
    return -1;
}

static int64_t board_distance(uint64_t board)
{
    int64_t h = 0;
    for (unsigned square = 0; square < 16; square++)
        h += distance(tile_at(board, square), square);
    return h;
}

/* Slots: board, limit, question, nodes of the iterations before, counts of the iteration with this limit. It
 * either knows the answer, or leaves itself behind as the successor of the next iteration. */
CX_TASK(deepen)
{
    int64_t board = cx_i64(cx, 0), limit = cx_i64(cx, 1), counts = cx_i64(cx, 4);
    int64_t total = cx_i64(cx, 3) + nodes_in(counts);
    if (solutions_in(counts) > 0)
        return cx_return_i64(cx, answer((enum question)cx_i64(cx, 2), limit, total, counts));
    cx_ref next = cx_successor(cx, deepen, 5);
    int64_t known[4] = {board, limit + 2, cx_i64(cx, 2), total}; /* a move changes the distance by one */
    for (uint32_t i = 0; i < 4; i++)
        cx_set(cx, cx_slot(next, i), cx_v_i64(known[i]));
    cx_spawn(cx, search, cx_slot(next, 4), cx_args(board, limit + 2, board_distance((uint64_t)board), 16));
}

/* Half of all boards cannot reach the goal: a move is a transposition and moves the blank by one. */
static bool solvable(uint64_t board)
{
    unsigned blank = blank_of(board), odd = blank / 4 + blank % 4;
    for (unsigned i = 0; i < 16; i++)
        for (unsigned j = i + 1; j < 16; j++)
            odd += tile_at(board, i) > tile_at(board, j);
    return odd % 2 == 0;
}

static void solve(cx_ctx *cx, enum question asked)
{
    uint64_t board = 0, seen = 0;
    for (uint32_t i = 0; i < 16; i++) {
        uint64_t tile = (uint64_t)cx_i64(cx, i) & 15;
        board |= tile << 4 * i;
        seen |= UINT64_C(1) << tile;
    }
    if (seen != 0xffff || cx_argc(cx) != 16)
        return cx_fail(cx, "a board is the 16 tiles 0 to 15, each once");
    if (!solvable(board))
        return cx_fail(cx, "this board cannot be solved: it is an odd permutation of the goal");
    cx_spawn(cx, deepen, cx_home(cx), cx_args(board, board_distance(board) - 2, (int)asked, 0, 0));
}

CX_TASK(optimum)
{
    solve(cx, OPTIMUM);
}
CX_TASK(solutions)
{
    solve(cx, SOLUTIONS);
}
CX_TASK(nodes)
{
    solve(cx, NODES);
}
CX_TASK(last_nodes)
{
    solve(cx, LAST_NODES);
}
CX_MODULE(optimum, solutions, nodes, last_nodes, search, deepen)
