/* pretok.c: see pretok.h.  Two families of patterns, as published with the models:
 *
 * GPT-2 (Radford et al. 2019, encoder.py):
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * and its variants that first cut the text at every \p{N}, so that the pattern sees an end of text
 * before each digit (smollm, starcoder, refact, command-r);
 *
 * Llama 3 (Dubey et al. 2024, the cl100k pattern):
 *     (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*
 *     |\s*[\r\n]+|\s+(?!\S)|\s+
 * and Qwen 2, where a number is one digit.
 *
 * A scanner tries the alternatives in the order written and each takes as much as it can; the only
 * backtracking is in runs of white space, whose outcome is known once the run has been read. */
#include "pretok.h"

#include "core/utf8.h"
#include "text/unicode.h"

#include <string.h>

enum { STYLE_GPT2, STYLE_GPT2_DIGITS, STYLE_LLAMA3 };

static const ng_pretok pretoks[] = {
    {"gpt-2", STYLE_GPT2, 0, false, false},
    {"smollm", STYLE_GPT2_DIGITS, 1, false, false},
    {"llama-bpe", STYLE_LLAMA3, 3, true, true},
    {"llama3", STYLE_LLAMA3, 3, true, true},
    {"llama-v3", STYLE_LLAMA3, 3, true, true},
    {"dbrx", STYLE_LLAMA3, 3, false, false},
    {"qwen2", STYLE_LLAMA3, 1, false, false},
    {"starcoder", STYLE_GPT2_DIGITS, 1, false, false},
    {"refact", STYLE_GPT2_DIGITS, 1, false, false},
    {"command-r", STYLE_GPT2_DIGITS, 1, false, false},
    {"modern-bert", STYLE_GPT2, 0, false, false},
    {"mpt", STYLE_GPT2, 0, false, false},
};

const ng_pretok *ng_pretok_find(const char *name, size_t len) {
    for (size_t i = 0; i < sizeof pretoks / sizeof *pretoks; i++)
        if (strlen(pretoks[i].name) == len && !memcmp(pretoks[i].name, name, len)) return &pretoks[i];
    return NULL;
}

const char *ng_pretok_names(void) {
    return "gpt-2, smollm, llama-bpe, dbrx, qwen2, starcoder, refact, command-r, modern-bert, mpt";
}

/* What the patterns distinguish. */
enum { L = 1, N = 2, S = 4, X = 8 }; /* letter, number, white space, anything else */

static const uint8_t ascii[128] = {
    X, X, X, X, X, X, X, X, X, S, S, S, S, S, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
    S, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, N, N, N, N, N, N, N, N, N, N, X, X, X, X, X, X,
    X, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, X, X, X, X, X,
    X, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, X, X, X, X, X,
};

/* The class of the character at i, and its length; 0 at the end. */
static inline uint32_t class_at(const char *s, size_t len, size_t i, size_t *n) {
    if (i >= len) return *n = 0, 0;
    unsigned char c = (unsigned char)s[i];
    if (c < 0x80) return *n = 1, ascii[c];
    uint32_t cp;
    *n = ng_utf8_decode(&cp, s + i, len - i);
    uint32_t f = ng_unicode(cp);
    return f & NG_U_LETTER ? L : f & NG_U_NUMBER ? N : f & NG_U_SPACE ? S : X;
}

static inline size_t run_of(const char *s, size_t len, size_t i, uint32_t want) {
    size_t n;
    while (class_at(s, len, i, &n) & want) i += n;
    return i;
}

/* The length of 's 't 're 've 'm 'll 'd at i (an apostrophe), or 0.  Case is `fold`ed with 32. */
static size_t contraction(const char *s, size_t len, size_t i, int fold) {
    int a = i + 1 < len ? s[i + 1] | fold : 0, b = i + 2 < len ? s[i + 2] | fold : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* \s+(?!\S)|\s+ for the white space [i, end): all of it at the end of the text, else all but its last
 * character, which the next piece takes (or which is a piece itself when it is the only one). */
static size_t space_end(const char *s, size_t i, size_t end, bool at_text_end) {
    if (at_text_end) return end;
    size_t last = end - 1;
    while (last > i && ((unsigned char)s[last] & 0xC0) == 0x80) last--;
    return last > i ? last : end;
}

static size_t next_gpt2(const char *s, size_t len, size_t i, bool cut_digits) {
    size_t n, k, skip;
    uint32_t c = class_at(s, len, i, &n);
    if (cut_digits && c == N) return i + n;
    if (s[i] == '\'' && (skip = contraction(s, len, i, 0))) return i + skip;
    if (s[i] == ' ') {
        size_t j = i + 1;
        uint32_t d = class_at(s, len, j, &n);
        if (d && d != S && !(cut_digits && d == N)) return run_of(s, len, j + n, d);
    } else if (c != S) {
        return run_of(s, len, i + n, c);
    }
    k = run_of(s, len, i, S);
    return space_end(s, i, k, k >= len || (cut_digits && class_at(s, len, k, &n) == N));
}

static size_t next_llama3(const char *s, size_t len, size_t i, uint32_t digits_max) {
    size_t n, m, skip;
    uint32_t c = class_at(s, len, i, &n), d;
    if (c == L) return run_of(s, len, i + n, L);
    if (c == N) {
        for (uint32_t digits = 0; digits < digits_max && class_at(s, len, i, &n) == N; digits++) i += n;
        return i;
    }
    if (s[i] == '\'' && (skip = contraction(s, len, i, 32))) return i + skip;
    d = class_at(s, len, i + n, &m);
    if (d == L && s[i] != '\r' && s[i] != '\n') return run_of(s, len, i + n + m, L);
    size_t k = c == X ? i + n : s[i] == ' ' && d == X ? i + 1 + m : 0;
    if (k) {
        k = run_of(s, len, k, X);
        while (k < len && (s[k] == '\r' || s[k] == '\n')) k++;
        return k;
    }
    k = run_of(s, len, i, S);
    for (size_t e = k; e > i; e--) /* \s*[\r\n]+ ends behind the run's last line break */
        if (s[e - 1] == '\r' || s[e - 1] == '\n') return e;
    return space_end(s, i, k, k >= len);
}

size_t ng_pretok_next(const ng_pretok *p, const char *text, size_t len, size_t i) {
    return p->style == STYLE_LLAMA3 ? next_llama3(text, len, i, p->digits_max)
                                    : next_gpt2(text, len, i, p->style == STYLE_GPT2_DIGITS);
}
