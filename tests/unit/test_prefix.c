/* Tests of kept prefixes: the same bits with and without them, in memory and from files; sharing and order of
 * eviction; tenants and privacy; every damaged or foreign file refused; a full disk; every allocation, write and
 * fsync failing once. */
#include "core/file.h"
#include "core/hash.h"
#include "fault.h"
#include "model/arch.h"
#include "model/prefix_file.h"
#include <nanogrid/prefix.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>
#include <cmocka.h>

enum { VOCAB = 48, N = 190, PAGE = 64, HEAD_BYTES = 72 };
static const char *const files[] = {"tests/golden/llama-tiny-f32.gguf", "tests/golden/llama-tiny-mixed.gguf"};
static char dir[64];
static int32_t ids[N], other[N]; /* other: parts from ids at 100 */
static ng_model *model;
static float want[N * VOCAB];

static ng_session *session(const ng_model *m, const ng_prefix_options *p, ng_kv_precision kv) {
    ng_session *s;
    ng_session_options opt = {.n_threads = 1, .prefix = p, .kv = kv};
    ng_error err = {0};
    if (ng_session_new(&s, m, &opt, &err)) fail_msg("%s", err.text);
    return s;
}

static uint64_t page_bytes(void) { return ng_kv_bytes_per_tok(ng_model_kv_shape(model)) * PAGE; }

static void empty_dir(void) {
    ng_dir_list l;
    if (ng_dir_read(&l, dir, NULL)) return;
    for (size_t i = 0; i < l.len; i++) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", dir, l.names[i]);
        ng_file_remove(path);
    }
    ng_dir_list_clear(&l);
}

static size_t n_files(void) {
    ng_dir_list l;
    if (ng_dir_read(&l, dir, NULL)) return 0;
    size_t n = l.len;
    ng_dir_list_clear(&l);
    return n;
}

/* The path of file i of the folder, in the order of names: of one text, that of its pages. */
static const char *file_at(size_t i) {
    static char path[400];
    ng_dir_list l;
    assert_int_equal(ng_dir_read(&l, dir, NULL), NG_OK);
    assert_true(i < l.len);
    snprintf(path, sizeof path, "%s/%s", dir, l.names[i]);
    ng_dir_list_clear(&l);
    return path;
}

