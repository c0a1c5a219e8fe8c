/* Tests of src/gguf: what is written can be read, the getters convert and refuse, messages name
 * file, byte and field, every allocation and every write may fail.  Hostile files:
 * test_gguf_malformed.c. */
#include "core/file.h"
#include "gguf/gguf.h"
#include "gguf/name_index.h"
#include "fault.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char path[] = "/tmp/nanogrid-test-gguf-XXXXXX";

static const float weights[2 * 3] = {1, 2, 3, -4, 5, 6.5f};
static uint8_t blocks[34 * 2 * 3];

static void put_everything(ng_gguf_writer *w) {
    ng_str strs[3] = {{"a", 1}, {"", 0}, {"\0\xff", 2}};
    int16_t shorts[3] = {-1, 2, 32767};
    uint64_t longs[2] = {1, UINT64_MAX};
    double doubles[2] = {0.5, -1e300};
    uint64_t dims[4] = {3, 2, 1, 1}, q8_dims[4] = {64, 3, 1, 1}, one[1] = {5};
    for (size_t i = 0; i < sizeof blocks; i++) blocks[i] = (uint8_t)i;
    ng_gguf_put_str(w, "general.architecture", "llama");
    ng_gguf_put_u32(w, "n", 7);
    ng_gguf_put_u64(w, "big", UINT64_MAX);
    ng_gguf_put_i32(w, "minus", -3);
    ng_gguf_put_f32(w, "eps", 1e-5f);
    ng_gguf_put_bool(w, "yes", true);
    ng_gguf_put_strn(w, "bytes", "\0x", 2);
    ng_gguf_put_array(w, "shorts", NG_GGUF_I16, shorts, 3);
    ng_gguf_put_array(w, "longs", NG_GGUF_U64, longs, 2);
    ng_gguf_put_array(w, "doubles", NG_GGUF_F64, doubles, 2);
    ng_gguf_put_strs(w, "strs", strs, 3);
    ng_gguf_put_strs(w, "none", NULL, 0);
    ng_gguf_put_u32(w, "n", 8); /* replaces */
    ng_gguf_put_tensor(w, "a.weight", NG_TYPE_F32, 2, dims, weights);
    ng_gguf_put_tensor(w, "q.weight", NG_TYPE_Q8_0, 2, q8_dims, blocks);
    ng_gguf_put_tensor(w, "last.bias", NG_TYPE_I8, 1, one, "12345");
}

static ng_status write_everything(ng_error *err) {
    ng_gguf_writer *w;
    if (ng_gguf_writer_new(&w)) return ng_fail(err, NG_ENOMEM, "writer");
    put_everything(w);
    return ng_gguf_writer_commit(w, path, err);
}

static void check_everything(const ng_gguf *g) {
    ng_error err = {0};
    uint32_t n = 0;
    uint64_t big = 0;
    int64_t minus = 0;
    float eps = 0;
    bool yes = false;
    ng_str str;
    ng_gguf_array a;
    assert_int_equal(ng_gguf_n_keys(g), 12);
    assert_int_equal(ng_gguf_get_str(g, "general.architecture", &str, &err), NG_OK);
    assert_int_equal(str.len, 5);
    assert_memory_equal(str.data, "llama", 5);
    assert_int_equal(ng_gguf_get_u32(g, "n", &n, &err), NG_OK);
    assert_int_equal(n, 8);
    assert_int_equal(ng_gguf_get_u64(g, "big", &big, &err), NG_OK);
    assert_true(big == UINT64_MAX);
    assert_int_equal(ng_gguf_get_i64(g, "minus", &minus, &err), NG_OK);
    assert_int_equal(minus, -3);
    assert_int_equal(ng_gguf_get_f32(g, "eps", &eps, &err), NG_OK);
    assert_true(eps == 1e-5f);
    assert_int_equal(ng_gguf_get_bool(g, "yes", &yes, &err), NG_OK);
    assert_true(yes);
    assert_int_equal(ng_gguf_get_str(g, "bytes", &str, &err), NG_OK);
    assert_int_equal(str.len, 2);
    assert_memory_equal(str.data, "\0x", 2);
    assert_int_equal(ng_gguf_get_array(g, "shorts", &a, &err), NG_OK);
    assert_int_equal(a.len, 3);
    assert_int_equal(ng_gguf_array_int(&a, 0), -1);
    assert_true(ng_gguf_array_num(&a, 2) == 32767.0);
    assert_int_equal(ng_gguf_get_array(g, "longs", &a, &err), NG_OK);
    assert_true(ng_gguf_array_int(&a, 1) == INT64_MAX); /* the nearest that fits */
    assert_true(ng_gguf_array_num(&a, 1) == 0x1p64);
    assert_int_equal(ng_gguf_get_array(g, "doubles", &a, &err), NG_OK);
    assert_true(ng_gguf_array_num(&a, 1) == -1e300);
    assert_true(ng_gguf_array_int(&a, 1) == INT64_MIN);
    assert_int_equal(ng_gguf_get_array(g, "strs", &a, &err), NG_OK);
    assert_int_equal(a.kind, NG_GGUF_STRING);
    assert_int_equal(a.len, 3);
    assert_int_equal(a.strs[1].len, 0);
    assert_memory_equal(a.strs[2].data, "\0\xff", 2);
    assert_int_equal(ng_gguf_get_array(g, "none", &a, &err), NG_OK);
    assert_int_equal(a.len, 0);

    assert_int_equal(ng_gguf_n_tensors(g), 3);
    const ng_gguf_tensor *t = ng_gguf_find_tensor(g, "q.weight");
    assert_non_null(t);
    assert_ptr_equal(t, ng_gguf_tensor_at(g, 1));
    assert_int_equal(t->bytes, sizeof blocks);
    assert_int_equal(t->dims[0], 64);
    assert_int_equal(t->dims[3], 1);
    assert_memory_equal(t->data, blocks, sizeof blocks);
    t = ng_gguf_find_tensor(g, "a.weight");
    assert_memory_equal(t->data, weights, sizeof weights);
    assert_memory_equal(ng_gguf_find_tensor(g, "last.bias")->data, "12345", 5);
    assert_null(ng_gguf_find_tensor(g, "a.weigh"));
    assert_int_equal(err.code, NG_OK);
}

