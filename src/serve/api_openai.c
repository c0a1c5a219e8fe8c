/* api_openai.c: OpenAI's POST /v1/embeddings and /v1/moderations over our experts, which take a batch and answer it whole or
 * not at all, as OpenAI does; and POST /v1/rerank, in the form that Cohere, Jina and llama.cpp share. */
#include "serve/api.h"

#include <stdlib.h>
#include <string.h>

/* Asks for every text; false when one failed.  `answers` is zeroed, [t->input.len]. */
static bool ask_each(ng_call *c, const ng_task_request *t, ng_answer **answers) {
    for (size_t i = 0; i < t->input.len; i++) {
        ng_request r;
        if (!ng_call_request(c, &r, t->task, t->model, t->user)) return false;
        ng_request_set_text(&r, t->input.items[i].text, t->input.items[i].len);
        r.params.ahead = t->input.items + i + 1;
        r.params.n_ahead = t->task == NG_TASK_EMBED ? t->input.len - i - 1 : 0;
        if (!ng_call_ask(c, &r, &answers[i]) || ng_call_over(c)) return false;
    }
    return true;
}

/* RFC 4648 section 4. */
static void put_base64(ng_json *j, ng_buf *scratch, const uint8_t *data, size_t len) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    ng_buf_reset(scratch);
    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = (uint32_t)data[i] << 16 | (i + 1 < len ? (uint32_t)data[i + 1] << 8 : 0) |
                     (i + 2 < len ? data[i + 2] : 0);
        char out[4] = {digits[v >> 18], digits[v >> 12 & 63],
                       i + 1 < len ? digits[v >> 6 & 63] : '=', i + 2 < len ? digits[v & 63] : '='};
        ng_buf_put(scratch, out, 4);
    }
    ng_json_strn(j, scratch->data, scratch->len);
    if (scratch->status) j->buf->status = scratch->status;
}

static void put_embedding(ng_json *j, const ng_answer *a, bool base64, ng_buf *scratch) {
    ng_json_key(j, "embedding");
    if (base64) { /* little-endian f32, as numpy.frombuffer(.., "<f4") reads it */
        put_base64(j, scratch, (const uint8_t *)a->embedding,
                   a->n_embedding * sizeof *a->embedding);
        return;
    }
    ng_json_array(j);
    for (size_t i = 0; i < a->n_embedding; i++) ng_json_f32(j, a->embedding[i]);
    ng_json_end(j);
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "base64 embeddings are little-endian");

/* Who answered, in each row of a batch: headers can tell of one only. */
static void put_bearer(ng_json *j, const ng_answer *a) {
    ng_json_key(j, "expert"), ng_json_str(j, a->expert);
    ng_json_key(j, "tier"), ng_json_str(j, a->expert ? ng_tier_level_name(a->tier) : NULL);
    ng_json_key(j, "confidence"), ng_json_num(j, a->confidence);
    ng_json_key(j, "decision_id"), ng_json_str(j, a->decision_id);
}

static void put_embeddings(ng_call *c, const ng_task_request *t, ng_answer *const *answers) {
    ng_buf scratch = ng_buf_init(16u << 20);
    ng_json j = ng_json_init(&c->out);
    uint64_t tokens = 0;
    ng_json_object(&j);
    ng_json_key(&j, "object"), ng_json_str(&j, "list");
    ng_json_key(&j, "data");
    ng_json_array(&j);
    for (size_t i = 0; i < t->input.len; i++) {
        tokens += answers[i]->prompt_tokens;
        ng_json_object(&j);
        ng_json_key(&j, "object"), ng_json_str(&j, "embedding");
        ng_json_key(&j, "index"), ng_json_uint(&j, i);
        put_embedding(&j, answers[i], t->base64, &scratch);
        put_bearer(&j, answers[i]);
        ng_json_end(&j);
    }
    ng_json_end(&j);
    ng_json_key(&j, "model"), ng_json_str(&j, answers[0]->expert);
    ng_json_key(&j, "usage");
    ng_json_object(&j);
    ng_json_key(&j, "prompt_tokens"), ng_json_uint(&j, tokens);
    ng_json_key(&j, "total_tokens"), ng_json_uint(&j, tokens);
    ng_json_end(&j);
    ng_json_end(&j);
    ng_buf_clear(&scratch);
}

/* One row of moderations: every category as yes or no (likelier than not, or the one that made the
 * text flagged) and as a probability. */
