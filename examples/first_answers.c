/* first_answers.c: asks a running grid one real request of every task over HTTP and prints a line each.
 *
 *     first_answers http://127.0.0.1:8080
 *
 * It is what `make run` shows, and an example of a client in C: libcurl for the wire, jansson for the
 * JSON.  A task that no expert serves prints the line that says how to add a model. */
#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct request {
    const char *title, *path, *expert, *text, *extra; /* extra: more JSON fields, or "" */
} request;

static const request requests[] = {
    {"intent", "/v1/classify", "intent", "please freeze my account, I lost my card", ""},
    {"sentiment", "/v1/classify", "sentiment", "a gorgeous, witty, seductive movie", ""},
    {"topic", "/v1/classify", "topic", "Shares of chip makers fall after weak quarterly results", ""},
    {"question type", "/v1/classify", "question-type", "How far is it from Denver to Aspen?", ""},
    {"moderate", "/v1/moderations", "", "You are a stupid idiot and nobody likes you", ""},
    {"extract", "/v1/extract", "", "Write to anna@example.org or call +44 20 7946 0958; card 4111 1111 1111 1111.", ""},
    {"detect-language", "/v1/detect-language", "", "Wo finde ich den n\xC3\xA4""chsten Bahnhof?", ""},
    {"summarize", "/v1/summarize", "", "The city council met on Tuesday to discuss the new bridge. Several residents "
     "complained about noise. The mayor said that the bridge would cut the average commute by twenty minutes and "
     "create four hundred jobs. A vote is expected in March. Coffee was served afterwards.", ", \"max_sentences\": 1"},
    {"answer", "/v1/answer", "", "What would the bridge cut?", ", \"context\": \"The mayor said that the bridge would cut the average commute by "
     "twenty minutes. A vote is expected in March.\""},
    {"rerank", "/v1/rerank", "", "When is the vote?", ", \"documents\": [\"The bridge would create four hundred jobs.\", \"A vote is expected in March.\"]"},
    {"translate", "/v1/translate", "", "Where is the station?", ", \"to\": \"fr\""},
    {"generate", "/v1/chat/completions", "", "Write a short poem about the sea.", ""},
    {"embed", "/v1/embeddings", "", "a cat sits on the windowsill", ""},
};

typedef struct text {
    char *data;
    size_t len;
} text;

static size_t collect(char *bytes, size_t size, size_t n, void *arg) {
    text *t = arg;
    char *grown = realloc(t->data, t->len + size * n + 1);
    if (!grown) return 0;
    t->data = grown;
    memcpy(t->data + t->len, bytes, size * n);
    t->len += size * n;
    t->data[t->len] = 0;
    return size * n;
}

static json_t *body_of(const request *r) {
    json_t *body;
    if (strstr(r->path, "chat"))
        body = json_pack("{s:s, s:i, s:[{s:s, s:s}]}", "model", "auto", "max_tokens", 16, "messages", "role", "user",
                         "content", r->text);
    else
        body = json_pack("{s:s, s:s}", strstr(r->path, "rerank") ? "query" : "input", r->text, "model",
                         *r->expert ? r->expert : "auto");
    if (*r->extra) {
        char more[384];
        snprintf(more, sizeof more, "{%s}", r->extra + 1);
        json_t *extra = json_loads(more, 0, NULL);
        json_object_update(body, extra);
        json_decref(extra);
    }
    return body;
}

