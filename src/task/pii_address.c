/* pii_address.c: postal addresses that their own words prove: a number beside the name of a street, a post office box.
 *
 *     12 Elm Street, Apt. 4, Springfield, IL 62701        number first (English), or with the kind of way first (12, rue de la Paix)
 *     Calle Mayor 5; Hauptstraße 12a; Petőfi utca 3.      number last: the kind of way before the name, in it, or behind it
 *     P.O. Box 12; Postfach 12; PSC 12, Box 3 APO AE 09012
 *
 * Everything starts at a digit, so that a text without one costs nothing; what stands before it is read backwards, word by word and
 * no more than WORDS_MAX of them.  What follows belongs to the address as far as the last unit ("Apt. 4") or postal code within
 * reach: a town alone is a name, which is a model's work (entities.h puts the two together).
 *
 * Words that are both ways and everyday words (Place, Court, Park) count with capitals alone, and as the end of a phrase. */
#include "pii_rules.h"

#include "core/utf8.h"
#include "text/unicode.h"
#include <string.h>

enum { WORDS_MAX = 5, NUMBER_MAX = 6, TAIL_PARTS = 5, WORD_BYTES = 40 };

/* Written small too: these mean nothing else behind a number and a name. */
static const char sure_ways[] = " street road avenue boulevard st rd ave blvd hwy highway parkway ";
static const char ways[] = " lane ln drive dr pkwy terrace terr crescent cres court ct close mews gardens gdns grove square sq turnpike circle cir "
                           "alley expressway esplanade street road avenue boulevard st rd ave blvd hwy highway parkway ";
static const char weak_ways[] = " place pl way row walk hill park loop trail pass path plaza ridge run view vista crossing cove creek crest isle fort "
                                "gateway green greens junction meadow meadows mill mills spur falls ferry harbor hollow island knoll knolls lake manor pike "
                                "prairie shore springs station summit trace valley village rise quay wharf bypass embankment ";
static const char shortened[] = " st rd ave blvd ln dr ct terr cres gdns sq cir pl hwy pkwy "; /* the full stop behind these is theirs */
static const char before_name[] = " rue avenue boulevard bd place chemin quai allee impasse cours route calle carrera paseo plaza avenida av avda via viale "
                                  "corso piazza largo vicolo rua travessa praca ul ulica al aleja calea strada jalan jl ";
static const char in_name[][10] = {"straße", "strasse", "gatan", "vägen", "gade", "vej", "veien", "straat", "gracht", "katu", "stræde", "vegur", /* small ones count too */
                                   "str", "gasse", "weg", "platz", "allee", "damm", "ufer", "gata", "vegen", "laan", "kade", "plein", "singel", "tie", "kuja", "torget",
                                   "stien", "braut", "stræti"};
enum { SURE_IN_NAME = 12 };
static const char behind_name[] = " strasse str weg platz allee utca u. ut utja ter korut sokak sok. cad. caddesi "
                                  "bulvari gate vei vag gatan katu tee puiestee terrasse ";
static const char particles[] = " de la del los las el do da dos das di della dei delle des du le les van den der und "
                                "y e et von zu zum zur am an der im ";
static const char small_words[] = " the a an of on in at to for from by with and or off per down up out over under no "
                                  "that this is are was were people miles "
                                  "meters metres feet minutes hours days years times more new ";

/* ---- words -------------------------------------------------------------------------------------- */

typedef struct word {
    size_t start, end; /* without the full stop behind it */
    bool capital;
    char folded[WORD_BYTES]; /* small letters without accents */
    size_t n;
} word;

/* One letter at i: its bytes, 0 for another sign. */
static size_t letter(const pii_text *t, size_t i, uint32_t *cp) {
    if (i >= t->len) return 0;
    size_t n = ng_utf8_decode(cp, t->s + i, t->len - i);
    return ng_unicode(*cp) & (NG_U_LETTER | NG_U_MARK) ? n : 0;
}

/* The word at i, of letters, with an apostrophe or hyphen within. */
static bool read_word(const pii_text *t, size_t i, word *w) {
    uint32_t cp = 0;
    *w = (word){.start = i, .end = i};
    for (size_t n; w->end - i < WORD_BYTES; w->end += n) {
        unsigned c = pii_at(t, w->end);
        n = letter(t, w->end, &cp);
        if (!n && (c == '\'' || c == '-') && w->end > i && letter(t, w->end + 1, &cp)) {
            n = 1;
            continue;
        }
        if (!n) break;
        if (w->end == i) w->capital = ng_unicode_lower(cp) != cp;
        uint32_t f = cp == 0xDF ? 's' : ng_unicode_fold(cp);
        if (cp == 0xDF && w->n + 2 < WORD_BYTES) w->folded[w->n++] = 's'; /* ß */
        if (f > 0 && f < 128 && w->n + 1 < WORD_BYTES) w->folded[w->n++] = (char)f;
    }
    return w->end > i;
}

