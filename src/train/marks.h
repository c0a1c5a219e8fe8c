/* marks.h: marked stretches of a text as words and a tag each: what heads on tokens learn from.
 *
 *     ng_marks m = {.len = 0};
 *     m.items[m.len++] = (ng_mark){0, 8, "person", 6};                        bytes of the text, in order, apart from each other
 *     ng_marks_to_tags(&words, &tags, &m, "Ada King wrote", 14, NG_LETTERS_AS_THEY_ARE);       "Ada King wrote", "B-person I-person O"
 *     ng_tags_join(tags, 3, "Ada King wrote", 3, labels, "location");         addresses in pieces become one
 *
 * Words are parted by one space; a mark's ends part words too. */
#ifndef NG_TRAIN_MARKS_H
#define NG_TRAIN_MARKS_H

#include "train/data.h"
#include <nanogrid/buf.h>

enum { NG_MARKS_MAX = 64 };

typedef struct ng_mark {
    size_t start, end;
    const char *kind;
    size_t kind_len;
} ng_mark;

typedef struct ng_marks {
    ng_mark items[NG_MARKS_MAX];
    size_t len;
} ng_marks;

typedef enum ng_letters { NG_LETTERS_AS_THEY_ARE, NG_LETTERS_SMALL, NG_LETTERS_CAPITAL } ng_letters;

/* Replaces what both buffers held; `letters` of the words.  Fails where a buffer does. */
ng_status ng_marks_to_tags(ng_buf *words, ng_buf *tags, const ng_marks *m, const char *text, size_t len,
                           ng_letters letters) NG_MUST_USE;

/* Neighbours of the kind that nothing but marks such as a comma part (ng_span_gap, model/token_spans.h) become one where a digit is in
 * one of them: an address whose street, town and code are marked each for itself.  tags [n] are labels of the text's n words. */
void ng_tags_join(int16_t *tags, size_t n, const char *text, size_t len, const ng_labels *labels, const char *kind);

#endif
