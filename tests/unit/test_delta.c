/* Tests of src/route/delta.c: what is learnt moves a decision, never further than the bounds; the same lessons give
 * the same bytes; one weight changes the output; files that lie are refused. */
#include "core/file.h"
#include "fault.h"
#include "gguf/gguf.h"
#include "route/delta.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char path[] = "/tmp/ng-delta-XXXXXX";
static const char *const names[] = {"intent", "topic", "sentiment"};
static const uint32_t about[] = {3, 7, 7, 19}, other[] = {5, 11, 23};
static const ng_delta_tag written = {4, 0xABCDEF0123456789u, 2};

static ng_decision torn(double p) {
    ng_decision d = {.n_scores = 3, .confidence = p, .in_scope = true};
    for (size_t i = 0; i < 3; i++) {
        snprintf(d.scores[i].label, sizeof d.scores[i].label, "%s", names[i]);
        d.scores[i].p = i ? (float)((1 - p) / 2) : (float)p;
    }
    return d;
}

static ng_delta *learn(const ng_lesson *l, size_t n) {
    ng_delta *d;
    ng_error err = {0};
    if (ng_delta_learn(&d, l, n, names, 3, &err)) fail_msg("%s", err.text);
    return d;
}

static ng_delta *learn_topic(void) {
    ng_decision said = torn(0.5);
    ng_lesson l[] = {{about, 4, 1, &said}, {other, 3, 0, &said}};
    return learn(l, 2);
}

static void moves_what_was_wrong(void **state) {
    (void)state;
    ng_delta *d = learn_topic();
    ng_decision x = torn(0.5), y = torn(0.5);
    ng_delta_apply(d, about, 4, &x);
    assert_string_equal(x.scores[0].label, "topic");
    assert_true(fabs(x.confidence - (double)x.scores[0].p) < 1e-9);
    double sum = 0;
    for (size_t i = 0; i < 3; i++) sum += (double)x.scores[i].p;
    assert_true(fabs(sum - 1) < 1e-6);
    const uint32_t unseen[] = {1, 2};
    ng_delta_apply(d, unseen, 2, &y);
    assert_string_equal(y.scores[0].label, "intent");
    assert_true(y.scores[0].p == 0.5f);
    ng_delta_apply(d, NULL, 0, &y);
    assert_true(y.scores[0].p == 0.5f);
    ng_delta_free(d);
}

/* However often it is said: odds change by at most e^(2 * NG_DELTA_SHIFT_MAX). */
static void is_bounded(void **state) {
    (void)state;
    ng_decision said = torn(0.999);
    ng_lesson *l = calloc(5000, sizeof *l);
    assert_non_null(l);
    for (size_t i = 0; i < 5000; i++) l[i] = (ng_lesson){about, 4, 1, &said};
    ng_delta *d = learn(l, 5000);
    ng_decision x = torn(0.999);
    double before = 0.999 / 0.0005;
    ng_delta_apply(d, about, 4, &x);
    assert_string_equal(x.scores[0].label, "intent");
    double after = ng_decision_score(&x, "intent") / ng_decision_score(&x, "topic");
    assert_true(after < before && after > before * exp(-2 * NG_DELTA_SHIFT_MAX) * 0.999);
    ng_delta_free(d);
    free(l);
}

static void store(const ng_delta *d) {
    ng_error err = {0};
    if (ng_delta_write(d, &written, path, &err)) fail_msg("%s", err.text);
}

static ng_status load(ng_delta **d, ng_delta_tag *tag, ng_error *err) {
    *tag = (ng_delta_tag){.router = written.router};
    return ng_delta_read(d, tag, path, err);
}

static void file_bytes(ng_buf *b) {
    *b = ng_buf_init(1 << 20);
    assert_int_equal(ng_file_read(b, path, NULL), NG_OK);
}