/* The word that ends right before `end`; one full stop may stand between. */
static bool read_word_back(const pii_text *t, size_t end, word *w) {
    size_t start, stop = end > 0 && t->s[end - 1] == '.' ? end - 1 : end;
    for (start = stop; start > 0 && stop - start < WORD_BYTES; start--) {
        unsigned char c = (unsigned char)t->s[start - 1];
        if (!pii_is_letter(c) && c < 0x80 && c != '\'' && c != '-') break;
    }
    while (start < stop && !pii_is_letter((unsigned char)t->s[start]) && ((unsigned char)t->s[start] & 0xC0) != 0xC0)
        start++;
    return start < stop && read_word(t, start, w) && w->end == stop;
}

static bool is_one_of(const word *w, const char *words) {
    const pii_text own = {w->folded, w->n, w->n};
    return ng_pii_word_in(&own, 0, w->n, words);
}

static size_t digits_at(const pii_text *t, size_t i) {
    size_t n = 0;
    while (n <= NUMBER_MAX && pii_digit_at(t, i + n)) n++;
    return n;
}

/* The end of a house number at i: "12", "12a", "12/4", "12-14"; 0: none. */
static size_t house_number(const pii_text *t, size_t i) {
    size_t n = digits_at(t, i), k = i + n;
    if (n == 0 || n >= NUMBER_MAX) return 0;
    if (pii_is_letter(pii_at(t, k)) && !pii_alnum_at(t, k + 1)) k++;
    else if ((pii_at(t, k) == '/' || pii_at(t, k) == '-') && digits_at(t, k + 1) - 1 < 4) k += 1 + digits_at(t, k + 1);
    return pii_alnum_at(t, k) || (unsigned)pii_at(t, k) >= 0x80 ||
                   ((pii_at(t, k) == '.' || pii_at(t, k) == ',' || pii_at(t, k) == ':') && pii_digit_at(t, k + 1)) ||
                   pii_at(t, k) == '%' || pii_at(t, k) == '/'
               ? 0
               : k;
}

/* ---- what follows the street -------------------------------------------------------------------- */

static size_t skip_gap(const pii_text *t, size_t i) {
    size_t k = i;
    while (k < i + 8 && pii_at(t, k) && strchr(" ,\n\r\t", (int)pii_at(t, k))) k++;
    return k;
}

static bool ends(const pii_text *t, size_t i) {
    return !pii_alnum_at(t, i) && (unsigned)pii_at(t, i) < 0x80 && !(pii_at(t, i) == '-' && pii_alnum_at(t, i + 1));
}

/* A postal code by its shape: 9 a digit, A a capital. */
static size_t postal_code(const pii_text *t, size_t i) {
    static const char shapes[][11] = {"99999-9999", "9999-999", "AA99 9AA", "AA9 9AA", "A99 9AA",
                                      "A9 9AA",     "AA9A 9AA", "A9A 9AA",  "A9A 9A9", "9999 AA",
                                      "999 99",     "99-999",   "99999",    "999999",  "9999"};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        size_t k = 0;
        for (; shapes[s][k]; k++) {
            unsigned c = pii_at(t, i + k);
            bool same = shapes[s][k] == '9'   ? pii_is_digit(c)
                        : shapes[s][k] == 'A' ? c - 'A' < 26u
                                              : c == (unsigned char)shapes[s][k];
            if (!same) break;
        }
        if (shapes[s][k] || !ends(t, i + k)) continue;
        bool number_goes_on = (pii_at(t, i + k) == ' ' || pii_at(t, i + k) == '.') && pii_digit_at(t, i + k + 1); /* a telephone's */
        if (!number_goes_on) return i + k;
    }
    return 0;
}

/* "Apt. 4", "Suite 12B", "#3" */
static size_t unit(const pii_text *t, size_t i) {
    word w;
    size_t k = i;
    if (pii_at(t, k) == '#') k++;
    else {
        if (!read_word(t, i, &w) ||
            !is_one_of(&w, " apt apartment suite ste unit flat room floor bldg building door appt "))
            return 0;
        k = w.end + (pii_at(t, w.end) == '.');
        if (pii_at(t, k) == ' ') k++;
    }
    size_t n = digits_at(t, k), end = k + n;
    if (n > 5 || (!n && (!pii_is_letter(pii_at(t, k)) || pii_alnum_at(t, k + 1)))) return 0;
    end += pii_is_letter(pii_at(t, end));
    return ends(t, end) ? end : 0;
}

