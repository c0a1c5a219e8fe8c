/* Tests of the BERT encoder: vectors of tiny models against float64 arithmetic (tests/golden/make_bert.py,
 * itself checked against transformers), texts and their limits, the embedding head, and files that are
 * wrong in one tensor or key. */
#include "fault.h"
#include "gguf/gguf.h"
#include <nanogrid/head.h>
#include <nanogrid/model.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define GOLDEN "tests/golden/bert-tiny-"
enum { EMBD = 32, CTX = 96, FIRST = 5 /* id of "a" */ };

static size_t parse_ids(const char *text, int32_t *ids) {
    size_t n = 0;
    for (const char *p = text; *p; p += *p == ',') ids[n++] = (int32_t)strtol(p, (char **)&p, 10);
    return n;
}

static void open_both(ng_model **m, ng_session **s, const char *path, int n_threads) {
    ng_error err = {0};
    if (ng_model_open(m, path, &err)) fail_msg("%s", err.text);
    ng_session_options opt = {.n_threads = n_threads};
    if (ng_session_new(s, *m, &opt, &err)) fail_msg("%s", err.text);
}

static void close_both(ng_model *m, ng_session *s) {
    ng_session_free(s);
    ng_model_close(m);
}

static void vectors_match_float64(void **state) {
    (void)state;
    FILE *f = fopen("tests/golden/bert-tiny.txt", "r");
    assert_non_null(f);
    char line[4096], file[64], tokens[1024], path[128], vector[2048];
    double limit;
    int n_cases = 0;
    while (fgets(line, sizeof line, f)) {
        assert_int_equal(sscanf(line, "%63s %lf %1023s %2047s", file, &limit, tokens, vector), 4);
        snprintf(path, sizeof path, "tests/golden/%s", file);
        int32_t ids[CTX];
        size_t n = parse_ids(tokens, ids);
        float first[EMBD], y[EMBD];
        for (int threads = 1; threads <= 3; threads++) { /* the same bits however the work is split */
            ng_model *m;
            ng_session *s;
            open_both(&m, &s, path, threads);
            assert_int_equal(ng_session_encode(s, ids, n, y, NULL), NG_OK);
            if (threads == 1) memcpy(first, y, sizeof y);
            assert_memory_equal(first, y, sizeof y);
            assert_int_equal(ng_session_encode(s, ids, n > 4 ? n - 3 : n, y, NULL), NG_OK);
            assert_int_equal(ng_session_encode(s, ids, n, y, NULL), NG_OK); /* nothing stays of the call before */
            assert_memory_equal(first, y, sizeof y);
            close_both(m, s);
        }
        const char *want = vector;
        for (int i = 0; i < EMBD; i++, want += *want == ',') {
            double d = fabs(strtod(want, (char **)&want) - (double)y[i]);
            if (!(d <= limit)) fail_msg("%s, %zu ids: element %d is off by %.2e", file, n, i, d);
        }
        n_cases++;
    }
    fclose(f);
    assert_int_equal(n_cases, 18);
}

static void wrong_calls_are_refused(void **state) {
    (void)state;
    ng_model *m;
    ng_session *s;
    float y[64];
    ng_error err = {0};
    int32_t ids[CTX + 1] = {2};
    open_both(&m, &s, GOLDEN "f32.gguf", 1);
    assert_int_equal(ng_session_encode(s, ids, 0, y, NULL), NG_EINVALID);
    assert_int_equal(ng_session_encode(s, ids, CTX + 1, y, &err), NG_ELIMIT);
    assert_true(strstr(err.text, "97") && strstr(err.text, "96"));
    ids[1] = 57;
    assert_int_equal(ng_session_encode(s, ids, 2, y, NULL), NG_EINVALID);
    ids[1] = -1;
    assert_int_equal(ng_session_encode(s, ids, 2, y, NULL), NG_EINVALID);
    ids[1] = 0;
    assert_int_equal(ng_session_eval(s, ids, 1, NULL, NULL), NG_EINVALID);
    close_both(m, s);
    open_both(&m, &s, "tests/golden/llama-tiny-f32.gguf", 1);
    assert_int_equal(ng_session_encode(s, ids, 1, y, NULL), NG_EUNSUPPORTED);
    assert_int_equal(ng_session_embed(s, "a", 1, false, y, NULL, NULL), NG_EUNSUPPORTED);
    close_both(m, s);
}

