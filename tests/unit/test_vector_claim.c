/* Tests of second claims over an encoder's vectors: what is written is what speaks, and files that make no sense are refused. */
#include "model/vector_claim.h"

#include "core/math.h"
#include "fault.h"
#include "gguf/gguf.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const char DIGEST[] = "00112233445566778899aabbccddeeff";
static const float weight[3] = {1, -2, 0.5f};
static char path[64];

static int begin(void **state) {
    (void)state;
    strcpy(path, "/tmp/ng-claim-XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int end(void **state) {
    (void)state;
    return unlink(path);
}

static ng_vector_claim_parts parts(void) {
    return (ng_vector_claim_parts){"hotels", "nanogrid/encoder-en", DIGEST, 0.75, -0.5, weight, 3};
}

static void what_was_written_speaks(void **state) {
    (void)state;
    ng_vector_claim *c;
    ng_error err = {0};
    ng_vector_claim_parts p = parts();
    assert_int_equal(ng_vector_claim_write(&p, path, &err), NG_OK);
    assert_int_equal(ng_vector_claim_open(&c, path, &err), NG_OK);
    const float v[3] = {0.5f, 0.25f, 1};
    double z = 0.75 * ng_log_odds(0.9) + 0.5 - 0.5 + 0.5 - 0.5;
    assert_true(ng_vector_claim_apply(c, 0.9, v) == ng_sigmoid(z));
    assert_true(ng_vector_claim_apply(c, 0, v) > 0 && ng_vector_claim_apply(c, 1, v) < 1); /* no claim is beyond doubt */
    assert_true(ng_vector_claim_fits(c, DIGEST, 3, &err));
    assert_false(ng_vector_claim_fits(c, DIGEST, 4, &err));
    assert_non_null(strstr(err.text, "3 numbers of nanogrid/encoder-en"));
    err = (ng_error){0};
    assert_false(ng_vector_claim_fits(c, "ff112233445566778899aabbccddeeff", 3, &err));
    assert_non_null(strstr(err.text, "digest 00112233"));
    assert_non_null(strstr(err.text, "digest ff112233"));
    ng_vector_claim_free(c);
}

static void vectors_have_digests(void **state) {
    (void)state;
    char a[NG_VECTOR_DIGEST], b[NG_VECTOR_DIGEST];
    float v[3] = {1, 2, 3};
    ng_vector_digest(a, v, 3);
    ng_vector_digest(b, v, 3);
    assert_string_equal(a, b);
    assert_int_equal(strlen(a), NG_VECTOR_DIGEST - 1);
    v[1] = nextafterf(2, 3); /* the smallest change */
    ng_vector_digest(b, v, 3);
    assert_string_not_equal(a, b);
}

static void refused(ng_vector_claim_parts p, const char *why) {
    ng_vector_claim *c;
    ng_error err = {0};
    assert_int_equal(ng_vector_claim_write(&p, path, &err), NG_OK);
    assert_int_equal(ng_vector_claim_open(&c, path, &err), NG_EFORMAT);
    if (!strstr(err.text, why) || !strstr(err.text, path)) fail_msg("%s", err.text);
    assert_null(c);
}

static void nonsense_is_refused(void **state) {
    (void)state;
    ng_vector_claim_parts p = parts();
    const float odd[3] = {1, NAN, 1};
    p.linear = -1, refused(p, "at least 0");
    p.linear = NAN, refused(p, "at least 0");
    p = parts(), p.bias = INFINITY, refused(p, "not finite");
    p = parts(), p.weight = odd, refused(p, "not finite");
    p = parts(), p.digest = "short", refused(p, "nanogrid.requires");
}

static void files_of_another_kind_are_refused(void **state) {
    (void)state;
    ng_gguf_writer *w;
    ng_vector_claim *c;
    ng_error err = {0};
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    ng_gguf_put_str(w, "general.architecture", "nanogrid-linear");
    assert_int_equal(ng_gguf_writer_commit(w, path, &err), NG_OK);
    assert_int_equal(ng_vector_claim_open(&c, path, &err), NG_EFORMAT);
    assert_non_null(strstr(err.text, "is not nanogrid-vector-claim"));
    err = (ng_error){0};
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    ng_gguf_put_str(w, "general.architecture", "nanogrid-vector-claim");
    ng_gguf_put_u32(w, "nanogrid.claim.version", 2);
    assert_int_equal(ng_gguf_writer_commit(w, path, &err), NG_OK);
    assert_int_equal(ng_vector_claim_open(&c, path, &err), NG_EUNSUPPORTED);
}

static void faults_are_told(void **state) {
    (void)state;
    ng_vector_claim_parts p = parts();
    FAULT_SWEEP(FAULT_ALLOC | FAULT_WRITE | FAULT_FSYNC) {
        ng_vector_claim *c = NULL;
        ng_error err = {0};
        ng_status s = ng_vector_claim_write(&p, path, &err);
        if (!s) s = ng_vector_claim_open(&c, path, &err);
        if (s) assert_true(err.code == s && *err.text);
        ng_vector_claim_free(c);
        if (!s) fault_passed();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_written_speaks, begin, end), cmocka_unit_test(vectors_have_digests),
        cmocka_unit_test_setup_teardown(nonsense_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(files_of_another_kind_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(faults_are_told, begin, end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
