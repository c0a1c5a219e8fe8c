/* bench_texts.c: see bench_texts.h. */
#include "bench_texts.h"

#include <stdlib.h>
#include <string.h>

enum { TRIES = 64 }; /* ids looked at for a word */

static bool is_word(const char *p, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (p[i] < 'a' || p[i] > 'z') return false;
    return len > 0;
}

/* Tokens of a text; SIZE_MAX when it fails. */
static size_t count(const ng_tokenizer *t, const char *text, size_t len, bool special) {
    int32_t *ids;
    size_t n;
    if (ng_tokenize(t, text, len, &(ng_tokenize_options){.add_special = special}, &ids, &n, NULL)) return SIZE_MAX;
    free(ids);
    return n;
}

/* One more word of one token, behind a space; false when none is found. */
static bool add_word(ng_buf *out, const ng_tokenizer *t, uint32_t *state, bool first) {
    for (int i = 0; i < TRIES; i++) {
        *state = *state * 1664525u + 1013904223u; /* Numerical Recipes' generator: any spread of ids will do */
        size_t len;
        const char *p = ng_tokenizer_piece(t, (int32_t)((*state >> 8) % ng_tokenizer_n_vocab(t)), &len);
        if (!is_word(p, len) || count(t, p, len, false) != 1) continue;
        if (!first) ng_buf_put(out, " ", 1);
        return !ng_buf_put(out, p, len);
    }
    return false;
}

/* At bytes.data + .. of each text once all are made: the buffer moves while it grows. */
static bool make_all(bench_texts *b, const ng_tokenizer *t, size_t n_tok) {
    size_t special = count(t, "", 0, true), at = 0;
    uint32_t state = 1;
    if (special > n_tok) return false;
    for (size_t i = 0; i < b->n; i++) {
        at = b->bytes.len;
        for (size_t w = 0; w < n_tok - special; w++)
            if (!add_word(&b->bytes, t, &state, w == 0)) return false;
        b->texts[i].len = b->bytes.len - at;
    }
    at = 0;
    for (size_t i = 0; i < b->n; i++) {
        b->texts[i].data = b->bytes.data + at;
        at += b->texts[i].len;
        if (count(t, b->texts[i].data, b->texts[i].len, true) != n_tok) return false;
    }
    return true;
}

ng_status bench_texts_make(bench_texts *b, const ng_model *m, size_t n_texts, size_t n_tok, ng_error *err) {
    const ng_tokenizer *t = ng_model_tokenizer(m, NULL);
    *b = (bench_texts){.n = n_texts, .bytes = ng_buf_init((size_t)256 << 20)};
    if (!t) return NG_OK;
    b->texts = calloc(n_texts, sizeof *b->texts);
    if (!b->texts) return ng_fail(err, NG_ENOMEM, "out of memory");
    if (!make_all(b, t, n_tok)) bench_texts_clear(b);
    return NG_OK;
}

void bench_texts_clear(bench_texts *b) {
    free(b->texts);
    ng_buf_clear(&b->bytes);
    *b = (bench_texts){0};
}
