/* Tests of the safetensors reader on hostile files and of convert under faults.  What convert
 * writes is compared with llama.cpp's converter in tests/cli/test_convert.py. */
#include "core/file.h"
#include "gguf/gguf.h"
#include "quant/safetensors.h"
#include "fault.h"

#include <nanogrid/inspect.h>
#include <nanogrid/tools/weights.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

enum { ROOM = 1 << 16 };
static char *guard; /* the first byte that must not be touched */

/* A file of this header and `data` zero bytes before the guard page; returns its start. */
static const void *lay(const char *header, size_t data, size_t *len) {
    uint64_t n = strlen(header);
    *len = 8 + n + data;
    char *p = guard - *len;
    memcpy(p, &n, 8);
    memcpy(p + 8, header, n);
    memset(p + 8 + n, 0, data);
    return p;
}

static ng_status open_laid(const char *header, size_t data, ng_safetensors **f, ng_error *err) {
    size_t len;
    const void *p = lay(header, data, &len);
    *err = (ng_error){0};
    return ng_safetensors_open_memory(f, p, len, "f.safetensors", err);
}

static const char good[] =
    "{\"__metadata__\": {\"format\": \"pt\"}, \"b\": {\"dtype\": \"BF16\", \"shape\": [2, 3], "
    "\"data_offsets\": [4, 16]}, "
    "\"a\": {\"dtype\": \"F32\", \"shape\": [], \"data_offsets\": [0, 4]}, "
    "\"none\": {\"dtype\": \"I64\", \"shape\": [0, 7], \"data_offsets\": [4, 4]}}   ";

static void a_good_file_is_read(void **state) {
    (void)state;
    ng_safetensors *f;
    ng_error err;
    const char *value;
    assert_int_equal(open_laid(good, 16, &f, &err), NG_OK);
    assert_int_equal(ng_safetensors_n_tensors(f), 3);
    assert_string_equal(ng_safetensors_at(f, 0)->name, "a");
    assert_string_equal(ng_safetensors_at(f, 1)->name, "none");
    const ng_st_tensor *t = ng_safetensors_find(f, "b");
    assert_ptr_equal(t, ng_safetensors_at(f, 2));
    assert_int_equal(t->type, NG_TYPE_BF16);
    assert_int_equal(t->dims[1], 3);
    assert_ptr_equal(t->data, guard - 12);
    assert_null(ng_safetensors_find(f, "__metadata__"));
    assert_int_equal(ng_safetensors_n_meta(f), 1);
    assert_string_equal(ng_safetensors_meta(f, 0, &value), "format");
    assert_string_equal(value, "pt");
    ng_safetensors_close(f);
    assert_int_equal(open_laid("{}", 0, &f, &err), NG_OK);
    assert_int_equal(ng_safetensors_n_tensors(f), 0);
    ng_safetensors_close(f);
}

#define T(dtype, shape, offsets)                                                                   \
    "{\"w\": {\"dtype\": \"" dtype "\", \"shape\": " shape ", \"data_offsets\": " offsets "}}"
