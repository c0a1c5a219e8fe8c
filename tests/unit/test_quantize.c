/* Tests of src/quant: blocks equal gguf-py's (tests/golden/quant_blocks.bin), a file changes
 * precision as documented, values that a type cannot hold are refused, every allocation and write
 * may fail. */
#include "core/file.h"
#include "core/hash.h"
#include "gguf/gguf.h"
#include "kernel/dequant.h"
#include "quant/carry.h"
#include "quant/imatrix.h"
#include "quant/quantize_row.h"
#include "quant/transcode.h"
#include "fault.h"

#include <math.h>
#include <nanogrid/tools/weights.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char in_path[] = "/tmp/nanogrid-test-quantize-XXXXXX", out_path[64], im_path[64];

static void blocks_equal_the_reference(void **state) {
    (void)state;
    static const ng_type types[] = {NG_TYPE_F16, NG_TYPE_BF16, NG_TYPE_Q8_0, NG_TYPE_Q4_0,
                                    NG_TYPE_Q4_1, NG_TYPE_Q5_0, NG_TYPE_Q5_1};
    ng_map m;
    ng_error err = {0};
    assert_int_equal(ng_map_open(&m, "tests/golden/quant_blocks.bin", &err), NG_OK);
    uint32_t n;
    memcpy(&n, m.data, 4);
    const uint8_t *x = m.data + 4, *want = x + n * 32 * sizeof(float);
    assert_true(n >= 50);
    for (size_t t = 0; t < 7; t++) {
        size_t bytes;
        assert_true(ng_type_row_bytes(types[t], 32, &bytes));
        for (size_t i = 0; i < n; i++, want += bytes) {
            float row[32];
            uint8_t got[128];
            memcpy(row, x + i * sizeof row, sizeof row);
            assert_true(ng_quantize_row(types[t], row, NULL, got, 32));
            if (memcmp(got, want, bytes))
                fail_msg("%s: block %zu differs", ng_type_get_info(types[t]).name, i);
        }
    }
    assert_ptr_equal(want, m.data + m.len);
    ng_map_close(&m);
}

static void what_a_type_cannot_hold_is_refused(void **state) {
    (void)state;
    static const ng_type types[] = {NG_TYPE_F32,  NG_TYPE_F16,  NG_TYPE_BF16,
                                    NG_TYPE_Q8_0, NG_TYPE_Q4_0, NG_TYPE_Q4_1};
    uint8_t dst[4 * 64];
    for (size_t t = 0; t < 6; t++) {
        float row[64] = {0};
        row[40] = 1e-42f; /* subnormal: its inverse is infinite */
        assert_true(ng_quantize_row(types[t], row, NULL, dst, 64));
        row[40] = NAN;
        assert_false(ng_quantize_row(types[t], row, NULL, dst, 64));
        row[40] = -INFINITY;
        assert_false(ng_quantize_row(types[t], row, NULL, dst, 64));
        row[40] = -65520.0f; /* infinity as a half, harmless as the largest of a block of 8 bits */
        assert_int_equal(ng_quantize_row(types[t], row, NULL, dst, 64),
                         types[t] != NG_TYPE_F16 && types[t] != NG_TYPE_Q4_1);
        row[40] = 1e30f;
        assert_int_equal(ng_quantize_row(types[t], row, NULL, dst, 64),
                         types[t] == NG_TYPE_F32 || types[t] == NG_TYPE_BF16);
    }
    assert_false(ng_can_quantize(NG_TYPE_Q2_K));
}

static float matrix[64 * 4], narrow[48 * 2], vector[64];

