#include "cx/error.h"

struct err_row {
    int code;
    const char *name;
    const char *text;
    int exit; /* of the cx command; docs/man/cx.1 lists them */
};

static const struct err_row rows[] = {
    {CX_EINTERNAL, "CX_EINTERNAL", "internal error", 1}, /* first: what unknown codes answer as */
    {CX_OK, "CX_OK", "ok", 0},
    {CX_EINVAL, "CX_EINVAL", "invalid argument", 2},
    {CX_ENOMEM, "CX_ENOMEM", "out of memory", 1},
    {CX_EIO, "CX_EIO", "input/output error", 1},
    {CX_ENONET, "CX_ENONET", "no network", 3},
    {CX_ETIMEOUT, "CX_ETIMEOUT", "timed out", 4},
    {CX_EAUTH, "CX_EAUTH", "not authorised", 5},
    {CX_ENOTFOUND, "CX_ENOTFOUND", "not found", 6},
    {CX_EFAILED, "CX_EFAILED", "job failed", 1},
    {CX_ECANCELLED, "CX_ECANCELLED", "job cancelled", 1},
    {CX_ELIMIT, "CX_ELIMIT", "limit exceeded", 1},
    {CX_EPROTO, "CX_EPROTO", "malformed message", 1},
    {CX_EFULL, "CX_EFULL", "server full, try later", 1},
    {CX_EEXIST, "CX_EEXIST", "already exists", 1},
    {CX_EVERSION, "CX_EVERSION", "versions do not fit", 1},
};

static const struct err_row *row_of(int code)
{
    for (unsigned i = 1; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].code == code)
            return &rows[i];
    return &rows[0];
}

const char *cx_err_name(int code)
{
    return row_of(code)->name;
}

const char *cx_err_text(int code)
{
    return row_of(code)->text;
}

int cx_err_exit(int code)
{
    return row_of(code)->exit;
}
