/* request.c: problems, bodies and fields; see request.h.
 *
 * Reading is jansson's job, but three things are checked before or around it: UTF-8 (to name the
 * byte), depth (jansson's own limit is 2048 and its tree code recurses), and keys given twice, which
 * two readers could take differently.  The field tables make "never silently ignored" a property of
 * the loop, not of anyone's care: a key that no row names is an error. */
#include "serve/request.h"

#include <nanogrid/text.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *type_of_status(int status) {
    switch (status) {
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 422:
        return "no_expert";
    case 429:
        return "rate_limit_error";
    case 499:
        return "cancelled";
    case 501:
        return "not_supported";
    case 503:
        return "overloaded_error";
    case 504:
        return "timeout_error";
    default:
        return status < 500 ? "invalid_request_error" : "server_error";
    }
}

bool ng_problem_set(ng_problem *p, int status, const char *code, const char *param, const char *fmt,
                    ...) {
    if (p->status) return false;
    p->status = status;
    p->type = type_of_status(status);
    p->code = code;
    snprintf(p->param, sizeof p->param, "%s", param ? param : "");
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p->message, sizeof p->message, fmt, ap);
    va_end(ap);
    return false;
}

bool ng_problem_from(ng_problem *p, const ng_error *err) {
    static const struct {
        ng_status status;
        const char *code;
    } codes[] = {{NG_EUNSUPPORTED, "not_supported"},
                 {NG_ELIMIT, "limit_exceeded"},
                 {NG_ENOEXPERT, "no_expert"},
                 {NG_EBUSY, "busy"},
                 {NG_ETIMEOUT, "timeout"},
                 {NG_ENET, "upstream_failed"},
                 {NG_EDENIED, "denied"},
                 {NG_ECANCELLED, "cancelled"}};
    if (p->status) return false;
    const char *code = NULL;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].status == err->code) code = codes[i].code;
    ng_problem_set(p, ng_status_http(err->code), code, NULL, "%s",
                   err->text[0] ? err->text : ng_status_text(err->code));
    p->type = ng_status_type(err->code);
    return false;
}

void ng_problem_json(ng_json *j, const ng_problem *p) {
    ng_json_object(j);
    ng_json_key(j, "error");
    ng_json_object(j);
    ng_json_key(j, "message"), ng_json_str(j, p->message);
    ng_json_key(j, "type"), ng_json_str(j, p->type);
    ng_json_key(j, "param"), ng_json_str(j, p->param[0] ? p->param : NULL);
    ng_json_key(j, "code"), ng_json_str(j, p->code);
    ng_json_end(j);
    ng_json_end(j);
}

/* ---- bodies ---------------------------------------------------------------------------------- */

/* The deepest nesting of brackets outside strings; for text that is not JSON the number means little,
 * but is never too small for what a JSON reader would enter. */
static size_t nesting(const char *s, size_t len) {
    size_t depth = 0, deepest = 0;
    bool text = false;
    for (size_t i = 0; i < len; i++) {
        if (text) {
            if (s[i] == '\\') i++;
            else if (s[i] == '"') text = false;
        } else if (s[i] == '"') {
            text = true;
        } else if (s[i] == '{' || s[i] == '[') {
            if (++depth > deepest) deepest = depth;
        } else if ((s[i] == '}' || s[i] == ']') && depth) {
            depth--;
        }
    }
    return deepest;
}

json_t *ng_body_parse(const char *data, size_t len, ng_problem *p) {
    size_t bad = ng_utf8_invalid_at(data, len);
    size_t deep = nesting(data, len);
    if (!len)
        ng_problem_set(p, 400, "invalid_json", NULL,
                       "the request has no body; a JSON object is expected");
    else if (bad < len)
        ng_problem_set(p, 400, "invalid_utf8", NULL,
                       "the body is not valid UTF-8: byte %zu (0x%02x)", bad,
                       (unsigned char)data[bad]);
    else if (deep > NG_BODY_DEPTH_MAX)
        ng_problem_set(p, 400, "too_deep", NULL,
                       "the body nests %zu levels deep; at most %d are read", deep,
                       NG_BODY_DEPTH_MAX);
    if (p->status) return NULL;
    json_error_t e;
    json_t *body = json_loadb(data, len, JSON_REJECT_DUPLICATES, &e);
    if (!body) {
        ng_problem_set(p, 400, "invalid_json", NULL,
                       "the body is not valid JSON: line %d column %d: %s", e.line, e.column,
                       e.text);
    } else if (!json_is_object(body)) {
        json_decref(body);
        body = NULL;
        ng_problem_set(p, 400, "invalid_json", NULL, "the body must be a JSON object");
    }
    return body;
}

/* ---- fields ---------------------------------------------------------------------------------- */

