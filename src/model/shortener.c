/* shortener.c: see shortener.h.
 *
 * A chain over the words of one sentence with two states, dropped and kept (Lafferty et al. 2001), linear in hashed
 * features.  There is no parser: classes of words by closed lists and endings, the function word that begins a phrase, how
 * many verbs stand before and behind and what punctuation cuts off say much of what a parse would.  Kept are the likeliest
 * words, as many as give the sentence the greatest expected F1; the likeliest way through the chain reads better and has three
 * points of F1 less. */

#include "shortener.h"

#include "core/arena.h"
#include "core/hash.h"
#include "core/math.h"
#include "core/utf8.h"
#include "gguf/gguf.h"
#include "text/unicode.h"
#include "text/words.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct ng_shortener {
    int8_t weights[NG_BRIEF_BUCKETS][2];
    float scale;
    size_t file_bytes;
};

/* ---- words -------------------------------------------------------------------------------------- */

enum word_class {
    OTHER, DETERMINER, PREPOSITION, AND, BECAUSE, WHO, THAT, TO, BE, HAVE, WILL, HE, HIS, SAID, NOT, TIME, ALSO, DO,
    NUMBER, LY, ING, ED, CAPITAL, N_CLASSES
};

static const char *const lists[DO + 1] = {
    [DETERMINER] = " a an the this these those some any each every another all both no several many more most ",
    [PREPOSITION] = " in on at by for from with of about after before during over under into near between against through since until amid "
                    "among across around without within toward towards upon off out up down following despite via per than like outside inside ",
    [AND] = " and or but nor & plus ",
    [BECAUSE] = " because while when if as although though where whether unless once ",
    [WHO] = " who which whose whom ",
    [THAT] = " that ",
    [TO] = " to ",
    [BE] = " is are was were be been being am isn't wasn't aren't weren't ",
    [HAVE] = " has have had having hasn't haven't hadn't ",
    [WILL] = " will would can could may might should must shall won't can't cannot wouldn't couldn't ",
    [HE] = " he she it they we i you him them us me there what ",
    [HIS] = " his her its their our my your ",
    [SAID] = " said says say saying told according reported reports announced announces added adds reveals revealed claims claimed confirmed "
             "confirms believes stated states ",
    [NOT] = " not n't never ",
    [TIME] = " monday tuesday wednesday thursday friday saturday sunday january february march april june july august september october november "
             "december today yesterday tomorrow tonight morning afternoon evening night week month year weekend ",
    [ALSO] = " also just only still now then here already even again later earlier recently yet soon too very so ",
    [DO] = " do does did doesn't don't didn't done ",
};

typedef struct folded {
    char s[40];
    size_t n;
} folded;

/* Letters beyond ASCII are never punctuation here. */
static bool is_mark(char c) { return ispunct((unsigned char)c) && c != '$' && c != '%' && c != '&'; }

static folded fold(const char *s, size_t len) {
    folded f = {.n = 0};
    while (len && is_mark(s[len - 1])) len--;
    while (len && is_mark(*s)) s++, len--;
    for (size_t i = 0; i < len && f.n + 4 <= sizeof f.s;) {
        uint32_t cp;
        i += ng_utf8_decode(&cp, s + i, len - i);
        f.n += ng_utf8_encode(f.s + f.n, ng_unicode_lower(cp));
    }
    return f;
}

static bool ends(const folded *f, const char *with, size_t least) {
    size_t n = strlen(with);
    return f->n >= n + least && !memcmp(f->s + f->n - n, with, n);
}

static uint8_t class_of(const folded *f, const char *word, size_t len) {
    char key[44] = " ";
    memcpy(key + 1, f->s, f->n);
    memcpy(key + 1 + f->n, " ", 2);
    for (int k = DETERMINER; f->n && f->n < 12 && !memchr(f->s, 0, f->n) && k <= DO; k++)
        if (strstr(lists[k], key)) return (uint8_t)k;
    for (size_t i = 0; i < f->n; i++)
        if (isdigit((unsigned char)f->s[i])) return NUMBER;
    while (len && is_mark(*word)) word++, len--;
    if (len && *word >= 'A' && *word <= 'Z') return CAPITAL;
    return ends(f, "ly", 2) ? LY : ends(f, "ing", 2) ? ING : ends(f, "ed", 2) ? ED : OTHER;
}

static bool is_verb(uint8_t class) {
    return class == BE || class == HAVE || class == WILL || class == SAID || class == ED || class == DO;
}
static bool is_head(uint8_t class) {
    return class == PREPOSITION || class == AND || class == BECAUSE || class == WHO || class == THAT || class == TO;
}

