/* extractive.c: sentences as features, and a linear score over them.
 *
 * What is known of a sentence: where it stands, how central its words are to the document (cosine to
 * the sum of all sentence vectors, weighted by inverse sentence frequency: Radev et al. 2004), how
 * long it is, and its words and word pairs, hashed: "we propose", "this paper presents" tell more of
 * an abstract than any statistics.  The score is linear in all of that; train_extractive.c learns it.
 *
 * The invariant that makes scores repeatable: every sum runs over words in the order of the text, in
 * double, and logarithms are ours. */
#include "extractive.h"

#include "core/arena.h"
#include "core/hash.h"
#include "core/math.h"
#include "core/utf8.h"
#include "gguf/gguf.h"
#include "text/unicode.h"
#include "text/words.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct ng_extractive {
    double dense[NG_EXTRACTIVE_DENSE];
    double hashed[NG_EXTRACTIVE_BUCKETS];
    size_t file_bytes;
};

/* ---- words -------------------------------------------------------------------------------------- */

typedef struct token {
    uint64_t hash;
    uint32_t id;
} token;

typedef struct vocabulary {
    token *slots; /* open addressing; hash 0 is empty */
    size_t mask;
    uint32_t len;
} vocabulary;

static uint32_t word_id(vocabulary *v, uint64_t hash) {
    size_t i = hash & v->mask;
    while (v->slots[i].hash && v->slots[i].hash != hash) i = (i + 1) & v->mask;
    if (!v->slots[i].hash) v->slots[i] = (token){hash, v->len++};
    return v->slots[i].id;
}

/* The hash of a word without regard to case; never 0. */
static uint64_t word_hash(const char *s, size_t len) {
    char lower[64];
    size_t n = 0;
    for (size_t i = 0; i < len && n + 4 <= sizeof lower;) {
        uint32_t cp;
        i += ng_utf8_decode(&cp, s + i, len - i);
        n += ng_utf8_encode(lower + n, ng_unicode_lower(cp));
    }
    return ng_hash64(lower, n, 0) | 1;
}

static uint16_t bucket(uint64_t a, uint64_t b, uint64_t kind) {
    return (uint16_t)(ng_hash_mix(a ^ ng_hash_mix(b + kind)) % NG_EXTRACTIVE_BUCKETS);
}

/* ---- one sentence ------------------------------------------------------------------------------- */

typedef struct builder {
    ng_arena *arena;
    ng_extractive_doc *doc;
    vocabulary words;
    uint32_t *df;     /* by word id: sentences that have it */
    uint64_t *hashes; /* of the current sentence's words, in order */
    uint32_t *ids;
    size_t *n_numbers; /* by sentence */
} builder;

