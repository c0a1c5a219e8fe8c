/* Tests of sessions and KV pages: the same bits at any number of threads, any cut of the prompt and any
 * kernel level; no heap call a decoded token; limits, rewinding, sharing; every allocation failing once. */
#include "core/hash.h"
#include "fault.h"
#include "kernel/kernel.h"
#include "model/arch.h"
#include <nanogrid/model.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { VOCAB = 48, N = 150 };
static const char *const files[] = {"tests/golden/llama-tiny-f32.gguf", "tests/golden/llama-tiny-mixed.gguf"};
static int32_t ids[N];

static int setup(void **state) {
    (void)state;
    ng_rng r = ng_rng_seed(3);
    for (int i = 0; i < N; i++) ids[i] = (int32_t)ng_rng_below(&r, VOCAB);
    return 0;
}

static ng_kv_precision kv; /* of the sessions that tests make */

static ng_session *session(const ng_model *m, int n_threads, bool unfused) {
    ng_session *s;
    ng_session_options opt = {.n_threads = n_threads, .unfused = unfused, .kv = kv};
    ng_error err = {0};
    if (ng_session_new(&s, m, &opt, &err)) fail_msg("%s", err.text);
    return s;
}

/* Logits of all N positions, the prompt given in chunks. */
static void run_chunks_as(const ng_model *m, int n_threads, size_t chunk, bool unfused, float *logits) {
    ng_session *s = session(m, n_threads, unfused);
    for (size_t i = 0; i < N; i += chunk) {
        size_t n = N - i < chunk ? N - i : chunk;
        assert_int_equal(ng_session_eval_all(s, ids + i, n, logits + i * VOCAB, NULL), NG_OK);
    }
    assert_int_equal(ng_session_len(s), N);
    ng_session_free(s);
}

static void run_chunks(const ng_model *m, int n_threads, size_t chunk, float *logits) {
    run_chunks_as(m, n_threads, chunk, false, logits);
}

static void same_bits_however_run(void) {
    static const char *const levels[] = {"ref", "avx2", "avx512"};
    static const int threads[] = {1, 2, 7};
    static const size_t chunks[] = {1, 3, 17, 64, N};
    static float want[N * VOCAB], got[N * VOCAB];
    for (int f = 0; f < 2; f++)
        for (int l = 0; l < 3; l++) {
            ng_cpu_level level;
            assert_true(ng_cpu_level_parse(&level, levels[l]));
            if (!ng_cpu_can(level)) {
                print_message("SKIP level %s: this machine lacks it\n", levels[l]);
                continue;
            }
            setenv("NG_CPU", levels[l], 1);
            ng_model *m;
            assert_int_equal(ng_model_open(&m, files[f], NULL), NG_OK);
            assert_string_equal(ng_model_kernel(m), levels[l]);
            if (l == 0) run_chunks(m, 1, 1, want);
            for (int t = 0; t < 3; t++)
                for (int c = 0; c < 5; c++) {
                    run_chunks(m, threads[t], chunks[c], got);
                    if (memcmp(want, got, sizeof want))
                        fail_msg("%s at %s, %d threads, chunks of %zu: other bits", files[f], levels[l], threads[t],
                                 chunks[c]);
                }
            for (int t = 0; t < 3; t++) {
                run_chunks_as(m, threads[t], 17, true, got);
                if (memcmp(want, got, sizeof want))
                    fail_msg("%s at %s, %d threads, unfused: other bits", files[f], levels[l], threads[t]);
            }
            ng_model_close(m);
        }
    unsetenv("NG_CPU");
}

static void bits_do_not_depend_on_how_it_is_run(void **state) {
    (void)state;
    kv = NG_KV_DEFAULT;
    same_bits_however_run();
}

static void decoding_makes_no_heap_call(void **state) {
    (void)state;
    for (int f = 0; f < 2; f++) {
        ng_model *m;
        assert_int_equal(ng_model_open(&m, files[f], NULL), NG_OK);
        ng_session *s = session(m, 2, false);
        float logits[VOCAB];
        long before = fault_allocs();
        assert_int_equal(ng_session_eval(s, ids, 20, logits, NULL), NG_OK);
        for (int i = 20; i < N; i++) assert_int_equal(ng_session_eval(s, ids + i, 1, logits, NULL), NG_OK);
        assert_int_equal(fault_allocs() - before, 0);
        ng_session_free(s);
        ng_model_close(m);
    }
}