/* The strongest mark at one end of a word, 0: none. */
static uint8_t mark_of(const char *s, size_t len, bool back) {
    static const char rising[] = "'-\"`(),;:.?!";
    uint8_t best = 0;
    for (size_t i = 0; i < len; i++) {
        char c = back ? s[len - 1 - i] : s[i];
        if (!is_mark(c)) break;
        const char *at = strchr(rising, c);
        if (at && (uint8_t)(at - rising + 1) > best) best = (uint8_t)(at - rising + 1);
    }
    return best;
}

static bool cuts(uint8_t mark) { return mark >= 3; }
static uint8_t least(size_t n, uint8_t most) { return n < most ? (uint8_t)n : most; }

static bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

static void read_words(ng_brief *b, const char *text, size_t len) {
    for (size_t i = 0; i < len;) {
        size_t end = i;
        while (end < len && !is_blank(text[end])) end++;
        folded f = fold(text + i, end - i);
        if (end > i) {
            ng_brief_word *w = &b->words[b->len++];
            *w = (ng_brief_word){.start = i, .end = end, .hash = ng_hash64(f.s, f.n, 0) | 1};
            w->class = class_of(&f, text + i, end - i);
            w->suffix2 = (uint16_t)ng_hash64(f.s + f.n - least(f.n, 2), least(f.n, 2), 2);
            w->suffix3 = (uint16_t)ng_hash64(f.s + f.n - least(f.n, 3), least(f.n, 3), 3);
            w->before = mark_of(text + i, end - i, false);
            w->after = mark_of(text + i, end - i, true);
            bool second = end - i > 1 && isupper((unsigned char)text[i + 1]);
            w->shape = (uint8_t)((isupper((unsigned char)text[i]) != 0) + 2 * second + 4 * least(f.n / 3, 3));
        }
        i = end + 1;
    }
}

static void mark_segments(ng_brief *b) {
    size_t first = 0;
    uint8_t segment = 0;
    bool enclosed = false;
    for (size_t i = 0; i <= b->len; i++) {
        if (i == b->len || (i > first && (cuts(b->words[i - 1].after) || cuts(b->words[i].before)))) {
            for (size_t k = first; k < i; k++) {
                b->words[k].segment = segment, b->words[k].in_segment = least(k - first, 200);
                b->words[k].segment_len = least(i - first, 200);
            }
            segment = least((size_t)segment + 1, 200);
            first = i;
        }
        if (i == b->len) break;
        ng_brief_word *w = &b->words[i];
        if (w->before == 3 || w->before == 4 || w->before == 5) enclosed = true;
        w->enclosed = enclosed;
        if (w->after == 3 || w->after == 1 || w->after == 6) enclosed = false;
    }
}

static void mark_phrases(ng_brief *b) {
    uint64_t head = 0;
    size_t at = 0, verbs = 0, heads = 0, verb_at = SIZE_MAX, run = 0;
    for (size_t i = 0; i < b->len; i++) {
        ng_brief_word *w = &b->words[i];
        if (w->in_segment == 0) head = 2, at = i;
        if (is_head(w->class)) head = w->hash, at = i, heads++;
        w->head = head, w->head_by = least(i - at, 9), w->heads_before = least(heads, 6);
        w->verbs_before = least(verbs, 5), w->verb_by = verb_at == SIZE_MAX ? 10 : least(i - verb_at, 9);
        if (is_verb(w->class)) verbs++, verb_at = i;
        run = w->class == CAPITAL ? run + 1 : 0;
        w->run = least(run, 5);
        for (size_t k = 0; k < i && !w->repeated; k++) w->repeated = b->words[k].hash == w->hash && w->class > DO;
    }
    size_t next = 9;
    verbs = 0;
    for (size_t i = b->len; i-- > 0;) {
        ng_brief_word *w = &b->words[i];
        w->next_head_by = least(next, 9), w->verbs_after = least(verbs, 5);
        next = is_head(w->class) || cuts(w->before) ? 1 : next + 1;
        verbs += is_verb(w->class);
    }
}

