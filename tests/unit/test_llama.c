/* Tests of the llama architecture: logits of two tiny models against float64 arithmetic
 * (tests/golden/make_llama.py, itself checked against transformers), and files that are wrong in one
 * tensor or key: each is refused by a sentence that names it. */
#include "fault.h"
#include "gguf/gguf.h"
#include <nanogrid/generate.h>
#include <nanogrid/model.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { VOCAB = 48, IDS_MAX = 192, LINE_MAX_BYTES = 8192 };

static size_t parse_ids(const char *text, int32_t *ids) {
    size_t n = 0;
    for (const char *p = text; *p; p += *p == ',') ids[n++] = (int32_t)strtol(p, (char **)&p, 10);
    return n;
}

static double worst_difference(const float *got, const char *want) {
    double worst = 0, squares = 0;
    for (int i = 0; i < VOCAB; i++) {
        double w = strtod(want, (char **)&want);
        want += *want == ',';
        worst = fmax(worst, fabs(w - (double)got[i]));
        squares += w * w;
    }
    return worst / sqrt(squares / VOCAB);
}

static void logits_match_float64(void **state) {
    (void)state;
    FILE *f = fopen("tests/golden/llama-tiny.txt", "r");
    assert_non_null(f);
    char line[LINE_MAX_BYTES], file[64], tokens[1024], path[128], logits[4096];
    double limit;
    int n_cases = 0;
    while (fgets(line, sizeof line, f)) {
        assert_int_equal(sscanf(line, "%63s %lf %1023s %4095s", file, &limit, tokens, logits), 4);
        snprintf(path, sizeof path, "tests/golden/%s", file);
        ng_model *m;
        ng_session *s;
        ng_error err = {0};
        int32_t ids[IDS_MAX];
        float y[VOCAB];
        size_t n = parse_ids(tokens, ids);
        if (ng_model_open(&m, path, &err)) fail_msg("%s", err.text);
        assert_int_equal(ng_session_new(&s, m, NULL, &err), NG_OK);
        assert_int_equal(ng_session_eval(s, ids, n, y, &err), NG_OK);
        double d = worst_difference(y, logits);
        if (!(d <= limit)) fail_msg("%s, %zu ids: relative difference %.2e > %.0e", file, n, d, limit);
        ng_session_free(s);
        ng_model_close(m);
        n_cases++;
    }
    fclose(f);
    assert_int_equal(n_cases, 8);
}

static void info_tells_the_file(void **state) {
    (void)state;
    ng_model *m;
    ng_error err = {0};
    assert_int_equal(ng_model_open(&m, "tests/golden/llama-tiny-f32.gguf", &err), NG_OK);
    ng_model_info i = ng_model_get_info(m);
    assert_string_equal(i.arch, "llama");
    assert_string_equal(i.name, "llama-tiny");
    assert_string_equal(i.file_type, "F32");
    assert_true(i.kind == NG_MODEL_CAUSAL && i.n_vocab == VOCAB && i.n_embd == 32 && i.n_layer == 2 && i.n_head == 4);
    assert_true(i.n_head_kv == 2 && i.n_ff == 64 && i.n_ctx_train == 192);
    assert_int_equal(i.kv_bytes_per_tok, 2 * 4 * 2 * 2 * 8);
    assert_true(i.n_params == 20260 && i.weight_bytes == 4 * i.n_params);
    assert_null(ng_model_tokenizer(m, &err)); /* the file has none: the open succeeds, this says why */
    assert_true(err.code && err.text[0]);
    ng_model_close(m);
}

/* ---- broken files ------------------------------------------------------------------------------------- */

typedef struct damage {
    const char *drop;    /* tensor left out */
    const char *add;     /* tensor nobody knows */
    const char *reshape; /* tensor that loses its last row, or its last element */
    const char *retype;  /* tensor stored as Q8_0's bytes would not fit: I8 of the same shape */
    const char *key;     /* u32 key set to value */
    uint32_t value;
    const char *arch;    /* another general.architecture */
    const char *nan;     /* tensor whose last value becomes NaN */
    ng_status status;
    const char *says;    /* in the message */
} damage;

static void write_damaged(const char *path, const damage *d) {
    static float spoilt[1 << 16];
    ng_gguf *g;
    ng_gguf_writer *w;
    ng_error err = {0};
    assert_int_equal(ng_gguf_open(&g, "tests/golden/llama-tiny-f32.gguf", &err), NG_OK);
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    if (d->arch) ng_gguf_put_str(w, "general.architecture", d->arch);
    if (d->key) ng_gguf_put_u32(w, d->key, d->value);
    ng_gguf_put_all(w, g);
    for (size_t i = 0; i < ng_gguf_n_tensors(g); i++) {
        const ng_gguf_tensor *t = ng_gguf_tensor_at(g, i);
        uint64_t dims[4];
        memcpy(dims, t->dims, sizeof dims);
        if (d->drop && !strcmp(t->name, d->drop)) continue;
        if (d->reshape && !strcmp(t->name, d->reshape)) dims[t->n_dims - 1]--;
        ng_type type = d->retype && !strcmp(t->name, d->retype) ? NG_TYPE_I8 : t->type;
        const void *data = t->data;
        if (d->nan && !strcmp(t->name, d->nan)) {
            memcpy(spoilt, t->data, t->bytes);
            spoilt[t->bytes / sizeof *spoilt - 1] = NAN;
            data = spoilt;
        }
        ng_gguf_put_tensor(w, t->name, type, t->n_dims, dims, data);
    }
    uint64_t one[4] = {4, 1, 1, 1};
    static const float zeros[4];
    if (d->add) ng_gguf_put_tensor(w, d->add, NG_TYPE_F32, 1, one, zeros);
    if (ng_gguf_writer_commit(w, path, &err)) fail_msg("%s", err.text);
    ng_gguf_close(g);
}

