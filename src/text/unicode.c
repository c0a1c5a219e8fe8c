/* unicode.c: lazy tables over utf8proc.  See unicode.h.
 *
 * Calling utf8proc for each code point costs two dependent look-ups and a call into a shared
 * library; a scanner asks about every one, often several times.  So the answers stand in flat blocks
 * of 256.  A block is filled under one mutex when it is first asked for and published with a release
 * store: readers pay an acquire load, which is a plain load on x86-64, and a process that only ever
 * sees ASCII touches one block.  The pools are zero-initialised static memory, so pages of blocks
 * that nobody asks for do not exist and nothing here can run out of memory. */
#include "unicode.h"

#include <pthread.h>
#include <utf8proc.h>

_Atomic(const uint16_t *) ng_unicode_flag_blocks[NG_UNICODE_BLOCKS];
_Atomic(const uint32_t *) ng_unicode_lower_blocks[NG_UNICODE_BLOCKS];
_Atomic(const uint32_t *) ng_unicode_fold_blocks[NG_UNICODE_BLOCKS];

/* Written under `lock`, read through the published pointers only. */
static uint16_t flag_pool[NG_UNICODE_BLOCKS][256];
static uint32_t lower_pool[NG_UNICODE_BLOCKS][256], fold_pool[NG_UNICODE_BLOCKS][256];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint32_t category_flags(utf8proc_category_t c) {
    static const uint16_t flags[] = {
        [UTF8PROC_CATEGORY_CN] = NG_U_OTHER,
        [UTF8PROC_CATEGORY_LU] = NG_U_LETTER | NG_U_UPPER,
        [UTF8PROC_CATEGORY_LL] = NG_U_LETTER | NG_U_LOWER,
        [UTF8PROC_CATEGORY_LT] = NG_U_LETTER | NG_U_UPPER,
        [UTF8PROC_CATEGORY_LM] = NG_U_LETTER,
        [UTF8PROC_CATEGORY_LO] = NG_U_LETTER,
        [UTF8PROC_CATEGORY_MN] = NG_U_MARK | NG_U_NONSPACING,
        [UTF8PROC_CATEGORY_MC] = NG_U_MARK,
        [UTF8PROC_CATEGORY_ME] = NG_U_MARK,
        [UTF8PROC_CATEGORY_ND] = NG_U_NUMBER | NG_U_DIGIT,
        [UTF8PROC_CATEGORY_NL] = NG_U_NUMBER,
        [UTF8PROC_CATEGORY_NO] = NG_U_NUMBER,
        [UTF8PROC_CATEGORY_PC] = NG_U_PUNCT,
        [UTF8PROC_CATEGORY_PD] = NG_U_PUNCT,
        [UTF8PROC_CATEGORY_PS] = NG_U_PUNCT,
        [UTF8PROC_CATEGORY_PE] = NG_U_PUNCT,
        [UTF8PROC_CATEGORY_PI] = NG_U_PUNCT,
        [UTF8PROC_CATEGORY_PF] = NG_U_PUNCT,
        [UTF8PROC_CATEGORY_PO] = NG_U_PUNCT,
        [UTF8PROC_CATEGORY_SM] = NG_U_SYMBOL,
        [UTF8PROC_CATEGORY_SC] = NG_U_SYMBOL,
        [UTF8PROC_CATEGORY_SK] = NG_U_SYMBOL,
        [UTF8PROC_CATEGORY_SO] = NG_U_SYMBOL,
        [UTF8PROC_CATEGORY_ZS] = 0, /* White_Space decides */
        [UTF8PROC_CATEGORY_ZL] = 0,
        [UTF8PROC_CATEGORY_ZP] = 0,
        [UTF8PROC_CATEGORY_CC] = NG_U_OTHER,
        [UTF8PROC_CATEGORY_CF] = NG_U_OTHER,
        [UTF8PROC_CATEGORY_CS] = NG_U_OTHER,
        [UTF8PROC_CATEGORY_CO] = NG_U_OTHER,
    };
    return flags[c] | (c ? NG_U_ASSIGNED : 0);
}

static int is_white_space(uint32_t cp) {
    return (cp >= 9 && cp <= 13) || cp == 0x20 || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F ||
           cp == 0x205F || cp == 0x3000;
}

/* The ranges of BERT's tokenization.py: they are older than Unicode's Han extensions G and H. */
static int is_cjk(uint32_t cp) {
    return (cp >= 0x4E00 && cp <= 0x9FFF) || (cp >= 0x3400 && cp <= 0x4DBF) ||
           (cp >= 0x20000 && cp <= 0x2A6DF) || (cp >= 0x2A700 && cp <= 0x2B73F) ||
           (cp >= 0x2B740 && cp <= 0x2B81F) || (cp >= 0x2B820 && cp <= 0x2CEAF) ||
           (cp >= 0xF900 && cp <= 0xFAFF) || (cp >= 0x2F800 && cp <= 0x2FA1F);
}

const uint16_t *ng_unicode_fill_flags(uint32_t block) {
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t cp = block << 8 | i;
        flag_pool[block][i] = (uint16_t)(category_flags(utf8proc_category((utf8proc_int32_t)cp)) |
                                         (is_white_space(cp) ? NG_U_SPACE : 0) |
                                         (is_cjk(cp) ? NG_U_CJK : 0));
    }
    atomic_store_explicit(&ng_unicode_flag_blocks[block], flag_pool[block], memory_order_release);
    pthread_mutex_unlock(&lock);
    return flag_pool[block];
}

const uint32_t *ng_unicode_fill_lower(uint32_t block) {
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < 256; i++)
        lower_pool[block][i] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)(block << 8 | i));
    atomic_store_explicit(&ng_unicode_lower_blocks[block], lower_pool[block], memory_order_release);
    pthread_mutex_unlock(&lock);
    return lower_pool[block];
}

size_t ng_unicode_fold_all(uint32_t cp, uint32_t out[NG_UNICODE_FOLD_MAX]) {
    utf8proc_int32_t parts[NG_UNICODE_FOLD_MAX];
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)cp, parts, NG_UNICODE_FOLD_MAX,
                                                 UTF8PROC_DECOMPOSE, &boundary);
    /* A surrogate or a longer decomposition (Unicode 15 has none above 4) stays as it is. */
    if (n < 0 || n > NG_UNICODE_FOLD_MAX) return out[0] = cp, 1;
    size_t kept = 0;
    for (utf8proc_ssize_t i = 0; i < n; i++)
        if (utf8proc_category(parts[i]) != UTF8PROC_CATEGORY_MN)
            out[kept++] = (uint32_t)utf8proc_tolower(parts[i]);
    return kept;
}

const uint32_t *ng_unicode_fill_fold(uint32_t block) {
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t out[NG_UNICODE_FOLD_MAX];
        size_t n = ng_unicode_fold_all(block << 8 | i, out);
        fold_pool[block][i] = n == 0 ? NG_UNICODE_NONE : n == 1 ? out[0] : NG_UNICODE_SEVERAL;
    }
    atomic_store_explicit(&ng_unicode_fold_blocks[block], fold_pool[block], memory_order_release);
    pthread_mutex_unlock(&lock);
    return fold_pool[block];
}
