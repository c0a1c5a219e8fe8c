/* encoder_ids.c: see encoder_ids.h.
 *
 * Tags come by the words of the file, which one space parts; the encoder's words (model/token_spans.h) are
 * at most as long.  A word of the file that falls into several of them, "family-run", hands B- to its first
 * and I- to the others, so that spans stay spans. */
#include "encoder_ids.h"

#include "model/pair_ids.h"
#include "model/token_spans.h"
#include <stdlib.h>
#include <string.h>

static ng_status no_memory(size_t n, ng_error *err) {
    return ng_fail(err, NG_ENOMEM, "encoder: no memory for %zu texts", n);
}

static bool grow(void **p, size_t *cap, size_t need, size_t item) {
    if (need <= *cap) return true;
    size_t more = *cap * 2 > need ? *cap * 2 : need;
    void *q = realloc(*p, more * item);
    if (!q) return false;
    *p = q;
    *cap = more;
    return true;
}

static ng_status put_ids(ng_id_texts *x, const int32_t *ids, size_t n, ng_error *err) {
    size_t used = x->begin[x->n];
    if (!grow((void **)&x->ids, &x->ids_cap, used + n, sizeof *x->ids)) return no_memory(x->n, err);
    memcpy(x->ids + used, ids, n * sizeof *ids);
    x->begin[++x->n] = used + n;
    return NG_OK;
}

static ng_status put_text(ng_id_texts *x, const ng_tokenizer *t, const ng_text_pair *text, size_t n_ctx,
                          ng_error *err) {
    ng_pair_ids p;
    ng_status s = ng_pair_ids_new(&p, t, text, n_ctx, err);
    if (s) return s;
    x->first[x->n] = (uint32_t)p.n_first;
    s = put_ids(x, p.ids, p.n, err);
    free(p.ids);
    return s;
}

/* One label for each word of the encoder. */
static ng_status put_tags(ng_id_texts *x, const ng_sample *s, const ng_word_ids *w, ng_error *err) {
    size_t used = x->word_begin[x->n], cap = x->words_cap, at = 0, index = 0, last = SIZE_MAX;
    if (!grow((void **)&x->rows, &cap, used + w->n_words, sizeof *x->rows)) return no_memory(x->n, err);
    cap = x->words_cap;
    if (!grow((void **)&x->tags, &cap, used + w->n_words, sizeof *x->tags)) return no_memory(x->n, err);
    cap = x->words_cap;
    if (!grow((void **)&x->shapes, &cap, used + w->n_words, NG_SHAPE_WORDS * sizeof *x->shapes))
        return no_memory(x->n, err);
    x->words_cap = cap;
    for (size_t i = 0; i < w->n_words; i++) {
        for (; at < w->words[i].start; at++) index += s->text[at] == ' ';
        int32_t tag = index < s->n_words ? s->tags[index] : 0;
        if (index == last && tag % 2 == 1) tag++; /* B- is odd, its I- follows it */
        last = index;
        x->rows[used + i] = w->words[i].row;
        x->tags[used + i] = tag;
        ng_word_shapes(x->shapes + (used + i) * NG_SHAPE_WORDS, w, i);
    }
    x->word_begin[x->n + 1] = used + w->n_words;
    return NG_OK;
}

static ng_status put_tagged(ng_id_texts *x, const ng_tokenizer *t, const ng_sample *s, size_t n_ctx, ng_error *err) {
    ng_word_ids w;
    ng_status st = ng_word_ids_new(&w, t, s->text, s->len, n_ctx, err);
    if (st) return st;
    st = put_tags(x, s, &w, err);
    if (!st) st = put_ids(x, w.ids, w.n_ids, err);
    ng_word_ids_clear(&w);
    return st;
}

ng_status ng_id_texts_new(ng_id_texts *out, const ng_dataset *d, ng_recipe_task task, const ng_tokenizer *t,
                          size_t n_ctx, ng_error *err) {
    ng_status s = NG_OK;
    *out = (ng_id_texts){0};
    out->begin = calloc(2 * d->len + 1, sizeof *out->begin);
    out->first = calloc(2 * d->len + 1, sizeof *out->first);
    out->word_begin = task == NG_RECIPE_EXTRACT ? calloc(d->len + 1, sizeof *out->word_begin) : NULL;
    if (!out->begin || !out->first || (task == NG_RECIPE_EXTRACT && !out->word_begin) ||
        !grow((void **)&out->ids, &out->ids_cap, d->len * 24 + 1, sizeof *out->ids))
        return no_memory(d->len, err);
    for (size_t i = 0; !s && i < d->len; i++) {
        const ng_sample *x = &d->items[i];
        const char *joined = task == NG_RECIPE_EMBED ? NULL : x->second;
        if (task == NG_RECIPE_EXTRACT) s = put_tagged(out, t, x, n_ctx, err);
        else s = put_text(out, t, &(ng_text_pair){x->text, x->len, joined, x->second_len}, n_ctx, err);
        if (!s && task == NG_RECIPE_EMBED)
            s = put_text(out, t, &(ng_text_pair){x->second, x->second_len, NULL, 0}, n_ctx, err);
    }
    return s;
}

void ng_id_texts_clear(ng_id_texts *x) {
    free(x->ids);
    free(x->begin);
    free(x->first);
    free(x->rows);
    free(x->tags);
    free(x->shapes);
    free(x->word_begin);
    *x = (ng_id_texts){0};
}

size_t ng_id_texts_longest(const ng_id_texts *x) {
    size_t n = 0;
    for (size_t i = 0; i < x->n; i++)
        if (x->begin[i + 1] - x->begin[i] > n) n = x->begin[i + 1] - x->begin[i];
    return n;
}
