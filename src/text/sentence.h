/* sentence.h: a text cut into sentences.
 *
 *     ng_span *s;
 *     size_t n;
 *     if (ng_sentences(text, len, &s, &n, &err)) ..
 *     for (size_t i = 0; i < n; i++) printf("%.*s\n", (int)(s[i].end - s[i].start), text + s[i].start);
 *     free(s);
 *
 * A practical UAX #29 with what readers know beside it: abbreviations ("Dr. Lee", "e.g. this"),
 * initials, decimals, ellipses, list numbers, closing quotes, paragraphs and bullets, the full stops
 * of other scripts (CJK needs no space after it).  Spans are trimmed, never empty, rise and do not
 * overlap.  Invalid UTF-8 is text like any other. */
#ifndef NG_TEXT_SENTENCE_H
#define NG_TEXT_SENTENCE_H

#include <nanogrid/status.h>

typedef struct ng_span {
    size_t start, end; /* bytes [start, end) */
} ng_span;

/* *out ends with free() and is never NULL on success, even when *n is 0. */
ng_status ng_sentences(const char *text, size_t len, ng_span **out, size_t *n,
                       ng_error *err) NG_MUST_USE;
/* The same without memory: the next sentence at or after *pos, which moves behind it; false when
 * there is none. */
bool ng_sentence_next(const char *text, size_t len, size_t *pos, ng_span *out);

#endif
