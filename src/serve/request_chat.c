/* request_chat.c: the body of POST /v1/chat/completions (OpenAI's API reference, "Create chat
 * completion").  `top_k`, `min_p` and `repeat_penalty` are llama-server's names.  Messages become lists of
 * typed parts; every type is known by name, text alone is served. */
#include "serve/request.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

#define AT(member) offsetof(ng_chat_request, member)
#define REFUSED(name, ok)                                                                          \
    { name, NG_FIELD_REFUSED, 0, 0, 0, ok }

static const ng_field chat_fields[] = {
    {"model", NG_FIELD_STR, AT(model), 0, 0, NULL},
    {"messages", NG_FIELD_JSON, AT(json_messages), 0, 0, NULL},
    {"stream", NG_FIELD_BOOL, AT(stream), 0, 0, NULL},
    {"stream_options", NG_FIELD_JSON, AT(json_stream_options), 0, 0, NULL},
    {"max_tokens", NG_FIELD_U32, AT(max_tokens), 1, INT32_MAX, NULL},
    {"max_completion_tokens", NG_FIELD_U32, AT(max_completion_tokens), 1, INT32_MAX, NULL},
    {"n", NG_FIELD_U32, AT(n), 1, NG_CHOICES_MAX, NULL},
    {"seed", NG_FIELD_I64, AT(seed), 0, 0, NULL},
    {"stop", NG_FIELD_JSON, AT(json_stop), 0, 0, NULL},
    {"temperature", NG_FIELD_F32, AT(options.temp), 0, 2, NULL},
    {"top_p", NG_FIELD_F32, AT(options.top_p), FLT_MIN, 1, NULL},
    {"top_k", NG_FIELD_U32, AT(options.top_k), 0, 1000000, NULL},
    {"min_p", NG_FIELD_F32, AT(options.min_p), 0, 1, NULL},
    {"repeat_penalty", NG_FIELD_F32, AT(options.repeat_penalty), 0.1, 10, NULL},
    {"frequency_penalty", NG_FIELD_F32, AT(options.frequency_penalty), -2, 2, NULL},
    {"presence_penalty", NG_FIELD_F32, AT(options.presence_penalty), -2, 2, NULL},
    {"logprobs", NG_FIELD_BOOL, AT(logprobs), 0, 0, NULL},
    {"top_logprobs", NG_FIELD_U32, AT(top_logprobs), 0, 20, NULL},
    {"user", NG_FIELD_STR, AT(user), 0, 0, NULL},
    REFUSED("audio", NULL),
    REFUSED("function_call", "\"none\"\n\"auto\""),
    REFUSED("functions", NULL),
    REFUSED("logit_bias", NULL),
    REFUSED("metadata", NULL),
    REFUSED("modalities", "[\"text\"]"),
    REFUSED("parallel_tool_calls", "true"),
    REFUSED("prediction", NULL),
    REFUSED("prompt_cache_key", NULL),
    REFUSED("reasoning_effort", NULL),
    REFUSED("response_format", "{\"type\":\"text\"}"),
    REFUSED("safety_identifier", NULL),
    REFUSED("service_tier", "\"auto\"\n\"default\""),
    REFUSED("store", NULL),
    REFUSED("tool_choice", "\"none\"\n\"auto\""),
    REFUSED("tools", NULL),
    REFUSED("verbosity", NULL),
    REFUSED("web_search_options", NULL),
    {0}};

typedef struct stream_options {
    bool include_usage;
} stream_options;
static const ng_field stream_fields[] = {
    {"include_usage", NG_FIELD_BOOL, offsetof(stream_options, include_usage), 0, 0, NULL},
    REFUSED("include_obfuscation", NULL),
    {0}};

