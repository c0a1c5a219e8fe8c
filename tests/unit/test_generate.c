/* Tests of src/decode: distribution, sampler, stop texts and the loop, on a scripted model. */
#include "core/hash.h"
#include "core/math.h"
#include "decode/sampler.h"
#include "decode/source.h"
#include "decode/stop.h"
#include "fault.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- a model that says what a script says --------------------------------------------------- */

enum { VOCAB = 12, EOG = 11 };
static const char *const pieces[VOCAB] = {"a", "b", "c", "ab", " end", "E", "N", "D", "\xC3", "\xA9", "x", ""};

typedef struct fake {
    const int32_t *script; /* the token each evaluation makes likeliest */
    size_t n_script, at, evals, evaluated, fail_at;
    float second; /* logit of token (best + 1) % VOCAB; the best has 4, the rest 0 */
    bool nan;
    char held[4];
    size_t n_held;
} fake;

static ng_status fake_eval(void *self, const int32_t *ids, size_t n, float *logits, ng_error *err) {
    fake *f = self;
    (void)ids;
    f->evaluated += n;
    if (++f->evals == f->fail_at) return ng_fail(err, NG_EIO, "the script fails here");
    int32_t best = f->script[f->at < f->n_script ? f->at++ : f->n_script - 1];
    for (int i = 0; i < VOCAB; i++) logits[i] = f->nan ? NAN : 0;
    logits[(best + 1) % VOCAB] += f->second;
    logits[best] += 4;
    return NG_OK;
}

static ng_status fake_put(void *self, int32_t id, ng_buf *out, ng_error *err) {
    fake *f = self;
    (void)err;
    memcpy(f->held + f->n_held, pieces[id], strlen(pieces[id]));
    f->n_held += strlen(pieces[id]);
    if (f->n_held == 1 && f->held[0] == '\xC3') return NG_OK;
    ng_buf_put(out, f->held, f->n_held);
    f->n_held = 0;
    return NG_OK;
}

static ng_status fake_flush(void *self, ng_buf *out) {
    fake *f = self;
    if (f->n_held) ng_buf_puts(out, "\xEF\xBF\xBD");
    f->n_held = 0;
    return NG_OK;
}

static bool fake_eog(void *self, int32_t id) { return (void)self, id == EOG; }

typedef struct seen {
    char text[256];
    int32_t ids[64];
    size_t n, cancel_at;
    long allocs[64];
} seen;

static bool on_token(void *ctx, const ng_token_event *e) {
    seen *s = ctx;
    strncat(s->text, e->text, e->len);
    s->ids[s->n] = e->id;
    s->allocs[s->n++] = fault_allocs();
    return s->n != s->cancel_at;
}

static ng_source source_of(fake *f) {
    return (ng_source){.self = f, .n_vocab = VOCAB, .room = 40, .held = 10, .has_text = true, .eval = fake_eval,
                       .put_text = fake_put, .flush_text = fake_flush, .is_eog = fake_eog};
}

#define SCRIPT(...)                                                                                                    \
    (fake) {                                                                                                           \
        .script = (const int32_t[]){__VA_ARGS__}, .n_script = sizeof((const int32_t[]){__VA_ARGS__}) / 4               \
    }

static ng_generate_options greedy(seen *s) {
    ng_generate_options o = ng_generate_options_default();
    o.temp = 0;
    o.on_token = on_token;
    o.on_token_ctx = s;
    return o;
}

static const int32_t prompt[] = {0, 1, 2};

/* Runs and checks that the events say the same as the result. */
static ng_generation generate(fake *f, const ng_generate_options *o, seen *s) {
    ng_generation g;
    ng_error err = {0};
    ng_source src = source_of(f);
    assert_int_equal(ng_generate_from(&g, &src, prompt, 3, o, &err), NG_OK);
    assert_string_equal(g.text, s->text);
    assert_int_equal(strlen(g.text), g.text_len);
    size_t n = s->n && s->ids[s->n - 1] == -1 ? s->n - 1 : s->n;
    assert_int_equal(n, g.n_tokens);
    assert_memory_equal(s->ids, g.tokens, n * sizeof(int32_t));
    assert_int_equal(g.n_prompt, 3);
    return g;
}

