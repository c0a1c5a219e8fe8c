/* Tests of src/quant: blocks equal gguf-py's (tests/golden/quant_blocks.bin), a file changes
 * precision as documented, values that a type cannot hold are refused, every allocation and write
 * may fail. */
#include "core/file.h"
#include "gguf/gguf.h"
#include "kernel/dequant.h"
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

static char in_path[] = "/tmp/nanogrid-test-quantize-XXXXXX", out_path[64];

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
                "\"fell_back\": [\"blk.0.attn_q.weight\"]}"));
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
    assert_int_equal(quantize(in_path, out_path, "Q2_K", &r, &err), NG_EINVALID);
    assert_non_null(strstr(err.text, "choose among F32, F16, BF16, Q8_0"));
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_equal_the_reference),
        cmocka_unit_test(what_a_type_cannot_hold_is_refused),
        cmocka_unit_test(a_file_changes_as_documented),
        cmocka_unit_test(refusals_name_the_tensor),
        cmocka_unit_test(rope_rows_are_interleaved),
        cmocka_unit_test(quantising_survives_every_fault),
    };
    int bad = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(in_path);
    unlink(out_path);
    return bad;
}
