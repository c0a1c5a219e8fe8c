/* pii_date.c: calendar dates, in figures and in words.
 *
 * In figures: year first with any separator (ISO 8601, with a time of day if one follows), day and
 * month first in either order with a year of four digits, or of two behind slashes.  In words: a month
 * of six languages beside a day, a year or both.  The day must exist in its month.  A month alone is left out.
 *
 * Last, behind all other rules so that it takes no number from them: a year alone where its neighbour says that it is one
 * ("since 1998", "a 2017 film", "(2004)"), and weekdays by name.  (No date counts as personal for `policy.privacy`.) */
#include "pii_rules.h"

#include <string.h>

/* Space-separated, so that a month and its place can be found by one strstr; months of en de fr es it
 * pt nl, whole and as abbreviated in English. */
static const char *const months[12] = {
    " january jan januar janvier enero gennaio janeiro januari ",
    " february feb februar fevrier febrero febbraio fevereiro februari ",
    " march mar mars marzo maart ",
    " april apr avril abril aprile ",
    " may mai mayo maggio maio mei ",
    " june jun juni juin junio giugno junho ",
    " july jul juli juillet julio luglio julho ",
    " august aug aout agosto augustus ",
    " september sep sept septembre septiembre settembre setembro ",
    " october oct oktober octobre octubre ottobre outubro ",
    " november nov novembre noviembre novembro ",
    " december dec dezember decembre diciembre dicembre dezembro ",
};
/* Words of everyday English too: as a month they need a capital or a year. */
static const char ambiguous[] = " may mar march mars jun sep dec mai mei aug jan nov ";

static bool day_exists(unsigned y, unsigned m, unsigned d) {
    static const uint8_t days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (m < 1 || m > 12 || d < 1 || d > days[m - 1]) return false;
    return !(m == 2 && d == 29 && y > 0 && (y % 4 != 0 || (y % 100 == 0 && y % 400 != 0)));
}

static size_t count_digits(const pii_text *t, size_t i, size_t max) {
    size_t n = 0;
    while (n <= max && pii_digit_at(t, i + n)) n++;
    return n;
}

static bool year_plausible(unsigned y) { return y >= 1000 && y < 2200; }

/* The end of a time of day that follows a date at i ("T10:00:00Z", " 03:07", " 3:07 pm"), else i. */
static size_t time_of_day(const pii_text *t, size_t i) {
    size_t k = i;
    if (pii_at(t, k) == ',') k++;
    if (pii_at(t, k) != 'T' && pii_at(t, k) != ' ') return i;
    size_t n = count_digits(t, ++k, 2);
    if (n < 1 || n > 2 || ng_pii_number(t, k, n) > 23 || pii_at(t, k + n) != ':') return i;
    k += n;
    for (int part = 0; part < 2 && pii_at(t, k) == ':'; part++) {
        if (count_digits(t, k + 1, 2) != 2 || ng_pii_number(t, k + 1, 2) > 59) return part ? k : i;
        k += 3;
    }
    if (pii_at(t, k) == '.' && pii_digit_at(t, k + 1))
        for (n = 0, k++; n < 9 && pii_digit_at(t, k); n++) k++;
    if (pii_at(t, k) == 'Z') k++;
    else if ((pii_at(t, k) == '+' || pii_at(t, k) == '-') && count_digits(t, k + 1, 4) == 2 &&
             pii_at(t, k + 3) == ':' && count_digits(t, k + 4, 2) == 2)
        k += 6;
    return pii_alnum_at(t, k) ? i : k;
}

static bool ends_clean(const pii_text *t, size_t i, unsigned sep) {
    unsigned c = pii_at(t, i);
    if (pii_is_alnum(c) || c == '_') return false;
    return !((c == sep || c == '/' || c == '-') && pii_digit_at(t, i + 1));
}