static void write_input(float extra) {
    uint64_t m[2] = {64, 4}, k[2] = {48, 2}, v[1] = {64}, i[1] = {3};
    for (int n = 0; n < 256; n++) matrix[n] = sinf((float)n);
    for (int n = 0; n < 96; n++) narrow[n] = cosf((float)n);
    matrix[70] = extra;
    ng_gguf_writer *w;
    ng_error err = {0};
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    ng_gguf_put_str(w, "general.architecture", "llama");
    ng_gguf_put_u32(w, "general.file_type", 0);
    ng_gguf_put_u32(w, "llama.block_count", 1);
    ng_gguf_put_tensor(w, "token_embd.weight", NG_TYPE_F32, 2, m, matrix);
    ng_gguf_put_tensor(w, "blk.0.attn_norm.weight", NG_TYPE_F32, 2, m, matrix);
    ng_gguf_put_tensor(w, "blk.0.attn_q.weight", NG_TYPE_F32, 2, k, narrow);
    ng_gguf_put_tensor(w, "blk.0.attn_q.bias", NG_TYPE_F32, 1, v, vector);
    ng_gguf_put_tensor(w, "position_embd.weight", NG_TYPE_F32, 2, m, matrix);
    ng_gguf_put_tensor(w, "table", NG_TYPE_I8, 1, i, "abc");
    assert_int_equal(ng_gguf_writer_commit(w, in_path, &err), NG_OK);
}

static ng_status quantize(const char *from, const char *to, const char *type, ng_weights_report *r,
                          ng_error *err) {
    ng_weights_options o = {.type = type};
    return ng_quantize_file(r, from, to, &o, err);
}

static void a_file_changes_as_documented(void **state) {
    (void)state;
    write_input(0.5f);
    ng_weights_report r;
    ng_error err = {0};
    assert_int_equal(quantize(in_path, out_path, "q8_0", &r, &err), NG_OK);
    assert_string_equal(r.arch, "llama");
    assert_string_equal(r.type, "Q8_0");
    assert_int_equal(r.n_tensors, 6);
    assert_int_equal(r.n_fell_back, 1);
    assert_true(r.tensors[2].fell_back);
    assert_int_equal(r.parameters, 256 * 3 + 96 + 64 + 3);
    ng_buf b = ng_buf_init(4096);
    ng_json j = ng_json_init(&b);
    ng_weights_report_json(&j, &r);
    assert_non_null(strstr(
        b.data, "\"types\": {\"F32\": 3, \"F16\": 1, \"Q8_0\": 1, \"I8\": 1}, \"requantized\": 0, "
                "\"weighted\": 0, \"fell_back\": [\"blk.0.attn_q.weight\"]"));
    ng_buf_reset(&b);
    ng_weights_report_text(&b, &r);
    assert_non_null(strstr(b.data, "rows do not fit the blocks"));
    ng_buf_clear(&b);
    ng_weights_report_clear(&r);

    ng_gguf *g;
    uint32_t type = 0;
    assert_int_equal(ng_gguf_open(&g, out_path, &err), NG_OK);
    assert_int_equal(ng_gguf_get_u32(g, "general.file_type", &type, &err), NG_OK);
    assert_int_equal(type, 7);
    assert_int_equal(ng_gguf_n_keys(g), 4);
    const ng_gguf_tensor *t = ng_gguf_find_tensor(g, "token_embd.weight");
    assert_int_equal(t->type, NG_TYPE_Q8_0);
    for (size_t row = 0; row < 4; row++) {
        float back[64];
        ng_dequantize_row(t->type, (const uint8_t *)t->data + row * 68, back, 64);
        for (int i = 0; i < 64; i++)
            assert_true(fabsf(back[i] - matrix[row * 64 + i]) < 1.0f / 200);
    }
    assert_int_equal(ng_gguf_find_tensor(g, "blk.0.attn_norm.weight")->type, NG_TYPE_F32);
    assert_int_equal(ng_gguf_find_tensor(g, "position_embd.weight")->type, NG_TYPE_F32);
    assert_int_equal(ng_gguf_find_tensor(g, "blk.0.attn_q.weight")->type, NG_TYPE_F16);
    assert_memory_equal(ng_gguf_find_tensor(g, "table")->data, "abc", 3);
    ng_gguf_close(g);

    /* From the quantised file on, and onto itself. */
    assert_int_equal(quantize(out_path, out_path, "Q4_0", &r, &err), NG_OK);
    assert_int_equal(r.n_requantized, 1);
    assert_true(r.bytes_after < r.bytes_before);
    ng_weights_report_clear(&r);
    assert_int_equal(ng_gguf_open(&g, out_path, &err), NG_OK);
    assert_int_equal(ng_gguf_find_tensor(g, "token_embd.weight")->type, NG_TYPE_Q4_0);
    ng_gguf_close(g);
}

