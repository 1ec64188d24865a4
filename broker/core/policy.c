#include "broker/core/policy.h"

#include <string.h>

#include "broker/core/bk.h"

static bool name_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

bool bk_name_valid(struct bytes name)
{
    if (name.len == 0 || name.len > BK_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!name_char(name.data[i]))
            return false;
    return true;
}

/* Takes the name at *at and steps over it. */
static struct bytes take_name(const char **at)
{
    const char *from = *at;
    while (name_char((uint8_t) * *at))
        ++*at;
    return bytes_of(from, (size_t)(*at - from));
}

/* Takes one entry; *found tells whether it is about network, *listed whether it lists name. False: malformed.
 */
static bool take_entry(const char **at, struct bytes network, struct bytes name, bool *found, bool *listed)
{
    struct bytes head = take_name(at);
    if (!bk_name_valid(head) || *(*at)++ != '=')
        return false;
    bool same = bytes_equal(head, network);
    *found |= same;
    for (;;) {
        struct bytes one = take_name(at);
        if (!bk_name_valid(one))
            return false;
        *listed |= same && bytes_equal(one, name);
        if (**at != ',')
            return **at == 0 || **at == ';';
        ++*at;
    }
}

/* Walks the whole policy; false: malformed. */
static bool walk(const char *policy, struct bytes network, struct bytes name, bool *found, bool *listed)
{
    for (const char *at = policy; *at; at += *at == ';')
        if (!take_entry(&at, network, name, found, listed))
            return false;
    return true;
}

enum policy_answer policy_ask(const char *policy, const char *network, const char *name)
{
    bool found = false, listed = false;
    if (policy)
        walk(policy, bytes_str(network), bytes_str(name), &found, &listed);
    return listed ? POLICY_LISTED : found ? POLICY_OTHERS : POLICY_SILENT;
}

bool policy_names(const char *policy, const char *network, bool (*take)(void *ctx, const char *name),
                  void *ctx)
{
    char name[BK_NAME_MAX + 1];
    for (const char *at = policy ? policy : ""; *at; at += *at == ';') {
        bool same = bytes_equal(take_name(&at), bytes_str(network));
        for (at += *at == '='; *at && *at != ';'; at += *at == ',') {
            struct bytes one = take_name(&at);
            memcpy(name, one.data, one.len);
            name[one.len] = 0;
            if (same && take(ctx, name))
                return true;
        }
    }
    return false;
}

bool policy_valid(const char *policy)
{
    bool found = false, listed = false;
    return walk(policy, bytes_str(""), bytes_str(""), &found, &listed);
}
