/* Tests of the batcher and the scheduler: whatever runs beside it, a generation says what it says alone; joining,
 * leaving, pausing, reuse; limits and the line; no heap call a step; every allocation failing once. */
#include "core/clock.h"
#include "core/hash.h"
#include "decode/batcher.h"
#include "model/kv.h"
#include "fault.h"
#include "tiny_model.h"
#include <nanogrid/scheduler.h>

#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { KINDS = 12, PROMPT_MAX = 120 };
static char path[] = TINY_MODEL_PATH;
static ng_model *model;

/* ---- what is asked, and what each says alone --------------------------------------------------------- */

typedef struct ask {
    int32_t prompt[PROMPT_MAX];
    size_t n_prompt;
    ng_generate_options opt;
    ng_generation alone;
} ask;

static ask asks[KINDS];
static const char *const stops[] = {"qq", "aC", "z"};

static void alone_with(ask *a, ng_kv_precision kv) {
    ng_session *s;
    ng_session_options so = {.n_threads = 1, .kv = kv};
    ng_error err = {0};
    assert_int_equal(ng_session_new(&s, model, &so, NULL), NG_OK);
    if (ng_generate(&a->alone, s, a->prompt, a->n_prompt, &a->opt, &err)) fail_msg("%s", err.text);
    ng_session_free(s);
}

static void alone(ask *a) { alone_with(a, NG_KV_DEFAULT); }

static int setup(void **state) {
    (void)state;
    if (tiny_model_make(path) || ng_model_open(&model, path, NULL)) return -1;
    ng_rng r = ng_rng_seed(5);
    for (size_t i = 0; i < KINDS; i++) {
        ask *a = &asks[i];
        bool grows = i == 5 || i == 9; /* from one page to two */
        a->n_prompt = i == 1 ? 1 : grows ? NG_KV_PAGE_TOK - 14 : 5 + ng_rng_below(&r, PROMPT_MAX - 5);
        for (size_t k = 0; k < a->n_prompt; k++)
            a->prompt[k] = i && k < 40 && i % 2 ? asks[0].prompt[k] : (int32_t)ng_rng_below(&r, TINY_VOCAB); /* some begin alike */
        a->opt = ng_generate_options_default();
        a->opt.n_predict = grows ? 40 : 4 + (uint32_t)ng_rng_below(&r, 60);
        a->opt.temp = i % 3 ? 0.9f : 0;
        a->opt.seed = i;
        a->opt.ignore_eog = i % 4 != 0;
        a->opt.n_top = i % 5 == 0 ? 3 : 0;
        a->opt.repeat_penalty = i % 3 == 2 ? 1.2f : 1;
        if (i > 9) { /* more than the context holds */
            a->opt.shift = a->opt.ignore_eog = true;
            a->opt.n_predict = 300;
            a->opt.n_keep = (uint32_t)i % 2 * 70;
        } else if (i % 4 == 3) a->opt.stop = stops, a->opt.n_stop = 3;
        alone(a);
    }
    return 0;
}

static int teardown(void **state) {
    (void)state;
    for (size_t i = 0; i < KINDS; i++) ng_generation_clear(&asks[i].alone);
    ng_model_close(model);
    return unlink(path);
}

static bool same_float(float a, float b) { return !memcmp(&a, &b, sizeof a); }

/* The first n tokens of a generation are those that it has alone, and all of it when it was not cut. */
static bool says_the_same(const ng_generation *g, const ask *a, bool whole) {
    const ng_generation *w = &a->alone;
    size_t n = g->n_tokens;
    if (n > w->n_tokens || (whole && n != w->n_tokens) || g->n_top != w->n_top) return false;
    if (memcmp(g->tokens, w->tokens, n * sizeof *g->tokens) ||
        memcmp(g->logprobs, w->logprobs, n * sizeof *g->logprobs))
        return false;
    for (size_t i = 0; i < n * g->n_top; i++)
        if (g->top[i].id != w->top[i].id || !same_float(g->top[i].logprob, w->top[i].logprob)) return false;
    if (!whole) return !strncmp(g->text, w->text, g->text_len);
    return !strcmp(g->text, w->text) && !strcmp(g->finish, w->finish) && same_float(g->mean_logprob, w->mean_logprob) &&
           same_float(g->min_logprob, w->min_logprob) && same_float(g->mean_entropy, w->mean_entropy) &&
           same_float(g->mean_margin, w->mean_margin) && g->n_prompt == w->n_prompt;
}

