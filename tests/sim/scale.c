/* A model of how CX scales: up to 10,000 producers and 64 pairs of servers (128 shards), in virtual time.
 *
 *     scale                     a small network; asserts what must hold (a test)
 *     scale SIZE...             networks of so many producers
 *     scale --full              10, 100, 1,000 and 10,000 producers
 *     --json                    one JSON object instead of the table; --svg FILE: the plot
 *
 * The servers are the real thing: every shard is taskserver/core as it is shipped, with its stealing, and
 * every message that it gives is delivered, late. Modelled are the rest: a producer is a few lines
 * (scale-run.h) that keep its threads busy with the grants it holds, and ask for two a thread, as limited
 * commitment comes to for tasks of a second; producer/core with its seats, runners, rings, bundles and
 * measured round trips decides nothing more where a task is a second long, and ten thousand of it would cost
 * more than the 128 servers that are the question. Replication is modelled by its latency only: what a shard
 * logs is held one flush and one round trip to the sibling later; nothing of it is counted as a message. No
 * server dies here: net-sim and pair-sim are for that. Nor does a message, a grant or a commit cost a server
 * time: bench is for that.
 *
 * Producers have 1 to 4 threads and are 1 to 50 ms away (one way) from a server that is drawn at random; they
 * stay 20 minutes in the mean, then they go with what they run (one in four without a word), and others come.
 * Shards are 50 ms from each other, siblings too. JOBS trees, whose leaves are tasks of 3/4 to 5/4 s, enter
 * at one shard of an idle network; every task is a commit of its own (no collapse). There is as much work for
 * a thread at every size (weak scaling).
 *
 * efficiency = work of all tasks, each counted once / threads present x time from submission to last result.
 */
#include <time.h>

#include "tests/sim/scale-run.h"

/* Leaves a place, which has two and a half threads in the mean: 250 are 100 s of work a thread. */
enum { SIZES_MAX = 16, LEAVES = 250, SMALL = 200, SMALL_PAIRS = 4, SMALL_LEAVES = 40 };

struct figures {
    uint32_t producers, pairs;
    uint64_t tasks;
    double seconds, thread_s, efficiency, with_producers, between, between_bytes, cpu_s;
    uint64_t duplicates, lost;
};

static double cpu_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static uint32_t pairs_of(uint32_t producers)
{
    uint32_t pairs = (producers * 64 + 5000) / 10000;
    return pairs ? pairs : 1;
}

static void jobs_run(struct world *w)
{
    uint64_t limit = w->now + IDLE_US + 100 * (uint64_t)JOBS * (uint64_t)w->leaves * SECOND / w->places;
    world_until(w, w->now + IDLE_US);
    threads_change(w, 0);
    w->start_us = w->now;
    w->to_producers = w->from_producers = w->between = 0;
    for (uint32_t i = 0; i < JOBS; i++)
        job_submit(w, i);
    while (w->done < JOBS) {
        if (w->now > limit)
            broken(w, "the jobs do not end");
        world_until(w, w->now + SECOND);
    }
}

/* Duplicates: leaves that ran to their end more than once. Lost: runs that their producer took with it. */
static struct figures measure(uint32_t producers, uint32_t pairs, int64_t leaves)
{
    struct world w;
    double began = cpu_s();
    uint64_t end_us = 0;
    world_open(&w, producers, pairs, leaves * producers / JOBS);
    jobs_run(&w);
    for (uint32_t i = 0; i < JOBS; i++)
        end_us = w.job[i].done_us > end_us ? w.job[i].done_us : end_us;
    struct figures f = {.producers = producers,
                        .pairs = pairs,
                        .tasks = JOBS * tree_tasks(w.leaves),
                        .seconds = (double)(end_us - w.start_us) / 1e6,
                        .thread_s = w.thread_s,
                        .efficiency = work_s(&w) / w.thread_s,
                        .duplicates = w.leaves_run - JOBS * (uint64_t)w.leaves,
                        .lost = w.lost};
    f.with_producers = (double)(w.to_producers + w.from_producers) / (double)f.tasks;
    f.between = (double)w.between / (double)f.tasks;
    f.between_bytes = (double)w.between_bytes / (double)f.tasks;
    world_close(&w);
    f.cpu_s = cpu_s() - began;
    return f;
}