static void refusals_name_the_tensor(void **state) {
    (void)state;
    ng_weights_report r;
    ng_error err = {0};
    write_input(NAN);
    unlink(out_path);
    assert_int_equal(quantize(in_path, out_path, "Q4_1", &r, &err), NG_EFORMAT);
    assert_non_null(
        strstr(err.text, "row 1 of tensor token_embd.weight has a value that Q4_1 cannot hold"));
    assert_false(ng_file_exists(out_path));
    err = (ng_error){0};
    assert_int_equal(quantize(in_path, out_path, "Q9_9", &r, &err), NG_EINVALID);
    assert_non_null(strstr(err.text, "choose among F32, F16, BF16, Q8_0"));
    err = (ng_error){0};
    assert_int_equal(quantize(in_path, out_path, "iq2_xxs", &r, &err), NG_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "the smallest is NG3"));
    assert_false(ng_file_exists(out_path));
    err = (ng_error){0};
    assert_int_equal(quantize(in_path, out_path, NULL, &r, &err), NG_EINVALID);

    static const uint8_t q2_k[84];
    uint64_t dims[2] = {256, 1};
    ng_gguf_writer *w;
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    ng_gguf_put_tensor(w, "x.weight", NG_TYPE_Q2_K, 2, dims, q2_k);
    err = (ng_error){0};
    assert_int_equal(ng_gguf_writer_commit(w, in_path, &err), NG_OK);
    assert_int_equal(quantize(in_path, out_path, "Q8_0", &r, &err), NG_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "tensor x.weight is stored as Q2_K"));
}

/* ---- blocks by search ------------------------------------------------------------------------------------ */

enum { N = 2048 };
static float gauss[N], ones[N], back[N];

static void make_gauss(void) {
    ng_rng rng = ng_rng_seed(11);
    for (int i = 0; i < N; i++) {
        double sum = 0;
        for (int k = 0; k < 12; k++) sum += ng_rng_unit(&rng);
        gauss[i] = (float)(sum - 6) * 0.05f;
        ones[i] = 1;
    }
}

/* Root of the squared error over the values' squares. */
static double round_trip(uint32_t type, const float *w) {
    uint8_t *blocks = malloc(N * 4);
    double e = 0, x = 0;
    assert_true(ng_quantize_row(type, gauss, w, blocks, N));
    ng_dequantize_row(type, blocks, back, N);
    for (int i = 0; i < N; i++) {
        e += ((double)gauss[i] - (double)back[i]) * ((double)gauss[i] - (double)back[i]);
        x += (double)gauss[i] * (double)gauss[i];
    }
    free(blocks);
    return sqrt(e / x);
}

static void errors_stay_within_each_types_bound(void **state) {
    (void)state;
    static const struct { ng_type type; double most;
    } bounds[] = {{NG_TYPE_F16, 3e-4},   {NG_TYPE_BF16, 3e-3},  {NG_TYPE_Q8_0, 0.006}, {NG_TYPE_Q6_K, 0.02},
                  {NG_TYPE_Q5_K, 0.038}, {NG_TYPE_Q5_1, 0.042}, {NG_TYPE_Q5_0, 0.046}, {NG_TYPE_Q4_K, 0.076},
                  {NG_TYPE_Q4_1, 0.086}, {NG_TYPE_Q4_0, 0.095}, {NG_TYPE_NG4, 0.08},   {NG_TYPE_NG3, 0.19},
                  {NG_TYPE_NG3_S, 0.22}};
    make_gauss();
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        double e = round_trip(bounds[i].type, NULL);
        if (e > bounds[i].most)
            fail_msg("%s: %.5f, at most %.5f", ng_type_get_info(bounds[i].type).name, e, bounds[i].most);
    }
    /* Fewer bits than Q4_K, and hardly a larger error; less than the plain blocks of four bits and a half. */
    assert_true(round_trip(NG_TYPE_NG4, NULL) < round_trip(NG_TYPE_Q4_0, NULL));
}

