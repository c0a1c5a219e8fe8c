/* Tests of src/model/linear*.[ch]: features, fixed-point inference, and files that lie. */
#include "core/math.h"
#include "fault.h"
#include "gguf/gguf.h"
#include "model/feature_blob.h"
#include "model/linear.h"
#include "train/export.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const ng_feature_config small =
    {.bits = 16, .word_max = 2, .char_min = 2, .char_max = 3, .lower = true, .cross = true};

static size_t extract(ng_features *f, const ng_feature_config *c, const char *text) {
    assert_int_equal(ng_features_extract(f, c, text, strlen(text), NULL), NG_OK);
    return f->n_buckets;
}

/* The buckets are part of the file format: a change here makes every shipped model wrong. */
static void features_are_golden(void **state) {
    (void)state;
    static const uint32_t golden[] = {34152, 5543, 28850, 58935, 11561, 54428, 24794, 20265, 55869, 57888, 2903, 37506};
    ng_features f = {0};
    assert_int_equal(extract(&f, &small, "Ab\t\xC3\x89 "), sizeof golden / sizeof golden[0]);
    for (size_t i = 0; i < f.n_buckets; i++) assert_int_equal(f.buckets[i], golden[i]);
    ng_features_clear(&f);
}

static bool same_features(const ng_feature_config *c, const char *a, const char *b) {
    ng_features x = {0}, y = {0};
    bool same =
        extract(&x, c, a) == extract(&y, c, b) && !memcmp(x.buckets, y.buckets, x.n_buckets * sizeof *x.buckets);
    ng_features_clear(&x);
    ng_features_clear(&y);
    return same;
}

/* A thread that was never asked knows nothing by heart. */
static void *extract_fresh(void *f) {
    ng_feature_config c = small;
    c.bits = 20;
    (void)!ng_features_extract(f, &c, "freeze my card", 14, NULL);
    return NULL;
}

/* Models that read alike share the hashes of a text, all others make their own. */
static void a_text_is_hashed_once_for_all_that_read_alike(void **state) {
    (void)state;
    ng_features f = {0}, fresh = {0}, other = {0};
    ng_feature_config c = small, words = small;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, extract_fresh, &fresh), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    extract(&f, &c, "freeze my card");
    c.bits = 20;
    assert_int_equal(extract(&f, &c, "freeze my card"), fresh.n_buckets);
    assert_memory_equal(f.buckets, fresh.buckets, f.n_buckets * sizeof *f.buckets);
    for (size_t i = 0; i < f.n_buckets; i++) assert_true(f.buckets[i] < 1u << 20);
    words.char_max = 0;
    assert_int_equal(extract(&other, &words, "freeze my card"), 3 + 2);
    assert_int_not_equal(extract(&other, &small, "freeze my car"), f.n_buckets);
    extract(&f, &small, "Freeze my card");
    c = small;
    c.lower = false;
    extract(&other, &c, "Freeze my card");
    assert_memory_not_equal(f.buckets, other.buckets, 8 * sizeof *f.buckets);
    ng_features_clear(&f);
    ng_features_clear(&fresh);
    ng_features_clear(&other);
}

static void features_normalise_as_told(void **state) {
    (void)state;
    ng_feature_config c = small;
    assert_true(same_features(&c, "  Hello \n World", "hello world"));
    assert_false(same_features(&c, "hello world", "helloworld"));
    assert_false(same_features(&c, "caf\xC3\xA9", "cafe"));
    assert_true(same_features(&c, "\xC3\x89T\xC3\x89", "\xC3\xA9t\xC3\xA9"));
    c.fold = true;
    assert_true(same_features(&c, "Caf\xC3\xA9", "cafe"));
    c = small;
    c.lower = false;
    assert_false(same_features(&c, "Hello", "hello"));
    assert_true(same_features(&c, "\xFF", "\xEF\xBF\xBD")); /* an invalid byte is U+FFFD */
}

