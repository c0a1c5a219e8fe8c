/* Tests that a weight that is infinite or not a number never becomes an answer: in each tensor of tiny models and of shipped
 * ones, float and quantised, decoder, encoder and head, one value of every row (of a block: its scale) is spoilt, and the
 * file is refused when it is opened or when it runs, with words that say why; so is a
 * head of which a tensor is missing or has another shape. */
#include "gguf/gguf.h"
#include <nanogrid/generate.h>
#include <nanogrid/head.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char path[] = "/tmp/ng-spoilt-XXXXXX";

/* Where the first half or float of a block lies that can be infinite; -1: none can. */
static int weak_spot(ng_type t, bool *is_float) {
    *is_float = t == NG_TYPE_F32;
    switch (t) {
    case NG_TYPE_F32:
    case NG_TYPE_F16:
    case NG_TYPE_BF16:
    case NG_TYPE_Q4_0:
    case NG_TYPE_Q4_1:
    case NG_TYPE_Q5_0:
    case NG_TYPE_Q5_1:
    case NG_TYPE_Q8_0:
    case NG_TYPE_Q4_K:
    case NG_TYPE_Q5_K: return 0;
    case NG_TYPE_Q6_K: return 208;
    default: return -1;
    }
}

/* A copy of `file` with tensor k spoilt; false: it holds no such number. */
static bool spoil(const char *file, size_t k, bool infinite) {
    ng_gguf *g;
    ng_gguf_writer *w;
    ng_error err = {0};
    assert_int_equal(ng_gguf_open(&g, file, &err), NG_OK);
    const ng_gguf_tensor *t = ng_gguf_tensor_at(g, k);
    bool is_float;
    int at = weak_spot(t->type, &is_float);
    size_t rows = (size_t)(t->dims[1] * t->dims[2] * t->dims[3]), stride = t->bytes / rows;
    uint8_t *bytes = malloc(t->bytes);
    memcpy(bytes, t->data, t->bytes);
    float f = infinite ? INFINITY : NAN;
    uint16_t half = t->type == NG_TYPE_BF16 ? (infinite ? 0x7f80 : 0x7fc0) : infinite ? 0x7c00 : 0x7e00;
    for (size_t r = 0; at >= 0 && r < rows; r++) {
        if (is_float) memcpy(bytes + r * stride, &f, sizeof f);
        else memcpy(bytes + r * stride + at, &half, sizeof half);
    }
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    ng_gguf_put_all(w, g);
    for (size_t i = 0; i < ng_gguf_n_tensors(g); i++) {
        const ng_gguf_tensor *x = ng_gguf_tensor_at(g, i);
        ng_gguf_put_tensor(w, x->name, x->type, x->n_dims, x->dims, i == k ? bytes : x->data);
    }
    if (ng_gguf_writer_commit(w, path, &err)) fail_msg("%s", err.text);
    free(bytes);
    ng_gguf_close(g);
    return at >= 0;
}

static const char *name_of(const char *file, size_t k) {
    static char name[128];
    ng_gguf *g;
    assert_int_equal(ng_gguf_open(&g, file, NULL), NG_OK);
    name[0] = 0;
    if (k < ng_gguf_n_tensors(g)) snprintf(name, sizeof name, "%s", ng_gguf_tensor_at(g, k)->name);
    ng_gguf_close(g);
    return name;
}

/* How the copy at `path` ends. */
typedef ng_status run_fn(ng_error *err);

static ng_status generate(ng_error *err) {
    ng_model *m;
    ng_session *session;
    ng_generation g = {0};
    ng_status s = ng_model_open(&m, path, err);
    if (s) return s;
    int32_t ids[48];
    for (int i = 0; i < 48; i++) ids[i] = i;
    assert_int_equal(ng_session_new(&session, m, NULL, err), NG_OK);
    ng_generate_options o = ng_generate_options_default();
    o.n_predict = 2;
    s = ng_generate(&g, session, ids, 48, &o, err);
    ng_generation_clear(&g);
    ng_session_free(session);
    ng_model_close(m);
    return s;
}

static ng_task task;
static const char *head, *text;

static ng_status apply(ng_error *err) {
    ng_head *h;
    ng_answer *a;
    ng_head_spec spec = {.task = task, .path = path, .head = head, .n_threads = 1};
    ng_status s = ng_head_open(&h, &spec, err);
    if (s) return s;
    ng_part p = {NG_PART_TEXT, text, strlen(text)};
    ng_message m = {"user", &p, 1};
    ng_tier_request r = {.task = task, .messages = &m, .n_messages = 1};
    assert_int_equal(ng_answer_new(&a), NG_OK);
    s = ng_head_apply(h, &r, a, err);
    ng_answer_free(a);
    ng_head_close(h);
    return s;
}