static void search_beats_the_formula(void **state) {
    (void)state;
    static const ng_type types[] = {NG_TYPE_Q4_0, NG_TYPE_Q4_1, NG_TYPE_Q5_0, NG_TYPE_Q5_1};
    make_gauss();
    for (size_t i = 0; i < 4; i++) assert_true(round_trip(types[i], ones) < 0.99 * round_trip(types[i], NULL));
}

static void heavy_columns_get_less_error(void **state) {
    (void)state;
    static const ng_type types[] = {NG_TYPE_Q4_0, NG_TYPE_Q4_1, NG_TYPE_Q5_0, NG_TYPE_Q4_K,
                                    NG_TYPE_Q5_K, NG_TYPE_Q6_K, NG_TYPE_NG4,  NG_TYPE_NG3, NG_TYPE_NG3_S};
    make_gauss();
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        double before = 0, after = 0;
        float w[N];
        for (int i = 0; i < N; i++) w[i] = i % 16 == 3 ? 100.0f : 1.0f;
        round_trip(types[t], ones);
        for (int i = 3; i < N; i += 16) before += fabs((double)gauss[i] - (double)back[i]);
        round_trip(types[t], w);
        for (int i = 3; i < N; i += 16) after += fabs((double)gauss[i] - (double)back[i]);
        if (after > 0.9 * before) fail_msg("%s: %g, was %g", ng_type_get_info(types[t]).name, after, before);
    }
}

static void odd_blocks_are_kept(void **state) {
    (void)state;
    static const ng_type types[] = {NG_TYPE_Q4_K, NG_TYPE_Q5_K, NG_TYPE_Q6_K, NG_TYPE_NG4,
                                    NG_TYPE_NG3,  NG_TYPE_Q4_0, NG_TYPE_Q5_1, NG_TYPE_NG3_S};
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        uint8_t blocks[512];
        float x[256] = {0}, y[256];
        assert_true(ng_quantize_row(types[t], x, ones, blocks, 256)); /* zeros stay zeros */
        ng_dequantize_row(types[t], blocks, y, 256);
        for (int i = 0; i < 256; i++) assert_true(y[i] == 0);
        for (int i = 0; i < 256; i++) x[i] = 100.0f; /* a constant, in reach of every type */
        assert_true(ng_quantize_row(types[t], x, ones, blocks, 256));
        ng_dequantize_row(types[t], blocks, y, 256);
        for (int i = 0; i < 256; i++) assert_true(fabsf(y[i] - 100) < 8);
        x[7] = 1e-41f, x[8] = -1e-41f;
        assert_true(ng_quantize_row(types[t], x, ones, blocks, 256));
        x[9] = 1e9f;
        assert_false(ng_quantize_row(types[t], x, ones, blocks, 256));
    }
    float x[64] = {118.0f};
    uint8_t block[34];
    assert_true(ng_quantize_row(NG_TYPE_NG4, x, NULL, block, 64));
    x[1] = -118.5f;
    assert_false(ng_quantize_row(NG_TYPE_NG4, x, NULL, block, 64));
}