/* ---- Saying it ---- */

static void print_head(void)
{
    puts("producers  pairs      tasks  threads  seconds  efficiency  duplicates  lost  messages a task:");
    puts("                                                                         with producers  between "
         "shards (bytes)  cpu s");
}

static void print_row(const struct figures *f)
{
    printf("%9u %6u %10llu %8.0f %8.1f %11.3f %11llu %5llu %15.2f %15.3f %7.0f %6.1f\n", f->producers,
           f->pairs, (unsigned long long)f->tasks, f->thread_s / f->seconds, f->seconds, f->efficiency,
           (unsigned long long)f->duplicates, (unsigned long long)f->lost, f->with_producers, f->between,
           f->between_bytes, f->cpu_s);
    fflush(stdout);
}

static void print_json(const struct figures *f, uint32_t n)
{
    printf("{\"sizes\":[");
    for (uint32_t i = 0; i < n; i++)
        printf("%s{\"producers\":%u,\"pairs\":%u,\"tasks\":%llu,\"threads\":%.0f,\"seconds\":%.2f,"
               "\"efficiency\":%.4f,\"duplicates\":%llu,\"lost\":%llu,\"messages_producers\":%.3f,"
               "\"messages_shards\":%.4f,\"cpu_s\":%.1f}",
               i ? "," : "", f[i].producers, f[i].pairs, (unsigned long long)f[i].tasks,
               f[i].thread_s / f[i].seconds, f[i].seconds, f[i].efficiency,
               (unsigned long long)f[i].duplicates, (unsigned long long)f[i].lost, f[i].with_producers,
               f[i].between, f[i].cpu_s);
    puts("]}");
}

/* ---- The plot: two panels over one axis of sizes ---- */

enum { WIDTH = 760, HEIGHT = 470, LEFT = 64, RIGHT = 590, BOTTOM = 410 };

struct panel {
    double top, bottom, most; /* most: the value at the top */
    const char *title;
};

static double plot_x(uint32_t producers)
{
    return LEFT + 20 + (log10(producers) - 1) / 3 * (RIGHT - LEFT - 40);
}
static double plot_y(const struct panel *p, double value)
{
    return p->bottom - value / p->most * (p->bottom - p->top);
}

static void svg_text(FILE *out, double x, double y, const char *anchor, const char *colour, const char *text)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\" font-size=\"12\">%s</text>\n", x,
            y, anchor, colour, text);
}

static void svg_rule(FILE *out, double x1, double y1, double x2, double y2, const char *colour)
{
    fprintf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x1, y1, x2, y2,
            colour);
}

static void svg_frame(FILE *out, const struct panel *p, uint32_t steps)
{
    char text[32];
    svg_text(out, LEFT, p->top - 10, "start", "#222", p->title);
    for (uint32_t i = 0; i <= steps; i++) {
        double value = p->most * i / steps, y = plot_y(p, value);
        svg_rule(out, LEFT, y, RIGHT, y, "#ddd");
        snprintf(text, sizeof text, "%g", value);
        svg_text(out, LEFT - 6, y + 4, "end", "#222", text);
    }
    for (uint32_t size = 10; size <= 10000; size *= 10)
        svg_rule(out, plot_x(size), p->top, plot_x(size), p->bottom, "#eee");
}

struct curve {
    const char *name, *colour;
    double value[SIZES_MAX];
};

static void svg_curve(FILE *out, const struct panel *p, const struct curve *c, const struct figures *f,
                      uint32_t n)
{
    char text[32];
    fprintf(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2.4\" points=\"", c->colour);
    for (uint32_t i = 0; i < n; i++)
        fprintf(out, "%.1f,%.1f ", plot_x(f[i].producers), plot_y(p, c->value[i]));
    fputs("\"/>\n", out);
    for (uint32_t i = 0; i < n; i++) {
        double x = plot_x(f[i].producers), y = plot_y(p, c->value[i]);
        fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", x, y, c->colour);
        snprintf(text, sizeof text, "%.2f", c->value[i]);
        svg_text(out, x, y + (y - p->top < 18 ? 16 : -8), "middle", c->colour, text);
    }
    svg_text(out, RIGHT + 12, plot_y(p, c->value[n - 1]) + 4, "start", c->colour, c->name);
}

