/* token_spans.c: see token_spans.h.  Words are tokenized one by one, which gives the text's own ids since
 * WordPiece cuts at the same places first; the special ones come from an empty text.
 *
 * Shapes leave out whether a mark touches its word: data sets part words by spaces where people write none. */
#include "token_spans.h"

#include "core/math.h"
#include "core/utf8.h"
#include "model/encoder_heads.h"
#include "text/unicode.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum kind { SPACE, LETTER, ALONE } kind;

static kind kind_of(uint32_t cp) {
    uint32_t f = ng_unicode(cp);
    if (f & NG_U_SPACE) return SPACE;
    if (cp < 128)
        return (cp >= '0' && cp <= '9') || ((cp | 32) >= 'a' && (cp | 32) <= 'z') ? LETTER : cp <= 32 ? SPACE : ALONE;
    return f & (NG_U_PUNCT | NG_U_CJK) ? ALONE : LETTER;
}

/* The word that begins at or behind `i`; false at the end. */
static bool next_word(const char *text, size_t len, size_t i, size_t *start, size_t *end) {
    bool inside = false;
    for (size_t n; i < len; i += n) {
        uint32_t cp;
        n = ng_utf8_decode(&cp, text + i, len - i);
        kind k = kind_of(cp);
        if (inside && k != LETTER) break;
        if (k == SPACE) continue;
        if (!inside) *start = i;
        *end = i + n;
        if (k == ALONE) return true;
        inside = true;
    }
    return inside;
}

static ng_status no_memory(ng_word_ids *w, ng_error *err) {
    ng_word_ids_clear(w);
    return ng_fail(err, NG_ENOMEM, "words of a text: out of memory");
}

/* ---- shapes ------------------------------------------------------------------------------------- */

/* The word's own letters; the rest is of its place. */
static uint16_t shape_of(const char *word, size_t len) {
    size_t upper = 0, lower = 0, letters = 0;
    bool digit = false, first_upper = false;
    for (size_t i = 0; i < len;) {
        uint32_t cp;
        i += ng_utf8_decode(&cp, word + i, len - i);
        uint32_t f = ng_unicode(cp);
        digit |= (f & NG_U_NUMBER) != 0;
        letters += (f & NG_U_LETTER) != 0;
        first_upper |= letters == 1 && (f & NG_U_UPPER) && (f & NG_U_LETTER);
        upper += (f & NG_U_UPPER) != 0;
        lower += (f & NG_U_LOWER) != 0;
    }
    uint16_t shape = digit ? NG_SHAPE_DIGIT : !letters ? NG_SHAPE_NONE : 0;
    if (upper + lower == 0) return shape;
    if (!upper) return shape | NG_SHAPE_LOWER;
    if (!lower) return shape | (upper > 1 ? NG_SHAPE_CAPS : NG_SHAPE_INITIAL);
    return shape | (first_upper && upper == 1 ? NG_SHAPE_CAPITAL : NG_SHAPE_MIXED);
}

static bool is_naming(char c) { return c == '@' || c == '#'; }

/* Of words [n] of the text: shapes by themselves, then by their places. */
static void set_shapes(ng_text_word *words, size_t n, const char *text, size_t len) {
    size_t cased = 0, capital = 0, caps = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t s = words[i].shape = shape_of(text + words[i].start, words[i].end - words[i].start);
        cased += (s & (NG_SHAPE_LOWER | NG_SHAPE_CAPITAL | NG_SHAPE_CAPS | NG_SHAPE_MIXED)) != 0;
        capital += (s & NG_SHAPE_CAPITAL) != 0;
        caps += (s & NG_SHAPE_CAPS) != 0;
    }
    for (size_t i = 0; i < n; i++) {
        const ng_text_word *before = i ? &words[i - 1] : NULL;
        size_t start = words[i].start, end = words[i].end;
        uint16_t s = words[i].shape;
        char mark = before ? text[before->end - 1] : '.';
        if (s & NG_SHAPE_CAPITAL && 2 * capital > cased) s ^= NG_SHAPE_CAPITAL | NG_SHAPE_TITLE;
        if (s & NG_SHAPE_CAPS && 2 * caps > cased) s ^= NG_SHAPE_CAPS | NG_SHAPE_SHOUT;
        if (mark == '.' || mark == '!' || mark == '?') s |= NG_SHAPE_FIRST;
        if (before && before->end == start && is_naming(mark)) s |= NG_SHAPE_NAMED;
        if (end - start == 1 && is_naming(text[start]) && end < len && kind_of((unsigned char)text[end]) == LETTER)
            s |= NG_SHAPE_NAMING;
        words[i].shape = s;
    }
}

void ng_word_shapes(uint16_t shapes[NG_SHAPE_WORDS], const ng_word_ids *w, size_t i) {
    shapes[0] = i ? w->words[i - 1].shape : NG_SHAPE_EDGE;
    shapes[1] = w->words[i].shape;
    shapes[2] = i + 1 < w->n_words ? w->words[i + 1].shape : NG_SHAPE_EDGE;
}

