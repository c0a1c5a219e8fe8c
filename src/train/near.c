/* near.c: see near.h. */
#include "near.h"

#include "core/hash.h"
#include "core/utf8.h"
#include "text/unicode.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GRAM = 4 };

typedef struct grams {
    uint64_t *items; /* of all texts; a text's are sorted: rarest first */
    size_t *begin;   /* [n + 1] */
    size_t n;
} grams;

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void grams_clear(grams *g) {
    free(g->items);
    free(g->begin);
}

/* The distinct grams of a text, sorted by value; at most len + 1.  A short text is one gram. */
static size_t grams_of(uint64_t *out, const char *text, size_t len) {
    uint32_t last[GRAM] = {0};
    size_t n = 0, seen = 0;
    bool gap = false;
    for (size_t i = 0; i < len;) {
        uint32_t cp;
        i += ng_utf8_decode(&cp, text + i, len - i);
        if (!(ng_unicode(cp) & (NG_U_LETTER | NG_U_NUMBER | NG_U_MARK))) {
            gap = seen > 0; /* counts once a word follows */
            continue;
        }
        for (int k = gap ? 0 : 1; k < 2; k++) {
            memmove(last, last + 1, sizeof last - sizeof *last);
            last[GRAM - 1] = k ? ng_unicode_lower(cp) : ' ';
            if (++seen >= GRAM) out[n++] = ng_hash64(last, sizeof last, 1);
        }
        gap = false;
    }
    if (!n) out[n++] = ng_text_hash(text, len);
    qsort(out, n, sizeof *out, by_value);
    size_t kept = 1;
    for (size_t i = 1; i < n; i++)
        if (out[i] != out[kept - 1]) out[kept++] = out[i];
    return kept;
}

static bool grams_make(grams *g, const ng_dataset *d) {
    size_t bytes = 0;
    for (size_t i = 0; i < d->len; i++) bytes += d->items[i].len + 1;
    g->n = d->len;
    g->items = malloc((bytes + 1) * sizeof *g->items);
    g->begin = malloc((d->len + 1) * sizeof *g->begin);
    if (!g->items || !g->begin) return false;
    g->begin[0] = 0;
    for (size_t i = 0; i < d->len; i++)
        g->begin[i + 1] = g->begin[i] + grams_of(g->items + g->begin[i], d->items[i].text, d->items[i].len);
    return true;
}

/* ---- rarity: how many texts of `other` have a gram -------------------------------------------------- */

typedef struct rarity {
    uint64_t *key;   /* [cap], a power of two; 0: free */
    uint32_t *count; /* [cap] */
    size_t cap;
} rarity;

static uint32_t *rarity_at(const rarity *r, uint64_t gram) {
    size_t i = ng_hash_mix(gram) & (r->cap - 1);
    while (r->key[i] && r->key[i] != gram) i = (i + 1) & (r->cap - 1);
    r->key[i] = gram;
    return &r->count[i];
}

static bool rarity_make(rarity *r, const grams *g, const grams *also) {
    size_t want = 2 * (g->begin[g->n] + also->begin[also->n]) + 2;
    for (r->cap = 64; r->cap < want;) r->cap *= 2;
    r->key = calloc(r->cap, sizeof *r->key);
    r->count = calloc(r->cap, sizeof *r->count);
    if (!r->key || !r->count) return false;
    for (size_t i = 0; i < g->begin[g->n]; i++) ++*rarity_at(r, g->items[i]);
    return true;
}

typedef struct ranked {
    uint64_t gram;
    uint32_t count;
} ranked;

static int by_rarity(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? -1 : 1;
    return x->gram < y->gram ? -1 : x->gram > y->gram;
}

/* Each text's grams, rarest first. */
static bool sort_by_rarity(grams *g, const rarity *r) {
    size_t most = 1;
    for (size_t i = 0; i < g->n; i++)
        most = g->begin[i + 1] - g->begin[i] > most ? g->begin[i + 1] - g->begin[i] : most;
    ranked *x = malloc(most * sizeof *x);
    for (size_t i = 0; x && i < g->n; i++) {
        size_t n = g->begin[i + 1] - g->begin[i];
        uint64_t *at = g->items + g->begin[i];
        for (size_t k = 0; k < n; k++) x[k] = (ranked){at[k], *rarity_at(r, at[k])};
        qsort(x, n, sizeof *x, by_rarity);
        for (size_t k = 0; k < n; k++) at[k] = x[k].gram;
    }
    free(x);
    return x != NULL;
}

