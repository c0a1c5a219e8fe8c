/* train_spelling.c: counts words and pairs of words into a list for model/spelling.h.
 *
 * Two passes over the training texts: which words are frequent enough, then which of these follow each other.  Words are
 * integers, so counting is sorting.  The most frequent pairs are placed first; one that finds its bucket full is left out. */
#include "train_spelling.h"

#include "core/file.h"
#include "core/math.h"
#include "gguf/gguf.h"
#include "model/spelling.h"
#include "train/data.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAIR_MIN = 2 };

typedef struct counted {
    uint64_t first, second; /* second 0: a single word */
    uint32_t n;
} counted;

typedef struct counts {
    counted *items;
    size_t len, cap;
} counts;

static bool put(counts *c, uint64_t first, uint64_t second) {
    if (c->len == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 1 << 16;
        counted *items = realloc(c->items, cap * sizeof *items);
        if (!items) return false;
        c->items = items;
        c->cap = cap;
    }
    c->items[c->len++] = (counted){first, second, 1};
    return true;
}

static int by_words(const void *a, const void *b) {
    const counted *x = a, *y = b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x->second < y->second ? -1 : x->second > y->second;
}

static int by_count(const void *a, const void *b) {
    const counted *x = a, *y = b;
    if (x->n != y->n) return x->n > y->n ? -1 : 1;
    return by_words(a, b);
}

/* Equal ones become one with their number; those with fewer than `min` go. */
static void sum_up(counts *c, uint32_t min) {
    size_t out = 0;
    qsort(c->items, c->len, sizeof *c->items, by_words);
    for (size_t i = 0, end; i < c->len; i = end) {
        for (end = i + 1; end < c->len && by_words(&c->items[i], &c->items[end]) == 0;) end++;
        counted one = c->items[i];
        one.n = (uint32_t)(end - i);
        if (one.n >= min) c->items[out++] = one;
    }
    c->len = out;
}

static bool count_words(counts *words, const ng_dataset *d) {
    ng_spelling_word w;
    for (size_t i = 0; i < d->len; i++)
        for (size_t at = 0; ng_spelling_next(&w, d->items[i].text, d->items[i].len, &at);)
            if (w.key != NG_SPELLING_OTHER && !put(words, w.key, 0)) return false;
    return true;
}

static bool is_listed(const counts *words, uint64_t key) {
    const counted wanted = {.first = key};
    return key >= NG_SPELLING_EDGE || bsearch(&wanted, words->items, words->len, sizeof wanted, by_words) != NULL;
}

static bool count_pairs(counts *pairs, const counts *words, const ng_dataset *d) {
    ng_spelling_word w;
    for (size_t i = 0; i < d->len; i++) {
        uint64_t before = NG_SPELLING_EDGE;
        size_t at = 0;
        for (bool more = true; more;) {
            more = ng_spelling_next(&w, d->items[i].text, d->items[i].len, &at);
            uint64_t key = more ? w.key : NG_SPELLING_EDGE;
            if (is_listed(words, before) && is_listed(words, key) && !put(pairs, before, key)) return false;
            before = key;
        }
    }
    return true;
}

static unsigned log2_of(uint32_t n) { return 31u - (unsigned)__builtin_clz(n); }

static void place_pairs(uint16_t *slots, size_t n_slots, const counts *pairs) {
    for (size_t i = 0; i < pairs->len; i++) {
        const counted *p = &pairs->items[i];
        ng_spelling_pair at = ng_spelling_pair_of(p->first, p->second, n_slots);
        uint16_t *bucket = slots + at.bucket * NG_SPELLING_PAIR_SLOTS;
        unsigned level = 1 + log2_of(p->n);
        for (size_t k = 0; k < NG_SPELLING_PAIR_SLOTS; k++) {
            if ((bucket[k] & 0xFFF0) == at.tag) break; /* a more frequent pair looks the same */
            if (bucket[k]) continue;
            bucket[k] = (uint16_t)(at.tag | (level < 15 ? level : 15));
            break;
        }
    }
}

