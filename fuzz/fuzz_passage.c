/* fuzz_passage.c: any bytes as a question (the first line) over a passage (the rest): words lie in the text, in order, in
 * their sentences; buckets and beliefs are in range; the chosen span lies in one sentence. */
#include "core/hash.h"
#include "model/finder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok) {
    if (!ok) abort();
}

static void check_words(const ng_passage *p, size_t len) {
    size_t at = 0;
    for (size_t i = 0; i < p->len; i++) {
        const ng_passage_word *w = &p->words[i];
        must(w->start >= at && w->start < w->end && w->end <= len && w->sentence < p->n_sentences);
        must(w->match >= -2 && w->match < p->question.n && w->left < p->question.n && w->right < p->question.n &&
             w->near <= 10);
        must(i >= p->sentences[w->sentence].first && i < p->sentences[w->sentence].end);
        at = w->end;
    }
}

static void check_beliefs(const ng_passage *p, size_t len) {
    ng_beliefs b;
    ng_found f;
    uint16_t buckets[NG_PASSAGE_FEATURES_MAX];
    must(ng_beliefs_init(&b, p->len) == NG_OK);
    for (size_t i = 0; i < p->len; i++) {
        size_t n = ng_passage_features(p, i, buckets);
        must(n > 0 && n <= NG_PASSAGE_FEATURES_MAX);
        for (size_t k = 0; k < n; k++) must(buckets[k] < NG_PASSAGE_BUCKETS);
        for (size_t k = 0; k < NG_FINDER_KINDS; k++)
            b.score[i][k] = (double)(ng_hash_mix(buckets[k + 3]) % 4001) / 100 - 20;
    }
    ng_beliefs_pass(&b, p);
    double starts = 0;
    for (size_t i = 0; i < p->len; i++)
        must(b.inside[i] >= 0 && b.inside[i] < 1 + 1e-6), starts += ng_beliefs_first(&b, i);
    must(!p->len || fabs(starts - 1) < 1e-6);
    ng_beliefs_choose(&b, p, &f);
    must(!p->len || (f.first <= f.last && f.last < p->len && f.end <= len &&
                     p->words[f.first].sentence == p->words[f.last].sentence));
    for (size_t k = 0; k < NG_FOUND_FACTS; k++) must(isfinite(f.facts[k]));
    ng_beliefs_clear(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static ng_rarity rarity;
    if (!rarity.of[0])
        for (size_t i = 0; i < NG_RARITY_BUCKETS; i++) rarity.of[i] = (uint8_t)(1 + i % 200);
    const char *text = (const char *)data, *nl = size ? memchr(text, '\n', size) : NULL;
    size_t n = nl ? (size_t)(nl - text) : 0, rest = nl ? n + 1 : 0;
    ng_passage *p;
    ng_error err = {0};
    must(ng_passage_new(&p, &rarity, text, n, text + rest, size - rest, &err) == NG_OK);
    check_words(p, size - rest);
    check_beliefs(p, size - rest);
    ng_passage_free(p);
    return 0;
}
