/* wordpiece.c: see wordpiece.h.
 *
 * One pass: normalised bytes gather in `word` until something ends it.  ASCII goes through a table of
 * 128 bytes that says in one look-up whether a byte is dropped, ends the word, stands alone or is
 * kept, and as what.  A word that is a token as a whole, as most are, costs one hash and one probe.
 *
 * Where the reference implementations differ, Hugging Face's is followed: U+000B, U+000C and U+0085
 * are dropped as controls, Hangul is decomposed, and the range of ideographs has a gap that BERT's
 * own does not have (0x2B820..0x2B91F). */
#include "wordpiece.h"

#include "core/utf8.h"
#include "text/unicode.h"

enum { CHARS_MAX = 100, WORD_BYTES_MAX = 4 * CHARS_MAX };

typedef struct word {
    char bytes[WORD_BYTES_MAX];
    size_t len, n_chars; /* n_chars goes on counting when there is no room */
} word;

/* [0..127]: DROP, SPACE, ALONE or KEEP. */
enum { KEEP, SPACE, ALONE, DROP };
#define PUNCT4 ALONE, ALONE, ALONE, ALONE
static const uint8_t ascii[128] = {
    DROP, DROP, DROP, DROP, DROP, DROP, DROP, DROP, DROP, SPACE, SPACE, DROP, DROP, SPACE, DROP, DROP,
    DROP, DROP, DROP, DROP, DROP, DROP, DROP, DROP, DROP, DROP, DROP, DROP, DROP, DROP, DROP, DROP,
    SPACE, ALONE, ALONE, ALONE, PUNCT4, PUNCT4, PUNCT4,
    KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, ALONE, ALONE, PUNCT4,
    ALONE, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP,
    KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, ALONE, ALONE, ALONE, ALONE, ALONE,
    ALONE, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP,
    KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, ALONE, ALONE, ALONE, ALONE, DROP};

/* The longest piece of `t` at s[0..n), or -1. */
static int32_t longest(const ng_token_table *t, size_t t_longest, const char *s, size_t n, size_t *used) {
    for (size_t k = n < t_longest ? n : t_longest; k > 0; k--) {
        int32_t id = ng_token_table_get(t, s, k);
        if (id >= 0) return *used = k, id;
    }
    return -1;
}

/* The word's ids; there is room for as many as it has bytes. */
static size_t encode_word(const ng_wordpiece *w, const char *s, size_t n, int32_t *out) {
    size_t used = 0, k = 0;
    out[0] = ng_token_table_get(&w->words, s, n);
    if (out[0] >= 0) return 1;
    out[0] = longest(&w->words, w->words_longest, s, n, &used);
    while (out[k] >= 0) {
        s += used;
        n -= used;
        k++;
        if (!n) return k;
        out[k] = longest(&w->tails, w->tails_longest, s, n, &used);
    }
    out[0] = w->unk;
    return 1;
}

static ng_status flush(const ng_wordpiece *w, word *b, ng_ids *ids) {
    if (!b->n_chars) return NG_OK;
    if (ng_ids_reserve(ids, b->len + 1)) return NG_ENOMEM;
    if (b->n_chars > CHARS_MAX) ids->data[ids->len++] = w->unk;
    else ids->len += encode_word(w, b->bytes, b->len, ids->data + ids->len);
    b->len = b->n_chars = 0;
    return NG_OK;
}

static void append(word *b, uint32_t cp) {
    if (b->n_chars++ < CHARS_MAX) b->len += ng_utf8_encode(b->bytes + b->len, cp);
}

static ng_status append_alone(const ng_wordpiece *w, word *b, uint32_t cp, ng_ids *ids) {
    if (flush(w, b, ids)) return NG_ENOMEM;
    append(b, cp);
    return flush(w, b, ids);
}

static bool is_punct(uint32_t cp) { return cp < 128 ? ascii[cp] == ALONE : (ng_unicode(cp) & NG_U_PUNCT) != 0; }

/* One character beyond ASCII: dropped, a space, a word of its own, or folded into the word. */
static ng_status put_wide(const ng_wordpiece *w, word *b, uint32_t cp, ng_ids *ids) {
    uint32_t f = ng_unicode(cp), one, several[NG_UNICODE_FOLD_MAX], *folded = &one;
    size_t n = 1;
    if (cp == NG_UTF8_REPLACEMENT || (f & (NG_U_OTHER | NG_U_ASSIGNED)) == (NG_U_OTHER | NG_U_ASSIGNED))
        return NG_OK;
    if (f & NG_U_SPACE) return flush(w, b, ids);
    one = !w->strip ? (w->lower ? ng_unicode_lower(cp) : cp) : ng_unicode_fold(cp);
    if (one == NG_UNICODE_NONE && w->strip) return NG_OK;
    if (one == NG_UNICODE_SEVERAL) n = ng_unicode_fold_all(cp, folded = several);
    bool ideograph = f & NG_U_CJK && !(cp >= 0x2B820 && cp < 0x2B920);
    if (ideograph && flush(w, b, ids)) return NG_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (!is_punct(folded[i])) append(b, folded[i]);
        else if (append_alone(w, b, folded[i], ids)) return NG_ENOMEM;
    }
    return ideograph ? flush(w, b, ids) : NG_OK;
}

ng_status ng_wordpiece_encode(const ng_wordpiece *w, const char *text, size_t len, ng_ids *ids, ng_error *err) {
    word b;
    ng_status s = NG_OK;
    b.len = b.n_chars = 0;
    char fold = w->lower ? 32 : 0;
    for (size_t i = 0, n; i < len && !s; i += n) {
        unsigned char c = (unsigned char)text[i];
        n = 1;
        if (c >= 0x80) {
            uint32_t cp;
            n = ng_utf8_decode(&cp, text + i, len - i);
            s = put_wide(w, &b, cp, ids);
        } else if (ascii[c] == KEEP) {
            if (b.n_chars++ < CHARS_MAX) b.bytes[b.len++] = (char)(c >= 'A' && c <= 'Z' ? c | fold : c);
        } else if (ascii[c] == SPACE) {
            s = flush(w, &b, ids);
        } else if (ascii[c] == ALONE) {
            s = append_alone(w, &b, c, ids);
        }
    }
    if (!s) s = flush(w, &b, ids);
    return s ? ng_fail(err, s, "tokenizer: %zu ids", ids->len) : NG_OK;
}
