/* cli_loss.c: see cli_loss.h.
 *
 * Speed is the best of a few short runs that alternate between the two files, so that both see the same
 * machine; it is a hint, `bench` measures. */
#include "cli_loss.h"

#include <nanogrid/perplexity.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_CTX = 512, READ = 128, WRITE = 16, ROUNDS = 3, RANDOM = 256 };

static const char prose[] =
    "The lighthouse at the end of the harbour had been dark for eleven years when Marta bought it from the town.\n"
    "She paid less for it than her brother had paid for his car, and the clerk asked her twice whether she was sure.\n"
    "On the first morning she carried buckets of rainwater up the spiral stairs and washed the salt from the glass.\n"
    "From the gallery she could see the ferry, the fish market, and the long grey line where the river met the sea.\n"
    "Her neighbours brought bread, advice and a radio that only received one station, which played accordion music.\n"
    "To make the lamp turn again she needed a new motor, three bearings and a permit from the coast guard.\n"
    "The permit took four months because the form asked for the name of the keeper, and there was no box for a woman.\n"
    "Please send the invoice for the two bearings to the address below, and let me know when the motor will arrive.\n"
    "Water boils at one hundred degrees Celsius at sea level, but on a high mountain it boils at a lower temperature.\n"
    "The function returns the number of elements that are larger than the limit, or minus one if the list is empty.\n"
    "How do I change the battery of the smoke detector without setting off the alarm in the whole building?\n"
    "In the second quarter revenue rose by six percent to 41 million euros, while costs for energy fell slightly.\n"
    "Antibiotics work against bacteria; they do nothing against a cold, which is caused by a virus.\n"
    "The court found that the contract was void, since neither of the two parties had signed the final page.\n"
    "I really liked the soup, but the service was slow and the table next to us was far too loud.\n"
    "First cut the onions, then heat the oil in a wide pan, and stir until they are soft and golden.\n"
    "The team scored twice in the last ten minutes and won the cup for the first time since 1987.\n"
    "When the lamp finally turned, the whole village stood on the pier, and somebody began to sing.\n";

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef struct side {
    ng_model *model;
    ng_session *session;
} side;

static void close_side(side *s) {
    ng_session_free(s->session);
    ng_model_close(s->model);
}

static ng_status open_side(side *s, const char *path, ng_error *err) {
    *s = (side){NULL, NULL};
    ng_status status = ng_model_open(&s->model, path, err);
    if (status) return status;
    ng_model_info i = ng_model_get_info(s->model);
    ng_session_options o = {.n_ctx = i.n_ctx_train < N_CTX ? i.n_ctx_train : N_CTX};
    return ng_session_new(&s->session, s->model, &o, err);
}

static void keep_best(double *best, double tokens, double began) {
    double rate = tokens / (now_s() - began);
    if (rate > *best) *best = rate;
}

static ng_status time_decoder(cli_loss *l, const side *s, const int32_t *ids, size_t n, ng_error *err) {
    size_t read = n < READ ? n : READ;
    float *logits = malloc(ng_model_get_info(s[0].model).n_vocab * sizeof *logits);
    ng_status status = logits ? NG_OK : ng_fail(err, NG_ENOMEM, "out of memory");
    for (int i = 0; !status && i < 2 * ROUNDS; i++) {
        ng_session *one = s[i % 2].session;
        ng_session_rewind(one, 0);
        double began = now_s();
        status = ng_session_eval(one, ids, read, logits, err);
        keep_best(&l->pp[i % 2], (double)read, began);
        began = now_s();
        for (size_t k = 0; !status && k < WRITE; k++) status = ng_session_eval(one, &ids[k % n], 1, logits, err);
        keep_best(&l->tg[i % 2], WRITE, began);
    }
    free(logits);
    return status;
}

/* The text's tokens; of a file without a tokenizer tokens by chance, which no text of its own could show. */
static ng_status tokens_of(cli_loss *l, const ng_model *m, cli_words text, int32_t **ids, size_t *n, ng_error *err) {
    const ng_tokenizer *t = ng_model_tokenizer(m, err);
    if (t) return ng_tokenize(t, text.data, text.len, NULL, ids, n, err);
    if (err->code == NG_ENOMEM) return err->code;
    l->by_chance = true;
    *n = RANDOM;
    *ids = malloc(*n * sizeof **ids);
    if (!*ids) return ng_fail(err, NG_ENOMEM, "out of memory");
    uint32_t n_vocab = (uint32_t)ng_model_get_info(m).n_vocab;
    for (uint32_t i = 0; i < RANDOM; i++) (*ids)[i] = (int32_t)((i * UINT32_C(2654435761) >> 4) % n_vocab);
    return NG_OK;
}

static ng_status compare_decoders(cli_loss *l, const side *s, cli_words text, ng_error *err) {
    int32_t *ids;
    size_t n;
    ng_perplexity p;
    ng_status status = tokens_of(l, s[0].model, text, &ids, &n, err);
    if (status) return status;
    ng_perplexity_options o = {.session = s[1].session, .base = s[0].session, .ids = ids, .n = n};
    status = ng_perplexity_measure(&p, &o, err);
    if (!status) {
        l->kld_mean = p.kld_mean;
        l->top1_agree = p.top1_agree;
        l->n_tokens = p.n_scored;
        status = ng_session_n_ctx(s[0].session) < READ + WRITE ? NG_OK : time_decoder(l, s, ids, n, err);
    }
    free(ids);
    return status;
}