static void same_lessons_same_bytes(void **state) {
    (void)state;
    ng_delta *d = learn_topic(), *e = learn_topic(), *back;
    ng_buf one, two;
    store(d);
    file_bytes(&one);
    store(e);
    file_bytes(&two);
    assert_int_equal(one.len, two.len);
    assert_memory_equal(one.data, two.data, one.len);
    ng_delta_tag tag;
    assert_int_equal(load(&back, &tag, NULL), NG_OK);
    assert_int_equal(tag.version, 4);
    assert_int_equal(tag.n_lessons, 2);
    ng_decision x = torn(0.5), y = torn(0.5);
    ng_delta_apply(d, about, 4, &x);
    ng_delta_apply(back, about, 4, &y);
    assert_memory_equal(&x, &y, sizeof x);
    tag.router ^= 1;
    ng_delta *foreign;
    assert_int_equal(ng_delta_read(&foreign, &tag, path, NULL), NG_EINVALID);
    assert_null(foreign);
    ng_buf_clear(&one), ng_buf_clear(&two);
    ng_delta_free(d), ng_delta_free(e), ng_delta_free(back);
}

/* A file of one bucket, whose weights the test chooses. */
static void write_file(uint32_t bucket2, float weight, size_t n_weights) {
    ng_gguf_writer *w;
    const ng_str labels[] = {{"intent", 6}, {"topic", 5}};
    const uint32_t bucket[] = {7, bucket2};
    const float weights[] = {0, weight, 0, 0};
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    ng_gguf_put_str(w, "general.architecture", "nanogrid-delta");
    ng_gguf_put_u32(w, "nanogrid.delta.version", 1);
    ng_gguf_put_u64(w, "nanogrid.delta.router", written.router);
    ng_gguf_put_u32(w, "nanogrid.delta.lessons", 1);
    ng_gguf_put_strs(w, "nanogrid.delta.labels", labels, 2);
    ng_gguf_put_array(w, "nanogrid.delta.bucket", NG_GGUF_U32, bucket, 2);
    ng_gguf_put_array(w, "nanogrid.delta.weight", NG_GGUF_F32, weights, n_weights);
    assert_int_equal(ng_gguf_writer_commit(w, path, NULL), NG_OK);
}

static float topic_with_weight(float weight) {
    ng_delta *d;
    ng_delta_tag tag;
    ng_decision x = torn(0.5);
    write_file(9, weight, 4);
    assert_int_equal(load(&d, &tag, NULL), NG_OK);
    ng_delta_apply(d, about, 4, &x);
    ng_delta_free(d);
    return (float)ng_decision_score(&x, "topic");
}

static void one_weight_changes_the_output(void **state) {
    (void)state;
    assert_true(topic_with_weight(0) == 0.25f);
    assert_true(topic_with_weight(0.001f) > 0.25f);
    assert_true(topic_with_weight(-0.001f) < 0.25f);
}

static void lying_files_are_refused(void **state) {
    (void)state;
    ng_delta *d;
    ng_delta_tag tag;
    const struct {
        uint32_t bucket;
        float weight;
        size_t n;
    } bad[] = {{7, 0, 4}, {6, 0, 4}, {9, 1.5f, 4}, {9, NAN, 4}, {9, -INFINITY, 4}, {9, 0, 3}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file(bad[i].bucket, bad[i].weight, bad[i].n);
        assert_int_equal(load(&d, &tag, NULL), NG_EFORMAT);
        assert_null(d);
    }
}

static void survives_want_of_memory(void **state) {
    (void)state;
    ng_decision said = torn(0.5);
    ng_lesson l = {about, 4, 1, &said};
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_delta *d = NULL, *e = NULL;
        ng_delta_tag tag;
        ng_status s = ng_delta_learn(&d, &l, 1, names, 3, NULL);
        if (!s) s = ng_delta_write(d, &written, path, NULL);
        if (!s) s = load(&e, &tag, NULL);
        if (s) assert_int_equal(s, NG_ENOMEM);
        ng_delta_free(d);
        ng_delta_free(e);
        if (!s) fault_passed();
    }
}

static int make_file(void **state) {
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int drop_file(void **state) {
    (void)state;
    return unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_what_was_wrong),
        cmocka_unit_test(is_bounded),
        cmocka_unit_test(same_lessons_same_bytes),
        cmocka_unit_test(one_weight_changes_the_output),
        cmocka_unit_test(lying_files_are_refused),
        cmocka_unit_test(survives_want_of_memory),
    };
    return cmocka_run_group_tests(tests, make_file, drop_file);
}
