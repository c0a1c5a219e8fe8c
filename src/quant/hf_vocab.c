/* hf_vocab.c: see hf_vocab.h.
 *
 * What llama.cpp expects of a vocabulary, and where it is taken from:
 *   tokens      model.vocab and added_tokens of tokenizer.json, or the lines of vocab.txt; ids that
 *               nothing names become "[PADn]", unused.
 *   types       an added token is control when it is special or looks it ("<|..|>"), else it is
 *               user-defined.
 *   WordPiece   is stored in "phantom space" form: a token that begins a word gets U+2581 in front,
 *               "##ing" loses its hashes, control tokens stay.
 *   pre         llama.cpp's name for the pre-tokenizer.  Its converter hashes the ids of a test
 *               text; here the pattern itself is compared, which needs no tokenizer.
 *   *_token_id  the contents named in tokenizer_config.json looked up among the added tokens, then
 *               config.json; add_*_token from the post-processor's template.
 * Not here: SentencePiece and Unigram vocabularies. */
#include "hf_vocab.h"

#include <stdlib.h>
#include <string.h>

enum { NORMAL = 1, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5 };
static const char phantom_space[] = "\xE2\x96\x81",
                  encoded_space[] = "\xC4\xA0"; /* U+2581, U+0120 */

static ng_status no_memory(const ng_hf *hf, ng_error *err) {
    return ng_fail(err, NG_ENOMEM, "convert: %.200s: no memory for the vocabulary", hf->path);
}

static bool starts_with(const char *s, const char *head) {
    return !strncmp(s, head, strlen(head));
}
static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

/* Added tokens that a tokenizer forgot to call special (base.py does_token_look_special). */
static bool looks_special(const char *t) {
    return !strcmp(t, "<pad>") || !strcmp(t, "<mask>") || !strcmp(t, "<2mass>") ||
           !strcmp(t, "[@BOS@]") || (starts_with(t, "<|") && ends_with(t, "|>")) ||
           (starts_with(t, "<unused") && ends_with(t, ">"));
}

/* ---- tokens --------------------------------------------------------------------------------- */

static ng_status set_token(ng_hf_vocab *v, json_int_t id, const char *text, int32_t type,
                           ng_error *err) {
    if (id < 0 || id >= v->n)
        return ng_fail(err, NG_EFORMAT,
                       "convert: %.200s: the id of token \"%.40s\" is %" JSON_INTEGER_FORMAT
                       ", but config.json's vocab_size is %u",
                       v->hf->path, text, id, (unsigned)v->n);
    v->tokens[id] = text;
    v->types[id] = type;
    return NG_OK;
}

static ng_status read_tokenizer_json(ng_hf_vocab *v, ng_error *err) {
    const json_t *model = json_object_get(v->tokenizer, "model");
    json_t *vocab = json_object_get(model, "vocab"), *id, *added;
    const char *text;
    size_t i;
    ng_status s = NG_OK;
    if (!json_is_object(vocab))
        return ng_fail(err, NG_EUNSUPPORTED,
                       "convert: %.200s/tokenizer.json: model.vocab is no table of tokens and ids "
                       "(only BPE and WordPiece are read)",
                       v->hf->path);
    json_object_foreach(vocab, text, id) {
        if (!json_is_integer(id))
            return ng_fail(err, NG_EFORMAT,
                           "convert: %.200s/tokenizer.json: the id of token \"%.40s\" is no number",
                           v->hf->path, text);
        if ((s = set_token(v, json_integer_value(id), text, NORMAL, err))) return s;
    }
    json_array_foreach(json_object_get(v->tokenizer, "added_tokens"), i, added) {
        text = json_string_value(json_object_get(added, "content"));
        id = json_object_get(added, "id");
        if (!text || !json_is_integer(id))
            return ng_fail(err, NG_EFORMAT,
                           "convert: %.200s/tokenizer.json: added token %zu has no content or id",
                           v->hf->path, i);
        bool control = json_is_true(json_object_get(added, "special")) || looks_special(text);
        if ((s = set_token(v, json_integer_value(id), text, control ? CONTROL : USER_DEFINED, err)))
            return s;
    }
    return NG_OK;
}

