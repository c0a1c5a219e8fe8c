/* typos.c: see typos.h.  The four slips are the usual ones (Damerau 1964: four of five misspellings are one of them). */
#include "typos.h"

#include <string.h>

static const char *const beside[26] = {"qwsz",   "vghn", "xdfv",   "serfcx", "wsdr",   "drtgvc", "ftyhbv",
                                       "gyujnb", "ujko", "huikmn", "jiolm",  "kop",    "njk",    "bhjm",
                                       "iklp",   "ol",   "wa",     "edft",   "awedxz", "rfgy",   "yhji",
                                       "cfgb",   "qase", "zsdc",   "tghu",   "asx"};

static bool is_letter(char c) { return (unsigned char)((c | 32) - 'a') < 26; }

static char key_beside(char c, ng_rng *rng) {
    const char *keys = beside[(c | 32) - 'a'];
    char k = keys[ng_rng_below(rng, (uint32_t)strlen(keys))];
    return c & 32 ? k : (char)(k & ~32);
}

/* A letter of the word, which has n of them. */
static size_t letter_at(const char *word, size_t len, uint32_t n) {
    for (size_t i = 0; i < len; i++)
        if (is_letter(word[i]) && !n--) return i;
    return len;
}

static void put_slip(ng_buf *out, const char *word, size_t len, uint32_t n_letters, ng_rng *rng) {
    size_t i = letter_at(word, len, ng_rng_below(rng, n_letters));
    uint32_t kind = ng_rng_below(rng, 4);
    bool swaps = i + 1 < len && is_letter(word[i + 1]);
    if ((kind == 0 && n_letters < 2) || (kind == 2 && !swaps)) kind = 3;
    ng_buf_put(out, word, i);
    if (kind == 1) ng_buf_putc(out, word[i]), ng_buf_putc(out, word[i]);
    if (kind == 2) ng_buf_putc(out, word[i + 1]), ng_buf_putc(out, word[i]), i++;
    if (kind == 3) ng_buf_putc(out, key_beside(word[i], rng));
    ng_buf_put(out, word + i + 1, len - i - 1);
}

void ng_typos_put(ng_buf *out, const char *text, size_t len, double share, ng_rng *rng) {
    for (size_t i = 0, end; i < len; i = end) {
        uint32_t letters = 0;
        for (end = i; end < len && text[end] != ' '; end++) letters += is_letter(text[end]);
        if (letters && ng_rng_unit(rng) < share) put_slip(out, text + i, end - i, letters, rng);
        else ng_buf_put(out, text + i, end - i);
        for (; end < len && text[end] == ' '; end++) ng_buf_putc(out, ' ');
    }
}
