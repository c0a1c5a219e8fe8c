/* Tests of the decoder head: a tiny random llama with a tokenizer of single letters and ChatML.  What it
 * says is noise, so the tests ask for consistency: with the events, with a fresh session, with limits. */
#include "fault.h"
#include "tiny_model.h"
#include <nanogrid/head.h>

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char path[] = TINY_MODEL_PATH;

static int make_model(void **state) {
    (void)state;
    return tiny_model_make(path);
}

static int drop_model(void **state) {
    (void)state;
    return unlink(path);
}

typedef struct talk {
    ng_part parts[4];
    ng_message messages[4];
    ng_tier_request req;
} talk;

static void say(talk *t, const char *role, const char *text) {
    size_t i = t->req.n_messages++;
    t->parts[i] = (ng_part){NG_PART_TEXT, text, strlen(text)};
    t->messages[i] = (ng_message){role, &t->parts[i], 1};
    t->req.task = NG_TASK_GENERATE;
    t->req.messages = t->messages;
    t->req.params.generate = ng_generate_options_default();
    t->req.params.generate.n_predict = 12;
    t->req.params.generate.temp = 0;
    t->req.params.generate.ignore_eog = true;
    t->req.params.has_generate = true;
}

static ng_head *open_head(void) {
    ng_head *h;
    ng_error err = {0};
    ng_head_spec spec = {.task = NG_TASK_GENERATE, .path = path, .n_threads = 1};
    if (ng_head_open(&h, &spec, &err)) fail_msg("%s", err.text);
    return h;
}

static ng_answer *ask(ng_head *h, const ng_tier_request *r) {
    ng_answer *a;
    ng_error err = {0};
    assert_int_equal(ng_answer_new(&a), NG_OK);
    if (ng_head_apply(h, r, a, &err)) fail_msg("%s", err.text);
    return a;
}

static ng_status ask_badly(ng_head *h, const ng_tier_request *r, ng_error *err) {
    ng_answer *a;
    *err = (ng_error){0};
    assert_int_equal(ng_answer_new(&a), NG_OK);
    ng_status s = ng_head_apply(h, r, a, err);
    ng_answer_free(a);
    return s;
}

static bool collect(void *ctx, const ng_token_event *e) {
    strncat(ctx, e->text, e->len);
    return true;
}

static bool once(void *ctx, const ng_token_event *e) {
    (void)e;
    return ++*(int *)ctx < 3;
}

static void answers_and_streams(void **state) {
    (void)state;
    ng_head *h = open_head();
    assert_string_equal(ng_head_kind(h), "decoder");
    talk t = {0};
    char text[256] = "";
    say(&t, "user", "hello");
    t.req.on_token = collect, t.req.on_token_ctx = text;
    ng_answer *a = ask(h, &t.req);
    assert_string_equal(a->answer, text);
    assert_string_equal(a->finish, "length");
    assert_int_equal(a->completion_tokens, 12);
    /* im_start u s e r \n h e l l o im_end \n im_start a s s i s t a n t \n */
    assert_int_equal(a->prompt_tokens, 24);
    assert_true(isnan(a->confidence));
    ng_answer_free(a);
    int n = 0;
    t.req.on_token = once, t.req.on_token_ctx = &n;
    a = ask(h, &t.req);
    assert_string_equal(a->finish, "cancelled");
    assert_int_equal(a->completion_tokens, 3);
    ng_answer_free(a);
    ng_head_close(h);
}

/* Whatever pages are kept of earlier calls, the answer is that of a fresh head. */
static void reuse_changes_nothing(void **state) {
    (void)state;
    ng_head *used = open_head();
    talk talks[5] = {0};
    say(&talks[0], "user", "one");
    say(&talks[1], "system", "be"), say(&talks[1], "user", "one");
    say(&talks[2], "system", "be"), say(&talks[2], "user", "two");
    say(&talks[3], "system", "be"), say(&talks[3], "user", "two"), say(&talks[3], "assistant", "yes"),
        say(&talks[3], "user", "so");
    say(&talks[4], "user", "one");
    for (int i = 0; i < 15; i++) {
        talk *t = &talks[i * 7 % 5];
        ng_head *fresh = open_head();
        ng_answer *a = ask(used, &t->req), *b = ask(fresh, &t->req);
        assert_string_equal(a->answer, b->answer);
        assert_int_equal(a->prompt_tokens, b->prompt_tokens);
        ng_answer_free(a);
        ng_answer_free(b);
        ng_head_close(fresh);
    }
    ng_head_close(used);
}

