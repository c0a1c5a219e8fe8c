/* entities.c: see entities.h. */
#include "entities.h"

#include "model/token_spans.h"
#include "pii.h"
#include <string.h>

/* One walk over the text, as entities are in order. */
void ng_entities_to_chars(ng_entity *e, size_t n, const char *text, size_t len) {
    size_t chars = 0, k = 0, open = 0;
    for (size_t i = 0; i <= len && k < n; i++) {
        if (i == len || ((unsigned char)text[i] & 0xC0) != 0x80) {
            if (i == e[k].start) open = chars;
            if (i == e[k].end) {
                e[k].start = open;
                e[k].end = chars;
                k++;
                if (k < n && i == e[k].start) open = chars; /* spans that touch */
            }
            chars++;
        }
    }
}

static bool holds_digit(const char *text, size_t start, size_t end) {
    for (size_t i = start; i < end; i++)
        if (text[i] >= '0' && text[i] <= '9') return true;
    return false;
}

/* Places and organizations of several words that a model found word by word: "New" "Westminster". */
static size_t mend(ng_entity *e, size_t n, const char *text) {
    size_t out = 0;
    for (size_t i = 0; i < n; i++) {
        ng_entity *last = out ? &e[out - 1] : NULL;
        bool one = last && e[i].start == last->end + 1 && (text[last->end] == ' ' || text[last->end] == '-') &&
                   !strcmp(last->label, e[i].label) && strcmp(e[i].label, "person") != 0;
        if (!one) {
            e[out++] = e[i];
            continue;
        }
        last->end = e[i].end;
        last->text = NULL;
        last->score = e[i].score < last->score ? e[i].score : last->score;
    }
    return out;
}

/* "5 Elm Rd": what stands above it without a digit is a name, not a piece of the address. */
static bool begins_address(const ng_entity *e, const char *text) {
    bool letters = false;
    for (size_t i = e->start; i < e->end; i++) letters = letters || ((unsigned)(text[i] | 32) - 'a' < 26u);
    return letters && text[e->start] >= '0' && text[e->start] <= '9';
}

/* How many from e[0] on are pieces of one address; 1: it is none. */
static size_t pieces(const ng_entity *e, size_t n, const char *text, const char *kind) {
    bool digit = false;
    size_t k = 0;
    while (k < n && !strcmp(e[k].label, kind) &&
           (k == 0 ||
            (ng_span_gap(text + e[k - 1].end, e[k].start - e[k - 1].end) && (digit || !begins_address(&e[k], text)))))
        digit = holds_digit(text, e[k].start, e[k].end) || digit, k++;
    return digit ? k : 1;
}

size_t ng_entities_join(ng_entity *e, size_t n, const char *text, const char *kind) {
    size_t out = 0;
    for (size_t i = 0, k; i < n; i += k) {
        k = pieces(e + i, n - i, text, kind);
        ng_entity joined = e[i];
        for (size_t m = 1; m < k; m++) joined.score = e[i + m].score < joined.score ? e[i + m].score : joined.score;
        if (k > 1) joined.end = e[i + k - 1].end, joined.text = NULL;
        e[out++] = joined;
    }
    return out;
}

/* ---- rules beside a model ----------------------------------------------------------------------- */

typedef struct merger {
    ng_answer *answer;
    const char *text;
    ng_entity *out;
    size_t n;
} merger;

static bool put(merger *m, ng_entity e) {
    e.text = ng_answer_strndup(m->answer, m->text + e.start, e.end - e.start);
    m->out[m->n++] = e;
    return e.text != NULL;
}

static void trim(const char *text, size_t *start, size_t *end) {
    static const char around[] = " \t\r\n,;:.>|-(/)";
    while (*start < *end && text[*start] && strchr(around, text[*start])) ++*start;
    while (*end > *start && text[*end - 1] && strchr(around, text[*end - 1])) --*end;
}

/* What of the model's entity stands in [start, end), without the marks around it; nothing when a single character or none is left. */
static bool put_rest(merger *m, ng_entity e, size_t start, size_t end) {
    e.start = e.start > start ? e.start : start;
    e.end = e.end < end ? e.end : end;
    trim(m->text, &e.start, &e.end);
    return e.end < e.start + 2 || put(m, e);
}

static bool overlaps(const ng_entity *e, const ng_pii_span *s) { return s->start < e->end && s->end > e->start; }

