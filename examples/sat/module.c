/* Counting the models of a formula: a task's argument is the formula that is left, not the way to it.
 *
 *     cx run sat.so models --input ais6.cnf        how many assignments satisfy it: 24; 0: unsatisfiable
 *
 * Input: a formula in conjunctive normal form, in the DIMACS format. Source of the algorithm: Davis, Logemann
 * and Loveland (1962), counting as in Birnbaum and Lozinskii (1999). */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cx/task.h>

#define VARIABLES_MAX 1000

/* Clauses one after the other, each ended by 0; a literal is a variable's number, negative when negated. */
struct formula {
    int16_t *literal; /* owned */
    size_t n;         /* with the zeroes */
};

/* ---- Reading DIMACS ---- */

static const char *next_line(const char *at, const char *end)
{
    while (at < end && *at != '\n')
        at++;
    return at < end ? at + 1 : end;
}

/* The next integer of the text; false when there is none that is small enough. */
static bool integer(const char **at, const char *end, int *out)
{
    int x = 0, sign = 1;
    while (*at < end && (**at == ' ' || **at == '\n' || **at == '\r' || **at == '\t'))
        (*at)++;
    if (*at < end && **at == '-') {
        sign = -1;
        (*at)++;
    }
    const char *start = *at;
    for (; *at < end && **at >= '0' && **at <= '9' && x <= VARIABLES_MAX; (*at)++)
        x = 10 * x + (**at - '0');
    *out = sign * x;
    return *at > start && x <= VARIABLES_MAX;
}

/* Finds "p cnf VARIABLES CLAUSES" behind the comments. Returns what follows the number of variables, or NULL.
 */
static const char *header(const char *at, const char *end, int *variables)
{
    while (at < end && *at == 'c')
        at = next_line(at, end);
    if (end - at < 6 || memcmp(at, "p cnf ", 6) != 0)
        return NULL;
    at += 6;
    return integer(&at, end, variables) ? next_line(at, end) : NULL;
}

/* False when the text is no formula. A '%' ends it, as in SATLIB's random formulas, and so does a comment. */
static bool formula_read(struct formula *f, int *variables, cx_blob text)
{
    const char *end = (const char *)text.data + text.len;
    const char *at = text.len > 0 ? header(text.data, end, variables) : NULL;
    int literal;
    f->literal = at == NULL ? NULL : malloc((text.len / 2 + 1) * sizeof *f->literal);
    f->n = 0;
    while (f->literal != NULL && integer(&at, end, &literal)) {
        if (abs(literal) > *variables)
            break;
        f->literal[f->n++] = (int16_t)literal;
    }
    if (f->literal != NULL && (at == end || *at == '%' || *at == 'c') &&
        (f->n == 0 || f->literal[f->n - 1] == 0))
        return true;
    free(f->literal);
    return false;
}

/* ---- Making it smaller ---- */

/* Makes one literal true: clauses that have it are done, its negation leaves the others. False: a clause is
 * empty, there are no models. */
static bool assume(struct formula *f, int16_t literal)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->n; i++) {
        size_t start = kept;
        bool done = false;
        for (; f->literal[i] != 0; i++) {
            done |= f->literal[i] == literal;
            if (f->literal[i] != -literal)
                f->literal[kept++] = f->literal[i];
        }
        if (done)
            kept = start;
        else if (kept == start)
            return false;
        else
            f->literal[kept++] = 0;
    }
    f->n = kept;
    return true;
}

/* The literal of a clause that has no other, or 0. */
static int16_t lone_literal(const struct formula *f)
{
    for (size_t i = 0; i + 1 < f->n; i++)
        if (f->literal[i] != 0 && f->literal[i + 1] == 0 && (i == 0 || f->literal[i - 1] == 0))
            return f->literal[i];
    return 0;
}

/* Follows lone literals until there are none; each takes one of the free variables. False: no models. */
static bool propagate(struct formula *f, int64_t *free_variables)
{
    int16_t literal;
    while ((literal = lone_literal(f)) != 0) {
        if (!assume(f, literal))
            return false;
        --*free_variables;
    }
    return true;
}

/* The variable that occurs most often in the shortest clauses, so that both halves become small soon. */
static int16_t choose(const struct formula *f)
{
    uint32_t score[VARIABLES_MAX + 1] = {0};
    int16_t best = 0;
    for (size_t start = 0, i = 0; i < f->n; i++) {
        if (f->literal[i] != 0)
            continue;
        uint32_t weight = i - start < 8 ? 1u << (2 * (8 - (i - start))) : 1;
        for (; start < i; start++) {
            int16_t variable = (int16_t)abs(f->literal[start]);
            score[variable] += weight;
            if (score[variable] > score[best])
                best = variable;
        }
        start = i + 1;
    }
    return best;
}

/* ---- The tasks ---- */

static void count(cx_ctx *cx);

/* Counts the models of f in which literal is true, into a slot. */
static void spawn_half(cx_ctx *cx, cx_addr to, const struct formula *f, int16_t literal,
                       int64_t free_variables)
{
    struct formula half = {malloc((f->n + 1) * sizeof *half.literal), f->n};
    if (half.literal == NULL)
        return cx_fail(cx, "no memory for a formula of %zu literals", f->n);
    memcpy(half.literal, f->literal, f->n * sizeof *f->literal);
    if (!assume(&half, literal))
        cx_set(cx, to, cx_v_i64(0));
    else
        cx_spawn(cx, count, to,
                 cx_args(cx_v_bytes(half.literal, half.n * sizeof *half.literal), free_variables - 1));
    free(half.literal);
}

/* count(formula, its free variables) -> models */
CX_TASK(count)
{
    cx_blob clauses = cx_bytes(cx, 0);
    int64_t free_variables = cx_i64(cx, 1);
    struct formula f = {malloc(clauses.len + 1), clauses.len / sizeof *f.literal};
    if (f.literal == NULL)
        return cx_fail(cx, "no memory for a formula of %zu bytes", clauses.len);
    memcpy(f.literal, clauses.data, clauses.len);
    if (!propagate(&f, &free_variables)) {
        cx_return_i64(cx, 0);
    } else if (f.n > 0) {
        int16_t variable = choose(&f);
        cx_ref sum = cx_successor(cx, CX_SUM_I64, 2);
        spawn_half(cx, cx_slot(sum, 0), &f, variable, free_variables);
        spawn_half(cx, cx_slot(sum, 1), &f, (int16_t)-variable, free_variables);
    } else if (free_variables > 62) {
        cx_fail(cx, "more than 2^62 models: %lld variables are free", (long long)free_variables);
    } else {
        cx_return_i64(cx, INT64_C(1) << free_variables);
    }
    free(f.literal);
}

/* models() -> models of the input */
CX_TASK(models)
{
    struct formula f;
    int variables;
    if (!formula_read(&f, &variables, cx_input(cx)))
        return cx_fail(cx, "the input is no formula in DIMACS CNF of up to %d variables", VARIABLES_MAX);
    cx_spawn(cx, count, cx_home(cx), cx_args(cx_v_bytes(f.literal, f.n * sizeof *f.literal), variables));
    free(f.literal);
}
CX_MODULE(models, count)
