/* api_chat.c: POST /v1/chat/completions, whole and streamed.
 *
 * With `model: "auto"` the grid may find that the request is no chat at all ("is this spam?"); then the
 * expert's answer is the content: a label, an entity list, a summary (ng_answer_content), so that any
 * chat client sees the right thing.  Options that such an expert cannot act upon are named in
 * `warnings`.
 *
 * A stream is announced before the grid is asked and begun by its first token, or by a ping when the
 * model is long in reading the prompt.  Up to then an error has its own status; afterwards it is an
 * `error` event and the stream ends without [DONE].  The last event before [DONE] carries the decision
 * under `nanogrid`, because only then is the confidence known. */
#include "serve/api.h"
#include "serve/api_logprobs.h"
#include "serve/sse.h"

#include "core/clock.h"
#include "core/hash.h"

#include <string.h>

typedef struct chat {
    ng_call *c;
    ng_chat_request req;
    char id[64];
    int64_t created_s;
    const ng_tokenizer *tokenizer; /* for logprobs */
    uint64_t seed;
    ng_answer *answers[NG_CHOICES_MAX];
    ng_buf logprobs[NG_CHOICES_MAX]; /* the array `content`, or empty */
    ng_buf event;                    /* events not yet sent */
    /* of the choice under way */
    uint32_t index;
    bool role_sent;
    size_t text_sent, n_tokens;
    uint64_t asked_ns, first_ns, last_ns;
} chat;

static const char *const sampling[] = {"temperature",
                                       "top_p",
                                       "top_k",
                                       "min_p",
                                       "repeat_penalty",
                                       "frequency_penalty",
                                       "presence_penalty",
                                       "seed",
                                       "stop",
                                       "max_tokens",
                                       "max_completion_tokens",
                                       "logprobs",
                                       NULL};

/* ---- pieces that both forms share ------------------------------------------------------------ */

static void put_usage(ng_json *j, const chat *t) {
    uint64_t in = 0, out = 0, cached = 0;
    for (uint32_t i = 0; i < t->req.n; i++) {
        if (!t->answers[i]) continue;
        if (!i) in = t->answers[i]->prompt_tokens, cached = t->answers[i]->cached_tokens;
        out += t->answers[i]->completion_tokens;
    }
    ng_json_key(j, "usage");
    ng_json_object(j);
    ng_json_key(j, "prompt_tokens"), ng_json_uint(j, in);
    ng_json_key(j, "completion_tokens"), ng_json_uint(j, out);
    ng_json_key(j, "total_tokens"), ng_json_uint(j, in + out);
    ng_json_key(j, "prompt_tokens_details");
    ng_json_object(j);
    ng_json_key(j, "cached_tokens"), ng_json_uint(j, cached);
    ng_json_end(j);
    ng_json_end(j);
}

static const char *finish_of(const ng_answer *a) {
    return a->finish ? a->finish : "stop";
}

/* "temperature, seed" when the body sets what an expert of this task cannot act upon. */
static bool useless_options(const chat *t, ng_buf *names) {
    for (size_t i = 0; sampling[i]; i++) {
        const json_t *v = json_object_get(t->c->body, sampling[i]);
        if (v && !json_is_null(v) && !json_is_false(v))
            ng_buf_printf(names, "%s%s", names->len ? ", " : "", sampling[i]);
    }
    return names->len > 0;
}

static void put_warnings(ng_json *j, const chat *t) {
    const ng_answer *a = t->answers[0];
    ng_buf names = ng_buf_init(512), text = ng_buf_init(1024);
    bool other = a->task != NG_TASK_GENERATE && a->expert && useless_options(t, &names);
    bool unlogged = t->req.logprobs && !t->logprobs[0].len && a->task == NG_TASK_GENERATE &&
                    *(a->answer ? a->answer : "");
    if (a->n_warnings || other || unlogged) {
        ng_json_key(j, "warnings");
        ng_json_array(j);
        for (size_t i = 0; i < a->n_warnings; i++) ng_json_str(j, a->warnings[i]);
        if (unlogged) ng_json_str(j, "logprobs: whoever answered gave none");
        if (other) {
            ng_buf_printf(&text, "%s: not applied, '%s' answered as an expert for %s", names.data,
                          a->expert, ng_task_name(a->task));
            ng_json_str(j, text.data);
        }
        ng_json_end(j);
    }
    ng_buf_clear(&names);
    ng_buf_clear(&text);
}