static int compare_u32(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int compare_u16(const void *a, const void *b) {
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

static ng_status put_buckets(builder *b, ng_extractive_sentence *s, size_t n) {
    uint16_t *out = ng_arena_array(b->arena, 2 * n + 2, sizeof *out);
    if (!out) return NG_ENOMEM;
    size_t k = 0, distinct = 0;
    for (size_t i = 0; i < n; i++) {
        out[k++] = bucket(b->hashes[i], 0, 1);
        if (i + 1 < n) out[k++] = bucket(b->hashes[i], b->hashes[i + 1], 2);
    }
    if (n > 0) out[k++] = bucket(b->hashes[0], 0, 3);
    if (n > 1) out[k++] = bucket(b->hashes[0], b->hashes[1], 4);
    qsort(out, k, sizeof *out, compare_u16);
    for (size_t i = 0; i < k; i++)
        if (i == 0 || out[i] != out[i - 1]) out[distinct++] = out[i];
    s->buckets = out;
    s->n_buckets = distinct;
    return NG_OK;
}

static ng_status read_sentence(builder *b, size_t index, const char *text, size_t len) {
    ng_extractive_sentence *s = &b->doc->sentences[index];
    size_t pos = 0, n = 0, distinct = 0;
    ng_word w;
    while (ng_word_next(text, len, &pos, &w)) {
        b->hashes[n] = word_hash(text + w.start, w.end - w.start);
        b->ids[n] = word_id(&b->words, b->hashes[n]);
        b->n_numbers[index] += w.kind == NG_WORD_NUMBER;
        n++;
    }
    s->n_words = n;
    uint32_t *ids = ng_arena_array(b->arena, n, sizeof *ids);
    if (!ids) return NG_ENOMEM;
    qsort(b->ids, n, sizeof *b->ids, compare_u32);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || b->ids[i] != b->ids[i - 1]) {
            ids[distinct++] = b->ids[i];
            b->df[b->ids[i]]++;
        }
    s->words = ids;
    s->n_distinct = distinct;
    return put_buckets(b, s, n);
}

/* ---- the document ------------------------------------------------------------------------------- */

static double dot_words(const ng_extractive_doc *d, const ng_extractive_sentence *s, const double *v) {
    double sum = 0;
    for (size_t i = 0; i < s->n_distinct; i++) sum += d->weight[s->words[i]] * v[s->words[i]];
    return sum;
}

static ng_status put_centrality(builder *b, double *centrality) {
    ng_extractive_doc *d = b->doc;
    double *centre = ng_arena_array(b->arena, b->words.len, sizeof *centre);
    if (!centre) return NG_ENOMEM;
    for (size_t i = 0; i < d->len; i++) {
        ng_extractive_sentence *s = &d->sentences[i];
        s->norm = sqrt(dot_words(d, s, d->weight));
        for (size_t k = 0; k < s->n_distinct; k++) centre[s->words[k]] += d->weight[s->words[k]] / s->norm;
    }
    double norm = 0;
    for (size_t i = 0; i < b->words.len; i++) norm += centre[i] * centre[i];
    norm = sqrt(norm);
    for (size_t i = 0; i < d->len; i++) {
        const ng_extractive_sentence *s = &d->sentences[i];
        centrality[i] = s->n_distinct ? dot_words(d, s, centre) / (s->norm * norm) : 0;
    }
    return NG_OK;
}

static void put_dense(ng_extractive_doc *d, size_t i, double centrality, size_t n_numbers, bool question) {
    ng_extractive_sentence *s = &d->sentences[i];
    double length = (s->n_words < 60 ? (double)s->n_words : 60) / 30;
    const double dense[NG_EXTRACTIVE_DENSE] = {
        i == 0,
        i == 1,
        i == 2,
        1 / (1 + (double)i),
        (double)i / (double)d->len,
        i + 1 == d->len,
        i + 2 == d->len,
        centrality,
        i > 0 ? centrality : 0,
        length,
        length * length,
        s->n_words < 8,
        s->n_words > 35,
        question,
        s->n_words ? (double)n_numbers / (double)s->n_words : 0,
    };
    memcpy(s->dense, dense, sizeof dense);
}

static ng_status take_memory(builder *b, const ng_span *spans, size_t n) {
    size_t longest = 1, total = 1, slots = 16;
    for (size_t i = 0; i < n; i++) {
        size_t len = spans[i].end - spans[i].start;
        if (len > longest) longest = len;
        total += len; /* a word has at least one byte */
    }
    while (slots < 2 * total) slots *= 2;
    b->words.mask = slots - 1;
    b->words.slots = ng_arena_array(b->arena, slots, sizeof *b->words.slots);
    b->df = ng_arena_array(b->arena, total, sizeof *b->df);
    b->hashes = ng_arena_array(b->arena, longest, sizeof *b->hashes);
    b->ids = ng_arena_array(b->arena, longest, sizeof *b->ids);
    b->n_numbers = ng_arena_array(b->arena, n, sizeof *b->n_numbers);
    b->doc->sentences = ng_arena_array(b->arena, n, sizeof *b->doc->sentences);
    bool ok = b->words.slots && b->df && b->hashes && b->ids && b->n_numbers && b->doc->sentences;
    return ok ? NG_OK : NG_ENOMEM;
}

static ng_status build(builder *b, const char *text, const ng_span *spans, size_t n) {
    if (take_memory(b, spans, n)) return NG_ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (read_sentence(b, i, text + spans[i].start, spans[i].end - spans[i].start)) return NG_ENOMEM;
    double *centrality = ng_arena_array(b->arena, n, sizeof *centrality);
    b->doc->len = n;
    b->doc->weight = ng_arena_array(b->arena, b->words.len, sizeof *b->doc->weight);
    if (!centrality || !b->doc->weight) return NG_ENOMEM;
    for (size_t i = 0; i < b->words.len; i++) b->doc->weight[i] = ng_log(1 + (double)n / b->df[i]);
    if (put_centrality(b, centrality)) return NG_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        bool question = spans[i].end > spans[i].start && text[spans[i].end - 1] == '?';
        put_dense(b->doc, i, centrality[i], b->n_numbers[i], question);
    }
    return NG_OK;
}

ng_status ng_extractive_doc_new(ng_extractive_doc **out, const char *text, const ng_span *spans,
                                size_t n, ng_error *err) {
    builder b = {0};
    *out = NULL;
    if (ng_arena_new(&b.arena, 0)) return ng_fail(err, NG_ENOMEM, "summarize: out of memory");
    b.doc = ng_arena_alloc(b.arena, sizeof *b.doc);
    if (!b.doc || build(&b, text, spans, n)) {
        ng_arena_free(b.arena);
        return ng_fail(err, NG_ENOMEM, "summarize: out of memory for %zu sentences", n);
    }
    b.doc->memory = b.arena;
    *out = b.doc;
    return NG_OK;
}