static ng_status read_vocab_txt(ng_hf_vocab *v, ng_error *err) {
    static const char *const specials[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    const char *text, *end;
    ng_status s = ng_hf_text(v->hf, "vocab.txt", &text, err);
    if (s) return s;
    if (!text)
        return ng_fail(err, NG_ENOTFOUND,
                       "convert: %.200s has neither tokenizer.json nor vocab.txt", v->hf->path);
    for (json_int_t id = 0; *text; id++, text = *end ? end + 1 : end) {
        end = strchr(text, '\n');
        if (!end) end = text + strlen(text);
        size_t len = (size_t)(end - text);
        if (len && text[len - 1] == '\r') len--;
        const char *token = ng_arena_strndup(v->hf->arena, text, len);
        if (!token) return no_memory(v->hf, err);
        int32_t type = NORMAL;
        for (size_t i = 0; i < sizeof specials / sizeof *specials; i++)
            if (!strcmp(token, specials[i])) type = CONTROL;
        if ((s = set_token(v, id, token, type, err))) return s;
    }
    return NG_OK;
}

ng_status ng_hf_vocab_read_json(ng_hf_vocab *v, ng_hf *hf, uint32_t vocab_size, json_t *tokenizer,
                                json_t *settings, ng_error *err) {
    *v = (ng_hf_vocab){.hf = hf, .n = vocab_size, .tokenizer = tokenizer, .settings = settings};
    v->tokens = ng_arena_array(hf->arena, vocab_size, sizeof *v->tokens);
    v->types = ng_arena_array(hf->arena, vocab_size, sizeof *v->types);
    ng_status s = v->tokens && v->types ? NG_OK : no_memory(hf, err);
    if (!s) s = v->tokenizer ? read_tokenizer_json(v, err) : read_vocab_txt(v, err);
    for (uint32_t i = 0; !s && i < v->n; i++) {
        if (v->tokens[i]) continue;
        v->types[i] = UNUSED;
        v->tokens[i] = ng_arena_printf(hf->arena, "[PAD%u]", (unsigned)i);
        if (!v->tokens[i]) s = no_memory(hf, err);
    }
    if (s) ng_hf_vocab_clear(v);
    return s;
}

ng_status ng_hf_vocab_read(ng_hf_vocab *v, ng_hf *hf, uint32_t vocab_size, ng_error *err) {
    json_t *tokenizer = NULL, *settings = NULL;
    *v = (ng_hf_vocab){0};
    ng_status s = ng_hf_json(hf, "tokenizer.json", false, &tokenizer, err);
    if (!s) s = ng_hf_json(hf, "tokenizer_config.json", false, &settings, err);
    if (!s) return ng_hf_vocab_read_json(v, hf, vocab_size, tokenizer, settings, err);
    json_decref(tokenizer);
    return s;
}

void ng_hf_vocab_clear(ng_hf_vocab *v) {
    json_decref(v->tokenizer);
    json_decref(v->settings);
    *v = (ng_hf_vocab){0};
}

/* ---- pre-tokenizer -------------------------------------------------------------------------- */

#define LLAMA3_HEAD "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define LLAMA3_TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
static const struct {
    const char *pattern, *pre;
} patterns[] = {
    {LLAMA3_HEAD "\\p{N}{1,3}" LLAMA3_TAIL, "llama-bpe"},
    {LLAMA3_HEAD "\\p{N}" LLAMA3_TAIL, "qwen2"},
};

static const char *type_of(const json_t *v) {
    const char *type = json_string_value(json_object_get(v, "type"));
    return type ? type : "";
}

static bool is_byte_level(const json_t *step, bool regex) {
    return !strcmp(type_of(step), "ByteLevel") &&
           json_is_false(json_object_get(step, "use_regex")) == !regex;
}

/* llama.cpp's name, or NULL. */
static const char *find_pre(const json_t *tokenizer) {
    const json_t *pre = json_object_get(tokenizer, "pre_tokenizer"),
                 *steps = json_object_get(pre, "pretokenizers");
    if (is_byte_level(pre, true)) return "gpt-2";
    if (strcmp(type_of(pre), "Sequence")) return NULL;
    const json_t *first = json_array_get(steps, 0), *last = json_array_get(steps, 1);
    if (json_array_size(steps) == 1 && is_byte_level(first, true)) return "gpt-2";
    if (json_array_size(steps) != 2) return NULL;
    if (!strcmp(type_of(first), "Digits") &&
        json_is_true(json_object_get(first, "individual_digits")) && is_byte_level(last, true))
        return "smollm";
    const char *pattern =
        json_string_value(json_object_get(json_object_get(first, "pattern"), "Regex"));
    for (size_t i = 0; pattern && i < sizeof patterns / sizeof *patterns; i++)
        if (!strcmp(pattern, patterns[i].pattern) && is_byte_level(last, false))
            return patterns[i].pre;
    return NULL;
}

static ng_status choose_pre(const ng_hf_vocab *v, ng_hf_vocab_kind kind, const char **pre,
                            ng_error *err) {
    if (*pre) return NG_OK;
    /* llama.cpp ignores the name for WordPiece; this is what its converter finds for the uncased
     * BERT. */
    *pre = kind == NG_HF_WORDPIECE ? "jina-v2-en" : find_pre(v->tokenizer);
    if (*pre) return NG_OK;
    return ng_fail(err, NG_EUNSUPPORTED,
                   "convert: %.200s/tokenizer.json: the pre-tokenizer (%.40s) is none of gpt-2, "
                   "smollm, llama-bpe "
                   "and qwen2; name it with --pre as llama.cpp does if you know it",
                   v->hf->path, type_of(json_object_get(v->tokenizer, "pre_tokenizer")));
}

/* ---- special tokens ------------------------------------------------------------------------- */

/* "bos_token": "<s>" or {"content": "<s>"}. */
static const char *special_text(const ng_hf_vocab *v, const char *kind) {
    char key[32];
    snprintf(key, sizeof key, "%s_token", kind);
    const json_t *t = json_object_get(v->settings, key);
    return json_string_value(json_is_object(t) ? json_object_get(t, "content") : t);
}

static bool special_id(const ng_hf_vocab *v, const char *kind, const char *text, json_int_t *id) {
    char key[32];
    snprintf(key, sizeof key, "%s_token_id", kind);
    for (uint32_t i = 0; text && i < v->n; i++) {
        if (v->types[i] == NORMAL || strcmp(v->tokens[i], text))
            continue; /* only added tokens count */
        *id = i;
        return true;
    }
    const json_t *n = json_object_get(v->hf->config, key);
    *id = json_is_integer(n) ? json_integer_value(n) : -1;
    return *id >= 0 && *id < v->n;
}

static const char *template_token(const json_t *items, size_t i) {
    return json_string_value(
        json_object_get(json_object_get(json_array_get(items, i), "SpecialToken"), "id"));
}

static bool same(const char *a, const char *b) {
    return a && b && !strcmp(a, b);
}

/* Which special tokens there are, and add_{bos,eos,sep}_token: -1 not said. */
typedef struct specials {
    const char *bos, *eos, *eot, *cls, *sep;
    int add_bos, add_eos, add_sep;
} specials;

/* A [sep] B in the pair template beyond the end token: then llama.cpp adds a separator too. */
static bool template_adds_sep(const json_t *pair, bool first, bool last, const char *sep,
                              const char *eos) {
    size_t from = first ? 1 : 0, to = json_array_size(pair);
    if (last && to > 0) to--;
    if (to < from + 3) return false; /* A, the token, B */
    const char *one = template_token(pair, from + 1),
               *two = to == from + 4 ? template_token(pair, from + 2) : NULL;
    return ((same(one, sep) || same(one, eos)) && !last) || same(two, sep) || same(two, eos);
}

/* The template's own first and last tokens win over tokenizer_config.json: an end token that
 * differs from the configured one becomes "eos", and the configured one "eot" (end of turn). */
static void read_template(const json_t *p, specials *t) {
    const json_t *single = json_object_get(p, "single"), *pair = json_object_get(p, "pair");
    size_t n = json_array_size(single);
    const char *first = n > 1 ? template_token(single, 0) : NULL,
               *last = n > 1 ? template_token(single, n - 1) : NULL;
    if (first && !t->bos) t->bos = first;
    if (first) t->add_bos = same(first, t->bos) || same(first, t->cls);
    if (last && !same(last, t->eos)) {
        t->eot = t->eos;
        t->eos = last;
    }
    if (last) t->add_eos = 1;
    if (json_array_size(pair))
        t->add_sep = template_adds_sep(pair, first != NULL, last != NULL, t->sep, t->eos);
}

static void read_post_processor(const ng_hf_vocab *v, specials *t) {
    const json_t *post = json_object_get(v->tokenizer, "post_processor"),
                 *list = json_object_get(post, "processors");
    size_t n = list ? json_array_size(list) : json_is_object(post);
    for (size_t i = 0; i < n; i++) {
        const json_t *p = list ? json_array_get(list, i) : post;
        if (!strcmp(type_of(p), "ByteLevel")) {
            if (t->add_bos < 0) t->add_bos = 0;
            if (t->add_eos < 0) t->add_eos = 0;
        } else if (!strcmp(type_of(p), "RobertaProcessing")) {
            t->add_bos = t->add_eos = t->add_sep = 1;
        } else if (!strcmp(type_of(p), "TemplateProcessing")) {
            read_template(p, t);
        }
    }
    const json_t *b = json_object_get(v->settings, "add_bos_token"),
                 *e = json_object_get(v->settings, "add_eos_token");
    if (t->add_bos < 0 && json_is_boolean(b)) t->add_bos = json_is_true(b);
    if (t->add_eos < 0 && json_is_boolean(e)) t->add_eos = json_is_true(e);
}

static specials read_specials(const ng_hf_vocab *v, ng_hf_vocab_kind kind) {
    specials t = {.bos = special_text(v, "bos"),
                  .eos = special_text(v, "eos"),
                  .cls = special_text(v, "cls"),
                  .sep = special_text(v, "sep"),
                  .add_bos = -1,
                  .add_eos = -1,
                  .add_sep = -1};
    if (kind == NG_HF_WORDPIECE) { /* the defaults of BertTokenizer */
        if (!t.cls) t.cls = "[CLS]";
        if (!t.sep) t.sep = "[SEP]";
    }
    if (!t.bos) t.bos = t.cls;
    if (!t.eos) t.eos = t.sep;
    if (v->tokenizer) read_post_processor(v, &t);
    else t.add_bos = t.add_eos = 1, t.add_sep = 0;
    return t;
}

static void put_specials(const ng_hf_vocab *v, ng_gguf_writer *w, ng_hf_vocab_kind kind) {
    specials t = read_specials(v, kind);
    bool bert = kind == NG_HF_WORDPIECE;
    const char *unk = special_text(v, "unk"), *pad = special_text(v, "pad"),
               *mask = special_text(v, "mask");
    const struct {
        const char *kind, *key, *text;
    } ids[] = {
        {"bos", "tokenizer.ggml.bos_token_id", t.bos},
        {"eos", "tokenizer.ggml.eos_token_id", t.eos},
        {"unk", "tokenizer.ggml.unknown_token_id", bert && !unk ? "[UNK]" : unk},
        {"sep", "tokenizer.ggml.seperator_token_id", t.sep}, /* ggml's spelling */
        {"pad", "tokenizer.ggml.padding_token_id", bert && !pad ? "[PAD]" : pad},
        {"mask", "tokenizer.ggml.mask_token_id", bert && !mask ? "[MASK]" : mask},
        {"eot", "tokenizer.ggml.eot_token_id", t.eot},
    };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        json_int_t id;
        if (special_id(v, ids[i].kind, ids[i].text, &id))
            ng_gguf_put_u32(w, ids[i].key, (uint32_t)id);
    }
    if (t.add_bos >= 0) ng_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", t.add_bos);
    if (t.add_eos >= 0) ng_gguf_put_bool(w, "tokenizer.ggml.add_eos_token", t.add_eos);
    if (t.add_sep >= 0) ng_gguf_put_bool(w, "tokenizer.ggml.add_sep_token", t.add_sep);
}

