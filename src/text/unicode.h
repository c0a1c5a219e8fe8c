/* unicode.h: what a code point is, fast: categories, lower case, letters without their accents.
 *
 *     uint32_t cp;
 *     size_t n = ng_utf8_decode(&cp, text + i, len - i);
 *     if (ng_unicode(cp) & NG_U_LETTER) ..
 *     cp = ng_unicode_lower(cp);                     U+00C9 -> U+00E9
 *     cp = ng_unicode_fold(cp);                      U+00C9 -> 'e'
 *
 * Any uint32_t may be asked about; beyond U+10FFFF nothing is set and nothing changes.  All calls
 * are thread-safe and cannot fail: tables are filled from utf8proc (Unicode 15) a block of 256 code
 * points at a time, on first use, in memory that is part of the program. */
#ifndef NG_TEXT_UNICODE_H
#define NG_TEXT_UNICODE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* General categories (and White_Space) as bits; a code point has at most one of L N P S M Z C. */
enum {
    NG_U_LETTER = 1,      /* \p{L} */
    NG_U_NUMBER = 2,      /* \p{N}: Nd, Nl, No */
    NG_U_PUNCT = 4,       /* \p{P} */
    NG_U_SYMBOL = 8,      /* \p{S} */
    NG_U_MARK = 16,       /* \p{M} */
    NG_U_NONSPACING = 32, /* Mn: combining accents */
    NG_U_SPACE = 64,      /* \s: the White_Space property (U+0009..0D, 20, 85, A0, 1680, ..) */
    NG_U_OTHER = 128,     /* \p{C}: controls, format, private use, surrogates, unassigned */
    NG_U_UPPER = 256,     /* Lu, Lt */
    NG_U_LOWER = 512,     /* Ll */
    NG_U_DIGIT = 1024,    /* Nd */
    NG_U_CJK = 2048,      /* an ideograph in BERT's ranges: a word of its own */
    NG_U_ASSIGNED = 4096,
};

enum {
    NG_UNICODE_BLOCKS = 0x1100,
    NG_UNICODE_NONE = 0,              /* ng_unicode_fold: nothing is left (an accent alone) */
    NG_UNICODE_SEVERAL = 0x7FFFFFFF,  /* ng_unicode_fold: ask ng_unicode_fold_all */
    NG_UNICODE_FOLD_MAX = 8,
};

/* Filled on demand; NULL until a block is first asked for. */
extern _Atomic(const uint16_t *) ng_unicode_flag_blocks[NG_UNICODE_BLOCKS];
extern _Atomic(const uint32_t *) ng_unicode_lower_blocks[NG_UNICODE_BLOCKS];
extern _Atomic(const uint32_t *) ng_unicode_fold_blocks[NG_UNICODE_BLOCKS];
const uint16_t *ng_unicode_fill_flags(uint32_t block);
const uint32_t *ng_unicode_fill_lower(uint32_t block);
const uint32_t *ng_unicode_fill_fold(uint32_t block);

/* The NG_U_ bits of cp. */
static inline uint32_t ng_unicode(uint32_t cp) {
    if (cp > 0x10FFFF) return 0;
    const uint16_t *b = atomic_load_explicit(&ng_unicode_flag_blocks[cp >> 8], memory_order_acquire);
    return (b ? b : ng_unicode_fill_flags(cp >> 8))[cp & 255];
}

/* The simple lower-case mapping; cp itself where there is none. */
static inline uint32_t ng_unicode_lower(uint32_t cp) {
    if (cp > 0x10FFFF) return cp;
    const uint32_t *b = atomic_load_explicit(&ng_unicode_lower_blocks[cp >> 8], memory_order_acquire);
    return (b ? b : ng_unicode_fill_lower(cp >> 8))[cp & 255];
}

/* BERT's folding of one code point: canonical decomposition (NFD) without nonspacing marks, then
 * lower case.  NG_UNICODE_NONE or NG_UNICODE_SEVERAL where the result is not one code point. */
static inline uint32_t ng_unicode_fold(uint32_t cp) {
    if (cp > 0x10FFFF) return cp;
    const uint32_t *b = atomic_load_explicit(&ng_unicode_fold_blocks[cp >> 8], memory_order_acquire);
    return (b ? b : ng_unicode_fill_fold(cp >> 8))[cp & 255];
}

/* The same in full; returns how many were written. */
size_t ng_unicode_fold_all(uint32_t cp, uint32_t out[NG_UNICODE_FOLD_MAX]);

#endif