/* ---- meeting ---------------------------------------------------------------------------------------- */

/* Two sets of similarity >= least share a gram among the first so many of each. */
static size_t prefix(size_t n, double least) { return n - (size_t)ceil(least * (double)n - 1e-9) + 1; }

typedef struct posting {
    uint64_t gram;
    uint32_t text;
} posting;

static int by_gram(const void *a, const void *b) {
    const posting *x = a, *y = b;
    if (x->gram != y->gram) return x->gram < y->gram ? -1 : 1;
    return x->text < y->text ? -1 : x->text > y->text;
}

static size_t first_of(const posting *p, size_t n, uint64_t gram) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (p[mid].gram < gram) low = mid + 1;
        else high = mid;
    }
    return low;
}

/* Both in the same order of rarity. */
static double jaccard(const grams *a, size_t i, const grams *b, size_t k, const rarity *r) {
    const uint64_t *x = a->items + a->begin[i], *y = b->items + b->begin[k];
    size_t n = a->begin[i + 1] - a->begin[i], m = b->begin[k + 1] - b->begin[k], both = 0;
    for (size_t p = 0, q = 0; p < n && q < m;) {
        ranked u = {x[p], *rarity_at(r, x[p])}, v = {y[q], *rarity_at(r, y[q])};
        int order = by_rarity(&u, &v);
        both += !order;
        p += order <= 0;
        q += order >= 0;
    }
    return (double)both / (double)(n + m - both);
}

static size_t meet(const grams *a, const grams *b, const posting *p, size_t n_postings, const rarity *r, double least,
                   bool *keep) {
    size_t n = 0;
    for (size_t i = 0; i < a->n; i++) {
        size_t len = a->begin[i + 1] - a->begin[i];
        keep[i] = true;
        for (size_t k = 0; keep[i] && k < prefix(len, least); k++) {
            uint64_t gram = a->items[a->begin[i] + k];
            if (!*rarity_at(r, gram)) continue;
            for (size_t at = first_of(p, n_postings, gram); keep[i] && at < n_postings && p[at].gram == gram; at++)
                keep[i] = jaccard(a, i, b, p[at].text, r) < least;
        }
        n += !keep[i];
    }
    return n;
}

size_t ng_dataset_near(const ng_dataset *d, const ng_dataset *other, double least, bool *keep) {
    grams a = {0}, b = {0};
    rarity r = {0};
    posting *p = NULL;
    size_t n = SIZE_MAX, used = 0;
    if (grams_make(&a, d) && grams_make(&b, other) && rarity_make(&r, &b, &a) && sort_by_rarity(&a, &r) &&
        sort_by_rarity(&b, &r) && (p = malloc((b.begin[b.n] + 1) * sizeof *p))) {
        for (size_t i = 0; i < b.n; i++)
            for (size_t k = 0; k < prefix(b.begin[i + 1] - b.begin[i], least); k++)
                p[used++] = (posting){b.items[b.begin[i] + k], (uint32_t)i};
        qsort(p, used, sizeof *p, by_gram);
        n = meet(&a, &b, p, used, &r, least, keep);
    }
    grams_clear(&a);
    grams_clear(&b);
    free(r.key);
    free(r.count);
    free(p);
    return n;
}

ng_status ng_dataset_separate(ng_dataset *d, const ng_dataset *test, const ng_recipe *r, bool drop, size_t *n,
                              ng_error *err) {
    bool *keep = malloc(d->len + 1);
    size_t found = !keep         ? SIZE_MAX
                   : r->near > 0 ? ng_dataset_near(d, test, r->near, keep)
                                 : ng_dataset_duplicates(d, test, keep);
    ng_status s = found == SIZE_MAX ? ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path) : NG_OK;
    if (!s && found && r->duplicates == NG_DUPLICATES_REFUSE) {
        size_t first = 0;
        while (keep[first]) first++;
        int len = d->items[first].len < 80 ? (int)d->items[first].len : 80;
        while (len && ng_utf8_invalid_at(d->items[first].text, (size_t)len) < (size_t)len) len--;
        s = ng_fail(err, NG_EFORMAT,
                    "%s: %zu training or dev texts also stand in the test set%s, the first: '%.*s'; `duplicates: drop` "
                    "leaves them out",
                    r->path, found, r->near > 0 ? " or are near it" : "", len, d->items[first].text);
    }
    if (!s && drop) ng_dataset_filter(d, keep);
    if (!s) *n += found;
    free(keep);
    return s;
}