static void loop_ends(void **state) {
    (void)state;
    seen s = {0};
    fake f = SCRIPT(0, 1, EOG, 2);
    ng_generate_options o = greedy(&s);
    ng_generation g = generate(&f, &o, &s);
    assert_string_equal(g.finish, "stop");
    assert_string_equal(g.text, "ab");
    assert_int_equal(g.n_tokens, 2);
    assert_int_equal(f.evaluated, 5); /* the prompt, a, b: never the end-of-generation id */
    ng_generation_clear(&g);

    s = (seen){0}, f = SCRIPT(0, 1, EOG, 2), o.ignore_eog = true, o.n_predict = 4;
    g = generate(&f, &o, &s);
    assert_string_equal(g.finish, "length");
    assert_string_equal(g.text, "abc");
    assert_int_equal(g.n_tokens, 4);
    assert_int_equal(g.tokens[2], EOG);
    assert_int_equal(f.evaluated, 6); /* the last token is not evaluated */
    ng_generation_clear(&g);

    s = (seen){.cancel_at = 2}, f = SCRIPT(0, 1, 2, 3);
    g = generate(&f, &o, &s);
    assert_string_equal(g.finish, "cancelled");
    assert_string_equal(g.text, "ab");
    ng_generation_clear(&g);

    s = (seen){0}, f = SCRIPT(10), o.n_predict = 1000;
    g = generate(&f, &o, &s);
    assert_string_equal(g.finish, "length");
    assert_int_equal(g.n_tokens, 37); /* room 40 less the prompt */
    ng_generation_clear(&g);
}

static void signals_are_means(void **state) {
    (void)state;
    seen s = {0};
    fake f = SCRIPT(0, 1);
    f.second = 2;
    ng_generate_options o = greedy(&s);
    o.n_predict = 2, o.n_top = 3;
    ng_generation g = generate(&f, &o, &s);
    double z = exp(4) + exp(2) + 10, p1 = exp(4) / z, p2 = exp(2) / z, p0 = 1 / z;
    assert_float_equal(g.logprobs[1], log(p1), 1e-6);
    assert_float_equal(g.mean_logprob, log(p1), 1e-6);
    assert_float_equal(g.min_logprob, log(p1), 1e-6);
    assert_float_equal(g.mean_margin, p1 - p2, 1e-6);
    assert_float_equal(g.mean_entropy, -p1 * log(p1) - p2 * log(p2) - 10 * p0 * log(p0), 1e-6);
    assert_int_equal(g.n_top, 3);
    assert_int_equal(g.top[3].id, 1);
    assert_int_equal(g.top[4].id, 2);
    assert_int_equal(g.top[5].id, 0); /* ties: the lowest id */
    assert_float_equal(g.top[4].logprob, log(p2), 1e-6);
    ng_generation_clear(&g);
}

static void characters_stay_whole(void **state) {
    (void)state;
    seen s = {0};
    fake f = SCRIPT(8, 9, 0, 8, EOG);
    ng_generate_options o = greedy(&s);
    ng_generation g = generate(&f, &o, &s);
    assert_string_equal(g.text, "\xC3\xA9"
                                "a\xEF\xBF\xBD");
    assert_int_equal(s.ids[4], -1); /* the replacement character came with no token */
    ng_generation_clear(&g);
    s = (seen){0}, f = SCRIPT(0, 8, 8), o.n_predict = 2;
    g = generate(&f, &o, &s);
    assert_string_equal(g.text, "a\xEF\xBF\xBD");
    assert_int_equal(s.n, 2);
    ng_generation_clear(&g);
}