static void formats_choose_types_as_documented(void **state) {
    (void)state;
    static const struct { const char *format, *name; uint64_t cols; bool llama; ng_type type; bool fell_back; } cases[] = {
        {"Q4_K", "blk.3.ffn_up.weight", 1536, true, NG_TYPE_Q4_K, false},
        {"q4_k", "blk.3.ffn_up.weight", 576, true, NG_TYPE_Q5_0, true},
        {"Q5_K", "blk.3.ffn_up.weight", 576, true, NG_TYPE_Q5_1, true},
        {"Q6_K", "blk.3.ffn_up.weight", 576, true, NG_TYPE_Q8_0, true},
        {"Q4_K_M", "blk.0.ffn_down.weight", 1536, true, NG_TYPE_Q6_K, false},  /* the first eighth of 30 layers is 3 */
        {"Q4_K_M", "blk.3.ffn_down.weight", 1536, true, NG_TYPE_Q4_K, false},
        {"Q4_K_M", "blk.5.ffn_down.weight", 1536, true, NG_TYPE_Q6_K, false},  /* every third */
        {"Q4_K_M", "blk.26.attn_v.weight", 576, true, NG_TYPE_Q8_0, true},     /* the last eighth */
        {"Q4_K_M", "token_embd.weight", 576, true, NG_TYPE_Q8_0, true},
        {"Q4_K_M", "token_embd.weight", 512, false, NG_TYPE_Q4_K, false},
        {"Q5_K_M", "output.weight", 512, false, NG_TYPE_Q6_K, false},
        {"NG4", "token_embd.weight", 576, true, NG_TYPE_NG4, false},
        {"NG4", "blk.0.ffn_up.weight", 96, true, NG_TYPE_Q5_0, true},
        {"NG4", "blk.0.attn_v.weight", 576, true, NG_TYPE_NG4, false},
        {"NG4_M", "blk.4.attn_v.weight", 576, true, NG_TYPE_Q8_0, false},
        {"NG4_M", "blk.0.attn_output.weight", 576, true, NG_TYPE_Q8_0, false},
        {"NG4_M", "token_embd.weight", 576, true, NG_TYPE_NG4, false},
        {"NG4_M", "blk.0.ffn_down.weight", 1536, true, NG_TYPE_NG4, false},
        {"NG3", "blk.0.ffn_up.weight", 96, true, NG_TYPE_Q4_0, true},
        {"NG3", "blk.0.ffn_up.weight", 50, true, NG_TYPE_F16, true},
        {"NG3", "blk.0.attn_norm.weight", 64, true, NG_TYPE_F32, false},
        {"NG3", "blk.7.ffn_up.weight", 576, true, NG_TYPE_NG3_S, false},
        {"NG3", "blk.7.ffn_gate.weight", 576, true, NG_TYPE_NG3_S, false},
        {"NG3", "blk.7.ffn_up.weight", 576, false, NG_TYPE_NG3, false},
        {"NG3", "blk.7.ffn_down.weight", 1536, true, NG_TYPE_NG3, false},
        {"NG3", "token_embd.weight", 576, true, NG_TYPE_NG3, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t dims[4] = {cases[i].cols, 8, 1, 1};
        ng_weight_place at = {cases[i].name, 2, dims, 30, .tied = cases[i].llama, .gated = cases[i].llama};
        bool fell_back;
        ng_type t = ng_weight_type(ng_format_find(cases[i].format), &at, &fell_back);
        if (t != cases[i].type || fell_back != cases[i].fell_back)
            fail_msg("case %zu: %s", i, ng_type_get_info(t).name);
    }
    assert_null(ng_format_find("Q2_K"));
}

/* ---- importance matrices ------------------------------------------------------------------------------------ */

static void write_imatrix(const char *type, float first, float count) {
    static float sums[64], n;
    uint64_t d[2] = {64, 1}, one[2] = {1, 1};
    for (int i = 0; i < 64; i++) sums[i] = (float)i;
    sums[0] = first;
    n = count;
    ng_gguf_writer *w;
    ng_error err = {0};
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    ng_gguf_put_str(w, "general.type", type);
    ng_gguf_put_tensor(w, "token_embd.weight.in_sum2", NG_TYPE_F32, 2, d, sums);
    ng_gguf_put_tensor(w, "token_embd.weight.counts", NG_TYPE_F32, 2, one, &n);
    assert_int_equal(ng_gguf_writer_commit(w, im_path, &err), NG_OK);
}

static void importance_weighs_or_is_refused(void **state) {
    (void)state;
    ng_imatrix *im;
    ng_error err = {0};
    float w[64];
    bool found;
    write_imatrix("imatrix", 0, 10);
    assert_int_equal(ng_imatrix_open(&im, im_path, &err), NG_OK);
    assert_int_equal(ng_imatrix_weights(im, w, "token_embd.weight", 64, &found, &err), NG_OK);
    assert_true(found && fabsf(w[0] - 0.01f) < 1e-6f && fabsf(w[63] - (2.0f + 0.01f)) < 1e-5f);
    assert_int_equal(ng_imatrix_weights(im, w, "output.weight", 64, &found, &err), NG_OK);
    assert_false(found);
    assert_int_equal(ng_imatrix_weights(im, w, "token_embd.weight", 32, &found, &err), NG_EFORMAT);
    assert_non_null(strstr(err.text, "does not have the 32 columns"));
    ng_imatrix_close(im);

    write_input(0.5f);
    ng_weights_report r;
    ng_weights_options o = {.type = "NG4", .imatrix = im_path};
    err = (ng_error){0};
    assert_int_equal(ng_quantize_file(&r, in_path, out_path, &o, &err), NG_OK);
    assert_int_equal(r.n_weighted, 1);
    ng_weights_report_clear(&r);

    static const struct { const char *type; float first, count; ng_status status; const char *text; } bad[] = {
        {"model", 0, 1, NG_EFORMAT, "is no importance matrix"},
        {"imatrix", -1, 1, NG_EFORMAT, "column 0 of token_embd.weight.in_sum2 is negative"},
        {"imatrix", INFINITY, 1, NG_EFORMAT, "not finite"},
        {"imatrix", 0, 0, NG_EFORMAT, "was made for another model"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_imatrix(bad[i].type, bad[i].first, bad[i].count);
        err = (ng_error){0};
        assert_int_equal(ng_quantize_file(&r, in_path, out_path, &o, &err), bad[i].status);
        assert_non_null(strstr(err.text, bad[i].text));
    }
    unlink(im_path);
}

/* ---- carry --------------------------------------------------------------------------------------------- */

enum { COLUMNS = 128, SAMPLES = 300, PRODUCTS = COLUMNS * (COLUMNS + 1) / 2 };
static float samples[SAMPLES][COLUMNS], products[PRODUCTS];

/* Inputs of which a few directions hold most, as those of real models. */
static void make_samples(void) {
    make_gauss();
    ng_rng rng = ng_rng_seed(5);
    memset(products, 0, sizeof products);
    for (int s = 0; s < SAMPLES; s++) {
        for (int c = 0; c < COLUMNS; c++) samples[s][c] = (float)ng_rng_unit(&rng) - 0.5f;
        for (int k = 0; k < 6; k++) {
            float f = 4 * (float)(ng_rng_unit(&rng) - 0.5);
            for (int c = 0; c < COLUMNS; c++) samples[s][c] += f * gauss[(k * COLUMNS + c) % N] * 20;
        }
        for (size_t i = 0, at = 0; i < COLUMNS; i++)
            for (size_t j = 0; j <= i; j++) products[at++] += samples[s][i] * samples[s][j];
    }
}

/* The squared change of what rows add up to. */
static double output_error(const uint8_t *blocks, ng_type type, const float *row) {
    double sum = 0;
    ng_dequantize_row(type, blocks, back, COLUMNS);
    for (int s = 0; s < SAMPLES; s++) {
        double e = 0;
        for (int c = 0; c < COLUMNS; c++) e += (double)samples[s][c] * ((double)row[c] - (double)back[c]);
        sum += e * e;
    }
    return sum;
}

static void carry_keeps_what_rows_add_up_to(void **state) {
    (void)state;
    static const ng_type types[] = {NG_TYPE_NG4, NG_TYPE_NG3, NG_TYPE_NG3_S};
    ng_error err = {0};
    make_samples();
    for (int threads = 1; threads <= 3; threads += 2) {
        ng_pool *pool;
        ng_carry *f;
        assert_int_equal(ng_pool_new(&pool, threads, &err), NG_OK);
        assert_int_equal(ng_carry_new(&f, products, COLUMNS, 0.01, pool, &err), NG_OK);
        for (size_t t = 0; t < 3; t++) {
            static uint8_t first[3][8][COLUMNS], fed[COLUMNS], plain[COLUMNS];
            double with = 0, without = 0;
            for (int r = 0; r < 8; r++) {
                float errors[COLUMNS];
                const float *row = gauss + 200 * r;
                ng_quantize_carried(types[t], f, row, errors, fed);
                assert_true(ng_quantize_row(types[t], row, NULL, plain, COLUMNS));
                with += output_error(fed, types[t], row);
                without += output_error(plain, types[t], row);
                if (threads == 1) memcpy(first[t][r], fed, sizeof fed);
                else assert_memory_equal(first[t][r], fed, sizeof fed);
            }
            if (with > 0.4 * without)
                fail_msg("%s: %g, without carry %g", ng_type_get_info(types[t]).name, with, without);
        }
        ng_carry_free(f);
        ng_pool_free(pool);
    }
}

static void write_products(size_t n, double spoil) {
    static float count = SAMPLES, sums[COLUMNS];
    uint64_t d[2] = {COLUMNS, 1}, one[2] = {1, 1}, half[1] = {n};
    make_samples();
    for (size_t i = 0; i < COLUMNS; i++) sums[i] = products[i * (i + 1) / 2 + i];
    products[5] += (float)spoil; /* of columns 2 and 2 */
    products[4] += (float)(2 * spoil); /* of columns 2 and 1 */
    ng_gguf_writer *w;
    ng_error err = {0};
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    ng_gguf_put_str(w, "general.type", "imatrix");
    ng_gguf_put_tensor(w, "x.weight.in_sum2", NG_TYPE_F32, 2, d, sums);
    ng_gguf_put_tensor(w, "x.weight.counts", NG_TYPE_F32, 2, one, &count);
    ng_gguf_put_tensor(w, "x.weight.in_products", NG_TYPE_F32, 1, half, products);
    assert_int_equal(ng_gguf_writer_commit(w, im_path, &err), NG_OK);
    uint64_t dims[2] = {COLUMNS, 4};
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    ng_gguf_put_tensor(w, "x.weight", NG_TYPE_F32, 2, dims, gauss);
    assert_int_equal(ng_gguf_writer_commit(w, in_path, &err), NG_OK);
}

static void products_are_used_or_refused(void **state) {
    (void)state;
    static const struct { size_t n; double spoil; const char *text; } bad[] = {
        {PRODUCTS - 1, 0, "does not have the products of 128 columns"},
        {PRODUCTS, INFINITY, "in_products is not finite"},
        {PRODUCTS, -1e30, "no columns have such products"}};
    ng_weights_options o = {.type = "NG4", .imatrix = im_path};
    ng_weights_report r;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ng_error err = {0};
        write_products(bad[i].n, bad[i].spoil);
        assert_int_equal(ng_quantize_file(&r, in_path, out_path, &o, &err), NG_EFORMAT);
        if (!strstr(err.text, bad[i].text)) fail_msg("%s", err.text);
    }
    write_products(PRODUCTS, 0);
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_error err = {0};
        ng_status s = ng_quantize_file(&r, in_path, out_path, &o, &err);
        if (!s) fault_passed();
        else assert_true(s == NG_ENOMEM && err.text[0]);
        ng_weights_report_clear(&r);
    }
    ng_gguf *g;
    ng_error err = {0};
    assert_int_equal(ng_gguf_open(&g, out_path, &err), NG_OK);
    double with = output_error(ng_gguf_find_tensor(g, "x.weight")->data, NG_TYPE_NG4, gauss);
    uint8_t plain[COLUMNS];
    assert_true(ng_quantize_row(NG_TYPE_NG4, gauss, NULL, plain, COLUMNS));
    assert_true(with < 0.5 * output_error(plain, NG_TYPE_NG4, gauss));
    ng_gguf_close(g);
    unlink(im_path);
}