/* ---- streaming ------------------------------------------------------------------------------- */

static ng_json chunk_begin(chat *t) {
    ng_json j = ng_sse_begin(&t->event);
    ng_json_object(&j);
    ng_json_key(&j, "id"), ng_json_str(&j, t->id);
    ng_json_key(&j, "object"), ng_json_str(&j, "chat.completion.chunk");
    ng_json_key(&j, "created"), ng_json_int(&j, t->created_s);
    ng_json_key(&j, "model"), ng_json_str(&j, t->req.model);
    ng_json_key(&j, "choices");
    ng_json_array(&j);
    return j;
}

static void chunk_end(chat *t, ng_json *j, bool usage_slot) {
    if (usage_slot && t->req.include_usage) ng_json_key(j, "usage"), ng_json_null(j);
    ng_json_end(j);
    ng_sse_end(&t->event);
}

/* One choice's piece of text, or its end when `finish` is not NULL. */
static void put_delta(chat *t, ng_json *j, const char *role, const char *text, size_t len,
                      const char *finish, const ng_token_event *e) {
    ng_json_object(j);
    ng_json_key(j, "index"), ng_json_uint(j, t->index);
    ng_json_key(j, "delta");
    ng_json_object(j);
    if (role) ng_json_key(j, "role"), ng_json_str(j, role);
    if (text) ng_json_key(j, "content"), ng_json_strn(j, text, len);
    ng_json_end(j);
    ng_json_key(j, "logprobs");
    if (e && t->req.logprobs) {
        ng_json_object(j);
        ng_json_key(j, "content");
        ng_json_array(j);
        ng_logprobs_put(j, t->tokenizer, e);
        ng_json_end(j);
        ng_json_end(j);
    } else {
        ng_json_null(j);
    }
    ng_json_key(j, "finish_reason"), ng_json_str(j, finish);
    ng_json_end(j);
    ng_json_end(j); /* choices */
}

static bool send_text(chat *t, const char *text, size_t len, const ng_token_event *e) {
    if (!t->role_sent) {
        t->role_sent = true;
        ng_json j = chunk_begin(t);
        put_delta(t, &j, "assistant", "", 0, NULL, NULL);
        chunk_end(t, &j, true);
    }
    if (len || e) {
        ng_json j = chunk_begin(t);
        put_delta(t, &j, NULL, text, len, NULL, e);
        chunk_end(t, &j, true);
    }
    t->text_sent += len;
    return ng_sse_send(t->c->x, &t->event);
}

/* Headers of a stream that has not begun; the confidence is known at its end and stands there. */
static void on_answerer(void *ctx, const char *expert, ng_tier_level tier, const char *decision_id) {
    const chat *t = ctx;
    if (!t->req.stream || t->index) return;
    ng_http_set_header(t->c->x, "x-nanogrid-expert", expert);
    ng_http_set_header(t->c->x, "x-nanogrid-tier", ng_tier_level_name(tier));
    ng_http_set_header(t->c->x, "x-nanogrid-decision-id", decision_id);
}

static bool on_token(void *ctx, const ng_token_event *e) {
    chat *t = ctx;
    t->last_ns = ng_clock_ns();
    if (!t->n_tokens++) t->first_ns = t->last_ns;
    if (ng_http_cancelled(t->c->x)) return false;
    bool logged =
        t->req.logprobs && e->id >= 0; /* -1: an upstream's, or what was held back of the text */
    if (logged) {
        ng_buf *b = &t->logprobs[t->index];
        ng_buf_puts(b, b->len ? ", " : "[");
        ng_json j = ng_json_init(b);
        ng_logprobs_put(&j, t->tokenizer, e);
    }
    if (!t->req.stream || (!e->len && !logged)) return true;
    return send_text(t, e->text, e->len, logged ? e : NULL);
}