/* ---- the batcher, step by step ------------------------------------------------------------------------- */

typedef struct live {
    ng_stream stream;
    ng_text_source text;
    ng_source src;
    ask *ask;
    bool used, ended, cut;
} live;

static void on_end(void *ctx, ng_stream *st) {
    (void)ctx;
    live *l = st->user;
    l->ended = true;
}

static void begin(live *l, ask *a, uint32_t n_ctx) {
    *l = (live){.ask = a, .used = true};
    l->stream.prompt = a->prompt;
    l->stream.n_prompt = a->n_prompt;
    l->stream.user = l;
    assert_int_equal(ng_text_source_init(&l->text, &l->src, model, NULL), NG_OK);
    l->src.room = n_ctx;
    l->src.can_shift = a->opt.shift;
    assert_int_equal(ng_run_begin(&l->stream.run, &l->src, a->prompt, a->n_prompt, &a->opt, NULL), NG_OK);
}

static void end(live *l) {
    ng_generation g;
    assert_int_equal(l->stream.status, NG_OK);
    assert_int_equal(ng_run_end(&l->stream.run, &g, NULL), NG_OK);
    if (l->cut) assert_string_equal(g.finish, "cancelled");
    if (!says_the_same(&g, l->ask, !l->cut))
        fail_msg("ask %zu says '%s', alone '%s'", (size_t)(l->ask - asks), g.text, l->ask->alone.text);
    ng_generation_clear(&g);
    ng_run_clear(&l->stream.run);
    l->used = false;
}

static ng_batcher *batcher(ng_scheduler_options o) {
    ng_batcher *b;
    ng_error err = {0};
    if (ng_batcher_new(&b, model, &o, &err)) fail_msg("%s", err.text);
    ng_batcher_on_end(b, on_end, NULL);
    return b;
}

/* When the context is full the older half of what is not kept goes, and it goes on as one whose prompt the rest is. */
static void a_context_that_shifts_is_read_anew(void **state) {
    (void)state;
    static int32_t ids[TINY_CTX + 1];
    static const uint32_t keeps[] = {0, 1, 64, 100, TINY_CTX - 2};
    for (size_t k = 0; k < 5; k++) {
        ask a = {.n_prompt = 101, .opt = asks[10].opt};
        memcpy(a.prompt, asks[9].prompt, 50 * sizeof *a.prompt);
        a.opt.temp = 0;
        a.opt.n_predict = keeps[k] == TINY_CTX - 2 ? 120 : 400;
        a.opt.n_keep = keeps[k];
        alone(&a);
        assert_int_equal(a.alone.n_tokens, a.opt.n_predict);
        memcpy(ids, a.prompt, a.n_prompt * sizeof *ids);
        size_t n = a.n_prompt, from = 0, n_shifts = 0;
        ng_session *s;
        float logits[TINY_VOCAB];
        assert_int_equal(ng_session_new(&s, model, &(ng_session_options){.n_threads = 1}, NULL), NG_OK);
        for (size_t i = 0; i < a.alone.n_tokens; i++) {
            assert_int_equal(ng_session_eval(s, ids + from, n - from, logits, NULL), NG_OK);
            int32_t best = 0;
            for (int32_t v = 1; v < TINY_VOCAB; v++)
                if (logits[v] > logits[best]) best = v;
            if (a.alone.tokens[i] != best)
                fail_msg("keep %u: token %zu is %d, not %d", keeps[k], i, a.alone.tokens[i], best);
            from = n;
            ids[n++] = best;
            if (n <= TINY_CTX) continue;
            size_t gone = (n - keeps[k]) / 2;
            memmove(ids + keeps[k], ids + keeps[k] + gone, (n - keeps[k] - gone) * sizeof *ids);
            n -= gone;
            from = 0;
            n_shifts++;
            ng_session_rewind(s, 0);
        }
        assert_true(n_shifts > 1);
        ng_session_free(s);
        ng_generation_clear(&a.alone);
    }
    ng_generate_options o = asks[10].opt;
    ng_generation g;
    ng_session *s;
    ng_error err = {0};
    o.n_keep = TINY_CTX - 1;
    assert_int_equal(ng_session_new(&s, model, &(ng_session_options){.n_threads = 1}, NULL), NG_OK);
    assert_int_equal(ng_generate(&g, s, asks[10].prompt, asks[10].n_prompt, &o, &err), NG_EINVALID);
    assert_non_null(strstr(err.text, "191 tokens to keep leave nothing to go"));
    assert_int_equal(ng_session_len(s), 0);
    o.n_keep = 0; /* a session that was not empty: its first tokens are not known here, so it ends when it is full */
    assert_int_equal(ng_session_eval(s, asks[0].prompt, 1, NULL, NULL), NG_OK);
    assert_int_equal(ng_generate(&g, s, asks[10].prompt, asks[10].n_prompt, &o, NULL), NG_OK);
    assert_string_equal(g.finish, "length");
    assert_int_equal(g.n_tokens, TINY_CTX - 1 - asks[10].n_prompt);
    ng_generation_clear(&g);
    ng_session_free(s);
}

