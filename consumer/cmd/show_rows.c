#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "consumer/cmd/show.h"

/* Walks rows of one struct type; the copy keeps alignment honest. */
#define EACH_ROW(type, row, rows)                                                                            \
    type row;                                                                                                \
    for (size_t row##_at = 0;                                                                                \
         row##_at + sizeof row <= (rows)->len && memcpy(&row, (rows)->data + row##_at, sizeof row) != NULL;  \
         row##_at += sizeof row)

/* Numbers over 2^53 would be rounded by cJSON's doubles; counters stay below for centuries, bounds need not.
 */
static void json_i64(cJSON *o, const char *name, int64_t v)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, v);
    cJSON_AddRawToObject(o, name, text);
}

static cJSON *json_job(const struct job_row *r)
{
    cJSON *o = cJSON_CreateObject();
    char hex[ID_HEX_MAX];
    id_hex(r->id, hex);
    cJSON_AddStringToObject(o, "id", hex);
    cJSON_AddStringToObject(o, "state", state_name(r->state));
    cJSON_AddStringToObject(o, "function", r->function);
    cJSON_AddStringToObject(o, "label", r->label);
    cJSON_AddStringToObject(o, "owner", r->owner);
    cJSON_AddNumberToObject(o, "priority", r->priority);
    cJSON_AddNumberToObject(o, "weight", r->weight);
    cJSON_AddNumberToObject(o, "ready", (double)r->ready);
    cJSON_AddNumberToObject(o, "waiting", (double)r->waiting);
    cJSON_AddNumberToObject(o, "running", (double)r->granted);
    cJSON_AddNumberToObject(o, "executed", (double)r->executed);
    cJSON_AddNumberToObject(o, "duplicates", (double)r->duplicates);
    cJSON_AddNumberToObject(o, "commits", (double)r->commits);
    cJSON_AddNumberToObject(o, "busy_s", (double)r->busy_ns / 1e9);
    cJSON_AddNumberToObject(o, "bytes", (double)r->bytes);
    cJSON_AddNumberToObject(o, "age_s", (double)r->age_us / 1e6);
    if (r->has_min)
        json_i64(o, "best_min", r->best_min);
    if (r->has_max)
        json_i64(o, "best_max", r->best_max);
    cJSON_AddStringToObject(o, "reason", r->reason);
    return o;
}

void show_jobs(const struct buf *rows)
{
    char hex[ID_HEX_MAX], ready[SHORT_MAX], waiting[SHORT_MAX], done[SHORT_MAX], age[SHORT_MAX];
    cJSON *all = common.json ? cJSON_CreateArray() : NULL;
    if (all == NULL)
        printf("%-32s %-9s %7s %7s %7s %7s %8s  %s\n", "JOB", "STATE", "READY", "WAITING", "RUNNING", "DONE",
               "AGE", "LABEL");
    EACH_ROW(struct job_row, r, rows)
    {
        id_hex(r.id, hex);
        if (all != NULL)
            cJSON_AddItemToArray(all, json_job(&r));
        else
            printf("%-32s %-9s %7s %7s %7" PRIu64 " %7s %8s  %s\n", hex, state_name(r.state),
                   show_count((double)r.ready, ready), show_count((double)r.waiting, waiting), r.granted,
                   show_count((double)r.executed, done), show_time((double)r.age_us / 1e6, age), r.label);
    }
    if (all != NULL)
        print_json(all);
}

void show_job(const struct job_row *r)
{
    char hex[ID_HEX_MAX], age[SHORT_MAX], bytes[SHORT_MAX];
    if (common.json) {
        print_json(json_job(r));
        return;
    }
    id_hex(r->id, hex);
    printf("job       %s\nstate     %s\n", hex, state_name(r->state));
    if (r->reason[0] != '\0')
        printf("reason    %s\n", r->reason);
    if (r->function[0] != '\0')
        printf("function  %s\n", r->function);
    if (r->label[0] != '\0')
        printf("label     %s\n", r->label);
    printf("owner     %s\n", r->owner);
    printf("tasks     %" PRIu64 " done, %" PRIu64 " running, %" PRIu64 " ready, %" PRIu64 " waiting\n",
           r->executed, r->granted, r->ready, r->waiting);
    printf("commits   %" PRIu64 ", %" PRIu64 " duplicates\n", r->commits, r->duplicates);
    printf("computed  %.3f s\nmemory    %s\nage       %s\n", (double)r->busy_ns / 1e9,
           show_bytes(r->bytes, bytes), show_time((double)r->age_us / 1e6, age));
    if (r->has_min)
        printf("bound     %" PRId64 " (min)\n", r->best_min);
    if (r->has_max)
        printf("bound     %" PRId64 " (max)\n", r->best_max);
}