static bool read_part(ng_part *out, const json_t *v, const char *param, ng_problem *p) {
    const char *type = json_is_object(v) ? json_string_value(json_object_get(v, "type")) : NULL;
    if (!type)
        return ng_problem_set(p, 400, "invalid_type", param, "%s must be an object with a type",
                              param);
    if (strcmp(type, "text"))
        return ng_problem_set(p, 400, "unsupported_part", param,
                              "%s: parts of type '%.32s' are not served; only text is", param,
                              type);
    const char *key;
    json_t *field;
    json_object_foreach(
        (json_t *)v, key,
        field) if (strcmp(key, "type") &&
                   strcmp(key, "text")) return ng_problem_set(p, 400, "unknown_parameter", param,
                                                              "%s: unknown field '%.32s'", param,
                                                              key);
    const json_t *text = json_object_get(v, "text");
    if (!json_is_string(text))
        return ng_problem_set(p, 400, "invalid_type", param, "%s: text must be a string", param);
    *out = (ng_part){NG_PART_TEXT, json_string_value(text), json_string_length(text)};
    return true;
}

static bool read_content(ng_message *m, const json_t *v, const char *param, ng_arena *a,
                         ng_problem *p) {
    bool many = json_is_array(v);
    size_t n = many ? json_array_size(v) : 1;
    if (!json_is_string(v) && !many)
        return ng_problem_set(p, 400, "invalid_type", param,
                              "%s must be a string or an array of parts", param);
    if (!n) return ng_problem_set(p, 400, "empty_input", param, "%s must not be empty", param);
    ng_part *parts = ng_arena_array(a, n, sizeof *parts);
    if (!parts) return ng_problem_set(p, 503, NULL, NULL, "out of memory");
    for (size_t i = 0; many && i < n; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s[%zu]", param, i);
        if (!read_part(&parts[i], json_array_get(v, i), name, p)) return false;
    }
    if (!many) parts[0] = (ng_part){NG_PART_TEXT, json_string_value(v), json_string_length(v)};
    m->parts = parts;
    m->n_parts = n;
    return true;
}

static bool read_role(ng_message *m, const json_t *v, const char *param, ng_problem *p) {
    const char *role = json_string_value(v);
    if (!role) return ng_problem_set(p, 400, "invalid_type", param, "%s must be a string", param);
    if (!strcmp(role, "tool") || !strcmp(role, "function"))
        return ng_problem_set(p, 501, "not_supported", param,
                              "%s: '%s' messages are not supported by this server", param, role);
    if (!strcmp(role, "developer")) role = "system"; /* OpenAI's newer name for it */
    if (strcmp(role, "system") && strcmp(role, "user") && strcmp(role, "assistant"))
        return ng_problem_set(p, 400, "invalid_value", param,
                              "%s must be system, developer, user or assistant, not '%.32s'", param,
                              role);
    m->role = role;
    return true;
}

static bool read_message(ng_message *m, const json_t *v, size_t index, ng_arena *a, ng_problem *p) {
    char name[64];
    snprintf(name, sizeof name, "messages[%zu]", index);
    if (!json_is_object(v))
        return ng_problem_set(p, 400, "invalid_type", name, "%s must be an object", name);
    const char *key;
    json_t *field;
    json_object_foreach((json_t *)v, key, field) {
        bool known = !strcmp(key, "name") || !strcmp(key, "tool_calls") ||
                     !strcmp(key, "function_call") || !strcmp(key, "refusal") ||
                     !strcmp(key, "audio") || !strcmp(key, "tool_call_id") ||
                     !strcmp(key, "annotations");
        bool empty = json_is_null(field) || (json_is_array(field) && !json_array_size(field));
        if (!strcmp(key, "role") || !strcmp(key, "content") || (known && empty)) continue;
        snprintf(name, sizeof name, "messages[%zu].%.32s", index, key);
        return known ? ng_problem_set(p, 501, "not_supported", name,
                                      "%s is not supported by this server", name)
                     : ng_problem_set(p, 400, "unknown_parameter", name,
                                      "unrecognized request argument: %s", name);
    }
    snprintf(name, sizeof name, "messages[%zu].role", index);
    if (!read_role(m, json_object_get(v, "role"), name, p)) return false;
    snprintf(name, sizeof name, "messages[%zu].content", index);
    return read_content(m, json_object_get(v, "content"), name, a, p);
}