static void texts_become_the_vectors_of_their_ids(void **state) {
    (void)state;
    ng_model *m;
    ng_session *s;
    ng_error err = {0};
    float got[EMBD], want[EMBD];
    size_t n;
    open_both(&m, &s, GOLDEN "f32.gguf", 1);
    const int32_t ids[] = {2, FIRST + 0, FIRST + 26 + 1, FIRST + 2, 3}; /* [CLS] a ##b c [SEP] */
    assert_int_equal(ng_session_embed(s, "Ab C", 4, false, got, &n, &err), NG_OK);
    assert_int_equal(ng_session_encode(s, ids, 5, want, &err), NG_OK);
    assert_int_equal(n, 5);
    assert_memory_equal(got, want, sizeof got);

    char text[2 * CTX + 1];
    for (size_t i = 0; i < CTX; i++) memcpy(text + 2 * i, "d ", 2);
    assert_int_equal(ng_session_embed(s, text, 2 * (CTX - 2), false, got, &n, &err), NG_OK); /* exactly full */
    assert_int_equal(n, CTX);
    assert_int_equal(ng_session_embed(s, text, 2 * (CTX - 1), false, want, NULL, &err), NG_ELIMIT);
    assert_true(strstr(err.text, "97 tokens") && strstr(err.text, "96"));
    assert_int_equal(ng_session_embed(s, text, 2 * CTX, true, want, &n, NULL), NG_OK);
    assert_int_equal(n, CTX + 2); /* what it would have been; the vector is that of the cut text with its [SEP] */
    assert_memory_equal(got, want, sizeof got);
    close_both(m, s);
}

/* Ragged sequences in one call, alone, and at other thread counts: the same bits.  Long enough that some
 * attend in 8 bits and that several packs are needed. */
static void packed_sequences_have_the_bits_of_single_ones(void **state) {
    (void)state;
    enum { N = 23 };
    static const char *files[] = {GOLDEN "f32.gguf", GOLDEN "mixed.gguf", GOLDEN "cls.gguf"};
    for (size_t f = 0; f < sizeof files / sizeof files[0]; f++) {
        int32_t ids[N][CTX];
        ng_sequence seqs[N];
        float alone[N][EMBD], packed[N][EMBD];
        for (size_t i = 0; i < N; i++) {
            size_t n = i % 5 == 4 ? CTX - i / 5 : i % 3 == 0 ? 1 + i : 45 + i % 7;
            for (size_t t = 0; t < n; t++) ids[i][t] = (int32_t)((t * 7 + i * 13) % 57);
            seqs[i] = (ng_sequence){ids[i], n};
        }
        for (int threads = 1; threads <= 7; threads += threads == 1 ? 1 : 5) { /* 1, 2, 7 */
            ng_model *m;
            ng_session *s;
            ng_error err = {0};
            open_both(&m, &s, files[f], threads);
            for (size_t i = 0; i < N && threads == 1; i++)
                assert_int_equal(ng_session_encode(s, ids[i], seqs[i].n, alone[i], &err), NG_OK);
            assert_int_equal(ng_session_encode_batch(s, seqs, N, packed[0], &err), NG_OK);
            assert_memory_equal(packed, alone, sizeof alone);
            assert_int_equal(ng_session_encode_batch(s, seqs + 3, 5, packed[0], &err), NG_OK);
            assert_memory_equal(packed, alone[3], 5 * sizeof alone[0]);
            assert_int_equal(ng_session_encode_batch(s, seqs, 0, packed[0], &err), NG_OK);
            ids[2][1] += 57;
            assert_int_equal(ng_session_encode_batch(s, seqs, 3, packed[0], &err), NG_EINVALID);
            assert_non_null(strstr(err.text, "sequence 2"));
            ids[2][1] -= 57;
            close_both(m, s);
        }
    }
}

