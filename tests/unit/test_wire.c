/* Tests of the worker's wire format: everything that a tier sends or fills comes back as it was, and what was cut,
 * changed or made up is refused without harm. */
#include "fault.h"
#include "upstream/wire.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const ng_part parts[] = {{NG_PART_TEXT, "be brief", 8}, {NG_PART_TEXT, "a\0b", 3}, {NG_PART_IMAGE, "", 0}};
static const ng_message messages[] = {{"system", parts, 1}, {"user", parts + 1, 2}};
static const char *const labels[] = {"red", "green", ""};
static const char *const stop[] = {"\n\n"};

static ng_tier_request a_request(void) {
    ng_tier_request r = {.task = NG_TASK_GENERATE, .expert = "chat", .messages = messages, .n_messages = 2,
                         .deadline_ms = 1234567890123, .traceparent = NULL};
    r.params.has_generate = true;
    r.params.generate = ng_generate_options_default();
    r.params.generate.seed = UINT64_MAX;
    r.params.generate.temp = 0.25f;
    r.params.generate.n_top = 3;
    r.params.generate.ignore_eog = true;
    r.params.generate.stop = stop;
    r.params.generate.n_stop = 1;
    r.params.max_sentences = 2;
    r.params.max_tokens = 7;
    r.params.to = "de";
    r.params.labels = labels;
    r.params.n_labels = 3;
    r.params.top_k = 9;
    r.params.offsets_chars = true;
    r.params.documents = labels;
    r.params.n_documents = 2;
    r.params.context = "once upon a time";
    return r;
}

static ng_answer *an_answer(void) {
    static ng_score scores[] = {{"red", 0.75f}, {"green", 0.25f}};
    static ng_entity entities[] = {{3, 9, "email", "a@b.cd", 0.5f}};
    static ng_ranked ranked[] = {{4, 0.5f}, {1, -2.5f}};
    static float vector[] = {1, -0.0f, 3e-42f};
    static const char *warnings[] = {"`user` is not acted upon"};
    ng_answer *a;
    assert_int_equal(ng_answer_new(&a), 0);
    a->task = NG_TASK_CLASSIFY;
    a->in_scope = false;
    a->load_ms = 1.5;
    a->warnings = warnings, a->n_warnings = 1;
    a->prompt_tokens = 5, a->completion_tokens = 6;
    a->label = "red";
    a->scores = scores, a->n_scores = 2;
    a->flagged = true;
    a->categories = scores, a->n_categories = 1;
    a->entities = entities, a->n_entities = 1;
    a->answer = "", a->finish = "stop";
    a->start = 3, a->end = -1, a->answerable = true;
    a->embedding = vector, a->n_embedding = 3;
    a->results = ranked, a->n_results = 2;
    return a;
}

static void request_round_trip(void **state) {
    (void)state;
    ng_tier_request r = a_request();
    ng_buf b = ng_buf_init(1 << 20);
    ng_wire_request *got;
    ng_wire_put_request(&b, &r);
    ng_wire w = {b.data, b.len, 0};
    assert_int_equal(ng_wire_get_request(&got, &w, NULL), NG_OK);
    const ng_tier_request *q = &got->request;
    assert_int_equal(q->task, NG_TASK_GENERATE);
    assert_string_equal(q->expert, "chat");
    assert_null(q->traceparent);
    assert_false(got->wants_tokens);
    assert_int_equal(q->deadline_ms, 1234567890123);
    assert_int_equal(q->n_messages, 2);
    assert_string_equal(q->messages[1].role, "user");
    assert_int_equal(q->messages[1].n_parts, 2);
    assert_int_equal(q->messages[1].parts[0].len, 3);
    assert_memory_equal(q->messages[1].parts[0].text, "a\0b", 4);
    assert_int_equal(q->messages[1].parts[1].type, NG_PART_IMAGE);
    const ng_generate_options *g = &q->params.generate;
    assert_true(g->seed == UINT64_MAX && g->temp == 0.25f && g->n_top == 3 && g->ignore_eog && g->n_stop == 1);
    assert_true(g->top_k == r.params.generate.top_k && g->min_p == r.params.generate.min_p);
    assert_string_equal(g->stop[0], "\n\n");
    assert_true(q->params.max_sentences == 2 && q->params.max_tokens == 7 && q->params.top_k == 9);
    assert_string_equal(q->params.to, "de");
    assert_null(q->params.from);
    assert_int_equal(q->params.n_labels, 3);
    assert_string_equal(q->params.labels[2], "");
    assert_true(q->params.offsets_chars && q->params.n_documents == 2 && !q->params.n_types);
    assert_string_equal(q->params.context, "once upon a time");
    /* written again, it is the same bytes: no field is read into another's place */
    ng_buf again = ng_buf_init(1 << 20);
    ng_wire_put_request(&again, q);
    assert_int_equal(again.len, b.len);
    assert_memory_equal(again.data, b.data, b.len);
    ng_buf_clear(&again);
    ng_buf_clear(&b);
    ng_wire_request_free(got);
}

