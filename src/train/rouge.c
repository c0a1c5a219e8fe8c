/* rouge.c: overlap of n-grams as multisets, and the longest common subsequence of words.  See rouge.h.
 *
 * Words and pairs are compared by 64-bit hash: a collision is less likely than a bad disk. */
#include "rouge.h"

#include "core/hash.h"
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 4096, WORD_BYTES_MAX = 64 };

static size_t words(uint64_t *out, const char *s, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len && n < WORDS_MAX;) {
        char word[WORD_BYTES_MAX];
        size_t k = 0, start = i;
        for (; i < len; i++) {
            unsigned c = (unsigned char)s[i], low = c | 32u;
            if (c - '0' >= 10u && low - 'a' >= 26u) break;
            if (k < sizeof word) word[k++] = (char)(c - '0' < 10u ? c : low);
        }
        if (i > start) out[n++] = ng_hash64(word, k, 0);
        else i++;
    }
    return n;
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static double f1(double common, size_t n, size_t m) { return common > 0 ? 2 * common / (double)(n + m) : 0; }

/* a[n] and b[m] are overwritten by their n-grams, sorted. */
static double overlap(uint64_t *a, size_t n, uint64_t *b, size_t m) {
    qsort(a, n, sizeof *a, compare);
    qsort(b, m, sizeof *b, compare);
    size_t common = 0;
    for (size_t i = 0, k = 0; i < n && k < m;) {
        if (a[i] < b[k]) i++;
        else if (a[i] > b[k]) k++;
        else common++, i++, k++;
    }
    return f1((double)common, n, m);
}

static size_t pairs(uint64_t *out, const uint64_t *w, size_t n) {
    for (size_t i = 0; i + 1 < n; i++) out[i] = ng_hash_mix(w[i] ^ ng_hash_mix(w[i + 1] + 1));
    return n ? n - 1 : 0;
}

static double longest(const uint64_t *a, size_t n, const uint64_t *b, size_t m, uint32_t *row) {
    memset(row, 0, (m + 1) * sizeof *row);
    for (size_t i = 0; i < n; i++) {
        uint32_t diagonal = 0;
        for (size_t k = 0; k < m; k++) {
            uint32_t up = row[k + 1];
            row[k + 1] = a[i] == b[k] ? diagonal + 1 : up > row[k] ? up : row[k];
            diagonal = up;
        }
    }
    return f1(row[m], n, m);
}

ng_status ng_rouge(double out[NG_ROUGE_KINDS], const char *candidate, size_t len, const char *reference,
                   size_t ref_len) {
    uint64_t *memory = malloc(4 * WORDS_MAX * sizeof *memory + (WORDS_MAX + 1) * sizeof(uint32_t));
    if (!memory) return NG_ENOMEM;
    uint64_t *a = memory, *b = a + WORDS_MAX, *x = b + WORDS_MAX, *y = x + WORDS_MAX;
    uint32_t *row = (uint32_t *)(y + WORDS_MAX);
    size_t n = words(a, candidate, len), m = words(b, reference, ref_len);
    out[NG_ROUGE_L] = longest(a, n, b, m, row);
    size_t n2 = pairs(x, a, n), m2 = pairs(y, b, m);
    out[NG_ROUGE_2] = overlap(x, n2, y, m2);
    out[NG_ROUGE_1] = overlap(a, n, b, m);
    free(memory);
    return NG_OK;
}