/* One entity of the model around the rules' spans from *k on, which it goes past; the span before may reach into it. */
static bool put_model(merger *m, const ng_entity *e, const ng_pii_spans *found, size_t *k) {
    size_t last = m->n ? m->out[m->n - 1].end : 0, from = last > e->start ? last : e->start;
    if (from == e->start && (*k == found->len || !overlaps(e, &found->items[*k]))) {
        m->out[m->n++] = *e;
        return true;
    }
    for (; *k < found->len && overlaps(e, &found->items[*k]); (*k)++) {
        const ng_pii_span *s = &found->items[*k];
        if ((s->start > from && !put_rest(m, *e, from, s->start)) ||
            !put(m, (ng_entity){s->start, s->end, ng_pii_label(s->type), NULL, ng_pii_score(s->type)}))
            return false;
        from = s->end;
    }
    return from >= e->end || put_rest(m, *e, from, e->end);
}

/* Whether what the model has before a street is another line or another item, a name above the address: "Acme, 5 Elm Rd". */
static bool is_apart(const char *text, size_t start, size_t end) {
    bool parted = false;
    for (size_t i = start; i < end; i++) parted = parted || text[i] == ',' || text[i] == '\n';
    return parted && !holds_digit(text, start, end);
}

/* A street that a rule found and a place of the model that overlap are one address, as far as no other rule's span reaches. */
static void widen_addresses(ng_pii_spans *found, const ng_entity *e, size_t n, const char *text) {
    size_t i = 0;
    for (size_t k = 0; k < found->len; k++) {
        ng_pii_span *s = &found->items[k];
        size_t floor = k ? s[-1].end : 0, ceiling = k + 1 < found->len ? s[1].start : SIZE_MAX;
        if (s->type != NG_PII_ADDRESS) continue;
        while (i < n && e[i].end <= s->start) i++;
        for (size_t m = i; m < n && e[m].start < s->end; m++) {
            if (strcmp(e[m].label, ng_pii_label(NG_PII_ADDRESS)) != 0) continue;
            size_t start = e[m].start > floor ? e[m].start : floor, end = e[m].end < ceiling ? e[m].end : ceiling;
            trim(text, &start, &end);
            if (start < s->start && !is_apart(text, start, s->start)) s->start = start;
            if (end > s->end) s->end = end;
        }
    }
}

static ng_status merge(ng_answer *a, const ng_pii_spans *found, const char *text, ng_error *err) {
    merger m = {a, text, ng_answer_alloc(a, (a->n_entities + 2 * found->len + 1) * sizeof *m.out), 0};
    bool ok = m.out != NULL;
    size_t k = 0;
    for (size_t i = 0; ok && i <= a->n_entities; i++) {
        size_t before = i < a->n_entities ? a->entities[i].start : SIZE_MAX;
        for (; ok && k < found->len && found->items[k].end <= before; k++) {
            const ng_pii_span *s = &found->items[k];
            ok = put(&m, (ng_entity){s->start, s->end, ng_pii_label(s->type), NULL, ng_pii_score(s->type)});
        }
        if (ok && i < a->n_entities) ok = put_model(&m, &a->entities[i], found, &k);
    }
    if (!ok) return ng_fail(err, NG_ENOMEM, "extract: out of memory");
    a->entities = m.out;
    a->n_entities = m.n;
    return NG_OK;
}

/* Pieces of one address, from the model, from rules or from both. */
static ng_status join(ng_answer *a, const char *text, ng_error *err) {
    a->n_entities = ng_entities_join(a->entities, a->n_entities, text, ng_pii_label(NG_PII_ADDRESS));
    for (size_t i = 0; i < a->n_entities; i++) {
        ng_entity *e = &a->entities[i];
        if (!e->text && !(e->text = ng_answer_strndup(a, text + e->start, e->end - e->start)))
            return ng_fail(err, NG_ENOMEM, "extract: out of memory");
    }
    return NG_OK;
}

ng_status ng_entities_add_rules(ng_answer *a, uint32_t mask, const char *text, size_t len, ng_error *err) {
    ng_pii_spans found = {0};
    a->n_entities = mend(a->entities, a->n_entities, text);
    ng_status s = mask ? ng_pii_scan(&found, text, len, mask, err) : NG_OK;
    if (!s) widen_addresses(&found, a->entities, a->n_entities, text);
    if (!s && found.len) s = merge(a, &found, text, err);
    if (!s) s = join(a, text, err);
    ng_pii_spans_clear(&found);
    return s;
}
