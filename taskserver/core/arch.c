/* Classes of producers that fit the same jobs: those of one architecture, less the jobs that they have found
 * they cannot run (their module does not load there, say). */
#include "taskserver/core/core.h"

static bool is_unfit(const struct arch *a, struct id job)
{
    for (size_t at = 0; at < a->unfit.len; at += sizeof job)
        if (memcmp(a->unfit.data + at, &job, sizeof job) == 0)
            return true;
    return false;
}

static bool has_module(const struct job *job, const char *name)
{
    for (uint32_t i = 0; i < job->modules; i++)
        if (!job->module[i].arch[0] || strcmp(job->module[i].arch, name) == 0)
            return true;
    return false;
}

bool job_fits(const struct job *job, const struct arch *a)
{
    return has_module(job, a->name) && !is_unfit(a, job->entry.id);
}

static struct arch *arch_add(struct ts *ts)
{
    ts->arch = realloc(ts->arch, (ts->arches + 1) * sizeof *ts->arch);
    struct arch *a = calloc(1, sizeof *a);
    if (!ts->arch || !a)
        abort();
    list_init(&a->idle);
    list_init(&a->hungry);
    ts->arch[ts->arches++] = a;
    return a;
}

/* The class of this name without these jobs; one that nobody is in any more may become it. */
static struct arch *arch_find(struct ts *ts, const char *name, struct bytes unfit)
{
    struct arch *vacant = NULL;
    for (uint32_t i = 0; i < ts->arches; i++) {
        struct arch *a = ts->arch[i];
        if (strncmp(a->name, name, sizeof a->name - 1) == 0 && bytes_equal(buf_bytes(&a->unfit), unfit))
            return a;
        if (!a->producers)
            vacant = a;
    }
    struct arch *a = vacant ? vacant : arch_add(ts);
    snprintf(a->name, sizeof a->name, "%s", name);
    buf_clear(&a->unfit);
    buf_add(&a->unfit, unfit.data, unfit.len);
    return a;
}

struct arch *arch_of(struct ts *ts, const char *name)
{
    return arch_find(ts, name, (struct bytes){0});
}

struct arch *arch_without(struct ts *ts, const struct arch *a, const struct job *job)
{
    struct buf unfit = {0};
    char name[sizeof a->name];
    memcpy(name, a->name, sizeof name);
    buf_add(&unfit, a->unfit.data, a->unfit.len);
    buf_add(&unfit, &job->entry.id, sizeof job->entry.id);
    struct arch *other = arch_find(ts, name, buf_bytes(&unfit));
    buf_free(&unfit);
    return other;
}

/* Its id may come again, for another job. */
void arches_forget(struct ts *ts, struct id job)
{
    for (uint32_t i = 0; i < ts->arches; i++) {
        struct buf *unfit = &ts->arch[i]->unfit;
        for (size_t at = 0; at < unfit->len; at += sizeof job) {
            if (memcmp(unfit->data + at, &job, sizeof job) != 0)
                continue;
            unfit->len -= sizeof job;
            memmove(unfit->data + at, unfit->data + at + sizeof job, unfit->len - at);
            break;
        }
    }
}

void arches_free(struct ts *ts)
{
    for (uint32_t i = 0; i < ts->arches; i++) {
        buf_free(&ts->arch[i]->unfit);
        free(ts->arch[i]);
    }
    free(ts->arch);
}