static void bad_requests_are_refused(void **state) {
    (void)state;
    ng_head *h = open_head();
    ng_error err;
    talk t = {0};
    t.req.task = NG_TASK_GENERATE;
    assert_int_equal(ask_badly(h, &t.req, &err), NG_EINVALID);
    char text[300];
    memset(text, 'x', 299), text[299] = 0;
    say(&t, "user", text);
    assert_int_equal(ask_badly(h, &t.req, &err), NG_ELIMIT);
    assert_true(strstr(err.text, "318 tokens") && strstr(err.text, "192"));
    t.req.params.generate.temp = -1;
    assert_int_equal(ask_badly(h, &t.req, &err), NG_EINVALID);
    t = (talk){0};
    say(&t, "user", "a");
    t.parts[0].type = NG_PART_AUDIO;
    assert_int_equal(ask_badly(h, &t.req, &err), NG_EUNSUPPORTED);
    assert_true(strstr(err.text, "audio") != NULL);
    t.parts[0].type = NG_PART_TEXT;
    t.req.deadline_ms = 1; /* long past */
    assert_int_equal(ask_badly(h, &t.req, &err), NG_ETIMEOUT);
    t.req.deadline_ms = 0;
    ng_answer_free(ask(h, &t.req)); /* it still answers */
    ng_head_close(h);
    ng_head_spec spec = {.task = NG_TASK_GENERATE, .path = "tests/golden/bert-tiny-f32.gguf", .n_threads = 1};
    assert_int_equal(ng_head_open(&h, &spec, NULL), NG_EUNSUPPORTED);
    spec.path = "tests/golden/llama-tiny-f32.gguf"; /* no tokenizer */
    err = (ng_error){0};
    assert_true(ng_head_open(&h, &spec, &err) != NG_OK && strstr(err.text, "tokenizer"));
}

typedef struct worker {
    ng_head *head;
    talk talk;
    char *want;
    bool same;
} worker;

static void *work(void *ctx) {
    worker *w = ctx;
    w->same = true;
    for (int i = 0; i < 8; i++) {
        ng_answer *a;
        if (ng_answer_new(&a)) return NULL;
        w->same = w->same && !ng_head_apply(w->head, &w->talk.req, a, NULL) && !strcmp(a->answer, w->want);
        ng_answer_free(a);
    }
    return NULL;
}

static void threads_share_the_model(void **state) {
    (void)state;
    ng_head *h = open_head();
    worker w[3] = {0};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        w[i].head = h;
        say(&w[i].talk, "user", (const char *[]){"abc", "abd", "x"}[i]);
        w[i].talk.req.messages = w[i].talk.messages;
        ng_answer *a = ask(h, &w[i].talk.req);
        w[i].want = strdup(a->answer);
        ng_answer_free(a);
    }
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, work, &w[i]);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 3; i++) {
        assert_true(w[i].same);
        free(w[i].want);
    }
    ng_head_close(h);
}

static void out_of_memory_is_reported(void **state) {
    (void)state;
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_head *h = NULL;
        ng_answer *a = NULL;
        ng_head_spec spec = {.task = NG_TASK_GENERATE, .path = path, .n_threads = 1};
        talk t = {0};
        say(&t, "user", "hi");
        t.req.params.generate.n_predict = 2;
        ng_status s = ng_head_open(&h, &spec, NULL);
        if (!s) s = ng_answer_new(&a);
        if (!s) s = ng_head_apply(h, &t.req, a, NULL);
        if (s == NG_OK) fault_passed();
        ng_answer_free(a);
        ng_head_close(h);
    }
    assert_true(fault_sweep_rounds() > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_and_streams),      cmocka_unit_test(reuse_changes_nothing),
        cmocka_unit_test(bad_requests_are_refused), cmocka_unit_test(threads_share_the_model),
        cmocka_unit_test(out_of_memory_is_reported),
    };
    return cmocka_run_group_tests_name("decoder_head", tests, make_model, drop_model);
}
