/* request_task.c: the bodies that hold texts: the task API (DESIGN 4), OpenAI's embeddings and
 * moderations, /v1/rerank, /v1/route and pipelines, and /v1/feedback about what came of them.  One table of fields
 * a body; a task's own parameters stand in its table alone, so that a parameter of another task is an unknown one. */
#include "serve/request.h"

#include <string.h>

#define AT(member) offsetof(ng_task_request, member)
#define INPUT                                                                                      \
    { "input", NG_FIELD_JSON, AT(json_input), 0, 0, NULL }
#define MODEL                                                                                      \
    { "model", NG_FIELD_STR, AT(model), 0, 0, NULL }
#define USER                                                                                       \
    { "user", NG_FIELD_STR, AT(user), 0, 0, NULL }

static const ng_field classify_fields[] = {INPUT,
                                           MODEL,
                                           USER,
                                           {"labels", NG_FIELD_JSON, AT(json_labels), 0, 0, NULL},
                                           {"top_k", NG_FIELD_U32, AT(params.top_k), 1, 1000, NULL},
                                           {0}};
static const ng_field extract_fields[] = {INPUT,
                                          MODEL,
                                          USER,
                                          {"types", NG_FIELD_JSON, AT(json_types), 0, 0, NULL},
                                          {"offsets", NG_FIELD_STR, AT(offsets), 0, 0, NULL},
                                          {0}};
static const ng_field summarize_fields[] = {
    INPUT,
    MODEL,
    USER,
    {"max_sentences", NG_FIELD_U32, AT(params.max_sentences), 1, 100, NULL},
    {"max_tokens", NG_FIELD_U32, AT(params.max_tokens), 1, 100000, NULL},
    {0}};
static const ng_field translate_fields[] = {INPUT,
                                            MODEL,
                                            USER,
                                            {"to", NG_FIELD_STR, AT(params.to), 0, 0, NULL},
                                            {"from", NG_FIELD_STR, AT(params.from), 0, 0, NULL},
                                            {0}};
static const ng_field answer_fields[] = {
    INPUT, MODEL, USER, {"context", NG_FIELD_STR, AT(params.context), 0, 0, NULL}, {0}};
static const ng_field plain_fields[] = {INPUT, MODEL, USER, {0}};
static const ng_field pipeline_fields[] = {INPUT, USER, {0}};
static const ng_field route_fields[] = {
    INPUT, MODEL, USER, {"task", NG_FIELD_STR, AT(task_name), 0, 0, NULL}, {0}};
static const ng_field embed_fields[] = {INPUT,
                                        MODEL,
                                        USER,
                                        {"encoding_format", NG_FIELD_STR, AT(encoding), 0, 0, NULL},
                                        {"dimensions", NG_FIELD_REFUSED, 0, 0, 0, NULL},
                                        {0}};

static const ng_field rerank_fields[] = {{"query", NG_FIELD_JSON, AT(json_input), 0, 0, NULL},
                                         {"documents", NG_FIELD_JSON, AT(json_documents), 0, 0, NULL},
                                         {"top_n", NG_FIELD_U32, AT(top_n), 1, 1e6, NULL},
                                         {"return_documents", NG_FIELD_BOOL, AT(return_documents), 0, 0, NULL},
                                         MODEL,
                                         USER,
                                         {0}};

static const ng_field *fields_of(ng_task t) {
    switch (t) {
    case NG_TASK_CLASSIFY:
        return classify_fields;
    case NG_TASK_EXTRACT:
        return extract_fields;
    case NG_TASK_SUMMARIZE:
        return summarize_fields;
    case NG_TASK_TRANSLATE:
        return translate_fields;
    case NG_TASK_ANSWER:
        return answer_fields;
    default:
        return plain_fields;
    }
}

static bool read_names(const char *const **out, size_t *n, const json_t *v, const char *param,
                       ng_arena *a, ng_problem *p) {
    if (!v) return true;
    size_t len = json_array_size(v);
    if (!json_is_array(v) || !len || len > NG_INPUTS_MAX)
        return ng_problem_set(p, 400, "invalid_type", param,
                              "%s must be an array of 1 to %d strings", param, NG_INPUTS_MAX);
    const char **names = ng_arena_array(a, len, sizeof *names);
    if (!names) return ng_problem_set(p, 503, NULL, NULL, "out of memory");
    for (size_t i = 0; i < len; i++) {
        const json_t *s = json_array_get(v, i);
        if (!json_string_length(s) || json_string_length(s) > 256)
            return ng_problem_set(p, 400, "invalid_type", param,
                                  "%s[%zu] must be a string of 1 to 256 bytes", param, i);
        names[i] = json_string_value(s);
    }
    *out = names;
    *n = len;
    return true;
}

static bool read_with(ng_task_request *out, const ng_field *fields, const json_t *body, ng_arena *a,
                      ng_problem *p) {
    if (!ng_fields_read(out, body, fields, p)) return false;
    return ng_texts_read(&out->input, out->json_input, "input", a, p);
}

