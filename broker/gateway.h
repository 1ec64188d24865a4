/* etcd's HTTP gateway: one JSON request, one JSON answer, at whichever member of the cluster answers first.
 * It blocks; for a worker's thread. */
#ifndef BROKER_GATEWAY_H
#define BROKER_GATEWAY_H

#include <cjson/cJSON.h>

struct gateway;

#define GATEWAY_WHY_MAX 256

/* urls: a comma list, http://HOST:PORT or https://HOST:PORT each. CX_EINVAL: it is none; why says so. */
int gateway_new(const char *urls, struct gateway **out, char *why);
void gateway_free(struct gateway *g);
/* Posts to PATH ("/v3/kv/txn") at one member after the other, beginning with the one that answered last,
 * about a second each. *answer: to be deleted. CX_ENONET: nobody answered, so nobody knows whether it was
 * carried out; why says what the last one did. Requests must bear to be carried out twice: compare-and-set
 * does. */
int gateway_post(struct gateway *g, const char *path, const cJSON *request, cJSON **answer, char *why);

#endif
