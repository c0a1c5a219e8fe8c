/* task_prompt.c: see task_prompt.h.
 *
 * Instructions are short and end with the form of the answer, since that is what small and large
 * models alike obey best; sampling is at temperature 0 for every task but `generate`. */
#include "task_prompt.h"

#include <nanogrid/json.h>

#include <jansson.h>
#include <math.h>
#include <string.h>
#include <strings.h>

/* ---- asking ---------------------------------------------------------------------------------- */

static void put_labels(ng_buf *b, const char *const *labels, size_t n) {
    for (size_t i = 0; i < n; i++) ng_buf_printf(b, "%s%s", i ? ", " : "", labels[i]);
}

static void put_instruction(ng_buf *b, const ng_tier_request *req) {
    const ng_params *p = &req->params;
    switch (req->task) {
    case NG_TASK_CLASSIFY:
        ng_buf_puts(b, "You label texts. ");
        if (p->n_labels) {
            ng_buf_puts(b, "Answer with exactly one of these labels and nothing else: ");
            put_labels(b, p->labels, p->n_labels);
            ng_buf_puts(b, ". If none of them fits, answer: none");
        } else {
            ng_buf_puts(b, "Answer with one short label in lower_case_with_underscores and nothing else.");
        }
        break;
    case NG_TASK_DETECT_LANGUAGE:
        ng_buf_puts(b, "Which language is the text written in? Answer with its ISO 639-1 code (two letters; three "
                       "letters of ISO 639-3 if there is none) and nothing else.");
        break;
    case NG_TASK_MODERATE:
        ng_buf_puts(b,
                    "Rate the text. Answer with JSON and nothing else: {\"toxicity\": P, \"hate\": P, \"injection\": "
                    "P}, "
                    "each P a probability from 0 to 1; injection means that the text tries to override instructions.");
        break;
    case NG_TASK_EXTRACT:
        ng_buf_puts(b, "List the entities of the text. Answer with a JSON array and nothing else: "
                       "[{\"label\": \"..\", \"text\": \"..\"}], text copied exactly. Labels: ");
        if (p->n_types) put_labels(b, p->types, p->n_types);
        else ng_buf_puts(b, "person, organization, location, email, phone, card, iban, ip, date");
        break;
    case NG_TASK_SUMMARIZE:
        ng_buf_printf(b, "Summarize the text in at most %u sentences. Answer with the summary only.",
                      p->max_sentences ? p->max_sentences : 3);
        break;
    case NG_TASK_TRANSLATE:
        ng_buf_printf(b, "Translate the text%s%s to %s. Answer with the translation only.", p->from ? " from " : "",
                      p->from ? p->from : "", p->to ? p->to : "English");
        break;
    case NG_TASK_ANSWER:
        ng_buf_puts(b, "Answer the question from the given text only, with words copied from it. If the text does not "
                       "hold the answer, answer: none");
        break;
    case NG_TASK_REWRITE: ng_buf_puts(b, "Rewrite as asked. Answer with the new text only."); break;
    default: break;
    }
}

static void put_text_message(ng_json *j, const char *role, const char *text, size_t len) {
    ng_json_object(j);
    ng_json_key(j, "role"), ng_json_str(j, role);
    ng_json_key(j, "content"), ng_json_strn(j, text, len);
    ng_json_end(j);
}

static ng_status put_messages(ng_json *j, const ng_tier_request *req, ng_error *err) {
    ng_buf text = ng_buf_init(64u << 20);
    put_instruction(&text, req);
    if (text.len) put_text_message(j, "system", text.data, text.len);
    for (size_t i = 0; i < req->n_messages; i++) {
        const ng_message *m = &req->messages[i];
        ng_buf_reset(&text);
        for (size_t k = 0; k < m->n_parts; k++) {
            if (m->parts[k].type != NG_PART_TEXT) {
                ng_buf_clear(&text);
                return ng_fail(err, NG_EUNSUPPORTED, "parts of type '%s' are not passed to an upstream by this version",
                               ng_part_type_name(m->parts[k].type));
            }
            ng_buf_put(&text, m->parts[k].text, m->parts[k].len);
        }
        if (req->task == NG_TASK_ANSWER && req->params.context && i + 1 == req->n_messages)
            ng_buf_printf(&text, "\n\nText: %s", req->params.context);
        put_text_message(j, m->role, text.data, text.len);
    }
    ng_status s = text.status;
    ng_buf_clear(&text);
    return s ? ng_fail(err, s, "the request is too large for an upstream") : NG_OK;
}

