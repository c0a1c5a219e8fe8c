/* semantic.c: see semantic.h.
 *
 * Entries stand in one array, found by looking at all of them: at 384 numbers a vector 4,000 entries take a third of a
 * millisecond, less than the vector itself took.  Sums run over 16 lanes in a fixed order.
 *
 * START is where half of STS-B's pairs that mean the same (4.5 of 5 and more) hit with the guards on, while pairs that do not (3 and
 * less) seldom do (docs/routing.md); the guards keep templates apart at any likeness.  A statement in which a word is replaced
 * needs so much more (REPLACED, of the way from the threshold to 1): of STS-B's training pairs with one word exchanged for another
 * of its kind, a fifth is that alike, of its true pairs with a word replaced seven in ten. */
#include "semantic.h"

#include "cache.h"
#include "core/arena.h"
#include "route/scores.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const double START = 0.78, STEP = 0.01, HIGHEST = 0.999, REPLACED = 0.45;
enum { CHECK_OFTEN = 32, CHECK_SELDOM = 128, CHECKS_KEPT = 2000, LANES = 16 };

typedef struct entry {
    uint64_t id, used;
    ng_digest scope;
    float *vector; /* [n]; text and language stand behind it */
    size_t n, len, bytes;
    const char *text, *language;
    ng_answer *answer;
    double threshold; /* 0: that of all */
} entry;

struct ng_semantic {
    pthread_mutex_t lock; /* guards all below */
    entry *entries;
    size_t len, cap, bytes, max_bytes;
    uint64_t next_id, clock;
    double max_false_hit, threshold;
    uint64_t hits, misses, checked, checked_false, in_a_row; /* checked: at the present threshold, halved at CHECKS_KEPT */
    uint64_t checked_all, false_all;
};

ng_status ng_semantic_new(ng_semantic **out, size_t max_bytes, double max_false_hit, ng_error *err) {
    ng_semantic *s = *out = calloc(1, sizeof *s);
    if (s && !pthread_mutex_init(&s->lock, NULL)) {
        s->max_bytes = max_bytes;
        s->max_false_hit = max_false_hit;
        s->threshold = START;
        return NG_OK;
    }
    free(s);
    *out = NULL;
    return ng_fail(err, NG_ENOMEM, "cache: out of memory");
}

static void clear_entry(entry *e) {
    ng_answer_free(e->answer);
    free(e->vector);
}

void ng_semantic_free(ng_semantic *s) {
    if (!s) return;
    for (size_t i = 0; i < s->len; i++) clear_entry(&s->entries[i]);
    pthread_mutex_destroy(&s->lock);
    free(s->entries);
    free(s);
}

static double dot(const float *a, const float *b, size_t n) {
    float lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++) lanes[k] += a[i + k] * b[i + k];
    for (size_t k = 0; i + k < n; k++) lanes[k] += a[i + k] * b[i + k];
    double sum = 0;
    for (size_t k = 0; k < LANES; k++) sum += (double)lanes[k];
    return sum;
}

static double threshold_of(const ng_semantic *s, const entry *e) {
    return e->threshold > s->threshold ? e->threshold : s->threshold;
}

static bool speaks_other(const entry *e, const ng_semantic_query *q) {
    return *e->language && *q->language && strcmp(e->language, q->language) != 0;
}

/* The nearest entry that may answer; else the nearest of all, with what speaks against it.  The lock is held. */
static entry *nearest(ng_semantic *s, const ng_semantic_query *q, ng_semantic_found *f) {
    entry *best = NULL;
    *f = (ng_semantic_found){.similarity = NAN, .threshold = NAN};
    for (size_t i = 0; i < s->len; i++) {
        entry *e = &s->entries[i];
        if (memcmp(&e->scope, &q->scope, sizeof e->scope) || e->n != q->n) continue;
        double x = dot(e->vector, q->vector, q->n), t = threshold_of(s, e);
        if (x < t ? best || x <= f->similarity : best && x <= f->similarity) continue;
        ng_semantic_found now = {.similarity = x, .threshold = t, .entry = e->id};
        if (x >= t) {
            now.other_language = speaks_other(e, q);
            now.unlike = ng_text_unlike(e->text, e->len, q->text, q->len);
            if (now.unlike == NG_UNLIKE_WORDS && x >= t + REPLACED * (1 - t)) now.unlike = NG_UNLIKE_NOT;
        }
        bool fits = x >= t && !now.unlike && !now.other_language;
        if (!fits && best) continue;
        *f = now;
        if (fits) best = e;
    }
    return best;
}

/* Checked more often until enough checks bound the false hits.  The lock is held. */
static bool is_checked(ng_semantic *s) {
    bool bounded = ng_binomial_upper(s->checked, s->checked_false, 0.05) <= s->max_false_hit;
    return s->in_a_row++ % (bounded ? CHECK_SELDOM : CHECK_OFTEN) == CHECK_OFTEN - 1;
}