static double cosine(const float *a, const float *b, size_t n) {
    double dot = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        dot += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0 && bb > 0 ? dot / sqrt(aa * bb) : 0;
}

static ng_status compare_encoders(cli_loss *l, const side *s, cli_words lines_of, ng_error *err) {
    const char *text = lines_of.data;
    size_t len = lines_of.len, n = ng_model_get_info(s[0].model).n_embd, lines = 0, n_tokens;
    float *v = malloc(2 * n * sizeof *v);
    ng_status status = v ? NG_OK : ng_fail(err, NG_ENOMEM, "out of memory");
    if (!status && ng_model_get_info(s[1].model).n_embd != n)
        status = ng_fail(err, NG_EINVALID, "the models differ in size");
    double sum = 0;
    l->cosine_min = 1;
    for (size_t at = 0; !status && at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t now = end ? (size_t)(end - text) - at : len - at;
        for (int i = 0; !status && now && i < 4; i++) {
            double began = now_s();
            status = ng_session_embed(s[i % 2].session, text + at, now, true, v + (size_t)(i % 2) * n, &n_tokens, err);
            keep_best(&l->pp[i % 2], (double)n_tokens, began);
        }
        if (!status && now) {
            double c = cosine(v, v + n, n);
            sum += c;
            lines++;
            l->n_tokens += n_tokens;
            if (c < l->cosine_min) l->cosine_min = c;
        }
        at += now + 1;
    }
    l->cosine_mean = lines ? sum / (double)lines : NAN;
    if (!lines && !status) status = ng_fail(err, NG_EINVALID, "the text has no lines");
    free(v);
    return status;
}

void cli_loss_measure(cli_loss *out, const char *before, const char *after, cli_words text) {
    side s[2] = {{NULL, NULL}, {NULL, NULL}};
    ng_error err = {0};
    if (!text.data) text = (cli_words){prose, sizeof prose - 1};
    *out = (cli_loss){.kld_mean = NAN, .top1_agree = NAN, .cosine_mean = NAN, .cosine_min = NAN};
    ng_status status = open_side(&s[0], before, &err);
    if (!status) status = open_side(&s[1], after, &err);
    if (!status) {
        out->encoder = ng_model_get_info(s[0].model).kind == NG_MODEL_ENCODER;
        status = out->encoder ? compare_encoders(out, s, text, &err) : compare_decoders(out, s, text, &err);
    }
    if (status) snprintf(out->why, sizeof out->why, "%.255s", err.text);
    close_side(&s[0]);
    close_side(&s[1]);
}

bool cli_loss_exceeds(const cli_loss *l, const ng_weights_report *r) {
    if (l->why[0]) return false;
    return l->encoder ? !(l->cosine_mean >= r->cosine_min) : !(l->kld_mean <= r->kl_max);
}

static void put(ng_json *j, const char *key, double v, int decimals) {
    ng_json_key(j, key);
    ng_json_fixed(j, v, decimals);
}

void cli_loss_json(ng_json *j, const cli_loss *l) {
    if (l->why[0]) {
        ng_json_key(j, "not_measured"), ng_json_str(j, l->why);
        return;
    }
    if (l->encoder) put(j, "cosine_mean", l->cosine_mean, 6), put(j, "cosine_min", l->cosine_min, 6);
    else put(j, "kld_mean", l->kld_mean, 6), put(j, "top1_agree", l->top1_agree, 4);
    ng_json_key(j, "tokens"), ng_json_uint(j, l->n_tokens);
    ng_json_key(j, "tokens_by_chance"), ng_json_bool(j, l->by_chance);
    put(j, "pp_before", l->pp[0], 1), put(j, "pp_after", l->pp[1], 1);
    if (!l->encoder) put(j, "tg_before", l->tg[0], 1), put(j, "tg_after", l->tg[1], 1);
}

void cli_loss_text(ng_buf *out, const cli_loss *l, const ng_weights_report *r) {
    if (l->why[0]) {
        ng_buf_printf(out, "the loss was not measured: %s\n", l->why);
        return;
    }
    if (l->encoder)
        ng_buf_printf(out,
                      "cosine to the input's vectors %.5f on average, %.5f at least (%s: %.3f or more is expected)\n",
                      l->cosine_mean, l->cosine_min, r->type, r->cosine_min);
    else
        ng_buf_printf(out,
                      "KL divergence from the input %.5f nats a token, the same best token in %.1f %% (%s: %.3f or "
                      "less is expected)%s\n",
                      l->kld_mean, 100 * l->top1_agree, r->type, r->kl_max,
                      l->by_chance ? "; tokens by chance, for the file has no tokenizer" : "");
    ng_buf_printf(out, "tokens a second: reading %.0f before, %.0f after", l->pp[0], l->pp[1]);
    if (!l->encoder) ng_buf_printf(out, "; writing %.1f before, %.1f after", l->tg[0], l->tg[1]);
    ng_buf_printf(out, "\n");
}