static void stop_texts_never_leak(void **state) {
    (void)state;
    static const char *const stops[] = {"END", "bcx"};
    const struct {
        int32_t script[8];
        const char *text, *finish;
        size_t tokens;
    } cases[] = {
        {{0, 5, 6, 7, 0}, "a", "stop", 4},             /* E N D in three tokens */
        {{0, 5, 6, 0, EOG}, "aENa", "stop", 4},        /* EN was not the beginning of END */
        {{0, 5, 6, EOG}, "aEN", "stop", 3},            /* held until the end, then given back */
        {{3, 2, 10, 0}, "a", "stop", 3},               /* "ab" "c" "x": begins inside a token */
        {{1, 2, 1, 2, 10}, "bc", "stop", 5},           /* a false start, then the real one */
        {{5, 5, 6, 7}, "E", "stop", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        seen s = {0};
        fake f = {.script = cases[i].script, .n_script = 8};
        ng_generate_options o = greedy(&s);
        o.stop = stops, o.n_stop = 2;
        ng_generation g = generate(&f, &o, &s);
        assert_string_equal(g.text, cases[i].text);
        assert_string_equal(g.finish, cases[i].finish);
        assert_int_equal(g.n_tokens, cases[i].tokens);
        ng_generation_clear(&g);
    }
    seen s = {0};
    fake f = SCRIPT(0, 5, 6);
    ng_generate_options o = greedy(&s);
    o.stop = stops, o.n_stop = 2, o.n_predict = 3; /* the length ends it: what was held is given back */
    ng_generation g = generate(&f, &o, &s);
    assert_string_equal(g.text, "aEN");
    assert_string_equal(g.finish, "length");
    ng_generation_clear(&g);
    s = (seen){.cancel_at = 2}, f = SCRIPT(0, 5, 6);
    g = generate(&f, &o, &s); /* cancelled: only what was shown */
    assert_string_equal(g.text, "a");
    ng_generation_clear(&g);
}

/* The stop text that is complete first, and of those the longest; len + 1 when there is none. */
static size_t stop_oracle(const char *text, size_t len, const char *const *stops, size_t n) {
    for (size_t end = 1; end <= len; end++)
        for (size_t begin = 0; begin < end; begin++)
            for (size_t i = 0; i < n; i++)
                if (strlen(stops[i]) == end - begin && !memcmp(stops[i], text + begin, end - begin)) return begin;
    return len + 1;
}

static void stop_scan_does_not_depend_on_chunks(void **state) {
    (void)state;
    ng_rng r = ng_rng_seed(7);
    for (int round = 0; round < 20000; round++) {
        char text[17] = "", store[3][5] = {""};
        const char *stops[3];
        size_t n = 1 + ng_rng_below(&r, 3), len = ng_rng_below(&r, 17);
        for (size_t i = 0; i < n; i++) {
            size_t l = 1 + ng_rng_below(&r, 4);
            for (size_t k = 0; k < l; k++) store[i][k] = (char)('a' + ng_rng_below(&r, 2));
            stops[i] = store[i];
        }
        for (size_t i = 0; i < len; i++) text[i] = (char)('a' + ng_rng_below(&r, 2));
        size_t want = stop_oracle(text, len, stops, n), sure = 0, at = 0, before = 0;
        ng_stop s;
        ng_stop_init(&s, stops, n);
        bool hit = false;
        while (at < len && !hit) {
            at += 1 + ng_rng_below(&r, (uint32_t)(len - at));
            hit = ng_stop_scan(&s, text, at, &sure);
            assert_true(sure >= before && sure <= at && sure <= want);
            before = sure;
        }
        assert_int_equal(hit, want <= len);
        if (hit) assert_int_equal(sure, want);
    }
}

static void errors_leave_nothing(void **state) {
    (void)state;
    ng_generation g;
    ng_error err = {0};
    seen s = {0};
    fake f = SCRIPT(0);
    ng_source src = source_of(&f);
    ng_generate_options o = greedy(&s);
    assert_int_equal(ng_generate_from(&g, &src, prompt, 0, &o, &err), NG_EINVALID);
    src.room = 3, err = (ng_error){0};
    assert_int_equal(ng_generate_from(&g, &src, prompt, 3, &o, &err), NG_ELIMIT);
    assert_string_equal(err.text,
                        "the prompt of 3 tokens leaves no room for an answer: the context holds 13, 10 are in use");
    src.room = 40, err = (ng_error){0};
    assert_int_equal(ng_generate_from(&g, &src, (int32_t[]){VOCAB}, 1, &o, &err), NG_EINVALID);
    assert_int_equal(ng_generate_from(&g, &src, (int32_t[]){-1}, 1, &o, &err), NG_EINVALID);
    f.nan = true;
    assert_int_equal(ng_generate_from(&g, &src, prompt, 3, &o, NULL), NG_EFORMAT);
    f = SCRIPT(0), f.fail_at = 3;
    assert_int_equal(ng_generate_from(&g, &src, prompt, 3, &o, NULL), NG_EIO);
    assert_null(g.tokens);
    src.has_text = false, o.n_stop = 1, o.stop = (const char *const[]){"x"};
    assert_int_equal(ng_generate_from(&g, &src, prompt, 3, &o, NULL), NG_EUNSUPPORTED);
    o.n_stop = 0;
    f = SCRIPT(0, EOG);
    assert_int_equal(ng_generate_from(&g, &src, prompt, 3, &o, NULL), NG_OK);
    assert_string_equal(g.text, "");
    ng_generation_clear(&g);
}

static void options_have_ranges(void **state) {
    (void)state;
    ng_generate_options o = ng_generate_options_default();
    assert_int_equal(ng_generate_options_check(&o, NULL), NG_OK);
#define BAD(field, v)                                                                                                  \
    do {                                                                                                               \
        ng_generate_options b = ng_generate_options_default();                                                         \
        b.field = v;                                                                                                   \
        assert_int_equal(ng_generate_options_check(&b, NULL), NG_EINVALID);                                            \
    } while (0)
    BAD(n_predict, 0);
    BAD(temp, -1);
    BAD(temp, NAN);
    BAD(temp, INFINITY);
    BAD(top_p, 1.5f);
    BAD(min_p, -0.1f);
    BAD(repeat_penalty, 0);
    BAD(frequency_penalty, 3);
    BAD(presence_penalty, NAN);
    BAD(n_top, 21);
    char big[300];
    memset(big, 'x', 299), big[299] = 0;
    const char *texts[17] = {"", big, "\xFF"};
    for (int i = 0; i < 3; i++) {
        o.stop = texts + i, o.n_stop = 1;
        assert_int_equal(ng_generate_options_check(&o, NULL), NG_EINVALID);
    }
    o.n_stop = 17;
    assert_int_equal(ng_generate_options_check(&o, NULL), NG_EINVALID);
}

static void no_heap_call_per_token(void **state) {
    (void)state;
    static const char *const stops[] = {"END"};
    seen s = {0};
    fake f = SCRIPT(0, 1, 2, 3, 4);
    ng_generate_options o = ng_generate_options_default();
    o.on_token = on_token, o.on_token_ctx = &s, o.repeat_penalty = 1.1f, o.n_top = 5, o.ignore_eog = true;
    o.stop = stops, o.n_stop = 1;
    ng_generation g = generate(&f, &o, &s);
    assert_int_equal(g.n_tokens, 37);
    assert_int_equal(s.allocs[0], s.allocs[36]);
    ng_generation_clear(&g);
}

static void out_of_memory_is_reported(void **state) {
    (void)state;
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_generation g;
        fake f = SCRIPT(0, 1, 5, EOG);
        ng_source src = source_of(&f);
        ng_generate_options o = ng_generate_options_default();
        o.presence_penalty = 0.5f, o.n_top = 2;
        o.stop = (const char *const[]){"END"}, o.n_stop = 1;
        ng_status s = ng_generate_from(&g, &src, prompt, 3, &o, NULL);
        if (s == NG_OK) fault_passed();
        else assert_int_equal(s, NG_ENOMEM);
        ng_generation_clear(&g);
    }
    assert_true(fault_sweep_rounds() >= 8);
}