static void many_texts_are_as_one_by_one(void **state) {
    (void)state;
    ng_model *m;
    ng_session *s;
    ng_error err = {0};
    char text[2 * CTX + 1];
    for (size_t i = 0; i < CTX; i++) memcpy(text + 2 * i, "d ", 2);
    ng_embed_text texts[] = {{"ab c", 4}, {"", 0}, {text, 2 * (CTX - 2)}, {"zz", 2}, {text, 2 * CTX}};
    float all[5][EMBD], one[EMBD];
    size_t n;
    open_both(&m, &s, GOLDEN "mixed.gguf", 2);
    assert_int_equal(ng_session_embed_batch(s, texts, 5, true, all[0], &err), NG_OK);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(ng_session_embed(s, texts[i].data, texts[i].len, true, one, &n, &err), NG_OK);
        assert_memory_equal(one, all[i], sizeof one);
        assert_int_equal(n, texts[i].n_tokens);
    }
    assert_int_equal(texts[1].n_tokens, 2); /* [CLS] [SEP] */
    assert_int_equal(ng_session_embed_batch(s, texts, 5, false, all[0], &err), NG_ELIMIT);
    assert_true(texts[4].failed && !texts[3].failed && strstr(err.text, "98 tokens"));
    close_both(m, s);
}

static void write_changed(const char *path, void (*change)(ng_gguf_writer *w), const char *drop) {
    ng_gguf *g;
    ng_gguf_writer *w;
    ng_error err = {0};
    assert_int_equal(ng_gguf_open(&g, GOLDEN "f32.gguf", &err), NG_OK);
    assert_int_equal(ng_gguf_writer_new(&w), NG_OK);
    if (change) change(w);
    ng_gguf_put_all(w, g);
    for (size_t i = 0; i < ng_gguf_n_tensors(g); i++) {
        const ng_gguf_tensor *t = ng_gguf_tensor_at(g, i);
        if (!drop || strcmp(t->name, drop)) ng_gguf_put_tensor(w, t->name, t->type, t->n_dims, t->dims, t->data);
    }
    if (ng_gguf_writer_commit(w, path, &err)) fail_msg("%s", err.text);
    ng_gguf_close(g);
}

static char temp_path[] = "/tmp/ng-bert-XXXXXX";

static int make_temp(void **state) {
    (void)state;
    int fd = mkstemp(temp_path);
    return fd < 0 ? -1 : close(fd);
}

static int drop_temp(void **state) {
    (void)state;
    return unlink(temp_path);
}

static void short_reader(ng_gguf_writer *w) { ng_gguf_put_u32(w, "nanogrid.max_seq_length", 40); }

/* A model that reads less than its positions allow cuts there, and beyond its positions it refuses. */
static void models_may_read_less_than_they_hold(void **state) {
    (void)state;
    ng_model *m;
    ng_session *s;
    float got[EMBD], want[EMBD];
    size_t n;
    char text[2 * CTX];
    for (size_t i = 0; i < CTX; i++) memcpy(text + 2 * i, "e ", 2);
    write_changed(temp_path, short_reader, NULL);
    open_both(&m, &s, temp_path, 1);
    assert_int_equal(ng_model_get_info(m).n_seq_max, 40);
    assert_int_equal(ng_session_embed(s, text, 2 * 38, false, want, NULL, NULL), NG_OK);
    assert_int_equal(ng_session_embed(s, text, 2 * 90, false, got, &n, NULL), NG_OK);
    assert_int_equal(n, 92);
    assert_memory_equal(got, want, sizeof got);
    assert_int_equal(ng_session_embed(s, text, 2 * 95, false, got, NULL, NULL), NG_ELIMIT);
    assert_int_equal(ng_session_embed(s, text, 2 * 95, true, got, NULL, NULL), NG_OK);
    assert_memory_equal(got, want, sizeof got);
    close_both(m, s);
}

