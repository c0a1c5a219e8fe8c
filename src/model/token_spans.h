/* token_spans.h: a text as words with byte offsets and their ids, and tags as spans: what heads on tokens need.
 *
 *     ng_tagging t;
 *     ng_tag_text(&t, &(ng_tag_source){session, tokenizer, head, n_most}, text, len, &err);     any length
 *     n = ng_tags_to_spans(spans, t.tags, t.w.n_words, head->labels);       spans[k].first .. .last are words
 *     .. t.w.words[spans[k].first].start, t.p[..]
 *     ng_tagging_clear(&t);
 *
 * A word is what BERT's tokenizer never joins: a run of characters between white space, each punctuation
 * mark by itself.  A word is tagged where its first piece stands.  The ids are those of the text as a
 * whole, special ones around. */
#ifndef NG_MODEL_TOKEN_SPANS_H
#define NG_MODEL_TOKEN_SPANS_H

#include <nanogrid/model.h>
#include <nanogrid/tokenizer.h>

struct ng_encoder_head;

/* What an uncased encoder's ids do not tell of a word: bits of its shape. */
enum ng_shape {
    NG_SHAPE_LOWER = 1,        /* its first letter is a small one */
    NG_SHAPE_CAPITAL = 1 << 1, /* the first alone is a capital; in a text of mostly such words TITLE instead */
    NG_SHAPE_TITLE = 1 << 2,
    NG_SHAPE_CAPS = 1 << 3,    /* two and more letters, all capitals; in a text of mostly such words SHOUT instead */
    NG_SHAPE_SHOUT = 1 << 4,
    NG_SHAPE_INITIAL = 1 << 5, /* one letter, a capital */
    NG_SHAPE_MIXED = 1 << 6,   /* capitals within */
    NG_SHAPE_DIGIT = 1 << 7,   /* holds a digit */
    NG_SHAPE_NONE = 1 << 8,    /* no letter nor digit */
    NG_SHAPE_FIRST = 1 << 9,   /* of the text, or behind . ! ? */
    NG_SHAPE_NAMED = 1 << 10,  /* "@" or "#" stands right before it */
    NG_SHAPE_NAMING = 1 << 11, /* it is "@" or "#" and a word follows without a space */
    NG_SHAPE_EDGE = 1 << 12    /* no word: beyond the text's ends */
};
enum { NG_SHAPE_BITS = 13, NG_SHAPE_WORDS = 3, NG_SHAPE_INPUTS = NG_SHAPE_BITS * NG_SHAPE_WORDS };

typedef struct ng_text_word {
    uint32_t start, end; /* bytes */
    uint32_t row;        /* of its first piece among the ids */
    uint16_t shape;
} ng_text_word;

typedef struct ng_word_ids {
    int32_t *ids;
    size_t n_ids;
    ng_text_word *words; /* [n_words]: those whose first piece is among the ids */
    size_t n_words, n_all; /* n_all: ids that the whole text would have */
} ng_word_ids;

/* At most n_most ids (>= 3): the rest of the text is left out.  Texts over 2^31 bytes are NG_ELIMIT. */
ng_status ng_word_ids_new(ng_word_ids *out, const ng_tokenizer *t, const char *text, size_t len, size_t n_most,
                          ng_error *err) NG_MUST_USE;
void ng_word_ids_clear(ng_word_ids *w);
/* The shapes of the word before word i, of i, and of the word behind it. */
void ng_word_shapes(uint16_t shapes[NG_SHAPE_WORDS], const ng_word_ids *w, size_t i);

typedef struct ng_tag_span {
    size_t first, last; /* words, last included */
    const char *kind;   /* the label without "B-" or "I-" */
} ng_tag_span;
/* Spans of tags [n]; an I- that continues nothing of its kind begins a span.  spans has room for n; returns
 * how many. */
size_t ng_tags_to_spans(ng_tag_span *spans, const int32_t *tags, size_t n, const char *const *labels);

/* Whether a text is no more than what parts the pieces of one address: white space, line marks ("> ", "- "), commas, up to 12 bytes. */
bool ng_span_gap(const char *text, size_t len);

typedef struct ng_tag_source {
    ng_session *session;
    const ng_tokenizer *tokenizer;
    const struct ng_encoder_head *head; /* on tokens (encoder_heads.h) */
    size_t n_most;       /* ids of one forward, at least 8 */
    const float *hidden; /* rows of the text's first n_most ids, where they are known; or NULL */
} ng_tag_source;

typedef struct ng_tagging {
    ng_word_ids w;
    int32_t *tags; /* [w.n_words] */
    float *p;      /* [w.n_words] the tag's probability */
} ng_tagging;

/* Longer texts are read in windows that overlap by a quarter. */
ng_status ng_tag_text(ng_tagging *out, const ng_tag_source *src, const char *text, size_t len,
                      ng_error *err) NG_MUST_USE;
void ng_tagging_clear(ng_tagging *t);

#endif