static void put_normalizer(const ng_hf_vocab *v, ng_gguf_writer *w, const json_t *n) {
    const json_t *item, *lower = json_object_get(n, "lowercase"),
                        *strip = json_object_get(n, "strip_accents");
    const char *type = type_of(n);
    size_t i;
    if (!strcmp(type, "Sequence")) {
        json_array_foreach(json_object_get(n, "normalizers"), i,
                           item) if (strcmp(type_of(item), "Sequence"))
            put_normalizer(v, w, item); /* no deeper: bounded */
        return;
    }
    bool bert = !strcmp(type, "BertNormalizer");
    if (!strcmp(type, "Lowercase"))
        ng_gguf_put_bool(w, "tokenizer.ggml.normalizer.lowercase", true);
    if (!strcmp(type, "StripAccents"))
        ng_gguf_put_bool(w, "tokenizer.ggml.normalizer.strip_accents", true);
    if (bert && json_is_boolean(lower))
        ng_gguf_put_bool(w, "tokenizer.ggml.normalizer.lowercase", json_is_true(lower));
    if (bert && json_is_boolean(strip))
        ng_gguf_put_bool(w, "tokenizer.ggml.normalizer.strip_accents", json_is_true(strip));
}

/* ---- template, merges, all ------------------------------------------------------------------ */