static ng_status write_list(const ng_recipe *r, const counts *words, const counts *pairs, const char *path,
                            ng_error *err) {
    uint64_t n_words = words->len, n_slots = (uint64_t)1 << r->features.bits;
    uint64_t *keys = malloc(n_words * sizeof *keys);
    uint8_t *codes = malloc(n_words);
    uint16_t *slots = calloc(n_slots, sizeof *slots);
    ng_gguf_writer *w = NULL;
    ng_status s = NG_ENOMEM;
    if (keys && codes && slots && !ng_gguf_writer_new(&w)) {
        for (size_t i = 0; i < n_words; i++) {
            double code = 8 * ng_log((double)words->items[i].n) / 0.69314718055994531;
            keys[i] = words->items[i].first;
            codes[i] = (uint8_t)(code < 255 ? code + 0.5 : 255);
        }
        place_pairs(slots, n_slots, pairs);
        ng_gguf_put_str(w, "general.architecture", "nanogrid-spelling");
        ng_gguf_put_str(w, "general.name", r->about.name);
        if (r->about.description) ng_gguf_put_str(w, "general.description", r->about.description);
        if (r->about.licence) ng_gguf_put_str(w, "general.license", r->about.licence);
        ng_gguf_put_u32(w, "nanogrid.spelling.version", 1);
        ng_gguf_put_tensor(w, "spelling.words", NG_TYPE_I64, 1, &n_words, keys);
        ng_gguf_put_tensor(w, "spelling.counts", NG_TYPE_I8, 1, &n_words, codes);
        ng_gguf_put_tensor(w, "spelling.pairs", NG_TYPE_I16, 1, &n_slots, slots);
        s = ng_gguf_writer_commit(w, path, err);
    } else {
        (void)ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
    }
    free(keys);
    free(codes);
    free(slots);
    return s;
}

static ng_status learn(ng_train_result *out, const ng_recipe *r, const ng_dataset *d, counts *words, counts *pairs,
                       ng_error *err) {
    if (!count_words(words, d)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
    sum_up(words, (uint32_t)r->features.min_count);
    out->n_features = words->len;
    if (words->len > (size_t)r->features.rows) {
        qsort(words->items, words->len, sizeof *words->items, by_count);
        words->len = (size_t)r->features.rows;
        qsort(words->items, words->len, sizeof *words->items, by_words);
    }
    if (!words->len)
        return ng_fail(err, NG_EFORMAT, "%s: no word stands %lld times in the training texts", r->path,
                       (long long)r->features.min_count);
    if (!count_pairs(pairs, words, d)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
    sum_up(pairs, PAIR_MIN);
    qsort(pairs->items, pairs->len, sizeof *pairs->items, by_count);
    out->n_train = d->len;
    out->n_rows = words->len;
    return NG_OK;
}

ng_status ng_train_spelling(ng_train_result *out, const ng_recipe *r, const char *dir, ng_arena *arena, ng_error *err) {
    ng_dataset d = {0};
    counts words = {0}, pairs = {0};
    ng_spelling *check;
    if (r->features.bits < 6) return ng_fail(err, NG_EINVALID, "%s: features.bits: a list needs at least 6", r->path);
    const char *path = ng_recipe_path(r, dir, "model", arena);
    char *folder = path ? ng_arena_strndup(arena, path, (size_t)(strrchr(path, '/') - path)) : NULL;
    if (!folder) return ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
    ng_status s = ng_dataset_read(&d, &r->data.train, NULL, r, err);
    if (!s) s = learn(out, r, &d, &words, &pairs, err);
    if (!s) s = ng_dir_make(folder, err);
    if (!s) s = write_list(r, &words, &pairs, path, err);
    if (!s && !(s = ng_spelling_open(&check, path, err))) {
        out->model_bytes = ng_spelling_file_bytes(check);
        ng_spelling_close(check);
        snprintf(out->model_path, sizeof out->model_path, "%s", path);
    }
    free(words.items);
    free(pairs.items);
    ng_dataset_clear(&d);
    return s;
}
