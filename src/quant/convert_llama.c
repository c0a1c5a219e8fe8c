/* convert_llama.c: LlamaForCausalLM (Touvron et al. 2023) from Hugging Face to GGUF.  See
 * convert_arch.h.
 *
 * Rows of the query and key matrices (and their biases) are interleaved, see transcode.c.  "llama3"
 * RoPE scaling (Llama 3.1) becomes the tensor rope_freqs.weight, one divisor a pair, as llama.cpp
 * keeps it; "linear" becomes a key. */
#include "convert_arch.h"

#include "core/math.h"

#include <math.h>
#include <string.h>

typedef struct rope {
    float theta;
    const char *type; /* "default", "linear", "llama3" */
    const json_t *settings;
    uint32_t dims;
} rope;

static double number(const json_t *object, const char *key, double dflt) {
    const json_t *v = json_object_get(object, key);
    return json_is_number(v) ? json_number_value(v) : dflt;
}

/* transformers 4: rope_theta and rope_scaling {rope_type or type}; 5: rope_parameters with all. */
static ng_status read_rope(const ng_convert *c, rope *r, ng_error *err) {
    const json_t *config = c->hf->config;
    r->settings = json_object_get(config, "rope_parameters");
    if (!json_is_object(r->settings)) r->settings = json_object_get(config, "rope_scaling");
    r->theta = (float)number(r->settings, "rope_theta", number(config, "rope_theta", 10000.0));
    r->type = json_string_value(json_object_get(r->settings, "rope_type"));
    if (!r->type) r->type = json_string_value(json_object_get(r->settings, "type"));
    if (!r->type) r->type = "default";
    if (strcmp(r->type, "default") && strcmp(r->type, "linear") && strcmp(r->type, "llama3"))
        return ng_fail(
            err, NG_EUNSUPPORTED,
            "convert: %.200s/config.json: RoPE scaling %.40s is not read, only linear and llama3",
            c->hf->path, r->type);
    if (!(r->theta > 0) || !isfinite(r->theta))
        return ng_fail(err, NG_EFORMAT, "convert: %.200s/config.json: rope_theta is not positive",
                       c->hf->path);
    r->dims = (uint32_t)(c->sizes[NG_SIZE_Q] / c->n_heads);
    return NG_OK;
}

static ng_status put_rope(const ng_convert *c, ng_error *err) {
    rope r = {0};
    ng_status s = read_rope(c, &r, err);
    if (s) return s;
    ng_gguf_writer *w = c->plan->writer;
    ng_gguf_put_f32(w, "llama.rope.freq_base", r.theta);
    ng_gguf_put_u32(w, "llama.rope.dimension_count", r.dims);
    if (!strcmp(r.type, "linear")) {
        double factor = number(r.settings, "factor", 0);
        if (!(factor > 0))
            return ng_fail(err, NG_EFORMAT,
                           "convert: %.200s/config.json: RoPE scaling linear has no factor",
                           c->hf->path);
        ng_gguf_put_str(w, "llama.rope.scaling.type", "linear");
        ng_gguf_put_f32(w, "llama.rope.scaling.factor", (float)factor);
    }
    return NG_OK;
}

/* The divisor of each pair's frequency: 1 for short waves, `factor` for long ones, a ramp
 * between. */
static ng_status put_rope_freqs(ng_convert *c, ng_error *err) {
    rope r = {0};
    ng_status s = read_rope(c, &r, err);
    if (s || strcmp(r.type, "llama3")) return s;
    double factor = number(r.settings, "factor", 8), low = number(r.settings, "low_freq_factor", 1);
    double high = number(r.settings, "high_freq_factor", 4),
           old = number(r.settings, "original_max_position_embeddings", 8192);
    if (!(factor > 0) || !(low > 0) || !(high > low) || !(old > 0))
        return ng_fail(err, NG_EFORMAT,
                       "convert: %.200s/config.json: RoPE scaling llama3 needs factor > 0, 0 < "
                       "low_freq_factor < "
                       "high_freq_factor and original_max_position_embeddings > 0",
                       c->hf->path);
    uint32_t n = r.dims / 2;
    float *freqs = ng_arena_array(c->hf->arena, n, sizeof *freqs);
    if (!freqs) return ng_fail(err, NG_ENOMEM, "convert: %.200s: no memory", c->hf->path);
    for (uint32_t i = 0; i < n; i++) {
        double wavelen =
            2 * 3.14159265358979323846 * ng_exp(ng_log((double)r.theta) * 2 * i / r.dims);
        double smooth = (old / wavelen - low) / (high - low);
        freqs[i] = (float)(wavelen < old / high  ? 1.0
                           : wavelen > old / low ? factor
                                                 : 1 / ((1 - smooth) / factor + smooth));
    }
    ng_transcode item = {.name = "rope_freqs.weight",
                         .src = freqs,
                         .from = NG_TYPE_F32,
                         .n_dims = 1,
                         .dims = {n, 1, 1, 1}};
    return ng_weights_plan_add(c->plan, &item, err);
}

