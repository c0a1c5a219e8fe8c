/* marks.c: see marks.h.  Joining keeps one invariant: behind it two neighbours of the kind, with a gap or without one, hold no
 * digit ("Paris, France" stays two). */
#include "marks.h"

#include "core/utf8.h"
#include "model/token_spans.h"
#include "text/unicode.h"
#include <nanogrid/text.h>
#include <stdio.h>
#include <string.h>

static const ng_mark *mark_at(const ng_marks *m, size_t at) {
    for (size_t i = 0; i < m->len; i++)
        if (m->items[i].start <= at && at < m->items[i].end) return &m->items[i];
    return NULL;
}

/* The capital of a letter: of those below U+0180 only, which covers most Latin alphabets; others stay. */
static uint32_t capital(uint32_t cp) {
    for (uint32_t c = cp < 0x180 ? 'A' : cp; c < cp; c++)
        if (ng_unicode_lower(c) == cp) return c;
    return cp;
}

static uint32_t lettered(uint32_t cp, ng_letters letters) {
    return letters == NG_LETTERS_SMALL ? ng_unicode_lower(cp) : letters == NG_LETTERS_CAPITAL ? capital(cp) : cp;
}

ng_status ng_marks_to_tags(ng_buf *words, ng_buf *tags, const ng_marks *m, const char *text, size_t len,
                           ng_letters letters) {
    const ng_mark *open = NULL;
    bool inside = false; /* a word */
    ng_buf_reset(words);
    ng_buf_reset(tags);
    for (size_t i = 0, n; i < len; i += n) {
        uint32_t cp;
        char bytes[4];
        n = ng_utf8_decode(&cp, text + i, len - i);
        const ng_mark *mark = mark_at(m, i);
        if (ng_unicode(cp) & NG_U_SPACE) {
            inside = false;
            continue;
        }
        if (!inside || mark != open) {
            const char *gap = words->len ? " " : "";
            ng_buf_puts(words, gap);
            ng_buf_puts(tags, gap);
            if (mark) ng_buf_printf(tags, "%c-%.*s", mark == open ? 'I' : 'B', (int)mark->kind_len, mark->kind);
            else ng_buf_puts(tags, "O");
        }
        ng_buf_put(words, bytes, ng_utf8_encode(bytes, lettered(cp, letters)));
        inside = true;
        open = mark;
    }
    return words->status ? words->status : tags->status;
}

/* ---- joining ------------------------------------------------------------------------------------ */

typedef struct joiner {
    int16_t *tags, begin; /* begin: the label B-kind; the next one is I-kind */
    size_t n, word, at;   /* of the text: the word at `at` is the next */
    const char *text;
    size_t len;
} joiner;

static size_t word_end(const joiner *j, size_t at) {
    const char *gap = memchr(j->text + at, ' ', j->len - at);
    return gap ? (size_t)(gap - j->text) : j->len;
}

static bool of_kind(const joiner *j, size_t word) {
    return word < j->n && (j->tags[word] == j->begin || j->tags[word] == j->begin + 1);
}

/* From a word of the kind on: words of it and what parts them, up to *end (words); whether a digit is within. */
static bool group(joiner *j, size_t *end) {
    bool digit = false;
    size_t word = j->word, at = j->at, gap_at = at;
    *end = word;
    for (; word < j->n && at < j->len; word++) {
        size_t stop = word_end(j, at);
        if (of_kind(j, word)) {
            for (size_t c = at; c < stop; c++) digit = digit || (j->text[c] >= '0' && j->text[c] <= '9');
            *end = word + 1;
            gap_at = stop;
        } else if (j->tags[word] != 0 || !ng_span_gap(j->text + gap_at, stop - gap_at)) {
            break;
        }
        at = stop + 1;
    }
    return digit;
}

void ng_tags_join(int16_t *tags, size_t n, const char *text, size_t len, const ng_labels *labels, const char *kind) {
    char name[128];
    int full = snprintf(name, sizeof name, "B-%.100s", kind);
    joiner j = {.tags = tags, .begin = (int16_t)ng_labels_find(labels, name, (size_t)full), .n = n, .text = text, .len = len};
    if (j.begin < 0) return;
    while (j.word < n && j.at < len) {
        size_t end = j.word + 1;
        if (of_kind(&j, j.word) && group(&j, &end))
            for (size_t i = j.word + 1; i < end; i++) tags[i] = (int16_t)(j.begin + 1);
        for (; j.word < end; j.word++) j.at = word_end(&j, j.at) + 1;
    }
}