/* ---- words -------------------------------------------------------------------------------------- */

/* Appends one word's pieces; *full when they no longer fit. */
static ng_status put_word(ng_word_ids *w, const ng_tokenizer *t, const char *text, const size_t at[2], size_t room,
                          bool *full, ng_error *err) {
    int32_t *ids;
    size_t n;
    ng_status s = ng_tokenize(t, text + at[0], at[1] - at[0], NULL, &ids, &n, err);
    if (s) return s;
    w->n_all += n;
    *full = *full || w->n_ids + n > room;
    if (n && !*full) {
        w->words[w->n_words++] = (ng_text_word){(uint32_t)at[0], (uint32_t)at[1], (uint32_t)w->n_ids, 0};
        memcpy(w->ids + w->n_ids, ids, n * sizeof *ids);
        w->n_ids += n;
    }
    free(ids);
    return NG_OK;
}

ng_status ng_word_ids_new(ng_word_ids *out, const ng_tokenizer *t, const char *text, size_t len, size_t n_most,
                          ng_error *err) {
    int32_t *around;
    size_t n_around, at[2] = {0};
    *out = (ng_word_ids){0};
    if (len > INT32_MAX) return ng_fail(err, NG_ELIMIT, "the text has %zu bytes; at most 2^31 - 1 are tagged", len);
    ng_status s = ng_tokenize(t, "", 0, &(ng_tokenize_options){.add_special = true}, &around, &n_around, err);
    if (s) return s;
    size_t tail = n_around > 1; /* the closing [SEP] */
    if (n_most > len + n_around) n_most = len + n_around; /* no piece is shorter than a byte */
    out->ids = malloc((n_most + n_around) * sizeof *out->ids);
    out->words = malloc((n_most + 1) * sizeof *out->words);
    if (!out->ids || !out->words) {
        free(around);
        return no_memory(out, err);
    }
    bool full = false;
    if (n_around) out->ids[out->n_ids++] = around[0];
    out->n_all = n_around;
    for (size_t i = 0; !s && next_word(text, len, i, &at[0], &at[1]); i = at[1])
        s = put_word(out, t, text, at, n_most - tail, &full, err);
    if (tail) out->ids[out->n_ids++] = around[n_around - 1];
    set_shapes(out->words, out->n_words, text, len);
    free(around);
    if (s) ng_word_ids_clear(out);
    return s;
}

void ng_word_ids_clear(ng_word_ids *w) {
    free(w->ids);
    free(w->words);
    *w = (ng_word_ids){0};
}

size_t ng_tags_to_spans(ng_tag_span *spans, const int32_t *tags, size_t n, const char *const *labels) {
    size_t count = 0;
    bool open = false;
    for (size_t i = 0; i < n; i++) {
        const char *l = labels[tags[i]];
        bool inside = (l[0] == 'B' || l[0] == 'I') && l[1] == '-';
        if (!inside) {
            open = false;
            continue;
        }
        bool goes_on = open && l[0] == 'I' && !strcmp(spans[count - 1].kind, l + 2);
        if (goes_on) spans[count - 1].last = i;
        else spans[count++] = (ng_tag_span){i, i, l + 2};
        open = true;
    }
    return count;
}

bool ng_span_gap(const char *text, size_t len) {
    size_t i = 0;
    while (i < len && i < 12 && text[i] && strchr(" \t\r\n,>|-*?/()", text[i])) i++;
    return i == len;
}

/* ---- tagging ------------------------------------------------------------------------------------ */

/* Words [from, to) that fit the session together; to > from while a word fits by itself. */
static size_t window_end(const ng_word_ids *w, size_t from, size_t room) {
    size_t to = from;
    while (to < w->n_words && (to + 1 < w->n_words ? w->words[to + 1].row : w->n_ids - 1) - w->words[from].row <= room)
        to++;
    return to;
}

typedef struct window {
    int32_t *ids;   /* [n_most] */
    float *hidden;  /* [n_most, width] */
    float *p;       /* [n_most, n_labels] probabilities of each word's tags */
    double *sum;    /* [2, n_labels] of the best way to a tag: log probabilities */
    int16_t *before; /* [n_most, n_labels] the tag before on that way */
    int16_t *kinds; /* [n_labels] alike for B-x and I-x */
    size_t n_most;
} window;

static void number_kinds(int16_t *kinds, const ng_encoder_head *h) {
    for (size_t i = 0; i < h->n_labels; i++)
        for (size_t k = 0; k <= i; k++) /* "O" by itself, then what follows "B-" and "I-" */
            if (i == k || (k && !strcmp(h->labels[i] + 2, h->labels[k] + 2))) {
                kinds[i] = (int16_t)k;
                break;
            }
}

/* Whether tag b may follow tag a (-1: nothing): an I- goes on a span of its kind. */
static bool may_follow(const window *x, const ng_encoder_head *h, int a, size_t b) {
    return h->labels[b][0] != 'I' || (a > 0 && x->kinds[a] == x->kinds[b]);
}

