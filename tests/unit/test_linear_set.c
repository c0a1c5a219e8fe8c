/* Tests of src/model/linear_set.[ch]: what a set says is what each of its models says alone, to the bit. */
#include "core/hash.h"
#include "fault.h"
#include "gguf/gguf.h"
#include "model/linear_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define KEY "nanogrid.linear."
enum { BITS = 10, WORDS = (1 << BITS) / 64, ROWS_MAX = 1 << BITS, N = 9 };

typedef struct shape {
    uint32_t bits, weight_bits;
    uint64_t n_labels;
    bool log_tf, multi_label;
} shape;

static const shape usual = {BITS, 8, 2, true, false};

/* A model of random weights over a random half of the buckets. */
static ng_linear *make(uint64_t seed, const shape *k) {
    static int8_t weight[ROWS_MAX * 3], idf[ROWS_MAX];
    uint64_t used[WORDS], rows = 0, words = ((uint64_t)1 << k->bits) / 64;
    float scale[3], bias[3];
    char path[64];
    ng_rng r = ng_rng_seed(seed);
    const ng_str labels[] = {{"elsewhere", 9}, {"here", 4}, {"third", 5}};
    for (size_t i = 0; i < words; i++)
        used[i] = ng_rng_next(&r) & (seed % 3 ? UINT64_MAX : ng_rng_next(&r)),
        rows += (uint64_t)__builtin_popcountll(used[i]);
    for (size_t i = 0; i < rows; i++) idf[i] = (int8_t)(uint8_t)(1 + ng_rng_below(&r, 255));
    for (size_t i = 0; i < rows * k->n_labels; i++) weight[i] = (int8_t)((int)ng_rng_below(&r, 255) - 127);
    for (size_t c = 0; c < 3; c++)
        scale[c] = 0.001f * (float)(1 + ng_rng_below(&r, 99)), bias[c] = 0.01f * (float)ng_rng_below(&r, 99);
    ng_gguf_writer *w;
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    ng_gguf_put_str(w, "general.architecture", "nanogrid-linear");
    ng_gguf_put_str(w, "nanogrid.task", "classify");
    const uint32_t numbers[] = {1, k->bits, 2, 2, 3, (uint32_t)(seed % 2) * 40, k->weight_bits};
    const char *const names[] = {KEY "version",  KEY "bits",    KEY "word_max",   KEY "char_min",
                                 KEY "char_max", KEY "unknown", KEY "weight_bits"};
    for (int i = 0; i < 7; i++) ng_gguf_put_u32(w, names[i], numbers[i]);
    ng_gguf_put_bool(w, KEY "lower", true), ng_gguf_put_bool(w, KEY "fold", false),
        ng_gguf_put_bool(w, KEY "cross", false);
    ng_gguf_put_bool(w, KEY "log_tf", k->log_tf), ng_gguf_put_bool(w, KEY "multi_label", k->multi_label);
    ng_gguf_put_strs(w, KEY "labels", labels, k->n_labels);
    ng_gguf_put_f32(w, KEY "temperature", 0.2f + 0.1f * (float)(seed % 5));
    ng_gguf_put_tensor(w, "linear.rows", NG_TYPE_I64, 1, &words, used);
    ng_gguf_put_tensor(w, "linear.idf", NG_TYPE_I8, 1, &rows, idf);
    ng_gguf_put_tensor(w, "linear.scale", NG_TYPE_F32, 1, &k->n_labels, scale);
    ng_gguf_put_tensor(w, "linear.bias", NG_TYPE_F32, 1, &k->n_labels, bias);
    ng_gguf_put_tensor(w, "linear.weight", NG_TYPE_I8, 2, (uint64_t[]){k->weight_bits == 8 ? k->n_labels : 1, rows},
                       weight);
    snprintf(path, sizeof path, "/tmp/ng-set-%d.gguf", (int)getpid());
    assert_int_equal(ng_gguf_writer_commit(w, path, NULL), NG_OK);
    ng_linear *m;
    ng_error err = {0};
    if (ng_linear_open(&m, path, &err)) fail_msg("%s", err.text);
    unlink(path);
    return m;
}

static const char *const texts[] = {"", "a", "hello there, who is it", "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82", "no no no no no no, yes \xFF",
                                    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

static void together_is_as_alone(void **state) {
    (void)state;
    const ng_linear *models[N];
    ng_linear_set *set;
    ng_linear_set_scratch *s;
    for (uint64_t i = 0; i < N; i++) models[i] = make(i + 1, &usual);
    assert_int_equal(ng_linear_set_new(&set, models, N, NULL), NG_OK);
    assert_int_equal(ng_linear_set_scratch_new(&s, set, NULL), NG_OK);
    for (size_t t = 0; t < 2 * sizeof texts / sizeof *texts; t++) { /* twice: the scratch is clean again */
        const char *text = texts[t % (sizeof texts / sizeof *texts)];
        float p[2 * N], alone[2];
        assert_int_equal(ng_linear_set_apply(set, s, text, strlen(text), p, NULL), NG_OK);
        for (size_t i = 0; i < N; i++) {
            ng_linear_scratch *one;
            assert_int_equal(ng_linear_scratch_new(&one, models[i], NULL), NG_OK);
            assert_int_equal(ng_linear_apply(models[i], one, text, strlen(text), alone, NULL), NG_OK);
            assert_memory_equal(alone, p + 2 * i, sizeof alone);
            ng_linear_scratch_free(one);
        }
    }
    ng_linear_set_scratch_free(s);
    ng_linear_set_free(set);
    for (size_t i = 0; i < N; i++) ng_linear_close((ng_linear *)models[i]);
}

static void who_differs_stays_out(void **state) {
    (void)state;
    const shape odd[] = {{BITS - 1, 8, 2, true, false}, {BITS, 4, 2, true, false}, {BITS, 8, 3, true, false}, {BITS, 8, 2, false, false}, {BITS, 8, 2, true, true}};
    ng_linear *first = make(1, &usual);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        ng_linear *m = make(2, &odd[i]);
        const ng_linear *both[] = {first, m};
        ng_linear_set *set;
        ng_error err = {0};
        assert_false(ng_linear_set_fits(m, first));
        assert_int_equal(ng_linear_set_new(&set, both, 2, &err), NG_EINVALID);
        assert_non_null(strstr(err.text, "does not fit"));
        assert_null(set);
        ng_linear_close(m);
    }
    ng_linear_set *set;
    assert_int_equal(ng_linear_set_new(&set, NULL, 0, NULL), NG_EINVALID);
    ng_linear_close(first);
}

static ng_status whole_life(const ng_linear *const *models) {
    ng_linear_set *set;
    ng_linear_set_scratch *s;
    float p[4];
    ng_status status = ng_linear_set_new(&set, models, 2, NULL);
    if (status) return status;
    status = ng_linear_set_scratch_new(&s, set, NULL);
    if (!status) status = ng_linear_set_apply(set, s, "some text", 9, p, NULL);
    ng_linear_set_scratch_free(s);
    ng_linear_set_free(set);
    return status;
}

static void memory_may_run_out_anywhere(void **state) {
    (void)state;
    ng_linear *a = make(1, &usual), *b = make(2, &usual);
    const ng_linear *both[] = {a, b};
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_status s = whole_life(both);
        if (s == NG_OK) fault_passed();
        else assert_int_equal(s, NG_ENOMEM);
    }
    ng_linear_close(a);
    ng_linear_close(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(together_is_as_alone), cmocka_unit_test(who_differs_stays_out),
                                       cmocka_unit_test(memory_may_run_out_anywhere)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