static bool svg_write(const char *path, const struct figures *f, uint32_t n)
{
    struct panel above = {60, 210, 1, "efficiency: work / (threads present x time)"};
    struct panel below = {260, BOTTOM, 3, "messages a task"};
    struct curve efficiency = {.name = "efficiency", .colour = "#b3001b"};
    struct curve producers = {.name = "server and producer", .colour = "#1971c2"};
    struct curve shards = {.name = "between shards", .colour = "#2b8a3e"};
    char text[32];
    FILE *out = fopen(path, "w");
    if (!out)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        efficiency.value[i] = f[i].efficiency;
        producers.value[i] = f[i].with_producers;
        shards.value[i] = f[i].between;
    }
    fprintf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
        "font-family=\"sans-serif\">\n<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n"
        "<text x=\"%d\" y=\"24\" fill=\"#222\" font-size=\"15\">Tasks of a second that enter at one shard "
        "(model, virtual time)</text>\n",
        WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT);
    svg_frame(out, &above, 4);
    svg_frame(out, &below, 3);
    svg_curve(out, &above, &efficiency, f, n);
    svg_curve(out, &below, &producers, f, n);
    svg_curve(out, &below, &shards, f, n);
    for (uint32_t i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%u", f[i].producers);
        svg_text(out, plot_x(f[i].producers), BOTTOM + 18, "middle", "#222", text);
        snprintf(text, sizeof text, "%u shards", 2 * f[i].pairs);
        svg_text(out, plot_x(f[i].producers), BOTTOM + 33, "middle", "#666", text);
    }
    svg_text(out, (LEFT + RIGHT) / 2.0, HEIGHT - 8, "middle", "#222",
             "producers of 1 to 4 threads (log axis)");
    fputs("</svg>\n", out);
    return fclose(out) == 0;
}

/* The small network, as a test: what must hold is asserted on the way, and that it spread is checked here. */
static int test(void)
{
    struct figures f = measure(SMALL, SMALL_PAIRS, SMALL_LEAVES);
    bool spread = f.efficiency > 0.5; /* one shard alone has an eighth of the threads */
    print_head();
    print_row(&f);
    printf("%d passed, %d failed\n", spread, !spread);
    return !spread;
}

struct words {
    uint32_t size[SIZES_MAX], sizes;
    bool json;
    const char *svg;
};

static bool words_of(int argc, char **argv, struct words *words)
{
    static const uint32_t full[] = {10, 100, 1000, 10000};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            words->json = true;
        } else if (strcmp(argv[i], "--svg") == 0 && i + 1 < argc) {
            words->svg = argv[++i];
        } else if (strcmp(argv[i], "--full") == 0 && !words->sizes) {
            memcpy(words->size, full, sizeof full);
            words->sizes = sizeof full / sizeof full[0];
        } else if (words->sizes < SIZES_MAX && atoi(argv[i]) > 0 && atoi(argv[i]) <= 100000) {
            words->size[words->sizes++] = (uint32_t)atoi(argv[i]);
        } else {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct words words = {0};
    struct figures f[SIZES_MAX];
    if (!words_of(argc, argv, &words)) {
        fputs("usage: scale [--full | SIZE...] [--json] [--svg FILE]\n", stderr);
        return 2;
    }
    if (!words.sizes)
        return test();
    if (!words.json)
        print_head();
    for (uint32_t i = 0; i < words.sizes; i++) {
        f[i] = measure(words.size[i], pairs_of(words.size[i]), LEAVES);
        if (!words.json)
            print_row(&f[i]);
    }
    if (words.json)
        print_json(f, words.sizes);
    if (words.svg && !svg_write(words.svg, f, words.sizes)) {
        perror(words.svg);
        return 1;
    }
    return 0;
}