static void put_moderation(ng_json *j, const ng_answer *a, bool debug) {
    size_t best = 0;
    for (size_t i = 1; i < a->n_categories; i++)
        if (a->categories[i].p > a->categories[best].p) best = i;
    ng_json_object(j);
    ng_json_key(j, "flagged"), ng_json_bool(j, a->flagged);
    ng_json_key(j, "categories");
    ng_json_object(j);
    for (size_t i = 0; i < a->n_categories; i++)
        ng_json_key(j, a->categories[i].label),
            ng_json_bool(j, a->categories[i].p >= 0.5f || (a->flagged && i == best));
    ng_json_end(j);
    ng_json_key(j, "category_scores");
    ng_json_object(j);
    for (size_t i = 0; i < a->n_categories; i++)
        ng_json_key(j, a->categories[i].label), ng_json_f32(j, a->categories[i].p);
    ng_json_end(j);
    put_bearer(j, a);
    if (debug) ng_json_key(j, "nanogrid"), ng_answer_json(j, a);
    ng_json_end(j);
}

static void put_moderations(ng_call *c, const ng_task_request *t, ng_answer *const *answers) {
    char id[64];
    ng_call_new_id(c, "modr-", id);
    ng_json j = ng_json_init(&c->out);
    ng_json_object(&j);
    ng_json_key(&j, "id"), ng_json_str(&j, id);
    ng_json_key(&j, "model"), ng_json_str(&j, answers[0]->expert);
    ng_json_key(&j, "results");
    ng_json_array(&j);
    for (size_t i = 0; i < t->input.len; i++) put_moderation(&j, answers[i], c->debug);
    ng_json_end(&j);
    ng_json_end(&j);
}

static void serve_batch(ng_call *c, const ng_task_request *t,
                        void (*put)(ng_call *, const ng_task_request *, ng_answer *const *)) {
    ng_answer **answers = calloc(t->input.len, sizeof *answers);
    if (!answers) {
        ng_problem_set(&c->problem, 503, NULL, NULL, "out of memory");
        return;
    }
    if (ask_each(c, t, answers)) {
        put(c, t, answers);
        if (t->input.len == 1) ng_call_decision_headers(c, answers[0]);
        ng_call_send(c, 200);
    }
    for (size_t i = 0; i < t->input.len; i++) ng_answer_free(answers[i]);
    free(answers);
}

void ng_api_embeddings(ng_call *c) {
    ng_task_request t;
    if (ng_embed_request_read(&t, c->body, c->arena, &c->problem))
        serve_batch(c, &t, put_embeddings);
}

void ng_api_moderations(ng_call *c) {
    ng_task_request t;
    if (ng_moderate_request_read(&t, c->body, c->arena, &c->problem))
        serve_batch(c, &t, put_moderations);
}

static void put_ranking(ng_call *c, const ng_task_request *t, const ng_answer *a) {
    ng_json j = ng_json_init(&c->out);
    size_t n = t->top_n && t->top_n < a->n_results ? t->top_n : a->n_results;
    ng_json_object(&j);
    ng_json_key(&j, "object"), ng_json_str(&j, "list");
    ng_json_key(&j, "model"), ng_json_str(&j, a->expert);
    ng_json_key(&j, "results");
    ng_json_array(&j);
    for (size_t i = 0; i < n; i++) {
        const ng_part *d = &t->documents.items[a->results[i].index];
        ng_json_object(&j);
        ng_json_key(&j, "index"), ng_json_uint(&j, a->results[i].index);
        ng_json_key(&j, "relevance_score"), ng_json_f32(&j, a->results[i].score);
        if (t->return_documents) {
            ng_json_key(&j, "document"), ng_json_object(&j);
            ng_json_key(&j, "text"), ng_json_strn(&j, d->text, d->len);
            ng_json_end(&j);
        }
        ng_json_end(&j);
    }
    ng_json_end(&j);
    ng_json_key(&j, "usage");
    ng_json_object(&j);
    ng_json_key(&j, "prompt_tokens"), ng_json_uint(&j, a->prompt_tokens);
    ng_json_key(&j, "total_tokens"), ng_json_uint(&j, a->prompt_tokens);
    ng_json_end(&j);
    if (c->debug) ng_json_key(&j, "nanogrid"), ng_answer_json(&j, a);
    ng_json_end(&j);
}

void ng_api_rerank(ng_call *c) {
    ng_task_request t;
    ng_request r;
    ng_answer *a = NULL;
    if (!ng_rerank_request_read(&t, c->body, c->arena, &c->problem) || !ng_call_request(c, &r, t.task, t.model, t.user))
        return;
    ng_request_set_text(&r, t.input.items[0].text, t.input.items[0].len);
    r.params = t.params;
    if (ng_call_ask(c, &r, &a) && !ng_call_over(c)) {
        put_ranking(c, &t, a);
        ng_call_decision_headers(c, a);
        ng_call_send(c, 200);
    }
    ng_answer_free(a);
}