static bool read_messages(ng_chat_request *r, ng_arena *a, ng_problem *p) {
    const json_t *v = r->json_messages;
    if (!v) return ng_problem_set(p, 400, "missing_parameter", "messages", "messages is missing");
    if (!json_is_array(v))
        return ng_problem_set(p, 400, "invalid_type", "messages", "messages must be an array");
    size_t n = json_array_size(v);
    if (!n || n > NG_MESSAGES_MAX)
        return ng_problem_set(p, 400, "out_of_range", "messages",
                              "messages has %zu elements; 1 to %d are taken", n, NG_MESSAGES_MAX);
    r->messages = ng_arena_array(a, n, sizeof *r->messages);
    if (!r->messages) return ng_problem_set(p, 503, NULL, NULL, "out of memory");
    r->n_messages = n;
    bool user = false;
    for (size_t i = 0; i < n; i++) {
        if (!read_message(&r->messages[i], json_array_get(v, i), i, a, p)) return false;
        user |= !strcmp(r->messages[i].role, "user");
    }
    return user || ng_problem_set(p, 400, "invalid_value", "messages",
                                  "messages must hold one of the user");
}

static bool read_stop(ng_chat_request *r, ng_arena *a, ng_problem *p) {
    const json_t *v = r->json_stop;
    if (!v) return true;
    bool many = json_is_array(v);
    size_t n = many ? json_array_size(v) : 1;
    if (n > NG_STOPS_MAX)
        return ng_problem_set(p, 400, "out_of_range", "stop",
                              "stop has %zu elements; at most %d are taken", n, NG_STOPS_MAX);
    const char **stop = ng_arena_array(a, n ? n : 1, sizeof *stop);
    if (!stop) return ng_problem_set(p, 503, NULL, NULL, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const json_t *s = many ? json_array_get(v, i) : v;
        if (!json_is_string(s))
            return ng_problem_set(p, 400, "invalid_type", "stop",
                                  "stop must be a string or an array of strings");
        if (!json_string_length(s) || json_string_length(s) > NG_STOP_BYTES_MAX)
            return ng_problem_set(p, 400, "out_of_range", "stop",
                                  "stop: each text has 1 to %d bytes", NG_STOP_BYTES_MAX);
        stop[i] = json_string_value(s);
    }
    r->options.stop = stop;
    r->options.n_stop = n;
    return true;
}

static bool digest(ng_chat_request *r, ng_problem *p) {
    stream_options so = {0};
    if (r->json_stream_options) {
        if (!json_is_object(r->json_stream_options))
            return ng_problem_set(p, 400, "invalid_type", "stream_options",
                                  "stream_options must be an object");
        if (!r->stream)
            return ng_problem_set(p, 400, "invalid_value", "stream_options",
                                  "stream_options needs stream: true");
        if (!ng_fields_read(&so, r->json_stream_options, stream_fields, p)) return false;
    }
    r->include_usage = so.include_usage;
    if (r->max_tokens && r->max_completion_tokens && r->max_tokens != r->max_completion_tokens)
        return ng_problem_set(p, 400, "invalid_value", "max_tokens",
                              "max_tokens and max_completion_tokens differ; send one");
    uint32_t max = r->max_completion_tokens ? r->max_completion_tokens : r->max_tokens;
    r->options.n_predict = max ? max : NG_DEFAULT_MAX_TOKENS;
    if (r->top_logprobs && !r->logprobs)
        return ng_problem_set(p, 400, "invalid_value", "top_logprobs",
                              "top_logprobs needs logprobs: true");
    r->options.n_top = r->top_logprobs;
    r->has_seed = r->seed != INT64_MIN;
    r->options.seed = r->has_seed ? (uint64_t)r->seed : 0;
    return true;
}

bool ng_chat_request_read(ng_chat_request *out, const json_t *body, ng_arena *a, ng_problem *p) {
    *out = (ng_chat_request){.n = 1, .seed = INT64_MIN, .options = ng_generate_options_default()};
    if (!ng_fields_read(out, body, chat_fields, p) || !read_messages(out, a, p) ||
        !read_stop(out, a, p))
        return false;
    if (!out->model)
        return ng_problem_set(p, 400, "missing_parameter", "model",
                              "model is missing; \"auto\" lets the grid decide");
    return digest(out, p);
}