static void what_is_written_can_be_read(void **state) {
    (void)state;
    ng_error err = {0};
    ng_gguf *g;
    assert_int_equal(write_everything(&err), NG_OK);
    assert_int_equal(ng_gguf_open(&g, path, &err), NG_OK);
    assert_string_equal(ng_gguf_path(g), path);
    assert_int_equal(ng_gguf_file_bytes(g) % 32, 0);
    check_everything(g);

    /* Once more through put_all: the copy is the same file. */
    ng_gguf_writer *w;
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    ng_gguf_put_u32(w, "n", 8);
    ng_gguf_put_all(w, g);
    for (size_t i = 0; i < ng_gguf_n_tensors(g); i++) {
        const ng_gguf_tensor *t = ng_gguf_tensor_at(g, i);
        ng_gguf_put_tensor(w, t->name, t->type, t->n_dims, t->dims, t->data);
    }
    char copy[64];
    snprintf(copy, sizeof copy, "%s.copy", path);
    assert_int_equal(ng_gguf_writer_commit(w, copy, &err), NG_OK);
    ng_gguf_close(g);
    assert_int_equal(ng_gguf_open(&g, copy, &err), NG_OK);
    ng_gguf_kind kind;
    assert_string_equal(ng_gguf_key(g, 0, &kind), "n");
    assert_int_equal(kind, NG_GGUF_U32);
    check_everything(g);
    ng_gguf_close(g);
    unlink(copy);
}

