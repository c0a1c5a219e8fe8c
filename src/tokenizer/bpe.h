/* bpe.h: byte-level byte-pair encoding (Sennrich et al. 2016; Radford et al. 2019).
 *
 *     ng_bpe_scratch scratch = {0};
 *     ng_bpe_scratch_start(&scratch, len);           worth it for longer texts only
 *     ng_bpe_encode(&t->bpe, text, len, &scratch, &ids, &err);
 *     ng_bpe_scratch_clear(&scratch);
 *
 * Ids are those of the reference definition: within each piece of the pre-tokenizer the pair of the
 * lowest rank, leftmost first, is merged until none is left.  A byte that the vocabulary has no token
 * for (SmolLM2 lacks some control characters) is dropped, as both reference engines do; one that no
 * UTF-8 text holds becomes U+FFFD. */
#ifndef NG_TOKENIZER_BPE_H
#define NG_TOKENIZER_BPE_H

#include "gguf/gguf.h"
#include "pretok.h"
#include "token_table.h"

#include <stdatomic.h>

typedef struct ng_merge_slot {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX: free */
    uint32_t rank;
    int32_t id; /* what the two become */
} ng_merge_slot;

typedef struct ng_bpe {
    const ng_pretok *pretok;
    ng_token_table pieces;     /* the bytes of every normal token */
    ng_merge_slot *merges;     /* [merges_mask + 1] */
    uint32_t merges_mask;
    int32_t *merged;           /* [n_merges]: rank to id */
    uint32_t *byte_pairs;      /* [256 * 256]: ranks of pairs of single bytes; UINT32_MAX: none */
    int32_t byte_id[256];      /* where the vocabulary has no token for a byte: DROPPED or REPLACED */
    bool bytes_missing;
    int32_t replacement[3];    /* U+FFFD, as far as it has tokens */
    size_t n_replacement;
    /* Per id: do the merges turn the token's own bytes into it?  0 not known yet, 1 yes, 2 no.
     * Written by whoever finds out; every writer writes the same. */
    _Atomic uint8_t *whole;
} ng_bpe;

/* pretok is set and pieces is filled.  Reads tokenizer.ggml.merges. */
ng_status ng_bpe_init(ng_bpe *b, ng_arena *a, const ng_gguf *g, size_t n_vocab, ng_error *err) NG_MUST_USE;

/* "Ġthe" to " the": GPT-2's printable alphabet back to bytes.  out has room for len bytes; false when
 * a character stands for no byte. */
bool ng_bytelevel_decode(const char *s, size_t len, char *out, size_t *n);

struct ng_bpe_seen;
/* What one call of ng_tokenize remembers: pieces seen lately and where their ids stand. */
typedef struct ng_bpe_scratch {
    struct ng_bpe_seen *seen;
    size_t n_seen; /* a power of two, or 0 */
} ng_bpe_scratch;

/* Takes memory in keeping with a text of len bytes; a zeroed scratch works too. */
void ng_bpe_scratch_start(ng_bpe_scratch *s, size_t len);
/* Appends the ids of text.  One scratch serves all parts of one text, while `text` and the ids
 * written so far stay where they are by index. */
ng_status ng_bpe_encode(const ng_bpe *b, const char *text, size_t len, ng_bpe_scratch *scratch,
                        ng_ids *ids, ng_error *err) NG_MUST_USE;
void ng_bpe_scratch_clear(ng_bpe_scratch *s);

#endif