/* Every `step`-th tensor from the first, and all whose name begins with `all`. */
static void refuse_each(const char *file, run_fn *run, size_t step, const char *all) {
    size_t n = 0;
    for (size_t k = 0; *name_of(file, k); k++) {
        if (k % step && strncmp(name_of(file, k), all, strlen(all))) continue;
        for (int infinite = 0; infinite < 2; infinite++) {
            ng_error err = {0};
            if (!spoil(file, k, infinite)) continue;
            ng_status s = run(&err);
            if (s != NG_EFORMAT || (!strstr(err.text, "finite") && !strstr(err.text, "no number")))
                print_error("%s: %s in %s: %s, \"%s\"\n", file, infinite ? "an infinity" : "a NaN", name_of(file, k),
                            ng_status_name(s), err.text),
                    n++;
        }
    }
    assert_int_equal(n, 0);
}

static void decoders(void **state) {
    (void)state;
    refuse_each("tests/golden/llama-tiny-f32.gguf", generate, 1, "");
    refuse_each("tests/golden/llama-tiny-mixed.gguf", generate, 1, "");
}

static void encoders(void **state) {
    (void)state;
    task = NG_TASK_EMBED, head = NULL,
    text = "abcdefghijklmnopqrstuvwxyz a b c d e f g h i j k l m n o p q r s t u v w x y z";
    refuse_each("tests/golden/bert-tiny-f32.gguf", apply, 1, "");
    refuse_each("tests/golden/bert-tiny-mixed.gguf", apply, 1, "");
}

static void heads_of_encoders(void **state) {
    (void)state;
    static const ng_task tasks[] = {NG_TASK_CLASSIFY, NG_TASK_MODERATE};
    static const char *const heads[] = {"intent", "moderation"};
    for (int i = 0; i < 2; i++) {
        task = tasks[i], head = heads[i], text = "please freeze my card";
        char begin[32];
        snprintf(begin, sizeof begin, "head.%s.", heads[i]);
        refuse_each("models/encoder-en/model.gguf", apply, 23, begin);
    }
}

static void linear_models(void **state) {
    (void)state;
    head = NULL, text = "please freeze my card";
    task = NG_TASK_CLASSIFY;
    refuse_each("models/intent/model.gguf", apply, 1, "");
    task = NG_TASK_MODERATE;
    refuse_each("models/moderation/model.gguf", apply, 1, "");
    task = NG_TASK_SUMMARIZE,
    text = "It rained in Paris. The river rose by a metre. Nobody was hurt. The bridges are open again.";
    refuse_each("models/summarize/model.gguf", apply, 1, "");
}

/* Each tensor of a head, missing and with one row or value less. */
static void heads_of_wrong_shape(void **state) {
    (void)state;
    static const char file[] = "models/encoder-en/model.gguf";
    size_t n = 0;
    task = NG_TASK_CLASSIFY, head = "intent", text = "please freeze my card";
    for (size_t k = 0; *name_of(file, k); k++)
        for (int cut = 0; cut < 2 && !strncmp(name_of(file, k), "head.intent.", 12); cut++, n++) {
            ng_gguf *g;
            ng_gguf_writer *w;
            ng_error err = {0};
            assert_int_equal(ng_gguf_open(&g, file, &err), NG_OK);
            assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
            ng_gguf_put_all(w, g);
            for (size_t i = 0; i < ng_gguf_n_tensors(g); i++) {
                const ng_gguf_tensor *t = ng_gguf_tensor_at(g, i);
                uint64_t dims[4] = {t->dims[0], t->dims[1], t->dims[2], t->dims[3]};
                if (i == k && !cut) continue;
                if (i == k) dims[t->n_dims - 1]--;
                ng_gguf_put_tensor(w, t->name, t->type, t->n_dims, dims, t->data);
            }
            if (ng_gguf_writer_commit(w, path, &err)) fail_msg("%s", err.text);
            ng_gguf_close(g);
            assert_int_equal(apply(&err), NG_EFORMAT);
            if (!strstr(err.text, name_of(file, k))) fail_msg("%s: \"%s\"", name_of(file, k), err.text);
        }
    assert_true(n >= 4);
}

static int setup(void **state) {
    (void)state;
    return close(mkstemp(path));
}

static int teardown(void **state) {
    (void)state;
    return unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoders),
        cmocka_unit_test(encoders),
        cmocka_unit_test(heads_of_encoders),
        cmocka_unit_test(heads_of_wrong_shape),
        cmocka_unit_test(linear_models),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
