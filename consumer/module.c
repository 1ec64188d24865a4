#include "consumer/module.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/commit.h"
#include "consumer/net.h"
#include "proto/limits.h"

#define HOW_TO_BUILD "build modules with: cc -O2 -shared -fPIC FILE.c -o FILE.so"

const char *module_arch_name(unsigned machine)
{
    static const struct {
        unsigned machine;
        const char *name;
    } arch[] = {{EM_X86_64, "x86_64"}, {EM_AARCH64, "aarch64"}, {EM_RISCV, "riscv64"}, {EM_PPC64, "ppc64le"}};
    for (size_t i = 0; i < sizeof arch / sizeof arch[0]; i++)
        if (arch[i].machine == machine)
            return arch[i].name;
    return NULL;
}

const char *module_native_arch(void)
{
#if defined(__x86_64__)
    return "x86_64";
#elif defined(__aarch64__)
    return "aarch64";
#elif defined(__riscv) && __riscv_xlen == 64
    return "riscv64";
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
    return "ppc64le";
#else
#error "CX runs on 64-bit little-endian machines"
#endif
}

static int module_read(const cx_net *net, struct module *m)
{
    FILE *f = fopen(m->path, "rbe");
    size_t n = 0;
    if (f == NULL)
        return fault(net, errno == ENOENT ? CX_ENOTFOUND : CX_EIO, "cannot open the module %s: %s", m->path,
                     strerror(errno));
    do {
        m->file.len += n;
        buf_reserve(&m->file, 64u << 10);
        n = fread(m->file.data + m->file.len, 1, 64u << 10, f);
    } while (n > 0 && m->file.len <= MODULE_BYTES_MAX);
    int failed = ferror(f);
    fclose(f);
    if (failed)
        return fault(net, CX_EIO, "cannot read the module %s", m->path);
    if (m->file.len > MODULE_BYTES_MAX)
        return fault(net, CX_ELIMIT, "the module %s is larger than %u MiB", m->path, MODULE_BYTES_MAX >> 20);
    return 0;
}

static int module_check_elf(const cx_net *net, struct module *m)
{
    Elf64_Ehdr head;
    if (m->file.len < sizeof head || memcmp(m->file.data, ELFMAG, SELFMAG) != 0)
        return fault(net, CX_EINVAL, "%s is not a shared object; " HOW_TO_BUILD, m->path);
    memcpy(&head, m->file.data, sizeof head);
    const char *arch = module_arch_name(head.e_machine);
    if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_ident[EI_DATA] != ELFDATA2LSB || arch == NULL)
        return fault(net, CX_EINVAL, "%s is for an architecture that CX does not run on (ELF machine %u)",
                     m->path, head.e_machine);
    if (head.e_type != ET_DYN)
        return fault(net, CX_EINVAL, "%s is not a shared object (ELF type %u); " HOW_TO_BUILD, m->path,
                     head.e_type);
    snprintf(m->arch, sizeof m->arch, "%s", arch);
    return 0;
}

static int module_load(const cx_net *net, struct module *m)
{
    if (strcmp(m->arch, module_native_arch()) != 0)
        return fault(
            net, CX_EINVAL,
            "%s is for %s, this machine is %s; to submit it, build it for this one, which is how the names "
            "of its tasks are read",
            m->path, m->arch, module_native_arch());
    m->handle = dlopen(m->path, RTLD_NOW | RTLD_LOCAL);
    if (m->handle == NULL)
        return fault(net, CX_EINVAL, "cannot load the module %s (%s): %s", m->path, m->arch, dlerror());
    m->table = dlsym(m->handle, CX_MODULE_SYMBOL);
    if (m->table == NULL)
        return fault(net, CX_EINVAL,
                     "%s is not a CX module: it has no " CX_MODULE_SYMBOL
                     "; end it with CX_MODULE(task, ...)",
                     m->path);
    if (m->table->abi != CX_ABI_VERSION)
        return fault(net, CX_EVERSION,
                     "%s was built for version %u of the task interface, this is %u; build it again", m->path,
                     m->table->abi, CX_ABI_VERSION);
    if (m->table->tasks == 0 || m->table->tasks > CX_MODULE_TASKS_MAX)
        return fault(net, CX_ELIMIT, "%s has %u tasks; a module has 1 to %u", m->path, m->table->tasks,
                     CX_MODULE_TASKS_MAX);
    return 0;
}

static int module_name_tasks(const cx_net *net, struct module *m)
{
    size_t at = 0;
    for (uint32_t i = 0; i < m->table->tasks; i++) {
        const char *name = m->table->task[i].name;
        size_t left = sizeof m->functions - at;
        int n = name != NULL ? snprintf(m->functions + at, left, "%s%s", i > 0 ? "," : "", name) : -1;
        if (n < 0 || (size_t)n >= left)
            return fault(net, CX_ELIMIT, "the names of the tasks of %s are longer than %u bytes together",
                         m->path, MODULE_FUNCTIONS_MAX);
        at += (size_t)n;
    }
    if (!utf8_valid(bytes_of(m->functions, at)))
        return fault(net, CX_EINVAL, "the names of the tasks of %s are no text: they have to be UTF-8",
                     m->path);
    return 0;
}

int module_open(const cx_net *net, const char *path, struct module **out)
{
    struct module *m = calloc(1, sizeof *m);
    int err;
    if (m == NULL)
        return fault(net, CX_ENOMEM, "no memory to load %s", path);
    atomic_init(&m->holders, 1);
    m->path = realpath(path, NULL); /* dlopen would search the system for a name without a slash */
    if (m->path == NULL) {
        err = fault(net, errno == ENOENT ? CX_ENOTFOUND : CX_EIO, "cannot open the module %s: %s", path,
                    strerror(errno));
        goto fail;
    }
    if ((err = module_read(net, m)) < 0 || (err = module_check_elf(net, m)) < 0 ||
        (err = module_load(net, m)) < 0 || (err = module_name_tasks(net, m)) < 0)
        goto fail;
    *out = m;
    return 0;
fail:
    module_drop(m);
    return err;
}

struct module *module_hold(struct module *m)
{
    atomic_fetch_add(&m->holders, 1);
    return m;
}

void module_drop(struct module *m)
{
    if (m == NULL || atomic_fetch_sub(&m->holders, 1) > 1)
        return;
    if (m->handle != NULL)
        dlclose(m->handle);
    buf_free(&m->file);
    free(m->path);
    free(m);
}

/* The tasks that CX_MODULE adds are not for people. */
static void list_tasks(const struct module *m, char *out, size_t cap)
{
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < m->table->tasks && at < cap; i++)
        if (strncmp(m->table->task[i].name, "cx_", 3) != 0)
            at += (size_t)snprintf(out + at, cap - at, "%s%s", at > 0 ? ", " : "", m->table->task[i].name);
}

int module_function(const cx_net *net, const struct module *m, const char *name, uint32_t *fn)
{
    char names[512];
    for (uint32_t i = 0; i < m->table->tasks; i++)
        if (strcmp(m->table->task[i].name, name) == 0) {
            *fn = FN_FIRST + i;
            return 0;
        }
    list_tasks(m, names, sizeof names);
    const char *base = strrchr(m->path, '/');
    return fault(net, CX_ENOTFOUND, "%s has no task named '%s'; it has: %s",
                 base != NULL ? base + 1 : m->path, name, names);
}