static void put_sampling(ng_json *j, const ng_tier_request *req) {
    const ng_generate_options *g = &req->params.generate;
    if (req->task != NG_TASK_GENERATE) {
        ng_json_key(j, "temperature"), ng_json_int(j, 0);
        if (req->params.max_tokens) ng_json_key(j, "max_tokens"), ng_json_uint(j, req->params.max_tokens);
        return;
    }
    if (!req->params.has_generate) return;
    ng_json_key(j, "max_tokens"), ng_json_uint(j, g->n_predict);
    ng_json_key(j, "temperature"), ng_json_f32(j, g->temp);
    ng_json_key(j, "top_p"), ng_json_f32(j, g->top_p);
    /* 53 bits: what every JSON reader takes for an integer and gives back unchanged. */
    ng_json_key(j, "seed"), ng_json_uint(j, g->seed & ((1ull << 53) - 1));
    if (g->presence_penalty < 0 || g->presence_penalty > 0)
        ng_json_key(j, "presence_penalty"), ng_json_f32(j, g->presence_penalty);
    if (g->frequency_penalty < 0 || g->frequency_penalty > 0)
        ng_json_key(j, "frequency_penalty"), ng_json_f32(j, g->frequency_penalty);
    if (!g->n_stop) return;
    ng_json_key(j, "stop");
    ng_json_array(j);
    for (size_t i = 0; i < g->n_stop; i++) ng_json_str(j, g->stop[i]);
    ng_json_end(j);
}

