/* convert_bert.c: BertModel (Devlin et al. 2018) from Hugging Face to GGUF, with the pooling of a
 * sentence-transformers folder.  See convert_arch.h.
 *
 * The pooler and the pre-training heads are left out: embeddings come from the token states.  Old
 * checkpoints call the norms' weights gamma and beta. */
#include "convert_arch.h"

#include <string.h>

enum {
    POOLING_MEAN = 1,
    POOLING_CLS = 2,
    POOLING_LAST = 3
}; /* llama.cpp: enum llama_pooling_type */

static ng_status read_pooling(const ng_hf *hf, const json_t *modules, uint32_t *pooling,
                              ng_error *err) {
    const json_t *module;
    size_t i;
    json_array_foreach(modules, i, module) {
        const char *type = json_string_value(json_object_get(module, "type")),
                   *path = json_string_value(json_object_get(module, "path"));
        if (!type || !path || strlen(type) < 7 || strcmp(type + strlen(type) - 7, "Pooling"))
            continue;
        if (strstr(path, "..") || path[0] == '/')
            return ng_fail(
                err, NG_EFORMAT,
                "convert: %.200s/modules.json: the path \"%.60s\" leads out of the folder",
                hf->path, path);
        const char *name = ng_arena_printf(hf->arena, "%s/config.json", path);
        json_t *p = NULL;
        ng_status s = name ? ng_hf_json(hf, name, true, &p, err) : NG_ENOMEM;
        if (s) return ng_fail(err, s, "convert: %.200s: no memory", hf->path);
        const char *mode = json_string_value(json_object_get(p, "pooling_mode"));
        if (!mode) mode = "";
        if (json_is_true(json_object_get(p, "pooling_mode_mean_tokens")) || !strcmp(mode, "mean"))
            *pooling = POOLING_MEAN;
        else if (json_is_true(json_object_get(p, "pooling_mode_cls_token")) || !strcmp(mode, "cls"))
            *pooling = POOLING_CLS;
        else if (json_is_true(json_object_get(p, "pooling_mode_lasttoken")) ||
                 !strcmp(mode, "lasttoken"))
            *pooling = POOLING_LAST;
        else
            s = ng_fail(err, NG_EUNSUPPORTED,
                        "convert: %.200s/%.60s: the pooling is neither mean, cls nor lasttoken",
                        hf->path, name);
        json_decref(p);
        return s;
    }
    return NG_OK;
}

static ng_status put_pooling(const ng_convert *c, ng_error *err) {
    json_t *modules;
    uint32_t pooling = 0;
    ng_status s = ng_hf_json(c->hf, "modules.json", false, &modules, err);
    if (!s) s = read_pooling(c->hf, modules, &pooling, err);
    json_decref(modules);
    if (!s && pooling) ng_gguf_put_u32(c->plan->writer, "bert.pooling_type", pooling);
    return s;
}

/* How much of a text sentence-transformers reads; a key of ours, as GGUF has none. */
static ng_status put_max_seq(const ng_convert *c, ng_error *err) {
    json_t *p;
    ng_status s = ng_hf_json(c->hf, "sentence_bert_config.json", false, &p, err);
    if (s) return s;
    json_int_t n = json_integer_value(json_object_get(p, "max_seq_length"));
    json_decref(p);
    if (n >= 2 && n <= 1 << 24) ng_gguf_put_u32(c->plan->writer, "nanogrid.max_seq_length", (uint32_t)n);
    return NG_OK;
}

static ng_status check_config(const ng_hf *hf, ng_error *err) {
    const char *act = json_string_value(json_object_get(hf->config, "hidden_act"));
    const char *pos = json_string_value(json_object_get(hf->config, "position_embedding_type"));
    if (act && strcmp(act, "gelu"))
        return ng_fail(err, NG_EUNSUPPORTED,
                       "convert: %.200s/config.json: hidden_act is %.40s, only gelu is read",
                       hf->path, act);
    if (pos && strcmp(pos, "absolute"))
        return ng_fail(
            err, NG_EUNSUPPORTED,
            "convert: %.200s/config.json: position_embedding_type is %.40s, only absolute is read",
            hf->path, pos);
    return NG_OK;
}