/* tokenizer_config.json's chat_template, a text or a list of {name, template}; or
 * chat_template.jinja. */
static ng_status put_chat_template(const ng_hf_vocab *v, ng_gguf_writer *w, ng_error *err) {
    const json_t *t = json_object_get(v->settings, "chat_template"), *item;
    const char *text = json_string_value(t);
    size_t i;
    json_array_foreach(t, i,
                       item) if (same(json_string_value(json_object_get(item, "name")), "default"))
        text = json_string_value(json_object_get(item, "template"));
    ng_status s = text ? NG_OK : ng_hf_text(v->hf, "chat_template.jinja", &text, err);
    if (!s && text) ng_gguf_put_str(w, "tokenizer.chat_template", text);
    return s;
}

/* One merge as "a b"; a space within a part is written as the byte-level alphabet writes it. */
static const char *merge_text(ng_arena *a, const json_t *merge) {
    if (json_is_string(merge)) return json_string_value(merge);
    const char *parts[2] = {json_string_value(json_array_get(merge, 0)),
                            json_string_value(json_array_get(merge, 1))};
    if (json_array_size(merge) != 2 || !parts[0] || !parts[1]) return NULL;
    if (!strchr(parts[0], ' ') && !strchr(parts[1], ' '))
        return ng_arena_printf(a, "%s %s", parts[0], parts[1]);
    char *out = ng_arena_alloc(a, 2 * (strlen(parts[0]) + strlen(parts[1])) + 2), *p = out;
    for (size_t k = 0; out && k < 2; k++) {
        if (k) *p++ = ' ';
        for (const char *c = parts[k]; *c; c++) {
            if (*c != ' ') *p++ = *c;
            else memcpy(p, encoded_space, 2), p += 2;
        }
    }
    return out;
}