/* A.B.C with one separator of "-/." (or ". " as in German) throughout. */
static bool numeric(const pii_text *t, size_t at, size_t *end) {
    size_t n[3], at_part[3], i = at;
    unsigned v[3], sep = 0;
    for (int part = 0; part < 3; part++) {
        if (part > 0) {
            unsigned c = pii_at(t, i);
            if (c == 0 || !strchr("-/.", (int)c) || (part == 2 && c != sep)) return false;
            sep = c;
            i++;
            if (c == '.' && pii_at(t, i) == ' ') i++;
        }
        at_part[part] = i;
        n[part] = count_digits(t, i, 4);
        if (n[part] == 0 || n[part] == 3 || n[part] > 4) return false;
        v[part] = ng_pii_number(t, at_part[part], n[part]);
        i += n[part];
    }
    if (n[0] == 4) { /* year first */
        if (n[1] > 2 || n[2] > 2 || !year_plausible(v[0]) || !day_exists(v[0], v[1], v[2])) return false;
        *end = time_of_day(t, i);
        return *end > i || ends_clean(t, i, sep);
    }
    if (n[0] > 2 || n[1] > 2 || !ends_clean(t, i, sep)) return false;
    if (n[2] == 4 ? !year_plausible(v[2]) : n[2] != 2 || sep != '/') return false;
    unsigned y = n[2] == 4 ? v[2] : 0;
    if (!day_exists(y, v[0], v[1]) && !day_exists(y, v[1], v[0])) return false;
    *end = time_of_day(t, i);
    return true;
}

/* The month named at [i, end) (1..12), 0: none.  Accents are folded for the few that need it. */
static unsigned month_at(const pii_text *t, size_t i, size_t *end, bool *weak) {
    char word[16];
    size_t n = 0, k = i;
    while (n < sizeof word - 1) {
        unsigned c = pii_at(t, k);
        if (pii_is_letter(c)) word[n++] = (char)(c | 32u), k++;
        else if (c == 0xC3 && (pii_at(t, k + 1) | 0x20) == 0xA9) word[n++] = 'e', k += 2; /* février */
        else if (c == 0xC3 && (pii_at(t, k + 1) | 0x20) == 0xBB) word[n++] = 'u', k += 2; /* août */
        else if (c == 0xC3 && (pii_at(t, k + 1) | 0x20) == 0xA4) word[n++] = 'a', k += 2; /* März */
        else break;
    }
    *end = k;
    if (n < 3 || pii_alnum_at(t, k) || !strchr("jfmasondeg", word[0])) return 0; /* before all that searches */
    const pii_text w = {word, n, n};
    bool capital = (unsigned)(unsigned char)t->s[i] - 'A' < 26u;
    *weak = !capital && ng_pii_word_in(&w, 0, n, ambiguous);
    if (n == 4 && !memcmp(word, "marz", 4)) return 3;
    for (unsigned m = 0; m < 12; m++)
        if (ng_pii_word_in(&w, 0, n, months[m])) return m + 1;
    return 0;
}

/* A day of the month at i: "3", "03", "3rd", "3."; *end behind it. */
static unsigned day_at(const pii_text *t, size_t i, size_t *end) {
    size_t n = count_digits(t, i, 2);
    if (n < 1 || n > 2) return 0;
    unsigned d = ng_pii_number(t, i, n);
    size_t k = i + n;
    if (pii_is_letter(pii_at(t, k))) {
        if (!ng_pii_word_in(t, k, k + 2 <= t->len ? k + 2 : k, " st nd rd th ") || pii_alnum_at(t, k + 2)) return 0;
        k += 2;
    } else if (pii_at(t, k) == '.' && !pii_digit_at(t, k + 1)) {
        k++;
    }
    *end = k;
    return d;
}

/* Skips one separator of a date in words: ", ", " ", "-", " of ", " de ". */
static size_t gap(const pii_text *t, size_t i) {
    size_t k = i;
    while (k < i + 2 && (pii_at(t, k) == ',' || pii_at(t, k) == ' ' || pii_at(t, k) == '-' ||
                         pii_at(t, k) == '.' || pii_at(t, k) == '/'))
        k++;
    if (k > i && pii_at(t, k + 2) == ' ' && ng_pii_word_in(t, k, k + 2, " of de "))
        k += 3;
    return k;
}

/* The end of a year of four digits behind i, 0: none. */
static size_t year_after(const pii_text *t, size_t i) {
    size_t k = gap(t, i);
    if (k == i || count_digits(t, k, 4) != 4 || !year_plausible(ng_pii_number(t, k, 4))) return 0;
    return pii_alnum_at(t, k + 4) || (pii_at(t, k + 4) == '-' && pii_digit_at(t, k + 5)) ? 0 : k + 4;
}

/* "12 January 2020", "3rd of May", "5. Mai". */
static bool day_first(const pii_text *t, size_t at, size_t *end) {
    size_t k, stop;
    bool weak;
    unsigned d = day_at(t, at, &k);
    if (d == 0) return false;
    size_t m_at = gap(t, k);
    if (m_at == k && t->s[k - 1] != '.') return false;
    unsigned m = month_at(t, m_at, &stop, &weak);
    if (m == 0 || !day_exists(0, m, d)) return false;
    size_t year = year_after(t, stop);
    if (!year && weak) return false;
    *end = year ? year : stop;
    return true;
}