/* head_dim is the file's word or hidden_size / heads; it must be even, since RoPE turns pairs. */
static ng_status read_sizes(ng_convert *c, ng_error *err) {
    const ng_hf *hf = c->hf;
    uint32_t vocab = 0, embd = 0, ff = 0, head = 0, ctx = 0;
    ng_status s = ng_hf_u32(hf, "num_hidden_layers", 1, 512, &c->n_layers, err);
    if (!s) s = ng_hf_u32(hf, "vocab_size", 1, 1 << 24, &vocab, err);
    if (!s) s = ng_hf_u32(hf, "hidden_size", 1, 1 << 16, &embd, err);
    if (!s) s = ng_hf_u32(hf, "intermediate_size", 1, 1 << 20, &ff, err);
    if (!s) s = ng_hf_u32(hf, "max_position_embeddings", 1, 1 << 24, &ctx, err);
    if (!s) s = ng_hf_u32(hf, "num_attention_heads", 1, 1024, &c->n_heads, err);
    c->n_heads_kv = c->n_heads;
    if (!s && ng_hf_has(hf, "num_key_value_heads"))
        s = ng_hf_u32(hf, "num_key_value_heads", 1, c->n_heads, &c->n_heads_kv, err);
    if (!s && ng_hf_has(hf, "head_dim")) s = ng_hf_u32(hf, "head_dim", 1, 1 << 16, &head, err);
    if (s) return s;
    if (!head) head = embd / c->n_heads;
    if (!head || head % 2 || c->n_heads % c->n_heads_kv)
        return ng_fail(err, NG_EFORMAT,
                       "convert: %.200s/config.json: hidden_size %u, %u heads and %u key-value "
                       "heads do not fit "
                       "together (heads of an even size, key-value heads that divide the heads)",
                       hf->path, (unsigned)embd, (unsigned)c->n_heads, (unsigned)c->n_heads_kv);
    const uint64_t sizes[NG_SIZE_COUNT] = {[NG_SIZE_VOCAB] = vocab,
                                           [NG_SIZE_EMBD] = embd,
                                           [NG_SIZE_FF] = ff,
                                           [NG_SIZE_CTX] = ctx,
                                           [NG_SIZE_Q] = (uint64_t)head * c->n_heads,
                                           [NG_SIZE_KV] = (uint64_t)head * c->n_heads_kv};
    memcpy(c->sizes, sizes, sizeof sizes);
    return NG_OK;
}

static ng_status put_vocab(const ng_convert *c, ng_error *err) {
    ng_gguf_writer *w = c->plan->writer;
    ng_hf_vocab v;
    ng_status s = ng_hf_vocab_read(&v, c->hf, (uint32_t)c->sizes[NG_SIZE_VOCAB], err);
    if (s) return s;
    const json_t *space = json_object_get(v.settings, "add_prefix_space");
    if (json_is_boolean(space))
        ng_gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", json_is_true(space));
    s = ng_hf_vocab_put(&v, w, NG_HF_BPE, c->opt ? c->opt->pre : NULL, err);
    ng_hf_vocab_clear(&v);
    /* llama.cpp's converter knows the tokenizer of starcoder's family (SmolLM, Granite) by its
     * size. */
    if (c->sizes[NG_SIZE_VOCAB] == 49152)
        ng_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", false);
    return s;
}

