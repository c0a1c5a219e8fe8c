/* fit_replies.c: prompts with the answers that are wanted, for models that generate.  Nothing is trained: half of the rows (by the
 * hash of the prompt) are chosen on, the other half judges the choice.
 *
 * Short answers are looked for in the reply, as `calibrate` does it (eval/trials.h): the label that it names first where there are few
 * different answers, the last number where all are numbers, else the answer's words.  Longer ones nobody repeats word for word:
 * there the measure is how many bits a byte of the given answer costs the model, behind the prompt as its template renders it. */
#include "fit_parts.h"

#include "core/file.h"
#include "decode/distribution.h"
#include <nanogrid/model.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REPLIES_MAX = 60, FEWEST_CHOOSE = 20, LABELS_MOST = 32, SHORT_WORDS = 8, CHUNK = 32 };

static const double NO_ROOM_BITS = 8; /* a byte that nothing is known of */

/* ---- the rows ----------------------------------------------------------------------------------- */

typedef struct scan {
    fit_job *j;
    ng_sample *half[2]; /* [n[i], REPLIES_MAX] */
    size_t n[2];
} scan;

static ng_status add_row(void *ctx, const ng_row *row, ng_error *err) {
    scan *c = ctx;
    uint64_t hash = ng_text_hash(row->text, row->text_len);
    if (c->n[hash % 2] == REPLIES_MAX) return NG_OK;
    ng_sample s = {.text = ng_arena_strndup(c->j->arena, row->text, row->text_len),
                   .len = (uint32_t)row->text_len,
                   .second = ng_arena_strndup(c->j->arena, row->second, row->second_len),
                   .second_len = (uint32_t)row->second_len,
                   .hash = hash};
    if (!s.text || !s.second) return ng_fail(err, NG_ENOMEM, "fit: out of memory");
    ng_fit_on_one_line(&s);
    c->half[hash % 2][c->n[hash % 2]++] = s;
    return NG_OK;
}

static ng_status read_rows(scan *c, const char *path) {
    const ng_device_fit_options *o = c->j->opt;
    ng_source source = {.text = o->text ? o->text : "prompt", .second = o->label ? o->label : "answer", .value = ""};
    ng_map map;
    ng_status s = ng_map_open(&map, path, c->j->err);
    if (s) return s;
    s = ng_source_parse(&source, path, (const char *)map.data, map.len, false, add_row, c, c->j->err);
    ng_map_close(&map);
    return s;
}

/* ---- what is right ------------------------------------------------------------------------------ */

static size_t words_of(const char *text) {
    size_t n = 0;
    for (const char *p = text; *p; n++) {
        p += strspn(p, " \t\r\n");
        if (!*p) break;
        p += strcspn(p, " \t\r\n");
    }
    return n;
}

static bool is_number(const char *text) {
    char *end;
    strtod(text, &end);
    return end > text && !*end;
}

/* The different answers into j->labels, as long as there are few. */
static bool few_answers(fit_job *j) {
    const char **names = ng_arena_array(j->arena, LABELS_MOST, sizeof *names);
    size_t n = 0;
    for (size_t i = 0; names && i < j->held.len; i++) {
        size_t k = 0;
        while (k < n && strcmp(names[k], j->held.items[i].second) != 0) k++;
        if (k == LABELS_MOST) return false;
        if (k == n) names[n++] = j->held.items[i].second;
    }
    if (2 * n > j->held.len) return false;
    j->labels = (ng_labels){NULL, names, n};
    return names != NULL;
}

static void choose_measure(fit_job *j) {
    size_t n_short = 0, n_numbers = 0;
    for (size_t i = 0; i < j->held.len; i++) {
        n_short += words_of(j->held.items[i].second) <= SHORT_WORDS;
        n_numbers += is_number(j->held.items[i].second);
    }
    if (2 * n_short <= j->held.len) j->out->by_bits = true;
    else if (n_numbers == j->held.len) j->match = NG_MATCH_NUMBER;
    else j->match = few_answers(j) ? NG_MATCH_LABEL : NG_MATCH_CONTAINS;
}