/* The end of the address whose street ends at i: behind its last unit or postal code, with names of towns between. */
static size_t tail(const pii_text *t, size_t i) {
    size_t end = i, at = i;
    for (int part = 0, names = 0; part < TAIL_PARTS; part++) {
        size_t k = skip_gap(t, at), stop;
        word w;
        if (k == at) break;
        if ((stop = unit(t, k)) || (stop = postal_code(t, k))) {
            end = at = stop;
            continue;
        }
        bool any = false;
        for (at = k; names < 7 && !(any && postal_code(t, at)) && read_word(t, at, &w) &&
                     (w.capital || (any && is_one_of(&w, particles)));
             names++) {
            any = true;
            at = w.end + (pii_at(t, w.end) == '.');
            if (pii_at(t, at) != ' ' || !letter(t, at + 1, &(uint32_t){0})) break;
            at++;
        }
        if (!any) break;
        if (t->s[at - 1] == ' ') at--;
    }
    return end;
}

/* ---- the forms ---------------------------------------------------------------------------------- */

/* "1998 Elm Street" behind "in" is a year. */
static bool is_year(const pii_text *t, size_t at, size_t n) {
    word w;
    unsigned v = n == 4 ? ng_pii_number(t, at, 4) : 0;
    return v >= 1900 && v < 2100 && at > 1 && t->s[at - 1] == ' ' && read_word_back(t, at - 1, &w) &&
           is_one_of(&w, " in since until of from by during after before the ");
}

static bool ends_phrase(const pii_text *t, size_t i) {
    size_t k = skip_gap(t, i);
    if (i >= t->len || strchr(",.;:\n)\"'!?", (int)pii_at(t, i))) return true;
    return unit(t, k) || postal_code(t, k);
}

/* "3 Supreme Court judges" */
static bool is_law_court(const word *w, const word *before) {
    return is_one_of(w, " court ") && is_one_of(before, " supreme superior high district federal appeals appeal "
                                                        "criminal crown county circuit constitutional juvenile ");
}

/* Name words and a kind of way from i on: the end of it, 0: no street.  A name in small letters needs a way that is sure. */
static size_t street_name(const pii_text *t, size_t i) {
    size_t at = i, best = 0;
    bool small = false;
    word before = {0};
    for (int k = 0; k < WORDS_MAX; k++) {
        word w;
        size_t n = digits_at(t, at);
        if (n && n < 4 && pii_is_letter(pii_at(t, at + n))) { /* 42nd */
            at += n + 2;
            if (!pii_is_letter(pii_at(t, at - 1)) || pii_at(t, at++) != ' ') break;
            continue;
        }
        if (!read_word(t, at, &w) || (!w.capital && is_one_of(&w, small_words))) break;
        bool sure = k && is_one_of(&w, sure_ways) && (!small || before.n > 2);
        bool way = sure || (k && !small && w.capital &&
                            (is_one_of(&w, ways) || (is_one_of(&w, weak_ways) && ends_phrase(t, w.end))));
        bool stop = pii_at(t, w.end) == '.' && (way ? is_one_of(&w, shortened) : w.capital && w.end - w.start < 5);
        if (way && !is_law_court(&w, &before)) best = w.end + stop;
        if (!w.capital && (k > 2 || best)) break;
        small = small || !w.capital;
        at = w.end + stop + 1;
        before = w;
        if (pii_at(t, at - 1) != ' ') break;
    }
    return best;
}

/* "12, rue de la Paix": the kind of way comes behind the number, small or not. */
static size_t way_then_name(const pii_text *t, size_t i) {
    word w;
    size_t end = 0;
    if (!read_word(t, i, &w) || !is_one_of(&w, " rue avenue boulevard bd chemin quai allee impasse route ")) return 0;
    for (int k = 0; k < WORDS_MAX && pii_at(t, w.end) == ' ' && read_word(t, w.end + 1, &w); k++) {
        if (w.capital || w.n < w.end - w.start) end = w.end; /* "l'Église" too */
        else if (!is_one_of(&w, particles)) break;
    }
    return end;
}

static bool number_first(const pii_text *t, size_t at, pii_match *m) {
    size_t end = house_number(t, at), stop;
    if (!end || is_year(t, at, end - at)) return false;
    size_t k = end + (pii_at(t, end) == ',') + 1;
    if (pii_at(t, k - 1) != ' ') return false;
    if (k == end + 1 && pii_digit_at(t, k) && (stop = house_number(t, k)) && pii_at(t, stop) == ' ') k = stop + 1; /* building, house */
    stop = street_name(t, k);
    if (!stop) stop = way_then_name(t, k);
    *m = (pii_match){at, stop};
    return stop > 0;
}