/* Many generations come, some are cancelled; each is compared with what it says alone. */
static ng_scheduler_stats storm(ng_scheduler_options o, uint64_t seed, size_t n_total) {
    ng_batcher *b = batcher(o);
    static live lives[16];
    ng_rng r = ng_rng_seed(seed);
    size_t begun = 0, alive = 0;
    memset(lives, 0, sizeof lives);
    while (begun < n_total || alive) {
        for (size_t i = 0; i < 16; i++) {
            live *l = &lives[i];
            if (l->used && l->ended) end(l), alive--;
            if (l->used && !l->cut && !l->ended && !ng_rng_below(&r, 200))
                l->cut = true, atomic_store(&l->stream.cancelled, true);
            if (l->used || begun == n_total || ng_rng_below(&r, 6)) continue;
            begin(l, &asks[ng_rng_below(&r, KINDS)], ng_batcher_n_ctx(b));
            if (ng_batcher_join(b, &l->stream)) begun++, alive++;
            else ng_run_clear(&l->stream.run), l->used = false;
        }
        if (ng_batcher_step(b)) assert_true(alive > 0);
    }
    ng_scheduler_stats st = ng_batcher_look(b, NULL, 0);
    assert_int_equal(st.n_running, 0);
    assert_true(st.kv_tok_used <= st.n_kv_tok);
    ng_batcher_free(b);
    return st;
}

static void a_crowd_says_what_each_says_alone(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        ng_scheduler_stats st = storm((ng_scheduler_options){.n_threads = (int[]){1, 2, 7}[i]}, 20 + (uint64_t)i, 60);
        assert_true(st.n_reused > 0);
        assert_true(st.n_rows > 2 * st.n_steps); /* they do run together */
    }
}

/* Pages for one whole sequence only: some lose theirs on the way, and nobody notices. */
static void who_loses_its_pages_says_the_same(void **state) {
    (void)state;
    ng_batcher *b = batcher((ng_scheduler_options){.n_threads = 1, .n_kv_tok = TINY_CTX, .n_slots = 4});
    live four[4] = {0}; /* on seven pages, of which each needs two in the end */
    for (int i = 0; i < 4; i++) {
        begin(&four[i], &asks[i % 2 ? 5 : 9], TINY_CTX);
        assert_true(ng_batcher_join(b, &four[i].stream));
    }
    while (ng_batcher_step(b)) {}
    assert_true(ng_batcher_look(b, NULL, 0).n_preempted > 0);
    for (int i = 0; i < 4; i++) end(&four[i]);
    ng_batcher_free(b);
    storm((ng_scheduler_options){.n_threads = 1, .n_kv_tok = TINY_CTX, .n_slots = 4}, 7, 60);
    storm((ng_scheduler_options){.n_threads = 1, .n_kv_tok = TINY_CTX, .n_slots = 1}, 8, 20);
    storm((ng_scheduler_options){.n_threads = 2, .n_slots = 16}, 9, 60);
}

