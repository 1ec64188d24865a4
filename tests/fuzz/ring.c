/* The ring's reader against a hostile writer: the input is the ring's content and a list of heads. Nothing is
 * read outside, nothing grows beyond the limit, and an error is for ever. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "base/ring.h"

#define SIZE        1024u
#define MESSAGE_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ring_shared *s = aligned_alloc(64, ring_bytes(SIZE));
    struct ring_reader r;
    struct buf out = {0};
    must(s);
    memset(s, 0, ring_bytes(SIZE));
    ring_reader_init(&r, s, SIZE, MESSAGE_MAX);
    int rc = 0;
    while (size >= 6) {
        uint32_t head;
        uint16_t fill;
        memcpy(&head, data, 4);
        memcpy(&fill, data + 4, 2);
        data += 6, size -= 6;
        size_t n = fill % SIZE < size ? fill % SIZE : size;
        memcpy(s->data + (SIZE - n) / 2, data, n);
        data += n, size -= n;
        /* Half of the heads are plausible: a little ahead of the tail. */
        atomic_store(&s->head, head & 1 ? head : r.tail + head % (SIZE + 1) / 4 * 4);
        buf_clear(&out);
        int now = ring_get(&r, &out);
        must(rc >= 0 || now == rc);
        must(out.len <= MESSAGE_MAX && r.part.len <= MESSAGE_MAX);
        rc = now < 0 ? now : 0;
        ring_release(&r);
    }
    ring_reader_free(&r);
    buf_free(&out);
    free(s);
    return 0;
}