static void damaged_files_are_refused_by_name(void **state) {
    (void)state;
    static const damage cases[] = {
        {.drop = "blk.1.ffn_up.weight", .status = NG_EFORMAT, .says = "blk.1.ffn_up.weight is missing"},
        {.drop = "blk.0.attn_norm.weight", .status = NG_EFORMAT, .says = "blk.0.attn_norm.weight is missing"},
        {.drop = "token_embd.weight", .status = NG_EFORMAT, .says = "token_embd.weight"},
        {.drop = "output_norm.weight", .status = NG_EFORMAT, .says = "output_norm.weight is missing"},
        {.reshape = "blk.0.attn_k.weight", .status = NG_EFORMAT, .says = "blk.0.attn_k.weight has shape"},
        {.reshape = "blk.1.attn_q.bias", .status = NG_EFORMAT, .says = "blk.1.attn_q.bias has shape"},
        {.reshape = "rope_freqs.weight", .status = NG_EFORMAT, .says = "rope_freqs.weight has shape"},
        {.retype = "blk.0.ffn_down.weight", .status = NG_EUNSUPPORTED, .says = "blk.0.ffn_down.weight is I8"},
        {.retype = "blk.0.ffn_norm.weight", .status = NG_EUNSUPPORTED, .says = "blk.0.ffn_norm.weight is I8"},
        {.add = "blk.0.attn_sinks.weight", .status = NG_EUNSUPPORTED, .says = "blk.0.attn_sinks.weight"},
        {.key = "llama.block_count", .value = 3, .status = NG_EFORMAT, .says = "blk.2."},
        {.key = "llama.block_count", .value = 1, .status = NG_EUNSUPPORTED, .says = "blk.1."},
        {.key = "llama.block_count", .value = 0, .status = NG_EFORMAT, .says = "llama.block_count"},
        {.key = "llama.embedding_length", .value = 0xFFFFFFFF, .status = NG_EFORMAT, .says = "llama.embedding_length"},
        {.key = "llama.attention.head_count", .value = 3, .status = NG_EFORMAT, .says = "heads"},
        {.key = "llama.attention.head_count_kv", .value = 0, .status = NG_EFORMAT, .says = "head_count_kv"},
        {.key = "llama.rope.dimension_count", .value = 7, .status = NG_EUNSUPPORTED, .says = "rotated"},
        {.key = "llama.rope.dimension_count", .value = 64, .status = NG_EFORMAT, .says = "rope.dimension_count"},
        {.key = "llama.context_length", .value = 0, .status = NG_EFORMAT, .says = "llama.context_length"},
        {.key = "llama.expert_count", .value = 8, .status = NG_EUNSUPPORTED, .says = "experts"},
        {.nan = "blk.1.ffn_norm.weight", .status = NG_EFORMAT, .says = "blk.1.ffn_norm.weight: value 3"},
        {.nan = "blk.0.attn_q.bias", .status = NG_EFORMAT, .says = "is not finite"},
        {.arch = "no-such-arch", .status = NG_EUNSUPPORTED, .says = "'no-such-arch'"},
    };
    char path[] = "/tmp/ng-llama-XXXXXX";
    close(mkstemp(path));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_damaged(path, &cases[i]);
        ng_model *m = (ng_model *)1;
        ng_error err = {0};
        ng_status s = ng_model_open(&m, path, &err);
        if (s != cases[i].status || !strstr(err.text, cases[i].says))
            fail_msg("case %zu: status %s, \"%s\"; wanted %s with \"%s\"", i, ng_status_name(s), err.text,
                     ng_status_name(cases[i].status), cases[i].says);
        assert_null(m);
    }
    unlink(path);
}

/* A matrix is not read when it is loaded: what it spoils is refused where it shows. */
static void a_spoilt_matrix_is_refused_when_it_runs(void **state) {
    (void)state;
    static const int32_t ids[] = {1, 2, 3};
    static const char *const names[] = {"token_embd.weight", "blk.1.ffn_down.weight"};
    char path[] = "/tmp/ng-llama-XXXXXX";
    close(mkstemp(path));
    for (size_t i = 0; i < 2; i++) {
        write_damaged(path, &(damage){.nan = names[i]});
        ng_model *m;
        ng_session *s;
        ng_generation g;
        ng_error err = {0};
        assert_int_equal(ng_model_open(&m, path, &err), NG_OK);
        assert_int_equal(ng_session_new(&s, m, NULL, &err), NG_OK);
        ng_generate_options o = ng_generate_options_default();
        o.n_predict = 2;
        assert_int_equal(ng_generate(&g, s, ids, 3, &o, &err), NG_EFORMAT);
        assert_non_null(strstr(err.text, "its weights are damaged"));
        ng_session_free(s);
        ng_model_close(m);
    }
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_match_float64),
        cmocka_unit_test(info_tells_the_file),
        cmocka_unit_test(damaged_files_are_refused_by_name),
        cmocka_unit_test(a_spoilt_matrix_is_refused_when_it_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
