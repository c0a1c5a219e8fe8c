/* vocab.c: from the keys `tokenizer.ggml.*` of a GGUF file to a tokenizer.  See vocab.h.
 *
 * Everything is copied out of the file: a vocabulary is small (SmolLM2's is 0.4 MB of text) and may
 * then outlive the mapping.  Ids from the file are checked against the vocabulary before use, so that
 * no later code has to.  What this version does not know it refuses by name: a wrong pre-tokenizer
 * gives ids that look right and are not. */
#include "vocab.h"

#include "core/checked.h"

#include <string.h>

#define KEY(name) "tokenizer.ggml." name

static ng_status out_of_memory(ng_error *err, const ng_tokenizer *t) {
    return ng_fail(err, NG_ENOMEM, "tokenizer: out of memory for a vocabulary of %zu", t->n_vocab);
}

static bool str_is(ng_str s, const char *text) { return s.len == strlen(text) && !memcmp(s.data, text, s.len); }

static ng_status read_kind(ng_tokenizer *t, const ng_gguf *g, ng_error *err) {
    ng_str model, pre;
    ng_status s = ng_gguf_get_str(g, KEY("model"), &model, err);
    if (s) return s;
    if (str_is(model, "bert")) return t->kind = NG_TOKENIZER_WORDPIECE, NG_OK;
    if (!str_is(model, "gpt2"))
        return ng_fail(err, NG_EUNSUPPORTED, "tokenizer: tokenizer.ggml.model is \"%.*s\"; this version knows gpt2 "
                       "(byte-level BPE) and bert (WordPiece)", model.len < 64 ? (int)model.len : 64, model.data);
    t->kind = NG_TOKENIZER_BPE;
    if (!ng_gguf_has(g, KEY("pre")))
        return ng_fail(err, NG_EUNSUPPORTED, "tokenizer: the file has no tokenizer.ggml.pre, so its pre-tokenizer is "
                       "not known; convert the model again");
    if ((s = ng_gguf_get_str(g, KEY("pre"), &pre, err))) return s;
    if (!(t->bpe.pretok = ng_pretok_find(pre.data, pre.len)))
        return ng_fail(err, NG_EUNSUPPORTED,
                       "tokenizer: pre-tokenizer \"%.*s\" is not supported; this version knows %s",
                       pre.len < 64 ? (int)pre.len : 64, pre.data, ng_pretok_names());
    return NG_OK;
}

static ng_status read_types(ng_tokenizer *t, const ng_gguf *g, ng_error *err) {
    ng_gguf_array types;
    memset(t->type, NG_TOKEN_NORMAL, t->n_vocab);
    if (!ng_gguf_has(g, KEY("token_type"))) return NG_OK;
    ng_status s = ng_gguf_get_array(g, KEY("token_type"), &types, err);
    if (s) return s;
    if (types.kind == NG_GGUF_STRING || types.len != t->n_vocab)
        return ng_fail(err, NG_EFORMAT, "tokenizer: tokenizer.ggml.token_type has %zu entries for %zu tokens",
                       types.len, t->n_vocab);
    for (size_t i = 0; i < t->n_vocab; i++) {
        int64_t type = ng_gguf_array_int(&types, i);
        if (type < NG_TOKEN_NORMAL || type > NG_TOKEN_BYTE)
            return ng_fail(err, NG_EFORMAT, "tokenizer: token %zu has type %lld, which is none", i, (long long)type);
        t->type[i] = (uint8_t)type;
    }
    return NG_OK;
}

/* Copies the tokens, those of BPE as the bytes they stand for.  A normal token that is not written in
 * the byte alphabet can never be reached by merges: it is kept as text, and marked unused. */
static ng_status read_tokens(ng_tokenizer *t, const ng_gguf *g, ng_error *err) {
    ng_gguf_array a;
    ng_status s = ng_gguf_get_array(g, KEY("tokens"), &a, err);
    if (s) return s;
    if (a.kind != NG_GGUF_STRING || a.len == 0 || a.len > INT32_MAX)
        return ng_fail(err, NG_EFORMAT, "tokenizer: tokenizer.ggml.tokens is no list of strings, or is empty");
    t->n_vocab = a.len;
    size_t bytes = 0, at = 0;
    for (size_t i = 0; i < a.len; i++)
        if (!ng_add_ok(&bytes, bytes, a.strs[i].len) || bytes > UINT32_MAX)
            return ng_fail(err, NG_EFORMAT, "tokenizer: the tokens hold more than 4 GiB of text");
    t->text = ng_arena_alloc(t->arena, bytes + 1);
    t->offset = ng_arena_array(t->arena, a.len + 1, sizeof *t->offset);
    t->type = ng_arena_alloc(t->arena, a.len);
    if (!t->text || !t->offset || !t->type) return out_of_memory(err, t);
    if ((s = read_types(t, g, err))) return s;
    for (size_t i = 0; i < a.len; i++) {
        size_t n = a.strs[i].len;
        bool coded = t->kind == NG_TOKENIZER_BPE && t->type[i] == NG_TOKEN_NORMAL;
        t->offset[i] = (uint32_t)at;
        if (!coded || !ng_bytelevel_decode(a.strs[i].data, a.strs[i].len, t->text + at, &n)) {
            n = a.strs[i].len;
            memcpy(t->text + at, a.strs[i].data, n);
            if (coded) t->type[i] = NG_TOKEN_UNUSED;
        }
        at += n;
    }
    t->offset[a.len] = (uint32_t)at;
    return NG_OK;
}