/* ---- distribution ---------------------------------------------------------------------------- */

static void fill(float *x, size_t n, ng_rng *r, double scale) {
    for (size_t i = 0; i < n; i++) x[i] = (float)((ng_rng_unit(r) - 0.5) * scale);
}

static void distribution_agrees_with_double(void **state) {
    (void)state;
    ng_rng r = ng_rng_seed(1);
    static float x[5003];
    for (size_t n = 1; n < sizeof x / sizeof x[0]; n += n < 67 ? 1 : 487) {
        fill(x, n, &r, n % 3 ? 30 : 120);
        if (n > 9) x[3] = x[7] = x[n - 1] = -INFINITY;
        double z = 0, h = 0, max = -INFINITY, second = -INFINITY;
        size_t best = 0;
        for (size_t i = 0; i < n; i++) {
            z += exp((double)x[i]);
            if ((double)x[i] > max) second = max, max = (double)x[i], best = i;
            else if ((double)x[i] > second) second = (double)x[i];
        }
        for (size_t i = 0; i < n; i++) {
            double p = exp((double)x[i]) / z;
            if (p > 0) h -= p * log(p);
        }
        ng_distribution d;
        assert_int_equal(ng_distribution_read(&d, x, n), NG_OK);
        assert_int_equal(d.best, best);
        assert_true(fabs((double)d.log_z - log(z)) < 2e-6 + 1e-7 * fabs(log(z)));
        assert_true(fabs((double)d.entropy - h) < 1e-5);
        assert_true(fabs((double)d.margin - (exp(max) - exp(second)) / z) < 1e-6);
        ng_token_prob top[20];
        size_t k = n < 20 ? n : 20;
        ng_distribution_top(&d, x, n, top, k);
        for (size_t i = 0; i < k; i++) {
            size_t above = 0;
            for (size_t j = 0; j < n; j++)
                above += x[j] > x[top[i].id] || (x[j] == x[top[i].id] && j < (size_t)top[i].id);
            assert_int_equal(above, i);
        }
    }
    x[2] = NAN;
    ng_distribution d;
    assert_int_equal(ng_distribution_read(&d, x, 9), NG_EFORMAT);
    x[2] = INFINITY;
    assert_int_equal(ng_distribution_read(&d, x, 9), NG_EFORMAT);
    for (size_t i = 0; i < 9; i++) x[i] = -INFINITY;
    assert_int_equal(ng_distribution_read(&d, x, 9), NG_EFORMAT);
}