/* "January 12, 2020", "Jan 12", "January 2020". */
static bool month_first(const pii_text *t, size_t at, size_t *end) {
    size_t stop, k;
    bool weak;
    unsigned m = month_at(t, at, &stop, &weak);
    if (m == 0) return false;
    size_t d_at = gap(t, stop);
    unsigned d = d_at > stop ? day_at(t, d_at, &k) : 0;
    if (d > 0 && day_exists(0, m, d) && pii_at(t, k) != ':' && pii_at(t, k) != '%') {
        size_t year = year_after(t, k);
        if (!year && weak) return false;
        if (t->s[k - 1] == '.') k--; /* the sentence's full stop */
        *end = year ? year : k;
        return true;
    }
    size_t year = year_after(t, stop);
    if (!year || (pii_at(t, year - 5) != ' ' && pii_at(t, year - 5) != '.')) return false;
    *end = year;
    return true;
}

bool ng_pii_match_date(const pii_text *t, size_t at, pii_match *m) {
    if (!pii_starts_word(t, at)) return false;
    if (at > 0 && pii_digit_at(t, at)) {
        char c = t->s[at - 1];
        if (strchr("-/.:$#", c) && c) return false;
    }
    bool digit = pii_digit_at(t, at);
    m->start = at;
    if (digit) return numeric(t, at, &m->end) || day_first(t, at, &m->end);
    return month_first(t, at, &m->end);
}

/* ---- a year or a weekday alone ------------------------------------------------------------------ */

/* Whether the word that ends right before the space at `at` is one of `words`. */
static bool word_before(const pii_text *t, size_t at, const char *words) {
    size_t end = at, start;
    while (end > 0 && at - end < 3 && (t->s[end - 1] == ' ' || t->s[end - 1] == '\n')) end--;
    for (start = end; start > 0 && end - start < 16 && pii_is_letter((unsigned char)t->s[start - 1]);) start--;
    return start < end && end < at && ng_pii_word_in(t, start, end, words);
}

static bool word_behind(const pii_text *t, size_t at, const char *words) {
    size_t end = at + 1;
    while (end - at < 17 && pii_is_letter(pii_at(t, end))) end++;
    return pii_at(t, at) == ' ' && ng_pii_word_in(t, at + 1, end, words);
}

static bool year_alone(const pii_text *t, size_t at) {
    static const char when[] = " in since until till during after before around circa about by from early late mid "
                               "year spring summer autumn fall winter ";
    static const char counted[] =
        " people words pixels euro euros dollars pounds points times feet meters metres miles km calories ppm rpm mah "
        "watts volts "
        "users copies units pages votes jobs seats hours minutes seconds years days percent per others more of ";
    unsigned year = ng_pii_number(t, at, 4), before = at ? (unsigned char)t->s[at - 1] : 0, behind = pii_at(t, at + 4);
    if (year < 1900 || year > 2099 || pii_alnum_at(t, at + 4) || behind == '%' || behind == ':' || behind == '/' ||
        behind == '_')
        return false;
    if ((behind == '-' || behind == '.' || behind == ',') && pii_digit_at(t, at + 5)) return false;
    if (before == '(') return behind == ')';
    if (word_behind(t, at + 4, counted)) return false;
    if (word_before(t, at, when)) return true;
    if (word_before(t, at, " of "))
        return !word_before(t, at - 3,
                            " total sum number price cost amount average population limit maximum minimum instead fee "
                            "rent ");
    return word_before(t, at, " a the ") && behind == ' ' && pii_is_letter(pii_at(t, at + 5));
}

bool ng_pii_match_day(const pii_text *t, size_t at, pii_match *m) {
    size_t n = 0;
    if (!pii_starts_word(t, at)) return false;
    m->start = at;
    if (pii_digit_at(t, at)) {
        m->end = at + 4;
        return count_digits(t, at, 4) == 4 && year_alone(t, at);
    }
    while (n < 10 && pii_is_letter(pii_at(t, at + n))) n++;
    m->end = at + n;
    if (n < 6 || (t->s[m->end - 1] | 32) != 'y') return false; /* before all that searches */
    return !pii_alnum_at(t, at + n) &&
           ng_pii_word_in(t, at, at + n, " monday tuesday wednesday thursday friday saturday sunday ") &&
           !word_before(t, at, " black good ash cyber bloody ");
}