/* Whether the word is "Hauptstraße": a name with its kind of way. */
static bool has_way_within(const pii_text *t, const word *w) {
    for (size_t i = 0; i < sizeof in_name / sizeof in_name[0]; i++) {
        size_t n = strlen(in_name[i]);
        if ((w->capital || i < SURE_IN_NAME) && w->end - w->start >= n + 3 && !memcmp(t->s + w->end - n, in_name[i], n))
            return true;
    }
    return false;
}

/* Whether the word is a kind of way that stands behind its name; the short ones need their full stop. */
static bool is_behind_name(const pii_text *t, const word *w) {
    word dotted = *w;
    if (is_one_of(w, behind_name)) return true;
    if (pii_at(t, w->end) != '.' || w->n + 1 >= WORD_BYTES) return false;
    dotted.folded[dotted.n++] = '.';
    return is_one_of(&dotted, behind_name);
}

/* The start of a street's name whose last word is `w`; SIZE_MAX: it is none.  `unit`: a number of a flat follows, so that any name is one. */
static size_t street_before(const pii_text *t, word w, bool unit) {
    size_t start = SIZE_MAX; /* of capital words alone */
    bool behind = is_behind_name(t, &w), named = false;
    if (has_way_within(t, &w)) return w.start;
    if (is_one_of(&w, " no nr number apt suite unit flat room box ste building floor ")) return SIZE_MAX;
    for (int k = 0; k < WORDS_MAX; k++) {
        bool kind = k && !behind && named && is_one_of(&w, before_name);
        if (kind && (w.capital || is_one_of(&w, " ul calle rua via avenida "))) return w.start;
        if (k && behind && w.capital) return w.start;
        if (!w.capital && !(k && is_one_of(&w, particles)) && !(behind && !k)) break;
        if (w.capital) start = w.start;
        named = named || (w.capital && w.n > 2);
        if (w.start < 2 || t->s[w.start - 1] != ' ' || !read_word_back(t, w.start - 1, &w)) break;
    }
    return unit ? start : SIZE_MAX;
}

static bool number_last(const pii_text *t, size_t at, pii_match *m) {
    size_t end = house_number(t, at), k = at - 1;
    word w;
    if (!end || at < 4 || t->s[k] != ' ') return false;
    if (t->s[k - 1] == ',') k--;
    if (!read_word_back(t, k, &w) || (m->start = street_before(t, w, unit(t, skip_gap(t, end)) > 0)) == SIZE_MAX)
        return false;
    m->end = end;
    size_t n = 0; /* a building's number before it all */
    while (n < NUMBER_MAX && m->start > n + 1 && t->s[m->start - 1] == ' ' &&
           pii_is_digit((unsigned char)t->s[m->start - 2 - n]))
        n++;
    if (n && pii_starts_word(t, m->start - 1 - n)) m->start -= n + 1;
    return true;
}

/* "P.O. Box 12", "PSC 12, Box 3". */
static bool box(const pii_text *t, size_t at, pii_match *m) {
    size_t n = digits_at(t, at), start;
    word w;
    if (n > 5 || !ends(t, at + n) || at < 5 || t->s[at - 1] != ' ' || !read_word_back(t, at - 1, &w)) return false;
    start = w.start;
    if (is_one_of(&w, " box ")) {
        size_t k = start;
        while (k > 0 && start - k < 7 && strchr("POpo. ", t->s[k - 1])) k--;
        while (k < start && strchr(". ", t->s[k])) k++;
        bool post = (t->s[k] | 32) == 'p' && start - k >= 2 && pii_starts_word(t, k);
        while (!post && k > 1 && (t->s[k - 1] == ' ' || t->s[k - 1] == ',')) k--;
        size_t digits = k;
        while (!post && k > 0 && pii_is_digit((unsigned char)t->s[k - 1])) k--;
        bool unit_number = !post && digits > k && k > 1 && t->s[k - 1] == ' ' && read_word_back(t, k - 1, &w) &&
                           is_one_of(&w, " psc unit cmr ");
        if (!post && !unit_number) return false;
        m->start = post ? k : w.start;
    } else if (w.capital && is_one_of(&w, " postfach postboks postbus apartado casilla pobox ")) m->start = start;
    else return false;
    m->end = at + n;
    return true;
}

bool ng_pii_match_address(const pii_text *t, size_t at, pii_match *m) {
    if (!pii_starts_word(t, at) || (at > 0 && t->s[at - 1] && strchr("$.,:/-+%", t->s[at - 1]))) return false;
    if (!number_first(t, at, m) && !number_last(t, at, m) && !box(t, at, m)) return false;
    m->end = tail(t, m->end);
    return m->end > m->start;
}