static void features_count_what_they_should(void **state) {
    (void)state;
    ng_features f = {0};
    ng_feature_config words = {.bits = 16, .word_max = 3}, chars = {.bits = 16, .char_min = 3, .char_max = 3};
    assert_int_equal(extract(&f, &words, "one two three four"), 4 + 3 + 2);
    assert_int_equal(extract(&f, &words, "don't stop"), 2 + 1);
    assert_int_equal(extract(&f, &words, "stop! now"), 3 + 2 + 1); /* a sign is a word */
    assert_int_equal(extract(&f, &words, "\xE4\xB8\xAD\xE6\x96\x87"), 2 + 1); /* ideographs, each a word */
    assert_int_equal(extract(&f, &chars, "ab cde"), 2 + 3); /* " ab", "ab ", " cd", "cde", "de " */
    chars.cross = true;
    assert_int_equal(extract(&f, &chars, "ab cde"), 6);
    assert_int_equal(extract(&f, &chars, ""), 0);
    assert_int_equal(extract(&f, &words, " \t\n"), 0);
    ng_features_clear(&f);
}

static int rising(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* A blob gives any model that reads one of its kinds the very buckets of the text. */
static void features_survive_as_bytes(void **state) {
    (void)state;
    const ng_feature_config kinds[] = {
        {.bits = 24, .word_max = 2, .char_min = 1, .char_max = 4, .lower = true, .cross = true},
        {.bits = 20, .word_max = 2, .char_min = 3, .char_max = 5, .lower = true},
        {.bits = 18, .word_max = 4, .char_min = 3, .char_max = 7, .cross = true}};
    const char *texts[] = {"", "a", "Freeze my card, please: freeze it!", "caf\xC3\xA9 caf\xC3\xA9 caf\xC3\xA9"};
    ng_feature_config list[3];
    size_t n = 0;
    for (int i = 0; i < 3; i++) n = ng_feature_configs_add(list, n, 3, &kinds[i]);
    assert_int_equal(ng_feature_configs_add(list, n, 3, &kinds[0]), 3);
    for (size_t t = 0; t < 4; t++) {
        ng_buf blob = ng_buf_init(1 << 16);
        ng_features f = {0}, g = {0};
        assert_int_equal(ng_feature_blob_put(&blob, &f, list, n, texts[t], strlen(texts[t])), NG_OK);
        for (uint32_t bits = 12; bits <= 24; bits += 4)
            for (int i = 0; i < 3; i++) {
                ng_feature_config c = kinds[i];
                c.bits = bits;
                assert_int_equal(ng_features_extract(&f, &c, texts[t], strlen(texts[t]), NULL), NG_OK);
                assert_int_equal(ng_feature_blob_get(&g, &c, blob.data, blob.len, NULL), NG_OK);
                assert_int_equal(f.n_buckets, g.n_buckets);
                if (!f.n_buckets) continue;
                qsort(f.buckets, f.n_buckets, sizeof *f.buckets, rising);
                assert_memory_equal(f.buckets, g.buckets, f.n_buckets * sizeof *f.buckets);
            }
        ng_feature_config other = kinds[0];
        other.char_max = 5;
        assert_int_equal(ng_feature_blob_get(&g, &other, blob.data, blob.len, NULL), NG_ENOTFOUND);
        for (size_t cut = 5; cut < blob.len; cut++) /* a cut blob is an error or another kind's, never a crash */
            assert_int_not_equal(ng_feature_blob_get(&g, &kinds[2], blob.data, cut, NULL), NG_OK);
        ng_features_clear(&f);
        ng_features_clear(&g);
        ng_buf_clear(&blob);
    }
}

static void features_refuse_nonsense(void **state) {
    (void)state;
    ng_feature_config bad[] = {{.bits = 2, .word_max = 1}, {.bits = 30, .word_max = 1}, {.bits = 16, .word_max = 9},
                               {.bits = 16, .char_min = 4, .char_max = 3}, {.bits = 16, .char_max = 3},
                               {.bits = 16, .char_min = 1, .char_max = 99}, {.bits = 16}};
    ng_features f = {0};
    ng_error err = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(ng_feature_config_check(&bad[i], "x", NULL), NG_EINVALID);
    assert_int_equal(ng_feature_config_check(&small, "x", NULL), NG_OK);
    assert_int_equal(ng_features_extract(&f, &small, "", (size_t)NG_FEATURE_TEXT_MAX + 1, &err), NG_ELIMIT);
    ng_features_clear(&f);
}

/* ---- a small model, written by hand ------------------------------------------------------------- */

enum { ROWS = 40, LABELS = 3 };

typedef struct parts {
    ng_feature_config features;
    uint64_t used[8]; /* 2^9 buckets */
    int8_t weight[ROWS * LABELS + 2], idf[ROWS];
    float scale[LABELS], bias[LABELS];
    float temperature, oos_threshold;
    uint32_t version, weight_bits, row_bytes, n_labels, n_rows, unknown;
    bool multi_label;
    const char *arch, *drop; /* drop: a key or tensor that is left out */
} parts;

static parts good_parts(void) {
    parts p = {.features = {.bits = 9, .word_max = 1, .char_min = 1, .char_max = 2, .lower = true, .cross = true},
               .temperature = 0.5f, .oos_threshold = 0.25f, .version = 1, .weight_bits = 8, .row_bytes = LABELS,
               .n_labels = LABELS, .n_rows = ROWS, .arch = "nanogrid-linear"};
    for (int i = 0; i < ROWS; i++) {
        p.used[i * 11 / 64] |= (uint64_t)1 << (i * 11 % 64);
        p.idf[i] = (int8_t)(uint8_t)(16 + i * 5);
        for (int c = 0; c < LABELS; c++) p.weight[i * LABELS + c] = (int8_t)((i * 37 + c * 91) % 255 - 127);
    }
    for (int c = 0; c < LABELS; c++) p.scale[c] = 0.01f * (float)(c + 1), p.bias[c] = 0.1f * (float)c;
    return p;
}

static bool kept(const parts *p, const char *name) { return !p->drop || strcmp(p->drop, name) != 0; }

#define KEY "nanogrid.linear."
static ng_status write_parts(const parts *p, const char *path, ng_error *err) {
    ng_gguf_writer *w;
    uint64_t words = (uint64_t)1 << (p->features.bits > 9 || p->features.bits < 6 ? 3 : p->features.bits - 6);
    uint64_t n = p->n_labels, rows = p->n_rows;
    ng_str labels[] = {{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}};
    const struct {
        const char *key;
        uint32_t v;
    } u32s[] = {{KEY "version", p->version}, {KEY "bits", p->features.bits}, {KEY "word_max", p->features.word_max},
                {KEY "char_min", p->features.char_min}, {KEY "char_max", p->features.char_max},
                {KEY "unknown", p->unknown}, {KEY "weight_bits", p->weight_bits}};
    const struct {
        const char *key;
        bool v;
    } bools[] = {{KEY "lower", true}, {KEY "fold", false}, {KEY "cross", true}, {KEY "log_tf", true},
                 {KEY "multi_label", p->multi_label}};
    if (ng_gguf_writer_new(&w)) return NG_ENOMEM;
    ng_gguf_put_str(w, "general.architecture", p->arch);
    if (kept(p, "nanogrid.task")) ng_gguf_put_str(w, "nanogrid.task", "classify");
    for (size_t i = 0; i < 7; i++)
        if (kept(p, u32s[i].key)) ng_gguf_put_u32(w, u32s[i].key, u32s[i].v);
    for (size_t i = 0; i < 5; i++)
        if (kept(p, bools[i].key)) ng_gguf_put_bool(w, bools[i].key, bools[i].v);
    if (kept(p, KEY "labels")) ng_gguf_put_strs(w, KEY "labels", labels, LABELS);
    ng_gguf_put_f32(w, KEY "temperature", p->temperature);
    ng_gguf_put_f32(w, KEY "oos_threshold", p->oos_threshold);
    if (kept(p, "linear.rows")) ng_gguf_put_tensor(w, "linear.rows", NG_TYPE_I64, 1, &words, p->used);
    if (kept(p, "linear.idf")) ng_gguf_put_tensor(w, "linear.idf", NG_TYPE_I8, 1, &rows, p->idf);
    if (kept(p, "linear.scale")) ng_gguf_put_tensor(w, "linear.scale", NG_TYPE_F32, 1, &n, p->scale);
    if (kept(p, "linear.bias")) ng_gguf_put_tensor(w, "linear.bias", NG_TYPE_F32, 1, &n, p->bias);
    if (kept(p, "linear.weight"))
        ng_gguf_put_tensor(w, "linear.weight", NG_TYPE_I8, 2, (uint64_t[2]){p->row_bytes, rows}, p->weight);
    return ng_gguf_writer_commit(w, path, err);
}

static char path[64];

static ng_status open_parts(ng_linear **m, const parts *p, ng_error *err) {
    assert_int_equal(write_parts(p, path, NULL), NG_OK);
    return ng_linear_open(m, path, err);
}

/* The formula of linear.c's essay in doubles, from the parts themselves. */
static void reference(const parts *p, const char *text, double logits[LABELS]) {
    ng_features f = {0};
    double value[512] = {0}, norm = 0;
    uint32_t count[512] = {0};
    extract(&f, &p->features, text);
    for (size_t i = 0; i < f.n_buckets; i++) count[f.buckets[i]]++;
    for (int c = 0; c < LABELS; c++) logits[c] = 0;
    for (int row = 0; row < ROWS; row++) {
        int b = row * 11;
        if (count[b]) value[b] = ng_linear_value(count[b], (uint8_t)p->idf[row], true);
        norm += value[b] * value[b];
        for (int c = 0; c < LABELS; c++) logits[c] += value[b] * p->weight[row * LABELS + c];
    }
    for (size_t i = 0; i < f.n_buckets; i++)
        if (f.buckets[i] % 11 || f.buckets[i] / 11 >= ROWS) norm += pow(p->unknown * 16.0, 2);
    for (int c = 0; c < LABELS; c++)
        logits[c] = (norm > 0 ? logits[c] / sqrt(norm) : 0) * (double)p->scale[c] + (double)p->bias[c];
    ng_features_clear(&f);
}

static const char *const texts[] =
    {"", "a", "hello there, who is it", "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82",
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

static void inference_follows_the_formula(void **state) {
    (void)state;
    for (uint32_t unknown = 0; unknown <= 100; unknown += 50) {
        parts p = good_parts();
        p.unknown = unknown;
        ng_linear *m;
        ng_linear_scratch *s;
        assert_int_equal(open_parts(&m, &p, NULL), NG_OK);
        assert_int_equal(ng_linear_scratch_new(&s, m, NULL), NG_OK);
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            float z[LABELS], again[LABELS], q[LABELS];
            double want[LABELS];
            reference(&p, texts[i], want);
            assert_int_equal(ng_linear_logits(m, s, texts[i], strlen(texts[i]), z, NULL), NG_OK);
            for (int c = 0; c < LABELS; c++) assert_true(fabs((double)z[c] - want[c]) < 2e-3);
            assert_int_equal(ng_linear_logits(m, s, texts[i], strlen(texts[i]), again, NULL), NG_OK);
            assert_memory_equal(z, again, sizeof z); /* the scratch is clean again */
            assert_int_equal(ng_linear_apply(m, s, texts[i], strlen(texts[i]), q, NULL), NG_OK);
            assert_true(fabs((double)(q[0] + q[1] + q[2]) - 1) < 1e-6);
        }
        ng_linear_scratch_free(s);
        ng_linear_close(m);
    }
}

static void nothing_is_allocated_a_text(void **state) {
    (void)state;
    parts p = good_parts();
    ng_linear *m;
    ng_linear_scratch *s;
    float q[LABELS];
    assert_int_equal(open_parts(&m, &p, NULL), NG_OK);
    assert_int_equal(ng_linear_scratch_new(&s, m, NULL), NG_OK);
    assert_int_equal(ng_linear_apply(m, s, texts[4], strlen(texts[4]), q, NULL), NG_OK);
    long before = fault_allocs();
    for (int i = 0; i < 50; i++)
        assert_int_equal(ng_linear_apply(m, s, texts[i % 5], strlen(texts[i % 5]), q, NULL), NG_OK);
    assert_int_equal(fault_allocs(), before);
    ng_linear_scratch_free(s);
    ng_linear_close(m);
}

static void sigmoids_do_not_sum_to_one(void **state) {
    (void)state;
    parts p = good_parts();
    p.multi_label = true;
    ng_linear *m;
    ng_linear_scratch *s;
    float z[LABELS], q[LABELS];
    assert_int_equal(open_parts(&m, &p, NULL), NG_OK);
    assert_int_equal(ng_linear_scratch_new(&s, m, NULL), NG_OK);
    assert_int_equal(ng_linear_logits(m, s, "hello", 5, z, NULL), NG_OK);
    assert_int_equal(ng_linear_apply(m, s, "hello", 5, q, NULL), NG_OK);
    for (int c = 0; c < LABELS; c++) assert_true(q[c] == (float)ng_sigmoid((double)z[c]));
    assert_false(ng_linear_calibrated(m)); /* no Platt scaling in the file */
    assert_true(ng_linear_threshold(m, 0) == 0.5f);
    ng_linear_scratch_free(s);
    ng_linear_close(m);
}

static void four_bits_are_the_same_integers(void **state) {
    (void)state;
    parts eight = good_parts(), four = good_parts();
    four.weight_bits = 4;
    four.row_bytes = 2;
    for (int r = 0; r < ROWS; r++) {
        int8_t v[4] = {(int8_t)(r % 15 - 7), (int8_t)(r * 3 % 15 - 7), (int8_t)(r * 7 % 15 - 7), 0};
        for (int c = 0; c < LABELS; c++) eight.weight[r * LABELS + c] = v[c];
        for (int j = 0; j < 2; j++) four.weight[r * 2 + j] = (int8_t)(uint8_t)((v[j] + 8) | (v[j + 2] + 8) << 4);
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        float z[2][LABELS];
        for (int k = 0; k < 2; k++) {
            ng_linear *m;
            ng_linear_scratch *s;
            assert_int_equal(open_parts(&m, k ? &four : &eight, NULL), NG_OK);
            assert_int_equal(ng_linear_scratch_new(&s, m, NULL), NG_OK);
            assert_int_equal(ng_linear_logits(m, s, texts[i], strlen(texts[i]), z[k], NULL), NG_OK);
            ng_linear_scratch_free(s);
            ng_linear_close(m);
        }
        assert_memory_equal(z[0], z[1], sizeof z[0]);
    }
}

static void columns_quantise_close(void **state) {
    (void)state;
    float w[64];
    int8_t q[64];
    for (int max = 7; max <= 127; max += 120) {
        for (int i = 0; i < 64; i++) w[i] = (float)sin(i * 1.7) * (i == 5 ? 3.0f : 1.0f);
        float step = ng_quantise_column(w, 32, 2, max, q);
        for (int i = 0; i < 64; i += 2) {
            assert_in_range(q[i] + max, 0, 2 * max);
            if (max == 127) assert_true(fabsf((float)q[i] * step - w[i]) <= step * 0.51f);
        }
    }
    memset(w, 0, sizeof w);
    assert_true(ng_quantise_column(w, 64, 1, 7, q) == 0.0f);
    assert_int_equal(q[63], 0);
}

/* ---- files that lie ------------------------------------------------------------------------------ */

static void refused(const parts *p, const char *what) {
    ng_linear *m = (ng_linear *)1;
    ng_error err = {0};
    ng_status s = open_parts(&m, p, &err);
    if (s == NG_OK || m || !err.text[0]) fail_msg("not refused: %s", what);
    if (!strstr(err.text, what)) fail_msg("'%s' does not name '%s'", err.text, what);
}

static void hostile_files_are_refused(void **state) {
    (void)state;
    static const char *const needed[] = {"nanogrid.task", KEY "version", KEY "bits", KEY "word_max", KEY "char_min",
                                         KEY "weight_bits", KEY "lower", KEY "multi_label", KEY "labels", "linear.rows",
                                         "linear.idf", "linear.scale", "linear.bias", "linear.weight"};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        parts p = good_parts();
        p.drop = needed[i];
        refused(&p, needed[i]);
    }
#define LIE(what, change)                                                                                              \
    do {                                                                                                               \
        parts p = good_parts();                                                                                        \
        change;                                                                                                        \
        refused(&p, what);                                                                                             \
    } while (0)
    LIE("general.architecture", p.arch = "llama");
    LIE("version", p.version = 2);
    LIE("bits of buckets", p.features.bits = 40);
    LIE("linear.rows", p.features.bits = 12);            /* the bitmap is too short for these buckets */
    LIE("words", p.features.word_max = 77);
    LIE("characters", p.features.char_min = 9);
    LIE("unknown", p.unknown = 256);
    LIE("weight_bits", p.weight_bits = 5);
    LIE("linear.weight", p.weight_bits = 4);             /* rows of the wrong length */
    LIE("linear.weight", p.used[0] |= 2);                /* one row more than there are weights */
    LIE("linear.rows", memset(p.used, 0, sizeof p.used));
    LIE("linear.weight", p.weight[7] = -128);
    LIE("linear.idf", p.idf[3] = 0);
    LIE("linear.scale", p.scale[1] = NAN);
    LIE("linear.bias", p.bias[2] = INFINITY);
    LIE("linear.scale", p.n_labels = 2);
    LIE("temperature", p.temperature = 0);
    LIE("temperature", p.temperature = NAN);
    LIE("oos_threshold", p.oos_threshold = 1.5f);
#undef LIE
}