static void odd_heads(ng_gguf_writer *w) { ng_gguf_put_u32(w, "bert.attention.head_count", 5); }
static void causal(ng_gguf_writer *w) { ng_gguf_put_bool(w, "bert.attention.causal", true); }
static void rank_pooling(ng_gguf_writer *w) { ng_gguf_put_u32(w, "bert.pooling_type", 4); }
static void more_layers(ng_gguf_writer *w) { ng_gguf_put_u32(w, "bert.block_count", 3); }
static void fewer_layers(ng_gguf_writer *w) { ng_gguf_put_u32(w, "bert.block_count", 1); }
static void huge_context(ng_gguf_writer *w) { ng_gguf_put_u32(w, "bert.context_length", 0xFFFFFFFF); }
static void longer_context(ng_gguf_writer *w) { ng_gguf_put_u32(w, "bert.context_length", 97); }
static void bad_eps(ng_gguf_writer *w) { ng_gguf_put_f32(w, "bert.attention.layer_norm_epsilon", NAN); }

static void damaged_files_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        void (*change)(ng_gguf_writer *w);
        const char *drop;
        ng_status status;
        const char *says;
    } cases[] = {
        {odd_heads, NULL, NG_EFORMAT, "5 heads"},
        {causal, NULL, NG_EUNSUPPORTED, "bert.attention.causal"},
        {rank_pooling, NULL, NG_EUNSUPPORTED, "bert.pooling_type 4"},
        {more_layers, NULL, NG_EFORMAT, "blk.2."},
        {fewer_layers, NULL, NG_EUNSUPPORTED, "blk.1."},
        {huge_context, NULL, NG_EFORMAT, "bert.context_length"},
        {longer_context, NULL, NG_EFORMAT, "position_embd.weight"},
        {bad_eps, NULL, NG_EFORMAT, "layer_norm_epsilon"},
        {NULL, "token_embd.weight", NG_EFORMAT, "token_embd.weight"},
        {NULL, "token_types.weight", NG_EFORMAT, "token_types.weight"},
        {NULL, "token_embd_norm.bias", NG_EFORMAT, "token_embd_norm.bias is missing"},
        {NULL, "blk.0.attn_k.bias", NG_EFORMAT, "blk.0.attn_k.bias is missing"},
        {NULL, "blk.1.ffn_down.weight", NG_EFORMAT, "blk.1.ffn_down.weight is missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_changed(temp_path, cases[i].change, cases[i].drop);
        ng_model *m = (ng_model *)1;
        ng_error err = {0};
        ng_status s = ng_model_open(&m, temp_path, &err);
        if (s != cases[i].status || !strstr(err.text, cases[i].says))
            fail_msg("case %zu: %s, \"%s\"; wanted %s with \"%s\"", i, ng_status_name(s), err.text,
                     ng_status_name(cases[i].status), cases[i].says);
        assert_null(m);
    }
}

/* ---- the head ------------------------------------------------------------------------------------ */

static ng_tier_request request(ng_task task, ng_message *m, ng_part *p, const char *text) {
    *p = (ng_part){NG_PART_TEXT, text, strlen(text)};
    *m = (ng_message){"user", p, 1};
    return (ng_tier_request){.task = task, .messages = m, .n_messages = 1};
}

static ng_status ask(ng_head *h, const ng_tier_request *r, ng_answer **a, ng_error *err) {
    *err = (ng_error){0};
    assert_int_equal(ng_answer_new(a), NG_OK);
    return ng_head_apply(h, r, *a, err);
}

