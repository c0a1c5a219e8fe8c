/* noise.c: see noise.h.  Words are runs without ASCII spaces; only ASCII letters change. */
#include "noise.h"

#include "core/hash.h"
#include <string.h>

bool ng_noise_parse(ng_noise *out, const char *name) {
    static const char *const names[] = {"typos", "spacing", "homoglyphs", "leetspeak"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i])) return *out = (ng_noise)(NG_NOISE_TYPOS + i), true;
    return false;
}

static bool is_letter(char c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; }

static void put_typo(ng_buf *out, ng_rng *r, const char *w, size_t n) {
    size_t at = ng_rng_below(r, (uint32_t)n);
    uint32_t kind = ng_rng_below(r, 3);
    bool fits = is_letter(w[at]) && (kind == 1 || (at + 1 < n && is_letter(w[at + 1])));
    ng_buf_put(out, w, at);
    if (fits && kind == 1) ng_buf_putc(out, w[at]);
    if (fits && kind == 2) ng_buf_putc(out, w[at + 1]), ng_buf_putc(out, w[at]);
    at += fits ? kind == 1 ? 0 : kind == 2 ? 2 : 1 : 0;
    ng_buf_put(out, w + at, n - at);
}

static void put_spaced(ng_buf *out, const char *w, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i && is_letter(w[i]) && is_letter(w[i - 1])) ng_buf_putc(out, ' ');
        ng_buf_putc(out, w[i]);
    }
}

static void put_letters(ng_buf *out, ng_rng *r, ng_noise kind, const char *w, size_t n) {
    static const char twin_of[] = "aceopxyisj", leet_of[] = "aeiost", leet[] = "431057";
    static const char *const twin[] = {"\xD0\xB0", "\xD1\x81", "\xD0\xB5", "\xD0\xBE", "\xD1\x80",
                                       "\xD1\x85", "\xD1\x83", "\xD1\x96", "\xD1\x95", "\xD1\x98"};
    for (size_t i = 0; i < n; i++) {
        const char *a = is_letter(w[i]) ? strchr(twin_of, w[i]) : NULL,
                   *b = is_letter(w[i]) ? strchr(leet_of, w[i] | 32) : NULL;
        bool hit = ng_rng_unit(r) < (kind == NG_NOISE_LEETSPEAK ? 0.5 : 0.3);
        if (hit && kind == NG_NOISE_HOMOGLYPHS && a) ng_buf_puts(out, twin[a - twin_of]);
        else ng_buf_putc(out, hit && kind == NG_NOISE_LEETSPEAK && b ? leet[b - leet_of] : w[i]);
    }
}

ng_status ng_noise_apply(ng_noise kind, const char *text, size_t len, ng_buf *out) {
    ng_rng r = ng_rng_seed(ng_hash64(text, len, (uint64_t)kind));
    ng_buf_reset(out);
    for (size_t i = 0, n; i < len; i += n) {
        for (n = 0; i + n < len && text[i + n] != ' ';) n++;
        if (!n) {
            ng_buf_putc(out, text[i]);
            n = 1;
            continue;
        }
        bool hit = ng_rng_unit(&r) < 0.3;
        if (kind == NG_NOISE_TYPOS && hit) put_typo(out, &r, text + i, n);
        else if (kind == NG_NOISE_SPACING && hit) put_spaced(out, text + i, n);
        else if (kind == NG_NOISE_HOMOGLYPHS || kind == NG_NOISE_LEETSPEAK) put_letters(out, &r, kind, text + i, n);
        else ng_buf_put(out, text + i, n);
    }
    return out->status;
}