ng_status ng_brief_new(ng_brief **out, const char *text, size_t len, ng_error *err) {
    ng_arena *arena;
    size_t n = 0;
    *out = NULL;
    for (size_t i = 0; i < len; i++) n += !is_blank(text[i]) && (i == 0 || is_blank(text[i - 1]));
    if (n > NG_BRIEF_WORDS_MAX)
        return ng_fail(err, NG_ELIMIT, "summarize: a sentence of %zu words; at most %d are shortened", n,
                       NG_BRIEF_WORDS_MAX);
    if (ng_arena_new(&arena, 0)) return ng_fail(err, NG_ENOMEM, "summarize: out of memory");
    ng_brief *b = ng_arena_alloc(arena, sizeof *b);
    if (b) b->words = ng_arena_array(arena, n, sizeof *b->words);
    if (!b || !b->words) {
        ng_arena_free(arena);
        return ng_fail(err, NG_ENOMEM, "summarize: out of memory");
    }
    b->memory = arena;
    read_words(b, text, len);
    mark_segments(b);
    mark_phrases(b);
    size_t known = 0;
    for (size_t i = 0; i < b->len; i++) known += b->words[i].class != OTHER && b->words[i].class <= DO;
    b->english = b->len && known * 8 >= b->len;
    *out = b;
    return NG_OK;
}

void ng_brief_free(ng_brief *b) {
    if (b) ng_arena_free(b->memory);
}

/* ---- features ----------------------------------------------------------------------------------- */

typedef struct features {
    uint32_t *out;
    size_t n;
} features;

static void add(features *f, uint64_t kind, uint64_t a, uint64_t b) {
    f->out[f->n++] = (uint32_t)(ng_hash_mix(a * 0x9E3779B97F4A7C15u ^ ng_hash_mix(b + kind * 0xD6E8FEB86659FD93u)) %
                                NG_BRIEF_BUCKETS);
}

static unsigned place_bin(size_t i) { return i < 6 ? (unsigned)i : i < 9 ? 6 : i < 13 ? 7 : i < 20 ? 8 : 9; }

static void add_phrase(features *f, const ng_brief *b, size_t i) {
    const ng_brief_word *w = &b->words[i];
    const ng_brief_word *first = w - w->in_segment;
    unsigned c = w->class,
             seg = (w->segment < 4 ? w->segment : 4u) * 2 + (i + w->segment_len - w->in_segment >= b->len);
    unsigned verbs = w->verbs_before * 8u + w->verbs_after;
    add(f, 50, w->head, w->head_by);
    add(f, 51, w->head, c);
    add(f, 52, w->head, verbs);
    add(f, 53, w->head, place_bin(i));
    add(f, 54, w->head, w->heads_before);
    add(f, 55, w->next_head_by, c);
    add(f, 56, verbs, c);
    add(f, 57, verbs, seg);
    add(f, 58, w->verb_by, c);
    add(f, 59, w->verb_by * 16u + w->verbs_before, w->head);
    add(f, 60, seg, c);
    add(f, 61, seg, first->hash);
    add(f, 62, seg * 256 + w->segment_len, w->in_segment);
    add(f, 63, first->class, c + 32u * (w->segment_len < 12 ? w->segment_len : 12u));
    add(f, 64, w->run, place_bin(i));
    add(f, 65, w->run, (i + 1 < b->len ? w[1].class : 31u) * 64u + verbs);
    add(f, 66, w->enclosed, c);
    add(f, 67, w->repeated, c);
    add(f, 68, w->heads_before * 16u + w->head_by, w->verbs_before);
}

size_t ng_brief_features(const ng_brief *b, size_t i, uint32_t *out) {
    static const ng_brief_word none = {.class = N_CLASSES};
    const ng_brief_word *w = &b->words[i];
    const ng_brief_word *l = i > 0 ? w - 1 : &none, *ll = i > 1 ? w - 2 : &none;
    const ng_brief_word *r = i + 1 < b->len ? w + 1 : &none, *rr = i + 2 < b->len ? w + 2 : &none;
    unsigned c = w->class, before = l->after * 16u + w->before, after = w->after * 16u + r->before;
    unsigned place = place_bin(i), rest = place_bin(b->len - 1 - i);
    features f = {out, 0};
    add(&f, 1, 0, 0);
    add(&f, 2, w->hash, 0);
    add(&f, 3, l->hash, 0);
    add(&f, 4, r->hash, 0);
    add(&f, 5, ll->hash, c);
    add(&f, 6, rr->hash, c);
    add(&f, 7, l->hash, w->hash);
    add(&f, 8, w->hash, r->hash);
    add(&f, 9, w->suffix3, 0);
    add(&f, 10, w->suffix2, l->class);
    add(&f, 11, w->suffix3, r->class);
    add(&f, 12, c, 0);
    add(&f, 13, l->class, c);
    add(&f, 14, c, r->class);
    add(&f, 15, l->class * 32u + c, r->class);
    add(&f, 16, ll->class * 32u + l->class, c);
    add(&f, 17, c * 32u + r->class, rr->class);
    add(&f, 18, (ll->class * 32u + l->class) * 32u + c, r->class * 32u + rr->class);
    add(&f, 19, before, c);
    add(&f, 20, after, c);
    add(&f, 21, before * 256 + after, 0);
    add(&f, 22, w->hash, before);
    add(&f, 23, w->hash, after);
    add(&f, 24, place, c);
    add(&f, 25, rest, c);
    add(&f, 26, place * 16 + rest, 0);
    add(&f, 27, w->hash, place);
    add(&f, 28, w->shape, l->class);
    add(&f, 29, w->shape, r->shape);
    add(&f, 30, l->hash, c);
    add(&f, 31, r->hash, c);
    add(&f, 32, l->suffix3, c);
    add(&f, 33, r->suffix3, c);
    add(&f, 34, w->hash, w->head);
    add_phrase(&f, b, i);
    return f.n;
}