static void put_decision(ng_json *j, const chat *t) {
    put_warnings(j, t);
    ng_json_key(j, "nanogrid");
    ng_call_decision_json(j, t->c, t->answers[0]);
}

/* What was not streamed token by token, then the end of this choice. */
static bool finish_choice(chat *t, const ng_answer *a) {
    bool last = t->index + 1 == t->req.n;
    ng_buf rest = ng_buf_init(64u << 20);
    ng_answer_content(&rest, a);
    if (!t->n_tokens && a->expert) on_answerer(t, a->expert, a->tier, a->decision_id); /* one piece */
    size_t from = t->text_sent < rest.len ? t->text_sent : rest.len;
    bool ok = !rest.status && send_text(t, rest.data + from, rest.len - from, NULL);
    ng_buf_clear(&rest);
    ng_json j = chunk_begin(t);
    put_delta(t, &j, NULL, NULL, 0, finish_of(a), NULL);
    if (last && !t->req.include_usage) put_decision(&j, t);
    chunk_end(t, &j, true);
    if (last && t->req.include_usage) {
        j = chunk_begin(t);
        ng_json_end(&j);
        put_usage(&j, t);
        put_decision(&j, t);
        chunk_end(t, &j, false);
    }
    if (last) ng_sse_done(&t->event);
    return ng_sse_send(t->c->x, &t->event) && ok;
}

static void announce(chat *t) {
    ng_http_set_header(t->c->x, "Content-Type", "text/event-stream; charset=utf-8");
    ng_http_set_header(t->c->x, "Cache-Control", "no-store");
    ng_http_set_header(t->c->x, "X-Accel-Buffering", "no");
    ng_http_set_header(t->c->x, "x-request-id", t->c->request_id);
    ng_http_stream_prepare(t->c->x);
}

/* After the first byte a problem is an event. */
static void end_stream(chat *t) {
    ng_call *c = t->c;
    if (c->problem.status && ng_http_unstream(c->x)) return; /* the dispatcher answers */
    if (c->problem.status) {
        ng_buf_reset(&t->event);
        ng_json j = ng_sse_begin(&t->event);
        ng_problem_json(&j, &c->problem);
        ng_sse_end(&t->event);
        ng_sse_send(c->x, &t->event);
    }
    ng_http_stream_end(c->x);
}

/* ---- whole ----------------------------------------------------------------------------------- */

static void put_choice(ng_json *j, const chat *t, uint32_t i) {
    ng_buf text = ng_buf_init(64u << 20);
    ng_answer_content(&text, t->answers[i]);
    ng_json_object(j);
    ng_json_key(j, "index"), ng_json_uint(j, i);
    ng_json_key(j, "message");
    ng_json_object(j);
    ng_json_key(j, "role"), ng_json_str(j, "assistant");
    ng_json_key(j, "content"), ng_json_strn(j, text.data, text.len);
    ng_json_key(j, "refusal"), ng_json_null(j);
    ng_json_end(j);
    ng_json_key(j, "logprobs");
    if (t->logprobs[i].len) {
        ng_json_object(j);
        ng_json_key(j, "content"), ng_json_raw(j, t->logprobs[i].data);
        ng_json_end(j);
    } else {
        ng_json_null(j);
    }
    ng_json_key(j, "finish_reason"), ng_json_str(j, finish_of(t->answers[i]));
    ng_json_end(j);
    if (text.status) j->buf->status = text.status;
    ng_buf_clear(&text);
}