static void head_embeds_and_reranks(void **state) {
    (void)state;
    ng_head *h;
    ng_error err = {0};
    ng_message m;
    ng_part p;
    ng_answer *a;
    ng_head_spec spec = {.task = NG_TASK_RERANK, .path = GOLDEN "f32.gguf", .n_threads = 1};
    assert_int_equal(ng_head_open(&h, &spec, &err), NG_OK);
    assert_string_equal(ng_head_kind(h), "embedding");
    ng_tier_request r = request(NG_TASK_EMBED, &m, &p, "abc");
    assert_int_equal(ask(h, &r, &a, &err), NG_OK);
    assert_int_equal(a->n_embedding, EMBD);
    assert_int_equal(a->prompt_tokens, 5);
    assert_true(isnan(a->confidence));
    float want[EMBD];
    memcpy(want, a->embedding, sizeof want);
    ng_answer_free(a);

    /* Texts that come together: each answer is the one it has alone; an ill one spoils no other. */
    char far_too_long[2 * CTX + 1] = "";
    for (size_t i = 0; i < CTX; i++) strcat(far_too_long, "d ");
    const char *array[] = {"xyz", "abc", "x y z", far_too_long, "abc"};
    ng_part parts[5];
    for (int i = 0; i < 5; i++) parts[i] = (ng_part){NG_PART_TEXT, array[i], strlen(array[i])};
    for (size_t n = 3; n <= 5; n += 2)
        for (size_t i = 0; i < n; i++) {
            r = request(NG_TASK_EMBED, &m, &p, array[i]);
            r.params.ahead = parts + i + 1, r.params.n_ahead = n - i - 1;
            assert_int_equal(ask(h, &r, &a, &err), i == 3 ? NG_ELIMIT : NG_OK);
            assert_int_equal(a->prompt_tokens, i == 3 ? 0 : 5);
            if (i == 1 || i == 4) assert_memory_equal(a->embedding, want, sizeof want);
            if (i == 0 || i == 2) assert_memory_not_equal(a->embedding, want, sizeof want);
            ng_answer_free(a);
        }

    const char *documents[] = {"xyz zzz qqq", "abc", "abd", "abc"};
    r = request(NG_TASK_RERANK, &m, &p, "abc");
    r.params.documents = documents, r.params.n_documents = 4;
    assert_int_equal(ask(h, &r, &a, &err), NG_OK);
    assert_int_equal(a->n_results, 4);
    assert_int_equal(a->results[0].index, 1); /* the same text twice: the earlier first */
    assert_int_equal(a->results[1].index, 3);
    assert_float_equal(a->results[0].score, 1, 1e-6);
    assert_true(a->results[3].score <= a->results[2].score && a->results[2].score < 0.9999f);
    ng_answer_free(a);
    r.params.n_documents = 0;
    assert_int_equal(ask(h, &r, &a, &err), NG_EINVALID);
    ng_answer_free(a);

    char text[2 * CTX + 1] = "";
    for (size_t i = 0; i < CTX; i++) strcat(text, "d ");
    r = request(NG_TASK_EMBED, &m, &p, text);
    assert_int_equal(ask(h, &r, &a, &err), NG_ELIMIT); /* never cut in silence */
    assert_true(strstr(err.text, "98 tokens") != NULL);
    ng_answer_free(a);
    p.type = NG_PART_IMAGE;
    assert_int_equal(ask(h, &r, &a, &err), NG_EUNSUPPORTED);
    ng_answer_free(a);
    ng_head_close(h);

    write_changed(temp_path, short_reader, NULL);
    spec.path = temp_path;
    assert_int_equal(ng_head_open(&h, &spec, &err), NG_OK);
    text[2 * 60] = 0;
    r = request(NG_TASK_EMBED, &m, &p, text);
    assert_int_equal(ask(h, &r, &a, &err), NG_OK);
    assert_int_equal(a->n_warnings, 1);
    assert_true(strstr(a->warnings[0], "62 tokens") && strstr(a->warnings[0], "40"));
    ng_answer_free(a);
    ng_head_close(h);
    spec = (ng_head_spec){.task = NG_TASK_EMBED, .path = "tests/golden/llama-tiny-f32.gguf", .n_threads = 1};
    err = (ng_error){0};
    assert_int_equal(ng_head_open(&h, &spec, &err), NG_EUNSUPPORTED);
}