/* What the answer says, as one short text; the caller frees it. */
static char *words_of(const request *r, const json_t *answer) {
    char out[512] = "", *p = out, *end = out + sizeof out;
    const json_t *v;
    size_t i;
    if ((v = json_object_get(answer, "entities")))
        for (i = 0; i < json_array_size(v) && p < end - 1; i++)
            p += snprintf(p, (size_t)(end - p), "%s%s: %s", i ? ", " : "",
                          json_string_value(json_object_get(json_array_get(v, i), "label")),
                          json_string_value(json_object_get(json_array_get(v, i), "text")));
    else if ((v = json_object_get(answer, "categories")))
        snprintf(out, sizeof out, "%s (toxicity %.2f)",
                 json_is_true(json_object_get(answer, "flagged")) ? "flagged" : "not flagged",
                 json_number_value(json_object_get(v, "toxicity")));
    else if ((v = json_array_get(json_object_get(answer, "results"), 0)))
        snprintf(out, sizeof out, "document %d first (%.3f)", 1 + (int)json_integer_value(json_object_get(v, "index")),
                 json_number_value(json_object_get(v, "score")));
    else if ((v = json_object_get(answer, "answer")) && json_is_string(v))
        snprintf(out, sizeof out, "%s", json_string_value(v));
    else
        snprintf(out, sizeof out, "%s",
                 json_is_string(json_object_get(answer, "label")) ? json_string_value(json_object_get(answer, "label"))
                                                                  : "(abstained)");
    (void)r;
    return strdup(out);
}

static void print_answer(const request *r, const json_t *answer) {
    const json_t *confidence = json_object_get(answer, "confidence");
    char shown[16] = "-", *words = words_of(r, answer);
    if (json_is_number(confidence)) snprintf(shown, sizeof shown, "%.3f", json_number_value(confidence));
    printf("%-16s %-14s %-6s %10s %9.3f  %s\n", r->title, json_string_value(json_object_get(answer, "expert")),
           json_string_value(json_object_get(answer, "tier")), shown,
           json_number_value(json_object_get(answer, "latency_ms")), words ? words : "");
    free(words);
}

/* The answer object: results[0], `nanogrid` of a chat, or `nanogrid` beside OpenAI's moderation fields. */
static const json_t *answer_of(const json_t *root) {
    const json_t *own = json_object_get(root, "nanogrid"), *first = json_array_get(json_object_get(root, "results"), 0);
    if (json_is_array(own)) own = json_array_get(own, 0);
    if (!own) own = json_object_get(first, "nanogrid");
    return own ? own : first;
}

/* 0 answered, 1 not served (told how to add a model), 2 failed. */
static int ask(CURL *curl, const char *base, const request *r) {
    char url[512];
    text reply = {0};
    json_t *body = body_of(r);
    char *json = json_dumps(body, JSON_COMPACT);
    snprintf(url, sizeof url, "%s%s", base, r->path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, json);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply);
    CURLcode code = curl_easy_perform(curl);
    json_t *root = reply.data ? json_loadb(reply.data, reply.len, 0, NULL) : NULL;
    const char *why = json_string_value(json_object_get(json_object_get(root, "error"), "message"));
    const json_t *answer = answer_of(root);
    const json_t *vector = json_object_get(json_array_get(json_object_get(root, "data"), 0), "embedding"); /* OpenAI's form has no more */
    int result = 2;
    if (code) printf("%-16s %s\n", r->title, curl_easy_strerror(code));
    else if (answer) print_answer(r, answer), result = 0;
    else if (vector)
        printf("%-16s %-14s %-6s %10s %9s  %zu numbers\n", r->title, "embed", "nano", "-", "-",
               json_array_size(vector)),
            result = 0;
    else if (why) printf("%-16s not served: %s\n", r->title, why), result = 1;
    else printf("%-16s unreadable reply: %.80s\n", r->title, reply.data ? reply.data : "");
    free(json);
    json_decref(body);
    json_decref(root);
    free(reply.data);
    return result;
}

int main(int argc, char **argv) {
    CURL *curl = argc == 2 ? curl_easy_init() : NULL;
    if (!curl) {
        fprintf(stderr, "usage: first_answers http://HOST:PORT\n");
        return 2;
    }
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(headers, "x-nanogrid-debug: true");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 60L);
    printf("%-16s %-14s %-6s %10s %9s  %s\n", "TASK", "EXPERT", "TIER", "CONFIDENCE", "MS", "ANSWER");
    int answered = 0, failed = 0, n = (int)(sizeof requests / sizeof requests[0]);
    for (int i = 0; i < n; i++) {
        int result = ask(curl, argv[1], &requests[i]);
        answered += result == 0;
        failed += result == 2;
    }
    printf("%d of %d tasks answered on this device\n", answered, n);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return failed || !answered;
}