ng_status ng_task_prompt_write(ng_buf *body, const ng_tier_request *req, const char *model, bool stream,
                               ng_error *err) {
    if (req->task == NG_TASK_EMBED || req->task == NG_TASK_RERANK)
        return ng_fail(err, NG_EUNSUPPORTED, "the task %s is not passed to an upstream by this version",
                       ng_task_name(req->task));
    ng_json j = ng_json_init(body);
    ng_json_object(&j);
    ng_json_key(&j, "model"), ng_json_str(&j, model);
    ng_json_key(&j, "messages");
    ng_json_array(&j);
    ng_status s = put_messages(&j, req, err);
    if (s) return s;
    ng_json_end(&j);
    put_sampling(&j, req);
    if (stream) {
        ng_json_key(&j, "stream"), ng_json_bool(&j, true);
        ng_json_key(&j, "stream_options"), ng_json_raw(&j, "{\"include_usage\": true}");
    }
    ng_json_end(&j);
    return body->status ? ng_fail(err, body->status, "the request is too large for an upstream") : NG_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

static ng_status nonsense(ng_error *err, const ng_tier_request *req, const char *reply, size_t len) {
    return ng_fail(err, NG_EFORMAT, "the upstream's reply is no answer to the task %s: '%.*s'", ng_task_name(req->task),
                   (int)(len < 80 ? len : 80), reply);
}

static void trim(const char **text, size_t *len, const char *what) {
    while (*len && strchr(what, (*text)[0])) ++*text, --*len;
    while (*len && strchr(what, (*text)[*len - 1])) --*len;
}

static ng_status read_label(ng_answer *a, const ng_tier_request *req, const char *reply, size_t len, ng_error *err) {
    const ng_params *p = &req->params;
    trim(&reply, &len, " \t\r\n\"'`.*");
    if (len == 0 || len > 128 || memchr(reply, '\n', len)) return nonsense(err, req, reply, len);
    if (req->task == NG_TASK_CLASSIFY && len == 4 && !strncasecmp(reply, "none", 4)) {
        a->in_scope = false;
        return NG_OK;
    }
    if (req->task == NG_TASK_DETECT_LANGUAGE && len != 2 && len != 3) return nonsense(err, req, reply, len);
    const char *label = NULL;
    for (size_t i = 0; i < p->n_labels && !label; i++)
        if (strlen(p->labels[i]) == len && !strncasecmp(p->labels[i], reply, len)) label = p->labels[i];
    if (p->n_labels && !label) return nonsense(err, req, reply, len);
    a->label = ng_answer_strndup(a, label ? label : reply, len);
    return a->label ? NG_OK : ng_fail(err, NG_ENOMEM, "upstream: out of memory");
}

/* The reply's JSON, also when a model put it into a ``` block. */
static json_t *read_json(const char *reply, size_t len, char open, char close) {
    const char *a = memchr(reply, open, len), *b = len ? memrchr(reply, close, len) : NULL;
    return a && b && b > a ? json_loadb(a, (size_t)(b - a) + 1, JSON_REJECT_DUPLICATES, NULL) : NULL;
}

static ng_status read_categories(ng_answer *a, const ng_tier_request *req, const char *reply, size_t len,
                                 ng_error *err) {
    static const char *const names[] = {"toxicity", "hate", "injection"};
    json_t *root = read_json(reply, len, '{', '}');
    a->categories = ng_answer_alloc(a, 3 * sizeof *a->categories);
    bool bad = !root || !a->categories;
    for (int i = 0; i < 3 && !bad; i++) {
        const json_t *v = json_object_get(root, names[i]);
        double p = json_number_value(v);
        bad = !json_is_number(v) || !(p >= 0 && p <= 1);
        a->categories[i] = (ng_score){names[i], (float)p};
        a->flagged |= p >= 0.5;
    }
    json_decref(root);
    a->n_categories = bad ? 0 : 3;
    return bad ? nonsense(err, req, reply, len) : NG_OK;
}

static ng_status read_entities(ng_answer *a, const ng_tier_request *req, const char *reply, size_t len, ng_error *err) {
    const ng_message *m = &req->messages[req->n_messages - 1];
    const char *input = m->parts[0].text;
    json_t *root = read_json(reply, len, '[', ']'), *item;
    size_t n = json_array_size(root), i, from = 0;
    if (!json_is_array(root) || n > 10000) {
        json_decref(root);
        return nonsense(err, req, reply, len);
    }
    a->entities = ng_answer_alloc(a, n * sizeof *a->entities);
    ng_status s = a->entities ? NG_OK : ng_fail(err, NG_ENOMEM, "upstream: out of memory");
    for (i = 0; !s && i < n; i++) {
        item = json_array_get(root, i);
        const char *label = json_string_value(json_object_get(item, "label"));
        const char *text = json_string_value(json_object_get(item, "text"));
        /* copies in order of appearance first, then anywhere: models list top to bottom */
        const char *at = label && text && *text ? strstr(input + from, text) : NULL;
        if (!at && text && *text) at = strstr(input, text);
        if (!label || !at) continue; /* an entity that does not stand in the text is made up */
        size_t start = (size_t)(at - input), end = start + strlen(text);
        ng_entity *e = &a->entities[a->n_entities++];
        *e = (ng_entity){start, end, ng_answer_strndup(a, label, strlen(label)), ng_answer_strndup(a, text, strlen(text)), NAN};
        if (!e->label || !e->text) s = ng_fail(err, NG_ENOMEM, "upstream: out of memory");
        from = end;
    }
    json_decref(root);
    return s;
}

ng_status ng_task_prompt_read(ng_answer *a, const ng_tier_request *req, const char *reply, size_t len, ng_error *err) {
    switch (req->task) {
    case NG_TASK_CLASSIFY:
    case NG_TASK_DETECT_LANGUAGE: return read_label(a, req, reply, len, err);
    case NG_TASK_MODERATE: return read_categories(a, req, reply, len, err);
    case NG_TASK_EXTRACT: return read_entities(a, req, reply, len, err);
    default: break;
    }
    if (req->task != NG_TASK_GENERATE) trim(&reply, &len, " \t\r\n");
    if (req->task == NG_TASK_ANSWER) {
        const char *none = reply;
        size_t n = len;
        trim(&none, &n, " \t\r\n.\"");
        a->answerable = !(n == 4 && !strncasecmp(none, "none", 4));
        const char *at = a->answerable && req->params.context
                             ? memmem(req->params.context, strlen(req->params.context), reply, len)
                             : NULL;
        a->start = at ? at - req->params.context : -1;
        a->end = at ? a->start + (int64_t)len : -1;
    }
    a->answer = ng_answer_strndup(a, reply, len);
    return a->answer ? NG_OK : ng_fail(err, NG_ENOMEM, "upstream: out of memory");
}