/* What heads read: pooled by hand, it is the vector of ng_session_encode. */
static void hidden_rows_pool_to_the_vector(void **state) {
    (void)state;
    ng_model *m;
    ng_session *s;
    static const int32_t ids[] = {2, 7, 9, 30, 3};
    float hidden[5 * EMBD], y[EMBD];
    open_both(&m, &s, GOLDEN "f32.gguf", 2);
    assert_int_equal(ng_session_hidden(s, ids, 5, hidden, NULL), NG_OK);
    assert_int_equal(ng_session_encode(s, ids, 5, y, NULL), NG_OK);
    double sum[EMBD] = {0}, squares = 0;
    for (size_t i = 0; i < 5 * EMBD; i++) sum[i % EMBD] += (double)hidden[i];
    for (size_t i = 0; i < EMBD; i++) squares += sum[i] * sum[i];
    for (size_t i = 0; i < EMBD; i++) assert_true(fabs(sum[i] / sqrt(squares) - (double)y[i]) < 1e-6);
    assert_int_equal(ng_session_hidden(s, ids, 0, hidden, NULL), NG_EINVALID);
    close_both(m, s);
}

static void out_of_memory_is_reported(void **state) {
    (void)state;
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_head *h = NULL;
        ng_answer *a = NULL;
        ng_message m;
        ng_part p;
        ng_head_spec spec = {.task = NG_TASK_RERANK, .path = GOLDEN "mixed.gguf", .n_threads = 1};
        ng_tier_request r = request(NG_TASK_RERANK, &m, &p, "abc");
        const char *documents[] = {"ab", "abcd"};
        r.params.documents = documents, r.params.n_documents = 2;
        ng_status s = ng_head_open(&h, &spec, NULL);
        if (!s) s = ng_answer_new(&a);
        if (!s) s = ng_head_apply(h, &r, a, NULL);
        ng_part next = {NG_PART_TEXT, "xyz", 3};
        r.task = NG_TASK_EMBED;
        r.params.ahead = &next, r.params.n_ahead = 1;
        if (!s) s = ng_head_apply(h, &r, a, NULL);
        if (s == NG_OK) fault_passed();
        ng_answer_free(a);
        ng_head_close(h);
    }
    assert_true(fault_sweep_rounds() > 20);
}

static void encoding_takes_no_heap(void **state) {
    (void)state;
    ng_model *m;
    ng_session *s;
    float y[EMBD];
    int32_t ids[CTX] = {2, 7, 9, 3};
    open_both(&m, &s, GOLDEN "mixed.gguf", 2);
    long before = fault_allocs();
    for (size_t n = 1; n <= CTX; n++) assert_int_equal(ng_session_encode(s, ids, n, y, NULL), NG_OK);
    assert_int_equal(fault_allocs(), before);
    close_both(m, s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_match_float64),
        cmocka_unit_test(wrong_calls_are_refused),
        cmocka_unit_test(texts_become_the_vectors_of_their_ids),
        cmocka_unit_test(packed_sequences_have_the_bits_of_single_ones),
        cmocka_unit_test(many_texts_are_as_one_by_one),
        cmocka_unit_test(models_may_read_less_than_they_hold),
        cmocka_unit_test(damaged_files_are_refused_by_name),
        cmocka_unit_test(head_embeds_and_reranks),
        cmocka_unit_test(hidden_rows_pool_to_the_vector),
        cmocka_unit_test(out_of_memory_is_reported),
        cmocka_unit_test(encoding_takes_no_heap),
    };
    return cmocka_run_group_tests_name("bert", tests, make_temp, drop_temp);
}