/* The likeliest sequence of tags that is one (Viterbi), behind the tag that is there. */
static void choose_tags(ng_tagging *out, const window *x, const ng_encoder_head *h, size_t from, size_t n) {
    size_t labels = h->n_labels, best = 0;
    for (size_t i = 0; i < n; i++) {
        double *sum = x->sum + (i & 1) * labels, *last = x->sum + (~i & 1) * labels;
        for (size_t b = 0; b < labels; b++) {
            double top = -INFINITY, own = ng_log((double)x->p[i * labels + b] + 1e-30);
            x->before[i * labels + b] = 0;
            if (!i && may_follow(x, h, from ? out->tags[from - 1] : -1, b)) top = 0;
            for (size_t a = 0; i && a < labels; a++)
                if (last[a] > top && may_follow(x, h, (int)a, b)) top = last[a], x->before[i * labels + b] = (int16_t)a;
            sum[b] = top + own;
        }
    }
    const double *end = x->sum + (~n & 1) * labels;
    for (size_t b = 1; b < labels; b++)
        if (end[b] > end[best]) best = b;
    for (size_t i = n; i-- > 0; best = (size_t)x->before[i * labels + best]) {
        out->tags[from + i] = (int32_t)best;
        out->p[from + i] = x->p[i * labels + best];
    }
}

static void tag_rows(ng_tagging *out, const ng_tag_source *src, const window *x, const float *hidden, size_t from,
                     size_t to) {
    const ng_encoder_head *h = src->head;
    for (size_t i = from; i < to; i++) {
        uint16_t shapes[NG_SHAPE_WORDS];
        float *p = x->p + (i - from) * h->n_labels;
        ng_word_shapes(shapes, &out->w, i);
        ng_encoder_head_row(h, hidden + (out->w.words[i].row - out->w.words[from].row + 1) * h->width, p);
        ng_encoder_head_shapes(h, shapes, p);
        ng_encoder_head_decide(h, p, p);
    }
    choose_tags(out, x, h, from, to - from);
}

static ng_status tag_windows(ng_tagging *out, const ng_tag_source *src, const window *x, ng_error *err) {
    const ng_word_ids *w = &out->w;
    size_t room = x->n_most - 2;
    for (size_t from = 0, next; from < w->n_words; from = next) {
        size_t to = window_end(w, from, room);
        if (to == from) { /* one word of more pieces than the encoder holds is nothing that has a name */
            out->tags[from] = 0, out->p[from] = 1;
            next = from + 1;
            continue;
        }
        size_t end = to < w->n_words ? w->words[to].row : w->n_ids - 1, n = end - w->words[from].row;
        const float *hidden = x->hidden;
        if (!from && src->hidden) hidden = src->hidden;
        else {
            x->ids[0] = w->ids[0];
            memcpy(x->ids + 1, w->ids + w->words[from].row, n * sizeof *x->ids);
            x->ids[n + 1] = w->ids[w->n_ids - 1];
            ng_status s = ng_session_hidden(src->session, x->ids, n + 2, x->hidden, err);
            if (s) return s;
        }
        tag_rows(out, src, x, hidden, from, to);
        /* The next window tags the last quarter again, with what follows it in sight. */
        next = to < w->n_words && to - from >= 8 ? to - (to - from) / 4 : to;
    }
    return NG_OK;
}

ng_status ng_tag_text(ng_tagging *out, const ng_tag_source *src, const char *text, size_t len, ng_error *err) {
    *out = (ng_tagging){0};
    ng_status s = ng_word_ids_new(&out->w, src->tokenizer, text, len, SIZE_MAX / 16, err);
    if (s) return s;
    size_t n = out->w.n_words, n_most = src->n_most;
    size_t labels = src->head->n_labels;
    window x = {malloc(n_most * sizeof *x.ids), malloc(n_most * src->head->width * sizeof *x.hidden), malloc(n_most * labels * sizeof *x.p),
                malloc(2 * labels * sizeof *x.sum), malloc(n_most * labels * sizeof *x.before), malloc(labels * sizeof *x.kinds), n_most};
    out->tags = malloc((n + 1) * sizeof *out->tags);
    out->p = malloc((n + 1) * sizeof *out->p);
    bool ok = x.ids && x.hidden && x.p && x.sum && x.before && x.kinds && out->tags && out->p;
    if (ok) number_kinds(x.kinds, src->head);
    if (!ok) s = ng_fail(err, NG_ENOMEM, "tagging %zu words: out of memory", n);
    else if (out->w.n_ids < n + 2 || n_most < 8)
        s = ng_fail(err, NG_EUNSUPPORTED,
                    "tagging needs a tokenizer with [CLS] and [SEP] and a context of at least 8 tokens");
    else s = tag_windows(out, src, &x, err);
    free(x.ids);
    free(x.hidden);
    free(x.p);
    free(x.sum);
    free(x.before);
    free(x.kinds);
    if (s) ng_tagging_clear(out);
    return s;
}

void ng_tagging_clear(ng_tagging *t) {
    ng_word_ids_clear(&t->w);
    free(t->tags);
    free(t->p);
    *t = (ng_tagging){0};
}