/* ---- ids and policies -------------------------------------------------------------------------- */

static ng_status read_id(const ng_tokenizer *t, const ng_gguf *g, const char *key, int32_t *id, ng_error *err) {
    uint32_t v;
    if (!ng_gguf_has(g, key)) return NG_OK;
    ng_status s = ng_gguf_get_u32(g, key, &v, err);
    if (s) return s;
    if (v >= t->n_vocab)
        return ng_fail(err, NG_EFORMAT, "tokenizer: %s is %u, but the vocabulary has %zu tokens", key, v, t->n_vocab);
    *id = (int32_t)v;
    return NG_OK;
}

static void add_eog(ng_tokenizer *t, int32_t id) {
    if (id < 0 || ng_tokenizer_is_eog(t, id) || t->n_eog == NG_TOKENIZER_EOG_MAX) return;
    t->eog[t->n_eog++] = id;
}

/* Files name one end of text, but chat models end their turns with another token. */
static ng_status read_eog(ng_tokenizer *t, const ng_gguf *g, ng_error *err) {
    static const char *const keys[] = {KEY("eot_token_id"), KEY("eom_token_id")};
    static const char *const texts[] = {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>",
                                        "<|end|>", "<end_of_turn>", "<EOT>", "<|endofprompt|>"};
    add_eog(t, t->eos);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int32_t id = -1;
        ng_status s = read_id(t, g, keys[i], &id, err);
        if (s) return s;
        add_eog(t, id);
    }
    for (size_t id = 0; id < t->n_vocab; id++) {
        size_t len;
        const char *text = ng_token_text(t, (int32_t)id, &len);
        if (t->type[id] != NG_TOKEN_CONTROL) continue;
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
            if (strlen(texts[i]) == len && !memcmp(texts[i], text, len)) add_eog(t, (int32_t)id);
    }
    return NG_OK;
}

/* What stands around a text.  Files say it in up to three flags; where they are silent BERT's models
 * want [CLS] and [SEP], and of the others only Llama 3 a beginning. */
static ng_status read_policy(ng_tokenizer *t, const ng_gguf *g, ng_error *err) {
    bool bert = t->kind == NG_TOKENIZER_WORDPIECE, add_bos, add_eos, add_sep;
    int32_t cls = -1, sep = -1;
    ng_status s = read_id(t, g, KEY("bos_token_id"), &t->bos, err);
    if (!s) s = read_id(t, g, KEY("eos_token_id"), &t->eos, err);
    if (!s) s = read_id(t, g, KEY("unknown_token_id"), &t->unk, err);
    if (!s) s = read_id(t, g, KEY("cls_token_id"), &cls, err);
    if (!s) s = read_id(t, g, KEY("seperator_token_id"), &sep, err); /* the format's own spelling */
    if (!s) s = ng_gguf_get_bool_or(g, KEY("add_bos_token"), bert || t->bpe.pretok->add_bos, &add_bos, err);
    if (!s)
        s = ng_gguf_get_bool_or(g, KEY("add_sep_token"), bert && !ng_gguf_has(g, KEY("add_eos_token")), &add_sep, err);
    if (!s) s = ng_gguf_get_bool_or(g, KEY("add_eos_token"), false, &add_eos, err);
    if (s) return s;
    if (bert) {
        if (t->unk < 0) t->unk = ng_tokenizer_find(t, "[UNK]", 5);
        if (cls < 0) cls = t->bos >= 0 ? t->bos : ng_tokenizer_find(t, "[CLS]", 5);
        if (sep < 0) sep = t->eos >= 0 ? t->eos : ng_tokenizer_find(t, "[SEP]", 5);
        if (t->bos < 0) t->bos = cls;
        if (t->unk < 0)
            return ng_fail(err, NG_EFORMAT, "tokenizer: a WordPiece vocabulary needs an unknown token ([UNK])");
    }
    t->prefix = add_bos ? t->bos : -1;
    t->suffix = add_eos ? t->eos : add_sep ? sep : -1;
    return read_eog(t, g, err);
}

/* ---- tables ------------------------------------------------------------------------------------ */

static bool is_added(ng_tokenizer *t, size_t id) {
    return t->type[id] == NG_TOKEN_CONTROL || t->type[id] == NG_TOKEN_USER_DEFINED || t->type[id] == NG_TOKEN_UNKNOWN;
}

