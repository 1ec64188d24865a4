/* Drives a fuzz target without a fuzzer: replays its corpus, then a fixed number of mutations of each seed,
 * so that every `make test` exercises it the same way. `make fuzz` links the targets with libFuzzer instead.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEED_BYTES_MAX = 1 << 20 };
static uint64_t state = 88172645463325252u;
static unsigned long runs;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* A copy of exact size, so that a sanitizer sees a read past the end. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

static size_t mutate(uint8_t *data, size_t size)
{
    for (uint64_t changes = 1 + next_random() % 4; changes && size; changes--) {
        size_t at = next_random() % size;
        switch (next_random() % 5) {
        case 0:
            data[at] ^= (uint8_t)(1u << next_random() % 8);
            break;
        case 1:
            data[at] = (uint8_t)next_random();
            break;
        case 2:
            data[at] = next_random() % 2 ? 0xff : 0;
            break;
        case 3:
            size = at;
            break;
        default:
            memmove(data + at, data + next_random() % (at + 1), size - at);
        }
    }
    return size;
}

static void run_seed(const char *path, unsigned mutations)
{
    static uint8_t seed[SEED_BYTES_MAX], work[SEED_BYTES_MAX];
    FILE *f = fopen(path, "rb");
    if (!f)
        return;
    size_t size = fread(seed, 1, sizeof seed, f);
    fclose(f);
    run(seed, size);
    for (unsigned i = 0; i < mutations; i++) {
        memcpy(work, seed, size);
        run(work, mutate(work, size));
    }
}

int main(int argc, char **argv)
{
    unsigned mutations = argc > 2 ? (unsigned)atoi(argv[2]) : 2000;
    DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
    run((const uint8_t *)"", 0);
    for (struct dirent *d; dir && (d = readdir(dir));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], d->d_name);
        if (d->d_name[0] != '.')
            run_seed(path, mutations);
    }
    if (dir)
        closedir(dir);
    printf("%lu inputs\n1 passed, 0 failed\n", runs);
    return 0;
}
