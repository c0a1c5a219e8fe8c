/* request.h: JSON bodies from strangers, turned into checked structs.
 *
 *     ng_problem p = {0};
 *     json_t *body = ng_body_parse(data, len, &p);
 *     ng_chat_request chat;
 *     if (!body || !ng_chat_request_read(&chat, body, arena, &p)) ..    p.status, p.message, p.param
 *
 * Nothing here knows HTTP connections or the grid, so that the whole of it is fuzzed.  Strings of the
 * structs are borrowed from `body`, arrays live in `arena`.  Every field is one of: acted upon (with
 * its range checked), refused as not supported (501, unless its value asks for nothing), or unknown
 * (400).  None is ignored. */
#ifndef NG_SERVE_REQUEST_H
#define NG_SERVE_REQUEST_H

#include <nanogrid/tier.h>

#include "core/arena.h"

#include <jansson.h>

enum {
    NG_BODY_DEPTH_MAX = 32,
    NG_INPUTS_MAX = 256,
    NG_MESSAGES_MAX = 1024,
    NG_CHOICES_MAX = 4,
    NG_STOPS_MAX = 16,
    NG_STOP_BYTES_MAX = 256,
    NG_DEFAULT_MAX_TOKENS = 512,
};

/* What goes into OpenAI's error object.  Zero-initialise; the first problem wins. */
typedef struct ng_problem {
    int status;              /* HTTP; 0: no problem */
    const char *type, *code; /* code may be NULL */
    char param[96];          /* "": null */
    char message[NG_ERROR_TEXT_MAX];
} ng_problem;

/* Both return false, so that a reader can end in `return ng_problem_set(..)`. */
bool ng_problem_set(ng_problem *p, int status, const char *code, const char *param, const char *fmt,
                    ...) NG_PRINTF(5, 6);
bool ng_problem_from(ng_problem *p, const ng_error *err);
/* {"error": {"message", "type", "param", "code"}} */
void ng_problem_json(ng_json *j, const ng_problem *p);

/* Valid UTF-8, at most 32 levels deep, no key twice, an object.  NULL with the problem otherwise; ends
 * with json_decref. */
json_t *ng_body_parse(const char *data, size_t len, ng_problem *p);

/* One row a field; a table of them says all that a body may hold. */
typedef enum ng_field_kind {
    NG_FIELD_STR,     /* const char * */
    NG_FIELD_BOOL,    /* bool */
    NG_FIELD_U32,     /* uint32_t in [lo, hi] */
    NG_FIELD_I64,     /* int64_t, any */
    NG_FIELD_F32,     /* float in [lo, hi] */
    NG_FIELD_JSON,    /* json_t *, borrowed; its reader checks it */
    NG_FIELD_REFUSED, /* known, not served: 501 unless null, false, empty or one of `harmless` */
} ng_field_kind;

typedef struct ng_field {
    const char *name;
    ng_field_kind kind;
    size_t offset; /* into the struct that is filled */
    double lo, hi;
    const char *harmless; /* compact JSON values that ask for nothing, a line each */
} ng_field;

/* null counts as absent.  `to` holds the defaults beforehand. */
bool ng_fields_read(void *to, const json_t *object, const ng_field *fields, ng_problem *p);

/* A string or an array of at most NG_INPUTS_MAX strings, none empty. */
typedef struct ng_texts {
    ng_part *items;
    size_t len;
    bool is_array;
} ng_texts;
bool ng_texts_read(ng_texts *out, const json_t *value, const char *param, ng_arena *a,
                   ng_problem *p);

typedef struct ng_chat_request {
    const char *model, *user;
    ng_message *messages;
    size_t n_messages;
    ng_generate_options options; /* without on_token */
    bool has_seed, stream, include_usage, logprobs;
    uint32_t n;
    /* read by the table, digested into the above */
    json_t *json_messages, *json_stop, *json_stream_options;
    uint32_t max_tokens, max_completion_tokens, top_logprobs;
    int64_t seed;
} ng_chat_request;
bool ng_chat_request_read(ng_chat_request *out, const json_t *body, ng_arena *a, ng_problem *p);

/* The task API, embeddings and moderations: texts in, one result each. */
typedef struct ng_task_request {
    const char *model, *user;
    ng_task task;
    ng_texts input;
    ng_params params;
    bool base64; /* embeddings: encoding_format */
    bool return_documents; /* rerank */
    uint32_t top_n;        /* rerank: how many results; 0: all */
    ng_texts documents;    /* rerank */
    /* read by the table */
    json_t *json_input, *json_labels, *json_types, *json_documents;
    const char *offsets, *encoding, *task_name;
} ng_task_request;
bool ng_task_request_read(ng_task_request *out, ng_task task, const json_t *body, ng_arena *a,
                          ng_problem *p);
bool ng_embed_request_read(ng_task_request *out, const json_t *body, ng_arena *a, ng_problem *p);
bool ng_rerank_request_read(ng_task_request *out, const json_t *body, ng_arena *a, ng_problem *p);
bool ng_moderate_request_read(ng_task_request *out, const json_t *body, ng_arena *a, ng_problem *p);
bool ng_pipeline_request_read(ng_task_request *out, const json_t *body, ng_arena *a, ng_problem *p);
bool ng_route_request_read(ng_task_request *out, const json_t *body, ng_arena *a, ng_problem *p);

/* What a person says about a decision; see nanogrid/grid.h. */
typedef struct ng_feedback_request {
    const char *decision_id, *label, *comment;
    int correct; /* 1, 0; -1: not said */
    json_t *json_correct;
} ng_feedback_request;
bool ng_feedback_request_read(ng_feedback_request *out, const json_t *body, ng_problem *p);

#endif
