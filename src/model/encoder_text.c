/* encoder_text.c: see encoder_text.h.
 *
 * A WordPiece vocabulary is a list of words in the order of their frequency, so the place in it says what a word costs (Zipf: the
 * r-th word has a frequency of about 1 / (12 r)).  Forms with the usual endings of a word that it has are words too. */
#include "encoder_text.h"

#include "text/evasion.h"
#include "tokenizer/vocab.h"
#include <string.h>

enum { ZIPF = 28, ENDING = 24, STEM_MIN = 3 }; /* eighths of a bit; letters */

/* Eight times the logarithm of the place. */
static uint32_t cost_of(int32_t id) {
    uint32_t r = (uint32_t)id + 1, bits = 31 - (uint32_t)__builtin_clz(r);
    return ZIPF + 8 * bits + (uint32_t)((uint64_t)r * 8 >> bits & 7);
}

static uint32_t word_cost(const void *self, const char *word, size_t len) {
    static const char *const endings[] = {"s", "es", "d", "ed", "ing", "er", "ly"};
    const ng_tokenizer *t = self;
    int32_t id = ng_wordpiece_word(t, word, len);
    if (id >= 0) return cost_of(id);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t n = strlen(endings[i]);
        if (len < STEM_MIN + n || memcmp(word + len - n, endings[i], n) != 0) continue;
        if ((id = ng_wordpiece_word(t, word, len - n)) >= 0) return cost_of(id) + ENDING;
    }
    return 0;
}

bool ng_encoder_text(ng_buf *out, const ng_encoder_head *h, const ng_tokenizer *t, const char *text, size_t len) {
    if (!h->each || t->kind != NG_TOKENIZER_WORDPIECE) return false;
    return ng_text_unspoil(out, text, len, &(ng_lexicon){word_cost, t});
}
