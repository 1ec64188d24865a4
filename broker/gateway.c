#include "broker/gateway.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addresses.h"
#include "base/bytes.h"
#include "base/must.h"
#include "cx/error.h"

enum {
    CONNECT_MS = 500,
    REQUEST_MS = 1000,
    ANSWER_MAX = 64 << 10, /* bytes; what is asked for here has a few hundred */
    URL_MAX_BYTES = 512,
    MEMBERS_MAX = 16,
};

struct gateway {
    CURL *curl; /* owned; keeps its connections */
    struct curl_slist *headers;
    char *urls; /* owned; a comma list */
    unsigned at, members;
    struct buf answer;
};

static size_t take(char *data, size_t size, size_t n, void *ctx)
{
    struct gateway *g = ctx;
    if (size * n > ANSWER_MAX - g->answer.len)
        return 0; /* ends the transfer */
    buf_add(&g->answer, data, size * n);
    return size * n;
}

static bool url_valid(const char *url)
{
    CURLU *parsed = curl_url();
    char *scheme = NULL;
    bool valid = parsed && !curl_url_set(parsed, CURLUPART_URL, url, 0) &&
                 !curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) &&
                 (!strcmp(scheme, "http") || !strcmp(scheme, "https"));
    curl_free(scheme);
    curl_url_cleanup(parsed);
    return valid;
}

static int check_urls(const char *urls, unsigned *members, char *why)
{
    char url[URL_MAX_BYTES];
    *members = addresses_count(urls);
    snprintf(why, GATEWAY_WHY_MAX, "must be up to %d of http://HOST:PORT, with commas between", MEMBERS_MAX);
    for (unsigned i = 0; i < *members; i++) {
        address_at(urls, i, url, sizeof url);
        if (!url_valid(url))
            return CX_EINVAL;
    }
    return *members && *members <= MEMBERS_MAX ? 0 : CX_EINVAL;
}

/* No proxy and no redirection: the witness talks to the members it was told, to nobody else. */
static void set_options(struct gateway *g)
{
    curl_easy_setopt(g->curl, CURLOPT_NOSIGNAL, 1L); /* there are other threads */
    curl_easy_setopt(g->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(g->curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(g->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(g->curl, CURLOPT_TIMEOUT_MS, (long)REQUEST_MS);
    curl_easy_setopt(g->curl, CURLOPT_HTTPHEADER, g->headers);
    curl_easy_setopt(g->curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(g->curl, CURLOPT_WRITEDATA, g);
}

int gateway_new(const char *urls, struct gateway **out, char *why)
{
    unsigned members;
    must(curl_global_init(CURL_GLOBAL_ALL) == 0); /* counts; before there are threads */
    if (check_urls(urls, &members, why)) {
        curl_global_cleanup();
        return CX_EINVAL;
    }
    struct gateway *g = calloc(1, sizeof *g);
    must(g);
    g->urls = strdup(urls);
    g->members = members;
    g->curl = curl_easy_init();
    g->headers = curl_slist_append(NULL, "Content-Type: application/json");
    must(g->urls && g->curl && g->headers);
    set_options(g);
    *out = g;
    return 0;
}

void gateway_free(struct gateway *g)
{
    if (!g)
        return;
    curl_easy_cleanup(g->curl);
    curl_slist_free_all(g->headers);
    curl_global_cleanup();
    free(g->urls);
    buf_free(&g->answer);
    free(g);
}

/* One member. */
static int post(struct gateway *g, const char *member, const char *path, const char *body, cJSON **answer,
                char *why)
{
    char url[URL_MAX_BYTES + 64];
    long status = 0;
    size_t len = strlen(member);
    len -= len && member[len - 1] == '/';
    snprintf(url, sizeof url, "%.*s%s", (int)len, member, path);
    buf_clear(&g->answer);
    curl_easy_setopt(g->curl, CURLOPT_URL, url);
    curl_easy_setopt(g->curl, CURLOPT_POSTFIELDS, body);
    CURLcode code = curl_easy_perform(g->curl);
    if (code) {
        snprintf(why, GATEWAY_WHY_MAX, "%.100s: %s", member, curl_easy_strerror(code));
        return CX_ENONET;
    }
    curl_easy_getinfo(g->curl, CURLINFO_RESPONSE_CODE, &status);
    cJSON *json = cJSON_ParseWithLength((const char *)g->answer.data, g->answer.len);
    if (status == 200 && json) {
        *answer = json;
        return 0;
    }
    const char *error = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "error"));
    snprintf(why, GATEWAY_WHY_MAX, "%.100s: status %ld: %.100s", member, status,
             error ? error : "not an answer of etcd's");
    cJSON_Delete(json);
    return CX_ENONET;
}

int gateway_post(struct gateway *g, const char *path, const cJSON *request, cJSON **answer, char *why)
{
    char member[URL_MAX_BYTES];
    char *body = cJSON_PrintUnformatted(request);
    int code = CX_ENONET;
    must(body);
    for (unsigned tried = 0; code && tried < g->members; tried++) {
        address_at(g->urls, g->at, member, sizeof member);
        code = post(g, member, path, body, answer, why);
        if (code)
            g->at = (g->at + 1) % g->members;
    }
    cJSON_free(body);
    return code;
}