static ng_status put_keys(ng_convert *c, ng_error *err) {
    ng_gguf_writer *w = c->plan->writer;
    uint32_t vocab = 0, embd = 0, ff = 0, ctx = 0, types = 0;
    float eps = 0;
    ng_status s = check_config(c->hf, err);
    if (!s) s = ng_hf_u32(c->hf, "num_hidden_layers", 1, 512, &c->n_layers, err);
    if (!s) s = ng_hf_u32(c->hf, "vocab_size", 1, 1 << 24, &vocab, err);
    if (!s) s = ng_hf_u32(c->hf, "hidden_size", 1, 1 << 16, &embd, err);
    if (!s) s = ng_hf_u32(c->hf, "intermediate_size", 1, 1 << 20, &ff, err);
    if (!s) s = ng_hf_u32(c->hf, "max_position_embeddings", 1, 1 << 24, &ctx, err);
    if (!s) s = ng_hf_u32(c->hf, "type_vocab_size", 1, 64, &types, err);
    if (!s) s = ng_hf_u32(c->hf, "num_attention_heads", 1, 1024, &c->n_heads, err);
    if (!s) s = ng_hf_f32(c->hf, "layer_norm_eps", &eps, err);
    if (s) return s;
    const uint64_t sizes[NG_SIZE_COUNT] = {[NG_SIZE_VOCAB] = vocab,
                                           [NG_SIZE_EMBD] = embd,
                                           [NG_SIZE_FF] = ff,
                                           [NG_SIZE_CTX] = ctx,
                                           [NG_SIZE_TYPES] = types};
    memcpy(c->sizes, sizes, sizeof sizes);
    ng_gguf_put_u32(w, "bert.block_count", c->n_layers);
    ng_gguf_put_u32(w, "bert.context_length", ctx);
    ng_gguf_put_u32(w, "bert.embedding_length", embd);
    ng_gguf_put_u32(w, "bert.feed_forward_length", ff);
    ng_gguf_put_u32(w, "bert.attention.head_count", c->n_heads);
    ng_gguf_put_f32(w, "bert.attention.layer_norm_epsilon", eps);
    ng_gguf_put_bool(w, "bert.attention.causal", false);
    if ((s = put_pooling(c, err)) || (s = put_max_seq(c, err))) return s;
    ng_gguf_put_u32(w, "tokenizer.ggml.token_type_count", types);
    ng_hf_vocab v;
    if ((s = ng_hf_vocab_read(&v, c->hf, vocab, err))) return s;
    s = ng_hf_vocab_put(&v, w, NG_HF_WORDPIECE, c->opt ? c->opt->pre : NULL, err);
    ng_hf_vocab_clear(&v);
    return s;
}

#define E   NG_SIZE_EMBD
#define F   NG_SIZE_FF
#define OPT NG_CONVERT_OPTIONAL
/* A norm under its new names, or its old ones. */
#define NORM(from, to)                                                                             \
    {from ".gamma", to ".weight", {E}, OPT}, {from ".weight", to ".weight", {E}, NG_CONVERT_ELSE}, \
        {from ".beta", to ".bias", {E}, OPT}, {                                                    \
        from ".bias", to ".bias", {E}, NG_CONVERT_ELSE                                             \
    }
#define DENSE(from, to, rows, cols)                                                                \
    {from ".weight", to ".weight", {rows, cols}, 0}, {                                             \
        from ".bias", to ".bias", {rows}, 0                                                        \
    }
#define LAYER "encoder.layer.%u."
static const ng_convert_rule rules[] = {
    {"embeddings.word_embeddings.weight", "token_embd.weight", {NG_SIZE_VOCAB, E}, 0},
    {"embeddings.position_embeddings.weight", "position_embd.weight", {NG_SIZE_CTX, E}, 0},
    {"embeddings.token_type_embeddings.weight", "token_types.weight", {NG_SIZE_TYPES, E}, 0},
    NORM("embeddings.LayerNorm", "token_embd_norm"),
    DENSE(LAYER "attention.self.query", "blk.%u.attn_q", E, E),
    DENSE(LAYER "attention.self.key", "blk.%u.attn_k", E, E),
    DENSE(LAYER "attention.self.value", "blk.%u.attn_v", E, E),
    DENSE(LAYER "attention.output.dense", "blk.%u.attn_output", E, E),
    NORM(LAYER "attention.output.LayerNorm", "blk.%u.attn_output_norm"),
    DENSE(LAYER "intermediate.dense", "blk.%u.ffn_up", F, E),
    DENSE(LAYER "output.dense", "blk.%u.ffn_down", E, F),
    NORM(LAYER "output.LayerNorm", "blk.%u.layer_output_norm"),
    {0}};

static const char *const classes[] = {"BertModel", "BertForMaskedLM", NULL};
static const char *const prefixes[] = {"", "bert.", NULL};
static const char *const ignored[] = {"embeddings.position_ids", "pooler.dense.", "cls.predictions",
                                      "cls.seq_relationship", NULL};

const ng_convert_arch ng_convert_bert = {"bert", classes, prefixes, ignored, rules, put_keys, NULL};
