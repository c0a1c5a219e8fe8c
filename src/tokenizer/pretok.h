/* pretok.h: cuts text into the pieces inside which byte-level BPE merges.
 *
 *     const ng_pretok *p = ng_pretok_find("smollm", 6);     NULL: unknown
 *     for (size_t i = 0, end; i < len; i = end) {
 *         end = ng_pretok_next(p, text, len, i);            i < end <= len
 *     }
 *
 * The published patterns are regular expressions with a look-ahead; each is a hand-written scanner
 * here that reads every byte a bounded number of times.  Bytes that are not UTF-8 count as symbols. */
#ifndef NG_TOKENIZER_PRETOK_H
#define NG_TOKENIZER_PRETOK_H

#include <nanogrid/status.h>

typedef struct ng_pretok {
    const char *name;    /* the value of tokenizer.ggml.pre */
    uint8_t style;       /* which scanner */
    uint8_t digits_max;  /* numbers are cut into groups of at most this many; 0: not cut */
    bool ignore_merges;  /* a piece that is a token is that token, whatever the merges say */
    bool add_bos;        /* unless the file says otherwise */
} ng_pretok;

const ng_pretok *ng_pretok_find(const char *name, size_t len);
/* "gpt-2, smollm, .." for messages. */
const char *ng_pretok_names(void);
/* The end of the piece that begins at i < len. */
size_t ng_pretok_next(const ng_pretok *p, const char *text, size_t len, size_t i);

#endif