static void limits_are_errors_and_change_nothing(void **state) {
    (void)state;
    ng_model *m;
    ng_session *s;
    assert_int_equal(ng_model_open(&m, files[0], NULL), NG_OK);
    ng_session_options opt = {.n_ctx = 100, .n_threads = 1};
    assert_int_equal(ng_session_new(&s, m, &opt, NULL), NG_OK);
    assert_int_equal(ng_session_n_ctx(s), 100);
    float a[VOCAB], b[VOCAB];
    ng_error err = {0};
    assert_int_equal(ng_session_eval(s, ids, 70, NULL, &err), NG_OK);
    assert_int_equal(ng_session_eval(s, ids + 70, 31, a, &err), NG_ELIMIT);
    assert_non_null(strstr(err.text, "31 tokens after 70"));
    assert_non_null(strstr(err.text, "100"));
    err = (ng_error){0};
    int32_t bad[2] = {3, VOCAB};
    assert_int_equal(ng_session_eval(s, bad, 2, a, &err), NG_EINVALID);
    assert_non_null(strstr(err.text, "token 1 is 48"));
    bad[1] = -1;
    assert_int_equal(ng_session_eval(s, bad, 2, a, NULL), NG_EINVALID);
    assert_int_equal(ng_session_eval(s, bad, 0, a, NULL), NG_EINVALID);
    assert_int_equal(ng_session_len(s), 70);
    assert_int_equal(ng_session_eval(s, ids + 70, 30, a, NULL), NG_OK);
    ng_session_rewind(s, 65); /* and the same again gives the same */
    assert_int_equal(ng_session_len(s), 65);
    assert_int_equal(ng_session_eval(s, ids + 65, 35, b, NULL), NG_OK);
    assert_memory_equal(a, b, sizeof a);
    ng_session_rewind(s, 1000);
    assert_int_equal(ng_session_len(s), 100);
    ng_session_rewind(s, 0);
    assert_int_equal(ng_session_eval(s, ids, 100, b, NULL), NG_OK);
    assert_memory_equal(a, b, sizeof a);
    ng_session_free(s);
    opt.n_ctx = 193;
    assert_int_equal(ng_session_new(&s, m, &opt, &err), NG_EINVALID);
    assert_null(s);
    opt = (ng_session_options){.n_threads = -1};
    assert_int_equal(ng_session_new(&s, m, &opt, NULL), NG_EINVALID);
    assert_int_equal(ng_session_new(&s, m, NULL, NULL), NG_OK); /* threads by measurement */
    assert_in_range(ng_session_threads(s, 1), 1, ng_cpu_count());
    assert_int_equal(ng_session_encode(s, ids, 2, a, NULL), NG_EUNSUPPORTED);
    ng_session_free(s);
    ng_model_close(m);
}

/* A session that starts from another's first pages goes on exactly as one that read them itself. */
static void a_shared_prefix_is_worth_the_same(void **state) {
    (void)state;
    ng_model *m;
    assert_int_equal(ng_model_open(&m, files[1], NULL), NG_OK);
    ng_session *a = session(m, 1, false), *b = session(m, 1, false);
    float want[VOCAB], got[VOCAB], own[VOCAB];
    assert_int_equal(ng_session_eval(a, ids, 100, own, NULL), NG_OK);
    assert_int_equal(ng_session_eval(b, ids, 80, NULL, NULL), NG_OK);
    assert_int_equal(ng_session_eval(b, ids + 120, 20, want, NULL), NG_OK);
    ng_kv_clear(&b->kv);
    assert_int_equal(ng_kv_init(&b->kv, a->kv.pool, 3, NULL), NG_OK);
    ng_kv_share(&b->kv, &a->kv, 80);
    assert_int_equal(ng_kv_pool_pages_used(a->kv.pool), 2);
    assert_int_equal(ng_session_eval(b, ids + 120, 20, got, NULL), NG_OK); /* writes into a copy of page 1 */
    assert_int_equal(ng_kv_pool_pages_used(a->kv.pool), 3);
    assert_memory_equal(want, got, sizeof want);
    ng_session_rewind(a, 99);
    assert_int_equal(ng_session_eval(a, ids + 99, 1, got, NULL), NG_OK);
    assert_memory_equal(own, got, sizeof own);
    ng_session_free(a); /* b keeps the pool */
    ng_session_rewind(b, 80);
    assert_int_equal(ng_session_eval(b, ids + 120, 20, got, NULL), NG_OK);
    assert_memory_equal(want, got, sizeof want);
    ng_session_free(b);
    ng_model_close(m);
}