static ng_status fill_added(ng_tokenizer *t) {
    size_t bytes = 0, len;
    for (size_t id = 0; id < t->n_vocab; id++)
        if (is_added(t, id)) bytes += t->offset[id + 1] - t->offset[id];
    ng_status s = ng_added_init(&t->added, t->arena, bytes);
    for (size_t id = 0; !s && id < t->n_vocab; id++)
        if (is_added(t, id)) {
            const char *text = ng_token_text(t, (int32_t)id, &len);
            ng_added_put(&t->added, text, len, (int32_t)id, t->type[id] != NG_TOKEN_USER_DEFINED);
        }
    return s;
}

static ng_status fill_bpe(ng_tokenizer *t, const ng_gguf *g, ng_error *err) {
    if (ng_token_table_init(&t->bpe.pieces, t->arena, t->n_vocab)) return out_of_memory(err, t);
    for (size_t id = 0; id < t->n_vocab; id++) {
        size_t len;
        const char *text = ng_token_text(t, (int32_t)id, &len);
        if (len && t->type[id] == NG_TOKEN_NORMAL) ng_token_table_put(&t->bpe.pieces, text, len, (int32_t)id);
    }
    return ng_bpe_init(&t->bpe, t->arena, g, t->n_vocab, err);
}

static const char mark[] = "\xE2\x96\x81"; /* U+2581 */

const char *ng_wordpiece_letters(const ng_tokenizer *t, int32_t id, size_t *len, bool *tail) {
    const char *s = ng_token_text(t, id, len);
    size_t skip = t->marked ? 3 : 2;
    bool has = *len > skip && !memcmp(s, t->marked ? mark : "##", skip);
    *tail = t->type[id] == NG_TOKEN_NORMAL && has != t->marked;
    if (!has) return s;
    *len -= skip;
    return s + skip;
}

static ng_status fill_wordpiece(ng_tokenizer *t, const ng_gguf *g, ng_error *err) {
    ng_wordpiece *w = &t->wordpiece;
    ng_status s = ng_gguf_get_bool_or(g, KEY("normalizer.lowercase"), true, &w->lower, err);
    if (!s) s = ng_gguf_get_bool_or(g, KEY("normalizer.strip_accents"), w->lower, &w->strip, err);
    if (s) return s;
    if (ng_token_table_init(&w->words, t->arena, t->n_vocab) || ng_token_table_init(&w->tails, t->arena, t->n_vocab))
        return out_of_memory(err, t);
    w->unk = t->unk;
    for (size_t id = 0; id < t->n_vocab && !t->marked; id++)
        t->marked = t->offset[id + 1] - t->offset[id] > 3 && !memcmp(t->text + t->offset[id], mark, 3);
    for (size_t id = 0; id < t->n_vocab; id++) {
        size_t len;
        bool tail;
        const char *text = ng_wordpiece_letters(t, (int32_t)id, &len, &tail);
        if (t->type[id] != NG_TOKEN_NORMAL || !len) continue;
        size_t *most = tail ? &w->tails_longest : &w->words_longest;
        *most = len > *most ? len : *most;
        ng_token_table_put(tail ? &w->tails : &w->words, text, len, (int32_t)id);
    }
    return NG_OK;
}

static ng_status read_template(ng_tokenizer *t, const ng_gguf *g, ng_error *err) {
    ng_str s;
    if (!ng_gguf_has(g, "tokenizer.chat_template")) return NG_OK;
    ng_status status = ng_gguf_get_str(g, "tokenizer.chat_template", &s, err);
    if (status) return status;
    t->chat_template = ng_arena_strndup(t->arena, s.data, s.len);
    return t->chat_template ? NG_OK : out_of_memory(err, t);
}

ng_status ng_tokenizer_load(ng_tokenizer **out, const ng_gguf *g, ng_error *err) {
    ng_arena *arena;
    *out = NULL;
    if (ng_arena_new(&arena, 1 << 16)) return ng_fail(err, NG_ENOMEM, "tokenizer: out of memory");
    ng_tokenizer *t = ng_arena_alloc(arena, sizeof *t);
    if (!t) {
        ng_arena_free(arena);
        return ng_fail(err, NG_ENOMEM, "tokenizer: out of memory");
    }
    t->arena = arena;
    t->bos = t->eos = t->unk = t->prefix = t->suffix = -1;
    ng_status s = read_kind(t, g, err);
    if (!s) s = read_tokens(t, g, err);
    if (!s) s = read_policy(t, g, err);
    if (!s && fill_added(t)) s = out_of_memory(err, t);
    if (!s) s = t->kind == NG_TOKENIZER_BPE ? fill_bpe(t, g, err) : fill_wordpiece(t, g, err);
    if (!s) s = read_template(t, g, err);
    if (s) ng_tokenizer_close(t);
    else *out = t;
    return s;
}

ng_status ng_tokenizer_open(ng_tokenizer **out, const char *path, ng_error *err) {
    ng_gguf *g;
    *out = NULL;
    ng_status s = ng_gguf_open(&g, path, err);
    if (s) return s;
    s = ng_tokenizer_load(out, g, err);
    ng_gguf_close(g);
    return s;
}

void ng_tokenizer_close(ng_tokenizer *t) {
    if (t) ng_arena_free(t->arena);
}