static void getters_refuse_by_name(void **state) {
    (void)state;
    ng_error err = {0};
    ng_gguf *g;
    uint32_t n = 99;
    uint64_t u;
    int64_t i;
    float f;
    bool b;
    ng_str str;
    ng_gguf_array a;
    assert_int_equal(write_everything(&err), NG_OK);
    assert_int_equal(ng_gguf_open(&g, path, &err), NG_OK);
#define REFUSED(call, wanted)                                                                      \
    do {                                                                                           \
        err = (ng_error){0};                                                                       \
        assert_int_equal(call, NG_EFORMAT);                                                        \
        if (!strstr(err.text, wanted)) fail_msg("%s", err.text);                                   \
        assert_non_null(strstr(err.text, path));                                                   \
    } while (0)
    REFUSED(ng_gguf_get_u32(g, "absent", &n, &err), "absent is missing");
    REFUSED(ng_gguf_get_u32(g, "minus", &n, &err), "minus is -3, not within 0..2^32-1");
    REFUSED(ng_gguf_get_u64(g, "minus", &u, &err), "minus is -3");
    REFUSED(ng_gguf_get_u32(g, "big", &n, &err), "big is 18446744073709551615");
    REFUSED(ng_gguf_get_i64(g, "big", &i, &err), "big is 18446744073709551615");
    REFUSED(ng_gguf_get_u32(g, "eps", &n, &err), "eps is of kind f32, not a whole number");
    REFUSED(ng_gguf_get_u32(g, "yes", &n, &err), "yes is of kind bool, not a whole number");
    REFUSED(ng_gguf_get_u32(g, "strs", &n, &err), "strs is of kind array");
    REFUSED(ng_gguf_get_f32(g, "n", &f, &err), "n is of kind u32, not a real number");
    REFUSED(ng_gguf_get_bool(g, "n", &b, &err), "n is of kind u32, not true or false");
    REFUSED(ng_gguf_get_str(g, "strs", &str, &err), "strs is of kind array, not a string");
    REFUSED(ng_gguf_get_array(g, "bytes", &a, &err), "bytes is of kind string, not an array");
    REFUSED(ng_gguf_get_u32_or(g, "minus", 1, &n, &err), "minus");
    REFUSED(ng_gguf_get_f32_or(g, "n", 1, &f, &err), "n is of kind u32");
    REFUSED(ng_gguf_get_bool_or(g, "n", true, &b, &err), "n is of kind u32");
#undef REFUSED
    err = (ng_error){0};
    assert_int_equal(ng_gguf_get_u32_or(g, "absent", 5, &n, &err), NG_OK);
    assert_int_equal(n, 5);
    assert_int_equal(ng_gguf_get_f32_or(g, "absent", 0.5f, &f, &err), NG_OK);
    assert_true(f == 0.5f);
    assert_int_equal(ng_gguf_get_bool_or(g, "absent", true, &b, &err), NG_OK);
    assert_true(b);
    assert_true(ng_gguf_has(g, "n"));
    assert_false(ng_gguf_has(g, "N"));
    ng_gguf_close(g);
}

static void writer_errors_are_sticky(void **state) {
    (void)state;
    uint64_t dims[4] = {33, 1, 1, 1}, huge[4] = {1ULL << 40, 1ULL << 40, 1, 1}, zero[1] = {0},
             ok[1] = {32};
    char long_name[80];
    memset(long_name, 'x', sizeof long_name);
    long_name[64] = 0;
    for (int i = 0; i < 9; i++) {
        ng_gguf_writer *w;
        ng_error err = {0};
        assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
        switch (i) {
        case 0:
            ng_gguf_put_tensor(w, "t", NG_TYPE_Q8_0, 1, dims, "");
            break;
        case 1:
            ng_gguf_put_tensor(w, "t", NG_TYPE_F32, 2, huge, "");
            break;
        case 2:
            ng_gguf_put_tensor(w, "t", NG_TYPE_F32, 1, zero, "");
            break;
        case 3:
            ng_gguf_put_tensor(w, "t", NG_TYPE_F32, 5, ok, "");
            break;
        case 4:
            ng_gguf_put_tensor(w, long_name, NG_TYPE_F32, 1, ok, "");
            break;
        case 5:
            ng_gguf_put_u32(w, "", 1);
            break;
        case 6:
            ng_gguf_put_u32(w, "general.alignment", 64);
            break;
        case 7:
            ng_gguf_put_array(w, "k", NG_GGUF_STRING, "", 0);
            break;
        case 8:
            ng_gguf_put_tensor(w, "t", NG_TYPE_I8, 1, ok, blocks);
            ng_gguf_put_tensor(w, "t", NG_TYPE_I8, 1, ok, blocks);
            break;
        }
        ng_gguf_put_u32(w, "later", 1);
        unlink(path);
        assert_int_equal(ng_gguf_writer_commit(w, path, &err), NG_EINVALID);
        assert_true(strlen(err.text) > 10);
        assert_false(ng_file_exists(path));
    }
}

static void types_know_their_rows(void **state) {
    (void)state;
    ng_type t;
    size_t bytes;
    assert_true(ng_type_parse(&t, "q4_k"));
    assert_int_equal(t, NG_TYPE_Q4_K);
    assert_false(ng_type_parse(&t, "q4"));
    assert_true(ng_type_row_bytes(NG_TYPE_Q4_1, 64, &bytes));
    assert_int_equal(bytes, 40);
    assert_false(ng_type_row_bytes(NG_TYPE_Q4_1, 65, &bytes));
    assert_false(ng_type_row_bytes(NG_TYPE_F64, UINT64_MAX / 4, &bytes));
    assert_false(ng_type_row_bytes(4, 32, &bytes)); /* Q4_2 was removed from ggml */
    assert_null(ng_type_get_info(4).name);
    assert_string_equal(ng_type_get_info(NG_TYPE_BF16).name, "BF16");
}