static ng_status put_keys(ng_convert *c, ng_error *err) {
    ng_gguf_writer *w = c->plan->writer;
    const char *act = json_string_value(json_object_get(c->hf->config, "hidden_act"));
    if (act && strcmp(act, "silu"))
        return ng_fail(err, NG_EUNSUPPORTED,
                       "convert: %.200s/config.json: hidden_act is %.40s, only silu is read",
                       c->hf->path, act);
    float eps = 0;
    ng_status s = read_sizes(c, err);
    if (!s) s = ng_hf_f32(c->hf, "rms_norm_eps", &eps, err);
    if (s) return s;
    c->tied = ng_hf_true(c->hf, "tie_word_embeddings");
    ng_gguf_put_u32(w, "llama.block_count", c->n_layers);
    ng_gguf_put_u32(w, "llama.context_length", (uint32_t)c->sizes[NG_SIZE_CTX]);
    ng_gguf_put_u32(w, "llama.embedding_length", (uint32_t)c->sizes[NG_SIZE_EMBD]);
    ng_gguf_put_u32(w, "llama.feed_forward_length", (uint32_t)c->sizes[NG_SIZE_FF]);
    ng_gguf_put_u32(w, "llama.attention.head_count", c->n_heads);
    ng_gguf_put_u32(w, "llama.attention.head_count_kv", c->n_heads_kv);
    ng_gguf_put_f32(w, "llama.attention.layer_norm_rms_epsilon", eps);
    ng_gguf_put_u32(w, "llama.attention.key_length", (uint32_t)(c->sizes[NG_SIZE_Q] / c->n_heads));
    ng_gguf_put_u32(w, "llama.attention.value_length",
                    (uint32_t)(c->sizes[NG_SIZE_Q] / c->n_heads));
    ng_gguf_put_u32(w, "llama.vocab_size", (uint32_t)c->sizes[NG_SIZE_VOCAB]);
    s = put_rope(c, err);
    return s ? s : put_vocab(c, err);
}

#define V   NG_SIZE_VOCAB
#define E   NG_SIZE_EMBD
#define F   NG_SIZE_FF
#define Q   NG_SIZE_Q
#define KV  NG_SIZE_KV
#define OPT NG_CONVERT_OPTIONAL
#define LINEAR(from, to, rows, cols, flags)                                                        \
    {from ".weight", to ".weight", {rows, cols}, flags}, {                                         \
        from ".bias", to ".bias", {rows}, OPT | (flags)                                            \
    }
#define LAYER "layers.%u."
static const ng_convert_rule rules[] = {
    {"embed_tokens.weight", "token_embd.weight", {V, E}, 0},
    {LAYER "input_layernorm.weight", "blk.%u.attn_norm.weight", {E}, 0},
    LINEAR(LAYER "self_attn.q_proj", "blk.%u.attn_q", Q, E, NG_CONVERT_ROPE_Q),
    LINEAR(LAYER "self_attn.k_proj", "blk.%u.attn_k", KV, E, NG_CONVERT_ROPE_KV),
    LINEAR(LAYER "self_attn.v_proj", "blk.%u.attn_v", KV, E, 0),
    LINEAR(LAYER "self_attn.o_proj", "blk.%u.attn_output", E, Q, 0),
    {LAYER "post_attention_layernorm.weight", "blk.%u.ffn_norm.weight", {E}, 0},
    LINEAR(LAYER "mlp.gate_proj", "blk.%u.ffn_gate", F, E, 0),
    LINEAR(LAYER "mlp.up_proj", "blk.%u.ffn_up", F, E, 0),
    LINEAR(LAYER "mlp.down_proj", "blk.%u.ffn_down", E, F, 0),
    {"norm.weight", "output_norm.weight", {E}, 0},
    {"lm_head.weight", "output.weight", {V, E}, OPT | NG_CONVERT_UNTIED},
    {0}};

static const char *const classes[] = {"LlamaForCausalLM", NULL};
static const char *const prefixes[] = {"model.", "", NULL};
static const char *const ignored[] = {"*.rotary_emb.inv_freq", NULL};

const ng_convert_arch ng_convert_llama = {"llama", classes,  prefixes,      ignored,
                                          rules,   put_keys, put_rope_freqs};