/* ---- the chain ---------------------------------------------------------------------------------- */

static double log_add(double a, double b) {
    double hi = a > b ? a : b, lo = a > b ? b : a;
    return hi - lo > 40 ? hi : hi + ng_log(1 + ng_exp(lo - hi));
}

/* Before the first word all is dropped. */
double ng_brief_pass(double (*pair)[2], double (*score)[2], size_t len, double *way) {
    double(*in)[2] = (double(*)[2])(void *)way, (*out)[2] = in + len;
    if (!len) return 0;
    in[0][0] = 0, in[0][1] = score[0][0];
    for (size_t i = 1; i < len; i++) {
        in[i][0] = log_add(in[i - 1][0], in[i - 1][1]);
        in[i][1] = log_add(in[i - 1][0] + score[i][0], in[i - 1][1] + score[i][1]);
    }
    out[len - 1][0] = out[len - 1][1] = 0;
    for (size_t i = len - 1; i-- > 0;)
        for (int k = 0; k < 2; k++) out[i][k] = log_add(out[i + 1][0], score[i + 1][k] + out[i + 1][1]);
    double all = log_add(in[len - 1][0], in[len - 1][1]);
    for (size_t i = 0; i < len; i++)
        for (int k = 0; k < 2; k++)
            pair[i][k] = i || !k ? ng_exp((i ? in[i - 1][k] : 0) + score[i][k] + out[i][1] - all) : 0;
    return all;
}

typedef struct likely {
    float p;
    uint32_t at;
} likely;

static int falling(const void *a, const void *b) {
    const likely *x = a, *y = b;
    if (x->p > y->p) return -1;
    if (x->p < y->p) return 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

void ng_brief_choose(bool *keep, const float *p, size_t len, size_t max) {
    likely sorted[NG_BRIEF_WORDS_MAX];
    double expected = 0, sum = 0, best = -1;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) sorted[i] = (likely){p[i], (uint32_t)i}, expected += (double)p[i], keep[i] = false;
    qsort(sorted, len, sizeof *sorted, falling);
    for (size_t i = 0; i < len && (!max || i < max); i++) {
        sum += (double)sorted[i].p;
        double f1 = 2 * sum / ((double)(i + 1) + expected);
        if (f1 > best) best = f1, n = i + 1;
    }
    for (size_t i = 0; i < n; i++) keep[sorted[i].at] = true;
}

/* ---- the sentence ------------------------------------------------------------------------------- */

void ng_brief_write(ng_buf *out, const ng_brief *b, const char *text, const bool *keep) {
    size_t last = b->len, from = out->len;
    char stop = 0;
    for (size_t i = 0; i < b->len; i++)
        if (keep[i]) last = i;
    if (last == b->len) return;
    for (size_t k = b->words[b->len - 1].end; k > b->words[b->len - 1].start && !stop && is_mark(text[k - 1]); k--)
        if (strchr(".?!", text[k - 1])) stop = text[k - 1];
    for (size_t i = 0; i <= last; i++) {
        const ng_brief_word *w = &b->words[i];
        size_t start = w->start, end = w->end;
        if (!keep[i]) continue;
        /* marks stay between words that stay, but a quote or bracket may have lost its other half */
        while (start < end && is_mark(text[start])) start++;
        while (end > start && is_mark(text[end - 1]) && (i == last || !keep[i + 1] || !strchr(",:;'", text[end - 1])))
            end--;
        if (start == end) continue;
        if (out->len > from) ng_buf_putc(out, ' ');
        ng_buf_put(out, text + start, end - start);
    }
    if (out->len == from) return;
    if (stop) ng_buf_putc(out, stop);
    if (!out->status) out->data[from] = (char)toupper((unsigned char)out->data[from]);
}

/* ---- the model ---------------------------------------------------------------------------------- */

