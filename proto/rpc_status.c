#include <stdio.h>
#include <string.h>

#include "proto/internal.h"

struct status_row {
    int code;
    grpc_status_code status;
};

/* Both directions: from a code, the row with that code; from a status without a code in its text, the first
 * row with that status. */
static const struct status_row rows[] = {
    {CX_OK, GRPC_STATUS_OK},
    {CX_EPROTO, GRPC_STATUS_INVALID_ARGUMENT},
    {CX_EINVAL, GRPC_STATUS_INVALID_ARGUMENT},
    {CX_ELIMIT, GRPC_STATUS_RESOURCE_EXHAUSTED},
    {CX_EFULL, GRPC_STATUS_RESOURCE_EXHAUSTED},
    {CX_ENOMEM, GRPC_STATUS_RESOURCE_EXHAUSTED},
    {CX_ENONET, GRPC_STATUS_UNAVAILABLE},
    {CX_ETIMEOUT, GRPC_STATUS_DEADLINE_EXCEEDED},
    {CX_EAUTH, GRPC_STATUS_PERMISSION_DENIED},
    {CX_EAUTH, GRPC_STATUS_UNAUTHENTICATED},
    {CX_ENOTFOUND, GRPC_STATUS_NOT_FOUND},
    {CX_EEXIST, GRPC_STATUS_ALREADY_EXISTS},
    {CX_EVERSION, GRPC_STATUS_UNIMPLEMENTED},
    {CX_ECANCELLED, GRPC_STATUS_CANCELLED},
    {CX_EFAILED, GRPC_STATUS_FAILED_PRECONDITION},
    {CX_EIO, GRPC_STATUS_DATA_LOSS},
    {CX_EINTERNAL, GRPC_STATUS_INTERNAL},
};
#define ROWS (sizeof rows / sizeof rows[0])

grpc_status_code status_of(int code)
{
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].code == code)
            return rows[i].status;
    return GRPC_STATUS_INTERNAL;
}

grpc_slice status_text(int code, const char *why)
{
    char text[RPC_WHY_MAX + 32];
    snprintf(text, sizeof text, "%s: %s", cx_err_name(code), why);
    return grpc_slice_from_copied_string(text);
}

/* "CX_ELIMIT: text": the code, and in *rest what follows it; 1 when there is none. */
static int named_code(const char *text, const char **rest)
{
    size_t n = strcspn(text, ":");
    for (size_t i = 0; i < ROWS; i++) {
        const char *name = cx_err_name(rows[i].code);
        if (strlen(name) == n && strncmp(text, name, n) == 0 && text[n] == ':' && text[n + 1] == ' ') {
            *rest = text + n + 2;
            return rows[i].code;
        }
    }
    return 1;
}

/* What TLS says when one side does not accept the other's certificate; gRPC reports it as a connection that
 * could not be made, and trying again would not help. A handshake that merely broke off, because the other
 * side died in the middle of it, is not among these. */
static bool refused_by_tls(const char *text)
{
    static const char *const signs[] = {"certificate", "CERTIFICATE",       "Peer name",
                                        "alert",       "Cannot check peer", "SSL_ERROR_SSL"};
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
        if (strstr(text, signs[i]))
            return true;
    return false;
}

/* gRPC's text without the words that say nothing here: "failed to connect to all addresses; last error:
 * UNKNOWN: ipv4:127.0.0.1:7000: Connection refused" becomes "127.0.0.1:7000: Connection refused". */
static const char *shortened(const char *text)
{
    static const char *const schemes[] = {": ipv4:", ": ipv6:", ": dns:///"};
    if (strncmp(text, "failed to connect", 17) != 0)
        return NULL;
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        const char *at = strstr(text, schemes[i]);
        if (at)
            return at + strlen(schemes[i]);
    }
    return text;
}

static void describe(const char *text, const char *address, char *why)
{
    const char *reason = shortened(text);
    if (reason && strstr(reason, "Socket closed"))
        snprintf(why, RPC_WHY_MAX,
                 "%.100s: closed during the handshake; is it a CX daemon, and is your certificate of "
                 "its network's CA and valid?",
                 address);
    else if (reason)
        snprintf(why, RPC_WHY_MAX, "%.255s", reason);
    else
        snprintf(why, RPC_WHY_MAX, "%.100s: %.150s", address, text);
}

int status_code(grpc_status_code status, struct bytes details, const char *address, char *why)
{
    char text[1024];
    const char *rest = text;
    msg_str(text, sizeof text, details);
    if (status == GRPC_STATUS_OK) {
        why[0] = 0;
        return 0;
    }
    int code = named_code(text, &rest);
    if (code <= 0) {
        snprintf(why, RPC_WHY_MAX, "%.255s", rest);
        return code;
    }
    code = CX_ENONET; /* what is not listed is gRPC's or the network's, not the service's */
    for (size_t i = ROWS; i-- > 0;)
        if (rows[i].status == status)
            code = rows[i].code;
    if (code == CX_EINTERNAL || code == CX_ECANCELLED)
        code = CX_ENONET;
    if (code == CX_ENONET && refused_by_tls(text))
        code = CX_EAUTH;
    describe(text, address, why);
    return code;
}