static cJSON *json_producer(const struct producer_row *r)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", r->name);
    cJSON_AddStringToObject(o, "arch", r->arch);
    cJSON_AddNumberToObject(o, "threads", r->threads);
    cJSON_AddNumberToObject(o, "window", r->window);
    cJSON_AddNumberToObject(o, "running", r->granted);
    cJSON_AddNumberToObject(o, "commits", (double)r->commits);
    cJSON_AddNumberToObject(o, "executed", (double)r->executed);
    cJSON_AddNumberToObject(o, "busy_s", (double)r->busy_ns / 1e9);
    cJSON_AddNumberToObject(o, "age_s", (double)r->age_us / 1e6);
    return o;
}

void show_producers(const struct buf *rows)
{
    char done[SHORT_MAX], age[SHORT_MAX];
    cJSON *all = common.json ? cJSON_CreateArray() : NULL;
    if (all == NULL)
        printf("%-24s %-8s %7s %7s %8s %10s %8s\n", "PRODUCER", "ARCH", "THREADS", "RUNNING", "DONE",
               "COMPUTED", "AGE");
    EACH_ROW(struct producer_row, r, rows)
    {
        if (all != NULL)
            cJSON_AddItemToArray(all, json_producer(&r));
        else
            printf("%-24s %-8s %7u %7u %8s %9.1fs %8s\n", r.name, r.arch, r.threads, r.granted,
                   show_count((double)r.executed, done), (double)r.busy_ns / 1e9,
                   show_time((double)r.age_us / 1e6, age));
    }
    if (all != NULL)
        print_json(all);
}

static cJSON *json_server(const struct server_row *r)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"jobs", r->jobs},       {"tasks", r->tasks},     {"ready", r->ready},
                   {"waiting", r->waiting}, {"running", r->granted}, {"producers", r->producers},
                   {"threads", r->threads}, {"memory", r->memory},   {"memory_max", r->memory_max},
                   {"log_written", r->lsn}, {"log_held", r->held}};
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", r->name);
    cJSON_AddStringToObject(o, "network", r->network);
    cJSON_AddStringToObject(o, "software", r->software);
    cJSON_AddBoolToObject(o, "journal", r->journal);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        cJSON_AddNumberToObject(o, numbers[i].name, (double)numbers[i].value);
    cJSON_AddNumberToObject(o, "age_s", (double)r->age_us / 1e6);
    return o;
}

void show_server(const struct buf *rows)
{
    char memory[SHORT_MAX], memory_max[SHORT_MAX], age[SHORT_MAX];
    EACH_ROW(struct server_row, r, rows)
    {
        if (common.json) {
            print_json(json_server(&r));
            return; /* one document */
        }
        printf("server     %s of network %s (%s)\n", r.name, r.network, r.software);
        printf("producers  %" PRIu64 " with %" PRIu64 " threads\n", r.producers, r.threads);
        printf("jobs       %" PRIu64 "\n", r.jobs);
        printf("tasks      %" PRIu64 ": %" PRIu64 " running, %" PRIu64 " ready, %" PRIu64 " waiting\n",
               r.tasks, r.granted, r.ready, r.waiting);
        printf("memory     %s of %s\n", show_bytes(r.memory, memory), show_bytes(r.memory_max, memory_max));
        printf("journal    %s\n", r.journal ? "yes" : "no");
        printf("up         %s\n", show_time((double)r.age_us / 1e6, age));
    }
}

static cJSON *json_network(const struct network_row *r)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "network", r->network);
    cJSON_AddStringToObject(o, "address", r->address);
    cJSON_AddStringToObject(o, "arch", r->arch);
    cJSON_AddBoolToObject(o, "alive", r->alive);
    cJSON_AddNumberToObject(o, "producers", r->producers);
    cJSON_AddNumberToObject(o, "threads", r->threads);
    cJSON_AddNumberToObject(o, "price", r->price);
    cJSON_AddNumberToObject(o, "ready", (double)r->ready);
    cJSON_AddNumberToObject(o, "running", (double)r->granted);
    cJSON_AddNumberToObject(o, "jobs", (double)r->jobs);
    cJSON_AddNumberToObject(o, "age_s", (double)r->age_ms / 1e3);
    return o;
}

void show_networks(const struct buf *rows)
{
    char ready[SHORT_MAX];
    cJSON *all = common.json ? cJSON_CreateArray() : NULL;
    if (all == NULL)
        printf("%-16s %-24s %-6s %9s %7s %7s %7s %6s\n", "NETWORK", "ADDRESS", "ALIVE", "PRODUCERS",
               "THREADS", "READY", "RUNNING", "JOBS");
    EACH_ROW(struct network_row, r, rows)
    {
        if (all != NULL)
            cJSON_AddItemToArray(all, json_network(&r));
        else
            printf("%-16s %-24s %-6s %9u %7u %7s %7" PRIu64 " %6" PRIu64 "\n", r.network, r.address,
                   r.alive ? "yes" : "no", r.producers, r.threads, show_count((double)r.ready, ready),
                   r.granted, r.jobs);
    }
    if (all != NULL)
        print_json(all);
}
