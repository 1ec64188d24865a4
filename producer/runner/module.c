/* The job's module and its input. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "cx/error.h"
#include "producer/runner/runner.h"

static int check(const cx_module *m, char *why)
{
    if (m->abi != CX_ABI_VERSION) {
        snprintf(why, LINK_WHY_MAX, "the module speaks ABI version %u, this producer %u: build it again",
                 m->abi, CX_ABI_VERSION);
        return CX_EVERSION;
    }
    if (m->tasks == 0 || m->tasks > CX_MODULE_TASKS_MAX || !m->task) {
        snprintf(why, LINK_WHY_MAX, "the module has %u tasks, from 1 to %u are allowed", m->tasks,
                 CX_MODULE_TASKS_MAX);
        return CX_EINVAL;
    }
    for (uint32_t i = 0; i < m->tasks; i++) {
        if (!m->task[i].run) {
            snprintf(why, LINK_WHY_MAX, "task %u of the module has no function", i);
            return CX_EINVAL;
        }
    }
    return 0;
}

static int map_input(struct runner *r, char *why)
{
    struct stat st;
    if (fstat(LINK_FD_INPUT, &st)) {
        snprintf(why, LINK_WHY_MAX, "the job's input did not arrive at the runner");
        return CX_EIO;
    }
    if (st.st_size == 0)
        return 0;
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, LINK_FD_INPUT, 0);
    if (map == MAP_FAILED) {
        snprintf(why, LINK_WHY_MAX, "the job's input of %lld bytes could not be mapped",
                 (long long)st.st_size);
        return CX_ENOMEM;
    }
    r->input = bytes_of(map, (size_t)st.st_size);
    return 0;
}

int module_load(struct runner *r, char *why)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", LINK_FD_MODULE);
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        snprintf(why, LINK_WHY_MAX, "the module does not load: %s", dlerror());
        return CX_EINVAL;
    }
    r->module = dlsym(lib, CX_MODULE_SYMBOL);
    if (!r->module) {
        snprintf(why, LINK_WHY_MAX, "the module has no symbol %s: CX_MODULE(...) is missing",
                 CX_MODULE_SYMBOL);
        return CX_EINVAL;
    }
    int rc = check(r->module, why);
    if (rc == 0 && r->link.head->has_input)
        rc = map_input(r, why);
    return rc;
}
