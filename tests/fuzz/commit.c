/* Grants, commit records and bodies from hostile bytes. What is accepted, written again and read again, must
 * be the same and be written the same; and never longer, since we write the shortest form. The first byte
 * chooses. */
#include <stdlib.h>
#include <string.h>

#include "base/commit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
    if (!condition)
        abort();
}

static bool write_values(struct buf *out, const struct op *op)
{
    struct reader values = reader_of(op->values);
    struct op_value v;
    uint32_t i = 0;
    while (op_value_get(&values, op, &i, &v)) {
        if (op->kind == OP_SET)
            put_set(out, op->to, v.value, v.ref);
        else
            put_task_value(out, op, &v);
    }
    return i == op->nset && !values.bad && !reader_more(&values);
}

static void write_op(struct buf *out, const struct op *op)
{
    if (op->kind == OP_NAME)
        put_name(out, op->name, op->child);
    else if (op->kind == OP_BOUND)
        put_bound(out, op->bound_kind, op->bound);
    else if (op->kind == OP_FAIL)
        put_fail(out, op->text);
    else if (op->kind == OP_TASK)
        put_task(out, op);
    check(write_values(out, op));
}

static bool rewrite_body(struct bytes in, struct buf *out)
{
    struct reader r = reader_of(in);
    struct op op;
    while (op_get(&r, &op))
        write_op(out, &op);
    return !r.bad;
}

static bool rewrite_commits(struct bytes in, struct buf *out)
{
    struct reader r = reader_of(in);
    struct commit c;
    while (reader_more(&r)) {
        struct buf body = {0};
        if (!commit_get(&r, &c))
            return false;
        if (rewrite_body(c.body, &body)) {
            c.body = buf_bytes(&body);
            commit_put(out, &c);
        }
        buf_free(&body);
    }
    return true;
}

static bool rewrite_grants(struct bytes in, struct buf *out)
{
    struct reader r = reader_of(in);
    struct grant g;
    while (reader_more(&r)) {
        struct buf values = {0};
        if (!grant_get(&r, &g))
            return false;
        struct reader v = reader_of(g.values);
        for (uint32_t i = 0; i < g.nslots; i++)
            put_value(&values, get_value(&v));
        check(!v.bad && !reader_more(&v));
        g.values = buf_bytes(&values);
        grant_put(out, &g);
        buf_free(&values);
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool (*const kinds[])(struct bytes, struct buf *) = {rewrite_body, rewrite_commits,
                                                                rewrite_grants};
    if (!size)
        return 0;
    bool (*rewrite)(struct bytes, struct buf *) = kinds[data[0] % 3];
    struct buf once = {0}, twice = {0};
    if (rewrite(bytes_of(data + 1, size - 1), &once)) {
        check(once.len <= size - 1);
        check(rewrite(buf_bytes(&once), &twice));
        check(bytes_equal(buf_bytes(&once), buf_bytes(&twice)));
    }
    buf_free(&once);
    buf_free(&twice);
    return 0;
}