static void look_round_trip(void **state) {
    (void)state;
    static ng_tier_look in, out;
    in.stats = (ng_scheduler_stats){.n_slots = 2, .n_ctx = 4096, .n_waiting = 3, .n_running = 1, .n_kv_tok = 8192, .kv_tok_used = 128,
                                    .n_steps = 5, .n_rows = UINT64_MAX, .n_read = 7, .step_s = 0.25, .n_joined = 9, .n_reused = 10,
                                    .n_preempted = 11, .prefix = {.memory_bytes = 12, .memory_tok = 13, .disk_tok = 14, 
                                    .memory_hits = 16, .disk_hits = 17, .written = 18, .failed = 19, .refused = 20, .foreign = 21}};
    in.slots[0] = (ng_slot){NG_SLOT_DECODING, 70, 30, 40};
    in.slots[1] = (ng_slot){NG_SLOT_IDLE, SIZE_MAX, 0, 0};
    ng_buf b = ng_buf_init(1 << 20);
    ng_wire_put_look(&b, &in);
    ng_wire w = {b.data, b.len, 0};
    assert_int_equal(ng_wire_get_look(&out, &w, NULL), NG_OK);
    assert_memory_equal(&out.stats, &in.stats, sizeof in.stats);
    assert_memory_equal(out.slots, in.slots, sizeof in.slots);
    for (size_t cut = 0; cut < b.len; cut++) {
        w = (ng_wire){b.data, cut, 0};
        assert_int_equal(ng_wire_get_look(&out, &w, NULL), NG_EFORMAT);
        assert_int_equal(out.stats.n_slots, 0);
    }
    b.data[b.len - 56] = 77; /* no state: two slots of a u32 and three u64 end the payload */
    w = (ng_wire){b.data, b.len, 0};
    assert_int_equal(ng_wire_get_look(&out, &w, NULL), NG_EFORMAT);
    b.data[0] = NG_SLOTS_MAX + 1;
    w = (ng_wire){b.data, b.len, 0};
    assert_int_equal(ng_wire_get_look(&out, &w, NULL), NG_EFORMAT);
    ng_buf_clear(&b);
}

static void answer_round_trip(void **state) {
    (void)state;
    ng_answer *a = an_answer(), *got;
    ng_buf b = ng_buf_init(1 << 20), again = ng_buf_init(1 << 20);
    ng_wire_put_answer(&b, a);
    assert_int_equal(ng_answer_new(&got), 0);
    ng_wire w = {b.data, b.len, 0};
    assert_int_equal(ng_wire_get_answer(got, &w, NULL), NG_OK);
    assert_true(isnan(got->confidence) && !got->in_scope && got->flagged && got->answerable);
    assert_string_equal(got->warnings[0], "`user` is not acted upon");
    assert_string_equal(got->entities[0].text, "a@b.cd");
    assert_true(got->n_scores == 2 && got->scores[1].p == 0.25f && got->n_categories == 1);
    assert_true(got->results[1].index == 1 && got->results[1].score == -2.5f);
    assert_memory_equal(got->embedding, a->embedding, 12);
    assert_true(got->start == 3 && got->end == -1);
    ng_wire_put_answer(&again, got);
    assert_int_equal(again.len, b.len);
    assert_memory_equal(again.data, b.data, b.len);
    ng_buf_clear(&b);
    ng_buf_clear(&again);
    ng_answer_free(a);
    ng_answer_free(got);
}