static bool asks_for_nothing(const ng_field *f, const json_t *v) {
    if (json_is_false(v) || (json_is_string(v) && !json_string_length(v))) return true;
    if ((json_is_array(v) && !json_array_size(v)) || (json_is_object(v) && !json_object_size(v)))
        return true;
    if (!f->harmless) return false;
    char *text = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    if (!text) return false;
    bool found = false;
    size_t len = strlen(text);
    for (const char *h = f->harmless; h && *h && !found;) {
        const char *end = strchr(h, '\n');
        size_t n = end ? (size_t)(end - h) : strlen(h);
        found = n == len && !memcmp(h, text, n);
        h = end ? end + 1 : NULL;
    }
    free(text);
    return found;
}

static bool read_number(void *at, const json_t *v, const ng_field *f, ng_problem *p) {
    bool whole = f->kind != NG_FIELD_F32;
    if (whole ? !json_is_integer(v) : !json_is_number(v))
        return ng_problem_set(p, 400, "invalid_type", f->name, "%s must be %s", f->name,
                              whole ? "an integer" : "a number");
    double d = json_number_value(v);
    if (f->kind == NG_FIELD_I64) {
        *(int64_t *)at = json_integer_value(v);
        return true;
    }
    if (!(d >= f->lo && d <= f->hi))
        return ng_problem_set(p, 400, "out_of_range", f->name, "%s must be between %g and %g",
                              f->name, f->lo, f->hi);
    if (whole) *(uint32_t *)at = (uint32_t)json_integer_value(v);
    else *(float *)at = (float)d;
    return true;
}

static bool read_field(void *to, json_t *v, const ng_field *f, ng_problem *p) {
    void *at = (char *)to + f->offset;
    switch (f->kind) {
    case NG_FIELD_STR:
        if (!json_is_string(v))
            return ng_problem_set(p, 400, "invalid_type", f->name, "%s must be a string", f->name);
        *(const char **)at = json_string_value(v);
        return true;
    case NG_FIELD_BOOL:
        if (!json_is_boolean(v))
            return ng_problem_set(p, 400, "invalid_type", f->name, "%s must be true or false",
                                  f->name);
        *(bool *)at = json_is_true(v);
        return true;
    case NG_FIELD_JSON:
        *(json_t **)at = v;
        return true;
    case NG_FIELD_REFUSED:
        return asks_for_nothing(f, v) ||
               ng_problem_set(p, 501, "not_supported", f->name,
                              "%s is not supported by this server", f->name);
    default:
        return read_number(at, v, f, p);
    }
}

bool ng_fields_read(void *to, const json_t *object, const ng_field *fields, ng_problem *p) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)object, key, v) {
        const ng_field *f = fields;
        while (f->name && strcmp(f->name, key)) f++;
        if (!f->name)
            return ng_problem_set(p, 400, "unknown_parameter", key,
                                  "unrecognized request argument: %.64s", key);
        if (!json_is_null(v) && !read_field(to, v, f, p)) return false;
    }
    return true;
}

/* ---- texts ----------------------------------------------------------------------------------- */

static bool text_of(ng_part *out, const json_t *v, const char *param, ng_problem *p) {
    if (json_is_object(v)) {
        const char *type = json_string_value(json_object_get(v, "type"));
        if (type && strcmp(type, "text"))
            return ng_problem_set(p, 400, "unsupported_part", param,
                                  "%s: parts of type '%.32s' are not served; only text is", param,
                                  type);
        if (type && json_is_string(json_object_get(v, "text"))) v = json_object_get(v, "text");
    }
    if (!json_is_string(v)) {
        if (json_is_integer(v) || json_is_array(v))
            return ng_problem_set(p, 501, "not_supported", param,
                                  "%s: token ids are not supported; send text", param);
        return ng_problem_set(p, 400, "invalid_type", param,
                              "%s must be a string or an array of strings", param);
    }
    *out = (ng_part){NG_PART_TEXT, json_string_value(v), json_string_length(v)};
    if (!out->len)
        return ng_problem_set(p, 400, "empty_input", param, "%s must not be empty", param);
    return true;
}

bool ng_texts_read(ng_texts *out, const json_t *value, const char *param, ng_arena *a,
                   ng_problem *p) {
    if (!value) return ng_problem_set(p, 400, "missing_parameter", param, "%s is missing", param);
    out->is_array = json_is_array(value);
    out->len = out->is_array ? json_array_size(value) : 1;
    if (!out->len)
        return ng_problem_set(p, 400, "empty_input", param, "%s must not be empty", param);
    if (json_is_integer(value))
        return ng_problem_set(p, 400, "invalid_type", param, "%s must be a string or an array of strings", param);
    if (out->len > NG_INPUTS_MAX)
        return ng_problem_set(p, 400, "too_many_inputs", param,
                              "%s has %zu elements; at most %d are taken at once", param, out->len,
                              NG_INPUTS_MAX);
    out->items = ng_arena_array(a, out->len, sizeof *out->items);
    if (!out->items) return ng_problem_set(p, 503, NULL, NULL, "out of memory");
    for (size_t i = 0; i < out->len; i++) {
        char name[64];
        snprintf(name, sizeof name, out->is_array ? "%s[%zu]" : "%s", param, i);
        if (!text_of(&out->items[i], out->is_array ? json_array_get(value, i) : value, name, p))
            return false;
    }
    return true;
}