/* .. and the logits are near those of whole numbers. */
static void eight_bit_pages_too(void **state) {
    (void)state;
    static float whole[N * VOCAB], got[N * VOCAB];
    ng_model *m;
    kv = NG_KV_8BIT;
    same_bits_however_run();
    for (int f = 0; f < 2; f++) {
        assert_int_equal(ng_model_open(&m, files[f], NULL), NG_OK);
        run_chunks(m, 2, 17, got);
        kv = NG_KV_DEFAULT;
        run_chunks(m, 2, 17, whole);
        kv = NG_KV_8BIT;
        double off = 0, size = 0;
        for (int i = 0; i < N * VOCAB; i++) {
            double d = (double)got[i] - (double)whole[i];
            off += d * d;
            size += (double)whole[i] * (double)whole[i];
        }
        assert_true(off > 0 && off < 1e-3 * size);
        ng_session *a = session(m, 1, false);
        assert_int_equal(ng_kv_get_type(&a->kv), NG_KV_Q8);
        assert_true(ng_kv_bytes_per_tok(&a->kv_shape) < ng_kv_bytes_per_tok(&m->kv_shape));
        ng_session_free(a);
        ng_model_close(m);
    }
    a_shared_prefix_is_worth_the_same(state);
    decoding_makes_no_heap_call(state);
    kv = NG_KV_DEFAULT;
}

static void pages_run_out_politely(void **state) {
    (void)state;
    ng_kv_shape shape = {1, 1, 8, NG_KV_F16};
    ng_kv_pool *pool;
    ng_kv a, b;
    ng_error err = {0};
    assert_int_equal(ng_kv_pool_new(&pool, &shape, 3, NULL), NG_OK);
    assert_int_equal(ng_kv_init(&a, pool, 9, NULL), NG_OK);
    assert_int_equal(ng_kv_init(&b, pool, 9, NULL), NG_OK);
    assert_int_equal(ng_kv_reserve(&a, 100, NULL), NG_OK);
    ng_kv_advance(&a, 100);
    ng_kv_share(&b, &a, 64);
    assert_int_equal(ng_kv_reserve(&b, 64, NULL), NG_OK); /* the third page; page 0 is full, so it stays shared */
    ng_kv_advance(&b, 1);
    assert_int_equal(ng_kv_reserve(&b, 64, &err), NG_ELIMIT);
    assert_non_null(strstr(err.text, "64 tokens after 65"));
    assert_int_equal(ng_kv_pool_pages_used(pool), 3);
    ng_kv_clear(&a);
    assert_int_equal(ng_kv_pool_pages_used(pool), 2); /* page 0 is b's too */
    assert_int_equal(ng_kv_reserve(&b, 64, NULL), NG_OK);
    ng_kv_clear(&b);
    ng_kv_pool_release(pool);
    shape.n_layer = SIZE_MAX / 4;
    assert_int_equal(ng_kv_pool_new(&pool, &shape, 3, NULL), NG_ELIMIT);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_model *m = NULL;
        ng_session *s = NULL;
        ng_error err = {0};
        ng_session_options opt = {.n_threads = 2};
        float logits[VOCAB];
        ng_status status = ng_model_open(&m, files[1], &err);
        if (!status) status = ng_session_new(&s, m, &opt, &err);
        if (!status) status = ng_session_eval(s, ids, 70, logits, &err);
        if (status) assert_true(err.text[0]);
        else fault_passed();
        ng_session_free(s);
        ng_model_close(m);
    }
    assert_true(fault_sweep_rounds() > 15);
}

/* ---- several sequences in one forward --------------------------------------------------------------- */

enum { SEQS = 5, SEQ_TOK = 140 };

/* Sequences of one pool, fed in random portions: of each step's rows some belong to one sequence, some to
 * another, and a portion's last token may stand apart, among the rows whose logits are wanted. */
typedef struct mixed {
    ng_session *s;
    ng_kv kv[SEQS];
    ng_rng rng;
    int32_t tokens[NG_BATCH_MAX];
    ng_span spans[2 * SEQS];
    size_t seq_of[NG_BATCH_MAX]; /* of each row whose logits are wanted, in order */
    size_t n_tok, n_spans, n_out;
} mixed;