/* What one task asks of its own parameters. */
static bool check_params(ng_task_request *r, ng_problem *p) {
    ng_params *q = &r->params;
    if (r->task == NG_TASK_TRANSLATE && !(q->to && *q->to))
        return ng_problem_set(p, 400, "missing_parameter", "to",
                              "to is missing: the language to translate into");
    if (r->task == NG_TASK_ANSWER && !(q->context && *q->context))
        return ng_problem_set(p, 400, "missing_parameter", "context",
                              "context is missing: the text that holds the answer");
    if (q->max_sentences && q->max_tokens)
        return ng_problem_set(p, 400, "invalid_value", "max_tokens",
                              "send max_sentences or max_tokens, not both");
    if (r->offsets && strcmp(r->offsets, "bytes") && strcmp(r->offsets, "chars"))
        return ng_problem_set(p, 400, "invalid_value", "offsets", "offsets must be bytes or chars");
    q->offsets_chars = r->offsets && !strcmp(r->offsets, "chars");
    return true;
}

bool ng_task_request_read(ng_task_request *out, ng_task task, const json_t *body, ng_arena *a,
                          ng_problem *p) {
    *out = (ng_task_request){.task = task};
    return read_with(out, fields_of(task), body, a, p) && check_params(out, p) &&
           read_names(&out->params.labels, &out->params.n_labels, out->json_labels, "labels", a,
                      p) &&
           read_names(&out->params.types, &out->params.n_types, out->json_types, "types", a, p);
}

bool ng_embed_request_read(ng_task_request *out, const json_t *body, ng_arena *a, ng_problem *p) {
    *out = (ng_task_request){.task = NG_TASK_EMBED};
    if (!read_with(out, embed_fields, body, a, p)) return false;
    if (out->encoding && strcmp(out->encoding, "float") && strcmp(out->encoding, "base64"))
        return ng_problem_set(p, 400, "invalid_value", "encoding_format",
                              "encoding_format must be float or base64");
    out->base64 = out->encoding && !strcmp(out->encoding, "base64");
    return true;
}

bool ng_rerank_request_read(ng_task_request *out, const json_t *body, ng_arena *a, ng_problem *p) {
    *out = (ng_task_request){.task = NG_TASK_RERANK};
    if (!ng_fields_read(out, body, rerank_fields, p)) return false;
    if (out->json_input && !json_is_string(out->json_input))
        return ng_problem_set(p, 400, "invalid_type", "query", "query must be a string");
    if (out->json_documents && !json_is_array(out->json_documents))
        return ng_problem_set(p, 400, "invalid_type", "documents", "documents must be an array of strings");
    if (!ng_texts_read(&out->input, out->json_input, "query", a, p) ||
        !ng_texts_read(&out->documents, out->json_documents, "documents", a, p))
        return false;
    const char **texts = ng_arena_array(a, out->documents.len, sizeof *texts);
    if (!texts) return ng_problem_set(p, 503, NULL, NULL, "out of memory");
    for (size_t i = 0; i < out->documents.len; i++) texts[i] = out->documents.items[i].text;
    out->params.documents = texts;
    out->params.n_documents = out->documents.len;
    return true;
}

bool ng_moderate_request_read(ng_task_request *out, const json_t *body, ng_arena *a,
                              ng_problem *p) {
    *out = (ng_task_request){.task = NG_TASK_MODERATE};
    return read_with(out, plain_fields, body, a, p);
}

bool ng_pipeline_request_read(ng_task_request *out, const json_t *body, ng_arena *a, ng_problem *p) {
    *out = (ng_task_request){.task = NG_TASK_AUTO};
    return read_with(out, pipeline_fields, body, a, p);
}

bool ng_route_request_read(ng_task_request *out, const json_t *body, ng_arena *a, ng_problem *p) {
    *out = (ng_task_request){.task = NG_TASK_AUTO};
    if (!read_with(out, route_fields, body, a, p)) return false;
    if (out->task_name && strcmp(out->task_name, "auto") &&
        !ng_task_parse(&out->task, out->task_name))
        return ng_problem_set(p, 400, "invalid_value", "task", "task: there is no task '%.32s'",
                              out->task_name);
    return true;
}

bool ng_feedback_request_read(ng_feedback_request *out, const json_t *body, ng_problem *p) {
    static const ng_field fields[] = {
        {"decision_id", NG_FIELD_STR, offsetof(ng_feedback_request, decision_id), 0, 0, NULL},
        {"correct", NG_FIELD_JSON, offsetof(ng_feedback_request, json_correct), 0, 0, NULL},
        {"label", NG_FIELD_STR, offsetof(ng_feedback_request, label), 0, 0, NULL},
        {"comment", NG_FIELD_STR, offsetof(ng_feedback_request, comment), 0, 0, NULL},
        {0}};
    *out = (ng_feedback_request){.correct = -1};
    if (!ng_fields_read(out, body, fields, p)) return false;
    if (!out->decision_id || !*out->decision_id)
        return ng_problem_set(p, 400, "missing_parameter", "decision_id",
                              "decision_id is missing: which decision is judged");
    if (out->json_correct && !json_is_boolean(out->json_correct))
        return ng_problem_set(p, 400, "invalid_type", "correct", "correct must be true or false");
    if (!out->json_correct && !out->label)
        return ng_problem_set(p, 400, "missing_parameter", "correct",
                              "say `correct` (true or false) or `label` (the right one)");
    if (out->json_correct) out->correct = json_is_true(out->json_correct);
    return true;
}
