/* cx_map: one job, whose root is the task cx_map that CX_MODULE puts into every module (include/cx/map.h). */
#include <stdlib.h>
#include <string.h>

#include "base/commit.h"
#include "consumer/net.h"
#include "cx/map.h"

static int pack_items(const cx_net *net, uint32_t n, const cx_value *items, struct buf *out)
{
    for (uint32_t i = 0; i < n; i++) {
        if (items[i].type > CX_BYTES)
            return fault(net, CX_EINVAL, "cx_map: item %u is no integer, double, bytes or none", i);
        size_t size = cx_item_size(items[i]);
        if (out->len + size > CX_VALUE_BYTES_MAX)
            return fault(net, CX_ELIMIT,
                         "cx_map: the items are larger than %u bytes together, from item %u on; map "
                         "over fewer at a time",
                         CX_VALUE_BYTES_MAX, i);
        buf_reserve(out, size);
        cx_item_put(out->data + out->len, items[i]);
        out->len += size;
    }
    return 0;
}

static void free_results(cx_value *results, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (results[i].type == CX_BYTES)
            free((void *)results[i].as.bytes);
}

static int unpack_results(const cx_net *net, const cx_value *packed, uint32_t n, cx_value *results)
{
    const unsigned char *at = packed->as.bytes;
    size_t left = packed->type == CX_BYTES ? packed->len : 0;
    cx_value *v = malloc(n * sizeof *v); /* results stay untouched until all is well */
    int err = v != NULL ? 0 : CX_ENOMEM;
    uint32_t i = 0;
    for (; i < n && err == 0; i++) {
        size_t size = cx_item_get(at, left, &v[i]);
        if (size == 0)
            err = CX_EPROTO;
        if (err < 0 || (err = own_bytes(net, &v[i])) < 0)
            break;
        at += size;
        left -= size;
    }
    if (err == 0 && left > 0)
        err = CX_EPROTO;
    if (err == 0)
        memcpy(results, v, n * sizeof *v);
    else if (v != NULL)
        free_results(v, i);
    free(v);
    return err == 0 ? 0
                    : fault(net, err, "cx_map: %s",
                            err == CX_ENOMEM ? "no memory for the results" : "the results are malformed");
}

/* The module is opened once more by cx_submit, which finds it loaded. */
static int find_function(cx_net *net, const char *module, const char *function, cx_value *number)
{
    struct module *m;
    uint32_t fn, map;
    int err = module_open(net, module, &m);
    if (err < 0)
        return err;
    err = module_function(net, m, function, &fn);
    if (err == 0 && module_function(net, m, "cx_map", &map) < 0)
        err = fault(net, CX_EVERSION,
                    "%s has no cx_map: build it again with this <cx/task.h> and CX_MODULE()", module);
    if (err == 0)
        *number = cx_v_i64(fn - FN_FIRST);
    module_drop(m);
    return err;
}

int cx_map(cx_net *net, const char *module, const char *function, uint32_t n, const cx_value *items,
           cx_value *results)
{
    struct buf packed = {0};
    cx_value args[2], all;
    cx_submission what = {.module = module, .function = "cx_map", .args = args, .nargs = 2};
    int err;
    if (net == NULL || module == NULL || function == NULL || (n > 0 && (items == NULL || results == NULL)))
        return fault(net, CX_EINVAL,
                     "cx_map: network, module, function, items and the place for results must be given");
    if ((err = find_function(net, module, function, &args[0])) < 0 || n == 0)
        return err;
    err = pack_items(net, n, items, &packed);
    args[1] = cx_v_bytes(packed.data, packed.len);
    if (err == 0 && (err = run_submission(net, &what, &all)) == 0) {
        err = unpack_results(net, &all, n, results);
        free_results(&all, 1);
    }
    buf_free(&packed);
    return err;
}