static void send_whole(chat *t) {
    ng_call *c = t->c;
    const ng_answer *a = t->answers[0];
    ng_json j = ng_json_init(&c->out);
    ng_json_object(&j);
    ng_json_key(&j, "id"), ng_json_str(&j, t->id);
    ng_json_key(&j, "object"), ng_json_str(&j, "chat.completion");
    ng_json_key(&j, "created"), ng_json_int(&j, t->created_s);
    ng_json_key(&j, "model"), ng_json_str(&j, a->expert ? a->expert : t->req.model);
    ng_json_key(&j, "choices");
    ng_json_array(&j);
    for (uint32_t i = 0; i < t->req.n; i++) put_choice(&j, t, i);
    ng_json_end(&j);
    put_usage(&j, t);
    put_warnings(&j, t);
    if (c->debug) {
        ng_json_key(&j, "nanogrid");
        ng_answer_json(&j, a);
    }
    ng_json_end(&j);
    ng_call_decision_headers(c, a);
    ng_call_send(c, 200);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void note_times(const chat *t) {
    ng_metrics *m = &t->c->api->metrics;
    if (!t->n_tokens) return;
    ng_histogram_add(&m->first_token_s, NG_SCALE_SECONDS,
                     (double)(t->first_ns - t->asked_ns) / 1e9);
    if (t->n_tokens > 1)
        ng_histogram_add(&m->token_s, NG_SCALE_SECONDS,
                         (double)(t->last_ns - t->first_ns) / 1e9 / (double)(t->n_tokens - 1));
}

static bool ask_choice(chat *t, uint32_t i) {
    ng_call *c = t->c;
    ng_request r;
    t->index = i;
    t->role_sent = false;
    t->text_sent = t->n_tokens = 0;
    if (!ng_call_request(c, &r, NG_TASK_AUTO, t->req.model, t->req.user)) return false;
    r.messages = t->req.messages;
    r.n_messages = t->req.n_messages;
    r.params.generate = t->req.options;
    r.params.generate.seed = t->seed + i;
    r.params.has_generate = true;
    r.no_cache = !t->req.has_seed && t->req.options.temp > 0; /* the next one shall differ */
    r.on_token = on_token;
    r.on_answerer = on_answerer;
    r.on_token_ctx = t;
    t->asked_ns = ng_clock_ns();
    if (!ng_call_ask(c, &r, &t->answers[i])) return false;
    note_times(t);
    if (t->logprobs[i].len) ng_buf_putc(&t->logprobs[i], ']');
    return !ng_call_over(c);
}

static bool ask_all(chat *t) {
    ng_call *c = t->c;
    if (t->req.logprobs && !ng_logprobs_tokenizer(&t->tokenizer, c, t->req.model)) return false;
    if (t->req.stream) announce(t);
    for (uint32_t i = 0; i < t->req.n; i++) {
        if (!ask_choice(t, i)) return false;
        if (t->req.stream && !finish_choice(t, t->answers[i]))
            return ng_call_over(c)
                       ? false
                       : ng_problem_set(&c->problem, 503, NULL, NULL, "the stream broke");
    }
    return true;
}

void ng_api_chat(ng_call *c) {
    chat t = {.c = c, .created_s = ng_clock_wall_ms() / 1000, .event = ng_buf_init(64u << 20)};
    for (size_t i = 0; i < NG_CHOICES_MAX; i++) t.logprobs[i] = ng_buf_init(64u << 20);
    ng_call_new_id(c, "chatcmpl-", t.id);
    if (ng_chat_request_read(&t.req, c->body, c->arena, &c->problem)) {
        uint64_t n = atomic_fetch_add(&c->api->next_id, 1);
        t.seed = t.req.has_seed ? t.req.options.seed : ng_hash_mix(c->api->id_seed + n);
        bool ok = ask_all(&t);
        if (t.req.stream) end_stream(&t);
        else if (ok) send_whole(&t);
    }
    for (size_t i = 0; i < NG_CHOICES_MAX; i++) {
        ng_answer_free(t.answers[i]);
        ng_buf_clear(&t.logprobs[i]);
    }
    ng_buf_clear(&t.event);
}
