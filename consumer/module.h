/* A module as the consumer sees it: the file's bytes, its architecture, and the names of its tasks. */
#ifndef CONSUMER_MODULE_H
#define CONSUMER_MODULE_H

#include <stdatomic.h>

#include "base/bytes.h"
#include "cx/consumer.h"
#include "cx/task.h"

#define MODULE_BYTES_MAX     (256u << 20)
#define MODULE_FUNCTIONS_MAX 2048

struct module {
    atomic_uint holders;
    char *path;
    struct buf file;
    char arch[16];
    void *handle; /* of dlopen */
    const cx_module *table;
    char functions[MODULE_FUNCTIONS_MAX + 1]; /* comma-separated, in order */
};

/* Loads a module with one holder. Errors say what is wrong with the file and how to make it right; net is
 * whose cx_error they are. */
int module_open(const cx_net *net, const char *path, struct module **out);
struct module *module_hold(struct module *m);
void module_drop(struct module *m); /* NULL is legal */

/* The number of a function (FN_FIRST + index). CX_ENOTFOUND lists those that are there. */
int module_function(const cx_net *net, const struct module *m, const char *name, uint32_t *fn);

/* "x86_64" for an ELF e_machine; NULL when CX does not run on it. */
const char *module_arch_name(unsigned machine);
const char *module_native_arch(void);

#endif
