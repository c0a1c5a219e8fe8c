/* kept.c: a sentence and its shortened form, word by word.  See kept.h.
 *
 * best[i][j]: the longest common subsequence of the words from i on and the brief's from j on; the way through it from
 * the beginning takes a match as soon as it loses nothing. */
#include "kept.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <strings.h>

typedef struct words {
    struct word {
        const char *at;
        size_t len;
    } items[NG_KEPT_WORDS_MAX];
    size_t n;
} words;

/* Letters beyond ASCII are never punctuation here: their bytes are not. */
static bool at_end(char c) { return ispunct((unsigned char)c) && c != '$' && c != '%'; }

static bool split(words *w, const char *text, size_t len) {
    w->n = 0;
    for (size_t i = 0, k; i < len; i += k + 1) {
        const char *at = text + i;
        for (k = 0; i + k < len && at[k] != ' ';) k++;
        if (w->n == NG_KEPT_WORDS_MAX) return false;
        size_t end = k, from = 0;
        while (end && at_end(at[end - 1])) end--;
        while (from < end && at_end(at[from])) from++;
        w->items[w->n++] = (struct word){at + from, end - from};
    }
    return true;
}

static bool same(const struct word *a, const struct word *b) {
    return a->len && a->len == b->len && !strncasecmp(a->at, b->at, a->len);
}

static bool *mark(const words *a, const words *b) {
    size_t stride = b->n + 1;
    uint16_t *best = calloc((a->n + 1) * stride, sizeof *best);
    bool *kept = calloc(a->n + 1, sizeof *kept);
    if (!best || !kept) {
        free(best);
        free(kept);
        return NULL;
    }
    for (size_t i = a->n; i-- > 0;)
        for (size_t j = b->n; j-- > 0;) {
            uint16_t down = best[(i + 1) * stride + j], right = best[i * stride + j + 1],
                     most = down > right ? down : right;
            uint16_t both = (uint16_t)(best[(i + 1) * stride + j + 1] + 1);
            best[i * stride + j] = same(&a->items[i], &b->items[j]) && both > most ? both : most;
        }
    for (size_t i = 0, j = 0; i < a->n && j < b->n;) {
        if (same(&a->items[i], &b->items[j]) && best[i * stride + j] == best[(i + 1) * stride + j + 1] + 1)
            kept[i++] = true, j++;
        else if (best[i * stride + j + 1] == best[i * stride + j]) j++;
        else i++;
    }
    free(best);
    return kept;
}

bool *ng_words_kept(const char *text, size_t len, const char *brief, size_t brief_len, size_t *n) {
    words *w = malloc(2 * sizeof *w);
    bool *kept = w && split(&w[0], text, len) && split(&w[1], brief, brief_len) ? mark(&w[0], &w[1]) : NULL;
    *n = kept ? w[0].n : 0;
    free(w);
    return kept;
}
