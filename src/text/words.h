/* words.h: the words of a text, one after the other.
 *
 *     size_t pos = 0;
 *     ng_word w;
 *     while (ng_word_next(text, len, &pos, &w))
 *         printf("%.*s\n", (int)(w.end - w.start), text + w.start);
 *
 * A practical UAX #29: runs of letters with their marks, joined over an apostrophe, middle dot or
 * colon ("don't", "l’eau"); numbers with their separators ("3.14", "1,000"); each Han ideograph and
 * Hiragana letter alone; Katakana and scripts without spaces (Thai, Lao, Khmer, Burmese) as runs.
 * Spaces, punctuation, symbols and invalid bytes are between words. */
#ifndef NG_TEXT_WORDS_H
#define NG_TEXT_WORDS_H

#include <stdbool.h>
#include <stddef.h>

typedef enum ng_word_kind { NG_WORD_LETTERS, NG_WORD_NUMBER, NG_WORD_IDEOGRAPH } ng_word_kind;

typedef struct ng_word {
    size_t start, end; /* bytes [start, end) */
    ng_word_kind kind; /* NUMBER: begins with a digit and has no letters */
} ng_word;

/* The next word at or after *pos, which moves to its end; false when there is none. */
bool ng_word_next(const char *text, size_t len, size_t *pos, ng_word *out);

#endif
