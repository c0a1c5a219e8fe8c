/* detokenize.c: ids back to text, whole and as a stream.  See nanogrid/tokenizer.h.
 *
 * Byte-level pieces are bytes, so a whole text comes back exactly, whatever it was; a stream must be
 * UTF-8 at every step, so it holds back an unfinished character and writes U+FFFD for what can no
 * longer become one.  WordPiece has forgotten its spaces: one goes before each word but the first,
 * and none before , . ! ? (what Hugging Face's decoder does). */
#include "vocab.h"

#include "core/utf8.h"

#include <string.h>

const char *ng_tokenizer_piece(const ng_tokenizer *t, int32_t id, size_t *len) {
    bool tail;
    *len = 0;
    if (id < 0 || (size_t)id >= t->n_vocab || t->type[id] == NG_TOKEN_CONTROL) return "";
    return t->kind == NG_TOKENIZER_BPE ? ng_token_text(t, id, len) : ng_wordpiece_letters(t, id, len, &tail);
}

/* The bytes that id adds to a text: up to one byte of space before the piece. */
static const char *added_text(const ng_tokenizer *t, int32_t id, bool special, bool started, bool *space, size_t *len) {
    bool tail = true;
    const char *s = "";
    *space = false;
    *len = 0;
    if (t->type[id] == NG_TOKEN_CONTROL && !special) return s;
    if (t->kind == NG_TOKENIZER_BPE) return ng_token_text(t, id, len);
    s = ng_wordpiece_letters(t, id, len, &tail);
    *space = started && !tail && *len && !memchr(",.!?", *s, 4);
    return s;
}

static ng_status check_id(const ng_tokenizer *t, int32_t id, ng_error *err) {
    if (id >= 0 && (size_t)id < t->n_vocab) return NG_OK;
    return ng_fail(err, NG_EINVALID, "detokenize: %d is no id of this vocabulary (0 to %zu)", id, t->n_vocab - 1);
}

ng_status ng_detokenize(const ng_tokenizer *t, const int32_t *ids, size_t n, bool special, ng_buf *out, ng_error *err) {
    bool started = false, space;
    for (size_t i = 0; i < n; i++) {
        size_t len;
        ng_status s = check_id(t, ids[i], err);
        if (s) return s;
        const char *text = added_text(t, ids[i], special, started, &space, &len);
        if (space) ng_buf_putc(out, ' ');
        ng_buf_put(out, text, len);
        started |= len > 0;
    }
    return out->status ? ng_fail(err, out->status, "detokenize: %zu ids give too much text", n) : NG_OK;
}

/* Bytes at the end of s[0..n) that may still become a character (RFC 3629's limits on the second byte
 * included). */
static size_t unfinished(const char *s, size_t n) {
    size_t k = ng_utf8_tail(s, n);
    if (k < 2) return k;
    unsigned char lead = (unsigned char)s[n - k], second = (unsigned char)s[n - k + 1];
    unsigned char lo = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char hi = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    return second >= lo && second <= hi ? k : 0;
}

/* Writes s[0..n) as UTF-8.  Of invalid bytes each longest beginning of a character, else each byte,
 * becomes one U+FFFD. */
static void put_valid(ng_buf *out, const char *s, size_t n) {
    for (size_t at = 0; at < n;) {
        size_t ok = ng_utf8_invalid_at(s + at, n - at), bad = 1;
        ng_buf_put(out, s + at, ok);
        at += ok;
        if (at == n) break;
        for (size_t k = 2; k <= 3 && at + k <= n; k++)
            if (unfinished(s + at, k) == k) bad = k;
        ng_buf_puts(out, "\xEF\xBF\xBD");
        at += bad;
    }
}

ng_status ng_detokenizer_put(ng_detokenizer *d, int32_t id, ng_buf *out, ng_error *err) {
    ng_status status = check_id(d->tokenizer, id, err);
    if (status) return status;
    bool space;
    size_t len, joined = 0;
    const char *s = added_text(d->tokenizer, id, false, d->started, &space, &len);
    if (!len) return NG_OK;
    d->started = true;
    if (space) ng_buf_putc(out, ' ');
    /* The held bytes and the first of the new ones make the character, or show that there is none. */
    while (d->n_held && joined < len) {
        d->held[d->n_held++] = s[joined++];
        size_t keep = unfinished(d->held, d->n_held);
        if (keep == d->n_held) continue;
        put_valid(out, d->held, d->n_held - keep);
        memmove(d->held, d->held + d->n_held - keep, keep);
        d->n_held = keep;
    }
    if (joined < len) {
        size_t keep = unfinished(s + joined, len - joined);
        put_valid(out, s + joined, len - joined - keep);
        memcpy(d->held, s + len - keep, keep);
        d->n_held = keep;
    }
    return out->status ? ng_fail(err, out->status, "detokenize: too much text") : NG_OK;
}

ng_status ng_detokenizer_flush(ng_detokenizer *d, ng_buf *out) {
    put_valid(out, d->held, d->n_held);
    d->n_held = 0;
    return out->status;
}