static ng_status read_model(ng_shortener *m, const ng_gguf *g, ng_error *err) {
    const char *path = ng_gguf_path(g);
    uint32_t version;
    ng_status s = ng_gguf_get_u32(g, "nanogrid.shortener.version", &version, err);
    if (!s && version != 1)
        s = ng_fail(err, NG_EUNSUPPORTED, "%s: shortener version %u; this program knows 1", path, version);
    if (!s) s = ng_gguf_get_f32(g, "nanogrid.shortener.scale", &m->scale, err);
    if (s) return s;
    const ng_gguf_tensor *t = ng_gguf_find_tensor(g, "shortener.weights");
    if (!t || t->type != NG_TYPE_I8 || t->n_dims != 1 || t->dims[0] != sizeof m->weights)
        return ng_fail(err, NG_EFORMAT, "%s: tensor shortener.weights must be I8 [%zu]", path, sizeof m->weights);
    if (!isfinite(m->scale) || fabsf(m->scale) > 1e3f)
        return ng_fail(err, NG_EFORMAT, "%s: nanogrid.shortener.scale must be a number", path);
    memcpy(m->weights, t->data, sizeof m->weights);
    m->file_bytes = ng_gguf_file_bytes(g);
    return NG_OK;
}

ng_status ng_shortener_open(ng_shortener **out, const char *path, ng_error *err) {
    ng_gguf *g;
    *out = NULL;
    ng_status s = ng_gguf_open(&g, path, err);
    if (s) return s;
    ng_shortener *m = calloc(1, sizeof *m);
    s = m ? read_model(m, g, err) : ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_gguf_close(g);
    if (s) free(m);
    else *out = m;
    return s;
}

void ng_shortener_close(ng_shortener *m) { free(m); }
size_t ng_shortener_file_bytes(const ng_shortener *m) { return m->file_bytes; }

ng_status ng_shortener_believe(const ng_shortener *m, const ng_brief *b, float *p, ng_error *err) {
    double *memory = calloc(8 * b->len + 1, sizeof *memory);
    uint32_t f[NG_BRIEF_FEATURES_MAX];
    if (!memory) return ng_fail(err, NG_ENOMEM, "summarize: out of memory");
    double(*score)[2] = (double(*)[2])(void *)memory, (*pair)[2] = score + b->len;
    for (size_t i = 0; i < b->len; i++) {
        int32_t sum[2] = {0};
        size_t n = ng_brief_features(b, i, f);
        for (size_t k = 0; k < n; k++) sum[0] += m->weights[f[k]][0], sum[1] += m->weights[f[k]][1];
        score[i][0] = (double)sum[0] * (double)m->scale, score[i][1] = (double)sum[1] * (double)m->scale;
    }
    ng_brief_pass(pair, score, b->len, memory + 4 * b->len);
    for (size_t i = 0; i < b->len; i++) p[i] = (float)(pair[i][0] + pair[i][1]);
    free(memory);
    return NG_OK;
}

static size_t count_words(const char *text, size_t len) {
    size_t pos = 0, n = 0;
    for (ng_word w; ng_word_next(text, len, &pos, &w);) n++;
    return n;
}

/* The choice written out, of fewer and fewer words until they are at most max_words. */
static ng_status write_choice(ng_buf *out, const ng_brief *b, const char *text, const float *p, size_t max_words) {
    bool keep[NG_BRIEF_WORDS_MAX];
    size_t from = out->len;
    for (size_t max = max_words;; max--) {
        ng_brief_choose(keep, p, b->len, max);
        ng_brief_write(out, b, text, keep);
        if (out->status || max <= 1 || count_words(out->data + from, out->len - from) <= max_words) return out->status;
        out->len = from;
    }
}

ng_status ng_shorten(ng_buf *out, const ng_shortener *m, const char *text, size_t len, size_t max_words, bool *done,
                     ng_error *err) {
    float p[NG_BRIEF_WORDS_MAX];
    ng_brief *b;
    ng_error why = {0};
    size_t from = out->len;
    *done = false;
    ng_status s = ng_brief_new(&b, text, len, &why);
    if (s == NG_ELIMIT) return NG_OK;
    if (s) return ng_fail(err, s, "%s", why.text);
    if (b->english && (b->len >= NG_BRIEF_WORDS_MIN || max_words)) {
        s = ng_shortener_believe(m, b, p, err);
        if (!s && write_choice(out, b, text, p, max_words))
            s = ng_fail(err, out->status, "summarize: the summary does not fit %zu bytes", out->max);
        *done = !s && out->len > from;
    }
    ng_brief_free(b);
    return s;
}
