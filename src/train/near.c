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

/* Adds the grams of a text; at most len + 1.  A short text is one gram. */
static size_t add_grams(uint64_t *out, const char *text, size_t len, uint64_t salt) {
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
            if (++seen >= GRAM) out[n++] = ng_hash64(last, sizeof last, salt);
        }
        gap = false;
    }
    if (!n) out[n++] = ng_text_hash(text, len) + salt;
    return n;
}

/* The distinct grams of a sample, sorted by value; those of a pair's two texts are different ones. */
static size_t grams_of(uint64_t *out, const ng_sample *s) {
    size_t n = add_grams(out, s->text, s->len, 1), kept = 1;
    if (s->second) n += add_grams(out + n, s->second, s->second_len, 2);
    qsort(out, n, sizeof *out, by_value);
    for (size_t i = 1; i < n; i++)
        if (out[i] != out[kept - 1]) out[kept++] = out[i];
    return kept;
}

static bool grams_make(grams *g, const ng_dataset *d) {
    size_t bytes = 0;
    for (size_t i = 0; i < d->len; i++) bytes += (size_t)d->items[i].len + d->items[i].second_len + 2;
    g->n = d->len;
    g->items = malloc((bytes + 1) * sizeof *g->items);
    g->begin = malloc((d->len + 1) * sizeof *g->begin);
    if (!g->items || !g->begin) return false;
    g->begin[0] = 0;
    for (size_t i = 0; i < d->len; i++)
        g->begin[i + 1] = g->begin[i] + grams_of(g->items + g->begin[i], &d->items[i]);
    return true;
}

/* ---- rarity: grams become ranks, the rarest among the texts of `other` first -------------------------- */

typedef struct rarity {
    uint64_t *key;   /* [cap], a power of two; 0: free */
    uint32_t *count; /* [cap] how often it stands in `other`; then its rank */
    size_t cap;
    uint32_t n_absent; /* ranks below: in no text of `other` */
} rarity;