/* ---- sampler --------------------------------------------------------------------------------- */

typedef struct weight {
    double logit, p;
    int32_t id;
} weight;

static int by_order(const void *a, const void *b) {
    const weight *x = a, *y = b;
    return x->logit != y->logit ? (x->logit < y->logit ? 1 : -1) : (x->id > y->id) - (x->id < y->id);
}

/* The probabilities that the options should give, by sorting everything. */
static void sampler_oracle(double *p, const float *x, size_t n, const ng_generate_options *o) {
    weight *w = calloc(n, sizeof *w);
    for (size_t i = 0; i < n; i++) w[i] = (weight){(double)x[i], 0, (int32_t)i}, p[i] = 0;
    qsort(w, n, sizeof *w, by_order);
    size_t k = o->top_k && o->top_k < n ? o->top_k : n, keep;
    double z = 0, sum = 0, cum = 0;
    for (size_t i = 0; i < k; i++) z += exp(w[i].logit);
    for (keep = 0; keep < k; keep++) {
        if (keep && o->top_p < 1 && cum >= (double)o->top_p * z) break;
        if (exp(w[keep].logit - w[0].logit) < (double)o->min_p * (1 - 1e-6)) break;
        cum += exp(w[keep].logit);
    }
    for (size_t i = 0; i < keep; i++) sum += w[i].p = exp((w[i].logit - w[0].logit) / (double)o->temp);
    for (size_t i = 0; i < keep; i++) p[w[i].id] = w[i].p / sum;
    free(w);
}

static void draws_follow_the_options(void **state) {
    (void)state;
    enum { N = 203, DRAWS = 20000 };
    const struct {
        float temp, top_p, min_p;
        uint32_t top_k;
    } cases[] = {{1, 1, 0, 0},     {0.7f, 1, 0, 0},      {1, 0.8f, 0, 0},      {1, 1, 0.1f, 0},    {1.5f, 0.9f, 0.05f, 0},
                 {1, 1, 0, 5},     {0.8f, 0.95f, 0.05f, 40}, {2, 0.5f, 0, 7}, {1, 1, 0.2f, 17}, {1, 0, 0, 0},
                 {1, 1, 1, 0},     {1, 1, 0, 1},         {1e-20f, 1, 0, 0},    {10, 1, 0, 500}};
    float x[N];
    double p[N];
    ng_rng r = ng_rng_seed(3);
    fill(x, N, &r, 12);
    x[5] = x[9] = x[11]; /* ties */
    x[20] = -INFINITY;
    ng_distribution d;
    assert_int_equal(ng_distribution_read(&d, x, N), NG_OK);
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        ng_generate_options o = ng_generate_options_default();
        o.temp = cases[c].temp, o.top_p = cases[c].top_p, o.min_p = cases[c].min_p, o.top_k = cases[c].top_k;
        o.seed = c;
        sampler_oracle(p, x, N, &o);
        ng_sampler s;
        assert_int_equal(ng_sampler_init(&s, &o, N, NULL), NG_OK);
        size_t count[N] = {0};
        for (int i = 0; i < DRAWS; i++) count[ng_sampler_pick(&s, x, &d)]++;
        for (size_t i = 0; i < N; i++) {
            double sigma = sqrt(DRAWS * p[i] * (1 - p[i]));
            if (fabs((double)count[i] - DRAWS * p[i]) > 5 * sigma + (p[i] > 0) * 3)
                fail_msg("case %zu: id %zu drawn %zu times, expected %.1f", c, i, count[i], DRAWS * p[i]);
        }
        ng_sampler_clear(&s);
    }
}