ng_status ng_fit_replies_read(fit_job *j) {
    scan c = {.j = j};
    for (int i = 0; i < 2; i++)
        if (!(c.half[i] = ng_arena_array(j->arena, REPLIES_MAX, sizeof *c.half[i]))) return ng_fit_no_memory(j);
    ng_status s = read_rows(&c, j->opt->data);
    if (s) return s;
    if (c.n[0] < FEWEST_CHOOSE)
        return ng_fail(j->err, NG_EINVALID, "%s: %zu prompts are left to choose on, of %zu; give at least %d rows", j->opt->data,
                       c.n[0], c.n[0] + c.n[1], 3 * FEWEST_CHOOSE);
    j->held.len = c.n[0] + c.n[1];
    j->held.items = malloc(j->held.len * sizeof *j->held.items);
    if (!j->held.items) return ng_fit_no_memory(j);
    memcpy(j->held.items, c.half[0], c.n[0] * sizeof *j->held.items);
    memcpy(j->held.items + c.n[0], c.half[1], c.n[1] * sizeof *j->held.items);
    j->out->n_choose = c.n[0], j->out->n_test = c.n[1];
    choose_measure(j);
    return NG_OK;
}

bool ng_fit_reply_is_right(const fit_job *j, const ng_sample *x, const char *said) {
    return ng_trial_is_right(j->match, said, &x->second, 1, j->labels.names, j->labels.len);
}

/* ---- bits a byte -------------------------------------------------------------------------------- */

typedef struct meter {
    ng_session *session;
    const ng_tokenizer *tokenizer;
    size_t n_vocab;
    float *logits; /* [CHUNK, n_vocab] */
    ng_error *err;
} meter;

static ng_status add_bits(const meter *m, const float *logits, int32_t id, double *bits) {
    ng_distribution d;
    if (ng_distribution_read(&d, logits, m->n_vocab))
        return ng_fail(m->err, NG_EFORMAT, "the logits are not finite; the weights are damaged");
    *bits -= ((double)logits[id] - (double)d.log_z) * M_LOG2E;
    return NG_OK;
}

/* Of the answer behind the prompt. */
static ng_status measure_ids(const meter *m, const int32_t *prompt, size_t n, const int32_t *answer, size_t n_answer, double *bits) {
    ng_session_rewind(m->session, 0);
    ng_status s = ng_session_eval(m->session, prompt, n, m->logits, m->err);
    if (!s) s = add_bits(m, m->logits, answer[0], bits);
    for (size_t at = 0; !s && at + 1 < n_answer; at += CHUNK) {
        size_t k = n_answer - 1 - at < CHUNK ? n_answer - 1 - at : CHUNK;
        s = ng_session_eval_all(m->session, answer + at, k, m->logits, m->err);
        for (size_t i = 0; !s && i < k; i++) s = add_bits(m, m->logits + i * m->n_vocab, answer[at + i + 1], bits);
    }
    return s;
}

static ng_status measure_reply(const meter *m, const ng_sample *x, float *score) {
    ng_chat_message said = {"user", x->text};
    int32_t *prompt = NULL, *answer = NULL;
    size_t n, n_answer;
    double bits = 0;
    ng_status s = ng_chat_tokenize(m->tokenizer, &said, 1, true, &prompt, &n, m->err);
    if (!s) s = ng_tokenize(m->tokenizer, x->second, x->second_len, NULL, &answer, &n_answer, m->err);
    if (!s && n + n_answer > ng_session_n_ctx(m->session)) bits = NO_ROOM_BITS * x->second_len;
    else if (!s) s = measure_ids(m, prompt, n, answer, n_answer, &bits);
    free(prompt);
    free(answer);
    if (!s) *score = (float)(-bits / x->second_len);
    return s;
}

static ng_status measure_all(fit_job *j, fit_candidate *c, ng_model *model, ng_error *err) {
    ng_session_options opt = {.n_ctx = c->context, .n_threads = j->opt->n_threads, .kv = c->q8 ? NG_KV_8BIT : NG_KV_DEFAULT};
    meter m = {.tokenizer = ng_model_tokenizer(model, err), .n_vocab = ng_model_get_info(model).n_vocab, .err = err};
    if (!m.tokenizer) return err->code;
    ng_status s = ng_session_new(&m.session, model, &opt, err);
    if (s) return s;
    m.logits = malloc(CHUNK * m.n_vocab * sizeof *m.logits);
    if (!m.logits) s = ng_fail(err, NG_ENOMEM, "fit: out of memory");
    for (size_t i = 0; !s && i < j->held.len; i++) s = measure_reply(&m, &j->held.items[i], &c->score[i]);
    free(m.logits);
    ng_session_free(m.session);
    return s;
}

ng_status ng_fit_replies_measure(fit_job *j, fit_candidate *c) {
    ng_model *model;
    ng_error why = {0};
    ng_status s = ng_model_open(&model, ng_fit_model_path(j, c->model), &why);
    if (!s) {
        s = measure_all(j, c, model, &why);
        ng_model_close(model);
    }
    if (s == NG_ENOMEM) return ng_fail(j->err, s, "%s", why.text);
    if (s) snprintf(c->row.why, sizeof c->row.why, "%.159s", why.text);
    return NG_OK;
}