static void small_payloads(void **state) {
    (void)state;
    ng_token_prob top[NG_WIRE_TOP_MAX], given[] = {{7, -0.5f}, {9, -3}};
    ng_token_event e = {7, -0.5f, "h\xC3\xA9", 3, given, 2}, got;
    ng_error said = {NG_ELIMIT, "too long"}, heard;
    ng_buf b = ng_buf_init(1 << 20);
    ng_wire_put_token(&b, &e);
    ng_wire w = {b.data, b.len, 0};
    assert_int_equal(ng_wire_get_token(&got, top, &w, NULL), NG_OK);
    assert_true(got.id == 7 && got.logprob == -0.5f && got.len == 3 && got.n_top == 2 && got.top[1].id == 9);
    assert_string_equal(got.text, "h\xC3\xA9");
    for (size_t len = 0; len < b.len; len++) {
        w = (ng_wire){b.data, len, 0};
        assert_int_equal(ng_wire_get_token(&got, top, &w, NULL), NG_EFORMAT);
    }
    ng_buf_reset(&b);
    ng_wire_put_error(&b, &said);
    w = (ng_wire){b.data, b.len, 0};
    assert_int_equal(ng_wire_get_error(&heard, &w, NULL), NG_OK);
    assert_int_equal(heard.code, NG_ELIMIT);
    assert_string_equal(heard.text, "too long");
    unsigned char head[NG_WIRE_HEADER];
    ng_wire_head h = {NG_WIRE_PAYLOAD_MAX + 1, NG_WIRE_DONE, 1};
    ng_wire_head_put(head, &h);
    assert_int_equal(ng_wire_head_get(&h, head, NULL), NG_EFORMAT);
    h = (ng_wire_head){0, NG_WIRE_KINDS, 1};
    ng_wire_head_put(head, &h);
    assert_int_equal(ng_wire_head_get(&h, head, NULL), NG_EFORMAT);
    ng_buf_clear(&b);
}

static ng_status read_answer(const char *data, size_t len) {
    ng_answer *a;
    ng_wire w = {data, len, 0};
    if (ng_answer_new(&a)) return NG_ENOMEM;
    ng_status s = ng_wire_get_answer(a, &w, NULL);
    ng_answer_free(a);
    return s;
}

static ng_status read_request(const char *data, size_t len) {
    ng_wire_request *r = NULL;
    ng_wire w = {data, len, 0};
    ng_status s = ng_wire_get_request(&r, &w, NULL);
    ng_wire_request_free(r);
    return s;
}

/* Every cut is refused, and so is every list, text or enum that says more than there is. */
static void damage(void **state) {
    (void)state;
    ng_answer *a = an_answer();
    ng_tier_request r = a_request();
    ng_buf b[2] = {ng_buf_init(1 << 20), ng_buf_init(1 << 20)};
    ng_status (*const readers[2])(const char *, size_t) = {read_answer, read_request};
    ng_wire_put_answer(&b[0], a);
    ng_wire_put_request(&b[1], &r);
    for (int k = 0; k < 2; k++) {
        for (size_t len = 0; len < b[k].len; len++) assert_int_equal(readers[k](b[k].data, len), NG_EFORMAT);
        ng_buf_putc(&b[k], 0);
        assert_int_equal(readers[k](b[k].data, b[k].len), NG_EFORMAT); /* a byte too many */
        b[k].len--;
        size_t refused = 0;
        for (size_t i = 0; i < b[k].len; i++)
            for (int bit = 0; bit < 8; bit++) {
                b[k].data[i] ^= (char)(1 << bit);
                refused += readers[k](b[k].data, b[k].len) == NG_EFORMAT;
                b[k].data[i] ^= (char)(1 << bit);
            }
        assert_true(refused > b[k].len); /* values may change unseen, structure may not */
        ng_buf_clear(&b[k]);
    }
    ng_answer_free(a);
}

static void memory_runs_out(void **state) {
    (void)state;
    ng_tier_request r = a_request();
    ng_buf b = ng_buf_init(1 << 20);
    ng_wire_put_request(&b, &r);
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_status s = read_request(b.data, b.len);
        assert_true(s == NG_OK || s == NG_ENOMEM);
        if (s == NG_OK) fault_passed();
    }
    ng_buf_clear(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(request_round_trip),
                                       cmocka_unit_test(look_round_trip),
                                       cmocka_unit_test(answer_round_trip),
                                       cmocka_unit_test(small_payloads),
                                       cmocka_unit_test(damage),
                                       cmocka_unit_test(memory_runs_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