static ng_status put_merges(const ng_hf_vocab *v, ng_gguf_writer *w, ng_error *err) {
    const json_t *merges = json_object_get(json_object_get(v->tokenizer, "model"), "merges"),
                 *merge;
    size_t n = json_array_size(merges), i;
    ng_str *strs = ng_arena_array(v->hf->arena, n + 1, sizeof *strs);
    if (!strs) return no_memory(v->hf, err);
    if (!n)
        return ng_fail(err, NG_EFORMAT,
                       "convert: %.200s/tokenizer.json: model.merges is missing or empty",
                       v->hf->path);
    json_array_foreach(merges, i, merge) {
        strs[i].data = merge_text(v->hf->arena, merge);
        if (!strs[i].data)
            return ng_fail(
                err, NG_EFORMAT,
                "convert: %.200s/tokenizer.json: merge %zu is neither \"a b\" nor [\"a\", \"b\"]",
                v->hf->path, i);
        strs[i].len = strlen(strs[i].data);
    }
    ng_gguf_put_strs(w, "tokenizer.ggml.merges", strs, n);
    return NG_OK;
}

static const char *stored_token(const ng_hf_vocab *v, uint32_t i, ng_hf_vocab_kind kind) {
    const char *t = v->tokens[i];
    if (kind == NG_HF_BPE || v->types[i] == CONTROL) return t;
    return starts_with(t, "##") ? t + 2 : ng_arena_printf(v->hf->arena, "%s%s", phantom_space, t);
}