void ng_extractive_doc_free(ng_extractive_doc *d) {
    if (d) ng_arena_free(d->memory);
}

double ng_extractive_similarity(const ng_extractive_doc *d, size_t a, size_t b) {
    const ng_extractive_sentence *x = &d->sentences[a], *y = &d->sentences[b];
    double sum = 0;
    for (size_t i = 0, k = 0; i < x->n_distinct && k < y->n_distinct;) {
        if (x->words[i] < y->words[k]) {
            i++;
        } else if (x->words[i] > y->words[k]) {
            k++;
        } else {
            sum += d->weight[x->words[i]] * d->weight[x->words[i]];
            i++, k++;
        }
    }
    return x->norm > 0 && y->norm > 0 ? sum / (x->norm * y->norm) : 0;
}

/* ---- the model ---------------------------------------------------------------------------------- */

static ng_status check_tensor(const ng_gguf_tensor *t, const char *path, const char *name, ng_type type,
                              uint64_t n, ng_error *err) {
    if (t && t->type == type && t->n_dims == 1 && t->dims[0] == n) return NG_OK;
    return ng_fail(err, NG_EFORMAT, "%s: tensor %s must be %s [%llu]", path, name, ng_type_get_info(type).name,
                   (unsigned long long)n);
}

static ng_status read_model(ng_extractive *m, const ng_gguf *g, ng_error *err) {
    const char *path = ng_gguf_path(g);
    uint32_t version;
    float scale;
    ng_status s = ng_gguf_get_u32(g, "nanogrid.extractive.version", &version, err);
    if (!s) s = ng_gguf_get_f32(g, "nanogrid.extractive.scale", &scale, err);
    if (s) return s;
    if (version != 1)
        return ng_fail(err, NG_EUNSUPPORTED, "%s: extractive version %u; this program knows 1", path, version);
    if (!isfinite(scale)) return ng_fail(err, NG_EFORMAT, "%s: nanogrid.extractive.scale is no number", path);
    const ng_gguf_tensor *dense = ng_gguf_find_tensor(g, "extractive.dense");
    const ng_gguf_tensor *hashed = ng_gguf_find_tensor(g, "extractive.hashed");
    s = check_tensor(dense, path, "extractive.dense", NG_TYPE_F32, NG_EXTRACTIVE_DENSE, err);
    if (!s) s = check_tensor(hashed, path, "extractive.hashed", NG_TYPE_I8, NG_EXTRACTIVE_BUCKETS, err);
    if (s) return s;
    for (size_t i = 0; i < NG_EXTRACTIVE_DENSE; i++) {
        float v;
        memcpy(&v, (const char *)dense->data + i * sizeof v, sizeof v);
        if (!isfinite(v)) return ng_fail(err, NG_EFORMAT, "%s: extractive.dense[%zu] is no number", path, i);
        m->dense[i] = (double)v;
    }
    for (size_t i = 0; i < NG_EXTRACTIVE_BUCKETS; i++)
        m->hashed[i] = (double)((const int8_t *)hashed->data)[i] * (double)scale;
    m->file_bytes = ng_gguf_file_bytes(g);
    return NG_OK;
}

ng_status ng_extractive_open(ng_extractive **out, const char *path, ng_error *err) {
    ng_gguf *g;
    *out = NULL;
    ng_status s = ng_gguf_open(&g, path, err);
    if (s) return s;
    ng_extractive *m = calloc(1, sizeof *m);
    s = m ? read_model(m, g, err) : ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_gguf_close(g);
    if (s) free(m);
    else *out = m;
    return s;
}

void ng_extractive_close(ng_extractive *m) { free(m); }

size_t ng_extractive_file_bytes(const ng_extractive *m) { return m->file_bytes; }

void ng_extractive_score(const ng_extractive *m, const ng_extractive_doc *d, double *scores) {
    for (size_t i = 0; i < d->len; i++) {
        const ng_extractive_sentence *s = &d->sentences[i];
        double z = 0, h = 0;
        for (size_t k = 0; k < NG_EXTRACTIVE_DENSE; k++) z += m->dense[k] * s->dense[k];
        for (size_t k = 0; k < s->n_buckets; k++) h += m->hashed[s->buckets[k]];
        /* the root keeps a long sentence from winning by having more words */
        scores[i] = z + h / sqrt((double)s->n_buckets + 1);
    }
}