static void bad_headers_are_told_apart(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        ng_status status;
        const char *says;
    } cases[] = {
        {"", 0, NG_EFORMAT, "byte 8: header"},
        {"[]", 0, NG_EFORMAT, "byte 8: the header is no JSON object"},
        {"{\"w\": 3}", 0, NG_EFORMAT, "tensor w has no dtype"},
        {"{\"__metadata__\": 3}", 0, NG_EFORMAT, "__metadata__ is no JSON object"},
        {"{\"__metadata__\": {\"k\": 3}}", 0, NG_EFORMAT, "__metadata__ key k is no string"},
        {"{\"w\": {}, \"w\": {}}", 0, NG_EFORMAT, "header: duplicate object key"},
        {"{\"w\xff\": {}}", 0, NG_EFORMAT, "header: unable to decode byte 0xff"},
        {"{\"w\\u0000\": {}}", 0, NG_EFORMAT, "header: "},
        {T("F33", "[1]", "[0, 4]"), 4, NG_EUNSUPPORTED, "dtype of tensor w is F33"},
        {T("F32", "1", "[0, 4]"), 4, NG_EFORMAT, "shape of tensor w is no list"},
        {T("F32", "[1,1,1,1,1,1,1,1,1]", "[0, 4]"), 4, NG_EFORMAT,
         "shape of tensor w is no list of at most 8"},
        {T("F32", "[-1]", "[0, 4]"), 4, NG_EFORMAT, "dimension 0 of tensor w"},
        {T("F32", "[1.0]", "[0, 4]"), 4, NG_EFORMAT, "dimension 0 of tensor w"},
        {T("F32", "[99999999999999999999]", "[0, 4]"), 4, NG_EFORMAT, "header: too big integer"},
        {T("F32", "[4294967296, 4294967296]", "[0, 4]"), 4, NG_EFORMAT, "dimension 1 of tensor w"},
        {T("F32", "[4611686018427387905]", "[0, 4]"), 4, NG_EFORMAT,
         "tensor w is larger than any memory"},
        {T("F32", "[1]", "[0]"), 4, NG_EFORMAT, "data_offsets of tensor w are not two numbers"},
        {T("F32", "[1]", "[0, \"4\"]"), 4, NG_EFORMAT,
         "data_offsets of tensor w are not two numbers"},
        {T("F32", "[1]", "[-4, 0]"), 4, NG_EFORMAT, "data_offsets of tensor w are -4 to 0"},
        {T("F32", "[1]", "[4, 0]"), 4, NG_EFORMAT, "data_offsets of tensor w are 4 to 0"},
        {T("F32", "[1]", "[0, 8]"), 8, NG_EFORMAT, "but its shape needs 4 bytes"},
        {T("F32", "[2]", "[0, 8]"), 4, NG_EFORMAT, "the file has 4 bytes of data"},
        {T("F32", "[1]", "[4, 8]"), 8, NG_EFORMAT,
         "tensor w begins at offset 4, but the one before it ends at 0"},
        {T("F32", "[1]", "[0, 4]"), 8, NG_EFORMAT, "the tensors take 4 bytes, but the file has 8"},
        {"{\"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 4]}, \"b\": "
         "{\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 4]}}",
         4, NG_EFORMAT, "tensor b begins at offset 0, but the one before it ends at 4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ng_safetensors *f;
        ng_error err;
        ng_status s = open_laid(cases[i].header, cases[i].data, &f, &err);
        if (s != cases[i].status || !strstr(err.text, cases[i].says) ||
            !strstr(err.text, "f.safetensors"))
            fail_msg("%s: %s: %s", cases[i].header, ng_status_name(s), err.text);
        assert_null(f);
    }
}

static void deep_and_long_headers_are_refused(void **state) {
    (void)state;
    ng_safetensors *f;
    ng_error err;
    static char deep[40001];
    memset(deep, '[', 40000);
    assert_int_equal(open_laid(deep, 0, &f, &err), NG_EFORMAT);
    assert_non_null(strstr(err.text, "maximum parsing depth reached"));
    static uint64_t words[1 + (5 << 20) / 8]; /* a header length of 5 MiB */
    words[0] = 5 << 20;
    err = (ng_error){0};
    assert_int_equal(ng_safetensors_open_memory(&f, words, sizeof words, "long", &err), NG_ELIMIT);
    words[0] = UINT64_MAX - 3;
    err = (ng_error){0};
    assert_int_equal(ng_safetensors_open_memory(&f, words, sizeof words, "long", &err), NG_EFORMAT);
    assert_non_null(strstr(err.text, "header length is 18446744073709551612"));
}

static void damage_is_survived(void **state) {
    (void)state;
    ng_safetensors *f;
    ng_error err = {0};
    size_t len, opened = 0;
    const char *p = lay(good, 16, &len);
    char copy[512];
    assert_true(len <= sizeof copy);
    memcpy(copy, p, len);
    for (size_t cut = 0; cut < len; cut++) {
        memcpy(guard - cut, copy, cut);
        err = (ng_error){0};
        assert_int_not_equal(ng_safetensors_open_memory(&f, guard - cut, cut, "cut", &err), NG_OK);
    }
    for (size_t bit = 0; bit < len * 8; bit++) {
        memcpy(guard - len, copy, len);
        guard[-(long)len + (long)(bit / 8)] ^= (char)(1 << bit % 8);
        err = (ng_error){0};
        if (ng_safetensors_open_memory(&f, guard - len, len, "flip", &err)) continue;
        opened++; /* flips in names, spaces and data are no damage */
        ng_safetensors_close(f);
    }
    assert_true(opened > 100 && opened < len * 8);
}

/* ---- convert under faults -------------------------------------------------------------------- */

static char folder[] = "/tmp/nanogrid-test-convert-XXXXXX";

static void put_file(const char *name, const void *data, size_t len) {
    char path[128];
    ng_error err = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(ng_file_write_atomic(path, data, len, &err), NG_OK);
}