static void index_finds_all_names(void **state) {
    (void)state;
    enum { N = 5000 };
    static char names[N][12];
    ng_name_index x = {0};
    size_t at;
    assert_false(ng_name_index_find(&x, "0", &at));
    for (size_t i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "%zu", i);
        assert_int_equal(ng_name_index_add(&x, names[i], &at), NG_OK);
        assert_int_equal(at, i);
    }
    for (size_t i = 0; i < N; i++) {
        assert_true(ng_name_index_find(&x, names[i], &at));
        assert_int_equal(at, i);
    }
    assert_int_equal(ng_name_index_add(&x, "17", &at), NG_EINVALID);
    assert_int_equal(at, 17);
    assert_false(ng_name_index_find(&x, "5000", &at));
    ng_name_index_clear(&x);
}

/* Every allocation fails once while reading .. */
static void reading_survives_no_memory(void **state) {
    (void)state;
    ng_error first = {0};
    assert_int_equal(write_everything(&first), NG_OK);
    ng_map m;
    assert_int_equal(ng_map_open(&m, path, &first), NG_OK);
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_error err = {0};
        ng_gguf *g;
        ng_status s = ng_gguf_open(&g, path, &err);
        if (!s) {
            check_everything(g);
            ng_gguf_close(g);
            fault_passed();
        } else {
            assert_int_equal(s, NG_ENOMEM);
            assert_null(g);
            assert_true(err.text[0] != 0);
        }
    }
    assert_true(fault_sweep_rounds() >= 8);
    ng_map_close(&m);
}

/* .. and every allocation, write and fsync while writing: the old file stays whole. */
static void writing_survives_every_fault(void **state) {
    (void)state;
    static const fault_kind kinds[] = {FAULT_ALLOC, FAULT_WRITE, FAULT_FSYNC};
    for (size_t k = 0; k < 3; k++) {
        ng_error before = {0};
        assert_int_equal(ng_file_write_atomic(path, "old", 3, &before), NG_OK);
        FAULT_SWEEP(kinds[k]) {
            ng_error err = {0};
            ng_status s = write_everything(&err);
            if (!s) {
                fault_passed();
                continue;
            }
            assert_true(s == NG_ENOMEM || s == NG_EIO);
            ng_buf b = ng_buf_init(1 << 20);
            ng_error read_err = {0};
            fault_arm(0, 0);
            assert_int_equal(ng_file_read(&b, path, &read_err), NG_OK);
            /* The very last fsync is that of the folder, after the rename: old or new, never
             * half. */
            assert_true(!strcmp(b.data, "old") || (b.len > 500 && !memcmp(b.data, "GGUF", 4)));
            ng_buf_clear(&b);
        }
        assert_true(fault_sweep_rounds() >= 2);
        ng_gguf *g;
        ng_error err = {0};
        assert_int_equal(ng_gguf_open(&g, path, &err), NG_OK);
        check_everything(g);
        ng_gguf_close(g);
    }
}

static void foreign_files_are_named(void **state) {
    (void)state;
    ng_gguf *g;
    ng_error err = {0};
    assert_int_equal(ng_gguf_open(&g, "/nonexistent/model.gguf", &err), NG_ENOTFOUND);
    assert_null(g);
    assert_non_null(strstr(err.text, "/nonexistent/model.gguf"));
    err = (ng_error){0};
    assert_int_equal(ng_file_write_atomic(path, "", 0, &err), NG_OK);
    assert_int_equal(ng_gguf_open(&g, path, &err), NG_EFORMAT);
    assert_non_null(strstr(err.text, "byte 0: magic needs 4 bytes"));
    err = (ng_error){0};
    assert_int_equal(ng_gguf_open_memory(&g, "PK\3\4........", 12, "model.zip", &err), NG_EFORMAT);
    assert_string_equal(
        err.text,
        "gguf: model.zip: byte 0: magic is 50 4b 03 04, not \"GGUF\": this is no GGUF file");
}

int main(void) {
    int fd = mkstemp(path);
    if (fd < 0) return 1;
    close(fd);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_can_be_read),
        cmocka_unit_test(getters_refuse_by_name),
        cmocka_unit_test(writer_errors_are_sticky),
        cmocka_unit_test(types_know_their_rows),
        cmocka_unit_test(index_finds_all_names),
        cmocka_unit_test(reading_survives_no_memory),
        cmocka_unit_test(writing_survives_every_fault),
        cmocka_unit_test(foreign_files_are_named),
    };
    int bad = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return bad;
}