static uint32_t *rarity_at(const rarity *r, uint64_t gram) {
    size_t i = ng_hash_mix(gram) & (r->cap - 1);
    while (r->key[i] && r->key[i] != gram) i = (i + 1) & (r->cap - 1);
    r->key[i] = gram;
    return &r->count[i];
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

static bool rarity_make(rarity *r, const grams *g, const grams *also) {
    size_t want = 2 * (g->begin[g->n] + also->begin[also->n]) + 2, n = 0;
    for (r->cap = 64; r->cap < want;) r->cap *= 2;
    r->key = calloc(r->cap, sizeof *r->key);
    r->count = calloc(r->cap, sizeof *r->count);
    ranked *all = malloc(want * sizeof *all);
    if (r->key && r->count && all) {
        for (size_t i = 0; i < g->begin[g->n]; i++) ++*rarity_at(r, g->items[i]);
        for (size_t i = 0; i < also->begin[also->n]; i++) (void)rarity_at(r, also->items[i]);
        for (size_t i = 0; i < r->cap; i++)
            if (r->key[i]) all[n++] = (ranked){r->key[i], r->count[i]};
        qsort(all, n, sizeof *all, by_rarity);
        for (size_t i = 0; i < n; i++) {
            r->n_absent += !all[i].count;
            *rarity_at(r, all[i].gram) = (uint32_t)i;
        }
    }
    bool ok = r->key && r->count && all;
    free(all);
    return ok;
}

/* Each text's grams by their ranks, rarest first. */
static void to_ranks(grams *g, const rarity *r) {
    for (size_t i = 0; i < g->n; i++) {
        uint64_t *at = g->items + g->begin[i];
        size_t n = g->begin[i + 1] - g->begin[i];
        for (size_t k = 0; k < n; k++) at[k] = *rarity_at(r, at[k]);
        qsort(at, n, sizeof *at, by_value);
    }
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

static bool are_near(const grams *a, size_t i, const grams *b, size_t k, double least) {
    const uint64_t *x = a->items + a->begin[i], *y = b->items + b->begin[k];
    size_t n = a->begin[i + 1] - a->begin[i], m = b->begin[k + 1] - b->begin[k], both = 0;
    if ((double)(n < m ? n : m) < least * (double)(n < m ? m : n)) return false; /* too unlike in length */
    for (size_t p = 0, q = 0; p < n && q < m;) {
        uint64_t u = x[p], v = y[q];
        both += u == v;
        p += u <= v;
        q += v <= u;
    }
    return (double)both / (double)(n + m - both) >= least;
}

/* Within one set: an earlier text that stays, of the same answer, and not the text that this one was made of. */
static bool stands_for(const ng_dataset *d, size_t earlier, size_t i, const bool *keep) {
    const ng_sample *a = &d->items[earlier], *b = &d->items[i];
    return earlier < i && keep[earlier] && a->hash != b->hash && a->label == b->label && a->holds == b->holds &&
           a->known == b->known;
}

/* d: the set that both are of; NULL: two sets. */
static bool meet(const grams *a, const grams *b, const posting *p, size_t n_postings, const rarity *r, double least,
                 const ng_dataset *d, bool *keep) {
    uint32_t *asked = calloc(b->n + 1, sizeof *asked); /* by which text last, + 1 */
    for (size_t i = 0; asked && i < a->n; i++) {
        size_t len = a->begin[i + 1] - a->begin[i];
        keep[i] = true;
        for (size_t k = 0; keep[i] && k < prefix(len, least); k++) {
            uint64_t gram = a->items[a->begin[i] + k];
            if (gram < r->n_absent) continue;
            for (size_t at = first_of(p, n_postings, gram); keep[i] && at < n_postings && p[at].gram == gram; at++) {
                uint32_t other = p[at].text;
                if (asked[other] == i + 1 || (d && !stands_for(d, other, i, keep))) continue;
                asked[other] = (uint32_t)i + 1;
                keep[i] = !are_near(a, i, b, other, least);
            }
        }
    }
    bool ok = asked != NULL;
    free(asked);
    return ok;
}

size_t ng_dataset_near(const ng_dataset *d, const ng_dataset *other, double least, bool *keep) {
    grams a = {0}, b = {0};
    rarity r = {0};
    posting *p = NULL;
    size_t n = SIZE_MAX, used = 0;
    if (grams_make(&a, d) && grams_make(&b, other) && rarity_make(&r, &b, &a) &&
        (p = malloc((b.begin[b.n] + 1) * sizeof *p))) {
        to_ranks(&a, &r);
        to_ranks(&b, &r);
        for (size_t i = 0; i < b.n; i++)
            for (size_t k = 0; k < prefix(b.begin[i + 1] - b.begin[i], least); k++)
                p[used++] = (posting){b.items[b.begin[i] + k], (uint32_t)i};
        qsort(p, used, sizeof *p, by_gram);
        if (meet(&a, &b, p, used, &r, least, d == other ? d : NULL, keep)) n = 0;
    }
    for (size_t i = 0; n != SIZE_MAX && i < d->len; i++) n += !keep[i];
    grams_clear(&a);
    grams_clear(&b);
    free(r.key);
    free(r.count);
    free(p);
    return n;
}

/* ---- what training must not have seen ----------------------------------------------------------------- */

/* Copies of a text that goes (typing errors, courtesy) have its hash, and go with it. */
static bool drop_copies(const ng_dataset *d, bool *keep) {
    uint64_t *gone = malloc((d->len + 1) * sizeof *gone);
    size_t n = 0;
    for (size_t i = 0; gone && i < d->len; i++)
        if (!keep[i]) gone[n++] = d->items[i].hash;
    if (n) qsort(gone, n, sizeof *gone, by_value);
    for (size_t i = 0; n && i < d->len; i++)
        keep[i] = keep[i] && !bsearch(&d->items[i].hash, gone, n, sizeof *gone, by_value);
    bool ok = gone != NULL;
    free(gone);
    return ok;
}

/* keep[i]: no copy of a test text, nor near one; returns how many are not kept, or SIZE_MAX when memory is out. */
static size_t find_seen(const ng_dataset *d, const ng_dataset *test, double near, bool *keep) {
    size_t n = 0;
    bool *apart = malloc(d->len + 1);
    if (!apart || ng_dataset_duplicates(d, test, keep) == SIZE_MAX ||
        (near > 0 && ng_dataset_near(d, test, near, apart) == SIZE_MAX))
        n = SIZE_MAX;
    for (size_t i = 0; !n && near > 0 && i < d->len; i++) keep[i] = keep[i] && apart[i];
    if (!n && !drop_copies(d, keep)) n = SIZE_MAX;
    for (size_t i = 0; n != SIZE_MAX && i < d->len; i++) n += !keep[i];
    free(apart);
    return n;
}

static ng_status refuse(const ng_dataset *d, const bool *keep, size_t found, const ng_recipe *r, ng_error *err) {
    size_t first = 0;
    while (keep[first]) first++;
    int len = d->items[first].len < 80 ? (int)d->items[first].len : 80;
    while (len && ng_utf8_invalid_at(d->items[first].text, (size_t)len) < (size_t)len) len--;
    return ng_fail(err, NG_EFORMAT,
                   "%s: %zu training or dev texts also stand in the test set%s, the first: '%.*s'; `duplicates: drop` "
                   "leaves them out",
                   r->path, found, r->near > 0 ? " or are near it" : "", len, d->items[first].text);
}

/* A test set that training has seen to a tenth is no test set: a wrong file, or a wrong split. */
static ng_status check_leak(const ng_dataset *d, const ng_dataset *test, const ng_recipe *r, ng_error *err) {
    bool *apart = malloc(test->len + 1);
    size_t n = apart ? ng_dataset_duplicates(test, d, apart) : SIZE_MAX;
    free(apart);
    if (n == SIZE_MAX) return ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
    if (n * 10 <= test->len) return NG_OK;
    return ng_fail(err, NG_EFORMAT,
                   "%s: %zu of the %zu test texts also stand in the training or dev texts: the split leaks; name other "
                   "files (a source's `hash:` splits one), or say `duplicates: keep` where that is meant",
                   r->path, n, test->len);
}

ng_status ng_dataset_separate(ng_dataset *d, const ng_dataset *test, const ng_recipe *r, size_t *n, ng_error *err) {
    bool *keep = malloc(d->len + 1);
    size_t found = keep ? find_seen(d, test, r->near, keep) : SIZE_MAX;
    ng_status s = found == SIZE_MAX ? ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path) : NG_OK;
    if (!s && found && r->duplicates == NG_DUPLICATES_REFUSE) s = refuse(d, keep, found, r, err);
    if (!s && found && r->duplicates == NG_DUPLICATES_DROP) s = check_leak(d, test, r, err);
    if (!s && r->duplicates == NG_DUPLICATES_DROP) ng_dataset_filter(d, keep);
    if (!s) *n += found;
    free(keep);
    return s;
}

ng_status ng_dataset_thin(ng_dataset *d, const ng_recipe *r, size_t *n, ng_error *err) {
    if (r->duplicates != NG_DUPLICATES_DROP || r->near <= 0) return NG_OK;
    bool *keep = malloc(d->len + 1);
    size_t found = keep ? ng_dataset_near(d, d, r->near, keep) : SIZE_MAX;
    if (found != SIZE_MAX && !drop_copies(d, keep)) found = SIZE_MAX;
    if (found != SIZE_MAX) {
        size_t before = d->len;
        ng_dataset_filter(d, keep);
        *n += before - d->len;
    }
    free(keep);
    return found == SIZE_MAX ? ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path) : NG_OK;
}