static void penalties_count_the_right_tokens(void **state) {
    (void)state;
    float x[6] = {2.0f, 1.9f, -1.0f, 1.5f, 0.1f, 1.0f};
    ng_distribution d;
    assert_int_equal(ng_distribution_read(&d, x, 6), NG_OK);
    ng_generate_options o = ng_generate_options_default();
    o.temp = 0;
    ng_sampler s;
    o.repeat_penalty = 1.2f; /* the prompt counts */
    assert_int_equal(ng_sampler_init(&s, &o, 6, NULL), NG_OK);
    ng_sampler_see(&s, 0);
    assert_int_equal(ng_sampler_pick(&s, x, &d), 1);
    ng_sampler_accept(&s, 1); /* 1.9 / 1.2 = 1.58 < 2 / 1.2 = 1.67 */
    assert_int_equal(ng_sampler_pick(&s, x, &d), 0);
    ng_sampler_clear(&s);
    o.repeat_penalty = 1, o.frequency_penalty = 0.3f; /* the prompt does not */
    assert_int_equal(ng_sampler_init(&s, &o, 6, NULL), NG_OK);
    ng_sampler_see(&s, 0);
    int32_t want[] = {0, 1, 0, 1, 3}; /* 2, 1.9, 1.7, 1.6, 1.5 beats 1.4 */
    for (int i = 0; i < 5; i++) {
        int32_t id = ng_sampler_pick(&s, x, &d);
        assert_int_equal(id, want[i]);
        ng_sampler_accept(&s, id);
    }
    ng_sampler_clear(&s);
    o.frequency_penalty = 0, o.presence_penalty = 0.45f; /* once, however often */
    assert_int_equal(ng_sampler_init(&s, &o, 6, NULL), NG_OK);
    int32_t once[] = {0, 1, 0, 0, 0}; /* 2, 1.9, then 1.55 against 1.45 and 1.5 for ever */
    for (int i = 0; i < 5; i++) {
        int32_t id = ng_sampler_pick(&s, x, &d);
        assert_int_equal(id, once[i]);
        ng_sampler_accept(&s, id);
    }
    ng_sampler_clear(&s);
    float y[2] = {-1.0f, -1.1f}; /* a negative logit is multiplied, so it falls too */
    assert_int_equal(ng_distribution_read(&d, y, 2), NG_OK);
    o.presence_penalty = 0, o.repeat_penalty = 1.2f;
    assert_int_equal(ng_sampler_init(&s, &o, 2, NULL), NG_OK);
    ng_sampler_see(&s, 0);
    assert_int_equal(ng_sampler_pick(&s, y, &d), 1);
    ng_sampler_clear(&s);
}

/* Tokens of one seed, written down once: another machine, compiler or level must give the same. */
static void a_seed_gives_the_same_tokens_everywhere(void **state) {
    (void)state;
    static const int32_t golden[3][8] = {
        {486, 117, 859, 714, 156, 423, 611, 131},
        {55, 309, 653, 928, 976, 731, 700, 836},
        {530, 162, 449, 529, 99, 512, 78, 338},
    };
    static float x[1000];
    for (int c = 0; c < 3; c++) {
        ng_generate_options o = ng_generate_options_default();
        o.seed = 42;
        if (c == 1) o.top_k = 0, o.top_p = 1, o.min_p = 0;
        if (c == 2) o.top_k = 0, o.repeat_penalty = 1.3f, o.temp = 1.5f;
        ng_rng r = ng_rng_seed(99);
        ng_sampler s;
        assert_int_equal(ng_sampler_init(&s, &o, 1000, NULL), NG_OK);
        for (int i = 0; i < 8; i++) {
            ng_distribution d;
            fill(x, 1000, &r, 16);
            assert_int_equal(ng_distribution_read(&d, x, 1000), NG_OK);
            int32_t id = ng_sampler_pick(&s, x, &d);
            ng_sampler_accept(&s, id);
            if (id != golden[c][i]) fail_msg("case %d, token %d: %d, not %d", c, i, id, golden[c][i]);
        }
        ng_sampler_clear(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loop_ends),
        cmocka_unit_test(signals_are_means),
        cmocka_unit_test(characters_stay_whole),
        cmocka_unit_test(stop_texts_never_leak),
        cmocka_unit_test(stop_scan_does_not_depend_on_chunks),
        cmocka_unit_test(errors_leave_nothing),
        cmocka_unit_test(options_have_ranges),
        cmocka_unit_test(no_heap_call_per_token),
        cmocka_unit_test(out_of_memory_is_reported),
        cmocka_unit_test(distribution_agrees_with_double),
        cmocka_unit_test(draws_follow_the_options),
        cmocka_unit_test(penalties_count_the_right_tokens),
        cmocka_unit_test(a_seed_gives_the_same_tokens_everywhere),
    };
    return cmocka_run_group_tests_name("generate", tests, NULL, NULL);
}