static const int32_t *tokens_of(size_t seq) { return ids + seq; } /* overlapping windows: sequences that differ */

static void add_span(mixed *x, size_t seq, size_t n) {
    size_t pos = x->kv[seq].len;
    for (size_t i = 0; i < x->n_spans; i++)
        if (x->spans[i].kv == &x->kv[seq]) pos += x->spans[i].n_tok;
    x->spans[x->n_spans++] = (ng_span){&x->kv[seq], x->n_tok, n, pos};
    memcpy(x->tokens + x->n_tok, tokens_of(seq) + pos, n * sizeof *x->tokens);
    x->n_tok += n;
}

static bool mixed_step(mixed *x, float *want) {
    static float got[SEQS * VOCAB];
    size_t left[SEQS], portion[SEQS], total = 0;
    x->n_tok = x->n_spans = x->n_out = 0;
    for (size_t i = 0; i < SEQS; i++) {
        left[i] = SEQ_TOK - x->kv[i].len;
        portion[i] = left[i] ? 1 + ng_rng_below(&x->rng, ng_rng_below(&x->rng, 3) ? 1 : 20) : 0;
        if (portion[i] > left[i]) portion[i] = left[i];
        if (!ng_rng_below(&x->rng, 4)) portion[i] = 0; /* it waits this time */
        total += left[i];
        assert_int_equal(ng_kv_reserve(&x->kv[i], portion[i], NULL), NG_OK);
        if (portion[i] > 1) add_span(x, i, portion[i] - 1);
    }
    size_t out_from = x->n_tok;
    for (size_t i = SEQS; i-- > 0;)
        if (portion[i]) add_span(x, i, 1), x->seq_of[x->n_out++] = i;
    if (!x->n_tok) return total > 0;
    ng_session_forward(x->s, &(ng_batch){x->tokens, x->n_tok, x->spans, x->n_spans, got, out_from});
    for (size_t i = 0; i < SEQS; i++) ng_kv_advance(&x->kv[i], portion[i]);
    for (size_t i = 0; i < x->n_out; i++) {
        size_t seq = x->seq_of[i], at = x->kv[seq].len - 1;
        if (memcmp(got + i * VOCAB, want + (seq * SEQ_TOK + at) * VOCAB, VOCAB * sizeof *got))
            fail_msg("sequence %zu at %zu of a batch of %zu rows: other bits than alone", seq, at, x->n_tok);
    }
    return true;
}

static void sequences_in_one_batch_get_the_bits_of_each_alone(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 7};
    static float want[SEQS * SEQ_TOK * VOCAB];
    for (int f = 0; f < 2; f++) {
        ng_model *m;
        assert_int_equal(ng_model_open(&m, files[f], NULL), NG_OK);
        for (size_t i = 0; i < SEQS; i++) {
            ng_session *alone = session(m, 1, false);
            assert_int_equal(ng_session_eval_all(alone, tokens_of(i), SEQ_TOK, want + i * SEQ_TOK * VOCAB, NULL),
                             NG_OK);
            ng_session_free(alone);
        }
        for (int t = 0; t < 3; t++) {
            mixed x = {.s = session(m, threads[t], false), .rng = ng_rng_seed(11 + (uint64_t)t)};
            ng_kv_pool *pool;
            assert_int_equal(ng_kv_pool_new(&pool, ng_model_kv_shape(m), 3 * SEQS, NULL), NG_OK);
            for (size_t i = 0; i < SEQS; i++) assert_int_equal(ng_kv_init(&x.kv[i], pool, 3, NULL), NG_OK);
            ng_kv_pool_release(pool);
            while (mixed_step(&x, want)) {}
            for (size_t i = 0; i < SEQS; i++) ng_kv_clear(&x.kv[i]);
            ng_session_free(x.s);
        }
        ng_model_close(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_do_not_depend_on_how_it_is_run), cmocka_unit_test(eight_bit_pages_too),
        cmocka_unit_test(sequences_in_one_batch_get_the_bits_of_each_alone),
        cmocka_unit_test(decoding_makes_no_heap_call),
        cmocka_unit_test(limits_are_errors_and_change_nothing),
        cmocka_unit_test(a_shared_prefix_is_worth_the_same),
        cmocka_unit_test(pages_run_out_politely),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