static void a_damaged_vector_is_refused(void **state) {
    (void)state;
    uint64_t d[1] = {64};
    float x[64] = {0};
    x[5] = NAN;
    ng_gguf_writer *w;
    ng_weights_report r;
    ng_error err = {0};
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    ng_gguf_put_tensor(w, "output_norm.weight", NG_TYPE_F32, 1, d, x);
    assert_int_equal(ng_gguf_writer_commit(w, in_path, &err), NG_OK);
    assert_int_equal(quantize(in_path, out_path, "Q8_0", &r, &err), NG_EFORMAT);
    assert_non_null(strstr(err.text, "output_norm.weight has a value that is infinite or not a number"));
}

static void rope_rows_are_interleaved(void **state) {
    (void)state;
    float src[8][2]; /* two heads of four rows */
    for (int i = 0; i < 16; i++) src[i / 2][i % 2] = (float)i;
    ng_transcoder c = {0};
    ng_transcode t = {.coder = &c,
                      .name = "q",
                      .file = "f",
                      .src = src,
                      .from = NG_TYPE_F32,
                      .to = NG_TYPE_F32,
                      .n_dims = 2,
                      .dims = {2, 8, 1, 1},
                      .rope_heads = 2};
    const void *data;
    ng_error err = {0};
    assert_int_equal(ng_transcode_make(&t, &data, &err), NG_OK);
    static const int order[8] = {0, 2, 1, 3, 4, 6, 5, 7};
    for (int r = 0; r < 8; r++)
        assert_memory_equal((const float *)data + r * 2, src[order[r]], sizeof src[0]);
    ng_transcoder_clear(&c);
}