static void truncation_and_flips_never_crash(void **state) {
    (void)state;
    parts p = good_parts();
    assert_int_equal(write_parts(&p, path, NULL), NG_OK);
    FILE *f = fopen(path, "rb");
    static uint8_t data[16384], copy[16384];
    size_t len = fread(data, 1, sizeof data, f);
    fclose(f);
    float q[8];
    for (size_t i = 0; i < len * 2; i++) {
        ng_linear *m = NULL;
        ng_linear_scratch *s = NULL;
        size_t n = i < len ? i : len;
        memcpy(copy, data, len);
        if (i >= len) copy[i - len] ^= (uint8_t)(1 << (i % 8));
        if (ng_linear_open_memory(&m, copy, n, "flip", NULL)) continue;
        if (ng_linear_n_labels(m) <= 8 && !ng_linear_scratch_new(&s, m, NULL))
            (void)!ng_linear_apply(m, s, "hello there", 11, q, NULL);
        ng_linear_scratch_free(s);
        ng_linear_close(m);
    }
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    parts p = good_parts();
    assert_int_equal(write_parts(&p, path, NULL), NG_OK);
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_linear *m = NULL;
        ng_linear_scratch *sc = NULL;
        ng_error err = {0};
        float q[LABELS];
        ng_status s = ng_linear_open(&m, path, &err);
        if (!s) s = ng_linear_scratch_new(&sc, m, &err);
        if (!s) s = ng_linear_apply(m, sc, "hello there", 11, q, &err);
        ng_linear_scratch_free(sc);
        ng_linear_close(m);
        assert_true(s == NG_OK || (s == NG_ENOMEM && err.text[0]));
        if (!s) fault_passed();
    }
    assert_true(fault_sweep_rounds() > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_are_golden),           cmocka_unit_test(features_normalise_as_told),
        cmocka_unit_test(a_text_is_hashed_once_for_all_that_read_alike),
        cmocka_unit_test(features_count_what_they_should), cmocka_unit_test(features_survive_as_bytes),
        cmocka_unit_test(features_refuse_nonsense),
        cmocka_unit_test(inference_follows_the_formula), cmocka_unit_test(nothing_is_allocated_a_text),
        cmocka_unit_test(sigmoids_do_not_sum_to_one),    cmocka_unit_test(four_bits_are_the_same_integers),
        cmocka_unit_test(columns_quantise_close),        cmocka_unit_test(hostile_files_are_refused),
        cmocka_unit_test(truncation_and_flips_never_crash), cmocka_unit_test(every_allocation_may_fail),
    };
    snprintf(path, sizeof path, "/tmp/ng_test_linear_%d.gguf", (int)getpid());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