ng_answer *ng_semantic_get(ng_semantic *s, const ng_semantic_query *q, ng_semantic_found *f) {
    ng_answer *copy = NULL;
    pthread_mutex_lock(&s->lock);
    entry *e = nearest(s, q, f);
    if (e) {
        e->used = ++s->clock;
        f->check = is_checked(s);
        if (!f->check && ng_answer_copy(&copy, e->answer)) copy = NULL;
    }
    if (copy) s->hits++;
    else s->misses++;
    pthread_mutex_unlock(&s->lock);
    return copy;
}

static void drop(ng_semantic *s, size_t i) {
    s->bytes -= s->entries[i].bytes;
    clear_entry(&s->entries[i]);
    s->entries[i] = s->entries[--s->len];
}

static void drop_oldest(ng_semantic *s) {
    size_t oldest = 0;
    for (size_t i = 1; i < s->len; i++)
        if (s->entries[i].used < s->entries[oldest].used) oldest = i;
    drop(s, oldest);
}

/* Vector, text and language in one piece of memory. */
static bool fill(entry *e, const ng_semantic_query *q, const ng_answer *a) {
    size_t at = q->n * sizeof *e->vector, language = strlen(q->language) + 1;
    char *memory = malloc(at + q->len + language);
    *e = (entry){.scope = q->scope, .n = q->n, .len = q->len, .vector = (float *)(void *)memory};
    if (!memory) return false;
    memcpy(memory, q->vector, at);
    memcpy(memory + at, q->text, q->len);
    memcpy(memory + at + q->len, q->language, language);
    e->text = memory + at;
    e->language = memory + at + q->len;
    if (ng_answer_copy(&e->answer, a)) {
        free(memory);
        return false;
    }
    e->bytes = sizeof *e + at + q->len + language + ng_arena_bytes(e->answer->arena);
    return true;
}

static bool has_room(ng_semantic *s) {
    if (s->len < s->cap) return true;
    size_t cap = s->cap ? 2 * s->cap : 64;
    entry *more = realloc(s->entries, cap * sizeof *more);
    if (!more) return false;
    s->entries = more;
    s->cap = cap;
    return true;
}

void ng_semantic_put(ng_semantic *s, const ng_semantic_query *q, const ng_answer *a) {
    entry e;
    if (!fill(&e, q, a)) return;
    pthread_mutex_lock(&s->lock);
    for (size_t i = s->len; i-- > 0;) { /* the same text again: an answer that is newer */
        const entry *old = &s->entries[i];
        if (old->len == e.len && !memcmp(&old->scope, &e.scope, sizeof e.scope) && !memcmp(old->text, e.text, e.len)) {
            e.threshold = old->threshold;
            drop(s, i);
        }
    }
    while (s->len && s->bytes + e.bytes > s->max_bytes) drop_oldest(s);
    bool fits = s->bytes + e.bytes <= s->max_bytes && has_room(s);
    if (fits) {
        e.id = ++s->next_id;
        e.used = ++s->clock;
        s->entries[s->len++] = e;
        s->bytes += e.bytes;
    }
    pthread_mutex_unlock(&s->lock);
    if (!fits) clear_entry(&e);
}

static entry *find(ng_semantic *s, uint64_t id) {
    for (size_t i = 0; i < s->len; i++)
        if (s->entries[i].id == id) return &s->entries[i];
    return NULL;
}

void ng_semantic_learn(ng_semantic *s, uint64_t id, double similarity, bool same) {
    pthread_mutex_lock(&s->lock);
    entry *e = find(s, id);
    s->checked_all++;
    s->false_all += !same;
    s->checked++;
    s->checked_false += !same;
    if (e && !same) {
        e->threshold = similarity + (1 - similarity) / 2;
        if (e->threshold > HIGHEST) e->threshold = HIGHEST;
    }
    if (ng_binomial_lower(s->checked, s->checked_false, 0.05) > s->max_false_hit && s->threshold + STEP < HIGHEST) {
        s->threshold += STEP;
        s->checked = s->checked_false = 0; /* of the new threshold nothing is known yet */
    }
    if (s->checked >= CHECKS_KEPT) s->checked /= 2, s->checked_false /= 2;
    pthread_mutex_unlock(&s->lock);
}

ng_answer *ng_semantic_answer(ng_semantic *s, uint64_t id) {
    ng_answer *copy = NULL;
    pthread_mutex_lock(&s->lock);
    entry *e = find(s, id);
    if (e && ng_answer_copy(&copy, e->answer)) copy = NULL;
    pthread_mutex_unlock(&s->lock);
    return copy;
}

ng_semantic_stats ng_semantic_look(ng_semantic *s) {
    pthread_mutex_lock(&s->lock);
    ng_semantic_stats out = {s->hits, s->misses, s->checked_all, s->false_all, s->len, s->bytes, s->threshold};
    pthread_mutex_unlock(&s->lock);
    return out;
}