static void put_weights(void) {
    static const struct {
        const char *name;
        int rows, cols; /* rows 0: a vector */
    } t[] = {{"embeddings.word_embeddings.weight", 6, 32},
             {"embeddings.position_embeddings.weight", 4, 32},
             {"embeddings.token_type_embeddings.weight", 2, 32},
             {"embeddings.LayerNorm.weight", 0, 32},
             {"embeddings.LayerNorm.bias", 0, 32},
#define LAYER             "encoder.layer.0."
#define DENSE(name, r, c) {LAYER name ".weight", r, c}, {LAYER name ".bias", 0, r}
             DENSE("attention.self.query", 32, 32),
             DENSE("attention.self.key", 32, 32),
             DENSE("attention.self.value", 32, 32),
             DENSE("attention.output.dense", 32, 32),
             DENSE("intermediate.dense", 64, 32),
             DENSE("output.dense", 32, 64),
             {LAYER "attention.output.LayerNorm.weight", 0, 32},
             {LAYER "attention.output.LayerNorm.bias", 0, 32},
             {LAYER "output.LayerNorm.weight", 0, 32},
             {LAYER "output.LayerNorm.bias", 0, 32}};
    ng_buf head = ng_buf_init(1 << 16), file = ng_buf_init(1 << 20);
    size_t at = 0;
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        size_t n = (size_t)(t[i].rows ? t[i].rows : 1) * (size_t)t[i].cols * 4;
        ng_buf_printf(&head, "%s\"%s\": {\"dtype\": \"F32\", \"shape\": [", i ? ", " : "{",
                      t[i].name);
        if (t[i].rows) ng_buf_printf(&head, "%d, ", t[i].rows);
        ng_buf_printf(&head, "%d], \"data_offsets\": [%zu, %zu]}", t[i].cols, at, at + n);
        at += n;
    }
    ng_buf_putc(&head, '}');
    uint64_t len = head.len;
    ng_buf_put(&file, &len, 8);
    ng_buf_put(&file, head.data, head.len);
    for (size_t i = 0; i < at / 4; i++) {
        float v = (float)(i % 97) / 97.0f - 0.5f;
        ng_buf_put(&file, &v, 4);
    }
    assert_int_equal(file.status, NG_OK);
    put_file("model.safetensors", file.data, file.len);
    ng_buf_clear(&head);
    ng_buf_clear(&file);
}

static void converting_survives_every_fault(void **state) {
    (void)state;
    static const char config[] = "{\"architectures\": [\"BertModel\"], \"hidden_size\": 32, "
                                 "\"intermediate_size\": 64, \"layer_norm_eps\": 1e-12, "
                                 "\"max_position_embeddings\": 4, \"num_attention_heads\": 2, "
                                 "\"num_hidden_layers\": 1, \"type_vocab_size\": 2, "
                                 "\"vocab_size\": 6}";
    static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\n", out_name[] = "out.gguf";
    put_file("config.json", config, sizeof config - 1);
    put_file("vocab.txt", vocab, sizeof vocab - 1);
    put_weights();
    char out[128];
    snprintf(out, sizeof out, "%s/%s", folder, out_name);
    static const fault_kind kinds[] = {FAULT_ALLOC, FAULT_WRITE, FAULT_FSYNC};
    ng_weights_options opt = {.type = "q8_0"};
    for (size_t k = 0; k < 3; k++) {
        FAULT_SWEEP(kinds[k]) {
            ng_weights_report r;
            ng_error err = {0};
            ng_status s = ng_convert_folder(&r, folder, out, &opt, &err);
            if (!s) fault_passed();
            else assert_true((s == NG_ENOMEM || s == NG_EIO) && err.text[0]);
            ng_weights_report_clear(&r);
        }
        assert_true(fault_sweep_rounds() >= 2);
    }
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_inspection *in;
        ng_error err = {0};
        ng_status s = ng_inspect_open(&in, out, &err);
        if (!s) fault_passed();
        else assert_int_equal(s, NG_ENOMEM);
        if (!s) assert_string_equal(ng_inspect_get_summary(in).architecture, "bert");
        ng_inspect_close(s ? NULL : in);
    }
    ng_gguf *g;
    ng_error err = {0};
    assert_int_equal(ng_gguf_open(&g, out, &err), NG_OK);
    assert_int_equal(ng_gguf_n_tensors(g), 21);
    assert_int_equal(ng_gguf_find_tensor(g, "blk.0.ffn_down.weight")->type, NG_TYPE_Q8_0);
    ng_gguf_close(g);
}

static int set_up(void **state) {
    (void)state;
    char *p = mmap(NULL, ROOM + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + ROOM, 4096, PROT_NONE)) return -1;
    guard = p + ROOM;
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    static const char *const names[] = {"config.json", "vocab.txt", "model.safetensors",
                                        "out.gguf"};
    char path[128];
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder); /* fails, and tells, when a temporary file was left behind */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_is_read),
        cmocka_unit_test(bad_headers_are_told_apart),
        cmocka_unit_test(deep_and_long_headers_are_refused),
        cmocka_unit_test(damage_is_survived),
        cmocka_unit_test(converting_survives_every_fault),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
