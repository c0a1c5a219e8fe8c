/* vocab.h: the inside of an ng_tokenizer, shared by the files of this room, and how other rooms make
 * one from a file that is already open:
 *
 *     ng_tokenizer *t;
 *     if (ng_tokenizer_load(&t, gguf, &err)) ..      nothing is borrowed from gguf afterwards
 *     ng_tokenizer_close(t); */
#ifndef NG_TOKENIZER_VOCAB_H
#define NG_TOKENIZER_VOCAB_H

#include <nanogrid/tokenizer.h>

#include "added.h"
#include "bpe.h"
#include "wordpiece.h"

typedef enum ng_tokenizer_kind { NG_TOKENIZER_BPE, NG_TOKENIZER_WORDPIECE } ng_tokenizer_kind;

/* tokenizer.ggml.token_type */
typedef enum ng_token_type {
    NG_TOKEN_NORMAL = 1,
    NG_TOKEN_UNKNOWN,
    NG_TOKEN_CONTROL,
    NG_TOKEN_USER_DEFINED,
    NG_TOKEN_UNUSED,
    NG_TOKEN_BYTE,
} ng_token_type;

enum { NG_TOKENIZER_EOG_MAX = 16 };

struct ng_tokenizer {
    ng_arena *arena; /* everything below, and this struct */
    ng_tokenizer_kind kind;
    size_t n_vocab;
    char *text;       /* the tokens' bytes, one after the other: decoded for BPE, as written for WordPiece */
    uint32_t *offset; /* [n_vocab + 1] */
    uint8_t *type;    /* [n_vocab] */
    bool marked;      /* WordPiece: words begin with U+2581 (llama.cpp's form), else tails with "##" */
    int32_t bos, eos, unk;
    int32_t prefix, suffix; /* what add_special puts around a text; -1: nothing */
    int32_t eog[NG_TOKENIZER_EOG_MAX];
    int n_eog;
    ng_added added;
    ng_bpe bpe;
    ng_wordpiece wordpiece;
    char *chat_template; /* NUL-terminated, or NULL */
};

ng_status ng_tokenizer_load(ng_tokenizer **out, const ng_gguf *g, ng_error *err) NG_MUST_USE;
static inline size_t ng_tokenizer_bytes(const ng_tokenizer *t) { return ng_arena_bytes(t->arena); }

/* The token's bytes as stored; id is in range. */
static inline const char *ng_token_text(const ng_tokenizer *t, int32_t id, size_t *len) {
    *len = t->offset[id + 1] - t->offset[id];
    return t->text + t->offset[id];
}

/* WordPiece: the letters of a token without its mark; *tail tells whether it goes on a word. */
const char *ng_wordpiece_letters(const ng_tokenizer *t, int32_t id, size_t *len, bool *tail);
/* WordPiece: the token that these letters are as a whole word, or -1. */
static inline int32_t ng_wordpiece_word(const ng_tokenizer *t, const char *s, size_t len) {
    return ng_token_table_get(&t->wordpiece.words, s, len);
}

#endif
