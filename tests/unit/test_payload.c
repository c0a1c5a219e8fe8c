/* Tests of src/route/payload.c with a router that knows a few instructions. */
#include "route/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* "What .. language", "Summarize", "tl;dr" name a task; everything else is chat. */
static ng_status fake_submit(void *self, const ng_tier_request *req, ng_answer *a, ng_error *err) {
    const char *t = req->messages[0].parts[0].text;
    (void)err;
    ++*(int *)self;
    const char *label = strstr(t, "language") ? "detect-language"
                        : strcasestr(t, "summarize") || strstr(t, "tl;dr") ? "summarize" : "generate";
    a->scores = ng_answer_alloc(a, sizeof *a->scores);
    if (!a->scores) return NG_ENOMEM;
    a->scores[0] = (ng_score){label, strstr(t, "perhaps") ? 0.5f : 0.99f};
    a->n_scores = 1;
    a->confidence = (double)a->scores[0].p;
    return NG_OK;
}

static int asked;
static const ng_tier router = {.self = &asked, .submit = fake_submit};

static void check(ng_task task, const char *text, const char *want) {
    asked = 0;
    ng_payload p = ng_router_payload(&router, task, text, strlen(text));
    if (p.end - p.begin != strlen(want) || memcmp(text + p.begin, want, strlen(want)))
        fail_msg("'%s': got '%.*s', not '%s'", text, (int)(p.end - p.begin), text + p.begin, want);
    assert_true(asked <= 4);
}

static void finds_the_text_that_is_meant(void **state) {
    (void)state;
    check(NG_TASK_DETECT_LANGUAGE, "Which language is this: Wo ist der Bahnhof?", "Wo ist der Bahnhof?");
    check(NG_TASK_DETECT_LANGUAGE, "What language is this? Hola", "Hola");
    check(NG_TASK_DETECT_LANGUAGE, "Hola amigo\nwhich language is it", "Hola amigo");
    check(NG_TASK_SUMMARIZE, "Summarize:\n\nOne. Two: three.", "One. Two: three.");
    check(NG_TASK_SUMMARIZE, "One. Two.\n\ntl;dr", "One. Two.");
}

static void leaves_the_rest_alone(void **state) {
    (void)state;
    check(NG_TASK_SUMMARIZE, "The council met: nobody came. At 12:30 it ended.",
          "The council met: nobody came. At 12:30 it ended.");
    check(NG_TASK_SUMMARIZE, "  Summarize:  ", "Summarize:");
    check(NG_TASK_DETECT_LANGUAGE, "perhaps a language: x", "perhaps a language: x");
    check(NG_TASK_DETECT_LANGUAGE, "a: b: c: d: which language: e", "a: b: c: d: which language: e");
    check(NG_TASK_MODERATE, "Summarize: x", "Summarize: x");
    check(NG_TASK_SUMMARIZE, "", "");
    check(NG_TASK_SUMMARIZE, "\n", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_text_that_is_meant),
        cmocka_unit_test(leaves_the_rest_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
