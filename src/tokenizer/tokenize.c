/* tokenize.c: ng_tokenize and the questions about a vocabulary.  See nanogrid/tokenizer.h.
 *
 * The text is cut at added tokens first; what stands between them goes to the model's own algorithm
 * as a text of its own, so that, as in the reference implementations, a pattern's look-ahead sees an
 * end of text there. */
#include "vocab.h"

#include <string.h>

enum { TEXT_MAX = 256 << 20 };

static ng_status encode(const ng_tokenizer *t, const char *text, size_t len, ng_bpe_scratch *scratch, ng_ids *ids,
                        ng_error *err) {
    if (!len) return NG_OK;
    return t->kind == NG_TOKENIZER_BPE ? ng_bpe_encode(&t->bpe, text, len, scratch, ids, err)
                                       : ng_wordpiece_encode(&t->wordpiece, text, len, ids, err);
}

static ng_status put_id(ng_ids *ids, int32_t id, ng_error *err) {
    if (ng_ids_reserve(ids, 1)) return ng_fail(err, NG_ENOMEM, "tokenizer: %zu ids", ids->len);
    ids->data[ids->len++] = id;
    return NG_OK;
}

static ng_status encode_all(const ng_tokenizer *t, const char *text, size_t len, bool special,
                            ng_bpe_scratch *scratch, ng_ids *ids, ng_error *err) {
    ng_added_hit hit;
    size_t at = 0;
    while (ng_added_find(&t->added, text, len, at, special, &hit)) {
        ng_status s = encode(t, text + at, hit.start - at, scratch, ids, err);
        if (!s) s = put_id(ids, hit.id, err);
        if (s) return s;
        at = hit.end;
    }
    return encode(t, text + at, len - at, scratch, ids, err);
}

ng_status ng_tokenize(const ng_tokenizer *t, const char *text, size_t len, const ng_tokenize_options *opt,
                      int32_t **ids, size_t *n, ng_error *err) {
    static const ng_tokenize_options none;
    ng_ids v = {0};
    ng_bpe_scratch scratch = {0};
    *ids = NULL;
    *n = 0;
    if (!opt) opt = &none;
    if (len > TEXT_MAX) return ng_fail(err, NG_ELIMIT, "tokenizer: a text of %zu bytes; at most %d", len, TEXT_MAX);
    if (ng_ids_reserve(&v, len / 4 + 8)) return ng_fail(err, NG_ENOMEM, "tokenizer: %zu bytes of text", len);
    if (opt->add_special && t->prefix >= 0) v.data[v.len++] = t->prefix;
    if (t->kind == NG_TOKENIZER_BPE) ng_bpe_scratch_start(&scratch, len);
    ng_status s = encode_all(t, text, len, opt->parse_special, &scratch, &v, err);
    if (!s && opt->add_special && t->suffix >= 0) s = put_id(&v, t->suffix, err);
    ng_bpe_scratch_clear(&scratch);
    if (s) {
        free(v.data);
        return s;
    }
    *ids = v.data;
    *n = v.len;
    return NG_OK;
}

size_t ng_tokenizer_n_vocab(const ng_tokenizer *t) { return t->n_vocab; }
int32_t ng_tokenizer_bos(const ng_tokenizer *t) { return t->bos; }
int32_t ng_tokenizer_eos(const ng_tokenizer *t) { return t->eos; }

bool ng_tokenizer_is_eog(const ng_tokenizer *t, int32_t id) {
    for (int i = 0; i < t->n_eog; i++)
        if (t->eog[i] == id) return true;
    return false;
}

int32_t ng_tokenizer_find(const ng_tokenizer *t, const char *text, size_t len) {
    for (size_t id = 0; id < t->n_vocab; id++)
        if (t->offset[id + 1] - t->offset[id] == len && !memcmp(t->text + t->offset[id], text, len)) return (int32_t)id;
    return -1;
}
