/* Which certified names may serve which network, as the operator wrote it: "NETWORK=NAME,NAME;NETWORK=NAME".
 */
#ifndef BROKER_CORE_POLICY_H
#define BROKER_CORE_POLICY_H

#include "base/bytes.h"

enum policy_answer { POLICY_SILENT, POLICY_LISTED, POLICY_OTHERS };

/* SILENT: it does not speak of that network. NULL is silent of all. */
enum policy_answer policy_ask(const char *policy, const char *network, const char *name);
/* Calls take with each name that is listed for the network, until that says true; true if it did. */
bool policy_names(const char *policy, const char *network, bool (*take)(void *ctx, const char *name),
                  void *ctx);
/* False: malformed. An empty policy is well formed. */
bool policy_valid(const char *policy);

/* A name of a network or a server: 1 to 63 letters, digits, '.', '-', '_'. */
bool bk_name_valid(struct bytes name);

#endif