static int setup(void **state) {
    (void)state;
    ng_rng r = ng_rng_seed(5);
    for (int i = 0; i < N; i++) {
        ids[i] = (int32_t)ng_rng_below(&r, VOCAB);
        other[i] = i < 100 ? ids[i] : (ids[i] + 1) % VOCAB;
    }
    strcpy(dir, "/tmp/ng-prefix-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(ng_model_open(&model, files[0], NULL), NG_OK);
    ng_session *s = session(model, NULL, NG_KV_DEFAULT);
    assert_int_equal(ng_session_eval_all(s, ids, N, want, NULL), NG_OK);
    ng_session_free(s);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    ng_model_close(model);
    empty_dir();
    rmdir(dir);
    return 0;
}

/* Recalls, reads the rest of t[0 .. n), compares its logits with those of a session that keeps nothing, keeps;
 * returns what was recalled.  The session is empty again. */
static size_t ask(ng_session *s, const int32_t *t, size_t n) {
    static float got[N * VOCAB], alone[N * VOCAB];
    ng_kv_precision kv = s->kv_shape.type == NG_KV_Q8 ? NG_KV_8BIT : NG_KV_DEFAULT;
    ng_session *plain = session(ng_session_model(s), NULL, kv);
    assert_int_equal(ng_session_eval_all(plain, t, n, alone, NULL), NG_OK);
    size_t held = ng_session_recall(s, t, n - 1);
    assert_true(held < n && held == ng_session_len(s));
    assert_int_equal(ng_session_eval_all(s, t + held, n - held, got, NULL), NG_OK);
    if (memcmp(got, alone + held * VOCAB, (n - held) * VOCAB * sizeof *got))
        fail_msg("other bits after %zu of %zu", held, n);
    ng_session_keep(s, t);
    ng_session_rewind(s, 0);
    ng_session_free(plain);
    return held;
}

static void the_same_bits_from_memory(void **state) {
    (void)state;
    for (int f = 0; f < 2; f++)
        for (int q8 = 0; q8 < 2; q8++) {
            ng_model *m;
            assert_int_equal(ng_model_open(&m, files[f], NULL), NG_OK);
            ng_prefix_options p = {.memory_max = 1 << 20};
            ng_session *s = session(m, &p, q8 ? NG_KV_8BIT : NG_KV_DEFAULT);
            assert_int_equal(ask(s, ids, 150), 0);
            assert_int_equal(ask(s, ids, 150), 149);  /* all but the last, which is read for its logits */
            assert_int_equal(ask(s, other, 170), 100); /* to the token where it parts, in a copy of the page */
            assert_int_equal(ask(s, ids, 150), 149);   /* .. which left the first as it was */
            assert_int_equal(ask(s, ids, N), 150);     /* it goes on in the last page */
            assert_int_equal(ask(s, ids, 20), 19);
            assert_int_equal(ask(s, ids, N), N - 1);
            assert_int_equal(ask(s, ids + 1, 20), 0);
            ng_prefix_stats st = ng_session_prefix_stats(s);
            assert_int_equal(st.memory_tok, 149 + 100 + 149 + 150 + 19 + N - 1);
            assert_int_equal(st.memory_bytes, 6 * ng_kv_bytes_per_tok(&s->kv_shape) * PAGE); /* ids 3, other 2, ids + 1 */
            assert_int_equal(ng_kv_pool_pages_used(s->kv.pool), 6);
            assert_string_equal(st.note, "");
            ng_session_free(s);
            ng_model_close(m);
        }
}

static void what_was_not_used_for_longest_goes(void **state) {
    (void)state;
    int32_t a[130], b[130], c[130];
    for (int i = 0; i < 130; i++) a[i] = 1, b[i] = 2, c[i] = 3;
    ng_prefix_options p = {.memory_max = 6 * page_bytes()};
    ng_session *s = session(model, &p, NG_KV_DEFAULT);
    assert_int_equal(ask(s, a, 130), 0);
    assert_int_equal(ask(s, b, 130), 0);
    assert_int_equal(ask(s, a, 65), 64);  /* the first two pages of a are younger now than b */
    assert_int_equal(ask(s, c, 65), 0);   /* two pages go: the third of a, then that of b */
    assert_int_equal(ask(s, b, 130), 128);
    assert_int_equal(ask(s, a, 66), 64);
    assert_int_equal(ask(s, c, 65), 64);
    assert_int_equal(ng_session_prefix_stats(s).memory_bytes, p.memory_max);
    ng_session_free(s);
    p.memory_max = 2 * page_bytes() - 1; /* one page: the first of each text, and the text before goes */
    s = session(model, &p, NG_KV_DEFAULT);
    assert_int_equal(ask(s, a, 130), 0);
    assert_int_equal(ask(s, a, 130), 64);
    assert_int_equal(ask(s, b, 130), 0);
    assert_int_equal(ask(s, a, 130), 0);
    while (ng_prefix_evict(s->prefix)) {}
    assert_int_equal(ng_kv_pool_pages_used(s->kv.pool), 0);
    ng_session_free(s);
    p.memory_max = 0;
    s = session(model, &p, NG_KV_DEFAULT);
    assert_int_equal(ask(s, a, 130), 0);
    assert_int_equal(ask(s, a, 130), 0);
    ng_session_free(s);
}

/* Many texts that part anywhere, in a store that is too small for them. */
static void any_texts_in_any_order(void **state) {
    (void)state;
    ng_rng r = ng_rng_seed(17);
    empty_dir();
    for (int round = 0; round < 3; round++) {
        ng_prefix_options p = {.memory_max = (uint64_t)(round + 1) * 3 * page_bytes(), .dir = round ? dir : NULL,
                               .disk_max = 20 * page_bytes(), .eager = round == 1};
        ng_session *s = session(model, &p, NG_KV_DEFAULT);
        size_t found = 0;
        for (int i = 0; i < 60; i++) {
            int32_t t[N];
            memcpy(t, ids, sizeof t);
            size_t part = ng_rng_below(&r, 6) * 32 + ng_rng_below(&r, 2);
            int32_t by = 1 + (int32_t)ng_rng_below(&r, 3);
            for (size_t k = part; k < N; k++) t[k] = (t[k] + by) % VOCAB;
            found += ask(s, t, 1 + ng_rng_below(&r, N));
        }
        assert_true(found > 500);
        assert_string_equal(ng_session_prefix_stats(s).note, "");
        while (ng_prefix_evict(s->prefix)) {}
        assert_int_equal(ng_kv_pool_pages_used(s->kv.pool), 0);
        ng_session_free(s);
    }
}

/* ---- files ---------------------------------------------------------------------------------------- */

static ng_prefix_options on_disk(void) { return (ng_prefix_options){.memory_max = 1 << 20, .dir = dir, .eager = true}; }

/* A new session, as after a restart: what it recalls of ids[0 .. n) has come from files. */
static size_t ask_again(const int32_t *t, size_t n, const char *says, uint64_t refused) {
    ng_prefix_options p = on_disk();
    ng_session *s = session(model, &p, NG_KV_DEFAULT);
    size_t held = ask(s, t, n);
    ng_prefix_stats st = ng_session_prefix_stats(s);
    if (st.disk_tok != held || st.refused != refused || (*says ? !strstr(st.note, says) : *st.note != 0))
        fail_msg("%zu of %zu held, %llu from files, %llu refused (not %llu): \"%s\"", held, n,
                 (unsigned long long)st.disk_tok, (unsigned long long)st.refused, (unsigned long long)refused, st.note);
    ng_session_free(s);
    return held;
}

static void the_same_bits_from_files(void **state) {
    (void)state;
    empty_dir();
    assert_int_equal(ask_again(ids, N, "", 0), 0);
    assert_int_equal(n_files(), 3);
    assert_int_equal(ask_again(ids, N, "", 0), N - 1);
    assert_int_equal(ask_again(other, N, "", 0), 100); /* to the token where it parts */
    assert_int_equal(n_files(), 5);
    assert_int_equal(ask_again(other, N, "", 0), N - 1);
    assert_int_equal(ask_again(ids, 129, "", 0), 128);
    assert_int_equal(ask_again(ids, 128, "", 0), 127);
    assert_int_equal(n_files(), 6); /* 128 .. 128 too */
    struct stat st;
    assert_int_equal(stat(file_at(0), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    ng_session *q8 = session(model, &(ng_prefix_options){.dir = dir, .eager = true}, NG_KV_8BIT); /* files alone */
    assert_int_equal(ask(q8, ids, N), 0); /* pages of another type are not taken */
    assert_int_equal(ng_session_prefix_stats(q8).foreign, 6);
    assert_int_equal(ask(q8, ids, N), 128); /* of what was written since, whole pages */
    ng_session_free(q8);
    ng_model *m;
    assert_int_equal(ng_model_open(&m, files[1], NULL), NG_OK); /* nor those of another model */
    ng_prefix_options p = on_disk();
    ng_session *s = session(m, &p, NG_KV_DEFAULT);
    assert_int_equal(ask(s, ids, N), 0);
    assert_true(ng_session_prefix_stats(s).foreign >= 5);
    ng_session_free(s);
    ng_model_close(m);
}

static void only_what_is_shared_is_written_unless_eager(void **state) {
    (void)state;
    ng_prefix_options p = {.memory_max = 1 << 20, .dir = dir};
    empty_dir();
    ng_session *s = session(model, &p, NG_KV_DEFAULT);
    assert_int_equal(ask(s, ids, N), 0);
    assert_int_equal(ng_session_prefix_stats(s).written, 0);
    assert_int_equal(ask(s, other, N), 100); /* the first page has now begun two texts */
    assert_int_equal(ng_session_prefix_stats(s).written, 2); /* .. and one of those where they part is enough */
    int32_t third[N];
    memcpy(third, other, sizeof third);
    for (int i = 100; i < N; i++) third[i] = (ids[i] + 2) % VOCAB;
    assert_int_equal(ask(s, third, N), 100);
    assert_int_equal(ng_session_prefix_stats(s).written, 2);
    assert_int_equal(ask(s, ids, N), N - 1);
    assert_int_equal(ng_session_prefix_stats(s).written, 4);
    assert_int_equal(n_files(), 4);
    ng_session_free(s);
    s = session(model, &p, NG_KV_DEFAULT);
    assert_int_equal(ask(s, third, N), 100);
    ng_session_free(s);
}

static void tenants_share_nothing_and_private_texts_stay_in_memory(void **state) {
    (void)state;
    empty_dir();
    ng_prefix_options p = on_disk();
    ng_session *s = session(model, &p, NG_KV_DEFAULT);
    ng_prefix_text a = {.ids = ids, .n = 150, .tenant = 1}, b = {.ids = ids, .n = 150, .tenant = 2, .is_private = true};
    assert_int_equal(ng_session_eval(s, ids, 150, NULL, NULL), NG_OK);
    ng_prefix_keep(s->prefix, &s->kv, &b);
    assert_int_equal(ng_session_prefix_stats(s).written, 0);
    ng_session_rewind(s, 0);
    assert_int_equal(ng_prefix_extend(s->prefix, &s->kv, &a, SIZE_MAX), 0);
    assert_int_equal(ng_prefix_extend(s->prefix, &s->kv, &b, SIZE_MAX), 150);
    ng_prefix_keep(s->prefix, &s->kv, &a);
    assert_int_equal(ng_session_prefix_stats(s).written, 3);
    ng_session_free(s);
    s = session(model, &p, NG_KV_DEFAULT);
    assert_int_equal(ng_prefix_extend(s->prefix, &s->kv, &b, SIZE_MAX), 0);
    assert_int_equal(ng_prefix_extend(s->prefix, &s->kv, &a, 1), 64); /* at most one page from a file */
    assert_int_equal(ng_prefix_extend(s->prefix, &s->kv, &a, SIZE_MAX), 86);
    assert_int_equal(ng_prefix_extend(s->prefix, &s->kv, &a, SIZE_MAX), 0);
    ng_session_free(s);
}

static void read_file(ng_buf *b, const char *path) {
    *b = ng_buf_init(1 << 20);
    assert_int_equal(ng_file_read(b, path, NULL), NG_OK);
}

/* One bit anywhere, any cut, any more: refused, said, removed, written again; and what comes before is used. */
static void damaged_files_are_refused(void **state) {
    (void)state;
    char path[400];
    ng_buf good, again;
    empty_dir();
    assert_int_equal(ask_again(ids, N, "", 0), 0);
    for (size_t f = 0; f < 3; f++) {
        snprintf(path, sizeof path, "%s", file_at(f));
        read_file(&good, path);
        for (size_t k = 0; k < 90; k++) {
            size_t at = k < HEAD_BYTES ? k
                        : k < 80       ? HEAD_BYTES + (k - HEAD_BYTES) * 10
                                       : good.len - 1 - (k - 80) * 700;
            good.data[at] ^= (char)(1 << k % 8);
            assert_int_equal(ng_file_write_atomic(path, good.data, good.len, NULL), NG_OK);
            good.data[at] ^= (char)(1 << k % 8);
            assert_int_equal(ask_again(ids, N, " is not used: ", 1), f * PAGE);
        }
        const size_t cuts[] = {0, 1, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 100, good.len - 1};
        for (size_t k = 0; k < sizeof cuts / sizeof cuts[0]; k++) {
            assert_int_equal(ng_file_write_atomic(path, good.data, cuts[k], NULL), NG_OK);
            assert_int_equal(ask_again(ids, N, " is not used: ", 1), f * PAGE);
        }
        assert_int_equal(ng_buf_put(&good, "x", 1), NG_OK);
        assert_int_equal(ng_file_write_atomic(path, good.data, good.len, NULL), NG_OK);
        assert_int_equal(ask_again(ids, N, "its length is wrong", 1), f * PAGE);
        read_file(&again, path);
        assert_int_equal(again.len, good.len - 1);
        assert_memory_equal(again.data, good.data, again.len);
        ng_buf_clear(&again);
        ng_buf_clear(&good);
    }
    assert_int_equal(ask_again(ids, N, "", 0), N - 1);
    assert_int_equal(n_files(), 3);
}

static void foreign_files_are_refused(void **state) {
    (void)state;
    char first[400], second[400];
    ng_buf b;
    empty_dir();
    assert_int_equal(ask_again(ids, 100, "", 0), 0);
    snprintf(first, sizeof first, "%s", file_at(0));
    read_file(&b, first);
    empty_dir();
    for (int i = 0; i < 2; i++) { /* another text's page, and another build's, under this text's name */
        b.data[i ? 20 : HEAD_BYTES + 9] ^= 1;
        assert_int_equal(ng_file_write_atomic(first, b.data, b.len, NULL), NG_OK);
        assert_int_equal(ask_again(ids, 100, i ? "another model, build or KV type" : "other tokens", 1), 0);
        b.data[i ? 20 : HEAD_BYTES + 9] ^= 1;
    }
    b.data[8] = 2;
    assert_int_equal(ng_file_write_atomic(first, b.data, b.len, NULL), NG_OK);
    assert_int_equal(ask_again(ids, 100, "another version", 1), 0);
    ng_buf_clear(&b);
    /* names that are not ours, folders, pipes, links to nowhere */
    snprintf(second, sizeof second, "%s/notes.txt", dir);
    assert_int_equal(ng_file_write_atomic(second, "x", 1, NULL), NG_OK);
    ng_file_remove(first);
    assert_int_equal(mkdir(first, 0700), 0);
    assert_int_equal(ask_again(ids, 100, "cannot rename to", 1), 0); /* nor can it be written there */
    assert_int_equal(rmdir(first), 0);
    assert_int_equal(mkfifo(first, 0600), 0);
    ng_prefix_options p = on_disk();
    ng_session *s = session(model, &p, NG_KV_DEFAULT);
    assert_int_equal(ask(s, ids, 100), 0);
    ng_session_free(s);
    ng_file_remove(first);
    assert_true(ng_file_exists(second));
    ng_file_remove(second);
}

static void a_folder_that_cannot_be_used_costs_the_files_alone(void **state) {
    (void)state;
    char path[100];
    ng_session *s;
    empty_dir();
    snprintf(path, sizeof path, "%s/file", dir);
    assert_int_equal(ng_file_write_atomic(path, "x", 1, NULL), NG_OK);
    ng_prefix_options p = {.dir = path};
    ng_session_options o = {.n_threads = 1, .prefix = &p};
    assert_int_equal(ng_session_new(&s, model, &o, NULL), NG_OK);
    assert_int_equal(ask(s, ids, N), 0);
    assert_int_equal(ask(s, ids, N), 0);
    assert_non_null(strstr(ng_session_prefix_stats(s).note, path));
    ng_session_free(s);
    ng_model *bert;
    assert_int_equal(ng_model_open(&bert, "tests/golden/bert-tiny-f32.gguf", NULL), NG_OK);
    assert_int_equal(ng_session_new(&s, bert, &o, NULL), NG_EINVALID);
    ng_model_close(bert);
    empty_dir();
}

/* The oldest go, and of one text its last pages first. */
static void the_folder_stays_below_its_limit(void **state) {
    (void)state;
    ng_prefix_options p = on_disk();
    empty_dir();
    p.disk_max = 4 * (page_bytes() + HEAD_BYTES + 128 * sizeof(int32_t));
    ng_session *s = session(model, &p, NG_KV_DEFAULT);
    assert_int_equal(ask(s, ids, N), 0);
    ng_prefix_flush(s->prefix);
    for (size_t i = 0; i < 3; i++) assert_int_equal(utime(file_at(i), &(struct utimbuf){1000, 1000}), 0);
    assert_int_equal(ask(s, ids + 1, N - 1), 0);
    ng_prefix_flush(s->prefix);
    assert_int_equal(n_files(), 4);
    ng_session_free(s);
    assert_int_equal(ask_again(ids + 1, N - 1, "", 0), N - 2);
    assert_int_equal(ask_again(ids, 128, "", 0), 64);
    empty_dir();
    char stale[400];
    assert_int_equal(ask_again(ids, 100, "", 0), 0);
    snprintf(stale, sizeof stale, "%s.tmp.99", file_at(0));
    assert_int_equal(ng_file_write_atomic(stale, "x", 1, NULL), NG_OK);
    assert_int_equal(utime(stale, &(struct utimbuf){1000, 1000}), 0);
    assert_int_equal(ask_again(ids, 150, "", 0), 100);
    assert_false(ng_file_exists(stale));
}

/* ---- faults --------------------------------------------------------------------------------------- */

static void a_disk_that_fails_costs_the_file_alone(void **state) {
    (void)state;
    static const fault_kind kinds[] = {FAULT_WRITE, FAULT_FSYNC};
    for (int k = 0; k < 2; k++) {
        bool fired = true;
        long nth = 0;
        while (fired) {
            empty_dir();
            ng_prefix_options p = on_disk();
            ng_session *s = session(model, &p, NG_KV_DEFAULT);
            fault_arm(kinds[k], ++nth);
            assert_int_equal(ask(s, ids, N), 0);
            ng_prefix_stats st = ng_session_prefix_stats(s);
            fired = fault_fired();
            fault_disarm();
            assert_int_equal(st.failed, fired);
            assert_int_equal(st.written, 3 - fired);
            assert_int_equal(*st.note != 0, fired);
            ng_session_free(s);
            ask_again(ids, N, "", 0); /* with what there is, to the same bits */
        }
        assert_true(nth > 4);
    }
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static float got[N * VOCAB];
    empty_dir();
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_session *s = NULL;
        ng_error err = {0};
        ng_prefix_options p = on_disk();
        ng_session_options opt = {.n_threads = 1, .prefix = &p};
        ng_status status = ng_session_new(&s, model, &opt, &err);
        for (int i = 0; i < 2 && !status; i++) {
            ng_session_rewind(s, 0);
            size_t held = ng_session_recall(s, ids, N - 1);
            status = ng_session_eval_all(s, ids + held, N - held, got + held * VOCAB, &err);
            if (status) break;
            assert_memory_equal(got + held * VOCAB, want + held * VOCAB, (N - held) * VOCAB * sizeof *got);
            ng_session_keep(s, ids);
        }
        if (status) assert_true(err.text[0]);
        else {
            ng_prefix_flush(s->prefix);
            if (!fault_fired()) fault_passed();
        }
        ng_session_free(s);
    }
    assert_true(fault_sweep_rounds() > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bits_from_memory),
        cmocka_unit_test(what_was_not_used_for_longest_goes),
        cmocka_unit_test(any_texts_in_any_order),
        cmocka_unit_test(the_same_bits_from_files),
        cmocka_unit_test(only_what_is_shared_is_written_unless_eager),
        cmocka_unit_test(tenants_share_nothing_and_private_texts_stay_in_memory),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(foreign_files_are_refused),
        cmocka_unit_test(a_folder_that_cannot_be_used_costs_the_files_alone),
        cmocka_unit_test(the_folder_stays_below_its_limit),
        cmocka_unit_test(a_disk_that_fails_costs_the_file_alone),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
