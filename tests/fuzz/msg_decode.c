/* The message decoder takes anything; what it accepts encodes again, and decodes to the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "proto/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[MSG_TEXT_MAX] = "";
    cx_Msg first, second;
    int e = msg_decode(bytes_of(data, size), &first, text);
    if (e != 0) {
        must((e == CX_EPROTO || e == CX_ELIMIT) && text[0] && strlen(text) < MSG_TEXT_MAX);
        return 0;
    }
    struct buf once = {0}, twice = {0};
    msg_encode(&first, &once);
    must(msg_decode(buf_bytes(&once), &second, text) == 0);
    msg_encode(&second, &twice);
    must(bytes_equal(buf_bytes(&once), buf_bytes(&twice)));
    buf_free(&once);
    buf_free(&twice);
    return 0;
}