ng_status ng_hf_vocab_put(ng_hf_vocab *v, ng_gguf_writer *w, ng_hf_vocab_kind kind, const char *pre,
                          ng_error *err) {
    const char *model =
        json_string_value(json_object_get(json_object_get(v->tokenizer, "model"), "type"));
    if (v->tokenizer && !same(model, kind == NG_HF_BPE ? "BPE" : "WordPiece"))
        return ng_fail(err, NG_EUNSUPPORTED,
                       "convert: %.200s/tokenizer.json: the tokenizer is %.20s; this architecture "
                       "is read with %s",
                       v->hf->path, model ? model : "of no known type",
                       kind == NG_HF_BPE ? "byte-level BPE" : "WordPiece");
    if (!v->tokenizer && kind == NG_HF_BPE)
        return ng_fail(err, NG_ENOTFOUND,
                       "convert: %.200s/tokenizer.json is missing; save the fast tokenizer",
                       v->hf->path);
    ng_status s = choose_pre(v, kind, &pre, err);
    if (s) return s;
    ng_str *strs = ng_arena_array(v->hf->arena, v->n, sizeof *strs);
    for (uint32_t i = 0; strs && i < v->n; i++) {
        strs[i].data = stored_token(v, i, kind);
        if (!strs[i].data) return no_memory(v->hf, err);
        strs[i].len = strlen(strs[i].data);
    }
    if (!strs) return no_memory(v->hf, err);
    ng_gguf_put_str(w, "tokenizer.ggml.model", kind == NG_HF_BPE ? "gpt2" : "bert");
    ng_gguf_put_str(w, "tokenizer.ggml.pre", pre);
    ng_gguf_put_strs(w, "tokenizer.ggml.tokens", strs, v->n);
    ng_gguf_put_array(w, "tokenizer.ggml.token_type", NG_GGUF_I32, v->types, v->n);
    if (kind == NG_HF_BPE && (s = put_merges(v, w, err))) return s;
    put_specials(v, w, kind);
    put_normalizer(v, w, json_object_get(v->tokenizer, "normalizer"));
    return put_chat_template(v, w, err);
}