/* Past tokens in 8 bits: other bits than in 16, the same alone as together. */
static void eight_bits_say_the_same(void **state) {
    (void)state;
    ng_batcher *b = batcher((ng_scheduler_options){.n_threads = 2, .kv = NG_KV_8BIT});
    static live lives[KINDS];
    static ask eight[KINDS];
    size_t n = 0, n_other = 0;
    for (; n < 6; n++) {
        eight[n] = asks[n];
        alone_with(&eight[n], NG_KV_8BIT);
        n_other += !says_the_same(&eight[n].alone, &asks[n], true);
        begin(&lives[n], &eight[n], TINY_CTX);
        assert_true(ng_batcher_join(b, &lives[n].stream));
    }
    assert_true(n_other > 0);
    while (ng_batcher_step(b)) {}
    for (size_t i = 0; i < n; i++) assert_true(lives[i].ended), end(&lives[i]), ng_generation_clear(&eight[i].alone);
    ng_batcher_free(b);
}

/* .. and begin where texts of an earlier crowd left files. */
static void a_crowd_with_files(void **state) {
    (void)state;
    char dir[] = "/tmp/ng-crowd-XXXXXX", command[100];
    assert_non_null(mkdtemp(dir));
    ng_prefix_options p = {.dir = dir, .memory_max = 100000};
    for (int i = 0; i < 4; i++) {
        p.eager = i == 1;
        ng_scheduler_stats st =
            storm((ng_scheduler_options){.n_threads = 1, .n_slots = 4, .n_kv_tok = i == 3 ? TINY_CTX : 0, .prefix = &p},
                  30 + (uint64_t)i, 40);
        if (i == 2) assert_true(st.prefix.disk_tok > 0);
        assert_string_equal(st.prefix.note, "");
    }
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

static void steps_make_no_heap_call(void **state) {
    (void)state;
    ng_batcher *b = batcher((ng_scheduler_options){.n_threads = 2});
    static live lives[6];
    for (size_t i = 0; i < 6; i++) begin(&lives[i], &asks[i], TINY_CTX);
    long before = fault_allocs();
    for (size_t i = 0; i < 6; i++) assert_true(ng_batcher_join(b, &lives[i].stream));
    while (ng_batcher_step(b)) {}
    assert_int_equal(fault_allocs() - before, 0);
    for (size_t i = 0; i < 6; i++) assert_true(lives[i].ended), end(&lives[i]);
    ng_batcher_free(b);
}

/* A prompt that begins as an earlier one did is not read again, whether that one still runs or has ended. */
static void a_prefix_is_read_once(void **state) {
    (void)state;
    ng_batcher *b = batcher((ng_scheduler_options){.n_threads = 1, .n_slots = 3});
    static live x[3];
    ng_slot slots[3];
    begin(&x[0], &asks[0], TINY_CTX);
    assert_true(ng_batcher_join(b, &x[0].stream));
    assert_true(ng_batcher_step(b)); /* reads all of it: nobody else runs */
    ng_scheduler_stats st = ng_batcher_look(b, slots, 3);
    assert_int_equal(slots[0].state, NG_SLOT_DECODING);
    assert_int_equal(slots[0].n_past, asks[0].n_prompt);
    assert_int_equal(slots[0].n_decoded, 1);
    assert_int_equal(slots[1].state, NG_SLOT_IDLE);
    begin(&x[1], &asks[0], TINY_CTX);
    assert_true(ng_batcher_join(b, &x[1].stream));
    st = ng_batcher_look(b, slots, 3);
    assert_int_equal(st.n_reused, asks[0].n_prompt - 1);
    begin(&x[2], &asks[3], TINY_CTX);
    assert_true(ng_batcher_join(b, &x[2].stream));
    st = ng_batcher_look(b, slots, 3);
    assert_true(asks[0].n_prompt < 40 && asks[3].n_prompt > 40); /* what they share is all of the first prompt */
    assert_int_equal(st.n_reused, asks[0].n_prompt - 1 + asks[0].n_prompt);
    live full;
    begin(&full, &asks[4], TINY_CTX);
    assert_false(ng_batcher_join(b, &full.stream)); /* no slot */
    ng_run_clear(&full.stream.run);
    while (ng_batcher_step(b)) {}
    for (int i = 0; i < 3; i++) assert_true(x[i].ended), end(&x[i]);
    ng_batcher_free(b);
}

/* While a stream decodes, a long prompt joins in pieces; a short one that comes later is not kept waiting. */
static void a_long_prompt_joins_in_pieces(void **state) {
    (void)state;
    ng_batcher *b = batcher((ng_scheduler_options){.n_threads = 1});
    static live stream, longer, shorter;
    static ask a[3];
    for (int i = 0; i < 3; i++) {
        a[i].opt = asks[0].opt;
        a[i].opt.n_predict = (uint32_t[]){150, 4, 4}[i];
        a[i].n_prompt = (size_t[]){4, PROMPT_MAX, 8}[i];
        for (size_t k = 0; k < a[i].n_prompt; k++) a[i].prompt[k] = 4 + (int32_t)((k * 7 + (size_t)i * 11) % 40);
        alone(&a[i]);
    }
    begin(&stream, &a[0], TINY_CTX), begin(&longer, &a[1], TINY_CTX), begin(&shorter, &a[2], TINY_CTX);
    assert_true(ng_batcher_join(b, &stream.stream));
    assert_true(ng_batcher_step(b));
    assert_true(ng_batcher_join(b, &longer.stream));
    assert_true(ng_batcher_join(b, &shorter.stream));
    size_t before = stream.stream.run.g.n_tokens, steps = 0;
    while (!shorter.ended || !longer.ended) {
        assert_true(ng_batcher_step(b));
        assert_int_equal(stream.stream.run.g.n_tokens, before + ++steps); /* the stream never misses a step */
    }
    assert_true(shorter.stream.first_ms <= longer.stream.first_ms);
    assert_true(steps > 4);
    while (ng_batcher_step(b)) {}
    end(&stream), end(&longer), end(&shorter);
    for (int i = 0; i < 3; i++) ng_generation_clear(&a[i].alone);
    ng_batcher_free(b);
}

/* ---- the scheduler, from many threads -------------------------------------------------------------------- */

typedef struct client {
    ng_scheduler *s;
    pthread_t thread;
    uint64_t seed;
    bool ok;
} client;

typedef struct seen {
    const ask *a;
    char text[1024];
    size_t n, stop_at;
    bool ok;
} seen;

static bool on_token(void *ctx, const ng_token_event *e) {
    seen *s = ctx;
    strncat(s->text, e->text, e->len);
    if (e->id < 0) return true;
    const ng_generation *w = &s->a->alone;
    s->ok = s->ok && s->n < w->n_tokens && e->id == w->tokens[s->n] && same_float(e->logprob, w->logprobs[s->n]) &&
            e->n_top == w->n_top && (!e->n_top || e->top[2].id == w->top[s->n * w->n_top + 2].id);
    return ++s->n != s->stop_at;
}

static bool one_call(ng_scheduler *s, ask *a, size_t stop_at) {
    seen x = {.a = a, .ok = true, .stop_at = stop_at};
    ng_generate_options opt = a->opt;
    ng_generation g;
    opt.on_token = on_token;
    opt.on_token_ctx = &x;
    ng_scheduled r = {.prompt = a->prompt, .n_prompt = a->n_prompt, .options = &opt};
    if (ng_scheduler_generate(s, &g, &r, NULL)) return false;
    bool by_eog = !a->opt.n_stop && !strcmp(a->alone.finish, "stop"); /* an id that comes after the last token */
    bool cut = stop_at && stop_at < a->alone.n_tokens + by_eog;
    bool ok = x.ok && says_the_same(&g, a, !cut) && !strcmp(x.text, g.text) && (!cut || g.n_tokens == stop_at);
    if (cut) ok = ok && !strcmp(g.finish, "cancelled");
    ng_generation_clear(&g);
    return ok;
}

static void *client_main(void *ctx) {
    client *c = ctx;
    ng_rng r = ng_rng_seed(c->seed);
    c->ok = true;
    for (int i = 0; i < 12 && c->ok; i++) {
        ask *a = &asks[ng_rng_below(&r, KINDS)];
        c->ok = one_call(c->s, a, ng_rng_below(&r, 3) ? 0 : 1 + ng_rng_below(&r, 6));
    }
    return NULL;
}

static void threads_share_a_model(void **state) {
    (void)state;
    for (int t = 0; t < 3; t++) {
        ng_scheduler *s;
        ng_scheduler_options o = {.n_threads = (int[]){1, 2, 7}[t], .n_slots = 5};
        client clients[8];
        assert_int_equal(ng_scheduler_new(&s, model, &o, NULL), NG_OK);
        assert_int_equal(ng_scheduler_threads(s), o.n_threads);
        for (size_t i = 0; i < 8; i++) {
            clients[i] = (client){.s = s, .seed = i + 100 * (uint64_t)t};
            assert_int_equal(pthread_create(&clients[i].thread, NULL, client_main, &clients[i]), 0);
        }
        for (size_t i = 0; i < 8; i++) {
            pthread_join(clients[i].thread, NULL);
            assert_true(clients[i].ok);
        }
        ng_scheduler_stats st = ng_scheduler_look(s, NULL, 0);
        assert_int_equal(st.n_waiting, 0);
        ng_scheduler_free(s);
    }
}

typedef struct blocker {
    ng_scheduler *s;
    pthread_t thread;
    sem_t reached, go_on;
    ng_status status;
} blocker;

static bool wait_inside(void *ctx, const ng_token_event *e) {
    blocker *b = ctx;
    (void)e;
    sem_post(&b->reached);
    sem_wait(&b->go_on);
    return false;
}

static void *blocker_main(void *ctx) {
    blocker *b = ctx;
    ng_generate_options opt = asks[1].opt;
    ng_generation g;
    opt.on_token = wait_inside;
    opt.on_token_ctx = b;
    ng_scheduled r = {.prompt = asks[1].prompt, .n_prompt = asks[1].n_prompt, .options = &opt};
    b->status = ng_scheduler_generate(b->s, &g, &r, NULL);
    if (!b->status) ng_generation_clear(&g);
    return NULL;
}

/* A reader that sits on its token keeps its own place only; when all places are taken the next is refused. */
static void a_full_line_refuses(void **state) {
    (void)state;
    ng_scheduler *s;
    ng_error err = {0};
    ng_generation g;
    ng_scheduler_options o = {.n_slots = 1, .n_waiting = 1, .n_threads = 1};
    assert_int_equal(ng_scheduler_new(&s, model, &o, NULL), NG_OK);
    blocker b[2];
    for (int i = 0; i < 2; i++) {
        b[i].s = s;
        sem_init(&b[i].reached, 0, 0), sem_init(&b[i].go_on, 0, 0);
        if (i == 0) assert_int_equal(pthread_create(&b[i].thread, NULL, blocker_main, &b[i]), 0);
        if (i == 0) sem_wait(&b[i].reached);
    }
    ng_scheduled r = {.prompt = asks[0].prompt, .n_prompt = asks[0].n_prompt, .options = &asks[0].opt};
    assert_int_equal(ng_scheduler_generate(s, &g, &r, NULL), NG_OK); /* its generation may have ended long ago */
    ng_generation_clear(&g);
    assert_int_equal(pthread_create(&b[1].thread, NULL, blocker_main, &b[1]), 0);
    sem_wait(&b[1].reached);
    assert_int_equal(ng_scheduler_generate(s, &g, &r, &err), NG_EBUSY);
    assert_non_null(strstr(err.text, "try again later"));
    for (int i = 0; i < 2; i++) {
        sem_post(&b[i].go_on);
        pthread_join(b[i].thread, NULL);
        assert_int_equal(b[i].status, NG_OK);
    }
    assert_int_equal(ng_scheduler_generate(s, &g, &r, NULL), NG_OK);
    ng_generation_clear(&g);
    ng_scheduler_free(s);
}

static bool yes(void *ctx) { return ++*(int *)ctx > 0; }

static void deadlines_and_limits(void **state) {
    (void)state;
    ng_scheduler *s;
    ng_error err = {0};
    ng_generation g;
    assert_int_equal(ng_scheduler_new(&s, model, NULL, NULL), NG_OK);
    assert_int_equal(ng_scheduler_n_ctx(s), TINY_CTX);
    ng_scheduled r = {.prompt = asks[2].prompt,
                      .n_prompt = asks[2].n_prompt,
                      .options = &asks[2].opt,
                      .deadline_ms = 1};
    assert_int_equal(ng_scheduler_generate(s, &g, &r, NULL), NG_OK);
    assert_string_equal(g.finish, "deadline");
    assert_int_equal(g.n_tokens, 0);
    assert_true(isnan(g.mean_logprob));
    ng_generation_clear(&g);
    r.deadline_ms = (int64_t)ng_clock_ms() + 60000;
    assert_int_equal(ng_scheduler_generate(s, &g, &r, NULL), NG_OK);
    assert_true(says_the_same(&g, &asks[2], true));
    assert_true(g.prompt_ms > 0 && g.predicted_ms >= 0);
    ng_generation_clear(&g);
    int32_t bad[TINY_CTX] = {0};
    r.prompt = bad;
    r.n_prompt = TINY_CTX;
    assert_int_equal(ng_scheduler_generate(s, &g, &r, &err), NG_ELIMIT);
    assert_non_null(strstr(err.text, "192"));
    bad[3] = TINY_VOCAB;
    r.n_prompt = 5;
    assert_int_equal(ng_scheduler_generate(s, &g, &r, NULL), NG_EINVALID);
    r.n_prompt = 0;
    assert_int_equal(ng_scheduler_generate(s, &g, &r, NULL), NG_EINVALID);
    ng_generate_options opt = ng_generate_options_default();
    int asked = 0;
    opt.abandoned = yes;
    opt.abandoned_ctx = &asked;
    opt.n_predict = 150;
    opt.ignore_eog = true;
    r = (ng_scheduled){.prompt = asks[0].prompt, .n_prompt = asks[0].n_prompt, .options = &opt};
    assert_int_equal(ng_scheduler_generate(s, &g, &r, NULL), NG_OK); /* cancelled, or done before it was asked */
    assert_string_equal(g.finish, asked ? "cancelled" : "length");
    ng_generation_clear(&g);
    ng_scheduler_free(s);
    static const struct {
        ng_scheduler_options o;
        const char *says;
    } wrong[] = {{{.n_slots = 65}, "65 slots"},
                 {{.n_ctx = 193}, "193"},
                 {{.n_kv_tok = 100}, "pool of 100"},
                 {{.n_threads = -1}, "-1"}};
    for (int i = 0; i < 4; i++) {
        err = (ng_error){0};
        assert_int_equal(ng_scheduler_new(&s, model, &wrong[i].o, &err), NG_EINVALID);
        assert_null(s);
        assert_non_null(strstr(err.text, wrong[i].says));
    }
    ng_model *encoder;
    assert_int_equal(ng_model_open(&encoder, "tests/golden/bert-tiny-f32.gguf", NULL), NG_OK);
    assert_int_equal(ng_scheduler_new(&s, encoder, NULL, NULL), NG_EUNSUPPORTED);
    ng_model_close(encoder);
    ng_scheduler_free(NULL);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_scheduler *s = NULL;
        ng_error err = {0};
        ng_generation g = {0};
        ng_scheduler_options o = {.n_threads = 1, .n_slots = 2};
        seen x = {.a = &asks[0], .ok = true};
        ng_generate_options opt = asks[0].opt;
        opt.on_token = on_token;
        opt.on_token_ctx = &x;
        ng_scheduled r = {.prompt = asks[0].prompt, .n_prompt = asks[0].n_prompt, .options = &opt};
        ng_status status = ng_scheduler_new(&s, model, &o, &err);
        if (!status) status = ng_scheduler_generate(s, &g, &r, &err);
        if (status) assert_true(err.text[0]);
        else assert_true(says_the_same(&g, &asks[0], true)), fault_passed();
        ng_generation_clear(&g);
        ng_scheduler_free(s);
    }
    assert_true(fault_sweep_rounds() > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crowd_says_what_each_says_alone), cmocka_unit_test(who_loses_its_pages_says_the_same),
        cmocka_unit_test(steps_make_no_heap_call), cmocka_unit_test(eight_bits_say_the_same),
                  cmocka_unit_test(a_prefix_is_read_once),
        cmocka_unit_test(a_long_prompt_joins_in_pieces),     cmocka_unit_test(threads_share_a_model),
        cmocka_unit_test(a_full_line_refuses),               cmocka_unit_test(deadlines_and_limits),
        cmocka_unit_test(a_context_that_shifts_is_read_anew), cmocka_unit_test(a_crowd_with_files),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("scheduler", tests, setup, teardown);
}