static void quantising_survives_every_fault(void **state) {
    (void)state;
    static const fault_kind kinds[] = {FAULT_ALLOC, FAULT_WRITE};
    write_input(0.5f);
    for (size_t k = 0; k < 2; k++) {
        FAULT_SWEEP(kinds[k]) {
            ng_weights_report r;
            ng_error err = {0};
            ng_status s = quantize(in_path, out_path, "Q4_1", &r, &err);
            if (!s) fault_passed();
            else assert_true((s == NG_ENOMEM || s == NG_EIO) && err.text[0]);
            ng_weights_report_clear(&r);
        }
        assert_true(fault_sweep_rounds() >= 5);
    }
}

int main(void) {
    int fd = mkstemp(in_path);
    if (fd < 0) return 1;
    close(fd);
    snprintf(out_path, sizeof out_path, "%s.out", in_path);
    snprintf(im_path, sizeof im_path, "%s.imatrix", in_path);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_equal_the_reference),
        cmocka_unit_test(what_a_type_cannot_hold_is_refused),
        cmocka_unit_test(a_file_changes_as_documented),
        cmocka_unit_test(refusals_name_the_tensor),
        cmocka_unit_test(errors_stay_within_each_types_bound),
        cmocka_unit_test(search_beats_the_formula),
        cmocka_unit_test(heavy_columns_get_less_error),
        cmocka_unit_test(odd_blocks_are_kept),
        cmocka_unit_test(formats_choose_types_as_documented),
        cmocka_unit_test(importance_weighs_or_is_refused),
        cmocka_unit_test(carry_keeps_what_rows_add_up_to),
        cmocka_unit_test(products_are_used_or_refused),
        cmocka_unit_test(a_damaged_vector_is_refused),
        cmocka_unit_test(rope_rows_are_interleaved),
        cmocka_unit_test(quantising_survives_every_fault),
    };
    int bad = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(in_path);
    unlink(out_path);
    return bad;
}
